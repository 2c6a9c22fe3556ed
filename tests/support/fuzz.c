#include "tests/support/fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/must.h"
#include "tests/support/option.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

/* ---- taking an input apart ---- */

uint8_t fuzz_take_u8(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

unsigned fuzz_take_u16(struct fuzz_input *in)
{
	unsigned low = fuzz_take_u8(in);

	return low | (unsigned)fuzz_take_u8(in) << 8;
}

struct lsm_slice fuzz_take_piece(struct fuzz_input *in)
{
	size_t size = fuzz_take_u16(in);
	struct lsm_slice piece;

	if (size > in->left)
		size = in->left;
	piece = (struct lsm_slice){in->p, size};
	in->p += size;
	in->left -= size;
	return piece;
}

/* ---- putting one together ---- */

void fuzz_put_u8(struct fuzz_output *out, unsigned v)
{
	if (out->size < sizeof(out->bytes))
		out->bytes[out->size++] = (uint8_t)v;
}

void fuzz_put_bytes(struct fuzz_output *out, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		fuzz_put_u8(out, ((const uint8_t *)data)[i]);
}

void fuzz_put_piece(struct fuzz_output *out, const void *data, size_t size)
{
	fuzz_put_u8(out, size & 255);
	fuzz_put_u8(out, (unsigned)size >> 8);
	fuzz_put_bytes(out, data, size);
}

void fuzz_give_choices(fuzz_give_fn *give)
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

/* ---- running it ---- */

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_one(data, size);
	return 0;
}

#else

static struct fuzz_seed {
	uint8_t *data;
	size_t size;
} fuzz_all[64];
static size_t fuzz_count;

static void fuzz_take(const void *data, size_t size)
{
	struct fuzz_seed *s = &fuzz_all[fuzz_count];

	if (fuzz_count == sizeof(fuzz_all) / sizeof(fuzz_all[0]))
		bail("too many seeds");
	s->data = must_alloc(malloc(size + 1));
	memcpy(s->data, data, size);
	s->size = size;
	fuzz_count++;
}

static int fuzz_write(const char *folder)
{
	for (size_t i = 0; i < fuzz_count; i++) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/seed-%02zu", folder, i);
		file = fopen(path, "w");
		if (!file ||
		    fwrite(fuzz_all[i].data, 1, fuzz_all[i].size, file) != fuzz_all[i].size ||
		    fclose(file)) {
			fprintf(stderr, "%s: %s\n", path, strerror(errno));
			return 1;
		}
	}
	return 0;
}

/* Run one input from a file, and nothing else. */
static int fuzz_file(const char *path, uint8_t *data, size_t room)
{
	FILE *file = fopen(path, "r");
	size_t size = file ? fread(data, 1, room, file) : 0;

	if (!file || ferror(file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	fclose(file);
	fuzz_one(data, size);
	return 0;
}

/* A few bytes changed, removed, doubled, or taken from another seed. */
static size_t fuzz_change(struct rng *r, uint8_t *data, size_t size, size_t room)
{
	static const uint8_t telling[] = {0, 1, 2, 4, 8, 127, 128, 255};
	const struct fuzz_seed *other = &fuzz_all[rng_below(r, (uint32_t)fuzz_count)];
	size_t at = rng_below(r, (uint32_t)size + 1), n = 1 + rng_below(r, 16);

	switch (rng_below(r, 6)) {
	case 0:
		n = n > size - at ? size - at : n;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 1:
		n = n > room - size ? room - size : n;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	case 2:
		n = n > size - at ? size - at : n;
		if (other->size > n)
			memcpy(data + at, other->data + rng_below(r, (uint32_t)(other->size - n)),
			       n);
		return size;
	case 3:
		if (at < size)
			data[at] = telling[rng_below(r, sizeof(telling))];
		return size;
	case 4:
		if (at < size)
			data[at] = (uint8_t)(data[at] + (rng_below(r, 2) ? 1 : 255));
		return size;
	default:
		if (at < size)
			data[at] = (uint8_t)rng_next(r);
		return size;
	}
}

int main(int argc, char **argv)
{
	uint64_t runs = option_number("FUZZ_RUNS", fuzz_runs), seed = option_number("SEED", 1);
	struct rng r = {.state = seed};
	static uint8_t data[1 << 16];

	if (argc == 2)
		return fuzz_file(argv[1], data, sizeof(data));
	fuzz_seeds(fuzz_take);
	if (argc == 3 && !strcmp(argv[1], "--seeds"))
		return fuzz_write(argv[2]);
	option_watchdog(false, 900);
	for (size_t i = 0; i < fuzz_count; i++)
		fuzz_one(fuzz_all[i].data, fuzz_all[i].size);
	ok(true, "%zu seeds", fuzz_count);
	for (uint64_t i = 0; i < runs; i++) {
		const struct fuzz_seed *s = &fuzz_all[rng_below(&r, (uint32_t)fuzz_count)];
		size_t size = s->size < sizeof(data) / 2 ? s->size : sizeof(data) / 2;

		memcpy(data, s->data, size);
		for (unsigned n = 1 + rng_below(&r, 6); n; n--)
			size = fuzz_change(&r, data, size, sizeof(data));
		fuzz_one(data, size);
	}
	ok(true, "%" PRIu64 " changes of them, from seed %" PRIu64, runs, seed);
	for (size_t i = 0; i < fuzz_count; i++)
		free(fuzz_all[i].data);
	return done();
}

#endif
