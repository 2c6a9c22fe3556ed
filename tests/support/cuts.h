/*
 * cuts.h - power cuts in the record of a workload, and what has to hold after each.
 *
 * A workload runs once on a storage that records its calls. Then the power goes at calls all over
 * the record. At each, the disk keeps nothing of what was not synced, or everything, or a random
 * part of it (storage_mem.h). What is opened on that disk must be in the state after some
 * operation. After a power cut no synced operation may be missing, after a mere kill none that
 * returned. Then the store must go on working. Some cuts are followed by a second one while the
 * store is being opened; that one may lose nothing.
 *
 * CUTS=n in the environment makes about n cuts, SEED=n takes another workload. With AT=n only the
 * calls around the nth of each record are cut, each in many ways. Threads run beside the workload,
 * so a repeated run may differ by a few calls.
 */
#ifndef TESTS_SUPPORT_CUTS_H
#define TESTS_SUPPORT_CUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/history.h"
#include "tests/support/wrong.h"

/* ---- the cuts ---- */

/* What is tested. All but open() and close() note what is wrong in cuts->error. */
struct cuts_subject {
	int (*open)(void *ctx, struct storage *st, void **db);
	int (*close)(void *db);
	/* It is in the state after one of the operations [least, most], and whole. */
	void (*check)(void *ctx, void *db, uint64_t least, uint64_t most);
	/* It is in the state that check() found. */
	void (*check_same)(void *ctx, void *db);
	/* Write one thing more, durably; see that it is there. */
	int (*write)(void *ctx, void *db);
	bool (*is_written)(void *ctx, void *db);
};

struct cuts {
	const struct cuts_subject *subject;
	void *ctx;
	const struct history *history;
	char *error; /* WRONG_BYTES: what is wrong; "" at first */
	uint64_t done;
};

/* ---- all of them ---- */

struct cuts_options {
	uint64_t cuts, seed, at;
	bool at_only;
};

/* Read CUTS, SEED and AT. Starts the watchdog (option.h). */
struct cuts_options cuts_options(uint64_t cuts_default);

/*
 * Cut the record `count` times. Fewer cuts than calls are spread over the record, and the three
 * ways to keep things take turns. With more, each call is cut once with nothing kept, once with
 * everything, and the rest of the times with a random part.
 */
void cuts_run(struct cuts *c, const struct cuts_options *o, uint64_t count);

/* Add what the tree did on its own in this record, such as tables compacted away. */
void cuts_count_events(struct storage *st);

/* One result for each kind of event: it is in the records, so that it was cut. */
void cuts_check_events(void);

#endif
