/*
 * test_version.c - which versions are valid, and what is compacted next: version_pick() is
 * a pure function, so each of its rules is asked for alone.
 *
 * Regression: the pick that forgot the oldest snapshot would have rewritten a table at the
 * bottom again and again, for tombstones that the snapshot keeps.
 */
#include "lsm/version.h"
#include "tests/support/tap.h"

#define MIB (UINT64_C(1) << 20)
#define NOW_S 10000

static uint64_t next_number = 1;

static struct lsm_slice key(const char *text)
{
	return (struct lsm_slice){text, strlen(text)};
}

/* A table of 1 MiB with 1000 entries that were written just now. */
static struct table_meta *table(const char *smallest, const char *largest)
{
	struct table_meta *t = table_meta_new(key(smallest), key(largest), NULL, 0);

	if (!t)
		bail("no memory");
	t->number = next_number++;
	t->bytes = MIB;
	t->entries = 1000;
	t->sequence_max = 50;
	t->created_s = NOW_S;
	return t;
}

/* `v` with `t` in `level`; NULL if that is no valid version. Takes the reference to `t`. */
static struct version *with(struct version *v, unsigned level, struct table_meta *t)
{
	struct version_edit e = {0};
	struct version *next = NULL;
	const char *reason;

	if (version_edit_add(&e, level, t))
		bail("no memory");
	if (version_apply(v, &e, &next, &reason))
		next = NULL;
	version_edit_release(&e);
	table_meta_unref(t);
	if (next)
		version_unref(v);
	return next;
}

static struct version *one_table(unsigned level, struct table_meta *t)
{
	struct version *v = with(version_new(), level, t);

	if (!v)
		bail("no version");
	return v;
}

static struct pick_options options(void)
{
	return (struct pick_options){
		.level1_bytes = 10 * MIB,
		.segment_factor = 32,
		.table_bytes = MIB,
		.l0_compact = 4,
		.now_s = NOW_S,
		.tombstone_age_s = 600,
		.tombstones_min = 64,
		.oldest_snapshot = SEQUENCE_MAX,
	};
}

/* What is picked of `v`, which is let go. */
static struct pick pick_of(struct version *v, const struct pick_options *o)
{
	struct pick p, numbers;

	if (version_pick(v, o, &p))
		bail("no memory");
	numbers = p;
	numbers.inputs = numbers.below = NULL;
	pick_release(&p);
	version_unref(v);
	return numbers;
}

static enum pick_reason reason_of(struct version *v, const struct pick_options *o)
{
	return pick_of(v, o).reason;
}

static void test_valid(void)
{
	struct version *v = one_table(1, table("b", "d")), *next;
	struct table_meta *t = table("d", "f");

	ok(!with(v, 1, table("d", "f")), "two tables of a level do not overlap by a key");
	ok(!with(v, 1, table("f", "e")), "a table does not end before it starts");
	next = with(v, 0, table("a", "z"));
	ok(next, "but tables of two levels do");
	v = next;
	version_unref(v);

	t->largest_excluded = true;
	v = with(one_table(1, t), 1, table("f", "g"));
	ok(v, "one may end, excluded, where the next one starts");
	is_int(version_find(v, 1, key("f")), 1, "which then has that key");
	is_int(version_find(v, 1, key("e")), 0, "and not the ones before");
	ok(!version_overlaps(v, 1, &(struct key_range){key("g"), key("z"), false}) ==
		   !table_meta_overlaps(v->level[1].tables[1],
					&(struct key_range){key("g"), key("z"), false}),
	   "what a level says of a range is what its tables do");
	ok(!table_meta_overlaps(v->level[1].tables[1],
				&(struct key_range){key("a"), key("f"), true}),
	   "an excluded end does not overlap what starts there");
	ok(table_meta_overlaps(v->level[1].tables[1],
			       &(struct key_range){key("a"), key("f"), false}),
	   "an end does");
	ok(!table_meta_overlaps(v->level[1].tables[0],
				&(struct key_range){key("f"), key("z"), false}),
	   "a start does not overlap what ends there, excluded");
	version_unref(v);
}

static void test_levels(void)
{
	struct pick_options o = options();
	struct version *v = version_new();
	struct table_meta *t;
	struct pick p;

	for (int i = 0; i < 3; i++)
		v = with(v, 0, table("a", "b"));
	version_ref(v);
	is_int(reason_of(v, &o), PICK_NONE, "three tables in level 0 are not enough");
	v = with(v, 0, table("c", "d"));
	v = with(v, 1, table("d", "e"));
	is_int(version_pick(v, &o, &p), 0, "the fourth is");
	is_int(p.reason, PICK_L0, "for its number");
	ok(p.inputs_count == 4 && p.below_count == 1 && p.output == 1,
	   "all of level 0 goes, and what it overlaps in level 1");
	pick_release(&p);
	version_unref(v);

	t = table("a", "b");
	t->bytes = 11 * MIB;
	is_int(reason_of(one_table(1, t), &o), PICK_SIZE, "level 1 has a limit");
	t = table("a", "b");
	t->bytes = 50 * MIB;
	is_int(reason_of(one_table(2, t), &o), PICK_NONE, "level 2 has one ten times as large");
	t = table("a", "b");
	t->bytes = 101 * MIB;
	is_int(reason_of(one_table(2, t), &o), PICK_SIZE, "but it has one");
	t = table("a", "b");
	t->bytes = UINT64_C(1) << 50;
	is_int(reason_of(one_table(LSM_LEVELS - 1, t), &o), PICK_NONE, "the deepest has none");

	t = table_meta_new(key("a"), key("b"), &(struct segment_use){7, 400 * MIB, NULL}, 1);
	if (!t)
		bail("no memory");
	t->bytes = MIB;
	is_int(reason_of(one_table(1, t), &o), PICK_SEGMENT_BYTES,
	       "what a level refers to in segments counts");
}

/* A level that is over its limit gives one table after the other, and then again. */
static void test_turns(void)
{
	struct pick_options o = options();
	struct version *v = version_new();
	static const char *const names[] = {"a", "c", "e"};
	char picks[7] = "";
	struct pick p;

	for (int i = 0; i < 3; i++) {
		struct table_meta *t = table(names[i], names[i]);

		t->bytes = 5 * MIB;
		v = with(v, 1, t);
	}
	for (int i = 0; i < 6; i++) {
		if (version_pick(v, &o, &p) || p.inputs_count != 1)
			bail("no pick");
		picks[i] = *(const char *)p.inputs[0]->smallest.data;
		o.cursor[1] = p.inputs[0]->largest;
		pick_release(&p);
	}
	ok(!strcmp(picks, "aceace"), "the tables of a level go in turn: %s", picks);
	version_unref(v);
}

/* A table in level 2 with `tombstones`, over another in level 3 or at the bottom. */
static struct version *buried(bool bottom, uint64_t tombstones, uint64_t ranges, uint64_t age_s)
{
	struct table_meta *t = table("a", "c");
	struct version *v;

	t->tombstones = tombstones;
	t->ranges = ranges;
	t->created_s = NOW_S - age_s;
	v = one_table(2, t);
	return bottom ? v : with(v, 3, table("b", "d"));
}

static void test_tombstones(void)
{
	struct pick_options o = options();
	struct pick p;

	is_int(reason_of(buried(false, 0, 0, 9000), &o), PICK_NONE, "nothing is due for its age");
	is_int(reason_of(buried(false, 400, 0, 10), &o), PICK_NONE, "a few tombstones may wait");
	p = pick_of(buried(false, 1, 0, 601), &o);
	is_int(p.reason, PICK_TOMBSTONES, "but not for ever");
	ok(p.level == 2 && p.output == 3, "they go down a level");
	is_int(reason_of(buried(false, 501, 0, 10), &o), PICK_TOMBSTONES, "nor if they are most");
	is_int(reason_of(buried(false, 0, 1, 10), &o), PICK_RANGES,
	       "a range tombstone goes at once");
	p = pick_of(buried(true, 501, 0, 10), &o);
	is_int(p.reason, PICK_TOMBSTONES, "at the bottom they are worth a rewrite");
	ok(p.level == 2 && p.output == 2, "in place");
	o.oldest_snapshot = 50;
	is_int(reason_of(buried(true, 501, 0, 10), &o), PICK_TOMBSTONES,
	       "... also under a snapshot that sees all of the table");
	o.oldest_snapshot = 49;
	is_int(reason_of(buried(true, 501, 0, 10), &o), PICK_NONE, "but not while one keeps them");
	is_int(reason_of(buried(true, 0, 1, 10), &o), PICK_NONE, "nor range tombstones");
	is_int(reason_of(buried(false, 0, 1, 10), &o), PICK_RANGES, "above the bottom they go on");
	o.oldest_snapshot = SEQUENCE_MAX;
	o.tombstones_min = 1;
	o.tombstone_age_s = 0;
	is_int(reason_of(buried(false, 1, 0, 9000), &o), PICK_NONE, "without an age none is old");
}

static void test_damaged(void)
{
	struct pick_options o = options();
	struct version *v = version_new();
	struct table_meta *a = table("a", "b"), *c = table("c", "d"), *below = table("c", "e");
	struct pick p;

	a->bytes = c->bytes = 6 * MIB;
	atomic_store(&a->damaged, true);
	v = with(with(v, 1, a), 1, c);
	version_ref(v);
	if (version_pick(v, &o, &p))
		bail("no memory");
	ok(p.inputs_count == 1 && p.inputs[0] == v->level[1].tables[1],
	   "a damaged table is passed over");
	pick_release(&p);
	version_unref(v);
	atomic_store(&below->damaged, true);
	v = with(v, 2, below);
	p = pick_of(v, &o);
	is_int(p.reason, PICK_NONE, "and what lies over one stays as well");
	ok(!p.l0_stuck, "level 0 is not due");

	v = version_new();
	for (int i = 0; i < 4; i++) {
		a = table("a", "b");
		atomic_store(&a->damaged, i == 2);
		v = with(v, 0, a);
	}
	p = pick_of(v, &o);
	is_int(p.reason, PICK_NONE, "one damaged table keeps all of level 0");
	ok(p.l0_stuck, "which is told");
}

int main(void)
{
	run_test(test_valid);
	run_test(test_levels);
	run_test(test_turns);
	run_test(test_tombstones);
	run_test(test_damaged);
	return done();
}
