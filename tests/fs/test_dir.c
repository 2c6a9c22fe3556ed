/*
 * Reading directories: every name once, stable offsets, attributes of now,
 * whatever is created and removed beside.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/fs_fixture.h"

#define NAMES 3000u

static struct fixture f;

struct listing {
	unsigned count, room; /* room: entries to take, then stop */
	uint64_t next;
	char (*names)[16];
	uint64_t *offsets; /* behind each */
	uint64_t *inos;
	unsigned held;
	struct stat last;
	bool mismatch; /* a name not equal to what was expected there */
};

static int take(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct listing *l = ctx;

	if (!l->room)
		return 1;
	l->room--;
	snprintf(l->names[l->count], 16, "%.15s", name);
	l->offsets[l->count] = next;
	l->inos[l->count] = st->st_ino;
	l->count++;
	l->next = next;
	l->last = *st;
	if (held) {
		l->held++;
		/* As a cache would, later; the inode is known now. */
		fs_forget(f.fs, st->st_ino, 1);
	}
	return 0;
}

static struct listing *listing_new(void)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		bail("memory");
	l->names = calloc(NAMES * 2 + 16, 16);
	l->offsets = calloc(NAMES * 2 + 16, sizeof(*l->offsets));
	l->inos = calloc(NAMES * 2 + 16, sizeof(*l->inos));
	if (!l->names || !l->offsets || !l->inos)
		bail("memory");
	return l;
}

static void listing_free(struct listing *l)
{
	free(l->names);
	free(l->offsets);
	free(l->inos);
	free(l);
}

/* Read on, `step` entries at a time, until the end. */
static void read_all(struct fs_dir *dir, struct listing *l, unsigned step, bool with_attributes)
{
	unsigned before;

	do {
		before = l->count;
		l->room = step;
		if (fs_dir_read(dir, l->next, with_attributes, take, l))
			bail("fs_dir_read");
	} while (l->count > before);
}

static bool is_series(const struct listing *l, unsigned from, unsigned count)
{
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "n%05u", i);
		if (strcmp(l->names[from + i], name))
			return false;
	}
	return true;
}

static uint64_t make_series(const char *dir_name)
{
	uint64_t d = mk_dir(f.fs, FS_ROOT_INO, dir_name);
	char name[16];

	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "n%05u", i);
		fs_forget(f.fs, mk_file(f.fs, d, name), 1);
	}
	return d;
}

static void test_simple(void)
{
	uint64_t d = mk_dir(f.fs, FS_ROOT_INO, "d");
	struct listing *l = listing_new();
	struct fs_dir *dir;

	is_int(fs_dir_open(f.fs, 4711, &dir), -ESTALE, "open of nobody");
	is_int(fs_dir_open(f.fs, mk_file(f.fs, d, "f"), &dir), -ENOTDIR, "open of a file");
	is_int(fs_unlink(f.fs, d, "f"), 0, "empty again");
	is_int(fs_dir_open(f.fs, d, &dir), 0, "open");
	read_all(dir, l, 10, true);
	is_int(l->count, 2, "two entries");
	ok(!strcmp(l->names[0], ".") && !strcmp(l->names[1], ".."), "\".\" and \"..\"");
	ok(l->inos[0] == d && l->inos[1] == FS_ROOT_INO, "their inodes");
	ok(l->offsets[0] == 1 && l->offsets[1] == 2, "their offsets");
	is_int(l->held, 0, "without references");
	mk_file(f.fs, d, "new");
	l->count = 0;
	l->next = 0;
	read_all(dir, l, 10, true);
	is_int(l->count, 3, "rewound: what was made since is there");
	is_int(l->held, 1, "with a reference");
	fs_dir_close(dir);
	listing_free(l);
}

static void test_many(void)
{
	uint64_t d = make_series("many");
	struct listing *l = listing_new(), *again = listing_new();
	struct fs_dir *dir;
	bool same = true;

	fs_dir_open(f.fs, d, &dir);
	read_all(dir, l, 7, true);
	is_int(l->count, NAMES + 2, "all names");
	ok(is_series(l, 2, NAMES), "... in order, each once");
	is_int(l->held, NAMES, "... each with a reference");
	for (unsigned i = 0; i < 300; i++) {
		unsigned at = i * 7919 % l->count;

		again->count = 0;
		again->room = 3;
		fs_dir_read(dir, l->offsets[at], i & 1, take, again);
		for (unsigned n = 0; n < again->count; n++)
			same &= !strcmp(again->names[n], l->names[at + 1 + n]);
		same &= again->count == (l->count - at - 1 < 3 ? l->count - at - 1 : 3);
	}
	ok(same, "from any offset the same names follow");
	again->count = 0;
	again->room = 1;
	fs_dir_read(dir, l->next + 1000, true, take, again);
	is_int(again->count, 0, "nothing behind the end");
	fs_dir_close(dir);
	listing_free(l);
	listing_free(again);
}

/* While reading: remove what was read and what comes, rename, write, add. */
static void test_changes(void)
{
	uint64_t d = make_series("changes");
	struct listing *l = listing_new();
	struct stat st;
	struct fs_dir *dir;
	char name[16];

	fs_dir_open(f.fs, d, &dir);
	l->room = 100;
	fs_dir_read(dir, 0, true, take, l);
	/* One of those that go stays in use, and so in memory. */
	if (fs_lookup(f.fs, d, "n02000", &st))
		bail("lookup");
	for (unsigned i = 0; i < NAMES; i += 2) {
		snprintf(name, sizeof(name), "n%05u", i);
		fs_unlink(f.fs, d, name);
	}
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "n%05u.", i);
		mk_file(f.fs, d, name);
	}
	l->held = 0;
	read_all(dir, l, 13, true);
	ok(l->count == NAMES + 2 && is_series(l, 2, NAMES),
	   "the names from when it was first read");
	is_int(l->held, (NAMES - 98) / 2, "references for those that are still there");
	fs_forget(f.fs, st.st_ino, 1);
	l->count = 0;
	l->next = 0;
	read_all(dir, l, 13, false);
	is_int(l->count, NAMES / 2 + 500 + 2, "rewound: those of now");
	fs_dir_close(dir);
	fs_dir_open(f.fs, d, &dir);
	mk_file(f.fs, d, "late");
	l->count = 0;
	l->next = 0;
	read_all(dir, l, 13, false);
	is_int(l->count, NAMES / 2 + 501 + 2,
	       "one made since it was opened is read from the start");

	/* Attributes are of now, not of the snapshot. */
	l->count = 0;
	l->next = 0;
	l->room = 2;
	fs_dir_read(dir, 0, true, take, l);
	fs_lookup(f.fs, d, "n00001", &st);
	fs_write(f.fs, st.st_ino, 0, "12345", 5, 0, NULL);
	fs_forget(f.fs, st.st_ino, 1);
	l->next = 0;
	for (unsigned i = 0; i < 20 && strcmp(l->names[l->count - 1], "n00001"); i++) {
		l->room = 1;
		fs_dir_read(dir, l->offsets[l->count - 1], true, take, l);
	}
	is_int(l->last.st_size, 5, "attributes are those of now");
	fs_dir_close(dir);
	listing_free(l);
}

static void test_links(void)
{
	uint64_t d = mk_dir(f.fs, FS_ROOT_INO, "links"), a = mk_file(f.fs, d, "a");
	struct listing *l = listing_new();
	struct fs_dir *dir;
	struct stat st;

	fs_link(f.fs, a, d, "b", &st);
	fs_forget(f.fs, a, 2);
	is_int(fs_getattr(f.fs, a, &st), -ESTALE, "not in memory");
	fs_dir_open(f.fs, d, &dir);
	read_all(dir, l, 10, true);
	ok(l->count == 4 && l->inos[2] == a && l->inos[3] == a, "both names, one inode");
	is_int(l->last.st_nlink, 2, "with its attributes");
	l->count = 0;
	l->next = 0;
	read_all(dir, l, 10, false);
	ok(l->inos[2] == a && S_ISREG(l->last.st_mode), "inode and type without attributes");
	fs_unlink(f.fs, d, "a");
	fs_unlink(f.fs, d, "b");
	l->count = 0;
	l->room = 10;
	fs_dir_close(dir);
	fs_rmdir(f.fs, FS_ROOT_INO, "links");
	is_int(fs_dir_open(f.fs, d, &dir), 0, "a removed directory opens");
	read_all(dir, l, 10, true);
	fs_dir_close(dir);
	listing_free(l);
}

/* Entries that stay are seen by every reader, once, while others come and go. */
static atomic_bool stop;

static void *churn(void *arg)
{
	uint64_t d = *(uint64_t *)arg;
	struct stat st;
	char name[16];

	for (unsigned i = 0; !atomic_load(&stop); i++) {
		snprintf(name, sizeof(name), "c%u", i % 50);
		if (!fs_mknod(f.fs, &ROOT, d, name, S_IFREG, 0, &st))
			fs_forget(f.fs, st.st_ino, 1);
		snprintf(name, sizeof(name), "c%u", (i + 25) % 50);
		fs_unlink(f.fs, d, name);
		snprintf(name, sizeof(name), "z%u", i % 7);
		fs_rename(f.fs, d, "zz", d, name, 0);
		fs_rename(f.fs, d, name, d, "zz", 0);
	}
	return NULL;
}

static void test_concurrent(void)
{
	uint64_t d = mk_dir(f.fs, FS_ROOT_INO, "busy");
	struct listing *l = listing_new();
	struct fs_dir *dir;
	pthread_t thread;
	bool whole = true;
	char name[16];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%05u", i);
		fs_forget(f.fs, mk_file(f.fs, d, name), 1);
	}
	mk_file(f.fs, d, "zz");
	pthread_create(&thread, NULL, churn, &d);
	for (unsigned round = 0; round < 60; round++) {
		unsigned stay = 0, moving = 0;

		fs_dir_open(f.fs, d, &dir);
		l->count = 0;
		l->next = 0;
		read_all(dir, l, 17, round & 1);
		for (unsigned i = 0; i < l->count; i++) {
			stay += l->names[i][0] == 'n';
			moving += l->names[i][0] == 'z';
		}
		whole &= stay == 200 && moving == 1;
		fs_dir_close(dir);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ok(whole, "each reading saw what stayed, and what is renamed exactly once");
	listing_free(l);
}

int main(void)
{
	fixture_init(&f);
	test_simple();
	test_many();
	test_changes();
	test_links();
	test_concurrent();
	fixture_clean(&f, "in the end");
	fixture_release(&f);
	return done();
}
