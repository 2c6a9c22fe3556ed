/*
 * storage.h - the seam below the tree: everything it does to files.
 *
 * A storage is one flat directory of named files. The tree uses nothing else
 * of the system's, so a test can stand another storage in its place.
 *
 * What a crash (power cut) may do, and the tree relies on no more:
 *   - bytes written but not synced: each 512-byte sector old or new, any subset;
 *   - size changes not synced: old or new;
 *   - create, rename and unlink not followed by sync_dir: each done or not;
 *     a synced file whose create was not followed by sync_dir may be missing;
 *   - rename is atomic: the old or the new file is under the name, whole.
 * After a failed sync the unsynced bytes may be lost though they still read
 * back, and a later sync may succeed without writing them: never retry one.
 *
 * Every call returns 0 or a negative errno. Threads: any call from any thread;
 * writes to one file at the same time must not overlap.
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
	int (*open)(struct storage *st, const char *name, enum storage_open how,
		    struct storage_file **out);
	int (*rename)(struct storage *st, const char *from, const char *to); /* replaces */
	int (*unlink)(struct storage *st, const char *name);
	/* Calls `fn` for each file; stops at its first non-zero return and returns that. */
	int (*list)(struct storage *st, storage_list_fn *fn, void *ctx);
	int (*sync_dir)(struct storage *st);
	/*
	 * Take the store's lock, exclusive or shared, until unlock. -EBUSY at once when
	 * somebody else holds it; `holder` (may be NULL) then gets their process id or 0.
	 */
	int (*lock)(struct storage *st, bool exclusive, long *holder);
	void (*unlock)(struct storage *st);
	int (*space)(struct storage *st, uint64_t *free_bytes, uint64_t *total_bytes);
	void (*free)(struct storage *st);

	/* `*got` < `size` only at the end of the file. */
	int (*pread)(struct storage_file *f, void *buf, size_t size, uint64_t offset, size_t *got);
	/* Writes all of it or fails; after a failure any part may be written. Extends the file. */
	int (*pwritev)(struct storage_file *f, const struct iovec *iov, int iov_count,
		       uint64_t offset);
	/* Reserve disk space for [0, size) and make the file that long, reading as zeros. */
	int (*allocate)(struct storage_file *f, uint64_t size);
	int (*truncate)(struct storage_file *f, uint64_t size);
	/*
	 * Give the space of [offset, offset + size) back; it reads as zeros. The size stays.
	 * Where that cannot be done it succeeds without any effect: read nothing there.
	 */
	int (*punch)(struct storage_file *f, uint64_t offset, uint64_t size);
	/*
	 * Begin to write to the disk what was written there, so that a later sync is short.
	 * Nothing is promised, and nothing is said of errors. NULL: of no use here.
	 */
	void (*start_write)(struct storage_file *f, uint64_t offset, uint64_t size);
	int (*sync)(struct storage_file *f); /* bytes and size, not the directory */
	int (*size)(struct storage_file *f, uint64_t *size, uint64_t *allocated);
	int (*close)(struct storage_file *f); /* frees `f` whatever it returns */
};

/* Implementations embed these first. */
struct storage {
	const struct storage_ops *ops;
	/* May be set: called when descriptors run out; true if it closed any, to try again. */
	bool (*relieve)(void *ctx);
	void *relieve_ctx;
};
struct storage_file {
	struct storage *st;
};

/*
 * The local directory `path`. Made (0700) if `create` and absent; files are
 * 0600. Returns 0; -ENOENT; -ENOTDIR; as open(2).
 * It only uses descriptors relative to the directory, so a later chdir is fine.
 */
int storage_dir_open(const char *path, bool create, bool read_only, struct storage **out);

/* Short names for the calls. */
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
 * Sync the directory. -EIO whatever the storage's error was: like any failed
 * sync it is final, and no shortage that going on could mend.
 */
int storage_sync_dir(struct storage *st);

/* Reads exactly `size` bytes: -EUCLEAN when the file ends before. */
int storage_pread_full(struct storage_file *f, void *buf, size_t size, uint64_t offset);

#endif
