/*
 * ops_dir.c - reading directories.
 *
 * An open directory is a handle of fs.h's, because its entries are those of one
 * moment. The kernel may keep what it read: it forgets it when a name in the
 * directory changes through this mount, and nobody else changes any.
 */
#include <errno.h>

#include "mount/ops.h"

void op_opendir(struct request *r)
{
	struct fs_dir *dir;
	int err = fs_dir_open(r->mount->fs, r->ino, &dir);

	if (err)
		reply_error(r, err);
	else if (reply_directory(r, dir))
		fs_dir_close(dir);
}

static int add_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	return listing_add(ctx, name, st, held, next) ? 0 : 1;
}

void op_readdir(struct request *r, struct fs_dir *dir, uint64_t offset, size_t size, bool plus)
{
	struct listing listing = {.request = r, .size = size, .plus = plus};
	int err;

	listing.data = request_room(r, size);
	if (!listing.data) {
		reply_error(r, -ENOMEM);
		return;
	}
	err = fs_dir_read(dir, offset, plus, add_entry, &listing);
	/* Entries before an error go out, with their references; the next read meets it again. */
	if (err < 0 && !listing.used)
		reply_error(r, err);
	else
		reply_bytes(r, listing.data, listing.used);
}

void op_releasedir(struct request *r, struct fs_dir *dir)
{
	fs_dir_close(dir);
	reply_error(r, 0);
}
