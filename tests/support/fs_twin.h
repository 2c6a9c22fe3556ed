/*
 * model.h - a plain model of a filesystem beside a real one: the same calls, the same
 * result expected of both, and everything compared when asked.
 *
 * Every choice comes from `choices`: of a seed (test_model.c), or of the bytes of a
 * fuzzer (tests/fuzz/test_fs_ops.c). What differs ends the test.
 * Who includes this may define how much there is to be of what.
 */
#ifndef TESTS_FS_MODEL_H
#define TESTS_FS_MODEL_H

#include "tests/support/fs_fixture.h"
#include "tests/support/rng.h"

#ifndef NODES
#define NODES 400u  /* inodes at most at a time */
#define BYTES 9000u /* of a file at most */
#endif
#define NAMES 12u /* names that are used, in each directory */

enum kind { FREE, FILE_NODE, DIR_NODE, LINK_NODE };

struct node {
	enum kind kind;
	uint64_t ino;
	unsigned links;
	unsigned lookups; /* references we hold */
	int parent;       /* of a directory */
	int names[NAMES]; /* of a directory: nodes, -1 none */
	unsigned mode, uid;
	size_t size;
	unsigned char bytes[BYTES];
	int xattr; /* value of the one attribute, -1 none */
	bool removed;
};

static struct fixture f;
static struct node *nodes;
static struct rng choices;
static unsigned step; /* which it is, for messages */

static unsigned random_below(unsigned n)
{
	return rng_below(&choices, n);
}

static const char *name_of(unsigned n)
{
	static char names[4][16];
	static unsigned turn;
	char *name = names[turn++ % 4];

	snprintf(name, 16, n % 3 ? "n%u" : "a-longer-%u", n);
	return name;
}

static void same(int got, int want, const char *what)
{
	if (got != want)
		bail("step %u: %s: got %d (%s), want %d", step, what, got, strerror(-got), want);
}

/* Any node of the kind, held or not; -1: there is none. */
static int pick(enum kind kind)
{
	unsigned count = 0, n, nth;

	for (n = 0; n < NODES; n++)
		count += nodes[n].kind == kind;
	if (!count)
		return -1;
	nth = random_below(count) + 1;
	for (n = 0; nth; n++)
		nth -= nodes[n].kind == kind;
	return (int)n - 1;
}

static int pick_any(void)
{
	return pick((enum kind)(FILE_NODE + random_below(3)));
}

/* Find a way to hold `n`: look it up by a name, its parents first. */
static bool hold(int n)
{
	struct stat st;

	if (n == 0 || nodes[n].lookups)
		return true;
	for (unsigned d = 0; d < NODES; d++) {
		if (nodes[d].kind != DIR_NODE || nodes[d].removed)
			continue;
		for (unsigned i = 0; i < NAMES; i++) {
			if (nodes[d].names[i] != n)
				continue;
			if (!hold((int)d))
				return false;
			same(fs_lookup(f.fs, nodes[d].ino, name_of(i), &st), 0, "lookup");
			if (st.st_ino != nodes[n].ino)
				bail("lookup found another inode");
			nodes[n].lookups++;
			return true;
		}
	}
	return false;
}

static void drop_if_gone(int n)
{
	if (!nodes[n].links && !nodes[n].lookups)
		nodes[n].kind = FREE;
}

static int node_new(enum kind kind, const struct stat *st, unsigned links)
{
	for (unsigned n = 1; n < NODES; n++) {
		if (nodes[n].kind != FREE)
			continue;
		memset(&nodes[n], 0, sizeof(nodes[n]));
		nodes[n].kind = kind;
		nodes[n].ino = st->st_ino;
		nodes[n].links = links;
		nodes[n].lookups = 1;
		nodes[n].mode = st->st_mode & 07777;
		nodes[n].xattr = -1;
		memset(nodes[n].names, -1, sizeof(nodes[n].names));
		return (int)n;
	}
	return -1;
}

static unsigned nodes_free(void)
{
	unsigned count = 0;

	for (unsigned n = 0; n < NODES; n++)
		count += nodes[n].kind == FREE;
	return count;
}

static bool dir_empty(int d)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (nodes[d].names[i] >= 0)
			return false;
	return true;
}

static bool above(int a, int d)
{
	while (d != a && d != 0)
		d = nodes[d].parent;
	return d == a;
}

static void step_create(void)
{
	int d = pick(DIR_NODE), n, want;
	unsigned name = random_below(NAMES), what = random_below(4);
	struct stat st;

	if (nodes_free() < 2 || !hold(d))
		return;
	want = nodes[d].removed ? -ENOENT : nodes[d].names[name] >= 0 ? -EEXIST : 0;
	if (what == 0) {
		same(fs_mkdir(f.fs, &USER, nodes[d].ino, name_of(name), 0711, &st), want, "mkdir");
	} else if (what == 1) {
		same(fs_symlink(f.fs, &USER, nodes[d].ino, name_of(name), "to/there", &st), want,
		     "symlink");
	} else {
		same(fs_mknod(f.fs, &USER, nodes[d].ino, name_of(name), S_IFREG | 0600, 0, &st),
		     want, "mknod");
	}
	if (want)
		return;
	n = node_new(what == 0 ? DIR_NODE : what == 1 ? LINK_NODE : FILE_NODE, &st, 1);
	nodes[n].parent = d;
	nodes[n].uid = 1000;
	nodes[d].names[name] = n;
}

static void step_tmpfile(void)
{
	int d = pick(DIR_NODE), n;
	struct stat st;

	if (nodes_free() < 2 || !hold(d) || nodes[d].removed)
		return;
	same(fs_tmpfile(f.fs, &USER, nodes[d].ino, 0600, &st), 0, "tmpfile");
	n = node_new(FILE_NODE, &st, 0);
	nodes[n].uid = 1000;
	if (random_below(2)) {
		unsigned name = random_below(NAMES);

		same(fs_link(f.fs, st.st_ino, nodes[d].ino, name_of(name), &st),
		     nodes[d].names[name] >= 0 ? -EEXIST : 0, "link of a tmpfile");
		if (nodes[d].names[name] < 0) {
			nodes[d].names[name] = n;
			nodes[n].links = 1;
			nodes[n].lookups++;
		}
	}
}

static void step_link(void)
{
	int d = pick(DIR_NODE), n = pick_any(), want;
	unsigned name = random_below(NAMES);
	struct stat st;

	if (n < 0 || !nodes[n].links || !hold(d) || !hold(n))
		return;
	want = nodes[n].kind == DIR_NODE ? -EPERM :
	       nodes[d].removed          ? -ENOENT :
	       nodes[d].names[name] >= 0 ? -EEXIST :
					   0;
	same(fs_link(f.fs, nodes[n].ino, nodes[d].ino, name_of(name), &st), want, "link");
	if (want)
		return;
	nodes[d].names[name] = n;
	nodes[n].links++;
	nodes[n].lookups++;
	if (st.st_nlink != nodes[n].links)
		bail("step %u: links", step);
}

static void lose(int n)
{
	if (nodes[n].kind == DIR_NODE) {
		nodes[n].removed = true;
		nodes[n].links = 0;
	} else {
		nodes[n].links--;
	}
	drop_if_gone(n);
}

static void step_remove(void)
{
	int d = pick(DIR_NODE), n, want;
	unsigned name = random_below(NAMES);
	bool rmdir = random_below(3) == 0;

	if (!hold(d))
		return;
	n = nodes[d].names[name];
	want = nodes[d].removed || n < 0 ? -ENOENT : 0;
	if (!want && rmdir)
		want = nodes[n].kind != DIR_NODE ? -ENOTDIR : dir_empty(n) ? 0 : -ENOTEMPTY;
	else if (!want)
		want = nodes[n].kind == DIR_NODE ? -EISDIR : 0;
	same(rmdir ? fs_rmdir(f.fs, nodes[d].ino, name_of(name)) :
		     fs_unlink(f.fs, nodes[d].ino, name_of(name)),
	     want, "remove");
	if (want)
		return;
	nodes[d].names[name] = -1;
	lose(n);
}

static int rename_want(int a, int n, int b, int m, unsigned flags)
{
	bool exchange = flags & FS_RENAME_EXCHANGE;

	if (nodes[a].removed || nodes[b].removed || n < 0 || (exchange && m < 0))
		return -ENOENT;
	if (m >= 0 && flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (nodes[n].kind == DIR_NODE && above(n, b))
		return -EINVAL;
	if (m >= 0 && nodes[m].kind == DIR_NODE && above(m, a))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (n == m)
		return 1;
	if (m >= 0 && !exchange) {
		if (nodes[n].kind == DIR_NODE && nodes[m].kind != DIR_NODE)
			return -ENOTDIR;
		if (nodes[n].kind != DIR_NODE && nodes[m].kind == DIR_NODE)
			return -EISDIR;
		if (nodes[m].kind == DIR_NODE && !dir_empty(m))
			return -ENOTEMPTY;
	}
	return 0;
}

static void step_rename(void)
{
	int a = pick(DIR_NODE), b = random_below(3) ? pick(DIR_NODE) : a, n, m, want;
	unsigned from = random_below(NAMES), to = random_below(NAMES);
	unsigned flags = random_below(2) ? 0 : random_below(3);

	if (!hold(a) || !hold(b))
		return;
	n = nodes[a].names[from];
	m = nodes[b].names[to];
	want = rename_want(a, n, b, m, flags);
	same(fs_rename(f.fs, nodes[a].ino, name_of(from), nodes[b].ino, name_of(to), flags),
	     want == 1 ? 0 : want, "rename");
	if (want)
		return;
	nodes[a].names[from] = flags & FS_RENAME_EXCHANGE ? m : -1;
	nodes[b].names[to] = n;
	nodes[n].parent = b;
	if (flags & FS_RENAME_EXCHANGE)
		nodes[m].parent = a;
	else if (m >= 0)
		lose(m);
}

/* Somewhere in a file, often at the edges of its extents or of what is kept in its record. */
static size_t pick_offset(void)
{
	static const size_t edges[] = {0, FS_INLINE_BYTES_MAX, 4096, 128 << 10};
	size_t at = edges[random_below(4)];

	switch (random_below(4)) {
	case 0:
		return random_below(BYTES / 2);
	case 1:
		return at < BYTES / 2 ? at : 0;
	default:
		at += random_below(64);
		return at > 32 && at < BYTES / 2 ? at - 32 : random_below(64);
	}
}

static size_t pick_size(void)
{
	switch (random_below(8)) {
	case 0:
		return random_below(BYTES / 2);
	case 1:
	case 2:
	case 3:
		return random_below(3000);
	default:
		return random_below(300);
	}
}

static void grow_to(int n, size_t size)
{
	if (size > nodes[n].size)
		nodes[n].size = size;
}

static void step_write(void)
{
	static unsigned char data[BYTES / 2];
	int n = pick(FILE_NODE);
	size_t at = pick_offset(), size = pick_size();
	uint64_t seed = rng_next(&choices);
	unsigned flags = 0;
	struct stat st;

	if (n < 0 || !hold(n))
		return;
	if (random_below(8) == 0 && nodes[n].size < BYTES / 2) {
		at = nodes[n].size;
		flags = FS_WRITE_APPEND;
	}
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(rng_mix(seed + i / 8) >> i % 8 * 8);
	same(fs_write(f.fs, nodes[n].ino, flags ? 7 : at, data, size, flags, &st), 0, "write");
	memcpy(nodes[n].bytes + at, data, size);
	if (size)
		grow_to(n, at + size);
}

static void step_truncate(void)
{
	int n = pick(FILE_NODE);
	struct stat want = {.st_size = (off_t)(random_below(2) ? 0 : pick_offset())}, st;
	size_t size = (size_t)want.st_size;

	if (n < 0 || !hold(n))
		return;
	same(fs_setattr(f.fs, &ROOT, nodes[n].ino, &want, FS_SET_SIZE, &st), 0, "truncate");
	if (size < nodes[n].size)
		memset(nodes[n].bytes + size, 0, nodes[n].size - size);
	nodes[n].size = size;
}

static void step_allocate(void)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int n = pick(FILE_NODE), mode = modes[random_below(5)];
	size_t at = pick_offset(), size = pick_size() + 1;

	if (n < 0 || !hold(n))
		return;
	same(fs_fallocate(f.fs, nodes[n].ino, mode, at, size), 0, "fallocate");
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(nodes[n].bytes + at, 0, size);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow_to(n, at + size);
}

static void step_copy(void)
{
	int a = pick(FILE_NODE), b = pick(FILE_NODE);
	size_t from = pick_offset(), to = pick_offset(), size = pick_size(), copied, want = 0;
	int rc;

	if (a < 0 || !hold(a) || !hold(b))
		return;
	if (from < nodes[a].size)
		want = size < nodes[a].size - from ? size : nodes[a].size - from;
	rc = fs_copy_range(f.fs, nodes[a].ino, from, nodes[b].ino, to, size, &copied);
	if (a == b && from < to + want && to < from + want) {
		same(rc, -EINVAL, "copy onto itself");
		return;
	}
	same(rc, 0, "copy");
	if (copied > want || (want && !copied))
		bail("step %u: copied %zu of %zu bytes", step, copied, want);
	memcpy(nodes[b].bytes + to, nodes[a].bytes + from, copied);
	if (copied)
		grow_to(b, to + copied);
}

static void step_attr(void)
{
	int n = pick_any();
	struct stat want = {0}, st;

	if (n < 0 || !hold(n))
		return;
	if (random_below(2)) {
		want.st_mode = random_below(01000);
		want.st_uid = random_below(5);
		same(fs_setattr(f.fs, &ROOT, nodes[n].ino, &want, FS_SET_MODE | FS_SET_UID, &st), 0,
		     "setattr");
		nodes[n].mode = want.st_mode;
		nodes[n].uid = want.st_uid;
	} else if (random_below(3)) {
		unsigned char value = (unsigned char)random_below(100);

		same(fs_setxattr(f.fs, nodes[n].ino, "user.model", &value, 1, 0), 0, "setxattr");
		nodes[n].xattr = value;
	} else {
		same(fs_removexattr(f.fs, nodes[n].ino, "user.model"),
		     nodes[n].xattr < 0 ? -ENODATA : 0, "removexattr");
		nodes[n].xattr = -1;
	}
}

static void step_forget(void)
{
	int n = pick_any();

	if (n <= 0 || !nodes[n].lookups)
		return;
	fs_forget(f.fs, nodes[n].ino, nodes[n].lookups);
	nodes[n].lookups = 0;
	drop_if_gone(n);
}

/* ---- comparing ---- */

struct compare {
	int dir;
	unsigned seen;
};

static int compare_entry(void *ctx, const char *name, const struct stat *st, bool held,
			 uint64_t next)
{
	struct compare *c = ctx;

	(void)next;
	if (held)
		fs_forget(f.fs, st->st_ino, 1);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < NAMES; i++) {
		int n = nodes[c->dir].names[i];

		if (strcmp(name, name_of(i)))
			continue;
		if (n < 0 || nodes[n].ino != st->st_ino || !held)
			bail("entry %s is not as expected", name);
		c->seen++;
		return 0;
	}
	bail("entry %s is nobody's", name);
}

static void compare_dir(int n)
{
	struct compare c = {.dir = n};
	struct fs_dir *dir;
	unsigned subdirs = 0, entries = 0;

	for (unsigned i = 0; i < NAMES; i++) {
		int e = nodes[n].names[i];

		entries += e >= 0;
		subdirs += e >= 0 && nodes[e].kind == DIR_NODE;
	}
	same(fs_dir_open(f.fs, nodes[n].ino, &dir), 0, "opendir");
	same(fs_dir_read(dir, 0, true, compare_entry, &c), 0, "readdir");
	fs_dir_close(dir);
	if (c.seen != entries)
		bail("%u entries instead of %u", c.seen, entries);
	if (!nodes[n].removed && attr_of(f.fs, nodes[n].ino).st_nlink != 2 + subdirs)
		bail("links of a directory");
}

static void compare_node(int n)
{
	static unsigned char buf[BYTES + 1];
	char target[FS_SYMLINK_BYTES_MAX + 1], value;
	struct stat st;
	size_t got;
	int rc;

	if (!hold(n))
		return;
	st = attr_of(f.fs, nodes[n].ino);
	if (n && ((st.st_mode & 07777) != nodes[n].mode || st.st_uid != nodes[n].uid))
		bail("attributes of node %d: mode %o, want %o", n, st.st_mode, nodes[n].mode);
	rc = fs_getxattr(f.fs, nodes[n].ino, "user.model", &value, 1, &got);
	if (nodes[n].xattr < 0 ? rc != -ENODATA : rc || value != nodes[n].xattr)
		bail("attribute of node %d", n);
	if (nodes[n].kind == DIR_NODE) {
		compare_dir(n);
		return;
	}
	if (st.st_nlink != nodes[n].links)
		bail("node %d has %lu links, want %u", n, (unsigned long)st.st_nlink,
		     nodes[n].links);
	if (nodes[n].kind == LINK_NODE) {
		same(fs_readlink(f.fs, nodes[n].ino, target), 0, "readlink");
		if (strcmp(target, "to/there"))
			bail("target");
		return;
	}
	same(fs_read(f.fs, nodes[n].ino, 0, buf, sizeof(buf), &got), 0, "read");
	if (got != nodes[n].size || (size_t)st.st_size != got || memcmp(buf, nodes[n].bytes, got))
		bail("content of node %d: %zu bytes, want %zu", n, got, nodes[n].size);
}

static void compare_all(void)
{
	struct fs_stats stats;
	uint64_t named = 1;

	for (unsigned n = 0; n < NODES; n++) {
		if (nodes[n].kind == FREE)
			continue;
		named += n && nodes[n].links;
		compare_node((int)n);
	}
	same(fs_stats(f.fs, &stats), 0, "stats");
	if (stats.files != named)
		bail("%llu files, want %llu", (unsigned long long)stats.files,
		     (unsigned long long)named);
}

/* ---- endings ---- */

static void nothing_is_held(void)
{
	for (unsigned n = 1; n < NODES; n++) {
		nodes[n].lookups = 0;
		drop_if_gone((int)n);
	}
}

static void reopen(void)
{
	fixture_reopen(&f);
	nothing_is_held();
}

static void model_begin(void)
{
	step = 0;
	nodes = calloc(NODES, sizeof(*nodes));
	if (!nodes)
		bail("no memory");
	nodes[0].kind = DIR_NODE;
	nodes[0].ino = FS_ROOT_INO;
	nodes[0].links = 1;
	nodes[0].xattr = -1;
	memset(nodes[0].names, -1, sizeof(nodes[0].names));
}

/* Give everything back. */
static void model_end(void)
{
	for (unsigned n = 1; n < NODES; n++)
		if (nodes[n].lookups)
			fs_forget(f.fs, nodes[n].ino, nodes[n].lookups);
	free(nodes);
	nodes = NULL;
}

#endif
