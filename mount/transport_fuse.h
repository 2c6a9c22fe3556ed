/*
 * transport_fuse.h - what the files of the libfuse transport share. No others include it.
 */
#ifndef MOUNT_TRANSPORT_FUSE_H
#define MOUNT_TRANSPORT_FUSE_H

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>

#include "mount/transport.h"

struct transport {
	struct fuse_session *session;
	struct mount *mount;
	uint64_t offered;     /* by the kernel, in FUSE_INIT */
	uint64_t init_unique; /* of that request */
	bool init_answered;
	bool kill_priv_v2, setxattr_ext; /* agreed on: see transport_fuse_device.c */
	transport_ready_fn *ready;       /* of transport_run() */
	void *ready_ctx;
	atomic_bool running;
	atomic_bool ready_called;
	atomic_bool detached; /* nothing of ours is on the mount point */
	pthread_t runner;
	struct wakeful *wakeful; /* while it runs; may be NULL */
};

/* The write that this thread handles must clear setuid and setgid: transport_fuse_device.c. */
extern _Thread_local bool transport_write_kills_priv;
/* The access ACL that this thread sets must clear setgid. */
extern _Thread_local bool transport_setxattr_kills_sgid;
extern const struct fuse_custom_io transport_device_io;

extern const struct fuse_lowlevel_ops transport_handlers; /* transport_fuse_requests.c */

#endif
