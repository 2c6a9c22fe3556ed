/*
 * test_gc.c - how the space of dead values in segments comes back, and that nothing else
 * goes with it: the rules at the top of gc.c.
 *
 * Regression that a deliberate mistake stood for: holes punched while an older view of the
 * tables is alive.
 */
#include <fcntl.h>

#include "tests/support/lsm_bed.h"

#define VALUES 64u
#define SEGMENT_BYTES (1u << 20)

static char name[16];

static const char *key_of(unsigned i)
{
	snprintf(name, sizeof(name), "k%06u", i);
	return name;
}

/* Whole chunks, or some bytes more. */
static size_t size_of(unsigned i)
{
	return (12 << 10) + (i % 4 ? i : 0);
}

/* Nothing is compacted but when asked for. */
static struct bed new_tree(void)
{
	return bed_new((struct lsm_options){.segment_bytes = SEGMENT_BYTES, .l0_compact = 100});
}

/* Values in another order than that of their keys. */
static void put_values(struct bed *t)
{
	for (unsigned n = 0; n < VALUES; n++) {
		unsigned i = n * 37 % VALUES;

		bed_put(t, key_of(i), size_of(i), i);
	}
}

static unsigned wrong_values(struct bed *t, unsigned step)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < VALUES; i += step)
		wrong += !bed_has(t, key_of(i), size_of(i), i);
	return wrong;
}

static uint64_t punches(struct bed *t)
{
	return storage_mem_count(t->st, STORAGE_MEM_PUNCH);
}

static void test_punch(void)
{
	struct bed t = new_tree();
	uint64_t before;

	put_values(&t);
	bed_compact(&t);
	before = bed_stats(&t).segment_bytes;
	is_int(punches(&t), 0, "what is alive is not punched");
	for (unsigned i = 0; i < VALUES; i++)
		if (i % 2)
			bed_delete(&t, key_of(i));
	is_int(bed_compact(&t), 0, "compacts");
	ok(bed_soon(punches(&t) > 0 && bed_stats(&t).segment_bytes < before * 6 / 10),
	   "half of the values are deleted, and half of the space comes back");
	is_int(wrong_values(&t, 2), 0, "the others are whole, each to its last byte");
	bed_reopen(&t);
	is_int(wrong_values(&t, 2), 0, "also when they are read from the disk");
	bed_release(&t);
}

/* An old view of a few tables is held, while a segment that they use has dead values. */
static void test_older_view(void)
{
	struct bed t = new_tree();
	struct lsm_iter *first, *second;

	put_values(&t);
	bed_compact(&t);
	first = lsm_iter_new(t.lsm, NULL);
	for (unsigned i = 1; i < VALUES; i += 2)
		bed_delete(&t, key_of(i));
	bed_compact(&t);
	is_int(punches(&t), 0, "nothing is punched while a reader's tables have the values");
	second = lsm_iter_new(t.lsm, NULL);
	bed_put(&t, "z", 10, 0);
	bed_flush(&t);
	lsm_iter_free(first);
	bed_compact(&t);
	is_int(punches(&t), 0, "nor while a reader has any older view");
	lsm_iter_free(second);
	bed_compact(&t);
	ok(bed_soon(punches(&t) > 0), "when it is gone, holes are punched");
	is_int(wrong_values(&t, 2), 0, "what is alive is whole");
	bed_release(&t);
}

/* A value that only a memtable refers to is in a segment whose other values are dead. */
static void test_memtable(void)
{
	struct bed t =
		bed_new((struct lsm_options){.segment_bytes = SEGMENT_BYTES, .l0_compact = 1});
	struct lsm_batch *b = lsm_batch_new();
	struct lsm_iter *it;

	put_values(&t);
	bed_compact(&t);
	it = lsm_iter_new(t.lsm, NULL);
	lsm_iter_seek(it, bed_key(key_of(5)));
	if (!lsm_iter_valid(it) || lsm_batch_put_slice(b, bed_key("copy"), it, 0, size_of(5)))
		bail("cannot share a value");
	bed_delete_range(&t, "k", "l");
	bed_flush(&t);
	bed_write(&t, b, 0);
	lsm_iter_free(it);
	/* The compactor looks at segments when it has nothing else to do, and every second. */
	ok(bed_soon(!bed_stats(&t).level[0].tables), "the deletion is compacted");
	usleep(1300000);
	ok(bed_has(&t, "copy", size_of(5), 5), "a shared value is there while it is in memory");
	bed_compact(&t);
	ok(bed_has(&t, "copy", size_of(5), 5), "and when it is in a table");
	bed_release(&t);
}

/* A batch shares a value of which nothing is left in the tree by the time it is written. */
static void test_batch(void)
{
	struct bed t = bed_new((struct lsm_options){.segment_bytes = 64 << 10, .l0_compact = 100});
	struct lsm_batch *b = lsm_batch_new();
	struct lsm_iter *it;

	for (unsigned i = 0; i < 4; i++)
		bed_put(&t, key_of(i), 60 << 10, i);
	it = lsm_iter_new(t.lsm, NULL);
	lsm_iter_first(it);
	if (!lsm_iter_valid(it) || lsm_batch_put_slice(b, bed_key("copy"), it, 0, 60 << 10))
		bail("cannot share a value");
	lsm_iter_free(it);
	bed_delete_range(&t, "k", "l");
	bed_compact(&t);
	bed_write(&t, b, 0);
	ok(bed_has(&t, "copy", 60 << 10, 0), "a value stays for the batch that shares it");
	bed_reopen(&t);
	ok(bed_has(&t, "copy", 60 << 10, 0), "and is there when that was written");
	bed_release(&t);
}

static void test_deleted(void)
{
	struct bed t = new_tree();

	for (unsigned i = 0; i < 400; i++)
		bed_put(&t, key_of(i), 12 << 10, i);
	bed_compact(&t);
	ok(bed_stats(&t).segments >= 5, "some segments");
	for (unsigned i = 0; i < 400; i++)
		bed_delete(&t, key_of(i));
	bed_compact(&t);
	ok(bed_soon(bed_stats(&t).segments <= 1 && bed_stats(&t).segment_bytes < 2 * SEGMENT_BYTES),
	   "that nothing refers to are deleted at once, but for the one that is written to");
	bed_release(&t);
}

/* The segment that is written to is sealed when most of it is dead. */
static void test_sealed(void)
{
	struct bed t = new_tree();

	for (unsigned i = 0; i < 60; i++)
		bed_put(&t, key_of(i), 12 << 10, i);
	bed_compact(&t);
	is_int(bed_stats(&t).segments, 1, "one segment");
	for (unsigned i = 5; i < 60; i++)
		bed_delete(&t, key_of(i));
	bed_compact(&t);
	ok(bed_soon(bed_stats(&t).segment_bytes < 300 << 10),
	   "most of it dead: its space comes back: %llu",
	   (unsigned long long)bed_stats(&t).segment_bytes);
	ok(bed_has(&t, key_of(4), 12 << 10, 4), "what is alive is whole");
	bed_release(&t);
}

/* Of each segment one value is left: they are moved, and the segments deleted. */
static void test_emptied(struct bed t, bool damage)
{
	struct storage *st;

	for (unsigned i = 0; i < 800; i++)
		bed_put(&t, key_of(i), 12 << 10, i);
	bed_compact(&t);
	for (unsigned i = 0; i < 800; i++)
		if (i % 200)
			bed_delete(&t, key_of(i));
	if (damage) {
		struct lsm_iter *it = lsm_iter_new(t.lsm, NULL); /* nothing moves yet */

		bed_flush(&t);
		if (storage_mem_flip(t.st, "000003.seg", 100, 1) &&
		    storage_mem_flip(t.st, "000004.seg", 100, 1))
			bail("cannot damage the first segment");
		lsm_iter_free(it);
	}
	is_int(bed_compact(&t), 0, "compacts");
	ok(bed_soon(bed_stats(&t).segments <= (damage ? 3 : 2)),
	   "segments with next to nothing alive go: %llu left",
	   (unsigned long long)bed_stats(&t).segments);
	ok(bed_has(&t, key_of(0), 12 << 10, 0) == !damage, "the first value %s",
	   damage ? "is lost where it is" : "was moved");
	ok(bed_has(&t, key_of(200), 12 << 10, 200) && bed_has(&t, key_of(600), 12 << 10, 600),
	   "so were the others");
	st = storage_mem_crash(t.st, STORAGE_MEM_KEEP_NONE, 0);
	bed_release(&t);
	t.st = st;
	bed_open(&t);
	ok(bed_has(&t, key_of(200), 12 << 10, 200) && bed_has(&t, key_of(600), 12 << 10, 600),
	   "for good: they are there when the power goes");
	bed_release(&t);
}

/* Values of which half are dead, in a table of small blocks; nothing is punched yet. */
static struct bed half_dead(void)
{
	struct bed t = bed_new((struct lsm_options){
		.segment_bytes = SEGMENT_BYTES, .l0_compact = 100, .block_bytes = 256});
	struct lsm_iter *it;

	put_values(&t);
	bed_compact(&t);
	for (unsigned i = 1; i < VALUES; i += 2)
		bed_delete(&t, key_of(i));
	/* Its tables have all values. */
	it = lsm_iter_new(t.lsm, NULL);
	bed_compact(&t);
	/* The table is open now; of its blocks the last one is in the cache. */
	if (!bed_has(&t, key_of(VALUES - 2), size_of(VALUES - 2), VALUES - 2))
		bail("a value is lost");
	storage_mem_fail(t.st, STORAGE_MEM_READ, 1, 0, EIO);
	lsm_iter_free(it);
	return t;
}

/* Reading a table fails: of what it refers to nothing is known. */
static void test_unreadable(void)
{
	struct bed t = half_dead();

	(void)bed_compact(&t);
	usleep(100000);
	(void)bed_compact(&t);
	is_int(punches(&t), 0, "nothing that a table may refer to is punched if it cannot be read");
	storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
	bed_reopen(&t);
	is_int(wrong_values(&t, 2), 0, "nothing is lost");
	bed_release(&t);
}

static int flip_table(void *ctx, const char *file, uint64_t size)
{
	return strstr(file, ".tab") ? storage_mem_flip(ctx, file, size / 4, 1) : 0;
}

/* A damaged table keeps its own segments from being punched, and no others. */
static void test_damaged_table(void)
{
	struct bed t = half_dead();
	uint64_t before;

	if (t.st->ops->list(t.st, flip_table, t.st))
		bail("cannot damage the table");
	storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
	bed_reopen(&t);
	for (unsigned i = 0; i < 2 * VALUES; i++)
		bed_put(&t, key_of(1000 + i), 12 << 10, i);
	bed_compact(&t);
	before = bed_stats(&t).segment_bytes;
	for (unsigned i = 0; i < 2 * VALUES; i += 2)
		bed_delete(&t, key_of(1000 + i));
	bed_compact(&t);
	ok(bed_soon(bed_stats(&t).segment_bytes + (400 << 10) < before),
	   "beside a damaged table the space of others' values comes back");
	ok(bed_has(&t, key_of(1001), 12 << 10, 1), "what is alive is whole");
	bed_release(&t);
}

static void on_damage(void *ctx, const struct lsm_damage *d)
{
	(void)d;
	++*(unsigned *)ctx;
}

static void test_verify_memory(void)
{
	struct bed t = new_tree();
	unsigned told = 0;

	bed_put(&t, "a", 10000, 1);
	for (unsigned n = 0; n < 9; n++) {
		char file[16];

		snprintf(file, sizeof(file), "%06u.seg", n);
		(void)storage_mem_flip(t.st, file, 5000, 1);
	}
	is_int(lsm_verify(t.lsm, on_damage, &told, NULL, NULL), -EUCLEAN,
	       "verify finds a damaged value that was only in memory");
	is_int(told, 1, "and tells it");
	bed_release(&t);
}

/* How many descriptors are open, and how many a program that is started would get. */
static unsigned descriptors(unsigned *inherited)
{
	unsigned open = 0;

	*inherited = 0;
	for (int fd = 3; fd < 1000; fd++) {
		int flags = fcntl(fd, F_GETFD);

		open += flags >= 0;
		*inherited += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return open;
}

static void test_descriptors(void)
{
	char dir[80], command[120];
	struct lsm_options o = {.create = true, .segment_bytes = 64 << 10, .l0_compact = 1000};
	const char *tmp = getenv("TMPDIR");
	unsigned before, open, inherited;
	struct bed t = {0};

	descriptors(&before);
	snprintf(dir, sizeof(dir), "%.40s/varve-gc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || lsm_open(dir, &o, &t.lsm))
		bail("cannot open %s", dir);
	for (unsigned i = 0; i < 400; i++) {
		bed_put(&t, key_of(i), 60 << 10, i);
		/* What is not synced stays open. */
		if (i % 50 == 0 && lsm_sync(t.lsm))
			bail("cannot sync");
	}
	open = descriptors(&inherited);
	ok(open > 50 && open < 340, "of 400 segments not all are open at once: %u", open);
	is_int(inherited, before, "no descriptor goes to a program that is started");
	if (lsm_close(t.lsm))
		bail("cannot close");
	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command))
		printf("# %s is left\n", dir);
}

int main(void)
{
	run_test(test_punch);
	run_test(test_older_view);
	run_test(test_memtable);
	run_test(test_batch);
	run_test(test_deleted);
	run_test(test_sealed);
	run_test(test_emptied, new_tree(), false);
	run_test(test_emptied, new_tree(), true);
	run_test(test_unreadable);
	run_test(test_damaged_table);
	run_test(test_verify_memory);
	run_test(test_descriptors);
	return done();
}
