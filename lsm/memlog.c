/*
 * memlog.c - memtables with their logs; see memlog.h.
 */
#include "lsm/memlog.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/tree.h"

/* The log's space is reserved in steps: one call for many groups of writers. */
#define LOG_RESERVE_STEP (4u << 20)

void log_name(char *name, uint64_t number)
{
	snprintf(name, LOG_NAME_BYTES, "%06" PRIu64 ".log", number);
}

/* ---- life ---- */

struct memlog *memlog_new(struct segments *owner)
{
	struct memlog *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->mem = memtable_new();
	if (!m->mem) {
		free(m);
		return NULL;
	}
	atomic_init(&m->refs, 1);
	m->created_s = tree_now_s();
	m->owner = owner;
	return m;
}

int memlog_create(struct lsm *lsm, struct memlog **fresh)
{
	char name[LOG_NAME_BYTES], old[LOG_NAME_BYTES];
	struct memlog *m = memlog_new(lsm->segments);
	uint64_t spare, number;
	int err;

	*fresh = NULL;
	if (!m)
		return -ENOMEM;
	mutex_lock(&lsm->mu);
	spare = lsm->spare_log;
	lsm->spare_log = 0;
	number = lsm->next_file++;
	mutex_unlock(&lsm->mu);
	log_name(name, number);
	log_name(old, spare);
	err = wal_create(lsm->st, name, (uint32_t)number, 0, spare ? old : NULL, &m->log);
	if (err) {
		/* The spare may have either name now: the next open deletes it. */
		lsm->st->ops->unlink(lsm->st, name);
		memlog_unref(m);
		return err;
	}
	m->log_number = number;
	atomic_store(&lsm->dir_dirty, true);
	*fresh = m;
	return 0;
}

void memlog_ref(struct memlog *m)
{
	assert(atomic_load(&m->refs) > 0);
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void memlog_unref(struct memlog *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	memtable_unref(m->mem);
	/* Its content is in a table by now, or was synced when the tree was closed. */
	wal_close(m->log);
	for (size_t i = 0; i < m->segments_count; i++)
		segment_ref_drop(m->owner, m->segments[i]);
	free(m->segments);
	free(m);
}

/* ---- room ---- */

bool memlog_full(const struct lsm *lsm, const struct memlog *m)
{
	return memtable_bytes(m->mem) >= lsm->opt.memtable_bytes ||
	       wal_bytes(m->log) >= 2 * (uint64_t)lsm->opt.memtable_bytes ||
	       memtable_ranges(m->mem) >= MEMTABLE_RANGES_MAX;
}

bool memlog_empty(const struct memlog *m)
{
	return !memtable_entries(m->mem) && !memtable_ranges(m->mem);
}

int memlog_reserve(const struct lsm *lsm, struct memlog *m, uint64_t bytes)
{
	uint64_t need = wal_bytes(m->log) + bytes, want;
	uint64_t step = lsm->opt.memtable_bytes < LOG_RESERVE_STEP ? lsm->opt.memtable_bytes :
								     LOG_RESERVE_STEP;
	int err;

	if (need <= atomic_load(&m->log_reserved))
		return 0;
	want = (need + step - 1) / step * step;
	err = wal_reserve(m->log, want);
	if (err == -ENOSPC && want > need)
		err = wal_reserve(m->log, want = need);
	if (!err)
		atomic_store(&m->log_reserved, want);
	return err;
}

/* ---- entries ---- */

/* Keep `g`, whose reference the memlog takes over, as long as the memlog: one reference each. */
static int memlog_keep(struct memlog *m, struct segment *g)
{
	/* It is nearly always one of the last few. */
	for (size_t i = m->segments_count; i-- > 0;)
		if (m->segments[i] == g) {
			segment_ref_drop(m->owner, g);
			m->segments[i] = m->segments[m->segments_count - 1];
			m->segments[m->segments_count - 1] = g;
			return 0;
		}
	if (array_reserve(m->segments, m->segments_room, m->segments_count + 1))
		return -ENOMEM;
	m->segments[m->segments_count++] = g;
	return 0;
}

/* Keep the segment that an encoded reference names as long as the memlog. */
static int memlog_pin(struct memlog *m, struct lsm_slice bytes)
{
	struct segment_ref ref;
	struct segment *g;
	int err = segment_ref_decode(bytes, &ref);

	if (err || ref.segment == SEGMENT_LOST)
		return err;
	atomic_fetch_add_explicit(&m->segment_bytes, segment_ref_bytes(&ref), memory_order_relaxed);
	if (m->segments_count && segment_number(m->segments[m->segments_count - 1]) == ref.segment)
		return 0;
	g = segments_get(m->owner, ref.segment);
	if (!g)
		return -ENOENT;
	err = memlog_keep(m, g);
	if (err)
		segment_ref_drop(m->owner, g);
	return err;
}

int memlog_add(struct memlog *m, const struct batch_entry *e, enum memlog_missing missing)
{
	int err;

	switch (e->kind) {
	case BATCH_DELETE_RANGE:
		return memtable_add_range(m->mem, e->sequence, e->key, e->value);
	case BATCH_REF:
	case BATCH_SLICE:
		err = memlog_pin(m, e->value);
		if (err && !(err == -ENOENT && missing == MEMLOG_MISSING_ADDED))
			return err;
		return memtable_add(m->mem, e->sequence, IKEY_PUT_REF, e->key, e->value);
	case BATCH_PUT:
		return memtable_add(m->mem, e->sequence, IKEY_PUT, e->key, e->value);
	case BATCH_DELETE:
		return memtable_add(m->mem, e->sequence, IKEY_DELETE, e->key, e->value);
	}
	return 0;
}
