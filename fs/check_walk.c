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

static void check_vsay(struct check *c, const char *format, va_list args)
{
	char text[CHECK_PATH_BYTES + 1024];

	vsnprintf(text, sizeof(text), format, args);
	if (c->finding)
		c->finding(c->ctx, text);
}

void check_say(struct check *c, const char *format, ...)
{
	va_list args;

	if (c->again)
		return;
	c->counts->findings++;
	va_start(args, format);
	check_vsay(c, format, args);
	va_end(args);
}

void check_note(struct check *c, const char *format, ...)
{
	va_list args;

	if (c->again)
		return;
	va_start(args, format);
	check_vsay(c, format, args);
	va_end(args);
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

static struct node *check_node_slot(struct node *nodes, size_t mask, uint64_t ino)
{
	size_t i = (size_t)(ino * 0x9e3779b97f4a7c15u >> 20) & mask;

	while (nodes[i].ino && nodes[i].ino != ino)
		i = (i + 1) & mask;
	return &nodes[i];
}

struct node *check_node_find(struct check *c, uint64_t ino)
{
	struct node *n = c->nodes ? check_node_slot(c->nodes, c->node_mask, ino) : NULL;

	return n && n->ino ? n : NULL;
}

static int check_nodes_grow(struct check *c)
{
	size_t mask = c->nodes ? c->node_mask * 2 + 1 : 255;
	struct node *nodes = calloc(mask + 1, sizeof(*nodes));

	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; c->nodes && i <= c->node_mask; i++)
		if (c->nodes[i].ino)
			*check_node_slot(nodes, mask, c->nodes[i].ino) = c->nodes[i];
	free(c->nodes);
	c->nodes = nodes;
	c->node_mask = mask;
	return 0;
}

static int check_nodes_compare(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Keep the lower half of the inodes. */
static int check_nodes_halve(struct check *c)
{
	struct node *all = malloc(c->node_count * sizeof(*all));
	size_t n = 0, keep = c->node_count / 2;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i <= c->node_mask; i++)
		if (c->nodes[i].ino)
			all[n++] = c->nodes[i];
	qsort(all, n, sizeof(*all), check_nodes_compare);
	c->nodes_end = all[keep].ino;
	memset(c->nodes, 0, (c->node_mask + 1) * sizeof(*c->nodes));
	for (size_t i = 0; i < keep; i++)
		*check_node_slot(c->nodes, c->node_mask, all[i].ino) = all[i];
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

static int check_nodes_make_room(struct check *c)
{
	if (c->nodes && c->node_count * 4 < c->node_mask * 3)
		return 0;
	if (c->nodes && c->nodes_bytes_max &&
	    2 * (c->node_mask + 1) * sizeof(*c->nodes) > c->nodes_bytes_max)
		return check_nodes_halve(c);
	return check_nodes_grow(c);
}

struct node *check_node_get(struct check *c, uint64_t ino)
{
	struct node *n = check_node_find(c, ino);

	if (n)
		return n;
	if (check_node_kept(c, ino) && check_nodes_make_room(c))
		return NULL;
	if (!check_node_kept(c, ino)) {
		c->stray = (struct node){.ino = ino};
		return &c->stray;
	}
	n = check_node_slot(c->nodes, c->node_mask, ino);
	n->ino = ino;
	c->node_count++;
	return n;
}

/* ---- going over keys ---- */

/* `size` may be more than a key of ours has. */
static void check_key_copy(struct key *k, struct lsm_slice s)
{
	k->size = s.size < KEY_BYTES_MAX ? s.size : KEY_BYTES_MAX;
	if (k->size)
		memcpy(k->bytes, s.data, k->size);
}

static int check_walk_open(struct check_walk *w)
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

int check_walk_begin(struct check_walk *w, struct check *c, enum key_kind kind)
{
	memset(w, 0, sizeof(*w));
	w->c = c;
	w->lower.bytes[0] = (unsigned char)kind;
	w->upper.bytes[0] = (unsigned char)(kind + 1);
	w->lower.size = w->upper.size = 1;
	w->at = w->lower;
	w->err = check_walk_open(w);
	return w->err;
}

/* Reading failed somewhere behind `at`: go on behind the next damage. False if that cannot be. */
static bool check_walk_recover(struct check_walk *w)
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
	w->err = check_walk_open(w);
	return !w->err;
}

bool check_walk_valid(struct check_walk *w)
{
	int err;

	while (!w->err && !lsm_iter_valid(w->it)) {
		err = lsm_iter_status(w->it);
		if (!err)
			return false;
		if (!check_is_damage(err))
			w->err = err;
		else if (!check_walk_recover(w))
			return false;
	}
	if (w->err)
		return false;
	check_key_copy(&w->at, lsm_iter_key(w->it));
	return true;
}

/* Let go of what the iterator pins, and go on at the key it is on. */
static void check_walk_renew(struct check_walk *w)
{
	lsm_iter_free(w->it);
	w->it = NULL;
	if (check_progress(w->c))
		w->err = -EINTR;
	else
		w->err = check_walk_open(w);
}

void check_walk_next(struct check_walk *w)
{
	lsm_iter_next(w->it);
	if (++w->keys < WALK_STEP || !lsm_iter_valid(w->it) ||
	    lsm_iter_key(w->it).size > KEY_BYTES_MAX)
		return;
	check_key_copy(&w->at, lsm_iter_key(w->it));
	w->lower = w->at;
	check_walk_renew(w);
}

void check_walk_skip_inode(struct check_walk *w)
{
	struct key first, next;

	key_range(w->at.bytes[0], key_get_u64(w->at.bytes + 1), &first, &next);
	if (++w->keys >= WALK_STEP) {
		w->lower = w->at = next;
		check_walk_renew(w);
	} else {
		lsm_iter_seek(w->it, key_slice(&next));
	}
}

int check_walk_end(struct check_walk *w)
{
	lsm_iter_free(w->it);
	w->it = NULL;
	return w->err;
}

/* ---- paths ---- */

static int check_wanted_compare(const void *a, const void *b)
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
	qsort(c->wanted, c->wanted_count, sizeof(*c->wanted), check_wanted_compare);
	for (size_t i = 0; i < c->wanted_count; i++)
		if (!n || c->wanted[n - 1].ino != c->wanted[i].ino)
			c->wanted[n++].ino = c->wanted[i].ino;
	c->wanted_count = n;
	return 0;
}

static struct wanted *check_wanted_find(const struct check *c, uint64_t ino)
{
	struct wanted ask = {.ino = ino};

	return c->wanted_count ? bsearch(&ask, c->wanted, c->wanted_count, sizeof(*c->wanted),
					 check_wanted_compare) :
				 NULL;
}

void check_name_met(struct check *c, uint64_t ino, const struct key *name)
{
	struct wanted *w = check_wanted_find(c, ino);

	if (w)
		w->name = *name;
}

bool check_name_of(struct check *c, uint64_t ino, uint64_t parent, struct key *at)
{
	struct key lower = {{KEY_NAME}, 1}, upper = {{KEY_NAME + 1}, 1};
	struct lsm_iter_options o = {.snapshot = c->snapshot, .no_cache = true};
	struct lsm_iter *it;
	unsigned keys = 0;
	bool found = false;

	if (c->stopped)
		return false;
	if (parent)
		key_range(KEY_NAME, parent, &lower, &upper);
	o.lower = key_slice(&lower);
	o.upper = key_slice(&upper);
	it = lsm_iter_new(c->fs->lsm, &o);
	if (!it)
		return false;
	for (lsm_iter_first(it); !found && lsm_iter_valid(it); lsm_iter_next(it)) {
		struct record record;
		struct lsm_slice value;
		const char *why;

		if (++keys % WALK_STEP == 0 && check_progress(c))
			break;
		if (lsm_iter_value(it, &value) || record_decode(value, &record, &why) ||
		    record.ino != ino || lsm_iter_key(it).size < 9)
			continue;
		check_key_copy(at, lsm_iter_key(it));
		found = true;
	}
	lsm_iter_free(it);
	return found;
}

/* Put `size` bytes of `text` before `*p`, which does not go below `buf`. */
static void check_path_prepend(char *buf, char **p, const void *text, size_t size)
{
	if ((size_t)(*p - buf) < size)
		return;
	*p -= size;
	memcpy(*p, text, size);
}

/* The path of directory or file `ino`, before `*p`. */
static void check_path_before(struct check *c, uint64_t ino, char *buf, char **p)
{
	uint64_t mark = 0;

	for (unsigned depth = 1; ino != FS_ROOT_INO; depth++) {
		const struct node *n = check_node_find(c, ino);
		const struct wanted *w = check_wanted_find(c, ino);
		uint64_t parent = n ? n->parent : 0;
		struct key at = {.size = 0};
		char number[32];

		if (w)
			at = w->name;

		/* Directories may contain each other: a number met again is as far as this goes. */
		if (ino == mark || depth == DEPTH_MAX ||
		    (!at.size && ((!parent && c->slow_paths++ >= SLOW_PATHS_MAX) ||
				  !check_name_of(c, ino, parent, &at)))) {
			snprintf(number, sizeof(number), "inode %llu", (unsigned long long)ino);
			check_path_prepend(buf, p, number, strlen(number));
			return;
		}
		if (!(depth & (depth - 1)))
			mark = ino;
		check_path_prepend(buf, p, at.bytes + 9, at.size - 9);
		check_path_prepend(buf, p, "/", 1);
		ino = key_get_u64(at.bytes + 1);
	}
}

const char *check_path_name(struct check *c, uint64_t parent, struct lsm_slice name,
			    char buf[CHECK_PATH_BYTES])
{
	char *p = buf + CHECK_PATH_BYTES - 1;

	*p = '\0';
	check_path_prepend(buf, &p, name.data, name.size);
	check_path_prepend(buf, &p, "/", 1);
	check_path_before(c, parent, buf, &p);
	return p;
}

const char *check_path_inode(struct check *c, uint64_t ino, char buf[CHECK_PATH_BYTES])
{
	char *p = buf + CHECK_PATH_BYTES - 1;

	*p = '\0';
	if (ino == FS_ROOT_INO)
		check_path_prepend(buf, &p, "/", 1);
	check_path_before(c, ino, buf, &p);
	return p;
}
