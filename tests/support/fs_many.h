/*
 * fs_many.h - a directory of many small files, for tests that damage the tables below it.
 */
#ifndef TESTS_SUPPORT_FS_MANY_H
#define TESTS_SUPPORT_FS_MANY_H

#include <stdint.h>

#include "fs/fs.h"

/* Make `count` files in the new directory /many. Returns its inode, which is held. */
uint64_t fs_many_make(struct fs *fs, unsigned count);

/*
 * Read the files. `lost`: how many of them are `lost_err` (negative) to look up or to read.
 * `wrong`: how many are another error, or are not what was written. /many must be held.
 */
void fs_many_read(struct fs *fs, uint64_t dir, unsigned count, int lost_err, unsigned *lost,
		  unsigned *wrong);

#endif
