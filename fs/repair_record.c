/*
 * repair_record.c - one record in a repair: files with their extents, links, names.
 */
#include "fs/acl.h"
#include "fs/extent.h"
#include "fs/repair_data.h"
#include "fs/name.h"
#include "fs/repair.h"

typedef unsigned long long ull;

/* ---- files ---- */

/* Which part of [0, size) of `ino` may the damage of a table have held? False: none. */
static bool repair_spot_range(const struct spot *s, uint64_t ino, uint64_t size, uint64_t *from,
			      uint64_t *to)
{
	struct key first, end;
	uint64_t last;

	key_range(KEY_EXTENT, ino, &first, &end);
	if (!s->first.size || key_compare(&s->last, &first) < 0 ||
	    key_compare(&s->first, &end) >= 0)
		return false;
	*from = 0;
	*to = size;
	if (key_compare(&s->first, &first) > 0 && s->first.size >= 17)
		*from = key_get_u64(s->first.bytes + 9);
	if (key_compare(&s->last, &end) < 0 && s->last.size >= 17) {
		last = key_get_u64(s->last.bytes + 9);
		/* The last extent begins there and ends with the cell of the grid at most. */
		last -= last % DATA_EXTENT_BYTES_MAX;
		if (size > last && size - last > DATA_EXTENT_BYTES_MAX)
			*to = last + DATA_EXTENT_BYTES_MAX;
	}
	return *from < *to;
}

/* `missing` bytes of the extents of `ino` are lost: mark them. -EFBIG: too many. */
static int repair_mark_lost(struct repair *r, uint64_t ino, uint64_t size, uint64_t missing,
			    uint64_t *marked)
{
	uint64_t from, to, more;
	int err = 0;

	*marked = 0;
	for (size_t i = 0; !err && i < r->table_spots; i++) {
		if (!repair_spot_range(&r->c.spots[i], ino, size, &from, &to))
			continue;
		err = repair_data_mark_lost(r->c.fs, ino, from, to, &more);
		*marked += more;
	}
	if (!err && *marked < missing) {
		err = repair_data_mark_lost(r->c.fs, ino, 0, size, &more);
		*marked += more;
	}
	return err;
}

/* Put the extents of a file right. `*attr` is changed to fit; `*elsewhere`: not to be trusted. */
static int repair_mend_extents(struct repair *r, struct at *a, struct attr *attr, bool *elsewhere)
{
	uint64_t end, stored, dropped, marked = 0, ino = a->rec.ino;
	char buf[CHECK_PATH_BYTES];
	int err = repair_data_extents(r->c.fs, ino, &end, &stored, &dropped);

	if (err)
		return err;
	if (dropped)
		repair_say(r, LOST, "%s: %llu parts of its content contradict each other: lost",
			   repair_path(r, a, buf), (ull)dropped);
	if (end > attr->size) {
		repair_say(r, FIXED,
			   "%s: its size was %llu and is now %llu, where its content ends",
			   repair_path(r, a, buf), (ull)attr->size, (ull)end);
		attr->size = end;
	}
	if (stored < attr->stored) {
		err = repair_mark_lost(r, ino, attr->size, attr->stored - stored, &marked);
		*elsewhere = err == -EFBIG;
		if (*elsewhere)
			err = 0;
		repair_say(
			r, LOST, "%s: at least %llu bytes of its content are lost; %s",
			repair_path(r, a, buf), (ull)(attr->stored - stored),
			*elsewhere ?
				"which ones cannot be told, and they may read as zeros: it goes to "
				"lost+found" :
				"reading them is an error until they are written again");
	} else if (stored > attr->stored) {
		repair_say(r, FIXED, "%s: its record says %llu bytes are stored: it is %llu",
			   repair_path(r, a, buf), (ull)attr->stored, (ull)stored);
	}
	/* What was marked before an error is counted as well. */
	attr->stored = stored + marked;
	return err;
}

static int repair_mend_file(struct repair *r, struct at *a, struct attr *attr, bool *elsewhere)
{
	int err = 0;

	if (!(attr->flags & ATTR_EXTENTS))
		return 0;
	if (numset_has(&r->extents, a->rec.ino) || attr->stored)
		err = repair_mend_extents(r, a, attr, elsewhere);
	if (!err && numset_add(&r->c.extents, a->rec.ino) < 0)
		err = -ENOMEM;
	return err;
}

/* ---- records ---- */

static int repair_mend_link(struct repair *r, struct at *a)
{
	char buf[CHECK_PATH_BYTES];
	unsigned char link[RECORD_LINK_BYTES_MAX];
	struct node *n = check_node_find(&r->c, a->rec.ino);

	if (!n || !n->type || S_ISDIR(n->type)) {
		repair_say(r, LOST, "%s: removed, as its inode %llu is gone",
			   repair_path(r, a, buf), (ull)a->rec.ino);
		return repair_drop(r, a->key);
	}
	if (n->type == a->rec.type)
		return 0;
	repair_say(r, FIXED, "%s: made a link of the type its inode %llu has",
		   repair_path(r, a, buf), (ull)a->rec.ino);
	a->value.data = link;
	a->value.size = record_encode_link(link, a->rec.ino, n->type);
	return repair_put(r, a->key, a->value);
}

/* Drop the ACL called `name` if it is none: what the mode allows is left. */
static int repair_mend_acl(struct repair *r, struct at *a, const char *name)
{
	char buf[CHECK_PATH_BYTES];
	struct lsm_value value = {0};
	struct key k;
	struct lsm_slice key = key_make(&k, KEY_XATTR, a->rec.ino, name, strlen(name));
	const char *why = NULL;
	int err = lsm_get(r->c.fs->lsm, NULL, key, &value);

	if (!err)
		why = acl_fault(a->rec.type, name, (struct lsm_slice){value.data, value.size});
	lsm_value_release(&value);
	if (!why)
		return err < 0 ? err : 0;
	repair_say(r, LOST, "%s: %s: %s: dropped", repair_path(r, a, buf), name, why);
	return repair_drop(r, key);
}

static int repair_mend_inode(struct repair *r, struct at *a, bool *elsewhere,
			     unsigned char bytes[RECORD_BYTES_MAX])
{
	struct attr attr = a->rec.attr;
	char buf[CHECK_PATH_BYTES];
	int err = 0;

	if (!repair_is_own(a) && attr.nlink != 1) {
		repair_say(r, FIXED, "%s: its record says %u names: it has one",
			   repair_path(r, a, buf), attr.nlink);
		attr.nlink = 1;
	}
	if (numset_has(&r->xattrs, a->rec.ino) && !(attr.flags & ATTR_XATTRS)) {
		repair_say(r, FIXED, "%s: has extended attributes its record did not know of",
			   repair_path(r, a, buf));
		attr.flags |= ATTR_XATTRS;
	}
	if (attr.flags & ATTR_XATTRS && numset_add(&r->c.xattrs, a->rec.ino) < 0)
		return -ENOMEM;
	if (attr.flags & ATTR_XATTRS)
		err = repair_mend_acl(r, a, ACL_ACCESS_NAME);
	if (!err && attr.flags & ATTR_XATTRS)
		err = repair_mend_acl(r, a, ACL_DEFAULT_NAME);
	if (!err && S_ISREG(attr.mode))
		err = repair_mend_file(r, a, &attr, elsewhere);
	if (err || !memcmp(&attr, &a->rec.attr, sizeof(attr)))
		return err;
	a->value.size = record_encode(bytes, a->rec.ino, &attr, a->rec.content.data);
	a->value.data = bytes;
	return repair_put(r, a->key, a->value);
}

int repair_record(struct repair *r, struct at *a)
{
	struct lsm_slice name = {a->w.at.bytes + 9, a->w.at.size - 9};
	unsigned char bytes[RECORD_BYTES_MAX];
	char buf[CHECK_PATH_BYTES];
	bool elsewhere = false;
	int err;

	if (a->why) {
		repair_say(r, LOST, "%s: its record is lost: %s", repair_path(r, a, buf), a->why);
		return repair_drop(r, a->key);
	}
	if (repair_is_own(a) && S_ISDIR(a->rec.type) && a->rec.ino != FS_ROOT_INO) {
		repair_say(r, SAVED, "directory %llu was in none: saved in lost+found",
			   (ull)a->rec.ino);
		return repair_move(r, a, a->value);
	}
	if (a->rec.kind == RECORD_LINK)
		err = repair_mend_link(r, a);
	else
		err = repair_mend_inode(r, a, &elsewhere, bytes);
	if (err || repair_is_own(a) || (name_possible(name) && !elsewhere))
		return err;
	if (!elsewhere)
		repair_say(r, SAVED, "%s: no file can have this name: saved in lost+found as #%llu",
			   repair_path(r, a, buf), (ull)a->rec.ino);
	return repair_move(r, a, a->value);
}
