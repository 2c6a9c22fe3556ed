/*
 * segments.c - the set of segment files; see segments.h.
 *
 * `mu` guards the list, the references, and where the next value goes. A writer
 * reserves room under it and writes without it, so that writers of large values
 * run side by side. A segment is `dirty` when a write to it has finished that was not synced.
 *
 * Files are opened when they are needed and stay open. When FILES_MAX of them are open, or the
 * system allows no more, those that are not in use are closed. Dirty ones stay open: if writing
 * them back fails, a descriptor that is opened later may not get the error.
 *
 * Only the newest segment is written to. It is sealed when the next value would
 * make it longer than segment_bytes; a group of values is never split.
 */
#include "lsm/segments.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lsm/base/array.h"
#include "lsm/base/lock.h"

#define FILES_MAX 256

/*
 * After so many bytes the disk is asked to begin writing them. A sync waits for every byte that
 * is not on disk yet, and all callers of lsm_sync() wait with it. Without this they would wait
 * for seconds after seconds of large writes. Large enough for the disk to be efficient.
 */
#define START_WRITE_BYTES (4u << 20)

struct segment {
	uint64_t number; /* constant */
	bool missing;    /* constant: the manifest names it, and there is no file */
	/* guarded by segments.mu */
	struct storage_file *file; /* NULL: not open now */
	unsigned users;            /* of `file`, which stays open for them */
	uint64_t size;             /* reserved up to here */
	uint64_t started;          /* writing to the disk was begun up to here */
	uint64_t allocated;        /* on disk, when it was last looked at */
	uint64_t mark;
	int refs;
	bool sealed, dirty, keep_file, stuck;
	bool grown;   /* by segments_probe() */
	bool opening; /* one of the references is the opening's own */
};

struct segments {
	struct storage *st;
	const struct report *report;
	uint64_t segment_bytes;
	segments_new_fn *fresh;
	void *fresh_ctx;

	struct mutex create_mu; /* one new segment at a time; before mu */
	struct mutex sync_mu;   /* one sync at a time; before mu */
	struct mutex mu;
	struct segment **list; /* ascending by number */
	size_t count, room;
	size_t files;            /* open */
	struct segment *current; /* written to; NULL: none yet */
	uint64_t *deleted;
	size_t deleted_count, deleted_room;
	uint64_t *kept; /* dead, but their files must stay for now */
	size_t kept_count, kept_room;
	bool hold;
	int sync_error; /* of the first sync that failed: none is tried again */
	uint64_t bytes_written;
};

struct segments *segments_new(struct storage *st, const struct report *rep, uint64_t segment_bytes,
			      segments_new_fn *fn, void *ctx)
{
	struct segments *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->st = st;
	s->report = rep;
	s->segment_bytes = segment_bytes;
	s->fresh = fn;
	s->fresh_ctx = ctx;
	mutex_init(&s->create_mu, LOCK_SEGMENTS_CREATE);
	mutex_init(&s->sync_mu, LOCK_SEGMENTS_SYNC);
	mutex_init(&s->mu, LOCK_SEGMENTS);
	return s;
}

void segments_free(struct segments *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		storage_close(s->list[i]->file);
		free(s->list[i]);
	}
	free(s->list);
	free(s->deleted);
	free(s->kept);
	mutex_destroy(&s->create_mu);
	mutex_destroy(&s->sync_mu);
	mutex_destroy(&s->mu);
	free(s);
}

/* The index of segment `number` in the list, or where it belongs. */
static size_t segments_find(const struct segments *s, uint64_t number) REQUIRES(s->mu)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->list[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Look at how much an open file occupies by now. That of a closed one has not changed. */
static void segments_look_at_size(struct segments *s, struct segment *g) REQUIRES(s->mu)
{
	uint64_t size, allocated;

	if (g->file && !s->st->ops->size(g->file, &size, &allocated))
		g->allocated = allocated;
}

/* Close files that are not in use. Returns how many were closed. */
static size_t segments_close_unused(struct segments *s) REQUIRES(s->mu)
{
	size_t closed = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct segment *g = s->list[i];

		if (!g->file || g->users || g->dirty || g == s->current)
			continue;
		segments_look_at_size(s, g);
		storage_close(g->file);
		g->file = NULL;
		s->files--;
		closed++;
	}
	return closed;
}

static int segments_open_file(struct segments *s, struct segment *g) REQUIRES(s->mu)
{
	char name[SEGMENT_NAME_BYTES];
	int err;

	segment_name(name, g->number);
	/* Not storage_open_file(): when descriptors run out, that calls segments_close_idle(). */
	err = s->st->ops->open(s->st, name, STORAGE_WRITE, &g->file);
	if (err == -EROFS || err == -EACCES)
		err = s->st->ops->open(s->st, name, STORAGE_READ, &g->file);
	if (err)
		g->file = NULL;
	return err;
}

/* The open file of `g`, which stays open until segments_drop_file(). */
static int segments_take_file(struct segments *s, struct segment *g, struct storage_file **out)
	REQUIRES(s->mu)
{
	int err = 0;

	*out = NULL;
	if (g->missing)
		return -ENOENT;
	if (!g->file) {
		if (s->files >= FILES_MAX)
			segments_close_unused(s);
		err = segments_open_file(s, g);
		if ((err == -EMFILE || err == -ENFILE) && segments_close_unused(s))
			err = segments_open_file(s, g);
		if (err)
			return err;
		s->files++;
	}
	g->users++;
	*out = g->file;
	return 0;
}

static void segments_drop_file(struct segments *s, struct segment *g)
{
	mutex_lock(&s->mu);
	assert(g->file && g->users);
	g->users--;
	mutex_unlock(&s->mu);
}

size_t segments_close_idle(struct segments *s)
{
	size_t closed;

	mutex_lock(&s->mu);
	closed = segments_close_unused(s);
	mutex_unlock(&s->mu);
	return closed;
}

/* Put `g` into the list. 0; -ENOMEM. */
static int segments_insert(struct segments *s, struct segment *g) REQUIRES(s->mu)
{
	size_t at = segments_find(s, g->number);

	if (array_reserve(s->list, s->room, s->count + 1))
		return -ENOMEM;
	memmove(s->list + at + 1, s->list + at, (s->count - at) * sizeof(*s->list));
	s->list[at] = g;
	s->count++;
	return 0;
}

int segments_add(struct segments *s, uint64_t number, enum segments_added *added)
{
	struct segment *g = calloc(1, sizeof(*g));
	struct storage_file *f;
	size_t at;
	int err;

	*added = SEGMENTS_ADDED;
	if (!g)
		return -ENOMEM;
	g->number = number;
	g->sealed = true;
	g->mark = UINT64_MAX;
	/* This reference keeps it until everything that needs a segment has been found. */
	g->refs = 1;
	g->opening = true;
	mutex_lock(&s->mu);
	at = segments_find(s, number);
	if (at < s->count && s->list[at]->number == number)
		*added = SEGMENTS_ADDED_BEFORE;
	err = *added == SEGMENTS_ADDED ? segments_insert(s, g) : 0;
	if (err || *added == SEGMENTS_ADDED_BEFORE) {
		mutex_unlock(&s->mu);
		free(g);
		return err;
	}
	err = segments_take_file(s, g, &f);
	if (!err) {
		err = s->st->ops->size(f, &g->size, &g->allocated);
		g->users--;
	}
	g->missing = err == -ENOENT;
	mutex_unlock(&s->mu);
	if (!g->missing)
		return err;
	*added = SEGMENTS_ADDED_MISSING;
	return 0;
}

/* Unlink the file of a segment that is no longer in the list. */
static void segments_unlink(struct segments *s, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];
	int err;

	segment_name(name, number);
	err = s->st->ops->unlink(s->st, name);
	if (err && err != -ENOENT && err != -EROFS)
		report(s->report, LSM_REPORT_WARNING, "cannot delete %s: %s", name, strerror(-err));
}

/*
 * Take `g`, which has no reference left, out of the list. The caller then releases `mu` and
 * calls segments_discard(), because deleting a large file takes a while.
 */
static void segments_detach(struct segments *s, struct segment *g) REQUIRES(s->mu)
{
	size_t at = segments_find(s, g->number);

	assert(!g->refs && !g->users && s->list[at] == g);
	memmove(s->list + at, s->list + at + 1, (s->count - at - 1) * sizeof(*s->list));
	s->count--;
	s->files -= g->file != NULL;
	g->keep_file = s->hold;
	/* Without memory for either number the next open cleans up instead. */
	if (s->hold && !array_reserve(s->kept, s->kept_room, s->kept_count + 1))
		s->kept[s->kept_count++] = g->number;
	if (!array_reserve(s->deleted, s->deleted_room, s->deleted_count + 1))
		s->deleted[s->deleted_count++] = g->number;
}

static void segments_discard(struct segments *s, struct segment *g)
{
	if (!g)
		return;
	storage_close(g->file);
	if (!g->keep_file && !g->missing)
		segments_unlink(s, g->number);
	free(g);
}

void segments_drop_unused(struct segments *s)
{
	size_t i = 0;

	mutex_lock(&s->mu);
	while (i < s->count) {
		struct segment *g = s->list[i];

		if (!g->opening) {
			i++;
			continue;
		}
		g->opening = false;
		if (--g->refs) {
			i++;
			continue;
		}
		segments_detach(s, g);
		mutex_unlock(&s->mu);
		segments_discard(s, g);
		mutex_lock(&s->mu);
	}
	mutex_unlock(&s->mu);
}

void segments_hold_deletes(struct segments *s, bool hold)
{
	mutex_lock(&s->mu);
	s->hold = hold;
	for (size_t i = 0; !hold && i < s->kept_count; i++)
		segments_unlink(s, s->kept[i]);
	if (!hold)
		s->kept_count = 0;
	mutex_unlock(&s->mu);
}

struct segment *segments_get(struct segments *s, uint64_t number)
{
	struct segment *g = NULL;
	size_t at;

	mutex_lock(&s->mu);
	at = segments_find(s, number);
	if (at < s->count && s->list[at]->number == number) {
		g = s->list[at];
		g->refs++;
	}
	mutex_unlock(&s->mu);
	return g;
}

void segment_ref_drop(struct segments *s, struct segment *g)
{
	bool dead;

	if (!g)
		return;
	mutex_lock(&s->mu);
	assert(g->refs > 0);
	dead = !--g->refs && g->sealed;
	if (dead)
		segments_detach(s, g);
	mutex_unlock(&s->mu);
	if (dead)
		segments_discard(s, g);
}

uint64_t segment_number(const struct segment *g)
{
	return g->number;
}

/* ---- writing ---- */

/* Reserve `bytes` in the current segment, and take a reference to it. NULL: it is full. */
static struct segment *segments_reserve(struct segments *s, uint64_t bytes, uint64_t *offset)
	REQUIRES(s->mu)
{
	struct segment *g = s->current;

	if (!g || (g->size && g->size + bytes > s->segment_bytes))
		return NULL;
	*offset = g->size;
	g->size += bytes;
	g->refs++;
	return g;
}

/*
 * Seal the current segment, if there is one. Returns it if it has no reference: the caller
 * then releases `mu` and calls segments_discard().
 */
static struct segment *segments_seal_current(struct segments *s) REQUIRES(s->mu)
{
	struct segment *g = s->current;

	s->current = NULL;
	if (!g)
		return NULL;
	g->sealed = true;
	if (g->refs)
		return NULL;
	segments_detach(s, g);
	return g;
}

void segments_seal(struct segments *s, uint64_t number)
{
	struct segment *dead = NULL;

	mutex_lock(&s->mu);
	if (s->current && (!number || s->current->number == number))
		dead = segments_seal_current(s);
	mutex_unlock(&s->mu);
	segments_discard(s, dead);
}

static int segments_start(struct segments *s)
{
	struct segment *g = calloc(1, sizeof(*g)), *dead = NULL;
	struct storage_file *f;
	int err;

	if (!g)
		return -ENOMEM;
	g->mark = UINT64_MAX;
	err = s->fresh(s->fresh_ctx, &g->number);
	mutex_lock(&s->mu);
	if (!err)
		err = segments_take_file(s, g, &f);
	if (!err) {
		g->users--; /* the current one's file stays open in any case */
		err = segments_insert(s, g);
	}
	if (!err) {
		dead = segments_seal_current(s);
		s->current = g;
	} else {
		s->files -= g->file != NULL;
	}
	mutex_unlock(&s->mu);
	segments_discard(s, dead);
	if (err) {
		storage_close(g->file);
		free(g);
	}
	return err;
}

static int segments_reserve_wait(struct segments *s, uint64_t bytes, struct segment **out,
				 uint64_t *offset)
{
	int err = 0;

	mutex_lock(&s->mu);
	*out = segments_reserve(s, bytes, offset);
	mutex_unlock(&s->mu);
	if (*out)
		return 0;
	mutex_lock(&s->create_mu);
	mutex_lock(&s->mu);
	*out = segments_reserve(s, bytes, offset); /* another thread may have made one */
	mutex_unlock(&s->mu);
	while (!err && !*out) {
		err = segments_start(s);
		if (!err) {
			mutex_lock(&s->mu);
			*out = segments_reserve(s, bytes, offset);
			mutex_unlock(&s->mu);
		}
	}
	mutex_unlock(&s->create_mu);
	return err;
}

static uint64_t segments_padded(size_t size)
{
	return ((uint64_t)size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK * SEGMENT_CHUNK;
}

/* Write values that lie one after the other, zeros between them, in few large calls. */
static int segments_write_values(struct storage_file *f, struct segment_write *writes, size_t count)
{
	static const uint8_t zeros[SEGMENT_CHUNK];
	struct iovec iov[64];
	size_t i = 0;

	while (i < count) {
		uint64_t start = writes[i].offset;
		int n = 0, err;

		for (; i < count && n + 2 <= 64; i++) {
			size_t size = writes[i].data.size, pad = segments_padded(size) - size;

			iov[n++] = (struct iovec){(void *)writes[i].data.data, size};
			if (pad)
				iov[n++] = (struct iovec){(void *)zeros, pad};
		}
		err = storage_pwritev(f, iov, n, start);
		if (err)
			return err;
	}
	return 0;
}

int segments_write(struct segments *s, struct segment_write *writes, size_t count,
		   struct segment **out)
{
	uint64_t total = 0, offset, start, end;
	struct storage_file *f;
	struct segment *g;
	int err;

	*out = NULL;
	for (size_t i = 0; i < count; i++)
		total += segments_padded(writes[i].data.size);
	err = segments_reserve_wait(s, total, &g, &offset);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		writes[i].offset = offset;
		offset += segments_padded(writes[i].data.size);
	}
	mutex_lock(&s->mu);
	err = segments_take_file(s, g, &f);
	mutex_unlock(&s->mu);
	if (!err) {
		err = segments_write_values(f, writes, count);
		mutex_lock(&s->mu);
		g->dirty = true;
		s->bytes_written += total;
		start = g->started;
		end = g->size;
		if (end - start >= START_WRITE_BYTES)
			g->started = end;
		mutex_unlock(&s->mu);
		if (end - start >= START_WRITE_BYTES && s->st->ops->start_write)
			s->st->ops->start_write(f, start, end - start);
		segments_drop_file(s, g);
	}
	if (err) {
		segment_ref_drop(s, g);
		return err;
	}
	*out = g;
	return 0;
}

int segments_sync(struct segments *s)
{
	int err = 0;

	/* A sync of another thread counts only when it has succeeded, so wait for it. */
	mutex_lock(&s->sync_mu);
	while (!err) {
		struct storage_file *f = NULL;
		struct segment *g = NULL;

		mutex_lock(&s->mu);
		err = s->sync_error;
		/* Dirty ones are near the end: older ones were synced and are not written to. */
		for (size_t i = s->count; !err && !g && i-- > 0;)
			if (s->list[i]->dirty)
				g = s->list[i];
		if (g) {
			err = segments_take_file(s, g, &f); /* a dirty one is open */
			g->dirty = false;
			g->refs++;
		}
		mutex_unlock(&s->mu);
		if (!g)
			break;
		if (!err)
			err = storage_sync(f);
		mutex_lock(&s->mu);
		g->users -= f != NULL;
		if (err)
			s->sync_error = err;
		mutex_unlock(&s->mu);
		segment_ref_drop(s, g);
	}
	mutex_unlock(&s->sync_mu);
	return err;
}

/* ---- reading ---- */

/* The segment of `ref`, with a reference, and its open file. -EUCLEAN if there is none. */
static int segments_open_ref(struct segments *s, const struct report *rep,
			     const struct segment_ref *ref, struct segment **out,
			     struct storage_file **f)
{
	char name[SEGMENT_NAME_BYTES];
	int err = -ENOENT;

	*out = segments_get(s, ref->segment);
	if (*out) {
		mutex_lock(&s->mu);
		err = segments_take_file(s, *out, f);
		mutex_unlock(&s->mu);
		if (!err)
			return 0;
		segment_ref_drop(s, *out);
	}
	segment_name(name, ref->segment);
	/* The repair that put the reference there has reported the loss. */
	if (ref->segment == SEGMENT_LOST)
		err = report_malformed(NULL, "a repair found this value lost");
	else if (err == -ENOENT)
		err = report_corrupt(rep, name, ref->offset, "the segment is missing");
	assert(err < 0);
	return err;
}

static int segments_read_part(struct segments *s, const struct report *rep,
			      const struct segment_ref *ref, uint32_t offset, void *buf,
			      uint32_t size)
{
	struct storage_file *f;
	struct segment *g;
	int err = segments_open_ref(s, rep, ref, &g, &f);

	if (err)
		return err;
	err = segment_read(f, rep, ref, offset, buf, size);
	segments_drop_file(s, g);
	segment_ref_drop(s, g);
	return err;
}

int segments_read(struct segments *s, const struct segment_ref *ref, uint32_t offset, void *buf,
		  uint32_t size)
{
	return segments_read_part(s, s->report, ref, offset, buf, size);
}

int segments_probe(struct segments *s, const struct segment_ref *ref, struct buf *scratch,
		   bool rewrite)
{
	static const struct report none; /* drops all messages */
	struct storage_file *f;
	struct segment *g;
	int err;

	scratch->size = 0;
	if (buf_reserve(scratch, ref->size))
		return -ENOMEM;
	err = segments_open_ref(s, &none, ref, &g, &f);
	if (err)
		return err;
	err = segment_read(f, &none, ref, 0, scratch->data, ref->size);
	if (!err && rewrite) {
		g->dirty = true;
		err = storage_pwrite(f, scratch->data, ref->size, ref->offset + ref->skip);
	}
	/* The size is made dirty in the same way, once. */
	if (!err && rewrite && !g->grown) {
		g->grown = true;
		g->size += SEGMENT_CHUNK;
		err = s->st->ops->truncate(f, g->size);
	}
	segments_drop_file(s, g);
	segment_ref_drop(s, g);
	return err;
}

/* ---- for the garbage collector and statistics ---- */

int segments_list(struct segments *s, struct segment_info **out, size_t *count)
{
	int err = 0;

	mutex_lock(&s->mu);
	*count = 0;
	*out = calloc(s->count + 1, sizeof(**out));
	if (!*out)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < s->count; i++) {
		struct segment *g = s->list[i];
		struct segment_info *info = &(*out)[*count];

		segments_look_at_size(s, g);
		*info = (struct segment_info){.number = g->number,
					      .size = g->size,
					      .allocated = g->allocated,
					      .refs = g->refs,
					      .sealed = g->sealed,
					      .stuck = g->stuck,
					      .punched_at_live = g->mark};
		++*count;
	}
	mutex_unlock(&s->mu);
	if (err) {
		free(*out);
		*out = NULL;
		*count = 0;
	}
	return err;
}

void segments_set_mark(struct segments *s, uint64_t number, uint64_t live)
{
	size_t at;

	mutex_lock(&s->mu);
	at = segments_find(s, number);
	if (at < s->count && s->list[at]->number == number)
		s->list[at]->mark = live;
	mutex_unlock(&s->mu);
}

void segments_set_stuck(struct segments *s, uint64_t number)
{
	size_t at;

	mutex_lock(&s->mu);
	at = segments_find(s, number);
	if (at < s->count && s->list[at]->number == number)
		s->list[at]->stuck = true;
	mutex_unlock(&s->mu);
}

int segments_punch(struct segments *s, uint64_t number, uint64_t offset, uint64_t size)
{
	struct segment *g = segments_get(s, number);
	struct storage_file *f;
	int err;

	if (!g)
		return 0;
	mutex_lock(&s->mu);
	err = segments_take_file(s, g, &f);
	mutex_unlock(&s->mu);
	if (!err) {
		err = s->st->ops->punch(f, offset, size);
		mutex_lock(&s->mu);
		segments_look_at_size(s, g);
		g->users--;
		mutex_unlock(&s->mu);
	}
	segment_ref_drop(s, g);
	return err == -ENOENT ? 0 : err;
}

void segments_stats(struct segments *s, uint64_t *count, uint64_t *bytes, uint64_t *written)
{
	mutex_lock(&s->mu);
	*count = s->count;
	*bytes = 0;
	for (size_t i = 0; i < s->count; i++) {
		segments_look_at_size(s, s->list[i]);
		*bytes += s->list[i]->allocated;
	}
	*written = s->bytes_written;
	mutex_unlock(&s->mu);
}

void segments_take_deleted(struct segments *s, uint64_t **numbers, size_t *count)
{
	mutex_lock(&s->mu);
	*numbers = s->deleted;
	*count = s->deleted_count;
	s->deleted = NULL;
	s->deleted_count = s->deleted_room = 0;
	mutex_unlock(&s->mu);
}
