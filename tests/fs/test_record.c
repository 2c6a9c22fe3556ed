/*
 * The format of records: the example of record.c, there and back for every
 * type, and refusal of everything malformed.
 */
#include <errno.h>
#include <string.h>

#include "fs/record.h"
#include "tests/support/tap.h"

static void test_example(void)
{
	static const unsigned char want[] = {0x01, 0x05, 0xa4, 0x83, 0x02, 0, 1,    0,
					     0,    2,    0,    1,    0,    0, 0,    0,
					     0,    0,    0,    0,    0,    0, 0x68, 0x69};
	struct attr a = {.size = 2,
			 .content_size = 2,
			 .mode = S_IFREG | 0644,
			 .nlink = 1,
			 .ctime = TIME_1970_NS + 1,
			 .mtime = TIME_1970_NS + 1,
			 .atime = TIME_1970_NS + 1,
			 .btime = TIME_1970_NS + 1};
	unsigned char out[RECORD_BYTES_MAX];
	size_t n = record_encode(out, 5, &a, "hi");

	is_mem(out, n, want, sizeof(want), "the example of record.c");
}

static void round_trip(const char *what, const struct attr *a, const void *content)
{
	unsigned char out[RECORD_BYTES_MAX];
	const char *why = NULL;
	struct record r;
	size_t n = record_encode(out, 77, a, content);
	int rc = record_decode((struct lsm_slice){out, n}, &r, &why);

	is_int(rc, 0, "%s decodes%s%s", what, why ? ": " : "", why ? why : "");
	ok(r.kind == RECORD_INODE && r.ino == 77 && r.type == (a->mode & S_IFMT) &&
		   !memcmp(&r.attr, a, sizeof(*a)) && r.content.size == a->content_size &&
		   (!r.content.size || !memcmp(r.content.data, content, r.content.size)),
	   "%s is the same", what);
}

static void test_round_trips(void)
{
	char target[FS_SYMLINK_BYTES_MAX];
	struct attr a = {.mode = S_IFREG | 07777,
			 .nlink = FS_LINKS_MAX,
			 .uid = UINT32_MAX,
			 .gid = UINT32_MAX - 1,
			 .flags = ATTR_FLAGS,
			 .size = INT64_MAX,
			 .stored = INT64_MAX,
			 .atime = 0,
			 .mtime = UINT64_MAX,
			 .ctime = TIME_1970_NS - 1,
			 .btime = UINT64_MAX / 2};
	struct attr dir = {.mode = S_IFDIR | 0700, .nlink = 1, .entries = 1000000, .subdirs = 7};
	struct attr dev = {.mode = S_IFCHR | 0600, .nlink = 2, .rdev = UINT64_MAX};
	struct attr link = {.mode = S_IFLNK | 0777,
			    .nlink = 1,
			    .size = sizeof(target),
			    .content_size = sizeof(target)};

	memset(target, 'x', sizeof(target));
	round_trip("a file with everything at its limit", &a, NULL);
	round_trip("a directory", &dir, NULL);
	round_trip("a device", &dev, NULL);
	round_trip("the longest symbolic link", &link, target);
}

static bool refused(const struct attr *a, const void *content)
{
	unsigned char out[RECORD_BYTES_MAX];
	const char *why;
	struct record r;
	size_t n = record_encode(out, 3, a, content);

	return record_decode((struct lsm_slice){out, n}, &r, &why) == -EUCLEAN && why;
}

static void test_refusals(void)
{
	struct attr good = {.mode = S_IFREG | 0644, .nlink = 1, .size = 3, .content_size = 3}, a;
	unsigned char out[RECORD_BYTES_MAX];
	const char *why;
	struct record r;
	size_t n;
	bool all = true;

	ok(!refused(&good, "abc"), "a good one is not refused");
	a = good, a.mode = 0644;
	ok(refused(&a, "abc"), "no type");
	a = good, a.nlink = 0;
	ok(refused(&a, "abc"), "no name");
	a = good, a.size = 2;
	ok(refused(&a, "abc"), "more content than size");
	a = good, a.size = FS_INLINE_BYTES_MAX + 1;
	ok(refused(&a, "abc"), "too large to be without extents");
	a = good, a.flags = ATTR_EXTENTS;
	ok(refused(&a, "abc"), "content twice");
	a = good, a.flags = 4;
	ok(refused(&a, "abc"), "an unknown flag");
	a = good, a.mode = S_IFLNK | 0777, a.size = 4;
	ok(refused(&a, "abc"), "a target of another length");
	a = good, a.mode = S_IFLNK | 0777;
	ok(refused(&a, "a\0c"), "a target with a NUL");
	a = good, a.mode = S_IFDIR | 0755, a.content_size = 0, a.entries = 1, a.subdirs = 2;
	ok(refused(&a, NULL), "more subdirectories than entries");
	a = good, a.mode = S_IFIFO | 0644;
	ok(refused(&a, "abc"), "content in a pipe");

	n = record_encode(out, 3, &good, "abc");
	for (size_t i = 0; i < n - 3; i++)
		all &= record_decode((struct lsm_slice){out, i}, &r, &why) == -EUCLEAN;
	ok(all, "every head cut short is refused");
	n = record_encode_link(out, 300, S_IFREG);
	ok(!record_decode((struct lsm_slice){out, n}, &r, &why) && r.kind == RECORD_LINK &&
		   r.ino == 300 && r.type == S_IFREG,
	   "a link");
	ok(record_decode((struct lsm_slice){out, n - 1}, &r, &why) == -EUCLEAN, "a link cut short");
	out[n] = 0;
	ok(record_decode((struct lsm_slice){out, n + 1}, &r, &why) == -EUCLEAN,
	   "a link with something behind it");
	n = record_encode_link(out, 300, S_IFDIR);
	ok(record_decode((struct lsm_slice){out, n}, &r, &why) == -EUCLEAN, "a link to a dir");
	out[0] = 3;
	ok(record_decode((struct lsm_slice){out, n}, &r, &why) == -EUCLEAN, "an unknown kind");
}

int main(void)
{
	test_example();
	test_round_trips();
	test_refusals();
	return done();
}
