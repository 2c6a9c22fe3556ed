/*
 * inode_lock.h - the lock of an inode: held by one thread that changes the inode, or shared by
 * any number that read it. Fields of struct inode say what it guards.
 *
 * All inode locks have one rank (LOCK_INODE) beside the other locks. Their order among
 * themselves is explained at the top of fs.c; where one is taken, the parts of it that can be
 * seen there are asserted (inode_lock.c). For that each thread keeps a list of what it holds.
 * For clang's analysis the inode itself is the capability.
 */
#ifndef FS_INODE_LOCK_H
#define FS_INODE_LOCK_H

#include "lsm/base/lock.h"

#define ASSERTS_HELD_SHARED(...) LOCK_ATTRIBUTE(assert_shared_capability(__VA_ARGS__))

struct fs;
struct inode;

/* 0 or a negative errno. */
int inode_lock_init(struct inode *inode);
void inode_lock_destroy(struct inode *inode);

/*
 * Wait for the lock. The thread may hold other inodes as the order allows, and no lock of a
 * rank above LOCK_INODE. A waiting writer comes before new readers, so a thread that holds the
 * lock shared must not take it a second time.
 */
void inode_lock(struct inode *inode) ACQUIRES(*inode);
void inode_lock_shared(struct inode *inode) ACQUIRES_SHARED(*inode);

/* Release the lock, in any order among those that are held. */
void inode_unlock(struct inode *inode) RELEASES(*inode);
void inode_unlock_shared(struct inode *inode) RELEASES_SHARED(*inode);

/* Assert that this thread holds the lock for a change, or at least shared. */
void inode_assert_held(const struct inode *inode) ASSERTS_HELD(*inode);
void inode_assert_shared(const struct inode *inode) ASSERTS_HELD_SHARED(*inode);

#endif
