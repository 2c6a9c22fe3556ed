/*
 * test_repair.c - every file of a store is damaged, and repaired.
 *
 * A small filesystem with tables on several levels, segments and newer versions above
 * older ones is made; one store of it was closed, one left by a killed process. Then, for
 * bytes all over each of its files, for each cut off and for each missing, fs_repair() is
 * run, and after it:
 *
 *   - the store opens, fs_check() finds nothing, a second repair does nothing;
 *   - each file reads as the bytes it had, or as an error; or it is in lost+found, or gone.
 *     An older state of it is only found where the repair had told that nothing tells of
 *     newer ones: a table that is missing or has lost its end, the log, the manifest;
 *   - of a single wrong byte most files know nothing.
 *
 * Then the power goes at recorded calls of a repair, and calls of it fail: a repair after
 * that does the same as if nothing had been.
 *
 * STRIDE=1 in the environment: every byte; the default takes one of a few.
 */
#include <errno.h>
#include <inttypes.h>

#include "fs/fs.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

#define STRIDE_DEFAULT 101
#define WATCHDOG_SECONDS 900
#define FILES 40u
#define DIRS 4u
#define CHUNK 500u

static const struct fs_cred ROOT = {.privileged = true};

struct file {
	char name[32];
	uint64_t size;
};

struct store {
	const char *name;
	bool killed;
	struct storage *st;
	struct file files[64];
	size_t files_count;
	uint64_t inos[FILES];
	char wrong[300], told[20000];
	bool mute; /* the record that tells what was synced may be gone with its log */
	unsigned lost, stale, kept, refused, cases;
};

static void must(int err, const char *what)
{
	if (err)
		bail("%s: %s", what, strerror(-err));
}

static struct fs_options options_on(struct storage *st)
{
	struct fs_options o = {.lsm = {.storage = st,
				       .create = true,
				       .memory_bytes = 4 << 20,
				       .memtable_bytes = 8 << 10,
				       .block_bytes = 256,
				       .table_bytes = 3 << 10,
				       .level1_bytes = 8 << 10,
				       .segment_bytes = 32 << 10,
				       .l0_compact = 3}};

	return o;
}

static struct storage *copy(struct storage *st)
{
	st = storage_mem_crash(st, STORAGE_MEM_KEEP_ALL, 0);
	if (!st)
		bail("no memory");
	return st;
}

/* ---- the filesystem ---- */

static unsigned versions(unsigned n)
{
	return n % 3 ? 1 : 2;
}

static size_t size_of(unsigned n)
{
	return n % 4 == 1 ? 30000 + 100 * n : n % 4 == 2 ? 5000 : 20 * n + 7;
}

static void fill(unsigned n, unsigned version, char *buf)
{
	for (size_t i = 0; i < size_of(n); i++)
		buf[i] = (char)(n * 7 + version * 101 + i / CHUNK * 13 + i);
}

static void path_of(unsigned n, char *dir, char *name)
{
	sprintf(dir, "dir%u", n % DIRS);
	sprintf(name, "file%02u", n);
}

static void write_version(struct store *s, struct fs *fs, unsigned n, unsigned version)
{
	static char buf[40000];
	char dir[16], name[16];
	struct stat d, st;

	path_of(n, dir, name);
	must(fs_lookup(fs, FS_ROOT_INO, dir, &d), "lookup");
	if (!version)
		must(fs_mknod(fs, &ROOT, d.st_ino, name, S_IFREG | 0644, 0, &st), "mknod");
	else
		must(fs_lookup(fs, d.st_ino, name, &st), "lookup");
	s->inos[n] = st.st_ino;
	fill(n, version, buf);
	must(fs_write(fs, st.st_ino, 0, buf, size_of(n), 0, NULL), "write");
	if (n % 5 == 0 && !version)
		must(fs_link(fs, st.st_ino, FS_ROOT_INO, name, &st), "link");
	fs_forget(fs, st.st_ino, n % 5 == 0 && !version ? 2 : 1);
	fs_forget(fs, d.st_ino, 1);
}

static int take_file(void *ctx, const char *name, uint64_t size)
{
	struct store *s = ctx;

	snprintf(s->files[s->files_count].name, sizeof(s->files[0].name), "%s", name);
	s->files[s->files_count++].size = size;
	return 0;
}

static void make_store(struct store *s)
{
	struct storage *live = storage_mem_new();
	struct fs_options o = options_on(live);
	char dir[16];
	struct stat st;
	struct fs *fs;

	must(fs_open(NULL, &o, &fs), "opening");
	for (unsigned n = 0; n < DIRS; n++) {
		sprintf(dir, "dir%u", n);
		must(fs_mkdir(fs, &ROOT, FS_ROOT_INO, dir, 0755, &st), "mkdir");
	}
	for (unsigned n = 0; n < FILES; n++)
		write_version(s, fs, n, 0);
	must(fs_compact(fs, NULL, NULL), "compacting");
	for (unsigned n = 0; n < FILES; n++)
		if (versions(n) > 1)
			write_version(s, fs, n, 1);
	must(fs_sync(fs), "syncing");
	/* Its record says what was synced; else the log seems to have a torn tail. */
	must(fs_mkdir(fs, &ROOT, FS_ROOT_INO, "after", 0755, &st), "mkdir");
	if (s->killed)
		s->st = copy(live);
	must(fs_close(fs), "closing");
	if (!s->killed)
		s->st = copy(live);
	live->ops->free(live);
	must(s->st->ops->list(s->st, take_file, s), "listing");
}

/* ---- looking at a repaired one ---- */

static void collect(void *ctx, const char *text)
{
	struct store *s = ctx;
	size_t n = strlen(s->told);

	snprintf(s->told + n, sizeof(s->told) - n, "%s\n", text);
}

static void wrong(struct store *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct store *s, const char *format, ...)
{
	va_list args;

	if (s->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(s->wrong, sizeof(s->wrong), format, args);
	va_end(args);
}

static void check_content(struct store *s, struct fs *fs, uint64_t ino, unsigned n, bool *whole,
			  bool *stale)
{
	static char want[2][40000], got[CHUNK];

	fill(n, 0, want[0]);
	fill(n, 1, want[1]);
	for (size_t at = 0; at < size_of(n); at += CHUNK) {
		size_t size = size_of(n) - at < CHUNK ? size_of(n) - at : CHUNK, read;
		int err = fs_read(fs, ino, at, got, size, &read);

		if (!err &&
		    read < size) /* an older record, shorter: what is there has to be right */
			*stale = true;
		if (err == -EIO)
			*whole = false;
		else if (err)
			wrong(s, "file %u: error %d", n, err);
		else if (!memcmp(got, want[versions(n) - 1] + at, read))
			;
		else if (versions(n) > 1 && !memcmp(got, want[0] + at, read))
			*stale = true;
		else
			wrong(s, "file %u, byte %zu: wrong bytes", n, at);
	}
}

static void check_file(struct store *s, struct fs *fs, unsigned n)
{
	bool whole = true, stale = false, found = false;
	char dir[16], name[16], saved[32];
	struct stat d, st;

	path_of(n, dir, name);
	sprintf(saved, "#%" PRIu64, s->inos[n]);
	if (!fs_lookup(fs, FS_ROOT_INO, dir, &d)) {
		int err = fs_lookup(fs, d.st_ino, name, &st);

		if (err && err != -ENOENT)
			wrong(s, "file %u: lookup: %d", n, err);
		found = !err;
		if (found && (uint64_t)st.st_ino != s->inos[n])
			wrong(s, "file %u: another inode", n);
		if (found) {
			check_content(s, fs, st.st_ino, n, &whole, &stale);
			fs_forget(fs, st.st_ino, 1);
		}
		fs_forget(fs, d.st_ino, 1);
	}
	if (!fs_lookup(fs, FS_ROOT_INO, "lost+found", &d)) {
		if (!fs_lookup(fs, d.st_ino, saved, &st)) {
			bool ignored = true;

			check_content(s, fs, st.st_ino, n, &ignored, &stale);
			fs_forget(fs, st.st_ino, 1);
		}
		fs_forget(fs, d.st_ino, 1);
	}
	s->kept += found && whole && !stale;
	s->lost += !found || !whole;
	s->stale += stale;
	if (stale && !s->mute && !strstr(s->told, "missing") && !strstr(s->told, "footer") &&
	    !strstr(s->told, "file is") && !strstr(s->told, "end of a table") &&
	    !strstr(s->told, "the log") && !strstr(s->told, "list of tables") &&
	    !strstr(s->told, "filter") && !strstr(s->told, "manifest"))
		wrong(s, "file %u: an older state, and nothing explains it", n);
}

static void check_repaired(struct store *s, struct storage *st)
{
	struct fs_options o = options_on(st);
	struct fs_repair_counts counts;
	struct fs_check_counts check;
	static char told[sizeof(s->told)];
	struct fs *fs;
	int err;

	memcpy(told, s->told, sizeof(told));
	s->told[0] = '\0';
	err = fs_repair(NULL, &o, collect, s, NULL, NULL, &counts);
	if (err || counts.actions || counts.lost)
		wrong(s, "a second repair: %d: %.200s", err, s->told);
	memcpy(s->told, told, sizeof(told));
	err = fs_open(NULL, &o, &fs);
	if (err) {
		wrong(s, "opening: %d", err);
		return;
	}
	if (fs_check(fs, collect, s, NULL, NULL, &check))
		wrong(s, "a check finds %" PRIu64 " things", check.findings);
	for (unsigned n = 0; n < FILES; n++)
		check_file(s, fs, n);
	err = fs_close(fs);
	if (err)
		wrong(s, "closing: %d", err);
}

/* Repair what was done to a copy of the store. Takes `st`. */
static void repair(struct store *s, struct storage *st, const char *what, const char *name,
		   uint64_t at)
{
	struct fs_options o = options_on(st);
	struct fs_repair_counts counts;
	int err;

	s->told[0] = '\0';
	s->cases++;
	err = fs_repair(NULL, &o, collect, s, NULL, NULL, &counts);
	if (!err)
		check_repaired(s, st);
	else if (err == -ENODATA || err == -EPROTONOSUPPORT)
		s->refused++;
	else
		wrong(s, "error %d: %.200s", err, s->told);
	if (s->wrong[0])
		printf("#   %s, %s %s at %" PRIu64 ": %s\n#   told: %s\n", s->name, name, what, at,
		       s->wrong, s->told);
	st->ops->free(st);
}

static void finish(struct store *s, const char *what, const char *name, bool most)
{
	unsigned all = (s->cases - s->refused) * FILES;

	ok(!s->wrong[0] && (!most || s->lost * 4 <= all),
	   "%s, %s: %s, %u cases: %u refused, %u%% of the files lost something, %u older", s->name,
	   name, what, s->cases, s->refused, all ? s->lost * 100 / all : 0, s->stale);
	s->wrong[0] = '\0';
	s->cases = s->lost = s->stale = s->kept = s->refused = 0;
}

static bool is_newest_log(const struct store *s, const struct file *f)
{
	for (size_t i = 0; i < s->files_count; i++)
		if (strstr(s->files[i].name, ".log") && strcmp(s->files[i].name, f->name) > 0)
			return false;
	return strstr(f->name, ".log");
}

static void test_file(struct store *s, const struct file *f, uint64_t stride)
{
	struct storage_file *file;
	struct storage *st;

	for (uint64_t at = 0; at < f->size && !s->wrong[0]; at += stride) {
		st = copy(s->st);
		must(storage_mem_flip(st, f->name, at, 1 << (at / stride) % 8), "flip");
		repair(s, st, "a bit wrong", f->name, at);
	}
	finish(s, "a bit wrong", f->name, true);
	s->mute = is_newest_log(s, f);
	for (uint64_t part = 0; part < 4 && !s->wrong[0]; part++) {
		st = copy(s->st);
		must(storage_open_file(st, f->name, STORAGE_WRITE, &file), "open");
		must(st->ops->truncate(file, f->size * part / 4), "truncate");
		storage_close(file);
		repair(s, st, "cut off", f->name, f->size * part / 4);
	}
	finish(s, "cut off", f->name, false);
	st = copy(s->st);
	must(st->ops->unlink(st, f->name), "unlink");
	repair(s, st, "missing", f->name, 0);
	finish(s, "missing", f->name, false);
	s->mute = false;
}

static struct storage *damaged(const struct store *s, const char *suffix)
{
	struct storage *st = copy(s->st);

	for (size_t i = 0; i < s->files_count; i++)
		if (strstr(s->files[i].name, suffix)) {
			must(storage_mem_flip(st, s->files[i].name, s->files[i].size / 3, 1),
			     "flip");
			break;
		}
	return st;
}

/* The power goes at any moment of a repair; its calls fail. */
static void test_cuts(struct store *s, const char *suffix, unsigned cuts)
{
	struct storage *st = damaged(s, suffix), *cut;
	struct fs_options o = options_on(st);
	struct fs_repair_counts counts;
	uint64_t from = storage_mem_calls(st), calls;

	storage_mem_record(st, true);
	must(fs_repair(NULL, &o, collect, s, NULL, NULL, &counts), "repairing");
	calls = storage_mem_calls(st);
	for (unsigned i = 0; i <= cuts && !s->wrong[0]; i++) {
		uint64_t at = from + (calls - from) * i / cuts;

		cut = storage_mem_cut(st, at, (enum storage_mem_keep)(i % 3), i);
		if (!cut)
			bail("no memory");
		repair(s, cut, "the power gone", suffix, at);
	}
	finish(s, "the power gone in a repair", suffix, false);
	for (unsigned i = 1; i <= cuts && !s->wrong[0]; i++) {
		int err;

		cut = damaged(s, suffix);
		o = options_on(cut);
		storage_mem_fail(cut, STORAGE_MEM_WRITE + i % 5, 1 + i / 5, i % 2,
				 i % 3 ? ENOSPC : EIO);
		err = fs_repair(NULL, &o, collect, s, NULL, NULL, &counts);
		storage_mem_fail(cut, STORAGE_MEM_ANY, 0, 0, 0);
		if (err == -EUCLEAN)
			wrong(s, "a failing call passes for damage");
		repair(s, cut, "a failed call", suffix, i);
	}
	finish(s, "calls of a repair fail", suffix, false);
	st->ops->free(st);
}

static void test_store(struct store *s, uint64_t stride)
{
	make_store(s);
	if (!s->st)
		bail("no store");
	repair(s, copy(s->st), "whole", "it", 0);
	ok(!s->wrong[0] && s->kept == FILES && !s->told[0], "%s: whole at first", s->name);
	s->cases = s->lost = s->stale = s->kept = 0;
	for (size_t i = 0; i < s->files_count; i++) {
		const struct file *f = &s->files[i];

		if (strcmp(f->name, "LOCK") != 0 && strcmp(f->name, "RESERVE") != 0)
			test_file(s, f, strstr(f->name, ".seg") ? stride * 30 : stride);
	}
	test_cuts(s, ".tab", 60);
	test_cuts(s, ".man", 60);
	test_cuts(s, ".seg", 60);
	s->st->ops->free(s->st);
}

int main(void)
{
	const char *env = getenv("STRIDE");
	uint64_t stride = env ? strtoull(env, NULL, 0) : STRIDE_DEFAULT;
	static struct store closed = {.name = "closed"};
	static struct store killed = {.name = "killed", .killed = true};

	if (!stride)
		stride = 1;
	alarm(stride < STRIDE_DEFAULT ? 0 : WATCHDOG_SECONDS);
	test_store(&closed, stride);
	test_store(&killed, stride);
	return done();
}
