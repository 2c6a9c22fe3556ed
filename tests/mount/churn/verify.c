/*
 * verify.c - the files of a writer of churn, compared with its model.
 */
#include "tests/mount/churn/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/mount/churn/worker.h"

static struct model *after; /* the model with the call in flight */

/* Return how many of the `size` bytes at `offset` are those of `f`; -1 if reading fails. */
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

/* Return whether the file at `path` is another one than `f`, with the reason in `why`. */
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

/* Return whether there are as many names in `folder` as in `m`, with a reason in `why`. */
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

/* Return whether everything is as in `m`: each name is there with its file, and no other name. */
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
 * Look how much of the write in flight was done, from its beginning, and change the model by
 * that. Returns false if it is nothing, or less than the daemon has acknowledged.
 */
static bool accept_first_part(void)
{
	const struct file *f;
	struct stat st;
	char path[PATH_BYTES];
	struct op part = flight.op;
	int64_t done;
	int fd;

	slot_path(self, flight.op.a, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	f = model_file(after, flight.op.a);
	done = fstat(fd, &st) ? -1 : same_bytes(fd, f, flight.op.offset, flight.op.size);
	close(fd);
	if (done <= 0 || (uint64_t)done < flight.done)
		return false;
	part.size = (uint64_t)done;
	model_apply(model, &part);
	return true;
}

/*
 * Check a write that was not closed, with writeback: each byte is the old or the new one.
 * The model cannot keep which byte is which, so the file is made empty, in both.
 */
static bool accept_old_and_new(void)
{
	const struct file *old = model_file(model, flight.op.a),
			  *new = model_file(after, flight.op.a);
	struct op cut = {.kind = TRUNCATE, .a = flight.op.a};
	static uint8_t other[CHUNK_BYTES];
	char path[PATH_BYTES];
	struct stat st;
	bool right;
	int fd;

	slot_path(self, flight.op.a, path, sizeof(path));
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
	if (!right || truncate(path, 0))
		return false;
	model_apply(model, &cut);
	return true;
}

bool verify(void)
{
	char why[300], why_after[300], text[200];
	bool right;

	if (!flight.is) {
		if (!same(model, why, sizeof(why)))
			return wrong("%s", why);
		return true;
	}
	flight.is = false;
	atomic_fetch_add(&shared->in_flight, 1);
	describe(&flight.op, text, sizeof(text));
	if (!after)
		after = malloc(sizeof(*after));
	if (!after)
		return wrong("no memory for a second model");
	memcpy(after, model, sizeof(*after));
	if (model_expect(model, &flight.op) == 0)
		model_apply(after, &flight.op);
	if (same(after, why_after, sizeof(why_after))) {
		memcpy(model, after, sizeof(*model));
		return true;
	}
	if (!flight.done && same(model, why, sizeof(why)))
		return true;
	right = flight.op.kind == WRITE && model_file(model, flight.op.a) &&
		(shared->writeback ? accept_old_and_new() : accept_first_part()) &&
		same(model, why, sizeof(why));
	if (right)
		atomic_fetch_add(&shared->partial, 1);
	return right ? true :
		       wrong("in flight: %s (%llu bytes known to be written)\n"
			     "  not done: %s\n  done: %s",
			     text, (unsigned long long)flight.done, why, why_after);
}
