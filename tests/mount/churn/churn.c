/*
 * churn.c - writers that know what must be there, and readers beside them.
 *
 * usage: churn FOLDER LOGS WRITERS READERS SLOTS QUOTA_MIB SEED
 *
 * Works in FOLDER on the mount. Each writer is a process that keeps a model of what its
 * system calls have made (model.h). It survives the daemon: when that is killed,
 * it remembers the call that was in flight and waits. In LOGS, outside of the mount, a
 * text per writer says each call before it is made and how it ended ("w3.log").
 * Commands come on stdin, one per line; each is answered by one line that begins with
 * "ok" or with "failed" (then stderr says why):
 *
 *   fill N            once, before all else: the folders, and N files for the readers
 *   load [writeback] [full] [big]
 *                     start the load, answered at once. writeback: how the mount was
 *                     made. full: ENOSPC is an answer to expect. big: files up to 64 MiB too
 *   stop              end the load (after a kill: wait for its end)
 *   verify            compare what is there with the models; afterwards they are the same
 *   empty             delete all that the writers made; ENOSPC is no answer to this
 *   report            how long calls took, as lines that begin with "# "; the answer is
 *                     "ok MILLISECONDS CALL" of the slowest
 *   end               end, as the end of stdin does
 *
 * What has to hold after a kill, for each writer: everything is as it was after the
 * last call that returned, or as if the one in flight had been done. Of a write in
 * flight a first part may be there. With "writeback" a write counts once its close has
 * returned; before, any of its pages may be there, and the size in between.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/mount/churn/choose.h"
#include "tests/mount/churn/model.h"
#include "tests/mount/churn/timing.h"

#define WORKERS_MAX 64u
#define PATH_BYTES 64u
#define CHUNK_BYTES 65536u
#define XATTR_NAME "user.churn"
#define FILL_TAG 1000000u

/* ---- how long calls took ---- */

enum { OPEN = KINDS, READ, STAT, READDIR, CLOSE, CALLS };

static const char *const call_names[CALLS] = {
	"create", "write", "truncate", "punch",       "fsync", "rename", "exchange",        "link",
	"unlink", "chmod", "setxattr", "removexattr", "mkdir", "rmdir",  "rename a folder", "open",
	"read",   "stat",  "readdir",  "close",
};

/* What all processes share. */
static struct shared {
	atomic_bool stop, failed;
	bool writeback, full, big;
	unsigned fill;
	uint64_t started_ns;
	atomic_uint_fast64_t calls, no_space, in_flight, partial;
	struct timing timing[CALLS];
} * shared;

static void report(void)
{
	unsigned slowest = 0;

	for (unsigned c = 0; c < CALLS; c++) {
		const struct timing *t = &shared->timing[c];
		uint64_t n = atomic_load(&t->count);

		if (!n)
			continue;
		if (atomic_load(&t->max_ns) > atomic_load(&shared->timing[slowest].max_ns))
			slowest = c;
		printf("# %-15s %9llu; ms: p50 %.3f, p99 %.2f, p99.9 %.1f, max %.1f at %.1f s\n",
		       call_names[c], (unsigned long long)n, timing_ms(t, n / 2),
		       timing_ms(t, n / 100), timing_ms(t, n / 1000),
		       (double)atomic_load(&t->max_ns) / 1e6,
		       (double)(atomic_load(&t->max_at_ns) - shared->started_ns) / 1e9);
	}
	printf("ok %llu %s\n",
	       (unsigned long long)atomic_load(&shared->timing[slowest].max_ns) / 1000000,
	       call_names[slowest]);
}

static void note(unsigned call, uint64_t since_ns)
{
	timing_note(&shared->timing[call], since_ns);
}

/* ---- one process ---- */

static const char *root, *logs;
static unsigned writers_count, readers_count, slots_count;
static unsigned self; /* this writer's or reader's number */
static struct chooser chooser = {.big_slot = NOTHING};
static FILE *trace;
static struct model *model, *after;
static struct op flying; /* the call in flight when the daemon died */
static bool in_flight;
static uint64_t flying_done;  /* of a write: bytes known to be written */
static uint8_t *bytes, *want; /* WRITE_BYTES_MAX; CHUNK_BYTES */

/* Something is not as it has to be. Tells it with this process's last calls; returns false. */
static bool wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool wrong(const char *format, ...)
{
	va_list args;

	atomic_store(&shared->failed, true);
	fprintf(stderr, "w%u: ", self);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

static bool daemon_is_gone(void)
{
	struct statvfs s;

	return statvfs(".", &s) && (errno == ENOTCONN || errno == ECONNABORTED);
}

static void describe(const struct op *op, char *out, size_t size)
{
	snprintf(out, size, "%s %d %d offset=%llu size=%llu tag=%llu mode=%o%s",
		 call_names[op->kind], op->a, op->b, (unsigned long long)op->offset,
		 (unsigned long long)op->size, (unsigned long long)op->tag, op->mode,
		 op->append ? " append" : "");
}

/* ---- making a call ---- */

static int open_timed(const char *path, int flags, mode_t mode, unsigned call)
{
	uint64_t t = now_ns();
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode);

	note(call, t);
	return fd;
}

/* Carry out `op` on the open file. 0, or the errno; of a write, `*done` bytes were written. */
static int call_fd(const struct op *op, int fd, uint64_t *done)
{
	uint64_t t;
	ssize_t n = 0;

	if (op->kind == WRITE)
		pattern(op->tag, op->offset, bytes, op->size);
	t = now_ns();
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
	int fd = open_timed(path, O_WRONLY | (op->append ? O_APPEND : 0), 0, OPEN), e;
	uint64_t t;

	if (fd < 0)
		return errno;
	e = call_fd(op, fd, done);
	t = now_ns();
	if (close(fd) && !e && shared->writeback)
		e = errno;
	note(CLOSE, t);
	return e;
}

/* As a program that replaces a file does: it stays open while its last name goes. */
static int call_unlink(const char *path, bool held)
{
	int fd = held ? open_timed(path, O_RDONLY, 0, OPEN) : -1, e;
	uint64_t t = now_ns();

	e = unlink(path) ? errno : 0;
	note(UNLINK, t);
	if (fd >= 0)
		close(fd);
	return e;
}

static int call(const struct op *op, uint64_t *done)
{
	char a[PATH_BYTES], b[PATH_BYTES];
	bool folders = op->kind >= MKDIR;
	uint64_t t;
	int e, fd;

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
		e = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
		return e;
	}
	if (op->kind == WRITE || op->kind == FSYNC || op->kind == PUNCH)
		return call_on_open(op, a, done);
	if (op->kind == UNLINK)
		return call_unlink(a, op->mode);
	if (op->kind == SETXATTR)
		pattern(op->tag, 0, bytes, op->size);
	t = now_ns();
	switch (op->kind) {
	case TRUNCATE:
		e = truncate(a, (off_t)op->size);
		break;
	case RENAME:
	case MOVEDIR:
		e = rename(a, b);
		break;
	case EXCHANGE:
		e = renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
		break;
	case LINK:
		e = link(a, b);
		break;
	case CHMOD:
		e = chmod(a, op->mode);
		break;
	case SETXATTR:
		e = setxattr(a, XATTR_NAME, bytes, op->size, 0);
		break;
	case REMOVEXATTR:
		e = removexattr(a, XATTR_NAME);
		break;
	case MKDIR:
		e = mkdir(a, 0755);
		break;
	default:
		e = rmdir(a);
	}
	e = e ? errno : 0;
	note(op->kind, t);
	return e;
}

/* What gives space back works on a full disk. */
static bool may_lack_space(const struct op *op)
{
	if (!shared->full || op->kind == UNLINK || op->kind == RMDIR)
		return false;
	return op->kind != TRUNCATE || op->size > model_file(model, op->a)->size;
}

/* Make the call and note what it did. False: the daemon is gone, or something is wrong. */
static bool perform(struct op *op)
{
	int expected = model_expect(model, op), e;
	uint64_t done;
	char text[200];

	describe(op, text, sizeof(text));
	fprintf(trace, "%s", text);
	fflush(trace);
	e = call(op, &done);
	atomic_fetch_add(&shared->calls, 1);
	/* A short write may be one whose rest went down with the daemon. */
	if ((e != expected || done < op->size) && daemon_is_gone()) {
		fprintf(trace, ": in flight\n");
		fflush(trace);
		flying = *op;
		in_flight = true;
		flying_done = e || op->kind != WRITE ? 0 : done;
		return false;
	}
	fprintf(trace, ": %d %llu\n", e, (unsigned long long)done);
	if (e == ENOSPC && !expected && may_lack_space(op)) {
		atomic_fetch_add(&shared->no_space, 1);
		chooser.hungry = HUNGRY;
		chooser.big_slot = NOTHING;
		return true;
	}
	if (e != expected || (op->kind == WRITE && !e && done < op->size && !shared->full))
		return wrong("%s: said %s, %llu bytes; expected %s", text, strerror(e),
			     (unsigned long long)done, strerror(expected));
	if (e)
		return true;
	if (op->kind == WRITE)
		op->size = done;
	model_apply(model, op);
	return true;
}

/* ---- comparing ---- */

/* How many of the `size` bytes at `offset` are those of `f`; -1: they cannot be read. */
static int64_t same_bytes(int fd, const struct file *f, uint64_t offset, uint64_t size)
{
	for (uint64_t at = offset; at < offset + size;) {
		size_t n = offset + size - at < CHUNK_BYTES ? offset + size - at : CHUNK_BYTES;
		ssize_t got = pread(fd, bytes, n, (off_t)at);

		if (got < 0)
			return -1;
		file_bytes(f, at, want, n);
		for (size_t i = 0; i < (size_t)got; i++)
			if (bytes[i] != want[i])
				return (int64_t)(at + i - offset);
		if ((size_t)got < n)
			return (int64_t)(at + (uint64_t)got - offset);
		at += n;
	}
	return (int64_t)size;
}

/* Why the file at `path` is not `f`, in `why`; false: it is. */
static bool differs(const char *path, const struct file *f, char *why, size_t size)
{
	ssize_t got;
	struct stat st;
	int64_t same;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st)) {
		snprintf(why, size, "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return true;
	}
	*why = '\0';
	got = fgetxattr(fd, XATTR_NAME, bytes, XATTR_BYTES_MAX);
	pattern(f->xattr_tag, 0, want, f->xattr_size);
	if (got < 0 ? f->xattr_size || errno != ENODATA :
		      (size_t)got != f->xattr_size || memcmp(bytes, want, (size_t)got) != 0)
		snprintf(why, size, "the attribute is not the one of %u bytes", f->xattr_size);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 07777) != f->mode || st.st_nlink != f->links)
		snprintf(why, size, "mode %o and %lu links, expected %o and %u", st.st_mode,
			 (unsigned long)st.st_nlink, f->mode, f->links);
	if ((uint64_t)st.st_size != f->size) {
		snprintf(why, size, "size %llu, expected %llu", (unsigned long long)st.st_size,
			 (unsigned long long)f->size);
	} else {
		same = same_bytes(fd, f, 0, f->size);
		if (same < (int64_t)f->size)
			snprintf(why, size, "of %llu bytes, %lld are right",
				 (unsigned long long)f->size, (long long)same);
	}
	close(fd);
	return *why;
}

/* Do the names in `folder` agree with `m`? */
static bool same_names(const struct model *m, unsigned folder, char *why, size_t size)
{
	char path[PATH_BYTES], prefix[PATH_BYTES];
	unsigned seen = 0, expected = 0;
	struct dirent *e;
	DIR *dir;

	folder_path(self, folder, path, sizeof(path));
	snprintf(prefix, sizeof(prefix), "w%u.", self);
	dir = opendir(path);
	if (!dir) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return !m->folder[folder] && errno == ENOENT;
	}
	for (unsigned s = folder; s < m->slots_count; s += FOLDERS)
		expected += m->slot[s] != NOTHING;
	if (!folder)
		expected += m->folder[1] + m->folder[2];
	while ((e = readdir(dir)))
		if (*e->d_name != '.' &&
		    (folder != SHARED || !strncmp(e->d_name, prefix, strlen(prefix))))
			seen++;
	closedir(dir);
	snprintf(why, size, "%s: %u names, expected %u", path, seen, expected);
	return m->folder[folder] && seen == expected;
}

/* Is everything as in `m`? Each name is looked up, and the number of names is right. */
static bool same(const struct model *m, char *why, size_t size)
{
	char path[PATH_BYTES];
	ino_t *inodes = calloc(m->slots_count, sizeof(*inodes));
	struct stat st;
	bool right = inodes != NULL;
	size_t n;

	for (unsigned f = 0; right && f < FOLDERS; f++)
		right = same_names(m, f, why, size);
	for (int s = 0; right && s < (int)m->slots_count; s++) {
		int i = m->slot[s];

		if (i == NOTHING)
			continue;
		slot_path(self, s, path, sizeof(path));
		n = (size_t)snprintf(why, size, "%s: ", path);
		if (stat(path, &st)) {
			snprintf(why + n, size - n, "%s", strerror(errno));
			right = false;
		} else if (inodes[i]) {
			snprintf(why + n, size - n, "is not the file of its other name");
			right = st.st_ino == inodes[i];
		} else {
			inodes[i] = st.st_ino;
			right = !differs(path, &m->files[i], why + n, size - n);
		}
	}
	free(inodes);
	return right;
}

/* ---- after a kill ---- */

/*
 * The first part of the write in flight that is there, which becomes the model's: as
 * long as the size, or else the bytes, say.
 */
static bool settle_part(void)
{
	const struct file *f;
	struct stat st;
	char path[PATH_BYTES];
	struct op part = flying;
	int64_t done;
	int fd;

	slot_path(self, flying.a, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	f = model_file(after, flying.a);
	done = fstat(fd, &st) ? -1 : same_bytes(fd, f, flying.offset, flying.size);
	close(fd);
	if (done <= 0 || (uint64_t)done < flying_done)
		return false;
	part.size = (uint64_t)done;
	model_apply(model, &part);
	return true;
}

/* A write that nobody closed, with writeback: each byte is the old or the new one. */
static bool settle_pages(void)
{
	const struct file *old = model_file(model, flying.a), *new = model_file(after, flying.a);
	struct op cut = {.kind = TRUNCATE, .a = flying.a};
	static uint8_t other[CHUNK_BYTES];
	char path[PATH_BYTES];
	struct stat st;
	bool right;
	int fd;

	slot_path(self, flying.a, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	right = fd >= 0 && !fstat(fd, &st) && (uint64_t)st.st_size >= old->size &&
		(uint64_t)st.st_size <= new->size;
	for (off_t at = 0; right && at < st.st_size; at += CHUNK_BYTES) {
		ssize_t got = pread(fd, bytes, CHUNK_BYTES, at);

		right = got > 0;
		file_bytes(old, (uint64_t)at, want, CHUNK_BYTES);
		file_bytes(new, (uint64_t)at, other, CHUNK_BYTES);
		for (ssize_t i = 0; right && i < got; i++)
			right = bytes[i] == want[i] || bytes[i] == other[i];
	}
	if (fd >= 0)
		close(fd);
	/* Which page is which the model cannot say: it goes on with an empty file. */
	if (!right || truncate(path, 0))
		return false;
	model_apply(model, &cut);
	return true;
}

static bool verify(void)
{
	char why[300], why_after[300], text[200];
	bool right;

	if (!in_flight) {
		if (!same(model, why, sizeof(why)))
			return wrong("%s", why);
		return true;
	}
	in_flight = false;
	atomic_fetch_add(&shared->in_flight, 1);
	describe(&flying, text, sizeof(text));
	memcpy(after, model, sizeof(*after));
	if (model_expect(model, &flying) == 0)
		model_apply(after, &flying);
	if (same(after, why_after, sizeof(why_after))) {
		memcpy(model, after, sizeof(*model));
		return true;
	}
	if (!flying_done && same(model, why, sizeof(why)))
		return true;
	right = flying.kind == WRITE && model_file(model, flying.a) &&
		(shared->writeback ? settle_pages() : settle_part()) &&
		same(model, why, sizeof(why));
	if (right)
		atomic_fetch_add(&shared->partial, 1);
	return right ? true :
		       wrong("in flight: %s (%llu bytes known to be written)\n"
			     "  not done: %s\n  done: %s",
			     text, (unsigned long long)flying_done, why, why_after);
}

static bool empty(void)
{
	struct op op;
	bool going = true;

	shared->full = false;
	for (int s = 0; going && s < (int)slots_count; s++) {
		op = (struct op){.kind = UNLINK, .a = s};
		if (model_file(model, s))
			going = perform(&op);
	}
	return going;
}

/* ---- readers ---- */

/* What was to be read is not there: false, and something is wrong unless the daemon is gone. */
static bool unreadable(const char *path)
{
	int e = errno;

	return daemon_is_gone() ? false : wrong("%s: %s", path, strerror(e));
}

static uint64_t fill_size(unsigned i)
{
	return i % 8 ? 100 + (i * 7919u) % 20000 : 1 + (i * 104729u) % (4u << 20);
}

static void fill_path(unsigned i, char *out, size_t size)
{
	snprintf(out, size, "filled/%u", i);
}

static bool fill(unsigned count)
{
	char path[PATH_BYTES];

	shared->fill = count;
	if (mkdir("filled", 0755))
		return wrong("filled: %s", strerror(errno));
	for (unsigned i = 0; i < count; i++) {
		int fd;

		fill_path(i, path, sizeof(path));
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		for (uint64_t at = 0; fd >= 0 && at < fill_size(i); at += CHUNK_BYTES) {
			size_t n =
				fill_size(i) - at < CHUNK_BYTES ? fill_size(i) - at : CHUNK_BYTES;

			pattern(FILL_TAG + i, at, bytes, n);
			if (write(fd, bytes, n) != (ssize_t)n)
				return wrong("%s: %s", path, strerror(errno));
		}
		if (fd < 0 || close(fd))
			return wrong("%s: %s", path, strerror(errno));
	}
	return true;
}

/* A part of a filled file, not from the kernel's cache. */
static bool read_filled(void)
{
	unsigned i = (unsigned)below(&chooser, shared->fill);
	uint64_t size = fill_size(i), offset = below(&chooser, size), t;
	char path[PATH_BYTES];
	ssize_t got;
	int fd;

	fill_path(i, path, sizeof(path));
	fd = open_timed(path, O_RDONLY, 0, OPEN);
	if (fd < 0)
		return unreadable(path);
	if (size - offset > CHUNK_BYTES)
		size = offset + CHUNK_BYTES;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	t = now_ns();
	got = pread(fd, bytes, size - offset, (off_t)offset);
	note(READ, t);
	close(fd);
	pattern(FILL_TAG + i, offset, want, size - offset);
	if (got < 0)
		return unreadable(path);
	if (got != (ssize_t)(size - offset) || memcmp(bytes, want, size - offset) != 0)
		return wrong("%s: wrong bytes at %llu", path, (unsigned long long)offset);
	return true;
}

/* Some bytes of a file that may change or go meanwhile. */
static bool read_changing(void)
{
	char path[PATH_BYTES];
	ssize_t got;
	uint64_t t;
	int fd;

	slot_path((unsigned)below(&chooser, writers_count), (int)below(&chooser, slots_count), path,
		  sizeof(path));
	fd = open_timed(path, O_RDONLY, 0, OPEN);
	if (fd < 0)
		return errno == ENOENT || unreadable(path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	t = now_ns();
	got = pread(fd, bytes, CHUNK_BYTES, (off_t)below(&chooser, 200000));
	note(READ, t);
	close(fd);
	return got >= 0 || unreadable(path);
}

static bool list(void)
{
	char path[PATH_BYTES];
	unsigned look = 100;
	bool going = true;
	struct dirent *e;
	struct stat st;
	uint64_t t;
	DIR *dir;

	folder_path((unsigned)below(&chooser, writers_count), (unsigned)below(&chooser, FOLDERS),
		    path, sizeof(path));
	t = now_ns();
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || unreadable(path);
	while (going && (e = readdir(dir))) {
		note(READDIR, t);
		if (look) {
			look--;
			t = now_ns();
			if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
			    errno != ENOENT)
				going = unreadable(path);
			note(STAT, t);
		}
		t = now_ns();
	}
	closedir(dir);
	return going;
}

/* ---- the processes and their commands ---- */

enum command { LOAD = 'l', VERIFY = 'v', EMPTY = 'e' };

static struct worker {
	pid_t pid;
	int to, from;
} workers[WORKERS_MAX];

static bool load_reader(void)
{
	bool going = true;

	while (going && !atomic_load(&shared->stop)) {
		uint64_t dice = below(&chooser, 10);

		going = dice < 5 && shared->fill ? read_filled() :
			dice < 9                 ? read_changing() :
						   list();
	}
	return going;
}

static bool load_writer(void)
{
	struct op op;

	chooser.big = shared->big;
	do
		choose(&chooser, model, &op);
	while (!atomic_load(&shared->stop) && perform(&op));
	fflush(trace);
	return !atomic_load(&shared->failed);
}

static bool obey(char command)
{
	bool writer = self < writers_count, right;

	/* Nothing stays open on a mount that is to be taken away, not even where one is. */
	if (chdir(root)) {
		/* The daemon may be killed before there was a call to make. */
		if (command == LOAD && (errno == ENOTCONN || errno == ECONNABORTED))
			return true;
		return wrong("%s: %s", root, strerror(errno));
	}
	if (command == LOAD)
		right = writer ? load_writer() : load_reader();
	else if (command == EMPTY)
		right = !writer || empty();
	else
		right = !writer || verify();
	if (chdir("/"))
		err(1, "/");
	/* The log is of what came after all was right. */
	if (writer && right && command == VERIFY) {
		rewind(trace);
		right = !ftruncate(fileno(trace), 0);
	}
	return right;
}

static void work(int from, int to)
{
	char command, answer, path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/w%u.log", logs, self);
	trace = fopen(path, "we");
	model = malloc(sizeof(*model));
	after = malloc(sizeof(*after));
	if (!trace || !model || !after)
		err(1, "%s", path);
	model_init(model, slots_count);
	while (read(from, &command, 1) == 1) {
		answer = obey(command);
		if (write(to, &answer, 1) != 1)
			break;
	}
	_exit(0);
}

static void start_worker(unsigned i)
{
	struct worker *w = &workers[i];
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		err(1, "pipe");
	w->to = to[1];
	w->from = from[0];
	w->pid = fork();
	if (w->pid < 0)
		err(1, "fork");
	if (!w->pid) {
		/* Else it would wait for commands from itself after the parent has ended. */
		for (unsigned k = 0; k <= i; k++)
			close(workers[k].to);
		self = i;
		chooser.seed += i * 0x9e3779b97f4a7c15u;
		for (int k = 0; k < 20; k++)
			random64(&chooser);
		work(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
}

static void tell_all(char command)
{
	for (unsigned i = 0; i < writers_count + readers_count; i++)
		if (write(workers[i].to, &command, 1) != 1)
			err(1, "telling w%u", i);
}

/* All have done what they were told, and nothing was wrong. */
static bool wait_all(void)
{
	bool right = true;
	char answer;

	for (unsigned i = 0; i < writers_count + readers_count; i++)
		right &= read(workers[i].from, &answer, 1) == 1 && answer;
	return right;
}

static bool set_up(unsigned fill_count)
{
	char path[PATH_BYTES];
	bool right = !chdir(root) && !mkdir("shared", 0755);

	for (unsigned i = 0; right && i < writers_count; i++) {
		snprintf(path, sizeof(path), "w%u", i);
		right = !mkdir(path, 0755);
	}
	right = right && fill(fill_count);
	return !chdir("/") && right;
}

static bool start_load(const char *how)
{
	shared->writeback = strstr(how, "writeback");
	shared->full = strstr(how, "full");
	shared->big = strstr(how, "big");
	atomic_store(&shared->stop, false);
	tell_all(LOAD);
	return true;
}

static bool run(char *line)
{
	if (!strncmp(line, "fill ", 5))
		return set_up((unsigned)strtoul(line + 5, NULL, 10));
	if (!strncmp(line, "load", 4))
		return start_load(line + 4);
	if (!strcmp(line, "stop")) {
		atomic_store(&shared->stop, true);
		return wait_all();
	}
	if (strcmp(line, "verify") != 0 && strcmp(line, "empty") != 0)
		return wrong("no such command: %s", line);
	tell_all(*line == 'v' ? VERIFY : EMPTY);
	return wait_all();
}

int main(int argc, char **argv)
{
	char line[100];

	if (argc != 8)
		errx(2, "usage: churn FOLDER LOGS WRITERS READERS SLOTS QUOTA_MIB SEED");
	root = argv[1];
	logs = argv[2];
	writers_count = (unsigned)strtoul(argv[3], NULL, 10);
	readers_count = (unsigned)strtoul(argv[4], NULL, 10);
	slots_count = (unsigned)strtoul(argv[5], NULL, 10) / FOLDERS * FOLDERS;
	chooser.quota_bytes = strtoull(argv[6], NULL, 10) << 20;
	chooser.seed = strtoull(argv[7], NULL, 10) + 88172645463325252u;
	if (writers_count + readers_count > WORKERS_MAX || !slots_count || slots_count > SLOTS_MAX)
		errx(2, "too many workers or slots, or none");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	bytes = malloc(WRITE_BYTES_MAX);
	want = malloc(CHUNK_BYTES);
	umask(0);
	if (shared == MAP_FAILED || !bytes || !want)
		err(1, "memory");
	shared->started_ns = now_ns();
	for (unsigned i = 0; i < writers_count + readers_count; i++)
		start_worker(i);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "end"))
			break;
		if (!strcmp(line, "report"))
			report();
		else if (run(line))
			printf("ok %llu calls, %llu without room, %llu in flight, of these %llu "
			       "partly done\n",
			       (unsigned long long)atomic_load(&shared->calls),
			       (unsigned long long)atomic_load(&shared->no_space),
			       (unsigned long long)atomic_load(&shared->in_flight),
			       (unsigned long long)atomic_load(&shared->partial));
		else
			printf("failed %s\n", line);
		fflush(stdout);
	}
	return 0;
}
