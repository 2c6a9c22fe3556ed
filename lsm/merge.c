/*
 * merge.c - merging iterators.
 *
 * A merge keeps each child at its own next entry and shows the smallest (going
 * forwards) or the largest (going backwards). Two children never hold the same
 * internal key. Going forwards it remembers which child is second: while the
 * current child stays before that one, a step costs one comparison.
 *
 * A change of direction seeks all other children to the current key again.
 * An error of any child ends the merge with that error, because an entry behind it
 * might be older than one that could not be read.
 */
#include "lsm/merge.h"

#include <assert.h>
#include <stdlib.h>

struct merge {
	struct iter it;
	struct iter **children;
	size_t count;
	size_t current, second; /* == count: none */
	bool forward;
};

static void merge_show(struct merge *m)
{
	m->it.valid = m->current < m->count;
	if (!m->it.valid)
		return;
	m->it.key = m->children[m->current]->key;
	m->it.value = m->children[m->current]->value;
}

static bool merge_failed(struct merge *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->children[i]->err) {
			m->it.err = m->children[i]->err;
			m->it.valid = false;
			return true;
		}
	m->it.err = 0;
	return false;
}

/* Find the current child (and the second, going forwards) from where the children are. */
static void merge_choose(struct merge *m)
{
	if (merge_failed(m))
		return;
	m->current = m->second = m->count;
	for (size_t i = 0; i < m->count; i++) {
		struct iter *c = m->children[i];

		if (!c->valid)
			continue;
		if (m->current == m->count) {
			m->current = i;
		} else if ((ikey_compare(c->key, m->children[m->current]->key) < 0) == m->forward) {
			m->second = m->current;
			m->current = i;
		} else if (m->second == m->count ||
			   (ikey_compare(c->key, m->children[m->second]->key) < 0) == m->forward) {
			m->second = i;
		}
	}
	merge_show(m);
}

static void merge_seek(struct iter *it, struct lsm_slice ikey)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		m->children[i]->ops->seek(m->children[i], ikey);
	m->forward = true;
	merge_choose(m);
}

static void merge_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		m->children[i]->ops->seek_prev(m->children[i], ikey);
	m->forward = false;
	merge_choose(m);
}

static void merge_first(struct iter *it)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		m->children[i]->ops->first(m->children[i]);
	m->forward = true;
	merge_choose(m);
}

static void merge_last(struct iter *it)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		m->children[i]->ops->last(m->children[i]);
	m->forward = false;
	merge_choose(m);
}

/* Put every child but the current one just behind (or before) the current key. */
static void merge_turn(struct merge *m, bool forward)
{
	for (size_t i = 0; i < m->count; i++) {
		struct iter *c = m->children[i];

		if (i == m->current)
			continue;
		if (forward)
			c->ops->seek(c, m->it.key);
		else
			c->ops->seek_prev(c, m->it.key);
	}
	m->forward = forward;
}

static void merge_next(struct iter *it)
{
	struct merge *m = (struct merge *)it;
	struct iter *c;

	assert(it->valid);
	if (!m->forward) {
		merge_turn(m, true);
		m->second = m->count;
		c = m->children[m->current];
		c->ops->next(c);
		merge_choose(m);
		return;
	}
	c = m->children[m->current];
	c->ops->next(c);
	if (c->valid &&
	    (m->second == m->count || ikey_compare(c->key, m->children[m->second]->key) < 0)) {
		it->key = c->key;
		it->value = c->value;
		return;
	}
	merge_choose(m);
}

static void merge_prev(struct iter *it)
{
	struct merge *m = (struct merge *)it;
	struct iter *c;

	assert(it->valid);
	if (m->forward)
		merge_turn(m, false);
	c = m->children[m->current];
	c->ops->prev(c);
	merge_choose(m);
}

static void merge_free(struct iter *it)
{
	struct merge *m = (struct merge *)it;

	for (size_t i = 0; i < m->count; i++)
		iter_free(m->children[i]);
	free(m->children);
	free(m);
}

static const struct iter_ops merge_ops = {
	.seek = merge_seek,
	.seek_prev = merge_seek_prev,
	.first = merge_first,
	.last = merge_last,
	.next = merge_next,
	.prev = merge_prev,
	.free = merge_free,
};

struct iter *merge_iter(struct iter **children, size_t count)
{
	struct merge *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	assert(children || !count);
	m->children = malloc((count + 1) * sizeof(*children));
	if (!m->children) {
		free(m);
		return NULL;
	}
	if (count)
		memcpy(m->children, children, count * sizeof(*children));
	m->it.ops = &merge_ops;
	m->count = m->current = m->second = count;
	return &m->it;
}

void merge_skip(struct iter *it, size_t rank, struct lsm_slice ikey)
{
	struct merge *m = (struct merge *)it;

	assert(it->ops == &merge_ops && m->forward);
	for (size_t i = rank + 1; i < m->count; i++) {
		struct iter *c = m->children[i];

		if (c->valid && ikey_compare(c->key, ikey) < 0)
			c->ops->seek(c, ikey);
	}
	merge_choose(m);
}

/* ---- the tables of a level, one after the other ---- */

struct level_cursor {
	struct iter it;
	struct table_env *env;
	struct table_meta **tables;
	size_t count;
	size_t at;        /* the table that `sub` is over */
	struct iter *sub; /* NULL: none open */
	bool fill_cache;
};

static void level_iter_close(struct level_cursor *c)
{
	iter_free(c->sub);
	c->sub = NULL;
}

static bool level_iter_open(struct level_cursor *c, size_t at)
{
	struct table *t;

	if (c->sub && c->at == at)
		return true;
	level_iter_close(c);
	c->at = at;
	c->it.err = table_acquire(c->env, c->tables[at]->number, c->tables[at]->bytes, &t);
	if (c->it.err)
		return false;
	c->sub = table_iter(t, c->fill_cache);
	table_release(t); /* the iterator has its own reference */
	if (!c->sub)
		c->it.err = -ENOMEM;
	return c->sub != NULL;
}

static void level_iter_show(struct level_cursor *c)
{
	c->it.valid = c->sub && c->sub->valid;
	if (c->it.valid) {
		c->it.key = c->sub->key;
		c->it.value = c->sub->value;
	} else if (c->sub && c->sub->err) {
		c->it.err = c->sub->err;
	}
}

/* If `sub` is at its end, go on to the next table that has an entry. */
static void level_iter_forward(struct level_cursor *c)
{
	while (!c->sub->valid && !c->sub->err && c->at + 1 < c->count) {
		if (!level_iter_open(c, c->at + 1))
			return;
		c->sub->ops->first(c->sub);
	}
	level_iter_show(c);
}

static void level_iter_backward(struct level_cursor *c)
{
	while (!c->sub->valid && !c->sub->err && c->at > 0) {
		if (!level_iter_open(c, c->at - 1))
			return;
		c->sub->ops->last(c->sub);
	}
	level_iter_show(c);
}

static void level_iter_seek(struct iter *it, struct lsm_slice ikey)
{
	struct level_cursor *c = (struct level_cursor *)it;
	size_t at = tables_find(c->tables, c->count, ikey_user(ikey));

	it->valid = false;
	it->err = 0;
	if (at == c->count || !level_iter_open(c, at))
		return;
	c->sub->ops->seek(c->sub, ikey);
	level_iter_forward(c);
}

static void level_iter_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	struct level_cursor *c = (struct level_cursor *)it;
	size_t at = tables_find(c->tables, c->count, ikey_user(ikey));

	it->valid = false;
	it->err = 0;
	if (!c->count || !level_iter_open(c, at < c->count ? at : c->count - 1))
		return;
	c->sub->ops->seek_prev(c->sub, ikey);
	level_iter_backward(c);
}

static void level_iter_first(struct iter *it)
{
	struct level_cursor *c = (struct level_cursor *)it;

	it->valid = false;
	it->err = 0;
	if (!c->count || !level_iter_open(c, 0))
		return;
	c->sub->ops->first(c->sub);
	level_iter_forward(c);
}

static void level_iter_last(struct iter *it)
{
	struct level_cursor *c = (struct level_cursor *)it;

	it->valid = false;
	it->err = 0;
	if (!c->count || !level_iter_open(c, c->count - 1))
		return;
	c->sub->ops->last(c->sub);
	level_iter_backward(c);
}

static void level_iter_next(struct iter *it)
{
	struct level_cursor *c = (struct level_cursor *)it;

	assert(it->valid);
	it->valid = false;
	c->sub->ops->next(c->sub);
	level_iter_forward(c);
}

static void level_iter_prev(struct iter *it)
{
	struct level_cursor *c = (struct level_cursor *)it;

	assert(it->valid);
	it->valid = false;
	c->sub->ops->prev(c->sub);
	level_iter_backward(c);
}

static void level_iter_free(struct iter *it)
{
	level_iter_close((struct level_cursor *)it);
	free(it);
}

static const struct iter_ops level_ops = {
	.seek = level_iter_seek,
	.seek_prev = level_iter_seek_prev,
	.first = level_iter_first,
	.last = level_iter_last,
	.next = level_iter_next,
	.prev = level_iter_prev,
	.free = level_iter_free,
};

struct iter *level_iter(struct table_env *env, const struct version *v, unsigned level,
			size_t first, size_t count, bool fill_cache)
{
	struct level_cursor *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	assert(level > 0 && first + count <= v->level[level].count);
	c->it.ops = &level_ops;
	c->env = env;
	c->tables = v->level[level].tables + first;
	c->count = count;
	c->fill_cache = fill_cache;
	return &c->it;
}

/* ---- a table that cannot be opened ---- */

struct lost_table {
	struct iter it;
	const struct table_meta *table;
	int open_err;
};

static void lost_iter_first(struct iter *it)
{
	it->err = ((const struct lost_table *)it)->open_err;
}

static void lost_iter_seek(struct iter *it, struct lsm_slice ikey)
{
	const struct lost_table *l = (struct lost_table *)it;

	it->err = table_meta_compare(l->table, ikey_user(ikey)) > 0 ? 0 : l->open_err;
}

static void lost_iter_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	const struct lost_table *l = (struct lost_table *)it;

	it->err = table_meta_compare(l->table, ikey_user(ikey)) < 0 ? 0 : l->open_err;
}

static void lost_iter_free(struct iter *it)
{
	free(it);
}

static const struct iter_ops lost_ops = {
	.seek = lost_iter_seek,
	.seek_prev = lost_iter_seek_prev,
	.first = lost_iter_first,
	.last = lost_iter_first,
	.next = lost_iter_first, /* next and prev are not called, as it is never valid */
	.prev = lost_iter_first,
	.free = lost_iter_free,
};

struct iter *lost_iter(const struct table_meta *t, int err)
{
	struct lost_table *l = calloc(1, sizeof(*l));

	assert(err < 0);
	if (!l)
		return NULL;
	l->open_err = err;
	l->it.ops = &lost_ops;
	l->table = t;
	return &l->it;
}
