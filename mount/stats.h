/*
 * stats.h - the numbers of a store, in the three shapes they are shown in: lines
 * of text between a daemon and the command line, tables for people, JSON for scripts.
 */
#ifndef MOUNT_STATS_H
#define MOUNT_STATS_H

#include <stdio.h>

#include "fs/fs.h"

#define STATS_BYTES_MAX 8192

struct stats {
	struct fs_stats fs;
	uint64_t pid; /* of the daemon; 0 when there is none */
	/* The compaction asked for by `varve compact`. */
	uint64_t compacting, compact_done, compact_total;
	uint64_t compact_runs;  /* that have ended since the daemon began */
	uint64_t compact_errno; /* of the last one; 0: done */
};

/* "name value" lines, NUL-terminated. Returns the length, or 0 if `size` is too small. */
size_t stats_write(const struct stats *stats, char *text, size_t size);
/* The reverse. Names it does not know are skipped; what is missing is 0. */
void stats_read(struct stats *stats, char *text);

void stats_print(const struct stats *stats, FILE *out);
void stats_print_json(const struct stats *stats, FILE *out);

#endif
