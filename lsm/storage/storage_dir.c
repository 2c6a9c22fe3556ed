/*
 * storage_dir.c - the storage in a directory of the local filesystem.
 *
 * Everything is relative to one descriptor of the directory, so neither a later
 * chdir nor a rename of a parent matters. Names are single components.
 *
 * Making the directory syncs its parent: if the entry of the directory itself were not
 * synced, a power cut could remove a store whose files are all synced.
 *
 * The lock is an open-file-description lock on the file LOCK. The kernel drops
 * it however its holder ends, so no stale lock is ever left. Two
 * storages in one process exclude each other as two processes do. An exclusive
 * holder writes its process id into the file, for messages only. The text is
 * believed only while the lock is held for writing. The lock belongs to the descriptor, so it
 * must be taken after the last fork.
 *
 * Another user who may write to the directory may have put anything under a name. So no
 * symbolic link is followed, only regular files are opened, a fifo does not make the call
 * wait, and the LOCK is not written to if it has a second name elsewhere.
 *
 * For its owner an exhausted disk quota is a full disk: EDQUOT becomes ENOSPC.
 */
#include "lsm/storage/storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lsm/base/lock.h"

#define LOCK_NAME "LOCK"

/* Parts per system call: enough for few calls, few enough for the stack; below IOV_MAX. */
#define IOV_BATCH 256

/* The size of one write of zeros, where a filesystem cannot reserve space. */
#define ZERO_BYTES (64u << 10)

struct dir {
	struct storage base;
	/* constant after open */
	int fd;
	bool read_only;
	/* guarded by mutex */
	struct mutex mutex;
	bool locked;
	bool exclusive;
	int lock_fd; /* -1: none. A read-only store may be locked without a file */
};

struct dir_file {
	struct storage_file base;
	int fd;
};

static struct dir *storage_dir_of(struct storage *st)
{
	return (struct dir *)st;
}

static int storage_dir_fd(struct storage_file *f)
{
	return ((struct dir_file *)f)->fd;
}

static int storage_dir_error(void)
{
	return errno == EDQUOT ? -ENOSPC : -errno;
}

static bool storage_dir_name_valid(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* openat(), repeated after a signal. Returns a descriptor or a negative errno. */
static int storage_dir_openat(int dir_fd, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir_fd, name, flags | O_CLOEXEC, 0600);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? storage_dir_error() : fd;
}

/* Open a regular file in the directory. Returns a descriptor or a negative errno. */
static int storage_dir_openat_file(const struct dir *d, const char *name, int flags)
{
	struct stat stat;
	int fd = storage_dir_openat(d->fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && (fstat(fd, &stat) || !S_ISREG(stat.st_mode))) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

/* ---- the directory ---- */

static int storage_dir_open_file(struct storage *st, const char *name, enum storage_open how,
				 struct storage_file **out)
{
	static const int flags_of[] = {
		[STORAGE_READ] = O_RDONLY,
		[STORAGE_WRITE] = O_RDWR,
		[STORAGE_CREATE] = O_RDWR | O_CREAT | O_EXCL,
	};
	struct dir *d = storage_dir_of(st);
	struct dir_file *f;
	int fd;

	*out = NULL;
	if (!storage_dir_name_valid(name))
		return -EINVAL;
	if (d->read_only && how != STORAGE_READ)
		return -EROFS;
	f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	fd = storage_dir_openat_file(d, name, flags_of[how]);
	if (fd < 0) {
		free(f);
		return fd;
	}
	f->base.st = st;
	f->fd = fd;
	*out = &f->base;
	return 0;
}

static int storage_dir_rename(struct storage *st, const char *from, const char *to)
{
	struct dir *d = storage_dir_of(st);

	if (!storage_dir_name_valid(from) || !storage_dir_name_valid(to))
		return -EINVAL;
	if (d->read_only)
		return -EROFS;
	return renameat(d->fd, from, d->fd, to) ? storage_dir_error() : 0;
}

static int storage_dir_unlink(struct storage *st, const char *name)
{
	struct dir *d = storage_dir_of(st);

	if (!storage_dir_name_valid(name))
		return -EINVAL;
	if (d->read_only)
		return -EROFS;
	return unlinkat(d->fd, name, 0) ? storage_dir_error() : 0;
}

/* Lists directories and other non-files too, with size 0: they show that this is no store. */
static int storage_dir_list(struct storage *st, storage_list_fn *fn, void *ctx)
{
	struct dir *d = storage_dir_of(st);
	int err = 0, fd = storage_dir_openat(d->fd, ".", O_RDONLY | O_DIRECTORY);
	struct dirent *entry;
	struct stat stat;
	DIR *dirp;

	if (fd < 0)
		return fd;
	dirp = fdopendir(fd);
	if (!dirp) {
		err = storage_dir_error();
		close(fd);
		return err;
	}
	while (!err) {
		errno = 0;
		entry = readdir(dirp);
		if (!entry) {
			err = errno ? storage_dir_error() : 0;
			break;
		}
		if (!storage_dir_name_valid(entry->d_name))
			continue;
		if (fstatat(d->fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW)) {
			if (errno != ENOENT) /* unlinked meanwhile */
				err = storage_dir_error();
			continue;
		}
		err = fn(ctx, entry->d_name, S_ISREG(stat.st_mode) ? (uint64_t)stat.st_size : 0);
	}
	closedir(dirp);
	return err;
}

static int storage_dir_sync_dir(struct storage *st)
{
	struct dir *d = storage_dir_of(st);

	if (d->read_only)
		return -EROFS;
	return fsync(d->fd) ? storage_dir_error() : 0;
}

static int storage_dir_space(struct storage *st, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct statvfs fs;

	*free_bytes = *total_bytes = 0;
	if (fstatvfs(storage_dir_of(st)->fd, &fs))
		return storage_dir_error();
	*free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	*total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}

static void storage_dir_unlock(struct storage *st);

static void storage_dir_free(struct storage *st)
{
	struct dir *d = storage_dir_of(st);

	storage_dir_unlock(st);
	mutex_destroy(&d->mutex);
	close(d->fd);
	free(d);
}

/* ---- the lock ---- */

/*
 * Open the LOCK, and make it if it is absent. Returns a descriptor or a negative errno.
 * A reader that cannot make the file gets -ENOENT, and goes on without a lock: a writer could
 * not make it either, so there is none.
 */
static int storage_dir_lock_open(const struct dir *d, bool exclusive)
{
	int fd = storage_dir_openat_file(d, LOCK_NAME, exclusive ? O_RDWR : O_RDONLY);

	if (fd != -ENOENT)
		return fd;
	fd = storage_dir_openat_file(d, LOCK_NAME, O_RDWR | O_CREAT);
	if (d->read_only && (fd == -EACCES || fd == -EPERM || fd == -EROFS || fd == -ENOSPC))
		return -ENOENT;
	return fd;
}

/* The process id in the file, if the lock is still held for writing; else 0. */
static long storage_dir_lock_holder(int fd, bool exclusive)
{
	struct flock held = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
	char text[24];
	ssize_t n;
	long pid;

	if (fcntl(fd, F_OFD_GETLK, &held) || held.l_type != F_WRLCK)
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	pid = strtol(text, NULL, 10);
	return pid > 0 ? pid : 0;
}

/* Put `text` into the LOCK. Errors do not matter, because it is only for messages. */
static void storage_dir_lock_write(int fd, const char *text)
{
	size_t size = strlen(text);
	struct stat stat;
	bool written;

	if (fstat(fd, &stat) || stat.st_nlink > 1)
		return;
	written = !ftruncate(fd, 0) && pwrite(fd, text, size, 0) == (ssize_t)size;
	(void)written;
}

static int storage_dir_lock_take(int fd, bool exclusive, long *holder)
{
	struct flock want = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
	char text[24];

	if (fcntl(fd, F_OFD_SETLK, &want)) {
		if (errno != EAGAIN && errno != EACCES)
			return storage_dir_error();
		if (holder)
			*holder = storage_dir_lock_holder(fd, exclusive);
		return -EBUSY;
	}
	if (!exclusive)
		return 0;
	snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	storage_dir_lock_write(fd, text);
	return 0;
}

static int storage_dir_lock(struct storage *st, bool exclusive, long *holder)
{
	struct dir *d = storage_dir_of(st);
	int err = 0, fd;

	if (holder)
		*holder = 0;
	if (d->read_only && exclusive)
		return -EROFS;
	mutex_lock(&d->mutex);
	if (d->locked) {
		err = -EBUSY;
		if (holder)
			*holder = (long)getpid();
		goto out;
	}
	fd = storage_dir_lock_open(d, exclusive);
	if (fd < 0 && !(fd == -ENOENT && d->read_only)) {
		err = fd;
		goto out;
	}
	if (fd >= 0)
		err = storage_dir_lock_take(fd, exclusive, holder);
	if (err) {
		close(fd);
		goto out;
	}
	d->locked = true;
	d->exclusive = exclusive;
	d->lock_fd = fd < 0 ? -1 : fd;
out:
	mutex_unlock(&d->mutex);
	return err;
}

static void storage_dir_unlock(struct storage *st)
{
	struct dir *d = storage_dir_of(st);

	mutex_lock(&d->mutex);
	if (d->lock_fd >= 0) {
		/* A later reader that holds the lock must not be taken for this process. */
		if (d->exclusive)
			storage_dir_lock_write(d->lock_fd, "");
		close(d->lock_fd);
	}
	d->lock_fd = -1;
	d->locked = false;
	mutex_unlock(&d->mutex);
}

/* ---- files ---- */

static int storage_dir_pread(struct storage_file *f, void *buf, size_t size, uint64_t offset,
			     size_t *got)
{
	*got = 0;
	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return -EINVAL;
	while (*got < size) {
		ssize_t n = pread(storage_dir_fd(f), (char *)buf + *got, size - *got,
				  (off_t)(offset + *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return storage_dir_error();
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

static int storage_dir_pwritev(struct storage_file *f, const struct iovec *iov, int iov_count,
			       uint64_t offset)
{
	struct iovec batch[IOV_BATCH];
	size_t skip = 0; /* of iov[0], written already */

	for (;;) {
		size_t n;
		ssize_t written;

		while (iov_count > 0 && skip >= iov->iov_len) {
			skip -= iov->iov_len;
			iov++;
			iov_count--;
		}
		if (iov_count <= 0)
			return 0;
		n = iov_count < IOV_BATCH ? (size_t)iov_count : IOV_BATCH;
		memcpy(batch, iov, n * sizeof(*iov));
		batch[0].iov_base = (char *)batch[0].iov_base + skip;
		batch[0].iov_len -= skip;
		if (offset > INT64_MAX)
			return -EFBIG;
		written = pwritev(storage_dir_fd(f), batch, (int)n, (off_t)offset);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return storage_dir_error();
		if (written == 0)
			return -EIO; /* the device wrote nothing and returned no error */
		offset += (size_t)written;
		skip += (size_t)written;
	}
}

/* Extend the file with zeros: the best reservation where the filesystem offers none. */
static int storage_dir_write_zeros(struct storage_file *f, uint64_t size)
{
	static const char zeros[ZERO_BYTES];
	struct stat stat;
	int err = 0;

	if (fstat(storage_dir_fd(f), &stat))
		return storage_dir_error();
	for (uint64_t at = (uint64_t)stat.st_size; !err && at < size;) {
		struct iovec iov[16];
		uint64_t left = size - at;
		int n = 0;

		for (; n < 16 && left; n++) {
			iov[n].iov_base = (void *)zeros;
			iov[n].iov_len = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;
			left -= iov[n].iov_len;
		}
		err = storage_dir_pwritev(f, iov, n, at);
		at = size - left;
	}
	return err;
}

static int storage_dir_allocate(struct storage_file *f, uint64_t size)
{
	int err;

	if (!size)
		return 0;
	if (size > INT64_MAX)
		return -EFBIG;
	do
		err = fallocate(storage_dir_fd(f), 0, 0, (off_t)size);
	while (err && errno == EINTR);
	if (err && (errno == EOPNOTSUPP || errno == ENOSYS))
		return storage_dir_write_zeros(f, size);
	return err ? storage_dir_error() : 0;
}

static int storage_dir_truncate(struct storage_file *f, uint64_t size)
{
	int err;

	if (size > INT64_MAX)
		return -EFBIG;
	do
		err = ftruncate(storage_dir_fd(f), (off_t)size);
	while (err && errno == EINTR);
	return err ? storage_dir_error() : 0;
}

static int storage_dir_punch(struct storage_file *f, uint64_t offset, uint64_t size)
{
	int err;

	if (!size)
		return 0;
	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return -EFBIG;
	do
		err = fallocate(storage_dir_fd(f), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)offset, (off_t)size);
	while (err && errno == EINTR);
	if (err && (errno == EOPNOTSUPP || errno == ENOSYS))
		return 0;
	return err ? storage_dir_error() : 0;
}

/* No flag that waits: a wait would consume the error that the next sync must return. */
static void storage_dir_start_write(struct storage_file *f, uint64_t offset, uint64_t size)
{
	(void)sync_file_range(storage_dir_fd(f), (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

/* fdatasync() writes bytes and a changed size. Unlike fsync() it leaves out the times. */
static int storage_dir_sync(struct storage_file *f)
{
	return fdatasync(storage_dir_fd(f)) ? storage_dir_error() : 0;
}

static int storage_dir_size(struct storage_file *f, uint64_t *size, uint64_t *allocated)
{
	struct stat stat;
	int err = fstat(storage_dir_fd(f), &stat) ? storage_dir_error() : 0;

	if (size)
		*size = err ? 0 : (uint64_t)stat.st_size;
	if (allocated)
		*allocated = err ? 0 : (uint64_t)stat.st_blocks * 512;
	return err;
}

static int storage_dir_close(struct storage_file *f)
{
	/* On Linux EINTR means that the descriptor is closed, so it is no error. */
	int err = close(storage_dir_fd(f)) && errno != EINTR ? storage_dir_error() : 0;

	free(f);
	return err;
}

static const struct storage_ops dir_ops = {
	.open = storage_dir_open_file,
	.rename = storage_dir_rename,
	.unlink = storage_dir_unlink,
	.list = storage_dir_list,
	.sync_dir = storage_dir_sync_dir,
	.lock = storage_dir_lock,
	.unlock = storage_dir_unlock,
	.space = storage_dir_space,
	.free = storage_dir_free,
	.pread = storage_dir_pread,
	.pwritev = storage_dir_pwritev,
	.allocate = storage_dir_allocate,
	.truncate = storage_dir_truncate,
	.punch = storage_dir_punch,
	.start_write = storage_dir_start_write,
	.sync = storage_dir_sync,
	.size = storage_dir_size,
	.close = storage_dir_close,
};

/* ---- opening ---- */

/* Make the entry of the directory `fd` durable in its parent. */
static int storage_dir_sync_parent(int fd)
{
	int err, parent = storage_dir_openat(fd, "..", O_RDONLY | O_DIRECTORY);

	if (parent == -EACCES) /* a parent that may be searched but not listed */
		return syncfs(fd) ? storage_dir_error() : 0;
	if (parent < 0)
		return parent;
	err = fsync(parent) ? storage_dir_error() : 0;
	close(parent);
	return err;
}

int storage_dir_open(const char *path, bool create, bool read_only, struct storage **out)
{
	struct dir *d;
	int err = 0;

	*out = NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->base.ops = &dir_ops;
	d->read_only = read_only;
	d->lock_fd = -1;
	create = create && !read_only;
	if (create && mkdir(path, 0700) && errno != EEXIST) {
		err = storage_dir_error();
		goto out;
	}
	d->fd = storage_dir_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
	if (d->fd < 0) {
		err = d->fd;
		goto out;
	}
	/* Also if it was there: the process that made it may have been killed before this. */
	if (create)
		err = storage_dir_sync_parent(d->fd);
	if (!err)
		err = mutex_init(&d->mutex, LOCK_STORAGE);
	if (err) {
		close(d->fd);
		goto out;
	}
	*out = &d->base;
out:
	if (err)
		free(d);
	return err;
}
