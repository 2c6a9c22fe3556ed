/*
 * replay.c - reading the logs back into memory.
 *
 * The logs are replayed in order, as long as each record's sequence continues the one before.
 * Where that ends the rest is dropped: it is what the disk had of writes that were never
 * synced.
 *
 * A torn tail or damage? Every record says which sequence was durable when it was written. If
 * any record anywhere in the logs says that more was durable than the replay reached, bytes
 * that had been synced are wrong. That is damage, and opening fails, saying how much would be
 * lost. With `discard_damage` it goes on without everything behind the damage: what is found
 * must be a prefix of the history. The log that the manifest names was durable before that
 * manifest was. If it is missing, so is what it had. Of the last records that were synced no
 * later record says so. No other file says so of a newer log if all of it is gone. Both look
 * like a torn tail.
 *
 * A record beyond what was surely synced may be on disk while the segment it refers to is not.
 * So the values that it brought are read and verified, and a wrong one ends the replay like a
 * torn record. They are also written again, in place: after a failed sync the kernel may hold
 * bytes that it believes to be on disk. Values of older records are not read here: if one is
 * damaged, reading it later says so, and everything else stays.
 */
#include "lsm/replay.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "lsm/repair_tables.h"

/* What became of a record. */
enum replay_outcome {
	REPLAY_APPLIED,   /* or it was in a table already */
	REPLAY_NO_SEQUEL, /* it cannot follow what came before: the replay ends before it */
	REPLAY_MALFORMED, /* its checksum is right, but its bytes mean nothing (reported) */
};

struct replay {
	struct lsm *lsm;
	struct replayed *out;
	uint64_t expected; /* the sequence that comes next */
	uint64_t synced;   /* the highest that any record says was durable */
	bool ended;
	bool salvage;             /* take what is behind the damage too */
	uint64_t lost;            /* operations missing in between */
	char log[LOG_NAME_BYTES]; /* where it is, or where it ended */
	uint64_t offset;
};

static int replay_open(struct lsm *lsm, uint64_t number, struct wal_reader **r)
{
	char name[LOG_NAME_BYTES];

	log_name(name, number);
	return wal_reader_open(lsm->st, name, (uint32_t)number, &lsm->report, r);
}

/* Read every whole record of a log, past bad ones, for what it says of durability. */
static int replay_scan(struct replay *p, uint64_t number)
{
	struct batch_reader b;
	struct wal_reader *r;
	struct lsm_slice record;
	bool resynced = false;
	uint64_t offset;
	int err = replay_open(p->lsm, number, &r);

	while (!err) {
		err = wal_reader_next(r, &record, &offset);
		if (err == WAL_END && !resynced) {
			wal_reader_resync(r);
			resynced = true;
			err = 0;
			continue;
		}
		if (!err && !batch_read(record, &b) && b.synced > p->synced)
			p->synced = b.synced;
		if (!err)
			resynced = false;
	}
	wal_reader_close(r);
	return err < 0 ? err : 0;
}

/* ---- one record ---- */

/* `*whole`: the values that a record brought can be read, and are what was written. */
static int replay_check_values(struct lsm *lsm, struct lsm_slice record, bool *whole)
{
	struct buf scratch = {0};
	struct segment_ref ref;
	struct batch_reader b;
	struct batch_entry e;
	int err = batch_read(record, &b);

	while (!err && (err = batch_next(&b, &e)) == 0) {
		if (e.kind != BATCH_REF)
			continue;
		err = segment_ref_decode(e.value, &ref);
		if (!err)
			err = segments_probe(lsm->segments, &ref, &scratch,
					     !lsm->opt.read_only && !lsm->repair);
	}
	buf_release(&scratch);
	*whole = err != -EUCLEAN;
	return err == BATCH_END || err == -EUCLEAN ? 0 : err;
}

static int replay_entries(struct replay *p, struct memlog *m, struct batch_reader *b,
			  enum replay_outcome *outcome)
{
	const char *reason = "malformed segment reference";
	struct batch_entry e;
	int err = 0;

	while (!err) {
		err = batch_next(b, &e);
		if (err == -EUCLEAN)
			reason = b->reason;
		if (!err)
			err = memlog_add(m, &e, MEMLOG_MISSING_ADDED);
	}
	if (err == -EUCLEAN) {
		(void)report_corrupt(&p->lsm->report, p->log, p->offset, "%s", reason);
		*outcome = REPLAY_MALFORMED;
		return 0;
	}
	return err < 0 ? err : 0;
}

/* Apply one record to `m`. Returns 0 or an error that ends everything. */
static int replay_record(struct replay *p, struct memlog *m, struct lsm_slice record,
			 enum replay_outcome *outcome)
{
	struct batch_reader b;
	bool whole = true;
	int err = 0;

	*outcome = REPLAY_NO_SEQUEL;
	if (batch_read(record, &b))
		return 0;
	*outcome = REPLAY_APPLIED;
	if (b.sequence + b.left <= p->expected)
		return 0;
	if (p->salvage && b.sequence > p->expected) {
		p->lost += b.sequence - p->expected;
		p->expected = b.sequence;
	}
	if (b.sequence == p->expected && b.sequence > p->synced)
		err = replay_check_values(p->lsm, record, &whole);
	if (b.sequence != p->expected || !whole) {
		*outcome = REPLAY_NO_SEQUEL;
		return err;
	}
	if (!err)
		err = replay_entries(p, m, &b, outcome);
	if (err || *outcome != REPLAY_APPLIED)
		return err;
	p->expected = b.sequence;
	atomic_store(&m->sequence_last, p->expected - 1);
	return 0;
}

/* ---- one log ---- */

/* Keep a memlog, whose reference is taken over, unless it is empty. */
static int replay_keep(struct replayed *out, struct memlog *m)
{
	if (!atomic_load(&m->sequence_last)) {
		memlog_unref(m);
		return 0;
	}
	if (array_reserve(out->memlogs, out->room, out->count + 1)) {
		memlog_unref(m);
		return -ENOMEM;
	}
	out->memlogs[out->count++] = m;
	return 0;
}

/* The next record. A salvage goes on at the next whole one behind damage. */
static int replay_next(struct replay *p, struct wal_reader *r, struct lsm_slice *record)
{
	int err = wal_reader_next(r, record, &p->offset);

	if (err != WAL_END || !p->salvage)
		return err;
	wal_reader_resync(r);
	return wal_reader_next(r, record, &p->offset);
}

/* Replay the records of `r` until one does not follow. A salvage skips such records. */
static int replay_records(struct replay *p, struct wal_reader *r, struct memlog *m)
{
	enum replay_outcome outcome;
	struct lsm_slice record;
	int err = 0;

	while (!err && !p->ended && (err = replay_next(p, r, &record)) == 0) {
		err = replay_record(p, m, record, &outcome);
		if (err || p->salvage)
			continue;
		if (outcome == REPLAY_MALFORMED)
			return -EUCLEAN;
		p->ended = outcome == REPLAY_NO_SEQUEL;
	}
	if (!p->ended)
		p->offset = wal_reader_offset(r);
	return err < 0 ? err : 0;
}

static int replay_log(struct replay *p, uint64_t number)
{
	struct memlog *m = memlog_new(p->lsm->segments);
	struct wal_reader *r = NULL;
	int err, kept;

	log_name(p->log, number);
	if (!m)
		return -ENOMEM;
	m->log_number = number;
	err = replay_open(p->lsm, number, &r);
	if (!err)
		err = replay_records(p, r, m);
	wal_reader_close(r);
	kept = replay_keep(p->out, m);
	return err ? err : kept;
}

/* ---- all of them ---- */

/* The log that the manifest names was durable before that: is it there? */
static int replay_check_log(struct lsm *lsm, const struct inventory *inv)
{
	static const char *reason = "the log is missing, and with it what was written last";
	char name[LOG_NAME_BYTES];
	int err;

	if (!lsm->log_number || inventory_has(&inv->logs, lsm->log_number))
		return 0;
	log_name(name, lsm->log_number);
	if (lsm->repair) {
		repair_report(lsm->repair, name, 0, reason);
		return 0;
	}
	err = report_corrupt(&lsm->report, name, 0, "%s", reason);
	return lsm->opt.discard_damage ? 0 : err;
}

/* Call `fn` for each log that is needed, until one fails or the replay has ended. */
static int replay_each(struct replay *p, const struct inventory *inv,
		       int (*fn)(struct replay *p, uint64_t number))
{
	int err = 0;

	for (size_t i = 0; !err && !p->ended && i < inv->logs.count; i++)
		if (inv->logs.numbers[i] >= p->lsm->log_number)
			err = fn(p, inv->logs.numbers[i]);
	return err;
}

/* A damaged log, to be repaired: replay whatever is whole behind the damage; report the rest. */
static int replay_behind_damage(struct replay *p, const struct inventory *inv)
{
	char reason[100], log[LOG_NAME_BYTES];
	uint64_t offset = p->offset;
	int err;

	memcpy(log, p->log, sizeof(log));
	p->salvage = true;
	p->ended = false;
	err = replay_each(p, inv, replay_log);
	if (!err && p->expected <= p->synced) {
		p->lost += p->synced + 1 - p->expected;
		p->expected = p->synced + 1;
	}
	snprintf(reason, sizeof(reason),
		 "the log is damaged: %" PRIu64 " operations are lost, their keys unknown",
		 p->lost);
	repair_report(p->lsm->repair, log[0] ? log : "the log", offset, reason);
	return err;
}

static int replay_all(struct replay *p, const struct inventory *inv)
{
	struct lsm *lsm = p->lsm;
	int err = replay_check_log(lsm, inv);

	if (!err)
		err = replay_each(p, inv, replay_scan);
	if (!err)
		err = replay_each(p, inv, replay_log);
	if (lsm->repair && (err == -EUCLEAN || (!err && p->expected <= p->synced)))
		return replay_behind_damage(p, inv);
	if (err || p->expected > p->synced)
		return err;
	err = report_corrupt(&lsm->report, p->log, p->offset,
			     "the log is damaged: at least %" PRIu64
			     " operations that were synced cannot be read",
			     p->synced - p->expected + 1);
	return lsm->opt.discard_damage ? 0 : err;
}

int replay_logs(struct lsm *lsm, const struct inventory *inv, uint64_t sequence_flushed,
		struct replayed *out)
{
	struct replay p = {.lsm = lsm, .out = out, .expected = sequence_flushed + 1};
	int err;

	assert(!lsm->threads_started);
	*out = (struct replayed){0};
	err = replay_all(&p, inv);
	out->sequence = p.expected - 1;
	return err;
}

void replayed_release(struct replayed *p)
{
	for (size_t i = 0; i < p->count; i++)
		memlog_unref(p->memlogs[i]);
	free(p->memlogs);
	*p = (struct replayed){0};
}
