/*
 * Whole sequences of operations on the tree, compared with the plain model after
 * each: the input's first byte says under which limits, every other byte is a choice
 * of tests/support/lsm_twin.h: what to do, with which keys, sizes and offsets.
 *
 * The tree's threads run as they like, so an input does not always take the same
 * path: what was found may need the same input several times to be seen again.
 */
#include "tests/support/fuzz.h"
#include "tests/support/lsm_twin.h"
#include "tests/support/tap.h"

/* Far smaller than anywhere else: an input has room for a few hundred operations. */
static const struct lsm_twin_limits limits_of[] = {
	{
		"values separated",
		48,
		{.memtable_bytes = 4 << 10,
		 .block_bytes = 128,
		 .table_bytes = 1 << 10,
		 .level1_bytes = 2 << 10,
		 .segment_bytes = 8 << 10,
		 .separate_min = 200,
		 .l0_compact = 2,
		 .l0_slow = 20,
		 .l0_stop = 30,
		 .imm_max = 2,
		 .memory_bytes = 2 << 20,
		 .compression = LSM_COMPRESS_NONE,
		 .compression_set = true},
		{8, 100, 3000, 4, 0, 20},
	},
	{
		"values in tables",
		200,
		{.memtable_bytes = 2 << 10,
		 .block_bytes = 256,
		 .table_bytes = 1 << 10,
		 .level1_bytes = 2 << 10,
		 .segment_bytes = 16 << 10,
		 .separate_min = 2000,
		 .l0_compact = 2,
		 .l0_slow = 20,
		 .l0_stop = 30,
		 .imm_max = 1,
		 .memory_bytes = 2 << 20,
		 .compression = LSM_COMPRESS_LZ4,
		 .compression_set = true},
		{20, 250, 1500, 8, 0, 100},
	},
};
#define LIMITS_COUNT (sizeof(limits_of) / sizeof(limits_of[0]))

/* As many operations as the longest input has choices; few enough for a second. */
#define STEPS_MAX 3000u

static bool take_step(struct lsm_twin *r)
{
	switch (rng_below(&r->rng, 16)) {
	case 0:
		return lsm_twin_get(r);
	case 1:
		return lsm_twin_iterate(r);
	case 2:
	case 3:
		return lsm_twin_use_view(r);
	case 4:
		return lsm_twin_sync(r);
	case 5:
	case 6:
		return lsm_twin_fits(r, "lsm_flush", lsm_flush(r->lsm));
	case 7:
		return lsm_twin_compact(r);
	case 8:
		return lsm_twin_stats(r);
	case 9:
		return lsm_twin_check_all(r) && lsm_model_check_verify(&r->m, r->lsm);
	case 10:
		return lsm_twin_reopen(r);
	case 11:
		return lsm_twin_cut(r);
	default:
		return lsm_twin_write(r);
	}
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	const struct lsm_twin_limits *limits = &limits_of[fuzz_take_u8(&in) % LIMITS_COUNT];
	struct rng keys = {.state = 1};
	struct lsm_twin r = {.limits = limits,
			     .rng = {.state = size, .bytes = in.p, .left = in.left}};
	bool right = lsm_twin_begin(&r, &keys);

	for (unsigned n = 0; right && r.rng.left && n < STEPS_MAX; n++)
		right = take_step(&r);
	right = right && lsm_model_check_all(&r.m, r.m.now, r.lsm, NULL, true) &&
		lsm_model_check_verify(&r.m, r.lsm) && lsm_twin_reopen(&r);
	if (!lsm_twin_end(&r))
		right = false;
	if (!right)
		bail("%s, %zu bytes left: %s", limits->name, r.rng.left, r.m.error);
	lsm_model_release(&r.m);
}

void fuzz_seeds(fuzz_give_fn *give)
{
	fuzz_give_choices(give);
}

const unsigned fuzz_runs = 2000;
