/*
 * test_compact.c - what compaction makes of tables: what it drops, moves and cuts, and that
 * it comes to an end.
 *
 * Regressions that a deliberate mistake stood for: tables with tombstones that were moved
 * down without being rewritten; a pick that forgot the oldest snapshot.
 */
#include "tests/support/lsm_bed.h"

static char name[16];

static const char *key_of(const char *group, unsigned i)
{
	snprintf(name, sizeof(name), "%s%06u", group, i);
	return name;
}

static uint64_t entries(const struct lsm_stats *s)
{
	uint64_t n = 0;

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		n += s->level[l].entries + s->level[l].range_tombstones;
	return n;
}

/* Four tables of level 0 that do not overlap, each with `deletes` tombstones. */
static struct bed four_tables(unsigned deletes)
{
	static const char *const groups[] = {"a", "b", "c", "d"};
	struct bed t = bed_new((struct lsm_options){.l0_compact = 4});

	for (int g = 0; g < 4; g++) {
		for (unsigned i = 0; i < 100; i++)
			bed_put(&t, key_of(groups[g], i), 10, i);
		for (unsigned i = 0; i < deletes; i++)
			bed_delete(&t, key_of(groups[g], 50 + i));
		bed_flush(&t);
	}
	return t;
}

static void test_moves(void)
{
	struct bed t = four_tables(0);

	ok(bed_soon(bed_stats(&t).level[1].tables == 4), "four tables go down to level 1");
	is_int(bed_stats(&t).compactions, 0, "without being written again");
	ok(bed_has(&t, "c000099", 10, 99), "with what is in them");
	bed_release(&t);

	t = four_tables(5);
	ok(bed_soon(bed_stats(&t).level[1].tables && !bed_stats(&t).level[0].tables),
	   "so do four with a few tombstones in each");
	is_int(bed_stats(&t).level[1].tombstones, 0, "but these stay behind");
	is_int(bed_stats(&t).level[1].entries, 4 * 95, "and all else is there");
	bed_release(&t);
}

static void test_drops(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 100});
	struct lsm_snapshot *snapshot;
	struct lsm_stats s;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 200; i++)
			bed_put(&t, key_of("k", i), 10, round);
		bed_flush(&t);
	}
	is_int(bed_compact(&t), 0, "compacts");
	s = bed_stats(&t);
	is_int(entries(&s), 200, "of each key one version stays");
	snapshot = lsm_snapshot_take(t.lsm);
	for (unsigned i = 0; i < 100; i++)
		bed_delete(&t, key_of("k", i));
	bed_delete_range(&t, "k000150", "k000200");
	is_int(bed_compact(&t), 0, "compacts under a snapshot");
	s = bed_stats(&t);
	is_int(entries(&s), 200 + 100 + 1, "which keeps what it sees, and what hides that");
	lsm_snapshot_drop(t.lsm, snapshot);
	is_int(bed_compact(&t), 0, "and without one");
	s = bed_stats(&t);
	is_int(entries(&s), 50, "no tombstone stays, nor what it hid");
	bed_delete_range(&t, "a", "z");
	is_int(bed_compact(&t), 0, "all is deleted");
	s = bed_stats(&t);
	is_int(entries(&s), 0, "nothing stays");
	bed_release(&t);
}

/* While a snapshot keeps a tombstone at the bottom there is nothing to do about it. */
static void test_snapshot_ends(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 1});
	struct lsm_snapshot *snapshot;
	uint64_t before;

	for (unsigned i = 0; i < 200; i++)
		bed_put(&t, key_of("k", i), 10, i);
	snapshot = lsm_snapshot_take(t.lsm);
	bed_delete_range(&t, "k000000", "k000100");
	bed_flush(&t);
	ok(bed_soon(!bed_stats(&t).level[0].tables), "a range tombstone goes down");
	usleep(100000);
	before = bed_stats(&t).compactions;
	usleep(200000);
	ok(bed_stats(&t).compactions <= before + 1, "and then stays, for the snapshot's sake");
	lsm_snapshot_drop(t.lsm, snapshot);
	bed_release(&t);
}

static void test_cuts(void)
{
	struct lsm_options o = {.compression = LSM_COMPRESS_NONE,
				.compression_set = true,
				.memtable_bytes = 256 << 10,
				.table_bytes = 32 << 10,
				.level1_bytes = 512 << 10,
				.l0_compact = 2};
	struct bed t = bed_new(o);
	struct lsm_stats s;

	for (unsigned i = 0; i < 4000; i++)
		bed_put(&t, key_of("k", i * 1567 % 4000), 1000, i);
	is_int(bed_compact(&t), 0, "four megabytes");
	s = bed_stats(&t);
	ok(s.level[2].tables >= 100 && s.level[2].bytes / s.level[2].tables < 48 << 10,
	   "are in tables of table_bytes: %llu of %llu bytes",
	   (unsigned long long)s.level[2].tables, (unsigned long long)s.level[2].bytes);
	/* Twice, as a single table would be moved. */
	for (unsigned n = 0; n < 2; n++) {
		for (unsigned i = 0; i < 4000; i += 40)
			bed_put(&t, key_of("k", i), 1, i);
		bed_flush(&t);
	}
	ok(bed_soon(!bed_stats(&t).level[0].tables), "a hundred small values go down");
	s = bed_stats(&t);
	ok(s.level[1].tables >= 8 && s.level[1].tables <= 20,
	   "in tables that overlap ten or so of the next level: %llu",
	   (unsigned long long)s.level[1].tables);
	bed_release(&t);
}

/* Flip a bit of the only table. */
static int damage_table(void *ctx, const char *file, uint64_t size)
{
	return strstr(file, ".tab") ? storage_mem_flip(ctx, file, size / 4, 1) : 0;
}

static void test_damaged(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 2, .l0_stop = 3});
	unsigned written = 0;
	uint64_t reads;

	for (unsigned i = 0; i < 1000; i++)
		bed_put(&t, key_of("k", i), 100, i);
	bed_reopen(&t);
	if (t.st->ops->list(t.st, damage_table, t.st))
		bail("cannot damage the table");
	bed_reopen(&t);
	for (unsigned i = 0; i < 10; i++)
		bed_put(&t, key_of("k", i), 100, i + 1);
	bed_flush(&t);
	ok(bed_soon(atomic_load(&bed_damaged_told)), "a damaged table is met by a compaction");
	usleep(100000);
	reads = storage_mem_count(t.st, STORAGE_MEM_READ);
	usleep(200000);
	ok(storage_mem_count(t.st, STORAGE_MEM_READ) - reads < 50, "which does not try it again");
	is_int(atomic_load(&bed_damaged_told), 1, "it is told once");
	is_int(bed_compact(&t), -EUCLEAN, "a compaction that is asked for says so");
	ok(bed_has(&t, "k000001", 100, 2), "what is written goes on");
	while (written < 40 && !bed_try_put(&t, "k000001", 100, written))
		written += !lsm_flush(t.lsm);
	ok(written >= 20 && written <= 25, "until level 0 has eight times what stops writers: %u",
	   written);
	ok(bed_has(&t, "k000001", 100, written) || bed_has(&t, "k000001", 100, written - 1),
	   "nothing of it is lost");
	bed_release(&t);
}

static int largest_manifest(void *ctx, const char *file, uint64_t size)
{
	uint64_t *largest = ctx;

	if (strstr(file, ".man") && size > *largest)
		*largest = size;
	return 0;
}

static void test_upkeep(void)
{
	struct lsm_options o = {.l0_compact = 4, .commit_interval_ms = 20, .memory_bytes = 8 << 20};
	struct bed t = bed_new(o);
	char first[1001], last[1001];
	uint64_t largest = 0;

	bed_put(&t, "a", 10, 0);
	ok(bed_soon(bed_stats(&t).sequence_synced == bed_stats(&t).sequence),
	   "what is written is synced within the commit interval");
	ok(bed_stats(&t).cache_bytes_max <= 8 << 20, "the cache has its share of the memory");
	memset(first, 'b', 1000);
	memset(last, 'y', 1000);
	first[1000] = last[1000] = '\0';
	for (unsigned i = 0; i < 2700; i++) {
		bed_put(&t, first, 1, i);
		bed_put(&t, last, 1, i);
		bed_flush(&t);
	}
	if (t.st->ops->list(t.st, largest_manifest, &largest))
		bail("cannot list");
	ok(largest > 0 && largest < 5 << 20, "the manifest is made anew when it is long: %llu",
	   (unsigned long long)largest);
	bed_release(&t);
}

int main(void)
{
	run_test(test_moves);
	run_test(test_drops);
	run_test(test_snapshot_ends);
	run_test(test_cuts);
	run_test(test_damaged);
	run_test(test_upkeep);
	return done();
}
