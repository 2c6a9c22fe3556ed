/*
 * time.c - times as struct attr has them. See time.h.
 */
#include "fs/time.h"

#include <time.h>

#define SECOND_NS UINT64_C(1000000000)

uint64_t time_pack(struct timespec ts)
{
	/* As on ext4, the first and the last are whole seconds. */
	if (ts.tv_sec <= TIME_S_MIN)
		return 0;
	if (ts.tv_sec >= TIME_S_MAX)
		return (uint64_t)(TIME_S_MAX - TIME_S_MIN) * SECOND_NS;
	return (uint64_t)(ts.tv_sec - TIME_S_MIN) * SECOND_NS + (uint64_t)ts.tv_nsec;
}

struct timespec time_unpack(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / SECOND_NS) + TIME_S_MIN,
				 .tv_nsec = (long)(ns % SECOND_NS)};
}

uint64_t time_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return time_pack(ts);
}
