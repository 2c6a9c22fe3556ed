/*
 * main.c - the program `varve`: which subcommand is run.
 *
 * Without a subcommand's name first, `varve STORE MOUNTPOINT -o OPT,...` mounts:
 * mount(8) calls the helper of type fuse.varve like that, with the store's whole path. There a
 * word without a slash is no store, but a mistyped subcommand: `varve unmount mnt` must not
 * make a store called "unmount". A store in the working directory is written `./store`.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/message.h"
#include "mount/nearest.h"
#include "mount/version.h"

static const struct command *const main_commands[] = {
	&command_mount, &command_umount, &command_check,   &command_scrub,
	&command_ls,    &command_get,    &command_put,     &command_rm,
	&command_scan,  &command_stat,   &command_compact,
};

#define COMMANDS (sizeof(main_commands) / sizeof(*main_commands))

static void main_help(void)
{
	size_t i;

	printf("usage: varve COMMAND ...\n"
	       "       varve STORE MOUNTPOINT [-o OPT,...]    as `varve mount`, for mount(8);\n"
	       "                                              STORE has a slash in it\n\n"
	       "A filesystem kept in a log-structured merge tree.\n\n");
	for (i = 0; i < COMMANDS; i++)
		printf("  %-8s  %s\n", main_commands[i]->name, main_commands[i]->summary);
	printf("\n`varve COMMAND --help` explains a command. Exit status: 0 done, 1 the command\n"
	       "failed or found damage, 2 wrong usage.\n");
}

static int main_no_such_command(const char *word)
{
	struct nearest nearest;
	size_t i;

	nearest_init(&nearest, word);
	for (i = 0; i < COMMANDS; i++)
		nearest_try(&nearest, main_commands[i]->name);
	if (nearest.suggestion)
		say_error("%s: no such command, perhaps meant as %s; see `varve --help`", word,
			  nearest.suggestion);
	else
		say_error("%s: no such command; see `varve --help`, or write ./%s if it is a store",
			  word, word);
	return EXIT_USAGE;
}

/*
 * Open the descriptors 0 to 2 that are closed. Otherwise the store's own files would get these
 * numbers, and messages would be written into them. They are opened the wrong way round, so
 * that reading stdin and writing stdout still fail. Returns false if that is not possible.
 */
static bool main_open_standard_files(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	size_t i;

	if (!main_open_standard_files()) {
		say_error("/dev/null: %s; descriptors 0 to 2 are closed and cannot be opened",
			  strerror(errno));
		return EXIT_FAILED;
	}
	/*
	 * Writing to a pipe without a reader, or beyond a limit on the size of files, is an error
	 * of that write, and must not end the process.
	 */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc < 2) {
		say_error("no command; see `varve --help`");
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		main_help();
		return command_finish(EXIT_DONE);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("varve %s\n", VARVE_VERSION);
		return command_finish(EXIT_DONE);
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], main_commands[i]->name))
			return main_commands[i]->run(main_commands[i], argc - 1, argv + 1);
	if (argc == 2 || (argv[1][0] != '-' && !strchr(argv[1], '/')))
		return main_no_such_command(argv[1]);
	return command_mount.run(&command_mount, argc, argv);
}
