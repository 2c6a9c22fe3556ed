/*
 * Content: every write, cut, hole and copy compared with the same done to an
 * array of bytes; the errors; what moves between record and extents.
 */
#include <linux/falloc.h>

#include "tests/support/fs_fixture.h"

#define SIZE_MAX_MODEL (600u << 10)

static struct fixture f;

struct model {
	uint64_t ino;
	size_t size;
	unsigned char bytes[SIZE_MAX_MODEL];
};

static unsigned rng = 1;

static unsigned random_below(unsigned n)
{
	rng = rng * 1103515245u + 12345u;
	return (rng >> 8) % n;
}

static void model_same(struct model *m, const char *when)
{
	static unsigned char buf[SIZE_MAX_MODEL + 16];
	struct stat st = attr_of(f.fs, m->ino);
	size_t got;
	int rc = fs_read(f.fs, m->ino, 0, buf, sizeof(buf), &got);

	if (rc || got != m->size || (size_t)st.st_size != m->size || memcmp(buf, m->bytes, got))
		ok(false, "%s: content is as expected (rc %d, %zu of %zu)", when, rc, got, m->size);
}

static void model_write(struct model *m, size_t at, size_t size)
{
	static unsigned char data[SIZE_MAX_MODEL];
	int rc;

	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(1 + random_below(255));
	rc = fs_write(f.fs, m->ino, at, data, size, 0, NULL);
	if (rc)
		ok(false, "write: %s", strerror(-rc));
	memcpy(m->bytes + at, data, size);
	if (size && at + size > m->size)
		m->size = at + size;
}

static void model_cut(struct model *m, size_t size)
{
	struct stat want = {.st_size = (off_t)size}, st;
	int rc = fs_setattr(f.fs, &ROOT, m->ino, &want, FS_SET_SIZE, &st);

	if (rc)
		ok(false, "truncate: %s", strerror(-rc));
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

static void model_fallocate(struct model *m, int mode, size_t at, size_t size)
{
	int rc = fs_fallocate(f.fs, m->ino, mode, at, size);
	size_t end = at + size < m->size ? at + size : m->size;

	if (rc)
		ok(false, "fallocate: %s", strerror(-rc));
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && at < end)
		memset(m->bytes + at, 0, end - at);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && at + size > m->size)
		m->size = at + size;
}

static void model_copy(struct model *from, size_t from_at, struct model *to, size_t to_at,
		       size_t size)
{
	size_t end = from_at + size < from->size ? from_at + size : from->size, done = 0, got;
	size_t n = from_at < end ? end - from_at : 0;
	int rc;

	while (done < n) {
		rc = fs_copy_range(f.fs, from->ino, from_at + done, to->ino, to_at + done,
				   size - done, &got);
		if (rc || !got) {
			ok(false, "copy: %s, %zu of %zu", strerror(-rc), done, n);
			return;
		}
		done += got;
	}
	memmove(to->bytes + to_at, from->bytes + from_at, n);
	if (n && to_at + n > to->size)
		to->size = to_at + n;
}

/* Offsets and sizes of all magnitudes, mostly small. */
static unsigned some(unsigned max)
{
	unsigned limit = 1u << random_below(20);

	return random_below(limit < max ? limit : max);
}

static void step(struct model *m, struct model *other)
{
	static const int modes[] = {
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	unsigned at = some(SIZE_MAX_MODEL / 2), size = some(SIZE_MAX_MODEL / 2 - 1) + 1;

	switch (random_below(9)) {
	case 0:
		model_cut(m, random_below(4) ? at : 0);
		break;
	case 1:
		model_fallocate(m, modes[random_below(6)], at, size);
		break;
	case 2:
		model_copy(m, at, other, some(SIZE_MAX_MODEL / 2), size);
		break;
	case 3:
		if (m->size + size < SIZE_MAX_MODEL)
			model_write(m, m->size, size);
		break;
	default:
		model_write(m, at, size);
	}
}

static void test_random(void)
{
	struct model *m = calloc(2, sizeof(*m));
	struct stat st;

	if (!m)
		bail("memory");
	m[0].ino = mk_file(f.fs, FS_ROOT_INO, "m0");
	m[1].ino = mk_file(f.fs, FS_ROOT_INO, "m1");
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 60; i++) {
			unsigned which = random_below(2);

			step(&m[which], &m[!which]);
			model_same(&m[0], "first");
			model_same(&m[1], "second");
		}
		if (round % 4 == 3)
			fixture_clean(&f, "after random writes");
		if (round % 4 == 1) {
			fixture_reopen(&f);
			fs_lookup(f.fs, FS_ROOT_INO, "m0", &st);
			fs_lookup(f.fs, FS_ROOT_INO, "m1", &st);
		}
		model_cut(&m[round % 2], 0);
	}
	ok(true, "random writes, cuts, holes and copies");
	free(m);
}

static void test_borders(void)
{
	static struct model m;
	struct stat st;

	m.ino = mk_file(f.fs, FS_ROOT_INO, "b");
	model_write(&m, 0, 2048);
	st = attr_of(f.fs, m.ino);
	is_int(st.st_blocks, 4, "2048 bytes in the record count as blocks");
	model_write(&m, 2048, 1);
	model_same(&m, "one byte more");
	st = attr_of(f.fs, m.ino);
	is_int(st.st_blocks, 5, "2049 are in extents");
	model_cut(&m, 100);
	model_cut(&m, 200);
	model_same(&m, "cut and grown again");
	model_cut(&m, 0);
	is_int(attr_of(f.fs, m.ino).st_blocks, 0, "nothing stored");
	model_write(&m, 2000, 10);
	model_same(&m, "a hole in the record");
	model_cut(&m, 5000);
	model_same(&m, "grown out of it");
	model_cut(&m, 0);
	model_write(&m, 10, 5);
	model_write(&m, 100000, 5);
	model_same(&m, "far beyond the content in the record");
	model_cut(&m, 0);
	model_write(&m, 0, 100);
	model_write(&m, 50, SIZE_MAX_MODEL - 50);
	model_same(&m, "large over small");
	ok(true, "around the borders");
	is_int(fs_unlink(f.fs, FS_ROOT_INO, "b"), 0, "unlink");
	model_write(&m, 77, 3000);
	model_same(&m, "nameless");
	model_cut(&m, 0);
	model_write(&m, 0, 30);
	model_write(&m, 20, 30);
	model_same(&m, "nameless and small");
	model_write(&m, 10, 5000);
	model_same(&m, "nameless and large");
	fs_forget(f.fs, m.ino, 1);
	fixture_clean(&f, "after a nameless one was freed");
}

static void test_seek(void)
{
	uint64_t a = mk_file(f.fs, FS_ROOT_INO, "s"), b = mk_file(f.fs, FS_ROOT_INO, "t"), at;

	fs_write(f.fs, a, 0, "abc", 3, 0, NULL);
	is_int(fs_seek(f.fs, a, 0, SEEK_DATA, &at), 0, "data in the record");
	is_int(at, 0, "... here");
	is_int(fs_seek(f.fs, a, 1, SEEK_HOLE, &at), 0, "the hole at the end");
	is_int(at, 3, "... there");
	is_int(fs_seek(f.fs, a, 3, SEEK_DATA, &at), -ENXIO, "beyond the end");
	is_int(fs_seek(f.fs, a, 3, SEEK_HOLE, &at), -ENXIO, "... also for holes");
	fs_write(f.fs, a, 1 << 20, "abc", 3, 0, NULL);
	is_int(fs_seek(f.fs, a, 1000, SEEK_DATA, &at), 0, "a block with data in it");
	is_int(at, 1000, "... is data");
	is_int(fs_seek(f.fs, a, 4096, SEEK_DATA, &at), 0, "data behind a hole");
	is_int(at, 1 << 20, "... there");
	is_int(fs_seek(f.fs, a, 0, SEEK_HOLE, &at), 0, "the hole");
	is_int(at, 4096, "... behind the first block");
	is_int(fs_seek(f.fs, a, 1 << 20, SEEK_HOLE, &at), 0, "the hole at the end");
	is_int(at, (1 << 20) + 3, "... is the end");
	is_int(fs_fallocate(f.fs, a, 0, 0, 2 << 20), 0, "grown");
	is_int(fs_seek(f.fs, a, (1 << 20) + 3, SEEK_DATA, &at), 0, "the rest of a block with data");
	is_int(at, (1 << 20) + 3, "... is data");
	is_int(fs_seek(f.fs, a, (1 << 20) + 4096, SEEK_DATA, &at), -ENXIO, "no data in the tail");
	fs_write(f.fs, b, 0, "abc", 3, 0, NULL);
	is_int(fs_fallocate(f.fs, b, 0, 0, 5000), 0, "one in the record, grown");
	is_int(fs_seek(f.fs, b, 5, SEEK_HOLE, &at), 0, "a hole");
	is_int(at, 4096, "... behind its block");
	is_int(fs_seek(f.fs, a, 0, SEEK_SET, &at), -EINVAL, "another whence");
	is_int(fs_seek(f.fs, FS_ROOT_INO, 0, SEEK_DATA, &at), -EISDIR, "of a directory");
}

static void test_errors(void)
{
	uint64_t a = mk_file(f.fs, FS_ROOT_INO, "e");
	struct stat st;
	size_t got;
	char buf[4];

	is_int(fs_read(f.fs, FS_ROOT_INO, 0, buf, 4, &got), -EISDIR, "read of a directory");
	is_int(fs_write(f.fs, FS_ROOT_INO, 0, buf, 4, 0, NULL), -EISDIR, "write");
	fs_mknod(f.fs, &ROOT, FS_ROOT_INO, "p", S_IFIFO, 0, &st);
	is_int(fs_read(f.fs, st.st_ino, 0, buf, 4, &got), -EINVAL, "read of a pipe");
	is_int(fs_fallocate(f.fs, st.st_ino, 0, 0, 1), -ENODEV, "fallocate of a pipe");
	is_int(fs_read(f.fs, 4711, 0, buf, 4, &got), -ESTALE, "read of nobody");
	is_int(fs_write(f.fs, a, INT64_MAX, "x", 1, 0, NULL), -EFBIG, "beyond the largest size");
	is_int(fs_write(f.fs, a, INT64_MAX - 1, "x", 1, 0, NULL), 0, "the last byte there is");
	is_int(fs_read(f.fs, a, INT64_MAX - 3, buf, 4, &got), 0, "... read");
	is_mem(buf, got, "\0\0x", 3, "... is there");
	is_int(attr_of(f.fs, a).st_size, INT64_MAX, "... the size");
	is_int(fs_read(f.fs, a, UINT64_MAX, buf, 4, &got), 0, "read far beyond");
	is_int(got, 0, "... is empty");
	is_int(fs_write(f.fs, a, 0, NULL, 0, 0, NULL), 0, "an empty write");
	is_int(fs_fallocate(f.fs, a, 0, 0, 0), -EINVAL, "fallocate of nothing");
	is_int(fs_fallocate(f.fs, a, 0, INT64_MAX, 1), -EFBIG, "... beyond");
	is_int(fs_fallocate(f.fs, a, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP, "punch and grow");
	is_int(fs_fallocate(f.fs, a, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP, "collapse");
	is_int(fs_copy_range(f.fs, a, 0, a, 10, 20, &got), -EINVAL, "an overlapping copy");
	is_int(fs_copy_range(f.fs, a, 0, FS_ROOT_INO, 10, 20, &got), -EISDIR, "to a directory");
	is_int(fs_write(f.fs, a, 0, "12", 2, FS_WRITE_APPEND, NULL), -EFBIG, "append at the limit");
	is_int(fs_write(f.fs, a, 0, "12", 2, FS_WRITE_SYNC, &st), 0, "a synced write");
	is_int(fs_sync(f.fs), 0, "sync");
	a = mk_file(f.fs, FS_ROOT_INO, "ap");
	fs_write(f.fs, a, 99, "12", 2, FS_WRITE_APPEND, NULL);
	fs_write(f.fs, a, 0, "34", 2, FS_WRITE_APPEND, &st);
	is_int(st.st_size, 4, "appended twice");
}

int main(void)
{
	fixture_init(&f);
	test_borders();
	test_seek();
	test_errors();
	test_random();
	fixture_clean(&f, "in the end");
	fixture_release(&f);
	return done();
}
