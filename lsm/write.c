/*
 * write.c - the write path.
 *
 * Writers queue, and the head of the queue leads. The leader makes room: it rotates the
 * memtable, and slows down or waits while the background is behind. Then it takes the batches
 * queued behind it as one group, appends their records to the log in one write, inserts them
 * into the memtable, publishes the last sequence and wakes the group. So the log, the memtable
 * and the sequence have one writer at a time without a lock held over any of it: being the
 * head is the lock.
 *
 * Syncing comes after, outside the queue: see sync.c.
 *
 * A log is never written beyond the space reserved for it. So a full disk is met when
 * reserving, before anything was logged, and stays an ordinary error. Any failure after that
 * is a failed log write: the tree is read-only from then on.
 */
#include "lsm/write.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lsm/batch.h"
#include "lsm/compact.h"
#include "lsm/reserve.h"
#include "lsm/sync.h"
#include "lsm/view.h"

#define GROUP_BYTES_MAX (1u << 20)
#define GROUP_RECORDS_FEW 16 /* with so many no memory is allocated */
#define SLOWDOWN_US 1000     /* per group, while level 0 is nearly full */
/* On a full disk, writes that free space are tried again: another thread may drop the reserve. */
#define FULL_TRIES 4
#define FULL_WAIT_US 5000

struct writer {
	struct lsm_batch *batch; /* NULL: only rotate the memtable */
	unsigned flags;
	int err; /* how its group ended, once it is done */
	bool done;
	uint64_t sequence_last;
	pthread_cond_t wake;
	STAILQ_ENTRY(writer) link;
};

static void write_nap(unsigned us)
{
	struct timespec t = {0, (long)us * 1000};

	nanosleep(&t, NULL);
}

/* ---- room ---- */

/*
 * Wait until the queue of immutable memtables and level 0 have room for one more. If flush or
 * compaction, whichever has to make that room, has failed, return its error.
 */
static int write_wait_for_room(struct lsm *lsm) REQUIRES(lsm->mu)
{
	bool counted = false;

	for (;;) {
		const struct view *view = lsm->view;
		bool queue_full = view->memlogs_count > lsm->opt.imm_max;
		size_t l0_max = lsm->opt.l0_stop * (lsm->l0_stuck ? L0_STUCK_FACTOR : 1);
		int err;

		if (atomic_load(&lsm->failed))
			return -EROFS;
		/* Closing: no thread will make room, and only the length of the queue matters. */
		if (lsm->stop)
			return queue_full ? -EAGAIN : 0;
		if (!queue_full && view->version->level[0].count < l0_max)
			return 0;
		/* Damage, which was reported, keeps level 0 from getting room: see compact.c. */
		if (lsm->l0_stuck && !queue_full)
			return -EUCLEAN;
		err = queue_full ? lsm->flush_error : lsm->compact_error;
		if (err)
			return err;
		if (!counted)
			atomic_fetch_add(&lsm->stops, 1);
		counted = true;
		cond_signal(&lsm->work);
		cond_wait(&lsm->changed, &lsm->mu);
	}
}

/* Make `fresh` the newest memlog. `*old` is for the caller to unref without the lock. */
static int write_install(struct lsm *lsm, struct memlog *fresh, struct view **old) REQUIRES(lsm->mu)
{
	const struct view *view = lsm->view;
	size_t count = view->memlogs_count;
	struct memlog **memlogs = malloc((count + 1) * sizeof(*memlogs));
	int err;

	*old = NULL;
	if (!memlogs)
		return -ENOMEM;
	memlogs[0] = fresh;
	memcpy(memlogs + 1, view->memlogs, count * sizeof(*memlogs));
	err = view_install(lsm, memlogs, count + 1, view->version, old);
	if (!err)
		lsm->newest = fresh;
	free(memlogs);
	return err;
}

/*
 * Put a fresh memlog in front. The present one waits in the queue for flushing from then on.
 * Leader only.
 */
static int write_switch(struct lsm *lsm)
{
	struct memlog *fresh = NULL;
	struct view *old = NULL;
	int err;

	mutex_lock(&lsm->mu);
	err = write_wait_for_room(lsm);
	mutex_unlock(&lsm->mu);
	if (!err)
		err = memlog_create(lsm, &fresh);
	if (err)
		return err;
	mutex_lock(&lsm->mu);
	err = write_install(lsm, fresh, &old);
	lsm->tombstones_pending = 0;
	cond_broadcast(&lsm->work);
	mutex_unlock(&lsm->mu);
	view_unref(old);
	memlog_unref(fresh);
	return err;
}

/* Whether the disk is full, so that only writes that free space may go on. */
static bool write_is_full(struct lsm *lsm)
{
	if (!atomic_load(&lsm->no_space))
		return false;
	mutex_lock(&lsm->mu);
	cond_signal(&lsm->work);
	mutex_unlock(&lsm->mu);
	return true;
}

/* Make the newest memlog fit for a group that starts with `w`. Leader only. */
static int write_make_room(struct lsm *lsm, const struct writer *w)
{
	bool frees = w->flags & LSM_FREES, slow;
	struct memlog *m = lsm->newest;
	int err;

	if (atomic_load(&lsm->failed))
		return -EROFS;
	if (w->batch && !frees && write_is_full(lsm))
		return -ENOSPC;
	mutex_lock(&lsm->mu);
	slow = lsm->view->version->level[0].count >= lsm->opt.l0_slow && !lsm->l0_stuck;
	mutex_unlock(&lsm->mu);
	if (slow) {
		atomic_fetch_add(&lsm->slowdowns, 1);
		write_nap(SLOWDOWN_US);
	}
	if (w->batch ? !memlog_full(lsm, m) : memlog_empty(m))
		return 0;
	err = write_switch(lsm);
	/* A batch that frees space must get through: let the memtable grow. */
	return err == -ENOSPC && w->batch && frees ? 0 : err;
}

/* ---- a group ---- */

/* About how many bytes of the log a record of `bytes` takes, framing included. */
static uint64_t write_framed(uint64_t bytes)
{
	return bytes + bytes / 1024 + 64;
}

/*
 * The writers from the head on that go into one group, of at most GROUP_BYTES_MAX (the head
 * may be larger). Returns the last of them.
 */
static struct writer *write_take_group(struct lsm *lsm, struct writer *head, size_t *count,
				       uint64_t *bytes) REQUIRES(lsm->write_mu)
{
	struct writer *last = head, *next;

	assert(STAILQ_FIRST(&lsm->writers) == head);
	*count = 1;
	*bytes = write_framed(head->batch->record.size);
	while ((next = STAILQ_NEXT(last, link)) && next->batch) {
		uint64_t more = write_framed(next->batch->record.size);

		if (*bytes + more > GROUP_BYTES_MAX)
			break;
		/* Only writes that free space may use the space that is reserved for them. */
		if ((next->flags ^ head->flags) & LSM_FREES)
			break;
		*bytes += more;
		++*count;
		last = next;
	}
	return last;
}

/* Add the operations of one record to the memtable of `m`. */
static int write_insert(struct memlog *m, struct lsm_slice record)
{
	struct batch_reader r;
	struct batch_entry e;
	int err = batch_read(record, &r);

	while (!err && (err = batch_next(&r, &e)) == 0)
		err = memlog_add(m, &e, MEMLOG_MISSING_FAILS);
	return err < 0 ? err : 0;
}

/* Log and insert `count` records, the last of which ends with the sequence `last`. */
static int write_records(struct lsm *lsm, struct memlog *m, const struct lsm_slice *records,
			 size_t count, uint64_t last)
{
	int err = wal_append(m->log, records, count);

	if (err)
		return tree_fail(lsm, err, "writing the log");
	for (size_t i = 0; !err && i < count; i++)
		err = write_insert(m, records[i]);
	if (err)
		return tree_fail(lsm, err, "adding a logged write to memory");
	atomic_store(&m->sequence_last, last);
	atomic_store_explicit(&lsm->sequence, last, memory_order_release);
	return 0;
}

/* Log and apply the group [head, last]; sets each writer's last sequence. Leader only. */
static int write_commit(struct lsm *lsm, struct writer *head, const struct writer *last,
			size_t count, uint64_t bytes)
{
	uint64_t next = tree_sequence(lsm) + 1, synced = atomic_load(&lsm->sequence_synced);
	struct lsm_slice few[GROUP_RECORDS_FEW], *records = few;
	size_t n = 0;
	int err = memlog_reserve(lsm, lsm->newest, bytes);

	if (err)
		return err;
	if (count > GROUP_RECORDS_FEW)
		records = malloc(count * sizeof(*records));
	if (!records)
		return -ENOMEM;
	for (struct writer *w = head;; w = STAILQ_NEXT(w, link)) {
		batch_set_sequences(w->batch, next, synced);
		next += w->batch->ops_count;
		w->sequence_last = next - 1;
		records[n++] = buf_slice(&w->batch->record);
		if (w == last)
			break;
	}
	assert(n == count);
	err = write_records(lsm, lsm->newest, records, n, next - 1);
	if (!err)
		atomic_fetch_add(&lsm->log_bytes, bytes);
	if (records != few)
		free(records);
	return err;
}

/* Take the group [head, last] off the queue, pass `err` on to it, and wake the next leader. */
static void write_finish_group(struct lsm *lsm, struct writer *head, struct writer *last, int err)
	REQUIRES(lsm->write_mu)
{
	struct writer *w;

	do {
		w = STAILQ_FIRST(&lsm->writers);
		STAILQ_REMOVE_HEAD(&lsm->writers, link);
		w->err = err;
		w->done = true;
		if (w != head)
			cond_signal(&w->wake);
	} while (w != last);
	w = STAILQ_FIRST(&lsm->writers);
	if (w)
		cond_signal(&w->wake);
}

/* Put `w` in the queue and wait. True: it is at the head and leads; false: its group is done. */
static bool write_enqueue(struct lsm *lsm, struct writer *w)
{
	mutex_lock(&lsm->write_mu);
	STAILQ_INSERT_TAIL(&lsm->writers, w, link);
	if (STAILQ_FIRST(&lsm->writers) != w) {
		(void)cond_init(&w->wake); /* cannot fail for these attributes */
		while (!w->done && STAILQ_FIRST(&lsm->writers) != w)
			cond_wait(&w->wake, &lsm->write_mu);
		cond_destroy(&w->wake);
	}
	mutex_unlock(&lsm->write_mu);
	return !w->done;
}

/* Queue `w` and see it through, as leader of a group or as a member of one. */
static int write_queue(struct lsm *lsm, struct writer *w)
{
	struct writer *last = w;
	uint64_t bytes;
	size_t count;
	int err;

	if (!write_enqueue(lsm, w))
		return w->err;
	err = write_make_room(lsm, w);
	if (!err && w->batch) {
		mutex_lock(&lsm->write_mu);
		last = write_take_group(lsm, w, &count, &bytes);
		mutex_unlock(&lsm->write_mu);
		err = write_commit(lsm, w, last, count, bytes);
	}
	mutex_lock(&lsm->write_mu);
	write_finish_group(lsm, w, last, err);
	mutex_unlock(&lsm->write_mu);
	return err;
}

int write_rotate(struct lsm *lsm)
{
	struct writer w = {0};

	return write_queue(lsm, &w);
}

/* ---- a batch ---- */

/* How many tombstones are in `b`; a range, which may hide anything, counts as many. */
static size_t write_tombstones(const struct lsm_batch *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->ops_count; i++)
		n += b->ops[i].kind == BATCH_DELETE       ? 1 :
		     b->ops[i].kind == BATCH_DELETE_RANGE ? TOMBSTONES_MANY :
							    0;
	return n;
}

/*
 * Queue a batch. If the disk is full and the batch frees space, it is tried again: with what
 * is reserved for that, or with the space that flush and compaction have set free meanwhile.
 */
static int write_batch(struct lsm *lsm, struct lsm_batch *b, struct writer *w)
{
	unsigned flags = w->flags;
	int err = write_queue(lsm, w);

	for (int i = 0; err == -ENOSPC && (flags & LSM_FREES) && i < FULL_TRIES; i++) {
		if (!reserve_drop(lsm) && i)
			write_nap(FULL_WAIT_US);
		*w = (struct writer){.batch = b, .flags = flags};
		err = write_queue(lsm, w);
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
	if (!(flags & LSM_FREES) && write_is_full(lsm))
		return -ENOSPC;
	err = batch_encode(b, lsm->segments, lsm->opt.separate_min);
	if (!err)
		err = write_batch(lsm, b, &w);
	/* The memlog has a reference of its own now, or nothing refers to the segment. */
	segment_ref_drop(lsm->segments, b->segment);
	b->segment = NULL;
	if (err == -ENOSPC)
		reserve_note_full(lsm);
	if (err)
		return err;
	atomic_fetch_add(&lsm->user_bytes, b->user_bytes);
	tombstones = write_tombstones(b);
	if (tombstones) {
		mutex_lock(&lsm->mu);
		lsm->tombstones_pending += tombstones;
		mutex_unlock(&lsm->mu);
	}
	return flags & LSM_SYNC ? sync_up_to(lsm, w.sequence_last) : 0;
}
