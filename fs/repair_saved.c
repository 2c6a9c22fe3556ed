/*
 * repair_saved.c - what has lost its inode, its directory or its way to the root.
 */
#include <stdlib.h>

#include "fs/data.h"
#include "fs/repair_data.h"
#include "fs/repair.h"

typedef unsigned long long ull;

/* ---- what has no owner ---- */

int repair_orphans(struct repair *r)
{
	char buf[CHECK_PATH_BYTES];
	struct check_walk w;
	int err;

	for (check_walk_begin(&w, &r->c, KEY_ORPHAN); check_walk_valid(&w); check_walk_next(&w)) {
		uint64_t ino = w.at.size == 9 ? key_get_u64(w.at.bytes + 1) : 0;

		if (ino && ino <= INO_MAX && !numset_has(&r->c.seen, ino)) {
			if (ino >= r->next)
				r->next = ino + 1;
			if (numset_add(&r->orphans, ino) < 0)
				w.err = -ENOMEM;
			continue;
		}
		if (!ino || ino > INO_MAX)
			repair_say(r, FIXED, "a deleted file with an impossible number");
		else
			repair_say(r, FIXED, "%s: was listed as deleted, but has a name",
				   check_path_inode(&r->c, ino, buf));
		w.err = repair_drop(r, lsm_iter_key(w.it));
		if (w.err)
			break;
	}
	err = check_walk_end(&w);
	return err ? err : repair_flush(r);
}

/* Copy the extents of `from` to the new number `to`, sharing what they hold. */
static int repair_take_extents(struct repair *r, uint64_t from, uint64_t to, uint64_t end)
{
	const uint64_t step = UINT64_C(128) * DATA_EXTENT_BYTES_MAX;
	struct fs *fs = r->c.fs;
	uint64_t offset = 0;
	int64_t delta;
	int err;

	while (offset < end) {
		err = data_seek(fs, from, offset, false, &offset);
		if (err)
			return err < 0 ? err : 0;
		err = data_clone(fs, r->b, from, offset, to, offset,
				 end - offset < step ? end - offset : step, &delta);
		if (!err)
			err = repair_flush(r);
		if (err)
			return err;
		offset += step;
	}
	return 0;
}

/* The extents of `ino`, which has no use for them, as a file in lost+found. */
static int repair_save_extents(struct repair *r, uint64_t ino)
{
	struct attr attr = repair_attr(S_IFREG | 0600);
	uint64_t end, stored, dropped, marked, self = ino;
	struct fs *fs = r->c.fs;
	int err = repair_flush(r);

	if (!err)
		err = repair_data_extents(fs, ino, &end, &stored, &dropped);
	if (!err && dropped)
		repair_say(r, LOST, "content of inode %llu: %llu parts of it break the rules: lost",
			   (ull)ino, (ull)dropped);
	if (!err && numset_has(&r->c.seen, ino)) {
		self = r->next++;
		err = repair_take_extents(r, ino, self, end);
		if (!err)
			err = data_drop(r->b, ino);
	}
	if (!err)
		err = repair_flush(r);
	if (err || !end)
		return err;
	err = repair_data_mark_lost(fs, self, 0, end, &marked);
	attr.size = end;
	attr.stored = stored + marked;
	attr.flags = ATTR_EXTENTS;
	if (numset_has(&r->xattrs, self)) {
		attr.flags |= ATTR_XATTRS;
		if (numset_add(&r->c.xattrs, self) < 0)
			return -ENOMEM;
	}
	repair_say(r, SAVED,
		   "content of inode %llu, whose record %s: saved in lost+found as #%llu%s",
		   (ull)ino, self == ino ? "is lost" : "knows of none", (ull)self,
		   err == -EFBIG ? "; holes of it may have been content" :
		   marked        ? "; reading what lies between is an error" :
				   "");
	if (err && err != -EFBIG)
		return err;
	if (numset_add(&r->c.seen, self) < 0 || numset_add(&r->c.extents, self) < 0)
		return -ENOMEM;
	return repair_save_inode(r, self, &attr);
}

int repair_owned(struct repair *r, enum key_kind kind)
{
	const struct numset *owners = kind == KEY_EXTENT ? &r->c.extents : &r->c.xattrs;
	char buf[CHECK_PATH_BYTES];
	struct check_walk w;
	int err;

	check_walk_begin(&w, &r->c, kind);
	while (check_walk_valid(&w)) {
		uint64_t ino = key_get_u64(w.at.bytes + 1);

		if (!numset_has(owners, ino) && !numset_has(&r->orphans, ino)) {
			if (kind == KEY_EXTENT) {
				w.err = repair_save_extents(r, ino);
			} else {
				repair_say(r, LOST,
					   "extended attributes of %s, which is gone: dropped",
					   check_path_inode(&r->c, ino, buf));
				w.err = key_drop_range(r->b, KEY_XATTR, ino);
			}
		}
		if (!w.err)
			check_walk_skip_inode(&w);
	}
	err = check_walk_end(&w);
	return err ? err : repair_flush(r);
}

/* ---- directories ---- */

/* Is there a directory of this number, or can there be? */
static int repair_need_dir(struct repair *r, uint64_t dir, bool *possible)
{
	struct attr attr = repair_attr(S_IFDIR | 0700);
	struct node *n = check_node_find(&r->c, dir);
	int err;

	*possible = n && S_ISDIR(n->type);
	if (*possible || !dir || dir > INO_MAX || (n && n->type) || numset_has(&r->c.seen, dir) ||
	    numset_has(&r->orphans, dir))
		return 0;
	repair_say(r, SAVED, "directory %llu is lost: its names are in lost+found as #%llu",
		   (ull)dir, (ull)dir);
	if (numset_has(&r->xattrs, dir)) {
		attr.flags |= ATTR_XATTRS;
		if (numset_add(&r->c.xattrs, dir) < 0)
			return -ENOMEM;
	}
	*possible = true;
	err = repair_save_inode(r, dir, &attr);
	return err ? err : repair_add_dir(r, dir, r->lost_found);
}

int repair_parent(struct repair *r, struct at *a)
{
	uint64_t dir = key_get_u64(a->w.at.bytes + 1);
	bool possible;
	int err;

	if (a->why)
		return 0;
	err = repair_need_dir(r, dir, &possible);
	if (err || possible)
		return err;
	repair_say(r, SAVED,
		   "\"%.*s\" in %llu, which is no directory: saved in lost+found as #%llu",
		   (int)(a->w.at.size - 9), (const char *)a->w.at.bytes + 9, (ull)dir,
		   (ull)a->rec.ino);
	return repair_move(r, a, a->value);
}

/* Of a ring of directories, which `start` leads to, move the one it leads to first. */
static int repair_break_ring(struct repair *r, uint64_t start)
{
	char buf[CHECK_PATH_BYTES];
	struct lsm_slice key;
	struct node *n = NULL;
	uint64_t ino = start;
	struct key at;
	int err;

	for (;;) { /* the first that is met again */
		n = check_node_find(&r->c, ino);
		if (!n || n->reach == REACH_WALKING)
			break;
		n->reach = REACH_WALKING;
		ino = n->parent;
	}
	if (!n || !check_name_of(&r->c, ino, n->parent, &at))
		return -EUCLEAN; /* cannot be: all parents are there by now */
	repair_say(r, SAVED, "%s: is within itself: saved in lost+found as #%llu",
		   check_path_name(&r->c, n->parent, (struct lsm_slice){at.bytes + 9, at.size - 9},
				   buf),
		   (ull)ino);
	key = key_slice(&at);
	err = lsm_get(r->c.fs->lsm, NULL, key, &r->c.scratch);
	if (!err) {
		struct lsm_value record = r->c.scratch;

		r->c.scratch = (struct lsm_value){0}; /* repair_save() needs it */
		err = repair_save(r, ino, (struct lsm_slice){record.data, record.size});
		lsm_value_release(&record);
	}
	if (!err)
		err = repair_drop(r, key);
	if (!err)
		err = repair_flush(r);
	for (uint64_t up = start;;) { /* all of them now hang on lost+found */
		n = check_node_find(&r->c, up);
		if (!n || n->reach != REACH_WALKING)
			break;
		n->reach = REACH_YES;
		up = n->parent;
	}
	n = check_node_find(&r->c, ino);
	if (n)
		n->parent = r->lost_found;
	return err < 0 ? err : 0;
}

int repair_rings(struct repair *r)
{
	uint64_t *dirs;
	size_t count = 0;
	int err = 0;

	dirs = calloc(r->c.node_count + 1, sizeof(*dirs));
	if (!dirs)
		return -ENOMEM;
	for (size_t i = 0; r->c.nodes && i <= r->c.node_mask; i++)
		if (r->c.nodes[i].ino && S_ISDIR(r->c.nodes[i].type))
			dirs[count++] = r->c.nodes[i].ino;
	for (size_t i = 0; !err && i < count; i++)
		if (check_node_reach(&r->c, dirs[i]) == REACH_NO)
			err = repair_break_ring(r, dirs[i]);
	free(dirs);
	return err;
}
