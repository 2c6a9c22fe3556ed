/*
 * table_fixture.h - tables built from a plain list of entries, in a storage whose
 * bytes a test can get at, and everything they answer compared with that list.
 */
#ifndef TESTS_LSM_TABLE_FIXTURE_H
#define TESTS_LSM_TABLE_FIXTURE_H

#include <errno.h>
#include <unistd.h>

#include "lsm/table/block.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"
#include "tests/support/tap.h"

static _Thread_local uint64_t rng_state = 88172645463325252u;
static inline uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* ---- a storage of a few files in memory, whose bytes the test can get at ---- */

#define FILES 8

struct file {
	struct storage_file base;
	char name[TABLE_NAME_BYTES];
	struct buf bytes;
	bool exists;
	int open;
};
static struct file files[FILES];
static int fail_reads_with, fail_writes_with, fail_syncs_with, fail_closes_with;

static inline struct file *file_named(const char *name)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].exists && !strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}
static inline int mem_open(struct storage *st, const char *name, enum storage_open how,
			   struct storage_file **out)
{
	struct file *f = file_named(name);

	*out = NULL;
	if (how != STORAGE_CREATE && !f)
		return -ENOENT;
	if (how == STORAGE_CREATE) {
		if (f)
			return -EEXIST;
		f = files;
		while (f < files + FILES && f->exists)
			f++;
		if (f == files + FILES)
			bail("too many files");
		f->exists = true;
		f->base.st = st;
		f->bytes.size = 0;
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	__atomic_add_fetch(&f->open, 1, __ATOMIC_SEQ_CST);
	*out = &f->base;
	return 0;
}
static inline int mem_unlink(struct storage *st, const char *name)
{
	struct file *f = file_named(name);

	(void)st;
	if (!f)
		return -ENOENT;
	f->exists = false;
	return 0;
}
static inline int mem_pread(struct storage_file *sf, void *buf, size_t size, uint64_t offset,
			    size_t *got)
{
	struct file *f = (struct file *)sf;

	*got = 0;
	if (fail_reads_with)
		return -fail_reads_with;
	if (offset < f->bytes.size)
		*got = size < f->bytes.size - offset ? size : f->bytes.size - offset;
	if (*got)
		memcpy(buf, f->bytes.data + offset, *got);
	return 0;
}
static inline int mem_pwritev(struct storage_file *sf, const struct iovec *iov, int count,
			      uint64_t offset)
{
	struct file *f = (struct file *)sf;

	if (fail_writes_with)
		return -fail_writes_with;
	if (offset != f->bytes.size)
		bail("a table is written from start to end");
	for (int i = 0; i < count; i++)
		if (buf_add(&f->bytes, iov[i].iov_base, iov[i].iov_len))
			bail("out of memory");
	return 0;
}
static inline int mem_sync(struct storage_file *sf)
{
	(void)sf;
	return -fail_syncs_with;
}
static inline int mem_size(struct storage_file *sf, uint64_t *size, uint64_t *allocated)
{
	*size = *allocated = ((struct file *)sf)->bytes.size;
	return 0;
}
static inline int mem_close(struct storage_file *sf)
{
	__atomic_sub_fetch(&((struct file *)sf)->open, 1, __ATOMIC_SEQ_CST);
	return -fail_closes_with;
}
static const struct storage_ops mem_ops = {
	.open = mem_open,
	.unlink = mem_unlink,
	.pread = mem_pread,
	.pwritev = mem_pwritev,
	.sync = mem_sync,
	.size = mem_size,
	.close = mem_close,
};
static struct storage mem = {.ops = &mem_ops};

static inline void mem_clear(void)
{
	for (int i = 0; i < FILES; i++) {
		if (files[i].open)
			bail("%s is still open", files[i].name);
		buf_release(&files[i].bytes);
		files[i].exists = false;
	}
}

/* ---- the model: what a table should hold ---- */

#define ENTRIES_MAX 3000

struct pair {
	struct ikey_buf key;
	struct buf value;
};
static struct pair pairs[ENTRIES_MAX];
static size_t pairs_count;

static inline struct lsm_slice text(const char *s)
{
	return (struct lsm_slice){s, strlen(s)};
}
static inline struct lsm_slice key_of(const struct pair *p)
{
	return (struct lsm_slice){p->key.bytes, p->key.size};
}
static inline struct lsm_slice user_of(const struct pair *p)
{
	return ikey_user(key_of(p));
}
static inline int pair_compare(const void *a, const void *b)
{
	return ikey_compare(key_of(a), key_of(b));
}
static inline void pairs_clear(void)
{
	for (size_t i = 0; i < pairs_count; i++)
		buf_release(&pairs[i].value);
	pairs_count = 0;
}
static inline struct pair *pair_add(struct lsm_slice user, uint64_t sequence, enum ikey_type type)
{
	struct pair *p = &pairs[pairs_count++];

	ikey_make(&p->key, user, sequence, type);
	p->value = (struct buf){0};
	return p;
}
static inline void pairs_sort(void)
{
	size_t n = 0;

	qsort(pairs, pairs_count, sizeof(pairs[0]), pair_compare);
	for (size_t i = 0; i < pairs_count; i++) {
		if (n && !pair_compare(&pairs[n - 1], &pairs[i])) {
			buf_release(&pairs[i].value);
			continue;
		}
		pairs[n++] = pairs[i];
	}
	pairs_count = n;
}

static inline struct lsm_slice random_user(char *space)
{
	static const char prefix[] = {'p', 'r', 'e', 'f', 'i', 'x'};
	size_t size = 1 + rng() % 5;

	memcpy(space, prefix, sizeof(prefix));
	for (size_t i = 0; i < size; i++)
		space[6 + i] = (char)('a' + rng() % 4);
	return rng() % 4 ? (struct lsm_slice){space, 6 + size} :
			   (struct lsm_slice){space + 6, size};
}

static inline void make_pairs(size_t count)
{
	char space[16];

	pairs_clear();
	while (pairs_count < count) {
		struct pair *p =
			pair_add(random_user(space), 1 + rng() % 20, (enum ikey_type)(rng() % 3));
		size_t size = rng() % 60;

		if (ikey_type(key_of(p)) == IKEY_DELETE)
			continue;
		for (size_t i = 0; i < size; i++) /* half compressible */
			buf_add(&p->value, rng() % 2 ? "x" : &(char){(char)rng()}, 1);
	}
	pairs_sort();
}

/* ---- building and opening ---- */

static struct table_env env;
static int reports;

static inline void on_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR && strstr(message, ".tab"))
		__atomic_add_fetch(&reports, 1, __ATOMIC_SEQ_CST);
}
static const struct report reporter = {on_report, NULL};

static inline void env_start(size_t cache_bytes)
{
	env.st = &mem;
	env.report = &reporter;
	env.cache = cache_new(cache_bytes);
	env.filter_negatives = env.filter_false_positives = 0;
	if (!env.cache)
		bail("cache_new");
}
static inline void env_stop(void)
{
	cache_free(env.cache);
	env.cache = NULL;
}

static const struct table_build_options plain = {.block_bytes = 4096};

struct range {
	uint64_t sequence;
	const char *start, *end;
};

static inline uint64_t build(uint64_t number, const struct table_build_options *options,
			     const struct range *ranges, size_t ranges_count)
{
	struct table_builder *b;
	uint64_t bytes, tombstones = 0;

	if (table_builder_new(&mem, number, options, &b))
		bail("table_builder_new");
	for (size_t i = 0; i < pairs_count; i++) {
		if (table_builder_add(b, key_of(&pairs[i]), buf_slice(&pairs[i].value)))
			bail("table_builder_add");
		tombstones += ikey_type(key_of(&pairs[i])) == IKEY_DELETE;
	}
	for (size_t i = 0; i < ranges_count; i++)
		if (table_builder_add_range(b, ranges[i].sequence, text(ranges[i].start),
					    text(ranges[i].end)))
			bail("table_builder_add_range");
	if (table_builder_finish(b, &bytes))
		bail("table_builder_finish");
	if (table_builder_entries(b) != pairs_count || table_builder_ranges(b) != ranges_count ||
	    table_builder_tombstones(b) != tombstones)
		bail("the builder counts wrong");
	table_builder_free(b);
	return bytes;
}
static inline struct buf *bytes_of(uint64_t number)
{
	char name[TABLE_NAME_BYTES];

	table_name(name, number);
	return &file_named(name)->bytes;
}
static inline struct table *acquire(uint64_t number, uint64_t bytes)
{
	struct table *t;

	if (table_acquire(&env, number, bytes, &t))
		bail("table_acquire");
	return t;
}

static int damages;
static struct lsm_damage last_damage;
static uint8_t damage_keys[2][LSM_KEY_BYTES_MAX];
static char damage_reason[100];
static inline void on_damage(void *ctx, const struct lsm_damage *damage)
{
	(void)ctx;
	damages++;
	last_damage = *damage;
	if (damage->first_key.size)
		memcpy(damage_keys[0], damage->first_key.data, damage->first_key.size);
	if (damage->last_key.size)
		memcpy(damage_keys[1], damage->last_key.data, damage->last_key.size);
	last_damage.first_key.data = damage_keys[0];
	last_damage.last_key.data = damage_keys[1];
	snprintf(damage_reason, sizeof(damage_reason), "%s", damage->reason);
}
/* `*ctx` is the pair expected next; entries in damaged blocks may be missing. */
static inline int on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	size_t *i = ctx;

	while (*i < pairs_count && slice_compare(key_of(&pairs[*i]), ikey))
		++*i;
	if (*i == pairs_count || slice_compare(buf_slice(&pairs[*i].value), value))
		return 77;
	++*i;
	return 0;
}
static inline int verify_between(uint64_t number, uint64_t bytes, struct lsm_slice smallest,
				 struct lsm_slice largest)
{
	size_t next = 0;
	int r;

	damages = 0;
	r = table_verify(&env, number, bytes, smallest, largest, on_damage, NULL, on_entry, &next);
	if ((r == -EUCLEAN) != (damages > 0))
		return -1000;
	return r;
}
static inline int verify(uint64_t number, uint64_t bytes)
{
	return verify_between(number, bytes, pairs_count ? user_of(&pairs[0]) : text(""),
			      pairs_count ? user_of(&pairs[pairs_count - 1]) : text(""));
}

/* ---- comparing ---- */

static inline ssize_t model_seek(struct lsm_slice key)
{
	size_t low = 0, high = pairs_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ikey_compare(key_of(&pairs[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low;
}
static inline ssize_t model_seek_prev(struct lsm_slice key)
{
	ssize_t i = model_seek(key);

	if ((size_t)i < pairs_count && !ikey_compare(key_of(&pairs[i]), key))
		return i;
	return i - 1;
}

/* 1: as it should be; 0: wrong; negative: the error. */
static inline int get_agrees(struct table *t, struct lsm_slice user, uint64_t sequence)
{
	struct lsm_value value = {0};
	struct ikey_buf space;
	ssize_t i = model_seek(ikey_make(&space, user, sequence, IKEY_TYPE_MAX));
	bool present = (size_t)i < pairs_count && !slice_compare(user_of(&pairs[i]), user);
	enum ikey_type type;
	uint64_t found;
	int r = table_get(t, user, sequence, &type, &found, &value), right;

	if (r < 0)
		right = r;
	else if (r == 1)
		right = !present;
	else
		right = present && found == ikey_sequence(key_of(&pairs[i])) &&
			type == ikey_type(key_of(&pairs[i])) &&
			!slice_compare((struct lsm_slice){value.data, value.size},
				       buf_slice(&pairs[i].value));
	free(value.data);
	return right;
}

static inline bool stands_on(const struct iter *it, ssize_t i)
{
	if (i < 0 || (size_t)i >= pairs_count)
		return !it->valid && !it->status;
	return it->valid && !it->status && !slice_compare(it->key, key_of(&pairs[i])) &&
	       !slice_compare(it->value, buf_slice(&pairs[i].value));
}

static inline bool walk_agrees(struct table *t, int steps, bool fill_cache)
{
	struct iter *it = table_iter(t, fill_cache);
	ssize_t at = -1;
	char space[16];
	struct ikey_buf k;
	bool right = true;

	if (!it)
		bail("table_iter");
	right &= !it->valid && !it->status;
	for (int i = 0; i < steps && right; i++) {
		struct lsm_slice key =
			ikey_make(&k, random_user(space), rng() % 22, (enum ikey_type)(rng() % 3));
		unsigned what = (unsigned)(rng() % (it->valid ? 40 : 4));

		if (what == 0) {
			it->ops->seek(it, key);
			at = model_seek(key);
		} else if (what == 1) {
			it->ops->seek_prev(it, key);
			at = model_seek_prev(key);
		} else if (what == 2) {
			it->ops->first(it);
			at = 0;
		} else if (what == 3) {
			it->ops->last(it);
			at = (ssize_t)pairs_count - 1;
		} else if (what < 22) {
			it->ops->next(it);
			at++;
		} else {
			it->ops->prev(it);
			at--;
		}
		right &= stands_on(it, at);
	}
	iter_free(it);
	return right;
}

static inline bool all_agree(struct table *t)
{
	struct iter *it = table_iter(t, true);
	bool right = true;
	size_t i = 0;

	if (!it)
		bail("table_iter");
	for (it->ops->first(it); it->valid; it->ops->next(it))
		right &= stands_on(it, (ssize_t)i++);
	right &= i == pairs_count && !it->status;
	for (it->ops->last(it); it->valid; it->ops->prev(it))
		right &= stands_on(it, (ssize_t)--i);
	right &= i == 0 && !it->status;
	iter_free(it);
	for (i = 0; i < pairs_count && right; i++) {
		uint64_t sequence = ikey_sequence(key_of(&pairs[i]));

		right &= get_agrees(t, user_of(&pairs[i]), sequence) == 1;
		right &= get_agrees(t, user_of(&pairs[i]), sequence - 1) == 1;
		right &= get_agrees(t, user_of(&pairs[i]), SEQUENCE_MAX) == 1;
	}
	return right;
}

#endif
