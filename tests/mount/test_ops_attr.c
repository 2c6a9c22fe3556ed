/*
 * test_ops_attr.c - the handlers of attributes, and who loses setuid and setgid.
 */
#include "tests/mount/fake/fake_transport.h"

static struct fake f;

#define KILL FS_SET_KILL_PRIV
#define OWNER 1000
#define GROUP 100

/* A file of OWNER and GROUP with `mode`, which has the type. */
static uint64_t make(const char *name, mode_t mode)
{
	struct fs_cred cred = {.uid = OWNER, .gid = GROUP, .privileged = true};
	struct stat st;

	if (fs_mknod(f.mount.fs, &cred, FS_ROOT_INO, name, mode, 0, &st))
		bail("mknod %s", name);
	return st.st_ino;
}

static mode_t mode_of(uint64_t ino)
{
	return attr_of(f.mount.fs, ino).st_mode & 07777;
}

static void set_mode(uint64_t ino, mode_t mode)
{
	struct stat want = {.st_mode = mode}, st;

	if (fs_setattr(f.mount.fs, &ROOT, ino, &want, FS_SET_MODE, &st))
		bail("chmod");
}

static void test_getattr(void)
{
	uint64_t ino = make("file", S_IFREG | 0640);
	struct request r = fake_request(&f, ino);

	op_getattr(&r);
	is_kind(&f, FAKE_ATTRIBUTES, "getattr: attributes");
	is_int(fake_reply(&f)->st.st_ino, ino, "... the number");
	is_int(fake_reply(&f)->st.st_mode, S_IFREG | 0640, "... the mode");
	is_int(fake_reply(&f)->st.st_uid, OWNER, "... the owner");
	is_int(fake_reply(&f)->st.st_gid, GROUP, "... the group");
	r = fake_request(&f, 4711);
	op_getattr(&r);
	is_error(&f, ESTALE, "getattr of a number that nobody holds");
}

static void test_setattr(void)
{
	uint64_t ino = make("set", S_IFREG | 0600);
	struct request r = fake_request(&f, ino);
	struct stat want = {.st_mode = 0751, .st_uid = 5, .st_gid = 6, .st_size = 12345};

	op_setattr(&r, &want, FS_SET_MODE | FS_SET_UID | FS_SET_GID | FS_SET_SIZE);
	is_kind(&f, FAKE_ATTRIBUTES, "setattr: attributes");
	is_int(fake_reply(&f)->st.st_mode, S_IFREG | 0751, "... the new mode");
	is_int(fake_reply(&f)->st.st_uid, 5, "... the new owner");
	is_int(fake_reply(&f)->st.st_gid, 6, "... the new group");
	is_int(fake_reply(&f)->st.st_size, 12345, "... the new size");
	want = (struct stat){.st_atim = {11, 22}, .st_mtim = {33, 44}};
	r = fake_request(&f, ino);
	op_setattr(&r, &want, FS_SET_ATIME | FS_SET_MTIME);
	is_int(ns_of(fake_reply(&f)->st.st_atim), ns_of(want.st_atim), "setattr: the atime");
	is_int(ns_of(fake_reply(&f)->st.st_mtim), ns_of(want.st_mtim), "... and the mtime");
	is_int(fake_reply(&f)->st.st_size, 12345, "... and nothing else");
	r = fake_request(&f, ino);
	op_setattr(&r, &want, 0);
	is_kind(&f, FAKE_ATTRIBUTES, "setattr of nothing: attributes");
	is_int(fake_reply(&f)->st.st_mode, S_IFREG | 0751, "... as they were");
	want.st_size = -1;
	r = fake_request(&f, ino);
	op_setattr(&r, &want, FS_SET_SIZE);
	ok(fake_reply(&f)->err == EINVAL || fake_reply(&f)->err == EFBIG,
	   "setattr of a negative size fails");
	want.st_size = 1;
	r = fake_request(&f, FS_ROOT_INO);
	op_setattr(&r, &want, FS_SET_SIZE);
	is_error(&f, EISDIR, "setattr of a directory's size");
	r = fake_request(&f, 4711);
	op_setattr(&r, &want, FS_SET_SIZE);
	is_error(&f, ESTALE, "setattr of a number that nobody holds");
	r = fake_request(&f, 4711);
	op_setattr(&r, &want, KILL);
	is_error(&f, ESTALE, "... also where its bits are looked at first");
}

/* What a request to clear the bits does to a file of `mode`, made by `uid` in `gid`. */
static void kill(const char *what, mode_t mode, uid_t uid, gid_t gid, mode_t want, int err)
{
	static uint64_t ino;
	struct stat none = {0};
	struct request r;

	if (!ino)
		ino = make("program", S_IFREG | 0755);
	set_mode(ino, mode);
	r = fake_request(&f, ino);
	r.uid = uid;
	r.gid = gid;
	op_setattr(&r, &none, KILL);
	if (err)
		is_error(&f, err, "%s: an error", what);
	else
		is_kind(&f, FAKE_ATTRIBUTES, "%s: attributes", what);
	is_int(mode_of(ino), want, "%s: the mode", what);
}

static void test_kill(void)
{
	struct stat none = {0};
	uint64_t dir = make_dir(f.mount.fs, FS_ROOT_INO, "dir"), fifo;
	struct request r;

	kill("the owner writes", 06755, OWNER, 1, 0755, 0);
	kill("root writes", 06755, 0, 0, 0755, 0);
	kill("a member of the group may write", 06775, 2000, GROUP, 0775, 0);
	kill("others may write", 06757, 2000, 2000, 0757, 0);
	kill("others may not write: nothing happens", 06755, 2000, 2000, 06755, 0);
	kill("no bits: nothing happens", 0755, OWNER, GROUP, 0755, 0);
	/* Setgid without the group's execution means mandatory locking, and stays for members. */
	kill("setgid that is no program's stays for a member", 02665, 2000, GROUP, 02665, 0);
	kill("... and goes for others", 02666, 2000, 2000, 0666, 0);
	kill("... and stays for root", 02666, 0, 0, 02666, 0);
	f.groups[0] = GROUP;
	f.group_count = 1;
	kill("a supplementary group counts", 06775, 2000, 2000, 0775, 0);
	kill("... for setgid that is no program's, too", 02666, 2000, 2000, 02666, 0);
	f.group_count = 0;

	set_mode(dir, 02755);
	r = fake_request(&f, dir);
	op_setattr(&r, &none, KILL);
	is_int(mode_of(dir), 02755, "a directory keeps its setgid");
	fifo = make("fifo", S_IFIFO | 0644);
	set_mode(fifo, 04644);
	r = fake_request(&f, fifo);
	r.uid = 2000;
	op_setattr(&r, &none, KILL);
	is_error(&f, EPERM, "chown to nobody of another user's fifo");
	is_int(mode_of(fifo), 04644, "... takes no bits");
}

static void test_kill_beside(void)
{
	uint64_t ino = make("truncated", S_IFREG | 0777);
	struct stat want = {.st_size = 10, .st_uid = 4};
	struct request r;

	set_mode(ino, 06777);
	r = fake_request(&f, ino);
	r.uid = 2000;
	op_setattr(&r, &want, FS_SET_SIZE | KILL);
	is_int(fake_reply(&f)->st.st_size, 10, "truncating sets the size");
	is_int(mode_of(ino), 0777, "... and takes the bits in the same request");
	set_mode(ino, 06777);
	r = fake_request(&f, ino);
	op_setattr(&r, &want, FS_SET_UID | KILL);
	is_int(fake_reply(&f)->st.st_uid, 4, "a new owner");
	is_int(mode_of(ino), 0777, "... takes the bits");

	set_mode(ino, 06777);
	r = fake_request(&f, ino);
	is_int(op_kill_priv(&r, ino), 0, "op_kill_priv by root");
	is_int(mode_of(ino), 06777, "... takes nothing");
	is_int(f.forgotten, 0, "... and the kernel keeps the attributes");
	r.uid = 2000;
	is_int(op_kill_priv(&r, ino), 0, "op_kill_priv by another user");
	is_int(mode_of(ino), 0777, "... takes the bits");
	is_int(f.forgotten, ino, "... and the kernel forgets the attributes");
	is_int(op_kill_priv(&r, 4711), -ESTALE, "op_kill_priv of a number that nobody holds");
}

static void test_access(void)
{
	uint64_t plain = make("plain", S_IFREG | 0644), program = make("runs", S_IFREG | 0654);
	struct request r = fake_request(&f, plain);

	op_access(&r, R_OK | W_OK);
	is_error(&f, 0, "access: root may read and write");
	r = fake_request(&f, plain);
	op_access(&r, X_OK);
	is_error(&f, EACCES, "... but not execute what nobody may");
	r = fake_request(&f, program);
	op_access(&r, X_OK);
	is_error(&f, 0, "... but what somebody may");
	r = fake_request(&f, FS_ROOT_INO);
	op_access(&r, R_OK | W_OK | X_OK);
	is_error(&f, 0, "... and enter directories");
	r = fake_request(&f, 4711);
	op_access(&r, R_OK);
	is_error(&f, ESTALE, "access to a number that nobody holds");
}

static void test_statfs(void)
{
	struct request r = fake_request(&f, FS_ROOT_INO);

	op_statfs(&r);
	is_kind(&f, FAKE_STATFS, "statfs");
	is_int(fake_reply(&f)->statfs.f_namemax, 255, "... the longest name");
	ok(fake_reply(&f)->statfs.f_blocks >= fake_reply(&f)->statfs.f_bfree, "... blocks");
	ok(fake_reply(&f)->statfs.f_bsize > 0, "... the size of a block");
}

int main(void)
{
	fake_init(&f);
	test_getattr();
	test_setattr();
	test_kill();
	test_kill_beside();
	test_access();
	test_statfs();
	fake_release(&f);
	return done();
}
