/*
 * mountpoint.c - what is mounted where, checked before mounting and unmounted.
 *
 * The kernel's list (/proc/self/mounts) is read and not the mount point itself. Any call into
 * a mount whose daemon was killed fails with ENOTCONN, and a daemon that calls into its own
 * mount may wait for itself.
 */
#include "mount/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <mntent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount/control.h"
#include "mount/message.h"

/* A line has two paths, each byte of which may be escaped, and the options. */
#define MOUNT_LINE_BYTES_MAX 65536
#define DEAD_MOUNTS_MAX 64 /* stacked on one mount point: a loop that cannot end is a bug */

void mount_info_release(struct mount_info *info)
{
	free(info->path);
	free(info->type);
	free(info->source);
	*info = (struct mount_info){0};
}

/*
 * getmntent_r() undoes the kernel's escapes of blanks and backslashes, but not (in glibc 2.36)
 * that of "#", which is in the source only. (A store whose path has these four characters
 * literally is therefore not recognised as mounted.)
 */
static void mount_info_unescape(char *source)
{
	char *at = source;

	while ((at = strstr(at, "\\043"))) {
		*at++ = '#';
		memmove(at, at + 3, strlen(at + 3) + 1);
	}
}

static unsigned mount_info_number(const struct mntent *entry, const char *option)
{
	const char *at = hasmntopt(entry, option);

	return at ? (unsigned)strtoul(at + strlen(option) + strlen("="), NULL, 10) : 0;
}

/* Call `fn` for each mount, oldest first, until it returns non-zero. Returns that, or 0. */
static int mount_info_each(int (*fn)(void *ctx, const struct mount_info *info), void *ctx)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char *line = malloc(MOUNT_LINE_BYTES_MAX);
	struct mntent entry;
	int result = f && line ? 0 : -ENOMEM;

	if (!f)
		result = -errno;
	while (!result && getmntent_r(f, &entry, line, MOUNT_LINE_BYTES_MAX)) {
		mount_info_unescape(entry.mnt_fsname);
		result = fn(ctx, &(struct mount_info){
					 .path = entry.mnt_dir,
					 .type = entry.mnt_type,
					 .source = entry.mnt_fsname,
					 .user_id = mount_info_number(&entry, "user_id"),
					 .group_id = mount_info_number(&entry, "group_id"),
					 .is_varve = !strcmp(entry.mnt_type, "fuse.varve"),
				 });
	}
	if (f)
		endmntent(f);
	free(line);
	return result;
}

struct find {
	const char *path;
	struct mount_info *found;
};

static int mount_info_on_path(void *ctx, const struct mount_info *info)
{
	struct find *find = ctx;
	struct mount_info *copy = find->found;

	if (strcmp(info->path, find->path))
		return 0;
	mount_info_release(copy);
	*copy = *info;
	copy->path = strdup(info->path);
	copy->type = strdup(info->type);
	copy->source = strdup(info->source);
	return copy->path && copy->type && copy->source ? 0 : -ENOMEM;
}

int mount_info_find(const char *path, struct mount_info *info)
{
	struct find find = {path, info};
	int err;

	*info = (struct mount_info){0};
	err = mount_info_each(mount_info_on_path, &find);
	if (!err && !info->path)
		err = -ENOENT;
	if (err)
		mount_info_release(info);
	return err;
}

static int mount_info_on_store(void *ctx, const struct mount_info *info)
{
	struct find *find = ctx;

	if (!info->is_varve || strcmp(info->source, find->path))
		return 0;
	find->found->path = strdup(info->path);
	return 1;
}

char *mountpoint_of_store(const char *path)
{
	struct mount_info info = {0};
	struct find find = {path, &info};

	mount_info_each(mount_info_on_store, &find);
	return info.path;
}

char *mountpoint_resolve(const char *path)
{
	char *whole = realpath(path, NULL), *copy = NULL, *copy2 = NULL, *parent = NULL;

	if (whole || (errno != ENOTCONN && errno != EACCES && errno != EIO))
		return whole;
	/* The mount is dead, or another user's: resolve its parent directory. */
	copy = strdup(path);
	copy2 = strdup(path);
	if (copy && copy2)
		parent = realpath(dirname(copy), NULL);
	if (parent &&
	    asprintf(&whole, "%s/%s", strcmp(parent, "/") ? parent : "", basename(copy2)) < 0)
		whole = NULL;
	free(copy);
	free(copy2);
	free(parent);
	return whole;
}

bool mountpoint_is_within(const char *inner, const char *outer)
{
	size_t n = strlen(outer);

	if (n == 1 && *outer == '/')
		return true;
	return !strncmp(inner, outer, n) && (inner[n] == '/' || !inner[n]);
}

/* Run fusermount3 without its messages, which are for people who called it themselves. */
static int mountpoint_run_fusermount(const char *path, bool lazy)
{
	char *argv[] = {"fusermount3",
			"-u",
			"-q",
			lazy ? "-z" : "--",
			lazy ? "--" : (char *)path,
			lazy ? (char *)path : NULL,
			NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	pid_t pid;
	int err, status;

	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attributes);
	if (err)
		goto out_actions;
	/* The daemon's threads block the signals that end it. A program it starts must not. */
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	err = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (!err)
		err = posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EBUSY;
}

int mountpoint_unmount(const char *path, bool lazy)
{
	if (!umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return 0;
	if (errno != EPERM)
		return -errno;
	return mountpoint_run_fusermount(path, lazy);
}

void mountpoint_set_read_ahead(const char *path, unsigned kib)
{
	struct statx st;
	char file[96];
	FILE *f;

	/* The number of the device is known to the kernel: the daemon is not asked. */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st))
		return;
	snprintf(file, sizeof(file), "/sys/class/bdi/%u:%u/read_ahead_kb", st.stx_dev_major,
		 st.stx_dev_minor);
	f = fopen(file, "we");
	if (!f)
		return;
	fprintf(f, "%u\n", kib);
	fclose(f);
}

/*
 * A killed daemon leaves its mount behind, and every call into it fails with
 * ENOTCONN. Attributes may still be answered from the kernel's cache while the
 * daemon is dying; an extended attribute never is.
 */
static bool mountpoint_is_dead(const char *path)
{
	char pid[32];

	return getxattr(path, CONTROL_PID, pid, sizeof(pid)) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED);
}

static int mountpoint_detach_dead(const char *path)
{
	struct mount_info info;
	int err, left = DEAD_MOUNTS_MAX;

	while (mountpoint_is_dead(path)) {
		err = mount_info_find(path, &info);
		if (err) {
			say_error("%s: a dead mount is there that the kernel does not list: %s; "
				  "unmount it first",
				  path, strerror(-err));
			return err;
		}
		if (!info.is_varve) {
			say_error("%s: a dead mount of %s (%s) is there; unmount it first "
				  "(`fusermount3 -u %s`)",
				  path, info.source, info.type, path);
			mount_info_release(&info);
			return -ENOTCONN;
		}
		mount_info_release(&info);
		err = left-- ? mountpoint_unmount(path, true) : -ELOOP;
		if (err) {
			say_error("%s: a killed daemon's mount is there and cannot be taken away: "
				  "%s; run `umount -l %s` as root",
				  path, strerror(-err), path);
			return err;
		}
		say_info("%s: took away the mount a killed daemon left there", path);
	}
	return 0;
}

static int mountpoint_check_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int found = 0;

	if (!dir) {
		int err = -errno;

		say_error("%s: cannot read the mount point: %s; see its permissions", path,
			  strerror(-err));
		return err;
	}
	while (!found && (entry = readdir(dir)))
		found = strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(dir);
	if (!found)
		return 0;
	say_error("%s: the mount point is not empty; use an empty directory, or hide what is in it "
		  "with -o nonempty",
		  path);
	return -ENOTEMPTY;
}

int mountpoint_check(const char *path, bool nonempty)
{
	struct mount_info info;
	struct stat st;
	int err = mountpoint_detach_dead(path);

	if (err)
		return err;
	if (stat(path, &st) < 0) {
		err = -errno;
		if (err == -ENOENT)
			say_error("%s: no such mount point; make it first: mkdir %s", path, path);
		else
			say_error("%s: cannot use the mount point: %s; see its permissions", path,
				  strerror(-err));
		return err;
	}
	if (!S_ISDIR(st.st_mode)) {
		say_error("%s: the mount point is not a directory; name an empty directory", path);
		return -ENOTDIR;
	}
	if (!mount_info_find(path, &info)) {
		if (info.is_varve)
			say_error("%s: the store %s is mounted there already; `varve umount %s` "
				  "first",
				  path, info.source, path);
		err = info.is_varve ? -EBUSY : 0;
		mount_info_release(&info);
		if (err)
			return err;
	}
	return nonempty ? 0 : mountpoint_check_empty(path);
}
