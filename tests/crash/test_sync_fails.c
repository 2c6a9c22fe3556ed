/*
 * test_sync_fails.c - a filesystem on a `sync` mount whose disk fails: what was asked for is an
 * error, nothing is written from then on, and no reference is left behind.
 */
#include <errno.h>

#include "fs/fs.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

static const struct fs_cred ROOT = {0, 0, true, 0};

int main(void)
{
	struct storage *st = storage_mem_new();
	struct fs_options o = {.lsm = {.storage = st, .create = true}, .sync = true};
	struct fs_stats stats;
	struct stat a, b;
	struct fs *fs;

	if (!st || fs_open("fails", &o, &fs) || fs_mknod(fs, &ROOT, FS_ROOT_INO, "a", 0644, 0, &a))
		bail("cannot set up");
	storage_mem_fail(st, STORAGE_MEM_SYNC, 1, 1, EIO);
	is_int(fs_mknod(fs, &ROOT, FS_ROOT_INO, "b", 0644, 0, &b), -EIO,
	       "a create that cannot be synced fails");
	if (fs_stats(fs, &stats))
		bail("fs_stats");
	is_int(stats.inodes_in_memory, 2, "and gives no reference");
	ok(stats.lsm.read_only, "the store is read-only");
	is_int(fs_write(fs, a.st_ino, 0, "x", 1, 0, NULL), -EROFS, "nothing is written");
	is_int(fs_sync(fs), -EROFS, "nor synced, though the disk is well");
	is_int(fs_lookup(fs, FS_ROOT_INO, "a", &a), 0, "reading goes on");
	ok(fs_close(fs), "closing says that it failed");
	st->ops->free(st);
	return done();
}
