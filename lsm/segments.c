/*
 * segments.c - the set of segment files; see segments.h.
 *
 * `mu` guards the list, the references, and where the next value goes. A writer
 * reserves room under it and writes outside it, so that writers of large values
 * run side by side. `dirty` says that a write has finished that was not synced.
 *
 * Only the newest segment is written to. It is sealed when the next value would
 * make it longer than segment_bytes; a group of values is never split.
 */
#include "segments.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct segment {
	uint64_t number;           /* constant */
	struct storage_file *file; /* constant; NULL when the file is missing */
	/* guarded by segments.mu */
	uint64_t size; /* reserved up to here */
	uint64_t mark;
	int refs;
	bool sealed, dirty, keep_file;
	bool grown;   /* by segments_probe() */
	bool opening; /* one of the references is the opening's own */
};

struct segments {
	struct storage *st;
	const struct report *report;
	uint64_t segment_bytes;
	segments_new_fn *fresh;
	void *fresh_ctx;

	pthread_mutex_t create_mu; /* one new segment at a time; before mu */
	pthread_mutex_t sync_mu;   /* one sync at a time; before mu */
	pthread_mutex_t mu;
	struct segment **list; /* ascending by number */
	size_t count, room;
	struct segment *current; /* written to; NULL: none yet */
	uint64_t *deleted;
	size_t deleted_count;
	uint64_t *kept; /* dead, but their files must stay for now */
	size_t kept_count;
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
	pthread_mutex_init(&s->create_mu, NULL);
	pthread_mutex_init(&s->sync_mu, NULL);
	pthread_mutex_init(&s->mu, NULL);
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
	pthread_mutex_destroy(&s->create_mu);
	pthread_mutex_destroy(&s->sync_mu);
	pthread_mutex_destroy(&s->mu);
	free(s);
}

static size_t find(const struct segments *s, uint64_t number)
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

static int push_number(uint64_t **list, size_t *count, uint64_t number)
{
	uint64_t *grown = realloc(*list, (*count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[(*count)++] = number;
	*list = grown;
	return 0;
}

/* mu held (or at open) */
static int insert(struct segments *s, struct segment *g)
{
	size_t at = find(s, g->number);

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 16;
		struct segment **list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->room = room;
	}
	memmove(s->list + at + 1, s->list + at, (s->count - at) * sizeof(*s->list));
	s->list[at] = g;
	s->count++;
	return 0;
}

int segments_add(struct segments *s, uint64_t number)
{
	size_t at = find(s, number);
	struct segment *g;
	char name[SEGMENT_NAME_BYTES];
	uint64_t allocated;
	bool missing;
	int err;

	if (at < s->count && s->list[at]->number == number)
		return -EUCLEAN;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	segment_name(name, number);
	g->number = number;
	g->sealed = true;
	g->mark = UINT64_MAX;
	/* Until all who need it have been found, nobody's last look may delete it. */
	g->refs = 1;
	g->opening = true;
	err = storage_open_file(s->st, name, STORAGE_WRITE, &g->file);
	if (err == -EROFS)
		err = storage_open_file(s->st, name, STORAGE_READ, &g->file);
	missing = err == -ENOENT;
	/* A killed process may have left bytes that no sync has reached. */
	g->dirty = !missing;
	if (missing)
		err = 0;
	else if (!err)
		err = s->st->ops->size(g->file, &g->size, &allocated);
	if (!err)
		err = insert(s, g);
	if (err) {
		storage_close(g->file);
		free(g);
		return err;
	}
	return missing;
}

/* Unlink the file of a segment that is no longer in the list. */
static void unlink_file(struct segments *s, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];
	int err;

	segment_name(name, number);
	err = s->st->ops->unlink(s->st, name);
	if (err && err != -ENOENT && err != -EROFS)
		report(s->report, LSM_REPORT_WARNING, "cannot delete %s: %s", name, strerror(-err));
}

/*
 * Take `g`, which has no reference left, out of the list. mu held. The caller
 * then calls discard() without it: deleting a large file takes a while.
 */
static void detach(struct segments *s, struct segment *g)
{
	size_t at = find(s, g->number);

	memmove(s->list + at, s->list + at + 1, (s->count - at - 1) * sizeof(*s->list));
	s->count--;
	g->keep_file = s->hold;
	/* Out of memory in either push only means that the next open cleans up. */
	if (s->hold)
		push_number(&s->kept, &s->kept_count, g->number);
	push_number(&s->deleted, &s->deleted_count, g->number);
}

static void discard(struct segments *s, struct segment *g)
{
	if (!g)
		return;
	storage_close(g->file);
	if (!g->keep_file)
		unlink_file(s, g->number);
	free(g);
}

void segments_drop_unused(struct segments *s)
{
	size_t i = 0;

	pthread_mutex_lock(&s->mu);
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
		detach(s, g);
		pthread_mutex_unlock(&s->mu);
		discard(s, g);
		pthread_mutex_lock(&s->mu);
	}
	pthread_mutex_unlock(&s->mu);
}

void segments_hold_deletes(struct segments *s, bool hold)
{
	pthread_mutex_lock(&s->mu);
	s->hold = hold;
	for (size_t i = 0; !hold && i < s->kept_count; i++)
		unlink_file(s, s->kept[i]);
	if (!hold)
		s->kept_count = 0;
	pthread_mutex_unlock(&s->mu);
}

struct segment *segments_get(struct segments *s, uint64_t number)
{
	struct segment *g = NULL;
	size_t at;

	pthread_mutex_lock(&s->mu);
	at = find(s, number);
	if (at < s->count && s->list[at]->number == number) {
		g = s->list[at];
		g->refs++;
	}
	pthread_mutex_unlock(&s->mu);
	return g;
}

void segment_ref_drop(struct segments *s, struct segment *g)
{
	bool dead;

	if (!g)
		return;
	pthread_mutex_lock(&s->mu);
	dead = !--g->refs && g->sealed;
	if (dead)
		detach(s, g);
	pthread_mutex_unlock(&s->mu);
	if (dead)
		discard(s, g);
}

uint64_t segment_number(const struct segment *g)
{
	return g->number;
}

/* ---- writing ---- */

/* Room for `bytes` in the current segment, with a reference; NULL: it is full. mu held. */
static struct segment *reserve(struct segments *s, uint64_t bytes, uint64_t *offset)
{
	struct segment *g = s->current;

	if (!g || (g->size && g->size + bytes > s->segment_bytes))
		return NULL;
	*offset = g->size;
	g->size += bytes;
	g->refs++;
	return g;
}

/* Seal the current segment, if any. Returns it if nobody needs it: discard() it. mu held. */
static struct segment *seal(struct segments *s)
{
	struct segment *g = s->current;

	s->current = NULL;
	if (!g)
		return NULL;
	g->sealed = true;
	if (g->refs)
		return NULL;
	detach(s, g);
	return g;
}

void segments_seal(struct segments *s, uint64_t number)
{
	struct segment *dead = NULL;

	pthread_mutex_lock(&s->mu);
	if (s->current && (!number || s->current->number == number))
		dead = seal(s);
	pthread_mutex_unlock(&s->mu);
	discard(s, dead);
}

static int start_segment(struct segments *s)
{
	struct segment *g = calloc(1, sizeof(*g)), *dead = NULL;
	char name[SEGMENT_NAME_BYTES];
	int err;

	if (!g)
		return -ENOMEM;
	g->mark = UINT64_MAX;
	err = s->fresh(s->fresh_ctx, &g->number);
	if (err)
		goto fail;
	segment_name(name, g->number);
	err = storage_open_file(s->st, name, STORAGE_WRITE, &g->file);
	if (err)
		goto fail;
	pthread_mutex_lock(&s->mu);
	err = insert(s, g);
	if (!err) {
		dead = seal(s);
		s->current = g;
	}
	pthread_mutex_unlock(&s->mu);
	discard(s, dead);
	if (!err)
		return 0;
fail:
	storage_close(g->file);
	free(g);
	return err;
}

static int reserve_wait(struct segments *s, uint64_t bytes, struct segment **out, uint64_t *offset)
{
	int err = 0;

	pthread_mutex_lock(&s->mu);
	*out = reserve(s, bytes, offset);
	pthread_mutex_unlock(&s->mu);
	if (*out)
		return 0;
	pthread_mutex_lock(&s->create_mu);
	pthread_mutex_lock(&s->mu);
	*out = reserve(s, bytes, offset); /* somebody else may have made one */
	pthread_mutex_unlock(&s->mu);
	while (!err && !*out) {
		err = start_segment(s);
		if (!err) {
			pthread_mutex_lock(&s->mu);
			*out = reserve(s, bytes, offset);
			pthread_mutex_unlock(&s->mu);
		}
	}
	pthread_mutex_unlock(&s->create_mu);
	return err;
}

static uint64_t padded(size_t size)
{
	return ((uint64_t)size + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK * SEGMENT_CHUNK;
}

/* Write runs of values, with zeros between them, in as few calls as the vector allows. */
static int write_values(struct segment *g, struct segment_write *writes, size_t count)
{
	static const uint8_t zeros[SEGMENT_CHUNK];
	struct iovec iov[64];
	size_t i = 0;

	while (i < count) {
		uint64_t start = writes[i].offset;
		int n = 0, err;

		for (; i < count && n + 2 <= 64; i++) {
			size_t size = writes[i].data.size, pad = padded(size) - size;

			iov[n++] = (struct iovec){(void *)writes[i].data.data, size};
			if (pad)
				iov[n++] = (struct iovec){(void *)zeros, pad};
		}
		err = storage_pwritev(g->file, iov, n, start);
		if (err)
			return err;
	}
	return 0;
}

int segments_write(struct segments *s, struct segment_write *writes, size_t count,
		   struct segment **out)
{
	uint64_t total = 0, offset;
	struct segment *g;
	int err;

	*out = NULL;
	for (size_t i = 0; i < count; i++)
		total += padded(writes[i].data.size);
	err = reserve_wait(s, total, &g, &offset);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		writes[i].offset = offset;
		offset += padded(writes[i].data.size);
	}
	err = write_values(g, writes, count);
	pthread_mutex_lock(&s->mu);
	g->dirty = true;
	s->bytes_written += total;
	pthread_mutex_unlock(&s->mu);
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

	/* What another thread is syncing right now counts only when it has succeeded. */
	pthread_mutex_lock(&s->sync_mu);
	while (!err) {
		struct segment *g = NULL;

		pthread_mutex_lock(&s->mu);
		err = s->sync_error;
		/* Dirty ones are near the end; older ones were synced and are not written again. */
		for (size_t i = s->count; !err && !g && i-- > 0;)
			if (s->list[i]->dirty)
				g = s->list[i];
		if (g) {
			g->dirty = false;
			g->refs++;
		}
		pthread_mutex_unlock(&s->mu);
		if (!g)
			break;
		err = storage_sync(g->file);
		if (err) {
			pthread_mutex_lock(&s->mu);
			s->sync_error = err;
			pthread_mutex_unlock(&s->mu);
		}
		segment_ref_drop(s, g);
	}
	pthread_mutex_unlock(&s->sync_mu);
	return err;
}

/* ---- reading ---- */

static int read_part(struct segments *s, const struct report *rep, const struct segment_ref *ref,
		     uint32_t offset, void *buf, uint32_t size)
{
	struct segment *g = segments_get(s, ref->segment);
	char name[SEGMENT_NAME_BYTES];
	int err;

	if (!g || !g->file) {
		segment_ref_drop(s, g);
		segment_name(name, ref->segment);
		return report_corrupt(rep, name, ref->offset, "the segment is missing");
	}
	err = segment_read(g->file, rep, ref, offset, buf, size);
	segment_ref_drop(s, g);
	return err;
}

int segments_read(struct segments *s, const struct segment_ref *ref, uint32_t offset, void *buf,
		  uint32_t size)
{
	return read_part(s, s->report, ref, offset, buf, size);
}

int segments_probe(struct segments *s, const struct segment_ref *ref, struct buf *scratch,
		   bool rewrite)
{
	static const struct report silent;
	struct segment *g;
	int err;

	scratch->size = 0;
	if (buf_reserve(scratch, ref->size))
		return -ENOMEM;
	err = read_part(s, &silent, ref, 0, scratch->data, ref->size);
	if (err || !rewrite)
		return err;
	g = segments_get(s, ref->segment);
	err = storage_pwrite(g->file, scratch->data, ref->size, ref->offset + ref->skip);
	/* The same goes for the size: changing it once makes it dirty. */
	if (!err && !g->grown) {
		g->grown = true;
		g->size += SEGMENT_CHUNK;
		err = s->st->ops->truncate(g->file, g->size);
	}
	segment_ref_drop(s, g);
	return err;
}

/* ---- for the garbage collector and statistics ---- */

int segments_list(struct segments *s, struct segment_info **out, size_t *count)
{
	int err = 0;

	pthread_mutex_lock(&s->mu);
	*count = 0;
	*out = calloc(s->count + 1, sizeof(**out));
	if (!*out)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < s->count; i++) {
		struct segment *g = s->list[i];
		struct segment_info *info = &(*out)[*count];
		uint64_t size;

		*info = (struct segment_info){.number = g->number,
					      .size = g->size,
					      .refs = g->refs,
					      .sealed = g->sealed,
					      .punched_at_live = g->mark};
		if (g->file)
			err = s->st->ops->size(g->file, &size, &info->allocated);
		++*count;
	}
	pthread_mutex_unlock(&s->mu);
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

	pthread_mutex_lock(&s->mu);
	at = find(s, number);
	if (at < s->count && s->list[at]->number == number)
		s->list[at]->mark = live;
	pthread_mutex_unlock(&s->mu);
}

int segments_punch(struct segments *s, uint64_t number, uint64_t offset, uint64_t size)
{
	struct segment *g = segments_get(s, number);
	int err = 0;

	if (g && g->file)
		err = s->st->ops->punch(g->file, offset, size);
	segment_ref_drop(s, g);
	return err;
}

void segments_stats(struct segments *s, uint64_t *count, uint64_t *bytes, uint64_t *written)
{
	uint64_t size, allocated;

	pthread_mutex_lock(&s->mu);
	*count = s->count;
	*bytes = 0;
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i]->file && !s->st->ops->size(s->list[i]->file, &size, &allocated))
			*bytes += allocated;
	*written = s->bytes_written;
	pthread_mutex_unlock(&s->mu);
}

void segments_take_deleted(struct segments *s, uint64_t **numbers, size_t *count)
{
	pthread_mutex_lock(&s->mu);
	*numbers = s->deleted;
	*count = s->deleted_count;
	s->deleted = NULL;
	s->deleted_count = 0;
	pthread_mutex_unlock(&s->mu);
}
