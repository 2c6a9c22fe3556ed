/*
 * transport.h - one request of the kernel's, and the ways to answer it.
 *
 * A handler (ops.h) gets a request, makes one call of fs.h and answers by one of
 * the reply functions, exactly once, on the thread it was called on (but for fsync,
 * which another may answer with a copy of the request: syncer.h). Handlers know
 * nothing of how requests come and replies go: transport_fuse.c brings them through
 * libfuse's loop and is the only file that includes libfuse. Another transport would
 * implement this header again.
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

/* What all handlers share. Constant while requests come, but for the lists. */
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
	uint64_t ino; /* what it is about; of a name, its directory */
	uid_t uid;    /* who caused it */
	gid_t gid;
	pid_t pid;
	mode_t umask; /* of who makes something; not applied yet */
	void *handle; /* the transport's own */
};

/* ---- replies ---- */

/* `err` is 0 (done, nothing to say) or a negative errno. */
void reply_error(struct request *r, int err);
/* Nothing is expected: for forget. */
void reply_none(struct request *r);
/*
 * A name's inode, with the reference a lookup or creation took. Returns non-zero
 * when it did not reach the kernel: the reference is then still ours.
 */
int reply_entry(struct request *r, const struct stat *st);
/* The same, of a file created and opened in one. */
int reply_created(struct request *r, const struct stat *st);
/* There is no such name, and the kernel may remember it. */
void reply_absent(struct request *r);
void reply_attributes(struct request *r, const struct stat *st);
void reply_target(struct request *r, const char *target);
void reply_bytes(struct request *r, const void *data, size_t size);
/* How much was written or copied. */
void reply_written(struct request *r, size_t size);
/* How long an attribute or the list of them is. */
void reply_length(struct request *r, size_t size);
void reply_offset(struct request *r, uint64_t offset);
void reply_statfs(struct request *r, const struct statvfs *st);
/* A file was opened. The kernel drops what it has cached of the content unless `keep`. */
void reply_opened(struct request *r, bool keep);
/*
 * A directory was opened. `kept`: the kernel reads from and adds to the entries it
 * keeps; `anew`: beginning with none.
 * Non-zero as reply_entry(): `dir` is then still ours.
 */
int reply_directory(struct request *r, struct open_dir *dir, bool kept, bool anew);

/* Is the caller in the group, also by a supplementary one? Not, if that cannot be found out. */
bool request_in_group(struct request *r, gid_t gid);

/* Room for a reply of up to `size` bytes, good until the request is answered. NULL: no memory. */
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

/* The kernel must not rely on the attributes it knows of `ino`. Before the reply. */
void transport_forget_attributes(struct request *r, uint64_t ino);

/* ---- the connection, for the daemon ---- */

/*
 * See whether this user can mount at all, before anything is begun: the device,
 * the helper program, the permissions. Says what is missing. 0 or a negative errno.
 */
int transport_check(const struct mount_options *options);

/*
 * Mount, and answer the kernel's first request, so that the mount works for
 * whoever calls from now on. Says what went wrong.
 * `mount` is borrowed until transport_close(). Returns 0 or a negative errno.
 */
int transport_open(struct mount *mount, struct transport **out);

/* Answer requests until unmounted or stopped. Returns 0 or a negative errno. */
int transport_run(struct transport *t);

/*
 * Make transport_run() return, from another thread: requests in work are answered
 * first, those behind them fail. Call until it did return: a call may be too early.
 */
void transport_stop(struct transport *t);

/*
 * Take the mount away from its directory, from another thread than those that
 * answer requests. -EBUSY when programs use it, unless `lazy`: then they go on
 * until transport_stop(). Returns 0 or a negative errno.
 */
int transport_detach(struct transport *t, bool lazy);

/* An fs_prune_fn; `ctx` is the transport. Not on a thread that answers requests. */
void transport_prune(void *ctx, uint64_t parent, const char *name);

/* End the connection, taking the mount away if it is still there. Accepts NULL. */
void transport_close(struct transport *t);

#endif
