/*
 * rename.c - moving a name, over another or in exchange with another.
 *
 * A rename moves one record, whatever is below it: the children of a directory
 * are keyed by its number, which stays. Everything is one batch: the old entry
 * gone, the new one there, what was under the new name freed or made an orphan,
 * both directories' counts. So at any moment, and after any crash, the new name
 * is either the old file or the new one, and never missing.
 */
#include "fs/name.h"

#include <errno.h>
#include <stdlib.h>

/* One end of a rename. */
struct end {
	struct inode *dir;
	const char *name;
	struct name n; /* what is there now */
	bool is_dir;
	struct attr dir_attr; /* of dir, afterwards */
	struct attr attr;     /* of n.inode, afterwards */
	struct lsm_slice content;
	char *new_name; /* for n.inode to keep */
};

struct renaming {
	struct fs *fs;
	struct end from, to;
	bool exchange, replaces; /* replaces: there is something at `to` that goes */
	bool alone;              /* fs->rename_lock is to be held */
	struct loss loss;        /* of what is replaced */
	struct lsm_batch *b;
};

/* Is `above` equal to or above `dir`? Under fs->rename_lock, so that no parent changes. */
static bool rename_is_above(const struct inode *above, const struct inode *dir)
{
	while (dir && dir != above)
		dir = dir->parent;
	return dir != NULL;
}

/*
 * The analysis cannot follow these five: which locks they take depends on the inodes.
 *
 * Lock one or two; any may be NULL or the same as the other.
 */
static void rename_lock_two(struct inode *a, struct inode *b, bool b_first) NO_OTHER_THREADS
{
	struct inode *first = b_first ? b : a, *second = b_first ? a : b;

	if (first)
		inode_lock(first);
	if (second && second != first)
		inode_lock(second);
}

static void rename_unlock_two(struct inode *a, struct inode *b) NO_OTHER_THREADS
{
	if (a)
		inode_unlock(a);
	if (b && b != a)
		inode_unlock(b);
}

static void rename_lock_dirs(struct renaming *r) NO_OTHER_THREADS
{
	struct inode *a = r->from.dir, *b = r->to.dir;
	bool b_first = false;

	if (r->alone)
		mutex_lock(&r->fs->rename_lock);
	if (a != b)
		b_first = rename_is_above(b, a) || (!rename_is_above(a, b) && b->ino < a->ino);
	rename_lock_two(a, b, b_first);
}

static void rename_unlock_dirs(struct renaming *r) NO_OTHER_THREADS
{
	rename_unlock_two(r->from.dir, r->to.dir);
	if (r->alone)
		mutex_unlock(&r->fs->rename_lock);
}

static void rename_lock_children(struct renaming *r) NO_OTHER_THREADS
{
	struct inode *a = r->from.n.inode, *b = r->to.n.inode;
	bool b_first = false;

	if (b && r->from.is_dir != r->to.is_dir)
		b_first = r->to.is_dir;
	else if (b)
		b_first = b->ino < a->ino;
	rename_lock_two(a, b, b_first);
}

/*
 * Find both ends, and whether the rename is allowed. 0; RENAME_NOTHING if both names are of one
 * inode, and stay; or an error. Both directories are locked.
 */
enum { RENAME_NOTHING = 1 };
static int rename_find(struct renaming *r, unsigned flags)
{
	struct end *from = &r->from, *to = &r->to;
	int err;

	inode_assert_held(from->dir);
	inode_assert_held(to->dir);
	if (from->dir->where == INODE_NAMELESS || to->dir->where == INODE_NAMELESS)
		return -ENOENT;
	err = name_find(r->fs, from->dir, from->name, &from->n);
	if (err)
		return err;
	from->is_dir = S_ISDIR(from->n.inode->type);
	to->is_dir = r->replaces = false;
	err = name_find(r->fs, to->dir, to->name, &to->n);
	if (err == -ENOENT)
		err = r->exchange ? -ENOENT : 0;
	if (err)
		return err;
	if (to->n.inode) {
		to->is_dir = S_ISDIR(to->n.inode->type);
		r->replaces = !r->exchange;
		if (flags & FS_RENAME_NOREPLACE)
			return -EEXIST;
	}
	if (from->dir != to->dir) {
		if (from->is_dir && rename_is_above(from->n.inode, to->dir))
			return -EINVAL;
		if (to->is_dir && rename_is_above(to->n.inode, from->dir))
			return r->exchange ? -EINVAL : -ENOTEMPTY;
	}
	if (from->n.inode == to->n.inode)
		return RENAME_NOTHING;
	if (r->replaces && from->is_dir != to->is_dir)
		return from->is_dir ? -ENOTDIR : -EISDIR;
	return 0;
}

/* Add to the batch the inode at `from` as it will be under `to`'s name. */
static int rename_stage_move(struct renaming *r, struct end *from, const struct end *to)
{
	struct inode *inode = from->n.inode;
	int err = 0;

	inode_assert_held(from->dir);
	inode_assert_held(inode);
	from->attr = inode->attr;
	from->attr.ctime = time_now();
	from->new_name = strdup(to->name);
	if (!from->new_name)
		return -ENOMEM;
	if (inode->attr.content_size)
		err = name_content(r->fs, from->dir, &from->n, &from->content);
	if (err)
		return err;
	if (inode->where == INODE_NAMED)
		return name_stage(r->b, to->dir, to->name, inode->ino, &from->attr,
				  from->content.data);
	err = name_stage_link(r->b, to->dir, to->name, inode->ino, inode->type);
	return err ? err : inode_stage(r->b, inode, &from->attr, from->content.data);
}

/* Add to the batch the directories' records; the deletion that may come with it must be first. */
static int rename_stage_dirs(struct renaming *r)
{
	struct end *from = &r->from, *to = &r->to;
	int lost = r->replaces && to->is_dir;
	int moved = from->is_dir, back = r->exchange && to->is_dir;
	int err;

	inode_assert_held(from->dir);
	inode_assert_held(to->dir);
	if (from->dir == to->dir)
		return name_stage_dir(r->b, from->dir, -(int)r->replaces, -lost, &from->dir_attr);
	err = name_stage_dir(r->b, from->dir, r->exchange ? 0 : -1, back - moved, &from->dir_attr);
	return err ? err :
		     name_stage_dir(r->b, to->dir, r->exchange || r->replaces ? 0 : 1,
				    moved - back - lost, &to->dir_attr);
}

static int rename_stage(struct renaming *r)
{
	struct end *from = &r->from, *to = &r->to;
	int err = 0;

	inode_assert_held(to->dir);
	if (r->replaces && to->is_dir && to->n.inode->attr.entries)
		return -ENOTEMPTY;
	if (from->n.inode->where == INODE_NAMELESS ||
	    (to->n.inode && to->n.inode->where == INODE_NAMELESS)) {
		struct key k;

		return fs_corrupt(r->fs, key_make(&k, KEY_INODE, from->n.inode->ino, NULL, 0),
				  "it has more names than it knows of");
	}
	r->b = fs_batch_get(r->fs);
	if (!r->b)
		return -ENOMEM;
	if (r->replaces)
		err = name_stage_loss(r->fs, r->b, to->dir, &to->n, &r->loss);
	if (!err && !r->exchange)
		err = name_stage_delete(r->b, from->dir, from->name);
	if (!err)
		err = rename_stage_dirs(r);
	if (!err)
		err = rename_stage_move(r, from, to);
	if (!err && r->exchange)
		err = rename_stage_move(r, to, from);
	return err;
}

/* The batch was written: `from`'s inode is at `to` now. */
static void rename_apply_move(struct fs *fs, struct end *from, const struct end *to)
{
	struct inode *inode = from->n.inode;

	inode_assert_held(inode);
	inode_changed(fs, inode);
	inode_move(fs, inode, inode->where, to->dir, from->new_name);
	from->new_name = NULL;
	inode_apply(fs, inode, &from->attr);
}

static int rename_locked(struct renaming *r)
{
	struct end *from = &r->from, *to = &r->to;
	int err = rename_stage(r);

	inode_assert_held(from->dir);
	inode_assert_held(to->dir);
	if (!err)
		err = fs_commit(r->fs, r->b, r->replaces ? LSM_FREES : 0);
	if (!err) {
		if (r->replaces) {
			inode_assert_held(to->n.inode);
			name_apply_loss(r->fs, to->n.inode, &r->loss);
		}
		rename_apply_move(r->fs, from, to);
		if (r->exchange)
			rename_apply_move(r->fs, to, from);
		name_apply_dir(r->fs, from->dir, &from->dir_attr);
		if (from->dir != to->dir)
			name_apply_dir(r->fs, to->dir, &to->dir_attr);
	}
	free(r->loss.content);
	free(from->new_name);
	free(to->new_name);
	fs_batch_put(r->fs, r->b);
	return err;
}

static int rename_check(const char *name, const char *new_name, unsigned flags)
{
	size_t size;
	int err = name_check(name, &size);

	if (!err)
		err = name_check(new_name, &size);
	if (err)
		return err;
	if (flags & ~(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE) ||
	    flags == (FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE))
		return -EINVAL;
	if (name_is_dots(name))
		return -EBUSY;
	if (name_is_dots(new_name))
		return flags & FS_RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	return 0;
}

static int rename_get_dir(struct fs *fs, uint64_t ino, struct inode **dir)
{
	int err = inode_get(fs, ino, dir);

	return err ? err : S_ISDIR((*dir)->type) ? 0 : -ENOTDIR;
}

/*
 * Do it, or find out why not: `*err`. False, with nothing done: it takes fs->rename_lock, which
 * could not be known before the names were looked up.
 */
static bool rename_try(struct renaming *r, unsigned flags, int *err)
{
	bool alone = r->alone;

	rename_lock_dirs(r);
	*err = rename_find(r, flags);
	/* Two directories, of which none is the parent of the other: rule 3 of fs.c. */
	if (!*err && r->from.is_dir && r->to.is_dir)
		alone = true;
	if (!*err && alone == r->alone) {
		rename_lock_children(r);
		*err = rename_locked(r);
		rename_unlock_two(r->from.n.inode, r->to.n.inode);
	}
	rename_unlock_dirs(r);
	if (alone == r->alone)
		return true;
	name_release(r->fs, &r->from.n);
	name_release(r->fs, &r->to.n);
	r->from.n = r->to.n = (struct name){0};
	return false;
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent,
	      const char *new_name, unsigned flags)
{
	struct renaming r = {.fs = fs,
			     .exchange = flags & FS_RENAME_EXCHANGE,
			     .from = {.name = name},
			     .to = {.name = new_name}};
	int err;

	err = rename_check(name, new_name, flags);
	if (!err)
		err = rename_get_dir(fs, parent, &r.from.dir);
	if (!err)
		err = rename_get_dir(fs, new_parent, &r.to.dir);
	r.alone = r.from.dir != r.to.dir;
	if (!err && !rename_try(&r, flags, &err)) {
		r.alone = true;
		(void)rename_try(&r, flags, &err);
	}
	name_release(fs, &r.from.n);
	name_release(fs, &r.to.n);
	inode_put(fs, r.from.dir);
	inode_put(fs, r.to.dir);
	return err == RENAME_NOTHING ? 0 : fs_finish(fs, err, false);
}
