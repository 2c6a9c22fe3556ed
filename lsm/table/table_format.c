/*
 * table_format.c - the format of a table file, encoder and decoder.
 *
 *   file  = data block* | filter block? | ranges block? | index block | footer
 *
 * without a gap. All integers are little-endian.
 *
 * A stored block is its contents, the payload, and a trailer:
 *
 *   payload, maybe compressed
 *   u32 payload bytes once decompressed (of a raw one: its bytes)
 *   u8  0 raw, 1 LZ4, 2 zstd
 *   u32 checksum
 *
 * The checksum is the lower half of XXH3 (64 bits) over all before it, seeded with
 *   table number * 0x9e3779b97f4a7c15 + offset of the block in the file
 * so that a block read from another place or another table is a damaged one. A
 * handle is where a stored block is: varint offset | varint bytes with trailer.
 *
 * Payloads:
 *   data    a block of block.c: the entries, internal key to value.
 *   index   a block of block.c with every entry a restart point: for each data
 *           block, in order, a key to its handle. The key is at or above the last
 *           key of that block and below the first key of the next one: either that
 *           last key itself, or, if that is shorter, the shortest user key which is
 *           above the last and a proper prefix of the next one's, with the trailer
 *           that sorts first (SEQUENCE_MAX, IKEY_TYPE_MAX). For the last block it is
 *           the last key of the table. A table without entries has an empty index.
 *           So a key looked for can only be in the first block whose index key is
 *           not below it; versions of one user key may go on in the next block.
 *   filter  of filter.c, of every user key in the data blocks; never compressed.
 *   ranges  range tombstones in the order they were added, each
 *           varint sequence | varint size, start | varint size, end
 *           with start not empty and < end.
 *
 * The footer:
 *     0  u64 offset, u64 size of the filter block     (size 0: there is none, and
 *    16  u64 offset, u64 size of the ranges block      the offset is where it would be)
 *    32  u64 offset, u64 size of the index block
 *    48  u64 data blocks
 *    56  u64 entries
 *    64  u64 of them tombstones
 *    72  u64 range tombstones
 *    80  u64 0
 *    88  u32 format version, 1
 *    92  u32 checksum as a block's, of bytes 0..91, with the footer's offset
 *    96  u64 magic 0x5661727665546162, "baTevraV" in the file
 *
 * So every byte of a file is covered by a checksum, but for the last 8, which are compared.
 * A footer of a later version keeps its size, and bytes 88..103 their meaning.
 *
 * Crash rules: a table is written once, synced, and only then named by the
 * manifest. So a half-written table is never read.
 *
 * Limits: a compressed payload is at most TABLE_BLOCK_BYTES_MAX long decompressed (an
 * entry of the largest value makes a block of a little over 4 MiB; a longer
 * payload, of a big index, is stored raw). A raw one is at most RAW_BYTES_MAX long: twice
 * the range tombstones of the largest batch. So no file makes the reader allocate
 * more, whatever its bytes and its length (a sparse file costs nothing to make).
 *
 * Example: table 7 with one entry, "a" @1 put = "x", no filter, not compressed
 *   000  00 09 01 61 01 01 00 00 00 00 00 00 78      data payload: the entry,
 *   00d  00 00 00 00 01 00 00 00                     its restart at 0, one of them
 *   015  15 00 00 00 00 a6 01 ff a7                  21 bytes, raw, checksum
 *   01e  00 09 02 61 01 01 00 00 00 00 00 00 00 1e   index payload: "a" @1 => 0, 30
 *   02c  00 00 00 00 01 00 00 00
 *   034  16 00 00 00 00 a8 66 1a eb
 *   03d  1e 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00    no filter
 *   04d  1e 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00    no ranges
 *   05d  1e 00 00 00 00 00 00 00 1f 00 00 00 00 00 00 00    index
 *   06d  01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00    1 block, 1 entry
 *   07d  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
 *   08d  00 00 00 00 00 00 00 00 01 00 00 00 c6 c3 be 62    version 1, checksum
 *   09d  62 61 54 65 76 72 61 56
 */
#include <lz4.h>
#include <stdatomic.h>
#include <xxhash.h>
#include <zstd.h>

#include "lsm/base/ikey.h"
#include "lsm/base/report.h"
#include "lsm/table/table_format.h"

#define MAGIC UINT64_C(0x5661727665546162)
#define VERSION 1u
#define RAW_BYTES_MAX (2 * (size_t)LSM_BATCH_BYTES_MAX)
#define ZSTD_LEVEL 1
#define STACK_BLOCK_BYTES 8192u

enum stored_as { STORED_RAW = 0, STORED_LZ4 = 1, STORED_ZSTD = 2 };

static uint64_t table_format_seed(uint64_t number, uint64_t offset)
{
	return number * UINT64_C(0x9e3779b97f4a7c15) + offset;
}

static uint32_t table_format_checksum(const void *data, size_t size, uint64_t number,
				      uint64_t offset)
{
	return (uint32_t)XXH3_64bits_withSeed(data, size, table_format_seed(number, offset));
}

/* ---- handles ---- */

int table_handle_encode(const struct table_handle *h, struct buf *out)
{
	if (buf_reserve(out, 2 * (size_t)VARINT64_BYTES_MAX))
		return -ENOMEM;
	buf_add_varint(out, h->offset);
	return buf_add_varint(out, h->size);
}

static bool table_handle_within(const struct table_handle *h, uint64_t end)
{
	return h->size > TABLE_BLOCK_TRAILER_BYTES && h->offset < end && h->size <= end - h->offset;
}

bool table_handle_decode(struct lsm_slice bytes, uint64_t end, struct table_handle *h)
{
	const uint8_t *p = bytes.data, *limit = p + bytes.size;

	*h = (struct table_handle){0};
	p = get_varint(p, limit, &h->offset);
	p = get_varint(p, limit, &h->size);
	return p == limit && table_handle_within(h, end);
}

/* ---- the footer ---- */

static uint8_t *table_footer_put_handle(uint8_t *p, const struct table_handle *h)
{
	put_u64(p, h->offset);
	put_u64(p + 8, h->size);
	return p + 16;
}

static const uint8_t *table_footer_get_handle(const uint8_t *p, struct table_handle *h)
{
	h->offset = get_u64(p);
	h->size = get_u64(p + 8);
	return p + 16;
}

void table_footer_encode(const struct table_footer *f, uint64_t number, uint64_t offset,
			 uint8_t bytes[TABLE_FOOTER_BYTES])
{
	uint8_t *p = bytes;

	p = table_footer_put_handle(p, &f->filter);
	p = table_footer_put_handle(p, &f->ranges);
	p = table_footer_put_handle(p, &f->index);
	put_u64(p, f->blocks);
	put_u64(p + 8, f->entries);
	put_u64(p + 16, f->tombstones);
	put_u64(p + 24, f->range_tombstones);
	put_u64(p + 32, 0);
	put_u32(p + 40, VERSION);
	put_u32(p + 44, table_format_checksum(bytes, 92, number, offset));
	put_u64(p + 48, MAGIC);
}

/* The blocks behind the data blocks follow each other without a gap, up to the footer. */
static bool table_footer_adds_up(const struct table_footer *f, uint64_t offset)
{
	const struct table_handle *h[] = {&f->filter, &f->ranges, &f->index};
	uint64_t at = f->filter.offset;

	for (size_t i = 0; i < sizeof(h) / sizeof(h[0]); i++) {
		if (h[i]->offset != at || at > offset || h[i]->size > offset - at)
			return false;
		if (h[i]->size && h[i]->size <= TABLE_BLOCK_TRAILER_BYTES)
			return false;
		at += h[i]->size;
	}
	return at == offset && f->index.size && f->tombstones <= f->entries;
}

int table_footer_decode(const uint8_t bytes[TABLE_FOOTER_BYTES], uint64_t number, uint64_t offset,
			struct table_footer *f, const char **reason)
{
	const uint8_t *p = bytes;

	*f = (struct table_footer){0};
	p = table_footer_get_handle(p, &f->filter);
	p = table_footer_get_handle(p, &f->ranges);
	p = table_footer_get_handle(p, &f->index);
	f->blocks = get_u64(p);
	f->entries = get_u64(p + 8);
	f->tombstones = get_u64(p + 16);
	f->range_tombstones = get_u64(p + 24);
	if (get_u64(p + 48) != MAGIC)
		return report_malformed(reason, "not the end of a table (magic)");
	if (get_u32(p + 44) != table_format_checksum(bytes, 92, number, offset))
		return report_malformed(reason, "footer checksum is wrong");
	if (get_u32(p + 40) != VERSION) {
		*reason = "written by a newer version of the format";
		return -EPROTONOSUPPORT;
	}
	if (!table_footer_adds_up(f, offset))
		return report_malformed(reason, "footer contradicts itself");
	*reason = NULL;
	return 0;
}

/* ---- stored blocks ---- */

void table_codec_release(struct table_codec *c)
{
	ZSTD_freeCCtx(c->zstd);
	buf_release(&c->scratch);
	*c = (struct table_codec){0};
}

/*
 * Compress `payload` into the scratch buffer if that saves an eighth at least:
 * less is not worth decompressing at every read. Any trouble means raw.
 */
static enum stored_as table_block_compress(struct table_codec *c, struct lsm_slice payload)
{
	size_t room = payload.size - (payload.size + 7) / 8, size = 0;
	enum stored_as stored_as = STORED_RAW;

	c->scratch.size = 0;
	if (c->compression == LSM_COMPRESS_NONE || payload.size > TABLE_BLOCK_BYTES_MAX || !room ||
	    buf_reserve(&c->scratch, room))
		return STORED_RAW;
	if (c->compression == LSM_COMPRESS_LZ4) {
		int got = LZ4_compress_default(payload.data, (char *)c->scratch.data,
					       (int)payload.size, (int)room);

		size = got > 0 ? (size_t)got : 0;
		stored_as = STORED_LZ4;
	} else {
		if (!c->zstd)
			c->zstd = ZSTD_createCCtx();
		if (c->zstd)
			size = ZSTD_compressCCtx(c->zstd, c->scratch.data, room, payload.data,
						 payload.size, ZSTD_LEVEL);
		if (ZSTD_isError(size))
			size = 0;
		stored_as = STORED_ZSTD;
	}
	c->scratch.size = size;
	return size ? stored_as : STORED_RAW;
}

int table_block_store(struct table_codec *c, struct lsm_slice payload, uint64_t number,
		      uint64_t offset, struct buf *out, uint64_t *size)
{
	enum stored_as stored_as = table_block_compress(c, payload);
	struct lsm_slice bytes = stored_as == STORED_RAW ? payload : buf_slice(&c->scratch);
	size_t start = out->size;
	uint8_t type = (uint8_t)stored_as;

	*size = 0;
	if (bytes.size > RAW_BYTES_MAX)
		return -EFBIG;
	if (buf_reserve(out, bytes.size + TABLE_BLOCK_TRAILER_BYTES))
		return -ENOMEM;
	buf_add(out, bytes.data, bytes.size);
	buf_add_u32(out, (uint32_t)payload.size);
	buf_add(out, &type, 1);
	buf_add_u32(out,
		    table_format_checksum(out->data + start, out->size - start, number, offset));
	*size = out->size - start;
	return 0;
}

/*
 * A decompression context is some 100 KiB and slow to make. So a few that are not in use are
 * kept, until the process ends.
 */
static _Atomic(ZSTD_DCtx *) spare_contexts[4];
#define SPARE_CONTEXTS (sizeof(spare_contexts) / sizeof(spare_contexts[0]))

static size_t table_block_zstd(void *to, size_t to_size, const void *from, size_t from_size)
{
	ZSTD_DCtx *context = NULL;
	size_t size;

	for (size_t i = 0; i < SPARE_CONTEXTS && !context; i++)
		context = atomic_exchange(&spare_contexts[i], NULL);
	if (!context)
		context = ZSTD_createDCtx();
	if (!context)
		return SIZE_MAX;
	size = ZSTD_decompressDCtx(context, to, to_size, from, from_size);
	for (size_t i = 0; i < SPARE_CONTEXTS && context; i++) {
		ZSTD_DCtx *empty = NULL;

		if (atomic_compare_exchange_strong(&spare_contexts[i], &empty, context))
			context = NULL;
	}
	ZSTD_freeDCtx(context);
	return size;
}

static int table_block_decompress(enum stored_as stored_as, struct lsm_slice from,
				  struct table_block *to, const char **reason)
{
	size_t size = 0;

	if (stored_as == STORED_LZ4) {
		int got = LZ4_decompress_safe(from.data, (char *)to->data, (int)from.size,
					      (int)to->size);

		size = got < 0 ? SIZE_MAX : (size_t)got;
	} else {
		size = table_block_zstd(to->data, to->size, from.data, from.size);
		if (size == SIZE_MAX)
			return -ENOMEM;
	}
	if (size == to->size)
		return 0;
	return report_malformed(reason, "block does not decompress");
}

/* Verify the bytes of a stored block and make a payload of them. */
static int table_block_unwrap(const uint8_t *bytes, uint64_t number, struct table_handle h,
			      struct table_block **out, const char **reason)
{
	size_t size = h.size - TABLE_BLOCK_TRAILER_BYTES;
	uint32_t payload_size = get_u32(bytes + size);
	uint8_t stored_as = bytes[size + 4];
	struct table_block *b;
	int err;

	if (get_u32(bytes + h.size - 4) !=
	    table_format_checksum(bytes, h.size - 4, number, h.offset))
		return report_malformed(reason, "block checksum is wrong");
	if (stored_as > STORED_ZSTD)
		return report_malformed(reason, "block is compressed in an unknown way");
	if (stored_as == STORED_RAW && payload_size != size)
		return report_malformed(reason, "block size is wrong");
	if (stored_as != STORED_RAW &&
	    (payload_size > TABLE_BLOCK_BYTES_MAX || size > TABLE_BLOCK_BYTES_MAX || !payload_size))
		return report_malformed(reason, "block is larger than a block can be");
	*reason = "out of memory";
	b = malloc(sizeof(*b) + payload_size);
	if (!b)
		return -ENOMEM;
	b->size = payload_size;
	if (stored_as == STORED_RAW) {
		memcpy(b->data, bytes, size);
		err = 0;
	} else {
		err = table_block_decompress((enum stored_as)stored_as,
					     (struct lsm_slice){bytes, size}, b, reason);
	}
	if (err) {
		free(b);
		return err;
	}
	*reason = NULL;
	*out = b;
	return 0;
}

int table_block_load(struct storage_file *f, uint64_t number, struct table_handle h,
		     struct table_block **out, const char **reason)
{
	uint8_t stack[STACK_BLOCK_BYTES], *bytes = stack;
	int err;

	*out = NULL;
	if (h.size <= TABLE_BLOCK_TRAILER_BYTES ||
	    h.size > RAW_BYTES_MAX + TABLE_BLOCK_TRAILER_BYTES)
		return report_malformed(reason, "block is longer than a block can be");
	if (h.size > sizeof(stack)) {
		*reason = "out of memory";
		bytes = malloc(h.size);
		if (!bytes)
			return -ENOMEM;
	}
	err = storage_pread_full(f, bytes, h.size, h.offset);
	if (err)
		*reason = err == -EUCLEAN ? "file ends within the block" : "block cannot be read";
	else
		err = table_block_unwrap(bytes, number, h, out, reason);
	if (bytes != stack)
		free(bytes);
	return err;
}

/* ---- stored blocks whose handles are lost ---- */

bool table_trailer_likely(const uint8_t bytes[TABLE_BLOCK_TRAILER_BYTES], uint64_t before)
{
	uint32_t payload_size = get_u32(bytes);

	if (bytes[4] == STORED_RAW)
		return payload_size && payload_size <= before;
	return (bytes[4] == STORED_LZ4 || bytes[4] == STORED_ZSTD) && payload_size &&
	       payload_size <= TABLE_BLOCK_BYTES_MAX;
}

int table_block_measure(const uint8_t *bytes, size_t size, uint64_t number, uint64_t offset,
			size_t *stored)
{
	XXH3_state_t *state = XXH3_createState();
	size_t hashed = 0;

	*stored = 0;
	if (!state)
		return -ENOMEM;
	XXH3_64bits_reset_withSeed(state, table_format_seed(number, offset));
	for (size_t n = 1; !*stored && n + TABLE_BLOCK_TRAILER_BYTES <= size; n++) {
		const uint8_t *trailer = bytes + n;
		uint32_t payload_size = get_u32(trailer);

		/* A block is only stored compressed if that made it shorter. */
		if (!table_trailer_likely(trailer, n) ||
		    (trailer[4] == STORED_RAW ? payload_size != n : payload_size <= n))
			continue;
		XXH3_64bits_update(state, bytes + hashed, n + 5 - hashed);
		hashed = n + 5;
		if ((uint32_t)XXH3_64bits_digest(state) == get_u32(trailer + 5))
			*stored = n + TABLE_BLOCK_TRAILER_BYTES;
	}
	XXH3_freeState(state);
	return 0;
}

/* ---- range tombstones ---- */

int table_range_encode(uint64_t sequence, struct lsm_slice start, struct lsm_slice end,
		       struct buf *out)
{
	if (buf_reserve(out, 3 * (size_t)VARINT64_BYTES_MAX + start.size + end.size))
		return -ENOMEM;
	buf_add_varint(out, sequence);
	buf_add_bytes(out, start);
	return buf_add_bytes(out, end);
}

const uint8_t *table_range_decode(const uint8_t *p, const uint8_t *limit, uint64_t *sequence,
				  struct lsm_slice *start, struct lsm_slice *end)
{
	const uint8_t *start_data, *end_data;
	size_t start_size, end_size;

	*sequence = 0;
	*start = *end = (struct lsm_slice){0};
	p = get_varint(p, limit, sequence);
	p = get_bytes(p, limit, &start_data, &start_size);
	p = get_bytes(p, limit, &end_data, &end_size);
	if (!p || *sequence > SEQUENCE_MAX || !start_size || start_size > LSM_KEY_BYTES_MAX ||
	    end_size > LSM_KEY_BYTES_MAX)
		return NULL;
	*start = (struct lsm_slice){start_data, start_size};
	*end = (struct lsm_slice){end_data, end_size};
	return slice_compare(*start, *end) < 0 ? p : NULL;
}
