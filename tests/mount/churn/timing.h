/*
 * timing.h - how long the calls of churn.c took: a histogram per kind of call,
 * in memory that all its processes share.
 */
#ifndef TESTS_MOUNT_CHURN_TIMING_H
#define TESTS_MOUNT_CHURN_TIMING_H

#include <stdatomic.h>
#include <stdint.h>

/* Eight buckets per power of two nanoseconds. */
#define BUCKETS (64u * 8u)

struct timing {
	atomic_uint_fast64_t count, max_ns, max_at_ns; /* when the slowest began */
	atomic_uint_fast32_t bucket[BUCKETS];
};

/* Return the time of a clock that never goes back. */
uint64_t timing_now_ns(void);
/* Count a call that began at `since_ns` and has ended. Any process may, at any time. */
void timing_note(struct timing *t, uint64_t since_ns);
/* Return a time in ms that all but `beyond` of the calls stayed below, to an eighth. */
double timing_ms(const struct timing *t, uint64_t beyond);

#endif
