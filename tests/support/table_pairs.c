#include "tests/support/table_pairs.h"

#include <stdlib.h>
#include <string.h>

#include "lsm/lsm.h"

static _Thread_local struct rng table_rng = {.state = 1};

uint64_t table_random(void)
{
	return rng_next(&table_rng);
}

void table_random_seed(uint64_t seed)
{
	table_rng = (struct rng){.state = seed};
}

struct table_pair table_pairs[TABLE_PAIRS_MAX];

size_t table_pairs_count;

struct lsm_slice table_text(const char *s)
{
	return (struct lsm_slice){s, strlen(s)};
}

struct lsm_slice table_pair_key(const struct table_pair *p)
{
	return (struct lsm_slice){p->key.bytes, p->key.size};
}

struct lsm_slice table_pair_user(const struct table_pair *p)
{
	return ikey_user(table_pair_key(p));
}

static int table_pair_compare(const void *a, const void *b)
{
	return ikey_compare(table_pair_key(a), table_pair_key(b));
}

void table_pairs_clear(void)
{
	for (size_t i = 0; i < table_pairs_count; i++)
		buf_release(&table_pairs[i].value);
	table_pairs_count = 0;
}

struct table_pair *table_pair_add(struct lsm_slice user, uint64_t sequence, enum ikey_type type)
{
	struct table_pair *p = &table_pairs[table_pairs_count++];

	ikey_make(&p->key, user, sequence, type);
	p->value = (struct buf){0};
	return p;
}

void table_pairs_sort(void)
{
	size_t n = 0;

	qsort(table_pairs, table_pairs_count, sizeof(table_pairs[0]), table_pair_compare);
	for (size_t i = 0; i < table_pairs_count; i++) {
		if (n && !table_pair_compare(&table_pairs[n - 1], &table_pairs[i])) {
			buf_release(&table_pairs[i].value);
			continue;
		}
		table_pairs[n++] = table_pairs[i];
	}
	table_pairs_count = n;
}

struct lsm_slice table_random_user(char *space)
{
	static const char prefix[] = {'p', 'r', 'e', 'f', 'i', 'x'};
	size_t size = 1 + table_random() % 5;

	memcpy(space, prefix, sizeof(prefix));
	for (size_t i = 0; i < size; i++)
		space[6 + i] = (char)('a' + table_random() % 4);
	return table_random() % 4 ? (struct lsm_slice){space, 6 + size} :
				    (struct lsm_slice){space + 6, size};
}

void table_pairs_make(size_t count)
{
	char space[16];

	table_pairs_clear();
	while (table_pairs_count < count) {
		struct table_pair *p =
			table_pair_add(table_random_user(space), 1 + table_random() % 20,
				       (enum ikey_type)(table_random() % 3));
		size_t size = table_random() % 60;

		if (ikey_type(table_pair_key(p)) == IKEY_DELETE)
			continue;
		for (size_t i = 0; i < size; i++) /* half compressible */
			buf_add(&p->value, table_random() % 2 ? "x" : &(char){(char)table_random()},
				1);
	}
	table_pairs_sort();
}

ssize_t table_pairs_seek(struct lsm_slice key)
{
	size_t low = 0, high = table_pairs_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ikey_compare(table_pair_key(&table_pairs[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low;
}

ssize_t table_pairs_seek_prev(struct lsm_slice key)
{
	ssize_t i = table_pairs_seek(key);

	if ((size_t)i < table_pairs_count && !ikey_compare(table_pair_key(&table_pairs[i]), key))
		return i;
	return i - 1;
}
