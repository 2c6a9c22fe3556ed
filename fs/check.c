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
 * In memory are kept: three bits for each inode, and an entry for each
 * directory and each inode with a record of its own. What lies on damaged
 * blocks is skipped; then what seems to be missing is not reported, as it is
 * only the damage once more.
 *
 * The filesystem may be in use: names come from the snapshot, but extents are
 * looked at as they are now, so a finding there only counts if the file's
 * record is still what it was.
 */
#include "fs/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/acl.h"
#include "fs/data.h"
#include "fs/name.h"

typedef unsigned long long ull;

static struct lsm_slice key_name(const struct key *k)
{
	return (struct lsm_slice){k->bytes + 9, k->size - 9};
}

static uint64_t key_ino(const struct key *k)
{
	return key_get_u64(k->bytes + 1);
}

/* ---- damage below ---- */

void check_on_damage(void *ctx, const struct lsm_damage *d)
{
	struct check *c = ctx;
	struct spot *spots = realloc(c->spots, (c->spot_count + 1) * sizeof(*spots)), *s;

	if (!spots) {
		check_say(c, "%s at offset %llu: %s", d->file, (ull)d->offset, d->reason);
		return;
	}
	c->spots = spots;
	s = &spots[c->spot_count];
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
static const char *key_words(struct check *c, const struct key *key, char buf[CHECK_PATH_BYTES])
{
	char path[CHECK_PATH_BYTES];

	if (key->size <= 9 && key->bytes[0] == KEY_SUPER)
		snprintf(buf, CHECK_PATH_BYTES, "the superblock");
	else if (key->size < 9)
		snprintf(buf, CHECK_PATH_BYTES, "an unknown record");
	else if (key->bytes[0] == KEY_NAME)
		return check_path_name(c, key_ino(key), key_name(key), buf);
	else if (key->bytes[0] == KEY_EXTENT && key->size == 17)
		snprintf(buf, CHECK_PATH_BYTES, "%s, content from byte %llu",
			 check_path_inode(c, key_ino(key), path), (ull)key_get_u64(key->bytes + 9));
	else if (key->bytes[0] == KEY_XATTR)
		snprintf(buf, CHECK_PATH_BYTES, "%s, attribute %.*s",
			 check_path_inode(c, key_ino(key), path), (int)(key->size - 9),
			 (const char *)key->bytes + 9);
	else
		return check_path_inode(c, key_ino(key), buf);
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
			check_say(c, "%s; lost: %s", text, key_words(c, &s->first, first));
		else
			check_say(c, "%s; lost: something between %s and %s", text,
				  key_words(c, &s->first, first), key_words(c, &s->last, last));
	}
}

/* ---- one inode ---- */

/* Where a record was found, for its path and to read it again. */
struct place {
	const struct key *key;
	struct lsm_slice bytes;
};

static const char *place_path(struct check *c, const struct place *p, char buf[CHECK_PATH_BYTES])
{
	if (p->key->bytes[0] == KEY_NAME)
		return check_path_name(c, key_ino(p->key), key_name(p->key), buf);
	return check_path_inode(c, key_ino(p->key), buf);
}

/* Is the record still what it was under the snapshot? */
static bool place_unchanged(struct check *c, const struct place *p)
{
	return !lsm_get(c->fs->lsm, NULL, key_slice(p->key), &c->scratch) &&
	       c->scratch.size == p->bytes.size &&
	       !memcmp(c->scratch.data, p->bytes.data, p->bytes.size);
}

/* Findings of data_check(), kept until it is known whether they count. */
struct extent_findings {
	unsigned count;
	uint64_t offset;
	char text[256];
};

static void on_extent(void *ctx, uint64_t ino, uint64_t offset, const char *text)
{
	struct extent_findings *f = ctx;

	(void)ino;
	if (f->count++)
		return;
	f->offset = offset;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

static int check_extents(struct check *c, const struct place *p, const struct record *r)
{
	struct extent_findings f = {0};
	char buf[CHECK_PATH_BYTES];
	uint64_t stored = 0, lost = 0;
	int rc;

	rc = data_check(c->fs->lsm, r->ino, r->attr.size, on_extent, &f, &stored, &lost);
	if (rc && rc != -EUCLEAN)
		return rc;
	if (lost)
		check_note(c, "%s: %llu bytes were lost before a repair: reading them is an error",
			   place_path(c, p, buf), (ull)lost);
	c->counts->lost_bytes += lost;
	if (!rc && !f.count && stored == r->attr.stored)
		return 0;
	if (!place_unchanged(c, p))
		return 0;
	if (f.count)
		check_say(c, "%s: content at byte %llu: %s%s", place_path(c, p, buf), (ull)f.offset,
			  f.text, f.count > 1 ? " (and more)" : "");
	else if (rc)
		check_say(c, "%s: its content cannot be read to the end", place_path(c, p, buf));
	else if (!c->spot_count)
		check_say(c, "%s: %llu bytes are stored, its record says %llu",
			  place_path(c, p, buf), (ull)stored, (ull)r->attr.stored);
	return 0;
}

/* Is the ACL of this name, if there is one, what the inode can have? */
static int check_acl(struct check *c, const struct place *p, const struct record *r,
		     const char *name)
{
	char buf[CHECK_PATH_BYTES];
	struct lsm_slice bytes;
	const char *why = NULL;
	struct acl acl;
	struct key k;
	int rc;

	rc = lsm_get(c->fs->lsm, c->snapshot, key_make(&k, KEY_XATTR, r->ino, name, strlen(name)),
		     &c->scratch);
	if (rc)
		return rc == 1 || rc == -EUCLEAN ? 0 : rc;
	bytes = (struct lsm_slice){c->scratch.data, c->scratch.size};
	if (S_ISLNK(r->type) || (!S_ISDIR(r->type) && !strcmp(name, ACL_DEFAULT_NAME)))
		why = "on something that has none";
	else
		(void)acl_decode(bytes, &acl, &why);
	if (why)
		check_say(c, "%s: %s: %s", place_path(c, p, buf), name, why);
	return 0;
}

/* An inode was met, once for each. Returns an error only if the check cannot go on. */
static int check_inode(struct check *c, const struct place *p, const struct record *r)
{
	struct fs_check_counts *n = c->counts;
	char buf[CHECK_PATH_BYTES];
	struct node *node;
	int rc;

	if (r->ino >= c->next) {
		check_say(c, "%s: inode number %llu was never given out", place_path(c, p, buf),
			  (ull)r->ino);
		return 0;
	}
	rc = numset_add(&c->seen, r->ino);
	if (rc < 0)
		return rc;
	if (rc) {
		check_say(c, "%s: inode %llu is also elsewhere", place_path(c, p, buf),
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

	if (S_ISDIR(r->type) || p->key->bytes[0] == KEY_INODE) {
		node = check_node_get(c, r->ino);
		if (!node)
			return -ENOMEM;
		node->type = r->type;
		node->nlink = r->attr.nlink;
		if (S_ISDIR(r->type)) {
			node->entries = r->attr.entries;
			node->subdirs = r->attr.subdirs;
			node->parent = p->key->bytes[0] == KEY_NAME ? key_ino(p->key) : 0;
		}
	}
	if (r->attr.flags & ATTR_XATTRS)
		rc = numset_add(&c->xattrs, r->ino);
	if (rc >= 0 && r->attr.flags & ATTR_XATTRS)
		rc = check_acl(c, p, r, ACL_ACCESS_NAME);
	if (rc >= 0 && r->attr.flags & ATTR_XATTRS)
		rc = check_acl(c, p, r, ACL_DEFAULT_NAME);
	if (rc >= 0 && r->attr.flags & ATTR_EXTENTS)
		rc = numset_add(&c->extents, r->ino);
	if (rc >= 0 && r->attr.flags & ATTR_EXTENTS)
		rc = check_extents(c, p, r);
	return rc;
}

/* Read and decode the record a walk is at. Returns 0; 1 after a finding. */
static int read_record(struct walk *w, struct place *p, struct record *r)
{
	char buf[CHECK_PATH_BYTES];
	const char *why;
	int rc;

	p->key = &w->at;
	rc = lsm_iter_value(w->it, &p->bytes);
	if (rc && rc != -EUCLEAN) {
		w->rc = rc;
		return 1;
	}
	why = "its record cannot be read";
	if (!rc)
		rc = record_decode(p->bytes, r, &why);
	if (rc)
		check_say(w->c, "%s: damaged: %s", place_path(w->c, p, buf), why);
	return rc ? 1 : 0;
}

/* ---- passes ---- */

static int pass_inodes(struct check *c)
{
	struct walk w;

	for (walk_begin(&w, c, KEY_INODE); walk_valid(&w); walk_next(&w)) {
		struct record r;
		struct place p;

		if (w.at.size != 9) {
			check_say(c, "a record of an inode with a malformed key");
		} else if (!read_record(&w, &p, &r)) {
			uint64_t ino = key_ino(&w.at);

			if (r.kind != RECORD_INODE || r.ino != ino)
				check_say(c, "inode %llu: its record is another's", (ull)ino);
			else if (S_ISDIR(r.type) != (ino == FS_ROOT_INO))
				check_say(c, "inode %llu: %s", (ull)ino,
					  ino == FS_ROOT_INO ? "the root is no directory" :
							       "a directory outside of any");
			else
				w.rc = check_inode(c, &p, &r);
		}
		if (w.rc)
			break;
	}
	return walk_end(&w);
}

static void check_spelling(struct check *c, const struct key *key)
{
	struct lsm_slice name = key_name(key);
	char buf[CHECK_PATH_BYTES];

	if (!name_possible(name))
		check_say(c, "%s: no file can have this name",
			  check_path_name(c, key_ino(key), name, buf));
}

/* One name; its directory's counts are the caller's. */
static int check_name(struct check *c, const struct place *p, const struct record *r)
{
	char buf[CHECK_PATH_BYTES];
	struct node *node;

	if (r->kind == RECORD_INODE) {
		if (r->attr.nlink != 1)
			check_say(c, "%s: its record says %u names, but is in its only one",
				  place_path(c, p, buf), r->attr.nlink);
		return check_inode(c, p, r);
	}
	node = check_node_find(c, r->ino);
	if (!node || !node->type || S_ISDIR(node->type)) {
		if (!c->incomplete)
			check_say(c, "%s: its inode %llu does not exist", place_path(c, p, buf),
				  (ull)r->ino);
		return 0;
	}
	if (node->type != r->type)
		check_say(c, "%s: not of the type its inode %llu is", place_path(c, p, buf),
			  (ull)r->ino);
	node->found++;
	return 0;
}

static int count_entries(struct check *c, uint64_t dir, uint64_t entries, uint64_t subdirs)
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

static int pass_names(struct check *c)
{
	uint64_t dir = 0, entries = 0, subdirs = 0;
	struct walk w;
	int rc;

	for (walk_begin(&w, c, KEY_NAME); walk_valid(&w); walk_next(&w)) {
		struct record r;
		struct place p;

		if (w.at.size < 10 || lsm_iter_key(w.it).size > KEY_BYTES_MAX) {
			check_say(c, "a name with a malformed key");
			continue;
		}
		if (key_ino(&w.at) != dir) {
			w.rc = count_entries(c, dir, entries, subdirs);
			dir = key_ino(&w.at);
			entries = subdirs = 0;
		}
		entries++;
		check_spelling(c, &w.at);
		if (!w.rc && !read_record(&w, &p, &r)) {
			subdirs += S_ISDIR(r.type) != 0;
			w.rc = check_name(c, &p, &r);
		}
		if (w.rc)
			break;
	}
	rc = walk_end(&w);
	return rc ? rc : count_entries(c, dir, entries, subdirs);
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
	if (check_node_reach(c, n->ino) == REACH_NO && !c->incomplete)
		check_say(c, "%s: cannot be reached from the root",
			  check_path_inode(c, n->ino, buf));
}

static void pass_nodes(struct check *c)
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
	if (!check_node_find(c, FS_ROOT_INO) && !c->incomplete)
		check_say(c, "/: the root does not exist");
}

static int pass_orphans(struct check *c)
{
	char buf[CHECK_PATH_BYTES];
	struct walk w;

	for (walk_begin(&w, c, KEY_ORPHAN); walk_valid(&w); walk_next(&w)) {
		uint64_t ino = w.at.size == 9 ? key_ino(&w.at) : 0;

		c->counts->orphans++;
		if (!ino || ino >= c->next) {
			check_say(c, "a deleted file with an impossible number");
			continue;
		}
		if (numset_has(&c->seen, ino))
			check_say(c, "%s: is listed as deleted, but has a name",
				  check_path_inode(c, ino, buf));
		if (numset_add(&c->extents, ino) < 0 || numset_add(&c->xattrs, ino) < 0) {
			w.rc = -ENOMEM;
			break;
		}
	}
	return walk_end(&w);
}

/* Are the keys of `kind` all of inodes in `owners`? */
static int pass_owned(struct check *c, enum key_kind kind, const struct numset *owners)
{
	const char *what = kind == KEY_EXTENT ? "content" : "extended attributes";
	char buf[CHECK_PATH_BYTES];
	struct walk w;

	walk_begin(&w, c, kind);
	while (walk_valid(&w)) {
		uint64_t ino;

		if (w.at.size < 9) {
			check_say(c, "a record of %s with a malformed key", what);
			walk_next(&w);
			continue;
		}
		ino = key_ino(&w.at);
		if (numset_has(owners, ino) || c->incomplete)
			; /* as it should be, or nobody can tell */
		else if (numset_has(&c->seen, ino))
			check_say(c, "%s: has %s its record does not know of",
				  check_path_inode(c, ino, buf), what);
		else
			check_say(c, "%s of inode %llu, which does not exist", what, (ull)ino);
		walk_skip_inode(&w);
	}
	return walk_end(&w);
}

static int check_begin(struct check *c)
{
	int rc;

	c->snapshot = lsm_snapshot_take(c->fs->lsm);
	if (!c->snapshot)
		return -ENOMEM;
	rc = lsm_get(c->fs->lsm, c->snapshot, SLICE(SUPER_NEXT), &c->scratch);
	c->next = UINT64_MAX;
	if (!rc && c->scratch.size == 8)
		c->next = key_get_u64(c->scratch.data);
	else if (rc >= 0 || rc == -EUCLEAN)
		check_say(c, "the bound of inode numbers is missing");
	return rc < 0 && rc != -EUCLEAN ? rc : 0;
}

void check_end(struct check *c)
{
	for (size_t i = 0; i < c->spot_count; i++)
		free(c->spots[i].text);
	free(c->spots);
	free(c->nodes);
	numset_release(&c->seen);
	numset_release(&c->extents);
	numset_release(&c->xattrs);
	lsm_value_release(&c->scratch);
	if (c->snapshot)
		lsm_snapshot_drop(c->fs->lsm, c->snapshot);
}

int fs_check(struct fs *fs, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
	     void *progress_ctx, struct fs_check_counts *counts)
{
	struct fs_check_counts none;
	struct check c = {
		.fs = fs, .finding = finding, .ctx = ctx, .counts = counts ? counts : &none};
	int rc;

	memset(c.counts, 0, sizeof(*c.counts));
	rc = lsm_verify(fs->lsm, check_on_damage, &c, progress, progress_ctx);
	if (!rc || rc == -EUCLEAN)
		rc = check_begin(&c);
	if (!rc)
		rc = pass_inodes(&c);
	if (!rc)
		rc = pass_names(&c);
	if (!rc) {
		/* Now that it is known where everything is. */
		check_say_spots(&c);
		pass_nodes(&c);
		rc = pass_orphans(&c);
	}
	if (!rc)
		rc = pass_owned(&c, KEY_EXTENT, &c.extents);
	if (!rc)
		rc = pass_owned(&c, KEY_XATTR, &c.xattrs);
	check_end(&c);
	return rc ? rc : c.counts->findings ? -EUCLEAN : 0;
}
