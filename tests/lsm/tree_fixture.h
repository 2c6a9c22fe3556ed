/*
 * tree_fixture.h - a tree over a storage in memory, and short words for what tests do with
 * it. They bail when what cannot fail fails.
 */
#ifndef TESTS_LSM_TREE_FIXTURE_H
#define TESTS_LSM_TREE_FIXTURE_H

#include <errno.h>
#include <stdatomic.h>

#include "lsm/lsm.h"
#include "tests/storage/storage_mem.h"
#include "tests/tap.h"

struct tree {
	struct storage *st;
	struct lsm_options options;
	struct lsm *lsm;
};

static atomic_ulong tree_damaged_told; /* reports that a table is not compacted any more */

static inline void tree_report(void *ctx, enum lsm_report_level level, const char *text)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR && strstr(text, "is not compacted any more"))
		atomic_fetch_add(&tree_damaged_told, 1);
}

static inline void tree_open(struct tree *t)
{
	t->options.storage = t->st;
	t->options.create = true;
	t->options.report = tree_report;
	if (lsm_open("tree", &t->options, &t->lsm))
		bail("cannot open the tree");
}

static inline struct tree tree_new(struct lsm_options options)
{
	struct tree t = {.st = storage_mem_new(), .options = options};

	if (!t.st)
		bail("no memory");
	tree_open(&t);
	return t;
}

static inline void tree_reopen(struct tree *t)
{
	if (lsm_close(t->lsm))
		bail("cannot close the tree");
	tree_open(t);
}

static inline void tree_release(struct tree *t)
{
	if (lsm_close(t->lsm))
		bail("cannot close the tree");
	t->st->ops->free(t->st);
}

static inline struct lsm_slice tree_key(const char *key)
{
	return (struct lsm_slice){key, strlen(key)};
}

/* `size` bytes that are hard to compress, another row for each `n`. */
static inline void tree_fill(unsigned char *value, size_t size, unsigned n)
{
	uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		value[i] = (unsigned char)x;
	}
}

static inline void tree_write(struct tree *t, struct lsm_batch *b, int err)
{
	if (err || lsm_write(t->lsm, b, 0))
		bail("cannot write");
	lsm_batch_free(b);
}

static inline int tree_try_put(struct tree *t, const char *key, size_t size, unsigned n)
{
	struct lsm_batch *b = lsm_batch_new();
	unsigned char *value = malloc(size + 1);
	int err;

	tree_fill(value, size, n);
	err = lsm_batch_put(b, tree_key(key), (struct lsm_slice){value, size});
	if (!err)
		err = lsm_write(t->lsm, b, 0);
	lsm_batch_free(b);
	free(value);
	return err;
}

static inline void tree_put(struct tree *t, const char *key, size_t size, unsigned n)
{
	if (tree_try_put(t, key, size, n))
		bail("cannot put");
}

static inline void tree_delete(struct tree *t, const char *key)
{
	struct lsm_batch *b = lsm_batch_new();

	tree_write(t, b, lsm_batch_delete(b, tree_key(key)));
}

static inline void tree_delete_range(struct tree *t, const char *start, const char *end)
{
	struct lsm_batch *b = lsm_batch_new();

	tree_write(t, b, lsm_batch_delete_range(b, tree_key(start), tree_key(end)));
}

static inline void tree_flush(struct tree *t)
{
	if (lsm_flush(t->lsm))
		bail("cannot flush");
}

static inline int tree_compact(struct tree *t)
{
	struct lsm_slice all = {0};

	return lsm_compact(t->lsm, all, all, NULL, NULL);
}

/* Whether the key has what tree_put() gave it. */
static inline bool tree_has(struct tree *t, const char *key, size_t size, unsigned n)
{
	unsigned char *want = malloc(size + 1);
	struct lsm_value v = {0};
	bool has;

	tree_fill(want, size, n);
	has = !lsm_get(t->lsm, NULL, tree_key(key), &v) && v.size == size &&
	      !memcmp(v.data, want, size);
	lsm_value_release(&v);
	free(want);
	return has;
}

static inline struct lsm_stats tree_stats(struct tree *t)
{
	struct lsm_stats stats;

	lsm_stats(t->lsm, &stats);
	return stats;
}

/* Whether the condition becomes true within ten seconds. */
#define tree_soon(condition)                                                                       \
	({                                                                                         \
		for (int tree_tries = 0; tree_tries < 1000 && !(condition); tree_tries++)          \
			usleep(10000);                                                             \
		(condition);                                                                       \
	})

#endif
