/* The storage in a local directory, and the helpers that are the same for all. */
#include "lsm/base/report.h"
#include "lsm/storage/storage.h"
#include "tests/support/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char base[] = "/tmp/varve-test-XXXXXX";
static char store[PATH_MAX];

static const char *in_base(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static int count_files(void *ctx, const char *name, uint64_t size)
{
	(void)name;
	(void)size;
	++*(int *)ctx;
	return 0;
}

static int stop_at_once(void *ctx, const char *name, uint64_t size)
{
	count_files(ctx, name, size);
	return 7;
}

struct seen {
	const char *want;
	uint64_t size;
	int times;
};

static int see(void *ctx, const char *name, uint64_t size)
{
	struct seen *s = ctx;

	if (!strcmp(name, s->want)) {
		s->size = size;
		s->times++;
	}
	return 0;
}

static struct storage *must_open(bool create, bool read_only)
{
	struct storage *st;

	if (storage_dir_open(store, create, read_only, &st))
		bail("cannot open the storage");
	return st;
}

static void test_open(void)
{
	struct storage *st;
	struct stat stat_buf;
	mode_t mask;
	int fd;

	is_int(storage_dir_open(store, false, false, &st), -ENOENT, "absent directory");
	ok(st == NULL, "no storage after an error");
	is_int(storage_dir_open(store, true, true, &st), -ENOENT, "read-only does not create");
	mask = umask(0);
	is_int(storage_dir_open(store, true, false, &st), 0, "created");
	umask(mask);
	ok(!stat(store, &stat_buf) && (stat_buf.st_mode & 0777) == 0700, "for its owner only");
	st->ops->free(st);
	is_int(storage_dir_open(store, true, false, &st), 0, "create of one that is there");
	st->ops->free(st);
	fd = open(in_base("plain"), O_CREAT | O_WRONLY, 0600);
	close(fd);
	is_int(storage_dir_open(in_base("plain"), true, false, &st), -ENOTDIR, "a plain file");
	unlink(in_base("plain"));
	is_int(storage_dir_open(in_base("no/such"), true, false, &st), -ENOENT, "absent parent");
}

static void test_files(void)
{
	struct storage *st = must_open(true, false);
	struct storage_file *f, *g;
	char buf[64];
	size_t got;
	uint64_t size, allocated;
	struct stat stat_buf;

	is_int(storage_open_file(st, "a", STORAGE_READ, &f), -ENOENT, "read of an absent file");
	ok(f == NULL, "no file after an error");
	is_int(storage_open_file(st, "a", STORAGE_WRITE, &f), -ENOENT, "write of an absent file");
	is_int(storage_open_file(st, "../a", STORAGE_CREATE, &f), -EINVAL, "a path is no name");
	is_int(storage_open_file(st, "", STORAGE_CREATE, &f), -EINVAL, "nor is nothing");
	is_int(storage_open_file(st, "a", STORAGE_CREATE, &f), 0, "create");
	is_int(storage_open_file(st, "a", STORAGE_CREATE, &g), -EEXIST, "create again");
	is_int(storage_pwrite(f, "hello", 5, 3), 0, "write");
	is_int(storage_sync(f), 0, "sync");
	is_int(storage_pread(f, buf, sizeof(buf), 0, &got), 0, "read beyond the end");
	is_mem(buf, got, "\0\0\0hello", 8, "is short and exact");
	is_int(storage_pread(f, buf, 4, 100, &got), 0, "read behind the end");
	is_int(got, 0, "gives nothing");
	is_int(storage_pread_full(f, buf, 5, 3), 0, "full read");
	is_int(storage_pread_full(f, buf, 6, 3), -EUCLEAN, "full read of too much");
	is_int(storage_pwrite(f, "", 0, 50), 0, "empty write");
	is_int(f->st->ops->size(f, &size, &allocated), 0, "size");
	is_int(size, 8, "is not changed by an empty write");
	is_int(f->st->ops->truncate(f, 4), 0, "truncate");
	is_int(f->st->ops->size(f, &size, NULL), 0, "size without blocks");
	is_int(size, 4, "truncated");
	ok(!stat(in_base("store/a"), &stat_buf) && (stat_buf.st_mode & 0777) == 0600, "mode 0600");
	is_int(st->ops->rename(st, "a", "b"), 0, "rename");
	is_int(st->ops->rename(st, "a", "b"), -ENOENT, "rename of an absent file");
	is_int(storage_open_file(st, "b", STORAGE_READ, &g), 0, "open the new name");
	ok(storage_pwrite(g, "x", 1, 0) < 0, "a file opened to read is not written");
	is_int(st->ops->unlink(st, "b"), 0, "unlink");
	is_int(st->ops->unlink(st, "b"), -ENOENT, "unlink again");
	is_int(storage_pread_full(g, buf, 4, 0), 0, "an open file outlives its name");
	is_int(st->ops->sync_dir(st), 0, "sync_dir");
	is_int(storage_close(f), 0, "close");
	is_int(storage_close(g), 0, "close");
	is_int(storage_close(NULL), 0, "close of nothing");
	st->ops->free(st);
}

static void test_space(void)
{
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	uint64_t size, before, after, free_bytes, total_bytes;
	char buf[4096], zeros[4096] = {0};

	is_int(st->ops->space(st, &free_bytes, &total_bytes), 0, "space");
	ok(free_bytes > 0 && free_bytes <= total_bytes, "is sane");
	if (storage_open_file(st, "s", STORAGE_CREATE, &f))
		bail("create");
	is_int(f->st->ops->allocate(f, 1 << 20), 0, "allocate");
	is_int(f->st->ops->size(f, &size, &before), 0, "size");
	is_int(size, 1 << 20, "allocate makes the file that long");
	ok(before >= 1 << 20, "and reserves the space");
	is_int(f->st->ops->allocate(f, 4096), 0, "allocate less");
	is_int(f->st->ops->size(f, &size, NULL), 0, "size");
	is_int(size, 1 << 20, "changes nothing");
	memset(buf, 'x', sizeof(buf));
	for (int i = 0; i < 256; i++)
		if (storage_pwrite(f, buf, sizeof(buf), (uint64_t)i * 4096))
			bail("write");
	is_int(f->st->ops->punch(f, 0, 512 << 10), 0, "punch");
	is_int(f->st->ops->punch(f, 0, 0), 0, "punch nothing");
	is_int(f->st->ops->size(f, &size, &after), 0, "size");
	is_int(size, 1 << 20, "punch keeps the size");
	if (storage_pread_full(f, buf, sizeof(buf), 4096))
		bail("read");
	if (buf[0]) {
		tap_skip("this filesystem cannot punch holes");
	} else {
		is_mem(buf, sizeof(buf), zeros, sizeof(zeros), "a hole reads as zeros");
		ok(after + (256 << 10) <= before, "punch gives space back");
	}
	storage_close(f);
	st->ops->unlink(st, "s");
	st->ops->free(st);
}

/* More parts than one system call takes, some of them empty. */
static void test_many_parts(void)
{
	enum { PARTS = 3000 };
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	static struct iovec iov[PARTS];
	static char data[PARTS * 7], back[PARTS * 7 + 1];
	size_t at = 0, got;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 + i / 251);
	for (int i = 0; i < PARTS; i++) {
		iov[i].iov_base = data + at;
		iov[i].iov_len = (size_t)i % 8;
		at += iov[i].iov_len;
	}
	if (storage_open_file(st, "parts", STORAGE_CREATE, &f))
		bail("create");
	is_int(storage_pwritev(f, iov, PARTS, 11), 0, "write of %d parts", PARTS);
	is_int(storage_pread(f, back, sizeof(back), 11, &got), 0, "read");
	is_mem(back, got, data, at, "comes back whole");
	storage_close(f);
	st->ops->unlink(st, "parts");
	st->ops->free(st);
}

/* A limit on file sizes makes a write short, and then fail. */
static void test_short_write(void)
{
	struct rlimit old, limit;
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	static char data[64 << 10];
	uint64_t size;
	struct iovec iov[2] = {{data, 1000}, {data, 5000}};

	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = 2500;
	signal(SIGXFSZ, SIG_IGN);
	if (storage_open_file(st, "short", STORAGE_CREATE, &f) || setrlimit(RLIMIT_FSIZE, &limit))
		bail("set up");
	is_int(storage_pwritev(f, iov, 2, 0), -EFBIG, "a write that is cut short fails");
	setrlimit(RLIMIT_FSIZE, &old);
	is_int(f->st->ops->size(f, &size, NULL), 0, "size");
	is_int(size, 2500, "after going on as far as it could");
	storage_close(f);
	st->ops->unlink(st, "short");
	st->ops->free(st);
}

static void test_list(void)
{
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	struct seen seen = {.want = "file"}, dir = {.want = "dir", .size = 9};
	int count = 0;

	if (storage_open_file(st, "file", STORAGE_CREATE, &f) || storage_pwrite(f, "abc", 3, 0))
		bail("create");
	storage_close(f);
	if (mkdir(in_base("store/dir"), 0700) || mkfifo(in_base("store/fifo"), 0600))
		bail("mkdir");
	is_int(st->ops->list(st, count_files, &count), 0, "list");
	is_int(count, 3, "sees everything");
	is_int(st->ops->list(st, see, &seen), 0, "list again");
	ok(seen.times == 1 && seen.size == 3, "with sizes");
	is_int(st->ops->list(st, see, &dir), 0, "list again");
	ok(dir.times == 1 && dir.size == 0, "a directory has none");
	count = 0;
	is_int(st->ops->list(st, stop_at_once, &count), 7, "stops when told, with that value");
	is_int(count, 1, "at once");
	is_int(storage_open_file(st, "dir", STORAGE_READ, &f), -EINVAL, "a directory is no file");
	is_int(storage_open_file(st, "fifo", STORAGE_READ, &f), -EINVAL, "nor is a fifo");
	rmdir(in_base("store/dir"));
	unlink(in_base("store/fifo"));
	st->ops->unlink(st, "file");
	st->ops->free(st);
}

static void test_read_only(void)
{
	struct storage *st = must_open(true, false), *ro;
	struct storage_file *f;
	char c;

	if (storage_open_file(st, "r", STORAGE_CREATE, &f) || storage_pwrite(f, "r", 1, 0))
		bail("create");
	storage_close(f);
	ro = must_open(false, true);
	is_int(storage_open_file(ro, "new", STORAGE_CREATE, &f), -EROFS, "read-only: no create");
	is_int(storage_open_file(ro, "r", STORAGE_WRITE, &f), -EROFS, "read-only: no write");
	is_int(ro->ops->rename(ro, "r", "s"), -EROFS, "read-only: no rename");
	is_int(ro->ops->unlink(ro, "r"), -EROFS, "read-only: no unlink");
	is_int(ro->ops->sync_dir(ro), -EROFS, "read-only: no sync_dir");
	is_int(ro->ops->lock(ro, true, NULL), -EROFS, "read-only: no exclusive lock");
	is_int(storage_open_file(ro, "r", STORAGE_READ, &f), 0, "read-only: open");
	is_int(storage_pread_full(f, &c, 1, 0), 0, "read-only: read");
	storage_close(f);
	ro->ops->free(ro);
	st->ops->unlink(st, "r");
	st->ops->free(st);
}

static void test_lock(void)
{
	struct storage *a = must_open(true, false), *b = must_open(true, false);
	struct storage *ro = must_open(false, true);
	int to_child[2], from_child[2], status;
	long holder = -1;
	pid_t pid;
	char c = 0;

	is_int(a->ops->lock(a, true, &holder), 0, "lock");
	is_int(holder, 0, "no holder");
	is_int(a->ops->lock(a, true, &holder), -EBUSY, "lock what this storage holds");
	is_int(b->ops->lock(b, true, &holder), -EBUSY, "lock from another storage");
	is_int(holder, getpid(), "names this process");
	is_int(ro->ops->lock(ro, false, &holder), -EBUSY, "shared beside exclusive");
	is_int(holder, getpid(), "names this process");
	is_int(b->ops->lock(b, true, NULL), -EBUSY, "nobody asked for the holder");
	a->ops->unlock(a);
	is_int(a->ops->lock(a, false, NULL), 0, "shared");
	is_int(ro->ops->lock(ro, false, NULL), 0, "shared beside shared");
	is_int(b->ops->lock(b, true, &holder), -EBUSY, "exclusive beside shared");
	is_int(holder, 0, "whose holders are not known");
	a->ops->unlock(a);
	ro->ops->free(ro);

	if (pipe(to_child) || pipe(from_child))
		bail("pipe");
	pid = fork();
	if (pid < 0)
		bail("fork");
	if (!pid) {
		struct storage *mine = must_open(true, false);

		if (mine->ops->lock(mine, true, NULL) || write(from_child[1], "l", 1) != 1)
			_exit(1);
		close(to_child[1]);
		_exit(read(to_child[0], &c, 1) < 0); /* and keep the lock until killed */
	}
	if (read(from_child[0], &c, 1) != 1)
		bail("the child did not lock");
	is_int(b->ops->lock(b, true, &holder), -EBUSY, "another process holds it");
	is_int(holder, pid, "and is named");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	is_int(a->ops->lock(a, false, NULL), 0, "a killed holder's lock is gone");
	is_int(b->ops->lock(b, true, &holder), -EBUSY, "a reader holds it");
	is_int(holder, 0, "and its dead predecessor is not named");
	a->ops->free(a); /* unlocks */
	is_int(b->ops->lock(b, true, NULL), 0, "lock after the holder was freed");
	b->ops->free(b);
	unlink(in_base("store/LOCK"));
	close(to_child[0]);
	close(to_child[1]);
	close(from_child[0]);
	close(from_child[1]);
}

/* A store on a read-only medium, seen by a user who cannot make LOCK. */
static void test_lock_unwritable(void)
{
	struct storage *ro = must_open(false, true);
	pid_t pid;
	int status = 0;

	chmod(base, 0755);
	chmod(store, 0555);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		bail("fork");
	if (!pid) {
		if (!getuid() && (setgid(65534) || setuid(65534)))
			_exit(2);
		_exit(ro->ops->lock(ro, false, NULL) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	chmod(store, 0700);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "a reader of an unwritable directory");
	ok(access(in_base("store/LOCK"), F_OK) != 0, "made no LOCK");
	ro->ops->free(ro);
}

/* What somebody else may have left where the lock should be; none of it hangs or is harmed. */
static void test_lock_strange(void)
{
	struct storage *st = must_open(true, false), *ro = must_open(false, true);
	char text[16] = "", lock[PATH_MAX];
	FILE *f;

	unlink(in_base("store/LOCK"));
	if (mkfifo(in_base("store/LOCK"), 0600))
		bail("mkfifo");
	is_int(st->ops->lock(st, true, NULL), -EINVAL, "a fifo is no lock");
	is_int(ro->ops->lock(ro, false, NULL), -EINVAL,
	       "nor for a reader, who would wait for ever");
	unlink(in_base("store/LOCK"));
	f = fopen(in_base("letter"), "w");
	if (!f || fputs("precious", f) < 0 || fclose(f))
		bail("letter");
	if (symlink("../letter", in_base("store/LOCK")))
		bail("symlink");
	is_int(st->ops->lock(st, true, NULL), -ELOOP, "a symbolic link is not followed");
	unlink(in_base("store/LOCK"));
	snprintf(lock, sizeof(lock), "%s", in_base("store/LOCK"));
	if (link(in_base("letter"), lock))
		bail("link");
	is_int(st->ops->lock(st, true, NULL), 0, "another name of a file is locked");
	st->ops->free(st);
	f = fopen(in_base("letter"), "r");
	ok(f && fgets(text, sizeof(text), f) && !strcmp(text, "precious"), "and not written to");
	if (f)
		fclose(f);
	ro->ops->free(ro);
	unlink(in_base("store/LOCK"));
	unlink(in_base("letter"));
}

static void *write_stripe(void *arg)
{
	struct storage_file *f = ((void **)arg)[0];
	long id = (long)((void **)arg)[1];
	char buf[100];

	memset(buf, 'a' + (int)id, sizeof(buf));
	for (uint64_t i = 0; i < 50; i++)
		if (storage_pwrite(f, buf, sizeof(buf), (i * 4 + (uint64_t)id) * sizeof(buf)) ||
		    (i % 10 == 0 && storage_sync(f)) ||
		    storage_pread_full(f, buf, sizeof(buf), (i * 4 + (uint64_t)id) * sizeof(buf)))
			return f;
	return NULL;
}

static void test_threads(void)
{
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	pthread_t thread[4];
	void *args[4][2], *bad = NULL, *res;

	if (storage_open_file(st, "t", STORAGE_CREATE, &f))
		bail("create");
	for (long i = 0; i < 4; i++) {
		args[i][0] = f;
		args[i][1] = (void *)i;
		if (pthread_create(&thread[i], NULL, write_stripe, args[i]))
			bail("pthread_create");
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], &res);
		bad = bad ? bad : res;
	}
	ok(!bad, "four threads on one file");
	storage_close(f);
	st->ops->unlink(st, "t");
	st->ops->free(st);
}

/* Descriptors of the directory, not the path, are what counts. */
static void test_moved(void)
{
	struct storage *st = must_open(true, false);
	struct storage_file *f;
	char moved[PATH_MAX];

	snprintf(moved, sizeof(moved), "%s", in_base("moved"));
	if (rename(store, moved))
		bail("rename");
	is_int(storage_open_file(st, "m", STORAGE_CREATE, &f), 0, "the directory was renamed");
	storage_close(f);
	is_int(st->ops->unlink(st, "m"), 0, "and still works");
	if (rename(moved, store))
		bail("rename");
	st->ops->free(st);
}

static void keep_message(void *ctx, enum lsm_report_level level, const char *message)
{
	snprintf(ctx, 2000, "%d %s", (int)level, message);
}

static void test_report(void)
{
	char got[2000] = "", longer[3000];
	struct report r = {keep_message, got}, none = {NULL, NULL};

	report(&r, LSM_REPORT_WARNING, "%s is %d", "x", 5);
	ok(!strcmp(got, "1 x is 5"), "report");
	is_int(report_corrupt(&r, "a.tab", 4096, "bad %s", "sum"), -EUCLEAN, "report_corrupt");
	ok(!strcmp(got, "2 a.tab: damaged at offset 4096: bad sum"), "says where and why");
	is_int(report_corrupt(&none, "a", 0, "x"), -EUCLEAN, "nobody listens");
	memset(longer, 'y', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	report(&r, LSM_REPORT_INFO, "%s", longer);
	is_int(strlen(got), 2 + 1023, "a long message is cut");
}

int main(void)
{
	alarm(120); /* what hangs fails */
	if (!mkdtemp(base))
		bail("mkdtemp");
	snprintf(store, sizeof(store), "%s", in_base("store"));
	test_open();
	test_files();
	test_space();
	test_many_parts();
	test_short_write();
	test_list();
	test_read_only();
	test_lock();
	test_lock_unwritable();
	test_lock_strange();
	test_threads();
	test_moved();
	test_report();
	ok(!rmdir(store) && !rmdir(base), "nothing was left behind");
	return done();
}
