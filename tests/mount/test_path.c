/*
 * test_path.c - everything below a directory is found, or an error says that it is not.
 */
#include <stdio.h>
#include <string.h>

#include "mount/path.h"
#include "tests/support/fs_raw.h"

#define DIRS 9000u /* more than fit into the table of inodes with 16 MiB */

static unsigned found, found_dirs;

static int count_path(void *ctx, const char *path, const struct stat *st)
{
	(void)ctx;
	(void)path;
	found++;
	found_dirs += S_ISDIR(st->st_mode);
	return 0;
}

/* All of these directories are still to be read at one time, and hold their inodes in memory. */
static void test_many_directories(void)
{
	struct fs_fixture f;
	char name[32];
	uint64_t dir;

	fs_fixture_init(&f);
	for (unsigned i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		dir = make_dir(f.fs, FS_ROOT_INO, name);
		fs_forget(f.fs, make_file(f.fs, dir, "file"), 1);
		fs_forget(f.fs, dir, 1);
	}
	found = found_dirs = 0;
	is_int(path_each_below(f.fs, FS_ROOT_INO, count_path, NULL), 0, "all below the root");
	is_int(found, 2 * DIRS, "... are found, also with a full table of inodes");
	is_int(found_dirs, DIRS, "... with their types");
	fs_fixture_clean(&f, "after it");
	fs_fixture_release(&f);
}

/* What cannot be read is an error; what is beside it is found. */
static void test_damaged_record(void)
{
	struct fs_stats before, after;

	raw_begin();
	raw_put(KEY_NAME, raw.dir_ino, "file", "\377nonsense", 9);
	lsm_close(raw.lsm);
	fs_fixture_open(&raw.f);
	fs_stats(raw.f.fs, &before);
	found = 0;
	is_int(path_each_below(raw.f.fs, FS_ROOT_INO, count_path, NULL), -EIO,
	       "a damaged record is an error");
	is_int(found, 6, "... and all else is found");
	fs_stats(raw.f.fs, &after);
	is_int(after.inodes_in_memory, before.inodes_in_memory, "... and no reference is kept");
	raw_end();
}

int main(void)
{
	run_test(test_many_directories);
	run_test(test_damaged_record);
	return done();
}
