/*
 * ops_data.c - the content of files.
 *
 * A read that the kernel answers from its cache sets no atime, because the daemon does not
 * hear of it. Where exact times of access are wanted (exact_atime), the kernel asks the
 * daemon to open each file. If the next read would set the atime, the reply makes the kernel
 * drop what it has cached of the file, so that the read comes to the daemon. With relatime that
 * is once for each change of the file, with strictatime once for each open. Opening takes
 * several times as long when the daemon is asked. So it is only asked with these options.
 */
#include <errno.h>
#include <fcntl.h>

#include "mount/ops.h"
#include "mount/syncer.h"

/* A reply has 32 bits for the size. After a short copy, programs copy the rest. */
#define COPY_BYTES_MAX (1u << 30)

void op_open(struct request *r, int open_flags)
{
	bool reads = (open_flags & O_ACCMODE) != O_WRONLY && !(open_flags & O_NOATIME);

	reply_opened(r, !(reads && fs_atime_due(r->mount->fs, r->ino)));
}

void op_read(struct request *r, uint64_t offset, size_t size, int open_flags)
{
	void *room = request_room(r, size);
	size_t got;
	int err;

	if (!room)
		err = -ENOMEM;
	else if (open_flags & O_NOATIME)
		err = fs_read_noatime(r->mount->fs, r->ino, offset, room, size, &got);
	else
		err = fs_read(r->mount->fs, r->ino, offset, room, size, &got);
	if (err)
		reply_error(r, err);
	else
		reply_bytes(r, room, got);
}

/*
 * A write by any user but root clears setuid and setgid. After such a write the kernel still
 * has the old mode cached, until it is told to forget it.
 */
static bool op_has_priv_bits(struct request *r)
{
	struct stat st;

	return !fs_getattr(r->mount->fs, r->ino, &st) && (st.st_mode & (S_ISUID | S_ISGID));
}

/* For O_APPEND the kernel has set the offset: no other kernel writes to the same file. */
void op_write(struct request *r, uint64_t offset, const void *data, size_t size, int open_flags,
	      bool kill_priv)
{
	unsigned flags = 0;
	int err;

	kill_priv = kill_priv && op_has_priv_bits(r);
	if (open_flags & (O_SYNC | O_DSYNC))
		flags |= FS_WRITE_SYNC;
	if (kill_priv)
		flags |= FS_WRITE_KILL_PRIV;
	err = kill_priv ? op_kill_priv(r, r->ino) : 0;
	if (!err)
		err = fs_write(r->mount->fs, r->ino, offset, data, size, flags, NULL);
	if (kill_priv)
		transport_forget_attributes(r, r->ino);
	if (err)
		reply_error(r, err);
	else
		reply_written(r, size);
}

void op_fallocate(struct request *r, int mode, uint64_t offset, uint64_t size)
{
	int err = op_kill_priv(r, r->ino);

	if (!err)
		err = fs_fallocate(r->mount->fs, r->ino, mode, offset, size);
	reply_error(r, err);
}

void op_lseek(struct request *r, uint64_t offset, int whence)
{
	uint64_t found;
	int err = fs_seek(r->mount->fs, r->ino, offset, whence, &found);

	if (err)
		reply_error(r, err);
	else
		reply_offset(r, found);
}

void op_copy_file_range(struct request *r, uint64_t offset, uint64_t to, uint64_t to_offset,
			size_t size)
{
	size_t copied;
	int err = op_kill_priv(r, to);
	bool touch = fs_atime_due(r->mount->fs, r->ino);

	if (size > COPY_BYTES_MAX)
		size = COPY_BYTES_MAX;
	if (!err)
		err = fs_copy_range(r->mount->fs, r->ino, offset, to, to_offset, size, &copied);
	/* The kernel itself only expects that the attributes of the written file have changed. */
	if (!err && copied && touch)
		transport_forget_attributes(r, r->ino);
	if (err)
		reply_error(r, err);
	else
		reply_written(r, copied);
}

void op_fsync(struct request *r)
{
	syncer_answer(r->mount->syncer, r);
}
