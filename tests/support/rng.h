/*
 * rng.h - choices by chance, the same ones for the same seed.
 */
#ifndef TESTS_RNG_H
#define TESTS_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where choices come from: a seed; or, for a fuzzer, bytes that somebody else chose,
 * and a seed for what is no choice (the content of values). Each choice takes as few
 * bytes as it needs, and when there are none left it is the first of those there are.
 */
struct rng {
	uint64_t state;
	const uint8_t *bytes; /* NULL: from the seed alone */
	size_t left;
};

static inline uint64_t rng_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t rng_next(struct rng *r)
{
	return rng_mix(r->state += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	uint64_t v = 0, range = 1;

	if (!r->bytes)
		return (uint32_t)((rng_next(r) >> 32) * n >> 32);
	for (; range < n && r->left; r->left--, range <<= 8)
		v = v << 8 | *r->bytes++;
	return n ? (uint32_t)(v % n) : 0;
}

static inline bool rng_chance(struct rng *r, uint32_t one_in)
{
	return rng_below(r, one_in) == 0;
}

#endif
