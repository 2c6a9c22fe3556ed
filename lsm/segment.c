/*
 * segment.c - references to large values, and reading what they refer to.
 *
 * A segment file has only values, each starting at a multiple of 4096
 * and followed by zeros up to the next one. The references in the tree alone say where a value
 * is, so a segment without references is garbage, and a
 * value needs no header, which would spoil the alignment of its bytes.
 *
 * A reference names consecutive chunks and the part of their bytes that is the value. A
 * value just written is all bytes of its chunks. A slice of it (the rest of an extent
 * that was partly overwritten) shares the chunks that it needs, and skips the bytes
 * before it:
 *
 *        offset                        offset + stored
 *          | chunk 0 | chunk 1 | chunk 2 |
 *          |---skip--|=======size=====|--|
 *
 * Encoding, varints as in coding.h:
 *
 *   varint  segment       file number
 *   varint  offset / 4096
 *   varint  stored        bytes the checksums cover, 1 .. LSM_VALUE_BYTES_MAX
 *   varint  skip          < 4096
 *   varint  size          >= 1
 *   u32 LE  sum           for each chunk: (stored + 4095) / 4096 of them
 *
 * and nothing after it. It is valid if skip + size <= stored, if the first and
 * the last chunk each hold at least one byte of the value (a slice drops the
 * chunks it does not need, so that their space can be freed), and if the
 * chunks end before 2^63.
 *
 * A chunk's checksum is the low half of XXH3_64bits_withSeed() over the
 * chunk's bytes (4096, but for the last one of a value what it has), with
 *
 *   seed = segment * 0x9e3779b97f4a7c15 ^ file offset of the chunk
 *
 * so right bytes in the wrong place have a wrong checksum.
 *
 * There is no segment 0. A reference to it stands in the place of a value that a repair
 * found lost.
 *
 * Example: 5000 bytes 'v' at 8192 of segment 7, and the ten from byte 4090 on of them:
 *
 *   07 02 88 27 00 88 27 a9 38 ca 70 ee 87 6c 65
 *   07 02 88 27 fa 1f 0a a9 38 ca 70 ee 87 6c 65
 */
#include "lsm/segment.h"

#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

#define SUM_BYTES 4u

/*
 * A request of up to this many chunks that covers one of them only in part is read in one call
 * and copied, which costs less than a second call.
 */
#define BOUNCE_CHUNKS 4u

_Static_assert(LSM_VALUE_BYTES_MAX % SEGMENT_CHUNK == 0, "a value's limit is whole chunks");

void segment_name(char *name, uint64_t number)
{
	snprintf(name, SEGMENT_NAME_BYTES, "%06llu.seg", (unsigned long long)number);
}

/* The rules for a reference that do not depend on its encoding. */
static bool segment_ref_valid(const struct segment_ref *ref)
{
	uint64_t end = (uint64_t)ref->skip + ref->size;

	return ref->offset % SEGMENT_CHUNK == 0 && ref->offset <= INT64_MAX - LSM_VALUE_BYTES_MAX &&
	       ref->stored <= LSM_VALUE_BYTES_MAX && ref->size > 0 && ref->skip < SEGMENT_CHUNK &&
	       end <= ref->stored && (end - 1) / SEGMENT_CHUNK + 1 == segment_ref_chunks(ref);
}

static int segment_ref_malformed(void)
{
	return report_malformed(NULL, "malformed segment reference");
}

int segment_ref_decode(struct lsm_slice bytes, struct segment_ref *ref)
{
	const uint8_t *p, *end;
	uint64_t chunk;

	*ref = (struct segment_ref){0};
	if (!bytes.size)
		return segment_ref_malformed();
	p = bytes.data;
	end = p + bytes.size;
	p = get_varint(p, end, &ref->segment);
	p = get_varint(p, end, &chunk);
	p = get_varint32(p, end, &ref->stored);
	p = get_varint32(p, end, &ref->skip);
	p = get_varint32(p, end, &ref->size);
	if (!p || chunk > INT64_MAX / SEGMENT_CHUNK)
		return segment_ref_malformed();
	ref->offset = chunk * SEGMENT_CHUNK;
	if (!segment_ref_valid(ref) ||
	    (size_t)(end - p) != (size_t)segment_ref_chunks(ref) * SUM_BYTES)
		return segment_ref_malformed();
	ref->sums = p;
	return 0;
}

int segment_ref_encode(const struct segment_ref *ref, struct buf *out)
{
	size_t sums_size = (size_t)segment_ref_chunks(ref) * SUM_BYTES;
	uint8_t *p;

	assert(segment_ref_valid(ref));

	if (buf_reserve(out, 5 * VARINT64_BYTES_MAX + sums_size))
		return -ENOMEM;
	p = out->data + out->size;
	p = put_varint(p, ref->segment);
	p = put_varint(p, ref->offset / SEGMENT_CHUNK);
	p = put_varint(p, ref->stored);
	p = put_varint(p, ref->skip);
	p = put_varint(p, ref->size);
	memcpy(p, ref->sums, sums_size);
	out->size = (size_t)(p - out->data) + sums_size;
	return 0;
}

int segment_ref_slice(const struct segment_ref *ref, uint32_t offset, uint32_t size,
		      struct buf *out)
{
	struct segment_ref slice = *ref;
	uint32_t from, to, first, last;

	if (!size || offset > ref->size || size > ref->size - offset)
		return -EINVAL;
	from = ref->skip + offset;
	to = from + size;
	first = from / SEGMENT_CHUNK;
	last = (to - 1) / SEGMENT_CHUNK;
	slice.offset += (uint64_t)first * SEGMENT_CHUNK;
	slice.skip = from % SEGMENT_CHUNK;
	slice.size = size;
	slice.sums += (size_t)first * SUM_BYTES;
	/* Only the original's last chunk may be short; its checksum covers no more than it has. */
	if (last + 1 == segment_ref_chunks(ref))
		slice.stored = ref->stored - first * SEGMENT_CHUNK;
	else
		slice.stored = (last + 1 - first) * SEGMENT_CHUNK;
	return segment_ref_encode(&slice, out);
}

static uint32_t segment_chunk_sum(uint64_t segment, uint64_t offset, const void *data, size_t size)
{
	uint64_t seed = segment * UINT64_C(0x9e3779b97f4a7c15) ^ offset;

	return (uint32_t)XXH3_64bits_withSeed(data, size, seed);
}

void segment_sums(uint64_t segment, uint64_t offset, const void *data, size_t size, uint8_t *sums)
{
	const uint8_t *p = data;

	assert(offset % SEGMENT_CHUNK == 0);
	while (size) {
		size_t n = size < SEGMENT_CHUNK ? size : SEGMENT_CHUNK;

		put_u32(sums, segment_chunk_sum(segment, offset, p, n));
		sums += SUM_BYTES;
		offset += n;
		p += n;
		size -= n;
	}
}

/* ---- reading ---- */

static int segment_corrupt(const struct report *report, const struct segment_ref *ref, uint64_t at,
			   const char *what)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, ref->segment);
	return report_corrupt(report, name, ref->offset + at, "%s", what);
}

/* Read `size` stored bytes from `at`, whole chunks of `ref`, and verify them all. */
static int segment_read_chunks(struct storage_file *file, const struct report *report,
			       const struct segment_ref *ref, uint32_t at, uint8_t *buf,
			       uint32_t size)
{
	size_t got;
	int err = storage_pread(file, buf, size, ref->offset + at, &got);

	if (err)
		return err;
	for (uint32_t done = 0; done < size; done += SEGMENT_CHUNK) {
		uint32_t n = size - done < SEGMENT_CHUNK ? size - done : SEGMENT_CHUNK;
		size_t sum = (size_t)((at + done) / SEGMENT_CHUNK) * SUM_BYTES;

		if (done + n > got)
			return segment_corrupt(report, ref, at + done,
					       "the file ends within a value");
		if (segment_chunk_sum(ref->segment, ref->offset + at + done, buf + done, n) !=
		    get_u32(ref->sums + sum))
			return segment_corrupt(report, ref, at + done, "wrong checksum in a value");
	}
	return 0;
}

/* Where the chunk that holds stored byte `at` ends. */
static uint32_t segment_chunk_end(const struct segment_ref *ref, uint32_t at)
{
	uint32_t end = (at / SEGMENT_CHUNK + 1) * SEGMENT_CHUNK;

	return end < ref->stored ? end : ref->stored;
}

/* Read [from, to) through a buffer of its own; whole chunks cover at most BOUNCE_CHUNKS. */
static int segment_read_bounced(struct storage_file *file, const struct report *report,
				const struct segment_ref *ref, uint32_t from, uint32_t to,
				void *buf)
{
	uint8_t bounce[BOUNCE_CHUNKS * SEGMENT_CHUNK];
	uint32_t start = from - from % SEGMENT_CHUNK;
	int err = segment_read_chunks(file, report, ref, start, bounce,
				      segment_chunk_end(ref, to - 1) - start);

	if (!err)
		memcpy(buf, bounce + (from - start), to - from);
	return err;
}

int segment_read(struct storage_file *file, const struct report *report,
		 const struct segment_ref *ref, uint32_t offset, void *buf, uint32_t size)
{
	uint8_t *out = buf;
	uint32_t from, to;

	if (offset > ref->size || size > ref->size - offset)
		return -EINVAL;
	from = ref->skip + offset;
	to = from + size;
	while (from < to) {
		bool whole_first = from % SEGMENT_CHUNK == 0 && to >= segment_chunk_end(ref, from);
		bool whole_last = to == segment_chunk_end(ref, to - 1);
		uint32_t chunks = (to - 1) / SEGMENT_CHUNK - from / SEGMENT_CHUNK + 1;
		uint32_t until;
		int err;

		if (chunks <= BOUNCE_CHUNKS && !(whole_first && whole_last)) {
			until = to;
			err = segment_read_bounced(file, report, ref, from, until, out);
		} else if (!whole_first) {
			until = segment_chunk_end(ref, from);
			err = segment_read_bounced(file, report, ref, from, until, out);
		} else {
			until = whole_last ? to : to - to % SEGMENT_CHUNK;
			err = segment_read_chunks(file, report, ref, from, out, until - from);
		}
		if (err)
			return err;
		out += until - from;
		from = until;
	}
	return 0;
}
