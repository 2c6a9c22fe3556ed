#include "tests/support/fs_many.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/fs_fixture.h"

#define FS_MANY_BYTES 100 /* of a file */

static void fs_many_file(unsigned i, char name[16], char bytes[FS_MANY_BYTES + 1])
{
	snprintf(name, 16, "f%04u", i);
	snprintf(bytes, FS_MANY_BYTES + 1, "%0*u", FS_MANY_BYTES, i * 7919);
}

uint64_t fs_many_make(struct fs *fs, unsigned count)
{
	uint64_t dir = make_dir(fs, FS_ROOT_INO, "many");

	for (unsigned i = 0; i < count; i++) {
		char name[16], bytes[FS_MANY_BYTES + 1];
		uint64_t ino;

		fs_many_file(i, name, bytes);
		ino = make_file(fs, dir, name);
		fs_write(fs, ino, 0, bytes, FS_MANY_BYTES, 0, NULL);
		fs_forget(fs, ino, 1);
	}
	return dir;
}

void fs_many_read(struct fs *fs, uint64_t dir, unsigned count, int lost_err, unsigned *lost,
		  unsigned *wrong)
{
	*lost = *wrong = 0;
	for (unsigned i = 0; i < count; i++) {
		char name[16], want[FS_MANY_BYTES + 1], got_bytes[FS_MANY_BYTES + 28];
		struct stat st;
		size_t got;
		int err;

		fs_many_file(i, name, want);
		err = fs_lookup(fs, dir, name, &st);
		if (!err)
			err = fs_read(fs, st.st_ino, 0, got_bytes, sizeof(got_bytes), &got);
		if (err == lost_err)
			++*lost;
		else if (err || got != FS_MANY_BYTES || memcmp(got_bytes, want, got) != 0)
			++*wrong;
	}
}
