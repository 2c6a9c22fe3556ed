/*
 * test_segment.c - references: their bytes, their slices, what is refused; and
 * reading parts of values, right and damaged.
 */
#include <errno.h>
#include <unistd.h>

#include "lsm/base/ikey.h"
#include "lsm/segment.h"
#include "tests/support/tap.h"

#define SEGMENT 7u

static uint64_t rnd_state = 88172645463325252u;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

/* ---- a file in memory that counts its reads ---- */

struct memory_file {
	struct storage_file file;
	uint8_t *data;
	size_t size;
	unsigned reads;
	int error;
};

static int memory_pread(struct storage_file *f, void *buf, size_t size, uint64_t offset,
			size_t *got)
{
	struct memory_file *mf = (struct memory_file *)f;
	size_t left = offset < mf->size ? mf->size - (size_t)offset : 0;

	mf->reads++;
	*got = 0;
	if (mf->error)
		return mf->error;
	*got = size < left ? size : left;
	if (*got)
		memcpy(buf, mf->data + offset, *got);
	return 0;
}

static const struct storage_ops memory_ops = {.pread = memory_pread};
static struct storage memory_storage = {.ops = &memory_ops};

static char last_report[256];
static unsigned reports_count;

static void keep_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	(void)level;
	snprintf(last_report, sizeof(last_report), "%s", message);
	reports_count++;
}

static const struct report reports = {keep_report, NULL};

/* ---- references ---- */

/* The reference of `size` bytes written whole at `offset`. */
static void add_ref(uint64_t segment, uint64_t offset, const void *data, uint32_t size,
		    struct buf *out)
{
	uint8_t sums[LSM_VALUE_BYTES_MAX / SEGMENT_CHUNK * 4];
	struct segment_ref ref = {segment, offset, size, 0, size, sums};

	segment_sums(segment, offset, data, size, sums);
	if (segment_ref_encode(&ref, out))
		bail("no memory");
}

static void test_example(void)
{
	static const uint8_t want[] = {0x07, 0x02, 0x88, 0x27, 0x00, 0x88, 0x27, 0xa9,
				       0x38, 0xca, 0x70, 0xee, 0x87, 0x6c, 0x65};
	static const uint8_t want_slice[] = {0x07, 0x02, 0x88, 0x27, 0xfa, 0x1f, 0x0a, 0xa9,
					     0x38, 0xca, 0x70, 0xee, 0x87, 0x6c, 0x65};
	char name[SEGMENT_NAME_BYTES];
	uint8_t data[5000];
	struct buf b = {0}, slice = {0};
	struct segment_ref ref;

	memset(data, 'v', sizeof(data));
	add_ref(SEGMENT, 8192, data, sizeof(data), &b);
	is_mem(b.data, b.size, want, sizeof(want), "the example of segment.c");
	is_int(segment_ref_decode(buf_slice(&b), &ref), 0, "is decoded");
	ok(ref.segment == 7 && ref.offset == 8192 && ref.stored == 5000 && ref.skip == 0 &&
		   ref.size == 5000,
	   "to what it was made of");
	is_int(segment_ref_chunks(&ref), 2, "two chunks");
	is_int(segment_ref_bytes(&ref), 8192, "8192 bytes");
	is_int(segment_ref_slice(&ref, 4090, 10, &slice), 0, "a slice of it");
	is_mem(slice.data, slice.size, want_slice, sizeof(want_slice), "the other example");
	segment_name(name, SEGMENT);
	ok(!strcmp(name, "000007.seg"), "the file's name");
	segment_name(name, UINT64_MAX);
	ok(!strcmp(name, "18446744073709551615.seg"), "the longest name");
	for (size_t i = 0; i < b.size; i++)
		if (segment_ref_decode((struct lsm_slice){b.data, i}, &ref) != -EUCLEAN)
			ok(false, "cut to %zu bytes it is refused", i);
	buf_add(&b, "", 1);
	is_int(segment_ref_decode(buf_slice(&b), &ref), -EUCLEAN, "longer it is refused");
	buf_release(&b);
	buf_release(&slice);
}

static void check_refused(uint64_t chunk, uint64_t stored, uint64_t skip, uint64_t size,
			  unsigned sums, int want, const char *why)
{
	struct buf b = {0};
	struct segment_ref ref;

	buf_add_varint(&b, SEGMENT);
	buf_add_varint(&b, chunk);
	buf_add_varint(&b, stored);
	buf_add_varint(&b, skip);
	buf_add_varint(&b, size);
	while (sums--)
		buf_add_u32(&b, 1);
	is_int(segment_ref_decode(buf_slice(&b), &ref), want, "%s", why);
	buf_release(&b);
}

static void test_refused(void)
{
	struct segment_ref ref;

	check_refused(0, 100, 0, 100, 1, 0, "a good one");
	check_refused(0, 100, 40, 60, 1, 0, "a good one that skips");
	check_refused(3, 4u << 20, 0, 4u << 20, 1024, 0, "the largest");
	check_refused(INT64_MAX / 4096 - 1024, 8192, 0, 8192, 2, 0, "the farthest");
	check_refused(0, 100, 0, 0, 1, -EUCLEAN, "no bytes");
	check_refused(0, 0, 0, 0, 0, -EUCLEAN, "nothing stored");
	check_refused(0, 100, 41, 60, 1, -EUCLEAN, "beyond what is stored");
	check_refused(0, 100, 0, UINT32_MAX, 1, -EUCLEAN, "far beyond");
	check_refused(0, 100, UINT32_MAX, 2, 1, -EUCLEAN, "skip and size overflow");
	check_refused(0, 100, 0, UINT64_C(1) << 32, 1, -EUCLEAN, "more than 32 bits");
	check_refused(0, 8192, 4096, 100, 2, -EUCLEAN, "a first chunk that is not needed");
	check_refused(0, 8192, 0, 4096, 2, -EUCLEAN, "a last chunk that is not needed");
	check_refused(0, 8192, 0, 4097, 2, 0, "a last chunk that is needed for one byte");
	check_refused(0, 8192, 0, 8192, 1, -EUCLEAN, "a checksum too few");
	check_refused(0, 8192, 0, 8192, 3, -EUCLEAN, "a checksum too many");
	check_refused(0, (4u << 20) + 1, 0, 4u << 20, 1025, -EUCLEAN, "too long");
	check_refused(INT64_MAX / 4096, 8192, 0, 8192, 2, -EUCLEAN, "too far");
	check_refused(UINT64_MAX, 100, 0, 100, 1, -EUCLEAN, "an offset that overflows");
	is_int(segment_ref_decode((struct lsm_slice){NULL, 0}, &ref), -EUCLEAN, "no bytes at all");
	is_int(segment_ref_decode(
		       (struct lsm_slice){"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
		       &ref),
	       -EUCLEAN, "a malformed varint");
}

static void test_sums(void)
{
	uint8_t data[8192] = {1}, a[8], b[8], c[8], part[4];

	memset(data + 4096, 2, 4096);
	segment_sums(1, 0, data, sizeof(data), a);
	segment_sums(1, 4096, data, sizeof(data), b);
	segment_sums(2, 0, data, sizeof(data), c);
	segment_sums(1, 4096, data + 4096, 4096, part);
	ok(memcmp(a, b, 4) && memcmp(a, c, 4) && memcmp(a + 4, b + 4, 4),
	   "a checksum covers the segment and the place");
	ok(!memcmp(part, a + 4, 4), "a chunk's checksum is its own");
	segment_sums(1, 0, data, 4095, part);
	ok(memcmp(part, a, 4), "and covers its length");
}

/* ---- reading ---- */

static struct memory_file new_file(size_t size)
{
	struct memory_file f = {.file = {&memory_storage}, .size = size};

	f.data = malloc(size);
	if (!f.data)
		bail("no memory");
	for (size_t i = 0; i < size; i++)
		f.data[i] = (uint8_t)rnd();
	return f;
}

static void test_read_parts(uint32_t size)
{
	struct memory_file f = new_file(12288 + size);
	struct buf b = {0};
	struct segment_ref ref;
	uint8_t *out = malloc(size + 16);
	bool right = true;

	add_ref(SEGMENT, 12288, f.data + 12288, size, &b);
	segment_ref_decode(buf_slice(&b), &ref);
	for (int n = 0; n < 500; n++) {
		uint32_t from = (uint32_t)(rnd() % (size + 1));
		uint32_t count = (uint32_t)(rnd() % (size - from + 1));

		if (n % 4 == 1)
			from -= from % 4096;
		if (n % 4 == 2)
			count = count < 10 ? count : count % 10;
		if (n == 3) {
			from = 0;
			count = size;
		}
		if (n % 4 == 3 && from + count > 4096)
			count -= (from + count) % 4096 < count ? (from + count) % 4096 : 0;
		memset(out, 0xee, size + 16);
		right &= !segment_read(&f.file, &reports, &ref, from, out, count) &&
			 !memcmp(out, f.data + 12288 + from, count) && out[count] == 0xee;
	}
	ok(right, "parts of %u bytes", size);
	f.reads = 0;
	right = !segment_read(&f.file, &reports, &ref, 0, out, size);
	ok(right && f.reads == 1, "all of it in one read");
	is_int(segment_read(&f.file, &reports, &ref, 0, out, size + 1), -EINVAL, "not beyond it");
	is_int(segment_read(&f.file, &reports, &ref, size + 1, out, 0), -EINVAL, "nor after it");
	is_int(segment_read(&f.file, &reports, &ref, 1, out, UINT32_MAX), -EINVAL, "nor around");
	free(out);
	free(f.data);
	buf_release(&b);
}

static void test_read_count(void)
{
	struct memory_file f = new_file(1 << 20);
	struct buf b = {0};
	struct segment_ref ref;
	uint8_t *out = malloc(1 << 20);

	add_ref(SEGMENT, 0, f.data, 1 << 20, &b);
	segment_ref_decode(buf_slice(&b), &ref);
	segment_read(&f.file, &reports, &ref, 100, out, 12000);
	is_int(f.reads, 1, "a few chunks in one read");
	f.reads = 0;
	segment_read(&f.file, &reports, &ref, 100, out, 100000);
	is_int(f.reads, 3, "many: the ends apart, the middle at once");
	f.reads = 0;
	segment_read(&f.file, &reports, &ref, 4096, out, 100000);
	is_int(f.reads, 2, "aligned at the start: the end apart");
	f.reads = 0;
	segment_read(&f.file, &reports, &ref, 8192, out, 131072);
	is_int(f.reads, 1, "aligned: one read");
	free(out);
	free(f.data);
	buf_release(&b);
}

/* Slices of slices name the same bytes, keep no chunk too many, and re-encode to themselves. */
static void test_slices(void)
{
	struct memory_file f = new_file(8192 + 50000);
	uint8_t *out = malloc(50000);
	bool right = true;

	for (int n = 0; n < 300; n++) {
		struct buf bytes[2] = {0};
		struct segment_ref ref;
		uint32_t from = 0, size = 50000;

		add_ref(SEGMENT, 8192, f.data + 8192, size, &bytes[0]);
		for (int depth = 1; size > 1 && depth < 6; depth++) {
			struct buf *old = &bytes[(depth + 1) % 2], *new = &bytes[depth % 2];
			uint32_t cut = (uint32_t)(rnd() % (n % 2 ? size : size / 4 + 1));

			if (cut == size)
				cut = 0;
			right &= !segment_ref_decode(buf_slice(old), &ref);
			size = 1 + (uint32_t)(rnd() % (size - cut));
			from += cut;
			new->size = 0;
			right &= !segment_ref_slice(&ref, cut, size, new);
			right &= !segment_ref_decode(buf_slice(new), &ref) && ref.size == size;
			right &= !segment_read(&f.file, &reports, &ref, 0, out, size) &&
				 !memcmp(out, f.data + 8192 + from, size);
			right &= ref.offset == 8192 + from / 4096 * 4096 && ref.skip == from % 4096;
			old->size = 0;
			right &= !segment_ref_encode(&ref, old) &&
				 !slice_compare(buf_slice(old), buf_slice(new));
		}
		right &= segment_ref_slice(&ref, 0, 0, &bytes[0]) == -EINVAL &&
			 segment_ref_slice(&ref, 0, size + 1, &bytes[0]) == -EINVAL &&
			 segment_ref_slice(&ref, size, 1, &bytes[0]) == -EINVAL &&
			 segment_ref_slice(&ref, 1, UINT32_MAX, &bytes[0]) == -EINVAL;
		buf_release(&bytes[0]);
		buf_release(&bytes[1]);
	}
	ok(right, "slices of slices");
	free(out);
	free(f.data);
}

static void test_damage(void)
{
	struct memory_file f = new_file(4096 + 40000);
	struct buf b = {0};
	struct segment_ref ref;
	uint8_t *out = malloc(40000);

	add_ref(SEGMENT, 4096, f.data + 4096, 40000, &b);
	segment_ref_decode(buf_slice(&b), &ref);
	f.data[4096 + 10000] ^= 1; /* in chunk 2 */
	is_int(segment_read(&f.file, &reports, &ref, 0, out, 40000), -EUCLEAN, "a flipped bit");
	ok(reports_count == 1 && strstr(last_report, "000007.seg") && strstr(last_report, "12288"),
	   "is reported with its file and offset: %s", last_report);
	is_int(segment_read(&f.file, &reports, &ref, 8192, out, 1), -EUCLEAN,
	       "also when a byte beside it is read");
	is_int(segment_read(&f.file, &reports, &ref, 0, out, 8192), 0, "what is before it is fine");
	is_int(segment_read(&f.file, &reports, &ref, 12288, out, 27712), 0, "and what is after it");
	f.data[4096 + 10000] ^= 1;

	f.size -= 1;
	is_int(segment_read(&f.file, &reports, &ref, 39000, out, 10), -EUCLEAN, "a file cut short");
	ok(reports_count == 3 && strstr(last_report, "ends"), "is reported: %s", last_report);
	is_int(segment_read(&f.file, &reports, &ref, 0, out, 36864), 0, "the rest is fine");
	f.size = 0;
	is_int(segment_read(&f.file, &reports, &ref, 0, out, 36864), -EUCLEAN, "an empty file");
	f.size = 44096;
	f.error = -EIO;
	is_int(segment_read(&f.file, &reports, &ref, 5, out, 10), -EIO, "a failing device");
	is_int(reports_count, 4, "is no corruption");
	free(out);
	free(f.data);
	buf_release(&b);
}

int main(void)
{
	test_example();
	test_refused();
	test_sums();
	test_read_parts(1);
	test_read_parts(4096);
	test_read_parts(4097);
	test_read_parts(16384);
	test_read_parts(100001);
	test_read_parts(LSM_VALUE_BYTES_MAX);
	test_read_count();
	test_slices();
	test_damage();
	return done();
}
