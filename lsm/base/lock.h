/*
 * lock.h - locks that can be checked: by clang's thread-safety analysis, and in builds with
 * assertions by their ranks.
 *
 * A thread takes locks in ascending order of rank only, and never two of one rank. So no two
 * threads can wait for each other. (Inodes are the exception: many locks of one rank, whose
 * order among themselves is asserted where they are taken. See fs/inode_lock.h.)
 *
 * The analysis sees that each lock is released on every path, and that a function marked
 * REQUIRES() is only called with the lock held. In C the analysis cannot know which lock guards
 * a field, so the structs group their fields by the lock, and say so in comments.
 *
 * This header knows nothing of a store. All three layers include it, so that their ranks form
 * one order: the locks of mount/, then those of fs/, then those of lsm/.
 */
#ifndef LSM_LOCK_H
#define LSM_LOCK_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>

#ifdef __clang__
#define LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define LOCK_ATTRIBUTE(x)
#endif
#define REQUIRES(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) LOCK_ATTRIBUTE(requires_shared_capability(__VA_ARGS__))
#define ACQUIRES(...) LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define ACQUIRES_SHARED(...) LOCK_ATTRIBUTE(acquire_shared_capability(__VA_ARGS__))
#define RELEASES(...) LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
#define RELEASES_SHARED(...) LOCK_ATTRIBUTE(release_shared_capability(__VA_ARGS__))
#define ASSERTS_HELD(...) LOCK_ATTRIBUTE(assert_capability(__VA_ARGS__))
#define EXCLUDES(...) LOCK_ATTRIBUTE(locks_excluded(__VA_ARGS__))
/* Not analysed: it runs before or after all other threads, or it is what the analysis rests on. */
#define NO_OTHER_THREADS LOCK_ATTRIBUTE(no_thread_safety_analysis)

/* Each layer has this many ranks of its own. */
#define LOCK_MOUNT_FIRST 0u
#define LOCK_FS_FIRST 16u
#define LOCK_LSM_FIRST 32u
/* A message may be reported under any lock; the lock of its sink comes last. */
#define LOCK_MESSAGE 63u

/* The ranks of the tree, in the order in which they are taken; lsm.c explains it. */
enum lock_rank {
	LOCK_COMPACT = LOCK_LSM_FIRST,
	LOCK_SEGMENTS_CREATE,
	LOCK_MANIFEST,
	LOCK_SEGMENTS_SYNC,
	LOCK_TREE,
	LOCK_VIEW,
	/* leaves: nothing of the tree's is taken under these */
	LOCK_WRITERS,
	LOCK_SYNC,
	LOCK_DEAD,
	LOCK_SEGMENTS,
	LOCK_CACHE,
	LOCK_OVERLAY, /* held while the storage below is called */
	LOCK_STORAGE,
};

/* The ranks that this thread holds, a bit each. */
extern _Thread_local uint64_t lock_held;

/* Note that this thread takes a lock of `rank`; it may hold none of a higher rank. */
static inline void lock_rank_enter(unsigned rank)
{
	assert(lock_held >> rank == 0);
	lock_held |= UINT64_C(1) << rank;
}

static inline void lock_rank_leave(unsigned rank)
{
	assert(lock_held & UINT64_C(1) << rank);
	lock_held &= ~(UINT64_C(1) << rank);
}

struct LOCK_ATTRIBUTE(capability("mutex")) mutex {
	pthread_mutex_t pthread;
	unsigned rank;
};

/* For a static mutex: it needs neither mutex_init() nor mutex_destroy(). */
#define MUTEX_INITIALIZER(r)                                                                       \
	{                                                                                          \
		.pthread = PTHREAD_MUTEX_INITIALIZER, .rank = (r)                                  \
	}

/* 0 or a negative errno. */
static inline int mutex_init(struct mutex *m, unsigned rank)
{
	assert(rank < 64);
	m->rank = rank;
	return -pthread_mutex_init(&m->pthread, NULL);
}

static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->pthread);
}

static inline void mutex_lock(struct mutex *m) ACQUIRES(*m) NO_OTHER_THREADS
{
	lock_rank_enter(m->rank);
	pthread_mutex_lock(&m->pthread);
}

static inline void mutex_unlock(struct mutex *m) RELEASES(*m) NO_OTHER_THREADS
{
	lock_rank_leave(m->rank);
	pthread_mutex_unlock(&m->pthread);
}

/* Assert that this thread holds a lock of the rank of `m`, and let the analysis know. */
static inline void mutex_assert_held(const struct mutex *m) ASSERTS_HELD(*m)
{
	assert(lock_held & UINT64_C(1) << m->rank);
	(void)m;
}

/* A condition whose time-outs are points of CLOCK_MONOTONIC. 0 or a negative errno. */
static inline int cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err)
		return -err;
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!err)
		err = pthread_cond_init(c, &attr);
	pthread_condattr_destroy(&attr);
	return -err;
}

static inline void cond_wait(pthread_cond_t *c, struct mutex *m) REQUIRES(*m)
{
	pthread_cond_wait(c, &m->pthread);
}

/* Wait until `t` of CLOCK_MONOTONIC at most. 0 or -ETIMEDOUT. */
static inline int cond_wait_until(pthread_cond_t *c, struct mutex *m, const struct timespec *t)
	REQUIRES(*m)
{
	return -pthread_cond_timedwait(c, &m->pthread, t);
}

static inline void cond_signal(pthread_cond_t *c)
{
	pthread_cond_signal(c);
}

static inline void cond_broadcast(pthread_cond_t *c)
{
	pthread_cond_broadcast(c);
}

static inline void cond_destroy(pthread_cond_t *c)
{
	pthread_cond_destroy(c);
}

#endif
