/*
 * test_space.c - what files, directories and inodes take, in memory and on disk, and that it
 * comes back.
 *
 * Regression that a deliberate mistake stood for: the one range tombstone of an emptied
 * directory, written while an entry was left, would have deleted that one.
 */
#include <linux/falloc.h>
#include <stdatomic.h>

#include "fs/core.h"
#include "fs/key.h"
#include "tests/support/fs_fixture.h"

#define MIB ((size_t)1 << 20)

static struct fs_fixture f;

static struct fs_stats stats_of(void)
{
	struct fs_stats stats;

	if (fs_stats(f.fs, &stats))
		bail("fs_stats");
	return stats;
}

static void forget(uint64_t ino)
{
	fs_forget(f.fs, ino, 1);
}

/* A file with `size` bytes of 'x', which nobody holds. */
static uint64_t write_file(const char *name, size_t size)
{
	uint64_t ino = make_file(f.fs, FS_ROOT_INO, name);
	char *bytes = malloc(size);

	memset(bytes, 'x', size);
	if (fs_write(f.fs, ino, 0, bytes, size, 0, NULL))
		bail("cannot write");
	free(bytes);
	return ino;
}

static void test_blocks(void)
{
	uint64_t a;

	fs_fixture_init(&f);
	a = write_file("a", 1);
	is_int(attr_of(f.fs, a).st_blocks, 1, "one byte takes a block");
	fs_write(f.fs, a, 0, "0123456789", 10, 0, NULL);
	is_int(attr_of(f.fs, a).st_blocks, 1, "ten as well");
	a = write_file("b", 513);
	is_int(attr_of(f.fs, a).st_blocks, 2, "513 bytes take two");
	is_int(fs_fallocate(f.fs, a, 0, 0, UINT64_C(1) << 60), -ENOSPC,
	       "more than the disk has is refused");
	is_int(fs_fallocate(f.fs, a, FALLOC_FL_KEEP_SIZE, 0, UINT64_C(1) << 60), -ENOSPC,
	       "also beyond the size");
	is_int(attr_of(f.fs, a).st_size, 513, "and changes nothing");
	fs_fixture_release(&f);
}

static void test_copy(void)
{
	uint64_t a, b, before;
	size_t copied;

	fs_fixture_init(&f);
	a = write_file("a", 4 * MIB);
	b = make_file(f.fs, FS_ROOT_INO, "b");
	before = stats_of().lsm.segment_bytes_written;
	is_int(fs_copy_range(f.fs, a, 0, b, 0, 4 * MIB, &copied), 0, "a file is copied");
	is_int(copied, 4 * MIB, "all of it");
	is_int(stats_of().lsm.segment_bytes_written, before, "without writing its bytes again");
	is_int(attr_of(f.fs, b).st_blocks, 4 * MIB / 512, "but they count");
	fs_fixture_release(&f);
}

/* A thousand files, of which the last goes in the end. */
static void test_emptied(void)
{
	struct lsm_snapshot *before;
	uint64_t dir, ranges = 0;
	char name[16];

	fs_fixture_init(&f);
	dir = make_dir(f.fs, FS_ROOT_INO, "dir");
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		forget(make_file(f.fs, dir, name));
	}
	for (unsigned i = 0; i < 999; i++) {
		snprintf(name, sizeof(name), "%u", i);
		if (fs_unlink(f.fs, dir, name))
			bail("unlink");
	}
	ok(ino_of(f.fs, dir, "999"), "the last of a thousand names stays");
	is_int(fs_rmdir(f.fs, FS_ROOT_INO, "dir"), -ENOTEMPTY, "with its directory");
	fs_fixture_clean(&f, "then");
	/* No compaction drops a range tombstone that hides what a snapshot shows. */
	before = lsm_snapshot_take(f.fs->lsm);
	is_int(fs_unlink(f.fs, dir, "999"), 0, "it goes");
	if (!before || lsm_flush(f.fs->lsm))
		bail("snapshot or flush");
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		ranges += stats_of().lsm.level[l].range_tombstones;
	is_int(ranges, 1, "then one range tombstone is over all of them");
	lsm_snapshot_drop(f.fs->lsm, before);
	fs_fixture_clean(&f, "without it");
	fs_fixture_release(&f);
}

static void test_memory(void)
{
	struct fs_stats before, now;
	struct stat st;
	uint64_t dir;

	fs_fixture_init(&f);
	ok(stats_of().lsm.cache_bytes_max <= 9 * MIB,
	   "of 16 MiB an eighth is for inodes, three eighths of the rest for memtables");
	dir = make_dir(f.fs, FS_ROOT_INO, "dir");
	forget(make_file(f.fs, dir, "file with a name"));
	forget(dir);
	before = stats_of();
	is_int(before.inodes_in_memory, 1, "only the root is in memory");
	if (fs_lookup(f.fs, FS_ROOT_INO, "dir", &st) ||
	    fs_lookup(f.fs, dir, "file with a name", &st))
		bail("lookup");
	forget(dir);
	is_int(stats_of().inodes_in_memory, 3, "a file is, with the directories above it");
	is_int(attr_of(f.fs, dir).st_nlink, 2, "which can be asked for");
	forget(st.st_ino);
	now = stats_of();
	is_int(now.inodes_in_memory, 1, "when nobody holds it they all go");
	is_int(now.inode_bytes, before.inode_bytes, "and take no memory");
	fs_fixture_release(&f);
}

/* Takes one name behind the dots. */
static int take_one(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	unsigned *taken = ctx;

	(void)next;
	if (*name == '.')
		return 0;
	if (*taken)
		return 1;
	++*taken;
	if (held)
		forget(st->st_ino);
	return 0;
}

/* A directory stays open in the middle. */
static void test_open_directory(void)
{
	struct fs_dir *dir;
	unsigned taken = 0;

	fs_fixture_init(&f);
	forget(make_file(f.fs, FS_ROOT_INO, "a"));
	forget(make_file(f.fs, FS_ROOT_INO, "b"));
	forget(write_file("large", 8 * MIB));
	fs_fixture_reopen(&f);
	if (fs_unlink(f.fs, FS_ROOT_INO, "large") || fs_dir_open(f.fs, FS_ROOT_INO, &dir) ||
	    fs_dir_read(dir, 0, true, take_one, &taken))
		bail("cannot read the directory");
	is_int(taken, 1, "a name is read, and the next one refused");
	is_int(stats_of().inodes_in_memory, 1, "which leaves no reference");
	if (fs_compact(f.fs, NULL, NULL))
		bail("compact");
	ok(stats_of().lsm.segment_bytes < 4 * MIB,
	   "an open directory does not keep what was deleted before");
	fs_dir_close(dir);
	fs_fixture_release(&f);
}

/* A write beside bytes that a repair has marked as lost works, and leaves them so. */
static void test_beside_lost(void)
{
	struct lsm_options o;
	struct lsm_batch *b = lsm_batch_new();
	struct lsm *lsm;
	struct key k;
	struct stat st;
	char bytes[150] = {0};
	size_t got;
	uint64_t a;

	fs_fixture_init(&f);
	a = write_file("a", 5000);
	fs_fixture_close(&f);
	o = f.options.lsm;
	if (lsm_open(f.store, &o, &lsm) || lsm_batch_put_lost(b, key_extent(&k, a, 0), 10) ||
	    lsm_write(lsm, b, 0) || lsm_close(lsm))
		bail("cannot mark bytes as lost");
	lsm_batch_free(b);
	f.quiet = true;
	fs_fixture_open(&f);
	if (fs_lookup(f.fs, FS_ROOT_INO, "a", &st))
		bail("lookup");
	is_int(fs_read(f.fs, a, 5, bytes, 5, &got), -EIO, "lost bytes cannot be read");
	/* So much more beside so few would become one extent with them. */
	is_int(fs_write(f.fs, a, 10, bytes, sizeof(bytes), 0, NULL), 0,
	       "a write beside them works");
	is_int(fs_read(f.fs, a, 10, bytes, sizeof(bytes), &got), 0, "and is read");
	is_int(fs_read(f.fs, a, 5, bytes, 5, &got), -EIO, "the others not, as before");
	is_int(fs_write(f.fs, a, 0, bytes, 10, 0, NULL), 0, "until they are written");
	is_int(fs_read(f.fs, a, 5, bytes, 5, &got), 0, "then they are there");
	fs_fixture_release(&f);
}

/* The kernel, which forgets what it is asked to. */
static void forget_name(void *ctx, uint64_t parent, const char *name)
{
	atomic_uint *asked = ctx;
	uint64_t ino = ino_of(f.fs, parent, name);

	if (ino)
		forget(ino);
	atomic_fetch_add(asked, 1);
}

static void test_prune(void)
{
	atomic_uint asked = 0;
	char name[16];

	fs_fixture_init(&f);
	for (unsigned i = 0; i < 12000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		make_file(f.fs, FS_ROOT_INO, name);
	}
	ok(stats_of().inode_bytes > 2 * MIB, "more inodes than an eighth of the memory holds");
	fs_set_prune(f.fs, forget_name, &asked);
	for (int tries = 0; tries < 1000 && stats_of().inode_bytes > 2 * MIB; tries++)
		usleep(10000);
	ok(stats_of().inode_bytes <= 2 * MIB, "the kernel is asked to forget some: %u",
	   atomic_load(&asked));
	ok(atomic_load(&asked) < 12000, "and not all");
	fs_set_prune(f.fs, NULL, NULL);
	fs_fixture_release(&f);
}

int main(void)
{
	run_test(test_blocks);
	run_test(test_copy);
	run_test(test_emptied);
	run_test(test_memory);
	run_test(test_open_directory);
	run_test(test_beside_lost);
	run_test(test_prune);
	return done();
}
