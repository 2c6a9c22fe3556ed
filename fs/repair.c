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
 *   files    Extents that overlap are lost from there on, as it is not known which is
 *            the newer. The size grows to the end of the last extent. If less is stored
 *            than the record says, extents are lost: the holes are marked as lost where
 *            the damage of the tables has them, or all of them if that does not explain
 *            it. So a lost part of a file reads as an error, never as zeros. A file that
 *            would take too many marks goes to lost+found.
 *   orphans  An inode that has a name is taken off the list of deleted files.
 *   D, X     Extents of an inode that is gone become a file "#INODE" in lost+found, its
 *            holes marked as lost; of one that is there but knows of none, a file of a
 *            new number. Attributes without an inode are dropped, and so are malformed ACLs.
 *   dirs     Names in a directory that is gone: it is made anew as "#INODE" in lost+found,
 *            with all of its names. Of directories that contain each other one goes to
 *            lost+found.
 *   links    An inode without a name gets "#INODE" in lost+found.
 *   counts   Of names, entries and subdirectories, as they are by then.
 *
 * lost+found is made when it is needed: of the superuser, 0700, in the root.
 *
 * In memory are what fs_check() keeps, and some bits more for each inode. The steps are
 * also in repair_walk.c, repair_record.c and repair_saved.c.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "fs/repair_data.h"
#include "lsm/base/array.h"
#include "fs/repair.h"

typedef unsigned long long ull;

/* ---- gathering ---- */

static int repair_gather(struct repair *r, struct at *a)
{
	uint64_t dir = a->w.at.bytes[0] == KEY_NAME && a->key.size >= 9 ?
			       key_get_u64(a->w.at.bytes + 1) :
			       0;
	struct node *n;
	int err;

	if (dir < INO_MAX && dir >= r->next)
		r->next = dir + 1;
	if (a->why || a->rec.kind != RECORD_INODE)
		return 0;
	if (a->rec.ino >= r->next)
		r->next = a->rec.ino + 1;
	err = numset_add(&r->c.seen, a->rec.ino);
	if (err > 0)
		err = numset_add(&r->dups, a->rec.ino);
	if (err < 0)
		return err;
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
static int repair_gather_owned(struct repair *r, enum key_kind kind, struct numset *set)
{
	struct check_walk w;
	int err;

	check_walk_begin(&w, &r->c, kind);
	while (check_walk_valid(&w)) {
		size_t size = lsm_iter_key(w.it).size;
		uint64_t ino = size >= 9 ? key_get_u64(w.at.bytes + 1) : 0;
		bool good = kind == KEY_EXTENT ? size == 17 :
			    kind == KEY_XATTR  ? size > 9 && size <= KEY_BYTES_MAX :
						 size == 9;

		if (!good || !ino || ino > INO_MAX) {
			repair_say(r, LOST, "a record of kind '%c' with a malformed key: dropped",
				   kind);
			w.err = repair_drop(r, lsm_iter_key(w.it));
			check_walk_next(&w);
			continue;
		}
		if (ino >= r->next)
			r->next = ino + 1;
		if (numset_add(set, ino) < 0)
			w.err = -ENOMEM;
		/* The others of an inode may be malformed too; of few they are not many. */
		check_walk_next(&w);
	}
	err = check_walk_end(&w);
	return err ? err : repair_flush(r);
}

/* ---- inodes in two places ---- */

static struct duplicate *repair_best_of(struct repair *r, uint64_t ino, bool *added)
{
	size_t low = 0, high = r->best_count;
	struct duplicate *at;

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
	if (array_reserve(r->best, r->best_room, r->best_count + 1))
		return NULL;
	at = &r->best[low];
	memmove(at + 1, at, (r->best_count - low) * sizeof(*at));
	r->best_count++;
	*at = (struct duplicate){.ino = ino};
	*added = true;
	return at;
}

static bool repair_is_duplicate(struct repair *r, const struct at *a)
{
	return !a->why && a->rec.kind == RECORD_INODE && numset_has(&r->dups, a->rec.ino);
}

static int repair_choose(struct repair *r, struct at *a)
{
	struct duplicate *d;
	bool added;

	if (!repair_is_duplicate(r, a))
		return 0;
	d = repair_best_of(r, a->rec.ino, &added);
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

static int repair_drop_others(struct repair *r, struct at *a)
{
	unsigned char link[RECORD_LINK_BYTES_MAX];
	char buf[CHECK_PATH_BYTES];
	struct duplicate *d;
	bool added;

	if (!repair_is_duplicate(r, a))
		return 0;
	d = repair_best_of(r, a->rec.ino, &added);
	if (!d)
		return -ENOMEM;
	if (d->at.size == a->w.at.size && !memcmp(d->at.bytes, a->w.at.bytes, d->at.size)) {
		struct node *n = check_node_find(&r->c, a->rec.ino);

		/* What stays may be no directory where another was one. */
		if (n)
			n->type = S_ISDIR(a->rec.type) || repair_is_own(a) ? a->rec.type : 0;
		if (n && S_ISDIR(a->rec.type))
			n->parent = key_get_u64(a->w.at.bytes + 1);
		return 0;
	}
	if (d->at.bytes[0] == KEY_INODE && !S_ISDIR(a->rec.type)) {
		repair_say(r, FIXED, "%s: made a link to inode %llu, which has a record of its own",
			   repair_path(r, a, buf), (ull)a->rec.ino);
		return repair_put(r, a->key,
				  (struct lsm_slice){
					  link, record_encode_link(link, a->rec.ino, a->rec.type)});
	}
	repair_say(r, LOST, "%s: removed, as inode %llu is also elsewhere, in a newer state",
		   repair_path(r, a, buf), (ull)a->rec.ino);
	return repair_drop(r, a->key);
}

/* ---- the whole filesystem's keys ---- */

/* Is there a key of `kind`? 0, LSM_ABSENT, or an error. */
static int repair_any_key(struct repair *r, enum key_kind kind)
{
	struct check_walk w;
	bool any;
	int err;

	check_walk_begin(&w, &r->c, kind);
	any = check_walk_valid(&w);
	err = check_walk_end(&w);
	return err ? err : any ? 0 : LSM_ABSENT;
}

static int repair_mend_format(struct repair *r)
{
	unsigned char format[20] = {FS_FORMAT_VERSION};
	struct lsm_value *v = &r->c.scratch;
	const unsigned char *p;
	int err = lsm_get(r->c.fs->lsm, NULL, SLICE(SUPER_FORMAT), v);

	if (err < 0 && err != -EUCLEAN)
		return err;
	p = v->data;
	if (!err && v->size >= 4 && (p[0] > FS_FORMAT_VERSION || p[1] || p[2] || p[3]))
		return -EPROTONOSUPPORT;
	if (!err && v->size == sizeof(format) && p[0])
		return 0;
	/* Is it one of ours at all? */
	err = repair_any_key(r, KEY_NAME);
	if (err == LSM_ABSENT)
		err = repair_any_key(r, KEY_EXTENT);
	if (err == LSM_ABSENT)
		return -ENODATA;
	if (!err && getrandom(format + 4, 16, 0) != 16)
		err = -EIO;
	if (err)
		return err;
	repair_say(r, FIXED, "the superblock was lost: made anew");
	return repair_put(r, SLICE(SUPER_FORMAT), (struct lsm_slice){format, sizeof(format)});
}

/* The bound of inode numbers. Read before anything is counted, written at the end. */
static int repair_read_next(struct repair *r)
{
	int err = lsm_get(r->c.fs->lsm, NULL, SLICE(SUPER_NEXT), &r->c.scratch);

	r->next = FS_ROOT_INO + 1;
	if (err < 0)
		return err == -EUCLEAN ? 0 : err;
	if (!err && r->c.scratch.size == 8 && key_get_u64(r->c.scratch.data) > FS_ROOT_INO &&
	    key_get_u64(r->c.scratch.data) <= INO_MAX)
		r->c.next = r->next = key_get_u64(r->c.scratch.data);
	return 0;
}

static int repair_write_super(struct repair *r)
{
	unsigned char next[8];
	int err = 0;

	if (r->next != r->c.next) {
		if (r->counts->saved == 0 || r->c.next == 0)
			repair_say(r, FIXED, "the bound of inode numbers was wrong");
		key_put_u64(next, r->next);
		err = repair_put(r, SLICE(SUPER_NEXT), (struct lsm_slice){next, 8});
	}
	/* Counted again after the next open. */
	if (!err)
		err = repair_drop(r, SLICE(SUPER_COUNT));
	return err ? err : repair_flush(r);
}

static int repair_put_inode(struct repair *r, struct lsm_slice key, uint64_t ino,
			    const struct attr *attr, struct lsm_slice content)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct attr a = *attr;

	a.content_size = (uint32_t)content.size;
	return repair_put(r, key,
			  (struct lsm_slice){bytes, record_encode(bytes, ino, &a, content.data)});
}

static int repair_mend_root(struct repair *r)
{
	struct attr attr = repair_attr(S_IFDIR | 0755);
	struct node *n = check_node_find(&r->c, FS_ROOT_INO);
	struct lsm_slice none = {"", 0};
	struct key k;
	int err;

	if (n && S_ISDIR(n->type))
		return 0;
	repair_say(r, FIXED, "/: the root's record was lost: made anew, for the superuser");
	err = repair_put_inode(r, key_make(&k, KEY_INODE, FS_ROOT_INO, NULL, 0), FS_ROOT_INO, &attr,
			       none);
	return err ? err : repair_add_dir(r, FS_ROOT_INO, 0);
}

/* ---- counts ---- */

static int repair_count_name(struct repair *r, struct at *a)
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
static int repair_save_nameless(struct repair *r, struct at *a)
{
	unsigned char link[RECORD_LINK_BYTES_MAX];
	struct node *n;

	if (a->why || a->rec.ino == FS_ROOT_INO)
		return 0;
	n = check_node_find(&r->c, a->rec.ino);
	if (!n || n->found || S_ISDIR(n->type))
		return 0;
	repair_say(r, SAVED, "inode %llu has no name: saved in lost+found as #%llu",
		   (ull)a->rec.ino, (ull)a->rec.ino);
	return repair_save(
		r, a->rec.ino,
		(struct lsm_slice){link, record_encode_link(link, a->rec.ino, a->rec.type)});
}

static int repair_write_counts(struct repair *r, struct at *a)
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
	} else if (repair_is_own(a)) {
		attr.nlink = n->found < FS_LINKS_MAX ? n->found : FS_LINKS_MAX;
	}
	if (!memcmp(&attr, &a->rec.attr, sizeof(attr)))
		return 0;
	if (S_ISDIR(a->rec.type))
		repair_say(r, FIXED,
			   "%s: has %llu entries, %llu of them directories: counts put right",
			   repair_path(r, a, buf), (ull)attr.entries, (ull)attr.subdirs);
	else
		repair_say(r, FIXED, "%s: has %u names: count put right", repair_path(r, a, buf),
			   attr.nlink);
	return repair_put_inode(r, a->key, a->rec.ino, &attr, a->rec.content);
}

static int repair_count_names(struct repair *r)
{
	for (size_t i = 0; r->c.nodes && i <= r->c.node_mask; i++)
		r->c.nodes[i].found = 0,
		r->c.nodes[i].found_entries = r->c.nodes[i].found_subdirs = 0;
	return repair_each(r, KEY_NAME, repair_count_name);
}

static int repair_mend_counts(struct repair *r)
{
	uint64_t saved = r->counts->saved;
	int err = repair_count_names(r);

	if (!err)
		err = repair_each(r, KEY_INODE, repair_save_nameless);
	if (!err && r->counts->saved != saved)
		err = repair_count_names(r);
	return err ? err : repair_each_inode(r, repair_write_counts);
}

/* ---- all of it ---- */

/* Values that cannot be read: of extents what can be is kept, all else is dropped. */
static int repair_mend_values(struct repair *r)
{
	struct lsm *lsm = r->c.fs->lsm;
	uint64_t lost;
	int err = 0;

	for (size_t i = r->table_spots; !err && i < r->c.spot_count; i++) {
		const struct key *k = &r->c.spots[i].first;

		if (k->size == 17 && k->bytes[0] == KEY_EXTENT) {
			err = repair_data_value(r->c.fs, key_get_u64(k->bytes + 1),
						key_get_u64(k->bytes + 9), &lost);
		} else if (k->size) {
			/* An older version may be the bad one. */
			err = lsm_get(lsm, NULL, key_slice(k), &r->c.scratch);
			if (err == -EUCLEAN || err == -EIO)
				err = repair_drop(r, key_slice(k));
			else if (err == LSM_ABSENT)
				err = 0;
		}
	}
	return err ? err : repair_flush(r);
}

/* Older versions of such values still are in the tables. */
static int repair_forget_values(struct repair *r)
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

/* All steps, in the order of the top of this file. */
static int repair_all(struct repair *r)
{
	int err = repair_mend_values(r);

	if (!err)
		err = repair_mend_format(r);
	if (!err)
		err = repair_read_next(r);
	if (!err)
		err = repair_gather_owned(r, KEY_EXTENT, &r->extents);
	if (!err)
		err = repair_gather_owned(r, KEY_XATTR, &r->xattrs);
	if (!err)
		err = repair_each_inode(r, repair_gather);
	if (!err)
		check_say_spots(&r->c);
	if (!err && r->dups.pages_count)
		err = repair_each_inode(r, repair_choose);
	if (!err && r->best_count)
		err = repair_each_inode(r, repair_drop_others);
	if (!err)
		err = repair_mend_root(r);
	if (!err)
		err = repair_each_inode(r, repair_record);
	if (!err)
		err = repair_orphans(r);
	if (!err)
		err = repair_owned(r, KEY_EXTENT);
	if (!err)
		err = repair_each(r, KEY_NAME, repair_parent);
	if (!err)
		err = repair_rings(r);
	if (!err)
		err = repair_owned(r, KEY_XATTR);
	if (!err)
		err = repair_mend_counts(r);
	return err ? err : repair_write_super(r);
}

static void repair_release(struct repair *r)
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
	int err;

	r->table_spots = r->c.spot_count;
	err = lsm_verify(r->c.fs->lsm, check_on_damage, &r->c, progress, progress_ctx);
	if (!err || err == -EUCLEAN)
		err = repair_all(r);
	*changed |= r->counts->actions || r->c.spot_count;
	r->counts->lost += r->c.spot_count;
	return !err ? repair_forget_values(r) : err;
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
	int err = -ENOMEM;

	memset(counts, 0, sizeof(*counts));
	if (r.b)
		err = lsm_repair_open(path, &options->lsm, check_on_damage, &r.c, &changed,
				      &fs.lsm);
	if (!err) {
		err = repair_tree(&r, progress, progress_ctx, &changed);
		if (!err && changed)
			err = fs_check(&fs, finding, ctx, progress, progress_ctx, &counts->check);
	}
	repair_release(&r);
	if (!err && changed)
		return lsm_repair_commit(fs.lsm, &counts->kept_bytes);
	(void)lsm_close(fs.lsm); /* nothing of it stays */
	return err;
}
