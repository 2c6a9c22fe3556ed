/*
 * fs_repair() makes a whole filesystem of each store with a fault planted in it: what it
 * should have saved is there, what is lost reads as an error, fs_check() finds nothing
 * more, and a second repair has nothing to do.
 */
#include "fs/core.h"
#include "tests/support/fs_raw.h"

static char told[16384];

static void collect(void *ctx, const char *text)
{
	size_t n = strlen(told);

	(void)ctx;
	snprintf(told + n, sizeof(told) - n, "%s\n", text);
}

/* The inode at `path` below the root, with a reference; 0: none. */
static uint64_t at(const char *path)
{
	char copy[200], *part, *rest = copy;
	struct stat st = {.st_ino = FS_ROOT_INO};

	snprintf(copy, sizeof(copy), "%s", path);
	while ((part = strsep(&rest, "/")))
		if (*part && fs_lookup(f.fs, st.st_ino, part, &st))
			return 0;
	return st.st_ino;
}

static int read_all(uint64_t ino, uint64_t offset, size_t size)
{
	static char buf[sizeof(big_bytes)];
	size_t got;
	int rc = fs_read(f.fs, ino, offset, buf, size, &got);

	if (rc)
		return rc;
	return got == size && !memcmp(buf, big_bytes + offset, size) ? 0 : 1;
}

/* Repair the store; `want` is told. Leaves the filesystem open. */
static struct fs_repair_counts repaired(const char *want, const char *what)
{
	struct fs_repair_counts counts, again;
	int rc;

	lsm_close(lsm);
	told[0] = '\0';
	rc = fs_repair(f.store, &f.options, collect, NULL, NULL, NULL, &counts);
	if (!ok(!rc && (!want || strstr(told, want)), "%s: \"%s\"", what, want ? want : ""))
		printf("# returned %d, told: %s\n", rc, told);
	told[0] = '\0';
	rc = fs_repair(f.store, &f.options, collect, NULL, NULL, NULL, &again);
	if (!ok(!rc && !again.actions && !again.lost && !told[0], "... and then nothing more"))
		printf("# returned %d, told: %s\n", rc, told);
	fixture_open(&f);
	fixture_clean(&f, "after it");
	return counts;
}

static void saved_as(uint64_t ino, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "lost+found/#%llu", (unsigned long long)ino);
	is_int(at(path), ino, "... %s is in lost+found", what);
}

static void test_whole(void)
{
	struct fs_repair_counts counts;

	begin();
	counts = repaired(NULL, "a whole store");
	ok(!counts.actions && !counts.lost && !counts.kept_bytes, "... is left alone");
	is_int(at("lost+found"), 0, "... without lost+found");
	end();
}

static void test_counts(void)
{
	struct attr a;

	begin();
	a = get(KEY_NAME, FS_ROOT_INO, "dir");
	a.entries++;
	put_attr(KEY_NAME, FS_ROOT_INO, "dir", dir_ino, a);
	a = get(KEY_INODE, FS_ROOT_INO, "");
	a.subdirs = 0;
	put_attr(KEY_INODE, FS_ROOT_INO, "", FS_ROOT_INO, a);
	a = get(KEY_INODE, hard_ino, "");
	a.nlink = 3;
	put_attr(KEY_INODE, hard_ino, "", hard_ino, a);
	put(KEY_XATTR, hard_ino, "user.b", "x", 1);
	ok(!repaired("/dir: has 4 entries, 1 of them", "counts").lost, "... nothing is lost");
	end();
	begin();
	a = get(KEY_NAME, sub_ino, "big");
	a.stored -= 7;
	a.size = 5000;
	put_attr(KEY_NAME, sub_ino, "big", big_ino, a);
	repaired("its size was 5000", "a size");
	is_int(read_all(at("dir/sub/big"), 0, sizeof(big_bytes)), 0, "... all of it is there");
	end();
}

static void test_names(void)
{
	begin();
	drop(KEY_INODE, hard_ino, "");
	repaired("/dir/hard: removed", "links to nothing");
	is_int(at("dir/hard"), 0, "... are gone");
	end();
	begin();
	drop(KEY_NAME, dir_ino, "hard");
	drop(KEY_NAME, sub_ino, "hard2");
	repaired("has no name", "an inode without a name");
	saved_as(hard_ino, "it");
	end();
	begin();
	drop(KEY_NAME, FS_ROOT_INO, "dir");
	repaired("directory", "a lost directory");
	saved_as(dir_ino, "it");
	is_int(fs_lookup(f.fs, dir_ino, "file", &(struct stat){0}), 0, "... with its files");
	is_int(read_all(big_ino, 0, 100), -ESTALE, "(nobody holds them)");
	fs_lookup(f.fs, dir_ino, "sub", &(struct stat){0});
	fs_lookup(f.fs, sub_ino, "big", &(struct stat){0});
	is_int(read_all(big_ino, 0, sizeof(big_bytes)), 0, "... and all below");
	end();
	begin();
	drop(KEY_NAME, sub_ino, "big");
	repaired("content of inode", "a file whose record is lost");
	saved_as(big_ino, "it");
	is_int(read_all(big_ino, 0, sizeof(big_bytes)), 0, "... with its content");
	end();
	begin();
	drop(KEY_NAME, dir_ino, "file");
	repaired("extended attributes of inode", "attributes of nobody");
	end();
	begin();
	put(KEY_NAME, dir_ino, "a/b", "\x09", 1);
	put_attr(KEY_NAME, dir_ino, "c/d", 50, get(KEY_NAME, dir_ino, "file"));
	repaired("no file can have this name", "impossible names");
	saved_as(50, "what could be read");
	end();
	begin();
	put_attr(KEY_NAME, dir_ino, "twice", file_ino, get(KEY_NAME, dir_ino, "file"));
	repaired("is also elsewhere", "one inode in two places");
	ok(!at("dir/twice") != !at("dir/file"), "... is in one");
	end();
	begin();
	put_attr(KEY_INODE, sub_ino, "", sub_ino, get(KEY_NAME, dir_ino, "sub"));
	put_link(dir_ino, "hard", hard_ino, S_IFIFO);
	put_attr(KEY_NAME, dir_ino, "future", file_ino + 100000, get(KEY_NAME, dir_ino, "file"));
	repaired("made a link of the type", "contradictions");
	is_int(at("dir/sub"), sub_ino, "... the directory is where its name is");
	is_int(at("dir/future"), file_ino + 100000, "... a number of the future is one");
	end();
	begin();
	put(KEY_NAME, file_ino, "child", "\x02\x01\x08", 3);
	put_link(file_ino, "other", hard_ino, S_IFREG);
	repaired("which is no directory", "names in a file");
	saved_as(hard_ino, "what they stand for");
	end();
}

static void test_acls(void)
{
	static const char name[] = "system.posix_acl_access";
	size_t got;

	begin();
	put(KEY_XATTR, file_ino, name, "none", 4);
	repaired("/dir/file: system.posix_acl_access", "what is no ACL");
	is_int(fs_getxattr(f.fs, at("dir/file"), "user.a", NULL, 0, &got), 0,
	       "... another attribute stays");
	end();
}

static void test_twice(void)
{
	struct attr a;

	begin();
	a = get(KEY_NAME, dir_ino, "sub");
	a.ctime = 1;
	put_attr(KEY_NAME, 9999, "sub", file_ino, a); /* in a directory that is not there */
	repaired("is also elsewhere", "what was a directory is a file");
	is_int(at("dir/file"), file_ino, "... the newer one stays");
	end();
}

static void test_rings(void)
{
	struct attr a;

	begin();
	a = get(KEY_NAME, FS_ROOT_INO, "dir");
	drop(KEY_NAME, FS_ROOT_INO, "dir");
	put_attr(KEY_NAME, sub_ino, "dir", dir_ino, a);
	repaired("is within itself", "a ring of directories");
	ok(at("lost+found/#2") || at("lost+found/#3"), "... is in lost+found");
	end();
	begin();
	put_attr(KEY_NAME, dir_ino, "self", dir_ino, get(KEY_NAME, FS_ROOT_INO, "dir"));
	repaired("is also elsewhere", "a directory in itself");
	is_int(at("dir/sub"), sub_ino, "... is where it was");
	end();
}

static void test_roots(void)
{
	struct lsm_batch *b;

	begin();
	drop(KEY_INODE, FS_ROOT_INO, "");
	drop_key(SLICE(SUPER_FORMAT));
	drop_key(SLICE(SUPER_NEXT));
	repaired("the root's record was lost", "no root, no superblock");
	is_int(at("dir/file"), file_ino, "... all is there");
	ok(mk_file(f.fs, FS_ROOT_INO, "new") > file_ino, "... a new file has a new number");
	end();
	begin();
	put_link(FS_ROOT_INO, "lost+found", hard_ino, S_IFREG);
	drop(KEY_NAME, sub_ino, "big");
	repaired(NULL, "lost+found is a file");
	ok(at("lost+found-2"), "... another is made");
	end();
	begin();
	b = lsm_batch_new();
	lsm_batch_put(b, SLICE(SUPER_FORMAT), (struct lsm_slice){"\2\0\0\0", 4});
	lsm_write(lsm, b, 0);
	lsm_batch_free(b);
	lsm_close(lsm);
	is_int(fs_repair(f.store, &f.options, collect, NULL, NULL, NULL,
			 &(struct fs_repair_counts){0}),
	       -EPROTONOSUPPORT, "a newer format is left alone");
	end();
	begin();
	put(KEY_ORPHAN, file_ino, "", "", 0);
	repaired("was listed as deleted", "a named orphan");
	is_int(at("dir/file"), file_ino, "... stays");
	end();
}

/* What is lost of a file is an error to read, and nothing else. */
static void test_lost(void)
{
	static char buf[sizeof(big_bytes)];
	struct key k;
	uint64_t ino;
	size_t got;

	begin();
	drop_key(key_extent(&k, big_ino, 131072));
	ok(repaired("of its content are lost", "a lost extent").lost, "... counts as a loss");
	ino = at("dir/sub/big");
	is_int(read_all(ino, 0, 131072), 0, "... what is left is right");
	is_int(fs_read(f.fs, ino, 131072, buf, 100, &got), -EIO, "... the lost part is an error");
	is_int(fs_read(f.fs, ino, 199999, buf, 1, &got), -EIO, "... up to the end");
	is_int(fs_write(f.fs, ino, 131100, big_bytes + 131100, 10, 0, NULL), 0,
	       "... a small write into it works");
	is_int(fs_write(f.fs, ino, 140000, big_bytes + 140000, 20000, 0, NULL), 0,
	       "... a large one");
	is_int(read_all(ino, 131100, 10), 0, "... and is read back");
	is_int(read_all(ino, 140000, 20000), 0, "... both are");
	is_int(fs_read(f.fs, ino, 131110, buf, 1, &got), -EIO, "... the rest stays an error");
	fixture_clean(&f, "with parts of it written");
	fixture_reopen(&f);
	ino = at("dir/sub/big");
	is_int(read_all(ino, 140000, 20000), 0, "... after closing, too");
	is_int(fs_write(f.fs, ino, 0, big_bytes, sizeof(big_bytes), 0, NULL), 0,
	       "... all is written");
	is_int(read_all(ino, 0, sizeof(big_bytes)), 0, "... and reads");
	end();
	begin();
	put_value(key_extent(&k, big_ino, 100), "overlapping", 11);
	repaired("contradict each other", "an overlap");
	ino = at("dir/sub/big");
	is_int(read_all(ino, 0, 100), 0, "... before it all is right");
	is_int(fs_read(f.fs, ino, 100, buf, 1, &got), -EIO, "... in it nothing is told");
	is_int(read_all(ino, 131072, 60000), 0, "... behind it all is right");
	end();
}

/* ---- wrong bytes below ---- */

static char suffix_name[PATH_MAX];
static off_t suffix_size;
static const char *suffix_wanted;

static int find_suffix(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)ftw;
	if (type == FTW_F && dot && !strcmp(dot, suffix_wanted) && st->st_size > suffix_size) {
		suffix_size = st->st_size;
		snprintf(suffix_name, sizeof(suffix_name), "%s", path);
	}
	return 0;
}

/* Change the byte at `part` / 8 of the largest file with this suffix. */
static void flip(const char *suffix, unsigned part)
{
	unsigned char byte;
	int fd;

	suffix_wanted = suffix;
	suffix_size = 0;
	if (nftw(f.store, find_suffix, 8, FTW_PHYS) || !suffix_size)
		bail("no file *%s", suffix);
	fd = open(suffix_name, O_RDWR);
	if (fd < 0 || pread(fd, &byte, 1, suffix_size * part / 8) != 1)
		bail("%s: %s", suffix_name, strerror(errno));
	byte ^= 0x40;
	if (pwrite(fd, &byte, 1, suffix_size * part / 8) != 1 || close(fd))
		bail("%s: %s", suffix_name, strerror(errno));
}

static void test_segment(void)
{
	static char buf[4096];
	unsigned lost = 0, wrong = 0;
	uint64_t ino;

	begin();
	lsm_compact(lsm, (struct lsm_slice){0}, (struct lsm_slice){0}, NULL, NULL);
	lsm_close(lsm);
	flip(".seg", 1);
	if (lsm_open(f.store, &f.options.lsm, &lsm))
		bail("lsm_open");
	repaired("the value in the segment is damaged", "a damaged segment");
	ino = at("dir/sub/big");
	for (uint64_t o = 0; o < sizeof(big_bytes) - 4096; o += 4096) {
		int rc = read_all(ino, o, 4096);

		lost += rc == -EIO;
		wrong += rc && rc != -EIO;
	}
	is_int(lost, 1, "... costs 4 KiB");
	is_int(wrong, 0, "... all else is right");
	(void)buf;
	end();
}

#define MANY 3000u

static void test_table(const char *suffix, unsigned part, unsigned lost_min, unsigned lost_max)
{
	unsigned lost = 0, wrong = 0;
	char name[16], want[128], got_bytes[128];
	struct stat st;
	uint64_t d;

	fixture_init(&f);
	f.quiet = true;
	d = mk_dir(f.fs, FS_ROOT_INO, "many");
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t ino;

		snprintf(name, sizeof(name), "f%04u", i);
		snprintf(want, sizeof(want), "%0100u", i * 7919);
		ino = mk_file(f.fs, d, name);
		fs_write(f.fs, ino, 0, want, 100, 0, NULL);
		fs_forget(f.fs, ino, 1);
	}
	is_int(fs_compact(f.fs, NULL, NULL), 0, "compact");
	/* Newer versions of every 10th, in a table above. */
	fixture_reopen(&f);
	if (fs_lookup(f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	fixture_close(&f);
	flip(suffix, part);
	lsm = NULL;
	told[0] = '\0';
	is_int(fs_repair(f.store, &f.options, collect, NULL, NULL, NULL,
			 &(struct fs_repair_counts){0}),
	       0, "%s damaged at %u/8", suffix, part);
	printf("# %s", told);
	fixture_open(&f);
	fixture_clean(&f, "after it");
	if (fs_lookup(f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	for (unsigned i = 0; i < MANY; i++) {
		size_t got;
		int rc;

		snprintf(name, sizeof(name), "f%04u", i);
		snprintf(want, sizeof(want), "%0100u", i * 7919);
		rc = fs_lookup(f.fs, d, name, &st);
		if (!rc)
			rc = fs_read(f.fs, st.st_ino, 0, got_bytes, sizeof(got_bytes), &got);
		if (rc == -ENOENT)
			lost++;
		else if (rc || got != 100 || memcmp(got_bytes, want, 100) != 0)
			wrong++;
	}
	ok(lost >= lost_min && lost <= lost_max && !wrong, "... %u files are lost, %u wrong", lost,
	   wrong);
	fixture_release(&f);
}

int main(void)
{
	test_whole();
	test_counts();
	test_names();
	test_acls();
	test_twice();
	test_rings();
	test_roots();
	test_lost();
	test_segment();
	test_table(".tab", 4, 1, 200);
	test_table(".man", 0, 0, 0);
	return done();
}
