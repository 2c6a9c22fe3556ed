/*
 * command.h - the subcommands. Each gets its own name as argv[0] and returns the
 * exit status of the program.
 */
#ifndef MOUNT_COMMAND_H
#define MOUNT_COMMAND_H

#include <stdbool.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* the thing asked for failed, or damage was found */
	EXIT_USAGE = 2,
};

typedef int command_fn(int argc, char **argv);

command_fn cmd_mount, cmd_umount, cmd_check, cmd_scrub, cmd_ls, cmd_get, cmd_put, cmd_rm, cmd_scan,
	cmd_stat, cmd_compact;

/* Print a command's help on stdout. */
void command_help(const char *name);

/*
 * Take one-letter flags (those in `flags`), "--help" and, if "J" is among the flags,
 * "--json" from the arguments, and see that `min` to `max` others are left, the first
 * of which is argv[optind]. `*given` gets the letters. Returns -1 to go on, or the
 * exit status to end with; what is wrong was said.
 */
int command_arguments(int argc, char **argv, const char *flags, int min, int max, char given[8]);

/* Flush stdout. Returns `status`, or EXIT_FAILED (said, but for a closed pipe) if that failed. */
int command_finish(int status);

#endif
