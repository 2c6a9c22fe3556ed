/*
 * Threads that take the locks of several inodes in every way there is, over few directories
 * that change places: none may wait for ever. Each case runs with 4 and with 16 threads.
 *
 * The directories are
 *
 *     P/c1/d/f   P/c2   P/e1   P/e2      with numbers d < c2 < c1
 *
 * so that locking by number alone goes against the tree: a thread that exchanges c1 and c2, one
 * that renames between d and c2, and one that lists c1 once waited for each other in a ring.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "fs/inode.h"
#include "tests/support/fs_fixture.h"

#define THREADS_MAX 16u
#define CASE_MS 2500
#define HANG_S 60 /* far more than a machine under load needs for what is left of a case */

static struct fs_fixture f;
static uint64_t top, c1, c2, d, files[2];
static atomic_bool over;
static atomic_uint wrong;

static void expect(bool good, const char *what, int err)
{
	if (good)
		return;
	if (atomic_fetch_add(&wrong, 1) < 20)
		printf("# %s: %s\n", what, strerror(-err));
}

static void expect_rename(uint64_t from, const char *a, uint64_t to, const char *b, unsigned flags)
{
	int err = fs_rename(f.fs, from, a, to, b, flags);

	expect(!err || err == -ENOENT || err == -ENOTEMPTY || err == -EINVAL || err == -EEXIST ||
		       err == -EISDIR || err == -ENOTDIR,
	       "rename", err);
}

static int forget_entry(void *ctx, const char *name, const struct stat *st, bool held,
			uint64_t next)
{
	(void)ctx;
	(void)name;
	(void)next;
	if (held)
		fs_forget(f.fs, st->st_ino, 1);
	return 0;
}

static void list(uint64_t ino)
{
	struct fs_dir *dir;
	int err = fs_dir_open(f.fs, ino, &dir);

	expect(!err, "opendir", err);
	if (err)
		return;
	err = fs_dir_read(dir, 0, true, forget_entry, NULL);
	expect(!err, "readdir", err);
	fs_dir_close(dir);
}

/* A name for a moment: so that a listing of the directory has to ask for the others anew. */
static void come_and_go(uint64_t dir, unsigned n)
{
	char name[16];
	struct stat st;
	int err;

	snprintf(name, sizeof(name), "t%u", n);
	err = fs_mknod(f.fs, &ROOT, dir, name, S_IFREG | 0600, 0, &st);
	expect(!err, "mknod", err);
	if (!err)
		fs_forget(f.fs, st.st_ino, 1);
	err = fs_unlink(f.fs, dir, name);
	expect(!err, "unlink", err);
}

/* Two directories that one rename puts in each other's or the other's place, in one directory. */
static void replace(unsigned n)
{
	struct stat st;
	int err;

	expect_rename(top, "e1", top, "e2", 0);
	expect_rename(top, "e2", top, "e1", FS_RENAME_EXCHANGE);
	expect_rename(top, "e2", top, "e1", 0);
	err = fs_mkdir(f.fs, &ROOT, top, n % 2 ? "e1" : "e2", 0755, &st);
	expect(!err || err == -EEXIST, "mkdir", err);
	if (!err)
		fs_forget(f.fs, st.st_ino, 1);
	if (n % 3 == 0) {
		err = fs_rmdir(f.fs, top, "e1");
		expect(!err || err == -ENOENT || err == -ENOTEMPTY, "rmdir", err);
	}
}

static void link_around(unsigned n)
{
	char name[16];
	struct stat st;
	int err;

	snprintf(name, sizeof(name), "l%u", n);
	err = fs_link(f.fs, files[n % 2], n & 4 ? c2 : d, name, &st);
	expect(!err, "link", err);
	if (!err)
		fs_forget(f.fs, files[n % 2], 1);
	expect_rename(n & 4 ? c2 : d, name, n & 8 ? c1 : c2, name, 0);
	fs_unlink(f.fs, c1, name);
	fs_unlink(f.fs, c2, name);
	fs_unlink(f.fs, d, name);
}

static void copy(unsigned n)
{
	size_t copied;
	int err = fs_copy_range(f.fs, files[n % 2], 0, files[(n + 1) % 2], 0, 10, &copied);

	expect(!err, "copy", err);
}

/* The directory d itself goes to and fro, and cannot go below itself. */
static void move_dir(void)
{
	expect_rename(c1, "d", c2, "d", 0);
	expect_rename(c2, "d", c1, "d", 0);
	expect_rename(top, "c1", d, "x", 0);
	expect_rename(top, "c2", d, "x", FS_RENAME_EXCHANGE);
}

static void look(void)
{
	static const uint64_t *const dirs[] = {&top, &c1, &c2, &d};
	static const char *const names[] = {"c1", "c2", "d", "f", "..", "e1"};
	struct stat st;

	for (unsigned i = 0; i < 4; i++)
		for (unsigned n = 0; n < 6; n++)
			if (!fs_lookup(f.fs, *dirs[i], names[n], &st))
				fs_forget(f.fs, st.st_ino, 1);
}

/* The ring that hung: see the top. */
static void ring(unsigned role, unsigned id)
{
	switch (role % 3) {
	case 0:
		expect_rename(top, "c1", top, "c2", FS_RENAME_EXCHANGE);
		break;
	case 1:
		expect_rename(d, "f", c2, "f", 0);
		expect_rename(c2, "f", d, "f", 0);
		break;
	default:
		list(c1);
		come_and_go(c1, id);
	}
}

static void everything(unsigned id, unsigned step)
{
	switch ((id + step * 7) % 9) {
	case 0:
	case 1:
	case 2:
		ring(id + step, id);
		break;
	case 3:
		replace(step);
		break;
	case 4:
		link_around(id * 1000 + step % 1000);
		break;
	case 5:
		copy(step);
		break;
	case 6:
		move_dir();
		break;
	case 7:
		list(top);
		list(d);
		break;
	default:
		look();
	}
}

struct worker {
	pthread_t thread;
	unsigned id;
	bool all; /* not the ring alone */
};

static void *work(void *arg)
{
	const struct worker *w = arg;

	for (unsigned step = 0; !atomic_load(&over); step++)
		if (w->all)
			everything(w->id, step);
		else
			ring(w->id, w->id);
	return NULL;
}

static void run_case(unsigned threads, bool all)
{
	struct worker workers[THREADS_MAX];
	struct timespec end;

	atomic_store(&over, false);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].id = i;
		workers[i].all = all;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			bail("pthread_create");
	}
	usleep(CASE_MS * 1000);
	atomic_store(&over, true);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += HANG_S;
	for (unsigned i = 0; i < threads; i++)
		if (pthread_timedjoin_np(workers[i].thread, NULL, &end))
			bail("%u threads: they wait for each other", threads);
	ok(true, "%u threads, %s: none waits for ever", threads, all ? "every call" : "the ring");
	is_int(atomic_load(&wrong), 0, "... and no call gives an answer it cannot give");
	ok(inode_table_valid(f.fs), "... and the table of inodes is right");
	fs_fixture_clean(&f, "after them");
}

int main(void)
{
	fs_fixture_init(&f);
	top = make_dir(f.fs, FS_ROOT_INO, "P");
	d = make_dir(f.fs, FS_ROOT_INO, "d");
	c2 = make_dir(f.fs, top, "c2");
	c1 = make_dir(f.fs, top, "c1");
	fs_forget(f.fs, make_dir(f.fs, top, "e1"), 1);
	fs_forget(f.fs, make_dir(f.fs, top, "e2"), 1);
	files[0] = make_file(f.fs, d, "f");
	files[1] = make_file(f.fs, FS_ROOT_INO, "g");
	fs_write(f.fs, files[0], 0, "0123456789", 10, 0, NULL);
	fs_write(f.fs, files[1], 0, "0123456789", 10, 0, NULL);
	is_int(fs_rename(f.fs, FS_ROOT_INO, "d", c1, "d", 0), 0, "the directory that hung");
	run_case(4, false);
	run_case(16, false);
	run_case(4, true);
	run_case(16, true);
	fs_fixture_release(&f);
	return done();
}
