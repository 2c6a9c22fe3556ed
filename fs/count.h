/*
 * count.h - the number of inodes in use. See the top of count.c.
 */
#ifndef FS_COUNT_H
#define FS_COUNT_H

#include "fs/core.h"

int count_open(struct fs *fs);   /* take the count, or start counting */
int count_wait(struct fs *fs);   /* until it is exact; an error if it never will be */
void count_close(struct fs *fs); /* stop counting; write it down if it is exact */
static inline void count_add(struct fs *fs, int n)
{
	atomic_fetch_add_explicit(&fs->count.files, n, memory_order_relaxed);
}
static inline uint64_t count_files(struct fs *fs)
{
	int64_t n = atomic_load_explicit(&fs->count.files, memory_order_relaxed);

	return n < 0 ? 0 : (uint64_t)n;
}

#endif
