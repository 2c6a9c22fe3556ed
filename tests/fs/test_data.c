/*
 * test_data.c - extents against a model that is a plain array of bytes.
 *
 * The random test drives a few files through writes of every size, punches,
 * truncates and clones, and compares bytes, holes, the sum of the deltas and the rules
 * of extents every few steps. The rest pins down what the top comment of
 * fs/data.c promises of folding, and the offsets at the far end.
 *
 * SEED=n and STEPS=n in the environment are for the random test.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/data.h"
#include "fs/key.h"
#include "tests/support/option.h"
#include "tests/support/rng.h"
#include "tests/support/tap.h"

#define FILES 3
#define MODEL_BYTES (1u << 20)
#define CELL ((uint64_t)DATA_EXTENT_BYTES_MAX)
#define FAR (INT64_MAX - 3 * CELL)

static struct lsm *lsm;
static struct fs fs; /* of which nothing but the tree is used */
static struct lsm_batch *batch;
static char dir[] = "/tmp/test_data.XXXXXX";

static struct rng choices;

static uint64_t below(uint64_t n)
{
	return rng_next(&choices) % n;
}

static void remove_dir(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    unlinkat(dirfd(d), e->d_name, 0))
			printf("# cannot remove %s\n", e->d_name);
	if (d)
		closedir(d);
	if (rmdir(dir))
		printf("# cannot remove %s\n", dir);
}

static void *allocate(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		bail("no memory");
	return p;
}

/* Write the batch; returns the bytes it held. */
static size_t commit(void)
{
	size_t bytes = lsm_batch_bytes(batch);
	int err = lsm_write(lsm, batch, 0);

	if (err)
		bail("lsm_write: %s", strerror(-err));
	lsm_batch_clear(batch);
	return bytes;
}

static size_t write_at(uint64_t ino, uint64_t offset, const void *data, size_t size, uint64_t end)
{
	int64_t delta;
	int err = data_write(&fs, batch, ino, offset, data, size, end, &delta);

	if (err)
		bail("data_write: %s", strerror(-err));
	return commit();
}

static void put_raw(uint64_t ino, uint64_t offset, size_t size)
{
	static const unsigned char zeros[2 * DATA_EXTENT_BYTES_MAX];
	struct key k;

	if (lsm_batch_put(batch, key_extent(&k, ino, offset), (struct lsm_slice){zeros, size}))
		bail("lsm_batch_put");
	commit();
}

struct shape {
	uint64_t extents, bytes, largest;
};

static struct shape shape_of(uint64_t ino)
{
	struct shape s = {0};
	struct key lower, upper;
	struct lsm_iter_options options = {
		.lower = key_extent(&lower, ino, 0),
		.upper = key_extent(&upper, ino, UINT64_MAX),
	};
	struct lsm_iter *it = lsm_iter_new(lsm, &options);

	for (lsm_iter_first(it); lsm_iter_valid(it); lsm_iter_next(it)) {
		s.extents++;
		s.bytes += lsm_iter_size(it);
		if (lsm_iter_size(it) > s.largest)
			s.largest = lsm_iter_size(it);
	}
	lsm_iter_free(it);
	return s;
}

struct findings {
	int count;
	char text[200];
};

static int found(void *ctx, uint64_t offset, const char *text)
{
	struct findings *f = ctx;

	(void)offset;
	if (!text)
		return 0;
	f->count++;
	snprintf(f->text, sizeof(f->text), "%s", text);
	return 0;
}

/* ---- the model ---- */

struct model {
	uint64_t ino, base; /* the array is the file from `base` on */
	uint64_t size;      /* of the file, from base */
	int64_t stored;     /* the sum of the deltas */
	unsigned char *bytes;
	bool *filled;
};

static struct model models[FILES];
static unsigned char *scratch;

static void models_init(void)
{
	static const uint64_t base[FILES] = {0, 0, FAR};

	scratch = allocate(MODEL_BYTES);
	for (int i = 0; i < FILES; i++)
		models[i] = (struct model){
			.ino = 7 + i,
			.base = base[i],
			.bytes = allocate(MODEL_BYTES),
			.filled = allocate(MODEL_BYTES),
		};
}

static void models_free(void)
{
	for (int i = 0; i < FILES; i++) {
		free(models[i].bytes);
		free(models[i].filled);
	}
	free(scratch);
}

static uint64_t limit_of(const struct model *m)
{
	return m->base ? 3 * CELL : MODEL_BYTES;
}

static uint64_t random_size(uint64_t max)
{
	static const uint64_t to[] = {1, 16, 200, 4096, 4200, 20000, 131072, 300000};
	uint64_t n = 1 + below(to[below(8)]);

	if (!below(6))
		n = (n + 4095) & ~4095ull;
	return n < max ? n : max;
}

static uint64_t random_offset(const struct model *m)
{
	uint64_t limit = limit_of(m), x = below(3) && m->size ? below(m->size) : below(limit);

	switch (below(6)) {
	case 0:
		return x & ~4095ull;
	case 1:
		return x - x % CELL;
	case 2:
		return m->size < limit ? m->size : limit - 1;
	case 3:
		return x % 3000; /* a crowd at the beginning */
	default:
		return x;
	}
}

static void step_write(struct model *m)
{
	uint64_t offset = random_offset(m), size = random_size(limit_of(m) - offset);
	uint64_t end = m->size + below(2) * below(1000);
	int64_t delta;
	int err;

	for (uint64_t i = 0; i < size; i++)
		scratch[i] = (unsigned char)rng_next(&choices);
	err = data_write(&fs, batch, m->ino, m->base + offset, scratch, size, m->base + end,
			 &delta);
	if (err)
		bail("data_write: %s", strerror(-err));
	m->stored += delta;
	commit();
	memcpy(m->bytes + offset, scratch, size);
	memset(m->filled + offset, true, size);
	if (offset + size > m->size)
		m->size = offset + size;
}

static void step_punch(struct model *m)
{
	uint64_t offset = random_offset(m), size = random_size(limit_of(m) - offset);
	int64_t delta;

	if (data_punch(&fs, batch, m->ino, m->base + offset, size, &delta))
		bail("data_punch");
	m->stored += delta;
	commit();
	memset(m->bytes + offset, 0, size);
	memset(m->filled + offset, false, size);
}

static void step_truncate(struct model *m)
{
	uint64_t size = below(8) ? m->size - below(m->size / 3 + 1) : random_offset(m);
	int64_t delta;

	if (data_truncate(&fs, batch, m->ino, m->base + size, &delta))
		bail("data_truncate");
	m->stored += delta;
	commit();
	if (size < m->size) {
		memset(m->bytes + size, 0, m->size - size);
		memset(m->filled + size, false, m->size - size);
	}
	m->size = size;
}

static void step_drop(struct model *m)
{
	if (data_drop(batch, m->ino))
		bail("data_drop");
	commit();
	memset(m->bytes, 0, MODEL_BYTES);
	memset(m->filled, false, MODEL_BYTES);
	m->size = 0;
	m->stored = 0;
}

static void step_clone(struct model *to)
{
	struct model *from = &models[below(FILES)];
	uint64_t a = random_offset(from), b = random_offset(to);
	uint64_t max = limit_of(to) - b, size;
	int64_t delta;

	if (limit_of(from) - a < max)
		max = limit_of(from) - a;
	size = random_size(max);
	if (from == to && a < b + size && b < a + size)
		return;
	if (data_clone(&fs, batch, from->ino, from->base + a, to->ino, to->base + b, size, &delta))
		bail("data_clone");
	to->stored += delta;
	commit();
	memcpy(to->bytes + b, from->bytes + a, size);
	memcpy(to->filled + b, from->filled + a, size);
	if (b + size > to->size)
		to->size = b + size;
}

/* Many tiny writes one after the other, up or down, with or without gaps: for folding. */
static void step_tiny(struct model *m)
{
	uint64_t limit = limit_of(m), size = 1 + below(300), offset = below(limit);
	uint64_t stride = size + (below(2) ? 0 : below(100)), gap_at = 1 + below(10);
	bool append = below(2), down = !append && below(2);

	if (append)
		offset = m->size;
	for (uint64_t n = below(200); n && offset + size <= limit; n--) {
		uint64_t by = n % gap_at ? size : stride;
		int64_t delta;

		memset(scratch, (int)n, size);
		if (data_write(&fs, batch, m->ino, m->base + offset, scratch, size,
			       m->base + m->size, &delta))
			bail("data_write");
		m->stored += delta;
		commit();
		memset(m->bytes + offset, (int)n, size);
		memset(m->filled + offset, true, size);
		if (offset + size > m->size)
			m->size = offset + size;
		if (down && offset < by)
			return;
		offset += down ? -by : by;
	}
}

/* Is any byte of the block from `from` on data? */
static bool block_filled(const struct model *m, uint64_t from)
{
	for (uint64_t at = from; at < from + DATA_SEEK_BYTES; at++)
		if (at >= m->base && at - m->base < limit_of(m) && m->filled[at - m->base])
			return true;
	return false;
}

static bool same_seek(const struct model *m, uint64_t offset, bool hole)
{
	uint64_t want = m->base + offset, end = m->base + limit_of(m), got;
	int err = data_seek(&fs, m->ino, want, hole, &got);

	while (want < end && block_filled(m, data_seek_floor(want)) == hole)
		want = data_seek_floor(want) + DATA_SEEK_BYTES;
	if (want >= end && !hole)
		return err == 1;
	return err == 0 && got == (want < INT64_MAX ? want : INT64_MAX);
}

static bool same(const struct model *m)
{
	uint64_t limit = limit_of(m), stored, lost, want = 0, offset, size;
	struct findings f = {0};
	int err;

	err = data_check(&fs, NULL, m->ino, m->base + m->size, found, &f, &stored, &lost);
	if (err || f.count) {
		printf("# data_check: %d, %d findings, %s\n", err, f.count, f.text);
		return false;
	}
	for (uint64_t i = 0; i < limit; i++)
		want += m->filled[i];
	if (stored != want || m->stored != (int64_t)want) {
		printf("# stored %llu, want %llu, deltas %lld\n", (unsigned long long)stored,
		       (unsigned long long)want, (long long)m->stored);
		return false;
	}
	memset(scratch, 0xee, limit);
	if (data_read(&fs, m->ino, m->base, scratch, limit) || memcmp(scratch, m->bytes, limit)) {
		printf("# the bytes differ\n");
		return false;
	}
	for (int i = 0; i < 20; i++) {
		offset = random_offset(m);
		size = random_size(limit - offset);
		memset(scratch, 0xee, size + (offset + size < limit));
		if (data_read(&fs, m->ino, m->base + offset, scratch, size) ||
		    memcmp(scratch, m->bytes + offset, size) ||
		    (offset + size < limit && scratch[size] != 0xee) ||
		    !same_seek(m, offset, false) || !same_seek(m, offset, true)) {
			printf("# a read or seek at %llu + %llu differs\n",
			       (unsigned long long)offset, (unsigned long long)size);
			return false;
		}
	}
	return true;
}

static void test_random(int steps)
{
	bool good = true;
	int i;

	models_init();
	for (i = 1; i <= steps && good; i++) {
		struct model *m = &models[below(FILES)];
		uint64_t what = below(100);

		if (what < 50)
			step_write(m);
		else if (what < 60)
			step_punch(m);
		else if (what < 68)
			step_truncate(m);
		else if (what < 70)
			step_drop(m);
		else if (what < 85)
			step_clone(m);
		else
			step_tiny(m);
		for (int j = 0; j < FILES && good && i % 10 == 0; j++)
			good = same(&models[j]);
	}
	ok(good, "%d random steps equal the model (to step %d)", steps, i - 1);
	for (int j = 0; j < FILES; j++)
		step_drop(&models[j]);
	is_int(shape_of(models[0].ino).extents, 0, "data_drop leaves nothing");
	models_free();
}

/* ---- the promises of folding ---- */

/* Append `total` bytes in writes of `size`; what the batches held, in hundredths of it. */
static uint64_t append_all(uint64_t ino, size_t size, uint64_t total)
{
	unsigned char *want = allocate(total), *got = allocate(total);
	uint64_t held = 0, end = 0;

	for (uint64_t i = 0; i < total; i++)
		want[i] = (unsigned char)(i * 31 + i / 251);
	while (end < total) {
		size_t n = size < total - end ? size : total - end;

		held += write_at(ino, end, want + end, n, end);
		end += n;
	}
	ok(!data_read(&fs, ino, 0, got, total) && !memcmp(want, got, total),
	   "appends of %zu bytes read back", size);
	free(want);
	free(got);
	return held * 100 / total;
}

static void test_appends(void)
{
	uint64_t held = append_all(100, 100, 1 << 20);
	struct shape s = shape_of(100);

	printf("# 100-byte appends: %llu extents, %llu%% written\n", (unsigned long long)s.extents,
	       (unsigned long long)held);
	ok(s.extents <= 2 * 8, "1 MiB of 100-byte appends leave at most two extents per cell");
	ok(held < 800, "and write each byte, keys included, less than 8 times");
	is_int(s.largest, CELL, "the largest extent fills its cell");

	held = append_all(101, 4096, 1 << 20);
	is_int(shape_of(101).extents, 256, "4 KiB appends are not folded");
	ok(held < 105, "they are written once (%llu%%)", (unsigned long long)held);

	held = append_all(102, 5000, 1 << 20);
	ok(held < 105, "nor are 5000-byte ones, whose pieces at the grid are small (%llu%%)",
	   (unsigned long long)held);

	held = append_all(103, 1, 20000);
	s = shape_of(103);
	printf("# 1-byte appends: %llu extents, %llu%% written\n", (unsigned long long)s.extents,
	       (unsigned long long)held);
	ok(s.extents < 64, "1-byte appends fold too");

	append_all(104, 1 << 20, 4 << 20);
	is_int(shape_of(104).extents, 32, "big writes make an aligned grid");

	/* A stdio writer: whole buffers, then the rest, then a byte. */
	append_all(105, 4096, 12 * 4096 + 948);
	ok(write_at(105, 12 * 4096 + 948, "x", 1, 12 * 4096 + 948) < 100,
	   "a tiny tail after 4 KiB writes does not rewrite them");
	is_int(shape_of(105).extents, 14, "the tail is an extent of its own");
}

static void test_overwrites(void)
{
	static unsigned char cell[DATA_EXTENT_BYTES_MAX];
	struct shape s;
	size_t held = 0;

	write_at(110, 0, cell, CELL, 0);
	write_at(110, 50000, cell, 4096, CELL);
	is_int(shape_of(110).extents, 3, "an overwrite splits a large extent");
	write_at(110, 50000, cell, 4096, CELL);
	is_int(shape_of(110).extents, 3, "the same again replaces the piece");
	write_at(110, 0, cell, CELL, CELL);
	is_int(shape_of(110).extents, 1, "a whole overwrite replaces all");

	for (int i = 0; i < 5000; i++)
		held += write_at(110, below(CELL - 100), cell, 100, CELL);
	s = shape_of(110);
	printf("# 5000 random 100-byte writes to a cell: %llu extents, %zu bytes each\n",
	       (unsigned long long)s.extents, held / 5000);
	ok(s.extents < 200, "random tiny overwrites leave a bounded number of extents");
	ok(held / 5000 < 2 * 4096, "and write no more than about a page each");
	is_int(s.bytes, CELL, "no byte more or less");
	for (int i = 0; i < 2000; i++)
		write_at(110, below(CELL), "x", 1, CELL);
	s = shape_of(110);
	ok(s.extents < 200, "nor do single bytes (%llu extents)", (unsigned long long)s.extents);

	held = 0;
	write_at(111, 0, cell, CELL, 0);
	for (uint64_t i = 0; i + 200 <= CELL; i += 200)
		held += write_at(111, i, cell, 100, CELL);
	ok(shape_of(111).extents < 64 && held < 8 * CELL, "nor do strided ones (%llu, %zu bytes)",
	   (unsigned long long)shape_of(111).extents, held);

	for (uint64_t i = CELL; i >= 100; i -= 100)
		write_at(112, i - 100, cell, 100, CELL);
	ok(shape_of(112).extents < 64, "nor ones from the end to the start (%llu)",
	   (unsigned long long)shape_of(112).extents);
}

static void test_ranges(void)
{
	static unsigned char page[4096];
	int64_t delta;

	for (uint64_t i = 0; i < 64; i++)
		write_at(120, i * 4096, page, 4096, i * 4096);
	is_int(data_truncate(&fs, batch, 120, 4000, &delta), 0, "truncate");
	is_int(delta, 4000 - 64 * 4096, "returns the bytes beyond the end");
	is_int(lsm_batch_count(batch), 2, "many extents go in one record, besides the remainder");
	commit();
	is_int(shape_of(120).bytes, 4000, "the rest stays");
	is_int(data_truncate(&fs, batch, 120, 0, &delta), 0, "truncate to nothing");
	commit();
	is_int(shape_of(120).extents, 0, "leaves nothing");

	/* Neighbouring inodes are not touched. */
	put_raw(129, 0, 10);
	put_raw(130, 0, 10);
	put_raw(130, INT64_MAX - 10, 10);
	put_raw(131, 0, 10);
	is_int(data_drop(batch, 130), 0, "drop");
	commit();
	is_int(shape_of(129).extents, 1, "the inode before is there");
	is_int(shape_of(130).extents, 0, "this one is gone");
	is_int(shape_of(131).extents, 1, "the one after is there");
	is_int(data_drop(batch, UINT64_MAX), 0, "the last inode can be dropped");
	commit();
}

static void test_far(void)
{
	const uint64_t last = INT64_MAX;
	unsigned char buf[64] = {0};
	int64_t delta;
	uint64_t out;

	is_int(data_write(&fs, batch, 140, last - 5, "hello", 5, 0, &delta), 0,
	       "write up to the last offset");
	commit();
	is_int(data_read(&fs, 140, last - 10, buf, 10), 0, "read it");
	is_mem(buf, 10, "\0\0\0\0\0hello", 10, "it is there");
	is_int(data_write(&fs, batch, 140, last - 4, "hello", 5, last, &delta), -EFBIG,
	       "one further does not fit");
	is_int(data_write(&fs, batch, 140, UINT64_MAX, "h", 1, last, &delta), -EFBIG,
	       "nor at the end of all numbers");
	is_int(data_read(&fs, 140, last - 4, buf, 5), -EINVAL, "nor can it be read");
	is_int(data_seek(&fs, 140, 0, false, &out), 0, "seek data");
	ok(out == last - 4095, "finds its block");
	is_int(data_seek(&fs, 140, last - 3, true, &out), 0, "seek hole");
	ok(out == last, "is at the very end");
	is_int(data_seek(&fs, 140, last, false, &out), 1, "no data beyond");
	is_int(data_punch(&fs, batch, 140, last - 2, UINT64_MAX, &delta), 0,
	       "punch beyond the end");
	is_int(delta, -2, "takes what is there");
	commit();
	is_int(data_truncate(&fs, batch, 140, last - 4, &delta), 0, "truncate there");
	is_int(delta, -2, "takes the rest but one");
	commit();
	is_int(data_clone(&fs, batch, 140, last - 5, 141, last - 1, 1, &delta), 0, "clone there");
	is_int(delta, 1, "one byte");
	commit();
	is_int(data_clone(&fs, batch, 140, last - 5, 141, last - 1, 2, &delta), -EINVAL,
	       "two do not fit");
}

static void test_damage(void)
{
	static const struct {
		uint64_t offset[2];
		size_t size[2];
		const char *text;
	} bad[] = {
		{{0, 50}, {100, 10}, "an extent overlaps the one before"},
		{{0, 100}, {100, 0}, "an extent is empty"},
		{{0, 131000}, {10, 100}, "an extent crosses the grid"},
		{{0, 131072}, {131073, 1}, "an extent crosses the grid"},
		{{0, INT64_MAX}, {10, 1}, "an extent reaches beyond the largest offset"},
		{{0, 400000}, {10, 1}, "an extent reaches beyond the end of the file"},
	};
	static unsigned char buf[400000];
	struct findings f = {0};
	uint64_t stored, lost;
	struct key k;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t ino = 150 + i;

		f = (struct findings){0};
		put_raw(ino, bad[i].offset[0], bad[i].size[0]);
		put_raw(ino, bad[i].offset[1], bad[i].size[1]);
		is_int(data_check(&fs, NULL, ino, 400000, found, &f, &stored, &lost), 0,
		       "data_check goes on");
		ok(f.count == 1 && !strcmp(f.text, bad[i].text), "finds: %s", bad[i].text);
		ok(stored == bad[i].size[0] + bad[i].size[1], "and counts it");
		is_int(data_read(&fs, ino, 0, buf, sizeof(buf)), i < 4 ? -EUCLEAN : 0,
		       "reading says so if it meets it");
	}
	if (lsm_batch_put(batch, key_make(&k, KEY_EXTENT, 160, "\0\0\0\0\0\0\0\1x", 9),
			  (struct lsm_slice){"a", 1}))
		bail("lsm_batch_put");
	commit();
	is_int(data_read(&fs, 160, 0, buf, 10), -EUCLEAN, "a key of a wrong size is damage");
	f = (struct findings){0};
	is_int(data_check(&fs, NULL, 160, 10, found, &f, &stored, &lost), 0, "and found");
	is_int(f.count, 1, "once");
}

int main(void)
{
	struct lsm_options options = {.create = true, .memory_bytes = 16u << 20};
	int err;

	choices.state = option_number("SEED", 1);
	if (!mkdtemp(dir))
		bail("mkdtemp: %s", strerror(errno));
	err = lsm_open(dir, &options, &lsm);
	if (err)
		bail("lsm_open: %s", strerror(-err));
	fs.lsm = lsm;
	batch = lsm_batch_new();
	if (!batch)
		bail("no memory");
	run_test(test_random, (int)option_number("STEPS", 3000));
	run_test(test_appends);
	run_test(test_overwrites);
	run_test(test_ranges);
	run_test(test_far);
	run_test(test_damage);
	lsm_batch_free(batch);
	is_int(lsm_close(lsm), 0, "close");
	remove_dir();
	return done();
}
