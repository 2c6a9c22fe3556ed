/*
 * timing.c - how long the calls of churn took.
 */
#include "tests/mount/churn/timing.h"

#include <time.h>

uint64_t timing_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void timing_note(struct timing *t, uint64_t since_ns)
{
	uint64_t ns = timing_now_ns() - since_ns + 8, max = atomic_load(&t->max_ns);
	unsigned power = 63u - (unsigned)__builtin_clzll(ns);

	atomic_fetch_add(&t->bucket[power * 8 + (ns >> (power - 3)) % 8], 1);
	atomic_fetch_add(&t->count, 1);
	while (ns > max)
		if (atomic_compare_exchange_weak(&t->max_ns, &max, ns)) {
			atomic_store(&t->max_at_ns, since_ns);
			break;
		}
}

double timing_ms(const struct timing *t, uint64_t beyond)
{
	uint64_t seen = 0;

	for (unsigned i = BUCKETS; i-- > 0;) {
		seen += atomic_load(&t->bucket[i]);
		if (seen > beyond)
			return (double)(1ull << (i / 8)) * (1 + (i % 8 + 1) / 8.0) / 1e6;
	}
	return 0;
}
