/*
 * options.h - what `varve mount` was asked for.
 */
#ifndef MOUNT_OPTIONS_H
#define MOUNT_OPTIONS_H

#include "fs/fs.h"

#define MEMORY_BYTES_MIN (16u << 20)
#define THREADS_MAX 64u
#define COMMIT_S_MAX 3600u

struct mount_options {
	char *store;      /* as named, then absolute */
	char *mountpoint; /* likewise */
	struct fs_options fs;
	bool foreground, debug;
	bool nonempty;            /* mount over what is there */
	bool exact_atime;         /* reading what the kernel has cached counts, too */
	bool halt;                /* let idle virtual CPUs halt, also while requests come */
	bool writeback;           /* the kernel collects writes and sends them later */
	bool allow_others;        /* allow_other or allow_root */
	bool default_permissions; /* the kernel checks modes, owners and ACLs */
	unsigned threads;         /* that answer requests, at most */
	unsigned max_read;        /* 0: the kernel's */
	char *fuse;               /* options for libfuse and the kernel, as they were written */
};

/*
 * Read the arguments behind the subcommand. Returns 0; -EINVAL for wrong usage,
 * which was said; 1 when --help was asked for. Release in any case.
 */
int mount_options_parse(struct mount_options *options, int argc, char **argv);
void mount_options_release(struct mount_options *options);

/* Apply one "-o" list to the options; as above. Other commands have some of them too. */
int mount_options_list(struct mount_options *options, const char *list);

#endif
