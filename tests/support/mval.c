#include "tests/support/mval.h"

#include <endian.h>
#include <string.h>

#include "tests/support/rng.h"

#define MVAL_COUNTER_SEED (UINT64_C(1) << 63)

/* Eight bytes of a stream: one in four repeats for a while, and can be compressed. */
static uint64_t mval_word(uint64_t seed, uint64_t i)
{
	if (seed & MVAL_COUNTER_SEED)
		return i ? 0 : seed & ~MVAL_COUNTER_SEED;
	return rng_mix(seed + (seed & 3 ? i : i / 32) * UINT64_C(0x9e3779b97f4a7c15));
}

void mval_fill(struct mval v, size_t from, void *buf, size_t size)
{
	uint64_t at = v.offset + from;
	unsigned char *p = buf;

	while (size) {
		uint64_t word = htole64(mval_word(v.seed, at / 8));
		size_t skip = at % 8, n = 8 - skip;

		if (n > size)
			n = size;
		memcpy(p, (const unsigned char *)&word + skip, n);
		p += n;
		at += n;
		size -= n;
	}
}

bool mval_is_part(struct mval v, size_t from, const void *data, size_t size)
{
	unsigned char want[4096];

	for (size_t done = 0; done < size; done += sizeof(want)) {
		size_t n = size - done < sizeof(want) ? size - done : sizeof(want);

		mval_fill(v, from + done, want, n);
		if (memcmp((const char *)data + done, want, n))
			return false;
	}
	return true;
}

bool mval_is(struct mval v, const void *data, size_t size)
{
	return v.seed && size == v.size && mval_is_part(v, 0, data, size);
}

struct mval mval_counter(uint64_t batch)
{
	return (struct mval){MVAL_COUNTER_SEED | batch, 0, 8};
}
