/*
 * check.c - fs_check(): is everything in the tree one whole filesystem?
 *
 * First the tree verifies its own bytes. Then all records are gone over once,
 * by kind, under one snapshot:
 *
 *   I  inodes with a record of their own, into a table
 *   N  names: each stands for an inode of its own, or is one of the links to an
 *      'I'; directories go into the table, what is in each is counted
 *   -  the table: link counts, directory counts, is every directory reachable
 *   O  orphans have no name
 *   D  extents: none is nobody's (which ones a file has is checked when the
 *   X  file is met); the same for extended attributes
 *
 * Kept in memory are: four bits for each inode, SPOTS_MAX pieces of damage, and an entry
 * for each directory and each inode with a record of its own. Of entries there are
 * as many as take an eighth of the memory of the mount; if there are more, those of
 * the higher numbers are left, and I and N gone over again for them, as often as it
 * takes. Which directories can be reached is then found with two bits for each
 * instead (check_reach()). What lies on damaged
 * blocks is skipped; then what seems to be missing is not reported, as it is
 * only the damage once more.
 *
 * The filesystem may be in use (`varve scrub`). Why there are no false findings:
 *   - One operation is one batch, so under any snapshot the filesystem is whole; and
 *     everything is read under the one snapshot, extents too.
 *   - Files deleted while open have no name but an 'O', if they have keys at all.
 *   - 'S' "next" is raised by a write before the one that uses a number.
 *   - What is only in memory (times of access, references) is not looked at, nor is
 *     the number of inodes, which is written at the end.
 * Why it hinders no other call: no lock of fs/ is taken; iterators are opened anew
 * every WALK_STEP keys, so that files that compaction made superfluous can go. What
 * was deleted under the snapshot takes space until it is dropped: for as long as
 * the names are gone over, not while the tree reads its bytes, which takes longest.
 */
#include "fs/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/acl.h"
#include "fs/data.h"
#include "fs/name.h"
#include "lsm/base/array.h"

#define SPOTS_MAX 4096u /* pieces of damage whose place is kept, for paths: some MB */

typedef unsigned long long ull;

static struct lsm_slice check_key_name(const struct key *k)
{
	return (struct lsm_slice){k->bytes + 9, k->size - 9};
}

static uint64_t check_key_ino(const struct key *k)
{
	return key_get_u64(k->bytes + 1);
}

/* ---- damage below ---- */

void check_on_damage(void *ctx, const struct lsm_damage *d)
{
	struct check *c = ctx;
	struct spot *s;

	if ((c->spots_max && c->spot_count >= c->spots_max) ||
	    array_reserve(c->spots, c->spot_room, c->spot_count + 1)) {
		check_say(c, "%s at offset %llu: %s", d->file, (ull)d->offset, d->reason);
		return;
	}
	s = &c->spots[c->spot_count];
	memset(s, 0, sizeof(*s));
	if (asprintf(&s->text, "%s at offset %llu: %s", d->file, (ull)d->offset, d->reason) < 0)
		s->text = NULL;
	if (d->first_key.size && d->first_key.size <= KEY_BYTES_MAX && d->last_key.size &&
	    d->last_key.size <= KEY_BYTES_MAX) {
		s->first.size = d->first_key.size;
		memcpy(s->first.bytes, d->first_key.data, s->first.size);
		s->last.size = d->last_key.size;
		memcpy(s->last.bytes, d->last_key.data, s->last.size);
	}
	c->spot_count++;
}

/* What `key` is, in words. */
static const char *check_key_words(struct check *c, const struct key *key,
				   char buf[CHECK_PATH_BYTES])
{
	char path[CHECK_PATH_BYTES];

	if (key->size <= 9 && key->bytes[0] == KEY_SUPER)
		snprintf(buf, CHECK_PATH_BYTES, "the superblock");
	else if (key->size < 9)
		snprintf(buf, CHECK_PATH_BYTES, "an unknown record");
	else if (key->bytes[0] == KEY_NAME)
		return check_path_name(c, check_key_ino(key), check_key_name(key), buf);
	else if (key->bytes[0] == KEY_EXTENT && key->size == 17)
		snprintf(buf, CHECK_PATH_BYTES, "%s, content from byte %llu",
			 check_path_inode(c, check_key_ino(key), path),
			 (ull)key_get_u64(key->bytes + 9));
	else if (key->bytes[0] == KEY_XATTR)
		snprintf(buf, CHECK_PATH_BYTES, "%s, attribute %.*s",
			 check_path_inode(c, check_key_ino(key), path), (int)(key->size - 9),
			 (const char *)key->bytes + 9);
	else
		return check_path_inode(c, check_key_ino(key), buf);
	return buf;
}

void check_say_spots(struct check *c)
{
	for (size_t i = 0; i < c->spot_count; i++) {
		char first[CHECK_PATH_BYTES], last[CHECK_PATH_BYTES];
		const struct spot *s = &c->spots[i];
		const char *text = s->text ? s->text : "damage";

		if (!s->first.size)
			check_say(c, "%s", text);
		else if (s->first.size == s->last.size &&
			 !memcmp(s->first.bytes, s->last.bytes, s->first.size))
			check_say(c, "%s; lost: %s", text, check_key_words(c, &s->first, first));
		else
			check_say(c, "%s; lost: something between %s and %s", text,
				  check_key_words(c, &s->first, first),
				  check_key_words(c, &s->last, last));
	}
}

/* ---- one inode ---- */

/* Where a record was found, for its path and to read it again. */
struct place {
	const struct key *key;
	struct lsm_slice bytes;
};

static const char *check_place_path(struct check *c, const struct place *p,
				    char buf[CHECK_PATH_BYTES])
{
	if (p->key->bytes[0] == KEY_NAME)
		return check_path_name(c, check_key_ino(p->key), check_key_name(p->key), buf);
	return check_path_inode(c, check_key_ino(p->key), buf);
}

/* The first finding of data_check(). */
struct extent_findings {
	struct check *c;
	unsigned count;
	uint64_t offset;
	char text[256];
};

static int check_on_extent(void *ctx, uint64_t offset, const char *text)
{
	struct extent_findings *f = ctx;

	if (!text)
		return check_progress(f->c);
	if (!f->count++) {
		f->offset = offset;
		snprintf(f->text, sizeof(f->text), "%s", text);
	}
	return 0;
}

static int check_extents(struct check *c, const struct place *p, const struct record *r)
{
	struct extent_findings f = {.c = c};
	char buf[CHECK_PATH_BYTES];
	uint64_t stored = 0, lost = 0;
	int err;

	err = data_check(c->fs, c->snapshot, r->ino, r->attr.size, check_on_extent, &f, &stored,
			 &lost);
	if (err && !check_is_damage(err))
		return err;
	if (lost)
		check_note(c, "%s: %llu bytes were lost before a repair: reading them is an error",
			   check_place_path(c, p, buf), (ull)lost);
	c->counts->lost_bytes += lost;
	if (!err && !f.count && stored == r->attr.stored)
		return 0;
	if (f.count)
		check_say(c, "%s: content at byte %llu: %s%s", check_place_path(c, p, buf),
			  (ull)f.offset, f.text, f.count > 1 ? " (and more)" : "");
	else if (err)
		check_say(c, "%s: its content cannot be read to the end",
			  check_place_path(c, p, buf));
	else if (!c->spot_count)
		check_say(c, "%s: %llu bytes are stored, its record says %llu",
			  check_place_path(c, p, buf), (ull)stored, (ull)r->attr.stored);
	return 0;
}

/* Is the ACL of this name, if there is one, what the inode can have? */
static int check_acl(struct check *c, const struct place *p, const struct record *r,
		     const char *name)
{
	char buf[CHECK_PATH_BYTES];
	const char *why;
	struct key k;
	int err;

	err = lsm_get(c->fs->lsm, c->snapshot, key_make(&k, KEY_XATTR, r->ino, name, strlen(name)),
		      &c->scratch);
	if (err)
		return err == LSM_ABSENT || err == -EUCLEAN ? 0 : err;
	why = acl_fault(r->type, name, (struct lsm_slice){c->scratch.data, c->scratch.size});
	if (why)
		check_say(c, "%s: %s: %s", check_place_path(c, p, buf), name, why);
	return 0;
}

/* Put a directory, or an inode with a record of its own, into the table. */
static int check_note_node(struct check *c, const struct place *p, const struct record *r)
{
	struct node *node;

	if (!S_ISDIR(r->type) && p->key->bytes[0] != KEY_INODE)
		return 0;
	node = check_node_get(c, r->ino);
	if (!node)
		return -ENOMEM;
	node->type = r->type;
	node->nlink = r->attr.nlink;
	if (S_ISDIR(r->type)) {
		node->entries = r->attr.entries;
		node->subdirs = r->attr.subdirs;
		node->parent = p->key->bytes[0] == KEY_NAME ? check_key_ino(p->key) : 0;
	}
	return 0;
}

/* An inode was met, once for each. Returns an error only if the check cannot go on. */
static int check_inode(struct check *c, const struct place *p, const struct record *r)
{
	struct fs_check_counts *n = c->counts;
	char buf[CHECK_PATH_BYTES];
	int err;

	if (c->again)
		return check_note_node(c, p, r);
	if (r->ino >= c->next) {
		check_say(c, "%s: inode number %llu was never given out",
			  check_place_path(c, p, buf), (ull)r->ino);
		return 0;
	}
	err = numset_add(&c->seen, r->ino);
	if (err < 0)
		return err;
	if (err) {
		check_say(c, "%s: inode %llu is also elsewhere", check_place_path(c, p, buf),
			  (ull)r->ino);
		return 0;
	}
	if (S_ISDIR(r->type))
		n->directories++;
	else if (S_ISREG(r->type))
		n->files++, n->bytes += r->attr.size;
	else if (S_ISLNK(r->type))
		n->symlinks++;
	else
		n->others++;

	err = check_note_node(c, p, r);
	if (!err && p->key->bytes[0] == KEY_INODE && !S_ISDIR(r->type))
		err = numset_add(&c->own, r->ino);
	if (err < 0)
		return err;
	if (r->attr.flags & ATTR_XATTRS)
		err = numset_add(&c->xattrs, r->ino);
	if (err >= 0 && r->attr.flags & ATTR_XATTRS)
		err = check_acl(c, p, r, ACL_ACCESS_NAME);
	if (err >= 0 && r->attr.flags & ATTR_XATTRS)
		err = check_acl(c, p, r, ACL_DEFAULT_NAME);
	if (err >= 0 && r->attr.flags & ATTR_EXTENTS)
		err = numset_add(&c->extents, r->ino);
	if (err >= 0 && r->attr.flags & ATTR_EXTENTS)
		err = check_extents(c, p, r);
	return err;
}

/* Read and decode the record that a walk is at. False after a finding, or with w->err. */
static bool check_read_record(struct check_walk *w, struct place *p, struct record *r)
{
	char buf[CHECK_PATH_BYTES];
	const char *why;
	int err;

	p->key = &w->at;
	err = lsm_iter_value(w->it, &p->bytes);
	if (err && !check_is_damage(err)) {
		w->err = err;
		return false;
	}
	why = "its record cannot be read";
	if (!err)
		err = record_decode(p->bytes, r, &why);
	if (err)
		check_say(w->c, "%s: damaged: %s", check_place_path(w->c, p, buf), why);
	return !err;
}

/* ---- passes ---- */

static int check_pass_inodes(struct check *c)
{
	struct check_walk w;

	for (check_walk_begin(&w, c, KEY_INODE); check_walk_valid(&w); check_walk_next(&w)) {
		struct record r;
		struct place p;

		if (w.at.size != 9) {
			check_say(c, "a record of an inode with a malformed key");
		} else if (check_read_record(&w, &p, &r)) {
			uint64_t ino = check_key_ino(&w.at);

			if (r.kind != RECORD_INODE || r.ino != ino)
				check_say(c, "inode %llu: its record is another's", (ull)ino);
			else if (S_ISDIR(r.type) != (ino == FS_ROOT_INO))
				check_say(c, "inode %llu: %s", (ull)ino,
					  ino == FS_ROOT_INO ? "the root is no directory" :
							       "a directory outside of any");
			else
				w.err = check_inode(c, &p, &r);
		}
		if (w.err)
			break;
	}
	return check_walk_end(&w);
}

static void check_spelling(struct check *c, const struct key *key)
{
	struct lsm_slice name = check_key_name(key);
	char buf[CHECK_PATH_BYTES];

	if (!name_possible(name))
		check_say(c, "%s: no file can have this name",
			  check_path_name(c, check_key_ino(key), name, buf));
}

/* A link says another type than its inode. With a table in parts that is seen more than once. */
static int check_say_mistyped(struct check *c, const struct place *p, const struct record *r,
			      struct node *node)
{
	char buf[CHECK_PATH_BYTES];
	bool again = c->again;
	int err = numset_add(&c->mistyped, r->ino);

	node->found++;
	if (err < 0 || (err && (c->nodes_end || c->nodes_from)))
		return err < 0 ? err : 0;
	c->again = false;
	check_say(c, "%s: not of the type its inode %llu is", check_place_path(c, p, buf),
		  (ull)r->ino);
	c->again = again;
	return 0;
}

/* One name; its directory's counts are the caller's. */
static int check_one_name(struct check *c, const struct place *p, const struct record *r)
{
	char buf[CHECK_PATH_BYTES];
	struct node *node;

	check_name_met(c, r->ino, p->key);
	if (r->kind == RECORD_INODE) {
		if (r->attr.nlink != 1)
			check_say(c, "%s: its record says %u names, but is in its only one",
				  check_place_path(c, p, buf), r->attr.nlink);
		return check_inode(c, p, r);
	}
	if (!numset_has(&c->own, r->ino)) {
		if (!c->incomplete)
			check_say(c, "%s: its inode %llu does not exist",
				  check_place_path(c, p, buf), (ull)r->ino);
		return 0;
	}
	node = check_node_find(c, r->ino);
	if (!node) /* left for another pass */
		return 0;
	if (node->type != r->type)
		return check_say_mistyped(c, p, r, node);
	node->found++;
	return 0;
}

static int check_count_entries(struct check *c, uint64_t dir, uint64_t entries, uint64_t subdirs)
{
	struct node *node;

	if (!entries)
		return 0;
	if (!dir) {
		check_say(c, "%llu names are in directory 0, which does not exist", (ull)entries);
		return 0;
	}
	node = check_node_get(c, dir);
	if (!node)
		return -ENOMEM;
	node->found_entries += entries;
	node->found_subdirs += subdirs;
	return 0;
}

static int check_pass_names(struct check *c)
{
	uint64_t dir = 0, entries = 0, subdirs = 0;
	struct check_walk w;
	int err;

	for (check_walk_begin(&w, c, KEY_NAME); check_walk_valid(&w); check_walk_next(&w)) {
		struct record r;
		struct place p;

		if (w.at.size < 10 || lsm_iter_key(w.it).size > KEY_BYTES_MAX) {
			check_say(c, "a name with a malformed key");
			continue;
		}
		if (check_key_ino(&w.at) != dir) {
			w.err = check_count_entries(c, dir, entries, subdirs);
			dir = check_key_ino(&w.at);
			entries = subdirs = 0;
		}
		entries++;
		check_spelling(c, &w.at);
		if (!w.err && check_read_record(&w, &p, &r)) {
			subdirs += S_ISDIR(r.type) != 0;
			w.err = check_one_name(c, &p, &r);
		}
		if (w.err)
			break;
	}
	err = check_walk_end(&w);
	return err ? err : check_count_entries(c, dir, entries, subdirs);
}

enum reach check_node_reach(struct check *c, uint64_t start)
{
	enum reach result = REACH_NO;
	uint64_t ino;

	for (ino = start;;) {
		struct node *n = check_node_find(c, ino);

		if (!n || !S_ISDIR(n->type) || n->reach == REACH_WALKING)
			break;
		if (ino == FS_ROOT_INO || n->reach == REACH_YES) {
			result = REACH_YES;
			break;
		}
		if (n->reach == REACH_NO)
			break;
		n->reach = REACH_WALKING;
		ino = n->parent;
	}
	for (ino = start;;) {
		struct node *n = check_node_find(c, ino);

		if (!n || n->reach != REACH_WALKING)
			break;
		n->reach = result;
		ino = n->parent;
	}
	return result;
}

static void check_dir(struct check *c, const struct node *n)
{
	char buf[CHECK_PATH_BYTES];

	if (n->found_entries != n->entries && !c->incomplete)
		check_say(c, "%s: has %llu entries, its record says %llu",
			  check_path_inode(c, n->ino, buf), (ull)n->found_entries, (ull)n->entries);
	if (n->found_subdirs != n->subdirs && !c->incomplete)
		check_say(c, "%s: has %llu subdirectories, its record says %llu",
			  check_path_inode(c, n->ino, buf), (ull)n->found_subdirs, (ull)n->subdirs);
	if (!c->in_parts && check_node_reach(c, n->ino) == REACH_NO && !c->incomplete)
		check_say(c, "%s: cannot be reached from the root",
			  check_path_inode(c, n->ino, buf));
}

static void check_pass_nodes(struct check *c)
{
	char buf[CHECK_PATH_BYTES];

	for (size_t i = 0; c->nodes && i <= c->node_mask; i++) {
		const struct node *n = &c->nodes[i];

		if (!n->ino)
			continue;
		if (S_ISDIR(n->type))
			check_dir(c, n);
		else if (c->incomplete)
			continue;
		else if (n->found_entries)
			check_say(c, "%llu names are in directory %llu, which %s",
				  (ull)n->found_entries, (ull)n->ino,
				  n->type ? "is none" : "does not exist");
		else if (!n->found)
			check_say(c, "inode %llu: has no name", (ull)n->ino);
		else if (n->found != n->nlink)
			check_say(c, "%s: inode %llu has %u names, its record says %u",
				  check_path_inode(c, n->ino, buf), (ull)n->ino, n->found,
				  n->nlink);
	}
	if (!numset_has(&c->seen, FS_ROOT_INO) && !c->nodes_from && !c->incomplete)
		check_say(c, "/: the root does not exist");
}

/* Go over names and inodes again for the nodes that were left. */
static int check_pass_again(struct check *c)
{
	int err;

	c->again = true;
	err = check_pass_inodes(c);
	if (!err)
		err = check_pass_names(c);
	c->again = false;
	if (!err)
		check_pass_nodes(c);
	return err;
}

/*
 * Once over all names: add to `reached` the directories in those that are in it. `*added`
 * and `*left` are how many were, and were not. With `say`, the latter are findings.
 */
static int check_reach_more(struct check *c, struct numset *reached, uint64_t *added,
			    uint64_t *left, bool say)
{
	char buf[CHECK_PATH_BYTES];
	struct check_walk w;

	*added = *left = 0;
	c->again = !say;
	for (check_walk_begin(&w, c, KEY_NAME); check_walk_valid(&w); check_walk_next(&w)) {
		const char *why;
		struct record r;
		struct place p = {.key = &w.at};
		int err = 1;

		if (w.at.size < 10 || lsm_iter_value(w.it, &p.bytes) ||
		    record_decode(p.bytes, &r, &why) || !S_ISDIR(r.type))
			continue;
		if (numset_has(reached, check_key_ino(&w.at)))
			err = numset_add(reached, r.ino);
		else if (!numset_has(reached, r.ino))
			++*left;
		if (err < 0) {
			w.err = err;
			break;
		}
		*added += !err;
		if (say && !numset_has(reached, r.ino))
			check_say(c, "%s: cannot be reached from the root",
				  check_place_path(c, &p, buf));
	}
	c->again = false;
	return check_walk_end(&w);
}

/*
 * Where the table has not all directories: a directory mostly has a higher number than the
 * one it is in, so that once over all names, which are in the order of the latter, finds
 * nearly all; and as often again as a path has directories against that order.
 */
static int check_reach(struct check *c)
{
	struct numset reached = {0};
	uint64_t added, left;
	int err = numset_add(&reached, FS_ROOT_INO);

	if (c->incomplete)
		goto out;
	do
		err = check_reach_more(c, &reached, &added, &left, false);
	while (!err && added && left);
	if (!err && left)
		err = check_reach_more(c, &reached, &added, &left, true);
out:
	numset_release(&reached);
	return err;
}

static int check_pass_orphans(struct check *c)
{
	char buf[CHECK_PATH_BYTES];
	struct check_walk w;

	for (check_walk_begin(&w, c, KEY_ORPHAN); check_walk_valid(&w); check_walk_next(&w)) {
		uint64_t ino = w.at.size == 9 ? check_key_ino(&w.at) : 0;

		c->counts->orphans++;
		if (!ino || ino >= c->next) {
			check_say(c, "a deleted file with an impossible number");
			continue;
		}
		if (numset_has(&c->seen, ino))
			check_say(c, "%s: is listed as deleted, but has a name",
				  check_path_inode(c, ino, buf));
		if (numset_add(&c->extents, ino) < 0 || numset_add(&c->xattrs, ino) < 0) {
			w.err = -ENOMEM;
			break;
		}
	}
	return check_walk_end(&w);
}

/* Are the keys of `kind` all of inodes in `owners`? */
static int check_pass_owned(struct check *c, enum key_kind kind, const struct numset *owners)
{
	const char *what = kind == KEY_EXTENT ? "content" : "extended attributes";
	char buf[CHECK_PATH_BYTES];
	struct check_walk w;

	check_walk_begin(&w, c, kind);
	while (check_walk_valid(&w)) {
		uint64_t ino;

		if (w.at.size < 9) {
			check_say(c, "a record of %s with a malformed key", what);
			check_walk_next(&w);
			continue;
		}
		ino = check_key_ino(&w.at);
		if (numset_has(owners, ino) || c->incomplete)
			; /* as it should be, or it cannot be known */
		else if (numset_has(&c->seen, ino))
			check_say(c, "%s: has %s its record does not know of",
				  check_path_inode(c, ino, buf), what);
		else
			check_say(c, "%s of inode %llu, which does not exist", what, (ull)ino);
		check_walk_skip_inode(&w);
	}
	return check_walk_end(&w);
}

static int check_begin(struct check *c)
{
	int err;

	c->snapshot = lsm_snapshot_take(c->fs->lsm);
	if (!c->snapshot)
		return -ENOMEM;
	err = lsm_get(c->fs->lsm, c->snapshot, SLICE(SUPER_NEXT), &c->scratch);
	c->next = UINT64_MAX;
	if (!err && c->scratch.size == 8)
		c->next = key_get_u64(c->scratch.data);
	else if (err >= 0 || check_is_damage(err))
		check_say(c, "the bound of inode numbers is missing");
	return err < 0 && !check_is_damage(err) ? err : 0;
}

void check_end(struct check *c)
{
	for (size_t i = 0; i < c->spot_count; i++)
		free(c->spots[i].text);
	free(c->spots);
	free(c->wanted);
	free(c->nodes);
	numset_release(&c->seen);
	numset_release(&c->extents);
	numset_release(&c->xattrs);
	numset_release(&c->own);
	numset_release(&c->mistyped);
	lsm_value_release(&c->scratch);
	if (c->snapshot)
		lsm_snapshot_drop(c->fs->lsm, c->snapshot);
}

/* The tree's part of the work is first; ours counts as many bytes as its tables have. */
static int check_on_verify(void *ctx, uint64_t done, uint64_t total)
{
	struct check *c = ctx;

	c->verified = total;
	return c->progress ? c->progress(c->progress_ctx, done, total + c->table_bytes) : 0;
}

static void check_count_work(struct check *c)
{
	struct lsm_stats stats;

	lsm_stats(c->fs->lsm, &stats);
	c->keys_total = stats.memtable_entries;
	for (unsigned i = 0; i < LSM_LEVELS; i++) {
		c->table_bytes += stats.level[i].bytes;
		c->keys_total += stats.level[i].entries;
	}
}

int fs_check(struct fs *fs, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
	     void *progress_ctx, struct fs_check_counts *counts)
{
	struct fs_check_counts none;
	struct check c = {.fs = fs,
			  .finding = finding,
			  .ctx = ctx,
			  .progress = progress,
			  .progress_ctx = progress_ctx,
			  /* Growing and halving take as much again for a moment. */
			  .nodes_bytes_max = fs->inode_bytes_max / 2,
			  .spots_max = SPOTS_MAX,
			  .counts = counts ? counts : &none};
	int err;

	memset(c.counts, 0, sizeof(*c.counts));
	check_count_work(&c);
	err = lsm_verify(fs->lsm, check_on_damage, &c, check_on_verify, &c);
	if (!err || err == -EUCLEAN)
		err = check_begin(&c);
	if (!err)
		err = check_want_names(&c);
	if (!err)
		err = check_pass_inodes(&c);
	if (!err)
		err = check_pass_names(&c);
	if (!err) {
		/* Now that it is known where everything is. */
		check_say_spots(&c);
		c.in_parts = c.nodes_end != 0;
		check_pass_nodes(&c);
		while (!err && check_nodes_next(&c))
			err = check_pass_again(&c);
		if (!err && c.in_parts)
			err = check_reach(&c);
	}
	if (!err)
		err = check_pass_orphans(&c);
	if (!err)
		err = check_pass_owned(&c, KEY_EXTENT, &c.extents);
	if (!err)
		err = check_pass_owned(&c, KEY_XATTR, &c.xattrs);
	check_end(&c);
	return err ? err : c.counts->findings ? -EUCLEAN : 0;
}
