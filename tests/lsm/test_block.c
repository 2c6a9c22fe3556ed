/* Blocks: the bytes, searching, cursors both ways, and any bytes at all. */
#include <errno.h>
#include <unistd.h>

#include "lsm/table/block.h"
#include "tests/support/tap.h"

#define ENTRIES_MAX 200

static uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

struct pair {
	struct ikey_buf key;
	uint8_t value[300];
	size_t value_size;
};
static struct pair pairs[ENTRIES_MAX];
static size_t pairs_count;

static struct lsm_slice key_of(const struct pair *p)
{
	return (struct lsm_slice){p->key.bytes, p->key.size};
}
static int pair_compare(const void *a, const void *b)
{
	return ikey_compare(key_of(a), key_of(b));
}

/* A short alphabet that has the trailers' bytes in it too, so that prefixes collide. */
static struct lsm_slice random_key(struct ikey_buf *k)
{
	static const uint8_t alphabet[] = {0, 1, 2, 'a', 0xff};
	uint8_t user[24];
	size_t size = 1 + rng() % (rng() % 4 ? 4 : 24);

	for (size_t i = 0; i < size; i++)
		user[i] = alphabet[rng() % sizeof(alphabet)];
	return ikey_make(k, (struct lsm_slice){user, size}, rng() % 6, (enum ikey_type)(rng() % 3));
}

static void make_pairs(size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct pair *p = &pairs[i];

		random_key(&p->key);
		p->value_size = rng() % 8 ? rng() % 10 : rng() % sizeof(p->value);
		for (size_t j = 0; j < p->value_size; j++)
			p->value[j] = (uint8_t)rng();
	}
	qsort(pairs, count, sizeof(pairs[0]), pair_compare);
	for (size_t i = 0; i < count; i++)
		if (!n || pair_compare(&pairs[n - 1], &pairs[i]))
			pairs[n++] = pairs[i];
	pairs_count = n;
}

static struct lsm_slice build(struct block_builder *b, unsigned interval)
{
	struct lsm_slice block;
	size_t promised;

	block_builder_clear(b);
	b->restart_interval = interval;
	for (size_t i = 0; i < pairs_count; i++)
		if (block_builder_add(b, key_of(&pairs[i]),
				      (struct lsm_slice){pairs[i].value, pairs[i].value_size}))
			bail("block_builder_add");
	promised = block_builder_bytes(b);
	if (block_builder_finish(b, &block) || block.size != promised)
		bail("block_builder_finish");
	return block;
}

static bool stands_on(const struct iter *it, ssize_t i)
{
	if (i < 0 || (size_t)i >= pairs_count)
		return !it->valid && !it->status;
	return it->valid && !it->status && !slice_compare(it->key, key_of(&pairs[i])) &&
	       it->value.size == pairs[i].value_size &&
	       (!it->value.size || !memcmp(it->value.data, pairs[i].value, it->value.size));
}

/* The first pair at or above `key`. */
static ssize_t model_seek(struct lsm_slice key)
{
	size_t i = 0;

	while (i < pairs_count && ikey_compare(key_of(&pairs[i]), key) < 0)
		i++;
	return (ssize_t)i;
}
static ssize_t model_seek_prev(struct lsm_slice key)
{
	ssize_t i = model_seek(key);

	if ((size_t)i < pairs_count && !ikey_compare(key_of(&pairs[i]), key))
		return i;
	return i - 1;
}

static bool find_agrees(struct lsm_slice block, struct lsm_slice key)
{
	ssize_t i = model_seek(key);
	struct block_found found;
	int r = block_find(block, key, &found);
	bool newer = i > 0 && !slice_compare(ikey_user(key_of(&pairs[i - 1])), ikey_user(key));

	if (found.after_newer != newer)
		return false;
	if ((size_t)i == pairs_count)
		return r == 1;
	return !r && found.trailer == ikey_get_trailer(key_of(&pairs[i])) &&
	       found.value.size == pairs[i].value_size &&
	       (!found.value.size || !memcmp(found.value.data, pairs[i].value, found.value.size)) &&
	       found.same_user == !slice_compare(ikey_user(key_of(&pairs[i])), ikey_user(key));
}

/* Random steps of `it` beside an index into the pairs. */
static bool walk_agrees(struct iter *it, int steps)
{
	ssize_t at = -1;
	struct ikey_buf k;
	struct lsm_slice key;

	it->ops->first(it);
	at = 0;
	for (int i = 0; i < steps; i++) {
		if (!stands_on(it, at))
			return false;
		switch (rng() % (it->valid ? 12 : 4)) {
		case 0:
			key = random_key(&k);
			it->ops->seek(it, key);
			at = model_seek(key);
			break;
		case 1:
			key = random_key(&k);
			it->ops->seek_prev(it, key);
			at = model_seek_prev(key);
			break;
		case 2:
			it->ops->first(it);
			at = 0;
			break;
		case 3:
			it->ops->last(it);
			at = (ssize_t)pairs_count - 1;
			break;
		case 4: /* to where it is: the key may be in the cursor's own buffer */
			it->ops->seek(it, it->key);
			break;
		case 5:
		case 6:
		case 7:
		case 8:
			it->ops->next(it);
			at++;
			break;
		default:
			it->ops->prev(it);
			at--;
		}
		if (pairs_count == 0)
			at = -1;
	}
	return true;
}

static void test_hex(void)
{
	/* The example at the top of block.c. */
	static const uint8_t want[] = {
		0x00, 0x0a, 0x01, 0x61, 0x62, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0x78, 0x01, 0x09, 0x00,
		0x63, 0x00, 0x01, 0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 1,    0,    0,    0,
	};
	struct block_builder b;
	struct lsm_slice block;
	struct ikey_buf k;

	block_builder_init(&b);
	block_builder_add(&b, ikey_make(&k, (struct lsm_slice){"ab", 2}, 2, IKEY_PUT),
			  (struct lsm_slice){"x", 1});
	block_builder_add(&b, ikey_make(&k, (struct lsm_slice){"ac", 2}, 1, IKEY_DELETE),
			  (struct lsm_slice){0});
	is_int(block_builder_finish(&b, &block), 0, "a block of two entries");
	is_mem(block.data, block.size, want, sizeof(want), "is the documented example");
	block_builder_release(&b);
}

static void test_empty(void)
{
	struct block_builder b;
	struct block_cursor c;
	struct lsm_slice block;
	struct block_found found;
	struct ikey_buf k;

	pairs_count = 0;
	block_builder_init(&b);
	block = build(&b, 16);
	is_int(block_check(block), 0, "an empty block is a block");
	is_int(block_find(block, random_key(&k), &found), 1, "with nothing in it");
	block_cursor_init(&c);
	block_cursor_reset(&c, block);
	ok(walk_agrees(&c.it, 50), "and a cursor finds nothing either way");
	block_cursor_release(&c);
	block_builder_release(&b);
}

static void test_random(void)
{
	static const unsigned intervals[] = {1, 2, 16, 1000};
	bool find_ok = true, walk_ok = true, every_ok = true;
	struct block_builder b;
	struct block_cursor c;
	struct ikey_buf k;

	block_builder_init(&b);
	block_cursor_init(&c);
	for (int round = 0; round < 300; round++) {
		struct lsm_slice block;
		size_t i = 0;

		make_pairs(1 + rng() % ENTRIES_MAX);
		block = build(&b, intervals[round % 4]);
		if (block_check(block))
			bail("block_check");
		for (int j = 0; j < 50; j++)
			find_ok &= find_agrees(block, random_key(&k));
		for (size_t j = 0; j < pairs_count; j++)
			find_ok &= find_agrees(block, key_of(&pairs[j]));
		block_cursor_reset(&c, block);
		for (c.it.ops->first(&c.it); c.it.valid; c.it.ops->next(&c.it))
			every_ok &= stands_on(&c.it, (ssize_t)i++);
		every_ok &= i == pairs_count && !c.it.status;
		for (c.it.ops->last(&c.it); c.it.valid; c.it.ops->prev(&c.it))
			every_ok &= stands_on(&c.it, (ssize_t)--i);
		every_ok &= i == 0 && !c.it.status;
		walk_ok &= walk_agrees(&c.it, 300);
	}
	ok(every_ok, "every entry forwards and backwards");
	ok(find_ok, "block_find agrees with a sorted array");
	ok(walk_ok, "a cursor at random agrees with a sorted array");
	block_cursor_release(&c);
	block_builder_release(&b);
}

/* Whatever the bytes: nothing outside them is read (the sanitizers watch), and it ends. */
static void test_damage(void)
{
	struct block_builder b;
	struct block_cursor c;
	struct ikey_buf k;
	uint64_t refused = 0, broken = 0, steps_max = 0;

	block_builder_init(&b);
	block_cursor_init(&c);
	for (int round = 0; round < 20000; round++) {
		struct lsm_slice block;
		struct block_found found;
		uint64_t steps = 0;
		uint8_t *bytes;

		if (round % 50 == 0)
			make_pairs(1 + rng() % 40);
		block = build(&b, round % 2 ? 16 : 3);
		if (rng() % 4 == 0)
			block.size = rng() % block.size;
		/* exactly as large as the block: one byte too far is seen */
		bytes = malloc(block.size ? block.size : 1);
		if (!bytes)
			bail("malloc");
		memcpy(bytes, block.data, block.size);
		block.data = bytes;
		for (unsigned n = (unsigned)(rng() % 4); n && block.size; n--) {
			size_t tail = block.size < 30 ? block.size : 30; /* mostly restarts */
			size_t at = rng() % 3 ? rng() % block.size : block.size - 1 - rng() % tail;

			bytes[at] = (uint8_t)(rng() % 3 ? rng() : rng() % 4);
		}
		if (block_check(block)) {
			refused++;
			free(bytes);
			continue;
		}
		block_cursor_reset(&c, block);
		for (c.it.ops->first(&c.it); c.it.valid; c.it.ops->next(&c.it))
			steps++;
		broken += c.it.status == -EUCLEAN;
		for (c.it.ops->last(&c.it); c.it.valid && steps < 10000; c.it.ops->prev(&c.it))
			steps++;
		c.it.ops->seek(&c.it, random_key(&k));
		c.it.ops->seek_prev(&c.it, random_key(&k));
		if (c.it.valid)
			c.it.ops->prev(&c.it);
		block_find(block, random_key(&k), &found);
		if (steps > steps_max)
			steps_max = steps;
		free(bytes);
	}
	ok(refused > 100 && broken > 100, "damaged blocks are refused (%d) or end in an error (%d)",
	   (int)refused, (int)broken);
	ok(steps_max < 10000, "and no cursor runs in circles");
	block_cursor_release(&c);
	block_builder_release(&b);
}

static void count_done(void *ctx)
{
	++*(int *)ctx;
}

static void test_iter(void)
{
	struct block_builder b;
	struct iter *it;
	int done_calls = 0;

	block_builder_init(&b);
	make_pairs(50);
	it = block_iter(build(&b, 16), count_done, &done_calls);
	ok(it && walk_agrees(it, 300), "an iterator on the heap");
	is_int(done_calls, 0, "keeps its block");
	iter_free(it);
	is_int(done_calls, 1, "and lets it go when freed");
	it = block_iter(build(&b, 16), NULL, NULL);
	iter_free(it);
	block_builder_release(&b);
}

int main(void)
{
	test_hex();
	test_empty();
	test_random();
	test_damage();
	test_iter();
	return done();
}
