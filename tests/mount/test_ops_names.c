/*
 * test_ops_names.c - the handlers that look names up, make them and remove them.
 */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "tests/mount/fake/fake_transport.h"

static struct fake f;

/* The number that the last reply handed over. */
static uint64_t got_ino(void)
{
	return fake_reply(&f)->st.st_ino;
}

static void forget(uint64_t ino, uint64_t count)
{
	struct request r = fake_request(&f, 0);

	op_forget(&r, ino, count);
}

/* Nobody holds `ino`: fs.h does not know the number any more. */
static bool is_forgotten(uint64_t ino)
{
	struct stat st;

	return fs_getattr(f.mount.fs, ino, &st) == -ESTALE;
}

static const char *long_name(size_t size)
{
	static char name[4200];

	memset(name, 'n', size);
	name[size] = 0;
	return name;
}

static void test_lookup(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	uint64_t ino;

	op_lookup(&r, "none");
	is_kind(&f, FAKE_ABSENT, "lookup: no such name, which the kernel may remember");
	ino = make_file(f.mount.fs, FS_ROOT_INO, "file");
	forget(ino, 1);
	ok(is_forgotten(ino), "nobody holds the file");
	r = fake_request(&f, FS_ROOT_INO);
	op_lookup(&r, "file");
	is_kind(&f, FAKE_ENTRY, "lookup: an entry");
	is_int(got_ino(), ino, "... of the right inode");
	is_int(fake_reply(&f)->st.st_mode, S_IFREG | 0644, "... with its mode");
	is_int(fake_reply(&f)->st.st_nlink, 1, "... and its links");
	ok(!is_forgotten(ino), "... and the kernel has a reference");
	r = fake_request(&f, ino);
	op_lookup(&r, "below");
	is_error(&f, ENOTDIR, "lookup in a file");
	forget(ino, 1);
	ok(is_forgotten(ino), "forget drops the reference");
	r = fake_request(&f, FS_ROOT_INO);
	op_lookup(&r, long_name(256));
	is_error(&f, ENAMETOOLONG, "lookup of a name of 256 bytes");
	r = fake_request(&f, 4711);
	op_lookup(&r, "file");
	is_error(&f, ESTALE, "lookup in a directory that nobody holds");
	f.refuse = true;
	r = fake_request(&f, FS_ROOT_INO);
	op_lookup(&r, "file");
	f.refuse = false;
	ok(is_forgotten(ino), "a reply that does not reach the kernel hands no reference over");
	r = fake_request(&f, FS_ROOT_INO);
	op_lookup(&r, "file");
	r = fake_request(&f, FS_ROOT_INO);
	op_lookup(&r, "file");
	forget(ino, 1);
	ok(!is_forgotten(ino), "one of two references is left");
	forget(ino, 1);
	ok(is_forgotten(ino), "... until that goes, too");
}

static void test_create(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	uint64_t ino;

	r.uid = 7;
	r.gid = 8;
	r.umask = 022;
	op_create(&r, "created", S_IFREG | 0666);
	is_kind(&f, FAKE_CREATED, "create: an open file");
	ino = got_ino();
	is_int(fake_reply(&f)->st.st_mode, S_IFREG | 0644, "... without the bits of the umask");
	is_int(fake_reply(&f)->st.st_uid, 7, "... of the user");
	is_int(fake_reply(&f)->st.st_gid, 8, "... and the group");
	r = fake_request(&f, FS_ROOT_INO);
	op_create(&r, "created", 0666);
	is_error(&f, EEXIST, "create of a name that is there");
	r = fake_request(&f, FS_ROOT_INO);
	op_create(&r, "", 0666);
	ok(fake_reply(&f)->err != 0, "create without a name fails");
	r = fake_request(&f, ino);
	op_create(&r, "below", 0666);
	is_error(&f, ENOTDIR, "create in a file");
	f.refuse = true;
	r = fake_request(&f, FS_ROOT_INO);
	op_create(&r, "refused", 0666);
	f.refuse = false;
	ok(is_forgotten(got_ino()), "create: no reference is left when the reply did not arrive");
	is_int(ino_of(f.mount.fs, FS_ROOT_INO, "refused"), got_ino(), "... but the file is there");
	forget(ino, 1);
	ok(is_forgotten(ino), "create hands one reference over");
}

static void test_nodes(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	uint64_t dir;

	op_mknod(&r, "fifo", S_IFIFO | 0600, 0);
	is_kind(&f, FAKE_ENTRY, "mknod: an entry");
	is_int(fake_reply(&f)->st.st_mode, S_IFIFO | 0600, "... a fifo");
	r = fake_request(&f, FS_ROOT_INO);
	op_mknod(&r, "device", S_IFCHR | 0600, makedev(1, 3));
	is_int(fake_reply(&f)->st.st_mode, S_IFCHR | 0600, "mknod: a device");
	is_int(fake_reply(&f)->st.st_rdev, makedev(1, 3), "... with its number");
	r = fake_request(&f, FS_ROOT_INO);
	op_mknod(&r, "fifo", S_IFIFO | 0600, 0);
	is_error(&f, EEXIST, "mknod of a name that is there");
	r = fake_request(&f, FS_ROOT_INO);
	r.umask = 077;
	op_mkdir(&r, "dir", 0777);
	is_kind(&f, FAKE_ENTRY, "mkdir: an entry");
	dir = got_ino();
	is_int(fake_reply(&f)->st.st_mode, S_IFDIR | 0700, "... a directory, less the umask");
	is_int(fake_reply(&f)->st.st_nlink, 2, "... with two links");
	r = fake_request(&f, FS_ROOT_INO);
	op_mkdir(&r, "dir", 0777);
	is_error(&f, EEXIST, "mkdir of a name that is there");
	r = fake_request(&f, dir);
	op_mkdir(&r, long_name(255), 0777);
	is_kind(&f, FAKE_ENTRY, "mkdir of a name of 255 bytes");
	r = fake_request(&f, dir);
	op_mkdir(&r, long_name(256), 0777);
	is_error(&f, ENAMETOOLONG, "mkdir of a name of 256 bytes");
	r = fake_request(&f, dir);
	op_rmdir(&r, long_name(255));
	is_error(&f, 0, "rmdir");
	r = fake_request(&f, FS_ROOT_INO);
	op_tmpfile(&r, 0600);
	is_kind(&f, FAKE_CREATED, "tmpfile: an open file");
	is_int(fake_reply(&f)->st.st_nlink, 0, "... without a name");
	forget(got_ino(), 1);
}

static void test_symlink(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	uint64_t ino;

	op_symlink(&r, "link", "to/somewhere else");
	is_kind(&f, FAKE_ENTRY, "symlink: an entry");
	ino = got_ino();
	is_int(fake_reply(&f)->st.st_size, 17, "... of the size of its target");
	r = fake_request(&f, ino);
	op_readlink(&r);
	is_kind(&f, FAKE_TARGET, "readlink: a target");
	is_mem(fake_reply(&f)->data, fake_reply(&f)->size, "to/somewhere else", 17, "... the one");
	r = fake_request(&f, FS_ROOT_INO);
	op_readlink(&r);
	is_error(&f, EINVAL, "readlink of a directory");
	r = fake_request(&f, FS_ROOT_INO);
	op_symlink(&r, "longest", long_name(4095));
	is_kind(&f, FAKE_ENTRY, "symlink to a target of 4095 bytes");
	r = fake_request(&f, got_ino());
	op_readlink(&r);
	is_int(fake_reply(&f)->size, 4095, "... which readlink replies whole");
	r = fake_request(&f, FS_ROOT_INO);
	op_symlink(&r, "longer", long_name(4096));
	is_error(&f, ENAMETOOLONG, "symlink to a target of 4096 bytes");
}

static void test_link(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "first");
	struct request r = fake_request(&f, ino);

	op_link(&r, FS_ROOT_INO, "second");
	is_kind(&f, FAKE_ENTRY, "link: an entry");
	is_int(got_ino(), ino, "... of the same inode");
	is_int(fake_reply(&f)->st.st_nlink, 2, "... with two links");
	r = fake_request(&f, ino);
	op_link(&r, FS_ROOT_INO, "second");
	is_error(&f, EEXIST, "link to a name that is there");
	r = fake_request(&f, FS_ROOT_INO);
	op_link(&r, FS_ROOT_INO, "third");
	is_error(&f, EPERM, "link of a directory");
	r = fake_request(&f, FS_ROOT_INO);
	op_unlink(&r, "first");
	is_error(&f, 0, "unlink");
	r = fake_request(&f, FS_ROOT_INO);
	op_unlink(&r, "first");
	is_error(&f, ENOENT, "unlink again");
	r = fake_request(&f, FS_ROOT_INO);
	op_unlink(&r, "dir");
	is_error(&f, EISDIR, "unlink of a directory");
	is_int(attr_of(f.mount.fs, ino).st_nlink, 1, "one link is left");
	f.refuse = true;
	r = fake_request(&f, ino);
	op_link(&r, FS_ROOT_INO, "third");
	f.refuse = false;
	forget(ino, 2);
	ok(is_forgotten(ino), "link: no reference is left when the reply did not arrive");
}

static void test_remove(void)
{
	uint64_t dir = make_dir(f.mount.fs, FS_ROOT_INO, "full"),
		 ino = make_file(f.mount.fs, dir, "a");
	struct request r = fake_request(&f, FS_ROOT_INO);

	op_rmdir(&r, "full");
	is_error(&f, ENOTEMPTY, "rmdir of a directory with a file");
	r = fake_request(&f, dir);
	op_rmdir(&r, "a");
	is_error(&f, ENOTDIR, "rmdir of a file");
	r = fake_request(&f, dir);
	op_unlink(&r, "a");
	is_error(&f, 0, "unlink of a file that the kernel holds");
	is_int(attr_of(f.mount.fs, ino).st_nlink, 0, "... it is still there, without a name");
	forget(ino, 1);
	ok(is_forgotten(ino), "... until the kernel forgets it");
	r = fake_request(&f, FS_ROOT_INO);
	op_rmdir(&r, "full");
	is_error(&f, 0, "rmdir of a directory that is empty");
	r = fake_request(&f, FS_ROOT_INO);
	op_rmdir(&r, "full");
	is_error(&f, ENOENT, "rmdir again");
	forget(dir, 1);
}

static void test_rename(void)
{
	struct fs *fs = f.mount.fs;
	uint64_t dir = make_dir(fs, FS_ROOT_INO, "into"), a = make_file(fs, FS_ROOT_INO, "a");
	uint64_t b = make_file(fs, dir, "b");
	struct request r = fake_request(&f, FS_ROOT_INO);

	op_rename(&r, "a", dir, "b", FS_RENAME_NOREPLACE);
	is_error(&f, EEXIST, "rename without replacing");
	r = fake_request(&f, FS_ROOT_INO);
	op_rename(&r, "a", dir, "b", FS_RENAME_EXCHANGE);
	is_error(&f, 0, "rename that exchanges");
	is_int(ino_of(fs, FS_ROOT_INO, "a"), b, "... one");
	is_int(ino_of(fs, dir, "b"), a, "... and the other");
	r = fake_request(&f, FS_ROOT_INO);
	op_rename(&r, "a", dir, "b", 0);
	is_error(&f, 0, "rename");
	is_int(ino_of(fs, dir, "b"), b, "... has replaced what had the name");
	is_int(ino_of(fs, FS_ROOT_INO, "a"), 0, "... and the old name is gone");
	is_int(attr_of(fs, a).st_nlink, 0, "... what it replaced has no name");
	r = fake_request(&f, FS_ROOT_INO);
	op_rename(&r, "a", dir, "c", 0);
	is_error(&f, ENOENT, "rename of a name that is not there");
	r = fake_request(&f, FS_ROOT_INO);
	op_rename(&r, "into", dir, "itself", 0);
	is_error(&f, EINVAL, "rename of a directory into itself");
	r = fake_request(&f, dir);
	op_rename(&r, "b", FS_ROOT_INO, long_name(256), 0);
	is_error(&f, ENAMETOOLONG, "rename to a name of 256 bytes");
	forget(a, 1);
	forget(b, 1);
	forget(dir, 1);
}

int main(void)
{
	fake_init(&f);
	test_lookup();
	test_create();
	test_nodes();
	test_symlink();
	test_link();
	test_remove();
	test_rename();
	fake_release(&f);
	return done();
}
