/*
 * ops_dir.c - reading directories.
 *
 * An open directory is a handle of fs.h's, because its entries are those of one
 * moment. The kernel may keep what it read: it forgets it when a name in the
 * directory changes through this mount, and nobody else changes any.
 *
 * What it keeps is one list for all who read the directory, with the offsets of the
 * handle that filled it; and it finds the place where a reader goes on by offset, also
 * when the list was made anew since, by somebody else. Offsets count the names of one
 * moment, so the reader would miss entries. Hence only one handle of a directory at a
 * time may read from that list and fill it; the others get what they read from here.
 *
 * Each handle takes memory here and keeps a moment of the tree from being forgotten, and
 * on a mount for all anybody may open directories: so there is a limit to their number.
 *
 * The kernel does not close what is open when it is unmounted by force, while a
 * store cannot be closed with directories open: so they are in a list.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "mount/ops.h"

/* Of one mount. About a KiB each; far above what programs keep open. */
#define OPEN_DIRS_MAX 16384u

struct open_dir {
	struct fs_dir *dir;
	uint64_t ino;
	bool kept;                     /* the kernel keeps what this one reads */
	struct open_dir *next, **link; /* of the mount's list; guarded by its lock */
};

/* Does no handle of the directory's have the right to what is kept? REQUIRES: dirs_lock. */
static bool may_keep(const struct open_dir *list, uint64_t ino)
{
	while (list && !(list->ino == ino && list->kept))
		list = list->next;
	return !list;
}

static void dir_close(struct mount *mount, struct open_dir *open)
{
	pthread_mutex_lock(&mount->dirs_lock);
	*open->link = open->next;
	if (open->next)
		open->next->link = open->link;
	mount->dirs_open--;
	pthread_mutex_unlock(&mount->dirs_lock);
	fs_dir_close(open->dir);
	free(open);
}

static int dir_open(struct mount *mount, uint64_t ino, struct open_dir **out)
{
	struct open_dir *open = calloc(1, sizeof(*open)), **list;
	int err;

	*out = NULL;
	if (!open)
		return -ENOMEM;
	open->ino = ino;
	/* The right first, then the names: who had it before kept no newer ones. */
	pthread_mutex_lock(&mount->dirs_lock);
	if (mount->dirs_open >= OPEN_DIRS_MAX) {
		pthread_mutex_unlock(&mount->dirs_lock);
		free(open);
		return -ENFILE;
	}
	mount->dirs_open++;
	list = &mount->dirs[ino % MOUNT_DIR_LISTS];
	open->kept = may_keep(*list, ino);
	open->next = *list;
	open->link = list;
	if (open->next)
		open->next->link = &open->next;
	*list = open;
	pthread_mutex_unlock(&mount->dirs_lock);
	err = fs_dir_open(mount->fs, ino, &open->dir);
	if (err)
		dir_close(mount, open);
	else
		*out = open;
	return err;
}

void open_dirs_close(struct mount *mount)
{
	size_t i;

	for (i = 0; i < MOUNT_DIR_LISTS; i++)
		while (mount->dirs[i])
			dir_close(mount, mount->dirs[i]);
}

void op_opendir(struct request *r, int open_flags)
{
	struct open_dir *open;
	int err = dir_open(r->mount, r->ino, &open);
	bool anew;

	if (err) {
		reply_error(r, err);
		return;
	}
	if (open_flags & O_NOATIME)
		fs_dir_set_noatime(open->dir);
	/* What is kept would be read without us, and without setting atime. */
	anew = !(open_flags & O_NOATIME) && fs_atime_due(r->mount->fs, r->ino);
	if (reply_directory(r, open, open->kept, anew))
		dir_close(r->mount, open);
}

static int add_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	return listing_add(ctx, name, st, held, next) ? 0 : 1;
}

void op_readdir(struct request *r, struct open_dir *open, uint64_t offset, size_t size, bool plus)
{
	struct listing listing = {.request = r, .size = size, .plus = plus};
	int err;

	listing.data = request_room(r, size);
	if (!listing.data) {
		reply_error(r, -ENOMEM);
		return;
	}
	err = fs_dir_read(open->dir, offset, plus, add_entry, &listing);
	/* Entries before an error go out, with their references; the next read meets it again. */
	if (err < 0 && !listing.used)
		reply_error(r, err);
	else
		reply_listing(&listing);
}

void op_releasedir(struct request *r, struct open_dir *open)
{
	dir_close(r->mount, open);
	reply_error(r, 0);
}
