/*
 * test_ops_xattr.c - the handlers of extended attributes, and those that the daemon answers.
 */
#include <sys/xattr.h>

#include "mount/control.h"
#include "mount/scrub.h"
#include "mount/stats.h"
#include "tests/mount/fake/fake_transport.h"

#define OWNER 1000 /* of the mount: fake_init() */

static struct fake f;
static uint64_t ino;

static void set(const char *name, const void *value, size_t size, int flags)
{
	struct request r = fake_request(&f, ino);

	op_setxattr(&r, name, value, size, flags, false);
}

static void get(const char *name, size_t size)
{
	struct request r = fake_request(&f, ino);

	op_getxattr(&r, name, size);
}

static void list(uid_t uid, size_t size)
{
	struct request r = fake_request(&f, ino);

	r.uid = uid;
	op_listxattr(&r, size);
}

static void remove_attribute(const char *name)
{
	struct request r = fake_request(&f, ino);

	op_removexattr(&r, name);
}

static void test_values(void)
{
	static char big[FS_XATTR_BYTES_MAX + 1];
	const struct fake_answer *a;

	set("user.key", "value", 5, 0);
	is_error(&f, 0, "set");
	get("user.key", 0);
	is_kind(&f, FAKE_LENGTH, "get with size 0: a length");
	is_int(fake_reply(&f)->size, 5, "... the value's");
	get("user.key", 5);
	a = fake_reply(&f);
	is_int(a->kind, FAKE_BYTES, "get: bytes");
	is_mem(a->data, a->size, "value", 5, "... the value");
	get("user.key", 4);
	is_error(&f, ERANGE, "get into less than the value needs");
	get("user.key", FS_XATTR_BYTES_MAX * 2);
	is_int(fake_reply(&f)->size, 5, "get into more than a value can need");
	get("user.none", 5);
	is_error(&f, ENODATA, "get of one that is not there");
	set("user.key", "v", 1, XATTR_CREATE);
	is_error(&f, EEXIST, "set that must create");
	set("user.other", "v", 1, XATTR_REPLACE);
	is_error(&f, ENODATA, "set that must replace");
	set("user.empty", "", 0, 0);
	is_error(&f, 0, "set of an empty value");
	get("user.empty", 0);
	is_int(fake_reply(&f)->size, 0, "... has no length");
	memset(big, 'b', sizeof(big));
	set("user.big", big, FS_XATTR_BYTES_MAX, 0);
	is_error(&f, 0, "set of the largest value");
	get("user.big", FS_XATTR_BYTES_MAX);
	a = fake_reply(&f);
	is_mem(a->data, a->size, big, FS_XATTR_BYTES_MAX, "... and get");
	set("user.big", big, sizeof(big), 0);
	ok(fake_reply(&f)->err == E2BIG || fake_reply(&f)->err == ERANGE, "one that is larger");
	remove_attribute("user.big");
	is_error(&f, 0, "remove");
	remove_attribute("user.big");
	is_error(&f, ENODATA, "remove again");
	remove_attribute("user.empty");
}

static void test_names(void)
{
	static const struct {
		const char *name;
		int err;
	} names[] = {
		{"user.", EINVAL},
		{"trusted.", EINVAL},
		{"security.", EINVAL},
		{"user", EOPNOTSUPP},
		{"", EOPNOTSUPP},
		{"nonsense", EOPNOTSUPP},
		{"system.other", EOPNOTSUPP},
		{"security.selinux", EOPNOTSUPP},
		{"system.posix_acl_access", EOPNOTSUPP}, /* without the option acl */
		{"system.posix_acl_default", EOPNOTSUPP},
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		set(names[i].name, "v", 1, 0);
		is_error(&f, names[i].err, "set '%s'", names[i].name);
		get(names[i].name, 10);
		is_error(&f, names[i].err, "get '%s'", names[i].name);
		remove_attribute(names[i].name);
		is_error(&f, names[i].err, "remove '%s'", names[i].name);
	}
	set("security.capability", "v", 1, 0);
	is_error(&f, 0, "set one of security.");
	remove_attribute("security.capability");
	is_error(&f, 0, "... and remove it");
}

static void test_list(void)
{
	const struct fake_answer *a;

	set("trusted.one", "1", 1, 0);
	set("user.two", "2", 1, 0);
	list(0, 0);
	is_kind(&f, FAKE_LENGTH, "list with size 0: a length");
	is_int(fake_reply(&f)->size, 9 + 12 + 9, "... of three names");
	list(0, 100);
	a = fake_reply(&f);
	is_int(a->kind, FAKE_BYTES, "list: bytes");
	is_int(a->size, 9 + 12 + 9, "... as many");
	ok(memmem(a->data, a->size, "trusted.one", 12), "... root sees trusted.");
	list(2000, 100);
	a = fake_reply(&f);
	is_int(a->size, 9 + 9, "others see two");
	ok(!memmem(a->data, a->size, "trusted", 7), "... and not trusted.");
	list(2000, 0);
	is_int(fake_reply(&f)->size, 9 + 9, "... and their length");
	list(2000, 9 + 9);
	is_int(fake_reply(&f)->size, 9 + 9, "list into just as much as it needs");
	list(2000, 9 + 9 - 1);
	is_error(&f, ERANGE, "list into less");
	remove_attribute("user.two");
	remove_attribute("user.key");
	list(2000, 0);
	is_int(fake_reply(&f)->size, 0, "others see nothing where there is only trusted.");
	remove_attribute("trusted.one");
	list(0, 100);
	is_int(fake_reply(&f)->size, 0, "an empty list");
}

static void test_stale(void)
{
	struct request r = fake_request(&f, 4711);

	op_setxattr(&r, "user.key", "v", 1, 0, false);
	is_error(&f, ESTALE, "set on a number that nobody holds");
	r = fake_request(&f, 4711);
	op_getxattr(&r, "user.key", 1);
	is_error(&f, ESTALE, "get");
	r = fake_request(&f, 4711);
	op_listxattr(&r, 1);
	is_error(&f, ESTALE, "list");
	r = fake_request(&f, 4711);
	op_removexattr(&r, "user.key");
	is_error(&f, ESTALE, "remove");
}

/* ---- control.h ---- */

static void test_control(void)
{
	struct stats stats;
	char text[32];

	get(CONTROL_PID, 32);
	is_error(&f, ENODATA, "a file does not have the daemon's attributes");
	ino = FS_ROOT_INO;
	snprintf(text, sizeof(text), "%ld", (long)getpid());
	get(CONTROL_PID, 32);
	is_mem(fake_reply(&f)->data, fake_reply(&f)->size, text, strlen(text), "the pid");
	get(CONTROL_PID, 0);
	is_int(fake_reply(&f)->size, strlen(text), "... its length");
	get(CONTROL_PID, 1);
	is_error(&f, ERANGE, "... into too little");
	set(CONTROL_PID, "1", 1, 0);
	is_error(&f, EPERM, "... it cannot be set");
	remove_attribute(CONTROL_PID);
	is_error(&f, ENODATA, "... nor removed");
	get(CONTROL_COMPACT, 100);
	is_error(&f, ENODATA, "what is only to be set cannot be got");
	list(0, 0);
	is_int(fake_reply(&f)->size, 0, "none of them is listed");
	get(CONTROL_STATS, STATS_BYTES_MAX);
	is_kind(&f, FAKE_BYTES, "the stats");
	stats_read(&stats, fake_reply(&f)->data);
	is_int(stats.pid, getpid(), "... can be read");
	is_int(stats.fs.files, 2, "... two files");
	is_int(stats.compact_runs, 0, "... no compaction");
}

static void test_compact(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	struct stats stats = {0};
	int tries;

	r.uid = 2000;
	op_setxattr(&r, CONTROL_COMPACT, "", 0, 0, false);
	is_error(&f, EPERM, "others may not compact");
	r = fake_request(&f, FS_ROOT_INO);
	r.uid = OWNER;
	op_setxattr(&r, CONTROL_COMPACT, "", 0, 0, false);
	is_error(&f, 0, "the owner of the mount may");
	for (tries = 0; tries < 1000 && !stats.compact_runs; tries++) {
		get(CONTROL_STATS, STATS_BYTES_MAX);
		stats_read(&stats, fake_reply(&f)->data);
		usleep(10000);
	}
	is_int(stats.compact_runs, 1, "the compaction ends");
	is_int(stats.compact_errno, 0, "... without an error");
	is_int(stats.compacting, 0, "... and is over");
}

static void scrub(const char *what, uid_t uid, size_t size)
{
	struct request r = fake_request(&f, FS_ROOT_INO);
	char name[64];

	snprintf(name, sizeof(name), "%s%s", CONTROL_SCRUB, what);
	r.uid = uid;
	op_getxattr(&r, name, size);
}

static void test_scrub(void)
{
	struct scrub_state state = {0};
	int tries;

	scrub("begin.0", 2000, SCRUB_HEAD_BYTES);
	is_error(&f, EPERM, "others may not scrub");
	scrub("begin.0", OWNER, 1);
	is_error(&f, ERANGE, "a scrub needs room for its answer");
	scrub("nonsense.0", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ENODATA, "no such command");
	scrub("begin", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ENODATA, "a command without its number");
	scrub("begin.1.2.3", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ENODATA, "a command with too many");
	scrub("at.1.0", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ESTALE, "there is no scrub yet");
	scrub("begin.0", OWNER, SCRUB_HEAD_BYTES);
	is_mem(fake_reply(&f)->data, fake_reply(&f)->size, "1", 1, "the owner may: number 1");
	for (tries = 0; tries < 1000 && !state.ended; tries++) {
		scrub("at.1.0", 0, SCRUB_HEAD_BYTES + SCRUB_TEXT_BYTES);
		if (!scrub_state_read(&state, fake_reply(&f)->data))
			bail("no state: %s", fake_reply(&f)->data);
		usleep(10000);
	}
	ok(state.ended, "the scrub ends");
	is_int(state.err, 0, "... clean");
	is_int(state.counts.files, 1, "... having counted the files");
	scrub("at.2.0", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ESTALE, "another number is none");
	scrub("at.1.77", 0, SCRUB_HEAD_BYTES);
	is_error(&f, ESTALE, "nor are findings that do not exist");
	scrub("stop.1", 0, SCRUB_HEAD_BYTES);
	is_kind(&f, FAKE_BYTES, "it can be told to stop, also when it has ended");
	is_int(fake_reply(&f)->size, 0, "... and says nothing");
}

int main(void)
{
	fake_init(&f);
	ino = make_file(f.mount.fs, FS_ROOT_INO, "file");
	test_values();
	test_names();
	test_list();
	test_stale();
	test_control();
	test_compact();
	test_scrub();
	fake_release(&f);
	return done();
}
