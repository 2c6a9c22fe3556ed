#include "tests/support/lsm_bed.h"

#include <stdlib.h>

atomic_ulong bed_damaged_told;

static void bed_report(void *ctx, enum lsm_report_level level, const char *text)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR && strstr(text, "is not compacted any more"))
		atomic_fetch_add(&bed_damaged_told, 1);
}

void bed_open(struct bed *t)
{
	t->options.storage = t->st;
	t->options.create = true;
	t->options.report = bed_report;
	if (lsm_open("tree", &t->options, &t->lsm))
		bail("cannot open the tree");
}

struct bed bed_new(struct lsm_options options)
{
	struct bed t = {.st = storage_mem_new(), .options = options};

	if (!t.st)
		bail("no memory");
	bed_open(&t);
	return t;
}

void bed_reopen(struct bed *t)
{
	if (lsm_close(t->lsm))
		bail("cannot close the tree");
	bed_open(t);
}

void bed_release(struct bed *t)
{
	if (lsm_close(t->lsm))
		bail("cannot close the tree");
	t->st->ops->free(t->st);
}

struct lsm_slice bed_key(const char *key)
{
	return (struct lsm_slice){key, strlen(key)};
}

void bed_fill(unsigned char *value, size_t size, unsigned n)
{
	uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		value[i] = (unsigned char)x;
	}
}

void bed_write(struct bed *t, struct lsm_batch *b, int err)
{
	if (err || lsm_write(t->lsm, b, 0))
		bail("cannot write");
	lsm_batch_free(b);
}

int bed_try_put(struct bed *t, const char *key, size_t size, unsigned n)
{
	struct lsm_batch *b = lsm_batch_new();
	unsigned char *value = malloc(size + 1);
	int err;

	bed_fill(value, size, n);
	err = lsm_batch_put(b, bed_key(key), (struct lsm_slice){value, size});
	if (!err)
		err = lsm_write(t->lsm, b, 0);
	lsm_batch_free(b);
	free(value);
	return err;
}

void bed_put(struct bed *t, const char *key, size_t size, unsigned n)
{
	if (bed_try_put(t, key, size, n))
		bail("cannot put");
}

void bed_delete(struct bed *t, const char *key)
{
	struct lsm_batch *b = lsm_batch_new();

	bed_write(t, b, lsm_batch_delete(b, bed_key(key)));
}

void bed_delete_range(struct bed *t, const char *start, const char *end)
{
	struct lsm_batch *b = lsm_batch_new();

	bed_write(t, b, lsm_batch_delete_range(b, bed_key(start), bed_key(end)));
}

void bed_flush(struct bed *t)
{
	if (lsm_flush(t->lsm))
		bail("cannot flush");
}

int bed_compact(struct bed *t)
{
	struct lsm_slice all = {0};

	return lsm_compact(t->lsm, all, all, NULL, NULL);
}

bool bed_has(struct bed *t, const char *key, size_t size, unsigned n)
{
	unsigned char *want = malloc(size + 1);
	struct lsm_value v = {0};
	bool has;

	bed_fill(want, size, n);
	has = !lsm_get(t->lsm, NULL, bed_key(key), &v) && v.size == size &&
	      !memcmp(v.data, want, size);
	lsm_value_release(&v);
	free(want);
	return has;
}

struct lsm_stats bed_stats(struct bed *t)
{
	struct lsm_stats stats;

	lsm_stats(t->lsm, &stats);
	return stats;
}
