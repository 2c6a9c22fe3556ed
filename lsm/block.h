/*
 * block.h - one block of sorted entries with shared-prefix keys and restart
 * points. The format is specified at the top of block.c. A block knows nothing
 * of files, checksums or compression: table.c wraps it in those.
 */
#ifndef LSM_BLOCK_H
#define LSM_BLOCK_H

#include "buf.h"
#include "iter.h"

#define BLOCK_RESTART_INTERVAL 16

struct block_builder {
	struct buf bytes;
	struct buf restarts; /* u32 each */
	struct buf last_key;
	unsigned since_restart;
	size_t entries;
};

void block_builder_init(struct block_builder *b);
void block_builder_release(struct block_builder *b);
void block_builder_clear(struct block_builder *b);

/* Keys ascending (asserted). -ENOMEM. */
int block_builder_add(struct block_builder *b, struct lsm_slice ikey, struct lsm_slice value);
size_t block_builder_bytes(const struct block_builder *b); /* if finished now */

/* The block's bytes, valid until the builder is changed. An empty block is fine. */
int block_builder_finish(struct block_builder *b, struct lsm_slice *block);

/*
 * Check the trailer of a block's bytes. 0 or -EUCLEAN. Entries are checked when
 * an iterator decodes them; whatever the bytes, nothing outside them is read.
 */
int block_check(struct lsm_slice block);

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
