/*
 * test_write.c - the write path: when memtables are rotated, what a full disk refuses, and
 * what writers are told whose group fails.
 */
#include <pthread.h>

#include "tests/support/lsm_bed.h"

#define WRITERS 8
#define ROUNDS 30

static char name[32];

static const char *key_of(unsigned writer, unsigned i)
{
	snprintf(name, sizeof(name), "%u/%06u", writer, i);
	return name;
}

static void test_rotation(void)
{
	struct bed t = bed_new((struct lsm_options){.memtable_bytes = 64 << 10});

	for (unsigned i = 0; i < 600; i++)
		bed_put(&t, key_of(0, i), 1000, i);
	ok(bed_stats(&t).memtable_bytes < 4 * 64 << 10 && bed_soon(bed_stats(&t).flushes >= 6),
	   "memtables are written to tables when they are full");
	bed_release(&t);
}

/* No new log can be made, and no table written, but what frees space is written. */
static void test_no_room(void)
{
	struct bed t = bed_new((struct lsm_options){.memtable_bytes = 64 << 10});
	unsigned failed = 0;

	for (unsigned i = 0; i < 2000; i++)
		bed_put(&t, key_of(0, i), 1, i);
	storage_mem_fail(t.st, STORAGE_MEM_OPEN, 1, 0, ENOSPC);
	for (unsigned i = 0; i < 2000; i++) {
		struct lsm_batch *b = lsm_batch_new();

		if (lsm_batch_delete(b, bed_key(key_of(0, i))) || lsm_write(t.lsm, b, LSM_FREES))
			failed++;
		lsm_batch_free(b);
	}
	is_int(failed, 0, "deletes go into a memtable that cannot be rotated");
	is_int(bed_try_put(&t, "x", 1, 1), -ENOSPC, "other writes are refused");
	storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
	bed_release(&t);
}

static uint64_t reserved(struct bed *t)
{
	struct storage_file *f;
	uint64_t size = 0;

	if (!storage_open_file(t->st, "RESERVE", STORAGE_READ, &f)) {
		t->st->ops->size(f, &size, NULL);
		storage_close(f);
	}
	return size;
}

/* Half of the reserve is given up for what frees space, and not more. */
static void test_reserve(void)
{
	struct bed t = {.st = storage_mem_new(), .options = {.memtable_bytes = 64 << 10}};
	struct lsm_batch *b;
	int err = 0;

	if (!t.st)
		bail("no memory");
	storage_mem_limit(t.st, 24 << 20);
	bed_open(&t);
	is_int(reserved(&t), 3 << 20, "an eighth of the disk is set aside");
	storage_mem_fail(t.st, STORAGE_MEM_ALLOCATE, 1, 0, ENOSPC);
	for (unsigned i = 0; !err && i < 5000; i++) {
		b = lsm_batch_new();
		if (lsm_batch_delete(b, bed_key(key_of(0, i))))
			bail("no memory");
		err = lsm_write(t.lsm, b, LSM_FREES);
		lsm_batch_free(b);
	}
	is_int(err, -ENOSPC, "a log finds no space");
	is_int(reserved(&t), 3 << 19, "half is given up, the other is for the next open");
	storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
	bed_release(&t);
}

struct writer {
	struct bed *t;
	pthread_t thread;
	unsigned id, written; /* as many have succeeded */
	int err;              /* of the first that did not */
};

static void *write_all(void *arg)
{
	struct writer *w = arg;
	unsigned char value[3000] = {0};
	char key[32];

	while (!w->err && w->written < 100) {
		struct lsm_batch *b = lsm_batch_new();

		snprintf(key, sizeof(key), "%u/%06u", w->id, w->written);
		w->err = lsm_batch_put(b, bed_key(key), (struct lsm_slice){value, sizeof(value)});
		if (!w->err)
			w->err = lsm_write(w->t->lsm, b, 0);
		w->written += !w->err;
		lsm_batch_free(b);
	}
	return NULL;
}

/* A write of the log fails under many writers: who was told that it worked has it. */
static void test_groups(void)
{
	unsigned lost = 0, went_on = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct bed t = bed_new((struct lsm_options){.l0_compact = 100});
		struct writer writers[WRITERS] = {0};

		storage_mem_fail(t.st, STORAGE_MEM_WRITE, 3 + round, 1, EIO);
		for (unsigned i = 0; i < WRITERS; i++) {
			writers[i] = (struct writer){.t = &t, .id = i};
			if (pthread_create(&writers[i].thread, NULL, write_all, &writers[i]))
				bail("no thread");
		}
		for (unsigned i = 0; i < WRITERS; i++) {
			struct lsm_value v = {0};

			pthread_join(writers[i].thread, NULL);
			went_on += !writers[i].err;
			if (writers[i].written &&
			    lsm_get(t.lsm, NULL, bed_key(key_of(i, writers[i].written - 1)), &v))
				lost++;
			lsm_value_release(&v);
		}
		(void)lsm_close(t.lsm);
		t.st->ops->free(t.st);
	}
	is_int(lost, 0, "no writer of a group that fails is told that it worked");
	is_int(went_on, 0, "and none goes on");
}

int main(void)
{
	run_test(test_rotation);
	run_test(test_no_room);
	run_test(test_reserve);
	run_test(test_groups);
	return done();
}
