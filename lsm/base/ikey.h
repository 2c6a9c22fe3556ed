/*
 * ikey.h - internal keys: what memtables and tables are ordered by.
 *
 *   internal key = user key bytes | u64 LE of (sequence << 8 | type)
 *
 * Order: user key ascending (memcmp, then length), then sequence and type
 * DEScending, so that the newest version of a key comes first. Seeking to
 * (key, snapshot sequence, IKEY_TYPE_MAX) finds the newest visible version.
 */
#ifndef LSM_IKEY_H
#define LSM_IKEY_H

#include <assert.h>

#include "lsm/base/coding.h"
#include "lsm/lsm.h"

#define IKEY_TRAILER_BYTES 8
#define IKEY_BYTES_MAX (LSM_KEY_BYTES_MAX + IKEY_TRAILER_BYTES)
#define SEQUENCE_MAX ((UINT64_C(1) << 56) - 1)

enum ikey_type {
	IKEY_DELETE = 0,
	IKEY_PUT = 1,     /* the value itself */
	IKEY_PUT_REF = 2, /* the value is an encoded reference to a segment (segment.h) */
	IKEY_TYPE_MAX = 2,
};

static inline uint64_t ikey_trailer(uint64_t sequence, enum ikey_type type)
{
	return sequence << 8 | (uint64_t)type;
}
static inline struct lsm_slice ikey_user(struct lsm_slice ikey)
{
	return (struct lsm_slice){ikey.data, ikey.size - IKEY_TRAILER_BYTES};
}
static inline uint64_t ikey_get_trailer(struct lsm_slice ikey)
{
	return get_u64((const uint8_t *)ikey.data + ikey.size - IKEY_TRAILER_BYTES);
}
static inline uint64_t ikey_sequence(struct lsm_slice ikey)
{
	return ikey_get_trailer(ikey) >> 8;
}
static inline enum ikey_type ikey_type(struct lsm_slice ikey)
{
	return (enum ikey_type)(ikey_get_trailer(ikey) & 0xff);
}
/* Whether bytes from disk are an internal key: long enough, of a known type, within limits. */
static inline bool ikey_valid(struct lsm_slice ikey)
{
	return ikey.size > IKEY_TRAILER_BYTES && ikey.size <= IKEY_BYTES_MAX &&
	       (ikey_get_trailer(ikey) & 0xff) <= IKEY_TYPE_MAX;
}

static inline int slice_compare(struct lsm_slice a, struct lsm_slice b)
{
	size_t n = a.size < b.size ? a.size : b.size;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	return c ? c : (a.size > b.size) - (a.size < b.size);
}
static inline int ikey_compare(struct lsm_slice a, struct lsm_slice b)
{
	int c = slice_compare(ikey_user(a), ikey_user(b));
	uint64_t ta, tb;

	if (c)
		return c;
	ta = ikey_get_trailer(a);
	tb = ikey_get_trailer(b);
	return (ta < tb) - (ta > tb);
}

/* Space for an internal key on the stack, and the function that fills it. */
struct ikey_buf {
	uint8_t bytes[IKEY_BYTES_MAX];
	size_t size;
};
static inline struct lsm_slice ikey_make(struct ikey_buf *b, struct lsm_slice user,
					 uint64_t sequence, enum ikey_type type)
{
	assert(user.size <= LSM_KEY_BYTES_MAX && sequence <= SEQUENCE_MAX);
	memcpy(b->bytes, user.data, user.size);
	put_u64(b->bytes + user.size, ikey_trailer(sequence, type));
	b->size = user.size + IKEY_TRAILER_BYTES;
	return (struct lsm_slice){b->bytes, b->size};
}

#endif
