/*
 * test_ops_data.c - the handlers of the content of files.
 */
#include <fcntl.h>
#include <pthread.h>

#include "mount/syncer.h"
#include "tests/mount/fake/fake_transport.h"

#define MIB (1u << 20)

static struct fake f;

static mode_t mode_of(uint64_t ino)
{
	return attr_of(f.mount.fs, ino).st_mode & 07777;
}

static void set(uint64_t ino, unsigned mask, struct stat want)
{
	struct stat st;

	if (fs_setattr(f.mount.fs, &ROOT, ino, &want, mask, &st))
		bail("setattr");
}

static void write_at(uint64_t ino, uint64_t offset, const void *data, size_t size)
{
	struct request r = fake_request(&f, ino);

	op_write(&r, offset, data, size, O_WRONLY, false);
	if (fake_reply(&f)->kind != FAKE_WRITTEN || fake_reply(&f)->size != size)
		bail("write");
}

static const struct fake_answer *read_at(uint64_t ino, uint64_t offset, size_t size)
{
	struct request r = fake_request(&f, ino);

	op_read(&r, offset, size, O_RDONLY);
	return fake_reply(&f);
}

static void test_read_write(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "file");
	struct request r = fake_request(&f, ino);
	const struct fake_answer *a;
	char *big = malloc(MIB);
	size_t i;

	if (!big)
		bail("no memory");
	for (i = 0; i < MIB; i++)
		big[i] = (char)(i * 31 + i / 1000);
	a = read_at(ino, 0, 100);
	is_int(a->kind, FAKE_BYTES, "read of an empty file: bytes");
	is_int(a->size, 0, "... none");
	r = fake_request(&f, ino);
	op_write(&r, 3, "hello", 5, O_WRONLY, false);
	is_kind(&f, FAKE_WRITTEN, "write: written");
	is_int(fake_reply(&f)->size, 5, "... all of it");
	a = read_at(ino, 0, 100);
	is_mem(a->data, a->size, "\0\0\0hello", 8, "read: a hole, the bytes, and no more");
	a = read_at(ino, 4, 2);
	is_mem(a->data, a->size, "el", 2, "read from within");
	a = read_at(ino, 8, 2);
	is_int(a->size, 0, "read at the end");
	a = read_at(ino, 800, 2);
	is_int(a->size, 0, "read behind the end");
	write_at(ino, 4096, big, MIB);
	a = read_at(ino, 4096, MIB);
	is_mem(a->data, a->size, big, MIB, "a MiB, as large as requests are");
	a = read_at(ino, 4096 + MIB - 7, MIB);
	is_mem(a->data, a->size, big + MIB - 7, 7, "read over the end");
	r = fake_request(&f, ino);
	op_write(&r, 0, "sync", 4, O_WRONLY | O_SYNC, false);
	is_int(fake_reply(&f)->size, 4, "write with O_SYNC");
	r = fake_request(&f, ino);
	op_write(&r, INT64_MAX - 1, "far", 3, O_WRONLY, false);
	is_error(&f, EFBIG, "write beyond the largest offset");
	r = fake_request(&f, FS_ROOT_INO);
	op_write(&r, 0, "dir", 3, O_WRONLY, false);
	is_error(&f, EISDIR, "write to a directory");
	r = fake_request(&f, FS_ROOT_INO);
	op_read(&r, 0, 3, O_RDONLY);
	is_error(&f, EISDIR, "read of a directory");
	r = fake_request(&f, 4711);
	op_read(&r, 0, 3, O_RDONLY);
	is_error(&f, ESTALE, "read of a number that nobody holds");
	r = fake_request(&f, 4711);
	op_write(&r, 0, "none", 4, O_WRONLY, true);
	is_error(&f, ESTALE, "write to one");
	free(big);
}

static void test_write_kills(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "program");
	struct request r;

	set(ino, FS_SET_MODE, (struct stat){.st_mode = 06777});
	write_at(ino, 0, "code", 4);
	is_int(mode_of(ino), 06777, "a write that need not takes no bits");
	r = fake_request(&f, ino);
	r.uid = 2000;
	op_write(&r, 0, "code", 4, O_WRONLY, true);
	is_int(fake_reply(&f)->size, 4, "a write that must take them is done");
	is_int(mode_of(ino), 0777, "... and takes them");
	is_int(f.forgotten, ino, "... and the kernel forgets the attributes");
	r = fake_request(&f, ino);
	r.uid = 2000;
	op_write(&r, 0, "code", 4, O_WRONLY, true);
	is_int(f.forgotten, 0, "... but not where there were no bits");
	set(ino, FS_SET_MODE, (struct stat){.st_mode = 06777});
	r = fake_request(&f, ino);
	r.uid = 2000;
	op_fallocate(&r, 0, 0, 100);
	is_error(&f, 0, "fallocate");
	is_int(mode_of(ino), 0777, "... takes the bits");
}

/* The atime of a file is due when it is older than the last change. */
static void test_open(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "opened");
	struct timespec before;
	struct request r;

	write_at(ino, 0, "text", 4);
	set(ino, FS_SET_ATIME, (struct stat){.st_atim = {1000, 0}});
	r = fake_request(&f, ino);
	op_open(&r, O_WRONLY);
	is_kind(&f, FAKE_OPENED, "open: opened");
	ok(fake_reply(&f)->keep, "... for writing: what is cached stays");
	r = fake_request(&f, ino);
	op_open(&r, O_RDONLY | O_NOATIME);
	ok(fake_reply(&f)->keep, "... without atime: it stays");
	r = fake_request(&f, ino);
	op_open(&r, O_RDONLY);
	ok(!fake_reply(&f)->keep, "... for reading, with an atime that is due: it goes");
	before = attr_of(f.mount.fs, ino).st_atim;
	r = fake_request(&f, ino);
	op_read(&r, 0, 4, O_RDONLY | O_NOATIME);
	is_int(ns_of(attr_of(f.mount.fs, ino).st_atim), ns_of(before), "O_NOATIME: not set");
	read_at(ino, 0, 4);
	ok(ns_of(attr_of(f.mount.fs, ino).st_atim) > ns_of(before), "a read sets the atime");
	r = fake_request(&f, ino);
	op_open(&r, O_RDWR);
	ok(fake_reply(&f)->keep, "... and then nothing is due");
}

static void test_fallocate(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "space");
	struct request r = fake_request(&f, ino);
	const struct fake_answer *a;

	op_fallocate(&r, 0, 0, 10000);
	is_error(&f, 0, "fallocate");
	is_int(attr_of(f.mount.fs, ino).st_size, 10000, "... makes the file longer");
	r = fake_request(&f, ino);
	op_fallocate(&r, FALLOC_FL_KEEP_SIZE, 0, 20000);
	is_error(&f, 0, "fallocate that keeps the size");
	is_int(attr_of(f.mount.fs, ino).st_size, 10000, "... keeps it");
	write_at(ino, 0, "0123456789", 10);
	r = fake_request(&f, ino);
	op_fallocate(&r, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3);
	is_error(&f, 0, "a hole is punched");
	a = read_at(ino, 0, 10);
	is_mem(a->data, a->size,
	       "01\0\0\0"
	       "56789",
	       10, "... and reads as zeros");
	r = fake_request(&f, ino);
	op_fallocate(&r, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
	is_error(&f, EOPNOTSUPP, "what is not supported");
	r = fake_request(&f, ino);
	op_fallocate(&r, 0, 0, 0);
	is_error(&f, EINVAL, "fallocate of nothing");
	r = fake_request(&f, ino);
	op_fallocate(&r, 0, INT64_MAX, 10);
	is_error(&f, EFBIG, "fallocate beyond the largest offset");
}

static void test_lseek(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "holes");
	struct request r;

	set(ino, FS_SET_SIZE, (struct stat){.st_size = 1 << 20});
	r = fake_request(&f, ino);
	op_lseek(&r, 0, SEEK_HOLE);
	is_kind(&f, FAKE_OFFSET, "lseek: an offset");
	is_int(fake_reply(&f)->offset, 0, "... of the hole");
	r = fake_request(&f, ino);
	op_lseek(&r, 0, SEEK_DATA);
	is_error(&f, ENXIO, "lseek: no data");
	r = fake_request(&f, ino);
	op_lseek(&r, 2 << 20, SEEK_HOLE);
	is_error(&f, ENXIO, "lseek behind the end");
	r = fake_request(&f, ino);
	op_lseek(&r, 0, SEEK_CUR);
	is_error(&f, EINVAL, "lseek of another kind");
}

static void test_copy(void)
{
	uint64_t from = make_file(f.mount.fs, FS_ROOT_INO, "from");
	uint64_t to = make_file(f.mount.fs, FS_ROOT_INO, "to");
	const struct fake_answer *a;
	struct request r;

	write_at(from, 0, "copied text", 11);
	set(from, FS_SET_ATIME, (struct stat){.st_atim = {1000, 0}});
	set(to, FS_SET_MODE, (struct stat){.st_mode = 06777});
	r = fake_request(&f, from);
	r.uid = 2000;
	op_copy_file_range(&r, 0, to, 2, 6);
	is_kind(&f, FAKE_WRITTEN, "copy: how much");
	is_int(fake_reply(&f)->size, 6, "... all");
	is_int(f.forgotten, from, "... the kernel asks for the atime of what was read");
	is_int(mode_of(to), 0777, "... setuid and setgid go, as by a write");
	a = read_at(to, 0, 100);
	is_mem(a->data, a->size, "\0\0copied", 8, "... the bytes");
	r = fake_request(&f, from);
	op_copy_file_range(&r, 7, to, 0, SIZE_MAX / 2);
	is_int(fake_reply(&f)->size, 4, "a copy of more than there is is short");
	r = fake_request(&f, from);
	op_copy_file_range(&r, 100, to, 0, 10);
	is_int(fake_reply(&f)->size, 0, "a copy from behind the end is empty");
	r = fake_request(&f, from);
	op_copy_file_range(&r, 0, from, 1, 4);
	is_error(&f, EINVAL, "a copy onto itself");
	r = fake_request(&f, from);
	op_copy_file_range(&r, 0, FS_ROOT_INO, 0, 4);
	is_error(&f, EISDIR, "a copy into a directory");
	r = fake_request(&f, from);
	r.uid = 2000;
	op_copy_file_range(&r, 0, 4711, 0, 4);
	is_error(&f, ESTALE, "a copy into a number that nobody holds");
}

static uint64_t unsynced(void)
{
	struct fs_stats stats;

	if (fs_stats(f.mount.fs, &stats))
		bail("stats");
	return stats.lsm.sequence - stats.lsm.sequence_synced;
}

static void test_fsync(void)
{
	uint64_t ino = make_file(f.mount.fs, FS_ROOT_INO, "synced");
	struct request r;

	write_at(ino, 0, "text", 4);
	ok(unsynced() > 0, "a write is not synced by itself");
	r = fake_request(&f, ino);
	op_fsync(&r);
	is_error(&f, 0, "fsync on the thread that answers");
	is_int(unsynced(), 0, "... has synced everything");
	f.options.threads = 1;
	write_at(ino, 0, "more", 4);
	r = fake_request(&f, ino);
	op_fsync(&r);
	is_error(&f, 0, "fsync on the syncer's thread, as there is one thread only");
	is_int(unsynced(), 0, "... has synced everything");
	f.options.threads = 2;
	write_at(ino, 0, "last", 4);
	r = fake_request(&f, ino);
	op_fsync(&r);
	/* As a mount ends: what waits is answered first. */
	syncer_free(f.mount.syncer);
	is_error(&f, 0, "fsync at the end");
	if (syncer_new(f.mount.fs, &f.mount.syncer))
		bail("syncer");
}

int main(void)
{
	fake_init(&f);
	test_read_write();
	test_write_kills();
	test_open();
	test_fallocate();
	test_lseek();
	test_copy();
	test_fsync();
	fake_release(&f);
	return done();
}
