/*
 * Files without a name, over the end of the process, and the number of files
 * in use. A killed process is played by a child that leaves without closing.
 */
#include <sys/wait.h>

#include "fs/key.h"
#include "tests/support/fs_fixture.h"

static struct fixture f;

/* Keys of a kind in the store, which must be closed. */
static unsigned keys_of(enum key_kind kind)
{
	unsigned char lower = (unsigned char)kind, upper = lower + 1;
	struct lsm_iter_options o = {.lower = {&lower, 1}, .upper = {&upper, 1}};
	struct lsm_options options = f.options.lsm;
	struct lsm_iter *it;
	struct lsm *lsm;
	unsigned n = 0;

	options.read_only = true;
	options.create = false;
	if (lsm_open(f.store, &options, &lsm))
		bail("lsm_open");
	it = lsm_iter_new(lsm, &o);
	for (lsm_iter_first(it); lsm_iter_valid(it); lsm_iter_next(it))
		n++;
	lsm_iter_free(it);
	lsm_close(lsm);
	return n;
}

static char bytes[300000];

/* Everything an orphan can have; nobody forgets it. */
static void make_orphans(struct fs *fs)
{
	struct stat st;
	uint64_t a;

	a = mk_file(fs, FS_ROOT_INO, "large");
	fs_write(fs, a, 0, bytes, sizeof(bytes), 0, NULL);
	fs_unlink(fs, FS_ROOT_INO, "large");
	a = mk_file(fs, FS_ROOT_INO, "attributes");
	fs_setxattr(fs, a, "user.a", "1", 1, 0);
	fs_unlink(fs, FS_ROOT_INO, "attributes");
	a = mk_file(fs, FS_ROOT_INO, "grows");
	fs_unlink(fs, FS_ROOT_INO, "grows");
	fs_write(fs, a, 0, bytes, sizeof(bytes), 0, NULL);
	a = mk_file(fs, FS_ROOT_INO, "over");
	fs_write(fs, a, 0, bytes, sizeof(bytes), 0, NULL);
	mk_file(fs, FS_ROOT_INO, "stays");
	fs_rename(fs, FS_ROOT_INO, "stays", FS_ROOT_INO, "over", 0);
	a = mk_dir(fs, FS_ROOT_INO, "dir");
	fs_setxattr(fs, a, "user.d", "1", 1, 0);
	fs_rmdir(fs, FS_ROOT_INO, "dir");
	fs_tmpfile(fs, &ROOT, FS_ROOT_INO, 0600, &st);
	fs_write(fs, st.st_ino, 0, bytes, sizeof(bytes), 0, NULL);
	a = mk_file(fs, FS_ROOT_INO, "small");
	fs_write(fs, a, 0, "abc", 3, 0, NULL);
	fs_unlink(fs, FS_ROOT_INO, "small");
	fs_unlink(fs, FS_ROOT_INO, "over");
}

static void nothing_left(const char *when)
{
	ok(!keys_of(KEY_ORPHAN) && !keys_of(KEY_EXTENT) && !keys_of(KEY_XATTR) &&
		   !keys_of(KEY_NAME),
	   "nothing is left %s", when);
}

static void test_forget(void)
{
	struct stat st;

	make_orphans(f.fs);
	fixture_clean(&f, "with orphans");
	/* Inode numbers are given out one after the other. */
	for (uint64_t ino = 2; ino < 20; ino++)
		fs_forget(f.fs, ino, 1);
	is_int(fs_getattr(f.fs, 2, &st), -ESTALE, "all forgotten");
	fixture_close(&f);
	nothing_left("after the last reference");
	fixture_open(&f);
}

static void test_close(void)
{
	make_orphans(f.fs);
	fixture_close(&f);
	is_int(keys_of(KEY_SUPER), 3, "format, bound and count are written down");
	nothing_left("after a close with references");
	fixture_open(&f);
}

static void test_crash(void)
{
	struct fs_stats stats;
	int status;
	pid_t pid;

	fixture_close(&f);
	pid = fork();
	if (!pid) {
		fixture_open(&f);
		make_orphans(f.fs);
		fs_forget(f.fs, mk_file(f.fs, FS_ROOT_INO, "named"), 1);
		if (fs_sync(f.fs))
			_exit(1);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		bail("the child failed");
	if (!keys_of(KEY_NAME)) {
		tap_skip("this tree does not survive the end of a process");
		fixture_open(&f);
		return;
	}
	ok(keys_of(KEY_ORPHAN) == 6 && keys_of(KEY_EXTENT), "a killed process leaves orphans");
	f.options.lsm.read_only = true;
	fixture_open(&f);
	fixture_clean(&f, "read-only with orphans");
	is_int(fs_stats(f.fs, &stats), 0, "stats read-only");
	is_int(stats.files, 2, "... counted");
	fixture_close(&f);
	f.options.lsm.read_only = false;
	ok(keys_of(KEY_ORPHAN) == 6, "a read-only open leaves them");
	fixture_open(&f);
	is_int(fs_stats(f.fs, &stats), 0, "stats after a crash");
	is_int(stats.files, 2, "the root and one file");
	ok(ino_of(f.fs, FS_ROOT_INO, "named") > 1, "which is there");
	ok(mk_file(f.fs, FS_ROOT_INO, "next") > 4000, "numbers are not used again");
	fs_unlink(f.fs, FS_ROOT_INO, "next");
	fs_unlink(f.fs, FS_ROOT_INO, "named");
	fixture_clean(&f, "after a crash");
	fixture_close(&f);
	nothing_left("after a crash and an open");
	fixture_open(&f);
}

int main(void)
{
	fixture_init(&f);
	test_forget();
	test_close();
	test_crash();
	fixture_release(&f);
	return done();
}
