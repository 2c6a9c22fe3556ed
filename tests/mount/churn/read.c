/*
 * read.c - the readers of churn, beside its writers.
 */
#include "tests/mount/churn/read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/mount/churn/worker.h"

#define FILL_TAG 1000000u

/* A read has failed, with errno. Report that, unless the daemon is gone. Returns false. */
static bool unreadable(const char *path)
{
	int err = errno;

	return daemon_is_gone() ? false : wrong("%s: %s", path, strerror(err));
}

static uint64_t filled_size(unsigned i)
{
	return i % 8 ? 100 + (i * 7919u) % 20000 : 1 + (i * 104729u) % (4u << 20);
}

static void filled_path(unsigned i, char *out, size_t size)
{
	snprintf(out, size, "filled/%u", i);
}

bool read_fill(unsigned count)
{
	char path[PATH_BYTES];

	shared->fill = count;
	if (mkdir("filled", 0755))
		return wrong("filled: %s", strerror(errno));
	for (unsigned i = 0; i < count; i++) {
		int fd;

		filled_path(i, path, sizeof(path));
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		for (uint64_t at = 0; fd >= 0 && at < filled_size(i); at += CHUNK_BYTES) {
			size_t n = filled_size(i) - at < CHUNK_BYTES ? filled_size(i) - at :
								       CHUNK_BYTES;

			pattern(FILL_TAG + i, at, bytes, n);
			if (write(fd, bytes, n) != (ssize_t)n)
				return wrong("%s: %s", path, strerror(errno));
		}
		if (fd < 0 || close(fd))
			return wrong("%s: %s", path, strerror(errno));
	}
	return true;
}

/* Read a part of a filled file, and compare it. The kernel's cache is dropped first. */
static bool read_filled(void)
{
	unsigned i = (unsigned)choose_below(&chooser, shared->fill);
	uint64_t size = filled_size(i), offset = choose_below(&chooser, size), t;
	char path[PATH_BYTES];
	ssize_t got;
	int fd;

	filled_path(i, path, sizeof(path));
	fd = open_timed(path, O_RDONLY, 0, OPEN);
	if (fd < 0)
		return unreadable(path);
	if (size - offset > CHUNK_BYTES)
		size = offset + CHUNK_BYTES;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	t = timing_now_ns();
	got = pread(fd, bytes, size - offset, (off_t)offset);
	note(READ, t);
	close(fd);
	pattern(FILL_TAG + i, offset, want, size - offset);
	if (got < 0)
		return unreadable(path);
	if (got != (ssize_t)(size - offset) || memcmp(bytes, want, size - offset) != 0)
		return wrong("%s: wrong bytes at %llu", path, (unsigned long long)offset);
	return true;
}

/* Read some bytes of a file that may change or be removed meanwhile. */
static bool read_changing(void)
{
	char path[PATH_BYTES];
	ssize_t got;
	uint64_t t;
	int fd;

	slot_path((unsigned)choose_below(&chooser, writers_count),
		  (int)choose_below(&chooser, slots_count), path, sizeof(path));
	fd = open_timed(path, O_RDONLY, 0, OPEN);
	if (fd < 0)
		return errno == ENOENT || unreadable(path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	t = timing_now_ns();
	got = pread(fd, bytes, CHUNK_BYTES, (off_t)choose_below(&chooser, 200000));
	note(READ, t);
	close(fd);
	return got >= 0 || unreadable(path);
}

static bool read_folder(void)
{
	char path[PATH_BYTES];
	unsigned look = 100;
	bool going = true;
	struct dirent *e;
	struct stat st;
	uint64_t t;
	DIR *dir;

	folder_path((unsigned)choose_below(&chooser, writers_count),
		    (unsigned)choose_below(&chooser, FOLDERS), path, sizeof(path));
	t = timing_now_ns();
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || unreadable(path);
	while (going && (e = readdir(dir))) {
		note(READDIR, t);
		if (look) {
			look--;
			t = timing_now_ns();
			if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
			    errno != ENOENT)
				going = unreadable(path);
			note(STAT, t);
		}
		t = timing_now_ns();
	}
	closedir(dir);
	return going;
}

bool read_load(void)
{
	bool going = true;

	while (going && !atomic_load(&shared->stop)) {
		uint64_t dice = choose_below(&chooser, 10);

		going = dice < 5 && shared->fill ? read_filled() :
			dice < 9                 ? read_changing() :
						   read_folder();
	}
	return going;
}
