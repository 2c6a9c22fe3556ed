/*
 * wal.c - files of checksummed records.
 *
 * FORMAT. A file is a row of blocks of 32 KiB; the last may be shorter. A block
 * holds fragments one after another. Where less than a header is left in a
 * block, the rest of it is zeros and the next fragment starts the next block. A
 * record is one FULL fragment, or a FIRST, any number of MIDDLEs and a LAST,
 * each reaching the end of its block except the LAST. All integers are little-endian:
 *
 *     offset  size
 *     0       4     checksum: low 32 bits of XXH3_64bits, seeded with the
 *                   fragment's offset in the file, of all that follows it here
 *     4       2     length of the payload
 *     6       1     type: 1 FULL, 2 FIRST, 3 MIDDLE, 4 LAST
 *     7       4     the log's number
 *     11      ...   payload
 *
 * The seed and the number bind a fragment to its place: a fragment of an older
 * log in a recycled file, or one that a confused device put elsewhere, is never
 * taken for what belongs there.
 *
 * After the last fragment stands a header of zeros, the terminator, unless the
 * file ends there. Each append writes one behind its records, in the same
 * write, and the next append overwrites it. So a reader can tell a whole file from a
 * broken one even if the file is recycled, and old bytes of any kind follow.
 *
 * EXAMPLE. Log 7 holding the record "hello", then the empty record:
 *
 *     00  56 ed 9e ea  05 00  01  07 00 00 00  68 65 6c 6c 6f
 *     10  1c 2f 6b 4e  00 00  01  07 00 00 00
 *     1b  00 00 00 00  00 00  00  00 00 00 00
 *
 * READING stops before the first record that is not whole. It is a clean end
 * when, between two records, there is: the end of the file; less than a header,
 * all zeros; a header of zeros; or an intact fragment of another log. (Padding
 * is not looked at: nothing is lost with it.) Anything else is torn: a wrong
 * checksum, an unknown type, a length beyond the block or the file, MIDDLE or LAST
 * without FIRST, FULL or FIRST or any end while a record is open.
 *
 * CRASH. A record is one or more fragments of one write. When the process died,
 * a prefix of the file is there. After a power cut each sector written since the last
 * sync is old or new, and old means zeros (reserved space) or the bytes of the file
 * that was recycled. So records that were not synced may be missing behind a clean end or
 * a torn one, although later ones are whole. A synced record is missing only through damage.
 * The caller decides which it is: wal_reader_resync() looks for whole records further on.
 *
 * LIMITS. A record has at most WAL_RECORD_BYTES_MAX bytes. A reader gives up on a row of
 * fragments beyond that, which bounds its memory whatever the file holds.
 */
#include "lsm/wal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lsm/base/array.h"
#include "lsm/base/buf.h"
#include "lsm/base/coding.h"

#define BLOCK_BYTES 32768u
#define HEADER_BYTES 11u
#define CHECKSUM_BYTES 4u
#define PAYLOAD_BYTES_MAX (BLOCK_BYTES - HEADER_BYTES)

/* A payload from this size on is not copied: two more parts of the write cost less. */
#define BORROW_BYTES_MIN 4096u

/* A writer keeps at most this much memory between appends. */
#define SCRATCH_KEEP_BYTES (1u << 20)

/* Read in one call: long enough to hide a seek, short enough for the cache. Whole blocks. */
#define READ_BYTES (8u * BLOCK_BYTES)

enum fragment_type { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

static const uint8_t zeros[HEADER_BYTES * 2];

/* The checksum of a fragment at `offset` with `size` bytes of payload behind its header. */
static uint32_t wal_checksum(uint64_t offset, const uint8_t *header, size_t size)
{
	return (uint32_t)XXH3_64bits_withSeed(header + CHECKSUM_BYTES,
					      HEADER_BYTES - CHECKSUM_BYTES + size, offset);
}

/* The same for a payload that does not lie behind its header. */
static uint32_t wal_checksum_apart(XXH3_state_t *state, uint64_t offset, const uint8_t *header,
				   const void *payload, size_t size)
{
	XXH3_64bits_reset_withSeed(state, offset);
	XXH3_64bits_update(state, header + CHECKSUM_BYTES, HEADER_BYTES - CHECKSUM_BYTES);
	XXH3_64bits_update(state, payload, size);
	return (uint32_t)XXH3_64bits_digest(state);
}

/* ---- writing ---- */

struct wal {
	/* constant after open */
	struct storage_file *file;
	uint32_t number;
	/* the appender's own */
	struct buf bytes; /* headers, padding and small payloads of one append */
	XXH3_state_t *hash;
	struct iovec *parts;
	size_t parts_count, parts_room;
	int append_error; /* of the append that failed */
	/* shared with wal_sync() and wal_bytes() */
	_Atomic uint64_t offset;
	_Atomic int sync_error; /* of the first sync that failed: every later call returns it */
};

static int wal_recycle_file(struct storage *st, const char *name, uint64_t prealloc_bytes,
			    const char *recycle, struct storage_file **out)
{
	uint64_t size;
	int err = st->ops->rename(st, recycle, name);

	if (err)
		return err;
	err = storage_open_file(st, name, STORAGE_WRITE, out);
	if (err) {
		st->ops->unlink(st, name);
		return err;
	}
	err = st->ops->size(*out, &size, NULL);
	if (!err && size < prealloc_bytes)
		err = st->ops->allocate(*out, prealloc_bytes);
	return err;
}

int wal_create(struct storage *st, const char *name, uint32_t number, uint64_t prealloc_bytes,
	       const char *recycle, struct wal **out)
{
	struct wal *w = calloc(1, sizeof(*w));
	int err;

	*out = NULL;
	if (!w)
		return -ENOMEM;
	w->number = number;
	w->hash = XXH3_createState();
	if (!w->hash) {
		err = -ENOMEM;
	} else if (recycle) {
		err = wal_recycle_file(st, name, prealloc_bytes, recycle, &w->file);
	} else {
		err = storage_open_file(st, name, STORAGE_CREATE, &w->file);
		if (!err && prealloc_bytes)
			err = st->ops->allocate(w->file, prealloc_bytes);
	}
	if (!err) {
		*out = w;
		return 0;
	}
	if (w->file) {
		storage_close(w->file);
		st->ops->unlink(st, name); /* if it fails, the next open deletes the file */
	}
	XXH3_freeState(w->hash);
	free(w);
	return err;
}

/* Add `size` bytes at `data` to the parts of the write, or to the last part if they touch. */
static void wal_add_part(struct wal *w, const void *data, size_t size)
{
	struct iovec *last = w->parts_count ? &w->parts[w->parts_count - 1] : NULL;

	if (!size)
		return;
	if (last && (const char *)last->iov_base + last->iov_len == data) {
		last->iov_len += size;
		return;
	}
	assert(w->parts && w->parts_count < w->parts_room);
	w->parts[w->parts_count++] = (struct iovec){(void *)data, size};
}

/* Add a copy in the scratch buffer, where wal_append_reserve() has made room, as a part. */
static uint8_t *wal_add_copy(struct wal *w, const void *data, size_t size)
{
	uint8_t *at = w->bytes.data + w->bytes.size;

	assert(w->bytes.capacity - w->bytes.size >= size);
	if (size)
		memcpy(at, data, size);
	w->bytes.size += size;
	wal_add_part(w, at, size);
	return at;
}

/* Make room for headers, copies and parts, so that building them cannot fail or move them. */
static int wal_append_reserve(struct wal *w, const struct lsm_slice *records, size_t count)
{
	size_t copied = sizeof(zeros), parts = 2;

	for (size_t i = 0; i < count; i++) {
		/* One more because it may begin within a block, one for a FIRST without payload. */
		size_t fragments = records[i].size / PAYLOAD_BYTES_MAX + 3;

		if (records[i].size > WAL_RECORD_BYTES_MAX)
			return -EFBIG;
		/* Only the first and the last one can be small enough to be copied. */
		copied += records[i].size < 2 * BORROW_BYTES_MIN ? records[i].size :
								   2 * BORROW_BYTES_MIN;
		copied += fragments * 2 * HEADER_BYTES;
		parts += 2 * fragments;
	}
	w->bytes.size = 0;
	w->parts_count = 0;
	if (buf_reserve(&w->bytes, copied))
		return -ENOMEM;
	return array_reserve(w->parts, w->parts_room, parts);
}

/* If no header fits in the rest of the block at `offset`, fill it; returns where to go on. */
static uint64_t wal_pad_block(struct wal *w, uint64_t offset)
{
	size_t left = BLOCK_BYTES - offset % BLOCK_BYTES;

	if (left >= HEADER_BYTES)
		return offset;
	wal_add_copy(w, zeros, left);
	return offset + left;
}

/* Add the fragments of one record that starts at `offset`; returns where it ends. */
static uint64_t wal_add_record(struct wal *w, struct lsm_slice record, uint64_t offset)
{
	const uint8_t *data = record.data;
	size_t left = record.size;
	bool first = true;

	do {
		uint8_t fields[HEADER_BYTES] = {0}, *header;
		size_t room, size;

		offset = wal_pad_block(w, offset);
		room = BLOCK_BYTES - offset % BLOCK_BYTES - HEADER_BYTES;
		size = left < room ? left : room;
		left -= size;
		put_u16(fields + 4, (uint16_t)size);
		fields[6] = first ? (left ? FIRST : FULL) : (left ? MIDDLE : LAST);
		put_u32(fields + 7, w->number);
		header = wal_add_copy(w, fields, HEADER_BYTES);
		if (size < BORROW_BYTES_MIN) {
			wal_add_copy(w, data, size);
			put_u32(header, wal_checksum(offset, header, size));
		} else {
			wal_add_part(w, data, size);
			put_u32(header, wal_checksum_apart(w->hash, offset, header, data, size));
		}
		if (size)
			data += size;
		offset += HEADER_BYTES + size;
		first = false;
	} while (left);
	return offset;
}

int wal_append(struct wal *w, const struct lsm_slice *records, size_t count)
{
	uint64_t start = atomic_load_explicit(&w->offset, memory_order_relaxed), end = start;
	int err = w->append_error ? w->append_error : atomic_load(&w->sync_error);

	if (err || !count)
		return err;
	err = wal_append_reserve(w, records, count);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		end = wal_add_record(w, records[i], end);
	wal_pad_block(w, end);
	wal_add_copy(w, zeros, HEADER_BYTES);
	err = storage_pwritev(w->file, w->parts, (int)w->parts_count, start);
	w->append_error = err;
	if (!err)
		atomic_store(&w->offset, end);
	if (w->bytes.capacity > SCRATCH_KEEP_BYTES)
		buf_release(&w->bytes);
	return err;
}

uint64_t wal_bytes(const struct wal *w)
{
	return atomic_load(&w->offset);
}

int wal_reserve(struct wal *w, uint64_t bytes)
{
	uint64_t size, allocated;
	int err = w->file->st->ops->size(w->file, &size, &allocated);

	if (err || size >= bytes)
		return err;
	return w->file->st->ops->allocate(w->file, bytes);
}

int wal_sync(struct wal *w)
{
	int err = atomic_load(&w->sync_error), none = 0;

	if (err)
		return err;
	err = storage_sync(w->file);
	if (err)
		atomic_compare_exchange_strong(&w->sync_error, &none, err);
	return err;
}

int wal_close(struct wal *w)
{
	int err;

	if (!w)
		return 0;
	err = storage_close(w->file);
	buf_release(&w->bytes);
	XXH3_freeState(w->hash);
	free(w->parts);
	free(w);
	return err;
}

/* ---- reading ---- */

struct wal_reader {
	struct storage_file *file;
	const struct report *report;
	char *name;
	uint32_t number;
	uint64_t offset; /* of the next record, or where reading stopped */
	bool ended, torn;
	bool resync;     /* looking for a whole record behind broken ones */
	uint8_t *window; /* READ_BYTES from window_offset on, as far as the file has them */
	uint64_t window_offset;
	size_t window_size;
	struct buf record; /* one that is not in one piece in the window */
};

/* What is found at a place where a fragment may start. */
enum found { FOUND_FRAGMENT, FOUND_END, FOUND_BROKEN };

struct fragment {
	enum fragment_type type;
	const uint8_t *payload; /* in the window */
	size_t size;
	uint64_t end;
	const char *reason; /* why it is broken */
};

int wal_reader_open(struct storage *st, const char *name, uint32_t number,
		    const struct report *report, struct wal_reader **out)
{
	struct wal_reader *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->number = number;
	r->report = report;
	r->name = strdup(name);
	r->window = malloc(READ_BYTES);
	if (r->name && r->window)
		err = storage_open_file(st, name, STORAGE_READ, &r->file);
	if (err) {
		wal_reader_close(r);
		return err;
	}
	*out = r;
	return 0;
}

void wal_reader_close(struct wal_reader *r)
{
	if (!r)
		return;
	storage_close(r->file); /* read only: nothing to lose */
	buf_release(&r->record);
	free(r->window);
	free(r->name);
	free(r);
}

/* The bytes from `offset` to the end of its block, or of the file if that comes first. */
static int wal_reader_block_rest(struct wal_reader *r, uint64_t offset, const uint8_t **bytes,
				 size_t *size)
{
	uint64_t want = offset - offset % READ_BYTES;
	size_t at, left = BLOCK_BYTES - offset % BLOCK_BYTES;
	int err;

	if (r->window_offset != want || !r->window_size) {
		r->window_size = 0;
		err = storage_pread(r->file, r->window, READ_BYTES, want, &r->window_size);
		if (err) {
			r->window_size = 0;
			return err;
		}
		r->window_offset = want;
	}
	at = (size_t)(offset - want);
	*bytes = r->window + at;
	*size = at >= r->window_size ? 0 : r->window_size - at;
	if (*size > left)
		*size = left;
	return 0;
}

/*
 * See what is at `*offset`, which is moved to the next block if no header fits before it.
 * 0; an error of the storage.
 */
static int wal_reader_look(struct wal_reader *r, uint64_t *offset, struct fragment *f,
			   enum found *found)
{
	size_t size, left = BLOCK_BYTES - *offset % BLOCK_BYTES;
	const uint8_t *p;
	int err;

	*f = (struct fragment){.reason = "checksum mismatch"};
	*found = FOUND_BROKEN;
	if (left < HEADER_BYTES)
		*offset += left;
	err = wal_reader_block_rest(r, *offset, &p, &size);
	if (err)
		return err;
	if (!memcmp(p, zeros, size < HEADER_BYTES ? size : HEADER_BYTES)) {
		*found = FOUND_END;
		return 0;
	}
	if (size < HEADER_BYTES) {
		f->reason = "the file ends in a header";
		return 0;
	}
	f->size = get_u16(p + 4);
	f->payload = p + HEADER_BYTES;
	f->type = (enum fragment_type)p[6];
	f->end = *offset + HEADER_BYTES + f->size;
	if (f->type < FULL || f->type > LAST)
		f->reason = "no such type";
	else if (f->size > size - HEADER_BYTES)
		f->reason = "it reaches beyond the block or the file";
	else if (get_u32(p) == wal_checksum(*offset, p, f->size))
		*found = get_u32(p + 7) == r->number ? FOUND_FRAGMENT : FOUND_END;
	return 0;
}

/* Append a fragment to the record being put together. 0; -ENOMEM; -EFBIG if it gets too long. */
static int wal_reader_collect(struct wal_reader *r, const struct fragment *f)
{
	if (r->record.size + f->size > WAL_RECORD_BYTES_MAX)
		return -EFBIG;
	return buf_add(&r->record, f->payload, f->size);
}

/*
 * Read the record at `*offset`. With FOUND_FRAGMENT it is in `*record`, and `*end`
 * is behind it. Otherwise `*end` is the offset of the fragment that is not as it should be;
 * a resync looks there next.
 */
static int wal_reader_record(struct wal_reader *r, uint64_t *offset, struct lsm_slice *record,
			     uint64_t *end, struct fragment *f, enum found *found)
{
	bool open = false;
	int err;

	r->record.size = 0;
	for (*end = *offset;; *end = f->end) {
		err = wal_reader_look(r, end, f, found);
		if (err)
			return err;
		if (!open)
			*offset = *end;
		if (*found == FOUND_END && open) {
			*found = FOUND_BROKEN;
			f->reason = "the rest of the record is missing";
		}
		if (*found != FOUND_FRAGMENT)
			return 0;
		if (open != (f->type == MIDDLE || f->type == LAST)) {
			*found = FOUND_BROKEN;
			f->reason = open ? "the rest of the record is missing" :
					   "the start of the record is missing";
			return 0;
		}
		if (f->type == FULL) {
			*record = (struct lsm_slice){f->payload, f->size};
			break;
		}
		err = wal_reader_collect(r, f);
		if (err == -EFBIG) {
			*found = FOUND_BROKEN;
			f->reason = "longer than a record may be";
			return 0;
		}
		if (err)
			return err;
		open = true;
		if (f->type == LAST) {
			*record = buf_slice(&r->record);
			break;
		}
	}
	*end = f->end;
	return 0;
}

static uint64_t wal_next_block(uint64_t offset)
{
	return offset - offset % BLOCK_BYTES + BLOCK_BYTES;
}

/* Whether the file has any byte at `offset`. */
static int wal_reader_behind_end(struct wal_reader *r, uint64_t offset, bool *behind)
{
	const uint8_t *bytes;
	size_t size = 0;
	int err = wal_reader_block_rest(r, offset, &bytes, &size);

	*behind = !size;
	return err;
}

/*
 * The first place behind `offset` where a fragment of this log might start: a header with
 * the log's number in the rest of the block, else the next block. There may be whole records
 * behind damage in one block, and a broken length does not lead to them.
 */
static int wal_reader_candidate(struct wal_reader *r, uint64_t offset, uint64_t *out)
{
	const uint8_t *p;
	size_t size;
	int err;

	*out = wal_next_block(offset);
	if (offset + 1 == *out)
		return 0;
	err = wal_reader_block_rest(r, offset + 1, &p, &size);
	for (size_t i = 0; !err && i + HEADER_BYTES <= size; i++)
		if (p[i + 6] >= FULL && p[i + 6] <= LAST && get_u32(p + i + 7) == r->number) {
			*out = offset + 1 + i;
			break;
		}
	return err;
}

/*
 * Where a resync looks after it found no whole record in [offset, end): behind an intact
 * fragment that does not start a record, at an intact fragment that interrupted one, else
 * where the next fragment may start.
 */
static int wal_reader_resync_step(struct wal_reader *r, uint64_t offset, uint64_t end,
				  uint64_t *out)
{
	struct fragment f;
	enum found found;
	int err;

	if (end > offset) {
		*out = end;
		return 0;
	}
	err = wal_reader_look(r, &end, &f, &found);
	if (err)
		return err;
	if (found != FOUND_FRAGMENT)
		return wal_reader_candidate(r, end, out);
	*out = f.end;
	return 0;
}

int wal_reader_next(struct wal_reader *r, struct lsm_slice *record, uint64_t *offset)
{
	uint64_t at = r->offset, end;
	enum found found;
	struct fragment f;
	bool behind;
	int err;

	*record = (struct lsm_slice){NULL, 0};
	*offset = r->offset;
	if (r->ended)
		return WAL_END;
	if (r->resync) {
		err = wal_reader_candidate(r, r->offset, &at);
		if (err)
			return err;
	}
	for (;;) {
		err = wal_reader_record(r, &at, record, &end, &f, &found);
		if (err)
			return err;
		if (found == FOUND_FRAGMENT) {
			*offset = at;
			r->offset = end;
			r->resync = false;
			return 0;
		}
		if (!r->resync)
			break;
		err = wal_reader_resync_step(r, at, end, &at);
		if (!err)
			err = wal_reader_behind_end(r, at, &behind);
		if (err)
			return err;
		if (behind) {
			r->resync = false;
			r->ended = true;
			return WAL_END;
		}
	}
	r->ended = true;
	r->torn = found == FOUND_BROKEN;
	if (r->torn)
		r->offset = at;
	*offset = r->offset;
	if (r->torn)
		report(r->report, LSM_REPORT_INFO,
		       "%s: no whole record at offset %" PRIu64 ": at %" PRIu64 ", %s", r->name, at,
		       end, f.reason);
	return WAL_END;
}

bool wal_reader_torn(const struct wal_reader *r)
{
	return r->torn;
}

uint64_t wal_reader_offset(const struct wal_reader *r)
{
	return r->offset;
}

void wal_reader_resync(struct wal_reader *r)
{
	r->ended = false;
	r->resync = true;
}
