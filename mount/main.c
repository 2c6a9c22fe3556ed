/*
 * main.c - the program `varve`: which subcommand, and the help of each.
 *
 * Without a subcommand's name first, `varve STORE MOUNTPOINT -o OPT,...` mounts:
 * that is how mount(8) calls the helper of type fuse.varve. A store that is called
 * like a subcommand is named with a slash: `varve ./check /mnt`.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "mount/command.h"
#include "mount/message.h"
#include "mount/version.h"

static const struct command {
	const char *name;
	command_fn *run;
	const char *usage;
	const char *what;
	const char *help;
} commands[] = {
	{"mount", cmd_mount, "varve mount [-f] [-o OPT,...] STORE MOUNTPOINT",
	 "make the store's files usable at MOUNTPOINT",
	 "The store is a directory, made on first use. MOUNTPOINT is an empty directory.\n"
	 "The daemon goes to the background when the mount works; -f keeps it in the\n"
	 "foreground, with its messages on stderr.\n"
	 "\n"
	 "  -o memory=SIZE     for caches and buffers of all kinds (256M; at least 16M)\n"
	 "  -o commit=SECONDS  an unsynced change is never older on disk (5)\n"
	 "  -o sync            every change survives a power cut before its call returns\n"
	 "  -o ro              read only: not a byte of the store is written\n"
	 "  -o compress=HOW    of the tables: none, lz4 (default) or zstd\n"
	 "  -o noatime|relatime|strictatime   when reading changes a file's access time\n"
	 "  -o acl             POSIX ACLs, as on ext4\n"
	 "  -o writeback       the kernel collects writes: faster when they are tiny\n"
	 "  -o threads=N       that answer requests, at most (2)\n"
	 "  -o nonempty        mount over a directory with files in it\n"
	 "  -o halt            let a virtual machine's idle CPUs halt while requests come\n"
	 "  -o discard_damage  open a damaged log, losing what was logged from the damage on\n"
	 "  -o debug           print every request; implies -f\n"
	 "\n"
	 "  -o allow_other, allow_root    let others use the mount\n"
	 "  -o default_permissions        the kernel checks modes and owners (always on,\n"
	 "                                but for a mount only root can reach)\n"
	 "  -o auto_unmount, max_read=N, rw, [no]suid, [no]dev, [no]exec   as for any FUSE\n"},
	{"umount", cmd_umount, "varve umount MOUNTPOINT",
	 "unmount; returns when everything is on disk",
	 "Fails if a program still uses the mount.\n"},
	{"check", cmd_check, "varve check STORE", "verify every byte; 0 clean, 1 damaged",
	 "Prints each finding, and what was counted. Nothing is changed.\n"},
	{"scrub", cmd_scrub, "varve scrub [--rate=MIB] STORE|MOUNTPOINT",
	 "verify every byte while it is mounted; 0 clean, 1 damaged",
	 "Does what `varve check` does, through the running daemon, at low priority. Prints\n"
	 "each finding, and what was counted. Interrupted (Ctrl-C), the scrub stops. A store\n"
	 "that is not mounted is checked.\n"
	 "\n"
	 "  --rate=MIB   read so many MiB a second at most (100); 0: no limit\n"},
	{"ls", cmd_ls, "varve ls STORE [PATH]", "list a directory without a mount", ""},
	{"get", cmd_get, "varve get STORE PATH", "write a file's bytes to stdout", ""},
	{"put", cmd_put, "varve put STORE PATH [FILE]", "make or replace a file from FILE or stdin",
	 "The old content stays until the new is whole. Makes the store if there is none.\n"},
	{"rm", cmd_rm, "varve rm [-r] STORE PATH", "remove a file; with -r all below a directory",
	 ""},
	{"scan", cmd_scan, "varve scan STORE [PATH]", "print type, size and path of all below PATH",
	 ""},
	{"stat", cmd_stat, "varve stat [--json] STORE|MOUNTPOINT", "what is in it, per level",
	 "For a mount point, the running daemon is asked. --json is for scripts.\n"},
	{"compact", cmd_compact, "varve compact STORE|MOUNTPOINT", "compact now, with progress",
	 "Drops everything deleted or overwritten and gives its space back.\n"},
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static const char paths_help[] =
	"PATH is the path within the store; links in it are not followed. The store must not be\n"
	"mounted: use the files there.\n";

void command_help(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (strcmp(c->name, name))
			continue;
		printf("usage: %s\n\n%s.\n", c->usage, c->what);
		if (*c->help)
			printf("\n%s", c->help);
		if (strstr(c->usage, "PATH"))
			printf("\n%s", paths_help);
	}
}

static void help(void)
{
	size_t i;

	printf("usage: varve COMMAND ...\n"
	       "       varve STORE MOUNTPOINT [-o OPT,...]    as `varve mount`\n\n"
	       "A filesystem kept in a log-structured merge tree.\n\n");
	for (i = 0; i < COMMANDS; i++)
		printf("  %-8s  %s\n", commands[i].name, commands[i].what);
	printf("\n`varve COMMAND --help` tells more. Exit status: 0 done, 1 it failed or damage\n"
	       "was found, 2 wrong usage.\n");
}

int command_arguments(int argc, char **argv, const char *flags, int min, int max, char given[8])
{
	static const struct option words[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'J'},
		{"recursive", no_argument, NULL, 'r'},
		{0},
	};
	size_t n = 0;
	int c;

	memset(given, 0, 8);
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "hr", words, NULL)) != -1) {
		if (c == 'h') {
			command_help(argv[0]);
			return command_finish(EXIT_DONE);
		}
		if (c == '?' || !strchr(flags, c)) {
			say_error("%s: no such option; see `varve %s --help`", argv[optind - 1],
				  argv[0]);
			return EXIT_USAGE;
		}
		if (!strchr(given, c) && n < 7)
			given[n++] = (char)c;
	}
	if (argc - optind >= min && argc - optind <= max)
		return -1;
	say_error("%s: too %s arguments; see `varve %s --help`", argv[0],
		  argc - optind < min ? "few" : "many", argv[0]);
	return EXIT_USAGE;
}

int command_finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	if (errno != EPIPE)
		say_error("stdout: %s", strerror(errno));
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	size_t i;

	/* A reader that went away is an error of the write, not a death. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		say_error("no command; see `varve --help`");
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help();
		return command_finish(EXIT_DONE);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("varve %s\n", VARVE_VERSION);
		return command_finish(EXIT_DONE);
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (argc == 2) {
		say_error("%s: no such command; see `varve --help`", argv[1]);
		return EXIT_USAGE;
	}
	return cmd_mount(argc, argv);
}
