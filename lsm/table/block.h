/*
 * block.h - one block of sorted entries with shared-prefix keys and restart
 * points. The format is specified at the top of block.c. A block knows nothing
 * of files, checksums or compression: table.c wraps it in those.
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

/* Keys ascending (asserted). -ENOMEM; -EFBIG beyond 4 GiB. On an error nothing changed. */
int block_builder_add(struct block_builder *b, struct lsm_slice ikey, struct lsm_slice value);
size_t block_builder_bytes(const struct block_builder *b); /* if finished now */

/* The block's bytes, valid until the builder is changed. An empty block is fine. */
int block_builder_finish(struct block_builder *b, struct lsm_slice *block);

/*
 * Check the trailer of a block's bytes. 0 or -EUCLEAN. Entries are checked when
 * an iterator decodes them; whatever the bytes, nothing outside them is read.
 */
int block_check(struct lsm_slice block);

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
};

/*
 * The first entry >= `ikey` of a block that was checked, without building a key
 * or allocating. Returns 0; 1 if every entry is below (`after_newer` is set
 * still); -EUCLEAN.
 */
int block_find(struct lsm_slice block, struct lsm_slice ikey, struct block_found *found);

/*
 * An iterator over `block`, which was checked and must stay while it is used.
 * `done` (may be NULL) is called with `done_ctx` when it is freed.
 * Malformed entries end it with -EUCLEAN. NULL: no memory.
 */
struct iter *block_iter(struct lsm_slice block, void (*done)(void *ctx), void *done_ctx);

/* The same in place, without allocating: reset to use it for another block. */
struct block_cursor {
	struct iter it;
	struct lsm_slice block;
	struct buf key;
	size_t offset, next_offset; /* of the entry here and the one after it */
	size_t restarts_offset;
	uint32_t restarts_count;
};
void block_cursor_init(struct block_cursor *c);
void block_cursor_reset(struct block_cursor *c, struct lsm_slice block);
void block_cursor_release(struct block_cursor *c);

#endif
