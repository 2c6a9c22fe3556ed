/*
 * walk.c - paths within a store, and walks over whole trees of it.
 *
 * Both walks keep a stack on the heap, since a tree may be deeper than any path.
 * What is on the stack holds a reference, so that it stays what it was.
 */
#include "mount/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next name of `*path`, or NULL with 0 at the end, or NULL with an error. */
static const char *next_name(const char **path, char name[FS_NAME_BYTES_MAX + 1], int *err)
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
		return NULL;
	if (n > FS_NAME_BYTES_MAX)
		*err = -ENAMETOOLONG;
	else if (n == 2 && !memcmp(at, "..", 2))
		*err = -EINVAL;
	if (*err)
		return NULL;
	memcpy(name, at, n);
	name[n] = 0;
	return name;
}

void walk_done(struct fs *fs, const struct stat *st)
{
	if (st->st_ino != FS_ROOT_INO && st->st_ino)
		fs_forget(fs, st->st_ino, 1);
}

/* Go from `st` to `name` in it. On an error `st` is still held. */
static int step(struct fs *fs, struct stat *st, const char *name)
{
	struct stat below;
	int err;

	if (!S_ISDIR(st->st_mode))
		return -ENOTDIR;
	err = fs_lookup(fs, st->st_ino, name, &below);
	if (err)
		return err;
	walk_done(fs, st);
	*st = below;
	return 0;
}

int walk_path(struct fs *fs, const char *path, struct stat *st)
{
	char name[FS_NAME_BYTES_MAX + 1];
	int err = fs_getattr(fs, FS_ROOT_INO, st);

	if (err)
		return err;
	while (!err && next_name(&path, name, &err))
		err = step(fs, st, name);
	if (err) {
		walk_done(fs, st);
		st->st_ino = 0;
	}
	return err;
}

int walk_parent(struct fs *fs, const char *path, struct stat *st, char name[FS_NAME_BYTES_MAX + 1])
{
	char next[FS_NAME_BYTES_MAX + 1];
	int err = fs_getattr(fs, FS_ROOT_INO, st);

	if (err)
		return err;
	if (!next_name(&path, name, &err) && !err)
		err = -EINVAL;
	while (!err && next_name(&path, next, &err)) {
		err = step(fs, st, name);
		memcpy(name, next, sizeof(next));
	}
	if (!err && !S_ISDIR(st->st_mode))
		err = -ENOTDIR;
	if (err) {
		walk_done(fs, st);
		st->st_ino = 0;
	}
	return err;
}

/* ---- everything below a directory ---- */

struct place {
	uint64_t ino;
	char *path; /* from where the walk began; "" there */
};

struct walk {
	struct fs *fs;
	walk_fn *fn;
	void *ctx;
	struct place *places; /* directories still to be read */
	size_t count, capacity;
	const char *path; /* of the directory being read */
	int err;
};

static int push(struct walk *w, uint64_t ino, char *path)
{
	struct place *places;

	if (!path)
		return -ENOMEM;
	if (w->count == w->capacity) {
		size_t capacity = w->capacity ? 2 * w->capacity : 64;

		places = realloc(w->places, capacity * sizeof(*places));
		if (!places) {
			free(path);
			return -ENOMEM;
		}
		w->places = places;
		w->capacity = capacity;
	}
	w->places[w->count++] = (struct place){ino, path};
	return 0;
}

static void drop(struct walk *w, const struct place *place)
{
	if (place->ino != FS_ROOT_INO && *place->path)
		fs_forget(w->fs, place->ino, 1);
	free(place->path);
}

static int on_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct walk *w = ctx;
	bool keep = false;
	char *path;

	(void)next;
	if (!held) /* "." and "..", or it went meanwhile */
		return 0;
	if (asprintf(&path, "%s%s%s", w->path, *w->path ? "/" : "", name) < 0)
		path = NULL;
	w->err = path ? w->fn(w->ctx, path, st) : -ENOMEM;
	if (!w->err && S_ISDIR(st->st_mode)) {
		w->err = push(w, st->st_ino, path);
		path = NULL;
		keep = !w->err;
	}
	free(path);
	if (w->err)
		return 1; /* takes the reference back */
	if (!keep)
		fs_forget(w->fs, st->st_ino, 1);
	return 0;
}

/* Read all of one directory: a call may return before its end. */
struct cursor {
	fs_dir_fn *fn;
	void *ctx;
	uint64_t next;
	bool any;
};

static int on_cursor(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct cursor *c = ctx;
	int stop = c->fn(c->ctx, name, st, held, next);

	if (!stop) {
		c->next = next;
		c->any = true;
	}
	return stop;
}

static int read_directory(struct walk *w, uint64_t ino)
{
	struct cursor cursor = {.fn = on_entry, .ctx = w};
	struct fs_dir *dir;
	int err = fs_dir_open(w->fs, ino, &dir);

	if (err)
		return err;
	do {
		cursor.any = false;
		err = fs_dir_read(dir, cursor.next, true, on_cursor, &cursor);
	} while (err >= 0 && !w->err && cursor.any);
	fs_dir_close(dir);
	return w->err ? w->err : err < 0 ? err : 0;
}

int walk_below(struct fs *fs, uint64_t ino, walk_fn *fn, void *ctx)
{
	struct walk w = {.fs = fs, .fn = fn, .ctx = ctx};
	int err = push(&w, ino, strdup(""));

	while (!err && w.count) {
		struct place place = w.places[--w.count];

		w.path = place.path;
		err = read_directory(&w, place.ino);
		drop(&w, &place);
	}
	while (w.count)
		drop(&w, &w.places[--w.count]);
	free(w.places);
	return err;
}

/* ---- removing a tree ---- */

#define NAMES_MAX 1024 /* removed per reading of a directory */

/* A directory being emptied. */
struct level {
	uint64_t parent, ino;
	char name[FS_NAME_BYTES_MAX + 1];
};

struct names {
	char (*name)[FS_NAME_BYTES_MAX + 1];
	bool *is_dir;
	size_t count;
};

static int on_name(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct names *names = ctx;

	(void)held;
	(void)next;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (names->count == NAMES_MAX)
		return 1;
	snprintf(names->name[names->count], sizeof(names->name[0]), "%s", name);
	names->is_dir[names->count++] = S_ISDIR(st->st_mode);
	return 0;
}

static int read_names(struct fs *fs, uint64_t ino, struct names *names)
{
	struct cursor cursor = {.fn = on_name, .ctx = names};
	struct fs_dir *dir;
	int err = fs_dir_open(fs, ino, &dir);

	names->count = 0;
	if (err)
		return err;
	do {
		cursor.any = false;
		err = fs_dir_read(dir, cursor.next, false, on_cursor, &cursor);
	} while (err >= 0 && cursor.any && names->count < NAMES_MAX);
	fs_dir_close(dir);
	return err < 0 ? err : 0;
}

static int enter(struct fs *fs, struct level **levels, size_t *count, uint64_t parent,
		 const char *name)
{
	struct level *more = realloc(*levels, (*count + 1) * sizeof(*more));
	struct stat st;
	int err;

	if (!more)
		return -ENOMEM;
	*levels = more;
	err = fs_lookup(fs, parent, name, &st);
	if (err)
		return err;
	more[*count] = (struct level){.parent = parent, .ino = st.st_ino};
	snprintf(more[*count].name, sizeof(more->name), "%s", name);
	(*count)++;
	return 0;
}

/* Remove what can be removed at once; then go into the first directory met, or leave this one. */
static int work_on(struct fs *fs, struct level **levels, size_t *count, struct names *names)
{
	struct level level = (*levels)[*count - 1];
	size_t i, dir = NAMES_MAX;
	int err = read_names(fs, level.ino, names);

	for (i = 0; !err && i < names->count; i++) {
		if (!names->is_dir[i])
			err = fs_unlink(fs, level.ino, names->name[i]);
		else if (dir == NAMES_MAX)
			dir = i;
	}
	if (err)
		return err;
	if (dir < NAMES_MAX)
		return enter(fs, levels, count, level.ino, names->name[dir]);
	if (names->count)
		return 0;
	err = fs_rmdir(fs, level.parent, level.name);
	if (!err) {
		fs_forget(fs, level.ino, 1);
		(*count)--;
	}
	return err;
}

int walk_remove(struct fs *fs, uint64_t parent, const char *name)
{
	struct level *levels = NULL;
	size_t count = 0;
	struct names names = {
		.name = malloc(NAMES_MAX * sizeof(*names.name)),
		.is_dir = malloc(NAMES_MAX * sizeof(*names.is_dir)),
	};
	int err = names.name && names.is_dir ? 0 : -ENOMEM;

	if (!err)
		err = enter(fs, &levels, &count, parent, name);
	while (!err && count)
		err = work_on(fs, &levels, &count, &names);
	while (count)
		fs_forget(fs, levels[--count].ino, 1);
	free(levels);
	free(names.name);
	free(names.is_dir);
	return err;
}
