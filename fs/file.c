/*
 * file.c - the content of regular files.
 *
 * A file is in one of two forms. Up to FS_INLINE_BYTES_MAX bytes its content is
 * in its record: one read gets attributes and content, and a write replaces
 * both. What the record lacks of the size is zeros. When a write or a new size
 * goes beyond, the content moves to extents (data.h) in the same batch, and
 * stays there until the file is cut to nothing: a file around the limit does
 * not go back and forth.
 *
 * Nothing is ever stored at or beyond the size, so a file that grows reads as
 * zeros there without anything being written.
 */
#include "fs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/data.h"

/* One call clones at most so much: a batch of a thousand extents. */
#define CLONE_BYTES_MAX (UINT64_C(128) << 20)
/* ... and copies at most so much through memory. */
#define COPY_BYTES_MAX (1u << 20)

/* 0 for a regular file; -EISDIR for a directory; `other` for the rest. */
static int file_check(const struct inode *inode, int other)
{
	if (S_ISREG(inode->type))
		return 0;
	return S_ISDIR(inode->type) ? -EISDIR : other;
}

/* The inode of a regular file, with a reference. */
static int file_get(struct fs *fs, uint64_t ino, int other, struct inode **inode)
{
	int err = inode_get(fs, ino, inode);

	if (err)
		return err;
	err = file_check(*inode, other);
	if (err) {
		inode_put(fs, *inode);
		*inode = NULL;
	}
	return err;
}

static void file_stored_add(struct change *c, int64_t delta)
{
	if (delta < 0 && c->attr.stored < (uint64_t)-delta)
		c->attr.stored = 0; /* it was wrong on disk */
	else
		c->attr.stored += (uint64_t)delta;
}

/* ---- reading ---- */

static int file_read_locked(struct fs *fs, const struct inode *inode, uint64_t offset, void *buf,
			    size_t size, size_t *got) REQUIRES_SHARED(*inode)
{
	const struct attr *a = &inode->attr;
	struct lsm_value value = {0};
	struct lsm_slice content;
	size_t n;
	int err;

	*got = 0;
	if (offset >= a->size)
		return 0;
	if (size > a->size - offset)
		size = (size_t)(a->size - offset);
	if (a->flags & ATTR_EXTENTS) {
		err = data_read(fs, inode->ino, offset, buf, size);
	} else {
		err = inode_content(fs, inode, &value, &content);
		if (!err) {
			n = offset < content.size ? content.size - (size_t)offset : 0;
			if (n > size)
				n = size;
			if (n)
				memcpy(buf, (const char *)content.data + offset, n);
			memset((char *)buf + n, 0, size - n);
		}
		lsm_value_release(&value);
	}
	if (!err)
		*got = size;
	return err;
}

static int file_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size,
		     size_t *got, bool touch)
{
	struct inode *inode;
	int err = file_get(fs, ino, -EINVAL, &inode);

	*got = 0;
	if (err)
		return err;
	inode_lock_shared(inode);
	err = file_read_locked(fs, inode, offset, buf, size, got);
	touch = touch && !err && size && inode_touch_due(fs, inode);
	inode_unlock_shared(inode);
	if (touch)
		inode_touch(fs, inode);
	inode_put(fs, inode);
	return fs_errno(err);
}

int fs_read(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size, size_t *got)
{
	return file_read(fs, ino, offset, buf, size, got, true);
}

int fs_read_noatime(struct fs *fs, uint64_t ino, uint64_t offset, void *buf, size_t size,
		    size_t *got)
{
	return file_read(fs, ino, offset, buf, size, got, false);
}

int fs_seek(struct fs *fs, uint64_t ino, uint64_t offset, int whence, uint64_t *out)
{
	struct inode *inode;
	const struct attr *a;
	uint64_t data_end;
	int err;

	*out = 0;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	err = file_get(fs, ino, -EINVAL, &inode);
	if (err)
		return err;
	inode_lock_shared(inode);
	a = &inode->attr;
	if (offset >= a->size) {
		err = LSM_ABSENT;
	} else if (a->flags & ATTR_EXTENTS) {
		err = data_seek(fs, ino, offset, whence == SEEK_HOLE, out);
	} else {
		*out = offset;
		data_end = data_seek_floor(a->content_size + DATA_SEEK_BYTES - 1ull);
		if (whence == SEEK_DATA)
			err = offset >= data_end ? LSM_ABSENT : 0;
		else if (offset < data_end)
			*out = data_end;
	}
	/* There is a hole at the end of every file. */
	if (!err && *out >= a->size) {
		*out = a->size;
		err = whence == SEEK_DATA ? LSM_ABSENT : 0;
	}
	inode_unlock_shared(inode);
	inode_put(fs, inode);
	return err == LSM_ABSENT ? -ENXIO : fs_errno(err);
}

/* ---- changing ---- */

/* Add to the change that the content moves from the record to extents. */
static int file_stage_extents(struct change *c)
{
	int64_t delta = 0;
	int err;

	err = change_load(c);
	if (!err && c->content.size)
		err = data_write(c->fs, c->b, c->inode->ino, 0, c->content.data, c->content.size, 0,
				 &delta);
	if (err)
		return err;
	c->attr.flags |= ATTR_EXTENTS;
	c->attr.stored = (uint64_t)delta;
	change_content(c, NULL, 0);
	return 0;
}

int file_stage_size(struct change *c, uint64_t size)
{
	int64_t delta = 0;
	int err = 0;

	if (c->attr.flags & ATTR_EXTENTS) {
		if (!size) {
			err = data_drop(c->b, c->inode->ino);
			c->attr.flags &= ~ATTR_EXTENTS;
			c->attr.stored = 0;
		} else if (size < c->attr.size) {
			err = data_truncate(c->fs, c->b, c->inode->ino, size, &delta);
			file_stored_add(c, delta);
		}
	} else if (size > FS_INLINE_BYTES_MAX) {
		err = file_stage_extents(c);
	} else if (size < c->attr.content_size) {
		err = size ? change_load(c) : 0;
		if (!err)
			change_content(c, size ? c->content.data : NULL, (size_t)size);
	}
	c->attr.size = size;
	return err;
}

/* Add a write that leaves the file in its record; `buf` is room for that. */
static int file_stage_inline(struct change *c, uint64_t offset, const void *data, size_t size,
			     unsigned char buf[FS_INLINE_BYTES_MAX])
{
	size_t old = c->attr.content_size, at = (size_t)offset;
	int err;

	if (!at && size >= old) {
		change_content(c, data, size);
		return 0;
	}
	err = change_load(c);
	if (err)
		return err;
	if (old)
		memcpy(buf, c->content.data, old);
	if (at > old)
		memset(buf + old, 0, at - old);
	memcpy(buf + at, data, size);
	change_content(c, buf, at + size > old ? at + size : old);
	return 0;
}

/* Add a write that makes the file too large for its record. `*copy` is to be freed in the end. */
static int file_stage_outgrow(struct change *c, uint64_t offset, const void *data, size_t size,
			      void **copy)
{
	struct fs *fs = c->fs;
	uint64_t ino = c->inode->ino;
	int64_t delta = 0, more = 0;
	size_t keep;
	int err;

	*copy = NULL;
	err = change_load(c);
	if (err)
		return err;
	keep = offset < c->content.size ? (size_t)offset : c->content.size;
	if (keep && keep == offset && size <= DATA_EXTENT_BYTES_MAX) {
		/* Together they make one extent instead of two. */
		*copy = malloc(keep + size);
		if (!*copy)
			return -ENOMEM;
		memcpy(*copy, c->content.data, keep);
		memcpy((char *)*copy + keep, data, size);
		err = data_write(fs, c->b, ino, 0, *copy, keep + size, 0, &delta);
	} else {
		if (keep)
			err = data_write(fs, c->b, ino, 0, c->content.data, keep, 0, &delta);
		if (!err)
			err = data_write(fs, c->b, ino, offset, data, size, 0, &more);
	}
	c->attr.flags |= ATTR_EXTENTS;
	c->attr.stored = 0;
	file_stored_add(c, delta + more);
	change_content(c, NULL, 0);
	return err;
}

static int file_write_locked(struct fs *fs, struct inode *inode, uint64_t offset, const void *data,
			     size_t size, unsigned flags) REQUIRES(*inode)
{
	unsigned char buf[FS_INLINE_BYTES_MAX];
	uint64_t end = offset + size, new_size;
	void *copy = NULL;
	int64_t delta = 0;
	struct change c;
	int err;

	err = change_begin(&c, fs, inode);
	if (!err && flags & FS_WRITE_KILL_PRIV)
		err = change_kill_priv(&c);
	new_size = end > c.attr.size ? end : c.attr.size;
	if (err) {
		/* nothing was added */
	} else if (c.attr.flags & ATTR_EXTENTS) {
		err = data_write(fs, c.b, inode->ino, offset, data, size, c.attr.size, &delta);
		file_stored_add(&c, delta);
	} else if (new_size <= FS_INLINE_BYTES_MAX) {
		err = file_stage_inline(&c, offset, data, size, buf);
	} else {
		err = file_stage_outgrow(&c, offset, data, size, &copy);
	}
	c.attr.size = new_size;
	c.attr.mtime = c.attr.ctime = time_now();
	if (!err)
		err = change_commit(&c, 0);
	change_end(&c);
	free(copy);
	return err;
}

int fs_write(struct fs *fs, uint64_t ino, uint64_t offset, const void *data, size_t size,
	     unsigned flags, struct stat *st)
{
	struct inode *inode;
	int err = file_get(fs, ino, -EINVAL, &inode);

	if (err)
		return err;
	inode_lock(inode);
	if (flags & FS_WRITE_APPEND)
		offset = inode->attr.size;
	if (offset > FS_FILE_BYTES_MAX || size > FS_FILE_BYTES_MAX - offset)
		err = -EFBIG;
	else if (size)
		err = file_write_locked(fs, inode, offset, data, size, flags);
	if (!err && st)
		inode_stat(inode, st);
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, err, flags & FS_WRITE_SYNC);
}

/* ---- holes ---- */

/* Add to the change that [offset, end) is zeros, and a hole where it can be. */
static int file_stage_punch(struct change *c, uint64_t offset, uint64_t end,
			    unsigned char buf[FS_INLINE_BYTES_MAX])
{
	size_t old = c->attr.content_size;
	int64_t delta = 0;
	int err;

	if (end > c->attr.size)
		end = c->attr.size;
	if (offset >= end)
		return 0;
	if (c->attr.flags & ATTR_EXTENTS) {
		err = data_punch(c->fs, c->b, c->inode->ino, offset, end - offset, &delta);
		file_stored_add(c, delta);
		return err;
	}
	if (offset >= old)
		return 0;
	err = change_load(c);
	if (err)
		return err;
	memcpy(buf, c->content.data, old);
	if (end >= old)
		old = (size_t)offset;
	else
		memset(buf + offset, 0, (size_t)(end - offset));
	change_content(c, buf, old);
	return 0;
}

/*
 * Space cannot be set aside where nothing is written in place. But a call that asks for more than
 * is free, beside what the file has, fails now and not in the middle of writing.
 */
static int file_check_space(struct fs *fs, const struct inode *inode, uint64_t size)
	REQUIRES_SHARED(*inode)
{
	uint64_t free_bytes, total_bytes;
	int err;

	if (size <= inode->attr.stored)
		return 0;
	err = lsm_space(fs->lsm, &free_bytes, &total_bytes);
	return err ? err : size - inode->attr.stored > free_bytes ? -ENOSPC : 0;
}

static int file_fallocate_locked(struct fs *fs, struct inode *inode, int mode, uint64_t offset,
				 uint64_t size) REQUIRES(*inode)
{
	unsigned char buf[FS_INLINE_BYTES_MAX];
	bool punch = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	bool grow = !(mode & FALLOC_FL_KEEP_SIZE) && offset + size > inode->attr.size;
	struct change c;
	int err = mode & FALLOC_FL_PUNCH_HOLE ? 0 : file_check_space(fs, inode, size);

	if (err)
		return err;
	err = change_begin(&c, fs, inode);
	if (!err && punch)
		err = file_stage_punch(&c, offset, offset + size, buf);
	if (!err && grow)
		err = file_stage_size(&c, offset + size);
	c.attr.mtime = c.attr.ctime = time_now();
	if (!err)
		err = change_commit(&c, mode & FALLOC_FL_PUNCH_HOLE ? LSM_FREES : 0);
	change_end(&c);
	return err;
}

int fs_fallocate(struct fs *fs, uint64_t ino, int mode, uint64_t offset, uint64_t size)
{
	struct inode *inode;
	int err;

	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!size)
		return -EINVAL;
	if (offset > FS_FILE_BYTES_MAX || size > FS_FILE_BYTES_MAX - offset)
		return -EFBIG;
	err = file_get(fs, ino, -ENODEV, &inode);
	if (err)
		return err;
	inode_lock(inode);
	err = file_fallocate_locked(fs, inode, mode, offset, size);
	inode_unlock(inode);
	inode_put(fs, inode);
	return fs_finish(fs, err, false);
}

/* ---- copying ---- */

struct copying {
	struct fs *fs;
	struct inode *from, *to;
	uint64_t from_offset, to_offset;
	size_t size, copied;
};

/* Share the extents. */
static int file_copy_clone(struct copying *p)
{
	uint64_t end;
	int64_t delta = 0;
	struct change c;
	int err;

	inode_assert_held(p->to);
	if (p->size > CLONE_BYTES_MAX)
		p->size = CLONE_BYTES_MAX;
	end = p->to_offset + p->size;
	err = change_begin(&c, p->fs, p->to);
	if (!err)
		err = data_clone(p->fs, c.b, p->from->ino, p->from_offset, p->to->ino, p->to_offset,
				 p->size, &delta);
	c.attr.flags |= ATTR_EXTENTS;
	file_stored_add(&c, delta);
	if (end > c.attr.size)
		c.attr.size = end;
	c.attr.mtime = c.attr.ctime = time_now();
	if (!err)
		err = change_commit(&c, 0);
	if (!err)
		p->copied = p->size;
	change_end(&c);
	return err;
}

/* Read and write. */
static int file_copy_bytes(struct copying *p)
{
	size_t size = p->size < COPY_BYTES_MAX ? p->size : COPY_BYTES_MAX, got;
	void *buf = malloc(size);
	int err;

	inode_assert_held(p->from);
	inode_assert_held(p->to);
	if (!buf)
		return -ENOMEM;
	err = file_read_locked(p->fs, p->from, p->from_offset, buf, size, &got);
	if (!err && got)
		err = file_write_locked(p->fs, p->to, p->to_offset, buf, got, 0);
	if (!err)
		p->copied = got;
	free(buf);
	return err;
}

static int file_copy_locked(struct copying *p)
{
	const struct attr *from = &p->from->attr, *to = &p->to->attr;
	uint64_t end;

	inode_assert_held(p->from);
	inode_assert_held(p->to);
	if (p->from_offset >= from->size)
		return 0;
	if (p->size > from->size - p->from_offset)
		p->size = (size_t)(from->size - p->from_offset);
	if (p->to_offset > FS_FILE_BYTES_MAX || p->size > FS_FILE_BYTES_MAX - p->to_offset)
		return -EFBIG;
	end = p->to_offset + p->size;
	if (p->from == p->to && p->from_offset < end && p->to_offset < p->from_offset + p->size)
		return -EINVAL;
	/* It is read first: within one file, the change is later than the access. */
	inode_touch_locked(p->fs, p->from);
	if (from->flags & ATTR_EXTENTS &&
	    (to->flags & ATTR_EXTENTS || (!to->content_size && end > FS_INLINE_BYTES_MAX)))
		return file_copy_clone(p);
	return file_copy_bytes(p);
}

/* The analysis cannot follow these two: there may be two inodes or one. */
static void file_copy_lock(struct copying *p) NO_OTHER_THREADS
{
	bool in_order = p->from->ino < p->to->ino;

	inode_lock(in_order ? p->from : p->to);
	if (p->from != p->to)
		inode_lock(in_order ? p->to : p->from);
}

static void file_copy_unlock(struct copying *p) NO_OTHER_THREADS
{
	inode_unlock(p->from);
	if (p->from != p->to)
		inode_unlock(p->to);
}

int fs_copy_range(struct fs *fs, uint64_t from, uint64_t from_offset, uint64_t to,
		  uint64_t to_offset, size_t size, size_t *copied)
{
	struct copying p = {
		.fs = fs, .from_offset = from_offset, .to_offset = to_offset, .size = size};
	int err;

	*copied = 0;
	err = file_get(fs, from, -EINVAL, &p.from);
	if (err)
		return err;
	err = file_get(fs, to, -EINVAL, &p.to);
	if (err) {
		inode_put(fs, p.from);
		return err;
	}
	file_copy_lock(&p);
	if (size)
		err = file_copy_locked(&p);
	file_copy_unlock(&p);
	inode_put(fs, p.from);
	inode_put(fs, p.to);
	*copied = p.copied;
	return fs_finish(fs, err, false);
}
