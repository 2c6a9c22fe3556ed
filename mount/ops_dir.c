/*
 * ops_dir.c - reading directories.
 *
 * Each open directory has a handle of fs.h, because its entries are those of one
 * moment. The kernel may keep the entries it has read. It forgets them when a name in the
 * directory changes through this mount, and names change in no other way.
 *
 * The kernel keeps one list of entries for all readers of the directory, with the offsets
 * of the handle that filled the list. A reader goes on at its own offset, even when another
 * reader has filled the list anew meanwhile. But offsets count the names of one moment, so
 * such a reader would miss entries. Therefore only one handle of a directory at a time may
 * read from that list and fill it (`kept`). Readers with other handles ask the daemon.
 *
 * Each handle takes memory here and keeps an old state of the tree alive. With allow_other
 * any user can open directories. So the number of handles is limited.
 *
 * A mount that is unmounted by force leaves directories open, but a store can only be closed
 * when its directories are. So all handles are in lists, and open_dirs_release() closes the
 * rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "mount/lock_ranks.h"
#include "mount/ops.h"

/* Handles of one mount, about a KiB each. Programs keep far fewer directories open. */
#define OPEN_DIRS_MAX 16384u

struct open_dir {
	struct fs_dir *dir;
	uint64_t ino;
	bool kept;                   /* the kernel keeps the entries that this handle reads */
	LIST_ENTRY(open_dir) others; /* in the mount's list; guarded by open_dirs.lock */
};

/* Is there no open handle of the directory `ino` that uses the entries the kernel keeps? */
static bool open_dir_may_keep(struct open_dirs *dirs, uint64_t ino) REQUIRES(dirs->lock)
{
	const struct open_dir *open;

	LIST_FOREACH(open, &dirs->lists[ino % OPEN_DIR_LISTS], others)
	if (open->ino == ino && open->kept)
		return false;
	return true;
}

static void open_dir_close(struct open_dirs *dirs, struct open_dir *open)
{
	mutex_lock(&dirs->lock);
	LIST_REMOVE(open, others);
	dirs->count--;
	mutex_unlock(&dirs->lock);
	fs_dir_close(open->dir);
	free(open);
}

static int open_dir_new(struct mount *mount, uint64_t ino, struct open_dir **out)
{
	struct open_dir *open = calloc(1, sizeof(*open));
	struct open_dirs *dirs = &mount->dirs;
	int err;

	*out = NULL;
	if (!open)
		return -ENOMEM;
	open->ino = ino;
	/*
	 * `kept` is decided first, and the names of the directory are fixed after that: so an
	 * earlier handle that was `kept` has given the kernel no newer names than this one will.
	 */
	mutex_lock(&dirs->lock);
	if (dirs->count >= OPEN_DIRS_MAX) {
		mutex_unlock(&dirs->lock);
		free(open);
		return -ENFILE;
	}
	dirs->count++;
	open->kept = open_dir_may_keep(dirs, ino);
	LIST_INSERT_HEAD(&dirs->lists[ino % OPEN_DIR_LISTS], open, others);
	mutex_unlock(&dirs->lock);
	err = fs_dir_open(mount->fs, ino, &open->dir);
	if (err)
		open_dir_close(dirs, open);
	else
		*out = open;
	return err;
}

int open_dirs_init(struct open_dirs *dirs)
{
	size_t i;

	for (i = 0; i < OPEN_DIR_LISTS; i++)
		LIST_INIT(&dirs->lists[i]);
	dirs->count = 0;
	return mutex_init(&dirs->lock, LOCK_OPEN_DIRS);
}

void open_dirs_release(struct open_dirs *dirs)
{
	size_t i;

	for (i = 0; i < OPEN_DIR_LISTS; i++)
		while (!LIST_EMPTY(&dirs->lists[i]))
			open_dir_close(dirs, LIST_FIRST(&dirs->lists[i]));
	mutex_destroy(&dirs->lock);
}

void op_opendir(struct request *r, int open_flags)
{
	struct open_dir *open;
	int err = open_dir_new(r->mount, r->ino, &open);
	bool anew;

	if (err) {
		reply_error(r, err);
		return;
	}
	if (open_flags & O_NOATIME)
		fs_dir_set_noatime(open->dir);
	/* The kernel reads entries that it keeps by itself, and then no atime would be set. */
	anew = !(open_flags & O_NOATIME) && fs_atime_due(r->mount->fs, r->ino);
	if (reply_directory(r, open, open->kept, anew))
		open_dir_close(&r->mount->dirs, open);
}

static int op_readdir_add(void *ctx, const char *name, const struct stat *st, bool held,
			  uint64_t next)
{
	return dir_reply_add(ctx, name, st, held, next) ? 0 : 1;
}

void op_readdir(struct request *r, struct open_dir *open, uint64_t offset, size_t size, bool plus)
{
	struct dir_reply reply = {.request = r, .size = size, .plus = plus};
	int err;

	reply.data = request_room(r, size);
	if (!reply.data) {
		reply_error(r, -ENOMEM);
		return;
	}
	err = fs_dir_read(open->dir, offset, plus, op_readdir_add, &reply);
	/* Reply with the entries before an error. The next read meets the error again. */
	if (err < 0 && !reply.used)
		reply_error(r, err);
	else
		reply_dir_entries(&reply);
}

void op_releasedir(struct request *r, struct open_dir *open)
{
	open_dir_close(&r->mount->dirs, open);
	reply_error(r, 0);
}
