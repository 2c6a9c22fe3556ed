/*
 * lsm.c - opening, closing and reading the tree.
 *
 * The parts and their life:
 *
 *   lsm --> view --> memlogs (memtable + log), newest first; [0] takes the writes
 *                \--> version --> table_metas, per level
 *
 * A view is what readers pin: a reader takes view_mu for as long as it takes to
 * count one reference. Views, versions, memlogs and metas are immutable once current
 * (but for the newest memtable) and counted; whoever drops the last reference frees
 * them, and with them the claim on files. So nothing is deleted under a reader.
 *
 * Lock order, outermost first (lock.h has the ranks, and asserts them):
 *
 *   compact_mu  >  segments.create_mu  >  manifest_mu  >  segments.sync_mu  >  mu
 *     >  view_mu
 *   write_mu, sync_mu, dead_mu, segments.mu, the cache's and the storage's locks are
 *   leaves: of the tree's, nothing else is taken under them
 *
 * The leading writer needs no lock for the newest memlog: see write.c. A view's last
 * reference is never dropped under mu.
 *
 * Sequences. The leader publishes `sequence` after its group is in the memtable. A
 * reader takes its view first and the sequence after, so that its sources are
 * complete up to some point of the history, and it sees exactly what came before.
 */
#include "lsm/lsm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lsm/storage_overlay.h"
#include "lsm/tree.h"

/* ---- memlogs and views ---- */

void log_name(char *name, uint64_t number)
{
	snprintf(name, LOG_NAME_BYTES, "%06" PRIu64 ".log", number);
}

uint64_t tree_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec;
}

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

void memlog_ref(struct memlog *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void memlog_unref(struct memlog *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	memtable_unref(m->mem);
	/* Its content is in a table by now, or was synced by whoever closes the tree. */
	wal_close(m->log);
	for (size_t i = 0; i < m->segments_count; i++)
		segment_ref_drop(m->owner, m->segments[i]);
	free(m->segments);
	free(m);
}

int memlog_pin_segment(struct memlog *m, struct segment *s)
{
	/* Nearly always one of the last few. */
	for (size_t i = m->segments_count; i-- > 0;)
		if (m->segments[i] == s) {
			segment_ref_drop(m->owner, s);
			m->segments[i] = m->segments[m->segments_count - 1];
			m->segments[m->segments_count - 1] = s;
			return 0;
		}
	if (m->segments_count == m->segments_room) {
		size_t room = m->segments_room ? m->segments_room * 2 : 8;
		struct segment **grown = realloc(m->segments, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->segments = grown;
		m->segments_room = room;
	}
	m->segments[m->segments_count++] = s;
	return 0;
}

struct view *view_current(struct lsm *lsm)
{
	struct view *view;

	mutex_lock(&lsm->view_mu);
	view = lsm->view;
	atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
	mutex_unlock(&lsm->view_mu);
	return view;
}

void view_unref(struct view *view)
{
	if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < view->memlogs_count; i++)
		memlog_unref(view->memlogs[i]);
	version_unref(view->version);
	atomic_fetch_sub(view->alive, 1);
	free(view);
}

int view_install(struct lsm *lsm, struct memlog *const *memlogs, size_t memlogs_count,
		 struct version *version, struct view **old)
{
	struct view *view = malloc(sizeof(*view) + memlogs_count * sizeof(struct memlog *));

	*old = NULL;
	if (!view)
		return -ENOMEM;
	atomic_init(&view->refs, 1);
	view->alive = &lsm->views_alive;
	atomic_fetch_add(view->alive, 1);
	view->memlogs = (struct memlog **)(view + 1);
	view->memlogs_count = memlogs_count;
	view->version = version;
	version_ref(version);
	for (size_t i = 0; i < memlogs_count; i++) {
		view->memlogs[i] = memlogs[i];
		memlog_ref(memlogs[i]);
	}
	mutex_lock(&lsm->view_mu);
	*old = lsm->view;
	lsm->view = view;
	mutex_unlock(&lsm->view_mu);
	return 0;
}

uint64_t tree_new_file(struct lsm *lsm)
{
	uint64_t number;

	mutex_lock(&lsm->mu);
	number = lsm->next_file++;
	mutex_unlock(&lsm->mu);
	return number;
}

int tree_fail(struct lsm *lsm, int err, const char *what)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&lsm->failed, &none, err))
		report(&lsm->report, LSM_REPORT_ERROR,
		       "%s failed: %s; the store is read-only until it is opened again", what,
		       strerror(-err));
	mutex_lock(&lsm->mu);
	pthread_cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	return err;
}

int tree_sync_segments(struct lsm *lsm)
{
	int err = segments_sync(lsm->segments);

	return err ? tree_fail(lsm, err, "syncing a segment") : 0;
}

static void table_released(void *ctx, struct table_meta *t)
{
	struct lsm *lsm = ctx;

	for (size_t i = 0; i < t->uses_count; i++)
		segment_ref_drop(lsm->segments, t->uses[i].segment);
	/* At the end of the tree every table is released, and none is dead. */
	if (!lsm->closing) {
		cache_erase(lsm->cache, t->number, CACHE_TABLE);
		background_dead_file(lsm, FILE_TABLE, t->number);
	}
}

int tree_adopt_table(struct lsm *lsm, struct table_meta *t)
{
	/* A missing segment is damage that reading and verifying report; keep the rest. */
	for (size_t i = 0; i < t->uses_count; i++)
		t->uses[i].segment = segments_get(lsm->segments, t->uses[i].number);
	t->released = table_released;
	t->released_ctx = lsm;
	return 0;
}

/* ---- opening and closing ---- */

static void set_default(size_t *value, size_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

static void fill_options(struct lsm_options *o)
{
	set_default(&o->memory_bytes, 256u << 20);
	if (o->memory_bytes < (4u << 20))
		o->memory_bytes = 4u << 20;
	/*
	 * One memtable taking writes and one or two being flushed: 3/8 of the budget at
	 * most, and small enough that replaying a log after a crash is quick.
	 */
	set_default(&o->memtable_bytes,
		    o->memory_bytes / 8 < (32u << 20) ? o->memory_bytes / 8 : 32u << 20);
	set_default(&o->block_bytes, 4096);
	set_default(&o->table_bytes, 4u << 20);
	set_default(&o->level1_bytes, 32u << 20);
	set_default(&o->separate_min, 4096);
	if (!o->commit_interval_ms)
		o->commit_interval_ms = 5000;
	if (!o->compression_set)
		o->compression = LSM_COMPRESS_LZ4;
	if (!o->l0_compact)
		o->l0_compact = 4;
	if (!o->l0_slow)
		o->l0_slow = 3 * o->l0_compact;
	if (!o->l0_stop)
		o->l0_stop = 6 * o->l0_compact;
	if (!o->imm_max)
		o->imm_max = 2;
}

static struct lsm *tree_new(const struct lsm_options *options)
{
	struct lsm *lsm = calloc(1, sizeof(*lsm));
	size_t memtables;

	if (!lsm)
		return NULL;
	if (options)
		lsm->opt = *options;
	fill_options(&lsm->opt);
	lsm->report = (struct report){lsm->opt.report, lsm->opt.report_ctx};
	mutex_init(&lsm->view_mu, LOCK_VIEW);
	mutex_init(&lsm->mu, LOCK_TREE);
	mutex_init(&lsm->manifest_mu, LOCK_MANIFEST);
	mutex_init(&lsm->compact_mu, LOCK_COMPACT);
	mutex_init(&lsm->write_mu, LOCK_WRITERS);
	mutex_init(&lsm->sync_mu, LOCK_SYNC);
	mutex_init(&lsm->dead_mu, LOCK_DEAD);
	cond_init(&lsm->work);
	cond_init(&lsm->tick);
	cond_init(&lsm->changed);
	cond_init(&lsm->sync_done);
	lsm->writers_tail = &lsm->writers;
	memtables = (lsm->opt.imm_max + 1) * lsm->opt.memtable_bytes;
	lsm->cache = cache_new(memtables + (1u << 20) < lsm->opt.memory_bytes ?
				       lsm->opt.memory_bytes - memtables :
				       1u << 20);
	return lsm;
}

void tree_free(struct lsm *lsm)
{
	lsm->closing = true;
	/* The references that go now do not make anything dead. */
	if (lsm->segments)
		segments_hold_deletes(lsm->segments, true);
	view_unref(lsm->view);
	lsm->view = NULL;
	manifest_close(lsm->manifest);
	if (lsm->st)
		lsm->st->relieve = NULL;
	segments_free(lsm->segments);
	if (lsm->cache)
		cache_free(lsm->cache);
	if (lsm->st && lsm->locked)
		lsm->st->ops->unlock(lsm->st);
	if (lsm->st && lsm->st_owned)
		lsm->st->ops->free(lsm->st);
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		buf_release(&lsm->cursor[l]);
	repair_free(lsm->repair);
	free(lsm->recorded);
	free(lsm->dead);
	mutex_destroy(&lsm->view_mu);
	mutex_destroy(&lsm->mu);
	mutex_destroy(&lsm->manifest_mu);
	mutex_destroy(&lsm->compact_mu);
	mutex_destroy(&lsm->write_mu);
	mutex_destroy(&lsm->sync_mu);
	mutex_destroy(&lsm->dead_mu);
	pthread_cond_destroy(&lsm->work);
	pthread_cond_destroy(&lsm->tick);
	pthread_cond_destroy(&lsm->changed);
	pthread_cond_destroy(&lsm->sync_done);
	free(lsm);
}

/*
 * A segment is deleted as a whole, so on a small disk it must be small. So must a
 * memtable: what is set aside on the disk (background.c) has to hold it twice.
 */
static void fit_to_disk(struct lsm *lsm)
{
	uint64_t free_bytes, total;
	size_t bytes = 128u << 20;

	if (!lsm->st->ops->space(lsm->st, &free_bytes, &total)) {
		if (total / 32 < bytes)
			bytes = total / 32 > (1u << 20) ? (size_t)(total / 32) : 1u << 20;
		if (total / 32 < lsm->opt.memtable_bytes)
			lsm->opt.memtable_bytes =
				total / 32 > (1u << 16) ? (size_t)(total / 32) : 1u << 16;
	}
	set_default(&lsm->opt.segment_bytes, bytes);
}

static int take_lock(struct lsm *lsm)
{
	long holder = 0;
	int err = lsm->st->ops->lock(lsm->st, !lsm->opt.read_only, &holder);

	if (err == -EBUSY && holder)
		report(&lsm->report, LSM_REPORT_ERROR, "the store is in use by process %ld",
		       holder);
	else if (err == -EBUSY)
		report(&lsm->report, LSM_REPORT_ERROR, "the store is in use by another process");
	lsm->locked = !err;
	return err;
}

/* Descriptors have run out: close the files of segments and tables that nobody uses. */
static bool relieve(void *ctx)
{
	struct lsm *lsm = ctx;
	struct cache_stats c;
	uint64_t before;

	cache_stats(lsm->cache, &c);
	before = c.bytes;
	cache_set_limit(lsm->cache, 0);
	cache_set_limit(lsm->cache, c.bytes_max);
	cache_stats(lsm->cache, &c);
	return segments_close_idle(lsm->segments) || c.bytes < before;
}

/* Put an overlay over the storage, which keeps what a repair does apart. */
static int overlay(struct lsm *lsm)
{
	struct storage *st = overlay_new(lsm->st, lsm->st_owned);

	if (!st)
		return -ENOMEM;
	lsm->st = st;
	lsm->st_owned = true;
	return 0;
}

int tree_open(const char *path, const struct lsm_options *options, struct repair *repair,
	      struct lsm **out)
{
	struct lsm *lsm = tree_new(options);
	int err = 0;

	*out = NULL;
	if (!lsm) {
		repair_free(repair);
		return -ENOMEM;
	}
	lsm->repair = repair;
	if (!lsm->cache) {
		err = -ENOMEM;
	} else if (lsm->opt.storage) {
		lsm->st = lsm->opt.storage;
	} else {
		lsm->st_owned = true;
		err = storage_dir_open(path, lsm->opt.create && !lsm->opt.read_only,
				       lsm->opt.read_only, &lsm->st);
	}
	if (!err && repair)
		err = overlay(lsm);
	if (!err)
		err = recover_probe(lsm);
	if (!err)
		err = take_lock(lsm);
	if (!err) {
		lsm->env.st = lsm->st;
		lsm->env.cache = lsm->cache;
		lsm->env.report = &lsm->report;
		fit_to_disk(lsm);
		lsm->segments = segments_new(lsm->st, &lsm->report, lsm->opt.segment_bytes,
					     background_new_segment, lsm);
		lsm->st->relieve = relieve;
		lsm->st->relieve_ctx = lsm;
		err = lsm->segments ? recover(lsm) : -ENOMEM;
	}
	if (!err && !lsm->opt.read_only)
		err = background_start(lsm);
	if (err) {
		tree_free(lsm);
		return err;
	}
	*out = lsm;
	return 0;
}

int lsm_open(const char *path, const struct lsm_options *options, struct lsm **out)
{
	return tree_open(path, options, NULL, out);
}

static int flush_waiting(struct lsm *lsm)
{
	bool did = true;
	int err = 0;

	while (!err && did)
		err = background_flush_one(lsm, &did);
	return err;
}

/* Write the memtables to tables, so that the next open has nothing to replay. */
static int close_flush(struct lsm *lsm)
{
	int err = flush_waiting(lsm);

	if (!err)
		err = write_rotate(lsm);
	return err ? err : flush_waiting(lsm);
}

int tree_settle(struct lsm *lsm, bool flush)
{
	int err, flushed;

	background_stop(lsm);
	if (lsm->opt.read_only)
		return 0;
	err = atomic_load(&lsm->failed) ? -EROFS : sync_up_to(lsm, tree_sequence(lsm));
	if (!err) {
		flushed = close_flush(lsm);
		if (!flushed)
			flushed = background_close_manifest(lsm);
		/* Synced is enough; a table only makes the next open faster. */
		err = flush ? flushed : 0;
	}
	background_purge(lsm);
	return err;
}

int lsm_close(struct lsm *lsm)
{
	int err;

	if (!lsm)
		return 0;
	err = tree_settle(lsm, false);
	tree_free(lsm);
	return err;
}

/* ---- reading ---- */

void lsm_value_release(struct lsm_value *value)
{
	free(value->data);
	*value = (struct lsm_value){0};
}

static int value_set(struct lsm_value *value, size_t size)
{
	void *grown;

	if (size > value->capacity) {
		grown = realloc(value->data, size);
		if (!grown)
			return -ENOMEM;
		value->data = grown;
		value->capacity = size;
	}
	value->size = size;
	return 0;
}

int tree_value(struct lsm *lsm, enum ikey_type type, struct lsm_slice stored,
	       struct lsm_value *value)
{
	struct segment_ref ref;
	int err;

	if (type != IKEY_PUT_REF) {
		err = value_set(value, stored.size);
		if (!err && stored.size)
			memcpy(value->data, stored.data, stored.size);
		return err;
	}
	if (segment_ref_decode(stored, &ref))
		return report_corrupt(&lsm->report, "table", 0, "malformed segment reference");
	err = value_set(value, ref.size);
	return err ? err : segments_read(lsm->segments, &ref, 0, value->data, ref.size);
}

/* What one look-up has learnt on its way down. */
struct lookup {
	struct lsm_slice key;
	uint64_t sequence;
	uint64_t covered; /* the newest range tombstone over the key so far */
	enum ikey_type type;
	uint64_t entry_sequence;
};

/* In the memtables. 0: found, `*stored` points into one; 1: not here; 2: surely absent. */
static int lookup_runs(const struct view *view, struct lookup *l, struct lsm_slice *stored)
{
	for (size_t i = 0; i < view->memlogs_count; i++) {
		const struct memtable *m = view->memlogs[i]->mem;

		if (memtable_ranges(m))
			l->covered = memtable_covering(m, l->key, l->sequence);
		if (memtable_get(m, l->key, l->sequence, &l->type, &l->entry_sequence, stored))
			return l->entry_sequence < l->covered || l->type == IKEY_DELETE ? 2 : 0;
		if (l->covered)
			return 2; /* what is older is hidden */
	}
	return 1;
}

/* In one table. As above, with the stored value copied; or an error. */
static int lookup_table(struct lsm *lsm, const struct table_meta *meta, struct lookup *l,
			struct lsm_value *stored)
{
	struct table *t;
	int err = table_acquire(&lsm->env, meta->number, meta->bytes, &t);

	if (err)
		return err;
	if (meta->ranges && table_ranges(t))
		l->covered = rangedel_covering(table_ranges(t), l->key, l->sequence);
	err = table_get(t, l->key, l->sequence, &l->type, &l->entry_sequence, stored);
	table_release(t);
	if (err == 0)
		return l->entry_sequence < l->covered || l->type == IKEY_DELETE ? 2 : 0;
	return err == 1 && l->covered ? 2 : err;
}

static int lookup_version(struct lsm *lsm, const struct version *v, struct lookup *l,
			  struct lsm_value *stored)
{
	int found = 1;

	for (size_t i = 0; found == 1 && i < v->level[0].count; i++)
		if (!table_meta_compare(v->level[0].tables[i], l->key))
			found = lookup_table(lsm, v->level[0].tables[i], l, stored);
	for (unsigned n = 1; found == 1 && n < LSM_LEVELS; n++) {
		size_t i = version_find(v, n, l->key);

		if (i < v->level[n].count && !table_meta_compare(v->level[n].tables[i], l->key))
			found = lookup_table(lsm, v->level[n].tables[i], l, stored);
	}
	return found;
}

int tree_newest(struct lsm *lsm, struct lsm_slice key, uint64_t *sequence)
{
	struct lookup l = {.key = key, .sequence = tree_sequence(lsm)};
	struct view *view = view_current(lsm);
	struct lsm_value value = {0};
	struct lsm_slice stored;
	int found = lookup_runs(view, &l, &stored);

	if (found == 1)
		found = lookup_version(lsm, view->version, &l, &value);
	*sequence = l.entry_sequence > l.covered ? l.entry_sequence : l.covered;
	lsm_value_release(&value);
	view_unref(view);
	return found == 2 ? 0 : found;
}

/* Replace the reference in `value` by what it refers to. */
static int resolve(struct lsm *lsm, struct lsm_value *value)
{
	struct lsm_value ref = *value;
	int err;

	*value = (struct lsm_value){0};
	err = tree_value(lsm, IKEY_PUT_REF, (struct lsm_slice){ref.data, ref.size}, value);
	lsm_value_release(&ref);
	return err;
}

int lsm_get(struct lsm *lsm, const struct lsm_snapshot *snapshot, struct lsm_slice key,
	    struct lsm_value *value)
{
	struct lookup l = {.key = key};
	struct lsm_slice stored;
	struct view *view;
	int found;

	value->size = 0;
	if (!key.size || key.size > LSM_KEY_BYTES_MAX)
		return -EINVAL;
	view = view_current(lsm);
	l.sequence = snapshot ? snapshot->sequence : tree_sequence(lsm);
	found = lookup_runs(view, &l, &stored);
	if (found == 0) {
		found = tree_value(lsm, l.type, stored, value);
	} else if (found == 1) {
		found = lookup_version(lsm, view->version, &l, value);
		if (found == 0 && l.type == IKEY_PUT_REF)
			found = resolve(lsm, value);
	}
	view_unref(view);
	if (found)
		value->size = 0;
	return found == 2 ? LSM_ABSENT : found;
}

/* ---- snapshots ---- */

struct lsm_snapshot *lsm_snapshot_take(struct lsm *lsm)
{
	struct lsm_snapshot *n = calloc(1, sizeof(*n)), **at;

	if (!n)
		return NULL;
	mutex_lock(&lsm->mu);
	n->sequence = tree_sequence(lsm);
	/* Ascending; the newest goes last, and there are few. */
	for (at = &lsm->snapshots; *at; at = &(*at)->next)
		n->prev = *at;
	*at = n;
	mutex_unlock(&lsm->mu);
	return n;
}

void lsm_snapshot_drop(struct lsm *lsm, struct lsm_snapshot *snapshot)
{
	if (!snapshot)
		return;
	mutex_lock(&lsm->mu);
	if (snapshot->prev)
		snapshot->prev->next = snapshot->next;
	else
		lsm->snapshots = snapshot->next;
	if (snapshot->next)
		snapshot->next->prev = snapshot->prev;
	mutex_unlock(&lsm->mu);
	free(snapshot);
}

int tree_snapshots(struct lsm *lsm, uint64_t **out, size_t *count)
{
	size_t n = 0;
	int err = 0;

	mutex_lock(&lsm->mu);
	for (const struct lsm_snapshot *s = lsm->snapshots; s; s = s->next)
		n++;
	*out = malloc((n + 1) * sizeof(**out));
	*count = 0;
	if (!*out)
		err = -ENOMEM;
	for (const struct lsm_snapshot *s = lsm->snapshots; !err && s; s = s->next)
		if (!*count || (*out)[*count - 1] != s->sequence)
			(*out)[(*count)++] = s->sequence;
	mutex_unlock(&lsm->mu);
	return err;
}
