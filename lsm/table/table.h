/*
 * table.h - one sorted table: building it, and reading it.
 *
 * The format of the file is specified at the top of table_format.c, that of a block in
 * block.c, that of the filter in filter.c. A table holds internal keys in order, and
 * range tombstones in a block of their own.
 *
 * table_build.c writes a table, table.c reads it, table_verify.c verifies it, table_salvage.c
 * reads what is left of a damaged one.
 */
#ifndef LSM_TABLE_H
#define LSM_TABLE_H

#include "lsm/base/buf.h"
#include "lsm/base/iter.h"
#include "lsm/base/report.h"
#include "lsm/storage/storage.h"
#include "lsm/table/cache.h"
#include "lsm/table/rangedel.h"

struct table;
struct table_builder;

/* The name of table `number`: "%06llu.tab" in a buffer of TABLE_NAME_BYTES. */
#define TABLE_NAME_BYTES 32
void table_name(char *name, uint64_t number);

struct table_build_options {
	/* A data block is closed at this size, before compression; at most 1 MiB. */
	size_t block_bytes;
	enum lsm_compression compression;
	unsigned filter_bits_per_key; /* 0: no filter */
};

/*
 * Start to build table `number` in a new file. The caller owns `*out`.
 * Returns 0; -ENOMEM; -EEXIST; another error of the storage. The directory is not synced.
 * Threads: one at a time for each builder.
 */
int table_builder_new(struct storage *st, uint64_t number,
		      const struct table_build_options *options, struct table_builder **out);

/*
 * Add an entry. Keys come in strictly ascending internal order (asserted). Bytes are copied.
 * Returns 0; -ENOMEM; -EFBIG; -ENOSPC; another error of the storage. After an error every later
 * call returns the same error, and the builder can only be freed.
 */
int table_builder_add(struct table_builder *b, struct lsm_slice ikey, struct lsm_slice value);

/*
 * Add a range tombstone of the user keys [start, end), at any time before the end, in any order.
 * Bytes are copied, and tombstones are stored as they come. Returns as table_builder_add().
 */
int table_builder_add_range(struct table_builder *b, uint64_t sequence, struct lsm_slice start,
			    struct lsm_slice end);

/* About the size of the file so far. The block that is being filled counts uncompressed. */
uint64_t table_builder_bytes(const struct table_builder *b);
uint64_t table_builder_entries(const struct table_builder *b);
uint64_t table_builder_tombstones(const struct table_builder *b); /* of the entries */
uint64_t table_builder_ranges(const struct table_builder *b);

/*
 * Write the rest, sync and close the file. `*bytes` is its size. Returns as table_builder_add().
 * Durability: the bytes, not the name. After this the builder can only be freed.
 */
int table_builder_finish(struct table_builder *b, uint64_t *bytes);

/* Free the builder. Unless it was finished with success, its file is deleted. NULL is fine. */
void table_builder_free(struct table_builder *b);

/* ---- reading: every call by any thread ---- */

/* Shared by all open tables of a tree, which it outlives. */
struct table_env {
	struct storage *st;
	struct cache *cache;
	const struct report *report;
	_Atomic uint64_t filter_negatives, filter_false_positives;
};

/*
 * The open table `number`, a file of `bytes` bytes, from the cache.
 *
 * If it is not there it is opened: footer, index, filter and range tombstones are read and
 * verified. They stay in memory and are charged to the cache. A damaged filter is reported,
 * and the table is read without it. The caller drops `*out` with table_release().
 * Returns 0; -EUCLEAN, also if the file is missing; -EPROTONOSUPPORT (both are reported); -ENOMEM;
 * an error of the storage.
 */
int table_acquire(struct table_env *env, uint64_t number, uint64_t bytes, struct table **out);
void table_release(struct table *t); /* NULL is fine */

/*
 * Find the newest entry of `key` with a sequence up to `sequence`, through the filter and the
 * block cache. Range tombstones are not considered.
 *
 * The entry's value is copied to `value`, whose memory is reused.
 * Returns 0; LSM_ABSENT; -EUCLEAN (reported); -ENOMEM; an error of the storage.
 */
int table_get(struct table *t, struct lsm_slice key, uint64_t sequence, enum ikey_type *type,
	      uint64_t *entry_sequence, struct lsm_value *value);

/* The finished fragments of the table's range tombstones. NULL: it has none. */
const struct rangedel_list *table_ranges(const struct table *t);

/*
 * An iterator over all entries, with a reference of its own to the table. `fill_cache`: blocks
 * that are read go into the cache. NULL: no memory.
 */
struct iter *table_iter(struct table *t, bool fill_cache);

/* About how many bytes of the file hold keys below `key`. */
uint64_t table_offset_of(struct table *t, struct lsm_slice key);

/* Called for an entry that was read. A return other than 0 ends the reading. */
typedef int table_entry_fn(void *ctx, struct lsm_slice ikey, struct lsm_slice value);

/*
 * Read a whole table past the cache, and verify every block and checksum, the order of keys,
 * that the filter knows each key, and that all of it is within [smallest, largest].
 *
 * The bounds are user keys; of size 0: not known. A range tombstone may end at `largest`,
 * and does not cover it. `damage` is called for the first problem of each block, with the user
 * keys that bound the contents of the block, both inclusive. `entry` (may be NULL) is called
 * for each readable entry.
 * Returns 0; -EUCLEAN if `damage` was called; the return of `entry`, if not 0; -ENOMEM; an error
 * of the storage on opening the file.
 */
int table_verify(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		 struct lsm_slice largest, lsm_damage_fn *damage, void *damage_ctx,
		 table_entry_fn *entry, void *entry_ctx);

/*
 * For a repair: read what is left of a damaged table.
 *
 * `filter` gets the filter, and `ranges`, which is not finished, the range tombstones. If the
 * footer or the index is lost, table_verify() finds no entry. Then the blocks are looked for in
 * the file, and the entries of those found are passed to `entry`, in order. Anything
 * unreadable or malformed is left out, so an empty `filter` says nothing about keys.
 * Returns 0; -ENOMEM; the return of `entry`, if not 0.
 */
int table_salvage(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		  struct lsm_slice largest, table_entry_fn *entry, void *entry_ctx,
		  struct buf *filter, struct rangedel_list *ranges);

#endif
