/*
 * bench_fs.c - one file workload, on whatever filesystem a folder is on.
 *
 * usage: bench_fs FOLDER FILES BIG_MIB SYNCED
 *
 * Works in FOLDER, which must be empty, and leaves it so. Prints one line for
 * each measurement, "name<TAB>rate<TAB>unit"; more is better everywhere.
 *
 *   small files  FILES files of 1 KiB, in folders of 1000: created, then looked
 *                up, read, listed, renamed, deleted. What order allows is
 *                done in a shuffled one, the same in each run.
 *   one big file BIG_MIB, written and read in 1 MiB steps, then at random in
 *                4 KiB steps; a write ends with fsync, which counts.
 *   synced       SYNCED files of 1 KiB, each followed by fsync.
 *
 * "cold" means that the kernel's caches were dropped just before, which only
 * root can: without it these measurements are left out.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_PER_FOLDER 1000u
#define SMALL_BYTES 1024u
#define CHUNK_BYTES (1u << 20)
#define PAGE_BYTES 4096u
#define RANDOM_READS 10000u
#define RANDOM_WRITES 10000u

static unsigned files, big_mib, synced;
static unsigned *order;
static char small[SMALL_BYTES], *chunk;
static uint64_t seed = 88172645463325252u;
static double started;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t random64(void) /* xorshift: the same numbers in each run */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void start(void)
{
	started = now();
}

static void report(const char *name, double count, const char *unit)
{
	printf("%s\t%.1f\t%s\n", name, count / (now() - started), unit);
	fflush(stdout);
}

/* False when this process may not drop the kernel's caches. */
static bool drop_caches(void)
{
	int fd;
	bool dropped;

	sync(); /* dirty pages would stay */
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	dropped = write(fd, "3", 1) == 1;
	close(fd);
	return dropped;
}

static void shuffle(void)
{
	for (unsigned i = files; i > 1; i--) {
		unsigned j = (unsigned)(random64() % i), t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

static const char *folder_name(unsigned folder)
{
	static char name[32];

	snprintf(name, sizeof(name), "dir%04u", folder);
	return name;
}

static const char *file_name(unsigned file, const char *kind)
{
	static char name[2][64];
	static unsigned turn; /* so that two names can be in use, for rename */

	turn ^= 1;
	snprintf(name[turn], sizeof(name[turn]), "dir%04u/%s%06u", file / FILES_PER_FOLDER, kind,
		 file);
	return name[turn];
}

static void write_small(const char *name, bool sync_it)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		err(1, "create %s", name);
	if (write(fd, small, sizeof(small)) != (ssize_t)sizeof(small))
		err(1, "write %s", name);
	if (sync_it && fsync(fd))
		err(1, "fsync %s", name);
	if (close(fd))
		err(1, "close %s", name);
}

static void create_files(void)
{
	start();
	for (unsigned i = 0; i < files; i++) {
		if (i % FILES_PER_FOLDER == 0 && mkdir(folder_name(i / FILES_PER_FOLDER), 0755))
			err(1, "mkdir");
		write_small(file_name(i, "file"), false);
	}
	report("create 1 KiB files", files, "files/s");
}

static void stat_files(const char *title)
{
	struct stat st;

	shuffle();
	start();
	for (unsigned i = 0; i < files; i++)
		if (stat(file_name(order[i], "file"), &st) || st.st_size != SMALL_BYTES)
			err(1, "stat %s", file_name(order[i], "file"));
	report(title, files, "files/s");
}

static void read_files(const char *title)
{
	char got[SMALL_BYTES + 1];

	shuffle();
	start();
	for (unsigned i = 0; i < files; i++) {
		const char *name = file_name(order[i], "file");
		int fd = open(name, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			err(1, "open %s", name);
		if (read(fd, got, sizeof(got)) != SMALL_BYTES || memcmp(got, small, SMALL_BYTES))
			errx(1, "wrong bytes in %s", name);
		close(fd);
	}
	report(title, files, "files/s");
}

static void list_files(const char *title)
{
	unsigned seen = 0;

	start();
	for (unsigned i = 0; i < files; i += FILES_PER_FOLDER) {
		DIR *dir = opendir(folder_name(i / FILES_PER_FOLDER));
		struct dirent *entry;
		struct stat st;

		if (!dir)
			err(1, "opendir");
		while ((entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
				err(1, "stat %s", entry->d_name);
			seen++;
		}
		closedir(dir);
	}
	if (seen != files)
		errx(1, "listed %u files of %u", seen, files);
	report(title, files, "files/s");
}

static void rename_files(void)
{
	shuffle();
	start();
	for (unsigned i = 0; i < files; i++)
		if (rename(file_name(order[i], "file"), file_name(order[i], "moved")))
			err(1, "rename");
	report("rename", files, "files/s");
}

static void delete_files(void)
{
	shuffle();
	start();
	for (unsigned i = 0; i < files; i++)
		if (unlink(file_name(order[i], "moved")))
			err(1, "unlink");
	report("delete", files, "files/s");
	for (unsigned i = 0; i < files; i += FILES_PER_FOLDER)
		if (rmdir(folder_name(i / FILES_PER_FOLDER)))
			err(1, "rmdir");
}

static void sequential_write(int fd)
{
	start();
	for (unsigned i = 0; i < big_mib; i++) {
		memcpy(chunk, &i, sizeof(i)); /* no two chunks are equal */
		if (pwrite(fd, chunk, CHUNK_BYTES, (off_t)i * CHUNK_BYTES) != CHUNK_BYTES)
			err(1, "write big");
	}
	if (fsync(fd))
		err(1, "fsync big");
	report("sequential write + fsync", big_mib, "MiB/s");
}

static void sequential_read(int fd, const char *title)
{
	start();
	for (unsigned i = 0; i < big_mib; i++)
		if (pread(fd, chunk, CHUNK_BYTES, (off_t)i * CHUNK_BYTES) != CHUNK_BYTES ||
		    memcmp(chunk, &i, sizeof(i)))
			err(1, "read big");
	report(title, big_mib, "MiB/s");
}

static off_t random_page(void)
{
	uint64_t pages = (uint64_t)big_mib * (CHUNK_BYTES / PAGE_BYTES);

	return (off_t)(random64() % pages * PAGE_BYTES);
}

static void random_read(int fd, const char *title)
{
	start();
	for (unsigned i = 0; i < RANDOM_READS; i++)
		if (pread(fd, chunk, PAGE_BYTES, random_page()) != PAGE_BYTES)
			err(1, "read big at random");
	report(title, RANDOM_READS, "ops/s");
}

static void random_write(int fd)
{
	start();
	for (unsigned i = 0; i < RANDOM_WRITES; i++)
		if (pwrite(fd, chunk + i % PAGE_BYTES, PAGE_BYTES, random_page()) != PAGE_BYTES)
			err(1, "write big at random");
	if (fsync(fd))
		err(1, "fsync big");
	report("random 4 KiB write + fsync", RANDOM_WRITES, "ops/s");
}

static void one_big_file(void)
{
	int fd = open("big", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);

	if (fd < 0)
		err(1, "create big");
	sequential_write(fd);
	if (drop_caches())
		sequential_read(fd, "sequential read, cold");
	sequential_read(fd, "sequential read, warm");
	if (drop_caches())
		random_read(fd, "random 4 KiB read, cold");
	random_write(fd);
	close(fd);
	if (unlink("big"))
		err(1, "unlink big");
}

static void synced_files(void)
{
	if (mkdir("dir0000", 0755))
		err(1, "mkdir");
	start();
	for (unsigned i = 0; i < synced; i++)
		write_small(file_name(i % FILES_PER_FOLDER, i < FILES_PER_FOLDER ? "a" : "b"),
			    true);
	report("create + fsync", synced, "files/s");
	for (unsigned i = 0; i < synced; i++)
		if (unlink(file_name(i % FILES_PER_FOLDER, i < FILES_PER_FOLDER ? "a" : "b")))
			err(1, "unlink");
	if (rmdir("dir0000"))
		err(1, "rmdir");
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || end == text || n < min || n > max)
		errx(2, "not a number from %u to %u: %s", min, max, text);
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: bench_fs FOLDER FILES BIG_MIB SYNCED");
	if (chdir(argv[1]))
		err(1, "%s", argv[1]);
	files = number(argv[2], 1, 10000000);
	big_mib = number(argv[3], 1, 1 << 20);
	synced = number(argv[4], 1, 2 * FILES_PER_FOLDER);
	order = malloc(files * sizeof(*order));
	chunk = malloc(CHUNK_BYTES);
	if (!order || !chunk)
		err(1, "malloc");
	for (unsigned i = 0; i < files; i++)
		order[i] = i;
	/* Bytes that no compression makes smaller. */
	for (size_t i = 0; i < CHUNK_BYTES; i += sizeof(seed)) {
		uint64_t noise = random64();

		memcpy(chunk + i, &noise, sizeof(noise));
	}
	memcpy(small, chunk, sizeof(small));

	create_files();
	stat_files("stat, warm");
	if (drop_caches())
		stat_files("stat, cold");
	if (drop_caches())
		read_files("open + read + close, cold");
	read_files("open + read + close, warm");
	if (drop_caches())
		list_files("list with attributes, cold");
	list_files("list with attributes, warm");
	rename_files();
	delete_files();
	one_big_file();
	synced_files();
	free(order);
	free(chunk);
	return 0;
}
