/*
 * A whole store whose checksums are right and whose content is hostile: the manifest,
 * up to three tables (blocks, index, filter, range tombstones, footer) and a record of
 * the log. It is opened, read in every way, verified, written to and compacted. All of
 * that may say -EUCLEAN; nothing may crash, hang or take memory without end.
 *
 * The input is pieces, each with its size in front; see build().
 */
#include "tests/support/fuzz.h"

#include "lsm/batch.h"
#include "lsm/table/block.h"
#include "lsm/table/filter.h"
#include "lsm/manifest.h"
#include "tests/storage/storage_mem.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"
#include "lsm/wal.h"

#define TABLES_MAX 3u
#define SEGMENT 5u
#define LOG 8u

static void must(int err, const char *what)
{
	if (err)
		bail("%s: %s", what, strerror(-err));
}

static void write_file(struct storage *st, const char *name, const void *data, size_t size)
{
	struct storage_file *f;

	must(storage_open_file(st, name, STORAGE_CREATE, &f), name);
	if (size)
		must(storage_pwrite(f, data, size, 0), name);
	must(storage_close(f), name);
}

static void write_log(struct storage *st, const char *name, uint32_t number,
		      const struct lsm_slice *records, size_t count)
{
	struct wal *w;

	must(wal_create(st, name, number, 0, NULL, &w), name);
	for (size_t i = 0; i < count; i++)
		must(wal_append(w, &records[i], 1), name);
	must(wal_close(w), name);
}

/*
 * A table: u8 of flags, u8 count of data blocks (at most 4), each a piece and a piece
 * for its index key; then pieces: a whole index (if the flag says so), ranges, filter;
 * and four bytes of counts for the footer. Returns the file's size.
 */
static uint64_t build_table(struct storage *st, struct input *in, uint64_t number)
{
	unsigned flags = take_u8(in), count = take_u8(in) % 5;
	struct table_codec codec = {.compression =
					    flags & 1 ? LSM_COMPRESS_LZ4 : LSM_COMPRESS_NONE};
	struct block_builder index;
	struct buf file = {0}, handle = {0}, last = {0};
	struct lsm_slice bytes, raw_index, ranges, filter;
	struct table_footer footer = {0};
	uint8_t end[TABLE_FOOTER_BYTES];
	char name[TABLE_NAME_BYTES];
	struct table_handle h;

	block_builder_init(&index);
	index.restart_interval = 1;
	for (unsigned i = 0; i < count; i++) {
		struct lsm_slice data = take_piece(in), key = take_piece(in);

		h.offset = file.size;
		must(table_block_store(&codec, data, number, h.offset, &file, &h.size), "block");
		handle.size = 0;
		must(table_handle_encode(&h, &handle), "handle");
		/* The builder wants them in order; a whole index of one's own need not be. */
		if (ikey_valid(key) && (!last.size || ikey_compare(buf_slice(&last), key) < 0)) {
			must(block_builder_add(&index, key, buf_slice(&handle)), "index");
			last.size = 0;
			must(buf_add(&last, key.data, key.size), "index");
		}
	}
	must(block_builder_finish(&index, &bytes), "index");
	raw_index = flags & 2 ? take_piece(in) : bytes;
	ranges = take_piece(in);
	filter = take_piece(in);
	footer.filter.offset = file.size;
	if (filter.size)
		must(table_block_store(&codec, filter, number, file.size, &file,
				       &footer.filter.size),
		     "filter");
	footer.ranges.offset = file.size;
	if (ranges.size)
		must(table_block_store(&codec, ranges, number, file.size, &file,
				       &footer.ranges.size),
		     "ranges");
	footer.index.offset = file.size;
	must(table_block_store(&codec, raw_index, number, file.size, &file, &footer.index.size),
	     "index");
	footer.blocks = take_u8(in);
	footer.entries = take_u8(in);
	footer.tombstones = take_u8(in);
	footer.range_tombstones = take_u8(in);
	table_footer_encode(&footer, number, file.size, end);
	must(buf_add(&file, end, sizeof(end)), "footer");
	snprintf(name, sizeof(name), "%06" PRIu64 ".tab", number);
	write_file(st, name, file.data, file.size);
	block_builder_release(&index);
	table_codec_release(&codec);
	buf_release(&handle);
	buf_release(&last);
	number = file.size;
	buf_release(&file);
	return number;
}

/* The edit that adds it: u8 level, u8 flags, pieces smallest and largest. */
static void build_edit(struct buf *edit, struct input *in, uint64_t number, uint64_t bytes)
{
	uint8_t level = take_u8(in) % (LSM_LEVELS + 1), flags = take_u8(in);
	struct lsm_slice smallest = take_piece(in), largest = take_piece(in);
	uint8_t head[2] = {3, level}, excluded = flags & 1;

	must(buf_add(edit, head, 2), "edit");
	must(buf_add_varint(edit, number), "edit");
	must(buf_add_varint(edit, flags & 2 ? bytes / 2 : bytes), "edit");
	for (int i = 0; i < 5; i++) /* entries, tombstones, ranges, sequence, created */
		must(buf_add_varint(edit, flags >> i), "edit");
	must(buf_add_bytes(edit, smallest), "edit");
	must(buf_add_bytes(edit, largest), "edit");
	must(buf_add(edit, &excluded, 1), "edit");
	must(buf_add_varint(edit, flags & 4 ? 1 : 0), "edit");
	if (flags & 4) {
		must(buf_add_varint(edit, SEGMENT), "edit");
		must(buf_add_varint(edit, 4096), "edit");
	}
}

/* u8 count of tables, the tables, an edit of its own as a piece, a record of the log. */
static struct storage *build(struct input *in)
{
	struct storage *st = model_must(storage_mem_new());
	struct manifest_state empty = {.version = model_must(version_new()), .next_file = 30};
	unsigned tables = take_u8(in) % (TABLES_MAX + 1);
	struct buf edit = {0};
	struct lsm_slice records[2], log;
	struct manifest *m;
	static uint8_t segment[8192];

	must(manifest_create(st, &empty, 3, &m), "manifest");
	must(manifest_close(m), "manifest");
	must(st->ops->unlink(st, "000003.man"), "manifest");
	version_unref(empty.version);
	memset(segment, 'v', sizeof(segment));
	write_file(st, "000005.seg", segment, sizeof(segment));
	/* next file 30, the log and that nothing is in tables up to sequence 0, the segment */
	must(buf_add(&edit, "\1\36\2\10\0\5\5", 7), "edit");
	for (unsigned i = 0; i < tables; i++) {
		uint64_t size = build_table(st, in, 10 + i);

		build_edit(&edit, in, 10 + i, size);
	}
	records[0] = buf_slice(&edit);
	records[1] = take_piece(in);
	write_log(st, "000003.man", 3, records, records[1].size ? 2 : 1);
	log = take_piece(in);
	write_log(st, "000008.log", LOG, &log, log.size ? 1 : 0);
	buf_release(&edit);
	return st;
}

/* ---- what is done with it ---- */

static void read_all(struct lsm *lsm)
{
	struct lsm_iter *it = model_must(lsm_iter_new(lsm, NULL));
	struct lsm_value value = {0};
	struct lsm_slice bytes;
	unsigned steps = 0;

	for (lsm_iter_first(it); lsm_iter_valid(it) && steps++ < 300; lsm_iter_next(it)) {
		(void)lsm_iter_value(it, &bytes);
		(void)lsm_get(lsm, NULL, lsm_iter_key(it), &value);
	}
	for (lsm_iter_last(it); lsm_iter_valid(it) && steps++ < 600; lsm_iter_prev(it))
		if (lsm_iter_size(it) > 3)
			(void)lsm_iter_read(it, 1, (uint8_t[2]){0}, 2);
	lsm_iter_seek(it, (struct lsm_slice){"key05", 5});
	if (lsm_iter_valid(it))
		lsm_iter_prev(it);
	lsm_iter_seek_prev(it, (struct lsm_slice){"key05", 5});
	if (lsm_iter_valid(it))
		lsm_iter_next(it);
	lsm_iter_free(it);
	(void)lsm_get(lsm, NULL, (struct lsm_slice){"key01", 5}, &value);
	(void)lsm_get(lsm, NULL, (struct lsm_slice){"nothing", 7}, &value);
	lsm_value_release(&value);
}

static void take_damage(void *ctx, const struct lsm_damage *d)
{
	(void)ctx;
	(void)strlen(d->file);
	(void)strlen(d->reason);
}

/* Values in segments are left to the layer above; anything else is whole after a repair. */
static void take_damage_left(void *ctx, const struct lsm_damage *d)
{
	if (!strstr(d->reason, "segment"))
		bail("after a repair: %s: %s", d->file, d->reason);
	take_damage(ctx, d);
}

static void repair_copy(struct storage *st, struct lsm_options options)
{
	struct lsm *lsm;
	bool damaged;
	int err;

	st = model_must(storage_mem_crash(st, STORAGE_MEM_KEEP_ALL, 0));
	options.storage = st;
	options.read_only = options.discard_damage = false;
	err = lsm_repair_open(NULL, &options, take_damage, NULL, &damaged, &lsm);
	if (!err) {
		read_all(lsm);
		err = lsm_repair_commit(lsm, NULL);
		if (err)
			bail("committing a repair: %s", strerror(-err));
		must(lsm_open(NULL, &options, &lsm), "opening what was repaired");
		(void)lsm_verify(lsm, take_damage_left, NULL, NULL, NULL);
		read_all(lsm);
		must(lsm_close(lsm), "closing what was repaired");
	}
	st->ops->free(st);
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	static const struct lsm_slice all;
	struct input in = {data, size};
	unsigned flags = take_u8(&in);
	struct storage *st = build(&in);
	struct lsm_options options = {.storage = st,
				      .read_only = flags & 1,
				      .discard_damage = flags & 2,
				      .memtable_bytes = 4 << 10,
				      .block_bytes = 256,
				      .table_bytes = 1 << 10,
				      .level1_bytes = 2 << 10,
				      .segment_bytes = 16 << 10,
				      .separate_min = 300,
				      .l0_compact = 2};
	struct lsm_batch *b;
	struct lsm *lsm;

	repair_copy(st, options);
	if (!lsm_open(NULL, &options, &lsm)) {
		read_all(lsm);
		(void)lsm_verify(lsm, take_damage, NULL, NULL, NULL);
		b = model_must(lsm_batch_new());
		must(lsm_batch_put(b, (struct lsm_slice){"key03", 5}, (struct lsm_slice){"new", 3}),
		     "put");
		must(lsm_batch_delete_range(b, (struct lsm_slice){"key10", 5},
					    (struct lsm_slice){"key12", 5}),
		     "delete");
		if (!lsm_write(lsm, b, 0))
			(void)lsm_compact(lsm, all, all, NULL, NULL);
		lsm_batch_free(b);
		read_all(lsm);
		(void)lsm_close(lsm);
	}
	st->ops->free(st);
}

/* ---- seeds ---- */

static void seed_block(struct output *out, unsigned from, unsigned to, bool refs)
{
	static uint8_t sums[8];
	struct segment_ref ref = {.segment = SEGMENT, .stored = 5000, .size = 5000, .sums = sums};
	struct block_builder block;
	struct buf value = {0};
	struct lsm_slice bytes;
	struct ikey_buf key;
	char name[16];

	memset(out->bytes + out->size, 'v', 5000);
	segment_sums(SEGMENT, 0, out->bytes + out->size, 5000, sums);
	must(segment_ref_encode(&ref, &value), "reference");
	block_builder_init(&block);
	for (unsigned i = from; i < to; i++) {
		struct lsm_slice user = {name, (size_t)sprintf(name, "key%02u", i)};
		bool is_ref = refs && i % 3 == 0;

		must(block_builder_add(&block,
				       ikey_make(&key, user, 50 - i,
						 is_ref     ? IKEY_PUT_REF :
						 i % 5 == 4 ? IKEY_DELETE :
							      IKEY_PUT),
				       is_ref ? buf_slice(&value) :
						(struct lsm_slice){"value", i % 6}),
		     "block");
	}
	must(block_builder_finish(&block, &bytes), "block");
	put_piece(out, bytes.data, bytes.size);
	bytes = ikey_make(&key, (struct lsm_slice){name, strlen(name)}, 50 - (to - 1), IKEY_PUT);
	put_piece(out, bytes.data, bytes.size);
	block_builder_release(&block);
	buf_release(&value);
}

static void seed_table(struct output *out, unsigned level, unsigned n, bool beside)
{
	struct buf ranges = {0};
	char name[8];

	put_u8(out, n & 1); /* compressed */
	put_u8(out, 2);
	seed_block(out, 4 * n, 4 * n + 5, n > 0);
	seed_block(out, 4 * n + 5, 4 * n + 9, false);
	must(table_range_encode(60, (struct lsm_slice){"key02", 5}, (struct lsm_slice){"key06", 5},
				&ranges),
	     "range");
	put_piece(out, ranges.data, n == 1 ? ranges.size : 0);
	put_piece(out, "", 0);
	put_bytes(out, "\2\11\1", 3);
	put_u8(out, n == 1);
	put_u8(out, level);
	put_u8(out, n ? 4 : 0);
	/* Beside table 0 the edit says less than what table 1 has. */
	sprintf(name, "key%02u", n != 1 ? 4 * n : beside ? 9 : 2);
	put_piece(out, name, 5);
	sprintf(name, "key%02u", 4 * n + 8);
	put_piece(out, name, 5);
	buf_release(&ranges);
}

static void fuzz_seeds(fuzz_give_fn *give)
{
	static struct output out;
	/* Edits: delete table 10 of level 0; segment 5 again; a segment that is the next file. */
	static const struct lsm_slice edits[] = {{"\1\40\4\0\12", 5}, {"\5\5", 2}, {"\5\36", 2}};
	struct lsm_batch *batch = model_must(lsm_batch_new());

	must(lsm_batch_put(batch, (struct lsm_slice){"key07", 5}, (struct lsm_slice){"value", 5}),
	     "put");
	must(lsm_batch_delete(batch, (struct lsm_slice){"key01", 5}), "delete");
	must(lsm_batch_delete_range(batch, (struct lsm_slice){"key03", 5},
				    (struct lsm_slice){"key05", 5}),
	     "delete");
	must(batch_encode(batch, NULL, SIZE_MAX), "encode");
	batch_set_sequences(batch, 1, 0);
	for (unsigned n = 0; n < 11; n++) {
		struct lsm_slice edit = n % 3 || n == 0 ? (struct lsm_slice){0} : edits[n / 3 - 1];
		unsigned tables = n % 4;

		out.size = 0;
		put_u8(&out, n == 7);
		put_u8(&out, tables);
		for (unsigned i = 0; i < tables; i++)
			seed_table(&out, n < 4 ? 0 : n < 8 ? i : 1, i, n >= 8);
		put_piece(&out, edit.data, edit.size);
		put_piece(&out, batch->record.data, batch->record.size);
		give(out.bytes, out.size);
	}
	lsm_batch_free(batch);
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 3000);
}
#endif
