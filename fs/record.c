/*
 * record.c - the bytes of an inode's record, and of a link to one.
 *
 * A record is the value of an 'N' key (a name) or of an 'I' key (an inode with
 * other than one name, and the root). Numbers are varints: seven bits a byte,
 * low bits first, the top bit set on all but the last byte. "zigzag" maps a
 * signed number to an unsigned one, small to small: 0 -1 1 -2 -> 0 1 2 3.
 *
 *   an inode                                a link
 *     byte    1                               byte    2
 *     varint  inode number                    varint  inode number
 *     varint  mode, with the type             varint  type, as st_mode >> 12
 *     varint  flags: 1 extents, 2 xattrs
 *     varint  number of names
 *     varint  uid
 *     varint  gid
 *     varint  size | entries
 *     varint  stored bytes | subdirectories | device number
 *     8 bytes ctime, little-endian, in ns since 1970, modulo 2^64
 *     zigzag  mtime - ctime
 *     zigzag  atime - ctime
 *     zigzag  btime - ctime
 *     the rest: content of a small file, or the target of a symbolic link
 *
 * Three of the four times are kept as differences because they mostly are
 * equal; a new empty file takes about 25 bytes. Times begin at -2^31 s (1901), so
 * 0xe2329b0000000000 is the earliest and what is below it counts from 1970 on.
 *
 * Rules: nothing follows a link. Under 'N' an inode has exactly one name. The
 * content of a file is only there without flag 1, is not longer than the size
 * (what it lacks of it is zeros), and the size is then at most
 * FS_INLINE_BYTES_MAX. A target is as long as the size says and 1 to
 * FS_SYMLINK_BYTES_MAX long. Only files have extents. An unknown first byte, flag or type is
 * damage: a newer format has a newer number in the superblock.
 *
 * Example: file 5, mode 0644, one name, uid 0, gid 0, "hi", all times 1 ns:
 *   01 05 a48302 00 01 00 00 02 00 0100000000000000 00 00 00 6869
 */
#include "fs/record.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static unsigned char *record_put_varint(unsigned char *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (unsigned char)(v | 0x80);
	*p++ = (unsigned char)v;
	return p;
}

static unsigned char *record_put_delta(unsigned char *p, uint64_t to, uint64_t from)
{
	/* Differences wrap, so that any two times have one. */
	uint64_t d = to - from;

	return record_put_varint(p, (d << 1) ^ (d >> 63 ? UINT64_MAX : 0));
}

/* What is left to decode; `bad` once something was missing. */
struct reader {
	const unsigned char *p, *end;
	bool bad;
};

static uint64_t record_get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
		unsigned char byte = *r->p++;

		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static uint32_t record_get_varint32(struct reader *r)
{
	uint64_t v = record_get_varint(r);

	if (v > UINT32_MAX)
		r->bad = true;
	return (uint32_t)v;
}

static uint64_t record_get_delta(struct reader *r, uint64_t from)
{
	uint64_t z = record_get_varint(r);

	return from + ((z >> 1) ^ (z & 1 ? UINT64_MAX : 0));
}

static uint64_t record_get_time(struct reader *r)
{
	uint64_t v;

	if (r->end - r->p < 8) {
		r->bad = true;
		return 0;
	}
	memcpy(&v, r->p, 8);
	r->p += 8;
	return le64toh(v) + TIME_1970_NS;
}

size_t record_encode(unsigned char out[RECORD_BYTES_MAX], uint64_t ino, const struct attr *attr,
		     const void *content)
{
	unsigned char *p = out;
	uint64_t ctime = htole64(attr->ctime - TIME_1970_NS);

	*p++ = RECORD_INODE;
	p = record_put_varint(p, ino);
	p = record_put_varint(p, attr->mode);
	p = record_put_varint(p, attr->flags);
	p = record_put_varint(p, attr->nlink);
	p = record_put_varint(p, attr->uid);
	p = record_put_varint(p, attr->gid);
	p = record_put_varint(p, attr->size);
	p = record_put_varint(p, attr->stored);
	memcpy(p, &ctime, 8);
	p += 8;
	p = record_put_delta(p, attr->mtime, attr->ctime);
	p = record_put_delta(p, attr->atime, attr->ctime);
	p = record_put_delta(p, attr->btime, attr->ctime);
	if (attr->content_size)
		memcpy(p, content, attr->content_size);
	return (size_t)(p - out) + attr->content_size;
}

size_t record_encode_link(unsigned char out[RECORD_LINK_BYTES_MAX], uint64_t ino, mode_t type)
{
	unsigned char *p = out;

	*p++ = RECORD_LINK;
	p = record_put_varint(p, ino);
	p = record_put_varint(p, type >> 12);
	return (size_t)(p - out);
}

static bool record_type_known(mode_t type)
{
	return S_ISREG(type) || S_ISDIR(type) || S_ISLNK(type) || S_ISCHR(type) || S_ISBLK(type) ||
	       S_ISFIFO(type) || S_ISSOCK(type);
}

/* What is wrong with the values of an inode; NULL if nothing. */
static const char *record_attr_why_bad(const struct attr *a)
{
	if (a->mode > 0177777 || !record_type_known(a->mode & S_IFMT))
		return "unknown type of file";
	if (a->flags & ~ATTR_FLAGS)
		return "unknown flags";
	if (!a->nlink || a->nlink > FS_LINKS_MAX)
		return "impossible number of names";
	if (S_ISDIR(a->mode)) {
		if (a->nlink != 1)
			return "a directory with several names";
		if (a->subdirs > a->entries)
			return "more subdirectories than entries";
	}
	if (a->flags & ATTR_EXTENTS && !S_ISREG(a->mode))
		return "extents of something that is no file";
	if (S_ISREG(a->mode)) {
		if (a->size > FS_FILE_BYTES_MAX || a->stored > FS_FILE_BYTES_MAX)
			return "impossible size";
		if (a->flags & ATTR_EXTENTS)
			return a->content_size ? "content both here and in extents" : NULL;
		if (a->size > FS_INLINE_BYTES_MAX || a->stored)
			return "a large file without extents";
		return a->content_size > a->size ? "more content than the size says" : NULL;
	}
	if (S_ISLNK(a->mode)) {
		if (!a->size || a->size > FS_SYMLINK_BYTES_MAX || a->size != a->content_size)
			return "a target of the wrong length";
		return NULL;
	}
	return a->content_size ? "content in something that has none" : NULL;
}

static const char *record_decode_inode(struct reader *r, struct record *rec)
{
	struct attr *a = &rec->attr;
	const char *why;

	a->mode = record_get_varint32(r);
	a->flags = record_get_varint32(r);
	a->nlink = record_get_varint32(r);
	a->uid = record_get_varint32(r);
	a->gid = record_get_varint32(r);
	a->size = record_get_varint(r);
	a->stored = record_get_varint(r);
	a->ctime = record_get_time(r);
	a->mtime = record_get_delta(r, a->ctime);
	a->atime = record_get_delta(r, a->ctime);
	a->btime = record_get_delta(r, a->ctime);
	if (r->bad)
		return "cut short or malformed";
	if (r->end - r->p > (ptrdiff_t)FS_SYMLINK_BYTES_MAX)
		return "too long";
	a->content_size = (uint32_t)(r->end - r->p);
	rec->content = (struct lsm_slice){r->p, a->content_size};
	rec->type = a->mode & S_IFMT;
	why = record_attr_why_bad(a);
	if (!why && S_ISLNK(rec->type) && memchr(r->p, 0, a->content_size))
		why = "a target with a NUL in it";
	return why;
}

static const char *record_decode_link(struct reader *r, struct record *rec)
{
	uint32_t type = record_get_varint32(r);

	if (r->bad || r->p != r->end)
		return "a malformed link";
	rec->type = type > 15 ? 0 : (mode_t)type << 12;
	if (!record_type_known(rec->type) || S_ISDIR(rec->type))
		return "a link to an unknown type of file";
	return NULL;
}

int record_decode(struct lsm_slice bytes, struct record *record, const char **why)
{
	struct reader r = {bytes.data, NULL, false};

	memset(record, 0, sizeof(*record));
	*why = NULL;
	if (!bytes.size) {
		*why = "empty";
		return -EUCLEAN;
	}
	r.end = r.p + bytes.size;
	record->kind = *r.p++;
	record->ino = record_get_varint(&r);
	if (r.bad || !record->ino)
		*why = "no inode number";
	else if (record->kind == RECORD_INODE)
		*why = record_decode_inode(&r, record);
	else if (record->kind == RECORD_LINK)
		*why = record_decode_link(&r, record);
	else
		*why = "unknown kind";
	return *why ? -EUCLEAN : 0;
}
