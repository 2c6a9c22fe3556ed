/*
 * test_batch.c - batches: their limits, and their records, also of bytes that nobody wrote.
 */
#include "lsm/batch.h"
#include "tests/support/lsm_bed.h"

/* The example at the top of batch.h, and what follows from another last part of it. */
static const uint8_t head[] = {5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};

/* How reading the record ends: 1 for all of it, or -EUCLEAN. */
static int read_all(const void *bytes, size_t size, struct batch_entry *last)
{
	struct batch_reader r;
	struct batch_entry e;
	int err = batch_read((struct lsm_slice){bytes, size}, &r);

	while (!err && (err = batch_next(&r, &e)) == 0)
		*last = e;
	return err;
}

static int read_op(const void *op, size_t size)
{
	struct batch_entry e;
	uint8_t record[2048];

	memcpy(record, head, sizeof(head));
	memcpy(record + sizeof(head), op, size);
	return read_all(record, sizeof(head) + size, &e);
}

static void test_records(void)
{
	static const uint8_t put_k[] = {BATCH_PUT, 1, 'k', 1, 'v'};
	struct batch_entry e = {0};
	uint8_t record[64], bytes[1200] = {BATCH_PUT, 0x81, 0x08};

	memcpy(record, head, sizeof(head));
	memcpy(record + sizeof(head), put_k, sizeof(put_k));
	is_int(read_all(record, 25, &e), 1, "the example is read");
	ok(e.kind == BATCH_PUT && e.sequence == 5 && !slice_compare(e.key, bed_key("k")) &&
		   !slice_compare(e.value, bed_key("v")),
	   "for what it is");
	is_int(read_op("\1\1k\1v\0", 6), -EUCLEAN, "nothing follows the operations");
	is_int(read_op("\1\1k\1", 4), -EUCLEAN, "none is cut off");
	is_int(read_op("", 0), -EUCLEAN, "none is missing");
	is_int(read_op("\5\1k\1v", 5), -EUCLEAN, "none is of another kind");
	is_int(read_op("\1\0\1v", 4), -EUCLEAN, "a key is not empty");
	is_int(read_op((char *)bytes, 3 + 1025 + 1), -EUCLEAN, "nor too long");
	bytes[1] = 0x80;
	is_int(read_op((char *)bytes, 3 + 1024 + 1), 1, "one of the largest size is read");
	is_int(read_op("\4\1k\1l", 5), 1, "a range is read");
	is_int(read_op("\4\1k\1k", 5), -EUCLEAN, "it is not empty");
	is_int(read_op("\4\1l\1k", 5), -EUCLEAN, "nor the wrong way");
	record[8] = 5;
	is_int(read_all(record, 25, &e), -EUCLEAN, "no record was durable before it was written");
	record[8] = 4;
	is_int(read_all(record, 25, &e), 1, "the one before it may have been");
	memset(record, 0, 8);
	is_int(read_all(record, 25, &e), -EUCLEAN, "there is no sequence 0");
	is_int(read_all(record, 19, &e), -EUCLEAN, "nor half a header");
}

static void test_limits(void)
{
	struct lsm_batch *b = lsm_batch_new();
	static char bytes[LSM_VALUE_BYTES_MAX + 1];
	struct lsm_slice k = {"k", 1}, none = {"", 0};

	is_int(lsm_batch_put(b, none, k), -EINVAL, "an empty key is refused");
	is_int(lsm_batch_put(b, (struct lsm_slice){bytes, LSM_KEY_BYTES_MAX + 1}, k), -EINVAL,
	       "one that is too long");
	is_int(lsm_batch_delete(b, (struct lsm_slice){bytes, LSM_KEY_BYTES_MAX + 1}), -EINVAL,
	       "also to be deleted");
	is_int(lsm_batch_delete_range(b, k, (struct lsm_slice){"z", LSM_KEY_BYTES_MAX + 1}),
	       -EINVAL, "or as the end of a range");
	is_int(lsm_batch_put(b, k, (struct lsm_slice){bytes, sizeof(bytes)}), -EFBIG,
	       "a value that is too large");
	is_int(lsm_batch_delete_range(b, k, k), -EINVAL, "an empty range");
	is_int(lsm_batch_count(b), 0, "nothing of it is in the batch");
	is_int(lsm_batch_bytes(b), 0, "which is empty");
	is_int(lsm_batch_put(b, (struct lsm_slice){bytes, LSM_KEY_BYTES_MAX}, none), 0,
	       "a key of the largest size is not refused");
	lsm_batch_free(b);
}

/* Below separate_min a value is in the log, from there on in a segment. */
static void test_values(void)
{
	struct bed t = bed_new((struct lsm_options){.separate_min = 5000});
	struct lsm_batch *b = lsm_batch_new();
	struct lsm_iter *it;
	int err;

	bed_put(&t, "log", 4999, 1);
	is_int(bed_stats(&t).segment_bytes_written, 0, "a small value is in no segment");
	bed_put(&t, "segment", 5000, 2);
	is_int(bed_stats(&t).segment_bytes_written, 8192, "a large one is, in whole chunks");
	it = lsm_iter_new(t.lsm, NULL);
	for (lsm_iter_first(it); lsm_iter_valid(it); lsm_iter_next(it)) {
		const char *where = *(const char *)lsm_iter_key(it).data == 'l' ? "log" : "segment";
		size_t size = lsm_iter_size(it);

		err = lsm_batch_put_slice(b, bed_key("x"), it, size - 10, 11);
		is_int(err, -EINVAL, "%s: a slice does not reach beyond the value", where);
		err = lsm_batch_put_slice(b, bed_key("x"), it, size + 1, 1);
		is_int(err, -EINVAL, "%s: nor begin there", where);
		err = lsm_batch_put_slice(b, bed_key("x"), it, 0, 0);
		is_int(err, -EINVAL, "%s: and is not empty", where);
		is_int(lsm_batch_put_slice(b, bed_key(where), it, 10, size - 10), 0,
		       "%s: the rest of the value is one", where);
	}
	lsm_iter_free(it);
	is_int(lsm_batch_count(b), 2, "two were taken");
	bed_write(&t, b, 0);
	bed_release(&t);
}

int main(void)
{
	run_test(test_records);
	run_test(test_limits);
	run_test(test_values);
	return done();
}
