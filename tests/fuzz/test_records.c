/*
 * The small decoders, each by itself: the first byte says which one.
 */
#include <xxhash.h>

#include "tests/support/fuzz.h"

#include "fs/acl.h"
#include "fs/record.h"
#include "lsm/batch.h"
#include "lsm/table/block.h"
#include "lsm/table/filter.h"
#include "lsm/manifest.h"
#include "lsm/segment.h"
#include "tests/storage/storage_mem.h"
#include "lsm/table/table_format.h"

static void look(struct lsm_slice s)
{
	static volatile uint8_t sum;

	for (size_t i = 0; i < s.size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)s.data)[i]);
}

static void fuzz_block(struct lsm_slice block, struct lsm_slice key, uint64_t sequence)
{
	struct block_cursor c;
	struct block_found found;
	struct ikey_buf space;
	struct iter *it = &c.it;
	struct lsm_slice ikey;
	unsigned steps;

	if (block_check(block))
		return;
	ikey = ikey_make(&space, key, sequence & SEQUENCE_MAX, IKEY_TYPE_MAX);
	if (!block_find(block, ikey, &found)) {
		look(found.value);
		look(found.delta);
	}
	block_cursor_init(&c);
	block_cursor_reset(&c, block);
	for (int way = 0; way < 4; way++) {
		if (way < 2)
			way ? it->ops->last(it) : it->ops->first(it);
		else
			way == 2 ? it->ops->seek(it, ikey) : it->ops->seek_prev(it, ikey);
		for (steps = 0; it->valid && steps < 3000; steps++) {
			look(it->key);
			look(it->value);
			(void)ikey_valid(it->key);
			way % 2 ? it->ops->prev(it) : it->ops->next(it);
		}
	}
	block_cursor_release(&c);
}

static void fuzz_ref(struct lsm_slice bytes, unsigned a, unsigned b)
{
	struct segment_ref ref, slice;
	struct buf out = {0};

	if (segment_ref_decode(bytes, &ref))
		return;
	look((struct lsm_slice){ref.sums, 4 * (size_t)segment_ref_chunks(&ref)});
	if (!segment_ref_slice(&ref, a, b, &out) &&
	    (segment_ref_decode(buf_slice(&out), &slice) || slice.size != b))
		bail("a slice of a reference is none");
	buf_release(&out);
}

static void fuzz_batch(struct lsm_slice bytes)
{
	struct batch_reader r;
	struct batch_entry e;

	if (batch_read(bytes, &r))
		return;
	while (!batch_next(&r, &e)) {
		if (!e.key.size || e.key.size > LSM_KEY_BYTES_MAX)
			bail("a key of %zu bytes", e.key.size);
		look(e.key);
		look(e.value);
	}
}

static void fuzz_acl(struct lsm_slice bytes, mode_t mode)
{
	static unsigned char out[ACL_BYTES_MAX];
	static struct acl acl;
	const char *why;
	size_t size;

	if (acl_decode(bytes, &acl, &why))
		return;
	size = acl_encode(out, &acl);
	if (size != bytes.size || memcmp(out, bytes.data, size))
		bail("an ACL is not what it was");
	acl_set_mode(&acl, mode);
	if (acl_mode(&acl) != (mode & 0777))
		bail("the mode %o of an ACL is %o", mode & 0777, acl_mode(&acl));
	if (acl_decode((struct lsm_slice){out, acl_encode(out, &acl)}, &acl, &why))
		bail("a mode makes an ACL that is none: %s", why);
}

/* A storage with one file in it. */
static struct storage *storage_with(const char *name, struct lsm_slice a, struct lsm_slice b)
{
	struct storage *st = model_must(storage_mem_new());
	struct storage_file *file;

	if (storage_open_file(st, name, STORAGE_CREATE, &file) ||
	    storage_pwrite(file, a.data, a.size, 0) ||
	    storage_pwrite(file, b.data, b.size, a.size) || storage_close(file))
		bail("storage");
	return st;
}

/* A stored block but for its checksum, in a file of its own. */
static void fuzz_stored(struct lsm_slice bytes)
{
	struct table_handle h = {0, bytes.size + 4};
	struct table_block *block;
	struct storage_file *file;
	struct storage *st;
	const char *why;
	uint8_t sum[4];

	put_u32(sum, (uint32_t)XXH3_64bits_withSeed(bytes.data, bytes.size, 0));
	st = storage_with("table", bytes, (struct lsm_slice){sum, sizeof(sum)});
	if (storage_open_file(st, "table", STORAGE_READ, &file))
		bail("open");
	if (!table_block_load(file, 0, h, &block, &why)) {
		look((struct lsm_slice){block->data, block->size});
		free(block);
	}
	storage_close(file);
	st->ops->free(st);
}

/* The CURRENT file but for its last line, the checksum. */
static void fuzz_current(struct lsm_slice bytes)
{
	struct report report = {0};
	struct manifest_state state;
	struct storage *st;
	char sum[40];
	int n = snprintf(sum, sizeof(sum), "checksum %016" PRIx64 "\n",
			 (uint64_t)XXH3_64bits(bytes.data, bytes.size));

	st = storage_with("CURRENT", bytes, (struct lsm_slice){sum, (size_t)n});
	if (!manifest_read(st, &report, &state))
		bail("a manifest that is not there");
	st->ops->free(st);
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	unsigned which = take_u8(&in), a = take_u16(&in), b = take_u16(&in);
	struct lsm_slice piece = take_piece(&in), rest = {in.p, in.left};
	struct table_footer footer;
	struct table_handle handle;
	struct lsm_slice start, end;
	const char *why;
	uint64_t sequence;

	switch (which % 10) {
	case 0:
		if (piece.size && piece.size <= LSM_KEY_BYTES_MAX)
			fuzz_block(rest, piece, a);
		break;
	case 1:
		fuzz_ref(rest, a, b);
		break;
	case 2:
		fuzz_batch(rest);
		break;
	case 3: {
		struct record record;

		if (!record_decode(rest, &record, &why) && record.kind == RECORD_INODE)
			look(record.content);
		break;
	}
	case 4:
		(void)filter_may_match(rest, filter_hash(piece));
		break;
	case 5:
		if (rest.size >= TABLE_FOOTER_BYTES)
			(void)table_footer_decode(rest.data, a, b, &footer, &why);
		(void)table_handle_decode(piece, a, &handle);
		break;
	case 7:
		fuzz_acl(rest, a);
		break;
	case 8:
		fuzz_stored(rest);
		break;
	case 9:
		fuzz_current(rest);
		break;
	default:
		for (const uint8_t *p = rest.data, *limit = p + rest.size; p && p < limit;)
			if ((p = table_range_decode(p, limit, &sequence, &start, &end))) {
				look(start);
				look(end);
			}
		break;
	}
}

static void seed(fuzz_give_fn *give, unsigned which, struct lsm_slice bytes)
{
	static struct output out;

	out.size = 0;
	put_u8(&out, which);
	put_bytes(&out, "\3\0\2\0", 4);
	put_piece(&out, "key7", 4);
	put_bytes(&out, bytes.data, bytes.size);
	give(out.bytes, out.size);
}

static void fuzz_seeds(fuzz_give_fn *give)
{
	static uint8_t sums[64];
	struct segment_ref ref = {.segment = 7,
				  .offset = 8192,
				  .stored = 9000,
				  .skip = 5,
				  .size = 8990,
				  .sums = sums};
	unsigned char record[RECORD_BYTES_MAX];
	struct attr attr = {.mode = S_IFREG | 0644, .nlink = 1, .content_size = 5, .size = 5};
	uint64_t hashes[40];
	struct lsm_batch *batch = model_must(lsm_batch_new());
	struct block_builder block;
	struct lsm_slice bytes;
	struct buf out = {0};
	struct ikey_buf key;
	char name[16];

	block_builder_init(&block);
	for (unsigned i = 0; i < 40; i++) {
		struct lsm_slice user = {name, (size_t)sprintf(name, "key%02u", i / 2)};

		hashes[i] = filter_hash(user);
		if (block_builder_add(&block, ikey_make(&key, user, 100 - i, IKEY_PUT),
				      (struct lsm_slice){"value", i % 6}))
			bail("block");
	}
	if (block_builder_finish(&block, &bytes))
		bail("block");
	seed(give, 0, bytes);
	block_builder_release(&block);
	if (segment_ref_encode(&ref, &out))
		bail("reference");
	seed(give, 1, buf_slice(&out));
	out.size = 0;
	if (lsm_batch_put(batch, (struct lsm_slice){"a", 1}, (struct lsm_slice){"value", 5}) ||
	    lsm_batch_delete(batch, (struct lsm_slice){"b", 1}) ||
	    lsm_batch_delete_range(batch, (struct lsm_slice){"c", 1}, (struct lsm_slice){"e", 1}) ||
	    batch_encode(batch, NULL, SIZE_MAX))
		bail("batch");
	batch_set_sequences(batch, 10, 5);
	seed(give, 2, buf_slice(&batch->record));
	lsm_batch_free(batch);
	seed(give, 3, (struct lsm_slice){record, record_encode(record, 77, &attr, "hello")});
	seed(give, 3, (struct lsm_slice){record, record_encode_link(record, 77, S_IFDIR)});
	if (filter_build(hashes, 40, 10, &out))
		bail("filter");
	seed(give, 4, buf_slice(&out));
	out.size = 0;
	if (table_range_encode(9, (struct lsm_slice){"a", 1}, (struct lsm_slice){"b", 1}, &out) ||
	    table_range_encode(8, (struct lsm_slice){"aa", 2}, (struct lsm_slice){"f", 1}, &out))
		bail("range");
	seed(give, 6, buf_slice(&out));
	/* Owner, a user, owning group, mask, others. */
	seed(give, 7,
	     (struct lsm_slice){
		     "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\5\0\5\0\0\0\4\0\4\0"
		     "\377\377\377\377\20\0\4\0\377\377\377\377\40\0\0\0\377\377\377\377",
		     44});
	for (unsigned n = 0; n < 3; n++) {
		struct table_codec codec = {.compression = (enum lsm_compression)n};
		uint64_t size;

		out.size = 0;
		if (table_block_store(&codec, (struct lsm_slice){sums, sizeof(sums)}, 0, 0, &out,
				      &size))
			bail("store");
		seed(give, 8, (struct lsm_slice){out.data, out.size - 4});
		table_codec_release(&codec);
	}
	seed(give, 9, (struct lsm_slice){"varve store, format 1\nmanifest 000003\n", 38});
	seed(give, 9, (struct lsm_slice){"varve store, format 2\nmanifest 4294967296\n", 42});
	buf_release(&out);
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 300000);
}
#endif
