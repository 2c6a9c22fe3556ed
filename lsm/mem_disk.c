/*
 * mem_disk.c - a disk and the page cache before it, as far as a power cut can
 * tell them apart.
 *
 * A file is a row of slots of 4 KiB. Each slot has the page that programs see
 * and the page that is surely on disk, and a bit for each sector of 512 bytes
 * that the next sync will carry over:
 *
 *     slot      now        disk      dirty
 *       0       page A     page A    0          synced
 *       1       page B'    page B    00000110   sectors 1 and 2 written since
 *       2       page C     NULL      11111111   written for the first time
 *       3       NULL       page D    11111111   punched
 *
 * Pages are shared and counted: between `now` and `disk`, and between a disk and
 * its copies, in whatever threads these live. A page is written in place only
 * by its single owner. So a copy of a disk costs pointers, not bytes, and
 * thousands of cuts through a store of some MiB are cheap.
 *
 * Invariants, unless a sync failed (`lost`): a sector that is not dirty is the
 * same in both pages. Always: bytes of `now` beyond the size are zeros.
 *
 * Names are kept as they are now, as they surely are on disk, and as the list
 * of changes between the two. A cut (mem_disk_settle) starts from the durable
 * names and does any subset of the changes, in their order. A file is under at most one
 * name: a rename that is done takes it from wherever it was, also when
 * the change that put it there was not done.
 *
 * For the content of a file a cut takes each dirty sector old or new, and the
 * size old, new or, if it grew, between. A file that became shorter keeps either
 * its old size with its old bytes or the new one, as filesystems free
 * space and change the size in one transaction.
 */
#include "mem_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SECTORS (MEM_PAGE_BYTES / MEM_SECTOR_BYTES)
#define ALL_DIRTY 0xff

_Static_assert(SECTORS == 8, "mem_slot.dirty has a bit per sector");

struct mem_page {
	_Atomic unsigned refs;
	uint8_t bytes[MEM_PAGE_BYTES];
};

/* Reserved space that nobody wrote to. Its first reference is its own: never freed or written. */
static struct mem_page reserved = {.refs = 1};

uint64_t mem_rng_next(struct mem_rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t mem_rng_below(struct mem_rng *rng, uint64_t below)
{
	return mem_rng_next(rng) % below;
}

/* Make room in the array `*v` for `want` elements of `size` bytes. 0; -ENOMEM. */
static int grow(void *v, size_t *capacity, size_t want, size_t size)
{
	size_t next = *capacity ? *capacity : 8;
	void *grown;

	if (want <= *capacity)
		return 0;
	while (next < want)
		next *= 2;
	memcpy(&grown, v, sizeof(grown));
	grown = realloc(grown, next * size);
	if (!grown)
		return -ENOMEM;
	memcpy(v, &grown, sizeof(grown));
	*capacity = next;
	return 0;
}

/* ---- pages ---- */

static struct mem_page *page_ref(struct mem_page *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

static void page_unref(struct mem_page *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		free(p);
}

static struct mem_page *page_copy(const struct mem_page *from)
{
	struct mem_page *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	atomic_init(&p->refs, 1);
	if (from)
		memcpy(p->bytes, from->bytes, sizeof(p->bytes));
	else
		memset(p->bytes, 0, sizeof(p->bytes));
	return p;
}

/* Make `*p` a page that only its slot has, to be written in place. 0; -ENOMEM. */
static int page_own(struct mem_page **p)
{
	struct mem_page *copy;

	if (*p && atomic_load_explicit(&(*p)->refs, memory_order_acquire) == 1)
		return 0;
	copy = page_copy(*p);
	if (!copy)
		return -ENOMEM;
	page_unref(*p);
	*p = copy;
	return 0;
}

/* A page of `old` with the sectors in `mask` from `new`; NULL stands for zeros. NULL: no memory. */
static struct mem_page *page_mix(const struct mem_page *old, const struct mem_page *new,
				 uint8_t mask)
{
	struct mem_page *p = page_copy(old);

	for (size_t s = 0; p && s < SECTORS; s++) {
		uint8_t *at = p->bytes + s * MEM_SECTOR_BYTES;

		if (!(mask & 1u << s))
			continue;
		if (new)
			memcpy(at, new->bytes + s * MEM_SECTOR_BYTES, MEM_SECTOR_BYTES);
		else
			memset(at, 0, MEM_SECTOR_BYTES);
	}
	return p;
}

/* The sectors that [from, to) of a page touches. */
static uint8_t sector_mask(size_t from, size_t to)
{
	unsigned first = (unsigned)(from / MEM_SECTOR_BYTES);
	unsigned end = (unsigned)((to + MEM_SECTOR_BYTES - 1) / MEM_SECTOR_BYTES);

	return (uint8_t)((1u << end) - (1u << first));
}

/* ---- the content of files ---- */

static size_t pages_of(uint64_t size)
{
	return (size_t)((size + MEM_PAGE_BYTES - 1) / MEM_PAGE_BYTES);
}

static int node_reserve(struct mem_node *n, uint64_t size)
{
	size_t want = pages_of(size);

	if (size > MEM_FILE_BYTES_MAX)
		return -EFBIG;
	if (grow(&n->slots, &n->slots_capacity, want, sizeof(*n->slots)))
		return -ENOMEM;
	while (n->slots_count < want)
		n->slots[n->slots_count++] = (struct mem_slot){NULL, NULL, 0};
	return 0;
}

static bool node_is_live(const struct mem_node *n)
{
	return n->linked || n->handles;
}

static void count_page(struct mem_disk *d, struct mem_node *n, bool more)
{
	n->pages += more ? 1 : (uint64_t)-1;
	if (node_is_live(n))
		d->pages += more ? 1 : (uint64_t)-1;
}

static void mark_dirty(struct mem_node *n, size_t i, uint8_t mask)
{
	if (n->dirty_from == n->dirty_to) {
		n->dirty_from = i;
		n->dirty_to = i + 1;
	}
	if (i < n->dirty_from)
		n->dirty_from = i;
	if (i >= n->dirty_to)
		n->dirty_to = i + 1;
	n->slots[i].dirty |= mask;
}

/* Make slot `i` writable in place. */
static int slot_own(struct mem_disk *d, struct mem_node *n, size_t i)
{
	bool fresh = !n->slots[i].now;
	int err = page_own(&n->slots[i].now);

	if (!err && fresh)
		count_page(d, n, true);
	return err;
}

static void slot_drop(struct mem_disk *d, struct mem_node *n, size_t i)
{
	if (n->slots[i].now) {
		page_unref(n->slots[i].now);
		n->slots[i].now = NULL;
		count_page(d, n, false);
	}
	mark_dirty(n, i, ALL_DIRTY);
}

static void set_size(struct mem_node *n, uint64_t size)
{
	if (size != n->size_now) {
		n->size_now = size;
		n->size_dirty = true;
	}
}

size_t mem_node_read(const struct mem_node *n, void *buf, size_t size, uint64_t offset)
{
	uint8_t *to = buf;
	size_t done = 0;

	if (offset >= n->size_now)
		return 0;
	if (size > n->size_now - offset)
		size = (size_t)(n->size_now - offset);
	while (done < size) {
		size_t i = (size_t)((offset + done) / MEM_PAGE_BYTES);
		size_t at = (size_t)((offset + done) % MEM_PAGE_BYTES);
		size_t part = MEM_PAGE_BYTES - at < size - done ? MEM_PAGE_BYTES - at : size - done;
		const struct mem_page *p = i < n->slots_count ? n->slots[i].now : NULL;

		if (p)
			memcpy(to + done, p->bytes + at, part);
		else
			memset(to + done, 0, part);
		done += part;
	}
	return size;
}

int mem_node_write(struct mem_disk *d, struct mem_node *n, const void *data, size_t size,
		   uint64_t offset)
{
	const uint8_t *from = data;
	int err;

	if (!size)
		return 0;
	if (offset > MEM_FILE_BYTES_MAX || size > MEM_FILE_BYTES_MAX - offset)
		return -EFBIG;
	err = node_reserve(n, offset + size);
	while (!err && size) {
		size_t i = (size_t)(offset / MEM_PAGE_BYTES);
		size_t at = (size_t)(offset % MEM_PAGE_BYTES);
		size_t part = MEM_PAGE_BYTES - at < size ? MEM_PAGE_BYTES - at : size;

		err = slot_own(d, n, i);
		if (err)
			break;
		memcpy(n->slots[i].now->bytes + at, from, part);
		mark_dirty(n, i, sector_mask(at, at + part));
		from += part;
		offset += part;
		size -= part;
		if (offset > n->size_now)
			set_size(n, offset);
	}
	return err;
}

int mem_node_allocate(struct mem_disk *d, struct mem_node *n, uint64_t size)
{
	int err = node_reserve(n, size);

	if (err)
		return err;
	for (size_t i = 0; i < pages_of(size); i++) {
		if (n->slots[i].now)
			continue;
		n->slots[i].now = page_ref(&reserved);
		count_page(d, n, true);
		mark_dirty(n, i, ALL_DIRTY);
	}
	if (size > n->size_now)
		set_size(n, size);
	return 0;
}

/* Zero [from, to), which lies within slot `i`. */
static int zero_part(struct mem_disk *d, struct mem_node *n, size_t i, size_t from, size_t to)
{
	int err;

	if (i >= n->slots_count || !n->slots[i].now || from == to)
		return 0;
	err = slot_own(d, n, i);
	if (err)
		return err;
	memset(n->slots[i].now->bytes + from, 0, to - from);
	mark_dirty(n, i, sector_mask(from, to));
	return 0;
}

int mem_node_truncate(struct mem_disk *d, struct mem_node *n, uint64_t size)
{
	size_t keep = pages_of(size), tail = (size_t)(size % MEM_PAGE_BYTES);
	int err;

	if (size > MEM_FILE_BYTES_MAX)
		return -EFBIG;
	if (size < n->size_now && tail) {
		err = zero_part(d, n, keep - 1, tail, MEM_PAGE_BYTES);
		if (err)
			return err;
	}
	for (size_t i = keep; i < n->slots_count && size < n->size_now; i++)
		slot_drop(d, n, i);
	set_size(n, size);
	return 0;
}

int mem_node_punch(struct mem_disk *d, struct mem_node *n, uint64_t offset, uint64_t size)
{
	uint64_t end = (uint64_t)n->slots_count * MEM_PAGE_BYTES;
	int err = 0;

	if (offset >= end)
		return 0;
	if (size < end - offset)
		end = offset + size;
	while (!err && offset < end) {
		size_t i = (size_t)(offset / MEM_PAGE_BYTES);
		size_t at = (size_t)(offset % MEM_PAGE_BYTES);
		uint64_t part = MEM_PAGE_BYTES - at < end - offset ? MEM_PAGE_BYTES - at
								    : end - offset;

		if (part == MEM_PAGE_BYTES)
			slot_drop(d, n, i);
		else
			err = zero_part(d, n, i, at, at + (size_t)part);
		offset += part;
	}
	return err;
}

/* Carry the dirty sectors of a slot over to the disk. */
static int slot_sync(const struct mem_node *n, struct mem_slot *s)
{
	struct mem_page *disk;

	if (n->lost && s->dirty != ALL_DIRTY) {
		disk = page_mix(s->disk, s->now, s->dirty);
		if (!disk)
			return -ENOMEM;
	} else {
		disk = page_ref(s->now);
	}
	page_unref(s->disk);
	s->disk = disk;
	s->dirty = 0;
	return 0;
}

int mem_node_sync(struct mem_node *n)
{
	int err = 0;

	for (size_t i = n->dirty_from; !err && i < n->dirty_to; i++)
		if (n->slots[i].dirty)
			err = slot_sync(n, &n->slots[i]);
	if (err)
		return err;
	n->dirty_from = n->dirty_to = 0;
	if (n->size_dirty)
		n->size_disk = n->size_now;
	n->size_dirty = false;
	return 0;
}

void mem_node_lose(struct mem_node *n)
{
	for (size_t i = n->dirty_from; i < n->dirty_to; i++)
		n->slots[i].dirty = 0;
	n->dirty_from = n->dirty_to = 0;
	n->size_dirty = false;
	n->lost = true;
}

int mem_node_flip(struct mem_disk *d, struct mem_node *n, uint64_t offset, unsigned char mask)
{
	size_t i = (size_t)(offset / MEM_PAGE_BYTES), at = (size_t)(offset % MEM_PAGE_BYTES);
	bool both;
	int err = node_reserve(n, offset + 1);

	if (err)
		return err;
	both = n->slots[i].now == n->slots[i].disk;
	err = slot_own(d, n, i);
	if (!err && both) {
		page_unref(n->slots[i].disk);
		n->slots[i].disk = page_ref(n->slots[i].now);
	} else if (!err && offset < n->size_disk) {
		err = page_own(&n->slots[i].disk);
		if (!err)
			n->slots[i].disk->bytes[at] ^= mask;
	}
	if (!err)
		n->slots[i].now->bytes[at] ^= mask;
	return err;
}

size_t mem_node_fits(const struct mem_node *n, size_t size, uint64_t offset, uint64_t pages_max)
{
	for (size_t done = 0; done < size;) {
		size_t i = (size_t)((offset + done) / MEM_PAGE_BYTES);

		if ((i >= n->slots_count || !n->slots[i].now) && !pages_max--)
			return done;
		done += MEM_PAGE_BYTES - (size_t)((offset + done) % MEM_PAGE_BYTES);
	}
	return size;
}

/* ---- files ---- */

static struct mem_node **nodes_at(const struct mem_disk *d, uint64_t id)
{
	size_t low = 0, high = d->nodes_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->nodes[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return d->nodes + low;
}

struct mem_node *mem_disk_by_id(const struct mem_disk *d, uint64_t id)
{
	struct mem_node **at = d->nodes_count ? nodes_at(d, id) : NULL;

	return at && at < d->nodes + d->nodes_count && (*at)->id == id ? *at : NULL;
}

/* A new node with the greatest id so far, no reference and no name. NULL: no memory. */
static struct mem_node *node_new(struct mem_disk *d, uint64_t id)
{
	struct mem_node *n;

	assert(!d->nodes_count || d->nodes[d->nodes_count - 1]->id < id);
	if (grow(&d->nodes, &d->nodes_capacity, d->nodes_count + 1, sizeof(*d->nodes)))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->id = id;
	d->nodes[d->nodes_count++] = n;
	return n;
}

static void node_free(struct mem_node *n)
{
	for (size_t i = 0; i < n->slots_count; i++) {
		page_unref(n->slots[i].now);
		page_unref(n->slots[i].disk);
	}
	free(n->slots);
	free(n);
}

static void node_unref(struct mem_disk *d, struct mem_node *n)
{
	struct mem_node **at;

	if (--n->refs)
		return;
	at = nodes_at(d, n->id);
	memmove(at, at + 1, (size_t)(d->nodes + --d->nodes_count - at) * sizeof(*at));
	node_free(n);
}

static void node_set_linked(struct mem_disk *d, struct mem_node *n, bool linked)
{
	if (node_is_live(n))
		d->pages -= n->pages;
	n->linked = linked;
	if (node_is_live(n))
		d->pages += n->pages;
}

void mem_node_take(struct mem_disk *d, struct mem_node *n)
{
	if (!node_is_live(n))
		d->pages += n->pages;
	n->refs++;
	n->handles++;
}

void mem_node_drop(struct mem_disk *d, struct mem_node *n)
{
	n->handles--;
	if (!node_is_live(n))
		d->pages -= n->pages;
	node_unref(d, n);
}

/* ---- names ---- */

/* Where `name` is, or belongs. */
static size_t names_at(const struct mem_names *names, const char *name, bool *found)
{
	size_t low = 0, high = names->count;

	*found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(names->v[mid].name, name);

		if (!c) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct mem_node *names_find(const struct mem_names *names, const char *name)
{
	bool found;
	size_t at = names_at(names, name, &found);

	return found ? names->v[at].node : NULL;
}

static int names_reserve(struct mem_names *names, size_t more)
{
	return grow(&names->v, &names->capacity, names->count + more, sizeof(*names->v));
}

static void names_remove_at(struct mem_disk *d, struct mem_names *names, size_t at)
{
	struct mem_node *n = names->v[at].node;

	names->count--;
	memmove(names->v + at, names->v + at + 1, (names->count - at) * sizeof(*names->v));
	if (names == &d->now)
		node_set_linked(d, n, false);
	node_unref(d, n);
}

/* Put `n` under `name`, for which room was reserved. */
static void names_set(struct mem_disk *d, struct mem_names *names, const char *name,
		      struct mem_node *n)
{
	bool found;
	size_t at;

	n->refs++;
	at = names_at(names, name, &found);
	if (found)
		names_remove_at(d, names, at);
	assert(names->count < names->capacity);
	memmove(names->v + at + 1, names->v + at, (names->count - at) * sizeof(*names->v));
	names->count++;
	memset(&names->v[at], 0, sizeof(names->v[at]));
	strcpy(names->v[at].name, name);
	names->v[at].node = n;
	if (names == &d->now)
		node_set_linked(d, n, true);
}

/* Do one change to `names`, which has room for one more. */
static void change_do(struct mem_disk *d, struct mem_names *names, enum mem_change_kind kind,
		      const char *name, struct mem_node *n)
{
	n->refs++;
	for (size_t i = names->count; i-- > 0 && kind != MEM_CREATED;)
		if (names->v[i].node == n &&
		    (kind == MEM_RENAMED || !strcmp(names->v[i].name, name)))
			names_remove_at(d, names, i);
	if (kind != MEM_UNLINKED)
		names_set(d, names, name, n);
	node_unref(d, n);
}

/* Change the names as they are now, and remember that. */
static int change_now(struct mem_disk *d, enum mem_change_kind kind, const char *name,
		      struct mem_node *n)
{
	struct mem_change *c;

	if (names_reserve(&d->now, 1) ||
	    grow(&d->changes, &d->changes_capacity, d->changes_count + 1, sizeof(*d->changes)))
		return -ENOMEM;
	c = &d->changes[d->changes_count++];
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->node = n;
	strcpy(c->name, name);
	n->refs++;
	change_do(d, &d->now, kind, name, n);
	return 0;
}

struct mem_node *mem_disk_find(const struct mem_disk *d, const char *name)
{
	return names_find(&d->now, name);
}

int mem_disk_create(struct mem_disk *d, const char *name, struct mem_node **out)
{
	struct mem_node *n = node_new(d, d->next_id);
	int err;

	*out = NULL;
	if (!n)
		return -ENOMEM;
	n->refs++;
	err = change_now(d, MEM_CREATED, name, n);
	if (!err) {
		d->next_id++;
		*out = n;
	}
	node_unref(d, n);
	return err;
}

int mem_disk_rename(struct mem_disk *d, const char *from, const char *to)
{
	struct mem_node *n = mem_disk_find(d, from);

	if (!n)
		return -ENOENT;
	return strcmp(from, to) ? change_now(d, MEM_RENAMED, to, n) : 0;
}

int mem_disk_unlink(struct mem_disk *d, const char *name)
{
	struct mem_node *n = mem_disk_find(d, name);

	return n ? change_now(d, MEM_UNLINKED, name, n) : -ENOENT;
}

int mem_disk_sync_dir(struct mem_disk *d)
{
	if (names_reserve(&d->durable, d->changes_count))
		return -ENOMEM;
	for (size_t i = 0; i < d->changes_count; i++) {
		struct mem_change *c = &d->changes[i];

		change_do(d, &d->durable, c->kind, c->name, c->node);
		node_unref(d, c->node);
	}
	d->changes_count = 0;
	return 0;
}

/* ---- whole disks ---- */

void mem_disk_release(struct mem_disk *d)
{
	for (size_t i = 0; i < d->nodes_count; i++) {
		assert(!d->nodes[i]->handles);
		node_free(d->nodes[i]);
	}
	free(d->nodes);
	free(d->now.v);
	free(d->durable.v);
	free(d->changes);
	*d = (struct mem_disk){0};
}

static int clone_node(struct mem_disk *d, const struct mem_node *n)
{
	struct mem_node *copy = node_new(d, n->id);

	if (!copy)
		return -ENOMEM;
	copy->slots = malloc((n->slots_count + 1) * sizeof(*copy->slots));
	if (!copy->slots)
		return -ENOMEM;
	copy->slots_capacity = n->slots_count + 1;
	copy->slots_count = n->slots_count;
	for (size_t i = 0; i < n->slots_count; i++) {
		copy->slots[i] = n->slots[i];
		page_ref(n->slots[i].now);
		page_ref(n->slots[i].disk);
	}
	copy->size_dirty = n->size_dirty;
	copy->lost = n->lost;
	copy->size_now = n->size_now;
	copy->size_disk = n->size_disk;
	copy->dirty_from = n->dirty_from;
	copy->dirty_to = n->dirty_to;
	copy->pages = n->pages;
	return 0;
}

static int clone_names(struct mem_disk *d, struct mem_names *names, const struct mem_names *from)
{
	if (names_reserve(names, from->count))
		return -ENOMEM;
	for (size_t i = 0; i < from->count; i++)
		names_set(d, names, from->v[i].name, mem_disk_by_id(d, from->v[i].node->id));
	return 0;
}

int mem_disk_clone(const struct mem_disk *d, struct mem_disk *out)
{
	int err = 0;

	*out = (struct mem_disk){.next_id = d->next_id};
	/* What only handles hold is not copied: no later cut can bring it back. */
	for (size_t i = 0; !err && i < d->nodes_count; i++)
		if (d->nodes[i]->refs > d->nodes[i]->handles)
			err = clone_node(out, d->nodes[i]);
	if (!err)
		err = clone_names(out, &out->now, &d->now);
	if (!err)
		err = clone_names(out, &out->durable, &d->durable);
	if (!err)
		err = grow(&out->changes, &out->changes_capacity, d->changes_count,
			   sizeof(*out->changes));
	for (size_t i = 0; !err && i < d->changes_count; i++) {
		struct mem_change *c = &out->changes[out->changes_count++];

		*c = d->changes[i];
		c->node = mem_disk_by_id(out, c->node->id);
		c->node->refs++;
	}
	if (err)
		mem_disk_release(out);
	return err;
}

/* ---- the cut ---- */

static uint64_t settle_size(const struct mem_node *n, enum storage_mem_keep keep,
			    struct mem_rng *rng)
{
	uint64_t between;

	if (!n->size_dirty || keep == STORAGE_MEM_KEEP_NONE)
		return n->size_disk;
	if (keep == STORAGE_MEM_KEEP_ALL)
		return n->size_now;
	switch (mem_rng_below(rng, 4)) {
	case 0:
		return n->size_disk;
	case 1:
		if (n->size_now <= n->size_disk)
			return n->size_disk;
		between = n->size_disk + mem_rng_below(rng, n->size_now - n->size_disk);
		if (mem_rng_below(rng, 2)) /* more often than chance would: at a sector's end */
			between -= between % MEM_SECTOR_BYTES;
		return between > n->size_disk ? between : n->size_disk;
	default:
		return n->size_now;
	}
}

/* Which of the dirty sectors of slot `i` reached the disk. */
static uint8_t settle_mask(const struct mem_node *n, size_t i, unsigned chance,
			   struct mem_rng *rng)
{
	const struct mem_slot *s = &n->slots[i];
	uint64_t bits, start = (uint64_t)i * MEM_PAGE_BYTES;
	uint8_t mask = 0;

	/* Nothing to tell the halves apart by. */
	if (!s->disk && s->now == &reserved)
		return mem_rng_below(rng, 256) < chance ? ALL_DIRTY : 0;
	bits = mem_rng_next(rng);
	for (unsigned k = 0; k < SECTORS; k++)
		if ((bits >> 8 * k & 0xff) < chance)
			mask |= (uint8_t)(1u << k);
	mask &= s->dirty;
	/* Beyond a shorter size: the bytes that a longer one, if that stays, still has. */
	for (unsigned k = 0; k < SECTORS && mask; k++)
		if (start + k * MEM_SECTOR_BYTES >= n->size_now)
			mask &= (uint8_t)~(1u << k);
	return mask;
}

/* The page that is found in slot `i`, with a reference. */
static int settle_slot(const struct mem_node *n, size_t i, unsigned chance, struct mem_rng *rng,
		       struct mem_page **out)
{
	const struct mem_slot *s = &n->slots[i];
	uint8_t mask = s->dirty && chance ? settle_mask(n, i, chance, rng) : 0;

	/* Unless a sync failed, clean sectors are alike: all dirty ones is all of them. */
	if (!mask)
		*out = page_ref(s->disk);
	else if (mask == ALL_DIRTY || (mask == s->dirty && !n->lost))
		*out = page_ref(s->now);
	else
		*out = page_mix(s->disk, s->now, mask);
	return mask && !*out && s->now ? -ENOMEM : 0;
}

/* Add to `d` the file that a cut leaves of `n`. */
static int settle_node(struct mem_disk *d, const struct mem_node *n, enum storage_mem_keep keep,
		       struct mem_rng *rng, struct mem_node **out)
{
	static const unsigned chances[] = {0, 20, 128, 236, 256}; /* of 256 */
	uint64_t size = settle_size(n, keep, rng);
	unsigned chance = keep == STORAGE_MEM_KEEP_NONE  ? 0
			  : keep == STORAGE_MEM_KEEP_ALL ? 256
							 : chances[mem_rng_below(rng, 5)];
	struct mem_node *copy = node_new(d, d->next_id);
	int err;

	*out = copy;
	if (!copy)
		return -ENOMEM;
	d->next_id++;
	err = node_reserve(copy, size);
	for (size_t i = 0; !err && i < copy->slots_count && i < n->slots_count; i++) {
		struct mem_slot *s = &copy->slots[i];

		err = settle_slot(n, i, chance, rng, &s->now);
		if (!err && s->now && (uint64_t)(i + 1) * MEM_PAGE_BYTES > size) {
			err = page_own(&s->now);
			if (!err)
				memset(s->now->bytes + size % MEM_PAGE_BYTES, 0,
				       MEM_PAGE_BYTES - size % MEM_PAGE_BYTES);
		}
		s->disk = page_ref(s->now);
		copy->pages += s->now ? 1 : 0;
	}
	copy->size_now = copy->size_disk = size;
	return err;
}

/* The names that a cut leaves, in `names`, with references to the nodes of `d`. */
static int settle_names(struct mem_disk *d, enum storage_mem_keep keep, struct mem_rng *rng,
			struct mem_names *names)
{
	static const unsigned chances[] = {0, 20, 128, 236, 256};
	unsigned chance = chances[mem_rng_below(rng, 5)];

	if (names_reserve(names, d->durable.count + d->changes_count))
		return -ENOMEM;
	for (size_t i = 0; i < d->durable.count; i++)
		names_set(d, names, d->durable.v[i].name, d->durable.v[i].node);
	for (size_t i = 0; i < d->changes_count && keep != STORAGE_MEM_KEEP_NONE; i++) {
		const struct mem_change *c = &d->changes[i];

		if (keep == STORAGE_MEM_KEEP_ALL || mem_rng_below(rng, 256) < chance)
			change_do(d, names, c->kind, c->name, c->node);
	}
	return 0;
}

int mem_disk_settle(const struct mem_disk *d, enum storage_mem_keep keep, uint64_t seed,
		    struct mem_disk *out)
{
	/* Changing counts of references, and putting them back, is all that is done to it. */
	struct mem_disk *from = (struct mem_disk *)d;
	struct mem_rng rng = {seed};
	struct mem_names names = {0};
	int err;

	*out = (struct mem_disk){0};
	err = settle_names(from, keep, &rng, &names);
	if (!err)
		err = names_reserve(&out->now, names.count);
	if (!err)
		err = names_reserve(&out->durable, names.count);
	for (size_t i = 0; !err && i < names.count; i++) {
		struct mem_node *n;

		err = settle_node(out, names.v[i].node, keep, &rng, &n);
		if (err)
			break;
		names_set(out, &out->now, names.v[i].name, n);
		names_set(out, &out->durable, names.v[i].name, n);
	}
	while (names.count)
		names_remove_at(from, &names, names.count - 1);
	free(names.v);
	if (err)
		mem_disk_release(out);
	return err;
}
