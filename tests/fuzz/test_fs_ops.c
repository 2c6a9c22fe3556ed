/*
 * Whole sequences of calls of the filesystem, compared with a plain model: every byte of
 * the input is a choice of tests/fs/model.h: which call, with which files, names and
 * offsets. Everything is compared at each reopen, kill and power cut, and at the end.
 *
 * The tree's threads run as they like, so an input does not always take the same path.
 */
#include "tests/storage/storage_mem.h"
#include "tests/support/fuzz.h"

/* Few files, as many as fit in a directory, but some of several extents. */
#define NODES 20u
#define BYTES (300u << 10)
#include "tests/support/fs_twin.h"

#define STEPS_MAX 2000u

static struct fs_options options_on(struct storage *st)
{
	return (struct fs_options){.lsm = {.storage = st,
					   .create = true,
					   .report = fixture_report,
					   .report_ctx = &f,
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

/* Go on from what a power cut leaves of what is synced now, or, with KEEP_ALL, a kill of all. */
static void cut(enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *old = f.options.lsm.storage;

	if (keep != STORAGE_MEM_KEEP_ALL)
		same(fs_sync(f.fs), 0, "sync");
	f.options.lsm.storage = model_must(storage_mem_crash(old, keep, seed));
	fixture_close(&f);
	old->ops->free(old);
	fixture_open(&f);
	nothing_is_held();
}

static void check_clean(void)
{
	struct fs_check_counts counts;

	same(fs_check(f.fs, fixture_finding, NULL, NULL, NULL, &counts), 0, "check");
}

static void take_step(void)
{
	switch (random_below(24)) {
	case 0:
	case 1:
	case 2:
		step_create();
		break;
	case 3:
		step_tmpfile();
		break;
	case 4:
		step_link();
		break;
	case 5:
	case 6:
		step_remove();
		break;
	case 7:
	case 8:
		step_rename();
		break;
	case 9:
		step_truncate();
		break;
	case 10:
		step_allocate();
		break;
	case 11:
	case 12:
		step_copy();
		break;
	case 13:
		step_attr();
		break;
	case 14:
		step_forget();
		break;
	case 15:
		same(fs_compact(f.fs, NULL, NULL), 0, "compact");
		break;
	case 16:
		compare_all();
		break;
	case 17:
		check_clean();
		break;
	case 18:
		reopen();
		compare_all();
		break;
	case 19:
		cut((enum storage_mem_keep)random_below(3), rng_next(&choices));
		check_clean();
		compare_all();
		break;
	default:
		step_write();
		break;
	}
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	choices = (struct rng){.state = size, .bytes = data, .left = size};
	f.options = options_on(model_must(storage_mem_new()));
	fixture_open(&f);
	model_begin();
	for (; choices.left && step < STEPS_MAX; step++)
		take_step();
	compare_all();
	check_clean();
	model_end();
	fixture_reopen(&f);
	check_clean();
	fixture_close(&f);
	f.options.lsm.storage->ops->free(f.options.lsm.storage);
}

/* Choices of all lengths, made by chance. */
static void fuzz_seeds(fuzz_give_fn *give)
{
	static uint8_t bytes[2000];
	struct rng rng = {.state = 7};

	for (unsigned n = 0; n < 12; n++) {
		size_t size = 20u << n / 2;

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)rng_next(&rng);
		give(bytes, size);
	}
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 1000);
}
#endif
