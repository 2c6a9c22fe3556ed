/*
 * fs.c - opening and closing a filesystem, and the order of locks.
 *
 * The order of locks
 *
 * A thread that holds one of these only takes ones further down (the ranks in core.h):
 *
 *   LOCK_DIR_STREAM  an open directory, while it is read
 *   LOCK_COUNT_JOIN  waiting for the thread that counts inodes (count.c)
 *   LOCK_RENAME      fs->rename_lock: see below
 *   LOCK_INODE       any number of inodes, in the order below
 *   LOCK_INO         fs->ino_lock, while it raises the bound of inode numbers
 *   LOCK_SHARD, LOCK_POOL, LOCK_PRUNE
 *                    held for a few instructions, and never while calling anything
 *   the tree's       lsm_*() calls; they may wait for the disk
 *
 * The order of inodes
 *
 * The lock of a directory also guards its names: which there are, and what they stand for. So
 * while a directory is locked, even shared, none of its children changes its parent.
 *
 *   1. Directories come before all others.
 *   2. A thread without rename_lock holds at most two directories: one, and then a child of
 *      it. It only goes down the tree.
 *   3. A thread that needs two directories of which none is the parent of the other takes
 *      rename_lock first. These are a rename between two directories, and a rename or exchange
 *      of two directories within one. Under that lock only its holder changes the parent of a
 *      directory. The holder first takes the directories that the names are in: the upper one
 *      before the lower one, and by ascending number if neither is above the other. Then it
 *      takes the directories that it moves or replaces, after it has checked that none of these
 *      is above a directory that it holds.
 *   4. Other inodes come by ascending number.
 *   5. No inode twice, not even shared: a waiting writer stops new readers.
 *
 * Why no threads wait for each other in a ring. By rules 1 and 4 a thread that holds an inode
 * other than a directory only waits for such an inode with a higher number, so the threads of a
 * ring all wait for directories. A thread by rule 2 waits for a directory below the one that it
 * holds. So the directories that are waited for lie further and further below each other, and
 * the ring can only close through the one thread with rename_lock: if that thread holds a
 * directory below the one that it waits for. By rule 3 it does not.
 *
 * Rule 3 is what siblings need, too. If a thread could lock two children of one directory by
 * number, without rename_lock, it could hold c2 and wait for c1. A second one, listing c1,
 * holds c1 and waits for d in it. A third, which renames between d and c2, holds d and waits
 * for c2.
 *
 * inode_lock.c asserts the order where a lock is taken.
 *
 * A read takes the lock of one inode, shared, and none that is global. A change
 * takes the locks of all inodes whose records it writes, builds one batch,
 * writes it, and only then changes what is in memory: a failed write changed
 * nothing. Durability (a `sync` mount, O_SYNC) is waited for after the locks
 * are released, so that many threads in one directory share one sync.
 */
#include "fs/core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "fs/count.h"
#include "fs/inode.h"
#include "fs/orphan.h"
#include "fs/prune.h"
#include "fs/time.h"

/* The table of inodes gets memory_bytes / INODE_SHARE; the tree gets the rest. */
#define INODE_SHARE 8u
#define MEMORY_BYTES_DEFAULT (256u << 20)

/* ---- opening ---- */

static int fs_super_bad(struct fs *fs, const char *why)
{
	fs_report(fs, LSM_REPORT_ERROR, "the store holds no filesystem of Varve's: %s", why);
	return -EUCLEAN;
}

/* Make a filesystem in an empty tree. */
static int fs_super_create(struct fs *fs, const struct fs_options *options)
{
	unsigned char format[20] = {FS_FORMAT_VERSION}, next[8], root[RECORD_BYTES_MAX];
	struct attr attr = {.mode = S_IFDIR | 0755,
			    .nlink = 1,
			    .uid = options->root_uid,
			    .gid = options->root_gid};
	struct lsm_batch *b;
	struct key k;
	size_t size;
	int err;

	if (getrandom(format + 4, 16, 0) != 16)
		return -EIO;
	attr.atime = attr.mtime = attr.ctime = attr.btime = time_now();
	size = record_encode(root, FS_ROOT_INO, &attr, NULL);
	key_put_u64(next, FS_ROOT_INO + 1);
	b = lsm_batch_new();
	if (!b)
		return -ENOMEM;
	err = lsm_batch_put(b, SLICE(SUPER_FORMAT), (struct lsm_slice){format, sizeof(format)});
	if (!err)
		err = lsm_batch_put(b, SLICE(SUPER_NEXT), (struct lsm_slice){next, 8});
	if (!err) /* one inode; count_open() will find this */
		err = lsm_batch_put(b, SLICE(SUPER_COUNT),
				    (struct lsm_slice){"\0\0\0\0\0\0\0\1", 8});
	if (!err)
		err = lsm_batch_put(b, key_make(&k, KEY_INODE, FS_ROOT_INO, NULL, 0),
				    (struct lsm_slice){root, size});
	if (!err)
		err = lsm_write(fs->lsm, b, LSM_SYNC);
	lsm_batch_free(b);
	return err;
}

/* Find out whether there is nothing at all in the tree. */
static int fs_tree_empty(struct fs *fs, bool *empty)
{
	struct lsm_iter *it = lsm_iter_new(fs->lsm, NULL);
	int err;

	*empty = false;
	if (!it)
		return -ENOMEM;
	lsm_iter_first(it);
	*empty = !lsm_iter_valid(it);
	err = lsm_iter_status(it);
	lsm_iter_free(it);
	return err;
}

static int fs_super_read(struct fs *fs, const struct fs_options *options, struct lsm_value *value)
{
	const unsigned char *p;
	uint32_t version;
	bool empty;
	int err;

	err = lsm_get(fs->lsm, NULL, SLICE(SUPER_FORMAT), value);
	if (err == LSM_ABSENT) {
		err = fs_tree_empty(fs, &empty);
		if (err)
			return err;
		if (!empty || fs->read_only)
			return fs_super_bad(fs, empty ? "it is empty" : "it has no superblock");
		err = fs_super_create(fs, options);
		if (!err)
			err = lsm_get(fs->lsm, NULL, SLICE(SUPER_FORMAT), value);
	}
	if (err)
		return err == LSM_ABSENT ? -EIO : err;
	p = value->data;
	if (value->size < 4)
		return fs_super_bad(fs, "its superblock is too short");
	version = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
	if (version > FS_FORMAT_VERSION) {
		fs_report(fs, LSM_REPORT_ERROR,
			  "the filesystem has format %u, and this program knows up to %u: "
			  "use a newer varve",
			  version, FS_FORMAT_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (!version || value->size != 20)
		return fs_super_bad(fs, "its superblock is malformed");
	memcpy(fs->uuid, p + 4, sizeof(fs->uuid));

	err = lsm_get(fs->lsm, NULL, SLICE(SUPER_NEXT), value);
	if (err == LSM_ABSENT || (!err && value->size != 8))
		return fs_super_bad(fs, "the bound of its inode numbers is missing");
	if (err)
		return err;
	fs->ino_next = fs->ino_bound = key_get_u64(value->data);
	if (fs->ino_next <= FS_ROOT_INO || fs->ino_next > UINT64_MAX / 2)
		return fs_super_bad(fs, "the bound of its inode numbers is impossible");
	return 0;
}

static int fs_root_load(struct fs *fs, struct lsm_value *value)
{
	struct record record;
	struct lsm_slice key;
	const char *why = "it is gone";
	struct key k;
	int err;

	key = key_make(&k, KEY_INODE, FS_ROOT_INO, NULL, 0);
	err = lsm_get(fs->lsm, NULL, key, value);
	if (err < 0)
		return err;
	if (!err)
		err = record_decode((struct lsm_slice){value->data, value->size}, &record, &why);
	if (!err &&
	    (record.kind != RECORD_INODE || record.ino != FS_ROOT_INO || !S_ISDIR(record.type))) {
		why = "the root is no directory";
		err = -EUCLEAN;
	}
	if (err)
		return fs_corrupt(fs, key, why);
	fs->root = inode_new(fs, FS_ROOT_INO, &record.attr, INODE_OWN, NULL, NULL);
	if (!fs->root)
		return -ENOMEM;
	inode_add(fs, fs->root); /* with the reference, for good */
	return 0;
}

static void fs_free(struct fs *fs)
{
	while (fs->pool_count)
		lsm_batch_free(fs->pool[--fs->pool_count]);
	mutex_destroy(&fs->pool_lock);
	mutex_destroy(&fs->ino_lock);
	mutex_destroy(&fs->rename_lock);
	free(fs);
}

/* A filesystem with its options and locks, and no tree yet; NULL: no memory. */
static struct fs *fs_new(const struct fs_options *options)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	if (mutex_init(&fs->pool_lock, LOCK_POOL))
		goto no_pool;
	if (mutex_init(&fs->ino_lock, LOCK_INO))
		goto no_ino;
	if (mutex_init(&fs->rename_lock, LOCK_RENAME))
		goto no_rename;
	fs->atime = options->atime;
	fs->sync = options->sync;
	fs->acl = options->acl;
	fs->read_only = options->lsm.read_only;
	fs->report = options->lsm.report;
	fs->report_ctx = options->lsm.report_ctx;
	return fs;
no_rename:
	mutex_destroy(&fs->ino_lock);
no_ino:
	mutex_destroy(&fs->pool_lock);
no_pool:
	free(fs);
	return NULL;
}

/* Open the tree below `fs`, and part the memory between the two. */
static int fs_open_tree(struct fs *fs, const char *path, const struct fs_options *options)
{
	struct lsm_options lsm_options = options->lsm;
	size_t memory =
		options->lsm.memory_bytes ? options->lsm.memory_bytes : MEMORY_BYTES_DEFAULT;

	fs->inode_bytes_max = memory / INODE_SHARE;
	lsm_options.memory_bytes = memory - fs->inode_bytes_max;
	return lsm_open(path, &lsm_options, &fs->lsm);
}

int fs_open(const char *path, const struct fs_options *options, struct fs **out)
{
	struct lsm_value value = {0};
	struct fs *fs;
	int err;

	*out = NULL;
	fs = fs_new(options);
	if (!fs)
		return -ENOMEM;
	err = fs_open_tree(fs, path, options);
	if (err) {
		fs_free(fs);
		return err;
	}
	err = inode_table_init(fs);
	if (!err)
		err = fs_super_read(fs, options, &value);
	if (!err)
		err = fs_root_load(fs, &value);
	if (!err)
		err = prune_open(fs);
	if (!err)
		err = count_open(fs);
	lsm_value_release(&value);
	if (err) {
		prune_close(fs);
		inode_table_release(fs);
		lsm_close(fs->lsm);
		fs_free(fs);
		return err;
	}
	if (!fs->read_only) {
		/* Orphans only cost space: what cannot be freed now waits for another open. */
		err = orphan_free_all(fs);
		if (err)
			fs_report(fs, LSM_REPORT_WARNING, "cannot free deleted files: %s",
				  strerror(-err));
	}
	*out = fs;
	return 0;
}

int fs_close(struct fs *fs)
{
	int err;

	if (!fs)
		return 0;
	prune_close(fs);
	inode_table_release(fs);
	count_close(fs);
	err = lsm_close(fs->lsm);
	fs_free(fs);
	return err;
}

int fs_sync(struct fs *fs)
{
	return fs->read_only ? 0 : fs_errno(lsm_sync(fs->lsm));
}

/* ---- upkeep ---- */

int fs_compact(struct fs *fs, lsm_progress_fn *progress, void *ctx)
{
	struct lsm_slice all = {0};

	return fs_errno(lsm_compact(fs->lsm, all, all, progress, ctx));
}

int fs_stats(struct fs *fs, struct fs_stats *stats)
{
	int err = count_wait(fs);

	memset(stats, 0, sizeof(*stats));
	lsm_stats(fs->lsm, &stats->lsm);
	stats->files = count_files(fs);
	stats->inodes_in_memory = atomic_load_explicit(&fs->inodes, memory_order_relaxed);
	stats->inode_bytes = atomic_load_explicit(&fs->inode_bytes, memory_order_relaxed);
	return fs_errno(err);
}

int fs_statfs(struct fs *fs, struct statvfs *st)
{
	uint64_t free_bytes, total_bytes, uuid;
	int err;

	memset(st, 0, sizeof(*st));
	err = lsm_space(fs->lsm, &free_bytes, &total_bytes);
	if (err)
		return fs_errno(err);
	memcpy(&uuid, fs->uuid, sizeof(uuid));
	st->f_bsize = st->f_frsize = 4096;
	st->f_blocks = total_bytes / 4096;
	st->f_bfree = st->f_bavail = free_bytes / 4096;
	/* Nothing limits them but space; a small file takes about this much. */
	st->f_ffree = st->f_favail = free_bytes / 256;
	st->f_files = st->f_ffree + count_files(fs);
	st->f_fsid = uuid;
	st->f_namemax = FS_NAME_BYTES_MAX;
	st->f_flag = fs->read_only ? ST_RDONLY : 0;
	return 0;
}
