/*
 * fuzz.h - one decoder under bytes that somebody hostile wrote.
 *
 * A fuzzer is a file tests/fuzz/test_NAME.c that defines fuzz_one(), which must come
 * back from any bytes, and fuzz_seeds(), which makes the inputs to begin with. It is
 * built twice. With libFuzzer (`make fuzz`) it searches for as long as it is let. As a
 * plain test (`make check`) it runs its seeds, and FUZZ_RUNS random changes of them,
 * the same ones every time; SEED= and FUZZ_RUNS= in the environment make others.
 * `test_NAME.t --seeds FOLDER` writes the seeds there, and `test_NAME.t FILE` runs the
 * one input in FILE: for AFL++, and to see what a fuzzer found.
 *
 * Where a format has checksums the fuzzers take what is under them as the input and
 * put the right checksums on, or they would only ever test those.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>

#include "tests/support/lsm_model.h"

/* To be defined by each fuzzer. */
static void fuzz_one(const uint8_t *data, size_t size);
typedef void fuzz_give_fn(const void *data, size_t size);
static void fuzz_seeds(fuzz_give_fn *give);

/* ---- taking an input apart ---- */

struct input {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t take_u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static inline unsigned take_u16(struct input *in)
{
	unsigned low = take_u8(in);

	return low | (unsigned)take_u8(in) << 8;
}

/* A piece whose size comes before it, in two bytes; the rest if that is shorter. */
static inline struct lsm_slice take_piece(struct input *in)
{
	size_t size = take_u16(in);
	struct lsm_slice piece;

	if (size > in->left)
		size = in->left;
	piece = (struct lsm_slice){in->p, size};
	in->p += size;
	in->left -= size;
	return piece;
}

/* ---- putting one together ---- */

struct output {
	uint8_t bytes[1 << 16];
	size_t size;
};

static inline void put_u8(struct output *out, unsigned v)
{
	if (out->size < sizeof(out->bytes))
		out->bytes[out->size++] = (uint8_t)v;
}

static inline void put_bytes(struct output *out, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		put_u8(out, ((const uint8_t *)data)[i]);
}

static inline void put_piece(struct output *out, const void *data, size_t size)
{
	put_u8(out, size & 255);
	put_u8(out, (unsigned)size >> 8);
	put_bytes(out, data, size);
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_one(data, size);
	return 0;
}
__attribute__((unused)) static void *const fuzz_unused = (void *)fuzz_seeds;

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
	s->data = model_must(malloc(size + 1));
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

static int fuzz_main(int argc, char **argv, unsigned runs)
{
	const char *env_runs = getenv("FUZZ_RUNS"), *env_seed = getenv("SEED");
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;
	struct rng r = {.state = seed};
	static uint8_t data[1 << 16];

	if (argc == 2)
		return fuzz_file(argv[1], data, sizeof(data));
	fuzz_seeds(fuzz_take);
	if (argc == 3 && !strcmp(argv[1], "--seeds"))
		return fuzz_write(argv[2]);
	if (env_runs)
		runs = (unsigned)strtoul(env_runs, NULL, 0);
	alarm(900);
	for (size_t i = 0; i < fuzz_count; i++)
		fuzz_one(fuzz_all[i].data, fuzz_all[i].size);
	ok(true, "%zu seeds", fuzz_count);
	for (unsigned i = 0; i < runs; i++) {
		const struct fuzz_seed *s = &fuzz_all[rng_below(&r, (uint32_t)fuzz_count)];
		size_t size = s->size < sizeof(data) / 2 ? s->size : sizeof(data) / 2;

		memcpy(data, s->data, size);
		for (unsigned n = 1 + rng_below(&r, 6); n; n--)
			size = fuzz_change(&r, data, size, sizeof(data));
		fuzz_one(data, size);
	}
	ok(true, "%u changes of them, from seed %" PRIu64, runs, seed);
	for (size_t i = 0; i < fuzz_count; i++)
		free(fuzz_all[i].data);
	return done();
}

#endif
#endif
