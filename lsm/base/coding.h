/*
 * coding.h - integers in bytes: fixed little-endian, and varints of 7 bits a
 * byte, low bits first, as protocol buffers write them.
 */
#ifndef LSM_CODING_H
#define LSM_CODING_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VARINT32_BYTES_MAX 5
#define VARINT64_BYTES_MAX 10

static inline void put_u16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}
static inline uint16_t get_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}
static inline uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}
static inline uint64_t get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* Write `v` at `p`, which has room for VARINT64_BYTES_MAX; returns the byte after it. */
static inline uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)v | 0x80;
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* Read a varint in [p, end) into `*v`; returns the byte after it, or NULL if it is malformed. */
static inline const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	uint64_t wide = 0;

	*v = 0;
	for (unsigned shift = 0; p && p < end && shift < 64; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			return NULL;
		wide |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*v = wide;
			return p;
		}
	}
	return NULL;
}

/* The same, for values that must fit 32 bits. */
static inline const uint8_t *get_varint32(const uint8_t *p, const uint8_t *end, uint32_t *v)
{
	uint64_t wide;

	*v = 0;
	p = get_varint(p, end, &wide);
	if (!p || wide > UINT32_MAX)
		return NULL;
	*v = (uint32_t)wide;
	return p;
}

/* Read a varint length and that many bytes in [p, end) into `*data`, `*size`; NULL if malformed. */
static inline const uint8_t *get_bytes(const uint8_t *p, const uint8_t *end, const uint8_t **data,
				       size_t *size)
{
	uint64_t n;

	*data = NULL;
	*size = 0;
	p = get_varint(p, end, &n);
	if (!p || n > (size_t)(end - p))
		return NULL;
	*data = p;
	*size = (size_t)n;
	return p + n;
}

#endif
