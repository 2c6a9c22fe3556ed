/*
 * stats.h - the numbers of a store in three forms: lines of text between a daemon and the
 * command line, tables for people, and JSON for scripts.
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
	uint64_t compact_runs;  /* compactions that have ended since the daemon was started */
	uint64_t compact_errno; /* of the last one; 0: it succeeded */
};

/*
 * Write "name value" lines into `text`, NUL-terminated.
 * Returns their length without the NUL, or 0 if `size` is too small. STATS_BYTES_MAX is not.
 */
size_t stats_write(const struct stats *stats, char *text, size_t size);
/* Read such lines; `text` is changed. Unknown names are skipped, and missing numbers are 0. */
void stats_read(struct stats *stats, char *text);

void stats_print(const struct stats *stats, FILE *out);
void stats_print_json(const struct stats *stats, FILE *out);

#endif
