/*
 * fuzz.h - one decoder under bytes that somebody hostile wrote.
 *
 * A fuzzer is a file tests/fuzz/test_NAME.c that defines fuzz_one(), fuzz_seeds() and fuzz_runs.
 * It is built twice. With libFuzzer (`make fuzz`) it searches for a given time. As a plain test
 * (`make check`) it runs its seeds and random changes of them, the same ones every time; SEED=
 * and FUZZ_RUNS= in the environment make others. `test_NAME.t --seeds FOLDER` writes the seeds
 * there, and `test_NAME.t FILE` runs the one input in FILE: for AFL++, and to see what a fuzzer
 * found.
 *
 * Where a format has checksums, the input is what the checksums protect, and the fuzzer computes
 * the right ones. Otherwise it would only ever test the checksums.
 */
#ifndef TESTS_SUPPORT_FUZZ_H
#define TESTS_SUPPORT_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "lsm/lsm.h"

/*
 * Each fuzzer defines these three.
 *
 * fuzz_one() takes any bytes. fuzz_seeds() calls `give` with each input to begin with; the bytes
 * stay the fuzzer's. fuzz_runs: how many changes of the seeds a plain test runs.
 */
typedef void fuzz_give_fn(const void *data, size_t size);
void fuzz_one(const uint8_t *data, size_t size);
void fuzz_seeds(fuzz_give_fn *give);
extern const unsigned fuzz_runs;

/* ---- taking an input apart ---- */

struct fuzz_input {
	const uint8_t *p;
	size_t left;
};

/* The next byte, or the next two; 0 when there are none left. */
uint8_t fuzz_take_u8(struct fuzz_input *in);

unsigned fuzz_take_u16(struct fuzz_input *in);

/* A piece whose size comes before it, in two bytes; the rest if that is shorter. */
struct lsm_slice fuzz_take_piece(struct fuzz_input *in);

/* ---- putting one together ---- */

struct fuzz_output {
	uint8_t bytes[1 << 16];
	size_t size;
};

/* Give a dozen inputs of all lengths, made by chance. The first byte is the number of the input. */
void fuzz_give_choices(fuzz_give_fn *give);

/* Append to an input. What does not fit is left out. */
void fuzz_put_u8(struct fuzz_output *out, unsigned v);

void fuzz_put_bytes(struct fuzz_output *out, const void *data, size_t size);

/* Append a piece with its size before it, as fuzz_take_piece() reads it. */
void fuzz_put_piece(struct fuzz_output *out, const void *data, size_t size);

#endif
