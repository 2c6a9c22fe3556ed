/*
 * sync_log.c - a library for LD_PRELOAD: what a program syncs, and syncs that fail.
 *
 * Each fdatasync() and fsync() adds a line to the file $SYNC_LOG: the name of what is
 * synced, without its folder. While the file $SYNC_FAIL exists they fail with EIO, while
 * $SYNC_SLOW does they return half a second after the disk has the bytes.
 * mount/durable.sh runs the daemon with it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(int synced)
{
	const char *log = getenv("SYNC_LOG"), *name;
	char link[64], path[4096], line[4200];
	ssize_t n;
	int fd, size;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", synced);
	n = readlink(link, path, sizeof(path) - 1);
	if (!log || n < 0)
		return;
	path[n] = '\0';
	name = strrchr(path, '/');
	size = snprintf(line, sizeof(line), "%s\n", name ? name + 1 : path);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)size) != size)
		abort();
	close(fd);
}

static int sync_by(const char *call, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
	const char *fail = getenv("SYNC_FAIL"), *slow = getenv("SYNC_SLOW");
	int result;

	note(fd);
	if (fail && !access(fail, F_OK)) {
		errno = EIO;
		return -1;
	}
	result = real(fd);
	if (slow && !access(slow, F_OK))
		usleep(500000);
	return result;
}

/* Found in place of the C library's, by their names there. */
int logged_fdatasync(int fd) __asm__("fdatasync");
int logged_fsync(int fd) __asm__("fsync");

int logged_fdatasync(int fd)
{
	return sync_by("fdatasync", fd);
}

int logged_fsync(int fd)
{
	return sync_by("fsync", fd);
}
