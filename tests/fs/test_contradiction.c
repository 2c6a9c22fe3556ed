/*
 * test_contradiction.c - a store whose checksums are right, but whose records contradict each
 * other, as only somebody hostile makes one. Two names have records of one inode, with contents
 * of two sizes. Renaming and removing the second name read as many bytes as the first one has:
 * the memory behind the shorter content was shown to readers.
 */
#include <string.h>

#include "fs/record.h"
#include "tests/support/fs_raw.h"

/* Give raw.file_ino ("file", 5 bytes) a second record, `name`, with `size` bytes of content. */
static void put_twin(const char *name, size_t size)
{
	unsigned char record[RECORD_BYTES_MAX];
	char content[FS_INLINE_BYTES_MAX];
	struct attr a;

	memset(content, 'B', sizeof(content));
	a = raw_get(KEY_NAME, raw.dir_ino, "file");
	a.size = a.content_size = (uint32_t)size;
	raw_put(KEY_NAME, raw.dir_ino, name, record,
		record_encode(record, raw.file_ino, &a, content));
}

/* `held` is looked up first, so that its attributes are in memory; then `other` is changed. */
static void test_twins(size_t size, const char *held, const char *other)
{
	static char bytes[FS_INLINE_BYTES_MAX];
	struct stat st;
	size_t got = 0, expected = strcmp(held, "file") ? size : 5;
	bool right = true;

	raw_begin();
	put_twin("twin", size);
	lsm_close(raw.lsm);
	fs_fixture_open(&raw.f);
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st) ||
	    fs_lookup(raw.f.fs, raw.dir_ino, held, &st))
		bail("lookup");
	is_int(fs_rename(raw.f.fs, raw.dir_ino, other, raw.dir_ino, "moved", 0), -EIO,
	       "%zu bytes, %s in memory: a rename of %s", size, held, other);
	is_int(fs_unlink(raw.f.fs, raw.dir_ino, other), -EIO, "... an unlink");
	is_int(fs_read(raw.f.fs, raw.file_ino, 0, bytes, sizeof(bytes), &got), 0, "... a read");
	for (size_t i = 0; i < got; i++)
		right = right && bytes[i] == (expected == 5 ? "small"[i] : 'B');
	ok(got == expected && right, "... is of the file's own %zu bytes", expected);
	fs_forget(raw.f.fs, raw.file_ino, 1);
	fs_forget(raw.f.fs, raw.dir_ino, 1);
	raw_end();
}

int main(void)
{
	static const size_t sizes[] = {1, 4, 6, FS_INLINE_BYTES_MAX};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		run_test(test_twins, sizes[i], "file", "twin");
		run_test(test_twins, sizes[i], "twin", "file");
	}
	return done();
}
