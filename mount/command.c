/*
 * command.c - what all subcommands share: help, options, the end.
 */
#include "mount/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "mount/message.h"

void command_help(const struct command *self)
{
	printf("usage: %s\n\n%s.\n", self->usage, self->summary);
	if (*self->help)
		printf("\n%s", self->help);
	if (strstr(self->usage, "PATH"))
		printf("\nPATH is a path within the store. Symbolic links in it are not followed.\n"
		       "The store must not be mounted: while it is, use the files at its mount "
		       "point.\n");
}

bool command_arguments(const struct command *self, int argc, char **argv, const char *flags,
		       int min, int max, char given[8], int *status)
{
	static const struct option words[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'J'},
		{"recursive", no_argument, NULL, 'r'},
		{"repair", no_argument, NULL, 'R'},
		{0},
	};
	size_t n = 0;
	int c;

	memset(given, 0, 8);
	optind = 0;
	opterr = 0;
	*status = EXIT_USAGE;
	while ((c = getopt_long(argc, argv, "hr", words, NULL)) != -1) {
		if (c == 'h') {
			command_help(self);
			*status = command_finish(EXIT_DONE);
			return false;
		}
		if (c == '?' || !strchr(flags, c)) {
			say_error("%s: no such option; see `varve %s --help`", argv[optind - 1],
				  self->name);
			return false;
		}
		if (!strchr(given, c) && n < 7)
			given[n++] = (char)c;
	}
	if (argc - optind >= min && argc - optind <= max)
		return true;
	say_error("%s: too %s arguments; see `varve %s --help`", self->name,
		  argc - optind < min ? "few" : "many", self->name);
	return false;
}

int command_finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	if (errno != EPIPE)
		say_error("stdout: %s", strerror(errno));
	return EXIT_FAILED;
}
