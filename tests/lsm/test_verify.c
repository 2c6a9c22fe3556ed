/*
 * test_verify.c - lsm_verify() compares what the manifest says of a table with the table,
 * and a repair makes it so. A segment that a table refers to but the manifest does not
 * have would be deleted with its values.
 */
#include <errno.h>

#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "lsm/storage_mem.h"
#include "tests/tap.h"

#define KEYS 60u

static char reason[256]; /* the last one told */
static unsigned told;

static void on_damage(void *ctx, const struct lsm_damage *d)
{
	(void)ctx;
	told++;
	snprintf(reason, sizeof(reason), "%s", d->reason);
}

static struct lsm_options options_on(struct storage *st)
{
	return (struct lsm_options){
		.storage = st, .create = true, .separate_min = 500, .segment_bytes = 16 << 10};
}

/* Each key has a value of its own in a segment; there are some segments and one table. */
static struct storage *make_store(void)
{
	struct storage *st = storage_mem_new();
	struct lsm_options o = options_on(st);
	struct lsm_batch *b = lsm_batch_new();
	char value[1000], key[8];
	struct lsm *lsm;

	if (!st || !b || lsm_open("verify", &o, &lsm))
		bail("cannot make a store");
	for (unsigned i = 0; i < KEYS; i++) {
		memset(value, (int)i, sizeof(value));
		snprintf(key, sizeof(key), "%03u", i);
		if (lsm_batch_put(b, (struct lsm_slice){key, 3},
				  (struct lsm_slice){value, sizeof(value)}) ||
		    lsm_write(lsm, b, 0))
			bail("cannot write");
		lsm_batch_clear(b);
	}
	lsm_batch_free(b);
	if (lsm_close(lsm))
		bail("cannot close");
	return st;
}

static unsigned wrong_values(struct lsm *lsm)
{
	unsigned count = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		struct lsm_value v = {0};
		char key[8];

		snprintf(key, sizeof(key), "%03u", i);
		if (lsm_get(lsm, NULL, (struct lsm_slice){key, 3}, &v) || v.size != 1000 ||
		    ((const unsigned char *)v.data)[999] != i)
			count++;
		lsm_value_release(&v);
	}
	return count;
}

static void one_byte_more(struct table_meta *t)
{
	t->uses[1].bytes++;
}
static void another_segment(struct table_meta *t)
{
	t->uses[t->uses_count - 1].number++;
}
static void one_less(struct table_meta *t)
{
	t->uses_count--;
}
static void out_of_order(struct table_meta *t)
{
	struct segment_use use = t->uses[0];

	t->uses[0] = t->uses[1];
	t->uses[1] = use;
}
static void older(struct table_meta *t)
{
	t->sequence_max--;
}

static const struct {
	const char *name, *reason;
	void (*change)(struct table_meta *t);
} changes[] = {
	{"a size", "the manifest has other sizes of what is in segments", one_byte_more},
	{"a segment", "the manifest does not have one of its segments", another_segment},
	{"a segment too few", "the manifest does not have one of its segments", one_less},
	{"the order of segments", "the manifest has its segments in disorder", out_of_order},
	{"the highest sequence", "the manifest says that it has older entries only", older},
};

/* The manifest's only table gets another entry. */
static void change_manifest(struct storage *st, void (*change)(struct table_meta *t))
{
	struct report silent = {0};
	struct manifest_state s;
	struct manifest *m;

	if (manifest_read(st, &silent, &s))
		bail("cannot read the manifest");
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		if (s.version->level[l].count) {
			if (s.version->level[l].tables[0]->uses_count < 3)
				bail("too few segments");
			change(s.version->level[l].tables[0]);
		}
	s.number = s.next_file++;
	if (manifest_create(st, &s, s.number, &m) || manifest_close(m))
		bail("cannot write the manifest");
	manifest_state_release(&s);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct storage *st = make_store();
		struct lsm_options o = options_on(st);
		bool damaged = false;
		struct lsm *lsm;

		change_manifest(st, changes[i].change);
		o.read_only = true;
		if (lsm_open("verify", &o, &lsm))
			bail("cannot open");
		told = 0;
		is_int(lsm_verify(lsm, on_damage, NULL, NULL, NULL), -EUCLEAN, "%s: is found",
		       changes[i].name);
		ok(told == 1 && !strcmp(reason, changes[i].reason), "%s: \"%s\"", changes[i].name,
		   reason);
		lsm_close(lsm);
		told = 0;
		if (lsm_repair_open("verify", &o, on_damage, NULL, &damaged, &lsm))
			bail("cannot repair");
		ok(damaged && told == 1 && !strcmp(reason, changes[i].reason),
		   "%s: the repair says so", changes[i].name);
		is_int(lsm_repair_commit(lsm, NULL), 0, "%s: is repaired", changes[i].name);
		o.read_only = false;
		if (lsm_open("verify", &o, &lsm))
			bail("cannot open after the repair");
		is_int(lsm_verify(lsm, on_damage, NULL, NULL, NULL), 0, "%s: and is clean",
		       changes[i].name);
		is_int(wrong_values(lsm), 0, "%s: all is there", changes[i].name);
		lsm_close(lsm);
		st->ops->free(st);
	}
	return done();
}
