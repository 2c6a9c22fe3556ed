/*
 * fs_repair() makes a whole filesystem of each store with a fault planted in it. Everything
 * that can be saved is there, lost parts read as an error, fs_check() finds nothing more, and
 * a second repair has nothing to do.
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

static struct lines told;

/* The inode at `path` below the root, with a reference; 0: none. */
static uint64_t at(const char *path)
{
	char copy[200], *part, *rest = copy;
	struct stat st = {.st_ino = FS_ROOT_INO};

	snprintf(copy, sizeof(copy), "%s", path);
	while ((part = strsep(&rest, "/")))
		if (*part && fs_lookup(raw.f.fs, st.st_ino, part, &st))
			return 0;
	return st.st_ino;
}

static int read_all(uint64_t ino, uint64_t offset, size_t size)
{
	static char buf[sizeof(raw.big_bytes)];
	size_t got;
	int err = fs_read(raw.f.fs, ino, offset, buf, size, &got);

	if (err)
		return err;
	return got == size && !memcmp(buf, raw.big_bytes + offset, size) ? 0 : 1;
}

/* Repair the store; `want` must be reported. Leaves the filesystem open. */
static struct fs_repair_counts repaired(const char *want, const char *what)
{
	struct fs_repair_counts counts, again;
	int err;

	lsm_close(raw.lsm);
	lines_clear(&told);
	err = fs_repair(raw.f.store, &raw.f.options, lines_add, &told, NULL, NULL, &counts);
	if (!ok(!err && (!want || strstr(told.text, want)), "%s: \"%s\"", what, want ? want : ""))
		printf("# returned %d, told: %s\n", err, told.text);
	lines_clear(&told);
	err = fs_repair(raw.f.store, &raw.f.options, lines_add, &told, NULL, NULL, &again);
	if (!ok(!err && !again.actions && !again.lost && !told.text[0],
		"... and then nothing more"))
		printf("# returned %d, told: %s\n", err, told.text);
	fs_fixture_open(&raw.f);
	fs_fixture_clean(&raw.f, "after it");
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

	raw_begin();
	counts = repaired(NULL, "a whole store");
	ok(!counts.actions && !counts.lost && !counts.kept_bytes, "... is left alone");
	is_int(at("lost+found"), 0, "... without lost+found");
	raw_end();
}

static void test_counts(void)
{
	struct attr a;

	raw_begin();
	a = raw_get(KEY_NAME, FS_ROOT_INO, "dir");
	a.entries++;
	raw_put_attr(KEY_NAME, FS_ROOT_INO, "dir", raw.dir_ino, a);
	a = raw_get(KEY_INODE, FS_ROOT_INO, "");
	a.subdirs = 0;
	raw_put_attr(KEY_INODE, FS_ROOT_INO, "", FS_ROOT_INO, a);
	a = raw_get(KEY_INODE, raw.hard_ino, "");
	a.nlink = 3;
	raw_put_attr(KEY_INODE, raw.hard_ino, "", raw.hard_ino, a);
	raw_put(KEY_XATTR, raw.hard_ino, "user.b", "x", 1);
	ok(!repaired("/dir: has 4 entries, 1 of them", "counts").lost, "... nothing is lost");
	raw_end();
	raw_begin();
	a = raw_get(KEY_NAME, raw.sub_ino, "big");
	a.stored -= 7;
	a.size = 5000;
	raw_put_attr(KEY_NAME, raw.sub_ino, "big", raw.big_ino, a);
	repaired("its size was 5000", "a size");
	is_int(read_all(at("dir/sub/big"), 0, sizeof(raw.big_bytes)), 0, "... all of it is there");
	raw_end();
}

static void test_names(void)
{
	raw_begin();
	raw_drop(KEY_INODE, raw.hard_ino, "");
	repaired("/dir/hard: removed", "links to nothing");
	is_int(at("dir/hard"), 0, "... are gone");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.dir_ino, "hard");
	raw_drop(KEY_NAME, raw.sub_ino, "hard2");
	repaired("has no name", "an inode without a name");
	saved_as(raw.hard_ino, "it");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, FS_ROOT_INO, "dir");
	repaired("directory", "a lost directory");
	saved_as(raw.dir_ino, "it");
	is_int(fs_lookup(raw.f.fs, raw.dir_ino, "file", &(struct stat){0}), 0,
	       "... with its files");
	is_int(read_all(raw.big_ino, 0, 100), -ESTALE, "(they are not held)");
	fs_lookup(raw.f.fs, raw.dir_ino, "sub", &(struct stat){0});
	fs_lookup(raw.f.fs, raw.sub_ino, "big", &(struct stat){0});
	is_int(read_all(raw.big_ino, 0, sizeof(raw.big_bytes)), 0, "... and all below");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.sub_ino, "big");
	repaired("content of inode", "a file whose record is lost");
	saved_as(raw.big_ino, "it");
	is_int(read_all(raw.big_ino, 0, sizeof(raw.big_bytes)), 0, "... with its content");
	raw_end();
	raw_begin();
	raw_drop(KEY_NAME, raw.dir_ino, "file");
	repaired("extended attributes of inode", "attributes without an inode");
	raw_end();
	raw_begin();
	raw_put(KEY_NAME, raw.dir_ino, "a/b", "\x09", 1);
	raw_put_attr(KEY_NAME, raw.dir_ino, "c/d", 50, raw_get(KEY_NAME, raw.dir_ino, "file"));
	repaired("no file can have this name", "impossible names");
	saved_as(50, "the readable one");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_NAME, raw.dir_ino, "twice", raw.file_ino,
		     raw_get(KEY_NAME, raw.dir_ino, "file"));
	repaired("is also elsewhere", "one inode in two places");
	ok(!at("dir/twice") != !at("dir/file"), "... is in one");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_INODE, raw.sub_ino, "", raw.sub_ino,
		     raw_get(KEY_NAME, raw.dir_ino, "sub"));
	raw_put_link(raw.dir_ino, "hard", raw.hard_ino, S_IFIFO);
	raw_put_attr(KEY_NAME, raw.dir_ino, "future", raw.file_ino + 100000,
		     raw_get(KEY_NAME, raw.dir_ino, "file"));
	repaired("made a link of the type", "contradictions");
	is_int(at("dir/sub"), raw.sub_ino, "... the directory is where its name is");
	is_int(at("dir/future"), raw.file_ino + 100000, "... a number of the future is one");
	raw_end();
	raw_begin();
	raw_put(KEY_NAME, raw.file_ino, "child", "\x02\x01\x08", 3);
	raw_put_link(raw.file_ino, "other", raw.hard_ino, S_IFREG);
	repaired("which is no directory", "names in a file");
	saved_as(raw.hard_ino, "their target");
	raw_end();
}

static void test_acls(void)
{
	static const char name[] = "system.posix_acl_access";
	size_t got;

	raw_begin();
	raw_put(KEY_XATTR, raw.file_ino, name, "none", 4);
	repaired("/dir/file: system.posix_acl_access", "an invalid ACL");
	is_int(fs_getxattr(raw.f.fs, at("dir/file"), "user.a", NULL, 0, &got), 0,
	       "... another attribute stays");
	raw_end();
}

static void test_twice(void)
{
	struct attr a;

	raw_begin();
	a = raw_get(KEY_NAME, raw.dir_ino, "sub");
	a.ctime = 1;
	raw_put_attr(KEY_NAME, 9999, "sub", raw.file_ino, a); /* in a directory that is not there */
	repaired("is also elsewhere", "a directory in one place and a file in another");
	is_int(at("dir/file"), raw.file_ino, "... the newer one stays");
	raw_end();
}

static void test_rings(void)
{
	struct attr a;

	raw_begin();
	a = raw_get(KEY_NAME, FS_ROOT_INO, "dir");
	raw_drop(KEY_NAME, FS_ROOT_INO, "dir");
	raw_put_attr(KEY_NAME, raw.sub_ino, "dir", raw.dir_ino, a);
	repaired("is within itself", "a ring of directories");
	ok(at("lost+found/#2") || at("lost+found/#3"), "... is in lost+found");
	raw_end();
	raw_begin();
	raw_put_attr(KEY_NAME, raw.dir_ino, "self", raw.dir_ino,
		     raw_get(KEY_NAME, FS_ROOT_INO, "dir"));
	repaired("is also elsewhere", "a directory in itself");
	is_int(at("dir/sub"), raw.sub_ino, "... is where it was");
	raw_end();
}

static void test_roots(void)
{
	struct lsm_batch *b;

	raw_begin();
	raw_drop(KEY_INODE, FS_ROOT_INO, "");
	raw_drop_key(SLICE(SUPER_FORMAT));
	raw_drop_key(SLICE(SUPER_NEXT));
	repaired("the root's record was lost", "no root, no superblock");
	is_int(at("dir/file"), raw.file_ino, "... every file is there");
	ok(make_file(raw.f.fs, FS_ROOT_INO, "new") > raw.file_ino,
	   "... a new file has a new number");
	raw_end();
	raw_begin();
	raw_put_link(FS_ROOT_INO, "lost+found", raw.hard_ino, S_IFREG);
	raw_drop(KEY_NAME, raw.sub_ino, "big");
	repaired(NULL, "lost+found is a file");
	ok(at("lost+found-2"), "... another is made");
	raw_end();
	raw_begin();
	b = lsm_batch_new();
	lsm_batch_put(b, SLICE(SUPER_FORMAT), (struct lsm_slice){"\2\0\0\0", 4});
	lsm_write(raw.lsm, b, 0);
	lsm_batch_free(b);
	lsm_close(raw.lsm);
	is_int(fs_repair(raw.f.store, &raw.f.options, lines_add, &told, NULL, NULL,
			 &(struct fs_repair_counts){0}),
	       -EPROTONOSUPPORT, "a newer format is left alone");
	raw_end();
	raw_begin();
	raw_put(KEY_ORPHAN, raw.file_ino, "", "", 0);
	repaired("was listed as deleted", "a named orphan");
	is_int(at("dir/file"), raw.file_ino, "... stays");
	raw_end();
}

/* The lost part of a file is an error to read; the rest reads. */
static void test_lost(void)
{
	static char buf[sizeof(raw.big_bytes)];
	struct key k;
	uint64_t ino;
	size_t got;

	raw_begin();
	raw_drop_key(key_extent(&k, raw.big_ino, 131072));
	ok(repaired("of its content are lost", "a lost extent").lost, "... counts as a loss");
	ino = at("dir/sub/big");
	is_int(read_all(ino, 0, 131072), 0, "... what is left is right");
	is_int(fs_read(raw.f.fs, ino, 131072, buf, 100, &got), -EIO,
	       "... the lost part is an error");
	is_int(fs_read(raw.f.fs, ino, 199999, buf, 1, &got), -EIO, "... up to the end");
	is_int(fs_write(raw.f.fs, ino, 131100, raw.big_bytes + 131100, 10, 0, NULL), 0,
	       "... a small write into it works");
	is_int(fs_write(raw.f.fs, ino, 140000, raw.big_bytes + 140000, 20000, 0, NULL), 0,
	       "... a large one");
	is_int(read_all(ino, 131100, 10), 0, "... and is read back");
	is_int(read_all(ino, 140000, 20000), 0, "... both are");
	is_int(fs_read(raw.f.fs, ino, 131110, buf, 1, &got), -EIO, "... the rest stays an error");
	fs_fixture_clean(&raw.f, "with parts of it written");
	fs_fixture_reopen(&raw.f);
	ino = at("dir/sub/big");
	is_int(read_all(ino, 140000, 20000), 0, "... after closing, too");
	is_int(fs_write(raw.f.fs, ino, 0, raw.big_bytes, sizeof(raw.big_bytes), 0, NULL), 0,
	       "... all is written");
	is_int(read_all(ino, 0, sizeof(raw.big_bytes)), 0, "... and reads");
	raw_end();
	raw_begin();
	raw_put_value(key_extent(&k, raw.big_ino, 100), "overlapping", 11);
	repaired("contradict each other", "an overlap");
	ino = at("dir/sub/big");
	is_int(read_all(ino, 0, 100), 0, "... the bytes before it are right");
	is_int(fs_read(raw.f.fs, ino, 100, buf, 1, &got), -EIO,
	       "... in the overlap reading is an error");
	is_int(read_all(ino, 131072, 60000), 0, "... the rest behind it is right");
	raw_end();
}

/* ---- wrong bytes below ---- */

/* Change the byte at `part` / 8 of the largest file with this suffix. */
static void flip(const char *suffix, unsigned part)
{
	char path[PATH_MAX];
	off_t size = disk_file_largest(raw.f.store, suffix, path);

	if (!size)
		bail("no file *%s", suffix);
	disk_file_flip(path, size * part / 8, 0x40);
}

static void test_segment(void)
{
	static char buf[4096];
	unsigned lost = 0, wrong = 0;
	uint64_t ino;

	raw_begin();
	lsm_compact(raw.lsm, (struct lsm_slice){0}, (struct lsm_slice){0}, NULL, NULL);
	lsm_close(raw.lsm);
	flip(".seg", 1);
	if (lsm_open(raw.f.store, &raw.f.options.lsm, &raw.lsm))
		bail("lsm_open");
	repaired("the value in the segment is damaged", "a damaged segment");
	ino = at("dir/sub/big");
	for (uint64_t o = 0; o < sizeof(raw.big_bytes) - 4096; o += 4096) {
		int err = read_all(ino, o, 4096);

		lost += err == -EIO;
		wrong += err && err != -EIO;
	}
	is_int(lost, 1, "... costs 4 KiB");
	is_int(wrong, 0, "... all else is right");
	(void)buf;
	raw_end();
}

#define MANY 3000u

static void test_table(const char *suffix, unsigned part, unsigned lost_min, unsigned lost_max)
{
	unsigned lost, wrong;
	struct stat st;
	uint64_t d;

	fs_fixture_init(&raw.f);
	raw.f.quiet = true;
	d = fs_many_make(raw.f.fs, MANY);
	is_int(fs_compact(raw.f.fs, NULL, NULL), 0, "compact");
	/* Newer versions of every 10th, in a table above. */
	fs_fixture_reopen(&raw.f);
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	fs_fixture_close(&raw.f);
	flip(suffix, part);
	raw.lsm = NULL;
	lines_clear(&told);
	is_int(fs_repair(raw.f.store, &raw.f.options, lines_add, &told, NULL, NULL,
			 &(struct fs_repair_counts){0}),
	       0, "%s damaged at %u/8", suffix, part);
	printf("# %s", told.text);
	fs_fixture_open(&raw.f);
	fs_fixture_clean(&raw.f, "after it");
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "many", &st))
		bail("lookup");
	fs_many_read(raw.f.fs, d, MANY, -ENOENT, &lost, &wrong);
	ok(lost >= lost_min && lost <= lost_max && !wrong, "... %u files are lost, %u wrong", lost,
	   wrong);
	fs_fixture_release(&raw.f);
}

int main(void)
{
	run_test(test_whole);
	run_test(test_counts);
	run_test(test_names);
	run_test(test_acls);
	run_test(test_twice);
	run_test(test_rings);
	run_test(test_roots);
	run_test(test_lost);
	run_test(test_segment);
	run_test(test_table, ".tab", 4, 1, 200);
	run_test(test_table, ".man", 0, 0, 0);
	return done();
}
