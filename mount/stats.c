/*
 * stats.c - one table of all numbers, from which every form is made.
 *
 * A daemon and the command line exchange lines of text, so that a newer command can ask
 * an older daemon:
 *
 *     files 12
 *     level0.tables 3
 */
#include "mount/stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name, member)                                                                        \
	{                                                                                          \
		name, offsetof(struct stats, member)                                               \
	}

static const struct field {
	const char *name;
	size_t offset;
} fields[] = {
	FIELD("pid", pid),
	FIELD("files", fs.files),
	FIELD("inodes_in_memory", fs.inodes_in_memory),
	FIELD("inode_bytes", fs.inode_bytes),
	FIELD("disk_bytes", fs.lsm.disk_bytes),
	FIELD("log_bytes", fs.lsm.log_bytes),
	FIELD("memtable_bytes", fs.lsm.memtable_bytes),
	FIELD("memtable_entries", fs.lsm.memtable_entries),
	FIELD("immutable_memtables", fs.lsm.immutable_memtables),
	FIELD("segments", fs.lsm.segments),
	FIELD("segment_bytes", fs.lsm.segment_bytes),
	FIELD("segment_live_bytes", fs.lsm.segment_live_bytes),
	FIELD("cache_bytes", fs.lsm.cache_bytes),
	FIELD("cache_bytes_max", fs.lsm.cache_bytes_max),
	FIELD("cache_hits", fs.lsm.cache_hits),
	FIELD("cache_misses", fs.lsm.cache_misses),
	FIELD("user_bytes_written", fs.lsm.user_bytes_written),
	FIELD("log_bytes_written", fs.lsm.log_bytes_written),
	FIELD("table_bytes_written", fs.lsm.table_bytes_written),
	FIELD("segment_bytes_written", fs.lsm.segment_bytes_written),
	FIELD("flushes", fs.lsm.flushes),
	FIELD("compactions", fs.lsm.compactions),
	FIELD("trivial_moves", fs.lsm.trivial_moves),
	FIELD("write_slowdowns", fs.lsm.write_slowdowns),
	FIELD("write_stops", fs.lsm.write_stops),
	FIELD("filter_negatives", fs.lsm.filter_negatives),
	FIELD("filter_false_positives", fs.lsm.filter_false_positives),
	FIELD("sequence", fs.lsm.sequence),
	FIELD("sequence_synced", fs.lsm.sequence_synced),
	FIELD("compacting", compacting),
	FIELD("compact_done", compact_done),
	FIELD("compact_total", compact_total),
	FIELD("compact_runs", compact_runs),
	FIELD("compact_errno", compact_errno),
};

#define LEVEL_FIELD(member)                                                                        \
	{                                                                                          \
#member, offsetof(struct lsm_level_stats, member)                                  \
	}

static const struct field level_fields[] = {
	LEVEL_FIELD(tables),           LEVEL_FIELD(bytes),
	LEVEL_FIELD(entries),          LEVEL_FIELD(tombstones),
	LEVEL_FIELD(range_tombstones),
};

#define FIELDS (sizeof(fields) / sizeof(*fields))
#define LEVEL_FIELDS (sizeof(level_fields) / sizeof(*level_fields))

static uint64_t stats_number(const void *base, const struct field *field)
{
	uint64_t n;

	memcpy(&n, (const char *)base + field->offset, sizeof(n));
	return n;
}

static void stats_set_number(void *base, const struct field *field, uint64_t n)
{
	memcpy((char *)base + field->offset, &n, sizeof(n));
}

size_t stats_write(const struct stats *stats, char *text, size_t size)
{
	FILE *out = fmemopen(text, size, "w");
	size_t i, level;
	long end;
	int failed;

	if (!out)
		return 0;
	for (i = 0; i < FIELDS; i++)
		fprintf(out, "%s %" PRIu64 "\n", fields[i].name, stats_number(stats, &fields[i]));
	fprintf(out, "read_only %d\n", stats->fs.lsm.read_only);
	for (level = 0; level < LSM_LEVELS; level++)
		for (i = 0; i < LEVEL_FIELDS; i++)
			fprintf(out, "level%zu.%s %" PRIu64 "\n", level, level_fields[i].name,
				stats_number(&stats->fs.lsm.level[level], &level_fields[i]));
	failed = fflush(out) || ferror(out);
	end = ftell(out);
	fclose(out);
	return failed || end < 0 || (size_t)end >= size ? 0 : (size_t)end;
}

static void stats_read_one(struct stats *stats, const char *name, uint64_t n)
{
	size_t i, level;

	for (i = 0; i < FIELDS; i++)
		if (!strcmp(name, fields[i].name))
			stats_set_number(stats, &fields[i], n);
	if (!strcmp(name, "read_only"))
		stats->fs.lsm.read_only = n != 0;
	if (strncmp(name, "level", 5) || name[5] < '0' || name[5] > '9' || name[6] != '.')
		return;
	level = (size_t)(name[5] - '0');
	for (i = 0; level < LSM_LEVELS && i < LEVEL_FIELDS; i++)
		if (!strcmp(name + 7, level_fields[i].name))
			stats_set_number(&stats->fs.lsm.level[level], &level_fields[i], n);
}

void stats_read(struct stats *stats, char *text)
{
	char *line, *blank, *save = NULL;

	*stats = (struct stats){0};
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		blank = strchr(line, ' ');
		if (!blank)
			continue;
		*blank = 0;
		stats_read_one(stats, line, strtoull(blank + 1, NULL, 10));
	}
}

/* "12.3 MiB", in one of several buffers by turns, so that one printf() can have several. */
static const char *stats_human(uint64_t bytes)
{
	static char texts[8][24];
	static unsigned turn;
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	char *text = texts[turn++ % 8];
	double n = (double)bytes;
	unsigned unit = 0;

	for (; n >= 1024 && unit < 6; unit++)
		n /= 1024;
	snprintf(text, sizeof(texts[0]), "%.*f %s", unit ? 1 : 0, n, units[unit]);
	return text;
}

static void stats_print_levels(const struct lsm_stats *lsm, FILE *out)
{
	unsigned level;

	fprintf(out, "\n%-6s %8s %12s %12s %12s %8s\n", "level", "tables", "size", "entries",
		"tombstones", "ranges");
	for (level = 0; level < LSM_LEVELS; level++) {
		const struct lsm_level_stats *l = &lsm->level[level];

		fprintf(out, "%-6u %8" PRIu64 " %12s %12" PRIu64 " %12" PRIu64 " %8" PRIu64 "\n",
			level, l->tables, stats_human(l->bytes), l->entries, l->tombstones,
			l->range_tombstones);
	}
}

void stats_print(const struct stats *stats, FILE *out)
{
	const struct lsm_stats *lsm = &stats->fs.lsm;
	uint64_t written =
		lsm->log_bytes_written + lsm->table_bytes_written + lsm->segment_bytes_written;
	uint64_t reads = lsm->cache_hits + lsm->cache_misses;

	fprintf(out, "files      %" PRIu64 "\n", stats->fs.files);
	fprintf(out, "on disk    %s: log %s, %" PRIu64 " segments %s of which %s are live\n",
		stats_human(lsm->disk_bytes), stats_human(lsm->log_bytes), lsm->segments,
		stats_human(lsm->segment_bytes), stats_human(lsm->segment_live_bytes));
	fprintf(out, "memtable   %s, %" PRIu64 " entries; %" PRIu64 " more being written\n",
		stats_human(lsm->memtable_bytes), lsm->memtable_entries, lsm->immutable_memtables);
	fprintf(out, "cache      %s of %s", stats_human(lsm->cache_bytes),
		stats_human(lsm->cache_bytes_max));
	if (reads)
		fprintf(out, ", %.1f%% of %" PRIu64 " reads hit",
			100.0 * (double)lsm->cache_hits / (double)reads, reads);
	fprintf(out, "\ninodes     %" PRIu64 " in memory, %s\n", stats->fs.inodes_in_memory,
		stats_human(stats->fs.inode_bytes));
	fprintf(out, "written    %s for %s of data", stats_human(written),
		stats_human(lsm->user_bytes_written));
	if (lsm->user_bytes_written)
		fprintf(out, " (%.2f times)", (double)written / (double)lsm->user_bytes_written);
	fprintf(out, "; %" PRIu64 " flushes, %" PRIu64 " compactions, %" PRIu64 " moves\n",
		lsm->flushes, lsm->compactions, lsm->trivial_moves);
	fprintf(out, "waits      %" PRIu64 " slowed down, %" PRIu64 " stopped\n",
		lsm->write_slowdowns, lsm->write_stops);
	fprintf(out, "sequence   %" PRIu64 ", of which %" PRIu64 " survive a power cut\n",
		lsm->sequence, lsm->sequence_synced);
	if (lsm->read_only)
		fprintf(out, "read-only  yes\n");
	if (stats->pid)
		fprintf(out, "daemon     process %" PRIu64 "\n", stats->pid);
	stats_print_levels(lsm, out);
}

void stats_print_json(const struct stats *stats, FILE *out)
{
	size_t i, level;

	fprintf(out, "{\n");
	for (i = 0; i < FIELDS; i++)
		fprintf(out, "  \"%s\": %" PRIu64 ",\n", fields[i].name,
			stats_number(stats, &fields[i]));
	fprintf(out, "  \"read_only\": %s,\n  \"levels\": [\n",
		stats->fs.lsm.read_only ? "true" : "false");
	for (level = 0; level < LSM_LEVELS; level++) {
		fprintf(out, "    {\"level\": %zu", level);
		for (i = 0; i < LEVEL_FIELDS; i++)
			fprintf(out, ", \"%s\": %" PRIu64, level_fields[i].name,
				stats_number(&stats->fs.lsm.level[level], &level_fields[i]));
		fprintf(out, "}%s\n", level + 1 < LSM_LEVELS ? "," : "");
	}
	fprintf(out, "  ]\n}\n");
}
