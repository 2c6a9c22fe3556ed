/*
 * Whole sequences of calls of the filesystem, compared with a plain model: every byte of
 * the input is a choice of tests/support/fs_twin.h: which call, with which files, names and
 * offsets. Everything is compared at each reopen, kill and power cut, and at the end.
 *
 * The tree's threads run as they like, so an input does not always take the same path.
 */
#include <stdlib.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/fs_twin.h"
#include "tests/support/fuzz.h"
#include "tests/support/must.h"

/* Few files, as many as fit in a directory, but some of several extents. */
#define NODES 20

#define STEPS_MAX 2000u

static struct fs_options options_on(struct storage *st)
{
	return (struct fs_options){.lsm = {.storage = st,
					   .create = true,
					   .report = fs_fixture_report,
					   .report_ctx = &twin.f,
					   .memtable_bytes = 16 << 10,
					   .block_bytes = 256,
					   .table_bytes = 2 << 10,
					   .level1_bytes = 4 << 10,
					   .segment_bytes = 256 << 10,
					   .l0_compact = 2,
					   .l0_slow = 20,
					   .l0_stop = 30,
					   .memory_bytes = 4 << 20}};
}

/* Sync, cut the power, and go on. KEEP_ALL: the process is killed instead, without a sync. */
static void cut(enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *old = twin.f.options.lsm.storage;

	if (keep != STORAGE_MEM_KEEP_ALL)
		fs_twin_same(fs_sync(twin.f.fs), 0, "sync");
	twin.f.options.lsm.storage = must_alloc(storage_mem_crash(old, keep, seed));
	fs_fixture_close(&twin.f);
	old->ops->free(old);
	fs_fixture_open(&twin.f);
	fs_twin_forget_all();
}

static void check_clean(void)
{
	struct fs_check_counts counts;

	fs_twin_same(fs_check(twin.f.fs, print_finding, NULL, NULL, NULL, &counts), 0, "check");
}

static void compact(void)
{
	fs_twin_same(fs_compact(twin.f.fs, NULL, NULL), 0, "compact");
}

static void reopen(void)
{
	fs_twin_reopen();
	fs_twin_compare();
}

static void cut_somehow(void)
{
	enum storage_mem_keep keep = (enum storage_mem_keep)fs_twin_below(3);

	cut(keep, rng_next(&twin.choices));
	check_clean();
	fs_twin_compare();
}

static void take_step(void)
{
	static void (*const steps[])(void) = {
		fs_twin_create,  fs_twin_create,   fs_twin_create,   fs_twin_tmpfile,
		fs_twin_link,    fs_twin_remove,   fs_twin_remove,   fs_twin_rename,
		fs_twin_rename,  fs_twin_truncate, fs_twin_allocate, fs_twin_copy,
		fs_twin_copy,    fs_twin_attr,     fs_twin_forget,   compact,
		fs_twin_compare, check_clean,      reopen,           cut_somehow,
		fs_twin_write,   fs_twin_write,    fs_twin_write,    fs_twin_write,
	};

	steps[fs_twin_below(sizeof(steps) / sizeof(steps[0]))]();
}

void fuzz_one(const uint8_t *data, size_t size)
{
	twin.choices = (struct rng){.state = size, .bytes = data, .left = size};
	twin.f.options = options_on(must_alloc(storage_mem_new()));
	fs_fixture_open(&twin.f);
	fs_twin_begin(NODES, FS_TWIN_BYTES_MAX);
	for (; twin.choices.left && twin.step < STEPS_MAX; twin.step++)
		take_step();
	fs_twin_compare();
	check_clean();
	fs_twin_end();
	fs_fixture_reopen(&twin.f);
	check_clean();
	fs_fixture_close(&twin.f);
	twin.f.options.lsm.storage->ops->free(twin.f.options.lsm.storage);
}

void fuzz_seeds(fuzz_give_fn *give)
{
	fuzz_give_choices(give);
}

const unsigned fuzz_runs = 1000;
