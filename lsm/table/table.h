/*
 * table.h - one sorted table: building it, and reading it.
 *
 * The file's format is specified at the top of table_format.c; blocks are
 * block.c's, the filter is filter.c's. A table holds internal keys in order, and
 * range tombstones in a block of their own.
 *
 * table_build.c writes one, table.c reads it, table_verify.c checks it.
 */
#ifndef LSM_TABLE_H
#define LSM_TABLE_H

#include "lsm/base/buf.h"
#include "lsm/table/cache.h"
#include "lsm/base/iter.h"
#include "lsm/table/rangedel.h"
#include "lsm/base/report.h"
#include "lsm/storage/storage.h"

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

/* Start `number` in a new file. The directory is not synced. */
int table_builder_new(struct storage *st, uint64_t number,
		      const struct table_build_options *options, struct table_builder **out);

/*
 * Keys must come in strictly ascending internal order (asserted). Bytes are
 * copied. After an error of any call the builder is good for nothing but free.
 */
int table_builder_add(struct table_builder *b, struct lsm_slice ikey, struct lsm_slice value);

/* Range tombstones, in any order, any time before finish; stored as they are. */
int table_builder_add_range(struct table_builder *b, uint64_t sequence, struct lsm_slice start,
			    struct lsm_slice end);

uint64_t table_builder_bytes(const struct table_builder *b); /* file size so far, about */
uint64_t table_builder_entries(const struct table_builder *b);
uint64_t table_builder_tombstones(const struct table_builder *b); /* of the entries */
uint64_t table_builder_ranges(const struct table_builder *b);

/* Write the rest, sync and close the file. `*bytes` is its size. Then only free remains. */
int table_builder_finish(struct table_builder *b, uint64_t *bytes);

/* Frees the builder; unless finished with success the file is closed and unlinked. */
void table_builder_free(struct table_builder *b); /* NULL is fine */

/* ---- reading ---- */

struct table_env { /* what every open table of a tree shares; outlives them */
	struct storage *st;
	struct cache *cache;
	const struct report *report;
	_Atomic uint64_t filter_negatives, filter_false_positives;
};

/*
 * The open table `number` of `bytes` bytes, from the cache or opened (footer,
 * index, filter and range tombstones read and verified; they stay in memory and
 * are charged to the cache). Release it with table_release().
 * A damaged filter is reported and the table read without it.
 * Returns 0; -EUCLEAN (reported; also if the file is missing); -EIO; -ENOMEM;
 * -EPROTONOSUPPORT (reported).
 */
int table_acquire(struct table_env *env, uint64_t number, uint64_t bytes, struct table **out);
void table_release(struct table *t); /* NULL is fine */

/*
 * The newest entry of `key` with a sequence up to `sequence`, through filter and
 * block cache. Range tombstones are not looked at. Returns 0 with `*type`,
 * `*entry_sequence` and the value copied to `value`; 1 absent; an error.
 */
int table_get(struct table *t, struct lsm_slice key, uint64_t sequence, enum ikey_type *type,
	      uint64_t *entry_sequence, struct lsm_value *value);

/* The finished fragments of its range tombstones; NULL if it has none. */
const struct rangedel_list *table_ranges(const struct table *t);

/* Over all entries; holds a reference of its own to the table. NULL: no memory. */
struct iter *table_iter(struct table *t, bool fill_cache);

/*
 * Read all of it past the cache: every block, checksum, the order of keys, that
 * the filter knows each key, that everything is within [smallest, largest] user
 * keys (size 0: not known; a range tombstone may end at `largest`, which it does
 * not hold). `damage` gets the first problem of each block with the user keys that
 * bound what the block may hold, both inclusive.
 * `entry` (may be NULL) sees each entry that is readable; what it returns, if not
 * 0, ends the verification and is returned.
 * Returns 0; -EUCLEAN if `damage` was called; -ENOMEM or what a failing device said
 * on opening the file.
 */
typedef int table_entry_fn(void *ctx, struct lsm_slice ikey, struct lsm_slice value);
int table_verify(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		 struct lsm_slice largest, lsm_damage_fn *damage, void *damage_ctx,
		 table_entry_fn *entry, void *entry_ctx);

/*
 * For a repair: the filter of a table in `filter` and its range tombstones in `ranges`,
 * which is not finished; and if its footer or index is lost, when table_verify() finds no
 * entry, all entries of the blocks that can be found without them, in order, to `entry`.
 * What cannot be read, or is malformed, is left out: an empty filter says nothing.
 * Returns 0; -ENOMEM; what `entry` returned, if not 0.
 */
int table_salvage(struct table_env *env, uint64_t number, uint64_t bytes, struct lsm_slice smallest,
		  struct lsm_slice largest, table_entry_fn *entry, void *entry_ctx,
		  struct buf *filter, struct rangedel_list *ranges);

/* About how many bytes of the file hold keys below `key`. */
uint64_t table_offset_of(struct table *t, struct lsm_slice key);

#endif
