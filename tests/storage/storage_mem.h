/*
 * storage_mem.h - a storage in memory that can lose power and fail calls.
 *
 * For each file it has the bytes that programs see and the bytes that
 * are surely on disk. With a record of the calls that change something, a test can get
 * the disk as a power cut at any of these calls could leave it.
 */
#ifndef LSM_STORAGE_MEM_H
#define LSM_STORAGE_MEM_H

#include "lsm/storage/storage.h"

struct storage *storage_mem_new(void); /* NULL: no memory; freed by ops->free */

/* How many recorded (changing) calls there were so far. */
uint64_t storage_mem_calls(struct storage *st);

/* How much of the changes that were not synced the disk has after a power cut. */
enum storage_mem_keep {
	STORAGE_MEM_KEEP_NONE,   /* only what was synced */
	STORAGE_MEM_KEEP_ALL,    /* everything */
	STORAGE_MEM_KEEP_RANDOM, /* any subset of 512-byte sectors, sizes, names; by `seed` */
};

/*
 * A new storage with the contents that a disk could have after a power cut behind the
 * first `calls` recorded calls. `st` is unchanged. NULL: no memory.
 * Recording must be on, and `calls` not before it was turned on (storage_mem_record).
 * The copy has no locks, no limit, no failures, no record, and counts from 0.
 */
struct storage *storage_mem_cut(struct storage *st, uint64_t calls, enum storage_mem_keep keep,
				uint64_t seed);

/* Keep the record from now on (storage_mem_cut reaches back to here), or drop it. Off at first. */
void storage_mem_record(struct storage *st, bool on);

/* A new storage, as after a power cut now. Needs no record. */
struct storage *storage_mem_crash(struct storage *st, enum storage_mem_keep keep, uint64_t seed);

enum storage_mem_op {
	STORAGE_MEM_ANY,
	STORAGE_MEM_OPEN,
	STORAGE_MEM_READ,
	STORAGE_MEM_WRITE,
	STORAGE_MEM_SYNC,
	STORAGE_MEM_RENAME,
	STORAGE_MEM_UNLINK,
	STORAGE_MEM_SYNC_DIR,
	STORAGE_MEM_ALLOCATE,
	STORAGE_MEM_TRUNCATE,
	STORAGE_MEM_PUNCH,
	STORAGE_MEM_LIST,
	STORAGE_MEM_SIZE,
};

/* How many calls of the kind were made so far, also those that failed. */
uint64_t storage_mem_count(struct storage *st, enum storage_mem_op op);

/*
 * How many of the recorded calls were of the kind `op`, and (if `suffix` is not NULL)
 * about a name that ends so: of creates (STORAGE_MEM_OPEN), renames (the new name), unlinks.
 */
uint64_t storage_mem_recorded(struct storage *st, enum storage_mem_op op, const char *suffix);

/*
 * Make the `nth` call of kind `op` from now (1: the next) fail with `error`
 * (positive errno); `times` calls in a row fail, 0: every one from then on.
 * A failing write writes a random part first. A failing sync drops the dirty
 * bytes as Linux does: they read back but never become durable. A failing
 * sync_dir leaves the changes of names pending. Any other failing call does nothing.
 * There is one rule for each kind. Setting it again replaces it, `nth` 0 removes it.
 * storage_mem_fail(st, STORAGE_MEM_ANY, 0, 0, 0) removes all rules.
 */
void storage_mem_fail(struct storage *st, enum storage_mem_op op, uint64_t nth, unsigned times,
		      int error);

/* The device's size: writes beyond it fail with ENOSPC. 0: no limit (the default). */
void storage_mem_limit(struct storage *st, uint64_t bytes);

/* Invert one byte of a file, on disk and as read. -ENOENT, -EINVAL beyond its end. */
int storage_mem_flip(struct storage *st, const char *name, uint64_t offset, unsigned char mask);

#endif
