/*
 * buf.h - a growing byte buffer. It starts as {0}, and buf_release() frees its bytes.
 *
 * buf_add() and its like return 0 or -ENOMEM; after -ENOMEM the content is unchanged.
 */
#ifndef LSM_BUF_H
#define LSM_BUF_H

#include <errno.h>
#include <stdlib.h>

#include "lsm/base/coding.h"
#include "lsm/lsm.h"

struct buf {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

static inline void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

/* Make room for `more` bytes beyond the size. 0 or -ENOMEM. */
static inline int buf_reserve(struct buf *b, size_t more)
{
	size_t want = b->size + more, capacity = b->capacity ? b->capacity : 64;
	uint8_t *data;

	if (want < more)
		return -ENOMEM;
	if (want <= b->capacity)
		return 0;
	while (capacity < want)
		capacity = capacity > SIZE_MAX / 2 ? want : capacity * 2;
	data = realloc(b->data, capacity);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->capacity = capacity;
	return 0;
}

static inline int buf_add(struct buf *b, const void *data, size_t size)
{
	if (buf_reserve(b, size))
		return -ENOMEM;
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	return 0;
}

static inline int buf_add_varint(struct buf *b, uint64_t v)
{
	if (buf_reserve(b, VARINT64_BYTES_MAX))
		return -ENOMEM;
	b->size = (size_t)(put_varint(b->data + b->size, v) - b->data);
	return 0;
}

static inline int buf_add_u32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4];

	put_u32(bytes, v);
	return buf_add(b, bytes, sizeof(bytes));
}

/* Append a varint length, then the bytes. */
static inline int buf_add_bytes(struct buf *b, struct lsm_slice s)
{
	if (buf_reserve(b, VARINT64_BYTES_MAX + s.size))
		return -ENOMEM;
	buf_add_varint(b, s.size);
	return buf_add(b, s.data, s.size);
}

static inline struct lsm_slice buf_slice(const struct buf *b)
{
	return (struct lsm_slice){b->data, b->size};
}

#endif
