/*
 * inode_lock.c - the lock of an inode, and what is asserted of the order.
 *
 * The order is explained at the top of fs.c. Asserted, when a thread takes the lock of an inode:
 *
 *   - It does not hold this one already, and no lock of a rank above LOCK_INODE.
 *   - For a directory: it holds no inode that is none.
 *   - For a directory, without fs->rename_lock: it holds no inode, or exactly one, which is the
 *     parent of the new one.
 *   - For a directory, with fs->rename_lock: the new one is not above any that it holds. The
 *     walk up is safe, as under that lock no directory changes its parent, and as each inode
 *     in memory holds references on those above it.
 *   - For anything else: of those that it holds, all that are no directories have lower numbers.
 *
 * Not asserted is that two directories of which neither is above the other come by ascending
 * number under rename_lock: as only one thread at a time has that lock, they could come in any
 * order.
 */
#include "fs/inode_lock.h"

#include "fs/inode.h"

int inode_lock_init(struct inode *inode)
{
	pthread_rwlockattr_t attr;
	int err = pthread_rwlockattr_init(&attr);

	if (err)
		return -err;
	/* A stream of readers must not keep a thread waiting that wants to create. */
	err = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	if (!err)
		err = pthread_rwlock_init(&inode->rwlock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return -err;
}

void inode_lock_destroy(struct inode *inode)
{
	pthread_rwlock_destroy(&inode->rwlock);
}

/* A rename holds two directories and two inodes in them; nothing holds more. */
#define HELD_MAX 4u

static _Thread_local struct {
	const struct inode *inode;
	bool shared;
} inode_held[HELD_MAX];
static _Thread_local unsigned inode_held_count;

static unsigned inode_held_find(const struct inode *inode)
{
	unsigned i = 0;

	while (i < inode_held_count && inode_held[i].inode != inode)
		i++;
	return i;
}

/* Is `above` the same as `inode`, or above it? Needs fs->rename_lock. */
static bool inode_is_within(const struct inode *inode, const struct inode *above)
{
	while (inode && inode != above)
		inode = inode->parent;
	return inode != NULL;
}

/* Of this, builds without assertions keep only the list, which costs a few instructions. */
static void inode_order_assert(const struct inode *inode)
{
	bool renaming = lock_held & UINT64_C(1) << LOCK_RENAME;

	(void)renaming;
	assert(lock_held >> LOCK_INODE <= 1);
	assert(inode_held_count < HELD_MAX);
	assert(inode_held_find(inode) == inode_held_count);
	for (unsigned i = 0; i < inode_held_count; i++) {
		const struct inode *held = inode_held[i].inode;

		(void)held;
		if (!S_ISDIR(inode->type)) {
			assert(S_ISDIR(held->type) || held->ino < inode->ino);
			continue;
		}
		assert(S_ISDIR(held->type));
		if (renaming)
			assert(!inode_is_within(held, inode));
		else
			assert(inode_held_count == 1 && inode->parent == held);
	}
}

static void inode_held_add(const struct inode *inode, bool shared)
{
	inode_order_assert(inode);
	inode_held[inode_held_count].inode = inode;
	inode_held[inode_held_count++].shared = shared;
	lock_held |= UINT64_C(1) << LOCK_INODE;
}

static void inode_held_remove(const struct inode *inode, bool shared)
{
	unsigned i = inode_held_find(inode);

	(void)shared;
	assert(i < inode_held_count && inode_held[i].shared == shared);
	inode_held[i] = inode_held[--inode_held_count];
	if (!inode_held_count)
		lock_held &= ~(UINT64_C(1) << LOCK_INODE);
}

void inode_assert_held(const struct inode *inode)
{
	unsigned i = inode_held_find(inode);

	(void)i;
	assert(i < inode_held_count && !inode_held[i].shared);
}

void inode_assert_shared(const struct inode *inode)
{
	(void)inode;
	assert(inode_held_find(inode) < inode_held_count);
}

/* The analysis rests on these four, and does not look into them. */

void inode_lock(struct inode *inode) NO_OTHER_THREADS
{
	inode_held_add(inode, false);
	pthread_rwlock_wrlock(&inode->rwlock);
}

void inode_lock_shared(struct inode *inode) NO_OTHER_THREADS
{
	inode_held_add(inode, true);
	pthread_rwlock_rdlock(&inode->rwlock);
}

void inode_unlock(struct inode *inode) NO_OTHER_THREADS
{
	inode_held_remove(inode, false);
	pthread_rwlock_unlock(&inode->rwlock);
}

void inode_unlock_shared(struct inode *inode) NO_OTHER_THREADS
{
	inode_held_remove(inode, true);
	pthread_rwlock_unlock(&inode->rwlock);
}
