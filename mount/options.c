/*
 * options.c - the options of a mount, ours and FUSE's, in one table.
 *
 * mount(8) and /etc/fstab put generic options (noauto, user, x-systemd...) into
 * the same list; those that mean nothing here are accepted and dropped. Anything
 * not in the table is refused, so that a misspelt option is not a silent one.
 */
#include "mount/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/message.h"

/*
 * With one thread a slow call holds everybody up. With more, they contend for the
 * CPUs that the programs using the mount need, and wake up on cold ones: on two CPUs
 * a cached stat went from 8 us with one or two threads to 15 to 45 with four.
 */
#define THREADS_DEFAULT 2u

enum kind {
	DROP, /* accepted, means nothing here */
	PASS, /* libfuse's or the kernel's business */
	MEMORY,
	COMMIT,
	SYNC,
	ACL,
	NOACL,
	RO,
	RW,
	COMPRESS,
	NOATIME,
	RELATIME,
	STRICTATIME,
	WRITEBACK,
	THREADS,
	DEBUG,
	NONEMPTY,
	HALT,
	ALLOW,
	PERMISSIONS,
	MAX_READ,
	DAMAGE,
};

static const struct option_name {
	const char *name;
	bool value; /* NAME=VALUE */
	enum kind kind;
} option_names[] = {
	{"memory", true, MEMORY},
	{"commit", true, COMMIT},
	{"sync", false, SYNC},
	{"acl", false, ACL},
	{"noacl", false, NOACL},
	{"ro", false, RO},
	{"rw", false, RW},
	{"compress", true, COMPRESS},
	{"noatime", false, NOATIME},
	{"relatime", false, RELATIME},
	{"strictatime", false, STRICTATIME},
	{"writeback", false, WRITEBACK},
	{"threads", true, THREADS},
	{"debug", false, DEBUG},
	{"nonempty", false, NONEMPTY},
	{"halt", false, HALT},
	{"discard_damage", false, DAMAGE},

	{"allow_other", false, ALLOW},
	{"allow_root", false, ALLOW},
	{"default_permissions", false, PERMISSIONS},
	{"max_read", true, MAX_READ},
	{"auto_unmount", false, PASS},
	{"fsname", true, DROP}, /* it is the path of the store: `varve umount` relies on it */
	{"subtype", true, DROP},
	{"suid", false, PASS},
	{"nosuid", false, PASS},
	{"dev", false, PASS},
	{"nodev", false, PASS},
	{"exec", false, PASS},
	{"noexec", false, PASS},
	{"context", true, PASS},
	{"fscontext", true, PASS},
	{"defcontext", true, PASS},
	{"rootcontext", true, PASS},

	{"defaults", false, DROP},
	{"async", false, DROP},
	{"dirsync", false, SYNC}, /* more than is asked for, but not less */
	{"atime", false, RELATIME},
	{"diratime", false, DROP},
	{"nodiratime", false, DROP},
	{"auto", false, DROP},
	{"noauto", false, DROP},
	{"nofail", false, DROP},
	{"_netdev", false, DROP},
	{"user", false, DROP},
	{"user", true, DROP},
	{"nouser", false, DROP},
	{"users", false, DROP},
	{"group", false, DROP},
	{"owner", false, DROP},
	{"comment", true, DROP},
};

static const struct option_name *options_find(const char *name, size_t size, bool value)
{
	size_t i;

	if (size >= 2 && !strncmp(name, "x-", 2)) {
		static const struct option_name theirs = {"x-", false, DROP};

		return &theirs;
	}
	for (i = 0; i < sizeof(option_names) / sizeof(*option_names); i++)
		if (strlen(option_names[i].name) == size && option_names[i].value == value &&
		    !strncmp(option_names[i].name, name, size))
			return &option_names[i];
	return NULL;
}

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

static int options_pass(struct mount_options *o, const char *option)
{
	char *both;

	if (asprintf(&both, "%s%s%s", o->fuse ? o->fuse : "", o->fuse ? "," : "", option) < 0) {
		say_error("not enough memory for the options");
		return -ENOMEM;
	}
	free(o->fuse);
	o->fuse = both;
	return 0;
}

static int options_set_number(struct mount_options *o, enum kind kind, const char *value)
{
	switch (kind) {
	case MEMORY:
		return options_set_memory(o, value);
	case COMMIT:
		return options_set_commit(o, value);
	case COMPRESS:
		return options_set_compress(o, value);
	case THREADS:
		if (!options_number(value, 1, THREADS_MAX, &o->threads))
			return options_bad_value("threads", value, "not a number from 1 to 64");
		return 0;
	default:
		if (!options_number(value, 4096, 1u << 30, &o->max_read))
			return options_bad_value("max_read", value,
						 "not a number of bytes from 4096");
		return 0;
	}
}

static int options_apply(struct mount_options *o, const char *option)
{
	const char *equals = strchr(option, '=');
	size_t size = equals ? (size_t)(equals - option) : strlen(option);
	const struct option_name *name = options_find(option, size, equals != NULL);

	if (!name) {
		say_error("unknown option: %.200s; see `varve mount --help`", option);
		return -EINVAL;
	}
	switch (name->kind) {
	case DROP:
		break;
	case PASS:
		/* A comma within a value may make the kernel see another option: allow_other. */
		if (equals)
			o->default_permissions = true;
		return options_pass(o, option);
	case MEMORY:
	case COMMIT:
	case COMPRESS:
	case THREADS:
	case MAX_READ:
		return options_set_number(o, name->kind, equals + 1);
	case SYNC:
		o->fs.sync = true;
		break;
	case ACL:
	case NOACL:
		o->fs.acl = name->kind == ACL;
		break;
	case RO:
	case RW:
		o->fs.lsm.read_only = name->kind == RO;
		break;
	case NOATIME:
		o->fs.atime = FS_NOATIME;
		o->exact_atime = false;
		break;
	case RELATIME:
		o->fs.atime = FS_RELATIME;
		o->exact_atime = true;
		break;
	case STRICTATIME:
		o->fs.atime = FS_STRICTATIME;
		o->exact_atime = true;
		break;
	case WRITEBACK:
		o->writeback = true;
		break;
	case DEBUG:
		o->debug = o->foreground = true;
		break;
	case HALT:
		o->halt = true;
		break;
	case NONEMPTY:
		o->nonempty = true;
		break;
	case DAMAGE:
		o->fs.lsm.discard_damage = true;
		break;
	case ALLOW:
		o->allow_others = true;
		return options_pass(o, option);
	case PERMISSIONS:
		o->default_permissions = true;
		break;
	}
	return 0;
}

int mount_options_list(struct mount_options *options, const char *list)
{
	char *copy = strdup(list), *at = copy, *end;
	int err = 0;

	if (!copy) {
		say_error("not enough memory for the options");
		return -ENOMEM;
	}
	while (!err && *at) {
		/* A comma with a backslash before it belongs to the value. */
		for (end = at; *end && *end != ','; end++)
			if (*end == '\\' && end[1])
				end++;
		if (*end)
			*end++ = 0;
		if (*at)
			err = options_apply(options, at);
		at = end;
	}
	free(copy);
	return err;
}

static int options_arguments(struct mount_options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{"foreground", no_argument, NULL, 'f'},    {"help", no_argument, NULL, 'h'},
		{"options", required_argument, NULL, 'o'}, {"read-only", no_argument, NULL, 'r'},
		{"read-write", no_argument, NULL, 'w'},    {0},
	};
	int c, err = 0;

	optind = 0;
	opterr = 0;
	while (!err && (c = getopt_long(argc, argv, ":fho:rwdnsv", words, NULL)) != -1) {
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'h':
			return 1;
		case 'o':
			err = mount_options_list(o, optarg);
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
		case 'v': /* mount(8) gives these to helpers */
			break;
		case ':':
			say_error("%s needs a value; see `varve mount --help`", argv[optind - 1]);
			return -EINVAL;
		default:
			say_error("%s: no such option; see `varve mount --help`", argv[optind - 1]);
			return -EINVAL;
		}
	}
	return err;
}

int mount_options_parse(struct mount_options *options, int argc, char **argv)
{
	int err;

	*options = (struct mount_options){.threads = THREADS_DEFAULT};
	err = options_arguments(options, argc, argv);
	if (err)
		return err;
	if (argc - optind != 2) {
		say_error("%s; usage: varve mount [-f] [-o OPT,...] STORE MOUNTPOINT",
			  argc - optind < 2 ? "a STORE and a MOUNTPOINT are needed" :
					      "more than a STORE and a MOUNTPOINT");
		return -EINVAL;
	}
	options->store = strdup(argv[optind]);
	options->mountpoint = strdup(argv[optind + 1]);
	if (!options->store || !options->mountpoint) {
		say_error("not enough memory for the options");
		return -ENOMEM;
	}
	options->fs.lsm.create = !options->fs.lsm.read_only;
	options->fs.root_uid = getuid();
	options->fs.root_gid = getgid();
	/*
	 * A mount of root's own needs no checks: root passes them. With them the
	 * kernel fetches the parent's attributes again before each change.
	 */
	if (geteuid() != 0 || options->allow_others || options->fs.acl)
		options->default_permissions = true;
	return 0;
}

void mount_options_release(struct mount_options *options)
{
	free(options->store);
	free(options->mountpoint);
	free(options->fuse);
	*options = (struct mount_options){0};
}
