/*
 * transport_fuse_device.c - reading requests from the device and writing replies to it, as
 * libfuse's "custom io".
 *
 * This is done here for three features that libfuse does not pass on:
 *
 *   - Of the features a kernel offers, libfuse 3.14 to 3.16 never asks for
 *     FUSE_PARALLEL_DIROPS (several lookups in one directory at a time), and 3.14
 *     never for FUSE_HANDLE_KILLPRIV_V2 (without it the kernel asks for an attribute
 *     before every write). Both are added to the reply to FUSE_INIT if they were offered.
 *   - With KILLPRIV_V2 the kernel marks each write that must clear setuid and
 *     setgid. The mark is taken from the request when it is read. The thread that
 *     reads a request is the one that handles it.
 *   - With FUSE_SETXATTR_EXT, which is asked for with the option acl, the kernel also marks
 *     each setting of an ACL that must clear setgid. Such a request is longer. The mark is
 *     taken out of it, so that libfuse sees a request of the form it expects.
 */
#include "mount/transport_fuse.h"

#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mount/wakeful.h"

_Thread_local bool transport_write_kills_priv;
_Thread_local bool transport_setxattr_kills_sgid;

static uint64_t init_flags(const struct fuse_init_in *in, size_t size)
{
	uint64_t flags = 0;

	if (size >= offsetof(struct fuse_init_in, flags) + sizeof(in->flags))
		flags = in->flags;
	if ((flags & FUSE_INIT_EXT) &&
	    size >= offsetof(struct fuse_init_in, flags2) + sizeof(in->flags2))
		flags |= (uint64_t)in->flags2 << 32;
	return flags;
}

/* Remove from a request of `size` bytes what FUSE_SETXATTR_EXT has added. The new size. */
static size_t shorten_setxattr(struct fuse_in_header *header, size_t size)
{
	const size_t added = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct fuse_setxattr_in *in = (void *)(header + 1);
	char *rest = (char *)(in + 1);

	if (size < sizeof(*header) + sizeof(*in))
		return size;
	transport_setxattr_kills_sgid = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	memmove(rest - added, rest, size - sizeof(*header) - sizeof(*in));
	header->len -= (uint32_t)added;
	return size - added;
}

static ssize_t device_read(int fd, void *buf, size_t size, void *userdata)
{
	struct transport *t = userdata;
	struct fuse_in_header *header = buf;
	size_t rest;
	ssize_t n;

	if (atomic_load(&t->running) && !atomic_load(&t->ready_called) &&
	    !atomic_exchange(&t->ready_called, true))
		t->ready(t->ready_ctx);
	n = read(fd, buf, size);
	if (n < (ssize_t)sizeof(*header))
		return n;
	wakeful_request(t->wakeful);
	rest = (size_t)n - sizeof(*header);
	if (header->opcode == FUSE_WRITE && rest >= sizeof(struct fuse_write_in)) {
		const struct fuse_write_in *in = (const void *)(header + 1);

		transport_write_kills_priv = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	} else if (header->opcode == FUSE_SETXATTR && t->setxattr_ext) {
		n = (ssize_t)shorten_setxattr(header, (size_t)n);
	} else if (header->opcode == FUSE_INIT) {
		t->init_unique = header->unique;
		t->offered = init_flags((const void *)(header + 1), rest);
	}
	return n;
}

/* Ask for features that libfuse has not asked for, in its reply to FUSE_INIT before it is sent. */
static void extend_init(struct transport *t, const struct fuse_out_header *header,
			const struct iovec *body)
{
	struct fuse_init_out *out = body->iov_base;

	if (header->unique != t->init_unique || header->error ||
	    body->iov_len < offsetof(struct fuse_init_out, max_background))
		return;
	t->init_answered = out->major == FUSE_KERNEL_VERSION;
	out->flags |= (uint32_t)t->offered & FUSE_PARALLEL_DIROPS;
	/* The write-back cache mixes writes of several users: there the kernel clears the bits. */
	if ((t->offered & FUSE_HANDLE_KILLPRIV_V2) && !t->mount->options->writeback) {
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		t->kill_priv_v2 = true;
	}
	if ((t->offered & FUSE_SETXATTR_EXT) && (out->flags & FUSE_POSIX_ACL)) {
		out->flags |= FUSE_SETXATTR_EXT;
		t->setxattr_ext = true;
	}
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct transport *t = userdata;

	if (!t->init_answered && count == 2 && iov[0].iov_len == sizeof(struct fuse_out_header))
		extend_init(t, iov[0].iov_base, &iov[1]);
	return writev(fd, iov, count);
}

const struct fuse_custom_io transport_device_io = {.writev = device_writev, .read = device_read};
