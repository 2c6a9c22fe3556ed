/*
 * Many threads on few directories and names, doing everything at once, over a tree
 * with limits so tiny that it flushes, compacts and collects garbage all the time;
 * nothing may deadlock, no call may give an answer it cannot give, and in the end the
 * check is clean. Also pruning: a table of inodes kept small by a "kernel" that
 * gives back what it is asked for.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/inode.h"
#include "tests/support/fs_fixture.h"
#include "tests/support/rng.h"

#define THREADS 4u
#define STEPS 4000u
#define DIRS 4u

static struct fs_fixture f;
static uint64_t dirs[DIRS];
static atomic_uint wrong;
static atomic_ullong recent; /* a file that somebody used; it may be gone */
static atomic_bool over;

static void expect(bool good, const char *what, int err)
{
	if (good)
		return;
	atomic_fetch_add(&wrong, 1);
	printf("# %s: %s\n", what, strerror(-err));
}

static int drop_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	(void)ctx;
	(void)name;
	(void)next;
	if (held)
		fs_forget(f.fs, st->st_ino, 1);
	return 0;
}

static void read_dir(uint64_t d, bool with_attributes)
{
	struct fs_dir *dir;
	int err = fs_dir_open(f.fs, d, &dir);

	expect(!err, "opendir", err);
	if (err)
		return;
	err = fs_dir_read(dir, 0, with_attributes, drop_entry, NULL);
	expect(!err, "readdir", err);
	fs_dir_close(dir);
}

/* Rarer operations: holes, copies between files, attributes, seeking. */
static void use_rarely(uint64_t ino, struct rng *rng)
{
	uint64_t to, at = rng_below(rng, 4) * 70000;
	char list[100];
	size_t got;
	int err = 0;

	switch (rng_below(rng, 8)) {
	case 0:
		err = fs_fallocate(f.fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 9000);
		break;
	case 1:
		err = fs_fallocate(f.fs, ino, FALLOC_FL_ZERO_RANGE, at, 3000);
		break;
	case 2:
		err = fs_copy_range(f.fs, ino, 0, ino, 200000, 150000, &got);
		break;
	case 3:
		to = atomic_load(&recent);
		err = fs_copy_range(f.fs, ino, 0, to, at, 150000, &got);
		err = to == ino && err == -EINVAL ? 0 : err == -ESTALE ? 0 : err;
		break;
	case 4:
		err = fs_listxattr(f.fs, ino, list, sizeof(list), &got);
		break;
	case 5:
		err = fs_removexattr(f.fs, ino, "user.s");
		err = err == -ENODATA ? 0 : err;
		break;
	case 6:
		err = fs_seek(f.fs, ino, at, SEEK_HOLE, &to);
		err = err == -ENXIO ? 0 : err;
		break;
	default:
		err = fs_sync(f.fs);
	}
	expect(!err, "a rare use", err);
	atomic_store(&recent, ino);
}

/* Look a file up, use it, and give it back. */
static void use_file(uint64_t d, const char *name, struct rng *rng)
{
	static const char large[100000];
	char buf[6000];
	struct stat st, want = {0};
	size_t got;
	int err = fs_lookup(f.fs, d, name, &st);

	expect(!err || err == -ENOENT, "lookup", err);
	if (err)
		return;
	if (S_ISREG(st.st_mode)) {
		uint64_t ino = st.st_ino;
		size_t size = 1 + rng_below(rng, rng_below(rng, 3) ? 200 : sizeof(buf) - 1);

		memset(buf, 'a' + (int)rng_below(rng, 26), size);
		err = fs_write(f.fs, ino, rng_below(rng, 3000), buf, size,
			       rng_below(rng, 2) ? FS_WRITE_APPEND : 0, &st);
		expect(!err, "write", err);
		err = fs_read(f.fs, ino, 0, buf, sizeof(buf), &got);
		expect(!err, "read", err);
		want.st_size = rng_below(rng, 2) ? 0 : 1000;
		if (rng_below(rng, 3) == 0)
			err = fs_setattr(f.fs, &ROOT, ino, &want, FS_SET_SIZE, &st);
		expect(!err, "truncate", err);
		err = fs_setxattr(f.fs, ino, "user.s", buf, 10, 0);
		expect(!err, "setxattr", err);
		if (rng_below(rng, 8) == 0) {
			err = fs_write(f.fs, ino, rng_below(rng, 4) * 70000, large, sizeof(large),
				       0, &st);
			expect(!err, "a large write", err);
		}
		use_rarely(ino, rng);
	}
	err = fs_getattr(f.fs, st.st_ino, &st);
	expect(!err, "getattr", err);
	fs_forget(f.fs, st.st_ino, 1);
}

static bool rename_may(int err)
{
	return !err || err == -ENOENT || err == -EEXIST || err == -ENOTEMPTY || err == -EINVAL ||
	       err == -EISDIR || err == -ENOTDIR;
}

static void step(struct rng *rng)
{
	uint64_t d = dirs[rng_below(rng, DIRS)], e = dirs[rng_below(rng, DIRS)];
	char a[8], b[8];
	struct stat st, other;
	int err;

	snprintf(a, sizeof(a), "n%u", rng_below(rng, 8));
	snprintf(b, sizeof(b), "n%u", rng_below(rng, 8));
	switch (rng_below(rng, 10)) {
	case 0:
		err = fs_mknod(f.fs, &ROOT, d, a, S_IFREG | 0644, 0, &st);
		expect(!err || err == -EEXIST || err == -ENOENT, "mknod", err);
		if (!err)
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 1:
		err = fs_mkdir(f.fs, &ROOT, d, a, 0755, &st);
		expect(!err || err == -EEXIST || err == -ENOENT, "mkdir", err);
		if (!err)
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 2:
		err = fs_unlink(f.fs, d, a);
		expect(!err || err == -ENOENT || err == -EISDIR, "unlink", err);
		break;
	case 3:
		err = fs_rmdir(f.fs, d, a);
		expect(!err || err == -ENOENT || err == -ENOTDIR || err == -ENOTEMPTY, "rmdir",
		       err);
		break;
	case 4:
		err = fs_rename(f.fs, d, a, e, b, rng_below(rng, 3));
		expect(rename_may(err), "rename", err);
		break;
	case 5: /* directories below directories change places */
		err = fs_lookup(f.fs, d, a, &st);
		if (!err && S_ISDIR(st.st_mode)) {
			err = fs_rename(f.fs, e, b, st.st_ino, a, 0);
			expect(rename_may(err), "rename", err);
			err = fs_rename(f.fs, st.st_ino, b, e, a, 0);
			expect(rename_may(err), "rename", err);
		}
		if (st.st_ino)
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 6:
		err = fs_lookup(f.fs, d, a, &st);
		if (!err) {
			err = fs_link(f.fs, st.st_ino, e, b, &other);
			expect(!err || err == -EEXIST || err == -EPERM || err == -ENOENT, "link",
			       err);
			fs_forget(f.fs, st.st_ino, err ? 1 : 2);
		}
		break;
	case 7:
		read_dir(d, rng_below(rng, 2));
		break;
	default:
		use_file(d, a, rng);
	}
}

static void *work(void *arg)
{
	struct rng rng = {.state = *(unsigned *)arg};

	for (unsigned i = 0; i < STEPS; i++)
		step(&rng);
	return NULL;
}

/* Upkeep beside it all. */
static void *keep_up(void *arg)
{
	struct fs_check_counts counts;
	struct fs_stats stats;
	struct statvfs space;
	unsigned rounds = 0;

	(void)arg;
	while (!atomic_load(&over)) {
		int err = fs_compact(f.fs, NULL, NULL);

		expect(!err, "compact", err);
		err = fs_sync(f.fs);
		expect(!err, "sync", err);
		err = fs_stats(f.fs, &stats);
		expect(!err, "stats", err);
		err = fs_statfs(f.fs, &space);
		expect(!err, "statfs", err);
		if (rounds++ % 4 == 0) {
			err = fs_check(f.fs, print_finding, NULL, NULL, NULL, &counts);
			expect(!err, "check", err);
		}
	}
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[THREADS], keeper;
	unsigned seeds[THREADS];
	struct fs_stats stats;
	struct stat st;

	for (unsigned i = 0; i < DIRS; i++) {
		char name[8];

		/* The last two are below the first two, so renames go up and down. */
		snprintf(name, sizeof(name), "d%u", i);
		dirs[i] = make_dir(f.fs, i < 2 ? FS_ROOT_INO : dirs[i - 2], name);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]))
			bail("pthread_create");
	}
	if (pthread_create(&keeper, NULL, keep_up, NULL))
		bail("pthread_create");
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&over, true);
	pthread_join(keeper, NULL);
	is_int(atomic_load(&wrong), 0, "no wrong answers");
	ok(inode_table_valid(f.fs), "the table of inodes is right");
	fs_fixture_clean(&f, "after all threads");
	for (unsigned i = 0; i < DIRS; i++)
		fs_forget(f.fs, dirs[i], 1);
	fs_stats(f.fs, &stats);
	is_int(stats.inodes_in_memory, 1, "every reference was given back");
	fs_fixture_reopen(&f);
	fs_fixture_clean(&f, "after a reopen");
	is_int(fs_lookup(f.fs, FS_ROOT_INO, "d0", &st), 0, "there is something");
}

/*
 * One thread changes a file and lets go of it, another looks it up all the
 * time. A record that it read before the change must not replace the new one in memory.
 */
static atomic_bool race_over;

static void *look_up(void *arg)
{
	const char *const *names = arg;
	struct stat st;

	while (!atomic_load(&race_over))
		for (unsigned i = 0; names[i]; i++)
			if (!fs_lookup(f.fs, FS_ROOT_INO, names[i], &st))
				fs_forget(f.fs, st.st_ino, 1);
	return NULL;
}

static void test_stale(void)
{
	static const char *names[] = {"single", "linked", "linked2", NULL};
	struct stat st, want = {0};
	pthread_t thread;
	bool fresh = true;
	uint64_t ino;

	fs_forget(f.fs, make_file(f.fs, FS_ROOT_INO, "single"), 1);
	ino = make_file(f.fs, FS_ROOT_INO, "linked");
	fs_link(f.fs, ino, FS_ROOT_INO, "linked2", &st);
	fs_forget(f.fs, ino, 2);
	if (pthread_create(&thread, NULL, look_up, names))
		bail("pthread_create");
	for (unsigned i = 0; i < 60000 && fresh; i++) {
		const char *name = names[i % 2];

		if (fs_lookup(f.fs, FS_ROOT_INO, name, &st))
			bail("lookup");
		fresh = st.st_uid == i / 2;
		want.st_uid = i / 2 + 1;
		fs_setattr(f.fs, &ROOT, st.st_ino, &want, FS_SET_UID, &st);
		fs_forget(f.fs, st.st_ino, 1);
	}
	atomic_store(&race_over, true);
	pthread_join(thread, NULL);
	ok(fresh, "a lookup never finds what was before the last change");
}

/* ---- pruning ---- */

#define PRUNE_FILES 40000u
static atomic_uint asked;
static atomic_ullong held[PRUNE_FILES];
static atomic_bool stubborn;

static void on_prune(void *ctx, uint64_t parent, const char *name)
{
	unsigned n = (unsigned)atoi(name + 1);
	uint64_t ino;

	(void)ctx;
	(void)parent;
	atomic_fetch_add(&asked, 1);
	if (atomic_load(&stubborn) || name[0] != 'p' || n >= PRUNE_FILES)
		return;
	ino = atomic_exchange(&held[n], 0);
	if (ino)
		fs_forget(f.fs, ino, 1);
}

static void test_prune(void)
{
	struct fs_stats stats;
	size_t limit;
	uint64_t d;

	fs_fixture_close(&f);
	limit = 8 << 20;
	f.options.lsm = (struct lsm_options){.report = fs_fixture_report, .report_ctx = &f};
	f.options.lsm.memory_bytes = limit;
	fs_fixture_open(&f);
	limit /= 8;
	d = make_dir(f.fs, FS_ROOT_INO, "prune");
	fs_set_prune(f.fs, on_prune, NULL);
	for (unsigned i = 0; i < PRUNE_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%u", i);
		atomic_store(&held[i], make_file(f.fs, d, name));
		/* A kernel that is asked while it makes more; it must keep up in the end. */
	}
	for (unsigned i = 0; i < 500; i++) {
		fs_stats(f.fs, &stats);
		if (stats.inode_bytes <= limit)
			break;
		usleep(10000);
	}
	ok(stats.inode_bytes <= limit, "the table is within its share: %llu of %zu",
	   (unsigned long long)stats.inode_bytes, limit);
	ok(stats.inodes_in_memory > 100, "... and not empty");
	ok(atomic_load(&asked) < PRUNE_FILES * 3, "without asking for ever");

	/* One that keeps everything is not asked all the time. */
	atomic_store(&stubborn, true);
	for (unsigned i = 0; i < PRUNE_FILES; i++) {
		char name[16];
		struct stat st;

		snprintf(name, sizeof(name), "p%u", i);
		if (!atomic_load(&held[i]) && !fs_lookup(f.fs, d, name, &st))
			atomic_store(&held[i], st.st_ino);
	}
	usleep(300000);
	fs_set_prune(f.fs, NULL, NULL);
	atomic_store(&asked, 0);
	usleep(20000);
	is_int(atomic_load(&asked), 0, "not called once that was switched off");
}

int main(void)
{
	fs_fixture_init(&f);
	f.options.lsm.memtable_bytes = 128 << 10;
	f.options.lsm.table_bytes = 16 << 10;
	f.options.lsm.level1_bytes = 32 << 10;
	f.options.lsm.segment_bytes = 1 << 20;
	f.options.lsm.l0_compact = 2;
	f.options.lsm.l0_slow = 20;
	f.options.lsm.l0_stop = 30;
	fs_fixture_reopen(&f);
	run_test(test_threads);
	run_test(test_stale);
	run_test(test_prune);
	fs_fixture_release(&f);
	return done();
}
