/*
 * block.h - one block of sorted entries with shared-prefix keys and restart
 * points. The format is specified at the top of block.c. A block knows nothing
 * of files, checksums and compression; those are in table_format.c.
 */
#ifndef LSM_BLOCK_H
#define LSM_BLOCK_H

#include "lsm/base/buf.h"
#include "lsm/base/iter.h"

#define BLOCK_RESTART_INTERVAL 16 /* entries from one restart point to the next */

struct block_builder {
	struct buf bytes;
	struct buf restarts; /* u32 each */
	struct buf last_key;
	unsigned restart_interval; /* may be changed while the builder is empty */
	unsigned since_restart;
	size_t entries;
};

void block_builder_init(struct block_builder *b);
void block_builder_release(struct block_builder *b);
void block_builder_clear(struct block_builder *b);

/*
 * Add an entry; bytes are copied. Keys come in ascending order (asserted).
 * 0; -ENOMEM; -EFBIG if the block got larger than 4 GiB. After an error nothing has changed.
 */
int block_builder_add(struct block_builder *b, struct lsm_slice ikey, struct lsm_slice value);
size_t block_builder_bytes(const struct block_builder *b); /* of the block if finished now */

/* `*block` is valid until the builder is changed. It may have no entry. 0; -ENOMEM. */
int block_builder_finish(struct block_builder *b, struct lsm_slice *block);

/*
 * Check the trailer of a block's bytes. Entries are checked when they are decoded.
 * Returns 0; -EUCLEAN (not reported), with the reason in words in `*reason` (may be NULL).
 * Whatever the bytes, neither this nor anything below reads outside of them.
 */
int block_check(struct lsm_slice block, const char **reason);

/* What block_find() found, pointing into the block. */
struct block_found {
	struct lsm_slice value;
	uint64_t trailer; /* sequence and type, as ikey_trailer() */
	bool same_user;   /* its user key is the one looked for */
	bool after_newer; /* the entry before it has that user key too, and is newer */
	/* For the cursor: the key is the first `shared` bytes looked for, then `delta`. */
	size_t offset, next_offset;
	size_t shared;
	struct lsm_slice delta;
	const char *reason; /* after -EUCLEAN: what is wrong, in words */
};

/*
 * Find the first entry >= `ikey` of a block that was checked, without building a key
 * or allocating.
 * Returns 0; LSM_ABSENT if every entry is below (`after_newer` is set all the same);
 * -EUCLEAN (not reported), with found->reason.
 */
int block_find(struct lsm_slice block, struct lsm_slice ikey, struct block_found *found);

/*
 * An iterator over `block`, which was checked and must stay while it is used.
 * `done` (may be NULL) is called with `done_ctx` when the iterator is freed.
 * A malformed entry ends it with -EUCLEAN (not reported). NULL: no memory.
 */
struct iter *block_iter(struct lsm_slice block, void (*done)(void *ctx), void *done_ctx);

/*
 * The same iterator in place, without an allocation of its own. block_cursor_reset() sets it
 * on another block; it is not valid then until it is positioned.
 */
struct block_cursor {
	struct iter it;
	struct lsm_slice block;
	struct buf key;
	size_t offset, next_offset; /* of the entry here and the one after it */
	size_t restarts_offset;
	uint32_t restarts_count;
	const char *reason; /* after -EUCLEAN: what is wrong, in words */
};
void block_cursor_init(struct block_cursor *c);
void block_cursor_reset(struct block_cursor *c, struct lsm_slice block);
void block_cursor_release(struct block_cursor *c);

#endif
