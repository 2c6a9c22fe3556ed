/*
 * mem_disk.c - the names of files on a disk, and in the cache before the disk, which a power
 * cut loses. The contents of files are in mem_node.c.
 *
 * There are the names as they are now, the names that are surely on disk, and the list
 * of changes between the two. A cut (mem_disk_cut) starts from the durable
 * names and applies any subset of the changes, in their order. A file has at most one name. A
 * rename that is applied removes the file's other name, also if the change that made that
 * name was not applied.
 */
#include "tests/storage/mem_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"

/* ---- files ---- */

static struct mem_node **mem_disk_nodes_at(const struct mem_disk *d, uint64_t id)
{
	size_t low = 0, high = d->nodes_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->nodes[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return d->nodes + low;
}

struct mem_node *mem_disk_by_id(const struct mem_disk *d, uint64_t id)
{
	struct mem_node **at = d->nodes_count ? mem_disk_nodes_at(d, id) : NULL;

	return at && at < d->nodes + d->nodes_count && (*at)->id == id ? *at : NULL;
}

/* A new node with the greatest id so far, no reference and no name. NULL: no memory. */
static struct mem_node *mem_disk_node_new(struct mem_disk *d, uint64_t id)
{
	struct mem_node *n;

	assert(!d->nodes_count || d->nodes[d->nodes_count - 1]->id < id);
	if (array_reserve(d->nodes, d->nodes_room, d->nodes_count + 1))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->id = id;
	n->disk_pages = &d->pages;
	d->nodes[d->nodes_count++] = n;
	return n;
}

static void mem_disk_node_unref(struct mem_disk *d, struct mem_node *n)
{
	struct mem_node **at;

	if (--n->refs)
		return;
	at = mem_disk_nodes_at(d, n->id);
	memmove(at, at + 1, (size_t)(d->nodes + --d->nodes_count - at) * sizeof(*at));
	mem_node_free(n);
}

static void mem_disk_node_set_linked(struct mem_disk *d, struct mem_node *n, bool linked)
{
	if (mem_node_is_live(n))
		d->pages -= n->pages;
	n->linked = linked;
	if (mem_node_is_live(n))
		d->pages += n->pages;
}

void mem_disk_take(struct mem_disk *d, struct mem_node *n)
{
	if (!mem_node_is_live(n))
		d->pages += n->pages;
	n->refs++;
	n->handles++;
}

void mem_disk_drop(struct mem_disk *d, struct mem_node *n)
{
	n->handles--;
	if (!mem_node_is_live(n))
		d->pages -= n->pages;
	mem_disk_node_unref(d, n);
}

/* ---- names ---- */

/* The index of `name`, or where it belongs. */
static size_t mem_names_at(const struct mem_names *names, const char *name, bool *found)
{
	size_t low = 0, high = names->count;

	*found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(names->v[mid].name, name);

		if (!c) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct mem_node *mem_names_find(const struct mem_names *names, const char *name)
{
	bool found;
	size_t at = mem_names_at(names, name, &found);

	return found ? names->v[at].node : NULL;
}

static int mem_names_reserve(struct mem_names *names, size_t more)
{
	return array_reserve(names->v, names->room, names->count + more);
}

static void mem_names_remove_at(struct mem_disk *d, struct mem_names *names, size_t at)
{
	struct mem_node *n;

	assert(names->v && at < names->count);
	n = names->v[at].node;
	names->count--;
	memmove(names->v + at, names->v + at + 1, (names->count - at) * sizeof(*names->v));
	if (names == &d->now)
		mem_disk_node_set_linked(d, n, false);
	mem_disk_node_unref(d, n);
}

/* Put `n` under `name`, for which room was reserved. */
static void mem_names_set(struct mem_disk *d, struct mem_names *names, const char *name,
			  struct mem_node *n)
{
	bool found;
	size_t at;

	n->refs++;
	at = mem_names_at(names, name, &found);
	if (found)
		mem_names_remove_at(d, names, at);
	assert(names->count < names->room);
	memmove(names->v + at + 1, names->v + at, (names->count - at) * sizeof(*names->v));
	names->count++;
	memset(&names->v[at], 0, sizeof(names->v[at]));
	strcpy(names->v[at].name, name);
	names->v[at].node = n;
	if (names == &d->now)
		mem_disk_node_set_linked(d, n, true);
}

/* Apply one change to `names`, which has room for one more. */
static void mem_disk_change_do(struct mem_disk *d, struct mem_names *names,
			       enum mem_change_kind kind, const char *name, struct mem_node *n)
{
	n->refs++;
	for (size_t i = names->count; i-- > 0 && kind != MEM_CREATED;)
		if (names->v[i].node == n &&
		    (kind == MEM_RENAMED || !strcmp(names->v[i].name, name)))
			mem_names_remove_at(d, names, i);
	if (kind != MEM_UNLINKED)
		mem_names_set(d, names, name, n);
	mem_disk_node_unref(d, n);
}

/* Change the names as they are now, and add the change to the list. 0; -ENOMEM. */
static int mem_disk_change_now(struct mem_disk *d, enum mem_change_kind kind, const char *name,
			       struct mem_node *n)
{
	struct mem_change *c;

	if (mem_names_reserve(&d->now, 1) ||
	    array_reserve(d->changes, d->changes_room, d->changes_count + 1))
		return -ENOMEM;
	c = &d->changes[d->changes_count++];
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->node = n;
	strcpy(c->name, name);
	n->refs++;
	mem_disk_change_do(d, &d->now, kind, name, n);
	return 0;
}

struct mem_node *mem_disk_find(const struct mem_disk *d, const char *name)
{
	return mem_names_find(&d->now, name);
}

int mem_disk_create(struct mem_disk *d, const char *name, struct mem_node **out)
{
	struct mem_node *n = mem_disk_node_new(d, d->next_id);
	int err;

	*out = NULL;
	if (!n)
		return -ENOMEM;
	n->refs++;
	err = mem_disk_change_now(d, MEM_CREATED, name, n);
	if (!err) {
		d->next_id++;
		*out = n;
	}
	mem_disk_node_unref(d, n);
	return err;
}

int mem_disk_rename(struct mem_disk *d, const char *from, const char *to)
{
	struct mem_node *n = mem_disk_find(d, from);

	if (!n)
		return -ENOENT;
	return strcmp(from, to) ? mem_disk_change_now(d, MEM_RENAMED, to, n) : 0;
}

int mem_disk_unlink(struct mem_disk *d, const char *name)
{
	struct mem_node *n = mem_disk_find(d, name);

	return n ? mem_disk_change_now(d, MEM_UNLINKED, name, n) : -ENOENT;
}

int mem_disk_sync_dir(struct mem_disk *d)
{
	if (mem_names_reserve(&d->durable, d->changes_count))
		return -ENOMEM;
	for (size_t i = 0; i < d->changes_count; i++) {
		struct mem_change *c = &d->changes[i];

		mem_disk_change_do(d, &d->durable, c->kind, c->name, c->node);
		mem_disk_node_unref(d, c->node);
	}
	d->changes_count = 0;
	return 0;
}

/* ---- whole disks ---- */

void mem_disk_release(struct mem_disk *d)
{
	for (size_t i = 0; i < d->nodes_count; i++) {
		assert(!d->nodes[i]->handles);
		mem_node_free(d->nodes[i]);
	}
	free(d->nodes);
	free(d->now.v);
	free(d->durable.v);
	free(d->changes);
	*d = (struct mem_disk){0};
}

static int mem_disk_clone_node(struct mem_disk *d, const struct mem_node *n)
{
	struct mem_node *copy = mem_disk_node_new(d, n->id);

	if (!copy)
		return -ENOMEM;
	return mem_node_clone(n, copy);
}

static int mem_disk_clone_names(struct mem_disk *d, struct mem_names *names,
				const struct mem_names *from)
{
	if (mem_names_reserve(names, from->count))
		return -ENOMEM;
	for (size_t i = 0; i < from->count; i++)
		mem_names_set(d, names, from->v[i].name, mem_disk_by_id(d, from->v[i].node->id));
	return 0;
}

int mem_disk_clone(const struct mem_disk *d, struct mem_disk *out)
{
	int err = 0;

	*out = (struct mem_disk){.next_id = d->next_id};
	/* A file without any name is not copied: no later cut can bring it back. */
	for (size_t i = 0; !err && i < d->nodes_count; i++)
		if (d->nodes[i]->refs > d->nodes[i]->handles)
			err = mem_disk_clone_node(out, d->nodes[i]);
	if (!err)
		err = mem_disk_clone_names(out, &out->now, &d->now);
	if (!err)
		err = mem_disk_clone_names(out, &out->durable, &d->durable);
	if (!err)
		err = array_reserve(out->changes, out->changes_room, d->changes_count);
	for (size_t i = 0; !err && i < d->changes_count; i++) {
		struct mem_change *c = &out->changes[out->changes_count++];

		*c = d->changes[i];
		c->node = mem_disk_by_id(out, c->node->id);
		c->node->refs++;
	}
	if (err)
		mem_disk_release(out);
	return err;
}

/* ---- the cut ---- */

/* Make `names` the names that a cut leaves, with references to the nodes of `d`. 0; -ENOMEM. */
static int mem_disk_cut_names(struct mem_disk *d, enum storage_mem_keep keep, struct mem_rng *rng,
			      struct mem_names *names)
{
	static const unsigned chances[] = {0, 20, 128, 236, 256};
	unsigned chance = chances[mem_rng_below(rng, 5)];

	if (mem_names_reserve(names, d->durable.count + d->changes_count))
		return -ENOMEM;
	for (size_t i = 0; i < d->durable.count; i++)
		mem_names_set(d, names, d->durable.v[i].name, d->durable.v[i].node);
	for (size_t i = 0; i < d->changes_count && keep != STORAGE_MEM_KEEP_NONE; i++) {
		const struct mem_change *c = &d->changes[i];

		if (keep == STORAGE_MEM_KEEP_ALL || mem_rng_below(rng, 256) < chance)
			mem_disk_change_do(d, names, c->kind, c->name, c->node);
	}
	return 0;
}

int mem_disk_cut(const struct mem_disk *d, enum storage_mem_keep keep, uint64_t seed,
		 struct mem_disk *out)
{
	/* Only counts of references are changed in it, and they are put back before the return. */
	struct mem_disk *from = (struct mem_disk *)d;
	struct mem_rng rng = {seed};
	struct mem_names names = {0};
	int err;

	*out = (struct mem_disk){0};
	err = mem_disk_cut_names(from, keep, &rng, &names);
	if (!err)
		err = mem_names_reserve(&out->now, names.count);
	if (!err)
		err = mem_names_reserve(&out->durable, names.count);
	for (size_t i = 0; !err && i < names.count; i++) {
		struct mem_node *n = mem_disk_node_new(out, out->next_id++);

		err = n ? mem_node_cut(names.v[i].node, keep, &rng, n) : -ENOMEM;
		if (err)
			break;
		mem_names_set(out, &out->now, names.v[i].name, n);
		mem_names_set(out, &out->durable, names.v[i].name, n);
	}
	while (names.count)
		mem_names_remove_at(from, &names, names.count - 1);
	free(names.v);
	if (err)
		mem_disk_release(out);
	return err;
}
