#include "tests/support/cuts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/must.h"
#include "tests/support/option.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

#define CUTS_WATCHDOG_SECONDS 600

#define CUTS_AT_SPAN 40 /* with AT: so many calls before and behind */

#define CUTS_AT_WAYS 20 /* ... each cut in so many ways */

/* ---- the cuts ---- */

/* Note what is wrong; the first finding stays. False. */
#define cuts_wrong(c, ...) wrong_note((c)->error, WRONG_BYTES, __VA_ARGS__)

static void cuts_close(struct cuts *c, void *db, const char *when)
{
	int err = db ? c->subject->close(db) : 0;

	if (err)
		cuts_wrong(c, "closing %s: %s", when, strerror(-err));
}

/* Write and sync something. It has to be there after the store was opened again. */
static void *cuts_go_on(struct cuts *c, struct storage *st, void *db)
{
	int err = c->subject->write(c->ctx, db);

	if (err)
		cuts_wrong(c, "a write after the cut: %s", strerror(-err));
	cuts_close(c, db, "after the cut");
	err = c->subject->open(c->ctx, st, &db);
	if (err)
		cuts_wrong(c, "opening it once more: %s", strerror(-err));
	else if (!c->subject->is_written(c->ctx, db))
		cuts_wrong(c, "the write after the cut is gone");
	return err ? NULL : db;
}

/* The power goes again, after `calls` calls of opening. */
static void cuts_again(struct cuts *c, struct storage *st, uint64_t calls, uint64_t seed)
{
	struct storage *again =
		must_alloc(storage_mem_cut(st, calls, (enum storage_mem_keep)(seed % 3), seed));
	void *db = NULL;
	int err = c->subject->open(c->ctx, again, &db);

	if (err)
		cuts_wrong(c, "opening it: %s", strerror(-err));
	else
		c->subject->check_same(c->ctx, db);
	if (c->error[0])
		printf("#   after a second cut, after call %" PRIu64 " of opening:\n", calls);
	cuts_close(c, err ? NULL : db, "after a second cut");
	again->ops->free(again);
}

static void cuts_one(struct cuts *c, uint64_t calls, enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *st = must_alloc(storage_mem_cut(c->history->st, calls, keep, seed));
	uint64_t least, most, opened;
	void *db = NULL;
	int err;

	c->done++;
	storage_mem_record(st, true);
	err = c->subject->open(c->ctx, st, &db);
	opened = storage_mem_calls(st);
	if (err) {
		db = NULL;
		cuts_wrong(c, "opening it: %s", strerror(-err));
	} else {
		history_bounds(c->history, calls, keep == STORAGE_MEM_KEEP_ALL, &least, &most);
		c->subject->check(c->ctx, db, least, most);
	}
	if (!c->error[0] && seed % 3 == 0)
		cuts_again(c, st, seed / 3 % (opened + 1), seed / 7);
	if (!c->error[0])
		db = cuts_go_on(c, st, db);
	cuts_close(c, db, "it");
	st->ops->free(st);
}

/* ---- all of them ---- */

struct cuts_options cuts_options(uint64_t cuts_default)
{
	struct cuts_options o = {.cuts = option_number("CUTS", cuts_default),
				 .seed = option_number("SEED", 1),
				 .at = option_number("AT", UINT64_MAX)};

	o.at_only = o.at != UINT64_MAX;
	option_watchdog(o.cuts > cuts_default, CUTS_WATCHDOG_SECONDS);
	return o;
}

void cuts_run(struct cuts *c, const struct cuts_options *o, uint64_t count)
{
	static const char *const kept[] = {"nothing", "everything", "a random part"};
	uint64_t calls = storage_mem_calls(c->history->st), first = 0, points = calls + 1;
	uint64_t last = UINT64_MAX, nth = 0;

	if (o->at_only) {
		first = o->at > CUTS_AT_SPAN ? o->at - CUTS_AT_SPAN : 0;
		points = first < calls ? calls + 1 - first : 1;
		if (points > 2 * CUTS_AT_SPAN)
			points = 2 * CUTS_AT_SPAN;
		count = points * CUTS_AT_WAYS;
	}
	for (uint64_t i = 0; i < count && !c->error[0]; i++) {
		uint64_t at = first + (uint64_t)((__uint128_t)i * points / count);
		struct rng rng = {.state = o->seed ^ at << 20 ^ i << 44};
		uint64_t seed = rng_next(&rng);
		enum storage_mem_keep keep;

		nth = at == last ? nth + 1 : 0;
		last = at;
		if (count < 3 * points)
			keep = (enum storage_mem_keep)(i % 3);
		else
			keep = nth < 2 ? (enum storage_mem_keep)nth : STORAGE_MEM_KEEP_RANDOM;
		if (at > calls)
			at = calls;
		cuts_one(c, at, keep, seed);
		if (c->error[0])
			printf("#   cut after call %" PRIu64 " of %" PRIu64
			       ", %s kept (seed %" PRIu64 "): %s\n"
			       "#   SEED=%" PRIu64 " AT=%" PRIu64 " repeats it\n",
			       at, calls, kept[keep], seed, c->error, o->seed, at);
	}
}

/* Events of the tree in the recorded workloads so far. */
static uint64_t cuts_events[8];

void cuts_count_events(struct storage *st)
{
	cuts_events[0] += storage_mem_recorded(st, STORAGE_MEM_OPEN, ".tab");
	cuts_events[1] += storage_mem_recorded(st, STORAGE_MEM_UNLINK, ".tab");
	cuts_events[2] += storage_mem_recorded(st, STORAGE_MEM_RENAME, "CURRENT");
	cuts_events[3] += storage_mem_recorded(st, STORAGE_MEM_RENAME, ".log");
	cuts_events[4] += storage_mem_recorded(st, STORAGE_MEM_OPEN, ".seg");
	cuts_events[5] += storage_mem_recorded(st, STORAGE_MEM_UNLINK, ".seg");
	cuts_events[6] += storage_mem_recorded(st, STORAGE_MEM_PUNCH, NULL);
	cuts_events[7] += storage_mem_recorded(st, STORAGE_MEM_SYNC_DIR, NULL);
}

void cuts_check_events(void)
{
	static const char *const events[] = {
		"tables written",   "tables compacted away",  "manifests switched",
		"logs recycled",    "segments written",       "segments emptied",
		"segments punched", "directory synchronized",
	};

	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		ok(cuts_events[i], "in what was cut: %s, %" PRIu64 " times", events[i],
		   cuts_events[i]);
}
