/*
 * mval.h - the values of the models: windows on endless streams of bytes.
 *
 * A stream follows from its seed. So a value takes 16 bytes here, however large it is in the
 * store, and a slice of a value is a window again.
 */
#ifndef TESTS_SUPPORT_MVAL_H
#define TESTS_SUPPORT_MVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mval {
	uint64_t seed; /* 0: there is no value */
	uint32_t offset, size;
};

/* Write the bytes [from, from + size) of the value into `buf`. */
void mval_fill(struct mval v, size_t from, void *buf, size_t size);

/* Whether these are the bytes [from, from + size) of the value. */
bool mval_is_part(struct mval v, size_t from, const void *data, size_t size);

/* Whether these bytes are the whole value. False where `v` is no value. */
bool mval_is(struct mval v, const void *data, size_t size);

/* The eight bytes that the counter key holds after batch `batch`. */
struct mval mval_counter(uint64_t batch);

#endif
