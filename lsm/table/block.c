/*
 * block.c - one block of sorted entries: the format, its builder, its search
 * and its cursor.
 *
 *   block   = entry* restart* | u32 restart count
 *   entry   = varint shared | varint unshared | varint value bytes
 *             | unshared bytes of the key | value
 *   restart = u32 offset of an entry in the block
 *
 * Keys are internal keys (ikey.h). An entry's key is the first `shared` bytes of
 * the key before it, then its own `unshared` bytes. Every restart_interval-th
 * entry, beginning with the first, is a restart point: it shares nothing, so a
 * search can begin there. Integers are little-endian.
 *
 * A block is valid if it obeys these rules; for any other the reader returns -EUCLEAN:
 *   - only bytes of user keys are shared: the trailer (sequence and type) of the
 *     key before is never a part of this key, and this key's own trailer is
 *     always whole in the entry;
 *   - `shared` is 0, or all that the two user keys have in common at the start.
 *     With these two rules block_find() compares entry after entry with the key it
 *     looks for, and never puts a key together;
 *   - a key is within the limits of ikey_valid();
 *   - the first restart is at 0; a block without entries has no restart.
 * The order of the keys is checked by table_verify(), not at every read.
 *
 * Limits: 4 GiB a block.
 *
 * Example: "ab" @2 put = "x", "ac" @1 delete
 *   00 0a 01  61 62 01 02 00 00 00 00 00 00  78
 *   01 09 00  63 00 01 00 00 00 00 00 00
 *   00 00 00 00  01 00 00 00
 */
#include <assert.h>

#include "lsm/table/block.h"

#include "lsm/base/report.h"

struct entry {
	size_t next; /* offset of the entry after it */
	size_t shared;
	struct lsm_slice delta; /* the rest of the key, trailer included */
	struct lsm_slice value;
};

/* The number of bytes that `a` and `b` have in common at the start, at most `size`. */
static size_t block_common_bytes(const uint8_t *a, const uint8_t *b, size_t size)
{
	size_t i = 0;

	for (; size - i >= 8; i += 8) {
		uint64_t difference = get_u64(a + i) ^ get_u64(b + i);

		if (difference)
			return i + (size_t)__builtin_ctzll(difference) / 8;
	}
	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* ---- building ---- */

void block_builder_init(struct block_builder *b)
{
	*b = (struct block_builder){.restart_interval = BLOCK_RESTART_INTERVAL};
}

void block_builder_release(struct block_builder *b)
{
	buf_release(&b->bytes);
	buf_release(&b->restarts);
	buf_release(&b->last_key);
	block_builder_init(b);
}

void block_builder_clear(struct block_builder *b)
{
	b->bytes.size = 0;
	b->restarts.size = 0;
	b->last_key.size = 0;
	b->since_restart = 0;
	b->entries = 0;
}

size_t block_builder_bytes(const struct block_builder *b)
{
	return b->bytes.size + b->restarts.size + sizeof(uint32_t);
}

int block_builder_add(struct block_builder *b, struct lsm_slice ikey, struct lsm_slice value)
{
	bool restart = !b->entries || b->since_restart >= b->restart_interval;
	size_t shared = 0, head = 3 * (size_t)VARINT64_BYTES_MAX;

	assert(ikey_valid(ikey));
	assert(!b->entries || ikey_compare(buf_slice(&b->last_key), ikey) < 0);
	if (block_builder_bytes(b) + head + ikey.size + value.size > UINT32_MAX)
		return -EFBIG;
	if (buf_reserve(&b->bytes, head + ikey.size + value.size) ||
	    buf_reserve(&b->restarts, sizeof(uint32_t)))
		return -ENOMEM;
	if (b->last_key.size < ikey.size && buf_reserve(&b->last_key, ikey.size - b->last_key.size))
		return -ENOMEM;

	/* Nothing fails from here on. */
	if (restart) {
		buf_add_u32(&b->restarts, (uint32_t)b->bytes.size);
		b->since_restart = 0;
	} else {
		size_t before = ikey_user(buf_slice(&b->last_key)).size;
		size_t size = ikey_user(ikey).size;

		shared = block_common_bytes(b->last_key.data, ikey.data,
					    size < before ? size : before);
	}
	buf_add_varint(&b->bytes, shared);
	buf_add_varint(&b->bytes, ikey.size - shared);
	buf_add_varint(&b->bytes, value.size);
	buf_add(&b->bytes, (const uint8_t *)ikey.data + shared, ikey.size - shared);
	buf_add(&b->bytes, value.data, value.size);
	b->last_key.size = shared;
	buf_add(&b->last_key, (const uint8_t *)ikey.data + shared, ikey.size - shared);
	b->since_restart++;
	b->entries++;
	return 0;
}

int block_builder_finish(struct block_builder *b, struct lsm_slice *block)
{
	uint32_t count = (uint32_t)(b->restarts.size / sizeof(uint32_t));
	size_t entries_bytes = b->bytes.size;

	*block = (struct lsm_slice){0};
	if (buf_add(&b->bytes, b->restarts.data, b->restarts.size) ||
	    buf_add_u32(&b->bytes, count)) {
		b->bytes.size = entries_bytes;
		return -ENOMEM;
	}
	*block = buf_slice(&b->bytes);
	return 0;
}

/* ---- decoding ---- */

static const uint8_t *block_bytes(struct lsm_slice block)
{
	return block.data;
}

static uint32_t block_restarts_count(struct lsm_slice block)
{
	return get_u32(block_bytes(block) + block.size - sizeof(uint32_t));
}

/* Where the entries end and the restarts begin. */
static size_t block_restarts_offset(struct lsm_slice block)
{
	return block.size - ((size_t)block_restarts_count(block) + 1) * sizeof(uint32_t);
}

static size_t block_restart_at(struct lsm_slice block, size_t i)
{
	return get_u32(block_bytes(block) + block_restarts_offset(block) + i * sizeof(uint32_t));
}

int block_check(struct lsm_slice block, const char **reason)
{
	size_t count;

	if (block.size < sizeof(uint32_t) || block.size > UINT32_MAX)
		return report_malformed(reason, "impossible size of a block");
	count = block_restarts_count(block);
	if (count > block.size / sizeof(uint32_t) - 1)
		return report_malformed(reason, "more restart points than the block has room for");
	if (!count != !block_restarts_offset(block) || (count && block_restart_at(block, 0) != 0))
		return report_malformed(reason,
					"the restart points do not begin at the first entry");
	return 0;
}

/*
 * Decode the entry at `at`, below `end`; the key before it has `before` bytes
 * (0 at a restart point). False if it is malformed.
 */
static bool block_entry_decode(const uint8_t *base, size_t end, size_t at, size_t before,
			       struct entry *e)
{
	const uint8_t *p = base + at, *limit = base + end;
	uint32_t shared, unshared, value_size;

	if (at >= end)
		return false;
	if (limit - p >= 3 && (p[0] | p[1] | p[2]) < 0x80) { /* nearly always */
		shared = p[0];
		unshared = p[1];
		value_size = p[2];
		p += 3;
	} else {
		p = get_varint32(p, limit, &shared);
		p = get_varint32(p, limit, &unshared);
		p = get_varint32(p, limit, &value_size);
		if (!p)
			return false;
	}
	if (unshared < IKEY_TRAILER_BYTES || unshared > IKEY_BYTES_MAX ||
	    (shared && (uint64_t)shared + IKEY_TRAILER_BYTES > before))
		return false;
	if ((size_t)shared + unshared <= IKEY_TRAILER_BYTES ||
	    (size_t)shared + unshared > IKEY_BYTES_MAX)
		return false;
	if (unshared > (size_t)(limit - p) || value_size > (size_t)(limit - p) - unshared)
		return false;
	if (p[unshared - IKEY_TRAILER_BYTES] > IKEY_TYPE_MAX)
		return false;
	e->shared = shared;
	e->delta = (struct lsm_slice){p, unshared};
	e->value = (struct lsm_slice){p + unshared, value_size};
	e->next = (size_t)(p - base) + unshared + value_size;
	return true;
}

static int block_entry_malformed(const char **reason)
{
	return report_malformed(reason, "entry is malformed");
}

/*
 * The offset of the last restart point below `ikey`, or of the first one. 0; -EUCLEAN, with
 * the reason in `found`.
 */
static int block_find_restart(struct lsm_slice block, struct lsm_slice ikey, size_t *at,
			      struct block_found *found)
{
	size_t low = 0, high = block_restarts_count(block), end = block_restarts_offset(block);
	struct entry e;

	*at = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		size_t offset = block_restart_at(block, middle);

		if (!block_entry_decode(block_bytes(block), end, offset, 0, &e))
			return block_entry_malformed(&found->reason);
		if (ikey_compare(e.delta, ikey) < 0) {
			low = middle + 1;
			*at = offset;
		} else {
			high = middle;
		}
	}
	return 0;
}

/* The position of an entry relative to the key that is looked for. */
enum side { BELOW, BELOW_SAME_USER, AT_SAME_USER, ABOVE };

/*
 * Compare entry `e` with `ikey`. The entry before `e` is below `ikey`. `*match` is the number of
 * bytes that the user keys of that entry and of `ikey` have in common at the start; it
 * becomes the same number for `e`.
 */
static enum side block_entry_side(const struct entry *e, struct lsm_slice ikey, size_t *match)
{
	struct lsm_slice user = ikey_user(ikey);
	const uint8_t *delta = e->delta.data, *want = (const uint8_t *)user.data + *match;
	size_t delta_size = e->delta.size - IKEY_TRAILER_BYTES, want_size = user.size - *match;
	size_t same;

	if (!e->shared) { /* perhaps a restart point, which does not say what it shares */
		*match = 0;
		want = user.data;
		want_size = user.size;
	}
	/* The byte that put the key before it below `ikey` is shared, so this key is below too. */
	if (e->shared > *match)
		return BELOW;
	/* It is above the key before it, on a byte which that key has in common with `ikey`. */
	if (e->shared < *match)
		return ABOVE;
	same = block_common_bytes(delta, want, delta_size < want_size ? delta_size : want_size);
	*match += same;
	if (same < delta_size && same < want_size)
		return delta[same] < want[same] ? BELOW : ABOVE;
	if (same < delta_size)
		return ABOVE;
	if (same < want_size)
		return BELOW;
	return ikey_get_trailer(e->delta) > ikey_get_trailer(ikey) ? BELOW_SAME_USER : AT_SAME_USER;
}

int block_find(struct lsm_slice block, struct lsm_slice ikey, struct block_found *found)
{
	size_t end = block_restarts_offset(block), at, before = 0, match = 0;
	enum side side = BELOW;
	struct entry e;
	int err;

	*found = (struct block_found){0};
	err = block_find_restart(block, ikey, &at, found);
	if (err)
		return err;
	for (; at < end; at = e.next) {
		if (!block_entry_decode(block_bytes(block), end, at, before, &e))
			return block_entry_malformed(&found->reason);
		side = block_entry_side(&e, ikey, &match);
		if (side >= AT_SAME_USER)
			break;
		found->after_newer = side == BELOW_SAME_USER;
		before = e.shared + e.delta.size;
	}
	if (at >= end)
		return LSM_ABSENT;
	found->value = e.value;
	found->trailer = ikey_get_trailer(e.delta);
	found->same_user = side == AT_SAME_USER;
	found->offset = at;
	found->next_offset = e.next;
	found->shared = e.shared;
	found->delta = e.delta;
	return 0;
}

/* ---- the cursor ---- */

static void block_cursor_end(struct block_cursor *c, int err)
{
	c->it.valid = false;
	c->it.err = err;
}

/*
 * Move the cursor to an entry whose key is `shared` bytes of `prefix`, then `delta`.
 * A key that shares nothing is used where it lies in the block. `prefix` may lie in the key
 * buffer, which is allocated once in its full size and never moves.
 */
static void block_cursor_stand(struct block_cursor *c, size_t offset, size_t next_offset,
			       const void *prefix, size_t shared, struct lsm_slice delta,
			       struct lsm_slice value)
{
	if (!shared) {
		c->it.key = delta;
	} else {
		c->key.size = 0;
		if (buf_reserve(&c->key, IKEY_BYTES_MAX)) {
			block_cursor_end(c, -ENOMEM);
			return;
		}
		memmove(c->key.data, prefix, shared);
		c->key.size = shared;
		buf_add(&c->key, delta.data, delta.size);
		c->it.key = buf_slice(&c->key);
	}
	c->it.value = value;
	c->it.valid = true;
	c->it.err = 0;
	c->offset = offset;
	c->next_offset = next_offset;
}

/* Whether `e` has more in common with the key before it than its `shared` says. */
static bool block_shares_more(struct lsm_slice before, const struct entry *e)
{
	return e->shared && e->shared + IKEY_TRAILER_BYTES < before.size &&
	       e->delta.size > IKEY_TRAILER_BYTES &&
	       ((const uint8_t *)before.data)[e->shared] == *(const uint8_t *)e->delta.data;
}

/* Go to the entry at `offset`; the key here is the one before it, unless `restart`. */
static void block_cursor_step(struct block_cursor *c, size_t offset, bool restart)
{
	size_t before = restart ? 0 : c->it.key.size;
	struct entry e;

	if (!restart && offset == c->restarts_offset)
		block_cursor_end(c, 0);
	else if (!block_entry_decode(block_bytes(c->block), c->restarts_offset, offset, before,
				     &e) ||
		 block_shares_more(c->it.key, &e))
		block_cursor_end(c, block_entry_malformed(&c->reason));
	else
		block_cursor_stand(c, offset, e.next, c->it.key.data, e.shared, e.delta, e.value);
}

/* Go to the entry that ends at `end`, from the last restart point before it. */
static void block_cursor_before(struct block_cursor *c, size_t end)
{
	size_t low = 0, high = c->restarts_count;

	if (!end) {
		block_cursor_end(c, 0);
		return;
	}
	while (high - low > 1) { /* the last restart below `end`; the first is 0 */
		size_t middle = low + (high - low) / 2;

		if (block_restart_at(c->block, middle) < end)
			low = middle;
		else
			high = middle;
	}
	block_cursor_step(c, block_restart_at(c->block, low), true);
	while (c->it.valid && c->next_offset < end)
		block_cursor_step(c, c->next_offset, false);
	if (c->it.valid && c->next_offset != end)
		block_cursor_end(c, block_entry_malformed(&c->reason));
}

static void block_cursor_first(struct iter *it)
{
	struct block_cursor *c = (struct block_cursor *)it;

	if (c->restarts_count)
		block_cursor_step(c, 0, true);
	else
		block_cursor_end(c, 0);
}

static void block_cursor_last(struct iter *it)
{
	struct block_cursor *c = (struct block_cursor *)it;

	block_cursor_before(c, c->restarts_offset);
}

static void block_cursor_next(struct iter *it)
{
	struct block_cursor *c = (struct block_cursor *)it;

	assert(it->valid);
	block_cursor_step(c, c->next_offset, false);
}

static void block_cursor_prev(struct iter *it)
{
	struct block_cursor *c = (struct block_cursor *)it;

	assert(it->valid);
	block_cursor_before(c, c->offset);
}

static void block_cursor_seek(struct iter *it, struct lsm_slice ikey)
{
	struct block_cursor *c = (struct block_cursor *)it;
	struct block_found found;
	int err = block_find(c->block, ikey, &found);

	c->reason = found.reason;
	if (err)
		block_cursor_end(c, err == LSM_ABSENT ? 0 : err);
	else
		block_cursor_stand(c, found.offset, found.next_offset, ikey.data, found.shared,
				   found.delta, found.value);
}

static void block_cursor_seek_prev(struct iter *it, struct lsm_slice ikey)
{
	struct block_cursor *c = (struct block_cursor *)it;
	struct block_found found;
	int err = block_find(c->block, ikey, &found);

	c->reason = found.reason;
	if (err < 0)
		block_cursor_end(c, err);
	else if (err == LSM_ABSENT)
		block_cursor_last(it);
	else if (found.same_user && found.trailer == ikey_get_trailer(ikey))
		block_cursor_stand(c, found.offset, found.next_offset, ikey.data, found.shared,
				   found.delta, found.value);
	else
		block_cursor_before(c, found.offset);
}

static void block_cursor_free(struct iter *it)
{
	block_cursor_release((struct block_cursor *)it);
}

static const struct iter_ops cursor_ops = {
	.seek = block_cursor_seek,
	.seek_prev = block_cursor_seek_prev,
	.first = block_cursor_first,
	.last = block_cursor_last,
	.next = block_cursor_next,
	.prev = block_cursor_prev,
	.free = block_cursor_free,
};

void block_cursor_init(struct block_cursor *c)
{
	*c = (struct block_cursor){.it.ops = &cursor_ops};
}

void block_cursor_reset(struct block_cursor *c, struct lsm_slice block)
{
	assert(!block_check(block, NULL));
	block_cursor_end(c, 0);
	c->it.key = c->it.value = (struct lsm_slice){0};
	c->block = block;
	c->offset = c->next_offset = 0;
	c->restarts_offset = block_restarts_offset(block);
	c->restarts_count = block_restarts_count(block);
}

void block_cursor_release(struct block_cursor *c)
{
	buf_release(&c->key);
	block_cursor_end(c, 0);
}

/* ---- the iterator on the heap ---- */

struct block_iter {
	struct block_cursor cursor;
	void (*done)(void *ctx);
	void *done_ctx;
};

static void block_iter_free(struct iter *it)
{
	struct block_iter *b = (struct block_iter *)it;

	block_cursor_release(&b->cursor);
	if (b->done)
		b->done(b->done_ctx);
	free(b);
}

static const struct iter_ops block_iter_ops = {
	.seek = block_cursor_seek,
	.seek_prev = block_cursor_seek_prev,
	.first = block_cursor_first,
	.last = block_cursor_last,
	.next = block_cursor_next,
	.prev = block_cursor_prev,
	.free = block_iter_free,
};

struct iter *block_iter(struct lsm_slice block, void (*done)(void *ctx), void *done_ctx)
{
	struct block_iter *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	block_cursor_init(&b->cursor);
	block_cursor_reset(&b->cursor, block);
	b->cursor.it.ops = &block_iter_ops;
	b->done = done;
	b->done_ctx = done_ctx;
	return &b->cursor.it;
}
