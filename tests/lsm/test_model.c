/*
 * test_model.c - the tree against a plain model, with everything going on at once.
 *
 * Random batches, reads, snapshots, iterators, flushes, compactions, reopens
 * and power cuts on a storage in memory, under limits so small that every rare
 * path is common. MODEL_OPS=n and MODEL_SEED=n in the environment say how many
 * operations and which ones; a million of them take some seconds. The choices
 * follow from the seed, but the tree's threads run as they like. So a seed fails
 * at the same operation nearly always, not always. What one thread cannot show is
 * in test_beside.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/lsm_twin.h"
#include "tests/support/option.h"
#include "tests/support/tap.h"

#define WATCHDOG_SECONDS 600

/* ---- options ---- */

static const struct lsm_twin_limits limits_of[] = {
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
#define LIMITS_COUNT (sizeof(limits_of) / sizeof(limits_of[0]))
/* ---- one run ---- */

static bool take_step(struct lsm_twin *r)
{
	uint32_t kind = rng_below(&r->rng, 10000);

	r->op++;
	if (kind < 4500)
		return lsm_twin_write(r);
	if (kind < 8500)
		return lsm_twin_get(r);
	if (kind < 9300)
		return lsm_twin_iterate(r);
	if (kind < 9850)
		return lsm_twin_use_view(r);
	if (kind < 9910)
		return lsm_twin_sync(r);
	if (kind < 9935)
		return lsm_twin_fits(r, "lsm_flush", lsm_flush(r->lsm));
	if (kind < 9950)
		return lsm_twin_compact(r);
	if (kind < 9960)
		return lsm_twin_stats(r);
	if (kind < 9965)
		return lsm_twin_check_all(r);
	if (kind < 9967)
		return lsm_model_check_verify(&r->m, r->lsm);
	return kind < 9980 ? lsm_twin_reopen(r) : lsm_twin_cut(r);
}

static void test_limits(const struct lsm_twin_limits *limits, uint64_t seed, uint64_t ops_max)
{
	struct lsm_twin r = {
		.limits = limits, .seed = seed, .ops_max = ops_max, .rng = {.state = seed}};
	bool right;

	right = lsm_twin_begin(&r, &r.rng);
	while (right && r.op < ops_max)
		right = take_step(&r);
	right = right && lsm_model_check_all(&r.m, r.m.now, r.lsm, NULL, true) &&
		lsm_model_check_verify(&r.m, r.lsm) && lsm_twin_reopen(&r);
	if (!lsm_twin_end(&r))
		right = false;
	ok(right, "%s: %" PRIu64 " operations, %u reopens, %u cuts that lost %u batches",
	   limits->name, r.op, r.reopens, r.cuts, r.batches_lost);
	if (!right)
		printf("#   seed %" PRIu64 " operation %" PRIu64 ": %s\n", seed, r.op, r.m.error);
	lsm_model_release(&r.m);
}

int main(void)
{
	uint64_t ops = option_number("MODEL_OPS", 1000000), seed = option_number("MODEL_SEED", 1);

	option_watchdog(ops > 2000000, WATCHDOG_SECONDS);
	printf("# seed %" PRIu64 ", %" PRIu64 " operations\n", seed, ops);
	for (size_t i = 0; i < LIMITS_COUNT; i++)
		run_test(test_limits, &limits_of[i], seed * LIMITS_COUNT + i, ops / LIMITS_COUNT);
	return done();
}
