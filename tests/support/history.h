/*
 * history.h - when the operations of a workload were done, in numbers of recorded calls.
 *
 * The workload runs on a storage in memory that records every call which changes the disk. After
 * a power cut at one of these calls, the history says which operations may be missing.
 */
#ifndef TESTS_SUPPORT_HISTORY_H
#define TESTS_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/storage/storage_mem.h"

struct history {
	struct storage *st;
	struct history_op {
		uint64_t begun, done;
	} * ops; /* [number], from 1 */
	uint64_t ops_count;
	struct history_sync {
		uint64_t calls, op;
	} * syncs; /* ascending: this operation and all before are durable */
	size_t syncs_count;
};

/*
 * Make room for one more element in an array of `count` elements of `size` bytes. Returns the
 * array.
 */
void *history_grown(void *v, size_t count, size_t size);

/* The next operation begins now. */
void history_begin(struct history *h);

/* The operation that began last has returned. */
void history_done(struct history *h);

/* All operations so far are durable. */
void history_synced(struct history *h);

void history_release(struct history *h);

/*
 * After a cut at call `calls` the store may be in the state after one of the operations
 * [*least, *most]. `killed`: the process ended, and the disk kept everything.
 */
void history_bounds(const struct history *h, uint64_t calls, bool killed, uint64_t *least,
		    uint64_t *most);

#endif
