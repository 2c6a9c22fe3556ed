/*
 * cmd_upkeep.c - check, scrub, stat and compact. While a store is mounted, scrub, stat and
 * compact ask its daemon.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/live.h"
#include "mount/message.h"
#include "mount/store.h"

/* On a terminal, a line that is overwritten. Elsewhere nothing is shown. */
struct progress {
	const char *what;
	int percent;
	bool shown;
};

static int progress_show(void *ctx, uint64_t done, uint64_t total)
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

static void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r%*s\r", (int)strlen(p->what) + 5, "");
	p->shown = false;
}

static int upkeep_open(const char *name, bool read_only, char **path, struct fs **fs)
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

static void progress_on_finding(void *ctx, const char *text)
{
	char *copy = strdup(text);

	progress_end(ctx);
	if (copy)
		message_clean(copy);
	printf("%s\n", copy ? copy : "a finding that there is not enough memory to print");
	free(copy);
}

static void upkeep_print_counts(const struct fs_check_counts *counts, int err)
{
	printf("%" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " links, %" PRIu64
	       " others, %" PRIu64 " bytes, %" PRIu64 " orphans; ",
	       counts->files, counts->directories, counts->symlinks, counts->others, counts->bytes,
	       counts->orphans);
	if (!err && counts->lost_bytes)
		printf("clean, but for %" PRIu64 " bytes lost before\n", counts->lost_bytes);
	else if (!err)
		printf("clean\n");
	else
		printf("%" PRIu64 " findings\n", counts->findings);
}

static int cmd_check_repair(const char *name)
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
	err = store_repair(path, progress_on_finding, &progress, progress_show, &progress, &counts);
	progress_end(&progress);
	if (!err && !counts.actions && !counts.lost)
		printf("clean: nothing to repair\n");
	else if (!err)
		printf("repaired: %" PRIu64 " things put right, %" PRIu64
		       " saved in lost+found, %" PRIu64 " losses, which are listed above\n",
		       counts.actions, counts.saved, counts.lost);
	if (!err && counts.kept_bytes)
		printf("the files that were replaced are kept as %s/*.old, %" PRIu64
		       " bytes; delete them when you miss nothing\n",
		       path, counts.kept_bytes);
	free(path);
	return command_finish(err || counts.lost ? EXIT_FAILED : EXIT_DONE);
}

static int cmd_check(const struct command *self, int argc, char **argv)
{
	struct progress progress = {.what = "checking", .percent = -1};
	struct fs_check_counts counts = {0};
	char given[8], *path = NULL;
	struct fs *fs;
	int status, err;

	if (!command_arguments(self, argc, argv, "R", 1, 1, given, &status))
		return status;
	if (strchr(given, 'R'))
		return cmd_check_repair(argv[optind]);
	if (upkeep_open(argv[optind], true, &path, &fs)) {
		free(path);
		return EXIT_FAILED;
	}
	store_hush(true);
	err = fs_check(fs, progress_on_finding, &progress, progress_show, &progress, &counts);
	store_hush(false);
	progress_end(&progress);
	upkeep_print_counts(&counts, err);
	if (err == -EUCLEAN)
		say_error("%s: damaged; `varve check --repair` saves what can be read; if the disk "
			  "is failing, copy the store to another one first",
			  path);
	else if (err)
		say_error("%s: the check ended early: %s", path, message_reason(err));
	status = err ? EXIT_FAILED : EXIT_DONE;
	if (store_close(path, fs))
		status = EXIT_FAILED;
	free(path);
	return command_finish(status);
}

static const char cmd_check_help[] =
	"Prints each finding, and how many files, directories and bytes there are. Nothing is\n"
	"changed.\n"
	"\n"
	"  --repair  save everything that can be read, and make the store whole again. Files and\n"
	"            directories that have lost their names go to lost+found. Lost parts of\n"
	"            files are read errors until they are written again. Prints each action. The\n"
	"            store changes in one step at the end, if the result is whole. A repair that\n"
	"            is interrupted changes nothing. It may need as much space as the store takes\n"
	"            without its large files. Files that it replaced stay in the store as *.old\n"
	"            until you delete them. Exit status 0: the store is whole and nothing was\n"
	"            lost; 1: something was lost, or the repair failed\n";

const struct command command_check = {
	.name = "check",
	.run = cmd_check,
	.usage = "varve check [--repair] STORE",
	.summary = "verify every byte; 0 clean, 1 damaged",
	.help = cmd_check_help,
};

static int cmd_stat_read(const char *name, struct stats *stats)
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
	err = upkeep_open(name, true, &path, &fs);
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

static int cmd_stat(const struct command *self, int argc, char **argv)
{
	struct stats stats;
	char given[8];
	int status;

	if (!command_arguments(self, argc, argv, "J", 1, 1, given, &status))
		return status;
	if (cmd_stat_read(argv[optind], &stats))
		return EXIT_FAILED;
	if (strchr(given, 'J'))
		stats_print_json(&stats, stdout);
	else
		stats_print(&stats, stdout);
	return command_finish(EXIT_DONE);
}

const struct command command_stat = {
	.name = "stat",
	.run = cmd_stat,
	.usage = "varve stat [--json] STORE|MOUNTPOINT",
	.summary = "print what the store has, per level",
	.help = "If the store is mounted, name its mount point: the running daemon is asked then.\n"
		"--json is for scripts.\n",
};

/* Begin a compaction and watch the daemon's numbers until it has ended. */
static int cmd_compact_mounted(const struct mount_info *info)
{
	static const struct timespec pause = {.tv_nsec = 100000000};
	struct progress progress = {.what = "compacting", .percent = -1};
	struct stats stats;
	uint64_t runs;
	int err = live_stats(info, &stats);

	if (!err) {
		runs = stats.compact_runs;
		err = live_compact(info);
		/* One that another command has begun is as good. */
		if (err == -EALREADY)
			err = 0;
	}
	while (!err) {
		err = live_stats(info, &stats);
		if (err || stats.compact_runs != runs)
			break;
		progress_show(&progress, stats.compact_done, stats.compact_total);
		nanosleep(&pause, NULL);
	}
	progress_end(&progress);
	if (err) {
		live_say(info, err);
		return err;
	}
	err = -(int)stats.compact_errno;
	if (err)
		say_error("%s: compaction failed: %s; the files are unchanged", info->path,
			  message_reason(err));
	return err;
}

static int cmd_compact_closed(const char *name)
{
	struct progress progress = {.what = "compacting", .percent = -1};
	struct fs *fs;
	char *path;
	int err = upkeep_open(name, false, &path, &fs);

	if (!err) {
		err = fs_compact(fs, progress_show, &progress);
		progress_end(&progress);
		if (err)
			say_error("%s: compaction failed: %s; the files are unchanged", path,
				  message_reason(err));
		if (store_close(path, fs))
			err = -EIO;
	}
	free(path);
	return err;
}

static int cmd_compact(const struct command *self, int argc, char **argv)
{
	struct mount_info info;
	char given[8];
	int status, err;

	if (!command_arguments(self, argc, argv, "", 1, 1, given, &status))
		return status;
	if (!live_find(argv[optind], &info)) {
		err = cmd_compact_mounted(&info);
		mount_info_release(&info);
	} else {
		err = cmd_compact_closed(argv[optind]);
	}
	return err ? EXIT_FAILED : EXIT_DONE;
}

const struct command command_compact = {
	.name = "compact",
	.run = cmd_compact,
	.usage = "varve compact STORE|MOUNTPOINT",
	.summary = "compact now, with progress",
	.help = "Drops everything that was deleted or overwritten, and frees its space.\n",
};

/* ---- scrub ---- */

static volatile sig_atomic_t interrupted;

static void scrub_on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* Print findings as they come until the daemon's scrub has ended; when interrupted, stop it. */
static int cmd_scrub_watch(const struct mount_info *info, uint64_t run, struct scrub_state *state)
{
	static const struct timespec pause = {.tv_nsec = 200000000};
	struct progress progress = {.what = "scrubbing", .percent = -1};
	static char text[LIVE_SCRUB_BYTES];
	uint64_t from = 0;
	bool stopped = false;
	size_t got;
	int err;

	for (;;) {
		err = live_scrub_read(info, run, from, state, text, &got);
		if (err || (state->ended && !got))
			break;
		from += got;
		if (got) {
			progress_end(&progress);
			/* The daemon has cleaned them; but it may be another version of Varve. */
			message_clean_lines(text);
			fwrite(text, 1, got, stdout);
			fflush(stdout);
		}
		/* Stop it also when nobody reads the output any more. */
		if ((interrupted || ferror(stdout)) && !stopped) {
			(void)live_scrub_stop(info, run);
			stopped = true;
		}
		progress_show(&progress, state->done, state->total);
		if (!got)
			nanosleep(&pause, NULL);
	}
	progress_end(&progress);
	return err;
}

/* A signal that is ignored (by nohup, or in the background of a script) stays ignored. */
static void scrub_catch_signal(int number)
{
	struct sigaction action = {.sa_handler = scrub_on_signal}, old;

	if (!sigaction(number, NULL, &old) && old.sa_handler != SIG_IGN)
		sigaction(number, &action, NULL);
}

static int cmd_scrub_mounted(const struct mount_info *info, uint64_t rate_mib)
{
	struct scrub_state state;
	uint64_t run;
	int err = live_scrub_begin(info, rate_mib, &run);

	if (err == -EALREADY) {
		say_error("%s: a scrub is running already; wait for it to end, or interrupt the "
			  "command that started it",
			  info->path);
		return err;
	}
	if (err) {
		live_say(info, err);
		return err;
	}
	scrub_catch_signal(SIGINT);
	scrub_catch_signal(SIGTERM);
	scrub_catch_signal(SIGHUP);
	err = cmd_scrub_watch(info, run, &state);
	if (err == -ENODATA || err == -EOPNOTSUPP || err == -ENOENT) {
		say_error("%s: unmounted during the scrub; `varve check %s` checks the store",
			  info->path, info->source);
		return err;
	}
	if (err) {
		live_say(info, err);
		return err;
	}
	if (state.err == -EINTR) {
		say_error(
			"%s: the scrub was stopped before its end; there may be damage that it did "
			"not reach",
			info->path);
		return state.err;
	}
	upkeep_print_counts(&state.counts, state.err);
	if (state.err == -EUCLEAN)
		say_error(
			"%s: damaged; the files named above cannot be read whole, all others can; "
			"copy them elsewhere",
			info->path);
	else if (state.err)
		say_error("%s: the scrub ended early: %s", info->path, message_reason(state.err));
	return state.err;
}

/* Find the mount that `name` is the mount point or the store of. 0; -ENOENT: there is none. */
static int cmd_scrub_find(const char *name, struct mount_info *info)
{
	char *store, *mnt;
	int err = live_find(name, info);

	if (err != -ENOENT)
		return err;
	store = store_resolve(name);
	mnt = store ? mountpoint_of_store(store) : NULL;
	if (mnt)
		err = live_find(mnt, info);
	free(mnt);
	free(store);
	return err;
}

static int cmd_scrub(const struct command *self, int argc, char **argv)
{
	static const struct option words[] = {
		{"help", no_argument, NULL, 'h'}, {"rate", required_argument, NULL, 'r'}, {0}};
	uint64_t rate_mib = SCRUB_RATE_MIB_DEFAULT;
	struct mount_info info;
	char *end;
	int c, err;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", words, NULL)) != -1) {
		if (c == 'h') {
			command_help(self);
			return command_finish(EXIT_DONE);
		}
		if (c != 'r') {
			say_error("%s: no such option; see `varve scrub --help`", argv[optind - 1]);
			return EXIT_USAGE;
		}
		errno = 0;
		rate_mib = strtoull(optarg, &end, 10);
		if (errno || end == optarg || *end || *optarg == '-' || rate_mib > UINT32_MAX) {
			say_error("--rate=%s: not a number of MiB a second; 0 is no limit", optarg);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		say_error("scrub: too %s arguments; see `varve scrub --help`",
			  argc - optind < 1 ? "few" : "many");
		return EXIT_USAGE;
	}
	if (cmd_scrub_find(argv[optind], &info)) {
		char *check[] = {"check", argv[optind], NULL};

		return cmd_check(&command_check, 2, check);
	}
	err = cmd_scrub_mounted(&info, rate_mib);
	mount_info_release(&info);
	return command_finish(err ? EXIT_FAILED : EXIT_DONE);
}

static const char cmd_scrub_help[] =
	"Does what `varve check` does, through the running daemon, at low priority. Prints\n"
	"each finding, and how much there is. Ctrl-C stops the scrub. If the store is not\n"
	"mounted, it is checked as by `varve check`.\n"
	"\n"
	"  --rate=MIB   read at most MIB mebibytes a second (100); 0: no limit\n";

const struct command command_scrub = {
	.name = "scrub",
	.run = cmd_scrub,
	.usage = "varve scrub [--rate=MIB] STORE|MOUNTPOINT",
	.summary = "verify every byte while it is mounted; 0 clean, 1 damaged",
	.help = cmd_scrub_help,
};
