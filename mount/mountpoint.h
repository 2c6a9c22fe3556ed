/*
 * mountpoint.h - mount points as the kernel lists them, and taking mounts away.
 * Nothing here touches a mounted filesystem unless it says so.
 */
#ifndef MOUNT_MOUNTPOINT_H
#define MOUNT_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

/* One line of /proc/self/mountinfo, escapes undone. Release with mount_info_release(). */
struct mount_info {
	unsigned major, minor;
	char *path;
	char *type;
	char *source;
	uid_t user_id; /* of the one who mounted it, for FUSE */
	gid_t group_id;
	bool is_varve;
};
void mount_info_release(struct mount_info *info);

/* The topmost mount at exactly `path` (absolute). Returns 0; -ENOENT when there is none. */
int mount_info_find(const char *path, struct mount_info *info);

/* Where the store at `path` (absolute) is mounted, or NULL; the caller frees it. */
char *mountpoint_of_store(const char *path);

/*
 * The absolute path of a mount point, without touching what is mounted there
 * when that is dead. NULL and errno on failure; the caller frees it.
 */
char *mountpoint_resolve(const char *path);

/*
 * See that `path` (absolute) can be mounted on, taking away what killed daemons
 * left there: a directory, empty unless `any` is set, nothing of Varve's on it.
 * Says what is wrong. Returns 0 or a negative errno.
 */
int mountpoint_check(const char *path, bool any);

/* Is `inner` the directory `outer` or below it? Both absolute and resolved. */
bool mountpoint_is_within(const char *inner, const char *outer);

/*
 * Unmount `path`, by the system call or through fusermount3. `lazy`: also when
 * it is in use. Returns 0; -EBUSY; -EPERM; another negative errno. Silent.
 */
int mountpoint_unmount(const char *path, bool lazy);

/* Ask the kernel for read-ahead of `kib` for the mount at `path`. Only root may; fails silently. */
void mountpoint_set_read_ahead(const char *path, unsigned kib);

#endif
