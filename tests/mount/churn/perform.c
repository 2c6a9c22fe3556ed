/*
 * perform.c - one call of a writer of churn, made and compared with the model.
 */
#include "tests/mount/churn/perform.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/mount/churn/worker.h"

/* Carry out `op` on an open file. Returns 0 or the errno. A write has written `*done` bytes. */
static int call_fd(const struct op *op, int fd, uint64_t *done)
{
	uint64_t t;
	ssize_t n = 0;

	if (op->kind == WRITE)
		pattern(op->tag, op->offset, bytes, op->size);
	t = timing_now_ns();
	if (op->kind == WRITE)
		n = op->append ? write(fd, bytes, op->size) :
				 pwrite(fd, bytes, op->size, (off_t)op->offset);
	else if (op->kind == FSYNC)
		n = fsync(fd);
	else
		n = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->offset,
			      (off_t)op->size);
	note(op->kind, t);
	if (n < 0)
		return errno;
	if (op->kind == WRITE)
		*done = (uint64_t)n;
	return 0;
}

static int call_on_open(const struct op *op, const char *path, uint64_t *done)
{
	int fd = open_timed(path, O_WRONLY | (op->append ? O_APPEND : 0), 0, OPEN), err;
	uint64_t t;

	if (fd < 0)
		return errno;
	err = call_fd(op, fd, done);
	t = timing_now_ns();
	if (close(fd) && !err && shared->writeback)
		err = errno;
	note(CLOSE, t);
	return err;
}

/* If `held`, the file is open while its name goes, as in a program that replaces a file. */
static int call_unlink(const char *path, bool held)
{
	int fd = held ? open_timed(path, O_RDONLY, 0, OPEN) : -1, err;
	uint64_t t = timing_now_ns();

	err = unlink(path) ? errno : 0;
	note(UNLINK, t);
	if (fd >= 0)
		close(fd);
	return err;
}

static int call_path(const struct op *op, uint64_t *done)
{
	char a[PATH_BYTES], b[PATH_BYTES];
	bool folders = op->kind >= MKDIR;
	uint64_t t;
	int err, fd;

	*done = op->size;
	if (folders)
		folder_path(self, (unsigned)op->a, a, sizeof(a));
	else
		slot_path(self, op->a, a, sizeof(a));
	if (op->kind == MOVEDIR)
		folder_path(self, (unsigned)op->b, b, sizeof(b));
	else
		slot_path(self, op->b, b, sizeof(b));
	if (op->kind == CREATE) {
		fd = open_timed(a, O_WRONLY | O_CREAT | O_EXCL, op->mode, CREATE);
		err = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (op->kind == WRITE || op->kind == FSYNC || op->kind == PUNCH)
		return call_on_open(op, a, done);
	if (op->kind == UNLINK)
		return call_unlink(a, op->mode);
	if (op->kind == SETXATTR)
		pattern(op->tag, 0, bytes, op->size);
	t = timing_now_ns();
	switch (op->kind) {
	case TRUNCATE:
		err = truncate(a, (off_t)op->size);
		break;
	case RENAME:
	case MOVEDIR:
		err = rename(a, b);
		break;
	case EXCHANGE:
		err = renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		break;
	case LINK:
		err = link(a, b);
		break;
	case CHMOD:
		err = chmod(a, op->mode);
		break;
	case SETXATTR:
		err = setxattr(a, XATTR_NAME, bytes, op->size, 0);
		break;
	case REMOVEXATTR:
		err = removexattr(a, XATTR_NAME);
		break;
	case MKDIR:
		err = mkdir(a, 0755);
		break;
	default:
		err = rmdir(a);
	}
	err = err ? errno : 0;
	note(op->kind, t);
	return err;
}

/* Calls that free space have to work on a full disk. */
static bool may_lack_space(const struct op *op)
{
	if (!shared->full || op->kind == UNLINK || op->kind == RMDIR)
		return false;
	return op->kind != TRUNCATE || op->size > model_file(model, op->a)->size;
}

bool perform(struct op *op)
{
	int expected = model_expect(model, op), err;
	uint64_t done;
	char text[200];

	describe(op, text, sizeof(text));
	fprintf(trace, "%s", text);
	fflush(trace);
	err = call_path(op, &done);
	atomic_fetch_add(&shared->calls, 1);
	/* The daemon may have died in the middle of a write: then the write was short. */
	if ((err != expected || done < op->size) && daemon_is_gone()) {
		fprintf(trace, ": in flight\n");
		fflush(trace);
		flight = (struct flight){
			.is = true, .op = *op, .done = err || op->kind != WRITE ? 0 : done};
		return false;
	}
	fprintf(trace, ": %d %llu\n", err, (unsigned long long)done);
	if (err == ENOSPC && !expected && may_lack_space(op)) {
		atomic_fetch_add(&shared->no_space, 1);
		chooser.hungry = HUNGRY;
		chooser.big_slot = NOTHING;
		return true;
	}
	if (err != expected || (op->kind == WRITE && !err && done < op->size && !shared->full))
		return wrong("%s: said %s, %llu bytes; expected %s", text, strerror(err),
			     (unsigned long long)done, strerror(expected));
	if (err)
		return true;
	if (op->kind == WRITE)
		op->size = done;
	model_apply(model, op);
	return true;
}
