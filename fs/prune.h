/*
 * prune.h - keeping the table of inodes within its share of memory. See the top of prune.c.
 */
#ifndef FS_PRUNE_H
#define FS_PRUNE_H

#include "fs/core.h"

int prune_open(struct fs *fs);
void prune_close(struct fs *fs);
void prune_wake(struct fs *fs); /* the table has outgrown its share */
bool prune_full(struct fs *fs); /* the table of inodes has outgrown its share */

#endif
