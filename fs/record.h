/*
 * record.h - what the tree holds about an inode, as bytes and as a struct.
 * The format is at the top of record.c.
 */
#ifndef FS_RECORD_H
#define FS_RECORD_H

#include <sys/stat.h>

#include "fs/fs.h"

#define ATTR_EXTENTS 1u /* the content is in extents, not in the record */
#define ATTR_XATTRS 2u  /* there may be extended attributes */
#define ATTR_FLAGS (ATTR_EXTENTS | ATTR_XATTRS)

/*
 * Times count nanoseconds from the earliest there is, -2^31 s as on ext4 (1901),
 * to ext4's latest (2446). TIME_1970_NS of them are before 1970.
 */
#define TIME_S_MIN (-(INT64_C(1) << 31))
#define TIME_S_MAX (TIME_S_MIN + (INT64_C(1) << 34) - 1)
#define TIME_1970_NS ((UINT64_C(1) << 31) * 1000000000)

/* The attributes of an inode. */
struct attr {
	union {
		uint64_t size;    /* of a file or a symbolic link */
		uint64_t entries; /* of a directory, without "." and ".." */
	};
	union {
		uint64_t stored;  /* of a file: bytes in extents */
		uint64_t subdirs; /* of a directory: entries that are directories */
		uint64_t rdev;    /* of a device */
	};
	uint64_t atime, mtime, ctime, btime;
	uint32_t mode, uid, gid;
	uint32_t nlink; /* names; for a directory 1, whatever st_nlink will say */
	uint32_t flags;
	uint32_t content_size; /* bytes in the record: of a small file, of a link's target */
};

enum record_kind { RECORD_INODE = 1, RECORD_LINK = 2 };

struct record {
	enum record_kind kind;
	uint64_t ino;
	mode_t type; /* S_IFREG, ... */
	/* of RECORD_INODE only */
	struct attr attr;
	struct lsm_slice content; /* within the bytes decoded */
};

#define RECORD_HEAD_BYTES_MAX 112u
#define RECORD_BYTES_MAX (RECORD_HEAD_BYTES_MAX + FS_SYMLINK_BYTES_MAX)
#define RECORD_LINK_BYTES_MAX 24u

/* Encode an inode; `content` has attr->content_size bytes. Returns the bytes used of `out`. */
size_t record_encode(unsigned char out[RECORD_BYTES_MAX], uint64_t ino, const struct attr *attr,
		     const void *content);
/* Encode a name of an inode that has its record elsewhere. */
size_t record_encode_link(unsigned char out[RECORD_LINK_BYTES_MAX], uint64_t ino, mode_t type);

/*
 * Decode `bytes`, which `*record` goes on pointing into. Returns 0, or -EUCLEAN
 * with the reason in `*why`.
 */
int record_decode(struct lsm_slice bytes, struct record *record, const char **why);

#endif
