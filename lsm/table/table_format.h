/*
 * table_format.h - encoding and decoding the parts of a table file. The format is specified
 * at the top of table_format.c. Only the table_*.c files include this.
 *
 * The decoders do not report: after -EUCLEAN the caller reports `*reason`.
 */
#ifndef LSM_TABLE_FORMAT_H
#define LSM_TABLE_FORMAT_H

#include "lsm/base/buf.h"
#include "lsm/table/rangedel.h"
#include "lsm/storage/storage.h"

#define TABLE_FOOTER_BYTES 104u
#define TABLE_BLOCK_TRAILER_BYTES 9u
#define TABLE_BLOCK_BYTES_MAX (16u << 20)       /* of a compressed payload; longer ones are few */
#define TABLE_BLOCK_BYTES_OPTION_MAX (1u << 20) /* table_build_options.block_bytes */

/* A stored block: where its payload begins, and its bytes with their trailer. */
struct table_handle {
	uint64_t offset;
	uint64_t size; /* 0: no such block */
};

int table_handle_encode(const struct table_handle *h, struct buf *out); /* appends; -ENOMEM */
/* False if malformed or not within [0, end). */
bool table_handle_decode(struct lsm_slice bytes, uint64_t end, struct table_handle *h);

struct table_footer {
	struct table_handle filter, ranges, index; /* in this order in the file */
	uint64_t blocks;                           /* data blocks */
	uint64_t entries;                          /* in them */
	uint64_t tombstones;                       /* of the entries */
	uint64_t range_tombstones;
};

/*
 * Encode and decode the footer of table `number`, which is at `offset` of the file.
 * Decoding returns 0; -EUCLEAN or -EPROTONOSUPPORT, with the reason in words.
 */
void table_footer_encode(const struct table_footer *f, uint64_t number, uint64_t offset,
			 uint8_t bytes[TABLE_FOOTER_BYTES]);
int table_footer_decode(const uint8_t bytes[TABLE_FOOTER_BYTES], uint64_t number, uint64_t offset,
			struct table_footer *f, const char **reason);

/* Whether a user key is within the bounds of a table. A bound of size 0 is not known. */
static inline bool table_bounds_hold(struct lsm_slice smallest, struct lsm_slice largest,
				     struct lsm_slice user)
{
	return (!smallest.size || slice_compare(user, smallest) >= 0) &&
	       (!largest.size || slice_compare(user, largest) <= 0);
}

/* The compression of one builder. It starts as {.compression = ...}. */
struct table_codec {
	enum lsm_compression compression;
	void *zstd; /* its context, made when first used */
	struct buf scratch;
};
void table_codec_release(struct table_codec *c);

/*
 * Append `payload` to `out` as a stored block of table `number` that will be at `offset`
 * of the file. `*size` is its size there. 0; -ENOMEM; -EFBIG above the largest block.
 */
int table_block_store(struct table_codec *c, struct lsm_slice payload, uint64_t number,
		      uint64_t offset, struct buf *out, uint64_t *size);

/* A payload in memory, freed with free(). */
struct table_block {
	size_t size;
	uint8_t data[];
};

/*
 * Read, verify and decompress a stored block; free(*out) frees it.
 * Returns 0; -EUCLEAN; -ENOMEM; an error of the storage. After any error `*out` is NULL and
 * `*reason` is set; otherwise `*reason` is NULL.
 */
int table_block_load(struct storage_file *f, uint64_t number, struct table_handle h,
		     struct table_block **out, const char **reason);

/*
 * For a table whose index is lost: find the end of a stored block that begins with `bytes`, which
 * are at `offset` of table `number`. `*stored` is the block's size, at most `size`; 0 if no
 * block begins there. Returns 0; -ENOMEM.
 */
int table_block_measure(const uint8_t *bytes, size_t size, uint64_t number, uint64_t offset,
			size_t *stored);
/* Whether `bytes` may be the trailer of a block that begins at most `before` bytes before it. */
bool table_trailer_likely(const uint8_t bytes[TABLE_BLOCK_TRAILER_BYTES], uint64_t before);

/* One record of the block of range tombstones, appended. -ENOMEM. */
int table_range_encode(uint64_t sequence, struct lsm_slice start, struct lsm_slice end,
		       struct buf *out);
/* The record at `p`, below `limit`; returns the byte after it, or NULL if malformed. */
const uint8_t *table_range_decode(const uint8_t *p, const uint8_t *limit, uint64_t *sequence,
				  struct lsm_slice *start, struct lsm_slice *end);

#endif
