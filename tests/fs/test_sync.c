/*
 * test_sync.c - what is written when: durable with the call, with the next sync, or only when
 * the inode leaves memory (the time of a last access).
 */
#include "tests/support/fs_fixture.h"

static struct fs_fixture f;

/* Everything that was written is durable. */
static bool synced(void)
{
	struct fs_stats stats;

	if (fs_stats(f.fs, &stats))
		bail("fs_stats");
	return stats.lsm.sequence == stats.lsm.sequence_synced;
}

static void test_durable(void)
{
	uint64_t a;

	fs_fixture_init(&f);
	f.options.lsm.commit_interval_ms = 3600 * 1000;
	fs_fixture_reopen(&f);
	a = make_file(f.fs, FS_ROOT_INO, "a");
	ok(!synced(), "what is made is not durable at once");
	is_int(fs_write(f.fs, a, 0, "x", 1, FS_WRITE_SYNC, NULL), 0, "a synced write");
	ok(synced(), "is, and all before it");
	is_int(fs_write(f.fs, a, 0, "x", 1, 0, NULL), 0, "another write");
	ok(!synced(), "is not");
	is_int(fs_sync(f.fs), 0, "until there is a sync");
	ok(synced(), "which makes it so");
	f.options.sync = true;
	fs_fixture_reopen(&f);
	make_file(f.fs, FS_ROOT_INO, "b");
	ok(synced(), "with the option sync, what is made is durable at once");
	fs_fixture_release(&f);
}

static void test_atime(void)
{
	struct stat read, st;
	char byte;
	size_t got;
	uint64_t a;

	fs_fixture_init(&f);
	a = make_file(f.fs, FS_ROOT_INO, "a");
	ok(fs_atime_due(f.fs, a), "a file as old as its last access is due");
	fs_write(f.fs, a, 0, "x", 1, 0, NULL);
	ok(fs_atime_due(f.fs, a), "so is one that was written to");
	fs_read(f.fs, a, 0, &byte, 1, &got);
	read = attr_of(f.fs, a);
	ok(ns_of(read.st_atim) > ns_of(read.st_mtim), "reading it sets the time");
	ok(!fs_atime_due(f.fs, a), "once");
	fs_forget(f.fs, a, 1);
	if (fs_lookup(f.fs, FS_ROOT_INO, "a", &st))
		bail("lookup");
	is_int(ns_of(st.st_atim), ns_of(read.st_atim), "which is kept when it leaves memory");
	fs_write(f.fs, a, 0, "y", 1, 0, NULL);
	fs_read(f.fs, a, 0, &byte, 1, &got);
	read = attr_of(f.fs, a);
	fs_fixture_reopen(&f);
	if (fs_lookup(f.fs, FS_ROOT_INO, "a", &st))
		bail("lookup");
	is_int(ns_of(st.st_atim), ns_of(read.st_atim), "and at the end");
	fs_fixture_release(&f);
}

/* Whether the call moves the time that `of` gives of `ino` on. */
#define SETS(of, ino, call)                                                                        \
	({                                                                                         \
		struct stat sets_before = attr_of(f.fs, ino);                                      \
		int sets_err = (call);                                                             \
		struct stat sets_after = attr_of(f.fs, ino);                                       \
		!sets_err &&ns_of(sets_after.of) > ns_of(sets_before.of);                          \
	})

static void test_times(void)
{
	uint64_t dir, a;
	struct stat st;

	fs_fixture_init(&f);
	dir = make_dir(f.fs, FS_ROOT_INO, "dir");
	a = make_file(f.fs, dir, "a");
	ok(SETS(st_mtim, dir, fs_mkdir(f.fs, &ROOT, dir, "d", 0755, &st)),
	   "a new name sets the directory's mtime");
	ok(SETS(st_ctim, dir, fs_symlink(f.fs, &ROOT, dir, "l", "t", &st)), "and its ctime");
	ok(SETS(st_mtim, dir, fs_unlink(f.fs, dir, "l")), "so does one that goes");
	ok(SETS(st_mtim, dir, fs_rename(f.fs, dir, "a", FS_ROOT_INO, "b", 0)), "or is moved away");
	ok(SETS(st_ctim, a, fs_rename(f.fs, FS_ROOT_INO, "b", dir, "a", 0)),
	   "a rename sets the ctime of what is renamed");
	ok(!SETS(st_mtim, a, fs_rename(f.fs, dir, "a", dir, "c", 0)), "not its mtime");
	ok(SETS(st_ctim, a, fs_link(f.fs, a, dir, "a", &st)), "so does a link");
	ok(SETS(st_ctim, a, fs_setxattr(f.fs, a, "user.x", "1", 1, 0)), "or an attribute");
	ok(!SETS(st_ctim, a, fs_setxattr(f.fs, a, "user.x", "1", 1, 0)),
	   "but not one that is as it was");
	ok(SETS(st_ctim, a, fs_setxattr(f.fs, a, "user.x", "2", 1, 0)), "one that is not");
	fs_fixture_release(&f);
}

int main(void)
{
	run_test(test_durable);
	run_test(test_atime);
	run_test(test_times);
	return done();
}
