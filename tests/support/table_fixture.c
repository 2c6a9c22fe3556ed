#include "tests/support/table_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- building and opening ---- */

struct table_env fixture_env;

int fixture_reports;

static void fixture_on_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR && strstr(message, ".tab"))
		__atomic_add_fetch(&fixture_reports, 1, __ATOMIC_SEQ_CST);
}

static const struct report reporter = {fixture_on_report, NULL};

void fixture_start(size_t cache_bytes)
{
	fixture_env.st = &table_storage;
	fixture_env.report = &reporter;
	fixture_env.cache = cache_new(cache_bytes);
	fixture_env.filter_negatives = fixture_env.filter_false_positives = 0;
	if (!fixture_env.cache)
		bail("cache_new");
}

void fixture_stop(void)
{
	cache_free(fixture_env.cache);
	fixture_env.cache = NULL;
}

const struct table_build_options fixture_plain = {.block_bytes = 4096};

uint64_t fixture_build(uint64_t number, const struct table_build_options *options,
		       const struct table_range *ranges, size_t ranges_count)
{
	struct table_builder *b;
	uint64_t bytes, tombstones = 0;

	if (table_builder_new(&table_storage, number, options, &b))
		bail("table_builder_new");
	for (size_t i = 0; i < table_pairs_count; i++) {
		if (table_builder_add(b, table_pair_key(&table_pairs[i]),
				      buf_slice(&table_pairs[i].value)))
			bail("table_builder_add");
		tombstones += ikey_type(table_pair_key(&table_pairs[i])) == IKEY_DELETE;
	}
	for (size_t i = 0; i < ranges_count; i++)
		if (table_builder_add_range(b, ranges[i].sequence, table_text(ranges[i].start),
					    table_text(ranges[i].end)))
			bail("table_builder_add_range");
	if (table_builder_finish(b, &bytes))
		bail("table_builder_finish");
	if (table_builder_entries(b) != table_pairs_count ||
	    table_builder_ranges(b) != ranges_count || table_builder_tombstones(b) != tombstones)
		bail("the builder counts wrong");
	table_builder_free(b);
	return bytes;
}

struct buf *fixture_bytes_of(uint64_t number)
{
	char name[TABLE_NAME_BYTES];

	table_name(name, number);
	return &table_file_named(name)->bytes;
}

struct table *fixture_acquire(uint64_t number, uint64_t bytes)
{
	struct table *t;

	if (table_acquire(&fixture_env, number, bytes, &t))
		bail("table_acquire");
	return t;
}

int fixture_damages;

struct lsm_damage fixture_last_damage;

static uint8_t fixture_damage_keys[2][LSM_KEY_BYTES_MAX];

char fixture_damage_reason[100];

void fixture_on_damage(void *ctx, const struct lsm_damage *damage)
{
	(void)ctx;
	fixture_damages++;
	fixture_last_damage = *damage;
	if (damage->first_key.size)
		memcpy(fixture_damage_keys[0], damage->first_key.data, damage->first_key.size);
	if (damage->last_key.size)
		memcpy(fixture_damage_keys[1], damage->last_key.data, damage->last_key.size);
	fixture_last_damage.first_key.data = fixture_damage_keys[0];
	fixture_last_damage.last_key.data = fixture_damage_keys[1];
	snprintf(fixture_damage_reason, sizeof(fixture_damage_reason), "%s", damage->reason);
}

int fixture_on_entry(void *ctx, struct lsm_slice ikey, struct lsm_slice value)
{
	size_t *i = ctx;

	while (*i < table_pairs_count && slice_compare(table_pair_key(&table_pairs[*i]), ikey))
		++*i;
	if (*i == table_pairs_count || slice_compare(buf_slice(&table_pairs[*i].value), value))
		return 77;
	++*i;
	return 0;
}

int fixture_verify_between(uint64_t number, uint64_t bytes, struct lsm_slice smallest,
			   struct lsm_slice largest)
{
	size_t next = 0;
	int err;

	fixture_damages = 0;
	err = table_verify(&fixture_env, number, bytes, smallest, largest, fixture_on_damage, NULL,
			   fixture_on_entry, &next);
	if ((err == -EUCLEAN) != (fixture_damages > 0))
		return -1000;
	return err;
}

int fixture_verify(uint64_t number, uint64_t bytes)
{
	return fixture_verify_between(
		number, bytes,
		table_pairs_count ? table_pair_user(&table_pairs[0]) : table_text(""),
		table_pairs_count ? table_pair_user(&table_pairs[table_pairs_count - 1]) :
				    table_text(""));
}

/* ---- comparing ---- */

int fixture_get_agrees(struct table *t, struct lsm_slice user, uint64_t sequence)
{
	struct lsm_value value = {0};
	struct ikey_buf space;
	ssize_t i = table_pairs_seek(ikey_make(&space, user, sequence, IKEY_TYPE_MAX));
	bool present = (size_t)i < table_pairs_count &&
		       !slice_compare(table_pair_user(&table_pairs[i]), user);
	enum ikey_type type;
	uint64_t found;
	int err = table_get(t, user, sequence, &type, &found, &value), right;

	if (err < 0)
		right = err;
	else if (err == 1)
		right = !present;
	else
		right = present && found == ikey_sequence(table_pair_key(&table_pairs[i])) &&
			type == ikey_type(table_pair_key(&table_pairs[i])) &&
			!slice_compare((struct lsm_slice){value.data, value.size},
				       buf_slice(&table_pairs[i].value));
	free(value.data);
	return right;
}

bool fixture_stands_on(const struct iter *it, ssize_t i)
{
	if (i < 0 || (size_t)i >= table_pairs_count)
		return !it->valid && !it->err;
	return it->valid && !it->err && !slice_compare(it->key, table_pair_key(&table_pairs[i])) &&
	       !slice_compare(it->value, buf_slice(&table_pairs[i].value));
}

bool fixture_walk_agrees(struct table *t, int steps, bool fill_cache)
{
	struct iter *it = table_iter(t, fill_cache);
	ssize_t at = -1;
	char space[16];
	struct ikey_buf k;
	bool right = true;

	if (!it)
		bail("table_iter");
	right &= !it->valid && !it->err;
	for (int i = 0; i < steps && right; i++) {
		struct lsm_slice key = ikey_make(&k, table_random_user(space), table_random() % 22,
						 (enum ikey_type)(table_random() % 3));
		unsigned what = (unsigned)(table_random() % (it->valid ? 40 : 4));

		if (what == 0) {
			it->ops->seek(it, key);
			at = table_pairs_seek(key);
		} else if (what == 1) {
			it->ops->seek_prev(it, key);
			at = table_pairs_seek_prev(key);
		} else if (what == 2) {
			it->ops->first(it);
			at = 0;
		} else if (what == 3) {
			it->ops->last(it);
			at = (ssize_t)table_pairs_count - 1;
		} else if (what < 22) {
			it->ops->next(it);
			at++;
		} else {
			it->ops->prev(it);
			at--;
		}
		right &= fixture_stands_on(it, at);
	}
	iter_free(it);
	return right;
}

bool fixture_all_agree(struct table *t)
{
	struct iter *it = table_iter(t, true);
	bool right = true;
	size_t i = 0;

	if (!it)
		bail("table_iter");
	for (it->ops->first(it); it->valid; it->ops->next(it))
		right &= fixture_stands_on(it, (ssize_t)i++);
	right &= i == table_pairs_count && !it->err;
	for (it->ops->last(it); it->valid; it->ops->prev(it))
		right &= fixture_stands_on(it, (ssize_t)--i);
	right &= i == 0 && !it->err;
	iter_free(it);
	for (i = 0; i < table_pairs_count && right; i++) {
		uint64_t sequence = ikey_sequence(table_pair_key(&table_pairs[i]));

		right &= fixture_get_agrees(t, table_pair_user(&table_pairs[i]), sequence) == 1;
		right &= fixture_get_agrees(t, table_pair_user(&table_pairs[i]), sequence - 1) == 1;
		right &= fixture_get_agrees(t, table_pair_user(&table_pairs[i]), SEQUENCE_MAX) == 1;
	}
	return right;
}
