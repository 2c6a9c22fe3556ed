/*
 * test_extents.c - extents that overlap: one inside of another, alone or with others beside it,
 * at its start, its end, or behind it. Whatever a call needs of them, it answers EIO and reports
 * the file, and never returns wrong bytes; fs_check() finds it; a repair makes it whole.
 */
#include "tests/support/fs_raw.h"

#define SIZE 200000u

struct plant {
	const char *what;
	struct {
		uint64_t offset;
		size_t size;
	} extents[4];
};

/* The file itself is two extents: [0, 131072) and [131072, 200000). */
static const struct plant PLANTS[] = {
	{"inside", {{100000, 7}}},
	{"at the end", {{131065, 7}}},
	{"as long as the rest of it", {{100000, 31072}}},
	{"several inside", {{1000, 7}, {2000, 5000}, {90000, 1}}},
	{"inside, one after the other", {{50000, 10}, {50010, 10}, {50020, 10}}},
	{"inside of the one inside", {{40000, 9000}, {41000, 10}}},
	{"inside of the last", {{150000, 100}}},
};

static unsigned reports;

static void count_report(void *ctx, enum lsm_report_level level, const char *text)
{
	(void)ctx;
	(void)text;
	reports += level == LSM_REPORT_ERROR;
}

static const struct plant *planted;

/* Is byte `at` covered by two extents? */
static bool is_doubtful(uint64_t at)
{
	for (size_t i = 0; i < 4; i++)
		if (at >= planted->extents[i].offset &&
		    at < planted->extents[i].offset + planted->extents[i].size)
			return true;
	return false;
}

/* A store with one file of SIZE bytes, and the extents of `p` in it. Returns its number. */
static uint64_t plant(const struct plant *p)
{
	static char other[131072];
	struct stat st;
	struct key k;

	planted = p;
	memset(other, 'o', sizeof(other));
	raw_begin();
	for (size_t i = 0; i < 4 && p->extents[i].size; i++)
		raw_put_value(key_extent(&k, raw.big_ino, p->extents[i].offset), other,
			      p->extents[i].size);
	lsm_close(raw.lsm);
	raw.f.options.lsm.report = count_report;
	reports = 0;
	fs_fixture_open(&raw.f);
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st) ||
	    fs_lookup(raw.f.fs, st.st_ino, "sub", &st) ||
	    fs_lookup(raw.f.fs, st.st_ino, "big", &st))
		bail("lookup");
	return st.st_ino;
}

/* Read [at, + size): the right bytes, or EIO. Returns whether it was EIO. */
static bool read_right(uint64_t ino, uint64_t at, size_t size, bool *wrong)
{
	static char buf[SIZE];
	size_t got;
	int err = fs_read(raw.f.fs, ino, at, buf, size, &got);

	if (err)
		return err == -EIO ? true : (*wrong = true);
	for (size_t i = 0; i < got; i++)
		if (buf[i] != raw.big_bytes[at + i] || is_doubtful(at + i)) {
			if (!*wrong)
				printf("# read at %llu: wrong at byte %zu\n",
				       (unsigned long long)at, i);
			*wrong = true;
			break;
		}
	return false;
}

static void test_read(const struct plant *p)
{
	static const size_t sizes[] = {1, 100, 4096, 50000, 131072, SIZE};
	uint64_t ino = plant(p);
	bool wrong = false, said;
	unsigned errors = 0;

	for (size_t s = 0; s < 6; s++)
		for (uint64_t at = 0; at < SIZE; at += sizes[s] < 4096 ? 3001 : 4096)
			errors += read_right(ino, at, sizes[s], &wrong);
	for (size_t i = 0; i < 4 && p->extents[i].size; i++) {
		uint64_t from = p->extents[i].offset;

		for (uint64_t at = from > 2 ? from - 2 : 0; at < from + 12; at++)
			errors += read_right(ino, at, 1, &wrong);
		errors += read_right(ino, from + p->extents[i].size, 100, &wrong);
	}
	ok(!wrong, "%s: no read returns wrong bytes", p->what);
	ok(errors > 0 && reports >= errors, "... EIO %u times, each reported", errors);
	said = read_right(ino, 0, SIZE, &wrong);
	ok(said, "... reading all of it is EIO");
	raw_end();
}

/* Each change starts from a store of its own. What it did not change is what it was. */
static void test_changes(const struct plant *p)
{
	static const char text[SIZE] = "new";
	struct stat st, want = {.st_size = 60000};
	uint64_t ino, out, at = p->extents[0].offset;
	size_t copied;
	bool wrong = false;
	int err;

	ino = plant(p);
	err = fs_setattr(raw.f.fs, &ROOT, ino, &want, FS_SET_SIZE, &st);
	is_int(err, -EIO, "%s: cutting it is EIO", p->what);
	ok(reports > 0, "... and reported");
	is_int(attr_of(raw.f.fs, ino).st_size, SIZE, "... the size is what it was");
	raw_end();

	ino = plant(p);
	err = fs_write(raw.f.fs, ino, at + 1, text, 3, 0, &st);
	is_int(err, -EIO, "... writing over it is EIO");
	err = fs_write(raw.f.fs, ino, at < 131072 ? 0 : 131072, text, 131072, 0, &st);
	is_int(err, -EIO, "... also over all of it");
	ok(reports > 1, "... and reported");
	raw_end();

	ino = plant(p);
	err = fs_fallocate(raw.f.fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 4);
	is_int(err, -EIO, "... a hole in it is EIO");
	err = fs_copy_range(raw.f.fs, ino, 0, ino, 300000, SIZE, &copied);
	is_int(err, -EIO, "... copying it is EIO");
	ok(reports > 1, "... and reported");
	raw_end();

	ino = plant(p);
	err = fs_seek(raw.f.fs, ino, 199999, SEEK_HOLE, &out);
	ok(err == -EIO || (!err && out == SIZE), "... SEEK_HOLE is right or EIO");
	want.st_size = 0;
	err = fs_setattr(raw.f.fs, &ROOT, ino, &want, FS_SET_SIZE, &st);
	is_int(err, 0, "... cutting it to nothing works");
	is_int(fs_write(raw.f.fs, ino, 0, raw.big_bytes, SIZE, 0, &st), 0,
	       "... and writing it again");
	planted = &(struct plant){"nothing", {{0, 0}}};
	ok(!read_right(ino, 0, SIZE, &wrong) && !wrong, "... which reads as it was written");
	fs_fixture_clean(&raw.f, "then");
	raw_end();
}

static unsigned findings;
static bool found_overlap;

static void on_find(void *ctx, const char *text)
{
	(void)ctx;
	findings++;
	found_overlap |= strstr(text, "/dir/sub/big") && strstr(text, "overlaps");
}

static void test_repair(const struct plant *p)
{
	struct fs_check_counts counts;
	struct fs_repair_counts repaired;
	uint64_t ino = plant(p);
	bool wrong = false;
	struct stat st;

	findings = 0;
	found_overlap = false;
	is_int(fs_check(raw.f.fs, on_find, NULL, NULL, NULL, &counts), -EUCLEAN, "%s: the check",
	       p->what);
	ok(found_overlap, "... names the file and the overlap");
	fs_fixture_close(&raw.f);
	is_int(fs_repair(raw.f.store, &raw.f.options, on_find, NULL, NULL, NULL, &repaired), 0,
	       "repair");
	fs_fixture_open(&raw.f);
	fs_fixture_clean(&raw.f, "after the repair");
	if (fs_lookup(raw.f.fs, FS_ROOT_INO, "dir", &st) ||
	    fs_lookup(raw.f.fs, st.st_ino, "sub", &st) ||
	    fs_lookup(raw.f.fs, st.st_ino, "big", &st))
		bail("lookup");
	is_int(st.st_ino, ino, "the file is there");
	for (uint64_t at = 0; at < SIZE; at += 997)
		(void)read_right(ino, at, 500, &wrong);
	ok(!wrong, "... and no read returns wrong bytes");
	raw_end();
}

int main(void)
{
	for (size_t i = 0; i < sizeof(PLANTS) / sizeof(*PLANTS); i++) {
		test_read(&PLANTS[i]);
		test_changes(&PLANTS[i]);
		test_repair(&PLANTS[i]);
	}
	return done();
}
