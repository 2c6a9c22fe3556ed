/*
 * Whole sequences of operations on the tree, compared with the plain model after
 * each: the input's first byte says under which limits, every other byte is a choice
 * of tests/lsm/model_run.h: what to do, with which keys, sizes and offsets.
 *
 * The tree's threads run as they like, so an input does not always take the same
 * path: what was found may need the same input several times to be seen again.
 */
#include "tests/support/fuzz.h"
#include "tests/support/lsm_twin.h"

/* Far smaller than anywhere else: an input has room for a few hundred operations. */
static const struct set sets[] = {
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
#define SETS_COUNT (sizeof(sets) / sizeof(sets[0]))

/* As many operations as the longest input has choices; few enough for a second. */
#define STEPS_MAX 3000u

static bool step(struct run *r)
{
	switch (rng_below(&r->rng, 16)) {
	case 0:
		return do_get(r);
	case 1:
		return do_iterate(r);
	case 2:
	case 3:
		return do_view(r);
	case 4:
		return do_sync(r);
	case 5:
	case 6:
		return wrong_error(r, "lsm_flush", lsm_flush(r->lsm));
	case 7:
		return do_compact(r);
	case 8:
		return do_stats(r);
	case 9:
		return do_whole(r) && model_check_verify(&r->m, r->lsm);
	case 10:
		return do_reopen(r);
	case 11:
		return do_cut(r);
	default:
		return do_write(r);
	}
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	const struct set *set = &sets[take_u8(&in) % SETS_COUNT];
	struct rng keys = {.state = 1};
	struct run r = {.set = set, .rng = {.state = size, .bytes = in.p, .left = in.left}};
	bool right = run_begin(&r, &keys);

	for (unsigned n = 0; right && r.rng.left && n < STEPS_MAX; n++)
		right = step(&r);
	right = right && model_check_all(&r.m, r.m.now, r.lsm, NULL, true) &&
		model_check_verify(&r.m, r.lsm) && do_reopen(&r);
	if (!run_end(&r))
		right = false;
	if (!right)
		bail("%s, %zu bytes left: %s", set->name, r.rng.left, r.m.error);
	model_release(&r.m);
}

/* Choices of all lengths, made by chance: the model test is full of such. */
static void fuzz_seeds(fuzz_give_fn *give)
{
	static uint8_t bytes[2000];
	struct rng rng = {.state = 7};

	for (unsigned n = 0; n < 12; n++) {
		size_t size = 20u << n / 2;

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)rng_next(&rng);
		bytes[0] = (uint8_t)n;
		give(bytes, size);
	}
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 2000);
}
#endif
