/*
 * POSIX ACLs: their bytes, what they and the mode do to each other, inheritance.
 */
#include <linux/posix_acl.h>
#include <sys/xattr.h>

#include "fs/acl.h"
#include "tests/support/fs_fixture.h"

static struct fixture f;

/* The example of acl.c. */
static const unsigned char EXAMPLE[] = {
	2, 0, 0,    0,    1,    0,    6,    0, 0xff, 0xff, 0xff, 0xff, 2,    0,    5,
	0, 5, 0,    0,    0,    4,    0,    4, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
	4, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff,
};

/* An ACL in words: "u6 U5:5 g4 m4 o0" is the example. */
static struct lsm_slice acl_of(const char *words)
{
	static const char tags[] = "uUgGmo";
	static unsigned char bytes[ACL_BYTES_MAX + 8];
	static struct acl acl;
	unsigned permissions, id;
	int n;

	acl.count = 0;
	for (const char *at = words; *at; at += n) {
		struct acl_entry *e = &acl.entries[acl.count++];

		e->tag = (uint16_t)(1u << (strchr(tags, *at) - tags));
		id = UINT32_MAX;
		if (sscanf(at + 1, "%u:%u %n", &permissions, &id, &n) < 2 &&
		    sscanf(at + 1, "%u %n", &permissions, &n) < 1)
			bail("words: %s", at);
		n++;
		e->permissions = (uint16_t)permissions;
		e->id = id;
	}
	return (struct lsm_slice){bytes, acl_encode(bytes, &acl)};
}

static int decode(struct lsm_slice bytes)
{
	static struct acl acl;
	const char *why;

	return acl_decode(bytes, &acl, &why);
}

static void refused(const char *words, const char *what)
{
	is_int(decode(acl_of(words)), -EUCLEAN, "%s is refused", what);
}

static void test_bytes(void)
{
	static unsigned char bytes[ACL_BYTES_MAX + 8], out[ACL_BYTES_MAX];
	static struct acl acl;
	struct lsm_slice big = {bytes, ACL_BYTES_MAX};
	const char *why;

	is_int(acl_decode((struct lsm_slice){EXAMPLE, sizeof(EXAMPLE)}, &acl, &why), 0,
	       "the example of acl.c");
	is_int(acl.count, 5, "... has five entries");
	ok(acl.entries[1].tag == ACL_USER && acl.entries[1].permissions == 5 &&
		   acl.entries[1].id == 5,
	   "... one of a user");
	is_int(acl_mode(&acl), 0640, "... its mode");
	is_mem(out, acl_encode(out, &acl), EXAMPLE, sizeof(EXAMPLE), "... and back");
	is_mem(acl_of("u6 U5:5 g4 m4 o0").data, sizeof(EXAMPLE), EXAMPLE, sizeof(EXAMPLE),
	       "... and in words");
	for (size_t n = 0; n < sizeof(EXAMPLE); n++)
		if (!decode((struct lsm_slice){EXAMPLE, n}))
			ok(false, "cut to %zu bytes it is refused", n);
	memcpy(bytes, EXAMPLE, sizeof(EXAMPLE));
	bytes[0] = 3;
	is_int(decode((struct lsm_slice){bytes, sizeof(EXAMPLE)}), -EUCLEAN, "another version");

	is_int(decode(acl_of("u7 g5 o5")), 0, "no more than a mode");
	is_int(decode(acl_of("u7 g5 m7 o5")), 0, "a mask with nobody to mask");
	is_int(decode(acl_of("u7 U1:7 U0:0 U1:7 g5 G1:9 G1:8 m7 o5")), 0, "users in any order");
	refused("u7 U1:7 g5 o5", "a user without a mask");
	refused("u7 g5 G1:7 o5", "a group without a mask");
	refused("g5 o5", "one without the owner");
	refused("u7 o5", "... the owning group");
	refused("u7 g5", "... others");
	refused("u7 u7 g5 o5", "one with two owners");
	refused("u7 g5 g5 o5", "... two owning groups");
	refused("u7 g5 m5 m5 o5", "... two masks");
	refused("u7 g5 o5 o5", "... twice others");
	refused("g5 u7 o5", "another order");
	refused("u7 g5 o5 m7", "... with the mask behind");
	refused("u7 g5 U1:7 m7 o5", "... with the user behind the group");
	refused("u8 g5 o5", "an unknown permission");
	refused("u7 U4294967295:7 g5 m7 o5", "a user that is nobody");
	refused("u7:3 g5 o5", "an owner with an id");

	memcpy(bytes, acl_of("u7 U1:7 g5 m7 o5").data, 20);
	for (size_t i = 20; i < ACL_BYTES_MAX - 24; i += 8)
		memcpy(bytes + i, bytes + 12, 8);
	memcpy(bytes + ACL_BYTES_MAX - 24, (const char *)acl_of("u7 U1:7 g5 m7 o5").data + 20, 24);
	is_int(decode(big), 0, "the largest");
	memmove(bytes + 28, bytes + 20, ACL_BYTES_MAX - 20);
	big.size += 8;
	is_int(decode(big), -EUCLEAN, "... and one entry more");
}

/* ---- of inodes ---- */

static int set(uint64_t ino, const char *name, const char *words, int flags)
{
	struct lsm_slice bytes = acl_of(words);

	return fs_setxattr(f.fs, ino, name, bytes.data, bytes.size, flags);
}

/* Has it this ACL? NULL: none. */
static void has(uint64_t ino, const char *name, const char *words, const char *what)
{
	static unsigned char got[ACL_BYTES_MAX];
	size_t size;
	int rc = fs_getxattr(f.fs, ino, name, got, sizeof(got), &size);

	if (!words)
		is_int(rc, -ENODATA, "%s", what);
	else if (rc)
		is_int(rc, 0, "%s", what);
	else
		is_mem(got, size, acl_of(words).data, acl_of(words).size, "%s", what);
}

static mode_t mode_of(uint64_t ino)
{
	return attr_of(f.fs, ino).st_mode & 07777;
}

static void chmod_to(uint64_t ino, mode_t mode)
{
	struct stat want = {.st_mode = mode}, st;

	is_int(fs_setattr(f.fs, &ROOT, ino, &want, FS_SET_MODE, &st), 0, "chmod %o", mode);
}

static size_t listed(uint64_t ino)
{
	size_t got;

	if (fs_listxattr(f.fs, ino, NULL, 0, &got))
		bail("listxattr");
	return got;
}

static void test_mode(void)
{
	uint64_t a = mk_file(f.fs, FS_ROOT_INO, "mode"), d = mk_dir(f.fs, FS_ROOT_INO, "moded");
	struct stat before, st;

	has(a, ACL_ACCESS_NAME, NULL, "none yet");
	is_int(fs_removexattr(f.fs, a, ACL_ACCESS_NAME), 0, "removing none");
	before = attr_of(f.fs, a);
	is_int(set(a, ACL_ACCESS_NAME, "u6 U5:7 g5 m4 o1", 0), 0, "set");
	is_int(mode_of(a), 0641, "... the mode, with the mask for the group");
	ok(ns_of(attr_of(f.fs, a).st_ctim) > ns_of(before.st_ctim), "... and ctime");
	chmod_to(a, 04752);
	is_int(mode_of(a), 04752, "... the mode");
	has(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m5 o2", "... the ACL");
	before = attr_of(f.fs, a);
	is_int(fs_setattr(f.fs, &ROOT, a, &before, FS_SET_UID, &st), 0, "chown");
	has(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m5 o2", "... leaves it");
	is_int(listed(a), sizeof(ACL_ACCESS_NAME), "it is listed");
	fixture_reopen(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "mode", &st);
	fs_lookup(f.fs, FS_ROOT_INO, "moded", &st);
	has(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m5 o2", "... and there after a reopen");
	is_int(fs_removexattr(f.fs, a, ACL_ACCESS_NAME), 0, "remove");
	has(a, ACL_ACCESS_NAME, NULL, "... it is gone");
	is_int(mode_of(a), 0752, "... and the mode stays");
	is_int(listed(a), 0, "... nothing is listed");

	set(a, ACL_ACCESS_NAME, "u6 U5:7 g5 m4 o1", 0);
	is_int(set(a, ACL_ACCESS_NAME, "u6 g4 o0", 0), 0, "one that is a mode");
	has(a, ACL_ACCESS_NAME, NULL, "... is not stored");
	is_int(mode_of(a), 0640, "... but the mode is");
	is_int(set(a, ACL_ACCESS_NAME, "u6 g6 o0", 0), 0, "again, where there is none");
	is_int(mode_of(a), 0660, "... the mode");
	before = attr_of(f.fs, a);
	is_int(set(a, ACL_ACCESS_NAME, "u6 g6 o0", 0), 0, "once more");
	is_int(ns_of(attr_of(f.fs, a).st_ctim), ns_of(before.st_ctim), "... is no change");
	fs_setxattr(f.fs, a, "user.a", "1", 1, 0);
	is_int(set(a, ACL_ACCESS_NAME, "u6 g5 m2 o1", 0), 0, "one with a mask alone");
	has(a, ACL_ACCESS_NAME, "u6 g5 m2 o1", "... is");
	chmod_to(a, 0777);
	has(a, ACL_ACCESS_NAME, "u7 g5 m7 o7", "... and chmod sets its mask");
	set(a, ACL_ACCESS_NAME, "u6 g4 o0", 0);
	is_int(listed(a), sizeof("user.a"), "other attributes stay");
	is_int(fs_setxattr(f.fs, a, "user.a", "2", 1, FS_XATTR_KILL_SGID), 0, "of others");

	chmod_to(a, 02755);
	set(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m5 o5", 0);
	is_int(mode_of(a), 02755, "setgid stays");
	set(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m5 o5", FS_XATTR_KILL_SGID);
	is_int(mode_of(a), 0755, "... unless it must go");
	chmod_to(d, 02755);
	set(d, ACL_ACCESS_NAME, "u7 g5 o5", FS_XATTR_KILL_SGID);
	is_int(mode_of(d), 0755, "... of a directory too, and with an ACL that is a mode");
	chmod_to(d, 02755);
	set(d, ACL_DEFAULT_NAME, "u7 g5 o5", FS_XATTR_KILL_SGID);
	is_int(mode_of(d), 02755, "... not with a default ACL");
}

static void test_refused(void)
{
	uint64_t a = mk_file(f.fs, FS_ROOT_INO, "refused");
	struct stat before = attr_of(f.fs, a), st;
	size_t got;

	is_int(set(a, ACL_ACCESS_NAME, "u6 U5:6 g6 o6", 0), -EINVAL, "what is no ACL");
	is_int(fs_setxattr(f.fs, a, ACL_ACCESS_NAME, "", 0, 0), -EINVAL, "... nothing");
	is_int(set(a, ACL_DEFAULT_NAME, "u6 g6 o6", 0), -EACCES, "a default ACL of a file");
	is_int(fs_removexattr(f.fs, a, ACL_DEFAULT_NAME), 0, "... can be removed");
	st = attr_of(f.fs, a);
	is_mem(&st, sizeof(st), &before, sizeof(before), "nothing changed");
	fs_symlink(f.fs, &ROOT, FS_ROOT_INO, "link", "to", &st);
	is_int(set(st.st_ino, ACL_ACCESS_NAME, "u6 g6 o6", 0), -EOPNOTSUPP, "of a symbolic link");
	is_int(fs_getxattr(f.fs, st.st_ino, ACL_ACCESS_NAME, NULL, 0, &got), -EOPNOTSUPP,
	       "... get");
	is_int(fs_removexattr(f.fs, st.st_ino, ACL_ACCESS_NAME), -EOPNOTSUPP, "... remove");
	is_int(fs_setxattr(f.fs, a, "system.posix_acl_accesses", "1", 1, 0), 0,
	       "another name is another attribute");
}

static void test_inherit(void)
{
	static const struct fs_cred who = {1000, 1000, false, 077};
	uint64_t d = mk_dir(f.fs, FS_ROOT_INO, "parent");
	struct stat st;

	fs_mknod(f.fs, &who, d, "before", S_IFREG | 0666, 0, &st);
	is_int(st.st_mode, S_IFREG | 0600, "without a default ACL the umask counts");
	is_int(set(d, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", 0), 0, "set one");
	is_int(mode_of(d), 0755, "... the directory's mode stays");
	fs_mknod(f.fs, &who, d, "file", S_IFREG | 0660, 0, &st);
	is_int(st.st_mode, S_IFREG | 0660, "then it does not");
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m6 o0", "a file gets it, cut to its mode");
	has(st.st_ino, ACL_DEFAULT_NAME, NULL, "... and no default one");
	fs_mknod(f.fs, &who, d, "fifo", S_IFIFO | 0604, 0, &st);
	is_int(st.st_mode, S_IFIFO | 0604, "a fifo");
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m0 o4", "... gets it");
	fs_mkdir(f.fs, &who, d, "dir", 0777, &st);
	is_int(st.st_mode, S_IFDIR | 0775, "a directory");
	has(st.st_ino, ACL_ACCESS_NAME, "u7 U5:7 g5 m7 o5", "... gets it");
	has(st.st_ino, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", "... as its default one too, uncut");
	fs_mkdir(f.fs, &who, st.st_ino, "dir", 0700, &st);
	has(st.st_ino, ACL_ACCESS_NAME, "u7 U5:7 g5 m0 o0", "so does one below");
	has(st.st_ino, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", "... again uncut");
	fs_symlink(f.fs, &who, d, "link", "to", &st);
	is_int(st.st_mode, S_IFLNK | 0777, "a symbolic link has its mode");
	is_int(listed(st.st_ino), 0, "... and nothing else");

	is_int(fs_tmpfile(f.fs, &who, d, 0666, &st), 0, "a file with no name");
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m6 o4", "... gets it");
	is_int(fs_link(f.fs, st.st_ino, d, "tmp", &st), 0, "... a name");
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m6 o4", "... and keeps it");
	is_int(fs_tmpfile(f.fs, &who, d, 0666, &st), 0, "one that never gets a name");
	fs_forget(f.fs, st.st_ino, 1);

	is_int(set(d, ACL_DEFAULT_NAME, "u6 g4 o4", 0), 0, "a default ACL that is a mode");
	has(d, ACL_DEFAULT_NAME, "u6 g4 o4", "... is stored");
	fs_mknod(f.fs, &who, d, "plain", S_IFREG | 0666, 0, &st);
	is_int(st.st_mode, S_IFREG | 0644, "... gives a mode");
	is_int(listed(st.st_ino), 0, "... and no ACL");
	fs_mkdir(f.fs, &who, d, "plaindir", 0777, &st);
	is_int(listed(st.st_ino), sizeof(ACL_DEFAULT_NAME), "... but directories a default one");
	chmod_to(d, 02777);
	fs_mkdir(f.fs, &who, d, "setgid", 0777, &st);
	is_int(st.st_mode, S_IFDIR | 02644, "setgid is inherited beside it");

	is_int(fs_rename(f.fs, d, "file", FS_ROOT_INO, "moved", 0), 0, "rename");
	fs_lookup(f.fs, FS_ROOT_INO, "moved", &st);
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m6 o0", "... keeps the ACL");
	is_int(fs_link(f.fs, st.st_ino, d, "hard", &st), 0, "link");
	has(st.st_ino, ACL_ACCESS_NAME, "u6 U5:7 g5 m6 o0", "... too");
	is_int(fs_removexattr(f.fs, d, ACL_DEFAULT_NAME), 0, "remove the default ACL");
	fs_mknod(f.fs, &who, d, "after", S_IFREG | 0666, 0, &st);
	is_int(st.st_mode, S_IFREG | 0600, "... and the umask counts again");
	fixture_clean(&f, "with ACLs");
	fixture_reopen(&f);
	fixture_clean(&f, "after a reopen");
}

static void test_off(void)
{
	struct stat st;
	uint64_t d;
	size_t got;

	d = mk_dir(f.fs, FS_ROOT_INO, "off");
	set(d, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", 0);
	set(d, ACL_ACCESS_NAME, "u7 U5:7 g5 m7 o5", 0);
	fixture_close(&f);
	f.options.acl = false;
	fixture_open(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "off", &st);
	is_int(listed(d), 0, "without the option none is listed");
	is_int(fs_getxattr(f.fs, d, ACL_ACCESS_NAME, NULL, 0, &got), -EOPNOTSUPP, "... or read");
	is_int(set(d, ACL_ACCESS_NAME, "u7 g5 o5", 0), -EOPNOTSUPP, "... or set");
	is_int(fs_removexattr(f.fs, d, ACL_DEFAULT_NAME), -EOPNOTSUPP, "... or removed");
	fs_setxattr(f.fs, d, "user.a", "1", 1, 0);
	is_int(fs_removexattr(f.fs, d, "user.a"), 0, "other attributes come and go");
	chmod_to(d, 0700);
	fs_mkdir(f.fs, &(struct fs_cred){.umask = 027}, d, "sub", 0777, &st);
	is_int(st.st_mode, S_IFDIR | 0750, "the umask counts");
	is_int(listed(st.st_ino), 0, "nothing is inherited");
	fixture_clean(&f, "without the option");
	fixture_close(&f);
	f.options.acl = true;
	fixture_open(&f);
	fs_lookup(f.fs, FS_ROOT_INO, "off", &st);
	has(d, ACL_ACCESS_NAME, "u7 U5:7 g5 m7 o5", "with it the ACL is as it was");
	has(d, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", "... the default one too");
}

/* An attribute of that name as no call of fs.h would store it. */
static void plant(uint64_t ino, const char *name, const void *data, size_t size)
{
	struct lsm_batch *b = lsm_batch_new();
	struct key k;

	if (!b ||
	    lsm_batch_put(b, key_make(&k, KEY_XATTR, ino, name, strlen(name)),
			  (struct lsm_slice){data, size}) ||
	    lsm_write(f.fs->lsm, b, 0))
		bail("plant");
	lsm_batch_free(b);
}

static void test_damaged(void)
{
	struct fs_check_counts counts;
	struct stat want = {.st_mode = 0600}, st;
	uint64_t a = mk_file(f.fs, FS_ROOT_INO, "bad"), d = mk_dir(f.fs, FS_ROOT_INO, "badd");
	size_t got;

	set(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m7 o5", 0);
	set(d, ACL_DEFAULT_NAME, "u7 U5:7 g5 m7 o5", 0);
	f.quiet = true;
	plant(a, ACL_ACCESS_NAME, EXAMPLE, sizeof(EXAMPLE) - 1);
	plant(d, ACL_DEFAULT_NAME, EXAMPLE, sizeof(EXAMPLE) - 8);
	is_int(fs_getxattr(f.fs, a, ACL_ACCESS_NAME, NULL, 0, &got), -EIO, "a damaged one");
	is_int(fs_setattr(f.fs, &ROOT, a, &want, FS_SET_MODE, &st), -EIO, "... and chmod");
	is_int(fs_mknod(f.fs, &ROOT, d, "x", S_IFREG | 0600, 0, &st), -EIO, "... and inheriting");
	is_int(ino_of(f.fs, d, "x"), 0, "... makes nothing");
	is_int(fs_check(f.fs, fixture_finding, NULL, NULL, NULL, &counts), -EUCLEAN, "check");
	is_int(counts.findings, 2, "... finds both");
	is_int(set(a, ACL_ACCESS_NAME, "u7 U5:7 g5 m7 o5", 0), 0, "a new one");
	is_int(fs_removexattr(f.fs, d, ACL_DEFAULT_NAME), 0, "... or none mends it");
	fixture_clean(&f, "then");
	plant(a, ACL_DEFAULT_NAME, EXAMPLE, sizeof(EXAMPLE));
	is_int(fs_check(f.fs, fixture_finding, NULL, NULL, NULL, &counts), -EUCLEAN,
	       "check finds a default ACL of a file");
	fs_removexattr(f.fs, a, ACL_DEFAULT_NAME);
	f.quiet = false;
}

int main(void)
{
	test_bytes();
	fixture_init(&f);
	fixture_close(&f);
	f.options.acl = true;
	fixture_open(&f);
	test_mode();
	test_refused();
	test_inherit();
	test_off();
	test_damaged();
	fixture_clean(&f, "in the end");
	fixture_release(&f);
	return done();
}
