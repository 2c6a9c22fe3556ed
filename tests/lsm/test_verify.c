/*
 * test_verify.c - lsm_verify() compares what the manifest says of a table with the table,
 * and a repair makes it so. A segment that a table refers to but the manifest does not
 * have would be deleted with its values.
 */
#include <errno.h>

#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

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

static struct lsm *open_store(struct storage *st)
{
	struct lsm_options o = options_on(st);
	struct lsm *lsm;

	if (lsm_open("verify", &o, &lsm))
		bail("cannot open the store");
	return lsm;
}

static void put(struct lsm *lsm, const char *key, unsigned byte)
{
	struct lsm_batch *b = lsm_batch_new();
	char value[1000];

	memset(value, (int)byte, sizeof(value));
	if (!b ||
	    lsm_batch_put(b, (struct lsm_slice){key, 3},
			  (struct lsm_slice){value, sizeof(value)}) ||
	    lsm_write(lsm, b, 0))
		bail("cannot write");
	lsm_batch_free(b);
}

/* Each key has a value of its own in a segment; there are some segments. */
static void put_all(struct lsm *lsm)
{
	char key[8];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "%03u", i);
		put(lsm, key, i);
	}
}

/* Flushes what is in memory to a table of level 0, which stays there until the next open. */
static void close_store(struct lsm *lsm)
{
	if (lsm_close(lsm))
		bail("cannot close the store");
}

static struct storage *make_store(void)
{
	struct storage *st = storage_mem_new();
	struct lsm *lsm;

	if (!st)
		bail("no memory");
	lsm = open_store(st);
	put_all(lsm);
	close_store(lsm);
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

static void read_manifest(struct storage *st, struct manifest_state *s)
{
	struct report silent = {0};

	if (manifest_read(st, &silent, s))
		bail("cannot read the manifest");
}

static void write_manifest(struct storage *st, struct manifest_state *s)
{
	struct manifest *m;

	s->number = s->next_file++;
	if (manifest_create(st, s, s->number, &m) || manifest_close(m))
		bail("cannot write the manifest");
	manifest_state_release(s);
}

/* The manifest's only table gets another entry. */
static void change_table(struct storage *st, void (*change)(struct table_meta *t))
{
	struct manifest_state s;

	read_manifest(st, &s);
	if (s.version->level[0].count != 1 || s.version->level[0].tables[0]->uses_count < 3)
		bail("another table than expected");
	change(s.version->level[0].tables[0]);
	write_manifest(st, &s);
}

/* Put table `t` of `level` on level 1, with these keys as far as the manifest goes. */
static void move(struct version_edit *e, unsigned level, struct table_meta *t, const char *first,
		 const char *last)
{
	struct table_meta *moved = table_meta_new(
		(struct lsm_slice){first, 3}, (struct lsm_slice){last, 3}, t->uses, t->uses_count);

	if (!moved)
		bail("no memory");
	moved->number = t->number;
	moved->bytes = t->bytes;
	moved->entries = t->entries;
	moved->ranges = t->ranges;
	moved->sequence_max = t->sequence_max;
	if (version_edit_delete(e, level, t) || version_edit_add(e, 1, moved))
		bail("no memory");
	table_meta_unref(moved);
}

/* One table has key 150, another all keys and, unknown to the manifest, what deletes it. */
static struct storage *make_overlap(void)
{
	struct storage *st = storage_mem_new();
	struct lsm_batch *b = lsm_batch_new();
	struct version_edit e = {0};
	struct version *next;
	struct manifest_state s;
	unsigned count = 0;
	struct lsm *lsm;

	if (!st || !b)
		bail("no memory");
	lsm = open_store(st);
	put(lsm, "150", 0);
	close_store(lsm);
	lsm = open_store(st);
	put_all(lsm);
	if (lsm_batch_delete_range(b, (struct lsm_slice){"100", 3}, (struct lsm_slice){"200", 3}) ||
	    lsm_write(lsm, b, 0))
		bail("cannot delete");
	lsm_batch_free(b);
	close_store(lsm);

	read_manifest(st, &s);
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < s.version->level[l].count; i++) {
			struct table_meta *t = s.version->level[l].tables[i];

			move(&e, l, t, t->ranges ? "000" : "150", t->ranges ? "059" : "150");
			count++;
		}
	if (count != 2 || version_apply(s.version, &e, &next))
		bail("other tables than expected");
	version_edit_release(&e);
	version_unref(s.version);
	s.version = next;
	write_manifest(st, &s);
	return st;
}

/*
 * Written again with all that is in them, the two tables do not fit beside each other on
 * their level: the repair has to do without the manifest.
 */
static void test_overlap(void)
{
	struct storage *st = make_overlap();
	struct lsm_options o = options_on(st);
	struct lsm_value v = {0};
	struct lsm *lsm;
	bool damaged;

	if (lsm_repair_open("verify", &o, on_damage, NULL, &damaged, &lsm))
		bail("cannot repair");
	ok(damaged, "tables that do not fit beside each other are repaired");
	is_int(lsm_repair_commit(lsm, NULL), 0, "for good");
	lsm = open_store(st);
	is_int(lsm_verify(lsm, on_damage, NULL, NULL, NULL), 0, "it is clean then");
	is_int(wrong_values(lsm), 0, "all is there");
	is_int(lsm_get(lsm, NULL, (struct lsm_slice){"150", 3}, &v), 1,
	       "what the newer one deletes is not");
	close_store(lsm);
	st->ops->free(st);
}

/* Any one read of the device fails: it is told, as damage if all else can be looked at. */
static void test_device(void)
{
	struct storage *st = make_store();
	struct lsm_options o = options_on(st);
	unsigned failed = 0, silent = 0, values = 0;
	uint64_t before, reads = 0;
	struct lsm *lsm;

	o.read_only = true;
	for (uint64_t nth = 0; nth <= reads; nth++) { /* first none, which counts them */
		int err;

		if (lsm_open("verify", &o, &lsm))
			bail("cannot open");
		told = 0;
		before = storage_mem_count(st, STORAGE_MEM_READ);
		storage_mem_fail(st, STORAGE_MEM_READ, nth, 1, EIO);
		err = lsm_verify(lsm, on_damage, NULL, NULL, NULL);
		storage_mem_fail(st, STORAGE_MEM_ANY, 0, 0, 0);
		if (!nth)
			reads = storage_mem_count(st, STORAGE_MEM_READ) - before;
		failed += err != 0;
		silent += nth && !told && err != -EIO;
		values +=
			told && !strcmp(reason, "the device cannot read the value in the segment");
		lsm_close(lsm);
	}
	ok(failed == reads && !silent && values == KEYS,
	   "of %u reads that fail, %u of values, each is told", failed, values);
	st->ops->free(st);
}

static int unlink_log(void *ctx, const char *name, uint64_t size)
{
	struct storage *st = ctx;

	(void)size;
	return strstr(name, ".log") && st->ops->unlink(st, name) ? -EIO : 0;
}

/* The log that the manifest names is missed, also after a close, when there was nothing in it. */
static void test_log(bool killed)
{
	const char *name = killed ? "a log" : "an empty log";
	struct storage *alive = storage_mem_new(), *st;
	struct lsm_options o;
	struct lsm *lsm;
	bool damaged;

	if (!alive)
		bail("no memory");
	lsm = open_store(alive);
	put_all(lsm);
	if (killed) {
		st = storage_mem_crash(alive, STORAGE_MEM_KEEP_ALL, 0);
		close_store(lsm);
		alive->ops->free(alive);
	} else {
		close_store(lsm);
		st = alive;
	}
	if (!st || st->ops->list(st, unlink_log, st))
		bail("cannot delete the log");
	o = options_on(st);
	is_int(lsm_open("verify", &o, &lsm), -EUCLEAN, "%s: is missed", name);
	o.discard_damage = true;
	is_int(lsm_open("verify", &o, &lsm), 0, "%s: opens without, if told to", name);
	close_store(lsm);
	if (st->ops->list(st, unlink_log, st))
		bail("cannot delete the log");
	told = 0;
	if (lsm_repair_open("verify", &o, on_damage, NULL, &damaged, &lsm))
		bail("cannot repair");
	ok(damaged && told == 1, "%s: the repair says so: %s", name, reason);
	is_int(lsm_repair_commit(lsm, NULL), 0, "%s: is repaired", name);
	lsm = open_store(st);
	is_int(lsm_verify(lsm, on_damage, NULL, NULL, NULL), 0, "%s: and is clean", name);
	is_int(wrong_values(lsm), killed ? KEYS : 0, "%s: as far as it was in tables", name);
	close_store(lsm);
	st->ops->free(st);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct storage *st = make_store();
		struct lsm_options o = options_on(st);
		bool damaged = false;
		struct lsm *lsm;

		change_table(st, changes[i].change);
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
		lsm = open_store(st);
		is_int(lsm_verify(lsm, on_damage, NULL, NULL, NULL), 0, "%s: and is clean",
		       changes[i].name);
		is_int(wrong_values(lsm), 0, "%s: all is there", changes[i].name);
		lsm_close(lsm);
		st->ops->free(st);
	}
	test_overlap();
	test_device();
	test_log(true);
	test_log(false);
	return done();
}
