/*
 * raw.h - writing into a store below its filesystem, which is closed: to plant faults.
 */
#ifndef TESTS_FS_RAW_H
#define TESTS_FS_RAW_H

#include "fs/core.h"
#include "tests/support/fs_fixture.h"

static struct lsm *lsm; /* of the closed store */

/* A store with one of everything, and its inodes. */
static struct fixture f;
static uint64_t dir_ino, file_ino, big_ino, hard_ino, sub_ino;
static char big_bytes[200000];

/* Make it; it is open below the filesystem then. */
static inline void begin(void)
{
	struct stat st;

	for (size_t i = 0; i < sizeof(big_bytes); i++)
		big_bytes[i] = (char)(i * 31 + i / 4096);
	fixture_init(&f);
	f.quiet = true;
	dir_ino = mk_dir(f.fs, FS_ROOT_INO, "dir");
	sub_ino = mk_dir(f.fs, dir_ino, "sub");
	file_ino = mk_file(f.fs, dir_ino, "file");
	fs_write(f.fs, file_ino, 0, "small", 5, 0, NULL);
	big_ino = mk_file(f.fs, sub_ino, "big");
	fs_write(f.fs, big_ino, 0, big_bytes, sizeof(big_bytes), 0, NULL);
	hard_ino = mk_file(f.fs, dir_ino, "hard");
	fs_link(f.fs, hard_ino, sub_ino, "hard2", &st);
	fs_setxattr(f.fs, file_ino, "user.a", "1", 1, 0);
	fs_symlink(f.fs, &ROOT, dir_ino, "link", "target", &st);
	fixture_close(&f);
	if (lsm_open(f.store, &f.options.lsm, &lsm))
		bail("lsm_open");
}

static inline void end(void)
{
	fixture_release(&f);
}

static inline void put_value(struct lsm_slice key, const void *data, size_t size)
{
	struct lsm_batch *b = lsm_batch_new();

	if (!b || lsm_batch_put(b, key, (struct lsm_slice){data, size}) || lsm_write(lsm, b, 0))
		bail("put");
	lsm_batch_free(b);
}

static inline void put(enum key_kind kind, uint64_t ino, const char *tail, const void *data,
		       size_t size)
{
	struct key k;

	put_value(key_make(&k, kind, ino, tail, strlen(tail)), data, size);
}

static inline void drop_key(struct lsm_slice key)
{
	struct lsm_batch *b = lsm_batch_new();

	if (!b || lsm_batch_delete(b, key) || lsm_write(lsm, b, 0))
		bail("drop");
	lsm_batch_free(b);
}

static inline void drop(enum key_kind kind, uint64_t ino, const char *tail)
{
	struct key k;

	drop_key(key_make(&k, kind, ino, tail, strlen(tail)));
}

/* Read a record, to be changed and put back. */
static inline struct attr get(enum key_kind kind, uint64_t ino, const char *tail)
{
	static struct lsm_value value;
	struct record r;
	const char *why;
	struct key k;

	if (lsm_get(lsm, NULL, key_make(&k, kind, ino, tail, strlen(tail)), &value) ||
	    record_decode((struct lsm_slice){value.data, value.size}, &r, &why))
		bail("get");
	r.attr.content_size = 0;
	lsm_value_release(&value);
	return r.attr;
}

static inline void put_attr(enum key_kind kind, uint64_t ino, const char *tail, uint64_t self,
			    struct attr a)
{
	unsigned char record[RECORD_BYTES_MAX];

	put(kind, ino, tail, record, record_encode(record, self, &a, ""));
}

static inline void put_link(uint64_t dir, const char *name, uint64_t to, mode_t type)
{
	unsigned char record[RECORD_LINK_BYTES_MAX];

	put(KEY_NAME, dir, name, record, record_encode_link(record, to, type));
}

#endif
