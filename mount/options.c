/*
 * options.c - the options of a mount, ours and FUSE's, in one table.
 *
 * libfuse's parser takes the lists of -o apart (commas, and backslashes before commas that
 * belong to a value). mount(8) and /etc/fstab put generic options (noauto, user,
 * x-systemd...) into the same list. Those that mean nothing here are accepted and dropped. Any
 * other option that is not in the table is refused, so that no misspelt option is ignored.
 */
#include "mount/options.h"

#include <errno.h>
#include <fuse_opt.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/message.h"
#include "mount/nearest.h"

/*
 * With one thread, one slow call stops all others. More than two take CPU time that the
 * programs on the mount need, and wake up on idle CPUs: on two CPUs a cached stat
 * took 8 us with one or two threads, and 15 to 45 us with four.
 */
#define THREADS_DEFAULT 2u

/* What an option of the table means. Those not listed here are FUSE_OPT_KEY_DISCARD. */
enum option_key {
	OPTION_PASS, /* for libfuse or the kernel */
	OPTION_PASS_VALUE,
	OPTION_ALLOW, /* likewise, and others may use the mount */
	OPTION_MEMORY,
	OPTION_COMMIT,
	OPTION_SYNC,
	OPTION_ACL,
	OPTION_NOACL,
	OPTION_RO,
	OPTION_RW,
	OPTION_COMPRESS,
	OPTION_NOATIME,
	OPTION_RELATIME,
	OPTION_STRICTATIME,
	OPTION_WRITEBACK,
	OPTION_THREADS,
	OPTION_DEBUG,
	OPTION_NONEMPTY,
	OPTION_IDLE_HALT,
	OPTION_PERMISSIONS,
	OPTION_MAX_READ,
	OPTION_DAMAGE,
};

/* A name that ends with "=" takes a value. */
static const struct fuse_opt options_table[] = {
	FUSE_OPT_KEY("memory=", OPTION_MEMORY),
	FUSE_OPT_KEY("commit=", OPTION_COMMIT),
	FUSE_OPT_KEY("sync", OPTION_SYNC),
	FUSE_OPT_KEY("acl", OPTION_ACL),
	FUSE_OPT_KEY("noacl", OPTION_NOACL),
	FUSE_OPT_KEY("ro", OPTION_RO),
	FUSE_OPT_KEY("rw", OPTION_RW),
	FUSE_OPT_KEY("compress=", OPTION_COMPRESS),
	FUSE_OPT_KEY("noatime", OPTION_NOATIME),
	FUSE_OPT_KEY("relatime", OPTION_RELATIME),
	FUSE_OPT_KEY("strictatime", OPTION_STRICTATIME),
	FUSE_OPT_KEY("writeback", OPTION_WRITEBACK),
	FUSE_OPT_KEY("threads=", OPTION_THREADS),
	FUSE_OPT_KEY("debug", OPTION_DEBUG),
	FUSE_OPT_KEY("nonempty", OPTION_NONEMPTY),
	FUSE_OPT_KEY("idle_halt", OPTION_IDLE_HALT),
	FUSE_OPT_KEY("halt", OPTION_IDLE_HALT), /* its name until version 0.1 */
	FUSE_OPT_KEY("discard_damage", OPTION_DAMAGE),

	FUSE_OPT_KEY("allow_other", OPTION_ALLOW),
	FUSE_OPT_KEY("allow_root", OPTION_ALLOW),
	FUSE_OPT_KEY("default_permissions", OPTION_PERMISSIONS),
	FUSE_OPT_KEY("max_read=", OPTION_MAX_READ),
	FUSE_OPT_KEY("auto_unmount", OPTION_PASS),
	/* The name is always the path of the store: `varve umount` relies on it. */
	FUSE_OPT_KEY("fsname=", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("subtype=", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("suid", OPTION_PASS),
	FUSE_OPT_KEY("nosuid", OPTION_PASS),
	FUSE_OPT_KEY("dev", OPTION_PASS),
	FUSE_OPT_KEY("nodev", OPTION_PASS),
	FUSE_OPT_KEY("exec", OPTION_PASS),
	FUSE_OPT_KEY("noexec", OPTION_PASS),
	FUSE_OPT_KEY("context=", OPTION_PASS_VALUE),
	FUSE_OPT_KEY("fscontext=", OPTION_PASS_VALUE),
	FUSE_OPT_KEY("defcontext=", OPTION_PASS_VALUE),
	FUSE_OPT_KEY("rootcontext=", OPTION_PASS_VALUE),

	FUSE_OPT_KEY("dirsync", OPTION_SYNC), /* which does more than dirsync asks for */
	FUSE_OPT_KEY("atime", OPTION_RELATIME),
	FUSE_OPT_KEY("defaults", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("async", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("diratime", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nodiratime", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("auto", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("noauto", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nofail", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("_netdev", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("user", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("user=", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("nouser", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("users", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("group", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("owner", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_KEY("comment=", FUSE_OPT_KEY_DISCARD),
	FUSE_OPT_END,
};

static int options_bad_value(const char *name, const char *value, const char *want)
{
	say_error("option %s=%.200s: %s; see `varve mount --help`", name, value, want);
	return -EINVAL;
}

/* A whole number with an optional k, M, G or T. Returns false if it is not one. */
static bool options_size(const char *text, uint64_t *size)
{
	static const char units[] = "kmgt";
	unsigned long long n;
	const char *unit;
	unsigned shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		unit = strchr(units, *end | 0x20);
		if (!unit || end[1])
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (shift && n >> (64 - shift))
		return false;
	*size = n << shift;
	return true;
}

static bool options_number(const char *text, unsigned min, unsigned max, unsigned *number)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return false;
	*number = (unsigned)n;
	return true;
}

static int options_set_memory(struct mount_options *o, const char *value)
{
	uint64_t bytes;

	if (!options_size(value, &bytes) || bytes > SIZE_MAX)
		return options_bad_value("memory", value, "not a size like 64M or 1G");
	if (bytes < MEMORY_BYTES_MIN)
		return options_bad_value("memory", value, "too small, at least 16M is needed");
	o->fs.lsm.memory_bytes = (size_t)bytes;
	return 0;
}

static int options_set_commit(struct mount_options *o, const char *value)
{
	unsigned seconds;

	if (!options_number(value, 1, COMMIT_S_MAX, &seconds))
		return options_bad_value(
			"commit", value,
			"not a number of seconds from 1 to 3600 (for every change at "
			"once: -o sync)");
	o->fs.lsm.commit_interval_ms = seconds * 1000;
	return 0;
}

static int options_set_compress(struct mount_options *o, const char *value)
{
	if (!strcmp(value, "none"))
		o->fs.lsm.compression = LSM_COMPRESS_NONE;
	else if (!strcmp(value, "lz4"))
		o->fs.lsm.compression = LSM_COMPRESS_LZ4;
	else if (!strcmp(value, "zstd"))
		o->fs.lsm.compression = LSM_COMPRESS_ZSTD;
	else
		return options_bad_value("compress", value, "not one of none, lz4, zstd");
	o->fs.lsm.compression_set = true;
	return 0;
}

static int options_no_memory(void)
{
	say_error("not enough memory for the options");
	return -ENOMEM;
}

static int options_pass(struct mount_options *o, const char *option)
{
	return fuse_opt_add_opt_escaped(&o->fuse, option) ? options_no_memory() : 0;
}

static int options_set_number(struct mount_options *o, enum option_key key, const char *value)
{
	if (key == OPTION_MEMORY)
		return options_set_memory(o, value);
	if (key == OPTION_COMMIT)
		return options_set_commit(o, value);
	if (key == OPTION_THREADS) {
		if (!options_number(value, 1, THREADS_MAX, &o->threads))
			return options_bad_value("threads", value, "not a number from 1 to 64");
	} else if (!options_number(value, 4096, 1u << 30, &o->max_read)) {
		return options_bad_value("max_read", value, "not a number of bytes from 4096");
	}
	return 0;
}

static int options_unknown(const char *option)
{
	struct nearest nearest;
	size_t i;

	nearest_init(&nearest, option);
	for (i = 0; options_table[i].templ; i++)
		nearest_try(&nearest, options_table[i].templ);
	if (nearest.suggestion)
		say_error("unknown option: %.200s, perhaps meant as %s; see `varve mount --help`",
			  option, nearest.suggestion);
	else
		say_error("unknown option: %.200s; see `varve mount --help`", option);
	return -EINVAL;
}

static void options_set_atime(struct mount_options *o, enum fs_atime atime, bool exact)
{
	o->fs.atime = atime;
	o->exact_atime = exact;
}

/* Apply `option` of the table, with its value if it has one. */
static int options_apply(struct mount_options *o, enum option_key key, const char *option)
{
	const char *equals = strchr(option, '=');

	switch (key) {
	case OPTION_PASS:
		return options_pass(o, option);
	case OPTION_PASS_VALUE:
		/* With a comma in the value, the kernel may see another option: allow_other. */
		o->default_permissions = true;
		return options_pass(o, option);
	case OPTION_ALLOW:
		o->allow_others = true;
		return options_pass(o, option);
	case OPTION_MEMORY:
	case OPTION_COMMIT:
	case OPTION_THREADS:
	case OPTION_MAX_READ:
		return options_set_number(o, key, equals + 1);
	case OPTION_COMPRESS:
		return options_set_compress(o, equals + 1);
	case OPTION_SYNC:
		o->fs.sync = true;
		break;
	case OPTION_ACL:
	case OPTION_NOACL:
		o->fs.acl = key == OPTION_ACL;
		break;
	case OPTION_RO:
	case OPTION_RW:
		o->fs.lsm.read_only = key == OPTION_RO;
		break;
	case OPTION_NOATIME:
		options_set_atime(o, FS_NOATIME, false);
		break;
	case OPTION_RELATIME:
		options_set_atime(o, FS_RELATIME, true);
		break;
	case OPTION_STRICTATIME:
		options_set_atime(o, FS_STRICTATIME, true);
		break;
	case OPTION_WRITEBACK:
		o->writeback = true;
		break;
	case OPTION_DEBUG:
		o->debug = o->foreground = true;
		break;
	case OPTION_IDLE_HALT:
		o->idle_halt = true;
		break;
	case OPTION_NONEMPTY:
		o->nonempty = true;
		break;
	case OPTION_DAMAGE:
		o->fs.lsm.discard_damage = true;
		break;
	case OPTION_PERMISSIONS:
		o->default_permissions = true;
		break;
	}
	return 0;
}

struct options_list {
	struct mount_options *options;
	int err; /* of the last option; it was reported */
};

/* libfuse calls this for each option: 0 when it is done with, -1 to end. */
static int options_on_option(void *ctx, const char *option, int key, struct fuse_args *rest)
{
	struct options_list *list = ctx;

	(void)rest;
	if (key >= 0)
		list->err = options_apply(list->options, (enum option_key)key, option);
	else if (*option && strncmp(option, "x-", 2)) /* x-* is for other programs of fstab */
		list->err = options_unknown(option);
	return list->err ? -1 : 0;
}

/* Apply one list of -o. 0, or an error that was reported. */
static int options_list(struct mount_options *o, const char *text)
{
	char *argv[] = {(char *)"varve", (char *)"-o", (char *)text, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct options_list list = {.options = o};

	if (fuse_opt_parse(&args, &list, options_table, options_on_option) && !list.err)
		list.err = options_no_memory();
	fuse_opt_free_args(&args);
	return list.err;
}

/* The arguments in front of STORE and MOUNTPOINT, and behind them. */
static enum options_outcome options_arguments(struct mount_options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{"foreground", no_argument, NULL, 'f'},    {"help", no_argument, NULL, 'h'},
		{"options", required_argument, NULL, 'o'}, {"read-only", no_argument, NULL, 'r'},
		{"read-write", no_argument, NULL, 'w'},    {0},
	};
	int c, err;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":fho:rwdnsv", words, NULL)) != -1) {
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'h':
			return OPTIONS_HELP;
		case 'o':
			err = options_list(o, optarg);
			if (err)
				return err == -EINVAL ? OPTIONS_WRONG : OPTIONS_FAILED;
			break;
		case 'r':
		case 'w':
			o->fs.lsm.read_only = c == 'r';
			break;
		case 'd':
			o->debug = o->foreground = true;
			break;
		case 'n':
		case 's':
		case 'v': /* mount(8) may give these to any helper */
			break;
		case ':':
			say_error("%s needs a value; see `varve mount --help`", argv[optind - 1]);
			return OPTIONS_WRONG;
		default:
			say_error("%s: no such option; see `varve mount --help`", argv[optind - 1]);
			return OPTIONS_WRONG;
		}
	}
	return OPTIONS_READ;
}

enum options_outcome mount_options_parse(struct mount_options *options, int argc, char **argv)
{
	enum options_outcome outcome;

	*options = (struct mount_options){.threads = THREADS_DEFAULT};
	outcome = options_arguments(options, argc, argv);
	if (outcome != OPTIONS_READ)
		return outcome;
	if (argc - optind != 2) {
		say_error("%s; usage: varve mount [-f] [-o OPT,...] STORE MOUNTPOINT",
			  argc - optind < 2 ? "a STORE and a MOUNTPOINT are needed" :
					      "more than a STORE and a MOUNTPOINT");
		return OPTIONS_WRONG;
	}
	options->store = strdup(argv[optind]);
	options->mountpoint = strdup(argv[optind + 1]);
	if (!options->store || !options->mountpoint) {
		options_no_memory();
		return OPTIONS_FAILED;
	}
	options->fs.lsm.create = !options->fs.lsm.read_only;
	options->fs.root_uid = getuid();
	options->fs.root_gid = getgid();
	/*
	 * Root's own mount needs no checks, because root passes them all. With checks the
	 * kernel would fetch the parent's attributes again before each change.
	 */
	if (geteuid() != 0 || options->allow_others || options->fs.acl)
		options->default_permissions = true;
	return OPTIONS_READ;
}

void mount_options_release(struct mount_options *options)
{
	free(options->store);
	free(options->mountpoint);
	free(options->fuse);
	*options = (struct mount_options){0};
}
