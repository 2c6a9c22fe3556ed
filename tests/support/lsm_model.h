/*
 * model.h - a plain model of a store, for the tests that compare the two.
 *
 * The model knows a few hundred keys, sorted, and for each of them what its
 * value should be. A value is a window on an endless stream of bytes that
 * follows from a seed, so it takes 16 bytes here however large it is in the
 * store, and a slice of it is a window again.
 *
 * Every batch also puts its number under the counter key. After a crash the
 * number read from there says which batch was the last one to survive; the
 * model goes back to the state after it (it keeps what each batch changed), and
 * then everything must be equal.
 */
#ifndef TESTS_LSM_MODEL_H
#define TESTS_LSM_MODEL_H

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "lsm/lsm.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

#define MODEL_NONE SIZE_MAX
#define MODEL_BATCH_OPS_MAX 20

/* ---- values ---- */

#define MODEL_COUNTER_SEED (UINT64_C(1) << 63)

struct mval {
	uint64_t seed; /* 0: there is no value */
	uint32_t offset, size;
};

/* Eight bytes of a stream: one in four repeats for a while, and can be compressed. */
static inline uint64_t mval_word(uint64_t seed, uint64_t i)
{
	if (seed & MODEL_COUNTER_SEED)
		return i ? 0 : seed & ~MODEL_COUNTER_SEED;
	return rng_mix(seed + (seed & 3 ? i : i / 32) * UINT64_C(0x9e3779b97f4a7c15));
}

/* Bytes [from, from + size) of the value. */
static inline void mval_fill(struct mval v, size_t from, void *buf, size_t size)
{
	uint64_t at = v.offset + from;
	unsigned char *p = buf;

	while (size) {
		uint64_t word = htole64(mval_word(v.seed, at / 8));
		size_t skip = at % 8, n = 8 - skip;

		if (n > size)
			n = size;
		memcpy(p, (const unsigned char *)&word + skip, n);
		p += n;
		at += n;
		size -= n;
	}
}

/* Are these bytes [from, from + size) of the value? */
static inline bool mval_is_part(struct mval v, size_t from, const void *data, size_t size)
{
	unsigned char want[4096];

	for (size_t done = 0; done < size; done += sizeof(want)) {
		size_t n = size - done < sizeof(want) ? size - done : sizeof(want);

		mval_fill(v, from + done, want, n);
		if (memcmp((const char *)data + done, want, n))
			return false;
	}
	return true;
}

static inline bool mval_is(struct mval v, const void *data, size_t size)
{
	return v.seed && size == v.size && mval_is_part(v, 0, data, size);
}

static inline struct mval mval_counter(uint64_t batch)
{
	return (struct mval){MODEL_COUNTER_SEED | batch, 0, 8};
}

/* ---- keys and states ---- */

struct model_change {
	uint64_t batch;
	size_t key;
	struct mval old, new;
};

struct model {
	size_t keys_count;
	struct lsm_slice *keys; /* sorted; each owns its bytes */
	size_t counter;         /* which of them is the counter */
	struct mval *now;       /* of each key */
	uint64_t batch;         /* the last one in `now` */

	struct model_change *changes; /* oldest first */
	size_t changes_count, changes_capacity;
	size_t applied; /* how many of them are in `now` */

	char error[512]; /* what was found wrong */
};

static inline void *model_must(void *p)
{
	if (!p)
		bail("no memory");
	return p;
}

/* Note what is wrong; the first finding stays. Returns false. */
static inline bool model_wrong(struct model *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline bool model_wrong(struct model *m, const char *format, ...)
{
	va_list args;

	if (m->error[0])
		return false;
	va_start(args, format);
	vsnprintf(m->error, sizeof(m->error), format, args);
	va_end(args);
	return false;
}

static inline int model_compare(struct lsm_slice a, struct lsm_slice b)
{
	int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

	return c ? c : (a.size > b.size) - (a.size < b.size);
}

/* A readable form of a key, for messages: the last four stay good. */
static inline const char *model_name(struct lsm_slice key)
{
	static __thread char names[4][80];
	static __thread unsigned turn;
	char *name = names[turn++ % 4], *p = name;

	for (size_t i = 0; i < key.size && p < name + 60; i++) {
		unsigned char c = ((const unsigned char *)key.data)[i];

		p += c > ' ' && c < 127 ? sprintf(p, "%c", c) : sprintf(p, "\\x%02x", c);
	}
	sprintf(p, "%s(%zu)", p < name + 60 ? "" : "...", key.size);
	return name;
}

/*
 * Clusters as the filesystem makes them, keys that are prefixes of each other,
 * bytes 0 and 255 at the ends, and some that are very long.
 */
static inline size_t model_make_key(struct rng *r, unsigned char *key)
{
	size_t size;

	switch (rng_below(r, 8)) {
	case 0:
		size = 1 + rng_below(r, 6);
		for (size_t i = 0; i < size; i++)
			key[i] = (unsigned char)"\0\x01pq\xff"[rng_below(r, 5)];
		return size;
	case 1:
		size = 100 + rng_below(r, 400);
		if (rng_chance(r, 8))
			size = LSM_KEY_BYTES_MAX;
		memset(key, 'L', size);
		key[size - 1] = (unsigned char)rng_below(r, 256);
		key[size - 2] = (unsigned char)rng_below(r, 4);
		return size;
	case 2:
	case 3:
	case 4:
		memset(key, 0, 8);
		key[7] = (unsigned char)rng_below(r, 5);
		key[8] = 'N';
		return 9 + (size_t)sprintf((char *)key + 9, "file%u.c", rng_below(r, 400));
	default:
		return (size_t)sprintf((char *)key, "dir%02u/%04u", rng_below(r, 12),
				       rng_below(r, 300));
	}
}

static inline size_t model_find(const struct model *m, struct lsm_slice key, bool *exact)
{
	size_t low = 0, high = m->keys_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (model_compare(m->keys[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*exact = low < m->keys_count && !model_compare(m->keys[low], key);
	return low;
}

static inline void model_init(struct model *m, struct rng *r, size_t keys_count)
{
	static const char counter[] = {0, 's', 'e', 'q'};
	unsigned char key[LSM_KEY_BYTES_MAX + 64];
	bool exact;

	*m = (struct model){0};
	m->keys = model_must(calloc(keys_count, sizeof(m->keys[0])));
	m->now = model_must(calloc(keys_count, sizeof(m->now[0])));
	while (m->keys_count < keys_count) {
		struct lsm_slice new = {counter, sizeof(counter)};
		size_t at;
		void *copy;

		if (m->keys_count)
			new = (struct lsm_slice){key, model_make_key(r, key)};
		at = model_find(m, new, &exact);
		if (exact)
			continue;
		copy = model_must(malloc(new.size));
		memcpy(copy, new.data, new.size);
		memmove(m->keys + at + 1, m->keys + at, (m->keys_count - at) * sizeof(new));
		m->keys[at] = (struct lsm_slice){copy, new.size};
		m->keys_count++;
	}
	m->counter = model_find(m, (struct lsm_slice){counter, sizeof(counter)}, &exact);
}

static inline void model_release(struct model *m)
{
	for (size_t i = 0; i < m->keys_count; i++)
		free((void *)m->keys[i].data);
	free(m->keys);
	free(m->now);
	free(m->changes);
	*m = (struct model){0};
}

static inline struct mval *model_copy_state(const struct model *m)
{
	size_t size = m->keys_count * sizeof(m->now[0]);

	return memcpy(model_must(malloc(size)), m->now, size);
}

static inline void model_set(struct model *m, uint64_t batch, size_t key, struct mval value)
{
	if (m->changes_count == m->changes_capacity) {
		m->changes_capacity = m->changes_capacity ? m->changes_capacity * 2 : 256;
		m->changes = model_must(
			realloc(m->changes, m->changes_capacity * sizeof(m->changes[0])));
	}
	m->changes[m->changes_count++] = (struct model_change){batch, key, m->now[key], value};
	m->applied = m->changes_count;
	m->now[key] = value;
}

/* Go to the state after `batch`, back or forth, within what is remembered. */
static inline void model_go(struct model *m, uint64_t batch)
{
	while (m->applied && m->changes[m->applied - 1].batch > batch) {
		const struct model_change *c = &m->changes[--m->applied];

		m->now[c->key] = c->old;
	}
	while (m->applied < m->changes_count && m->changes[m->applied].batch <= batch) {
		const struct model_change *c = &m->changes[m->applied++];

		m->now[c->key] = c->new;
	}
	m->batch = batch;
}

/* The batches after this one never happened. */
static inline void model_truncate(struct model *m)
{
	m->changes_count = m->applied;
}

/* There is no way back from here. */
static inline void model_forget(struct model *m)
{
	m->changes_count = m->applied = 0;
}

/* ---- writing ---- */

struct model_mix {
	uint32_t batch_ops_max; /* 1 .. MODEL_BATCH_OPS_MAX */
	uint32_t small_max;     /* most values */
	uint32_t large_max;     /* one in `large_one_in` */
	uint32_t large_one_in;
	uint32_t huge_max; /* a very few of them */
	uint32_t range_keys_max;
};

enum model_op_kind { MODEL_PUT, MODEL_PUT_BORROWED, MODEL_SLICE, MODEL_DELETE, MODEL_RANGE };

struct model_op {
	enum model_op_kind kind;
	size_t key, end; /* `end` for ranges: one past the last key hit */
	struct mval value;
};

/* A batch for the store, and what it does in the model's terms. */
struct model_batch {
	struct lsm_batch *lsm_batch;
	uint64_t number;
	struct model_op ops[MODEL_BATCH_OPS_MAX + 1];
	size_t ops_count;
	void *borrowed[MODEL_BATCH_OPS_MAX];
	size_t borrowed_count;
};

static inline void model_batch_clear(struct model_batch *b)
{
	if (b->lsm_batch)
		lsm_batch_clear(b->lsm_batch);
	while (b->borrowed_count)
		free(b->borrowed[--b->borrowed_count]);
	b->ops_count = 0;
}

static inline void model_batch_release(struct model_batch *b)
{
	model_batch_clear(b);
	lsm_batch_free(b->lsm_batch);
	b->lsm_batch = NULL;
}

static inline struct mval model_new_value(struct rng *r, const struct model_mix *mix)
{
	struct mval v = {rng_next(r) >> 1 | 1 << 2, 0, 0};

	if (mix->huge_max && rng_chance(r, 1000))
		v.size = rng_below(r, mix->huge_max);
	else if (rng_chance(r, mix->large_one_in))
		v.size = rng_below(r, mix->large_max);
	else
		v.size = rng_below(r, mix->small_max);
	return v;
}

/* Some key of the model's that is not the counter. */
static inline size_t model_pick(const struct model *m, struct rng *r)
{
	size_t i = rng_below(r, (uint32_t)m->keys_count);

	return i == m->counter ? (i + 1) % m->keys_count : i;
}

/* A key to look for, in `buf`: the model's, or one near it that no batch writes. */
static inline struct lsm_slice model_any_key(const struct model *m, struct rng *r,
					     unsigned char *buf)
{
	struct lsm_slice key = m->keys[rng_below(r, (uint32_t)m->keys_count)];

	memcpy(buf, key.data, key.size);
	if (rng_chance(r, 6)) {
		unsigned char *last = &buf[key.size - 1];

		switch (rng_below(r, 4)) {
		case 0:
			if (key.size < LSM_KEY_BYTES_MAX)
				buf[key.size++] = 0;
			break;
		case 1:
			if (key.size > 1)
				key.size--;
			break;
		case 2:
			*last = (unsigned char)(*last + 1);
			break;
		default:
			*last = (unsigned char)(*last - 1);
		}
	}
	return (struct lsm_slice){buf, key.size};
}

static inline int model_add_put(const struct model *m, struct model_batch *b,
				const struct model_op *op)
{
	struct lsm_slice value = {NULL, op->value.size};
	void *bytes = model_must(malloc(value.size + 1));
	int err;

	mval_fill(op->value, 0, bytes, value.size);
	value.data = bytes;
	if (op->kind == MODEL_PUT_BORROWED) {
		b->borrowed[b->borrowed_count++] = bytes;
		return lsm_batch_put_borrowed(b->lsm_batch, m->keys[op->key], value);
	}
	err = lsm_batch_put(b->lsm_batch, m->keys[op->key], value);
	free(bytes);
	return err;
}

/* Put part of the present value of another key; 1 if there is none to share. */
static inline int model_add_slice(const struct model *m, struct model_batch *b, struct rng *r,
				  struct lsm *lsm, struct model_op *op)
{
	size_t from = model_pick(m, r);
	struct mval v = m->now[from];
	struct lsm_iter *it;
	int err;

	/* The largest of a few: those are what is shared in earnest. */
	for (int i = 0; i < 5; i++) {
		size_t other = model_pick(m, r);

		if (m->now[other].seed && (!v.seed || m->now[other].size > v.size)) {
			from = other;
			v = m->now[from];
		}
	}
	if (!v.seed || !v.size)
		return 1;
	it = lsm_iter_new(lsm, NULL);
	if (!it)
		return -ENOMEM;
	lsm_iter_seek(it, m->keys[from]);
	if (lsm_iter_valid(it)) {
		uint32_t offset = rng_chance(r, 3) ? 0 : rng_below(r, v.size);
		uint32_t size = 1 + rng_below(r, v.size - offset);

		if (rng_chance(r, 3))
			size = v.size - offset;
		op->value = (struct mval){v.seed, v.offset + offset, size};
		err = lsm_batch_put_slice(b->lsm_batch, m->keys[op->key], it, offset, size);
	} else {
		err = lsm_iter_status(it) ? lsm_iter_status(it) : -ENOENT;
	}
	lsm_iter_free(it);
	return err;
}

static inline int model_add_range(const struct model *m, struct model_batch *b, struct rng *r,
				  const struct model_mix *mix, struct model_op *op)
{
	unsigned char start_bytes[LSM_KEY_BYTES_MAX + 1], end_bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice start = model_any_key(m, r, start_bytes), end;
	bool exact;

	op->key = model_find(m, start, &exact);
	end = model_any_key(m, r, end_bytes);
	if (!rng_chance(r, 50)) {
		size_t last = op->key + rng_below(r, mix->range_keys_max);

		end = m->keys[last < m->keys_count ? last : m->keys_count - 1];
	}
	if (model_compare(start, end) >= 0)
		return 1;
	op->end = model_find(m, end, &exact);
	return lsm_batch_delete_range(b->lsm_batch, start, end);
}

/*
 * Make up a batch with the number `number` on the present state. The counter
 * comes last, so it survives the range tombstones before it. 0 or an error.
 */
static inline int model_build(const struct model *m, struct model_batch *b, struct rng *r,
			      struct lsm *lsm, const struct model_mix *mix, uint64_t number)
{
	size_t count = rng_chance(r, 4) ? 1 + rng_below(r, mix->batch_ops_max) : 1;
	struct model_op last = {.kind = MODEL_PUT, .key = m->counter};
	int err;

	if (!b->lsm_batch)
		b->lsm_batch = model_must(lsm_batch_new());
	model_batch_clear(b);
	b->number = number;
	while (b->ops_count < count) {
		struct model_op *op = &b->ops[b->ops_count];
		uint32_t kind = rng_below(r, 100);

		*op = (struct model_op){.kind = MODEL_PUT, .key = model_pick(m, r)};
		if (kind < 65) {
			op->kind = kind < 45 ? MODEL_PUT : MODEL_PUT_BORROWED;
			op->value = model_new_value(r, mix);
			err = model_add_put(m, b, op);
		} else if (kind < 73) {
			op->kind = MODEL_SLICE;
			err = model_add_slice(m, b, r, lsm, op);
		} else if (kind < 95) {
			op->kind = MODEL_DELETE;
			err = lsm_batch_delete(b->lsm_batch, m->keys[op->key]);
		} else {
			op->kind = MODEL_RANGE;
			err = model_add_range(m, b, r, mix, op);
		}
		if (err < 0)
			return err;
		if (err == 0)
			b->ops_count++;
	}
	last.value = mval_counter(number);
	b->ops[b->ops_count++] = last;
	return model_add_put(m, b, &last);
}

/* The batch was written. */
static inline void model_apply(struct model *m, const struct model_batch *b)
{
	for (size_t i = 0; i < b->ops_count; i++) {
		const struct model_op *op = &b->ops[i];

		if (op->kind == MODEL_RANGE) {
			for (size_t key = op->key; key < op->end; key++)
				if (m->now[key].seed)
					model_set(m, b->number, key, (struct mval){0});
		} else {
			model_set(m, b->number, op->key, op->value);
		}
	}
	m->batch = b->number;
}

/* ---- comparing ---- */

/* The next key that is there, from `at` up to `to`; the last one from `at` down to `from`. */
static inline size_t model_next(const struct mval *state, size_t at, size_t to)
{
	for (; at < to; at++)
		if (state[at].seed)
			return at;
	return MODEL_NONE;
}

static inline size_t model_prev(const struct mval *state, size_t at, size_t from)
{
	for (; at != MODEL_NONE && at >= from; at--)
		if (state[at].seed)
			return at;
	return MODEL_NONE;
}

/* Does the iterator stand on key `at` (MODEL_NONE: nowhere)? */
static inline bool model_check_at(struct model *m, const struct mval *state, struct lsm_iter *it,
				  size_t at, bool with_value)
{
	struct lsm_slice key, value;
	int err;

	if (!lsm_iter_valid(it)) {
		if (lsm_iter_status(it))
			return model_wrong(m, "iterator: error %d", lsm_iter_status(it));
		if (at != MODEL_NONE)
			return model_wrong(m, "iterator: at its end, want %s",
					   model_name(m->keys[at]));
		return true;
	}
	key = lsm_iter_key(it);
	if (at == MODEL_NONE)
		return model_wrong(m, "iterator: at %s, want the end", model_name(key));
	if (model_compare(key, m->keys[at]))
		return model_wrong(m, "iterator: at %s, want %s", model_name(key),
				   model_name(m->keys[at]));
	if (lsm_iter_size(it) != state[at].size)
		return model_wrong(m, "iterator: %s has %zu bytes, want %u", model_name(key),
				   lsm_iter_size(it), state[at].size);
	if (!with_value)
		return true;
	err = lsm_iter_value(it, &value);
	if (err)
		return model_wrong(m, "iterator: value of %s: error %d", model_name(key), err);
	if (!mval_is(state[at], value.data, value.size))
		return model_wrong(m, "iterator: %s has a wrong value", model_name(key));
	return true;
}

/* Everything, forwards with the values, or backwards without. */
static inline bool model_check_all(struct model *m, const struct mval *state, struct lsm *lsm,
				   const struct lsm_snapshot *snapshot, bool backwards)
{
	struct lsm_iter_options options = {.snapshot = snapshot, .no_cache = true};
	struct lsm_iter *it = lsm_iter_new(lsm, &options);
	size_t at;
	bool right;

	if (!it)
		return model_wrong(m, "no iterator");
	if (backwards) {
		lsm_iter_last(it);
		at = model_prev(state, m->keys_count - 1, 0);
		while ((right = model_check_at(m, state, it, at, false)) && at != MODEL_NONE) {
			lsm_iter_prev(it);
			at = model_prev(state, at - 1, 0);
		}
	} else {
		lsm_iter_first(it);
		at = model_next(state, 0, m->keys_count);
		while ((right = model_check_at(m, state, it, at, true)) && at != MODEL_NONE) {
			lsm_iter_next(it);
			at = model_next(state, at + 1, m->keys_count);
		}
	}
	lsm_iter_free(it);
	return right;
}

/* One key, in the model (at `at`) or not (MODEL_NONE). */
static inline bool model_check_get(struct model *m, const struct mval *state, struct lsm *lsm,
				   const struct lsm_snapshot *snapshot, struct lsm_slice key,
				   size_t at, struct lsm_value *value)
{
	int err = lsm_get(lsm, snapshot, key, value);
	bool there = at != MODEL_NONE && state[at].seed;

	if (err < 0)
		return model_wrong(m, "get %s: error %d", model_name(key), err);
	if (err != !there)
		return model_wrong(m, "get %s: %s, want %s", model_name(key),
				   err ? "absent" : "there", there ? "there" : "absent");
	if (there && !mval_is(state[at], value->data, value->size))
		return model_wrong(m, "get %s: a wrong value of %zu bytes, want %u",
				   model_name(key), value->size, state[at].size);
	return true;
}

/* The last batch that is in the store, 0 if none; an error as a negative number. */
static inline int64_t model_read_counter(const struct model *m, struct lsm *lsm)
{
	struct lsm_value value = {0};
	int64_t number = lsm_get(lsm, NULL, m->keys[m->counter], &value);
	uint64_t bytes;

	if (number == 1) {
		number = 0;
	} else if (number == 0) {
		number = -EPROTO;
		if (value.size == sizeof(bytes)) {
			memcpy(&bytes, value.data, sizeof(bytes));
			number = (int64_t)le64toh(bytes);
		}
	}
	lsm_value_release(&value);
	return number;
}

static inline void model_print_damage(void *ctx, const struct lsm_damage *damage)
{
	(void)ctx;
	printf("# damage: %s at %llu: %s\n", damage->file, (unsigned long long)damage->offset,
	       damage->reason);
}

static inline bool model_check_verify(struct model *m, struct lsm *lsm)
{
	int err = lsm_verify(lsm, model_print_damage, NULL, NULL, NULL);

	return err ? model_wrong(m, "lsm_verify: error %d", err) : true;
}

#endif
