/*
 * Attributes, times and extended attributes.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#include "tests/support/fs_fixture.h"

static struct fs_fixture f;

static struct timespec ts(time_t sec, long nsec)
{
	return (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
}

static void test_setattr(void)
{
	uint64_t a = make_file(f.fs, FS_ROOT_INO, "a"), d = make_dir(f.fs, FS_ROOT_INO, "d");
	struct stat want = {.st_mode = 06755, .st_uid = 5, .st_gid = 6, .st_size = 10}, st;

	want.st_atim = ts(-5, 999999999);
	want.st_mtim = ts(2000000000, 123456789);
	is_int(fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MODE | FS_SET_ATIME | FS_SET_MTIME, &st), 0,
	       "mode and times");
	is_int(st.st_mode, S_IFREG | 06755, "the mode, of the same type");
	ok(st.st_atim.tv_sec == -5 && st.st_atim.tv_nsec == 999999999, "atime before 1970");
	ok(st.st_mtim.tv_sec == 2000000000 && st.st_mtim.tv_nsec == 123456789, "mtime");
	is_int(fs_setattr(f.fs, &ROOT, a, &want, FS_SET_UID | FS_SET_GID, &st), 0, "owner");
	ok(st.st_uid == 5 && st.st_gid == 6, "the owner");
	is_int(st.st_mode, S_IFREG | 0755, "setuid and setgid are gone");
	want.st_mode = 06755;
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MODE | FS_SET_UID, &st);
	is_int(st.st_mode, S_IFREG | 06755, "unless the same call sets the mode");
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_KILL_PRIV, &st);
	is_int(st.st_mode, S_IFREG | 0755, "KILL_PRIV");
	want.st_mode = 02644;
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MODE, &st);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_UID, &st);
	is_int(st.st_mode, S_IFREG | 02644, "setgid without execution stays");
	want.st_mode = 02755;
	fs_setattr(f.fs, &USER, a, &want, FS_SET_MODE, &st);
	is_int(st.st_mode, S_IFREG | 0755, "a user cannot set setgid for a foreign group");
	want.st_mode = 02777;
	fs_setattr(f.fs, &ROOT, d, &want, FS_SET_MODE, &st);
	fs_setattr(f.fs, &ROOT, d, &want, FS_SET_UID, &st);
	is_int(st.st_mode, S_IFDIR | 02777, "directories keep theirs");
	is_int(fs_setattr(f.fs, &ROOT, d, &want, FS_SET_SIZE, &st), -EISDIR, "size of a directory");
	want.st_size = -1;
	is_int(fs_setattr(f.fs, &ROOT, a, &want, FS_SET_SIZE, &st), -EINVAL, "a negative size");
	want.st_ctim = ts(77, 7);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_CTIME, &st);
	is_int(st.st_ctim.tv_sec, 77, "ctime");
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_ATIME_NOW | FS_SET_MTIME_NOW, &st);
	ok(llabs(st.st_atim.tv_sec - time(NULL)) < 60 && llabs(st.st_mtim.tv_sec - time(NULL)) < 60,
	   "now");
	is_int(fs_setattr(f.fs, &ROOT, 4711, &want, FS_SET_MODE, &st), -ESTALE,
	       "an inode that is not held");
	want.st_atim = ts(INT64_MIN, 5);
	want.st_mtim = ts(INT64_MAX, 5);
	is_int(fs_setattr(f.fs, &ROOT, a, &want, FS_SET_ATIME | FS_SET_MTIME, &st), 0,
	       "times beyond all");
	ok(st.st_atim.tv_sec == -2147483648 && !st.st_atim.tv_nsec, "... become the first");
	ok(st.st_mtim.tv_sec == 15032385535 && !st.st_mtim.tv_nsec, "... and the last of ext4");
	fs_fixture_reopen(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "a", &want);
	is_mem(&want, sizeof(st), &st, sizeof(st), "everything after a reopen");
}

static void test_times(void)
{
	uint64_t a = make_file(f.fs, FS_ROOT_INO, "t");
	struct stat s0 = attr_of(f.fs, a), s1, s2, want = {0};
	char buf[4];
	size_t got;

	fs_write(f.fs, a, 0, "abc", 3, 0, &s1);
	ok(ns_of(s1.st_mtim) > ns_of(s0.st_mtim) && ns_of(s1.st_ctim) > ns_of(s0.st_ctim),
	   "a write sets mtime and ctime");
	ok(fs_atime_due(f.fs, a), "relatime: a read would set atime");
	fs_read_noatime(f.fs, a, 0, buf, 3, &got);
	is_int(ns_of(attr_of(f.fs, a).st_atim), ns_of(s1.st_atim), "... not with O_NOATIME");
	fs_read(f.fs, a, 0, buf, 3, &got);
	s2 = attr_of(f.fs, a);
	ok(!fs_atime_due(f.fs, a) && !fs_atime_due(f.fs, 4711), "... would not again");
	ok(ns_of(s2.st_atim) > ns_of(s1.st_mtim), "relatime: the first read after it sets atime");
	is_int(ns_of(s2.st_ctim), ns_of(s1.st_ctim), "... not ctime");
	fs_read(f.fs, a, 0, buf, 3, &got);
	s1 = attr_of(f.fs, a);
	is_int(ns_of(s1.st_atim), ns_of(s2.st_atim), "... the second does not");
	want.st_atim = ts(1000, 0);
	want.st_mtim = ts(500, 0);
	want.st_ctim = ts(500, 0);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_ATIME | FS_SET_MTIME | FS_SET_CTIME, &s1);
	fs_read(f.fs, a, 0, buf, 3, &got);
	ok(attr_of(f.fs, a).st_atim.tv_sec > 1000, "... unless it is a day old");
	/* Beyond 2262, where nanoseconds since 1970 have no sign left. */
	want.st_atim = ts(10000000001, 0);
	want.st_mtim = ts(10000000000, 0);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_ATIME | FS_SET_MTIME, &s1);
	fs_read(f.fs, a, 0, buf, 3, &got);
	is_int(attr_of(f.fs, a).st_atim.tv_sec, 10000000001, "... but a future atime stays");
	want.st_mtim = ts(10000000002, 0);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MTIME, &s1);
	fs_read(f.fs, a, 0, buf, 3, &got);
	ok(attr_of(f.fs, a).st_atim.tv_sec < 10000000000, "... unless the file is newer still");
	want.st_mtim = ts(500, 0);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MTIME, &s1);
	fs_fallocate(f.fs, a, FALLOC_FL_KEEP_SIZE, 0, 1);
	ok(attr_of(f.fs, a).st_mtim.tv_sec > 500, "fallocate of existing bytes sets mtime");
	/* A clock that was wrong once: its time must not stay until it comes true. */
	want.st_ctim = ts(8000000000, 0);
	fs_setattr(f.fs, &ROOT, a, &want, FS_SET_CTIME, &s1);
	fs_write(f.fs, a, 0, "abc", 3, 0, &s1);
	ok(s1.st_mtim.tv_sec < 8000000000 && s1.st_ctim.tv_sec < 8000000000,
	   "a future time gives way to the present");
	fs_fixture_close(&f);
	f.options.atime = FS_NOATIME;
	fs_fixture_open(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "t", &s0);
	fs_write(f.fs, a, 0, "abc", 3, 0, &s1);
	fs_read(f.fs, a, 0, buf, 3, &got);
	is_int(ns_of(attr_of(f.fs, a).st_atim), ns_of(s0.st_atim), "noatime");
	fs_fixture_close(&f);
	f.options.atime = FS_STRICTATIME;
	fs_fixture_open(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "t", &s0);
	fs_read(f.fs, a, 0, buf, 3, &got);
	s1 = attr_of(f.fs, a);
	fs_read(f.fs, a, 0, buf, 3, &got);
	ok(ns_of(attr_of(f.fs, a).st_atim) > ns_of(s1.st_atim), "strictatime");
	fs_fixture_close(&f);
	f.options.atime = FS_RELATIME;
	fs_fixture_open(&f);
}

/* All names fit into the 64 KiB in which Linux lists them: else nobody finds them any more. */
static void test_xattr_list_limit(void)
{
	static char list[FS_XATTR_BYTES_MAX];
	uint64_t a = make_dir(f.fs, FS_ROOT_INO, "many");
	/* An access ACL: owner and others may do all, the group nothing. */
	static const unsigned char acl[] = {2,   0,   0, 0, 1,   0,   7,   0,   255, 255,
					    255, 255, 4, 0, 0,   0,   255, 255, 255, 255,
					    32,  0,   7, 0, 255, 255, 255, 255};
	char name[FS_NAME_BYTES_MAX + 1];
	size_t got = 0, count = 0, seen = 0;
	int err = 0;

	for (; !err && count < 1000; count += !err) {
		snprintf(name, sizeof(name), "user.%0200zu", count);
		err = fs_setxattr(f.fs, a, name, "v", 1, 0);
	}
	is_int(err, -ENOSPC, "one name more than can be listed");
	ok(count > 300, "... after %zu of them", count);
	is_int(fs_listxattr(f.fs, a, list, sizeof(list), &got), 0, "... all are listed");
	for (size_t at = 0; at < got; at += strlen(list + at) + 1)
		seen++;
	is_int(seen, count, "... each once");
	is_int(fs_setxattr(f.fs, a, "user.s", "v", 1, 0), got + 56 > sizeof(list) ? -ENOSPC : 0,
	       "a short name has room if there is any");
	snprintf(name, sizeof(name), "user.%0200u", 0);
	is_int(fs_setxattr(f.fs, a, name, "other", 5, 0), 0, "what is there can be changed");
	if (f.options.acl) {
		is_int(fs_setxattr(f.fs, a, "system.posix_acl_default", acl, sizeof(acl), 0), 0,
		       "a default ACL");
		is_int(fs_listxattr(f.fs, a, list, sizeof(list), &got), 0, "... is listed, too");
	}
	is_int(fs_removexattr(f.fs, a, name), 0, "remove one");
	is_int(fs_setxattr(f.fs, a, name, "v", 1, 0), 0, "... and there is room for one");
	fs_forget(f.fs, a, 1);
	is_int(fs_rmdir(f.fs, FS_ROOT_INO, "many"), 0, "remove the directory");
}

static void test_xattrs(void)
{
	uint64_t a = make_file(f.fs, FS_ROOT_INO, "x");
	char *big = malloc(FS_XATTR_BYTES_MAX + 1), *out = malloc(FS_XATTR_BYTES_MAX), list[64];
	char name[FS_NAME_BYTES_MAX + 2];
	struct stat before, st;
	size_t got;

	if (!big || !out)
		bail("memory");
	memset(big, 'b', FS_XATTR_BYTES_MAX + 1);
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	is_int(fs_getxattr(f.fs, a, "user.a", out, 10, &got), -ENODATA, "none yet");
	is_int(fs_listxattr(f.fs, a, list, 64, &got), 0, "list");
	is_int(got, 0, "... is empty");
	is_int(fs_setxattr(f.fs, a, "user.a", "1", 1, XATTR_REPLACE), -ENODATA, "replace nothing");
	before = attr_of(f.fs, a);
	is_int(fs_setxattr(f.fs, a, "user.a", "1", 1, XATTR_CREATE), 0, "create");
	ok(ns_of(attr_of(f.fs, a).st_ctim) > ns_of(before.st_ctim), "... sets ctime");
	is_int(fs_setxattr(f.fs, a, "user.a", "1", 1, XATTR_CREATE), -EEXIST, "again");
	is_int(fs_setxattr(f.fs, a, "user.a", "22", 2, XATTR_REPLACE), 0, "replace");
	is_int(fs_setxattr(f.fs, a, "user.b", NULL, 0, 0), 0, "set an empty attribute");
	is_int(fs_setxattr(f.fs, a, "user.c", big, FS_XATTR_BYTES_MAX, 0), 0, "the largest");
	is_int(fs_setxattr(f.fs, a, "user.d", big, FS_XATTR_BYTES_MAX + 1, 0), -E2BIG, "too large");
	is_int(fs_setxattr(f.fs, a, name, "1", 1, 0), -ERANGE, "a name of 256");
	is_int(fs_setxattr(f.fs, a, name + 1, "1", 1, 0), 0, "a name of 255");
	is_int(fs_removexattr(f.fs, a, name + 1), 0, "... removed");
	is_int(fs_setxattr(f.fs, a, "", "1", 1, 0), -ERANGE, "no name");
	is_int(fs_getxattr(f.fs, a, "user.a", out, 1, &got), -ERANGE, "no room");
	is_int(fs_getxattr(f.fs, a, "user.a", NULL, 0, &got), 0, "only its size");
	is_int(got, 2, "... is two");
	fs_fixture_reopen(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "x", &st);
	is_int(fs_getxattr(f.fs, a, "user.c", out, FS_XATTR_BYTES_MAX, &got), 0, "the largest");
	is_mem(out, got, big, FS_XATTR_BYTES_MAX, "... is whole after a reopen");
	is_int(fs_getxattr(f.fs, a, "user.b", out, 1, &got), 0, "get the empty attribute");
	is_int(got, 0, "... is empty");
	is_int(fs_listxattr(f.fs, a, list, 64, &got), 0, "list");
	is_mem(list, got, "user.a\0user.b\0user.c", 21, "... of all");
	is_int(fs_listxattr(f.fs, a, list, 20, &got), -ERANGE, "... without room");
	is_int(fs_listxattr(f.fs, a, NULL, 0, &got), 0, "... its size");
	is_int(got, 21, "... is right");
	is_int(fs_removexattr(f.fs, a, "user.z"), -ENODATA, "remove nothing");
	is_int(fs_removexattr(f.fs, a, "user.b"), 0, "remove an attribute");
	fs_setxattr(f.fs, a, "security.capability", "cap", 3, 0);
	fs_write(f.fs, a, 0, "x", 1, FS_WRITE_KILL_PRIV, NULL);
	is_int(fs_getxattr(f.fs, a, "security.capability", NULL, 0, &got), -ENODATA,
	       "a write kills capabilities");
	is_int(fs_removexattr(f.fs, a, "user.a"), 0, "remove another attribute");
	is_int(fs_removexattr(f.fs, a, "user.c"), 0, "... and the last");
	is_int(fs_removexattr(f.fs, a, "user.c"), -ENODATA, "... none left");
	fs_fixture_clean(&f, "with attributes removed");
	fs_setxattr(f.fs, a, "user.a", "1", 1, 0);
	is_int(fs_unlink(f.fs, FS_ROOT_INO, "x"), 0, "unlink");
	is_int(fs_getxattr(f.fs, a, "user.a", out, 1, &got), 0, "still there while held");
	fs_forget(f.fs, a, 1);
	fs_fixture_clean(&f, "after an inode with attributes was freed");
	free(big);
	free(out);
}

static void test_statfs(void)
{
	struct fs_stats stats;
	struct statvfs st;
	uint64_t files;

	is_int(fs_statfs(f.fs, &st), 0, "statfs");
	ok(st.f_namemax == 255 && st.f_bsize == 4096 && st.f_blocks >= st.f_bfree &&
		   st.f_files > st.f_ffree,
	   "makes sense");
	is_int(fs_stats(f.fs, &stats), 0, "stats");
	files = stats.files;
	make_file(f.fs, FS_ROOT_INO, "one more");
	fs_stats(f.fs, &stats);
	is_int(stats.files, files + 1, "one more file");
	fs_fixture_reopen(&f);
	fs_stats(f.fs, &stats);
	is_int(stats.files, files + 1, "... and after a reopen");
	fs_unlink(f.fs, FS_ROOT_INO, "one more");
	fs_stats(f.fs, &stats);
	is_int(stats.files, files, "one file less");
}

int main(void)
{
	fs_fixture_init(&f);
	run_test(test_setattr);
	run_test(test_times);
	run_test(test_xattrs);
	run_test(test_xattr_list_limit);
	run_test(test_statfs);
	fs_fixture_clean(&f, "in the end");
	fs_fixture_release(&f);
	return done();
}
