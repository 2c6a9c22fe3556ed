/*
 * cuts.h - what the power-cut tests share: the history of a workload, the cuts in its
 * record, and what has to hold after each.
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
#ifndef TESTS_CRASH_CUTS_H
#define TESTS_CRASH_CUTS_H

#include <inttypes.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/lsm_model.h"

#define CUTS_WATCHDOG_SECONDS 600
#define CUTS_AT_SPAN 40 /* with AT: so many calls before and behind */
#define CUTS_AT_WAYS 20 /* ... each cut in so many ways */

/* ---- when things were done: in numbers of recorded calls ---- */

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

static inline void *history_grown(void *v, size_t count, size_t size)
{
	/* At powers of two: there is room up to the next one. */
	return count & (count - 1) ? v : model_must(realloc(v, (count ? 2 * count : 1) * size));
}

/* The next operation begins. */
static inline void history_begin(struct history *h)
{
	h->ops = history_grown(h->ops, h->ops_count + 1, sizeof(*h->ops));
	h->ops[h->ops_count + 1].begun = storage_mem_calls(h->st);
}

/* ... and returned. */
static inline void history_done(struct history *h)
{
	h->ops[++h->ops_count].done = storage_mem_calls(h->st);
}

static inline void history_synced(struct history *h)
{
	h->syncs = history_grown(h->syncs, h->syncs_count, sizeof(*h->syncs));
	h->syncs[h->syncs_count++] = (struct history_sync){storage_mem_calls(h->st), h->ops_count};
}

static inline void history_release(struct history *h)
{
	free(h->ops);
	free(h->syncs);
}

/* Which operations must and may be there after a cut. */
static inline void history_bounds(const struct history *h, uint64_t calls, bool killed,
				  uint64_t *least, uint64_t *most)
{
	*least = *most = 0;
	for (size_t i = 0; i < h->syncs_count && h->syncs[i].calls <= calls; i++)
		*least = h->syncs[i].op;
	for (uint64_t i = 1; i <= h->ops_count && h->ops[i].begun < calls; i++) {
		*most = i;
		if (killed && h->ops[i].done <= calls)
			*least = i;
	}
}

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
	char *error; /* 512 bytes: what is wrong; "" at first */
	uint64_t done;
};

static inline bool cuts_wrong(struct cuts *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline bool cuts_wrong(struct cuts *c, const char *format, ...)
{
	va_list args;

	if (c->error[0])
		return false;
	va_start(args, format);
	vsnprintf(c->error, 512, format, args);
	va_end(args);
	return false;
}

static inline void cuts_print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

static inline void cuts_close(struct cuts *c, void *db, const char *when)
{
	int rc = db ? c->subject->close(db) : 0;

	if (rc)
		cuts_wrong(c, "closing %s: %s", when, strerror(-rc));
}

/* What is written and synced is there after it was opened again. */
static inline void *cuts_go_on(struct cuts *c, struct storage *st, void *db)
{
	int rc = c->subject->write(c->ctx, db);

	if (rc)
		cuts_wrong(c, "a write after the cut: %s", strerror(-rc));
	cuts_close(c, db, "after the cut");
	rc = c->subject->open(c->ctx, st, &db);
	if (rc)
		cuts_wrong(c, "opening it once more: %s", strerror(-rc));
	else if (!c->subject->is_written(c->ctx, db))
		cuts_wrong(c, "what was written after the cut is gone");
	return rc ? NULL : db;
}

/* The power goes again, after `calls` calls of opening. */
static inline void cuts_again(struct cuts *c, struct storage *st, uint64_t calls, uint64_t seed)
{
	struct storage *again =
		model_must(storage_mem_cut(st, calls, (enum storage_mem_keep)(seed % 3), seed));
	void *db = NULL;
	int rc = c->subject->open(c->ctx, again, &db);

	if (rc)
		cuts_wrong(c, "opening it: %s", strerror(-rc));
	else
		c->subject->check_same(c->ctx, db);
	if (c->error[0])
		printf("#   after a second cut, after call %" PRIu64 " of opening:\n", calls);
	cuts_close(c, rc ? NULL : db, "after a second cut");
	again->ops->free(again);
}

static inline void cuts_one(struct cuts *c, uint64_t calls, enum storage_mem_keep keep,
			    uint64_t seed)
{
	struct storage *st = model_must(storage_mem_cut(c->history->st, calls, keep, seed));
	uint64_t least, most, opened;
	void *db = NULL;
	int rc;

	c->done++;
	storage_mem_record(st, true);
	rc = c->subject->open(c->ctx, st, &db);
	opened = storage_mem_calls(st);
	if (rc) {
		db = NULL;
		cuts_wrong(c, "opening it: %s", strerror(-rc));
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

struct cuts_options {
	uint64_t cuts, seed, at;
	bool at_only;
};

static inline uint64_t cuts_number(const char *variable, uint64_t normal)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 0) : normal;
}

static inline struct cuts_options cuts_options(uint64_t cuts_default)
{
	struct cuts_options o = {.cuts = cuts_number("CUTS", cuts_default),
				 .seed = cuts_number("SEED", 1),
				 .at = cuts_number("AT", UINT64_MAX)};

	o.at_only = o.at != UINT64_MAX;
	/* What hangs fails, too. */
	alarm(o.cuts > cuts_default ? 0 : CUTS_WATCHDOG_SECONDS);
	return o;
}

/*
 * `count` cuts of a record of `calls` calls. Fewer than calls: spread over them, in turn
 * in the three ways; more: at each nothing once, everything once, and the rest at random.
 */
static inline void cuts_run(struct cuts *c, const struct cuts_options *o, uint64_t count)
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

/* What the tree did on its own in the recorded workloads so far. */
static uint64_t cuts_events[8];

static inline void cuts_count_events(struct storage *st)
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

/* What is never done is never cut. */
static inline void cuts_check_events(void)
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

#endif
