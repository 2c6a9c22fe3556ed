/*
 * mountpoint.h - the mounts that the kernel lists, and unmounting.
 *
 * Paths are absolute and free of symbolic links, as mountpoint_resolve() makes them.
 * Nothing here calls into a mounted filesystem unless it says so.
 */
#ifndef MOUNT_MOUNTPOINT_H
#define MOUNT_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

/* A mount in the kernel's list, with escapes undone. Release it with mount_info_release(). */
struct mount_info {
	char *path;
	char *type;
	char *source;  /* of Varve's, the path of the store */
	uid_t user_id; /* of the user who mounted it, for FUSE */
	gid_t group_id;
	bool is_varve;
};
void mount_info_release(struct mount_info *info);

/* Find the topmost mount at `path`. Returns 0; -ENOENT if there is none; or another error. */
int mount_info_find(const char *path, struct mount_info *info);

/* Returns where the store at `path` is mounted, or NULL. The caller frees it. */
char *mountpoint_of_store(const char *path);

/*
 * Make the path of a mount point absolute. A dead mount at it is not called into.
 * Returns the path, which the caller frees; or NULL, with the reason in errno.
 */
char *mountpoint_resolve(const char *path);

/*
 * Check that `path` can be mounted on: it is a directory, empty unless `nonempty` is set, and no
 * mount of Varve's is on it. Mounts that killed daemons left there are unmounted first.
 * Returns 0, or a negative errno for an error that was reported.
 */
int mountpoint_check(const char *path, bool nonempty);

/* Is `inner` the directory `outer`, or below it? */
bool mountpoint_is_within(const char *inner, const char *outer);

/*
 * Unmount `path`, by the system call or through fusermount3. Nothing is printed.
 * `lazy`: also when programs use it.
 * Returns 0; -EBUSY if programs use it; -EPERM; or another negative errno.
 */
int mountpoint_unmount(const char *path, bool lazy);

/* Set the kernel's read-ahead for the mount at `path`. Only root may: without effect otherwise. */
void mountpoint_set_read_ahead(const char *path, unsigned kib);

#endif
