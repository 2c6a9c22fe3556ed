/*
 * filter.c - a bloom filter in cache-line blocks.
 *
 *   filter = line* | u8 probes          line = 64 bytes, at least one line
 *
 * A key's hash h (XXH3, 64 bits) picks one line by its upper half,
 *   line = (h >> 32) * lines >> 32
 * and in that line `probes` of the 512 bits by 9 bits at a time of a remix of h,
 * seven to a word:
 *   m0 = filter_mix(h), m1 = filter_mix(m0);  bit i = (m0 >> 9 * i) & 511 for i < 7, then m1's
 *   filter_mix(x) = (x ^ x >> 29) * 0xbf58476d1ce4e5b9, folded once more by x ^ x >> 32
 * Bit b of a line is bit b & 7 of byte b >> 3.
 *
 * All bits of a key are in one line, so a query costs one cache miss, whatever the number of
 * probes. In exchange it needs about one bit per key more than a plain bloom filter. With
 * 10 bits per key about one absent key in 100 passes.
 *
 * A filter whose size or number of probes is impossible answers "maybe" for every key: it
 * costs time then, but no look-up goes wrong.
 *
 * Example: the key "a", 10 bits per key: 64 bytes, six bits of them set, then 06
 * (tests/lsm/test_filter.c has them).
 */
#include <xxhash.h>

#include "lsm/table/filter.h"

#define LINE_BYTES 64u
#define LINE_BITS_MASK 511u
#define PROBES_PER_WORD 7u
#define PROBES_MAX (2 * PROBES_PER_WORD)

uint64_t filter_hash(struct lsm_slice user_key)
{
	return XXH3_64bits(user_key.data, user_key.size);
}

static uint64_t filter_mix(uint64_t x)
{
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

/* Fewer than the textbook's 0.69 per bit: lines are not filled evenly. */
static unsigned filter_probes(unsigned bits_per_key)
{
	unsigned probes = bits_per_key * 6 / 10;

	return probes < 1 ? 1 : probes > PROBES_MAX ? PROBES_MAX : probes;
}

static size_t filter_line(uint64_t hash, uint32_t lines)
{
	return (size_t)((hash >> 32) * lines >> 32) * LINE_BYTES;
}

int filter_build(const uint64_t *hashes, size_t count, unsigned bits_per_key, struct buf *out)
{
	uint64_t bits = (uint64_t)count * bits_per_key;
	uint64_t lines = (bits + LINE_BYTES * 8 - 1) / (LINE_BYTES * 8);
	unsigned probes = filter_probes(bits_per_key);
	uint8_t *base;

	lines = lines < 1 ? 1 : lines > UINT32_MAX ? UINT32_MAX : lines;
	if (lines > (SIZE_MAX - 1) / LINE_BYTES || buf_reserve(out, lines * LINE_BYTES + 1))
		return -ENOMEM;
	base = out->data + out->size;
	memset(base, 0, lines * LINE_BYTES);
	for (size_t i = 0; i < count; i++) {
		uint8_t *line = base + filter_line(hashes[i], (uint32_t)lines);
		uint64_t m = filter_mix(hashes[i]), word = m;

		for (unsigned p = 0; p < probes; p++, word >>= 9) {
			if (p == PROBES_PER_WORD)
				word = filter_mix(m);
			line[(word & LINE_BITS_MASK) >> 3] |= (uint8_t)(1u << (word & 7));
		}
	}
	base[lines * LINE_BYTES] = (uint8_t)probes;
	out->size += lines * LINE_BYTES + 1;
	return 0;
}

bool filter_may_match(struct lsm_slice filter, uint64_t hash)
{
	const uint8_t *line = filter.data;
	uint64_t lines = filter.size / LINE_BYTES, m, word;
	unsigned probes;

	if (!lines || lines > UINT32_MAX || filter.size % LINE_BYTES != 1)
		return true;
	probes = line[filter.size - 1];
	if (!probes || probes > PROBES_MAX)
		return true;
	line += filter_line(hash, (uint32_t)lines);
	m = word = filter_mix(hash);
	for (unsigned p = 0; p < probes; p++, word >>= 9) {
		if (p == PROBES_PER_WORD)
			word = filter_mix(m);
		if (!(line[(word & LINE_BITS_MASK) >> 3] & 1u << (word & 7)))
			return false;
	}
	return true;
}
