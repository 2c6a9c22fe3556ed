/*
 * transport_fuse_reply.c - what handlers see of the libfuse transport: the replies, and
 * who made the request.
 *
 * The kernel may remember for good whatever it may remember: this daemon is the only one to
 * change the store, through this mount. So entries and attributes never expire, including
 * entries that say that there is no such name. Data stays cached until it is written.
 */
#include "mount/transport_fuse.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define FOR_EVER_S 1e9 /* the kernel takes a time that its clock cannot count as endless */

/* ---- who asks ---- */

static fuse_req_t reply_handle(const struct request *r)
{
	return r->handle;
}

bool request_in_group(struct request *r, gid_t gid)
{
	gid_t few[64], *groups = few;
	int i, n, room = 64;
	bool found = false;

	if (r->gid == gid)
		return true;
	/* A request does not have the supplementary groups: libfuse reads them from /proc. */
	n = fuse_req_getgroups(reply_handle(r), room, groups);
	if (n > room) {
		room = n;
		groups = calloc((size_t)room, sizeof(*groups));
		n = groups ? fuse_req_getgroups(reply_handle(r), room, groups) : 0;
	}
	for (i = 0; i < n && i < room && !found; i++)
		found = groups[i] == gid;
	if (groups != few)
		free(groups);
	return found;
}

/* ---- replies ---- */

static void reply_fill_entry(struct fuse_entry_param *entry, const struct stat *st)
{
	*entry = (struct fuse_entry_param){
		.ino = st->st_ino,
		.attr = *st,
		.attr_timeout = FOR_EVER_S,
		.entry_timeout = FOR_EVER_S,
	};
}

void reply_error(struct request *r, int err)
{
	fuse_reply_err(reply_handle(r), err == -EUCLEAN ? EIO : -err);
}

void reply_none(struct request *r)
{
	fuse_reply_none(reply_handle(r));
}

int reply_entry(struct request *r, const struct stat *st)
{
	struct fuse_entry_param entry;

	reply_fill_entry(&entry, st);
	return fuse_reply_entry(reply_handle(r), &entry);
}

int reply_created(struct request *r, const struct stat *st)
{
	struct fuse_file_info fi = {.keep_cache = 1};
	struct fuse_entry_param entry;

	reply_fill_entry(&entry, st);
	return fuse_reply_create(reply_handle(r), &entry, &fi);
}

void reply_absent(struct request *r)
{
	struct fuse_entry_param entry = {.entry_timeout = FOR_EVER_S};

	fuse_reply_entry(reply_handle(r), &entry);
}

void reply_attributes(struct request *r, const struct stat *st)
{
	fuse_reply_attr(reply_handle(r), st, FOR_EVER_S);
}

void reply_target(struct request *r, const char *target)
{
	fuse_reply_readlink(reply_handle(r), target);
}

void reply_bytes(struct request *r, const void *data, size_t size)
{
	fuse_reply_buf(reply_handle(r), data, size);
}

void reply_written(struct request *r, size_t size)
{
	fuse_reply_write(reply_handle(r), size);
}

void reply_length(struct request *r, size_t size)
{
	fuse_reply_xattr(reply_handle(r), size);
}

void reply_offset(struct request *r, uint64_t offset)
{
	fuse_reply_lseek(reply_handle(r), (off_t)offset);
}

void reply_statfs(struct request *r, const struct statvfs *st)
{
	fuse_reply_statfs(reply_handle(r), st);
}

void reply_opened(struct request *r, bool keep)
{
	struct fuse_file_info fi = {.keep_cache = keep};

	fuse_reply_open(reply_handle(r), &fi);
}

int reply_directory(struct request *r, struct open_dir *dir, bool kept, bool anew)
{
	struct fuse_file_info fi = {
		.fh = (uintptr_t)dir,
		.keep_cache = !(kept && anew),
		.cache_readdir = kept,
	};

	return fuse_reply_open(reply_handle(r), &fi);
}

bool dir_reply_add(struct dir_reply *d, const char *name, const struct stat *st, bool held,
		   uint64_t next)
{
	fuse_req_t req = reply_handle(d->request);
	struct fuse_entry_param entry;
	size_t room = d->size - d->used, need;

	if (d->plus) {
		reply_fill_entry(&entry, st);
		if (!held) {
			/* The kernel then looks the name up when it needs to. */
			entry.ino = 0;
			entry.attr_timeout = entry.entry_timeout = 0;
		}
		need = fuse_add_direntry_plus(req, d->data + d->used, room, name, &entry,
					      (off_t)next);
	} else {
		need = fuse_add_direntry(req, d->data + d->used, room, name, st, (off_t)next);
	}
	if (need > room)
		return false;
	d->used += need;
	return true;
}

void reply_dir_entries(struct dir_reply *d)
{
	size_t at = 0;

	if (!fuse_reply_buf(reply_handle(d->request), d->data, d->used) || !d->plus)
		return;
	while (at < d->used) {
		const struct fuse_direntplus *entry = (const void *)(d->data + at);

		if (entry->entry_out.nodeid)
			fs_forget(d->request->mount->fs, entry->entry_out.nodeid, 1);
		at += FUSE_DIRENTPLUS_SIZE(entry);
	}
}

/* For attributes alone the kernel takes no lock that the requesting process may hold. */
void transport_forget_attributes(struct request *r, uint64_t ino)
{
	fuse_lowlevel_notify_inval_inode(r->mount->transport->session, ino, -1, 0);
}
