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

void *history_grown(void *v, size_t count, size_t size);

/* The next operation begins. */
void history_begin(struct history *h);

/* ... and returned. */
void history_done(struct history *h);

void history_synced(struct history *h);

void history_release(struct history *h);

/* Which operations must and may be there after a cut. */
void history_bounds(const struct history *h, uint64_t calls, bool killed, uint64_t *least,
		    uint64_t *most);

#endif
