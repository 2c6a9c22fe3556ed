/*
 * segment.h - large values outside the tree.
 *
 * A segment is an append-only file of values, each starting at a multiple of
 * SEGMENT_CHUNK, with zeros between them. The tree has a
 * reference to each value: where its bytes are, and a checksum
 * for each chunk of 4 KiB, so that any part can be read and verified by itself.
 * The reference's bytes are specified at the top of segment.c.
 */
#ifndef LSM_SEGMENT_H
#define LSM_SEGMENT_H

#include "lsm/base/buf.h"
#include "lsm/base/report.h"
#include "lsm/storage/storage.h"

#define SEGMENT_CHUNK 4096u
#define SEGMENT_NAME_BYTES 32
void segment_name(char *name, uint64_t number); /* "%06llu.seg" */

/* A decoded reference. `sums` points into the encoded bytes: one u32 LE per chunk. */
struct segment_ref {
	uint64_t segment; /* file number */
	uint64_t offset;  /* of the first chunk, a multiple of SEGMENT_CHUNK */
	uint32_t stored;  /* bytes there that the checksums cover; the last chunk may be short */
	uint32_t skip;    /* bytes of the first chunk before the value, < SEGMENT_CHUNK */
	uint32_t size;    /* bytes of the value: skip + size <= stored */
	const uint8_t *sums;
};

/* No file has this number. A reference to it says that a repair found the value lost. */
#define SEGMENT_LOST 0u

/* Decode a reference; `bytes` must stay as long as `ref` is used. 0; -EUCLEAN (not reported). */
int segment_ref_decode(struct lsm_slice bytes, struct segment_ref *ref);
int segment_ref_encode(const struct segment_ref *ref, struct buf *out); /* appends; -ENOMEM */

/* Append the reference to a part of the value of `ref`. 0; -EINVAL outside of it; -ENOMEM. */
int segment_ref_slice(const struct segment_ref *ref, uint32_t offset, uint32_t size,
		      struct buf *out);

/* The number of chunks, and of bytes of the file, that a reference needs. */
static inline uint32_t segment_ref_chunks(const struct segment_ref *ref)
{
	return (ref->stored + SEGMENT_CHUNK - 1) / SEGMENT_CHUNK;
}
static inline uint64_t segment_ref_bytes(const struct segment_ref *ref)
{
	return (uint64_t)segment_ref_chunks(ref) * SEGMENT_CHUNK;
}

/* Fill in the checksums of `size` bytes at `offset` of segment `segment`; u32 LE each. */
void segment_sums(uint64_t segment, uint64_t offset, const void *data, size_t size, uint8_t *sums);

/*
 * Read [offset, offset + size) of the value into `buf` from its open segment
 * file, and verify every chunk that this covers, also in part.
 * Returns 0; -EINVAL outside of the value; -EUCLEAN (reported) when the bytes are wrong; an error
 * of the storage. After an error the bytes of `buf` are undefined. Threads: any.
 */
int segment_read(struct storage_file *file, const struct report *report,
		 const struct segment_ref *ref, uint32_t offset, void *buf, uint32_t size);

#endif
