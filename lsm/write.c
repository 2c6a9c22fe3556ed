/*
 * write.c - the write path.
 *
 * Writers queue; the head of the queue leads. The leader makes room (rotating
 * the memtable, slowing down or waiting while the background is behind), takes
 * the batches queued behind it as one group, appends their records to the log
 * in one write, inserts them into the memtable, publishes the last sequence, and
 * wakes the group. So the log, the memtable and the sequence have one writer at
 * a time without a lock held over any of it: being the head is the lock.
 *
 * Syncing comes after, outside the queue: see sync.c.
 *
 * A log is never written beyond the space reserved for it, so that a full disk
 * is met when reserving, before anything was logged, and stays an ordinary error.
 * Any failure after that is a failed log write: the tree is read-only from then.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "lsm/batch.h"
#include "lsm/tree.h"

#define GROUP_BYTES_MAX (1u << 20)
#define LOG_RESERVE_STEP (4u << 20)
#define SLOWDOWN_US 1000 /* per group, while level 0 is nearly full */
/* On a full disk what gives space back is tried so often: somebody may be dropping the reserve. */
#define FULL_TRIES 4
#define FULL_WAIT_US 5000

struct writer {
	struct lsm_batch *batch; /* NULL: only rotate the memtable */
	unsigned flags;
	int status;
	bool done;
	uint64_t sequence_last;
	pthread_cond_t wake;
	struct writer *next;
};

/* ---- rotating ---- */

/*
 * A memlog with a fresh log of its own, by recycling an old log if there is one.
 * The name is not durable before the next sync.
 */
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

static bool run_full(const struct lsm *lsm, const struct memlog *m)
{
	return memtable_bytes(m->mem) >= lsm->opt.memtable_bytes ||
	       wal_bytes(m->log) >= 2 * (uint64_t)lsm->opt.memtable_bytes ||
	       memtable_ranges(m->mem) >= MEMTABLE_RANGES_MAX;
}

static void nap_us(unsigned us)
{
	struct timespec t = {0, (long)us * 1000};

	nanosleep(&t, NULL);
}

/*
 * Wait until the queue of immutable memtables and level 0 have room for one more.
 * mu held. While the disk is full there is nothing to wait for: -ENOSPC.
 */
static int wait_for_room(struct lsm *lsm) REQUIRES(lsm->mu)
{
	bool counted = false;

	for (;;) {
		const struct view *view = lsm->view;
		int failed = atomic_load(&lsm->failed);
		size_t l0_max = lsm->opt.l0_stop * (lsm->l0_stuck ? L0_STUCK_FACTOR : 1);

		if (failed)
			return -EROFS;
		/* Closing: nobody is left to make room, and only the queue's length matters. */
		if (lsm->stop)
			return view->memlogs_count <= lsm->opt.imm_max ? 0 : -EAGAIN;
		if (view->memlogs_count <= lsm->opt.imm_max &&
		    view->version->level[0].count < l0_max)
			return 0;
		/* Nothing will make room there: see compact.c. */
		if (lsm->l0_stuck && view->memlogs_count <= lsm->opt.imm_max)
			return -EUCLEAN;
		if (view->memlogs_count > lsm->opt.imm_max ? lsm->flush_error : lsm->compact_error)
			return view->memlogs_count > lsm->opt.imm_max ? lsm->flush_error :
									lsm->compact_error;
		if (!counted)
			atomic_fetch_add(&lsm->stops, 1);
		counted = true;
		pthread_cond_signal(&lsm->work);
		cond_wait(&lsm->changed, &lsm->mu);
	}
}

/* Put a fresh memlog in front, the present one in the queue for flushing. Leader only. */
static int rotate(struct lsm *lsm)
{
	struct memlog *fresh = NULL, **memlogs = NULL;
	struct view *view, *old = NULL;
	int err;

	mutex_lock(&lsm->mu);
	err = wait_for_room(lsm);
	mutex_unlock(&lsm->mu);
	if (!err)
		err = memlog_create(lsm, &fresh);
	if (err)
		return err;
	mutex_lock(&lsm->mu);
	view = lsm->view;
	memlogs = malloc((view->memlogs_count + 1) * sizeof(*memlogs));
	if (!memlogs) {
		err = -ENOMEM;
	} else {
		memlogs[0] = fresh;
		memcpy(memlogs + 1, view->memlogs, view->memlogs_count * sizeof(*memlogs));
		err = view_install(lsm, memlogs, view->memlogs_count + 1, view->version, &old);
		if (!err)
			lsm->newest = fresh;
	}
	lsm->tombstones_pending = 0;
	pthread_cond_broadcast(&lsm->work);
	mutex_unlock(&lsm->mu);
	view_unref(old);
	free(memlogs);
	memlog_unref(fresh);
	return err;
}

/* Reserve log space for `bytes` more (their framing included). */
static int reserve_log(struct lsm *lsm, struct memlog *m, uint64_t bytes)
{
	uint64_t need = wal_bytes(m->log) + bytes, want;
	int err;

	if (need <= m->log_reserved)
		return 0;
	want = (need + LOG_RESERVE_STEP - 1) / LOG_RESERVE_STEP * LOG_RESERVE_STEP;
	if (lsm->opt.memtable_bytes < LOG_RESERVE_STEP)
		want = (need + lsm->opt.memtable_bytes - 1) / lsm->opt.memtable_bytes *
		       lsm->opt.memtable_bytes;
	err = wal_reserve(m->log, want);
	if (err == -ENOSPC && want > need)
		err = wal_reserve(m->log, want = need);
	if (!err)
		m->log_reserved = want;
	return err;
}

/* Only what gives space back may be written. */
static bool is_full(struct lsm *lsm)
{
	if (!atomic_load(&lsm->no_space))
		return false;
	mutex_lock(&lsm->mu);
	pthread_cond_signal(&lsm->work);
	mutex_unlock(&lsm->mu);
	return true;
}

/* Make the newest memlog fit for a group that starts with `w`. Leader only. */
static int make_room(struct lsm *lsm, const struct writer *w)
{
	struct memlog *m = lsm->newest;
	bool slow;
	int err;

	if (atomic_load(&lsm->failed))
		return -EROFS;
	if (w->batch && !(w->flags & LSM_FREES) && is_full(lsm))
		return -ENOSPC;
	mutex_lock(&lsm->mu);
	slow = lsm->view->version->level[0].count >= lsm->opt.l0_slow && !lsm->l0_stuck;
	mutex_unlock(&lsm->mu);
	if (slow) {
		atomic_fetch_add(&lsm->slowdowns, 1);
		nap_us(SLOWDOWN_US);
	}
	if (w->batch ? run_full(lsm, m) : memtable_entries(m->mem) || memtable_ranges(m->mem)) {
		err = rotate(lsm);
		/* A batch that gives space back must get through: let the memtable grow. */
		if (err && !(err == -ENOSPC && w->batch && (w->flags & LSM_FREES)))
			return err;
	}
	return 0;
}

/* ---- a group ---- */

/* About what `bytes` take in the log, framing included. */
static uint64_t framed(uint64_t bytes)
{
	return bytes + bytes / 1024 + 64;
}

/*
 * The writers from the head on that go into one group, at most GROUP_BYTES_MAX
 * (the head may be larger). write_mu held. Returns the last of them.
 */
static struct writer *take_group(struct writer *head, size_t *count, uint64_t *bytes)
{
	struct writer *last = head;

	*count = 1;
	*bytes = framed(head->batch->record.size);
	while (last->next && last->next->batch) {
		uint64_t more = framed(last->next->batch->record.size);

		if (*bytes + more > GROUP_BYTES_MAX)
			break;
		/* What may use reserved space does not take others with it. */
		if ((last->next->flags ^ head->flags) & LSM_FREES)
			break;
		*bytes += more;
		++*count;
		last = last->next;
	}
	return last;
}

int memlog_pin_refs(struct lsm *lsm, struct memlog *memlog, struct lsm_slice bytes)
{
	struct segment_ref ref;
	struct segment *g;
	int err = segment_ref_decode(bytes, &ref);

	if (err || ref.segment == SEGMENT_LOST)
		return err;
	atomic_fetch_add_explicit(&memlog->segment_bytes, segment_ref_bytes(&ref),
				  memory_order_relaxed);
	if (memlog->segments_count &&
	    segment_number(memlog->segments[memlog->segments_count - 1]) == ref.segment)
		return 0;
	g = segments_get(lsm->segments, ref.segment);
	if (!g)
		return -ENOENT;
	err = memlog_pin_segment(memlog, g);
	if (err)
		segment_ref_drop(lsm->segments, g);
	return err;
}

/* Put one batch's operations into the memtable of `memlog`. */
static int insert(struct lsm *lsm, struct memlog *memlog, struct lsm_slice record)
{
	struct batch_reader r;
	struct batch_entry e;
	int err = batch_read(record, &r);

	while (!err && (err = batch_next(&r, &e)) == 0) {
		switch (e.kind) {
		case BATCH_DELETE_RANGE:
			err = memtable_add_range(memlog->mem, e.sequence, e.key, e.value);
			break;
		case BATCH_REF:
		case BATCH_SLICE:
			err = memlog_pin_refs(lsm, memlog, e.value);
			if (!err)
				err = memtable_add(memlog->mem, e.sequence, IKEY_PUT_REF, e.key,
						   e.value);
			break;
		case BATCH_PUT:
		case BATCH_DELETE:
			err = memtable_add(memlog->mem, e.sequence, (enum ikey_type)e.kind, e.key,
					   e.value);
			break;
		}
	}
	return err < 0 ? err : 0;
}

/* Log and apply the group [head, last]; sets each writer's last sequence. Leader only. */
static int commit_group(struct lsm *lsm, struct writer *head, const struct writer *last,
			size_t count, uint64_t bytes)
{
	uint64_t next = tree_sequence(lsm) + 1, synced = atomic_load(&lsm->sequence_synced);
	struct memlog *memlog = lsm->newest;
	struct lsm_slice few[16], *records = few;
	size_t n = 0;
	int err = reserve_log(lsm, memlog, bytes);

	if (err)
		return err;
	if (count > 16)
		records = malloc(count * sizeof(*records));
	if (!records)
		return -ENOMEM;
	for (struct writer *w = head;; w = w->next) {
		batch_set_sequences(w->batch, next, synced);
		next += w->batch->ops_count;
		w->sequence_last = next - 1;
		records[n++] = buf_slice(&w->batch->record);
		if (w == last)
			break;
	}
	if (!memlog->sequence_first)
		memlog->sequence_first = tree_sequence(lsm) + 1;
	err = wal_append(memlog->log, records, n);
	if (err)
		tree_fail(lsm, err, "writing the log");
	for (size_t i = 0; !err && i < n; i++) {
		err = insert(lsm, memlog, records[i]);
		if (err)
			tree_fail(lsm, err, "adding a logged write to memory");
	}
	if (!err) {
		atomic_store(&memlog->sequence_last, next - 1);
		atomic_store_explicit(&lsm->sequence, next - 1, memory_order_release);
		atomic_fetch_add(&lsm->log_bytes, bytes);
	}
	if (records != few)
		free(records);
	return err;
}

/* Take the group off the queue, tell its members, and wake the next leader. write_mu held. */
static void finish_group(struct lsm *lsm, struct writer *head, struct writer *last, int err)
{
	lsm->writers = last->next;
	if (!lsm->writers)
		lsm->writers_tail = &lsm->writers;
	else
		pthread_cond_signal(&lsm->writers->wake);
	for (struct writer *w = head;;) {
		struct writer *next = w->next;
		bool end = w == last;

		w->status = err;
		w->done = true;
		if (w != head)
			pthread_cond_signal(&w->wake);
		if (end)
			break;
		w = next;
	}
}

/* Queue `w`; when it is at the head, lead. Returns its status. */
static int queue(struct lsm *lsm, struct writer *w)
{
	struct writer *last = w;
	uint64_t bytes;
	size_t count;
	int err;

	mutex_lock(&lsm->write_mu);
	*lsm->writers_tail = w;
	lsm->writers_tail = &w->next;
	if (lsm->writers != w) {
		pthread_cond_init(&w->wake, NULL);
		while (!w->done && lsm->writers != w)
			cond_wait(&w->wake, &lsm->write_mu);
		pthread_cond_destroy(&w->wake);
		if (w->done) {
			mutex_unlock(&lsm->write_mu);
			return w->status;
		}
	}
	mutex_unlock(&lsm->write_mu);
	err = make_room(lsm, w);
	if (!err && w->batch) {
		mutex_lock(&lsm->write_mu);
		last = take_group(w, &count, &bytes);
		mutex_unlock(&lsm->write_mu);
		err = commit_group(lsm, w, last, count, bytes);
	}
	mutex_lock(&lsm->write_mu);
	finish_group(lsm, w, last, err);
	mutex_unlock(&lsm->write_mu);
	return err;
}

int write_rotate(struct lsm *lsm)
{
	struct writer w = {0};

	return queue(lsm, &w);
}

/* How many tombstones are in `b`; a range, which may hide anything, counts as many. */
static size_t tombstones_in(const struct lsm_batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->ops_count; i++)
		n += b->ops[i].kind == BATCH_DELETE       ? 1 :
		     b->ops[i].kind == BATCH_DELETE_RANGE ? TOMBSTONES_MANY :
							    0;
	return n;
}

/*
 * Queue a batch. The disk may be full: if it gives space back it is tried again, with
 * what is set aside for that, or with what flush and compaction have made of it.
 */
static int queue_batch(struct lsm *lsm, struct lsm_batch *b, struct writer *w)
{
	unsigned flags = w->flags;
	int err = queue(lsm, w);

	for (int i = 0; err == -ENOSPC && (flags & LSM_FREES) && i < FULL_TRIES; i++) {
		if (!background_reserve_drop(lsm) && i)
			nap_us(FULL_WAIT_US);
		*w = (struct writer){.batch = b, .flags = flags};
		err = queue(lsm, w);
	}
	return err;
}

int lsm_write(struct lsm *lsm, struct lsm_batch *b, unsigned flags)
{
	struct writer w = {.batch = b, .flags = flags};
	size_t tombstones;
	int err;

	if (lsm->opt.read_only || atomic_load(&lsm->failed))
		return -EROFS;
	if (!b->ops_count)
		return flags & LSM_SYNC ? lsm_sync(lsm) : 0;
	/* Before its large values take what is left on a full disk. */
	if (!(flags & LSM_FREES) && is_full(lsm))
		return -ENOSPC;
	err = batch_encode(b, lsm->segments, lsm->opt.separate_min);
	if (!err)
		err = queue_batch(lsm, b, &w);
	/* The memtable has a reference of its own now, or nothing refers to it. */
	segment_ref_drop(lsm->segments, b->segment);
	b->segment = NULL;
	if (err == -ENOSPC)
		background_note_full(lsm);
	if (err)
		return err;
	atomic_fetch_add(&lsm->user_bytes, b->user_bytes);
	tombstones = tombstones_in(b);
	if (tombstones) {
		mutex_lock(&lsm->mu);
		lsm->tombstones_pending += tombstones;
		mutex_unlock(&lsm->mu);
	}
	return flags & LSM_SYNC ? sync_up_to(lsm, w.sequence_last) : 0;
}
