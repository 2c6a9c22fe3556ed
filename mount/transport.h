/*
 * transport.h - one request of the kernel's, and the ways to answer it.
 *
 * A handler (ops.h) gets a request, makes one call of fs.h, and answers by one of
 * the reply functions, exactly once, on the thread it was called on. Only fsync may be
 * answered by another thread, with a copy of the request: syncer.h.
 *
 * Handlers know nothing of how requests come and replies go. transport_fuse*.c implement
 * this header with libfuse. The tests of the handlers implement it again, without
 * libfuse and without a mount: tests/mount/fake_transport.c.
 */
#ifndef MOUNT_TRANSPORT_H
#define MOUNT_TRANSPORT_H

#include <sys/queue.h>

#include "fs/fs.h"
#include "lsm/base/lock.h"
#include "mount/options.h"

struct control;
struct open_dir;
struct syncer;
struct transport;

#define OPEN_DIR_LISTS 64u

/* The directories that are open; see ops_dir.c. */
struct open_dirs {
	struct mutex lock;
	/* guarded by lock */
	LIST_HEAD(, open_dir) lists[OPEN_DIR_LISTS]; /* by the remainder of the inode number */
	unsigned count;
};

/* What all handlers share. Constant while requests come, except `dirs`. */
struct mount {
	struct fs *fs;
	const struct mount_options *options;
	struct control *control;
	struct syncer *syncer;
	struct transport *transport; /* set by transport_open() */
	struct open_dirs dirs;
};

struct request {
	struct mount *mount;
	uint64_t ino; /* what the request is about; for a name, its directory */
	uid_t uid;    /* of the process that made the request */
	gid_t gid;
	pid_t pid;
	mode_t umask; /* of that process; not applied to a mode yet */
	void *handle; /* the transport's own */
};

/*
 * ---- replies ----
 *
 * Each ends the request: `r` and what came with it may not be used any more. Arguments are
 * copied. A reply that does not reach the kernel (the connection is ending) is dropped; only
 * where a reference goes with the reply does the function say so.
 * Threads: any, for a request of its own.
 */

/* Reply that the request is done (`err` 0) or has failed (a negative errno). */
void reply_error(struct request *r, int err);
/* End a request that the kernel expects no reply to: forget. */
void reply_none(struct request *r);
/*
 * Reply with a name's inode. The reference that a lookup or a creation took goes to the kernel.
 * Returns 0, or non-zero if the reply did not reach the kernel: the reference is then still
 *   the caller's.
 */
int reply_entry(struct request *r, const struct stat *st);
/* As reply_entry(), for a file that was made and opened in one request. */
int reply_created(struct request *r, const struct stat *st);
/* Reply that there is no such name. The kernel may remember that. */
void reply_absent(struct request *r);
void reply_attributes(struct request *r, const struct stat *st);
/* Reply with the NUL-terminated target of a symbolic link. */
void reply_target(struct request *r, const char *target);
/* Reply with bytes of a file, with an attribute, or with the list of attributes. */
void reply_bytes(struct request *r, const void *data, size_t size);
/* Reply how many bytes were written or copied. */
void reply_written(struct request *r, size_t size);
/* Reply how many bytes an attribute has, or the list of attributes. */
void reply_length(struct request *r, size_t size);
void reply_offset(struct request *r, uint64_t offset);
void reply_statfs(struct request *r, const struct statvfs *st);
/* Reply that a file is open. Unless `keep`, the kernel drops what it has cached of it. */
void reply_opened(struct request *r, bool keep);
/*
 * Reply that a directory is open. With `kept` the kernel reads from the entries that it keeps
 * and adds to them; with `anew`, too, it drops those it has first.
 * Returns 0, or non-zero if the reply did not reach the kernel: `dir` is then still the
 *   caller's.
 */
int reply_directory(struct request *r, struct open_dir *dir, bool kept, bool anew);

/*
 * Is the process that made the request in the group `gid`, also by a supplementary group?
 * False if that cannot be found out.
 */
bool request_in_group(struct request *r, gid_t gid);

/*
 * Memory for a reply of up to `size` bytes, good until the request is answered.
 * The memory is the thread's own: a second call on the same thread returns the same.
 * Returns NULL if there is no memory.
 */
void *request_room(struct request *r, size_t size);

/* Entries of a directory, collected for one reply. */
struct dir_reply {
	struct request *request;
	char *data; /* from request_room() */
	size_t used, size;
	bool plus; /* with attributes and references */
};

/*
 * Add an entry to `d`. Arguments as of fs_dir_fn, with an entry's reference when `held`.
 * Returns false, with nothing changed, if the entry does not fit.
 */
bool dir_reply_add(struct dir_reply *d, const char *name, const struct stat *st, bool held,
		   uint64_t next);
/* Reply with the entries. If the reply does not reach the kernel, their references are dropped. */
void reply_dir_entries(struct dir_reply *d);

/* ---- beside replies ---- */

/* Tell the kernel that the attributes it has cached of `ino` are wrong. Before the reply. */
void transport_forget_attributes(struct request *r, uint64_t ino);

/* ---- the connection, for the daemon ---- */

/*
 * Check, before anything is begun, that this user can mount at all: the device, the helper
 * program, the permissions.
 * Returns 0, or a negative errno for an error that was reported.
 */
int transport_check(const struct mount_options *options);

/*
 * Mount, and answer the kernel's first request. From then on any process can use the mount,
 * and its requests wait for transport_run().
 *
 * `mount` is borrowed until transport_close(). `*out` is NULL on an error.
 * Returns 0, or a negative errno for an error that was reported.
 */
int transport_open(struct mount *mount, struct transport **out);

/*
 * Answer requests until the mount is unmounted, or stopped.
 *
 * `ready` is called with `ctx` once, on the first thread that answers requests, just before it
 * reads the first one. If no such thread can be started, it is not called.
 * Returns 0 or a negative errno.
 */
typedef void transport_ready_fn(void *ctx);
int transport_run(struct transport *t, transport_ready_fn *ready, void *ctx);

/*
 * Make transport_run() return. Requests that are being worked on are answered first, later ones
 * fail.
 * Threads: any other than those that answer requests. A call may come too early to have an
 *   effect: call it again until transport_run() has returned.
 */
void transport_stop(struct transport *t);

/*
 * Unmount. With `lazy` the mount is only taken away from its directory, and programs
 * that use it can go on until transport_stop().
 * Returns 0; -EBUSY if programs use the mount and `lazy` is not set; another negative errno.
 * Threads: any other than those that answer requests.
 */
int transport_detach(struct transport *t, bool lazy);

/* An fs_prune_fn; `ctx` is the transport. Not on a thread that answers requests. */
void transport_prune(void *ctx, uint64_t parent, const char *name);

/* End the connection, and unmount if that has not been done. Accepts NULL. */
void transport_close(struct transport *t);

#endif
