/*
 * test_full.c - a tree on a full disk: deleting works, also when everything else does
 * not, and a store that was full when its process died opens again.
 *
 * Regression: values for segments were written before a batch was refused, and took
 * what was set aside for deleting. What was set aside for the next open was less than
 * a memtable, and files left over from the killed process took space meanwhile. Beside
 * what others have on the disk, a store stayed full when it was empty: a quarter of the
 * disk had to be free, and deletes of fewer keys than a thousand stayed in memory.
 *
 * SEED=n in the environment repeats the choices, though not how threads take turns.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lsm/lsm.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/option.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

#define DISK_BYTES (24u << 20)
#define ROUNDS 12
#define KEYS 4000u
#define VALUE_BYTES_MAX 60000u

static struct rng choices;
static unsigned char value[VALUE_BYTES_MAX];
static uint32_t have[KEYS]; /* size of what was written and is not deleted; 0: none */

static uint64_t below(uint64_t n)
{
	return rng_next(&choices) % n;
}

static struct lsm_slice key_of(unsigned k, char *out, size_t size)
{
	return (struct lsm_slice){out, (size_t)snprintf(out, size, "key %04u", k)};
}

static int put(struct lsm *lsm, unsigned k, uint32_t size)
{
	struct lsm_batch *b = lsm_batch_new();
	char name[16];
	int err;

	memset(value, (int)(k % 251), 64);
	err = lsm_batch_put(b, key_of(k, name, sizeof(name)), (struct lsm_slice){value, size});
	if (!err)
		err = lsm_write(lsm, b, 0);
	lsm_batch_free(b);
	return err;
}

static int del(struct lsm *lsm, unsigned k)
{
	struct lsm_batch *b = lsm_batch_new();
	char name[16];
	int err = lsm_batch_delete(b, key_of(k, name, sizeof(name)));

	if (!err)
		err = lsm_write(lsm, b, LSM_FREES);
	lsm_batch_free(b);
	return err;
}

/* How many keys do not have the value that was written. */
static unsigned wrong(struct lsm *lsm)
{
	unsigned count = 0;

	for (unsigned k = 0; k < KEYS; k++) {
		struct lsm_value v = {0};
		char name[16];
		int err = lsm_get(lsm, NULL, key_of(k, name, sizeof(name)), &v);

		if (have[k] ? err || v.size != have[k] || *(unsigned char *)v.data != k % 251 :
			      err != 1)
			count++;
		lsm_value_release(&v);
	}
	return count;
}

/* Write until the disk is full, and go on. A refused write must have changed nothing. */
static void fill_up(struct lsm *lsm, unsigned *deletes_failed)
{
	unsigned refused = 0;
	int err;

	for (unsigned i = 0; refused < 200 && i < 20000; i++) {
		unsigned k = (unsigned)below(KEYS);
		uint32_t size = 1 + (uint32_t)below(below(3) ? 3000 : VALUE_BYTES_MAX);

		if (have[k] && refused && !below(3)) {
			err = del(lsm, k);
			*deletes_failed += err != 0;
			have[k] = err ? have[k] : 0;
			continue;
		}
		err = put(lsm, k, size);
		refused += err == -ENOSPC;
		have[k] = err ? have[k] : size;
		if (err && err != -ENOSPC)
			bail("put: %d", err);
	}
}

/* Whether a value finds room within a while. */
static bool room_again(struct lsm *lsm)
{
	int err = -ENOSPC;

	for (unsigned tries = 0; err == -ENOSPC && tries < 500; tries++) {
		err = put(lsm, 1, VALUE_BYTES_MAX);
		if (err)
			usleep(20000);
	}
	return !err;
}

static uint64_t reserved(struct storage *disk)
{
	struct storage_file *f;
	uint64_t size = 0;

	if (!storage_open_file(disk, "RESERVE", STORAGE_READ, &f)) {
		disk->ops->size(f, &size, NULL);
		storage_close(f);
	}
	return size;
}

/* Bytes written to segments for values that are refused. */
static uint64_t taken_by_refused(struct lsm *lsm)
{
	struct lsm_stats before, after;

	lsm_stats(lsm, &before);
	for (int i = 0; i < 20; i++) {
		int err = put(lsm, 0, VALUE_BYTES_MAX);

		if (!err)
			have[0] = VALUE_BYTES_MAX;
		if (err != -ENOSPC)
			return 0; /* there is room again */
	}
	lsm_stats(lsm, &after);
	return after.segment_bytes_written - before.segment_bytes_written;
}

/* Others leave the store 7 MiB of 24; the few values that fill it are deleted again. */
static void test_beside_others(void)
{
	struct lsm_options o = {.create = true, .memory_bytes = 32u << 20};
	struct storage_file *others;
	unsigned count = 0, left = 0;
	struct lsm *lsm;

	o.storage = storage_mem_new();
	if (!o.storage)
		bail("no memory");
	storage_mem_limit(o.storage, DISK_BYTES);
	if (lsm_open("full", &o, &lsm) ||
	    storage_open_file(o.storage, "others.tmp", STORAGE_CREATE, &others) ||
	    o.storage->ops->allocate(others, DISK_BYTES / 24 * 17))
		bail("cannot set up");
	while (count < 900 && !put(lsm, count, VALUE_BYTES_MAX))
		count++;
	ok(count > 10 && count < 900 && !lsm_flush(lsm),
	   "%u values fill what others leave of a disk", count);
	/* Once the reserve is whole again after the flush, others take all that is left. */
	for (unsigned tries = 0; tries < 500 && reserved(o.storage) < DISK_BYTES / 8; tries++)
		usleep(20000);
	for (uint64_t bytes = DISK_BYTES / 24 * 17; !others->st->ops->allocate(others, bytes);)
		bytes += 4096;
	storage_close(others);
	for (unsigned k = 0; k < count; k++)
		left += del(lsm, k) != 0;
	is_int(left, 0, "all of them can be deleted");
	ok(room_again(lsm), "and then there is room");
	is_int(lsm_close(lsm), 0, "closes");
	o.storage->ops->free(o.storage);
}

/* A disk is filled up, and the process killed, again and again. */
static void test_killed(void)
{
	struct lsm_options o = {.create = true, .memory_bytes = 32u << 20};
	struct storage *disk = storage_mem_new(), *dead;
	unsigned deletes_failed = 0, opens_failed = 0, mistakes = 0, left = 0;
	uint64_t taken = 0;
	struct lsm *lsm;

	if (!disk)
		bail("no memory");
	for (unsigned round = 0; round < ROUNDS; round++) {
		storage_mem_limit(disk, DISK_BYTES);
		o.storage = disk;
		if (lsm_open("full", &o, &lsm)) {
			opens_failed++;
			break;
		}
		mistakes += wrong(lsm);
		fill_up(lsm, &deletes_failed);
		mistakes += wrong(lsm);
		taken += taken_by_refused(lsm);
		if (!round)
			ok(reserved(disk) >= DISK_BYTES / 16,
			   "the next open has its part of the reserve");
		/* As kill -9 does: written bytes stay, and memory is lost. */
		dead = disk;
		disk = storage_mem_crash(dead, STORAGE_MEM_KEEP_ALL, 0);
		lsm_close(lsm);
		dead->ops->free(dead);
		if (!disk)
			bail("no memory");
	}
	is_int(opens_failed, 0, "a store on a full disk opens after its process was killed");
	is_int(deletes_failed, 0, "deleting works on a full disk");
	is_int(taken, 0, "what is refused has written no values before");
	is_int(mistakes, 0, "nothing that was written is lost, and refused writes changed nothing");

	storage_mem_limit(disk, DISK_BYTES);
	o.storage = disk;
	if (opens_failed || lsm_open("full", &o, &lsm))
		bail("the store does not open");
	for (unsigned k = 0; k < KEYS; k++)
		left += del(lsm, k) != 0;
	is_int(left, 0, "all can be deleted");
	memset(have, 0, sizeof(have));
	ok(room_again(lsm), "and then there is room");
	have[1] = VALUE_BYTES_MAX;
	is_int(wrong(lsm), 0, "exactly that value is in the store");
	is_int(lsm_close(lsm), 0, "closes");
	disk->ops->free(disk);
}

int main(void)
{
	choices.state = option_number("SEED", 20261);
	printf("# SEED=%" PRIu64 "\n", choices.state);
	for (size_t i = 64; i < sizeof(value); i++)
		value[i] = (unsigned char)below(256);
	run_test(test_killed);
	run_test(test_beside_others);
	return done();
}
