/*
 * time.h - times as struct attr has them: nanoseconds since TIME_S_MIN (record.h).
 */
#ifndef FS_TIME_H
#define FS_TIME_H

#include "fs/record.h"

/* As the clock has it, also when it was set back: a wrong time is not kept longer than that. */
uint64_t time_now(void);
/* To and from the times of struct attr; what is beyond is set to the first or last of them. */
uint64_t time_pack(struct timespec ts);
struct timespec time_unpack(uint64_t ns);

#endif
