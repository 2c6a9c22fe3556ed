/*
 * fs_check() finds each fault planted in the store, and only that; and the
 * other calls answer EIO to what is damaged, and go on.
 */
#include "fs/core.h"
#include "tests/support/fs_raw.h"

static char found[8192];

static void collect(void *ctx, const char *text)
{
	size_t n = strlen(found);

	(void)ctx;
	snprintf(found + n, sizeof(found) - n, "%s\n", text);
}

static int take_name(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	char *list = ctx;

	(void)next;
	if (held)
		fs_forget(f.fs, st->st_ino, 1);
	strcat(strcat(list, " "), name);
	return 0;
}

/* The names in a directory, each with a blank before it. */
static const char *names_in(uint64_t ino)
{
	static char list[4096];
	struct fs_dir *dir;
	int rc = fs_dir_open(f.fs, ino, &dir);

	list[0] = '\0';
	if (!rc) {
		rc = fs_dir_read(dir, 0, true, take_name, list);
		fs_dir_close(dir);
	}
	return rc ? strerror(-rc) : list;
}

/* The check now says `want` (NULL: nothing). Leaves the filesystem open. */
static void finds(const char *want, const char *what)
{
	struct fs_check_counts counts;
	int rc;

	lsm_close(lsm);
	fixture_open(&f);
	found[0] = '\0';
	rc = fs_check(f.fs, collect, NULL, NULL, NULL, &counts);
	if (!want)
		ok(!rc && !found[0] && !counts.findings, "%s: nothing is found", what);
	else
		ok(rc == -EUCLEAN && counts.findings && strstr(found, want), "%s: \"%s\"", what,
		   want);
	if (!want ? found[0] : !strstr(found, want))
		printf("# found: %s\n", found);
}

static void test_clean(void)
{
	struct fs_check_counts counts;

	begin();
	finds(NULL, "a whole store");
	fs_check(f.fs, NULL, NULL, NULL, NULL, &counts);
	ok(counts.files == 3 && counts.directories == 3 && counts.symlinks == 1 &&
		   counts.others == 0 && counts.bytes == 200005,
	   "all is counted");
	end();
}

static void test_counts(void)
{
	struct attr a;

	begin();
	a = get(KEY_NAME, FS_ROOT_INO, "dir");
	a.entries++;
	put_attr(KEY_NAME, FS_ROOT_INO, "dir", dir_ino, a);
	finds("/dir: has 4 entries, its record says 5", "entries");
	end();
	begin();
	a = get(KEY_INODE, FS_ROOT_INO, "");
	a.subdirs--;
	put_attr(KEY_INODE, FS_ROOT_INO, "", FS_ROOT_INO, a);
	finds("/: has 1 subdirectories, its record says 0", "subdirectories");
	end();
	begin();
	a = get(KEY_INODE, hard_ino, "");
	a.nlink = 3;
	put_attr(KEY_INODE, hard_ino, "", hard_ino, a);
	finds("has 2 names, its record says 3", "links");
	end();
	begin();
	a = get(KEY_NAME, sub_ino, "big");
	a.stored -= 7;
	put_attr(KEY_NAME, sub_ino, "big", big_ino, a);
	finds("/dir/sub/big: 200000 bytes are stored, its record says 199993", "stored bytes");
	end();
	begin();
	a = get(KEY_NAME, sub_ino, "big");
	a.size = 5000;
	put_attr(KEY_NAME, sub_ino, "big", big_ino, a);
	finds("/dir/sub/big: content at byte", "extents beyond the size");
	end();
}

static void test_missing(void)
{
	struct stat st;

	begin();
	drop(KEY_INODE, hard_ino, "");
	finds("/dir/hard: its inode", "a link to nothing");
	is_int(fs_lookup(f.fs, FS_ROOT_INO, "dir", &st), 0, "its directory");
	is_int(fs_lookup(f.fs, st.st_ino, "hard", &st), -EIO, "... says EIO to it");
	is_int(fs_lookup(f.fs, dir_ino, "file", &st), 0, "... not to others");
	end();
	begin();
	drop(KEY_NAME, dir_ino, "hard");
	drop(KEY_NAME, sub_ino, "hard2");
	finds("has no name", "an inode without a name");
	end();
	begin();
	drop(KEY_NAME, FS_ROOT_INO, "dir");
	finds("which does not exist", "names in no directory");
	end();
	begin();
	drop(KEY_NAME, sub_ino, "big");
	finds("content of inode", "extents of nobody");
	end();
	begin();
	drop(KEY_NAME, dir_ino, "file");
	finds("extended attributes of inode", "attributes of nobody");
	end();
	begin();
	put(KEY_XATTR, hard_ino, "user.b", "x", 1);
	finds("/dir/hard: has extended attributes its record does not know of", "unknown");
	end();
}

static void test_wrong(void)
{
	struct attr a;
	struct stat st;

	begin();
	put(KEY_NAME, dir_ino, "file", "\x09garbage", 8);
	finds("/dir/file: damaged: unknown kind", "garbage");
	fs_lookup(f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(f.fs, dir_ino, "file", &st), -EIO, "EIO to garbage");
	is_int(fs_unlink(f.fs, dir_ino, "file"), -EIO, "... also for unlink");
	end();
	begin();
	put_attr(KEY_NAME, dir_ino, "file", file_ino + 100000, get(KEY_NAME, dir_ino, "file"));
	finds("was never given out", "a number of the future");
	end();
	begin();
	put_attr(KEY_NAME, dir_ino, "twice", file_ino, get(KEY_NAME, dir_ino, "file"));
	finds("/dir/twice: inode", "one inode in two places");
	end();
	begin();
	a = get(KEY_NAME, dir_ino, "file");
	a.nlink = 2;
	put_attr(KEY_NAME, dir_ino, "file", file_ino, a);
	finds("its record says 2 names", "two names in one");
	fs_lookup(f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(f.fs, dir_ino, "file", &st), -EIO, "EIO to it");
	end();
	begin();
	put_link(dir_ino, "hard", hard_ino, S_IFIFO);
	finds("/dir/hard: not of the type", "a link of another type");
	end();
	begin();
	put(KEY_ORPHAN, 999, "", "", 0);
	put_link(dir_ino, "a/b", hard_ino, S_IFREG);
	put_link(dir_ino, "..", hard_ino, S_IFREG);
	put_link(dir_ino, "", hard_ino, S_IFREG);
	finds("no file can have this name", "a slash in a name");
	fs_lookup(f.fs, FS_ROOT_INO, "dir", &st);
	ok(!strcmp(names_in(dir_ino), " . .. file hard link sub"), "others are listed:%s",
	   names_in(dir_ino));
	end();
	begin();
	put_attr(KEY_INODE, sub_ino, "", sub_ino, get(KEY_NAME, dir_ino, "sub"));
	finds("a directory outside of any", "a directory with a record of its own");
	end();
}

/* Directories that contain each other are found, and nobody waits for himself. */
static void test_loop(void)
{
	struct attr a;
	struct stat st;

	begin();
	a = get(KEY_NAME, FS_ROOT_INO, "dir");
	drop(KEY_NAME, FS_ROOT_INO, "dir");
	put_attr(KEY_NAME, sub_ino, "dir", dir_ino, a);
	finds("cannot be reached from the root", "a loop");
	end();
	begin();
	put_attr(KEY_NAME, dir_ino, "self", dir_ino, get(KEY_NAME, FS_ROOT_INO, "dir"));
	finds("is also elsewhere", "a directory in itself");
	fs_lookup(f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(f.fs, dir_ino, "self", &st), -EIO, "EIO to that");
	is_int(fs_rmdir(f.fs, dir_ino, "self"), -EIO, "... also for rmdir");
	is_int(fs_rename(f.fs, dir_ino, "self", FS_ROOT_INO, "x", 0), -EIO, "... and rename");
	end();
}

/* More directories and links than the table may hold: it is done in parts. */
static void test_parts(void)
{
	enum { DIRS = 14000, LINKS = 1000 };
	uint64_t d = 0, low = 0, high = 0, linked = 0;
	struct fs_check_counts counts;
	char name[16];
	struct stat st;
	struct attr a;

	fixture_init(&f);
	f.quiet = true;
	fixture_close(&f);
	f.options.lsm.memory_bytes = 4 << 20; /* 256 KiB of it: 4096 nodes, and never so full */
	fixture_open(&f);
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		d = mk_dir(f.fs, i % 100 ? d : FS_ROOT_INO, name);
		low = i == 1000 ? d : low;
		high = i == DIRS - 500 ? d : high;
	}
	for (unsigned i = 0; i < LINKS; i++) {
		snprintf(name, sizeof(name), "a%u", i);
		linked = mk_file(f.fs, d, name);
		snprintf(name, sizeof(name), "b%u", i);
		fs_link(f.fs, linked, low, name, &st);
	}
	/* A new directory above an old one. */
	snprintf(name, sizeof(name), "d%u", 2001);
	is_int(fs_rename(f.fs, ino_of(f.fs, FS_ROOT_INO, "d2000"), name, high, name, 0), 0,
	       "rename");
	is_int(fs_check(f.fs, fixture_finding, NULL, NULL, NULL, &counts), 0, "clean");
	is_int(counts.directories, DIRS + 1, "... and nothing counted twice");
	is_int(counts.files, LINKS, "... nor files");
	fixture_close(&f);

	/* One of each, of low and of high numbers, and a directory in itself. */
	if (lsm_open(f.store, &f.options.lsm, &lsm))
		bail("lsm_open");
	snprintf(name, sizeof(name), "d%u", 1001);
	a = get(KEY_NAME, low, name);
	a.entries += 7;
	put_attr(KEY_NAME, low, name, low + 1, a);
	snprintf(name, sizeof(name), "d%u", DIRS - 499);
	a = get(KEY_NAME, high, name);
	a.entries += 8;
	put_attr(KEY_NAME, high, name, high + 1, a);
	a = get(KEY_INODE, linked, "");
	a.nlink += 9;
	put_attr(KEY_INODE, linked, "", linked, a);
	put_link(low, "b0", linked - 2, S_IFREG);
	put_link(low, "b1", linked - 2, S_IFIFO);
	snprintf(name, sizeof(name), "d%u", DIRS - 101);
	a = get(KEY_NAME, d - 101, name);
	drop(KEY_NAME, d - 101, name);
	put_attr(KEY_NAME, d - 100, name, d - 100, a);
	lsm_close(lsm);
	fixture_open(&f);
	found[0] = '\0';
	is_int(fs_check(f.fs, collect, NULL, NULL, NULL, &counts), -EUCLEAN, "damaged");
	ok(strstr(found, "/d1001: has 1 entries, its record says 8"), "entries of a low one");
	snprintf(name, sizeof(name), "/d%u: has ", DIRS - 499);
	ok(strstr(found, name), "... of a high one");
	ok(strstr(found, "has 2 names, its record says 11"), "links");
	ok(strstr(found, "/b1: not of the type"), "a link of another type");
	ok(strstr(found, "inode") && strstr(found, "has 1 names, its record says 2"),
	   "a link too few");
	ok(strstr(found, "cannot be reached from the root"), "a loop");
	/* Those; the two that b0 and b1 were of, the one they are of; four counts of the loop. */
	is_int(counts.findings, 12, "each is told once");
	if (counts.findings != 12)
		printf("# found: %s\n", found);
	fixture_release(&f);
}

static void test_orphan_with_name(void)
{
	struct fs_check_counts counts;

	begin();
	put(KEY_ORPHAN, file_ino, "", "", 0);
	lsm_close(lsm);
	f.options.lsm.read_only = true;
	fixture_open(&f);
	found[0] = '\0';
	fs_check(f.fs, collect, NULL, NULL, NULL, &counts);
	ok(strstr(found, "/dir/file: is listed as deleted, but has a name"), "a named orphan");
	is_int(counts.orphans, 1, "... is counted");
	end();
}

static void test_super(void)
{
	struct lsm_batch *b;
	int rc;

	begin();
	b = lsm_batch_new();
	lsm_batch_put(b, SLICE(SUPER_FORMAT), (struct lsm_slice){"\2\0\0\0", 4});
	lsm_write(lsm, b, 0);
	lsm_close(lsm);
	is_int(fs_open(f.store, &f.options, &f.fs), -EPROTONOSUPPORT, "a newer format");
	lsm_open(f.store, &f.options.lsm, &lsm);
	lsm_batch_clear(b);
	lsm_batch_delete(b, SLICE(SUPER_FORMAT));
	lsm_write(lsm, b, 0);
	lsm_close(lsm);
	lsm_batch_free(b);
	rc = fs_open(f.store, &f.options, &f.fs);
	is_int(rc, -EUCLEAN, "keys, but no filesystem");
	end();
}

/* ---- wrong bytes below ---- */

#define MANY 3000u
static off_t largest;
static char largest_name[PATH_MAX];

static int find_largest(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)ftw;
	/* A table; the rest of the store is ahead of its use or empty after a close. */
	if (dot && !strcmp(dot, ".tab") && type == FTW_F && st->st_size > largest) {
		largest = st->st_size;
		snprintf(largest_name, sizeof(largest_name), "%s", path);
	}
	return 0;
}

/* Change one byte in the middle of the largest table of the closed store. */
static bool flip(void)
{
	unsigned char byte;
	int fd;

	largest = 0;
	if (nftw(f.store, find_largest, 8, FTW_PHYS))
		bail("nftw");
	if (!largest)
		return false;
	fd = open(largest_name, O_RDWR);
	if (fd < 0 || pread(fd, &byte, 1, largest / 2) != 1)
		bail("%s: %s", largest_name, strerror(errno));
	byte ^= 0x40;
	if (pwrite(fd, &byte, 1, largest / 2) != 1 || close(fd))
		bail("%s: %s", largest_name, strerror(errno));
	return true;
}

static void count_damaged(uint64_t d, unsigned *damaged, unsigned *other)
{
	char name[16], want[128], got_bytes[128];
	struct stat st;
	size_t got;

	*damaged = *other = 0;
	for (unsigned i = 0; i < MANY; i++) {
		int rc;

		snprintf(name, sizeof(name), "f%04u", i);
		snprintf(want, sizeof(want), "%0100u", i * 7919);
		rc = fs_lookup(f.fs, d, name, &st);
		if (!rc)
			rc = fs_read(f.fs, st.st_ino, 0, got_bytes, sizeof(got_bytes), &got);
		if (rc == -EIO)
			(*damaged)++;
		else if (rc || got != 100 || memcmp(got_bytes, want, 100))
			(*other)++;
	}
}

static void test_damage(void)
{
	struct fs_check_counts counts;
	unsigned damaged, other;
	struct stat st;
	char text[128];
	uint64_t d;

	fixture_init(&f);
	f.quiet = true;
	d = mk_dir(f.fs, FS_ROOT_INO, "many");
	for (unsigned i = 0; i < MANY; i++) {
		char name[16];
		uint64_t ino;

		snprintf(name, sizeof(name), "f%04u", i);
		snprintf(text, sizeof(text), "%0100u", i * 7919);
		ino = mk_file(f.fs, d, name);
		fs_write(f.fs, ino, 0, text, 100, 0, NULL);
		fs_forget(f.fs, ino, 1);
	}
	is_int(fs_compact(f.fs, NULL, NULL), 0, "compact");
	fixture_close(&f);
	if (!flip()) {
		tap_skip("the store has no tables");
		fixture_release(&f);
		return;
	}
	fixture_open(&f);
	found[0] = '\0';
	is_int(fs_check(f.fs, collect, NULL, NULL, NULL, &counts), -EUCLEAN, "damage is found");
	ok(strstr(found, "/many/f"), "... and which files it may have held");
	ok(!strstr(found, "its record says"), "... without what only follows from it");
	printf("# found: %s", found);
	if (fs_lookup(f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	count_damaged(d, &damaged, &other);
	ok(damaged > 0 && damaged < MANY / 10, "%u files say EIO", damaged);
	is_int(other, 0, "all others are whole");
	fixture_release(&f);
}

int main(void)
{
	test_clean();
	test_counts();
	test_missing();
	test_wrong();
	test_loop();
	test_parts();
	test_orphan_with_name();
	test_super();
	test_damage();
	return done();
}
