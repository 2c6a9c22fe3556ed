/*
 * core.h - `struct fs` and what all parts of fs/ share: batches, inode numbers, reports of
 * damage. The order of locks is in fs.c.
 */
#ifndef FS_CORE_H
#define FS_CORE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fs/fs.h"
#include "fs/key.h"
#include "fs/record.h"
#include "lsm/base/lock.h"

#define FS_FORMAT_VERSION 1u

/* Keys of the whole filesystem. */
#define SUPER_FORMAT "Sformat" /* version as 4 bytes little-endian, then 16 of uuid */
#define SUPER_NEXT "Snext"     /* 8 bytes big-endian: no inode has this number or a greater one */
#define SUPER_COUNT "Scount"   /* 8 bytes big-endian: inodes in use; only after a clean close */

#define INODE_SHARDS 64u
#define BATCH_POOL 16u
#define EXTENT_CELLS_GOOD 8192u

/* The ranks of the locks of fs/, in the order in which they are taken; fs.c explains it. */
enum {
	LOCK_DIR_STREAM = LOCK_FS_FIRST, /* of an open directory */
	LOCK_COUNT_JOIN,
	LOCK_RENAME,
	LOCK_INODE, /* of all inodes, see inode_lock.h */
	LOCK_INO,   /* of the inode numbers */
	/* leaves: nothing is taken under these */
	LOCK_SHARD,
	LOCK_POOL,
	LOCK_PRUNE,
};
_Static_assert(LOCK_PRUNE < (int)LOCK_LSM_FIRST, "the locks of lsm/ come after those of fs/");

struct inode;

/* A part of the table of inodes in memory. */
struct shard {
	struct mutex lock;
	/* guarded by lock */
	struct inode **buckets;
	size_t mask, count;
};

/* Counting the inodes after a crash; see count.c. */
struct count {
	/* guarded by join_lock */
	struct mutex join_lock;
	pthread_t thread;
	bool running;
	/* atomic */
	_Atomic int64_t files; /* what is known so far */
	atomic_bool stop;
	/* owned by the thread while it runs */
	int error; /* why it is not exact */
	struct lsm_snapshot *snapshot;
};

/* Asking the kernel to drop names; see prune.c. */
struct prune {
	struct mutex lock;
	pthread_cond_t wake, idle;
	/* guarded by lock */
	fs_prune_fn *fn;
	void *ctx;
	bool calling, stop;
	pthread_t thread;
	bool running;
	/* atomic */
	atomic_bool wanted;
	/* owned by the thread */
	unsigned shard;
	size_t bucket;
};

struct fs {
	/* constant after open */
	struct lsm *lsm;
	enum fs_atime atime;
	bool sync, acl, read_only;
	lsm_report_fn *report;
	void *report_ctx;
	unsigned char uuid[16];
	struct inode *root;
	size_t inode_bytes_max;

	struct shard shards[INODE_SHARDS];
	/* atomic */
	_Atomic uint64_t inodes, inode_bytes;
	_Atomic uint64_t cells_good[EXTENT_CELLS_GOOD]; /* see extent.c */
	_Atomic uint64_t own_changes;                   /* written 'I' records; see inode_enter() */

	struct mutex rename_lock; /* see the lock order in fs.c */
	struct mutex ino_lock;
	/* guarded by ino_lock */
	uint64_t ino_next, ino_bound;

	struct mutex pool_lock;
	/* guarded by pool_lock */
	struct lsm_batch *pool[BATCH_POOL];
	unsigned pool_count;

	struct count count;
	struct prune prune;
};

#define SLICE(string) ((struct lsm_slice){string, sizeof(string) - 1})

/* An empty batch; NULL: no memory. fs_batch_put() takes it back, and NULL. */
struct lsm_batch *fs_batch_get(struct fs *fs);
void fs_batch_put(struct fs *fs, struct lsm_batch *b);

/* Write `b`, if there is anything in it, with the locks held. 0 or as lsm_write(). */
int fs_commit(struct fs *fs, struct lsm_batch *b, unsigned flags);

/*
 * The last step of every changing call, with no locks held: make it durable if
 * the mount or `sync` asks for it, and translate `err` to what callers of fs.h get.
 */
int fs_finish(struct fs *fs, int err, bool sync);

/* Inside it is -EUCLEAN; callers of fs.h get EIO. */
static inline int fs_errno(int err)
{
	return err == -EUCLEAN ? -EIO : err;
}

void fs_report(struct fs *fs, enum lsm_report_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Report that the value of `key`, or the key itself, is wrong. Returns -EUCLEAN. */
int fs_corrupt(struct fs *fs, struct lsm_slice key, const char *why);

/* A number that no inode ever had. May write to the store. */
int fs_ino_new(struct fs *fs, uint64_t *ino) EXCLUDES(fs->ino_lock);

#endif
