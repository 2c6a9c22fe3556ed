/*
 * raw.h - writing into a store below its filesystem, which is closed: to plant faults.
 */
#ifndef TESTS_FS_RAW_H
#define TESTS_FS_RAW_H

#include "fs/core.h"
#include "tests/fs/fixture.h"

static struct lsm *lsm; /* of the closed store */

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
