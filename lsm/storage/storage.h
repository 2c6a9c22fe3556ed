/*
 * storage.h - the seam below the tree: everything that the tree does to files.
 *
 * A storage is one flat directory of named files. The tree makes no other calls to the
 * system about files, so a test can put another storage in its place.
 *
 * What a crash (power cut) may do. The tree relies on nothing beyond this:
 *   - bytes written but not synced: each 512-byte sector is old or new, in any combination;
 *   - size changes not synced: old or new;
 *   - create, rename and unlink not followed by sync_dir: each is done or not;
 *     a synced file whose create was not followed by sync_dir may be missing;
 *   - rename is atomic: the old or the new file is under the name, whole.
 * After a failed sync the unsynced bytes may be lost although they still read
 * back, and a later sync may succeed without writing them. So a failed sync is never retried.
 *
 * Every call returns 0 or a negative errno, and sets its out-parameters. Threads: any call from
 * any thread, but writes to one file at the same time must not overlap.
 */
#ifndef LSM_STORAGE_H
#define LSM_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct storage;
struct storage_file;

enum storage_open {
	STORAGE_READ,   /* must exist; read only */
	STORAGE_WRITE,  /* must exist; read and write */
	STORAGE_CREATE, /* must not exist; read and write */
};

typedef int storage_list_fn(void *ctx, const char *name, uint64_t size);

struct storage_ops {
	/*
	 * Open the file `name`; the caller closes `*out`. -ENOENT; -EEXIST for STORAGE_CREATE;
	 * -EMFILE or -ENFILE without descriptors; -EROFS.
	 */
	int (*open)(struct storage *st, const char *name, enum storage_open how,
		    struct storage_file **out);
	int (*rename)(struct storage *st, const char *from, const char *to); /* replaces `to` */
	int (*unlink)(struct storage *st, const char *name);
	/* Call `fn` for each file. Stops at its first non-zero return, and returns that. */
	int (*list)(struct storage *st, storage_list_fn *fn, void *ctx);
	/* Make every create, rename and unlink before the call durable. */
	int (*sync_dir)(struct storage *st);
	/*
	 * Lock the store, exclusive or shared, until unlock. Does not wait: -EBUSY when a lock of
	 * another holder conflicts. `*holder` (may be NULL) is then the process id of that
	 * holder, or 0 if it is not known.
	 */
	int (*lock)(struct storage *st, bool exclusive, long *holder);
	void (*unlock)(struct storage *st); /* also when it is not locked */
	int (*space)(struct storage *st, uint64_t *free_bytes, uint64_t *total_bytes);
	void (*free)(struct storage *st); /* all files must have been closed */

	/* `*got` < `size` only at the end of the file. */
	int (*pread)(struct storage_file *f, void *buf, size_t size, uint64_t offset, size_t *got);
	/*
	 * Write all bytes, and extend the file if need be. After an error any part of them may
	 * have been written. -ENOSPC; -EFBIG.
	 */
	int (*pwritev)(struct storage_file *f, const struct iovec *iov, int iov_count,
		       uint64_t offset);
	/* Reserve disk space for [0, size). A shorter file gets that size, and reads as zeros. */
	int (*allocate)(struct storage_file *f, uint64_t size);
	int (*truncate)(struct storage_file *f, uint64_t size);
	/*
	 * Free the disk space of [offset, offset + size), which reads as zeros then. The size of
	 * the file stays. Where a filesystem cannot do it, the call succeeds and changes nothing:
	 * so the caller must not read those bytes again.
	 */
	int (*punch)(struct storage_file *f, uint64_t offset, uint64_t size);
	/*
	 * Ask the disk to begin writing these bytes, so that a later sync is short. A hint: it
	 * makes nothing durable and returns no error. NULL: the storage has no use for it.
	 */
	void (*start_write)(struct storage_file *f, uint64_t offset, uint64_t size);
	/* Make the bytes and the size durable, but not the file's name. */
	int (*sync)(struct storage_file *f);
	/* The file's length, and the bytes it occupies on disk. Each may be NULL. */
	int (*size)(struct storage_file *f, uint64_t *size, uint64_t *allocated);
	int (*close)(struct storage_file *f); /* frees `f`, also when it returns an error */
};

/* Every storage has these as its first member. */
struct storage {
	const struct storage_ops *ops;
	/*
	 * May be set. storage_open_file() calls it when there are no more descriptors, and
	 * tries again if it returns true: then it has closed some files.
	 */
	bool (*relieve)(void *ctx);
	void *relieve_ctx;
};
struct storage_file {
	struct storage *st;
};

/*
 * A storage in the local directory `path`, which is made (mode 0700) if it is absent and `create`
 * is set. Files are made with mode 0600. With `read_only` every change returns -EROFS.
 * The caller frees `*out` with ops->free.
 * Returns 0; -ENOENT; -ENOTDIR; other errors of open(2) and mkdir(2).
 * The directory may be renamed, and the process may change its directory, while it is used.
 */
int storage_dir_open(const char *path, bool create, bool read_only, struct storage **out);

/* ---- short names for the calls ---- */

/* As ops->open, and tries again once st->relieve has closed files. */
int storage_open_file(struct storage *st, const char *name, enum storage_open how,
		      struct storage_file **out);
static inline int storage_pread(struct storage_file *f, void *buf, size_t size, uint64_t offset,
				size_t *got)
{
	return f->st->ops->pread(f, buf, size, offset, got);
}
static inline int storage_pwrite(struct storage_file *f, const void *buf, size_t size,
				 uint64_t offset)
{
	struct iovec iov = {(void *)buf, size};

	return f->st->ops->pwritev(f, &iov, 1, offset);
}
static inline int storage_pwritev(struct storage_file *f, const struct iovec *iov, int iov_count,
				  uint64_t offset)
{
	return f->st->ops->pwritev(f, iov, iov_count, offset);
}
static inline int storage_sync(struct storage_file *f)
{
	return f->st->ops->sync(f);
}
static inline int storage_close(struct storage_file *f)
{
	return f ? f->st->ops->close(f) : 0;
}

/*
 * Sync the directory. Any error of the storage becomes -EIO: a failed sync is final, so an
 * error such as -ENOSPC must not look like a shortage that passes.
 */
int storage_sync_dir(struct storage *st);

/* Read exactly `size` bytes. -EUCLEAN (not reported) when the file ends before. */
int storage_pread_full(struct storage_file *f, void *buf, size_t size, uint64_t offset);

#endif
