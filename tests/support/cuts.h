/*
 * cuts.h - what the power-cut tests share: the cuts in the record of a workload, and what has
 * to hold after each.
 *
 * A workload runs once on a recording storage. Then the power goes at points all over the
 * record. At each the disk has kept nothing of what was not synced, or everything, or any
 * part (storage_mem.h). What is opened on that must be in the state after some operation;
 * after a power cut none that was synced may be missing, after a mere kill none that
 * returned. It must go on working. Now and then the power goes a second time while it is
 * being opened, which may lose nothing of what was there.
 *
 * CUTS=n in the environment makes about n cuts, SEED=n another workload. With AT=n only
 * the calls around the nth of each record are cut, each in many ways: threads run beside
 * the workload, so a repeated run may differ by a few calls.
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

struct cuts_options cuts_options(uint64_t cuts_default);

/*
 * `count` cuts of a record of `calls` calls. Fewer than calls: spread over them, in turn
 * in the three ways; more: at each nothing once, everything once, and the rest at random.
 */
void cuts_run(struct cuts *c, const struct cuts_options *o, uint64_t count);

void cuts_count_events(struct storage *st);

/* What is never done is never cut. */
void cuts_check_events(void);

#endif
