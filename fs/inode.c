/*
 * inode.c - the table of inodes in memory.
 *
 * An inode is in memory while a caller of this layer holds a reference to it
 * (`lookups`: with FUSE, while the kernel caches it), while a call works on it,
 * or while a child of it is in memory (`refs`). At the last reference it goes at
 * once: whoever calls us caches already, and a second cache would only hold the
 * same thing twice. So the attributes of an inode in memory need no read, also to
 * change them. Content stays in the tree, whose caches may be larger than this
 * table.
 *
 * What was read from the tree may be out of date by the time it is to enter
 * the table: another thread may have loaded the inode, changed it and dropped it in
 * between. So each directory counts the writes to records in its range
 * (`changes`), and the filesystem those to 'I' records. The reader notes the
 * count before it reads and compares it under the shard's lock when it finds
 * the inode is not there. A writer bumps it after its write and before it drops
 * its reference, so an unchanged count proves that what was read still holds.
 *
 * An orphan (a file unlinked while in use, or not named yet) has no record:
 * a crash frees it anyway. Only when it has data or attributes in the tree is
 * there a key 'O', by which the next open finds what to free.
 */
#include <assert.h>
#include <stdlib.h>

#include "fs/change.h"
#include "fs/orphan.h"
#include "fs/prune.h"
#include "lsm/base/array.h"

#define SHARD_BUCKETS_MIN 64u

/* What one costs, roughly: with malloc()'s overhead and its place in the table. */
static size_t inode_bytes(const char *name)
{
	return sizeof(struct inode) + (name ? strlen(name) + 1 : 0) + 48;
}

static uint64_t inode_hash(uint64_t ino)
{
	return ino * 0x9e3779b97f4a7c15u;
}

static struct shard *inode_shard(struct fs *fs, uint64_t ino)
{
	return &fs->shards[inode_hash(ino) >> 58];
}
_Static_assert(INODE_SHARDS == 64, "the top six bits choose the shard");

static struct inode **inode_shard_bucket(const struct shard *s, uint64_t ino)
{
	return &s->buckets[(inode_hash(ino) >> 20) & s->mask];
}

int inode_table_init(struct fs *fs)
{
	for (unsigned i = 0; i < INODE_SHARDS; i++) {
		struct shard *s = &fs->shards[i];

		int err = mutex_init(&s->lock, LOCK_SHARD);

		if (err)
			return err;
		s->buckets = calloc(SHARD_BUCKETS_MIN, sizeof(*s->buckets));
		if (!s->buckets) {
			mutex_destroy(&s->lock);
			return -ENOMEM;
		}
		s->mask = SHARD_BUCKETS_MIN - 1;
	}
	return 0;
}

static void inode_destroy(struct inode *inode)
{
	inode_lock_destroy(inode);
	free(inode->name);
	free(inode->content);
	free(inode);
}

/* Write the atimes that are only in memory. No other call is at work any more. */
static void inode_table_write_atimes(struct fs *fs)
{
	for (unsigned i = 0; i < INODE_SHARDS; i++) {
		struct shard *s = &fs->shards[i];

		for (size_t n = 0; s->buckets && n <= s->mask; n++)
			for (struct inode *inode = s->buckets[n]; inode; inode = inode->next)
				inode_write_atime(fs, inode);
	}
}

void inode_table_release(struct fs *fs)
{
	assert(inode_table_valid(fs));
	inode_table_write_atimes(fs);
	for (unsigned i = 0; i < INODE_SHARDS; i++) {
		struct shard *s = &fs->shards[i];

		if (!s->buckets)
			continue;
		for (size_t n = 0; n <= s->mask; n++) {
			struct inode *inode, *next;

			for (inode = s->buckets[n]; inode; inode = next) {
				next = inode->next;
				orphan_free(fs, inode);
				inode_destroy(inode);
			}
		}
		free(s->buckets);
		mutex_destroy(&s->lock);
	}
}

/* Double the buckets when there are more inodes than those; without memory, chains just grow. */
static void inode_shard_grow(struct shard *s)
{
	size_t mask = s->mask * 2 + 1;
	struct inode **old = s->buckets, **buckets;
	size_t old_mask = s->mask;

	if (s->count <= s->mask)
		return;
	buckets = calloc(mask + 1, sizeof(*buckets));
	if (!buckets)
		return;
	s->buckets = buckets;
	s->mask = mask;
	for (size_t n = 0; n <= old_mask; n++) {
		struct inode *inode, *next;

		for (inode = old[n]; inode; inode = next) {
			struct inode **bucket = inode_shard_bucket(s, inode->ino);

			next = inode->next;
			inode->next = *bucket;
			*bucket = inode;
		}
	}
	free(old);
}

static struct inode *inode_shard_find(const struct shard *s, uint64_t ino) REQUIRES(s->lock)
{
	struct inode *inode = *inode_shard_bucket(s, ino);

	while (inode && inode->ino != ino)
		inode = inode->next;
	return inode;
}

static void inode_shard_insert(struct fs *fs, struct shard *s, struct inode *inode)
	REQUIRES(s->lock)
{
	struct inode **bucket = inode_shard_bucket(s, inode->ino);

	inode->next = *bucket;
	*bucket = inode;
	s->count++;
	inode_shard_grow(s);
	atomic_fetch_add_explicit(&fs->inodes, 1, memory_order_relaxed);
}

static void inode_shard_remove(struct fs *fs, struct shard *s, struct inode *inode)
	REQUIRES(s->lock)
{
	struct inode **link = inode_shard_bucket(s, inode->ino);

	while (*link != inode)
		link = &(*link)->next;
	*link = inode->next;
	s->count--;
	atomic_fetch_sub_explicit(&fs->inodes, 1, memory_order_relaxed);
}

/* ---- is the table right? ---- */

/* What inode_table_valid() has added up. */
struct inode_tally {
	uint64_t inodes, bytes;
	const struct inode **parents; /* of all that have one */
	size_t parent_count, parent_room;
};

static int inode_parents_compare(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct inode *const *)a;
	uintptr_t y = (uintptr_t) * (const struct inode *const *)b;

	return (x > y) - (x < y);
}

static bool inode_is_valid(const struct inode *inode)
{
	if (!inode->ino || inode->type != (inode->attr.mode & S_IFMT))
		return false;
	if (!inode->refs && !inode->lookups)
		return false;
	if (inode->where == INODE_NAMED && (!inode->parent || !inode->name))
		return false;
	if (inode->where != INODE_NAMELESS)
		return !inode->content && !inode->orphaned && !inode->linkable;
	/* What it has in the tree must be found after a crash. 'O' stays when that is cut away. */
	return inode->orphaned || !(inode->attr.flags & ATTR_FLAGS);
}

/* Add up one shard. Nobody else uses the filesystem. */
static bool inode_shard_valid(struct fs *fs, struct shard *s,
			      struct inode_tally *t) NO_OTHER_THREADS
{
	size_t count = 0;

	for (size_t n = 0; n <= s->mask; n++) {
		for (const struct inode *inode = s->buckets[n]; inode; inode = inode->next) {
			count++;
			t->bytes += inode_bytes(inode->name);
			if (inode_shard(fs, inode->ino) != s ||
			    inode_shard_bucket(s, inode->ino) != &s->buckets[n] ||
			    inode_shard_find(s, inode->ino) != inode || !inode_is_valid(inode))
				return false;
			if (!inode->parent)
				continue;
			/* Without memory for this one it is left out. */
			if (!array_reserve(t->parents, t->parent_room, t->parent_count + 1))
				t->parents[t->parent_count++] = inode->parent;
		}
	}
	t->inodes += count;
	return count == s->count;
}

/* Is each parent in the table, with a reference for each child? */
static bool inode_parents_valid(struct fs *fs, struct inode_tally *t) NO_OTHER_THREADS
{
	size_t children;

	if (t->parent_count)
		qsort(t->parents, t->parent_count, sizeof(*t->parents), inode_parents_compare);
	for (size_t i = 0; i < t->parent_count; i += children) {
		const struct inode *parent = t->parents[i];

		children = 1;
		while (i + children < t->parent_count && t->parents[i + children] == parent)
			children++;
		if (inode_shard_find(inode_shard(fs, parent->ino), parent->ino) != parent ||
		    !S_ISDIR(parent->type) || parent->refs < children)
			return false;
	}
	return true;
}

bool inode_table_valid(struct fs *fs)
{
	struct inode_tally t = {0};
	bool valid = true;

	for (unsigned i = 0; valid && i < INODE_SHARDS; i++)
		valid = !fs->shards[i].buckets || inode_shard_valid(fs, &fs->shards[i], &t);
	valid = valid && t.inodes == atomic_load(&fs->inodes) &&
		t.bytes == atomic_load(&fs->inode_bytes) && inode_parents_valid(fs, &t);
	free(t.parents);
	return valid;
}

/* ---- references ---- */

/* Free what left the table; its parent loses a reference. */
static void inode_free(struct fs *fs, struct inode *inode)
{
	atomic_fetch_sub_explicit(&fs->inode_bytes, inode_bytes(inode->name), memory_order_relaxed);
	orphan_free(fs, inode);
	inode_destroy(inode);
}

/* Take off `lookups` and `refs`; free it, and so on upwards, if nothing is left. */
static void inode_drop(struct fs *fs, struct inode *inode, uint64_t lookups, uint32_t refs)
{
	while (inode) {
		struct shard *s = inode_shard(fs, inode->ino);
		struct inode *parent;

		mutex_lock(&s->lock);
		assert(inode->refs >= refs);
		inode->refs -= refs;
		inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
		if (inode->refs || inode->lookups) {
			mutex_unlock(&s->lock);
			return;
		}
		inode_shard_remove(fs, s, inode);
		mutex_unlock(&s->lock);
		parent = inode->parent;
		inode_free(fs, inode);
		inode = parent;
		lookups = 0;
		refs = 1;
	}
}

int inode_get(struct fs *fs, uint64_t ino, struct inode **out)
{
	struct shard *s = inode_shard(fs, ino);
	struct inode *inode;

	mutex_lock(&s->lock);
	inode = inode_shard_find(s, ino);
	if (inode) {
		inode->refs++;
		inode->used = true;
	}
	mutex_unlock(&s->lock);
	*out = inode;
	return inode ? 0 : -ESTALE;
}

void inode_ref(struct fs *fs, struct inode *inode)
{
	struct shard *s = inode_shard(fs, inode->ino);

	mutex_lock(&s->lock);
	inode->refs++;
	mutex_unlock(&s->lock);
}

void inode_put(struct fs *fs, struct inode *inode)
{
	inode_drop(fs, inode, 0, 1);
}

void inode_keep(struct fs *fs, struct inode *inode)
{
	struct shard *s = inode_shard(fs, inode->ino);

	mutex_lock(&s->lock);
	inode->lookups++;
	inode->refs--;
	mutex_unlock(&s->lock);
}

void inode_hold(struct fs *fs, struct inode *inode)
{
	struct shard *s = inode_shard(fs, inode->ino);

	mutex_lock(&s->lock);
	inode->lookups++;
	mutex_unlock(&s->lock);
}

/* Whether the caller's one reference and `count` lookups are all that is left. */
static bool inode_is_last(struct fs *fs, struct inode *inode, uint64_t count)
{
	struct shard *s = inode_shard(fs, inode->ino);
	bool last;

	mutex_lock(&s->lock);
	last = inode->refs == 1 && inode->lookups <= count;
	mutex_unlock(&s->lock);
	return last;
}

void inode_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	struct inode *inode;

	if (inode_get(fs, ino, &inode))
		return;
	if (inode_is_last(fs, inode, count))
		inode_write_atime(fs, inode);
	inode_drop(fs, inode, count, 1);
}

bool inode_is_only_mine(struct fs *fs, struct inode *inode)
{
	struct shard *s = inode_shard(fs, inode->ino);
	bool mine;

	mutex_lock(&s->lock);
	mine = inode->refs == 1 && !inode->lookups;
	mutex_unlock(&s->lock);
	return mine;
}

struct inode *inode_new(struct fs *fs, uint64_t ino, const struct attr *attr,
			enum inode_where where, struct inode *parent, const char *name)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	if (inode_lock_init(inode)) {
		free(inode);
		return NULL;
	}
	if (name) {
		inode->name = strdup(name);
		if (!inode->name) {
			inode_destroy(inode);
			return NULL;
		}
	}
	inode->ino = ino;
	inode->type = attr->mode & S_IFMT;
	inode->attr = *attr;
	inode->where = where;
	inode->refs = 1;
	inode->used = true;
	if (S_ISDIR(inode->type))
		inode->entries_max = attr->entries;
	inode->parent = parent;
	if (parent)
		inode_ref(fs, parent);
	atomic_fetch_add_explicit(&fs->inode_bytes, inode_bytes(name), memory_order_relaxed);
	return inode;
}

void inode_add(struct fs *fs, struct inode *inode)
{
	struct shard *s = inode_shard(fs, inode->ino);

	mutex_lock(&s->lock);
	inode_shard_insert(fs, s, inode);
	mutex_unlock(&s->lock);
	if (atomic_load_explicit(&fs->inode_bytes, memory_order_relaxed) > fs->inode_bytes_max)
		prune_wake(fs);
}

void inode_discard(struct fs *fs, struct inode *inode)
{
	if (!inode)
		return;
	atomic_fetch_sub_explicit(&fs->inode_bytes, inode_bytes(inode->name), memory_order_relaxed);
	inode_put(fs, inode->parent);
	inode_destroy(inode);
}

/*
 * Is `inode`, in memory, what a name in `dir` may stand for? It always is, but
 * bytes on disk may say anything, and a directory inside itself would make us
 * wait for our own lock. (A directory's parent and name only change while the
 * parent is locked, so they may be read here.)
 */
static bool inode_fits(const struct inode *inode, const struct inode *dir, mode_t type)
	REQUIRES_SHARED(*dir)
{
	if (inode->type != type)
		return false;
	return !S_ISDIR(type) || (inode->parent == dir && inode != dir);
}

/* As inode_enter(), for a record at hand that is good while `*counter` is `stamp`. */
static int inode_enter_record(struct fs *fs, struct inode *dir, const char *name,
			      const struct record *record, enum inode_where where,
			      const _Atomic uint64_t *counter, uint64_t stamp, struct inode **out)
	REQUIRES_SHARED(*dir)
{
	struct shard *s = inode_shard(fs, record->ino);
	struct inode *made, *found;
	int err = 0;

	made = inode_new(fs, record->ino, &record->attr, where, dir, name);
	if (!made)
		return -ENOMEM;
	mutex_lock(&s->lock);
	found = inode_shard_find(s, record->ino);
	if (found) {
		found->refs++;
		found->used = true;
	} else if (atomic_load(counter) != stamp) {
		err = INODE_STALE;
	} else {
		inode_shard_insert(fs, s, made);
		found = made;
	}
	mutex_unlock(&s->lock);
	if (found != made)
		inode_discard(fs, made);
	*out = found;
	if (atomic_load_explicit(&fs->inode_bytes, memory_order_relaxed) > fs->inode_bytes_max)
		prune_wake(fs);
	return err;
}

/* Find the inode of a link. */
static int inode_enter_link(struct fs *fs, struct inode *dir, const char *name,
			    const struct record *link, struct inode **out) REQUIRES_SHARED(*dir)
{
	struct lsm_value value = {0};
	struct key k;
	int err;

	do {
		uint64_t stamp = atomic_load(&fs->own_changes);
		struct lsm_slice key = key_make(&k, KEY_INODE, link->ino, NULL, 0);
		struct record record;
		const char *why;

		err = lsm_get(fs->lsm, NULL, key, &value);
		if (err == LSM_ABSENT)
			err = fs_corrupt(fs, key, "it is gone, but a name of it is there");
		if (err)
			break;
		err = record_decode((struct lsm_slice){value.data, value.size}, &record, &why);
		if (!err && (record.kind != RECORD_INODE || record.ino != link->ino ||
			     record.type != link->type)) {
			why = "it is not what its name says";
			err = -EUCLEAN;
		}
		if (err) {
			err = fs_corrupt(fs, key, why);
			break;
		}
		err = inode_enter_record(fs, dir, name, &record, INODE_OWN, &fs->own_changes, stamp,
					 out);
	} while (err == INODE_STALE);
	lsm_value_release(&value);
	return err;
}

int inode_enter(struct fs *fs, struct inode *dir, const char *name, const struct record *record,
		uint64_t stamp, struct inode **out)
{
	struct lsm_slice key;
	struct key k;
	int err = 0;

	inode_assert_shared(dir);
	*out = NULL;
	key = key_make(&k, KEY_NAME, dir->ino, name, strlen(name));
	if (record->kind == RECORD_INODE && record->attr.nlink != 1)
		return fs_corrupt(fs, key, "an inode with several names in the record of one");
	if (inode_get(fs, record->ino, out)) {
		if (record->kind == RECORD_LINK)
			err = inode_enter_link(fs, dir, name, record, out);
		else
			err = inode_enter_record(fs, dir, name, record, INODE_NAMED, &dir->changes,
						 stamp, out);
	}
	if (*out && !inode_fits(*out, dir, record->type)) {
		inode_put(fs, *out);
		*out = NULL;
		err = fs_corrupt(fs, key, "its inode is already somewhere else");
	}
	return err;
}

void inode_move(struct fs *fs, struct inode *inode, enum inode_where where, struct inode *parent,
		char *name)
{
	struct inode *old_parent = inode->parent;

	inode_assert_held(inode);
	atomic_fetch_add_explicit(&fs->inode_bytes, inode_bytes(name), memory_order_relaxed);
	atomic_fetch_sub_explicit(&fs->inode_bytes, inode_bytes(inode->name), memory_order_relaxed);
	free(inode->name);
	inode->where = where;
	inode->name = name;
	if (parent != old_parent) {
		inode_ref(fs, parent);
		inode->parent = parent;
		inode_put(fs, old_parent);
	}
}
