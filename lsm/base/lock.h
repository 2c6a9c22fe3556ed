/*
 * lock.h - mutexes that can be checked: by clang's thread-safety analysis, which sees
 * that each is given back on every path (in C it cannot be told what a field is guarded
 * by: the bands of the structs say so), and in builds with assertions by their ranks. A
 * thread takes them in ascending order of rank only, so no two threads can wait for
 * each other; and never two of one rank.
 */
#ifndef LSM_LOCK_H
#define LSM_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <stdint.h>

#ifdef __clang__
#define LOCK_ATTRIBUTE(x) __attribute__((x))
#else
#define LOCK_ATTRIBUTE(x)
#endif
#define REQUIRES(...) LOCK_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define ACQUIRES(...) LOCK_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASES(...) LOCK_ATTRIBUTE(release_capability(__VA_ARGS__))
/* For what runs before or after all other threads. */
#define NO_OTHER_THREADS LOCK_ATTRIBUTE(no_thread_safety_analysis)

/* The order in which they are taken; it is explained at the top of lsm.c. */
enum lock_rank {
	LOCK_COMPACT,
	LOCK_SEGMENTS_CREATE,
	LOCK_MANIFEST,
	LOCK_SEGMENTS_SYNC,
	LOCK_TREE,
	LOCK_SUPER,
	/* leaves: nothing of the tree's is taken under these */
	LOCK_WRITERS,
	LOCK_SYNC,
	LOCK_DEAD,
	LOCK_SEGMENTS,
	LOCK_CACHE,
	LOCK_OVERLAY, /* held while the storage below is called */
	LOCK_STORAGE,
};

struct LOCK_ATTRIBUTE(capability("mutex")) mutex {
	pthread_mutex_t pthread;
	enum lock_rank rank;
};

/* The ranks this thread holds, a bit each. */
extern _Thread_local uint32_t lock_held;

static inline int mutex_init(struct mutex *m, enum lock_rank rank)
{
	m->rank = rank;
	return pthread_mutex_init(&m->pthread, NULL);
}

static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->pthread);
}

static inline void mutex_lock(struct mutex *m) ACQUIRES(*m) NO_OTHER_THREADS
{
	assert(lock_held >> m->rank == 0);
	pthread_mutex_lock(&m->pthread);
	lock_held |= UINT32_C(1) << m->rank;
}

static inline void mutex_unlock(struct mutex *m) RELEASES(*m) NO_OTHER_THREADS
{
	assert(lock_held & UINT32_C(1) << m->rank);
	lock_held &= ~(UINT32_C(1) << m->rank);
	pthread_mutex_unlock(&m->pthread);
}

static inline void cond_wait(pthread_cond_t *c, struct mutex *m) REQUIRES(*m)
{
	pthread_cond_wait(c, &m->pthread);
}

/* 0 or ETIMEDOUT; the condition's clock is CLOCK_MONOTONIC. */
static inline int cond_wait_until(pthread_cond_t *c, struct mutex *m, const struct timespec *t)
	REQUIRES(*m)
{
	return pthread_cond_timedwait(c, &m->pthread, t);
}

#endif
