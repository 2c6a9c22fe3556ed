/*
 * options.h - the command line of `varve mount`.
 */
#ifndef MOUNT_OPTIONS_H
#define MOUNT_OPTIONS_H

#include "fs/fs.h"

#define MEMORY_BYTES_MIN (16u << 20)
#define THREADS_MAX 64u
#define COMMIT_S_MAX 3600u

struct mount_options {
	char *store;      /* as it was given, then absolute */
	char *mountpoint; /* likewise */
	struct fs_options fs;
	bool foreground, debug;
	bool nonempty;            /* mount over a directory with files in it */
	bool exact_atime;         /* reads that the kernel's cache could answer set atime, too */
	bool idle_halt;           /* virtual CPUs may halt even while requests come */
	bool writeback;           /* the kernel collects writes and sends them later */
	bool allow_others;        /* allow_other or allow_root */
	bool default_permissions; /* the kernel checks modes, owners and ACLs */
	unsigned threads;         /* that answer requests, at most */
	unsigned max_read;        /* bytes; 0: the kernel's own limit */
	char *fuse;               /* options for libfuse and the kernel; NULL: none */
};

enum options_outcome {
	OPTIONS_READ,
	OPTIONS_HELP,   /* --help was given */
	OPTIONS_WRONG,  /* wrong usage, which was reported */
	OPTIONS_FAILED, /* another failure, which was reported */
};

/*
 * Read the arguments of the subcommand; argv[0] is its name.
 * Whatever the outcome, the caller releases `options`.
 */
enum options_outcome mount_options_parse(struct mount_options *options, int argc, char **argv);
void mount_options_release(struct mount_options *options);

#endif
