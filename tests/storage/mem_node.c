/*
 * mem_node.c - the content of one file on the disk of mem_disk.c: the bytes that programs
 * see, the bytes that are surely on disk, and what a power cut leaves of the two.
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
 * Pages have counts of references: `now` and `disk` share them, and so do a disk and
 * its copies, also in other threads. A page with more than one owner is copied before a
 * write. So a copy of a disk costs pointers, not bytes, and
 * thousands of cuts through a store of some MiB are cheap.
 *
 * Invariants, unless a sync failed (`lost`): a sector that is not dirty is the
 * same in both pages. Always: bytes of `now` beyond the size are zeros.
 *
 * A cut takes each dirty sector old or new, and the size old, new or, if it
 * grew, between. A file that became shorter keeps either its old size with its
 * old bytes or the new one, as filesystems free space and change the size in
 * one transaction.
 */
#include "tests/storage/mem_node.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"

#define SECTORS (MEM_PAGE_BYTES / MEM_SECTOR_BYTES)
#define ALL_DIRTY 0xff

_Static_assert(SECTORS == 8, "mem_slot.dirty has a bit per sector");

struct mem_page {
	_Atomic unsigned refs;
	uint8_t bytes[MEM_PAGE_BYTES];
};

/* Reserved space without any write. It keeps a reference of its own, so it is never freed. */
static struct mem_page reserved = {.refs = 1};

/* ---- pages ---- */

static struct mem_page *mem_page_ref(struct mem_page *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

static void mem_page_unref(struct mem_page *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		free(p);
}

static struct mem_page *mem_page_copy(const struct mem_page *from)
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
static int mem_page_own(struct mem_page **p)
{
	struct mem_page *copy;

	if (*p && atomic_load_explicit(&(*p)->refs, memory_order_acquire) == 1)
		return 0;
	copy = mem_page_copy(*p);
	if (!copy)
		return -ENOMEM;
	mem_page_unref(*p);
	*p = copy;
	return 0;
}

/* `old` with the sectors in `mask` from `new`; a NULL page is zeros. NULL: no memory. */
static struct mem_page *mem_page_mix(const struct mem_page *old, const struct mem_page *new,
				     uint8_t mask)
{
	struct mem_page *p = mem_page_copy(old);

	for (size_t s = 0; p && s < SECTORS; s++) {
		uint8_t *at = p->bytes + s * MEM_SECTOR_BYTES;

		if (!(mask & 1u << s))
			continue;
		if (new)
			memcpy(at, new->bytes + s *MEM_SECTOR_BYTES, MEM_SECTOR_BYTES);
		else
			memset(at, 0, MEM_SECTOR_BYTES);
	}
	return p;
}

/* The sectors that [from, to) of a page touches. */
static uint8_t mem_node_sector_mask(size_t from, size_t to)
{
	unsigned first = (unsigned)(from / MEM_SECTOR_BYTES);
	unsigned end = (unsigned)((to + MEM_SECTOR_BYTES - 1) / MEM_SECTOR_BYTES);

	return (uint8_t)((1u << end) - (1u << first));
}

/* ---- the content of files ---- */

static size_t mem_node_pages_of(uint64_t size)
{
	return (size_t)((size + MEM_PAGE_BYTES - 1) / MEM_PAGE_BYTES);
}

static int mem_node_reserve(struct mem_node *n, uint64_t size)
{
	size_t want = mem_node_pages_of(size);

	if (size > MEM_FILE_BYTES_MAX)
		return -EFBIG;
	if (array_reserve(n->slots, n->slots_room, want))
		return -ENOMEM;
	while (n->slots_count < want)
		n->slots[n->slots_count++] = (struct mem_slot){NULL, NULL, 0};
	return 0;
}

static void mem_node_count_page(struct mem_node *n, bool more)
{
	n->pages += more ? 1 : (uint64_t)-1;
	if (mem_node_is_live(n))
		*n->disk_pages += more ? 1 : (uint64_t)-1;
}

static void mem_node_mark_dirty(struct mem_node *n, size_t i, uint8_t mask)
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
static int mem_node_own_slot(struct mem_node *n, size_t i)
{
	bool fresh = !n->slots[i].now;
	int err = mem_page_own(&n->slots[i].now);

	if (!err && fresh)
		mem_node_count_page(n, true);
	return err;
}

static void mem_node_drop_slot(struct mem_node *n, size_t i)
{
	if (n->slots[i].now) {
		mem_page_unref(n->slots[i].now);
		n->slots[i].now = NULL;
		mem_node_count_page(n, false);
	}
	mem_node_mark_dirty(n, i, ALL_DIRTY);
}

static void mem_node_set_size(struct mem_node *n, uint64_t size)
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

int mem_node_write(struct mem_node *n, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *from = data;
	int err;

	if (!size)
		return 0;
	if (offset > MEM_FILE_BYTES_MAX || size > MEM_FILE_BYTES_MAX - offset)
		return -EFBIG;
	err = mem_node_reserve(n, offset + size);
	while (!err && size) {
		size_t i = (size_t)(offset / MEM_PAGE_BYTES);
		size_t at = (size_t)(offset % MEM_PAGE_BYTES);
		size_t part = MEM_PAGE_BYTES - at < size ? MEM_PAGE_BYTES - at : size;

		err = mem_node_own_slot(n, i);
		if (err)
			break;
		memcpy(n->slots[i].now->bytes + at, from, part);
		mem_node_mark_dirty(n, i, mem_node_sector_mask(at, at + part));
		from += part;
		offset += part;
		size -= part;
		if (offset > n->size_now)
			mem_node_set_size(n, offset);
	}
	return err;
}

int mem_node_allocate(struct mem_node *n, uint64_t size)
{
	int err = mem_node_reserve(n, size);

	if (err)
		return err;
	for (size_t i = 0; i < mem_node_pages_of(size); i++) {
		if (n->slots[i].now)
			continue;
		n->slots[i].now = mem_page_ref(&reserved);
		mem_node_count_page(n, true);
		mem_node_mark_dirty(n, i, ALL_DIRTY);
	}
	if (size > n->size_now)
		mem_node_set_size(n, size);
	return 0;
}

/* Zero [from, to), which lies within slot `i`. */
static int mem_node_zero_part(struct mem_node *n, size_t i, size_t from, size_t to)
{
	int err;

	if (i >= n->slots_count || !n->slots[i].now || from == to)
		return 0;
	err = mem_node_own_slot(n, i);
	if (err)
		return err;
	memset(n->slots[i].now->bytes + from, 0, to - from);
	mem_node_mark_dirty(n, i, mem_node_sector_mask(from, to));
	return 0;
}

int mem_node_truncate(struct mem_node *n, uint64_t size)
{
	size_t keep = mem_node_pages_of(size), tail = (size_t)(size % MEM_PAGE_BYTES);
	int err;

	if (size > MEM_FILE_BYTES_MAX)
		return -EFBIG;
	if (size < n->size_now && tail) {
		err = mem_node_zero_part(n, keep - 1, tail, MEM_PAGE_BYTES);
		if (err)
			return err;
	}
	for (size_t i = keep; i < n->slots_count && size < n->size_now; i++)
		mem_node_drop_slot(n, i);
	mem_node_set_size(n, size);
	return 0;
}

int mem_node_punch(struct mem_node *n, uint64_t offset, uint64_t size)
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
		uint64_t part =
			MEM_PAGE_BYTES - at < end - offset ? MEM_PAGE_BYTES - at : end - offset;

		if (part == MEM_PAGE_BYTES)
			mem_node_drop_slot(n, i);
		else
			err = mem_node_zero_part(n, i, at, at + (size_t)part);
		offset += part;
	}
	return err;
}

/* Carry the dirty sectors of a slot over to the disk. */
static int mem_node_sync_slot(const struct mem_node *n, struct mem_slot *s)
{
	struct mem_page *disk;

	if (n->lost && s->dirty != ALL_DIRTY) {
		disk = mem_page_mix(s->disk, s->now, s->dirty);
		if (!disk)
			return -ENOMEM;
	} else {
		disk = mem_page_ref(s->now);
	}
	mem_page_unref(s->disk);
	s->disk = disk;
	s->dirty = 0;
	return 0;
}

int mem_node_sync(struct mem_node *n)
{
	int err = 0;

	for (size_t i = n->dirty_from; !err && i < n->dirty_to; i++)
		if (n->slots[i].dirty)
			err = mem_node_sync_slot(n, &n->slots[i]);
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

int mem_node_flip(struct mem_node *n, uint64_t offset, unsigned char mask)
{
	size_t i = (size_t)(offset / MEM_PAGE_BYTES), at = (size_t)(offset % MEM_PAGE_BYTES);
	bool both;
	int err = mem_node_reserve(n, offset + 1);

	if (err)
		return err;
	both = n->slots[i].now == n->slots[i].disk;
	err = mem_node_own_slot(n, i);
	if (!err && both) {
		mem_page_unref(n->slots[i].disk);
		n->slots[i].disk = mem_page_ref(n->slots[i].now);
	} else if (!err && offset < n->size_disk) {
		err = mem_page_own(&n->slots[i].disk);
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

void mem_node_free(struct mem_node *n)
{
	for (size_t i = 0; i < n->slots_count; i++) {
		mem_page_unref(n->slots[i].now);
		mem_page_unref(n->slots[i].disk);
	}
	free(n->slots);
	free(n);
}

int mem_node_clone(const struct mem_node *n, struct mem_node *copy)
{
	copy->slots = malloc((n->slots_count + 1) * sizeof(*copy->slots));
	if (!copy->slots)
		return -ENOMEM;
	copy->slots_room = n->slots_count + 1;
	copy->slots_count = n->slots_count;
	for (size_t i = 0; i < n->slots_count; i++) {
		copy->slots[i] = n->slots[i];
		mem_page_ref(n->slots[i].now);
		mem_page_ref(n->slots[i].disk);
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

/* ---- the cut ---- */

static uint64_t mem_node_cut_size(const struct mem_node *n, enum storage_mem_keep keep,
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
		if (mem_rng_below(rng, 2)) /* the end of a sector, more often than by chance */
			between -= between % MEM_SECTOR_BYTES;
		return between > n->size_disk ? between : n->size_disk;
	default:
		return n->size_now;
	}
}

/* Which of the dirty sectors of slot `i` reached the disk. */
static uint8_t mem_node_cut_mask(const struct mem_node *n, size_t i, unsigned chance,
				 struct mem_rng *rng)
{
	const struct mem_slot *s = &n->slots[i];
	uint64_t bits, start = (uint64_t)i * MEM_PAGE_BYTES;
	uint8_t mask = 0;

	/* Reserved space: old and new sectors are both zeros, so one choice is enough. */
	if (!s->disk && s->now == &reserved)
		return mem_rng_below(rng, 256) < chance ? ALL_DIRTY : 0;
	bits = mem_rng_next(rng);
	for (unsigned k = 0; k < SECTORS; k++)
		if ((bits >> 8 * k & 0xff) < chance)
			mask |= (uint8_t)(1u << k);
	mask &= s->dirty;
	/* Sectors beyond a shorter size stay old: if the old size stays, so do its bytes. */
	for (unsigned k = 0; k < SECTORS && mask; k++)
		if (start + k * MEM_SECTOR_BYTES >= n->size_now)
			mask &= (uint8_t) ~(1u << k);
	return mask;
}

/* `*out` is the page of slot `i` after the cut, with a reference. 0; -ENOMEM. */
static int mem_node_cut_slot(const struct mem_node *n, size_t i, unsigned chance,
			     struct mem_rng *rng, struct mem_page **out)
{
	const struct mem_slot *s = &n->slots[i];
	uint8_t mask = s->dirty && chance ? mem_node_cut_mask(n, i, chance, rng) : 0;

	/* Unless a sync failed, clean sectors are the same in both pages. */
	if (!mask)
		*out = mem_page_ref(s->disk);
	else if (mask == ALL_DIRTY || (mask == s->dirty && !n->lost))
		*out = mem_page_ref(s->now);
	else
		*out = mem_page_mix(s->disk, s->now, mask);
	return mask && !*out && s->now ? -ENOMEM : 0;
}

int mem_node_cut(const struct mem_node *n, enum storage_mem_keep keep, struct mem_rng *rng,
		 struct mem_node *copy)
{
	static const unsigned chances[] = {0, 20, 128, 236, 256}; /* of 256 */
	uint64_t size = mem_node_cut_size(n, keep, rng);
	unsigned chance = keep == STORAGE_MEM_KEEP_NONE ? 0 :
			  keep == STORAGE_MEM_KEEP_ALL  ? 256 :
							  chances[mem_rng_below(rng, 5)];
	int err = mem_node_reserve(copy, size);

	for (size_t i = 0; !err && i < copy->slots_count && i < n->slots_count; i++) {
		struct mem_slot *s = &copy->slots[i];

		err = mem_node_cut_slot(n, i, chance, rng, &s->now);
		if (!err && s->now && (uint64_t)(i + 1) * MEM_PAGE_BYTES > size) {
			err = mem_page_own(&s->now);
			if (!err)
				memset(s->now->bytes + size % MEM_PAGE_BYTES, 0,
				       MEM_PAGE_BYTES - size % MEM_PAGE_BYTES);
		}
		s->disk = mem_page_ref(s->now);
		copy->pages += s->now ? 1 : 0;
	}
	copy->size_now = copy->size_disk = size;
	return err;
}
