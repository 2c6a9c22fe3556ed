/*
 * test_model.c - the tree against a plain model, with everything going on at once.
 *
 *     test_model.t [-s seed] [-n operations]
 *
 * Random batches, reads, snapshots, iterators, flushes, compactions, reopens
 * and power cuts on a storage in memory, under limits so small that every rare
 * path is common. The environment gives MODEL_OPS and MODEL_SEED too; without
 * any of them it is a million operations, which take some seconds. The choices
 * follow from the seed, but the tree's threads run as they like, so the same
 * seed fails at the same operation only nearly always. What one thread cannot
 * show is in test_beside.c.
 */
#include <getopt.h>

#include "tests/support/lsm_twin.h"

#define WATCHDOG_SECONDS 600

/* ---- options ---- */

static const struct set sets[] = {
	{
		"tiny everything",
		400,
		{.memtable_bytes = 16 << 10,
		 .block_bytes = 256,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 32 << 10,
		 .segment_bytes = 64 << 10,
		 .separate_min = 512,
		 .l0_compact = 2,
		 .l0_slow = 4,
		 .l0_stop = 6,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20,
		 .compression = LSM_COMPRESS_NONE,
		 .compression_set = true},
		{20, 200, 8000, 12, 200 << 10, 30},
	},
	{
		"many keys, wide ranges, LZ4",
		2000,
		{.memtable_bytes = 32 << 10,
		 .block_bytes = 512,
		 .table_bytes = 16 << 10,
		 .level1_bytes = 48 << 10,
		 .segment_bytes = 256 << 10,
		 .separate_min = 1024,
		 .l0_compact = 4,
		 .l0_slow = 6,
		 .l0_stop = 8,
		 .imm_max = 3,
		 .memory_bytes = 8 << 20,
		 .compression = LSM_COMPRESS_LZ4,
		 .compression_set = true},
		{12, 120, 40 << 10, 50, 0, 600},
	},
	{
		"nothing separated, zstd",
		300,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 16 << 10,
		 .segment_bytes = 64 << 10,
		 .separate_min = LSM_VALUE_BYTES_MAX,
		 .l0_compact = 2,
		 .l0_slow = 3,
		 .l0_stop = 4,
		 .imm_max = 1,
		 .memory_bytes = 4 << 20,
		 .compression = LSM_COMPRESS_ZSTD,
		 .compression_set = true},
		{20, 100, 3000, 20, 0, 40},
	},
	{
		"nearly everything separated",
		500,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 16 << 10,
		 .segment_bytes = 128 << 10,
		 .separate_min = 16,
		 .l0_compact = 3,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
		{8, 300, 20 << 10, 10, 0, 100},
	},
};
#define SETS_COUNT (sizeof(sets) / sizeof(sets[0]))
/* ---- one run ---- */

static bool step(struct run *r)
{
	uint32_t kind = rng_below(&r->rng, 10000);

	r->op++;
	if (kind < 4500)
		return do_write(r);
	if (kind < 8500)
		return do_get(r);
	if (kind < 9300)
		return do_iterate(r);
	if (kind < 9850)
		return do_view(r);
	if (kind < 9910)
		return do_sync(r);
	if (kind < 9935)
		return wrong_error(r, "lsm_flush", lsm_flush(r->lsm));
	if (kind < 9950)
		return do_compact(r);
	if (kind < 9960)
		return do_stats(r);
	if (kind < 9965)
		return do_whole(r);
	if (kind < 9967)
		return model_check_verify(&r->m, r->lsm);
	return kind < 9980 ? do_reopen(r) : do_cut(r);
}

static void test_set(const struct set *set, uint64_t seed, uint64_t ops_max)
{
	struct run r = {.set = set, .seed = seed, .ops_max = ops_max, .rng = {.state = seed}};
	bool right;

	right = run_begin(&r, &r.rng);
	while (right && r.op < ops_max)
		right = step(&r);
	right = right && model_check_all(&r.m, r.m.now, r.lsm, NULL, true) &&
		model_check_verify(&r.m, r.lsm) && do_reopen(&r);
	if (!run_end(&r))
		right = false;
	ok(right, "%s: %" PRIu64 " operations, %u reopens, %u cuts that lost %u batches", set->name,
	   r.op, r.reopens, r.cuts, r.batches_lost);
	if (!right)
		printf("#   seed %" PRIu64 " operation %" PRIu64 ": %s\n", seed, r.op, r.m.error);
	model_release(&r.m);
}

int main(int argc, char **argv)
{
	const char *env_ops = getenv("MODEL_OPS"), *env_seed = getenv("MODEL_SEED");
	uint64_t ops = env_ops ? strtoull(env_ops, NULL, 0) : 1000000;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;
	int c;

	while ((c = getopt(argc, argv, "s:n:")) != -1) {
		if (c == 's') {
			seed = strtoull(optarg, NULL, 0);
		} else if (c == 'n') {
			ops = strtoull(optarg, NULL, 0);
		} else {
			fprintf(stderr, "usage: %s [-s seed] [-n operations]\n", argv[0]);
			return 2;
		}
	}
	/* A store that hangs fails the test, too. */
	alarm(ops > 2000000 ? 0 : WATCHDOG_SECONDS);
	printf("# seed %" PRIu64 ", %" PRIu64 " operations\n", seed, ops);
	for (size_t i = 0; i < SETS_COUNT; i++)
		test_set(&sets[i], seed * SETS_COUNT + i, ops / SETS_COUNT);
	return done();
}
