/*
 * A log file of any bytes, or of any fragments under right checksums, is read to its
 * end, past damage too.
 */
#include <xxhash.h>

#include "tests/support/fuzz.h"

#include "lsm/base/coding.h"
#include "tests/storage/storage_mem.h"
#include "lsm/wal.h"

#define BLOCK 32768u
#define HEADER 11u
#define NUMBER 5u

/* Fragments: a type, a number that is mostly right, and a payload of some times a piece. */
static size_t build(struct input *in, uint8_t *file, size_t room)
{
	size_t at = 0;

	while (in->left && at + HEADER < room) {
		unsigned type = take_u8(in), how = take_u8(in);
		struct lsm_slice piece = take_piece(in);
		size_t times = how & 0x40 ? 200 : 1, size = 0;
		uint64_t seed;

		if (BLOCK - at % BLOCK < HEADER)
			at += BLOCK - at % BLOCK;
		for (size_t i = 0; i < times; i++) {
			if (at + HEADER + size + piece.size > room ||
			    at % BLOCK + HEADER + size + piece.size > BLOCK)
				break;
			memcpy(file + at + HEADER + size, piece.data, piece.size);
			size += piece.size;
		}
		put_u16(file + at + 4, (uint16_t)size);
		file[at + 6] = (uint8_t)(type % 6);
		put_u32(file + at + 7, how & 1 ? NUMBER + 1 : NUMBER);
		seed = at;
		put_u32(file + at,
			(uint32_t)XXH3_64bits_withSeed(file + at + 4, HEADER - 4 + size, seed));
		at += HEADER + size;
		if (how & 2) /* a gap */
			at += how;
	}
	return at < room ? at : room;
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	static uint8_t file[4 * BLOCK];
	struct input in = {data, size};
	struct storage *st = model_must(storage_mem_new());
	struct storage_file *f;
	struct wal_reader *r;
	struct lsm_slice record;
	uint64_t offset, last = 0;
	unsigned resyncs = 0;
	bool raw = take_u8(&in) & 1;
	int err;

	memset(file, 0, sizeof(file));
	if (raw) {
		size = in.left < sizeof(file) ? in.left : sizeof(file);
		memcpy(file, in.p, size);
	} else {
		size = build(&in, file, sizeof(file));
	}
	if (storage_open_file(st, "log", STORAGE_CREATE, &f) || storage_pwrite(f, file, size, 0))
		bail("storage");
	storage_close(f);
	if (wal_reader_open(st, "log", NUMBER, NULL, &r))
		bail("open");
	while ((err = wal_reader_next(r, &record, &offset)) >= 0 && resyncs < 1000) {
		if (err) {
			if (resyncs++ && offset == last)
				break;
			last = offset;
			wal_reader_resync(r);
			continue;
		}
		if (offset > size || record.size > size)
			bail("a record that cannot be there");
		/* Every byte of it can be read. */
		(void)XXH3_64bits(record.data, record.size);
	}
	if (err < 0)
		bail("error %d", err);
	wal_reader_close(r);
	st->ops->free(st);
}

static void fuzz_seeds(fuzz_give_fn *give)
{
	static struct output out;

	for (unsigned n = 0; n < 6; n++) {
		out.size = 0;
		put_u8(&out, 0);
		for (unsigned i = 0; i < 6; i++) {
			put_u8(&out, n < 3 ? 1 : i % 3 + 2);
			put_u8(&out, n == 1 && i == 3 ? 1 : n == 2 ? 2 : n > 3 ? 0x40 : 0);
			put_piece(&out, "some payload of a fragment", 5 + 3 * i);
		}
		give(out.bytes, out.size);
	}
	give("\1raw", 4);
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 20000);
}
#endif
