/*
 * command.h - a subcommand of varve, and what all of them share.
 *
 * Each cmd_*.c defines the rows of its subcommands; main.c has the table of all.
 */
#ifndef MOUNT_COMMAND_H
#define MOUNT_COMMAND_H

#include <stdbool.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* the command failed, or it found damage */
	EXIT_USAGE = 2,
};

/* One subcommand. All texts are for people; none is NULL. */
struct command {
	const char *name;
	/*
	 * Run the subcommand. `self` is this row; `argv[0]` is the subcommand's name.
	 * Returns the exit status of the program.
	 */
	int (*run)(const struct command *self, int argc, char **argv);
	const char *usage;   /* the command line; with PATH in it, help explains paths, too */
	const char *summary; /* half a sentence, for the list of subcommands */
	const char *help;    /* whole lines, or "" */
};

extern const struct command command_mount, command_umount, command_check, command_scrub, command_ls,
	command_get, command_put, command_rm, command_scan, command_stat, command_compact;

/* Print the subcommand's help on stdout. */
void command_help(const struct command *self);

/*
 * Read the options in front of a subcommand's arguments, and count the arguments.
 *
 * `flags` has the letters of the options that `self` takes: "r" is -r or --recursive, "J" is
 * --json, "R" is --repair. --help and -h are always taken. `given` gets the letters of those
 * that were given, NUL-terminated. From `min` to `max` arguments must follow; argv[optind] is
 * the first of them.
 * Returns true if the subcommand is to go on. Otherwise `*status` is the exit status to end
 * with: help was printed, or an error was reported.
 */
bool command_arguments(const struct command *self, int argc, char **argv, const char *flags,
		       int min, int max, char given[8], int *status);

/*
 * Flush stdout, at the end of a subcommand that printed. Returns `status`, or EXIT_FAILED if
 * stdout could not be written. That is reported, unless the reader has closed the pipe.
 */
int command_finish(int status);

#endif
