/*
 * Names: what each call does and which error it gives, as Linux has it.
 */
#include "tests/support/fs_fixture.h"

static struct fixture f;

static char long_name[FS_NAME_BYTES_MAX + 2];

static void test_create(void)
{
	struct fs *fs = f.fs;
	struct stat st, dir;
	uint64_t a, d;

	dir = attr_of(fs, FS_ROOT_INO);
	is_int(dir.st_nlink, 2, "a new root has two links");
	ok(S_ISDIR(dir.st_mode), "the root is a directory");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "a", S_IFREG | 0640, 0, &st), 0, "mknod");
	a = st.st_ino;
	ok(st.st_mode == (S_IFREG | 0640) && st.st_nlink == 1 && st.st_uid == 1000 &&
		   st.st_gid == 1000 && !st.st_size,
	   "its attributes");
	ok(ns_of(attr_of(fs, FS_ROOT_INO).st_mtim) >= ns_of(dir.st_mtim), "mtime of the parent");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "a", S_IFREG | 0640, 0, &st), -EEXIST, "again");
	is_int(fs_mkdir(fs, &USER, FS_ROOT_INO, "a", 0755, &st), -EEXIST, "mkdir over it");
	is_int(fs_symlink(fs, &USER, FS_ROOT_INO, "a", "b", &st), -EEXIST, "symlink over it");
	is_int(fs_mknod(fs, &USER, a, "x", S_IFREG, 0, &st), -ENOTDIR, "in a file");
	is_int(fs_mknod(fs, &USER, 99999, "x", S_IFREG, 0, &st), -ESTALE, "in nothing");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "", S_IFREG, 0, &st), -ENOENT, "no name");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "x/y", S_IFREG, 0, &st), -EINVAL, "a slash");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, ".", S_IFREG, 0, &st), -EEXIST, "\".\"");
	is_int(fs_mkdir(fs, &USER, FS_ROOT_INO, "..", 0755, &st), -EEXIST, "\"..\"");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "x", S_IFDIR, 0, &st), -EPERM, "mknod of a dir");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, "x", S_IFLNK, 0, &st), -EINVAL, "... of a link");
	is_int(fs_mknod(fs, &USER, FS_ROOT_INO, long_name, S_IFREG, 0, &st), -ENAMETOOLONG,
	       "256 bytes");
	is_int(fs_lookup(fs, FS_ROOT_INO, long_name, &st), -ENAMETOOLONG, "lookup of 256 bytes");
	is_int(fs_mknod(fs, &ROOT, FS_ROOT_INO, long_name + 1, S_IFREG, 0, &st), 0, "255 bytes");
	is_int(fs_unlink(fs, FS_ROOT_INO, long_name + 1), 0, "... unlinked");
	is_int(fs_mknod(fs, &ROOT, FS_ROOT_INO, "\xff\n \x01", S_IFREG, 0, &st), 0, "odd bytes");
	is_int(ino_of(fs, FS_ROOT_INO, "\xff\n \x01"), st.st_ino, "... found");
	is_int(fs_unlink(fs, FS_ROOT_INO, "\xff\n \x01"), 0, "... unlinked");

	is_int(fs_mkdir(fs, &ROOT, FS_ROOT_INO, "d", 02775, &st), 0, "mkdir");
	d = st.st_ino;
	is_int(st.st_nlink, 2, "... has two links");
	is_int(attr_of(fs, FS_ROOT_INO).st_nlink, 3, "... its parent three");
	is_int(fs_lookup(fs, d, "..", &st), 0, "lookup of ..");
	is_int(st.st_ino, FS_ROOT_INO, "... is the root");
	is_int(fs_lookup(fs, d, ".", &st), 0, "lookup of .");
	is_int(st.st_ino, d, "... is itself");
	is_int(fs_lookup(fs, d, "none", &st), -ENOENT, "lookup of nothing");
	is_int(fs_lookup(fs, a, "none", &st), -ENOTDIR, "lookup in a file");

	is_int(fs_mknod(fs, &ROOT, d, "dev", S_IFCHR | 0600, 0x501, &st), 0, "a device");
	is_int(st.st_rdev, 0x501, "... with its number");
	is_int(fs_mknod(fs, &ROOT, d, "fifo", S_IFIFO | 0600, 5, &st), 0, "a fifo");
	is_int(st.st_rdev, 0, "... without one");
	is_int(fs_mknod(fs, &ROOT, d, "sock", S_IFSOCK | 0600, 0, &st), 0, "a socket");
}

static void test_setgid_directory(void)
{
	struct fs_cred other = {1000, 2000, false, 0};
	struct stat st;
	uint64_t d;

	is_int(fs_mkdir(f.fs, &USER, FS_ROOT_INO, "sg", 02775, &st), 0, "a setgid directory");
	d = st.st_ino;
	fs_mknod(f.fs, &other, d, "f", S_IFREG | 0644, 0, &st);
	is_int(st.st_gid, 1000, "files get its group");
	ok(!(st.st_mode & S_ISGID), "... not the bit");
	fs_mkdir(f.fs, &other, d, "d", 0755, &st);
	ok(st.st_gid == 1000 && st.st_mode & S_ISGID, "directories get both");
	fs_mknod(f.fs, &other, d, "g", S_IFREG | 02755, 0, &st);
	ok(!(st.st_mode & S_ISGID), "nobody makes a program of a group he is not in");
	fs_mknod(f.fs, &USER, d, "h", S_IFREG | 02755, 0, &st);
	ok(st.st_mode & S_ISGID, "... but of his own");
}

static void test_symlink(void)
{
	char target[FS_SYMLINK_BYTES_MAX + 2], got[FS_SYMLINK_BYTES_MAX + 1];
	struct stat st;

	memset(target, 't', sizeof(target));
	target[sizeof(target) - 1] = '\0';
	is_int(fs_symlink(f.fs, &USER, FS_ROOT_INO, "l", target, &st), -ENAMETOOLONG, "4096 bytes");
	is_int(fs_symlink(f.fs, &USER, FS_ROOT_INO, "l", "", &st), -ENOENT, "no target");
	is_int(fs_symlink(f.fs, &USER, FS_ROOT_INO, "l", target + 1, &st), 0, "4095 bytes");
	is_int(st.st_size, 4095, "... is its size");
	is_int(fs_readlink(f.fs, st.st_ino, got), 0, "readlink");
	ok(!strcmp(got, target + 1), "... is the target");
	is_int(fs_readlink(f.fs, FS_ROOT_INO, got), -EINVAL, "readlink of a directory");
	is_int(fs_unlink(f.fs, FS_ROOT_INO, "l"), 0, "unlink");
	is_int(fs_readlink(f.fs, st.st_ino, got), 0, "readlink of the nameless");
	ok(!strcmp(got, target + 1), "... is still the target");
}

static void test_unlink(void)
{
	struct fs *fs = f.fs;
	uint64_t d = mk_dir(fs, FS_ROOT_INO, "u"), a = mk_file(fs, d, "a"), s = mk_dir(fs, d, "s");
	struct stat st;

	mk_file(fs, s, "x");
	is_int(fs_unlink(fs, d, "none"), -ENOENT, "unlink of nothing");
	is_int(fs_unlink(fs, d, "s"), -EISDIR, "... of a directory");
	is_int(fs_unlink(fs, d, "."), -EISDIR, "... of .");
	is_int(fs_unlink(fs, a, "x"), -ENOTDIR, "... in a file");
	is_int(fs_rmdir(fs, d, "a"), -ENOTDIR, "rmdir of a file");
	is_int(fs_rmdir(fs, d, "s"), -ENOTEMPTY, "... of a full directory");
	is_int(fs_rmdir(fs, d, "none"), -ENOENT, "... of nothing");
	is_int(fs_rmdir(fs, d, "."), -EINVAL, "... of .");
	is_int(fs_rmdir(fs, d, ".."), -ENOTEMPTY, "... of ..");
	is_int(fs_unlink(fs, s, "x"), 0, "emptied");
	is_int(fs_rmdir(fs, d, "s"), 0, "rmdir");
	is_int(attr_of(fs, d).st_nlink, 2, "one link less");
	is_int(attr_of(fs, s).st_nlink, 0, "the removed has none");
	is_int(fs_mknod(fs, &ROOT, s, "y", S_IFREG, 0, &st), -ENOENT, "nothing is made in it");
	is_int(fs_link(fs, a, s, "y", &st), -ENOENT, "... nor linked");
	is_int(fs_rename(fs, d, "a", s, "y", 0), -ENOENT, "... nor moved");
	is_int(fs_unlink(fs, d, "a"), 0, "unlink");
	is_int(attr_of(fs, a).st_nlink, 0, "no name, but held");
	is_int(fs_link(fs, a, d, "again", &st), -ENOENT, "a deleted file gets no new name");
	fs_forget(fs, a, 1);
	is_int(fs_getattr(fs, a, &st), -ESTALE, "forgotten");
	is_int(ino_of(fs, d, "a"), 0, "the name is gone");
}

static void test_link(void)
{
	struct fs *fs = f.fs;
	uint64_t d = mk_dir(fs, FS_ROOT_INO, "k"), a = mk_file(fs, d, "a");
	size_t got;
	struct stat st;
	char buf[8];

	is_int(fs_write(fs, a, 0, "hello", 5, 0, NULL), 0, "content");
	is_int(fs_link(fs, d, d, "x", &st), -EPERM, "link of a directory");
	is_int(fs_link(fs, a, d, "a", &st), -EEXIST, "link over something");
	is_int(fs_link(fs, a, d, "b", &st), 0, "link");
	ok(st.st_nlink == 2 && st.st_ino == a, "two names");
	fs_forget(fs, a, 1);
	is_int(ino_of(fs, d, "b"), a, "the same inode");
	is_int(fs_unlink(fs, d, "a"), 0, "the first goes");
	is_int(attr_of(fs, a).st_nlink, 1, "one name");
	fs_forget(fs, a, 1);
	is_int(fs_lookup(fs, d, "b", &st), 0, "found by the second");
	is_int(fs_read(fs, a, 0, buf, sizeof(buf), &got), 0, "read");
	is_mem(buf, got, "hello", 5, "the content");
	is_int(fs_link(fs, a, FS_ROOT_INO, "c", &st), 0, "a third");
	is_int(fs_rename(fs, d, "b", FS_ROOT_INO, "c", 0), 0, "rename to another name of it");
	is_int(ino_of(fs, d, "b"), a, "... does nothing");
	is_int(fs_rename(fs, d, "b", d, "bb", 0), 0, "a link is renamed");
	is_int(ino_of(fs, d, "bb"), a, "... and found");
	fixture_reopen(&f);
	fs = f.fs;
	is_int(fs_lookup(fs, FS_ROOT_INO, "c", &st), 0, "after a reopen");
	is_int(st.st_nlink, 2, "two names");
	is_int(fs_lookup(fs, FS_ROOT_INO, "k", &st), 0, "the directory");
	is_int(fs_unlink(fs, st.st_ino, "bb"), 0, "one goes");
	is_int(fs_unlink(fs, FS_ROOT_INO, "c"), 0, "the last goes");
	is_int(attr_of(fs, a).st_nlink, 0, "no name left");
	is_int(fs_read(fs, a, 0, buf, sizeof(buf), &got), 0, "read while held");
	is_mem(buf, got, "hello", 5, "the content");
}

static void test_tmpfile(void)
{
	struct stat st, big;
	char *bytes = calloc(1, 100000);
	size_t got;
	char buf[4];

	if (!bytes)
		bail("memory");
	is_int(fs_tmpfile(f.fs, &USER, FS_ROOT_INO, 0600, &st), 0, "tmpfile");
	is_int(st.st_nlink, 0, "has no name");
	is_int(fs_write(f.fs, st.st_ino, 0, "tmp", 3, 0, NULL), 0, "... but content");
	is_int(fs_link(f.fs, st.st_ino, FS_ROOT_INO, "named", &st), 0, "link gives it one");
	is_int(st.st_nlink, 1, "one name");
	is_int(fs_read(f.fs, st.st_ino, 0, buf, 4, &got), 0, "read");
	is_mem(buf, got, "tmp", 3, "its content");
	is_int(fs_tmpfile(f.fs, &USER, FS_ROOT_INO, 0600, &big), 0, "a large one");
	is_int(fs_write(f.fs, big.st_ino, 0, bytes, 100000, 0, NULL), 0, "written");
	is_int(fs_link(f.fs, big.st_ino, FS_ROOT_INO, "big", &big), 0, "named");
	fixture_reopen(&f);
	is_int(fs_lookup(f.fs, FS_ROOT_INO, "big", &big), 0, "it is there after a reopen");
	is_int(big.st_size, 100000, "... all of it");
	is_int(ino_of(f.fs, FS_ROOT_INO, "named"), st.st_ino, "and so is the small one");
	free(bytes);
}

static void test_rename(void)
{
	struct fs *fs = f.fs;
	uint64_t r = mk_dir(fs, FS_ROOT_INO, "r"), a = mk_dir(fs, r, "a"), b = mk_dir(fs, r, "b");
	uint64_t x = mk_file(fs, a, "x"), y = mk_file(fs, b, "y"), aa = mk_dir(fs, a, "aa");
	uint64_t aaa = mk_dir(fs, aa, "aaa");
	struct stat st, before;

	is_int(fs_rename(fs, a, "none", b, "z", 0), -ENOENT, "rename of nothing");
	is_int(fs_rename(fs, a, ".", b, "z", 0), -EBUSY, "... of .");
	is_int(fs_rename(fs, a, "x", b, "..", 0), -EBUSY, "... to ..");
	is_int(fs_rename(fs, a, "x", b, "y/", 0), -EINVAL, "... to a name with a slash");
	is_int(fs_rename(fs, a, "x", b, "", 0), -ENOENT, "... to no name");
	is_int(fs_rename(fs, a, "x", b, long_name, 0), -ENAMETOOLONG, "... to 256 bytes");
	is_int(fs_rename(fs, a, "x", x, "z", 0), -ENOTDIR, "... into a file");
	is_int(fs_rename(fs, a, "x", b, "y", FS_RENAME_NOREPLACE), -EEXIST, "NOREPLACE");
	is_int(fs_rename(fs, a, "x", b, "z", FS_RENAME_EXCHANGE), -ENOENT, "EXCHANGE with nothing");
	is_int(fs_rename(fs, a, "x", b, "y", 3), -EINVAL, "both flags");
	is_int(fs_rename(fs, a, "x", b, "y", 4), -EINVAL, "an unknown flag");
	is_int(fs_rename(fs, r, "a", aa, "z", 0), -EINVAL, "a directory into itself");
	is_int(fs_rename(fs, r, "a", a, "z", 0), -EINVAL, "... directly");
	is_int(fs_rename(fs, r, "a", aaa, "z", 0), -EINVAL, "... deep");
	is_int(fs_rename(fs, aa, "aaa", r, "a", 0), -ENOTEMPTY, "onto its own ancestor");
	is_int(fs_rename(fs, aa, "aaa", r, "a", FS_RENAME_EXCHANGE), -EINVAL, "... exchanged");
	is_int(fs_rename(fs, a, "x", r, "b", 0), -EISDIR, "a file over a directory");
	is_int(fs_rename(fs, r, "a", b, "y", 0), -ENOTDIR, "a directory over a file");
	is_int(fs_rename(fs, a, "aa", r, "b", 0), -ENOTEMPTY, "a directory over a full one");

	before = attr_of(fs, x);
	is_int(fs_rename(fs, a, "x", b, "y", 0), 0, "a file over a file");
	is_int(ino_of(fs, b, "y"), x, "it is there");
	is_int(ino_of(fs, a, "x"), 0, "... and not here");
	is_int(attr_of(fs, y).st_nlink, 0, "the other lost its name");
	ok(ns_of(attr_of(fs, x).st_ctim) > ns_of(before.st_ctim), "ctime of what moved");
	is_int(ns_of(attr_of(fs, x).st_mtim), ns_of(before.st_mtim), "... not its mtime");

	is_int(fs_rename(fs, a, "aa", b, "bb", 0), 0, "a directory to another");
	is_int(attr_of(fs, a).st_nlink, 2, "the old parent has a link less");
	is_int(attr_of(fs, b).st_nlink, 3, "the new one more");
	is_int(ino_of(fs, aa, "aaa"), aaa, "its children came along");
	fs_lookup(fs, aa, "..", &st);
	is_int(st.st_ino, b, ".. is the new parent");
	fs_forget(fs, b, 1);
	is_int(fs_rename(fs, r, "a", b, "bb", 0), -ENOTEMPTY, "over a full one");
	is_int(fs_rename(fs, b, "bb", r, "a", 0), 0, "over an empty one");
	is_int(attr_of(fs, r).st_nlink, 4, "the parent has as many");
	is_int(attr_of(fs, a).st_nlink, 0, "the empty one is gone");
	is_int(fs_rename(fs, r, "a", r, "a2", 0), 0, "within one directory");

	is_int(fs_rename(fs, b, "y", r, "a2", FS_RENAME_EXCHANGE), 0, "exchange");
	is_int(ino_of(fs, b, "y"), aa, "a directory for");
	is_int(ino_of(fs, r, "a2"), x, "... a file");
	is_int(attr_of(fs, r).st_nlink, 3, "links of the one");
	is_int(attr_of(fs, b).st_nlink, 3, "... and the other parent");
	is_int(fs_rename(fs, r, "a2", r, "b", FS_RENAME_EXCHANGE), 0, "exchange within one");
	is_int(ino_of(fs, r, "b"), x, "a file");
	is_int(ino_of(fs, r, "a2"), b, "... a directory");
	is_int(fs_rename(fs, r, "b", r, "b", 0), 0, "to itself");
	is_int(fs_rename(fs, r, "b", r, "new", FS_RENAME_NOREPLACE), 0, "NOREPLACE of a free name");
	fixture_clean(&f, "after the renames");
}

static void test_read_only(void)
{
	struct stat st;

	fixture_close(&f);
	f.options.lsm.read_only = true;
	fixture_open(&f);
	is_int(fs_lookup(f.fs, FS_ROOT_INO, "r", &st), 0, "read-only: lookup");
	is_int(fs_mknod(f.fs, &ROOT, FS_ROOT_INO, "ro", S_IFREG, 0, &st), -EROFS, "... mknod");
	is_int(fs_unlink(f.fs, FS_ROOT_INO, "named"), -EROFS, "... unlink");
	is_int(fs_rename(f.fs, FS_ROOT_INO, "r", FS_ROOT_INO, "q", 0), -EROFS, "... rename");
	is_int(fs_tmpfile(f.fs, &ROOT, FS_ROOT_INO, 0600, &st), -EROFS, "... tmpfile");
	is_int(fs_sync(f.fs), 0, "... sync");
	is_int(attr_of(f.fs, ino_of(f.fs, FS_ROOT_INO, "nothing") + FS_ROOT_INO).st_ino,
	       FS_ROOT_INO, "... and all is as it was");
	fixture_clean(&f, "read-only");
	fixture_close(&f);
	f.options.lsm.read_only = false;
	fixture_open(&f);
}

int main(void)
{
	memset(long_name, 'n', FS_NAME_BYTES_MAX + 1);
	fixture_init(&f);
	test_create();
	test_setgid_directory();
	test_symlink();
	test_unlink();
	test_link();
	test_tmpfile();
	test_rename();
	test_read_only();
	fixture_clean(&f, "in the end");
	fixture_release(&f);
	return done();
}
