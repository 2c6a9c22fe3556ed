/*
 * fs_check() of a filesystem in use, as `varve scrub` runs it: with threads that change
 * everything beside it, tiny tables and segments so that compaction and collection of
 * segments never rest, it finds nothing; with bytes flipped below it, it does, whatever
 * is cached; it stops when told; and it keeps no space from coming back.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "fs/fs.h"
#include "tests/support/fs_fixture.h"

#define THREADS 3u
#define DIRS 4u
#define NAMES 12u
#define ROUNDS_DEFAULT 6u

static struct fixture f;
static uint64_t dirs[DIRS];
static atomic_bool over;
static atomic_ulong steps;

static unsigned random_below(unsigned *rng, unsigned n)
{
	*rng = *rng * 1103515245u + 12345u;
	return (*rng >> 8) % n;
}

static void init_tiny(void)
{
	fixture_init(&f);
	fixture_close(&f);
	f.options.lsm.memtable_bytes = 64 << 10;
	f.options.lsm.table_bytes = 32 << 10;
	f.options.lsm.level1_bytes = 128 << 10;
	f.options.lsm.segment_bytes = 1 << 20;
	fixture_open(&f);
}

/* ---- beside a busy filesystem ---- */

/* Write, cut, punch and copy; it may have lost its last name meanwhile. */
static void use_content(uint64_t ino, uint64_t other, unsigned *rng)
{
	static const char bytes[300000] = "content";
	struct stat st, want = {.st_size = random_below(rng, 200000)};
	size_t copied;

	switch (random_below(rng, 5)) {
	case 0:
		fs_setattr(f.fs, &ROOT, ino, &want, FS_SET_SIZE, &st);
		break;
	case 1:
		fs_fallocate(f.fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     random_below(rng, 200000), 1 + random_below(rng, 50000));
		break;
	case 2:
		fs_copy_range(f.fs, ino, 0, other, random_below(rng, 100000), 150000, &copied);
		break;
	case 3:
		fs_setxattr(f.fs, ino, "user.large", bytes, random_below(rng, 20000), 0);
		break;
	default:
		fs_write(f.fs, ino, random_below(rng, 100000), bytes,
			 1 + random_below(rng, random_below(rng, 3) ? 3000 : sizeof(bytes) - 1), 0,
			 NULL);
	}
}

static void step(unsigned *rng)
{
	uint64_t d = dirs[random_below(rng, DIRS)], e = dirs[random_below(rng, DIRS)];
	struct stat a_st = {0}, b_st = {0}, st;
	char a[8], b[8];

	snprintf(a, sizeof(a), "n%u", random_below(rng, NAMES));
	snprintf(b, sizeof(b), "n%u", random_below(rng, NAMES));
	if (fs_lookup(f.fs, d, a, &a_st))
		a_st.st_ino = 0;
	if (fs_lookup(f.fs, e, b, &b_st))
		b_st.st_ino = 0;
	switch (random_below(rng, 9)) {
	case 0:
		if (!fs_mknod(f.fs, &ROOT, d, a, S_IFREG | 0644, 0, &st))
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 1:
		if (!fs_mkdir(f.fs, &ROOT, d, a, 0755, &st))
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 2: /* it stays in use: an orphan that is still written to */
		fs_unlink(f.fs, d, a);
		fs_rmdir(f.fs, e, b);
		break;
	case 3:
		fs_rename(f.fs, d, a, e, b, random_below(rng, 3));
		break;
	case 4:
		if (a_st.st_ino && !fs_link(f.fs, a_st.st_ino, e, b, &st))
			fs_forget(f.fs, st.st_ino, 1);
		break;
	case 5: /* into and out of a directory below */
		if (b_st.st_ino && S_ISDIR(b_st.st_mode)) {
			fs_rename(f.fs, d, a, b_st.st_ino, a, 0);
			fs_rename(f.fs, b_st.st_ino, b, d, b, 0);
		}
		break;
	default:
		break;
	}
	if (a_st.st_ino && S_ISREG(a_st.st_mode))
		use_content(a_st.st_ino,
			    S_ISREG(b_st.st_mode) && b_st.st_ino ? b_st.st_ino : a_st.st_ino, rng);
	if (a_st.st_ino)
		fs_forget(f.fs, a_st.st_ino, 1);
	if (b_st.st_ino)
		fs_forget(f.fs, b_st.st_ino, 1);
	atomic_fetch_add(&steps, 1);
}

static void *work(void *arg)
{
	unsigned rng = *(unsigned *)arg;

	while (!atomic_load(&over))
		step(&rng);
	return NULL;
}

/* Let the others change something between any two parts of the check. */
static int linger(void *ctx, uint64_t done, uint64_t total)
{
	unsigned *calls = ctx;

	(void)done;
	(void)total;
	if (++*calls % 8 == 0)
		usleep(1000);
	return 0;
}

static void test_busy(void)
{
	const char *env = getenv("SCRUB_ROUNDS");
	unsigned rounds = env ? (unsigned)atoi(env) : ROUNDS_DEFAULT, seeds[THREADS], calls = 0;
	unsigned long before = 0;
	pthread_t threads[THREADS];
	struct fs_stats stats;

	init_tiny();
	for (unsigned i = 0; i < DIRS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%u", i);
		dirs[i] = mk_dir(f.fs, i < 2 ? FS_ROOT_INO : dirs[i - 2], name);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]))
			bail("pthread_create");
	}
	for (unsigned i = 0; i < rounds; i++) {
		while (atomic_load(&steps) < before + 1500)
			usleep(1000);
		before = atomic_load(&steps);
		is_int(fs_check(f.fs, fixture_finding, NULL, linger, &calls, NULL), 0,
		       "scrub %u of a busy filesystem finds nothing", i + 1);
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fs_stats(f.fs, &stats);
	ok(stats.lsm.compactions > 5, "... which compacted: %llu times, %llu segments",
	   (unsigned long long)stats.lsm.compactions, (unsigned long long)stats.lsm.segments);
	fixture_clean(&f, "afterwards");
	fixture_release(&f);
}

/* ---- damage below it ---- */

struct kind {
	const char *suffix;
	off_t size;
	char path[PATH_MAX];
};
static struct kind kind;

static int find_largest(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)ftw;
	if (dot && !strcmp(dot, kind.suffix) && type == FTW_F && st->st_size > kind.size) {
		kind.size = st->st_size;
		snprintf(kind.path, sizeof(kind.path), "%s", path);
	}
	return 0;
}

static void flip(const char *suffix, off_t offset)
{
	unsigned char byte;
	int fd;

	kind = (struct kind){.suffix = suffix};
	if (nftw(f.store, find_largest, 8, FTW_PHYS) || !kind.size)
		bail("no %s in %s", suffix, f.store);
	fd = open(kind.path, O_RDWR);
	if (offset < 0)
		offset = kind.size / 2;
	if (fd < 0 || pread(fd, &byte, 1, offset) != 1)
		bail("%s: %s", kind.path, strerror(errno));
	byte ^= 0x40;
	if (pwrite(fd, &byte, 1, offset) != 1 || close(fd))
		bail("%s: %s", kind.path, strerror(errno));
}

static char found[65536];

static void collect(void *ctx, const char *text)
{
	size_t n = strlen(found);

	(void)ctx;
	snprintf(found + n, sizeof(found) - n, "%s\n", text);
}

static void test_damage(const char *suffix, off_t offset, const char *want)
{
	static char bytes[100000];
	struct stat st;
	size_t got;
	uint64_t d;
	int rc;

	fixture_init(&f);
	f.quiet = true;
	d = mk_dir(f.fs, FS_ROOT_INO, "many");
	for (unsigned i = 0; i < 500; i++) {
		char name[16];
		uint64_t ino;

		snprintf(name, sizeof(name), "f%04u", i);
		ino = mk_file(f.fs, d, name);
		fs_write(f.fs, ino, 0, bytes, i % 10 ? 100 : sizeof(bytes), 0, NULL);
		fs_forget(f.fs, ino, 1);
	}
	is_int(fs_compact(f.fs, NULL, NULL), 0, "compact");
	/* All of it into the caches. */
	for (unsigned i = 0; i < 500; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%04u", i);
		if (fs_lookup(f.fs, d, name, &st) ||
		    fs_read(f.fs, st.st_ino, 0, bytes, sizeof(bytes), &got))
			bail("read");
		fs_forget(f.fs, st.st_ino, 1);
	}
	fixture_clean(&f, "before");
	flip(suffix, offset);
	found[0] = '\0';
	rc = fs_check(f.fs, collect, NULL, NULL, NULL, NULL);
	is_int(rc, -EUCLEAN, "a flipped byte of a %s in use is found", suffix + 1);
	ok(strstr(found, want), "... and said to be in %s: %.300s", want, found);
	fixture_release(&f);
}

/* ---- stopping, and space ---- */

struct script {
	unsigned calls, stop_at;
	uint64_t done, total;
	bool backwards;
	/* deleting beside it */
	bool deleted;
	uint64_t before, least;
};

static int stop_at(void *ctx, uint64_t done, uint64_t total)
{
	struct script *s = ctx;

	s->backwards |= done < s->done || done > total;
	s->done = done;
	s->total = total;
	return ++s->calls == s->stop_at;
}

static void test_stop(void)
{
	struct script whole = {0};
	unsigned wrong = 0;

	init_tiny();
	for (unsigned i = 0; i < 9000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		fs_forget(f.fs, mk_file(f.fs, FS_ROOT_INO, name), 1);
	}
	is_int(fs_check(f.fs, fixture_finding, NULL, stop_at, &whole, NULL), 0, "clean");
	ok(!whole.backwards, "progress only grows, up to its total");
	ok(whole.done * 10 > whole.total * 4, "... and gets somewhere: %llu of %llu",
	   (unsigned long long)whole.done, (unsigned long long)whole.total);
	/* Tables, and names from the last calls on. */
	for (unsigned i = 1; i <= whole.calls; i += i < 5 || i + 5 > whole.calls ? 1 : 7) {
		struct script s = {.stop_at = i};
		int rc = fs_check(f.fs, fixture_finding, NULL, stop_at, &s, NULL);

		/* With fewer tables by now it may come to its end before. */
		wrong += s.calls > i || rc != (s.calls == i ? -EINTR : 0);
	}
	is_int(wrong, 0, "told to stop at any of %u calls, it does", whole.calls);
	fixture_release(&f);
}

static uint64_t disk_bytes(void)
{
	struct fs_stats stats;

	fs_stats(f.fs, &stats);
	return stats.lsm.disk_bytes;
}

/* At the first call everything is deleted; then it waits to see the space back. */
static int delete_all(void *ctx, uint64_t done, uint64_t total)
{
	struct script *s = ctx;

	(void)done;
	(void)total;
	if (s->deleted)
		return 0;
	s->deleted = true;
	s->before = disk_bytes();
	for (unsigned i = 0; i < 40; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		fs_unlink(f.fs, FS_ROOT_INO, name);
	}
	fs_compact(f.fs, NULL, NULL);
	s->least = disk_bytes();
	return 0;
}

static void test_space(void)
{
	static char bytes[1 << 20];
	struct script s = {0};

	init_tiny();
	for (unsigned i = 0; i < 40; i++) {
		char name[16];
		uint64_t ino;

		snprintf(name, sizeof(name), "f%u", i);
		ino = mk_file(f.fs, FS_ROOT_INO, name);
		fs_write(f.fs, ino, 0, bytes, sizeof(bytes), 0, NULL);
		fs_forget(f.fs, ino, 1);
	}
	is_int(fs_check(f.fs, fixture_finding, NULL, delete_all, &s, NULL), 0,
	       "clean, though all was deleted meanwhile");
	/* A table, and the segments it refers to, may stay until it was read. */
	ok(s.least < s.before / 4, "its space came back meanwhile: %llu to %llu bytes",
	   (unsigned long long)s.before, (unsigned long long)s.least);
	fixture_release(&f);
}

int main(void)
{
	test_busy();
	test_damage(".tab", -1, "/many/f");
	test_damage(".seg", 5000, "/many/f");
	test_damage(".man", -1, "the manifest");
	test_stop();
	test_space();
	return done();
}
