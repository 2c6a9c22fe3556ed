/*
 * check_walk.c - reading for fs_check(): keys in order past damage, the table
 * of directories, and the paths of what was found.
 *
 * Paths are worked out only for findings, by reading: a directory knows its
 * parent's number (from the table), and its name is found by going over the
 * parent. The names of files that damage concerns are kept when they are met. For any
 * other inode whose parent is not known all names are gone over; that is done for
 * the first SLOW_PATHS_MAX findings, later ones give the number.
 */
#include "fs/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOW_PATHS_MAX 64u
#define DEPTH_MAX 2048u

void check_say(struct check *c, const char *format, ...)
{
	char text[CHECK_PATH_BYTES + 1024];
	va_list args;

	if (c->again)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	c->counts->findings++;
	if (c->finding)
		c->finding(c->ctx, text);
}

int check_progress(struct check *c)
{
	uint64_t done = c->table_bytes;

	c->keys += WALK_STEP;
	if (c->keys < c->keys_total)
		done = (uint64_t)((double)done * (double)c->keys / (double)c->keys_total);
	if (c->progress &&
	    c->progress(c->progress_ctx, c->verified + done, c->verified + c->table_bytes))
		c->stopped = true;
	return c->stopped;
}

/* ---- the table ---- */

static struct node *node_slot(struct node *nodes, size_t mask, uint64_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15u >> 20) & mask;

	while (nodes[i].ino && nodes[i].ino != ino)
		i = (i + 1) & mask;
	return &nodes[i];
}

struct node *check_node_find(struct check *c, uint64_t ino)
{
	struct node *n = c->nodes ? node_slot(c->nodes, c->node_mask, ino) : NULL;

	return n && n->ino ? n : NULL;
}

static int nodes_grow(struct check *c)
{
	size_t mask = c->nodes ? c->node_mask * 2 + 1 : 255;
	struct node *nodes = calloc(mask + 1, sizeof(*nodes));

	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; c->nodes && i <= c->node_mask; i++)
		if (c->nodes[i].ino)
			*node_slot(nodes, mask, c->nodes[i].ino) = c->nodes[i];
	free(c->nodes);
	c->nodes = nodes;
	c->node_mask = mask;
	return 0;
}

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Keep the lower half of the inodes. */
static int nodes_halve(struct check *c)
{
	struct node *all = malloc(c->node_count * sizeof(*all));
	size_t n = 0, keep = c->node_count / 2;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i <= c->node_mask; i++)
		if (c->nodes[i].ino)
			all[n++] = c->nodes[i];
	qsort(all, n, sizeof(*all), compare_nodes);
	c->nodes_end = all[keep].ino;
	memset(c->nodes, 0, (c->node_mask + 1) * sizeof(*c->nodes));
	for (size_t i = 0; i < keep; i++)
		*node_slot(c->nodes, c->node_mask, all[i].ino) = all[i];
	c->node_count = keep;
	free(all);
	return 0;
}

bool check_nodes_next(struct check *c)
{
	if (!c->nodes_end)
		return false;
	c->nodes_from = c->nodes_end;
	c->nodes_end = 0;
	memset(c->nodes, 0, (c->node_mask + 1) * sizeof(*c->nodes));
	c->node_count = 0;
	return true;
}

static int nodes_make_room(struct check *c)
{
	if (c->nodes && c->node_count * 4 < c->node_mask * 3)
		return 0;
	if (c->nodes && c->nodes_bytes_max &&
	    2 * (c->node_mask + 1) * sizeof(*c->nodes) > c->nodes_bytes_max)
		return nodes_halve(c);
	return nodes_grow(c);
}

struct node *check_node_get(struct check *c, uint64_t ino)
{
	struct node *n = check_node_find(c, ino);

	if (n)
		return n;
	if (check_node_kept(c, ino) && nodes_make_room(c))
		return NULL;
	if (!check_node_kept(c, ino)) {
		c->stray = (struct node){.ino = ino};
		return &c->stray;
	}
	n = node_slot(c->nodes, c->node_mask, ino);
	n->ino = ino;
	c->node_count++;
	return n;
}

/* ---- going over keys ---- */

static int key_compare(const struct key *a, const struct key *b)
{
	size_t n = a->size < b->size ? a->size : b->size;
	int d = memcmp(a->bytes, b->bytes, n);

	return d ? d : (a->size > b->size) - (a->size < b->size);
}

/* `size` may be more than a key of ours has. */
static void key_copy(struct key *k, struct lsm_slice s)
{
	k->size = s.size < KEY_BYTES_MAX ? s.size : KEY_BYTES_MAX;
	if (k->size)
		memcpy(k->bytes, s.data, k->size);
}

static int walk_open(struct walk *w)
{
	struct lsm_iter_options o = {.snapshot = w->c->snapshot,
				     .lower = key_slice(&w->lower),
				     .upper = key_slice(&w->upper),
				     .no_cache = true};

	lsm_iter_free(w->it);
	w->it = lsm_iter_new(w->c->fs->lsm, &o);
	if (!w->it)
		return -ENOMEM;
	w->keys = 0;
	lsm_iter_first(w->it);
	return 0;
}

int walk_begin(struct walk *w, struct check *c, enum key_kind kind)
{
	memset(w, 0, sizeof(*w));
	w->c = c;
	w->lower.bytes[0] = (unsigned char)kind;
	w->upper.bytes[0] = (unsigned char)(kind + 1);
	w->lower.size = w->upper.size = 1;
	w->at = w->lower;
	w->rc = walk_open(w);
	return w->rc;
}

/* Reading failed somewhere behind `at`: go on behind the next damage. False if that cannot be. */
static bool walk_recover(struct walk *w)
{
	const struct spot *next = NULL;

	w->c->incomplete = true;
	for (size_t i = 0; i < w->c->spot_count; i++) {
		const struct spot *s = &w->c->spots[i];

		if (s->last.size && s->last.size < KEY_BYTES_MAX &&
		    key_compare(&s->last, &w->at) >= 0 &&
		    (!next || key_compare(&s->last, &next->last) < 0))
			next = s;
	}
	if (!next || key_compare(&next->last, &w->upper) >= 0) {
		check_say(w->c, "records of kind '%c' cannot be read to the end",
			  w->lower.bytes[0]);
		return false;
	}
	w->lower = next->last;
	w->lower.bytes[w->lower.size++] = 0;
	w->at = w->lower;
	w->rc = walk_open(w);
	return !w->rc;
}

bool walk_valid(struct walk *w)
{
	int rc;

	while (!w->rc && !lsm_iter_valid(w->it)) {
		rc = lsm_iter_status(w->it);
		if (!rc)
			return false;
		if (!is_damage(rc))
			w->rc = rc;
		else if (!walk_recover(w))
			return false;
	}
	if (w->rc)
		return false;
	key_copy(&w->at, lsm_iter_key(w->it));
	return true;
}

/* Let go of what the iterator pins, and go on at the key it is on. */
static void walk_renew(struct walk *w)
{
	lsm_iter_free(w->it);
	w->it = NULL;
	if (check_progress(w->c))
		w->rc = -EINTR;
	else
		w->rc = walk_open(w);
}

void walk_next(struct walk *w)
{
	lsm_iter_next(w->it);
	if (++w->keys < WALK_STEP || !lsm_iter_valid(w->it) ||
	    lsm_iter_key(w->it).size > KEY_BYTES_MAX)
		return;
	key_copy(&w->at, lsm_iter_key(w->it));
	w->lower = w->at;
	walk_renew(w);
}

void walk_skip_inode(struct walk *w)
{
	struct key first, next;

	key_range(w->at.bytes[0], key_get_u64(w->at.bytes + 1), &first, &next);
	if (++w->keys >= WALK_STEP) {
		w->lower = w->at = next;
		walk_renew(w);
	} else {
		lsm_iter_seek(w->it, key_slice(&next));
	}
}

int walk_end(struct walk *w)
{
	lsm_iter_free(w->it);
	w->it = NULL;
	return w->rc;
}

/* ---- paths ---- */

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

int check_want_names(struct check *c)
{
	size_t n = 0;

	if (!c->spot_count)
		return 0;
	c->wanted = calloc(2 * c->spot_count, sizeof(*c->wanted));
	if (!c->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < 2 * c->spot_count; i++) {
		const struct spot *s = &c->spots[i / 2];
		const struct key *key = i % 2 ? &s->last : &s->first;

		if (key->size >= 9 && key->bytes[0] != KEY_NAME)
			c->wanted[c->wanted_count++].ino = key_get_u64(key->bytes + 1);
	}
	qsort(c->wanted, c->wanted_count, sizeof(*c->wanted), compare_wanted);
	for (size_t i = 0; i < c->wanted_count; i++)
		if (!n || c->wanted[n - 1].ino != c->wanted[i].ino)
			c->wanted[n++].ino = c->wanted[i].ino;
	c->wanted_count = n;
	return 0;
}

static struct wanted *wanted_find(const struct check *c, uint64_t ino)
{
	struct wanted ask = {.ino = ino};

	return c->wanted_count ? bsearch(&ask, c->wanted, c->wanted_count, sizeof(*c->wanted),
					 compare_wanted) :
				 NULL;
}

void check_name_met(struct check *c, uint64_t ino, const struct key *name)
{
	struct wanted *w = wanted_find(c, ino);

	if (w)
		w->name = *name;
}

/* The name of `ino` in `parent` (0: anywhere). Returns 0 and `*at` its key, or 1. */
static int name_of(struct check *c, uint64_t ino, uint64_t parent, struct key *at)
{
	struct key lower = {{KEY_NAME}, 1}, upper = {{KEY_NAME + 1}, 1};
	struct lsm_iter_options o = {.snapshot = c->snapshot, .no_cache = true};
	struct lsm_iter *it;
	unsigned keys = 0;
	int rc = 1;

	if (c->stopped)
		return 1;
	if (parent)
		key_range(KEY_NAME, parent, &lower, &upper);
	o.lower = key_slice(&lower);
	o.upper = key_slice(&upper);
	it = lsm_iter_new(c->fs->lsm, &o);
	if (!it)
		return 1;
	for (lsm_iter_first(it); rc && lsm_iter_valid(it); lsm_iter_next(it)) {
		struct record record;
		struct lsm_slice value;
		const char *why;

		if (++keys % WALK_STEP == 0 && check_progress(c))
			break;
		if (lsm_iter_value(it, &value) || record_decode(value, &record, &why) ||
		    record.ino != ino || lsm_iter_key(it).size < 9)
			continue;
		key_copy(at, lsm_iter_key(it));
		rc = 0;
	}
	lsm_iter_free(it);
	return rc;
}

/* Put `size` bytes of `text` before `*p`, which does not go below `buf`. */
static void prepend(char *buf, char **p, const void *text, size_t size)
{
	if ((size_t)(*p - buf) < size)
		return;
	*p -= size;
	memcpy(*p, text, size);
}

/* The path of directory or file `ino`, before `*p`. */
static void path_before(struct check *c, uint64_t ino, char *buf, char **p)
{
	uint64_t mark = 0;

	for (unsigned depth = 1; ino != FS_ROOT_INO; depth++) {
		const struct node *n = check_node_find(c, ino);
		const struct wanted *w = wanted_find(c, ino);
		uint64_t parent = n ? n->parent : 0;
		struct key at = {.size = 0};
		char number[32];

		if (w)
			at = w->name;

		/* Directories may contain each other: a number met again is as far as this goes. */
		if (ino == mark || depth == DEPTH_MAX ||
		    (!at.size && ((!parent && c->slow_paths++ >= SLOW_PATHS_MAX) ||
				  name_of(c, ino, parent, &at)))) {
			snprintf(number, sizeof(number), "inode %llu", (unsigned long long)ino);
			prepend(buf, p, number, strlen(number));
			return;
		}
		if (!(depth & (depth - 1)))
			mark = ino;
		prepend(buf, p, at.bytes + 9, at.size - 9);
		prepend(buf, p, "/", 1);
		ino = key_get_u64(at.bytes + 1);
	}
}

const char *check_path_name(struct check *c, uint64_t parent, struct lsm_slice name,
			    char buf[CHECK_PATH_BYTES])
{
	char *p = buf + CHECK_PATH_BYTES - 1;

	*p = '\0';
	prepend(buf, &p, name.data, name.size);
	prepend(buf, &p, "/", 1);
	path_before(c, parent, buf, &p);
	return p;
}

const char *check_path_inode(struct check *c, uint64_t ino, char buf[CHECK_PATH_BYTES])
{
	char *p = buf + CHECK_PATH_BYTES - 1;

	*p = '\0';
	if (ino == FS_ROOT_INO)
		prepend(buf, &p, "/", 1);
	path_before(c, ino, buf, &p);
	return p;
}
