/*
 * storage_overlay.c - changes to a storage that take effect all at once.
 *
 * A repair may end at any moment, and must leave the store either as it was or repaired. So
 * it works through an overlay: a storage that shows the files of the storage below, with
 * these differences:
 *
 *   - a new file NAME is made below as NAME.repair, which is not the name of a file
 *     of the store;
 *   - files below are never written to, nor shortened, nor punched;
 *   - a file below that is unlinked is only hidden.
 *
 * The commit is made when every new file is synced and nothing is written any more:
 *
 *   1. NAME.repair becomes NAME, for all but CURRENT; directory synced
 *   2. CURRENT.repair becomes CURRENT; directory synced
 *   3. each hidden file becomes NAME.old; directory synced
 *
 * Until step 2 the old CURRENT names the old files, all of which are there. The files of step 1
 * have numbers that were never used, and a later open deletes them, as nothing names them.
 * After step 2 the new state is complete. If a crash interrupts step 3, the next open deletes
 * the remaining hidden files, as it would without an overlay. The tree was closed before the
 * commit, so everything is in tables and the new log is empty: with the old CURRENT, no
 * record of it is replayed. (A repair makes no RESERVE.)
 *
 * A preview shows the state after the commit before it is made, so that it can be verified.
 *
 * Files with the suffix that a crash has left are deleted when an overlay, or the tree
 * itself, takes the lock and may write. Threads: as any storage.
 */
#include "lsm/storage_overlay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "lsm/base/lock.h"
#include "lsm/manifest.h"

#define NAME_BYTES 300

struct names {
	char **list;
	size_t count, room;
};

struct overlay {
	struct storage st;
	struct storage_ops ops; /* calls on files go to the base, which makes the files */
	struct storage *base;
	bool owned;
	struct mutex mu;
	/* guarded by mu */
	struct names made, hidden;
	bool preview;
};

static struct overlay *overlay_of(struct storage *st)
{
	return (struct overlay *)st;
}

bool overlay_is_new(const char *name)
{
	size_t size = strlen(name), suffix = sizeof(OVERLAY_NEW) - 1;

	return size > suffix && !strcmp(name + size - suffix, OVERLAY_NEW);
}

static const char *overlay_with_suffix(char buf[NAME_BYTES], const char *name, const char *suffix)
{
	snprintf(buf, NAME_BYTES, "%s%s", name, suffix);
	return buf;
}

static size_t overlay_names_find(const struct names *n, const char *name)
{
	size_t i = 0;

	while (i < n->count && strcmp(n->list[i], name) != 0)
		i++;
	return i;
}

static bool overlay_names_has(const struct names *n, const char *name)
{
	return overlay_names_find(n, name) < n->count;
}

static int overlay_names_add(struct names *n, const char *name)
{
	char *copy;

	if (overlay_names_has(n, name))
		return 0;
	if (array_reserve(n->list, n->room, n->count + 1))
		return -ENOMEM;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	n->list[n->count++] = copy;
	return 0;
}

static void overlay_names_remove(struct names *n, const char *name)
{
	size_t i = overlay_names_find(n, name);

	if (i == n->count)
		return;
	free(n->list[i]);
	n->list[i] = n->list[--n->count];
}

static void overlay_names_release(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
	*n = (struct names){0};
}

static int overlay_open(struct storage *st, const char *name, enum storage_open how,
			struct storage_file **out)
{
	struct overlay *o = overlay_of(st);
	const struct storage_ops *ops = o->base->ops;
	char buf[NAME_BYTES];
	int err;

	*out = NULL;
	mutex_lock(&o->mu);
	if (o->preview && how != STORAGE_READ) {
		err = -EROFS;
	} else if (overlay_names_has(&o->made, name)) {
		err = ops->open(o->base, overlay_with_suffix(buf, name, OVERLAY_NEW), how, out);
	} else if (how == STORAGE_CREATE) {
		/* Noted first, because a file that is not noted would never be deleted. */
		err = overlay_names_add(&o->made, name);
		if (!err)
			err = ops->open(o->base, overlay_with_suffix(buf, name, OVERLAY_NEW), how,
					out);
		if (err)
			overlay_names_remove(&o->made, name);
	} else if (overlay_names_has(&o->hidden, name)) {
		err = -ENOENT;
	} else {
		err = how == STORAGE_READ ? ops->open(o->base, name, how, out) : -EROFS;
	}
	mutex_unlock(&o->mu);
	return err;
}

static int overlay_rename(struct storage *st, const char *from, const char *to)
{
	char from_buf[NAME_BYTES], to_buf[NAME_BYTES];
	struct overlay *o = overlay_of(st);
	int err;

	mutex_lock(&o->mu);
	err = overlay_names_has(&o->made, from) ? overlay_names_add(&o->made, to) : -EROFS;
	if (!err)
		err = o->base->ops->rename(o->base,
					   overlay_with_suffix(from_buf, from, OVERLAY_NEW),
					   overlay_with_suffix(to_buf, to, OVERLAY_NEW));
	if (!err)
		overlay_names_remove(&o->made, from);
	mutex_unlock(&o->mu);
	return err;
}

static int overlay_unlink(struct storage *st, const char *name)
{
	struct overlay *o = overlay_of(st);
	char buf[NAME_BYTES];
	int err;

	mutex_lock(&o->mu);
	if (overlay_names_has(&o->made, name)) {
		err = o->base->ops->unlink(o->base, overlay_with_suffix(buf, name, OVERLAY_NEW));
		if (!err)
			overlay_names_remove(&o->made, name);
	} else {
		err = overlay_names_add(&o->hidden, name);
	}
	mutex_unlock(&o->mu);
	return err;
}

struct listing {
	const struct overlay *o;
	storage_list_fn *fn;
	void *ctx;
};

static int overlay_list_one(void *ctx, const char *name, uint64_t size)
{
	const struct listing *l = ctx;
	char buf[NAME_BYTES];

	if (overlay_is_new(name)) {
		snprintf(buf, sizeof(buf), "%.*s", (int)(strlen(name) - (sizeof(OVERLAY_NEW) - 1)),
			 name);
		if (!overlay_names_has(&l->o->made, buf))
			return 0;
		return l->fn(l->ctx, buf, size);
	}
	if (overlay_names_has(&l->o->hidden, name) || overlay_names_has(&l->o->made, name))
		return 0;
	return l->fn(l->ctx, name, size);
}

static int overlay_list(struct storage *st, storage_list_fn *fn, void *ctx)
{
	struct overlay *o = overlay_of(st);
	struct listing l = {o, fn, ctx};
	int err;

	mutex_lock(&o->mu);
	err = o->base->ops->list(o->base, overlay_list_one, &l);
	mutex_unlock(&o->mu);
	return err;
}

static int overlay_sync_dir(struct storage *st)
{
	struct overlay *o = overlay_of(st);

	return o->base->ops->sync_dir(o->base);
}

static int overlay_space(struct storage *st, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct overlay *o = overlay_of(st);

	return o->base->ops->space(o->base, free_bytes, total_bytes);
}

/* Does nothing: the file may be one of those below, which stay as they are. */
static int overlay_punch(struct storage_file *f, uint64_t offset, uint64_t size)
{
	(void)f;
	(void)offset;
	(void)size;
	return 0;
}

/* ---- dropping and taking over ---- */

static int overlay_note_new(void *ctx, const char *name, uint64_t size)
{
	(void)size;
	return overlay_is_new(name) ? overlay_names_add(ctx, name) : 0;
}

void overlay_drop_new(struct storage *base)
{
	struct names names = {0};

	/* A file that cannot be deleted is left for the next time. */
	(void)base->ops->list(base, overlay_note_new, &names);
	for (size_t i = 0; i < names.count; i++)
		(void)base->ops->unlink(base, names.list[i]);
	overlay_names_release(&names);
}

static int overlay_lock(struct storage *st, bool exclusive, long *holder)
{
	struct overlay *o = overlay_of(st);
	int err;

	if (o->preview)
		return 0;
	err = o->base->ops->lock(o->base, exclusive, holder);
	if (!err)
		overlay_drop_new(o->base);
	return err;
}

static void overlay_unlock(struct storage *st)
{
	struct overlay *o = overlay_of(st);

	if (o->preview)
		return;
	overlay_drop_new(o->base);
	overlay_names_release(&o->made);
	o->base->ops->unlock(o->base);
}

static void overlay_free(struct storage *st)
{
	struct overlay *o = overlay_of(st);

	if (o->owned)
		o->base->ops->free(o->base);
	overlay_names_release(&o->made);
	overlay_names_release(&o->hidden);
	mutex_destroy(&o->mu);
	free(o);
}

void overlay_preview(struct storage *st, bool on)
{
	struct overlay *o = overlay_of(st);

	mutex_lock(&o->mu);
	o->preview = on;
	mutex_unlock(&o->mu);
}

static int overlay_put_in_place(struct overlay *o, const char *name) REQUIRES(o->mu)
{
	char buf[NAME_BYTES];

	return o->base->ops->rename(o->base, overlay_with_suffix(buf, name, OVERLAY_NEW), name);
}

static int overlay_count_hidden(void *ctx, const char *name, uint64_t size)
{
	const struct listing *l = ctx;

	if (overlay_names_has(&l->o->hidden, name) && strcmp(name, "RESERVE") != 0)
		*(uint64_t *)l->ctx += size;
	return 0;
}

/* Rename the files that were replaced. If that fails, the next open deletes them. */
static void overlay_keep_old(struct overlay *o) REQUIRES(o->mu)
{
	char buf[NAME_BYTES];

	for (size_t i = 0; i < o->hidden.count; i++) {
		const char *name = o->hidden.list[i];

		if (!strcmp(name, "RESERVE"))
			(void)o->base->ops->unlink(o->base, name);
		else
			(void)o->base->ops->rename(o->base, name,
						   overlay_with_suffix(buf, name, OVERLAY_OLD));
	}
	(void)o->base->ops->sync_dir(o->base);
}

int overlay_commit(struct storage *st, uint64_t *kept_bytes)
{
	struct overlay *o = overlay_of(st);
	struct listing l = {.o = o, .ctx = kept_bytes};
	int err = 0;

	*kept_bytes = 0;
	mutex_lock(&o->mu);
	for (size_t i = 0; !err && i < o->made.count; i++)
		if (strcmp(o->made.list[i], MANIFEST_CURRENT) != 0)
			err = overlay_put_in_place(o, o->made.list[i]);
	if (!err)
		err = o->base->ops->sync_dir(o->base);
	if (!err)
		err = overlay_put_in_place(o, MANIFEST_CURRENT);
	if (!err)
		err = o->base->ops->sync_dir(o->base);
	if (!err) {
		(void)o->base->ops->list(o->base, overlay_count_hidden, &l);
		overlay_keep_old(o);
	}
	mutex_unlock(&o->mu);
	return err;
}

struct storage *overlay_new(struct storage *base, bool owned)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	mutex_init(&o->mu, LOCK_OVERLAY);
	o->base = base;
	o->owned = owned;
	o->ops = *base->ops;
	o->ops.open = overlay_open;
	o->ops.rename = overlay_rename;
	o->ops.unlink = overlay_unlink;
	o->ops.list = overlay_list;
	o->ops.sync_dir = overlay_sync_dir;
	o->ops.lock = overlay_lock;
	o->ops.unlock = overlay_unlock;
	o->ops.space = overlay_space;
	o->ops.free = overlay_free;
	o->ops.punch = overlay_punch;
	o->st.ops = &o->ops;
	return &o->st;
}
