#include "tests/support/lsm_model.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/must.h"
#include "tests/support/print.h"

/* ---- keys and states ---- */

int lsm_model_compare(struct lsm_slice a, struct lsm_slice b)
{
	int c = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

	return c ? c : (a.size > b.size) - (a.size < b.size);
}

const char *lsm_model_name(struct lsm_slice key)
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
static size_t lsm_model_make_key(struct rng *r, unsigned char *key)
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

size_t lsm_model_find(const struct lsm_model *m, struct lsm_slice key, bool *exact)
{
	size_t low = 0, high = m->keys_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (lsm_model_compare(m->keys[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*exact = low < m->keys_count && !lsm_model_compare(m->keys[low], key);
	return low;
}

void lsm_model_init(struct lsm_model *m, struct rng *r, size_t keys_count)
{
	static const char counter[] = {0, 's', 'e', 'q'};
	unsigned char key[LSM_KEY_BYTES_MAX + 64];
	bool exact;

	*m = (struct lsm_model){0};
	m->keys = must_alloc(calloc(keys_count, sizeof(m->keys[0])));
	m->now = must_alloc(calloc(keys_count, sizeof(m->now[0])));
	while (m->keys_count < keys_count) {
		struct lsm_slice new = {counter, sizeof(counter)};
		size_t at;
		void *copy;

		if (m->keys_count)
			new = (struct lsm_slice){key, lsm_model_make_key(r, key)};
		at = lsm_model_find(m, new, &exact);
		if (exact)
			continue;
		copy = must_alloc(malloc(new.size));
		memcpy(copy, new.data, new.size);
		memmove(m->keys + at + 1, m->keys + at, (m->keys_count - at) * sizeof(new));
		m->keys[at] = (struct lsm_slice){copy, new.size};
		m->keys_count++;
	}
	m->counter = lsm_model_find(m, (struct lsm_slice){counter, sizeof(counter)}, &exact);
}

void lsm_model_release(struct lsm_model *m)
{
	for (size_t i = 0; i < m->keys_count; i++)
		free((void *)m->keys[i].data);
	free(m->keys);
	free(m->now);
	free(m->changes);
	*m = (struct lsm_model){0};
}

struct mval *lsm_model_copy_state(const struct lsm_model *m)
{
	size_t size = m->keys_count * sizeof(m->now[0]);

	return memcpy(must_alloc(malloc(size)), m->now, size);
}

static void lsm_model_set(struct lsm_model *m, uint64_t batch, size_t key, struct mval value)
{
	if (m->changes_count == m->changes_capacity) {
		m->changes_capacity = m->changes_capacity ? m->changes_capacity * 2 : 256;
		m->changes = must_alloc(
			realloc(m->changes, m->changes_capacity * sizeof(m->changes[0])));
	}
	m->changes[m->changes_count++] = (struct lsm_model_change){batch, key, m->now[key], value};
	m->applied = m->changes_count;
	m->now[key] = value;
}

void lsm_model_go(struct lsm_model *m, uint64_t batch)
{
	while (m->applied && m->changes[m->applied - 1].batch > batch) {
		const struct lsm_model_change *c = &m->changes[--m->applied];

		m->now[c->key] = c->old;
	}
	while (m->applied < m->changes_count && m->changes[m->applied].batch <= batch) {
		const struct lsm_model_change *c = &m->changes[m->applied++];

		m->now[c->key] = c->new;
	}
	m->batch = batch;
}

void lsm_model_truncate(struct lsm_model *m)
{
	m->changes_count = m->applied;
}

void lsm_model_forget(struct lsm_model *m)
{
	m->changes_count = m->applied = 0;
}

/* ---- writing ---- */

void lsm_model_batch_clear(struct lsm_model_batch *b)
{
	if (b->lsm_batch)
		lsm_batch_clear(b->lsm_batch);
	while (b->borrowed_count)
		free(b->borrowed[--b->borrowed_count]);
	b->ops_count = 0;
}

void lsm_model_batch_release(struct lsm_model_batch *b)
{
	lsm_model_batch_clear(b);
	lsm_batch_free(b->lsm_batch);
	b->lsm_batch = NULL;
}

static struct mval lsm_model_new_value(struct rng *r, const struct lsm_model_mix *mix)
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

size_t lsm_model_pick(const struct lsm_model *m, struct rng *r)
{
	size_t i = rng_below(r, (uint32_t)m->keys_count);

	return i == m->counter ? (i + 1) % m->keys_count : i;
}

struct lsm_slice lsm_model_any_key(const struct lsm_model *m, struct rng *r, unsigned char *buf)
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

static int lsm_model_add_put(const struct lsm_model *m, struct lsm_model_batch *b,
			     const struct lsm_model_op *op)
{
	struct lsm_slice value = {NULL, op->value.size};
	void *bytes = must_alloc(malloc(value.size + 1));
	int err;

	mval_fill(op->value, 0, bytes, value.size);
	value.data = bytes;
	if (op->kind == LSM_MODEL_PUT_BORROWED) {
		b->borrowed[b->borrowed_count++] = bytes;
		return lsm_batch_put_borrowed(b->lsm_batch, m->keys[op->key], value);
	}
	err = lsm_batch_put(b->lsm_batch, m->keys[op->key], value);
	free(bytes);
	return err;
}

/* Put part of the present value of another key; 1 if there is none to share. */
static int lsm_model_add_slice(const struct lsm_model *m, struct lsm_model_batch *b, struct rng *r,
			       struct lsm *lsm, struct lsm_model_op *op)
{
	size_t from = lsm_model_pick(m, r);
	struct mval v = m->now[from];
	struct lsm_iter *it;
	int err;

	/* The largest of a few, as only large values are really shared. */
	for (int i = 0; i < 5; i++) {
		size_t other = lsm_model_pick(m, r);

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

static int lsm_model_add_range(const struct lsm_model *m, struct lsm_model_batch *b, struct rng *r,
			       const struct lsm_model_mix *mix, struct lsm_model_op *op)
{
	unsigned char start_bytes[LSM_KEY_BYTES_MAX + 1], end_bytes[LSM_KEY_BYTES_MAX + 1];
	struct lsm_slice start = lsm_model_any_key(m, r, start_bytes), end;
	bool exact;

	op->key = lsm_model_find(m, start, &exact);
	end = lsm_model_any_key(m, r, end_bytes);
	if (!rng_chance(r, 50)) {
		size_t last = op->key + rng_below(r, mix->range_keys_max);

		end = m->keys[last < m->keys_count ? last : m->keys_count - 1];
	}
	if (lsm_model_compare(start, end) >= 0)
		return 1;
	op->end = lsm_model_find(m, end, &exact);
	return lsm_batch_delete_range(b->lsm_batch, start, end);
}

int lsm_model_build(const struct lsm_model *m, struct lsm_model_batch *b, struct rng *r,
		    struct lsm *lsm, const struct lsm_model_mix *mix, uint64_t number)
{
	size_t count = rng_chance(r, 4) ? 1 + rng_below(r, mix->batch_ops_max) : 1;
	struct lsm_model_op last = {.kind = LSM_MODEL_PUT, .key = m->counter};
	int err;

	if (!b->lsm_batch)
		b->lsm_batch = must_alloc(lsm_batch_new());
	lsm_model_batch_clear(b);
	b->number = number;
	while (b->ops_count < count) {
		struct lsm_model_op *op = &b->ops[b->ops_count];
		uint32_t kind = rng_below(r, 100);

		*op = (struct lsm_model_op){.kind = LSM_MODEL_PUT, .key = lsm_model_pick(m, r)};
		if (kind < 65) {
			op->kind = kind < 45 ? LSM_MODEL_PUT : LSM_MODEL_PUT_BORROWED;
			op->value = lsm_model_new_value(r, mix);
			err = lsm_model_add_put(m, b, op);
		} else if (kind < 73) {
			op->kind = LSM_MODEL_SLICE;
			err = lsm_model_add_slice(m, b, r, lsm, op);
		} else if (kind < 95) {
			op->kind = LSM_MODEL_DELETE;
			err = lsm_batch_delete(b->lsm_batch, m->keys[op->key]);
		} else {
			op->kind = LSM_MODEL_RANGE;
			err = lsm_model_add_range(m, b, r, mix, op);
		}
		if (err < 0)
			return err;
		if (err == 0)
			b->ops_count++;
	}
	last.value = mval_counter(number);
	b->ops[b->ops_count++] = last;
	return lsm_model_add_put(m, b, &last);
}

void lsm_model_apply(struct lsm_model *m, const struct lsm_model_batch *b)
{
	for (size_t i = 0; i < b->ops_count; i++) {
		const struct lsm_model_op *op = &b->ops[i];

		if (op->kind == LSM_MODEL_RANGE) {
			for (size_t key = op->key; key < op->end; key++)
				if (m->now[key].seed)
					lsm_model_set(m, b->number, key, (struct mval){0});
		} else {
			lsm_model_set(m, b->number, op->key, op->value);
		}
	}
	m->batch = b->number;
}

/* ---- comparing ---- */

size_t lsm_model_next(const struct mval *state, size_t at, size_t to)
{
	for (; at < to; at++)
		if (state[at].seed)
			return at;
	return LSM_MODEL_NONE;
}

size_t lsm_model_prev(const struct mval *state, size_t at, size_t from)
{
	for (; at != LSM_MODEL_NONE && at >= from; at--)
		if (state[at].seed)
			return at;
	return LSM_MODEL_NONE;
}

bool lsm_model_check_at(struct lsm_model *m, const struct mval *state, struct lsm_iter *it,
			size_t at, bool with_value)
{
	struct lsm_slice key, value;
	int err;

	if (!lsm_iter_valid(it)) {
		if (lsm_iter_status(it))
			return lsm_model_wrong(m, "iterator: error %d", lsm_iter_status(it));
		if (at != LSM_MODEL_NONE)
			return lsm_model_wrong(m, "iterator: at its end, want %s",
					       lsm_model_name(m->keys[at]));
		return true;
	}
	key = lsm_iter_key(it);
	if (at == LSM_MODEL_NONE)
		return lsm_model_wrong(m, "iterator: at %s, want the end", lsm_model_name(key));
	if (lsm_model_compare(key, m->keys[at]))
		return lsm_model_wrong(m, "iterator: at %s, want %s", lsm_model_name(key),
				       lsm_model_name(m->keys[at]));
	if (lsm_iter_size(it) != state[at].size)
		return lsm_model_wrong(m, "iterator: %s has %zu bytes, want %u",
				       lsm_model_name(key), lsm_iter_size(it), state[at].size);
	if (!with_value)
		return true;
	err = lsm_iter_value(it, &value);
	if (err)
		return lsm_model_wrong(m, "iterator: value of %s: error %d", lsm_model_name(key),
				       err);
	if (!mval_is(state[at], value.data, value.size))
		return lsm_model_wrong(m, "iterator: %s has a wrong value", lsm_model_name(key));
	return true;
}

bool lsm_model_check_all(struct lsm_model *m, const struct mval *state, struct lsm *lsm,
			 const struct lsm_snapshot *snapshot, bool backwards)
{
	struct lsm_iter_options options = {.snapshot = snapshot, .no_cache = true};
	struct lsm_iter *it = lsm_iter_new(lsm, &options);
	size_t at;
	bool right;

	if (!it)
		return lsm_model_wrong(m, "no iterator");
	if (backwards) {
		lsm_iter_last(it);
		at = lsm_model_prev(state, m->keys_count - 1, 0);
		while ((right = lsm_model_check_at(m, state, it, at, false)) &&
		       at != LSM_MODEL_NONE) {
			lsm_iter_prev(it);
			at = lsm_model_prev(state, at - 1, 0);
		}
	} else {
		lsm_iter_first(it);
		at = lsm_model_next(state, 0, m->keys_count);
		while ((right = lsm_model_check_at(m, state, it, at, true)) &&
		       at != LSM_MODEL_NONE) {
			lsm_iter_next(it);
			at = lsm_model_next(state, at + 1, m->keys_count);
		}
	}
	lsm_iter_free(it);
	return right;
}

bool lsm_model_check_get(struct lsm_model *m, const struct mval *state, struct lsm *lsm,
			 const struct lsm_snapshot *snapshot, struct lsm_slice key, size_t at,
			 struct lsm_value *value)
{
	int err = lsm_get(lsm, snapshot, key, value);
	bool there = at != LSM_MODEL_NONE && state[at].seed;

	if (err < 0)
		return lsm_model_wrong(m, "get %s: error %d", lsm_model_name(key), err);
	if (err != !there)
		return lsm_model_wrong(m, "get %s: %s, want %s", lsm_model_name(key),
				       err ? "absent" : "there", there ? "there" : "absent");
	if (there && !mval_is(state[at], value->data, value->size))
		return lsm_model_wrong(m, "get %s: a wrong value of %zu bytes, want %u",
				       lsm_model_name(key), value->size, state[at].size);
	return true;
}

int64_t lsm_model_read_counter(const struct lsm_model *m, struct lsm *lsm)
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

bool lsm_model_check_verify(struct lsm_model *m, struct lsm *lsm)
{
	int err = lsm_verify(lsm, print_damage, NULL, NULL, NULL);

	return err ? lsm_model_wrong(m, "lsm_verify: error %d", err) : true;
}
