/*
 * timing.h - how long the calls of churn.c took: a histogram per kind of call,
 * in memory that all its processes share.
 */
#ifndef TESTS_MOUNT_CHURN_TIMING_H
#define TESTS_MOUNT_CHURN_TIMING_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* Eight buckets per power of two nanoseconds. */
#define BUCKETS (64u * 8u)

struct timing {
	atomic_uint_fast64_t count, max_ns, max_at_ns; /* when the slowest began */
	atomic_uint_fast32_t bucket[BUCKETS];
};

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A call that began at `since_ns` has ended. Any number of processes at once. */
static inline void timing_note(struct timing *t, uint64_t since_ns)
{
	uint64_t ns = now_ns() - since_ns + 8, max = atomic_load(&t->max_ns);
	unsigned power = 63u - (unsigned)__builtin_clzll(ns);

	atomic_fetch_add(&t->bucket[power * 8 + (ns >> (power - 3)) % 8], 1);
	atomic_fetch_add(&t->count, 1);
	while (ns > max)
		if (atomic_compare_exchange_weak(&t->max_ns, &max, ns)) {
			atomic_store(&t->max_at_ns, since_ns);
			break;
		}
}

/* Milliseconds that all but `beyond` of the calls stayed below, to an eighth. */
static inline double timing_ms(const struct timing *t, uint64_t beyond)
{
	uint64_t seen = 0;

	for (unsigned i = BUCKETS; i-- > 0;) {
		seen += atomic_load(&t->bucket[i]);
		if (seen > beyond)
			return (double)(1ull << (i / 8)) * (1 + (i % 8 + 1) / 8.0) / 1e6;
	}
	return 0;
}

#endif
