/*
 * test_count.c - numbers that outlive the process: of inodes in use, of inodes to come, of
 * links. A killed process is played by a child that leaves without closing.
 */
#include <sys/wait.h>

#include "tests/support/fs_fixture.h"

static struct fs_fixture f;

static uint64_t files(void)
{
	struct fs_stats stats;

	if (fs_stats(f.fs, &stats))
		bail("fs_stats");
	return stats.files;
}

/* Let a child open the store, do `work`, and end without closing it. Returns what it did. */
static uint64_t in_killed(uint64_t (*work)(void))
{
	uint64_t result = 0;
	int fds[2], status;
	pid_t child;

	if (pipe(fds))
		bail("pipe");
	fflush(stdout);
	child = fork();
	if (!child) {
		fs_fixture_open(&f);
		result = work();
		_exit(write(fds[1], &result, sizeof(result)) != sizeof(result));
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status ||
	    read(fds[0], &result, sizeof(result)) != sizeof(result))
		bail("the child failed");
	close(fds[0]);
	close(fds[1]);
	return result;
}

static uint64_t make_links(void)
{
	uint64_t ino = make_file(f.fs, FS_ROOT_INO, "a");
	struct stat st;

	make_file(f.fs, FS_ROOT_INO, "b");
	make_dir(f.fs, FS_ROOT_INO, "d");
	if (fs_link(f.fs, ino, FS_ROOT_INO, "a2", &st) ||
	    fs_link(f.fs, ino, FS_ROOT_INO, "a3", &st))
		bail("link");
	return ino;
}

static uint64_t make_one(void)
{
	return make_file(f.fs, FS_ROOT_INO, "c");
}

/* More than are set aside at once, and no more than one of them. */
static uint64_t make_many(void)
{
	uint64_t ino = 0;
	char name[16];

	for (unsigned i = 0; i < 6000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ino = make_file(f.fs, FS_ROOT_INO, name);
	}
	return ino;
}

static void test_files(void)
{
	fs_fixture_init(&f);
	is_int(files(), 1, "the root is one");
	fs_fixture_close(&f);
	in_killed(make_links);
	fs_fixture_open(&f);
	is_int(files(), 4, "after a kill each inode counts once, whatever names it has");
	fs_fixture_reopen(&f);
	is_int(files(), 4, "so it is after a clean close");
	fs_fixture_close(&f);
	in_killed(make_one);
	fs_fixture_open(&f);
	is_int(files(), 5, "what was written at a close is not believed after a kill");
	fs_fixture_release(&f);
}

static void test_numbers(void)
{
	uint64_t last;

	fs_fixture_init(&f);
	fs_fixture_close(&f);
	last = in_killed(make_many);
	fs_fixture_open(&f);
	ok(make_file(f.fs, FS_ROOT_INO, "new") > last, "no number is given a second time");
	fs_fixture_clean(&f, "with all of them");
	fs_fixture_release(&f);
}

static void test_links(void)
{
	unsigned made = 1;
	struct stat st;
	uint64_t ino;
	char name[16];
	int err = 0;

	fs_fixture_init(&f);
	ino = make_file(f.fs, FS_ROOT_INO, "a");
	while (!err && made < FS_LINKS_MAX + 10) {
		snprintf(name, sizeof(name), "l%u", made);
		err = fs_link(f.fs, ino, FS_ROOT_INO, name, &st);
		made += !err;
	}
	is_int(err, -EMLINK, "a file has not more links than can be told");
	is_int(made, FS_LINKS_MAX, "and as many as can");
	fs_fixture_release(&f);
}

int main(void)
{
	run_test(test_files);
	run_test(test_numbers);
	run_test(test_links);
	return done();
}
