/*
 * test_damage_fs.c - the files of a filesystem's store are damaged.
 *
 * A small store, made by the workload of fs_workload.h, is damaged in every way damages.h
 * knows; a large one in a local directory, of more than 100 MiB, gets one random bit
 * wrong at a time. Whatever was done:
 *
 *   - it does not open, and says why; or each name, attribute and byte is either an error
 *     (EIO) or as it was, and every entry of a directory is there, or reading it is an error;
 *   - if anything is an error, fs_check() finds it, and says the path: of what is lost, or
 *     between which two things it is;
 *   - if fs_check() finds nothing, everything is as it was.
 *
 * Of the large store only what is needed is read: what the check says is damaged must be
 * an error there and right beside it, and some other files must be right.
 *
 * STRIDE=n: see damages.h; of the large store FLIPS=n, SEED=n.
 */
#include "tests/support/damages.h"
#include "tests/support/fs_workload.h"

#define STRIDE_DEFAULT 29
#define FLIPS_DEFAULT 30
#define WATCHDOG_SECONDS 900
#define FINDINGS_BYTES (64u << 10)

/* ---- what is lost, and what is found ---- */

struct found {
	char text[FINDINGS_BYTES]; /* all findings, a line each */
	size_t size;
	unsigned lost; /* paths that were an error */
	char error[512];
};

static bool found_wrong(struct found *f, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static bool found_wrong(struct found *f, const char *format, ...)
{
	va_list args;

	if (f->error[0])
		return false;
	va_start(args, format);
	vsnprintf(f->error, sizeof(f->error), format, args);
	va_end(args);
	return false;
}

static void take_finding(void *ctx, const char *text)
{
	struct found *f = ctx;

	if (f->size < sizeof(f->text))
		f->size += (size_t)snprintf(f->text + f->size, sizeof(f->text) - f->size, " %s\n",
					    text);
}

/* Does a finding name just this path? */
static bool is_named(const struct found *f, const char *path)
{
	size_t size = strlen(path);

	for (const char *at = f->text; (at = strstr(at, path)); at++)
		if (at[-1] == ' ' && strchr(",:; \n", at[size]))
			return true;
	return false;
}

/*
 * `path` was an error: it must be among the findings (`named`: another path of it is), or
 * within one that says no single path.
 */
static void lose_path(struct found *f, const char *path, bool named, int rc, const char *what)
{
	f->lost++;
	if (rc != -EIO)
		found_wrong(f, "%s of %s: %s", what, path, strerror(-rc));
	else if (!f->size)
		found_wrong(f, "%s of %s is an error, and the check finds nothing", what, path);
	else if (!named && !is_named(f, path) && !strstr(f->text, "something between"))
		found_wrong(f, "%s of %s is an error, and the check says only: %s", what, path,
			    f->text);
}

/* ---- a small store ---- */

static const struct fs_workload workload = {
	"small",
	150,
	60,
	20,
	60,
	7000,
	{.memtable_bytes = 8 << 10,
	 .block_bytes = 512,
	 .table_bytes = 4 << 10,
	 .level1_bytes = 8 << 10,
	 .segment_bytes = 16 << 10,
	 .separate_min = 2048,
	 .l0_compact = 2,
	 .imm_max = 2,
	 .memory_bytes = 4 << 20},
};

struct small {
	struct fs_model m;
	struct found f;
	unsigned refused, damaged, harmless, lost;
	unsigned reported; /* atomic */
};

static void count_report(void *ctx, enum lsm_report_level level, const char *message)
{
	struct small *s = ctx;

	(void)message;
	if (level == LSM_REPORT_ERROR)
		__atomic_fetch_add(&s->reported, 1, __ATOMIC_RELAXED);
}

/* Is any path of `n` named, below directory `d`? A file with several names has several. */
static bool any_named(const struct small *s, int n, int d, const char *path)
{
	const struct node *dir = &s->m.nodes[d];

	for (unsigned i = 0; dir->kind == DIR_NODE && i < FS_MODEL_NAMES; i++) {
		char below_it[512];

		if (dir->names[i] < 0)
			continue;
		snprintf(below_it, sizeof(below_it), "%s/%s", path, name_of(i));
		if ((dir->names[i] == n && is_named(&s->f, below_it)) ||
		    any_named(s, n, dir->names[i], below_it))
			return true;
	}
	return false;
}

static void lose_node(struct small *s, int n, const char *path, int rc, const char *what)
{
	lose_path(&s->f, path, any_named(s, n, 0, ""), rc, what);
}

static void check_tree(struct small *s, struct fs *fs, int n, const char *path);

/* The node `n` of the model, as `st` says it is. */
static void check_node(struct small *s, struct fs *fs, int n, const struct stat *st,
		       const char *path)
{
	static unsigned char bytes[FS_MODEL_BYTES + 1];
	const struct node *node = &s->m.nodes[n];
	struct xattrs xattrs;
	size_t got;
	int rc;

	if (st->st_ino != node->ino || (st->st_mode & 07777) != node->mode ||
	    st->st_uid != node->uid || ns_of(st->st_mtim) != node->mtime ||
	    ns_of(st->st_ctim) != node->ctime ||
	    (node->kind != DIR_NODE &&
	     (st->st_nlink != node->links || (size_t)st->st_size != node->size)))
		found_wrong(&s->f, "%s has wrong attributes", path);
	rc = xattrs_find(fs, st, &xattrs);
	if (rc)
		lose_node(s, n, path, rc, "an attribute");
	else if (memcmp(&xattrs, &node->xattrs, sizeof(xattrs)))
		found_wrong(&s->f, "%s has a wrong attribute", path);
	if (node->kind == DIR_NODE) {
		check_tree(s, fs, n, path);
		return;
	}
	if (node->kind == LINK_NODE) {
		rc = fs_readlink(fs, st->st_ino, (char *)bytes);
		got = rc ? 0 : strlen((char *)bytes);
	} else {
		rc = fs_read(fs, st->st_ino, 0, bytes, sizeof(bytes), &got);
	}
	if (rc)
		lose_node(s, n, path, rc, "the content");
	else if (got != node->size || memcmp(bytes, node->bytes, got) != 0)
		found_wrong(&s->f, "%s has wrong content", path);
}

/* What a listing gives is there; all that is there is given, or an error. */
static void check_listing(struct small *s, struct fs *fs, int n, const char *path)
{
	const struct node *dir = &s->m.nodes[n];
	struct listing l = {.fs = fs};
	struct fs_dir *open;
	int rc = fs_dir_open(fs, dir->ino, &open);

	if (!rc) {
		do {
			l.given = 0;
			rc = fs_dir_read(open, l.next, false, list_entry, &l);
		} while (!rc && l.given);
		fs_dir_close(open);
	}
	/* Without attributes each entry is strange to list_entry(), and counted as that. */
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		l.strange -= dir->names[i] >= 0 && l.strange;
	if (rc)
		lose_node(s, n, *path ? path : "/", rc, "reading");
	else if (l.strange)
		found_wrong(&s->f, "%s has more entries", path);
}

static void check_tree(struct small *s, struct fs *fs, int n, const char *path)
{
	const struct node *dir = &s->m.nodes[n];

	check_listing(s, fs, n, path);
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++) {
		char below_it[512];
		struct stat st;
		int rc = fs_lookup(fs, dir->ino, name_of(i), &st);

		snprintf(below_it, sizeof(below_it), "%s/%s", path, name_of(i));
		if (rc == -ENOENT ? dir->names[i] >= 0 : !rc && dir->names[i] < 0)
			found_wrong(&s->f, "%s %s", below_it, rc ? "is gone" : "was not there");
		else if (rc && rc != -ENOENT)
			lose_node(s, dir->names[i], below_it, rc, "looking up");
		if (rc)
			continue;
		if (!s->f.error[0])
			check_node(s, fs, dir->names[i], &st, below_it);
		fs_forget(fs, st.st_ino, 1);
	}
}

static bool check_copy(void *ctx, struct storage *st, bool mute, bool go_on)
{
	struct fs_options options = {.lsm = workload.lsm, .atime = FS_NOATIME, .acl = true};
	struct fs_check_counts counts;
	struct small *s = ctx;
	struct stat root;
	struct fs *fs;
	int rc;

	(void)mute; /* it was closed: no log is needed */
	(void)go_on;
	s->f.size = s->f.lost = s->reported = 0;
	s->f.text[0] = '\0';
	options.lsm.storage = st;
	options.lsm.report = count_report;
	options.lsm.report_ctx = s;
	rc = fs_open(NULL, &options, &fs);
	if (rc) {
		s->refused++;
		if ((rc != -EUCLEAN && rc != -EPROTONOSUPPORT) || !s->reported)
			found_wrong(&s->f, "opening: %s, %u reports", strerror(-rc), s->reported);
	} else {
		rc = fs_check(fs, take_finding, &s->f, NULL, NULL, &counts);
		if (rc && rc != -EUCLEAN)
			found_wrong(&s->f, "the check: %s", strerror(-rc));
		rc = fs_getattr(fs, FS_ROOT_INO, &root);
		if (rc)
			lose_path(&s->f, "/", false, rc, "getattr");
		else
			check_node(s, fs, 0, &root, "");
		s->damaged += counts.findings != 0;
		s->harmless += !counts.findings;
		s->lost += s->f.lost;
		rc = fs_close(fs);
		if (rc)
			found_wrong(&s->f, "closing: %s", strerror(-rc));
	}
	st->ops->free(st);
	return !s->f.error[0];
}

static void finish(void *ctx, const char *what, const char *name, unsigned cases)
{
	struct small *s = ctx;

	ok(!s->f.error[0],
	   "%s: %s, %u cases: %u refused, %u found, %u harmless; %u things unreadable", name, what,
	   cases, s->refused, s->damaged, s->harmless, s->lost);
	s->refused = s->damaged = s->harmless = s->lost = 0;
	s->f.error[0] = '\0';
}

static void test_small(uint64_t seed, uint64_t stride)
{
	struct small *s = model_must(calloc(1, sizeof(*s)));
	struct damages d = {.name = "small",
			    .ctx = s,
			    .check = check_copy,
			    .finish = finish,
			    .error = s->f.error,
			    .rng = {.state = seed}};

	fs_model_init(&s->m, &workload, seed);
	fs_model_start(&s->m);
	fs_model_first(&s->m);
	while (s->m.history.ops_count < s->m.w->ops)
		step(&s->m);
	fs_model_close(&s->m);
	d.st = s->m.history.st;
	ok(check_copy(s, damages_copy(&d), false, false) && s->harmless == 1 && !s->lost,
	   "whole at first%s", s->f.error);
	s->harmless = 0;
	damages_all(&d, stride);
	fs_model_release(&s->m);
	free(s);
}

/* ---- a large store ---- */

#define LARGE_FILES 420u  /* of a quarter of a MiB and more, in segments */
#define SMALL_FILES 8000u /* in tables */
#define LARGE_BYTES_MAX (512u << 10)
#define SAMPLE 4 /* files read after each flip, besides those the check names */

struct large {
	struct fixture fixture;
	struct found f;
	uint64_t seed;
	struct rng rng;
	/* counts */
	unsigned refused, damaged, harmless, unreadable;
	struct damages_file files[256];
	uint64_t total;
	size_t files_count;
};

static bool is_large(unsigned i)
{
	return i < LARGE_FILES;
}

static struct mval content_of(const struct large *l, unsigned i)
{
	struct mval v = {rng_mix(l->seed + i) >> 1 | 1, 0, 0};

	v.size = is_large(i) ? (256u << 10) + (uint32_t)(v.seed >> 20) % (256u << 10) :
			       (uint32_t)(v.seed >> 20) % 3000;
	return v;
}

static void path_of(unsigned i, char dir[16], char name[16])
{
	snprintf(dir, 16, "d%u", i % 20);
	snprintf(name, 16, "file%u", i);
}

static void large_make(struct large *l)
{
	unsigned char *bytes = model_must(malloc(LARGE_BYTES_MAX));
	uint64_t dirs[20];

	fixture_init(&l->fixture);
	l->fixture.quiet = true;
	for (unsigned i = 0; i < 20; i++) {
		char dir[16], name[16];

		path_of(i, dir, name);
		dirs[i] = mk_dir(l->fixture.fs, FS_ROOT_INO, dir);
	}
	for (unsigned i = 0; i < LARGE_FILES + SMALL_FILES; i++) {
		struct mval v = content_of(l, i);
		char dir[16], name[16];
		uint64_t ino;

		path_of(i, dir, name);
		ino = mk_file(l->fixture.fs, dirs[i % 20], name);
		mval_fill(v, 0, bytes, v.size);
		must(fs_write(l->fixture.fs, ino, 0, bytes, v.size, 0, NULL), "write");
		fs_forget(l->fixture.fs, ino, 1);
	}
	must(fs_compact(l->fixture.fs, NULL, NULL), "compact");
	fixture_close(&l->fixture);
	free(bytes);
}

static int large_take_file(const char *path, const struct stat *st, int type, struct FTW *ftw);

static struct large *listing_of; /* nftw() has no argument to pass on */

static int large_take_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct large *l = listing_of;
	struct damages_file *f = &l->files[l->files_count];

	if (type != FTW_F || !strcmp(path + ftw->base, "RESERVE") ||
	    strstr(path + ftw->base, ".log"))
		return 0;
	if (l->files_count == sizeof(l->files) / sizeof(l->files[0]))
		bail("too many files");
	snprintf(f->name, sizeof(f->name), "%s", path + ftw->base);
	f->size = (uint64_t)st->st_size;
	l->total += f->size;
	l->files_count++;
	return 0;
}

/* Invert the bits of `mask` in one byte. */
static void large_flip(const struct large *l, const char *name, uint64_t at, unsigned char mask)
{
	char path[160];
	unsigned char byte;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", l->fixture.store, name);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &byte, 1, (off_t)at) != 1)
		bail("%s: %s", path, strerror(errno));
	byte ^= mask;
	if (pwrite(fd, &byte, 1, (off_t)at) != 1)
		bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* File `i` reads right, or is an error where the check says so. */
static void large_read(struct large *l, unsigned i)
{
	static unsigned char bytes[LARGE_BYTES_MAX];
	struct mval v = content_of(l, i);
	char dir[16], name[16], path[40];
	struct stat d, st;
	size_t got;
	int rc;

	path_of(i, dir, name);
	snprintf(path, sizeof(path), "/%s/%s", dir, name);
	rc = fs_lookup(l->fixture.fs, FS_ROOT_INO, dir, &d);
	if (rc) {
		lose_path(&l->f, path, false, rc, "looking up the directory");
		return;
	}
	rc = fs_lookup(l->fixture.fs, d.st_ino, name, &st);
	fs_forget(l->fixture.fs, d.st_ino, 1);
	if (rc) {
		lose_path(&l->f, path, false, rc, "looking up");
		return;
	}
	/* In parts: an error is one of the damaged part only. */
	for (uint32_t at = 0; at < v.size; at += 64 << 10) {
		uint32_t size = v.size - at < 64 << 10 ? v.size - at : 64 << 10;

		rc = fs_read(l->fixture.fs, st.st_ino, at, bytes, size, &got);
		if (rc)
			lose_path(&l->f, path, false, rc, "the content");
		else if (got != size || !mval_is_part(v, at, bytes, size))
			found_wrong(&l->f, "%s has wrong content at %u", path, at);
	}
	fs_forget(l->fixture.fs, st.st_ino, 1);
}

/* Read every file that the check names. */
static void large_read_named(struct large *l)
{
	for (const char *at = l->f.text; (at = strstr(at, "/file")); at++)
		large_read(l, (unsigned)strtoul(at + 5, NULL, 10));
}

static bool large_case(struct large *l)
{
	uint64_t at = (uint64_t)((__uint128_t)(rng_next(&l->rng) >> 1) * l->total >> 63);
	unsigned char mask = (unsigned char)(1 << rng_below(&l->rng, 8));
	const struct damages_file *file = l->files;
	struct fs_check_counts counts;
	int rc;

	while (at >= file->size)
		at -= file++->size;
	l->f.size = l->f.lost = 0;
	l->f.text[0] = '\0';
	large_flip(l, file->name, at, mask);
	/* Read only, so that nothing but that byte changes. */
	rc = fs_open(l->fixture.store, &l->fixture.options, &l->fixture.fs);
	if (rc) {
		l->refused++;
		if (rc != -EUCLEAN && rc != -EPROTONOSUPPORT)
			found_wrong(&l->f, "opening: %s", strerror(-rc));
	} else {
		rc = fs_check(l->fixture.fs, take_finding, &l->f, NULL, NULL, &counts);
		if (rc && rc != -EUCLEAN)
			found_wrong(&l->f, "the check: %s", strerror(-rc));
		l->damaged += counts.findings != 0;
		l->harmless += !counts.findings;
		large_read_named(l);
		l->unreadable += l->f.lost;
		for (int i = 0; i < SAMPLE; i++)
			large_read(l, rng_below(&l->rng, LARGE_FILES + SMALL_FILES));
		fixture_close(&l->fixture);
	}
	large_flip(l, file->name, at, mask);
	if (l->f.error[0])
		printf("#   SEED=%" PRIu64 ", byte %" PRIu64 " of %s, mask %02x: %s\n", l->seed, at,
		       file->name, mask, l->f.error);
	return !l->f.error[0];
}

static void test_large(uint64_t seed, uint64_t flips)
{
	struct large *l = model_must(calloc(1, sizeof(*l)));
	uint64_t i;

	l->seed = l->rng.state = seed;
	large_make(l);
	listing_of = l;
	if (nftw(l->fixture.store, large_take_file, 16, FTW_PHYS))
		bail("nftw: %s", strerror(errno));
	ok(l->total > 100 << 20, "a store of %" PRIu64 " MiB", l->total >> 20);
	l->fixture.options.lsm.read_only = true;
	for (i = 0; i < flips && large_case(l); i++)
		;
	ok(!l->f.error[0],
	   "%" PRIu64 " bits wrong, one at a time: %u refused, %u found, %u harmless; %u reads of "
	   "64 KiB lost",
	   i, l->refused, l->damaged, l->harmless, l->unreadable);
	/* It is whole again, and so is all of it. */
	l->f.lost = 0;
	fixture_open(&l->fixture);
	fixture_clean(&l->fixture, "at the end");
	for (unsigned n = 0; n < LARGE_FILES + SMALL_FILES && !l->f.error[0]; n++)
		large_read(l, n);
	ok(!l->f.error[0] && !l->f.lost, "every file is as it was");
	fixture_release(&l->fixture);
	free(l);
}

int main(void)
{
	uint64_t stride = damages_stride(STRIDE_DEFAULT), seed = cuts_number("SEED", 1);
	uint64_t flips = cuts_number("FLIPS", FLIPS_DEFAULT);

	alarm(stride < STRIDE_DEFAULT || flips > FLIPS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	test_small(seed, stride);
	test_large(seed, flips);
	return done();
}
