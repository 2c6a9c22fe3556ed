/*
 * dir.c - reading directories.
 *
 * A directory is read under a snapshot of the tree, so the names are those of
 * one moment, each once. It is taken by the read at offset 0, not by the open: a
 * cache above may take what it reads first for what is there when it reads it.
 * Offsets count them: 1 is behind ".", 2 behind "..",
 * n + 2 behind the nth name. The usual reader goes on at the name where the last
 * call stopped. Any other offset is found from the nearest remembered name before it;
 * one name in MARK_EVERY is remembered.
 *
 * The snapshot says which names; what is said *about* them must be as of now,
 * for the kernel keeps it for ever. If nothing was written in the directory's
 * range since the snapshot (see `changes`), the record that was read still
 * holds, and `ls -l` is one scan. Otherwise the name is looked up again.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/name.h"
#include "fs/prune.h"
#include "lsm/base/array.h"

/* A remembered name costs about 50 bytes; a seek steps over at most so many entries. */
#define MARK_EVERY 256u

struct fs_dir {
	struct fs *fs;
	struct inode *inode; /* with a reference */
	struct mutex lock;
	/* guarded by lock */
	struct lsm_snapshot *snapshot;
	uint64_t stamp;      /* inode->changes, from before the snapshot */
	bool empty;          /* nothing to iterate over */
	bool noatime;        /* reading it does not count */
	struct lsm_iter *it; /* NULL: not needed yet, or no longer */
	struct key start, end;
	uint64_t index; /* of the name the iterator is at, from 0 */
	char *parked;   /* without an iterator: the name at `index`; NULL: none */
	char **marks;   /* the names at index 0, MARK_EVERY, ... */
	size_t mark_count, mark_room;
};

static void dir_reset(struct fs_dir *dir)
{
	lsm_iter_free(dir->it);
	dir->it = NULL;
	free(dir->parked);
	dir->parked = NULL;
	if (dir->snapshot)
		lsm_snapshot_drop(dir->fs->lsm, dir->snapshot);
	dir->snapshot = NULL;
	while (dir->mark_count)
		free(dir->marks[--dir->mark_count]);
	dir->index = 0;
}

/* Take the names of this moment. */
static int dir_snapshot(struct fs_dir *dir) REQUIRES(dir->lock)
{
	dir_reset(dir);
	inode_lock_shared(dir->inode);
	/* No name comes or goes now; records may change, and then `changes` does too. */
	dir->stamp = atomic_load(&dir->inode->changes);
	dir->empty = !dir->inode->attr.entries;
	if (!dir->empty)
		dir->snapshot = lsm_snapshot_take(dir->fs->lsm);
	inode_unlock_shared(dir->inode);
	return dir->empty || dir->snapshot ? 0 : -ENOMEM;
}

int fs_dir_open(struct fs *fs, uint64_t ino, struct fs_dir **out)
{
	struct fs_dir *dir;
	int err;

	*out = NULL;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	dir->fs = fs;
	err = mutex_init(&dir->lock, LOCK_DIR_STREAM);
	if (err) {
		free(dir);
		return err;
	}
	key_range(KEY_NAME, ino, &dir->start, &dir->end);
	err = inode_get(fs, ino, &dir->inode);
	if (!err)
		err = S_ISDIR(dir->inode->type) ? 0 : -ENOTDIR;
	if (err) {
		fs_dir_close(dir);
		return fs_errno(err);
	}
	*out = dir;
	return 0;
}

void fs_dir_set_noatime(struct fs_dir *dir)
{
	dir->noatime = true;
}

void fs_dir_close(struct fs_dir *dir)
{
	if (!dir)
		return;
	dir_reset(dir);
	free(dir->marks);
	inode_put(dir->fs, dir->inode);
	mutex_destroy(&dir->lock);
	free(dir);
}

/* A copy of the name the iterator is at; NULL: no memory. */
static char *dir_name_here(struct fs_dir *dir) REQUIRES(dir->lock)
{
	struct lsm_slice key = lsm_iter_key(dir->it);

	return strndup((const char *)key.data + 9, key.size - 9);
}

/* Remember where we are, if it is a place to. Without memory the next seek takes longer. */
static void dir_mark(struct fs_dir *dir) REQUIRES(dir->lock)
{
	char *name;

	if (dir->index % MARK_EVERY || dir->index / MARK_EVERY != dir->mark_count ||
	    !lsm_iter_valid(dir->it))
		return;
	if (array_reserve(dir->marks, dir->mark_room, dir->mark_count + 1))
		return;
	name = dir_name_here(dir);
	if (name)
		dir->marks[dir->mark_count++] = name;
}

static void dir_step(struct fs_dir *dir) REQUIRES(dir->lock)
{
	lsm_iter_next(dir->it);
	dir->index++;
	dir_mark(dir);
}

static int dir_iterate(struct fs_dir *dir) REQUIRES(dir->lock)
{
	struct lsm_iter_options o = {.snapshot = dir->snapshot,
				     .lower = key_slice(&dir->start),
				     .upper = key_slice(&dir->end)};

	if (!dir->it)
		dir->it = lsm_iter_new(dir->fs->lsm, &o);
	return dir->it ? 0 : -ENOMEM;
}

static void dir_seek_name(struct fs_dir *dir, const char *name) REQUIRES(dir->lock)
{
	struct key k;

	lsm_iter_seek(dir->it, key_make(&k, KEY_NAME, dir->inode->ino, name, strlen(name)));
}

/*
 * Let the iterator go until the next call, and remember the place: it would pin
 * memtables and files for as long as somebody keeps the directory open. One that met an
 * error has no place: the next call finds it by its index, and the error if it is still there.
 */
static void dir_park(struct fs_dir *dir) REQUIRES(dir->lock)
{
	if (!dir->it)
		return;
	free(dir->parked);
	dir->parked = lsm_iter_valid(dir->it) ? dir_name_here(dir) : NULL;
	lsm_iter_free(dir->it);
	dir->it = NULL;
}

/* Bring the iterator to the name at `index`, or to the end. */
static int dir_seek(struct fs_dir *dir, uint64_t index) REQUIRES(dir->lock)
{
	bool parked = !dir->it && dir->parked;
	size_t mark = 0;

	if (dir->mark_count)
		mark = index / MARK_EVERY < dir->mark_count ? (size_t)(index / MARK_EVERY) :
							      dir->mark_count - 1;
	if ((!dir->it && !parked) || index < dir->index || mark * MARK_EVERY > dir->index) {
		if (dir_iterate(dir))
			return -ENOMEM;
		if (dir->mark_count)
			dir_seek_name(dir, dir->marks[mark]);
		else
			lsm_iter_first(dir->it);
		dir->index = mark * MARK_EVERY;
		dir_mark(dir);
	} else if (parked) {
		if (dir_iterate(dir))
			return -ENOMEM;
		dir_seek_name(dir, dir->parked);
	}
	while (dir->index < index && lsm_iter_valid(dir->it))
		dir_step(dir);
	return lsm_iter_status(dir->it);
}

/*
 * What `name` is now: the inode with a reference and its attributes, or NULL
 * if it went. `record` is what the snapshot has.
 */
static int dir_resolve(struct fs_dir *dir, const char *name, const struct record *record,
		       struct inode **out, struct stat *st) REQUIRES(dir->lock)
{
	struct name n = {0};
	int err = INODE_STALE;

	*out = NULL;
	inode_lock_shared(dir->inode);
	if (atomic_load(&dir->inode->changes) == dir->stamp)
		err = inode_enter(dir->fs, dir->inode, name, record, dir->stamp, out);
	if (err == INODE_STALE) {
		err = name_find(dir->fs, dir->inode, name, &n);
		*out = n.inode;
		n.inode = NULL;
		name_release(dir->fs, &n);
	}
	if (*out) {
		inode_lock_shared(*out);
		inode_stat(*out, st);
		inode_unlock_shared(*out);
	}
	inode_unlock_shared(dir->inode);
	/* Damage was reported; the name is listed, and looking it up will say EIO. */
	return err == -ENOENT || err == -EUCLEAN ? 0 : err;
}

/* The call of fs_dir_read() at work. */
struct reading {
	struct fs_dir *dir;
	bool with_attributes;
	fs_dir_fn *fn;
	void *ctx;
	bool any; /* given out */
};

/* What stops a read without an error: the callback has no room for the entry. */
enum { DIR_STOP = 1 };

/* Give out the name the iterator is at. Returns 0, DIR_STOP or an error. */
static int dir_give_name(struct reading *r)
{
	struct fs_dir *dir = r->dir;
	struct inode *inode = NULL;
	struct lsm_slice key = lsm_iter_key(dir->it), value;
	struct lsm_slice bytes = {(const char *)key.data + 9, key.size - 9};
	char name[FS_NAME_BYTES_MAX + 1];
	struct stat st = {0};
	struct record record;
	const char *why;
	int err;

	mutex_assert_held(&dir->lock);
	if (!name_possible(bytes)) {
		/* No call could ask for it, and the kernel would refuse all other entries, too. */
		fs_corrupt(dir->fs, key, "no file can have this name");
		return 0;
	}
	memcpy(name, bytes.data, bytes.size);
	name[bytes.size] = '\0';
	err = lsm_iter_value(dir->it, &value);
	if (err)
		return err;
	if (record_decode(value, &record, &why)) {
		fs_corrupt(dir->fs, key, why);
		st.st_ino = UINT64_MAX; /* no inode's: of the damaged one only the name is known */
	} else {
		if (r->with_attributes && !prune_full(dir->fs))
			err = dir_resolve(dir, name, &record, &inode, &st);
		if (err)
			return err;
		if (!inode) {
			st.st_ino = record.ino;
			st.st_mode = record.type;
		}
	}
	/* The callback may drop its reference at once, so it must be there before. */
	if (inode)
		inode_hold(dir->fs, inode);
	err = r->fn(r->ctx, name, &st, inode != NULL, dir->index + 3) ? DIR_STOP : 0;
	if (err && inode)
		inode_forget(dir->fs, inode->ino, 1);
	inode_put(dir->fs, inode);
	if (!err)
		r->any = true;
	return err;
}

/* Give out "." or "..". Returns 0 or DIR_STOP. */
static int dir_give_dots(struct reading *r, bool parent)
{
	struct inode *inode = r->dir->inode;
	struct stat st = {.st_mode = S_IFDIR};

	inode_lock_shared(inode);
	st.st_ino = parent && inode->parent ? inode->parent->ino : inode->ino;
	inode_unlock_shared(inode);
	if (r->fn(r->ctx, parent ? ".." : ".", &st, false, parent ? 2 : 1))
		return DIR_STOP;
	r->any = true;
	return 0;
}

static int dir_read_locked(struct reading *r, uint64_t offset)
{
	struct fs_dir *dir = r->dir;
	int err = 0;

	mutex_assert_held(&dir->lock);
	/* Without a snapshot: it is the first read, or taking the last one failed. */
	if (!offset || (!dir->empty && !dir->snapshot))
		err = dir_snapshot(dir);
	if (!err && offset < 1)
		err = dir_give_dots(r, false);
	if (!err && offset < 2)
		err = dir_give_dots(r, true);
	if (err || dir->empty)
		return err;
	err = dir_seek(dir, offset < 2 ? 0 : offset - 2);
	while (!err && lsm_iter_valid(dir->it)) {
		err = dir_give_name(r);
		if (!err)
			dir_step(dir);
	}
	if (!err)
		err = lsm_iter_status(dir->it);
	if (!err) {
		/* At the end. Do not pin files for as long as it stays open. */
		lsm_iter_free(dir->it);
		dir->it = NULL;
		free(dir->parked);
		dir->parked = NULL;
	}
	return err;
}

int fs_dir_read(struct fs_dir *dir, uint64_t offset, bool with_attributes, fs_dir_fn *fn, void *ctx)
{
	struct reading r = {.dir = dir, .with_attributes = with_attributes, .fn = fn, .ctx = ctx};
	bool touch;
	int err;

	mutex_lock(&dir->lock);
	err = dir_read_locked(&r, offset);
	dir_park(dir);
	mutex_unlock(&dir->lock);
	if (err < 0)
		/* What was given out holds references, so it counts; the error comes next time. */
		return r.any ? 0 : fs_errno(err);
	if (!offset && !dir->noatime) {
		inode_lock_shared(dir->inode);
		touch = inode_touch_due(dir->fs, dir->inode);
		inode_unlock_shared(dir->inode);
		if (touch)
			inode_touch(dir->fs, dir->inode);
	}
	return 0;
}
