/*
 * repair.c - fs_repair(): making one whole filesystem of what a damaged store has left.
 *
 * The tree is opened with all that can be read (lsm_repair_open()) and changed below the
 * filesystem, as there may be no filesystem yet. On disk nothing happens before the end:
 * then fs_check() has to find it whole, and the tree puts all of it in place at once.
 * If anything fails before, the store is as it was.
 *
 * The rules, in the order in which they are applied:
 *
 *   values   What cannot be read of an extent is marked as lost (data.c). A record or an
 *            attribute whose value cannot be read is dropped.
 *   super    The bound of inode numbers goes above all that are met; a missing
 *            superblock is made anew if there is anything that looks like a file.
 *   I, N     A record that does not decode, or has an impossible number, is dropped. Of
 *            an inode in two places the one with the newest ctime stays; one that has a
 *            record of its own is a link elsewhere. A missing root is made anew.
 *   names    One that no file can have goes to lost+found, with what it stands for; a
 *            link to an inode that is gone is removed.
 *   files    Extents that overlap are lost from there on, as nobody can tell which is
 *            the newer. The size grows to the end of the last extent. If less is stored
 *            than the record says, extents are lost: the holes are marked as lost where
 *            the damage of the tables has them, or all of them if that does not explain
 *            it. So a lost part of a file reads as an error, never as zeros. A file that
 *            would take too many marks goes to lost+found.
 *   orphans  What has a name is none.
 *   D, X     Extents of an inode that is gone become a file "#INODE" in lost+found, its
 *            holes marked as lost; of one that is there but knows of none, a file of a
 *            new number. Attributes of nobody are dropped.
 *   dirs     Names in a directory that is gone: it is made anew as "#INODE" in lost+found,
 *            with all of its names. Of directories that contain each other one goes to
 *            lost+found.
 *   links    An inode without a name gets "#INODE" in lost+found.
 *   counts   Of names, entries and subdirectories, as they are by then.
 *
 * lost+found is made when it is needed: of the superuser, 0700, in the root.
 *
 * In memory are what fs_check() keeps, and some bits more for each inode.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "fs/check.h"
#include "fs/data.h"

typedef unsigned long long ull;

#define LOST_FOUND "lost+found"
/* Numbers above are nobody's: so many were never given out. */
#define INO_MAX (UINT64_MAX / 4)
#define BATCH_OPS 1000u

/* An inode that was met in several places, and the best of them. */
struct duplicate {
	uint64_t ino;
	int64_t ctime;
	struct key at;
};

struct repair {
	struct check c;
	struct fs_repair_counts *counts;
	struct lsm_batch *b;
	uint64_t next;       /* a number nobody has, and all above */
	uint64_t lost_found; /* the directory; 0: not looked for yet */
	size_t table_spots;  /* so many of the spots are of tables, the others of values */
	struct numset dups, extents, xattrs, orphans;
	struct duplicate *best;
	size_t best_count;
};

enum outcome { FIXED, SAVED, LOST };

static void say(struct repair *r, enum outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void say(struct repair *r, enum outcome outcome, const char *format, ...)
{
	char text[CHECK_PATH_BYTES + 512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	r->counts->actions++;
	r->counts->saved += outcome == SAVED;
	r->counts->lost += outcome == LOST;
	if (r->c.finding)
		r->c.finding(r->c.ctx, text);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- writing ---- */

static int flush(struct repair *r)
{
	int rc = lsm_batch_count(r->b) ? lsm_write(r->c.fs->lsm, r->b, 0) : 0;

	lsm_batch_clear(r->b);
	return rc;
}

static int put(struct repair *r, struct lsm_slice key, struct lsm_slice value)
{
	int rc = lsm_batch_put(r->b, key, value);

	return !rc && lsm_batch_count(r->b) >= BATCH_OPS ? flush(r) : rc;
}

static int drop(struct repair *r, struct lsm_slice key)
{
	int rc = lsm_batch_delete(r->b, key);

	return !rc && lsm_batch_count(r->b) >= BATCH_OPS ? flush(r) : rc;
}

static int put_inode(struct repair *r, struct lsm_slice key, uint64_t ino, const struct attr *attr,
		     struct lsm_slice content)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct attr a = *attr;

	a.content_size = (uint32_t)content.size;
	return put(r, key, (struct lsm_slice){bytes, record_encode(bytes, ino, &a, content.data)});
}

static struct attr attr_new(mode_t mode)
{
	int64_t now = now_ns();

	return (struct attr){.mode = mode,
			     .nlink = 1,
			     .atime = now,
			     .mtime = now,
			     .ctime = now,
			     .btime = now};
}

/* ---- lost+found ---- */

/* Write a record of `ino` under the key that a name has in `dir`, unless it is taken: 1. */
static int put_name(struct repair *r, uint64_t dir, const char *name, struct lsm_slice record)
{
	struct lsm_slice key;
	struct key k;
	int rc;

	key = key_make(&k, KEY_NAME, dir, name, strlen(name));
	rc = flush(r);
	if (!rc)
		rc = lsm_get(r->c.fs->lsm, NULL, key, &r->c.scratch);
	if (rc != 1)
		return rc ? rc : 1;
	return put(r, key, record);
}

static int node_dir(struct repair *r, uint64_t ino, uint64_t parent)
{
	struct node *n = check_node_get(&r->c, ino);

	if (!n)
		return -ENOMEM;
	n->type = S_IFDIR;
	n->parent = parent;
	return numset_add(&r->c.seen, ino) < 0 ? -ENOMEM : 0;
}

/* lost+found as it is, or a new one. */
static int lost_found(struct repair *r)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct attr attr = attr_new(S_IFDIR | 0700);
	char name[32] = LOST_FOUND;
	struct lsm_slice record;
	int rc = flush(r);

	for (unsigned n = 2; !rc && !r->lost_found; n++) {
		struct record old;
		const char *why;
		struct key k;

		rc = lsm_get(r->c.fs->lsm, NULL,
			     key_make(&k, KEY_NAME, FS_ROOT_INO, name, strlen(name)),
			     &r->c.scratch);
		if (rc < 0)
			break;
		record = (struct lsm_slice){r->c.scratch.data, r->c.scratch.size};
		if (!rc && !record_decode(record, &old, &why) && S_ISDIR(old.type)) {
			r->lost_found = old.ino;
		} else if (!rc) { /* something else */
			snprintf(name, sizeof(name), LOST_FOUND "-%u", n);
		} else {
			r->lost_found = r->next++;
			record.data = bytes;
			record.size = record_encode(bytes, r->lost_found, &attr, NULL);
			rc = put_name(r, FS_ROOT_INO, name, record);
			if (!rc)
				rc = node_dir(r, r->lost_found, FS_ROOT_INO);
		}
	}
	return rc;
}

/* Give `record`, of `ino`, a name in lost+found. */
static int save(struct repair *r, uint64_t ino, struct lsm_slice record)
{
	char name[64];
	int rc = lost_found(r);

	snprintf(name, sizeof(name), "#%llu", (ull)ino);
	if (!rc)
		rc = put_name(r, r->lost_found, name, record);
	for (unsigned n = 2; rc == 1; n++) {
		snprintf(name, sizeof(name), "#%llu.%u", (ull)ino, n);
		rc = put_name(r, r->lost_found, name, record);
	}
	return rc;
}

static int save_inode(struct repair *r, uint64_t ino, const struct attr *attr)
{
	unsigned char bytes[RECORD_BYTES_MAX];

	return save(r, ino, (struct lsm_slice){bytes, record_encode(bytes, ino, attr, NULL)});
}

/* ---- what every record is looked at for ---- */

/* A record that a walk is at. */
struct at {
	struct walk w;
	struct lsm_slice key, value;
	struct record rec;
	const char *why; /* it is no record */
};

static const char *path_of(struct repair *r, const struct at *a, char buf[CHECK_PATH_BYTES])
{
	const struct key *k = &a->w.at;

	if (k->bytes[0] == KEY_NAME && k->size > 9)
		return check_path_name(&r->c, key_get_u64(k->bytes + 1),
				       (struct lsm_slice){k->bytes + 9, k->size - 9}, buf);
	if (k->size >= 9)
		return check_path_inode(&r->c, key_get_u64(k->bytes + 1), buf);
	return "a malformed key";
}

/* What is wrong with the record as such, or with its number, or NULL. */
static const char *record_problem(struct at *a)
{
	bool own = a->w.at.bytes[0] == KEY_INODE;
	const char *why = NULL;

	if (a->key.size > KEY_BYTES_MAX || (own ? a->key.size != 9 : a->key.size < 10))
		return "it has a malformed key";
	if (a->why)
		return a->why;
	if (record_decode(a->value, &a->rec, &why))
		return why;
	if (a->rec.ino > INO_MAX)
		return "its inode number is impossible";
	if (own && (a->rec.kind != RECORD_INODE || a->rec.ino != key_get_u64(a->w.at.bytes + 1)))
		return "it is another's";
	if (a->rec.ino == FS_ROOT_INO && (!own || !S_ISDIR(a->rec.type)))
		return "it has the number of the root";
	return NULL;
}

typedef int record_fn(struct repair *r, struct at *a);

/* Go over the records of `kind` as they are now; `fn` also gets the bad ones, with `why`. */
static int each_record(struct repair *r, enum key_kind kind, record_fn *fn)
{
	struct at a = {0};
	int rc = flush(r);

	if (rc)
		return rc;
	for (walk_begin(&a.w, &r->c, kind); walk_valid(&a.w); walk_next(&a.w)) {
		a.key = lsm_iter_key(a.w.it);
		a.why = NULL;
		rc = lsm_iter_value(a.w.it, &a.value);
		if (rc == -EUCLEAN)
			a.why = "it cannot be read";
		else if (rc)
			a.w.rc = rc;
		if (a.w.rc)
			break;
		a.why = record_problem(&a);
		a.w.rc = fn(r, &a);
		if (a.w.rc)
			break;
	}
	rc = walk_end(&a.w);
	return rc ? rc : flush(r);
}

static int each_inode(struct repair *r, record_fn *fn)
{
	int rc = each_record(r, KEY_INODE, fn);

	return rc ? rc : each_record(r, KEY_NAME, fn);
}

/* ---- gathering ---- */

static int gather(struct repair *r, struct at *a)
{
	uint64_t dir = a->w.at.bytes[0] == KEY_NAME && a->key.size >= 9 ?
			       key_get_u64(a->w.at.bytes + 1) :
			       0;
	struct node *n;
	int rc;

	if (dir < INO_MAX && dir >= r->next)
		r->next = dir + 1;
	if (a->why || a->rec.kind != RECORD_INODE)
		return 0;
	if (a->rec.ino >= r->next)
		r->next = a->rec.ino + 1;
	rc = numset_add(&r->c.seen, a->rec.ino);
	if (rc > 0)
		rc = numset_add(&r->dups, a->rec.ino);
	if (rc < 0)
		return rc;
	if (!dir || S_ISDIR(a->rec.type)) {
		n = check_node_get(&r->c, a->rec.ino);
		if (!n)
			return -ENOMEM;
		if (!n->type) {
			n->type = a->rec.type;
			n->parent = dir;
		}
	}
	return 0;
}

/* The inodes that have keys of `kind`; keys of a wrong form are dropped. */
static int gather_owned(struct repair *r, enum key_kind kind, struct numset *set)
{
	struct walk w;
	int rc;

	walk_begin(&w, &r->c, kind);
	while (walk_valid(&w)) {
		size_t size = lsm_iter_key(w.it).size;
		uint64_t ino = size >= 9 ? key_get_u64(w.at.bytes + 1) : 0;
		bool good = kind == KEY_EXTENT ? size == 17 :
			    kind == KEY_XATTR  ? size > 9 && size <= KEY_BYTES_MAX :
						 size == 9;

		if (!good || !ino || ino > INO_MAX) {
			say(r, LOST, "a record of kind '%c' with a malformed key: dropped", kind);
			w.rc = drop(r, lsm_iter_key(w.it));
			walk_next(&w);
			continue;
		}
		if (ino >= r->next)
			r->next = ino + 1;
		if (numset_add(set, ino) < 0)
			w.rc = -ENOMEM;
		/* The others of an inode may be malformed too; of few they are not many. */
		walk_next(&w);
	}
	rc = walk_end(&w);
	return rc ? rc : flush(r);
}

/* ---- inodes in two places ---- */

static struct duplicate *best_of(struct repair *r, uint64_t ino, bool *added)
{
	size_t low = 0, high = r->best_count;
	struct duplicate *grown;

	*added = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->best[mid].ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < r->best_count && r->best[low].ino == ino)
		return &r->best[low];
	grown = realloc(r->best, (r->best_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	r->best = grown;
	memmove(grown + low + 1, grown + low, (r->best_count - low) * sizeof(*grown));
	r->best_count++;
	grown[low] = (struct duplicate){.ino = ino};
	*added = true;
	return &grown[low];
}

static bool is_duplicate(struct repair *r, const struct at *a)
{
	return !a->why && a->rec.kind == RECORD_INODE && numset_has(&r->dups, a->rec.ino);
}

static bool is_own(const struct at *a)
{
	return a->w.at.bytes[0] == KEY_INODE;
}

static int choose(struct repair *r, struct at *a)
{
	struct duplicate *d;
	bool added;

	if (!is_duplicate(r, a))
		return 0;
	d = best_of(r, a->rec.ino, &added);
	if (!d)
		return -ENOMEM;
	/* A record of its own comes first and stays, unless it is a directory's. */
	if (added || (d->at.bytes[0] == KEY_INODE && S_ISDIR(a->rec.type)) ||
	    (d->at.bytes[0] == KEY_NAME && a->rec.attr.ctime > d->ctime)) {
		d->ctime = a->rec.attr.ctime;
		d->at = a->w.at;
	}
	return 0;
}

static int drop_others(struct repair *r, struct at *a)
{
	unsigned char link[RECORD_LINK_BYTES_MAX];
	char buf[CHECK_PATH_BYTES];
	struct duplicate *d;
	bool added;

	if (!is_duplicate(r, a))
		return 0;
	d = best_of(r, a->rec.ino, &added);
	if (!d)
		return -ENOMEM;
	if (d->at.size == a->w.at.size && !memcmp(d->at.bytes, a->w.at.bytes, d->at.size)) {
		struct node *n = check_node_find(&r->c, a->rec.ino);

		if (n && S_ISDIR(a->rec.type)) {
			n->parent = key_get_u64(a->w.at.bytes + 1);
			n->type = a->rec.type;
		}
		return 0;
	}
	if (d->at.bytes[0] == KEY_INODE && !S_ISDIR(a->rec.type)) {
		say(r, FIXED, "%s: made a link to inode %llu, which has a record of its own",
		    path_of(r, a, buf), (ull)a->rec.ino);
		return put(r, a->key,
			   (struct lsm_slice){
				   link, record_encode_link(link, a->rec.ino, a->rec.type)});
	}
	say(r, LOST, "%s: removed, as inode %llu is also elsewhere, in a newer state",
	    path_of(r, a, buf), (ull)a->rec.ino);
	return drop(r, a->key);
}

/* ---- files ---- */

/* Which part of [0, size) of `ino` may the damage of a table have held? False: none. */
static bool spot_range(const struct spot *s, uint64_t ino, uint64_t size, uint64_t *from,
		       uint64_t *to)
{
	struct key first, end;
	uint64_t last;

	key_range(KEY_EXTENT, ino, &first, &end);
	if (!s->first.size || key_compare(&s->last, &first) < 0 || key_compare(&s->first, &end) >= 0)
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
static int mark_lost(struct repair *r, uint64_t ino, uint64_t size, uint64_t missing,
		     uint64_t *marked)
{
	uint64_t from, to, more;
	int rc = 0;

	*marked = 0;
	for (size_t i = 0; !rc && i < r->table_spots; i++) {
		if (!spot_range(&r->c.spots[i], ino, size, &from, &to))
			continue;
		rc = data_mark_lost(r->c.fs->lsm, ino, from, to, &more);
		*marked += more;
	}
	if (!rc && *marked < missing) {
		rc = data_mark_lost(r->c.fs->lsm, ino, 0, size, &more);
		*marked += more;
	}
	return rc;
}

/* Put the extents of a file right. `*attr` is changed to fit; `*elsewhere`: not to be trusted. */
static int settle_extents(struct repair *r, struct at *a, struct attr *attr, bool *elsewhere)
{
	uint64_t end, stored, dropped, marked = 0, ino = a->rec.ino;
	char buf[CHECK_PATH_BYTES];
	int rc = data_repair(r->c.fs->lsm, ino, &end, &stored, &dropped);

	if (rc)
		return rc;
	if (dropped)
		say(r, LOST, "%s: %llu bytes of its content contradict each other: lost",
		    path_of(r, a, buf), (ull)dropped);
	if (end > attr->size) {
		say(r, FIXED, "%s: its size was %llu and is now %llu, where its content ends",
		    path_of(r, a, buf), (ull)attr->size, (ull)end);
		attr->size = end;
	}
	if (stored < attr->stored) {
		rc = mark_lost(r, ino, attr->size, attr->stored - stored, &marked);
		*elsewhere = rc == -EFBIG;
		if (*elsewhere)
			rc = 0;
		say(r, LOST, "%s: at least %llu bytes of its content are lost; %s", path_of(r, a, buf),
		    (ull)(attr->stored - stored),
		    *elsewhere ? "which ones cannot be told, and they may read as zeros: it goes to "
				 "lost+found" :
				 "reading them is an error until they are written again");
	} else if (stored > attr->stored) {
		say(r, FIXED, "%s: its record says %llu bytes are stored: it is %llu", path_of(r, a, buf),
		    (ull)attr->stored, (ull)stored);
	}
	/* What was marked before an error is counted as well. */
	attr->stored = stored + marked;
	return rc;
}

static int settle_file(struct repair *r, struct at *a, struct attr *attr, bool *elsewhere)
{
	int rc = 0;

	if (!(attr->flags & ATTR_EXTENTS))
		return 0;
	if (numset_has(&r->extents, a->rec.ino) || attr->stored)
		rc = settle_extents(r, a, attr, elsewhere);
	if (!rc && numset_add(&r->c.extents, a->rec.ino) < 0)
		rc = -ENOMEM;
	return rc;
}

/* ---- records ---- */

static bool spelling_good(struct lsm_slice name)
{
	const char *bytes = name.data;

	return !memchr(bytes, '/', name.size) && !memchr(bytes, 0, name.size) &&
	       !(bytes[0] == '.' && (name.size == 1 || (name.size == 2 && bytes[1] == '.')));
}

/* What the name stands for goes to lost+found under a name of its own, as `record`. */
static int move_away(struct repair *r, struct at *a, struct lsm_slice record)
{
	int rc = save(r, a->rec.ino, record);
	struct node *n = check_node_find(&r->c, a->rec.ino);

	if (n && S_ISDIR(a->rec.type))
		n->parent = r->lost_found;
	return rc ? rc : drop(r, a->key);
}

static int settle_link(struct repair *r, struct at *a)
{
	char buf[CHECK_PATH_BYTES];
	unsigned char link[RECORD_LINK_BYTES_MAX];
	struct node *n = check_node_find(&r->c, a->rec.ino);

	if (!n || !n->type || S_ISDIR(n->type)) {
		say(r, LOST, "%s: removed, as its inode %llu is gone", path_of(r, a, buf), (ull)a->rec.ino);
		return drop(r, a->key);
	}
	if (n->type == a->rec.type)
		return 0;
	say(r, FIXED, "%s: made a link of the type its inode %llu has", path_of(r, a, buf), (ull)a->rec.ino);
	a->value.data = link;
	a->value.size = record_encode_link(link, a->rec.ino, n->type);
	return put(r, a->key, a->value);
}

static int settle_inode(struct repair *r, struct at *a, bool *elsewhere,
			unsigned char bytes[RECORD_BYTES_MAX])
{
	struct attr attr = a->rec.attr;
	char buf[CHECK_PATH_BYTES];
	int rc = 0;

	if (!is_own(a) && attr.nlink != 1) {
		say(r, FIXED, "%s: its record says %u names: it has one", path_of(r, a, buf), attr.nlink);
		attr.nlink = 1;
	}
	if (numset_has(&r->xattrs, a->rec.ino) && !(attr.flags & ATTR_XATTRS)) {
		say(r, FIXED, "%s: has extended attributes its record did not know of",
		    path_of(r, a, buf));
		attr.flags |= ATTR_XATTRS;
	}
	if (attr.flags & ATTR_XATTRS && numset_add(&r->c.xattrs, a->rec.ino) < 0)
		return -ENOMEM;
	if (S_ISREG(attr.mode))
		rc = settle_file(r, a, &attr, elsewhere);
	if (rc || !memcmp(&attr, &a->rec.attr, sizeof(attr)))
		return rc;
	a->value.size = record_encode(bytes, a->rec.ino, &attr, a->rec.content.data);
	a->value.data = bytes;
	return put(r, a->key, a->value);
}

static int settle(struct repair *r, struct at *a)
{
	struct lsm_slice name = {a->w.at.bytes + 9, a->w.at.size - 9};
	unsigned char bytes[RECORD_BYTES_MAX];
	char buf[CHECK_PATH_BYTES];
	bool elsewhere = false;
	int rc;

	if (a->why) {
		say(r, LOST, "%s: its record is lost: %s", path_of(r, a, buf), a->why);
		return drop(r, a->key);
	}
	if (is_own(a) && S_ISDIR(a->rec.type) && a->rec.ino != FS_ROOT_INO) {
		say(r, SAVED, "directory %llu was in none: saved in lost+found", (ull)a->rec.ino);
		return move_away(r, a, a->value);
	}
	if (a->rec.kind == RECORD_LINK)
		rc = settle_link(r, a);
	else
		rc = settle_inode(r, a, &elsewhere, bytes);
	if (rc || is_own(a) || (spelling_good(name) && !elsewhere))
		return rc;
	if (!elsewhere)
		say(r, SAVED, "%s: no file can have this name: saved in lost+found as #%llu",
		    path_of(r, a, buf), (ull)a->rec.ino);
	return move_away(r, a, a->value);
}

/* ---- the whole filesystem's keys ---- */

/* Whether there is a key of `kind`. 0 there is; 1; an error. */
static int any_key(struct repair *r, enum key_kind kind)
{
	struct walk w;
	bool any;
	int rc;

	walk_begin(&w, &r->c, kind);
	any = walk_valid(&w);
	rc = walk_end(&w);
	return rc ? rc : !any;
}

static int settle_format(struct repair *r)
{
	unsigned char format[20] = {FS_FORMAT_VERSION};
	struct lsm_value *v = &r->c.scratch;
	const unsigned char *p;
	int rc = lsm_get(r->c.fs->lsm, NULL, SLICE(SUPER_FORMAT), v);

	if (rc < 0 && rc != -EUCLEAN)
		return rc;
	p = v->data;
	if (!rc && v->size >= 4 && (p[0] > FS_FORMAT_VERSION || p[1] || p[2] || p[3]))
		return -EPROTONOSUPPORT;
	if (!rc && v->size == sizeof(format) && p[0])
		return 0;
	/* Is it one of ours at all? */
	rc = any_key(r, KEY_NAME);
	if (rc == 1)
		rc = any_key(r, KEY_EXTENT);
	if (rc == 1)
		return -ENODATA;
	if (!rc && getrandom(format + 4, 16, 0) != 16)
		rc = -EIO;
	if (rc)
		return rc;
	say(r, FIXED, "the superblock was lost: made anew");
	return put(r, SLICE(SUPER_FORMAT), (struct lsm_slice){format, sizeof(format)});
}

/* The bound of inode numbers. Read before anything is counted, written at the end. */
static int read_next(struct repair *r)
{
	int rc = lsm_get(r->c.fs->lsm, NULL, SLICE(SUPER_NEXT), &r->c.scratch);

	r->next = FS_ROOT_INO + 1;
	if (rc < 0)
		return rc == -EUCLEAN ? 0 : rc;
	if (!rc && r->c.scratch.size == 8 && key_get_u64(r->c.scratch.data) > FS_ROOT_INO &&
	    key_get_u64(r->c.scratch.data) <= INO_MAX)
		r->c.next = r->next = key_get_u64(r->c.scratch.data);
	return 0;
}

static int write_super(struct repair *r)
{
	unsigned char next[8];
	int rc = 0;

	if (r->next != r->c.next) {
		if (r->counts->saved == 0 || r->c.next == 0)
			say(r, FIXED, "the bound of inode numbers was wrong");
		key_put_u64(next, r->next);
		rc = put(r, SLICE(SUPER_NEXT), (struct lsm_slice){next, 8});
	}
	/* Counted again after the next open. */
	if (!rc)
		rc = drop(r, SLICE(SUPER_COUNT));
	return rc ? rc : flush(r);
}

static int settle_root(struct repair *r)
{
	struct attr attr = attr_new(S_IFDIR | 0755);
	struct node *n = check_node_find(&r->c, FS_ROOT_INO);
	struct lsm_slice none = {"", 0};
	struct key k;
	int rc;

	if (n && S_ISDIR(n->type))
		return 0;
	say(r, FIXED, "/: the root's record was lost: made anew, for the superuser");
	rc = put_inode(r, key_make(&k, KEY_INODE, FS_ROOT_INO, NULL, 0), FS_ROOT_INO, &attr, none);
	return rc ? rc : node_dir(r, FS_ROOT_INO, 0);
}

/* ---- what has no owner ---- */

static int settle_orphans(struct repair *r)
{
	char buf[CHECK_PATH_BYTES];
	struct walk w;
	int rc;

	for (walk_begin(&w, &r->c, KEY_ORPHAN); walk_valid(&w); walk_next(&w)) {
		uint64_t ino = w.at.size == 9 ? key_get_u64(w.at.bytes + 1) : 0;

		if (!numset_has(&r->c.seen, ino)) {
			if (numset_add(&r->orphans, ino) < 0)
				w.rc = -ENOMEM;
			continue;
		}
		say(r, FIXED, "%s: was listed as deleted, but has a name",
		    check_path_inode(&r->c, ino, buf));
		w.rc = drop(r, lsm_iter_key(w.it));
		if (w.rc)
			break;
	}
	rc = walk_end(&w);
	return rc ? rc : flush(r);
}

/* Copy the extents of `from` to the new number `to`, sharing what they hold. */
static int take_extents(struct repair *r, uint64_t from, uint64_t to, uint64_t end)
{
	const uint64_t step = UINT64_C(128) * DATA_EXTENT_BYTES_MAX;
	struct lsm *lsm = r->c.fs->lsm;
	uint64_t offset = 0;
	int64_t delta;
	int rc;

	while (offset < end) {
		rc = data_seek(lsm, from, offset, false, &offset);
		if (rc)
			return rc < 0 ? rc : 0;
		rc = data_clone(lsm, r->b, from, offset, to, offset,
				end - offset < step ? end - offset : step, &delta);
		if (!rc)
			rc = flush(r);
		if (rc)
			return rc;
		offset += step;
	}
	return 0;
}

/* The extents of `ino`, which has no use for them, as a file in lost+found. */
static int save_extents(struct repair *r, uint64_t ino)
{
	struct attr attr = attr_new(S_IFREG | 0600);
	uint64_t end, stored, dropped, marked, self = ino;
	struct lsm *lsm = r->c.fs->lsm;
	int rc = flush(r);

	if (!rc)
		rc = data_repair(lsm, ino, &end, &stored, &dropped);
	if (!rc && numset_has(&r->c.seen, ino)) {
		self = r->next++;
		rc = take_extents(r, ino, self, end);
		if (!rc)
			rc = data_drop(r->b, ino);
	}
	if (!rc)
		rc = flush(r);
	if (rc || !end)
		return rc;
	rc = data_mark_lost(lsm, self, 0, end, &marked);
	attr.size = end;
	attr.stored = stored + marked;
	attr.flags = ATTR_EXTENTS;
	if (numset_has(&r->xattrs, self)) {
		attr.flags |= ATTR_XATTRS;
		if (numset_add(&r->c.xattrs, self) < 0)
			return -ENOMEM;
	}
	say(r, SAVED, "content of inode %llu, whose record %s: saved in lost+found as #%llu%s",
	    (ull)ino, self == ino ? "is lost" : "knows of none", (ull)self,
	    rc == -EFBIG ? "; holes of it may have been content" :
	    marked	 ? "; reading what lies between is an error" :
			   "");
	if (rc && rc != -EFBIG)
		return rc;
	if (numset_add(&r->c.seen, self) < 0 || numset_add(&r->c.extents, self) < 0)
		return -ENOMEM;
	return save_inode(r, self, &attr);
}

static int settle_owned(struct repair *r, enum key_kind kind)
{
	const struct numset *owners = kind == KEY_EXTENT ? &r->c.extents : &r->c.xattrs;
	char buf[CHECK_PATH_BYTES];
	struct walk w;
	int rc;

	walk_begin(&w, &r->c, kind);
	while (walk_valid(&w)) {
		uint64_t ino = key_get_u64(w.at.bytes + 1);

		if (!numset_has(owners, ino) && !numset_has(&r->orphans, ino)) {
			if (kind == KEY_EXTENT) {
				w.rc = save_extents(r, ino);
			} else {
				say(r, LOST, "extended attributes of %s, which is gone: dropped",
				    check_path_inode(&r->c, ino, buf));
				w.rc = key_drop_range(r->b, KEY_XATTR, ino);
			}
		}
		if (!w.rc)
			walk_skip_inode(&w);
	}
	rc = walk_end(&w);
	return rc ? rc : flush(r);
}

/* ---- directories ---- */

/* Is there a directory of this number, or can there be? */
static int need_dir(struct repair *r, uint64_t dir, bool *possible)
{
	struct attr attr = attr_new(S_IFDIR | 0700);
	struct node *n = check_node_find(&r->c, dir);
	int rc;

	*possible = n && S_ISDIR(n->type);
	if (*possible || !dir || dir > INO_MAX || (n && n->type) || numset_has(&r->c.seen, dir) ||
	    numset_has(&r->orphans, dir))
		return 0;
	say(r, SAVED, "directory %llu is lost: its names are in lost+found as #%llu", (ull)dir,
	    (ull)dir);
	if (numset_has(&r->xattrs, dir)) {
		attr.flags |= ATTR_XATTRS;
		if (numset_add(&r->c.xattrs, dir) < 0)
			return -ENOMEM;
	}
	*possible = true;
	rc = save_inode(r, dir, &attr);
	return rc ? rc : node_dir(r, dir, r->lost_found);
}

static int settle_parent(struct repair *r, struct at *a)
{
	uint64_t dir = key_get_u64(a->w.at.bytes + 1);
	bool possible;
	int rc;

	if (a->why)
		return 0;
	rc = need_dir(r, dir, &possible);
	if (rc || possible)
		return rc;
	say(r, SAVED, "\"%.*s\" in %llu, which is no directory: saved in lost+found as #%llu",
	    (int)(a->w.at.size - 9), (const char *)a->w.at.bytes + 9, (ull)dir, (ull)a->rec.ino);
	return move_away(r, a, a->value);
}

/* Of a ring of directories, which `start` leads to, move the one it leads to first. */
static int break_ring(struct repair *r, uint64_t start)
{
	char buf[CHECK_PATH_BYTES];
	struct lsm_slice key;
	struct node *n = NULL;
	uint64_t ino = start;
	struct key at;
	int rc;

	for (;;) { /* the first that is met again */
		n = check_node_find(&r->c, ino);
		if (!n || n->reach == REACH_WALKING)
			break;
		n->reach = REACH_WALKING;
		ino = n->parent;
	}
	if (!n || check_name_of(&r->c, ino, n->parent, &at))
		return -EUCLEAN; /* cannot be: all parents are there by now */
	say(r, SAVED, "%s: is within itself: saved in lost+found as #%llu",
	    check_path_name(&r->c, n->parent, (struct lsm_slice){at.bytes + 9, at.size - 9}, buf),
	    (ull)ino);
	key = key_slice(&at);
	rc = lsm_get(r->c.fs->lsm, NULL, key, &r->c.scratch);
	if (!rc) {
		struct lsm_value record = r->c.scratch;

		r->c.scratch = (struct lsm_value){0}; /* save() needs it */
		rc = save(r, ino, (struct lsm_slice){record.data, record.size});
		lsm_value_release(&record);
	}
	if (!rc)
		rc = drop(r, key);
	if (!rc)
		rc = flush(r);
	n = check_node_find(&r->c, ino);
	if (n)
		n->parent = r->lost_found;
	for (ino = start; !rc;) { /* all of them now hang on lost+found */
		n = check_node_find(&r->c, ino);
		if (!n || n->reach != REACH_WALKING)
			break;
		n->reach = REACH_YES;
		ino = n->parent;
	}
	return rc < 0 ? rc : 0;
}

static int settle_rings(struct repair *r)
{
	uint64_t *dirs;
	size_t count = 0;
	int rc = 0;

	dirs = calloc(r->c.node_count + 1, sizeof(*dirs));
	if (!dirs)
		return -ENOMEM;
	for (size_t i = 0; r->c.nodes && i <= r->c.node_mask; i++)
		if (r->c.nodes[i].ino && S_ISDIR(r->c.nodes[i].type))
			dirs[count++] = r->c.nodes[i].ino;
	for (size_t i = 0; !rc && i < count; i++)
		if (check_node_reach(&r->c, dirs[i]) == REACH_NO)
			rc = break_ring(r, dirs[i]);
	free(dirs);
	return rc;
}

/* ---- counts ---- */

static int count_name(struct repair *r, struct at *a)
{
	uint64_t dir = key_get_u64(a->w.at.bytes + 1);
	struct node *n;

	if (a->why)
		return 0;
	n = check_node_find(&r->c, dir);
	if (n) {
		n->found_entries++;
		n->found_subdirs += S_ISDIR(a->rec.type) != 0;
	}
	n = a->rec.kind == RECORD_LINK ? check_node_find(&r->c, a->rec.ino) : NULL;
	if (n)
		n->found++;
	return 0;
}

/* An inode with a record of its own, and no name: a link in lost+found. */
static int save_nameless(struct repair *r, struct at *a)
{
	unsigned char link[RECORD_LINK_BYTES_MAX];
	struct node *n;

	if (a->why || a->rec.ino == FS_ROOT_INO)
		return 0;
	n = check_node_find(&r->c, a->rec.ino);
	if (!n || n->found || S_ISDIR(n->type))
		return 0;
	say(r, SAVED, "inode %llu has no name: saved in lost+found as #%llu", (ull)a->rec.ino,
	    (ull)a->rec.ino);
	return save(r, a->rec.ino,
		    (struct lsm_slice){link, record_encode_link(link, a->rec.ino, a->rec.type)});
}

static int write_counts(struct repair *r, struct at *a)
{
	struct attr attr = a->rec.attr;
	char buf[CHECK_PATH_BYTES];
	struct node *n;

	if (a->why || a->rec.kind != RECORD_INODE)
		return 0;
	n = check_node_find(&r->c, a->rec.ino);
	if (!n)
		return 0;
	if (S_ISDIR(a->rec.type)) {
		attr.entries = n->found_entries;
		attr.subdirs = n->found_subdirs;
	} else if (is_own(a)) {
		attr.nlink = n->found < FS_LINKS_MAX ? n->found : FS_LINKS_MAX;
	}
	if (!memcmp(&attr, &a->rec.attr, sizeof(attr)))
		return 0;
	/* What follows from what was told already is not told again. */
	if (S_ISDIR(a->rec.type))
		say(r, FIXED, "%s: has %llu entries, %llu of them directories: counts put right",
		    path_of(r, a, buf), (ull)attr.entries, (ull)attr.subdirs);
	else
		say(r, FIXED, "%s: has %u names: count put right", path_of(r, a, buf), attr.nlink);
	return put_inode(r, a->key, a->rec.ino, &attr, a->rec.content);
}

static int count_names(struct repair *r)
{
	for (size_t i = 0; r->c.nodes && i <= r->c.node_mask; i++)
		r->c.nodes[i].found = 0,
		r->c.nodes[i].found_entries = r->c.nodes[i].found_subdirs = 0;
	return each_record(r, KEY_NAME, count_name);
}

static int settle_counts(struct repair *r)
{
	uint64_t saved = r->counts->saved;
	int rc = count_names(r);

	if (!rc)
		rc = each_record(r, KEY_INODE, save_nameless);
	if (!rc && r->counts->saved != saved)
		rc = count_names(r);
	return rc ? rc : each_inode(r, write_counts);
}

/* ---- all of it ---- */

/* Values that cannot be read: of extents what can be is kept, all else is dropped. */
static int settle_values(struct repair *r)
{
	struct lsm *lsm = r->c.fs->lsm;
	uint64_t lost;
	int rc = 0;

	for (size_t i = r->table_spots; !rc && i < r->c.spot_count; i++) {
		const struct key *k = &r->c.spots[i].first;

		if (k->size == 17 && k->bytes[0] == KEY_EXTENT) {
			rc = data_repair_value(lsm, key_get_u64(k->bytes + 1),
					       key_get_u64(k->bytes + 9), &lost);
		} else if (k->size) {
			/* An older version may be the bad one. */
			rc = lsm_get(lsm, NULL, key_slice(k), &r->c.scratch);
			if (rc == -EUCLEAN || rc == -EIO)
				rc = drop(r, key_slice(k));
			else if (rc == 1)
				rc = 0;
		}
	}
	return rc ? rc : flush(r);
}

/* Older versions of such values still are in the tables. */
static int forget_values(struct repair *r)
{
	const struct key *first = NULL, *last = NULL;
	struct key end;

	for (size_t i = r->table_spots; i < r->c.spot_count; i++) {
		const struct spot *s = &r->c.spots[i];

		if (s->first.size && (!first || key_compare(&s->first, first) < 0))
			first = &s->first;
		if (s->last.size && (!last || key_compare(&s->last, last) > 0))
			last = &s->last;
	}
	if (!first || !last)
		return 0;
	end = *last;
	if (end.size < KEY_BYTES_MAX)
		end.bytes[end.size++] = 0;
	return lsm_compact(r->c.fs->lsm, key_slice(first), key_slice(&end), NULL, NULL);
}

/* All steps, in the order that the top of this file tells. */
static int settle_all(struct repair *r)
{
	int rc = settle_values(r);

	if (!rc)
		rc = settle_format(r);
	if (!rc)
		rc = read_next(r);
	if (!rc)
		rc = gather_owned(r, KEY_EXTENT, &r->extents);
	if (!rc)
		rc = gather_owned(r, KEY_XATTR, &r->xattrs);
	if (!rc)
		rc = each_inode(r, gather);
	if (!rc)
		check_say_spots(&r->c);
	if (!rc && r->dups.pages_count)
		rc = each_inode(r, choose);
	if (!rc && r->best_count)
		rc = each_inode(r, drop_others);
	if (!rc)
		rc = settle_root(r);
	if (!rc)
		rc = each_inode(r, settle);
	if (!rc)
		rc = settle_orphans(r);
	if (!rc)
		rc = settle_owned(r, KEY_EXTENT);
	if (!rc)
		rc = each_record(r, KEY_NAME, settle_parent);
	if (!rc)
		rc = settle_rings(r);
	if (!rc)
		rc = settle_owned(r, KEY_XATTR);
	if (!rc)
		rc = settle_counts(r);
	return rc ? rc : write_super(r);
}

static void release(struct repair *r)
{
	check_end(&r->c);
	numset_release(&r->dups);
	numset_release(&r->extents);
	numset_release(&r->xattrs);
	numset_release(&r->orphans);
	lsm_batch_free(r->b);
	free(r->best);
}

/* On the open tree. `*changed`: there is something to be put in place. */
static int repair_tree(struct repair *r, lsm_progress_fn *progress, void *progress_ctx,
		       bool *changed)
{
	int rc;

	r->table_spots = r->c.spot_count;
	rc = lsm_verify(r->c.fs->lsm, check_on_damage, &r->c, progress, progress_ctx);
	if (!rc || rc == -EUCLEAN)
		rc = settle_all(r);
	*changed |= r->counts->actions || r->c.spot_count;
	r->counts->lost += r->c.spot_count;
	return !rc ? forget_values(r) : rc;
}

int fs_repair(const char *path, const struct fs_options *options, fs_finding_fn *finding, void *ctx,
	      lsm_progress_fn *progress, void *progress_ctx, struct fs_repair_counts *counts)
{
	struct fs fs = {.report = options->lsm.report, .report_ctx = options->lsm.report_ctx};
	struct fs_check_counts ignored = {0};
	struct repair r = {.c = {.fs = &fs, .finding = finding, .ctx = ctx, .counts = &ignored},
			   .counts = counts,
			   .b = lsm_batch_new()};
	bool changed;
	int rc = -ENOMEM;

	memset(counts, 0, sizeof(*counts));
	if (r.b)
		rc = lsm_repair_open(path, &options->lsm, check_on_damage, &r.c, &changed, &fs.lsm);
	if (!rc) {
		rc = repair_tree(&r, progress, progress_ctx, &changed);
		if (!rc && changed)
			rc = fs_check(&fs, finding, ctx, progress, progress_ctx, &counts->check);
	}
	release(&r);
	if (!rc && changed)
		return lsm_repair_commit(fs.lsm, &counts->kept_bytes);
	(void)lsm_close(fs.lsm); /* nothing of it stays */
	return rc;
}
