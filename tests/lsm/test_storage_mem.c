/* The storage in memory: as a storage, as a disk that loses power, and as one that fails. */
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define SECTOR 512
#define PAGE 4096

static uint64_t rng_state = 7;

static uint64_t rng(uint64_t below)
{
	rng_state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = rng_state;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

static struct storage *must_new(void)
{
	struct storage *st = storage_mem_new();

	if (!st)
		bail("no memory");
	return st;
}

static struct storage_file *must_open(struct storage *st, const char *name, enum storage_open how)
{
	struct storage_file *f;

	if (storage_open_file(st, name, how, &f))
		bail("open of %s", name);
	return f;
}

/* A file of `size` bytes `c`. */
static struct storage_file *must_write(struct storage *st, const char *name, char c, size_t size)
{
	struct storage_file *f = must_open(st, name, STORAGE_CREATE);
	char *data = malloc(size + 1);

	if (!data)
		bail("no memory");
	memset(data, c, size);
	if (storage_pwrite(f, data, size, 0))
		bail("write of %s", name);
	free(data);
	return f;
}

static struct storage *must_cut(struct storage *st, uint64_t calls, enum storage_mem_keep keep,
				uint64_t seed)
{
	struct storage *cut = storage_mem_cut(st, calls, keep, seed);

	if (!cut)
		bail("no memory");
	return cut;
}

static struct storage *must_crash(struct storage *st, enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *cut = storage_mem_crash(st, keep, seed);

	if (!cut)
		bail("no memory");
	return cut;
}

/* The size of a file, -1 if there is none. */
static int64_t size_of(struct storage *st, const char *name)
{
	struct storage_file *f;
	uint64_t size;

	if (storage_open_file(st, name, STORAGE_READ, &f))
		return -1;
	if (st->ops->size(f, &size, NULL))
		bail("size");
	storage_close(f);
	return (int64_t)size;
}

/* The byte at `offset`, -1 if there is none. */
static int byte_of(struct storage *st, const char *name, uint64_t offset)
{
	struct storage_file *f;
	unsigned char c = 0;
	size_t got;

	if (storage_open_file(st, name, STORAGE_READ, &f))
		return -1;
	if (storage_pread(f, &c, 1, offset, &got))
		bail("read");
	storage_close(f);
	return got ? c : -1;
}

static int count_files(void *ctx, const char *name, uint64_t size)
{
	(void)name;
	(void)size;
	++*(int *)ctx;
	return 0;
}

/* ---- as a storage ---- */

static int open_in_list(void *ctx, const char *name, uint64_t size)
{
	return size_of(ctx, name) == (int64_t)size ? 0 : 5;
}

static void test_files(void)
{
	struct storage *st = must_new();
	struct storage_file *f, *g;
	struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
	char buf[100], longest[100];
	uint64_t size, allocated, free_bytes, total_bytes;
	size_t got;
	int count = 0;

	is_int(storage_open_file(st, "a", STORAGE_READ, &f), -ENOENT, "read of an absent file");
	ok(!f, "no file after an error");
	is_int(storage_open_file(st, "a/b", STORAGE_CREATE, &f), -EINVAL, "a path is no name");
	memset(longest, 'x', sizeof(longest));
	longest[99] = '\0';
	is_int(storage_open_file(st, longest, STORAGE_CREATE, &f), -ENAMETOOLONG, "a long name");
	f = must_open(st, "a", STORAGE_CREATE);
	is_int(storage_open_file(st, "a", STORAGE_CREATE, &g), -EEXIST, "create again");
	is_int(storage_pwritev(f, iov, 3, 4094), 0, "write over the edge of a page");
	is_int(storage_pwritev(f, iov, 0, 9999), 0, "write of nothing");
	is_int(f->st->ops->size(f, &size, &allocated), 0, "size");
	ok(size == 4099 && allocated == 2 * PAGE, "is right");
	is_int(storage_pread(f, buf, sizeof(buf), 4090, &got), 0, "read over the end");
	is_mem(buf, got, "\0\0\0\0abcde", 9, "is short and exact");
	g = must_open(st, "a", STORAGE_READ);
	is_int(storage_pwrite(g, "x", 1, 0), -EBADF, "a file opened to read is not written");
	is_int(f->st->ops->truncate(f, 4095), 0, "truncate");
	is_int(f->st->ops->truncate(f, 5000), 0, "and extend");
	is_int(storage_pread(g, buf, 4, 4093, &got), 0, "another handle");
	is_mem(buf, got, "\0a\0\0", 4, "sees zeros after the cut");
	is_int(storage_pwrite(f, buf, 1, UINT64_C(1) << 60), -EFBIG, "a write too far out");
	is_int(st->ops->rename(st, "a", "b"), 0, "rename");
	is_int(st->ops->rename(st, "a", "b"), -ENOENT, "rename of an absent file");
	is_int(st->ops->list(st, count_files, &count), 0, "list");
	is_int(count, 1, "one file");
	is_int(st->ops->list(st, open_in_list, st), 0, "list, calling back");
	is_int(st->ops->unlink(st, "b"), 0, "unlink");
	is_int(st->ops->unlink(st, "b"), -ENOENT, "unlink again");
	is_int(storage_pread(g, buf, 1, 4094, &got), 0, "an open file outlives its name");
	ok(got == 1 && buf[0] == 'a', "with its bytes");
	st->ops->space(st, &free_bytes, &total_bytes);
	is_int(total_bytes - free_bytes, PAGE, "and its space");
	storage_close(f);
	storage_close(g);
	st->ops->space(st, &free_bytes, &total_bytes);
	is_int(total_bytes - free_bytes, 0, "until it is closed");
	st->ops->free(st);
}

static void test_space(void)
{
	struct storage *st = must_new();
	struct storage_file *f, *g;
	static char data[8 * PAGE];
	uint64_t size, allocated, free_bytes, total_bytes;

	storage_mem_limit(st, 10 * PAGE);
	memset(data, 'd', sizeof(data));
	f = must_open(st, "f", STORAGE_CREATE);
	is_int(f->st->ops->allocate(f, 6 * PAGE), 0, "reserve");
	is_int(storage_pwrite(f, data, 6 * PAGE, 0), 0, "write what is reserved");
	is_int(f->st->ops->allocate(f, 11 * PAGE), -ENOSPC, "reserve too much");
	f->st->ops->size(f, &size, &allocated);
	ok(size == 6 * PAGE && allocated == 6 * PAGE, "reserved nothing");
	g = must_open(st, "g", STORAGE_CREATE);
	is_int(g->st->ops->truncate(g, 100 * PAGE), 0, "holes take no space");
	is_int(storage_pwrite(g, data, 8 * PAGE, PAGE), -ENOSPC, "write too much");
	st->ops->space(st, &free_bytes, &total_bytes);
	ok(free_bytes == 0 && total_bytes == 10 * PAGE, "what fitted was written");
	is_int(storage_pwrite(f, data, PAGE, 0), 0, "overwriting needs none");
	is_int(f->st->ops->punch(f, 100, 3 * PAGE), 0, "punch");
	f->st->ops->size(f, &size, &allocated);
	ok(size == 6 * PAGE && allocated == 4 * PAGE, "gives whole pages back");
	ok(byte_of(st, "f", 99) == 'd' && !byte_of(st, "f", 100), "and zeroes to the byte");
	ok(!byte_of(st, "f", 3 * PAGE + 99) && byte_of(st, "f", 3 * PAGE + 100) == 'd', "...");
	is_int(st->ops->unlink(st, "g"), 0, "unlink");
	st->ops->space(st, &free_bytes, &total_bytes);
	is_int(free_bytes, 2 * PAGE, "an open file keeps its space");
	storage_close(g);
	st->ops->space(st, &free_bytes, &total_bytes);
	is_int(free_bytes, 6 * PAGE, "until closed");
	g = must_write(st, "h", 'h', PAGE);
	storage_close(g);
	is_int(st->ops->rename(st, "h", "f"), 0, "rename over a file");
	storage_close(f);
	st->ops->space(st, &free_bytes, &total_bytes);
	is_int(free_bytes, 9 * PAGE, "frees that one's");
	storage_mem_limit(st, 0);
	f = must_write(st, "i", 'i', 20 * PAGE);
	storage_close(f);
	st->ops->free(st);
}

static void test_lock(void)
{
	struct storage *st = must_new(), *cut;
	long holder = -1;

	is_int(st->ops->lock(st, true, &holder), 0, "lock");
	is_int(st->ops->lock(st, true, &holder), -EBUSY, "lock again");
	is_int(holder, getpid(), "names the holder");
	is_int(st->ops->lock(st, false, NULL), -EBUSY, "shared beside exclusive");
	cut = must_crash(st, STORAGE_MEM_KEEP_ALL, 0);
	is_int(cut->ops->lock(cut, true, NULL), 0, "a cut drops locks");
	cut->ops->free(cut);
	st->ops->unlock(st);
	is_int(st->ops->lock(st, false, NULL), 0, "shared");
	is_int(st->ops->lock(st, false, NULL), 0, "twice");
	is_int(st->ops->lock(st, true, &holder), -EBUSY, "exclusive beside shared");
	st->ops->unlock(st);
	st->ops->unlock(st);
	is_int(st->ops->lock(st, true, &holder), 0, "all unlocked");
	st->ops->free(st);
}

/* ---- power ---- */

static void test_names_cut(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f;
	uint64_t at[8];

	storage_mem_record(st, true);
	at[0] = storage_mem_calls(st);
	f = must_write(st, "a", 'a', 10);
	storage_sync(f);
	at[1] = storage_mem_calls(st); /* synced, but not its name */
	st->ops->sync_dir(st);
	at[2] = storage_mem_calls(st);
	st->ops->rename(st, "a", "b");
	at[3] = storage_mem_calls(st);
	st->ops->sync_dir(st);
	at[4] = storage_mem_calls(st);
	st->ops->unlink(st, "b");
	at[5] = storage_mem_calls(st);
	storage_close(must_write(st, "c", 'c', 10));
	st->ops->sync_dir(st);
	at[6] = storage_mem_calls(st);
	storage_close(f);

	for (int pass = 0; pass < 2; pass++) {
		cut = must_cut(st, at[0], STORAGE_MEM_KEEP_ALL, 0);
		is_int(size_of(cut, "a"), -1, "before the create");
		cut->ops->free(cut);
		cut = must_cut(st, at[1], STORAGE_MEM_KEEP_NONE, 0);
		is_int(size_of(cut, "a"), -1, "a synced file with an unsynced name is not there");
		cut->ops->free(cut);
		cut = must_cut(st, at[1], STORAGE_MEM_KEEP_ALL, 0);
		is_int(size_of(cut, "a"), 10, "unless that was kept");
		cut->ops->free(cut);
		cut = must_cut(st, at[2], STORAGE_MEM_KEEP_NONE, 0);
		is_int(size_of(cut, "a"), 10, "after sync_dir it is");
		cut->ops->free(cut);
		cut = must_cut(st, at[3], STORAGE_MEM_KEEP_NONE, 0);
		ok(size_of(cut, "a") == 10 && size_of(cut, "b") == -1, "rename undone");
		cut->ops->free(cut);
		cut = must_cut(st, at[3], STORAGE_MEM_KEEP_ALL, 0);
		ok(size_of(cut, "a") == -1 && size_of(cut, "b") == 10, "rename done");
		cut->ops->free(cut);
		cut = must_cut(st, at[5], STORAGE_MEM_KEEP_NONE, 0);
		is_int(size_of(cut, "b"), 10, "unlink undone");
		cut->ops->free(cut);
		cut = must_cut(st, at[5], STORAGE_MEM_KEEP_ALL, 0);
		is_int(size_of(cut, "b"), -1, "unlink done");
		cut->ops->free(cut);
		cut = must_cut(st, at[6], STORAGE_MEM_KEEP_NONE, 0);
		ok(size_of(cut, "b") == -1 && size_of(cut, "c") == 0,
		   "names are durable, bytes are not");
		cut->ops->free(cut);
	}
	st->ops->free(st);
}

/* Each subset of unsynced changes of names is possible, and nothing else. */
static void test_names_random(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f;
	int seen[2][2][3] = {0}, bad = 0, states = 0;

	f = must_write(st, "CURRENT", '1', 1);
	storage_sync(f);
	storage_close(f);
	storage_close(must_open(st, "old", STORAGE_CREATE));
	st->ops->sync_dir(st);
	f = must_write(st, "new", '2', 2);
	storage_sync(f);
	storage_close(f);
	st->ops->rename(st, "new", "CURRENT");
	st->ops->unlink(st, "old");
	storage_close(must_open(st, "x", STORAGE_CREATE));
	for (uint64_t seed = 0; seed < 400; seed++) {
		int64_t current;
		int tmp;

		cut = must_crash(st, STORAGE_MEM_KEEP_RANDOM, seed);
		current = size_of(cut, "CURRENT");
		tmp = size_of(cut, "new") == 2;
		if (current == 1 && byte_of(cut, "CURRENT", 0) == '1')
			seen[size_of(cut, "old") == 0][size_of(cut, "x") == 0][tmp]++;
		else if (current == 2 && byte_of(cut, "CURRENT", 0) == '2' && !tmp)
			seen[size_of(cut, "old") == 0][size_of(cut, "x") == 0][2]++;
		else
			bad++;
		cut->ops->free(cut);
	}
	is_int(bad, 0, "rename is atomic: the old file or the new, whole");
	for (int i = 0; i < 12; i++)
		states += (&seen[0][0][0])[i] > 0;
	is_int(states, 12, "every combination of changes occurs");
	st->ops->free(st);
}

static void test_sectors(void)
{
	enum { SECTORS = 24 };
	struct storage *st = must_new(), *cut;
	struct storage_file *f = must_write(st, "f", 'o', SECTORS * SECTOR), *g;
	static char data[SECTORS * SECTOR], back[SECTORS * SECTOR];
	int olds[SECTORS] = {0}, news[SECTORS] = {0}, mixed = 0, ends[2] = {0};

	storage_sync(f);
	st->ops->sync_dir(st);
	memset(data, 'n', sizeof(data));
	/* From within sector 2 to within sector 20. */
	if (storage_pwrite(f, data, 18 * SECTOR, 2 * SECTOR + 100))
		bail("write");
	for (uint64_t seed = 0; seed < 300; seed++) {
		int count = 0;

		cut = must_crash(st, STORAGE_MEM_KEEP_RANDOM, seed);
		g = must_open(cut, "f", STORAGE_READ);
		if (storage_pread_full(g, back, sizeof(back), 0))
			bail("read");
		for (int s = 0; s < SECTORS; s++) {
			size_t from = s == 2 ? 100 : 0, to = s == 20 ? 100 : SECTOR;
			const char *at = back + s * SECTOR;
			bool fresh = at[from] == 'n';

			fresh ? (news[s]++, count++) : olds[s]++;
			for (size_t k = 0; k < SECTOR; k++)
				mixed += at[k] != (fresh && k >= from && k < to ? 'n' : 'o');
		}
		ends[0] += count == 0;
		ends[1] += count == 19;
		storage_close(g);
		cut->ops->free(cut);
	}
	is_int(mixed, 0, "each sector is old or new, whole");
	ok(ends[0] > 10 && ends[1] > 10, "all old and all new are common");
	for (int s = 0; s < SECTORS; s++) {
		bool dirty = s >= 2 && s <= 20;

		mixed += dirty ? !olds[s] || !news[s] : news[s] > 0;
	}
	is_int(mixed, 0, "any sector that was written may be either, no other changes");
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(byte_of(cut, "f", 5 * SECTOR) == 'o', "none kept");
	cut->ops->free(cut);
	cut = must_crash(st, STORAGE_MEM_KEEP_ALL, 0);
	ok(byte_of(cut, "f", 5 * SECTOR) == 'n', "all kept");
	cut->ops->free(cut);
	storage_sync(f);
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(byte_of(cut, "f", 5 * SECTOR) == 'n', "synced");
	cut->ops->free(cut);
	storage_close(f);
	st->ops->free(st);
}

static void test_sizes(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f = must_write(st, "f", 'f', 3000), *g;
	int kinds[3] = {0}, bad = 0;
	char data[7000];

	storage_sync(f);
	st->ops->sync_dir(st);
	memset(data, 'g', sizeof(data));
	if (storage_pwrite(f, data, sizeof(data), 3000))
		bail("write");
	for (uint64_t seed = 0; seed < 300; seed++) {
		int64_t size;

		cut = must_crash(st, STORAGE_MEM_KEEP_RANDOM, seed);
		size = size_of(cut, "f");
		bad += size < 3000 || size > 10000;
		kinds[size == 3000 ? 0 : size == 10000 ? 2 : 1]++;
		for (int64_t k = 0; k < size; k += 100) {
			int c = byte_of(cut, "f", (uint64_t)k);

			bad += k < 3000 ? c != 'f' : c != 'g' && c != 0;
		}
		/* What was cut off does not come back. */
		g = must_open(cut, "f", STORAGE_WRITE);
		g->st->ops->truncate(g, 20000);
		for (int64_t k = size; k < 20000; k += 501)
			bad += byte_of(cut, "f", (uint64_t)k) != 0;
		storage_close(g);
		cut->ops->free(cut);
	}
	is_int(bad, 0, "a size that grew is old, new or between, with old, new or no bytes");
	ok(kinds[0] && kinds[1] && kinds[2], "and each of these occurs");
	storage_sync(f);
	f->st->ops->truncate(f, 2000);
	kinds[0] = kinds[1] = kinds[2] = 0;
	for (uint64_t seed = 0; seed < 100; seed++) {
		int64_t size;

		cut = must_crash(st, STORAGE_MEM_KEEP_RANDOM, seed);
		size = size_of(cut, "f");
		kinds[size == 2000 ? 0 : size == 10000 ? 2 : 1]++;
		bad += size == 10000 && byte_of(cut, "f", 9000) != 'g';
		bad += byte_of(cut, "f", 1999) != 'f';
		cut->ops->free(cut);
	}
	ok(!bad && kinds[0] && kinds[2] && !kinds[1], "a size that shrank is old or new");
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	is_int(size_of(cut, "f"), 10000, "the truncation was not synced");
	cut->ops->free(cut);
	storage_sync(f);
	f->st->ops->allocate(f, 8 * PAGE);
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	is_int(size_of(cut, "f"), 2000, "nor was the reservation");
	cut->ops->free(cut);
	storage_sync(f);
	f->st->ops->punch(f, 0, PAGE);
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(size_of(cut, "f") == 8 * PAGE && byte_of(cut, "f", 5) == 'f', "nor was the hole");
	cut->ops->free(cut);
	storage_sync(f);
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(size_of(cut, "f") == 8 * PAGE && byte_of(cut, "f", 5) == 0, "now it is");
	cut->ops->free(cut);
	storage_close(f);
	st->ops->free(st);
}

/* ---- failing ---- */

static void test_fail(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f = must_write(st, "f", 'f', 100), *g;
	char c;
	int n = 0;

	storage_mem_fail(st, STORAGE_MEM_READ, 3, 2, EIO);
	for (int i = 1; i <= 6; i++)
		n = n * 2 + (storage_pread_full(f, &c, 1, 0) == -EIO);
	is_int(n, 0x0c, "the third and fourth call fail");
	storage_mem_fail(st, STORAGE_MEM_ANY, 2, 0, ENOMEM);
	is_int(storage_pread_full(f, &c, 1, 0), 0, "first of any kind");
	is_int(storage_sync(f), -ENOMEM, "the second fails");
	is_int(storage_open_file(st, "g", STORAGE_CREATE, &g), -ENOMEM, "and all that follow");
	is_int(st->ops->rename(st, "f", "g"), -ENOMEM, "rename");
	is_int(st->ops->unlink(st, "f"), -ENOMEM, "unlink");
	is_int(st->ops->sync_dir(st), -ENOMEM, "sync_dir");
	is_int(st->ops->list(st, count_files, &n), -ENOMEM, "list");
	is_int(f->st->ops->allocate(f, 10000), -ENOMEM, "allocate");
	is_int(f->st->ops->truncate(f, 10), -ENOMEM, "truncate");
	is_int(f->st->ops->punch(f, 0, 10), -ENOMEM, "punch");
	is_int(f->st->ops->size(f, NULL, NULL), -ENOMEM, "size");
	storage_mem_fail(st, STORAGE_MEM_ANY, 0, 0, 0);
	ok(size_of(st, "f") == 100 && byte_of(st, "f", 0) == 'f', "nothing was changed");
	storage_close(f);
	st->ops->free(st);

	/* A failed sync: what was dirty reads back and is lost. */
	st = must_new();
	f = must_write(st, "f", 'f', 2 * PAGE);
	storage_sync(f);
	st->ops->sync_dir(st);
	if (storage_pwrite(f, "lost", 4, 0) || storage_pwrite(f, "lost", 4, 2 * PAGE))
		bail("write");
	storage_mem_fail(st, STORAGE_MEM_SYNC, 1, 1, EIO);
	is_int(storage_sync(f), -EIO, "sync fails");
	is_int(storage_sync(f), 0, "once");
	is_int(byte_of(st, "f", 0), 'l', "the bytes read back");
	cut = must_crash(st, STORAGE_MEM_KEEP_ALL, 0);
	is_int(byte_of(cut, "f", 0), 'f', "but never reach the disk");
	is_int(size_of(cut, "f"), 2 * PAGE, "nor does the size");
	cut->ops->free(cut);
	if (storage_pwrite(f, "kept", 4, SECTOR))
		bail("write");
	cut = must_crash(st, STORAGE_MEM_KEEP_ALL, 0);
	ok(byte_of(cut, "f", 0) == 'f' && byte_of(cut, "f", SECTOR) == 'k',
	   "later ones may, without a sync");
	cut->ops->free(cut);
	if (storage_sync(f))
		bail("sync");
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(byte_of(cut, "f", 0) == 'f' && byte_of(cut, "f", SECTOR) == 'k',
	   "later ones do, even in the same page");
	cut->ops->free(cut);

	/* A failed write: a part is written. */
	n = 0;
	for (int i = 0; i < 50; i++) {
		static char data[1000];
		int64_t size = 0;

		memset(data, 'p', sizeof(data));
		f->st->ops->truncate(f, 0);
		storage_mem_fail(st, STORAGE_MEM_WRITE, 1, 1, EIO);
		if (storage_pwrite(f, data, sizeof(data), 0) != -EIO)
			n = 1000;
		size = size_of(st, "f");
		n += size > 0 && size < 1000 && byte_of(st, "f", (uint64_t)size - 1) == 'p';
	}
	ok(n > 30 && n <= 50, "a failed write did a part");
	storage_close(f);
	st->ops->free(st);
}

static void test_flip(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f = must_write(st, "f", 'f', 5000);

	storage_sync(f);
	st->ops->sync_dir(st);
	is_int(storage_mem_flip(st, "g", 0, 1), -ENOENT, "flip in an absent file");
	is_int(storage_mem_flip(st, "f", 5000, 1), -EINVAL, "flip beyond the end");
	is_int(storage_mem_flip(st, "f", 4999, 1), 0, "flip");
	is_int(byte_of(st, "f", 4999), 'f' ^ 1, "as read");
	if (storage_pwrite(f, "x", 1, 4000))
		bail("write");
	is_int(storage_mem_flip(st, "f", 10, 2), 0, "flip in a dirty page");
	cut = must_crash(st, STORAGE_MEM_KEEP_NONE, 0);
	ok(byte_of(cut, "f", 4999) == ('f' ^ 1) && byte_of(cut, "f", 10) == ('f' ^ 2) &&
		   byte_of(cut, "f", 4000) == 'f' && byte_of(cut, "f", 11) == 'f',
	   "on disk as well");
	cut->ops->free(cut);
	storage_close(f);
	st->ops->free(st);
}

/* ---- against a model ---- */

/*
 * Random calls on a few files, with a second, plain account of what each file
 * reads as and of what is synced. Then cuts at any points, in any order.
 */
enum { MODEL_FILES = 4, MODEL_BYTES = 20000, MODEL_CALLS = 600 };

struct model_file {
	bool named, durable;
	size_t size, synced_size;
	unsigned char now[MODEL_BYTES], synced[MODEL_BYTES];
	bool dirty[MODEL_BYTES / SECTOR + 1], size_dirty;
};

static struct model_file history[MODEL_CALLS + 1][MODEL_FILES];

static void model_touch(struct model_file *m, size_t from, size_t to)
{
	for (size_t k = from / SECTOR; from < to && k <= (to - 1) / SECTOR; k++)
		m->dirty[k] = true;
}

static void model_step(struct storage *st, struct storage_file *f, struct model_file *m)
{
	static unsigned char data[MODEL_BYTES];
	size_t at = rng(MODEL_BYTES), size = rng(MODEL_BYTES - at) + 1;
	int err = 0;

	if (rng(2))
		size = size < 700 ? size : rng(700) + 1;
	switch (rng(8)) {
	case 0:
		err = st->ops->truncate(f, at);
		if (at < m->size) {
			model_touch(m, at, MODEL_BYTES);
			memset(m->now + at, 0, MODEL_BYTES - at);
		}
		m->size_dirty |= m->size != at;
		m->size = at;
		break;
	case 1:
		err = st->ops->punch(f, at, size);
		model_touch(m, at, at + size);
		memset(m->now + at, 0, size);
		break;
	case 2:
		err = st->ops->allocate(f, at);
		m->size_dirty |= m->size < at;
		m->size = m->size < at ? at : m->size;
		break;
	case 3:
		err = storage_sync(f);
		memcpy(m->synced, m->now, sizeof(m->now));
		m->synced_size = m->size;
		memset(m->dirty, 0, sizeof(m->dirty));
		m->size_dirty = false;
		break;
	default:
		for (size_t k = 0; k < size; k++)
			data[k] = (unsigned char)(1 + rng(255));
		err = storage_pwrite(f, data, size, at);
		memcpy(m->now + at, data, size);
		model_touch(m, at, at + size);
		m->size_dirty |= m->size < at + size;
		m->size = m->size < at + size ? at + size : m->size;
	}
	if (err)
		bail("model: %d", err);
}

/* Whether what `cut` has under `name` is possible for `m`. */
static bool model_check(struct storage *cut, const char *name, const struct model_file *m,
			enum storage_mem_keep keep)
{
	static unsigned char back[MODEL_BYTES];
	int64_t size = size_of(cut, name);
	size_t least = m->synced_size, most = m->size;
	struct storage_file *f;

	if (size < 0)
		return !m->durable && (keep != STORAGE_MEM_KEEP_ALL || !m->named);
	if (!m->named || (keep == STORAGE_MEM_KEEP_NONE && !m->durable))
		return false;
	if (keep == STORAGE_MEM_KEEP_NONE || !m->size_dirty)
		most = least;
	if (keep == STORAGE_MEM_KEEP_ALL && m->size_dirty)
		least = m->size;
	if (least <= most ? (size_t)size < least || (size_t)size > most :
			    (size_t)size != least && (size_t)size != most)
		return false;
	f = must_open(cut, name, STORAGE_READ);
	if (storage_pread_full(f, back, (size_t)size, 0))
		bail("model: read");
	storage_close(f);
	for (size_t at = 0; at < (size_t)size; at += SECTOR) {
		size_t n = (size_t)size - at < SECTOR ? (size_t)size - at : SECTOR;
		bool is_old = !memcmp(back + at, m->synced + at, n);
		bool is_new = !memcmp(back + at, m->now + at, n);

		if (!m->dirty[at / SECTOR] || keep == STORAGE_MEM_KEEP_NONE  ? !is_old :
		    keep == STORAGE_MEM_KEEP_ALL && size == (int64_t)m->size ? !is_new :
									       !is_old && !is_new)
			return false;
	}
	return true;
}

static void test_model(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f[MODEL_FILES] = {NULL};
	struct model_file *now = history[0];
	uint64_t calls = 0;
	char name[] = "m0";
	int bad = 0;

	storage_mem_record(st, true);
	while (calls < MODEL_CALLS) {
		size_t i = rng(MODEL_FILES);

		name[1] = (char)('0' + i);
		memcpy(history[calls + 1], now, sizeof(history[0]));
		now = history[calls + 1];
		if (!f[i]) {
			f[i] = must_open(st, name, STORAGE_CREATE);
			now[i].named = true;
		} else if (rng(20) == 0) {
			if (st->ops->sync_dir(st))
				bail("model: sync_dir");
			for (size_t k = 0; k < MODEL_FILES; k++)
				now[k].durable = now[k].named;
		} else {
			model_step(st, f[i], &now[i]);
		}
		bad += storage_mem_calls(st) != ++calls;
	}
	is_int(bad, 0, "each changing call counts as one");
	for (int round = 0; round < 6000; round++) {
		uint64_t at = round < 3000 ? (uint64_t)round / 5 : rng(calls + 1);
		enum storage_mem_keep keep = round % 5 < 2 ? (enum storage_mem_keep)(round % 5) :
							     STORAGE_MEM_KEEP_RANDOM;

		cut = must_cut(st, at, keep, (uint64_t)round);
		for (size_t i = 0; i < MODEL_FILES; i++) {
			name[1] = (char)('0' + i);
			bad += !model_check(cut, name, &history[at][i], keep);
		}
		cut->ops->free(cut);
	}
	is_int(bad, 0, "each cut is possible by a plain account of the calls");
	for (size_t i = 0; i < MODEL_FILES; i++)
		storage_close(f[i]);
	st->ops->free(st);
}

/* The same cut twice is the same, a cut changes nothing, and a cut's own record works. */
static void test_cut_of_cut(void)
{
	struct storage *st = must_new(), *a, *b, *c;
	struct storage_file *f;
	int same = 0, differ = 0;
	uint64_t calls;

	storage_mem_record(st, true);
	f = must_write(st, "f", 'f', 30000);
	st->ops->sync_dir(st);
	st->ops->unlink(st, "f");
	if (storage_pwrite(f, "x", 1, 0)) /* to a file without a name */
		bail("write");
	st->ops->sync_dir(st);
	if (storage_pwrite(f, "y", 1, 0))
		bail("write");
	storage_close(f);
	calls = storage_mem_calls(st);
	is_int(calls, 7, "calls");
	for (uint64_t seed = 0; seed < 20; seed++) {
		a = must_cut(st, 3, STORAGE_MEM_KEEP_RANDOM, seed);
		b = must_cut(st, 3, STORAGE_MEM_KEEP_RANDOM, seed);
		c = must_cut(st, 3, STORAGE_MEM_KEEP_RANDOM, seed + 1000);
		for (uint64_t k = 0; k < 30000; k += SECTOR) {
			same += byte_of(a, "f", k) != byte_of(b, "f", k);
			differ += byte_of(a, "f", k) != byte_of(c, "f", k);
		}
		a->ops->free(a);
		b->ops->free(b);
		c->ops->free(c);
	}
	is_int(same, 0, "a cut depends on its seed");
	ok(differ > 100, "and on nothing else");
	a = must_cut(st, calls, STORAGE_MEM_KEEP_ALL, 0);
	is_int(size_of(a, "f"), -1, "calls on a file without a name are replayed");
	a->ops->free(a);
	a = must_cut(st, 3, STORAGE_MEM_KEEP_ALL, 0);
	st->ops->free(st); /* the cut stands alone */
	is_int(storage_mem_calls(a), 0, "a cut starts to count anew");
	storage_mem_record(a, true);
	f = must_open(a, "f", STORAGE_WRITE);
	if (storage_pwrite(f, "new", 3, 0))
		bail("write");
	storage_close(f);
	b = must_cut(a, 0, STORAGE_MEM_KEEP_ALL, 0);
	c = must_cut(a, 1, STORAGE_MEM_KEEP_ALL, 0);
	ok(byte_of(b, "f", 0) == 'f' && byte_of(c, "f", 0) == 'n', "and has a record of its own");
	storage_mem_record(a, false);
	ok(!storage_mem_cut(a, 1, STORAGE_MEM_KEEP_ALL, 0), "no cut without a record");
	a->ops->free(a);
	b->ops->free(b);
	c->ops->free(c);
}

/* ---- threads ---- */

struct worker {
	struct storage *st;
	int id;
	int bad;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char name[] = "w0", other[] = "v0", buf[300];
	struct storage_file *f;

	name[1] = other[1] = (char)('0' + w->id);
	memset(buf, name[1], sizeof(buf));
	for (uint64_t i = 0; i < 60; i++) {
		struct storage *cut;

		f = must_open(w->st, name, STORAGE_CREATE);
		for (uint64_t k = 0; k < 10; k++)
			w->bad += storage_pwrite(f, buf, sizeof(buf), k * 1000) != 0;
		w->bad += storage_sync(f) || w->st->ops->sync_dir(w->st);
		w->bad += w->st->ops->rename(w->st, name, other) != 0;
		cut = i % 2 ? must_crash(w->st, STORAGE_MEM_KEEP_RANDOM, i) :
			      must_cut(w->st, i, STORAGE_MEM_KEEP_RANDOM, i);
		/* Written beside the origin, whose pages it shares. */
		if (i % 2) {
			struct storage_file *g;

			if (!storage_open_file(cut, other, STORAGE_WRITE, &g)) {
				w->bad += storage_pwrite(g, "x", 1, 0) != 0;
				storage_close(g);
			}
		}
		w->bad += storage_pwrite(f, buf, sizeof(buf), 0) != 0;
		w->bad += byte_of(w->st, other, 0) != name[1];
		cut->ops->free(cut);
		storage_close(f);
	}
	return NULL;
}

static void test_threads(void)
{
	struct storage *st = must_new();
	struct worker workers[4];
	pthread_t thread[4];
	int bad = 0;

	storage_mem_record(st, true);
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){st, i, 0};
		if (pthread_create(&thread[i], NULL, work, &workers[i]))
			bail("pthread_create");
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		bad += workers[i].bad;
	}
	is_int(bad, 0, "four threads, cutting as they go");
	st->ops->free(st);
}

/* Ten thousand cuts of 2000 calls and 4 MB: not timed, but nobody would wait if it were slow. */
static void test_many_cuts(void)
{
	struct storage *st = must_new(), *cut;
	struct storage_file *f[8];
	static char data[4096];
	char name[] = "n0";
	int missing = 0;
	uint64_t calls;

	storage_mem_record(st, true);
	for (int i = 0; i < 8; i++) {
		name[1] = (char)('0' + i);
		f[i] = must_open(st, name, STORAGE_CREATE);
	}
	st->ops->sync_dir(st);
	for (uint64_t i = 0; i < 2000; i++) {
		struct storage_file *g = f[rng(8)];

		memset(data, (int)i, sizeof(data));
		if (i % 10 ? storage_pwrite(g, data, 1 + rng(4096), i / 8 * 2048) : storage_sync(g))
			bail("write");
	}
	calls = storage_mem_calls(st);
	for (uint64_t i = 0; i < 10000; i++) {
		cut = must_cut(st, 9 + i * (calls - 9) / 10000, STORAGE_MEM_KEEP_RANDOM, i);
		missing += size_of(cut, "n0") < 0;
		cut->ops->free(cut);
	}
	is_int(missing, 0, "ten thousand cuts");
	for (int i = 0; i < 8; i++)
		storage_close(f[i]);
	st->ops->free(st);
}

int main(void)
{
	test_files();
	test_space();
	test_lock();
	test_names_cut();
	test_names_random();
	test_sectors();
	test_sizes();
	test_fail();
	test_flip();
	test_model();
	test_cut_of_cut();
	test_threads();
	test_many_cuts();
	return done();
}
