/*
 * path.c - paths within a store, and everything below one.
 *
 * Directories that are still to be read are on a stack on the heap, since they may be
 * nested more deeply than any path can say. Each has a reference of its own, so that its
 * inode number stays its own.
 */
#include "mount/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "mount/message.h"

/*
 * Copy the next name of `*path` into `name`, and move `*path` behind it. Returns false at the
 * end of the path, and on an error: `*err` is 0 or the error.
 */
static bool path_next_name(const char **path, char name[FS_NAME_BYTES_MAX + 1], int *err)
{
	const char *at = *path;
	size_t n;

	*err = 0;
	for (;;) {
		at += strspn(at, "/");
		n = strcspn(at, "/");
		if (n != 1 || *at != '.')
			break;
		at++;
	}
	*path = at + n;
	if (!n)
		return false;
	if (n > FS_NAME_BYTES_MAX)
		*err = -ENAMETOOLONG;
	else if (n == 2 && !memcmp(at, "..", 2))
		*err = -EINVAL;
	if (*err)
		return false;
	memcpy(name, at, n);
	name[n] = 0;
	return true;
}

void path_forget(struct fs *fs, const struct stat *st)
{
	if (st->st_ino != FS_ROOT_INO && st->st_ino)
		fs_forget(fs, st->st_ino, 1);
}

/* Replace `st` by the inode called `name` in it. After an error `st` is still held. */
static int path_step(struct fs *fs, struct stat *st, const char *name)
{
	struct stat below;
	int err;

	if (!S_ISDIR(st->st_mode))
		return -ENOTDIR;
	err = fs_lookup(fs, st->st_ino, name, &below);
	if (err)
		return err;
	path_forget(fs, st);
	*st = below;
	return 0;
}

int path_lookup(struct fs *fs, const char *path, struct stat *st)
{
	char name[FS_NAME_BYTES_MAX + 1];
	int err = fs_getattr(fs, FS_ROOT_INO, st);

	if (err)
		return err;
	while (!err && path_next_name(&path, name, &err))
		err = path_step(fs, st, name);
	if (err) {
		path_forget(fs, st);
		st->st_ino = 0;
	}
	return err;
}

int path_lookup_parent(struct fs *fs, const char *path, struct stat *st,
		       char name[FS_NAME_BYTES_MAX + 1])
{
	char next[FS_NAME_BYTES_MAX + 1];
	int err = fs_getattr(fs, FS_ROOT_INO, st);

	if (err)
		return err;
	if (!path_next_name(&path, name, &err) && !err)
		err = -EINVAL;
	while (!err && path_next_name(&path, next, &err)) {
		err = path_step(fs, st, name);
		memcpy(name, next, sizeof(next));
	}
	if (!err && !S_ISDIR(st->st_mode))
		err = -ENOTDIR;
	if (err) {
		path_forget(fs, st);
		st->st_ino = 0;
	}
	return err;
}

/* ---- reading a whole directory ---- */

/* fs_dir_read() may return before the end of the directory: where the next call goes on. */
struct dir_pages {
	fs_dir_fn *fn;
	void *ctx;
	uint64_t next;
	bool any, stopped;
};

static int dir_pages_on_entry(void *ctx, const char *name, const struct stat *st, bool held,
			      uint64_t next)
{
	struct dir_pages *p = ctx;

	p->stopped = p->fn(p->ctx, name, st, held, next) != 0;
	if (!p->stopped) {
		p->next = next;
		p->any = true;
	}
	return p->stopped;
}

int path_read_dir(struct fs *fs, uint64_t ino, bool with_attributes, fs_dir_fn *fn, void *ctx)
{
	struct dir_pages pages = {.fn = fn, .ctx = ctx};
	struct fs_dir *dir;
	int err = fs_dir_open(fs, ino, &dir);

	if (err)
		return err;
	do {
		pages.any = false;
		err = fs_dir_read(dir, pages.next, with_attributes, dir_pages_on_entry, &pages);
	} while (err >= 0 && !pages.stopped && pages.any);
	fs_dir_close(dir);
	return err < 0 ? err : 0;
}

int path_entry_hold(struct fs *fs, uint64_t dir, const char *name, const char *path, bool held,
		    struct stat *st)
{
	int err;

	if (held)
		return 0;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return LSM_ABSENT;
	err = fs_lookup(fs, dir, name, st);
	if (err == -ENOENT)
		return LSM_ABSENT;
	if (err)
		say_error("%s: %s", path, message_reason(err));
	return err;
}

/* ---- everything below a directory ---- */

struct below_dir {
	uint64_t ino;
	char *path; /* from the directory where it began; "" for that one */
};

struct below {
	struct fs *fs;
	path_fn *fn;
	void *ctx;
	struct below_dir *dirs; /* still to be read */
	size_t count, room;
	const char *path; /* of the directory being read */
	uint64_t ino;     /* its number */
	int err;
	int left_out; /* the first error of an entry that could not be looked up */
};

/* Takes `path`, also on an error. */
static int below_push(struct below *b, uint64_t ino, char *path)
{
	int err = path ? array_reserve(b->dirs, b->room, b->count + 1) : -ENOMEM;

	if (err)
		free(path);
	else
		b->dirs[b->count++] = (struct below_dir){ino, path};
	return err;
}

static void below_drop(struct below *b, const struct below_dir *dir)
{
	if (dir->ino != FS_ROOT_INO && *dir->path)
		fs_forget(b->fs, dir->ino, 1);
	free(dir->path);
}

static int below_on_entry(void *ctx, const char *name, const struct stat *st, bool held,
			  uint64_t next)
{
	struct below *b = ctx;
	struct stat own = *st;
	bool keep = false;
	char *path;
	int err;

	(void)next;
	if (asprintf(&path, "%s%s%s", b->path, *b->path ? "/" : "", name) < 0) {
		b->err = -ENOMEM;
		return 1;
	}
	err = path_entry_hold(b->fs, b->ino, name, path, held, &own);
	if (err) {
		free(path);
		if (err != LSM_ABSENT && !b->left_out)
			b->left_out = err;
		return 0;
	}
	b->err = b->fn(b->ctx, path, &own);
	if (!b->err && S_ISDIR(own.st_mode)) {
		b->err = below_push(b, own.st_ino, path);
		path = NULL;
		keep = !b->err;
	}
	free(path);
	/* After an error, fs_dir_read() drops the reference that it gave. */
	if (!keep && (!b->err || !held))
		fs_forget(b->fs, own.st_ino, 1);
	return b->err != 0;
}

int path_each_below(struct fs *fs, uint64_t ino, path_fn *fn, void *ctx)
{
	struct below b = {.fs = fs, .fn = fn, .ctx = ctx};
	int err = below_push(&b, ino, strdup(""));

	while (!err && b.count) {
		struct below_dir dir = b.dirs[--b.count];

		b.path = dir.path;
		b.ino = dir.ino;
		err = path_read_dir(fs, dir.ino, true, below_on_entry, &b);
		if (b.err)
			err = b.err;
		below_drop(&b, &dir);
	}
	while (b.count)
		below_drop(&b, &b.dirs[--b.count]);
	free(b.dirs);
	return err ? err : b.left_out;
}

/* ---- removing a directory with everything below it ---- */

#define REMOVE_ENTRIES_MAX 1024 /* read from a directory at a time */

/* A directory being emptied. */
struct remove_dir {
	uint64_t parent, ino;
	char name[FS_NAME_BYTES_MAX + 1];
};

struct remove {
	struct fs *fs;
	struct remove_dir *dirs; /* each in the one before it */
	size_t count, room;
	/* the entries that were read last */
	char (*name)[FS_NAME_BYTES_MAX + 1];
	bool *is_dir;
	size_t entries;
};

static int remove_on_entry(void *ctx, const char *name, const struct stat *st, bool held,
			   uint64_t next)
{
	struct remove *r = ctx;

	(void)held;
	(void)next;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (r->entries == REMOVE_ENTRIES_MAX)
		return 1;
	snprintf(r->name[r->entries], sizeof(r->name[0]), "%s", name);
	r->is_dir[r->entries++] = S_ISDIR(st->st_mode);
	return 0;
}

static int remove_enter(struct remove *r, uint64_t parent, const char *name)
{
	struct remove_dir *dir;
	struct stat st;
	int err = array_reserve(r->dirs, r->room, r->count + 1);

	if (!err)
		err = fs_lookup(r->fs, parent, name, &st);
	if (err)
		return err;
	dir = &r->dirs[r->count++];
	*dir = (struct remove_dir){.parent = parent, .ino = st.st_ino};
	snprintf(dir->name, sizeof(dir->name), "%s", name);
	return 0;
}

/* Remove the files of the innermost directory; then enter its first directory, or remove it. */
static int remove_step(struct remove *r)
{
	struct remove_dir dir = r->dirs[r->count - 1];
	size_t i, first_dir = REMOVE_ENTRIES_MAX;
	int err;

	r->entries = 0;
	err = path_read_dir(r->fs, dir.ino, false, remove_on_entry, r);
	for (i = 0; !err && i < r->entries; i++) {
		if (!r->is_dir[i])
			err = fs_unlink(r->fs, dir.ino, r->name[i]);
		else if (first_dir == REMOVE_ENTRIES_MAX)
			first_dir = i;
	}
	if (err)
		return err;
	if (first_dir < REMOVE_ENTRIES_MAX)
		return remove_enter(r, dir.ino, r->name[first_dir]);
	if (r->entries) /* There may be more: read it again. */
		return 0;
	err = fs_rmdir(r->fs, dir.parent, dir.name);
	if (!err) {
		fs_forget(r->fs, dir.ino, 1);
		r->count--;
	}
	return err;
}

int path_remove(struct fs *fs, uint64_t parent, const char *name)
{
	struct remove r = {
		.fs = fs,
		.name = malloc(REMOVE_ENTRIES_MAX * sizeof(*r.name)),
		.is_dir = malloc(REMOVE_ENTRIES_MAX * sizeof(*r.is_dir)),
	};
	int err = r.name && r.is_dir ? 0 : -ENOMEM;

	if (!err)
		err = remove_enter(&r, parent, name);
	while (!err && r.count)
		err = remove_step(&r);
	while (r.count)
		fs_forget(fs, r.dirs[--r.count].ino, 1);
	free(r.dirs);
	free(r.name);
	free(r.is_dir);
	return err;
}
