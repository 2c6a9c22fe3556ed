/*
 * key.h - the keys of the filesystem in the tree. Numbers are big-endian, so
 * that bytewise order is numeric order.
 *
 *   'D' ino64 offset64    an extent: the file's bytes from offset on
 *   'I' ino64             the record of an inode with other than one name
 *   'N' parent64 name     a name: the inode's record, or a link to an 'I' record
 *   'O' ino64             an orphan: nameless, to be freed when nobody holds it
 *   'S' word              of the whole filesystem (the format, the next inode)
 *   'X' ino64 name        an extended attribute
 *
 * For a look at the bytes: file "a" in the root is  4e 0000000000000001 61.
 */
#ifndef FS_KEY_H
#define FS_KEY_H

#include <endian.h>
#include <string.h>

#include "lsm/lsm.h"

#define KEY_BYTES_MAX (1 + 8 + 255)

enum key_kind {
	KEY_EXTENT = 'D',
	KEY_INODE = 'I',
	KEY_NAME = 'N',
	KEY_ORPHAN = 'O',
	KEY_SUPER = 'S',
	KEY_XATTR = 'X',
};

struct key {
	unsigned char bytes[KEY_BYTES_MAX];
	size_t size;
};

static inline void key_put_u64(unsigned char *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}
static inline uint64_t key_get_u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/* The key of `kind` and `ino` with `size` more bytes of `tail` (at most 255). */
static inline struct lsm_slice key_make(struct key *k, enum key_kind kind, uint64_t ino,
					const void *tail, size_t size)
{
	k->bytes[0] = (unsigned char)kind;
	key_put_u64(k->bytes + 1, ino);
	if (size)
		memcpy(k->bytes + 9, tail, size);
	k->size = 9 + size;
	return (struct lsm_slice){k->bytes, k->size};
}

static inline int key_compare(const struct key *a, const struct key *b)
{
	size_t n = a->size < b->size ? a->size : b->size;
	int d = memcmp(a->bytes, b->bytes, n);

	return d ? d : (a->size > b->size) - (a->size < b->size);
}

/* The key of an extent. */
static inline struct lsm_slice key_extent(struct key *k, uint64_t ino, uint64_t offset)
{
	unsigned char tail[8];

	key_put_u64(tail, offset);
	return key_make(k, KEY_EXTENT, ino, tail, sizeof(tail));
}

static inline struct lsm_slice key_slice(const struct key *k)
{
	return (struct lsm_slice){k->bytes, k->size};
}

/* [start, end) of all keys of `kind` and `ino`; start.size is 9. */
void key_range(enum key_kind kind, uint64_t ino, struct key *start, struct key *end);
/* Add to `b` the deletion of every key of `kind` and `ino`. 0 or as lsm_batch_delete_range(). */
int key_drop_range(struct lsm_batch *b, enum key_kind kind, uint64_t ino);

#endif
