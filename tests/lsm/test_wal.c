/* The log: its bytes, its ends, its crashes and whatever else a file may hold. */
#include "lsm/base/buf.h"
#include "tests/storage/storage_mem.h"
#include "lsm/wal.h"
#include "tests/support/tap.h"

#include <pthread.h>
#include <unistd.h>
#include <xxhash.h>

#define BLOCK 32768
#define HEADER 11

static uint64_t rng_state = 1;

static uint64_t rng(uint64_t below)
{
	rng_state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = rng_state;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

static int messages;
static char last_message[500];

static void count_message(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	(void)level;
	messages++;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

static const struct report listener = {count_message, NULL};

static struct lsm_slice text(const char *s)
{
	return (struct lsm_slice){s, strlen(s)};
}

/* Record `i` of a test: its size and bytes follow from `i` and `size` alone. */
static struct lsm_slice make(uint8_t *at, uint32_t i, size_t size)
{
	for (size_t k = 0; k < size; k++)
		at[k] = (uint8_t)(i * 7 + k * 13 + (k >> 8));
	if (size >= 4)
		put_u32(at, i);
	return (struct lsm_slice){at, size};
}

static struct wal *must_create(struct storage *st, const char *name, uint32_t number,
			       uint64_t prealloc, const char *recycle)
{
	struct wal *w;

	if (wal_create(st, name, number, prealloc, recycle, &w))
		bail("wal_create");
	return w;
}

static void must_append(struct wal *w, struct lsm_slice record)
{
	if (wal_append(w, &record, 1))
		bail("wal_append");
}

static struct wal_reader *must_read(struct storage *st, const char *name, uint32_t number)
{
	struct wal_reader *r;

	if (wal_reader_open(st, name, number, &listener, &r))
		bail("wal_reader_open");
	return r;
}

/* Read to the end: how many records there are, and how it ends. */
static int count_records(struct storage *st, const char *name, uint32_t number, bool *torn,
			 uint64_t *stop)
{
	struct wal_reader *r = must_read(st, name, number);
	struct lsm_slice record;
	uint64_t offset;
	int n = 0, err;

	while (!(err = wal_reader_next(r, &record, &offset)))
		n++;
	if (err != 1)
		bail("wal_reader_next: %d", err);
	*torn = wal_reader_torn(r);
	*stop = wal_reader_offset(r);
	wal_reader_close(r);
	return n;
}

/* Change the bytes of a file behind the log's back. */
static void poke(struct storage *st, const char *name, uint64_t offset, const void *bytes,
		 size_t size)
{
	struct storage_file *f;

	if (storage_open_file(st, name, STORAGE_WRITE, &f) ||
	    storage_pwrite(f, bytes, size, offset) || storage_close(f))
		bail("poke");
}

static void cut_to(struct storage *st, const char *name, uint64_t size)
{
	struct storage_file *f;

	if (storage_open_file(st, name, STORAGE_WRITE, &f) || st->ops->truncate(f, size) ||
	    storage_close(f))
		bail("cut_to");
}

static uint64_t file_size(struct storage *st, const char *name)
{
	struct storage_file *f;
	uint64_t size;

	if (storage_open_file(st, name, STORAGE_READ, &f) || st->ops->size(f, &size, NULL) ||
	    storage_close(f))
		bail("file_size");
	return size;
}

/* The example in wal.c. */
static void test_format(struct storage *st)
{
	static const uint8_t want[] = {
		0x56, 0xed, 0x9e, 0xea, 0x05, 0x00, 0x01, 0x07, 0x00, 0x00, 0x00, 'h',  'e',
		'l',  'l',  'o',  0x1c, 0x2f, 0x6b, 0x4e, 0x00, 0x00, 0x01, 0x07, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	uint8_t got[sizeof(want)];
	struct wal *w = must_create(st, "format", 7, 0, NULL);
	struct lsm_slice records[2] = {text("hello"), {NULL, 0}};
	struct storage_file *f;

	is_int(wal_append(w, records, 2), 0, "append");
	is_int(wal_bytes(w), 27, "bytes written");
	is_int(file_size(st, "format"), sizeof(want), "and a terminator");
	if (storage_open_file(st, "format", STORAGE_READ, &f) ||
	    storage_pread_full(f, got, sizeof(got), 0))
		bail("read");
	if (!is_mem(got, sizeof(got), want, sizeof(want), "the bytes of the specification")) {
		printf("#");
		for (size_t i = 0; i < sizeof(got); i++)
			printf(" %02x", got[i]);
		printf("\n");
	}
	storage_close(f);
	is_int(wal_append(w, records, 0), 0, "append of nothing");
	is_int(wal_bytes(w), 27, "writes nothing");
	wal_close(w);
}

/* Records of every size around the places where they are cut, one by one and in groups. */
static void test_round_trip(struct storage *st, const char *name, size_t group, uint64_t prealloc)
{
	enum { COUNT = 400 };
	static const size_t edges[] = {
		0,
		1,
		4,
		100,
		4095,
		4096,
		4097,
		BLOCK - 2 * HEADER - 1,
		BLOCK - 2 * HEADER,
		BLOCK - HEADER - 1,
		BLOCK - HEADER,
		BLOCK - HEADER + 1,
		BLOCK,
		3 * BLOCK,
		200000,
	};
	struct wal *w = must_create(st, name, 3, prealloc, NULL);
	static struct lsm_slice records[COUNT];
	static uint64_t ends[COUNT];
	struct wal_reader *r;
	struct lsm_slice got;
	uint64_t offset, last = 0, calls = storage_mem_calls(st);
	size_t appends = 0;
	bool same = true, order = true;

	for (uint32_t i = 0; i < COUNT; i++) {
		size_t size = rng(3) ? rng(300) : edges[rng(sizeof(edges) / sizeof(*edges))];
		uint64_t left = BLOCK - (i % group ? 0 : wal_bytes(w) % BLOCK);

		/* Often leave just about the size of a header in the block. */
		if (!rng(3) && left > 2 * HEADER + 8)
			size = left - 2 * HEADER - rng(8);
		uint8_t *data = malloc(size + 1);

		if (!data)
			bail("malloc");
		records[i] = make(data, i, size);
		ends[i] = 0;
		if ((i + 1) % group == 0) {
			if (wal_append(w, records + i + 1 - group, group))
				bail("append");
			appends++;
			ends[i] = wal_bytes(w);
		}
	}
	is_int(storage_mem_calls(st) - calls, appends, "%s: one write per append", name);
	r = must_read(st, name, 3);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (wal_reader_next(r, &got, &offset))
			bail("%s: record %u is missing", name, i);
		same = same && got.size == records[i].size &&
		       (!got.size || !memcmp(got.data, records[i].data, got.size));
		order = order && (!i || offset > last);
		order = order && (!ends[i] || wal_reader_offset(r) == ends[i]);
		last = offset;
	}
	ok(same, "%s: what was written is read", name);
	ok(order, "%s: at the offsets where it was written", name);
	is_int(wal_reader_next(r, &got, &offset), 1, "%s: the end", name);
	is_int(wal_reader_next(r, &got, &offset), 1, "%s: stays the end", name);
	ok(!wal_reader_torn(r), "%s: clean", name);
	wal_reader_close(r);
	wal_close(w);
	for (int i = 0; i < COUNT; i++)
		free((void *)records[i].data);
}

/* Write a fragment of log `number` at `offset` by hand, with a correct checksum. */
static void poke_fragment(struct storage *st, const char *name, uint64_t offset, uint32_t number,
			  uint8_t type, const uint8_t *payload, size_t size)
{
	static uint8_t bytes[BLOCK];

	put_u16(bytes + 4, (uint16_t)size);
	bytes[6] = type;
	put_u32(bytes + 7, number);
	memcpy(bytes + HEADER, payload, size);
	put_u32(bytes, (uint32_t)XXH3_64bits_withSeed(bytes + 4, HEADER - 4 + size, offset));
	poke(st, name, offset, bytes, HEADER + size);
}

static void test_limits(struct storage *st)
{
	size_t size = WAL_RECORD_BYTES_MAX, last = size % (BLOCK - HEADER);
	struct wal *w = must_create(st, "limits", 9, 0, NULL);
	uint8_t *data = calloc(1, size + 1);
	struct lsm_slice record = {data, size + 1}, got;
	struct wal_reader *r;
	uint64_t offset, stop, end;
	bool torn;

	if (!data)
		bail("malloc");
	is_int(wal_append(w, &record, 1), -EFBIG, "a record beyond the limit");
	is_int(wal_bytes(w), 0, "wrote nothing");
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
	size = 20 << 20; /* their memory is several times ours */
	last = size % (BLOCK - HEADER);
#endif
	data[size - 1] = 1;
	record.size = size;
	is_int(wal_append(w, &record, 1), 0, "a record of the greatest size");
	r = must_read(st, "limits", 9);
	ok(!wal_reader_next(r, &got, &offset) && got.size == size && !memcmp(got.data, data, size),
	   "comes back");
	wal_reader_close(r);
	/* Make its LAST a MIDDLE, and go on. */
	end = wal_bytes(w);
	poke_fragment(st, "limits", end - last - HEADER, 9, 3, data + size - last, last);
	poke_fragment(st, "limits", end, 9, 4, data, 0);
	is_int(count_records(st, "limits", 9, &torn, &stop), 1, "and in one fragment more");
	poke_fragment(st, "limits", end, 9, 4, data, 1);
	is_int(count_records(st, "limits", 9, &torn, &stop), size < WAL_RECORD_BYTES_MAX,
	       "but not with one byte more");
	ok(torn == (size == WAL_RECORD_BYTES_MAX), "which is torn");
	wal_close(w);
	st->ops->unlink(st, "limits");
	free(data);
}

/* How each kind of tail reads. */
static void test_ends(struct storage *st)
{
	static const uint8_t garbage[20] = {1, 2, 3, 4, 5, 0, 1, 7, 0, 0, 0, 9, 9, 9, 9, 9};
	uint8_t type = 9, zero[64] = {0};
	struct wal *w = must_create(st, "ends", 4, 1 << 20, NULL);
	uint8_t *data = malloc(3 * BLOCK);
	uint64_t second, third, end, stop;
	bool torn;

	must_append(w, text("first"));
	second = wal_bytes(w);
	must_append(w, text("second"));
	third = wal_bytes(w);
	is_int(file_size(st, "ends"), 1 << 20, "preallocated");
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "reserved zeros follow");
	ok(!torn && stop == third, "is clean");
	is_int(count_records(st, "ends", 5, &torn, &stop), 0, "another log's number");
	ok(!torn && stop == 0, "is clean");
	must_append(w, make(data, 3, 3 * BLOCK));
	end = wal_bytes(w);
	is_int(count_records(st, "ends", 4, &torn, &stop), 3, "with a long one");

	messages = 0;
	poke(st, "ends", 3 * BLOCK, zero, HEADER);
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "a record without its LAST");
	ok(torn && stop == third, "is torn, where it starts");
	is_int(messages, 1, "and reported");
	cut_to(st, "ends", 2 * BLOCK);
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "a file cut between fragments");
	ok(torn && stop == third, "is torn");
	cut_to(st, "ends", third + 5);
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "a file cut in a header");
	ok(torn && stop == third, "is torn");
	cut_to(st, "ends", third);
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "a file cut between records");
	ok(!torn && stop == third, "is clean");
	poke(st, "ends", third, zero, 7);
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "part of a header, zeros");
	ok(!torn && stop == third, "is clean");
	poke(st, "ends", third, garbage, sizeof(garbage));
	is_int(count_records(st, "ends", 4, &torn, &stop), 2, "garbage");
	ok(torn && stop == third, "is torn");
	poke(st, "ends", second + 6, &type, 1);
	is_int(count_records(st, "ends", 4, &torn, &stop), 1, "an unknown type");
	ok(torn && stop == second, "is torn");
	cut_to(st, "ends", 0);
	is_int(count_records(st, "ends", 4, &torn, &stop), 0, "an empty file");
	ok(!torn && stop == 0 && end > third, "is clean");
	wal_close(w);
	free(data);
}

/* A fragment is only valid where it was written. */
static void test_moved(struct storage *st)
{
	struct wal *w = must_create(st, "moved", 4, 0, NULL);
	struct storage_file *f;
	uint8_t bytes[15];
	uint64_t stop;
	bool torn;

	for (int i = 0; i < 3; i++)
		must_append(w, text("same"));
	wal_close(w);
	if (storage_open_file(st, "moved", STORAGE_READ, &f) ||
	    storage_pread_full(f, bytes, sizeof(bytes), 0))
		bail("read");
	storage_close(f);
	poke(st, "moved", 15, bytes, sizeof(bytes));
	is_int(count_records(st, "moved", 4, &torn, &stop), 1, "a fragment in another's place");
	ok(torn && stop == 15, "is torn");
}

static void test_recycle(struct storage *st)
{
	struct wal *w = must_create(st, "old", 1, 0, NULL), *other;
	uint8_t *data = malloc(BLOCK);
	uint64_t stop, size, calls;
	bool torn;
	int n = 0, clean = 0;

	for (uint32_t i = 0; i < 300; i++)
		must_append(w, make(data, i, 1000));
	wal_close(w);
	size = file_size(st, "old");
	w = must_create(st, "new", 2, 100000, "old");
	is_int(file_size(st, "new"), size, "a recycled file keeps its size");
	is_int(count_records(st, "new", 2, &torn, &stop), 0, "nothing of the old log is read");
	ok(!torn, "and its bytes are a clean end");
	for (uint32_t i = 0; i < 100; i++) {
		must_append(w, make(data, i, rng(2000)));
		n += count_records(st, "new", 2, &torn, &stop) == (int)i + 1;
		clean += !torn && stop == wal_bytes(w);
	}
	is_int(n, 100, "only what was appended is read");
	is_int(clean, 100, "with a clean end after each");
	wal_close(w);
	w = must_create(st, "new2", 3, size + 100000, "new");
	is_int(file_size(st, "new2"), size + 100000, "a short one grows");
	wal_close(w);
	calls = storage_mem_calls(st);
	is_int(wal_create(st, "x", 9, 0, "none", &other), -ENOENT, "recycling what is not there");
	ok(!other && storage_mem_calls(st) == calls, "changes nothing");
	is_int(wal_create(st, "new2", 9, 0, NULL, &other), -EEXIST, "a log that is there");
	is_int(file_size(st, "new2"), size + 100000, "stays");
	free(data);
}

/* Wherever in a block a recycled log ends, it ends cleanly; also where no header fits. */
static void test_recycle_edges(struct storage *st)
{
	uint8_t *data = malloc(3 * BLOCK);
	int bad = 0;

	memset(data, 0xee, 3 * BLOCK);
	for (size_t left = 0; left < 3 * HEADER; left++) {
		struct lsm_slice old = {data, 3 * BLOCK - 100};
		struct wal *w = must_create(st, "e1", 1, 0, NULL);
		uint64_t stop;
		bool torn;

		must_append(w, old);
		wal_close(w);
		w = must_create(st, "e2", 2, 0, "e1");
		must_append(w, make(data, 5, BLOCK - HEADER - left));
		bad += count_records(st, "e2", 2, &torn, &stop) != 1 || torn;
		bad += stop != wal_bytes(w);
		must_append(w, text("next"));
		bad += count_records(st, "e2", 2, &torn, &stop) != 2 || torn;
		bad += stop != wal_bytes(w);
		wal_close(w);
		st->ops->unlink(st, "e2");
		memset(data, 0xee, 3 * BLOCK);
	}
	is_int(bad, 0, "a clean end at every place around the end of a block");
	free(data);
}

/* A length that leads out of the last block that is in memory. */
static void test_long_length(struct storage *st)
{
	enum { WINDOW = 8 * BLOCK };
	static const uint8_t header[HEADER] = {1, 2, 3, 4, 0xff, 0xff, 1, 6};
	struct wal *w = must_create(st, "window", 6, 0, NULL);
	uint8_t *data = calloc(1, 2 * WINDOW);
	uint64_t stop;
	bool torn;

	must_append(w, make(data, 1, WINDOW - 8 * HEADER - 500));
	must_append(w, make(data, 1, WINDOW));
	poke(st, "window", WINDOW - 500, header, sizeof(header));
	is_int(count_records(st, "window", 6, &torn, &stop), 1, "a length beyond the block");
	ok(torn && stop == WINDOW - 500, "is torn");
	ok(strstr(last_message, "beyond"), "for that reason: nothing there was read");
	wal_close(w);
	free(data);
}

/* Damage in the middle: what resync finds. */
static void test_resync(struct storage *st)
{
	enum { COUNT = 200 };
	struct wal *w = must_create(st, "resync", 6, 1 << 20, NULL);
	static uint64_t at[COUNT + 1];
	uint8_t *data = malloc(4 * BLOCK);
	struct wal_reader *r;
	struct lsm_slice record;
	uint64_t offset;
	uint32_t i;

	for (i = 0; i < COUNT; i++) {
		at[i] = wal_bytes(w);
		must_append(w, make(data, i, i == 50 ? 4 * BLOCK : 1500));
	}
	at[COUNT] = wal_bytes(w);
	storage_mem_flip(st, "resync", at[10] + 20, 1);
	storage_mem_flip(st, "resync", at[51] - 20, 1); /* the LAST of the long one */
	r = must_read(st, "resync", 6);
	for (i = 0; !wal_reader_next(r, &record, &offset); i++)
		;
	is_int(i, 10, "stops at the damage");
	ok(wal_reader_torn(r) && wal_reader_offset(r) == at[10], "torn there");
	wal_reader_resync(r);
	is_int(wal_reader_next(r, &record, &offset), 0, "resync finds a record");
	i = 11;
	ok(offset == at[i] && get_u32(record.data) == i, "the very next one");
	while (!wal_reader_next(r, &record, &offset))
		i++;
	is_int(i, 49, "goes on to the next damage");
	ok(wal_reader_torn(r) && wal_reader_offset(r) == at[50], "torn there");
	wal_reader_resync(r);
	is_int(wal_reader_next(r, &record, &offset), 0, "resync steps over the rest of a record");
	i = 51;
	ok(offset == at[i] && get_u32(record.data) == i, "to the one behind its broken fragment");
	while (!wal_reader_next(r, &record, &offset))
		i++;
	is_int(i, COUNT - 1, "goes on to the end");
	ok(!wal_reader_torn(r) && wal_reader_offset(r) == at[COUNT], "which is clean");
	wal_reader_resync(r);
	is_int(wal_reader_next(r, &record, &offset), 1, "resync after the end finds nothing");
	is_int(wal_reader_offset(r), at[COUNT], "and forgets nothing");
	is_int(wal_reader_next(r, &record, &offset), 1, "still nothing");
	wal_reader_close(r);
	wal_close(w);
	free(data);
}

/* A lost first fragment and a record that starts where another one should go on. */
static void test_resync_joint(struct storage *st)
{
	struct wal *w = must_create(st, "j", 6, 0, NULL), *v = must_create(st, "k", 6, 0, NULL);
	uint8_t *data = malloc(3 * BLOCK);
	uint8_t block[BLOCK];
	struct storage_file *f;
	struct wal_reader *r;
	struct lsm_slice record;
	uint64_t offset;

	/* "j": one record over three blocks; "k": the second block begins with FULL. */
	must_append(w, make(data, 1, 3 * BLOCK - 100));
	must_append(v, make(data, 2, BLOCK - HEADER));
	must_append(v, text("whole"));
	if (storage_open_file(st, "k", STORAGE_READ, &f) ||
	    storage_pread_full(f, block, HEADER + 5, BLOCK))
		bail("read");
	storage_close(f);
	poke(st, "j", BLOCK, block, HEADER + 5);
	r = must_read(st, "j", 6);
	is_int(wal_reader_next(r, &record, &offset), 1, "FULL inside a record ends it");
	ok(wal_reader_torn(r) && wal_reader_offset(r) == 0, "torn");
	wal_reader_resync(r);
	is_int(wal_reader_next(r, &record, &offset), 0, "resync takes it");
	ok(offset == BLOCK && record.size == 5 && !memcmp(record.data, "whole", 5), "whole");
	wal_reader_close(r);
	wal_close(w);
	wal_close(v);
	free(data);
}

static void test_errors(struct storage *st)
{
	struct wal *w = must_create(st, "errors", 5, 0, NULL), *other;
	struct lsm_slice record = text("abc"), got;
	struct wal_reader *r;
	uint64_t offset;

	is_int(wal_reader_open(st, "none", 1, &listener, &r), -ENOENT, "no such log");
	ok(r == NULL, "no reader");
	must_append(w, record);
	storage_mem_fail(st, STORAGE_MEM_WRITE, 1, 1, EIO);
	is_int(wal_append(w, &record, 1), -EIO, "a failed append");
	is_int(wal_append(w, &record, 1), -EIO, "the next one is refused");
	is_int(wal_bytes(w), 14, "and does not count");
	is_int(wal_sync(w), 0, "what was appended before can be synced");
	storage_mem_fail(st, STORAGE_MEM_SYNC, 1, 1, EIO);
	is_int(wal_sync(w), -EIO, "a failed sync");
	is_int(wal_sync(w), -EIO, "is never forgotten");
	wal_close(w);
	is_int(wal_close(NULL), 0, "close of nothing");
	r = must_read(st, "errors", 5);
	storage_mem_fail(st, STORAGE_MEM_READ, 1, 1, EIO);
	is_int(wal_reader_next(r, &got, &offset), -EIO, "a failed read");
	is_int(wal_reader_next(r, &got, &offset), 0, "is not an end");
	wal_reader_close(r);
	wal_reader_close(NULL);
	storage_mem_fail(st, STORAGE_MEM_ALLOCATE, 1, 1, ENOSPC);
	is_int(wal_create(st, "full", 8, 4096, NULL, &other), -ENOSPC, "no space to reserve");
	is_int(wal_reader_open(st, "full", 8, &listener, &r), -ENOENT, "leaves no file");
	storage_mem_fail(st, STORAGE_MEM_OPEN, 1, 1, EMFILE);
	is_int(wal_create(st, "again", 8, 0, "errors", &other), -EMFILE, "a failed recycling");
	is_int(wal_reader_open(st, "again", 8, &listener, &r), -ENOENT, "leaves no file");
}

/*
 * Any bytes: flips, cuts, zeros, overwritten and moved ranges. Whatever the
 * reader returns was appended, at that offset, and it always comes to an end.
 */
static void test_fuzz(void)
{
	enum { COUNT = 120, ROUNDS = 1500 };
	static struct lsm_slice records[COUNT];
	static uint64_t at[COUNT + 1];
	struct storage *st = storage_mem_new(), *cut;
	struct wal *w = must_create(st, "f", 77, 200000, NULL);
	uint8_t junk[3000];
	int wrong = 0, lost = 0;
	uint64_t bytes;

	for (uint32_t i = 0; i < COUNT; i++) {
		size_t size = i == 30 ? 100000 : rng(4) ? rng(500) : rng(9000);

		records[i] = make(malloc(size + 1), i, size);
		must_append(w, records[i]);
		at[i + 1] = wal_bytes(w);
	}
	bytes = at[COUNT];
	wal_close(w);
	for (int round = 0; round < ROUNDS; round++) {
		struct wal_reader *r;
		struct lsm_slice got;
		uint64_t offset, damage = bytes;
		uint32_t i = 0;
		int resyncs = 0;

		cut = storage_mem_crash(st, STORAGE_MEM_KEEP_ALL, 0);
		if (!cut)
			bail("no memory");
		for (uint64_t n = 1 + rng(4); n; n--) {
			uint64_t place = rng(bytes), size = rng(2) ? rng(40) : rng(sizeof(junk));

			damage = place < damage ? place : damage;
			for (size_t k = 0; k < size; k++)
				junk[k] = rng(2) ? 0 : (uint8_t)rng(256);
			if (rng(2))
				memset(junk, 0, size);
			if (rng(3) == 0)
				storage_mem_flip(cut, "f", place, (unsigned char)(1 + rng(255)));
			else if (rng(3) == 0)
				cut_to(cut, "f", place);
			else
				poke(cut, "f", place, junk, size);
		}
		r = must_read(cut, "f", 77);
		for (;;) {
			int err = wal_reader_next(r, &got, &offset);

			if (err == 1 && resyncs++ < 20) {
				wal_reader_resync(r);
				continue;
			}
			if (err)
				break;
			if (resyncs)
				while (i < COUNT && at[i + 1] <= offset)
					i++;
			if (i >= COUNT || got.size != records[i].size || offset < at[i] ||
			    offset >= at[i] + HEADER ||
			    memcmp(got.data, records[i].data, got.size) != 0)
				wrong++;
			else if (!resyncs && at[i + 1] <= damage)
				lost--;
			i++;
		}
		/* Everything in front of the first damage must have been there. */
		for (i = 0; i < COUNT && at[i + 1] <= damage; i++)
			lost++;
		wal_reader_close(r);
		cut->ops->free(cut);
	}
	is_int(wrong, 0, "no record that was not appended");
	is_int(lost, 0, "every record before the damage");
	for (int i = 0; i < COUNT; i++)
		free((void *)records[i].data);
	st->ops->free(st);
}

/* Power cuts: what was synced is there, in order, and nothing else. */
static void test_cuts(void)
{
	enum { COUNT = 150 };
	static uint64_t call_of[COUNT], synced_at[COUNT];
	struct storage *st = storage_mem_new(), *cut;
	struct wal *w;
	uint8_t data[5000];
	uint64_t calls, stop;
	int bad = 0, short_ones = 0, torn_ones = 0;
	bool torn;

	storage_mem_record(st, true);
	w = must_create(st, "o", 1, 100000, NULL);
	for (uint32_t i = 0; i < 40; i++)
		must_append(w, make(data, i, 2500));
	wal_close(w);
	w = must_create(st, "c", 2, 0, "o");
	if (st->ops->sync_dir(st))
		bail("sync_dir");
	for (uint32_t i = 0; i < COUNT; i++) {
		must_append(w, make(data, i, rng(sizeof(data))));
		call_of[i] = storage_mem_calls(st);
		synced_at[i] = UINT64_MAX;
		if (rng(4) == 0) {
			if (wal_sync(w))
				bail("sync");
			for (uint32_t k = i + 1; k-- && synced_at[k] == UINT64_MAX;)
				synced_at[k] = storage_mem_calls(st);
		}
	}
	wal_close(w);
	calls = storage_mem_calls(st);
	for (uint64_t at = 45; at <= calls; at++) {
		for (uint64_t seed = 0; seed < 12; seed++) {
			int n, least = 0, most = 0;

			cut = storage_mem_cut(st, at, (enum storage_mem_keep)(seed % 3), seed);
			if (!cut)
				bail("no memory");
			n = count_records(cut, "c", 2, &torn, &stop);
			while (least < COUNT && synced_at[least] <= at)
				least++;
			while (most < COUNT && call_of[most] <= at)
				most++;
			bad += n < least || n > most || (seed % 3 == 1 && n != most);
			short_ones += n < most;
			torn_ones += torn;
			cut->ops->free(cut);
		}
	}
	is_int(bad, 0, "after a cut: all that was synced, nothing that was not appended");
	ok(short_ones > 100 && torn_ones > 10, "and the cuts did lose something");
	st->ops->free(st);
}

struct shared {
	struct wal *w;
	_Atomic bool stop;
	int err;
};

static void *sync_loop(void *arg)
{
	struct shared *s = arg;

	while (!s->stop && !s->err)
		s->err = wal_sync(s->w);
	return NULL;
}

static void test_threads(struct storage *st)
{
	struct shared s = {.w = must_create(st, "threads", 5, 0, NULL)};
	uint8_t data[300];
	uint64_t stop;
	pthread_t thread;
	bool torn;

	if (pthread_create(&thread, NULL, sync_loop, &s))
		bail("pthread_create");
	for (uint32_t i = 0; i < 2000; i++)
		must_append(s.w, make(data, i, sizeof(data)));
	s.stop = true;
	pthread_join(thread, NULL);
	is_int(s.err, 0, "sync beside append");
	is_int(count_records(st, "threads", 5, &torn, &stop), 2000, "all is there");
	wal_close(s.w);
}

int main(void)
{
	struct storage *st = storage_mem_new();

	if (!st)
		bail("no memory");
	test_format(st);
	test_round_trip(st, "single", 1, 0);
	test_round_trip(st, "grouped", 8, 0);
	test_round_trip(st, "reserved", 5, 4 << 20);
	test_limits(st);
	test_ends(st);
	test_moved(st);
	test_recycle(st);
	test_recycle_edges(st);
	test_long_length(st);
	test_resync(st);
	test_resync_joint(st);
	test_errors(st);
	test_threads(st);
	st->ops->free(st);
	test_fuzz();
	test_cuts();
	return done();
}
