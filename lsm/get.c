/*
 * get.c - looking up one key: lsm_get().
 *
 * Sources are asked newest first: the memtables, the tables of level 0, then one table of
 * each deeper level. The first that has the key, or a range tombstone over it, decides. That
 * is right because of the invariants at the top of version.c.
 */
#include "lsm/get.h"

#include "lsm/snapshot.h"
#include "lsm/view.h"

/* What one source, or all of them so far, say about a key. */
enum get_outcome {
	GET_NOT_HERE, /* nothing: older sources may have it */
	GET_FOUND,    /* a value */
	GET_DELETED   /* a tombstone, which hides what older sources have */
};

/* One look-up, and what it has learnt on its way down. */
struct lookup {
	struct lsm_slice key;
	uint64_t sequence; /* newer entries are not seen */
	enum get_outcome outcome;
	uint64_t covered; /* the newest range tombstone over the key so far; 0: none */
	/* of the entry that decided, unless that was a range tombstone */
	enum ikey_type type;
	uint64_t entry_sequence;
};

/* A source has an entry of the key: is it a value that nothing hides? */
static enum get_outcome get_decide(const struct lookup *l)
{
	return l->entry_sequence < l->covered || l->type == IKEY_DELETE ? GET_DELETED : GET_FOUND;
}

/* Ask the memtables. If the key is found, `*stored` points into one of them. */
static void get_in_memlogs(const struct view *view, struct lookup *l, struct lsm_slice *stored)
{
	for (size_t i = 0; l->outcome == GET_NOT_HERE && i < view->memlogs_count; i++) {
		const struct memtable *m = view->memlogs[i]->mem;

		if (memtable_ranges(m))
			l->covered = memtable_covering(m, l->key, l->sequence);
		if (memtable_get(m, l->key, l->sequence, &l->type, &l->entry_sequence, stored))
			l->outcome = get_decide(l);
		else if (l->covered)
			l->outcome = GET_DELETED;
	}
}

/* Ask one table. If the key is found, `stored` gets a copy. Returns 0 or an error. */
static int get_in_table(struct lsm *lsm, const struct table_meta *meta, struct lookup *l,
			struct lsm_value *stored)
{
	struct table *t;
	int err = table_acquire(&lsm->env, meta->number, meta->bytes, &t);

	if (err)
		return err;
	if (meta->ranges && table_ranges(t))
		l->covered = rangedel_covering(table_ranges(t), l->key, l->sequence);
	err = table_get(t, l->key, l->sequence, &l->type, &l->entry_sequence, stored);
	table_release(t);
	if (err == 0)
		l->outcome = get_decide(l);
	else if (err == LSM_ABSENT && l->covered)
		l->outcome = GET_DELETED;
	return err == LSM_ABSENT ? 0 : err;
}

/* Ask the tables of a version, as get_in_table() does for each. */
static int get_in_version(struct lsm *lsm, const struct version *v, struct lookup *l,
			  struct lsm_value *stored)
{
	int err = 0;

	for (size_t i = 0; !err && l->outcome == GET_NOT_HERE && i < v->level[0].count; i++)
		if (!table_meta_compare(v->level[0].tables[i], l->key))
			err = get_in_table(lsm, v->level[0].tables[i], l, stored);
	for (unsigned n = 1; !err && l->outcome == GET_NOT_HERE && n < LSM_LEVELS; n++) {
		size_t i = version_find(v, n, l->key);

		if (i < v->level[n].count && !table_meta_compare(v->level[n].tables[i], l->key))
			err = get_in_table(lsm, v->level[n].tables[i], l, stored);
	}
	return err;
}

int get_newest(struct lsm *lsm, struct lsm_slice key, uint64_t *sequence)
{
	struct lookup l = {.key = key, .sequence = tree_sequence(lsm)};
	struct view *view = view_current(lsm);
	struct lsm_value value = {0};
	struct lsm_slice stored;
	int err = 0;

	get_in_memlogs(view, &l, &stored);
	if (l.outcome == GET_NOT_HERE)
		err = get_in_version(lsm, view->version, &l, &value);
	*sequence = l.entry_sequence > l.covered ? l.entry_sequence : l.covered;
	lsm_value_release(&value);
	view_unref(view);
	if (err)
		return err;
	return l.outcome == GET_NOT_HERE ? LSM_ABSENT : 0;
}

/* Replace the reference in `value` by what it refers to. */
static int get_referred(struct lsm *lsm, struct lsm_slice key, struct lsm_value *value)
{
	struct lsm_value ref = *value;
	int err;

	*value = (struct lsm_value){0};
	err = tree_value(lsm, key, IKEY_PUT_REF, (struct lsm_slice){ref.data, ref.size}, value);
	lsm_value_release(&ref);
	return err;
}

int lsm_get(struct lsm *lsm, const struct lsm_snapshot *snapshot, struct lsm_slice key,
	    struct lsm_value *value)
{
	struct lookup l = {.key = key};
	struct lsm_slice stored;
	struct view *view;
	int err = 0;

	value->size = 0;
	if (!key.size || key.size > LSM_KEY_BYTES_MAX)
		return -EINVAL;
	/* The view first: it is complete up to any sequence that is read after it. */
	view = view_current(lsm);
	l.sequence = snapshot ? snapshot->sequence : tree_sequence(lsm);
	get_in_memlogs(view, &l, &stored);
	if (l.outcome == GET_FOUND) {
		err = tree_value(lsm, key, l.type, stored, value);
	} else if (l.outcome == GET_NOT_HERE) {
		err = get_in_version(lsm, view->version, &l, value);
		if (!err && l.outcome == GET_FOUND && l.type == IKEY_PUT_REF)
			err = get_referred(lsm, key, value);
	}
	view_unref(view);
	if (!err && l.outcome != GET_FOUND)
		err = LSM_ABSENT;
	if (err)
		value->size = 0;
	return err;
}
