/*
 * fs_check() finds each fault planted in the store, and only that. The other calls
 * return EIO for the damaged inode or name, and work for all others.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/core.h"
#include "tests/support/disk_file.h"
#include "tests/support/fs_many.h"
#include "tests/support/fs_raw.h"
#include "tests/support/lines.h"

static struct lines found;

static int take_name(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	char *list = ctx;

	(void)next;
	if (held)
		fs_forget(raw.f.fs, st->st_ino, 1);
	strcat(strcat(list, " "), name);
	return 0;
}

/* The names in a directory, each with a blank before it. */
static const char *names_in(uint64_t ino)
{
	static char list[4096];
	struct fs_dir *dir;
	int err = fs_dir_open(raw.f.fs, ino, &dir);

	list[0] = '\0';
	if (!err) {
		err = fs_dir_read(dir, 0, true, take_name, list);
		fs_dir_close(dir);
	}
	return err ? strerror(-err) : list;
}

/* The check now says `want` (NULL: nothing). Leaves the filesystem open. */
static void finds(const char *want, const char *what)
{
	struct fs_check_counts counts;
	int err;

	lsm_close(raw.lsm);
	fs_fixture_open(&raw.f);
	lines_clear(&found);
	err = fs_check(raw.f.fs, lines_add, &found, NULL, NULL, &counts);
	if (!want)
		ok(!err && !found.text[0] && !counts.findings, "%s: nothing is found", what);
	else
		ok(err == -EUCLEAN && counts.findings && strstr(found.text, want), "%s: \"%s\"",
		   what, want);
	if (!want ? found.text[0] : !strstr(found.text, want))
		printf("# found: %s\n", found.text);
}

static void test_clean(void)
{
	struct fs_check_counts counts;

	raw_begin();
	finds(NULL, "a whole store");
	fs_check(raw.f.fs, NULL, NULL, NULL, NULL, &counts);
	ok(counts.files == 3 && counts.directories == 3 && counts.symlinks == 1 &&
		   counts.others == 0 && counts.bytes == 200005,
	   "all is counted");
	raw_end();
}

static void test_counts(void)
{
	struct attr a;

	raw_begin();
	a = raw_get(KEY_NAME, FS_ROOT_INO, "dir");
	a.entries++;
	raw_put_attr(KEY_NAME, FS_ROOT_INO, "dir", raw.dir_ino, a);
	finds("/dir: has 4 entries, its record says 5", "entries");
	raw_end();
	raw_begin();
	a = raw_get(KEY_INODE, FS_ROOT_INO, "");
	a.subdirs--;
	raw_put_attr(KEY_INODE, FS_ROOT_INO, "", FS_ROOT_INO, a);
	finds("/: has 1 subdirectories, its record says 0", "subdirectories");
	raw_end();
	raw_begin();
	a = raw_get(KEY_INODE, raw.hard_ino, "");
	a.nlink = 3;
	raw_put_attr(KEY_INODE, raw.hard_ino, "", raw.hard_ino, a);
	finds("has 2 names, its record says 3", "links");
	raw_end();
	raw_begin();
	a = raw_get(KEY_NAME, raw.sub_ino, "big");
	a.stored -= 7;
	raw_put_attr(KEY_NAME, raw.sub_ino, "big", raw.big_ino, a);
	finds("/dir/sub/big: 200000 bytes are stored, its record says 199993", "stored bytes");
	raw_end();
	raw_begin();
	a = raw_get(KEY_NAME, raw.sub_ino, "big");
	a.size = 5000;
	raw_put_attr(KEY_NAME, raw.sub_ino, "big", raw.big_ino, a);
	finds("/dir/sub/big: content at byte", "extents beyond the size");
	raw_end();
}

static void test_missing(void)
{
	struct stat st;

	raw_begin();
	raw_drop(KEY_INODE, raw.hard_ino, "");
	finds("/dir/hard: its inode", "a link to nothing");
	is_int(fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st), 0, "its directory");
	is_int(fs_lookup(raw.f.fs, st.st_ino, "hard", &st), -EIO, "... EIO for the damaged name");
	is_int(fs_lookup(raw.f.fs, raw.dir_ino, "file", &st), 0, "... not for other names");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.dir_ino, "hard");
	raw_drop(KEY_NAME, raw.sub_ino, "hard2");
	finds("has no name", "an inode without a name");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, FS_ROOT_INO, "dir");
	finds("which does not exist", "names in no directory");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.sub_ino, "big");
	finds("content of inode", "extents without an inode");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.dir_ino, "file");
	finds("extended attributes of inode", "attributes without an inode");
	raw_end();
	raw_begin();
	raw_put(KEY_XATTR, raw.hard_ino, "user.b", "x", 1);
	finds("/dir/hard: has extended attributes its record does not know of", "unknown");
	raw_end();
}

static void test_wrong(void)
{
	struct attr a;
	struct stat st;

	raw_begin();
	raw_put(KEY_NAME, raw.dir_ino, "file", "\x09garbage", 8);
	finds("/dir/file: damaged: unknown kind", "garbage");
	fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(raw.f.fs, raw.dir_ino, "file", &st), -EIO, "EIO for garbage");
	is_int(fs_unlink(raw.f.fs, raw.dir_ino, "file"), -EIO, "... also for unlink");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_NAME, raw.dir_ino, "file", raw.file_ino + 100000,
		     raw_get(KEY_NAME, raw.dir_ino, "file"));
	finds("was never given out", "a number of the future");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_NAME, raw.dir_ino, "twice", raw.file_ino,
		     raw_get(KEY_NAME, raw.dir_ino, "file"));
	finds("/dir/twice: inode", "one inode in two places");
	raw_end();
	raw_begin();
	a = raw_get(KEY_NAME, raw.dir_ino, "file");
	a.nlink = 2;
	raw_put_attr(KEY_NAME, raw.dir_ino, "file", raw.file_ino, a);
	finds("its record says 2 names", "two names in one");
	fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(raw.f.fs, raw.dir_ino, "file", &st), -EIO, "EIO for it");
	raw_end();
	raw_begin();
	raw_put_link(raw.dir_ino, "hard", raw.hard_ino, S_IFIFO);
	finds("/dir/hard: not of the type", "a link of another type");
	raw_end();
	raw_begin();
	raw_put(KEY_ORPHAN, 999, "", "", 0);
	raw_put_link(raw.dir_ino, "a/b", raw.hard_ino, S_IFREG);
	raw_put_link(raw.dir_ino, "..", raw.hard_ino, S_IFREG);
	raw_put_link(raw.dir_ino, "", raw.hard_ino, S_IFREG);
	finds("no file can have this name", "a slash in a name");
	fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st);
	ok(!strcmp(names_in(raw.dir_ino), " . .. file hard link sub"), "others are listed:%s",
	   names_in(raw.dir_ino));
	raw_end();
	raw_begin();
	raw_put_attr(KEY_INODE, raw.sub_ino, "", raw.sub_ino,
		     raw_get(KEY_NAME, raw.dir_ino, "sub"));
	finds("a directory outside of any", "a directory with a record of its own");
	raw_end();
}

/* Directories that contain each other are found, and no thread waits for itself. */
static void test_loop(void)
{
	struct attr a;
	struct stat st;

	raw_begin();
	a = raw_get(KEY_NAME, FS_ROOT_INO, "dir");
	raw_drop(KEY_NAME, FS_ROOT_INO, "dir");
	raw_put_attr(KEY_NAME, raw.sub_ino, "dir", raw.dir_ino, a);
	finds("cannot be reached from the root", "a loop");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_NAME, raw.dir_ino, "self", raw.dir_ino,
		     raw_get(KEY_NAME, FS_ROOT_INO, "dir"));
	finds("is also elsewhere", "a directory in itself");
	fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st);
	is_int(fs_lookup(raw.f.fs, raw.dir_ino, "self", &st), -EIO, "EIO for that name");
	is_int(fs_rmdir(raw.f.fs, raw.dir_ino, "self"), -EIO, "... also for rmdir");
	is_int(fs_rename(raw.f.fs, raw.dir_ino, "self", FS_ROOT_INO, "x", 0), -EIO,
	       "... and rename");
	raw_end();
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

	fs_fixture_init(&raw.f);
	raw.f.quiet = true;
	fs_fixture_close(&raw.f);
	raw.f.options.lsm.memory_bytes = 4 << 20; /* 256 KiB of it: 4096 nodes, and never so full */
	fs_fixture_open(&raw.f);
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		d = make_dir(raw.f.fs, i % 100 ? d : FS_ROOT_INO, name);
		low = i == 1000 ? d : low;
		high = i == DIRS - 500 ? d : high;
	}
	for (unsigned i = 0; i < LINKS; i++) {
		snprintf(name, sizeof(name), "a%u", i);
		linked = make_file(raw.f.fs, d, name);
		snprintf(name, sizeof(name), "b%u", i);
		fs_link(raw.f.fs, linked, low, name, &st);
	}
	/* A new directory above an old one. */
	snprintf(name, sizeof(name), "d%u", 2001);
	is_int(fs_rename(raw.f.fs, ino_of(raw.f.fs, FS_ROOT_INO, "d2000"), name, high, name, 0), 0,
	       "rename");
	is_int(fs_check(raw.f.fs, print_finding, NULL, NULL, NULL, &counts), 0, "clean");
	is_int(counts.directories, DIRS + 1, "... and nothing counted twice");
	is_int(counts.files, LINKS, "... nor files");
	fs_fixture_close(&raw.f);

	/* One of each, of low and of high numbers, and a directory in itself. */
	if (lsm_open(raw.f.store, &raw.f.options.lsm, &raw.lsm))
		bail("lsm_open");
	snprintf(name, sizeof(name), "d%u", 1001);
	a = raw_get(KEY_NAME, low, name);
	a.entries += 7;
	raw_put_attr(KEY_NAME, low, name, low + 1, a);
	snprintf(name, sizeof(name), "d%u", DIRS - 499);
	a = raw_get(KEY_NAME, high, name);
	a.entries += 8;
	raw_put_attr(KEY_NAME, high, name, high + 1, a);
	a = raw_get(KEY_INODE, linked, "");
	a.nlink += 9;
	raw_put_attr(KEY_INODE, linked, "", linked, a);
	raw_put_link(low, "b0", linked - 2, S_IFREG);
	raw_put_link(low, "b1", linked - 2, S_IFIFO);
	snprintf(name, sizeof(name), "d%u", DIRS - 101);
	a = raw_get(KEY_NAME, d - 101, name);
	raw_drop(KEY_NAME, d - 101, name);
	raw_put_attr(KEY_NAME, d - 100, name, d - 100, a);
	lsm_close(raw.lsm);
	fs_fixture_open(&raw.f);
	lines_clear(&found);
	is_int(fs_check(raw.f.fs, lines_add, &found, NULL, NULL, &counts), -EUCLEAN, "damaged");
	ok(strstr(found.text, "/d1001: has 1 entries, its record says 8"),
	   "entries of a directory with a low number");
	snprintf(name, sizeof(name), "/d%u: has ", DIRS - 499);
	ok(strstr(found.text, name), "... of a directory with a high number");
	ok(strstr(found.text, "has 2 names, its record says 11"), "links");
	ok(strstr(found.text, "/b1: not of the type"), "a link of another type");
	ok(strstr(found.text, "inode") && strstr(found.text, "has 1 names, its record says 2"),
	   "a link too few");
	ok(strstr(found.text, "cannot be reached from the root"), "a loop");
	/* The planted faults; the old and new targets of b0 and b1; the counts of the loop. */
	is_int(counts.findings, 12, "each fault is reported once");
	if (counts.findings != 12)
		printf("# found: %s\n", found.text);
	fs_fixture_release(&raw.f);
}

static void test_orphan_with_name(void)
{
	struct fs_check_counts counts;

	raw_begin();
	raw_put(KEY_ORPHAN, raw.file_ino, "", "", 0);
	lsm_close(raw.lsm);
	raw.f.options.lsm.read_only = true;
	fs_fixture_open(&raw.f);
	lines_clear(&found);
	fs_check(raw.f.fs, lines_add, &found, NULL, NULL, &counts);
	ok(strstr(found.text, "/dir/file: is listed as deleted, but has a name"), "a named orphan");
	is_int(counts.orphans, 1, "... is counted");
	raw_end();
}

static void test_super(void)
{
	struct lsm_batch *b;
	int err;

	raw_begin();
	b = lsm_batch_new();
	lsm_batch_put(b, SLICE(SUPER_FORMAT), (struct lsm_slice){"\2\0\0\0", 4});
	lsm_write(raw.lsm, b, 0);
	lsm_close(raw.lsm);
	is_int(fs_open(raw.f.store, &raw.f.options, &raw.f.fs), -EPROTONOSUPPORT, "a newer format");
	lsm_open(raw.f.store, &raw.f.options.lsm, &raw.lsm);
	lsm_batch_clear(b);
	lsm_batch_delete(b, SLICE(SUPER_FORMAT));
	lsm_write(raw.lsm, b, 0);
	lsm_close(raw.lsm);
	lsm_batch_free(b);
	err = fs_open(raw.f.store, &raw.f.options, &raw.f.fs);
	is_int(err, -EUCLEAN, "keys, but no filesystem");
	raw_end();
}

/* ---- wrong bytes below ---- */

#define MANY 3000u
static void test_damage(void)
{
	struct fs_check_counts counts;
	unsigned damaged, other;
	char path[PATH_MAX];
	struct stat st;
	uint64_t d;
	off_t size;

	fs_fixture_init(&raw.f);
	raw.f.quiet = true;
	d = fs_many_make(raw.f.fs, MANY);
	is_int(fs_compact(raw.f.fs, NULL, NULL), 0, "compact");
	fs_fixture_close(&raw.f);
	size = disk_file_largest(raw.f.store, ".tab", path);
	if (!size) {
		tap_skip("the store has no tables");
		fs_fixture_release(&raw.f);
		return;
	}
	disk_file_flip(path, size / 2, 0x40);
	fs_fixture_open(&raw.f);
	lines_clear(&found);
	is_int(fs_check(raw.f.fs, lines_add, &found, NULL, NULL, &counts), -EUCLEAN,
	       "damage is found");
	ok(strstr(found.text, "/many/f"), "... with the paths that may be lost");
	ok(!strstr(found.text, "its record says"),
	   "... and without faults that only follow from it");
	printf("# found: %s", found.text);
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	fs_many_read(raw.f.fs, d, MANY, -EIO, &damaged, &other);
	ok(damaged > 0 && damaged < MANY / 10, "%u files say EIO", damaged);
	is_int(other, 0, "all others are whole");
	fs_fixture_release(&raw.f);
}

int main(void)
{
	run_test(test_clean);
	run_test(test_counts);
	run_test(test_missing);
	run_test(test_wrong);
	run_test(test_loop);
	run_test(test_parts);
	run_test(test_orphan_with_name);
	run_test(test_super);
	run_test(test_damage);
	return done();
}
