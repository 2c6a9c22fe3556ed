/*
 * cmd_upkeep.c - check, stat and compact: looking at a store and tidying it up,
 * through its daemon while it is mounted.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/live.h"
#include "mount/message.h"
#include "mount/store.h"

/* On a terminal, one line that is written over; elsewhere nothing. */
struct progress {
	const char *what;
	int percent;
	bool shown;
};

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	int percent = total ? (int)((double)done / (double)total * 100) : 0;

	if (percent > 100)
		percent = 100;
	if (percent == p->percent || !isatty(STDERR_FILENO))
		return 0;
	p->percent = percent;
	p->shown = true;
	fprintf(stderr, "\r%s %d%%", p->what, percent);
	return 0;
}

static void end_progress(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r%*s\r", (int)strlen(p->what) + 5, "");
	p->shown = false;
}

static int open_named(const char *name, bool read_only, char **path, struct fs **fs)
{
	struct fs_options options = {.lsm.read_only = read_only};
	int err;

	*fs = NULL;
	*path = store_resolve(name);
	if (!*path) {
		err = -errno;
		say_error("%s: no store there: %s; name the directory of a store, or a mount point",
			  name, strerror(errno));
		return err;
	}
	return store_open(*path, &options, STORE_WAIT_SHORT_S, fs);
}

static void on_finding(void *ctx, const char *text)
{
	char *copy = strdup(text);

	end_progress(ctx);
	if (copy)
		message_clean(copy);
	printf("%s\n", copy ? copy : "not enough memory to say what");
	free(copy);
}

static int repair(const char *name)
{
	struct progress progress = {.what = "repairing", .percent = -1};
	struct fs_repair_counts counts;
	char *path = store_resolve(name);
	int err;

	if (!path) {
		say_error("%s: no store there: %s; name the directory of a store", name,
			  strerror(errno));
		return EXIT_FAILED;
	}
	err = store_repair(path, on_finding, &progress, on_progress, &progress, &counts);
	end_progress(&progress);
	if (!err && !counts.actions && !counts.lost)
		printf("clean: nothing to repair\n");
	else if (!err)
		printf("repaired: %" PRIu64 " things put right, %" PRIu64
		       " saved in lost+found, %" PRIu64 " losses as told above\n",
		       counts.actions, counts.saved, counts.lost);
	if (!err && counts.kept_bytes)
		printf("what was replaced is kept as %s/*.old, %" PRIu64
		       " bytes; delete it when nothing is missed\n",
		       path, counts.kept_bytes);
	free(path);
	return command_finish(err || counts.lost ? EXIT_FAILED : EXIT_DONE);
}

int cmd_check(int argc, char **argv)
{
	struct progress progress = {.what = "checking", .percent = -1};
	struct fs_check_counts counts = {0};
	char given[8], *path = NULL;
	struct fs *fs;
	int status = command_arguments(argc, argv, "R", 1, 1, given), err;

	if (status >= 0)
		return status;
	if (strchr(given, 'R'))
		return repair(argv[optind]);
	if (open_named(argv[optind], true, &path, &fs)) {
		free(path);
		return EXIT_FAILED;
	}
	store_hush(true);
	err = fs_check(fs, on_finding, &progress, on_progress, &progress, &counts);
	store_hush(false);
	end_progress(&progress);
	printf("%" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " links, %" PRIu64
	       " others, %" PRIu64 " bytes, %" PRIu64 " orphans; ",
	       counts.files, counts.directories, counts.symlinks, counts.others, counts.bytes,
	       counts.orphans);
	if (!err && counts.lost_bytes)
		printf("clean, but for %" PRIu64 " bytes lost before\n", counts.lost_bytes);
	else if (!err)
		printf("clean\n");
	else
		printf("%" PRIu64 " findings\n", counts.findings);
	if (err == -EUCLEAN)
		say_error("%s: damaged; `varve check --repair` saves what can be read; if its disk "
			  "is failing, copy it to another first",
			  path);
	else if (err)
		say_error("%s: the check could not go on: %s", path, message_reason(err));
	status = err ? EXIT_FAILED : EXIT_DONE;
	if (store_close(path, fs))
		status = EXIT_FAILED;
	free(path);
	return command_finish(status);
}

static int get_stats(const char *name, struct stats *stats)
{
	struct mount_info info;
	struct fs *fs;
	char *path;
	int err;

	*stats = (struct stats){0};
	if (!live_find(name, &info)) {
		err = live_stats(&info, stats);
		if (err)
			live_say(&info, err);
		mount_info_release(&info);
		return err;
	}
	err = open_named(name, true, &path, &fs);
	if (!err) {
		err = fs_stats(fs, &stats->fs);
		if (err)
			say_error("%s: cannot count: %s; see what `varve check` finds", path,
				  message_reason(err));
		if (store_close(path, fs))
			err = -EIO;
	}
	free(path);
	return err;
}

int cmd_stat(int argc, char **argv)
{
	struct stats stats;
	char given[8];
	int status = command_arguments(argc, argv, "J", 1, 1, given);

	if (status >= 0)
		return status;
	if (get_stats(argv[optind], &stats))
		return EXIT_FAILED;
	if (strchr(given, 'J'))
		stats_print_json(&stats, stdout);
	else
		stats_print(&stats, stdout);
	return command_finish(EXIT_DONE);
}

/* Begin a compaction and watch the daemon's numbers until it has ended. */
static int compact_live(const struct mount_info *info)
{
	static const struct timespec pause = {.tv_nsec = 100000000};
	struct progress progress = {.what = "compacting", .percent = -1};
	struct stats stats;
	uint64_t runs;
	int err = live_stats(info, &stats);

	if (!err) {
		runs = stats.compact_runs;
		err = live_compact(info);
		/* Somebody else's does as well. */
		if (err == -EALREADY)
			err = 0;
	}
	while (!err) {
		err = live_stats(info, &stats);
		if (err || stats.compact_runs != runs)
			break;
		on_progress(&progress, stats.compact_done, stats.compact_total);
		nanosleep(&pause, NULL);
	}
	end_progress(&progress);
	if (err) {
		live_say(info, err);
		return err;
	}
	err = -(int)stats.compact_errno;
	if (err)
		say_error("%s: compaction failed: %s; what is there is as it was", info->path,
			  message_reason(err));
	return err;
}

static int compact_closed(const char *name)
{
	struct progress progress = {.what = "compacting", .percent = -1};
	struct fs *fs;
	char *path;
	int err = open_named(name, false, &path, &fs);

	if (!err) {
		err = fs_compact(fs, on_progress, &progress);
		end_progress(&progress);
		if (err)
			say_error("%s: compaction failed: %s; what is there is as it was", path,
				  message_reason(err));
		if (store_close(path, fs))
			err = -EIO;
	}
	free(path);
	return err;
}

int cmd_compact(int argc, char **argv)
{
	struct mount_info info;
	char given[8];
	int status = command_arguments(argc, argv, "", 1, 1, given), err;

	if (status >= 0)
		return status;
	if (!live_find(argv[optind], &info)) {
		err = compact_live(&info);
		mount_info_release(&info);
	} else {
		err = compact_closed(argv[optind]);
	}
	return err ? EXIT_FAILED : EXIT_DONE;
}
