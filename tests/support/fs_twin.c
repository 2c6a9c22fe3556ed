#include "tests/support/fs_twin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/must.h"

#define FS_TWIN_NAMES 12u /* names that are used, in each directory */

enum fs_twin_kind { FREE, FILE_NODE, DIR_NODE, LINK_NODE };

struct fs_twin_node {
	enum fs_twin_kind kind;
	uint64_t ino;
	unsigned links;
	unsigned lookups;         /* references we hold */
	int parent;               /* of a directory */
	int names[FS_TWIN_NAMES]; /* of a directory: nodes, -1 none */
	unsigned mode, uid;
	size_t size;
	unsigned char *bytes; /* twin.bytes_max of them */
	int xattr;            /* value of the one attribute, -1 none */
	bool removed;
};

struct fs_twin twin;

static struct fs_twin_node *nodes;

unsigned fs_twin_below(unsigned n)
{
	return rng_below(&twin.choices, n);
}

static const char *fs_twin_name(unsigned n)
{
	static char names[4][16];
	static unsigned turn;
	char *name = names[turn++ % 4];

	snprintf(name, 16, n % 3 ? "n%u" : "a-longer-%u", n);
	return name;
}

void fs_twin_same(int got, int want, const char *what)
{
	if (got != want)
		bail("step %u: %s: got %d (%s), want %d", twin.step, what, got, strerror(-got),
		     want);
}

/* Any node of the kind, held or not; -1: there is none. */
static int fs_twin_pick(enum fs_twin_kind kind)
{
	unsigned count = 0, n, nth;

	for (n = 0; n < twin.nodes_max; n++)
		count += nodes[n].kind == kind;
	if (!count)
		return -1;
	nth = fs_twin_below(count) + 1;
	for (n = 0; nth; n++)
		nth -= nodes[n].kind == kind;
	return (int)n - 1;
}

static int fs_twin_pick_any(void)
{
	return fs_twin_pick((enum fs_twin_kind)(FILE_NODE + fs_twin_below(3)));
}

/* Find a way to hold `n`: look it up by a name, its parents first. */
static bool fs_twin_hold(int n)
{
	struct stat st;

	if (n == 0 || nodes[n].lookups)
		return true;
	for (unsigned d = 0; d < twin.nodes_max; d++) {
		if (nodes[d].kind != DIR_NODE || nodes[d].removed)
			continue;
		for (unsigned i = 0; i < FS_TWIN_NAMES; i++) {
			if (nodes[d].names[i] != n)
				continue;
			if (!fs_twin_hold((int)d))
				return false;
			fs_twin_same(fs_lookup(twin.f.fs, nodes[d].ino, fs_twin_name(i), &st), 0,
				     "lookup");
			if (st.st_ino != nodes[n].ino)
				bail("lookup found another inode");
			nodes[n].lookups++;
			return true;
		}
	}
	return false;
}

static void fs_twin_drop_if_gone(int n)
{
	if (!nodes[n].links && !nodes[n].lookups)
		nodes[n].kind = FREE;
}

static int fs_twin_node_new(enum fs_twin_kind kind, const struct stat *st, unsigned links)
{
	for (unsigned n = 1; n < twin.nodes_max; n++) {
		if (nodes[n].kind != FREE)
			continue;
		memset(nodes[n].bytes, 0, twin.bytes_max);
		nodes[n] = (struct fs_twin_node){.kind = kind,
						 .ino = st->st_ino,
						 .links = links,
						 .lookups = 1,
						 .mode = st->st_mode & 07777,
						 .bytes = nodes[n].bytes,
						 .xattr = -1};
		memset(nodes[n].names, -1, sizeof(nodes[n].names));
		return (int)n;
	}
	return -1;
}

static unsigned fs_twin_nodes_free(void)
{
	unsigned count = 0;

	for (unsigned n = 0; n < twin.nodes_max; n++)
		count += nodes[n].kind == FREE;
	return count;
}

static bool fs_twin_dir_empty(int d)
{
	for (unsigned i = 0; i < FS_TWIN_NAMES; i++)
		if (nodes[d].names[i] >= 0)
			return false;
	return true;
}

static bool fs_twin_above(int a, int d)
{
	while (d != a && d != 0)
		d = nodes[d].parent;
	return d == a;
}

void fs_twin_create(void)
{
	int d = fs_twin_pick(DIR_NODE), n, want;
	unsigned name = fs_twin_below(FS_TWIN_NAMES), what = fs_twin_below(4);
	struct stat st;

	if (fs_twin_nodes_free() < 2 || !fs_twin_hold(d))
		return;
	want = nodes[d].removed ? -ENOENT : nodes[d].names[name] >= 0 ? -EEXIST : 0;
	if (what == 0) {
		fs_twin_same(
			fs_mkdir(twin.f.fs, &USER, nodes[d].ino, fs_twin_name(name), 0711, &st),
			want, "mkdir");
	} else if (what == 1) {
		fs_twin_same(fs_symlink(twin.f.fs, &USER, nodes[d].ino, fs_twin_name(name),
					"to/there", &st),
			     want, "symlink");
	} else {
		fs_twin_same(fs_mknod(twin.f.fs, &USER, nodes[d].ino, fs_twin_name(name),
				      S_IFREG | 0600, 0, &st),
			     want, "mknod");
	}
	if (want)
		return;
	n = fs_twin_node_new(what == 0 ? DIR_NODE : what == 1 ? LINK_NODE : FILE_NODE, &st, 1);
	nodes[n].parent = d;
	nodes[n].uid = 1000;
	nodes[d].names[name] = n;
}

void fs_twin_tmpfile(void)
{
	int d = fs_twin_pick(DIR_NODE), n;
	struct stat st;

	if (fs_twin_nodes_free() < 2 || !fs_twin_hold(d) || nodes[d].removed)
		return;
	fs_twin_same(fs_tmpfile(twin.f.fs, &USER, nodes[d].ino, 0600, &st), 0, "tmpfile");
	n = fs_twin_node_new(FILE_NODE, &st, 0);
	nodes[n].uid = 1000;
	if (fs_twin_below(2)) {
		unsigned name = fs_twin_below(FS_TWIN_NAMES);

		fs_twin_same(fs_link(twin.f.fs, st.st_ino, nodes[d].ino, fs_twin_name(name), &st),
			     nodes[d].names[name] >= 0 ? -EEXIST : 0, "link of a tmpfile");
		if (nodes[d].names[name] < 0) {
			nodes[d].names[name] = n;
			nodes[n].links = 1;
			nodes[n].lookups++;
		}
	}
}

void fs_twin_link(void)
{
	int d = fs_twin_pick(DIR_NODE), n = fs_twin_pick_any(), want;
	unsigned name = fs_twin_below(FS_TWIN_NAMES);
	struct stat st;

	if (n < 0 || !nodes[n].links || !fs_twin_hold(d) || !fs_twin_hold(n))
		return;
	want = nodes[n].kind == DIR_NODE ? -EPERM :
	       nodes[d].removed          ? -ENOENT :
	       nodes[d].names[name] >= 0 ? -EEXIST :
					   0;
	fs_twin_same(fs_link(twin.f.fs, nodes[n].ino, nodes[d].ino, fs_twin_name(name), &st), want,
		     "link");
	if (want)
		return;
	nodes[d].names[name] = n;
	nodes[n].links++;
	nodes[n].lookups++;
	if (st.st_nlink != nodes[n].links)
		bail("step %u: links", twin.step);
}

static void fs_twin_lose(int n)
{
	if (nodes[n].kind == DIR_NODE) {
		nodes[n].removed = true;
		nodes[n].links = 0;
	} else {
		nodes[n].links--;
	}
	fs_twin_drop_if_gone(n);
}

void fs_twin_remove(void)
{
	int d = fs_twin_pick(DIR_NODE), n, want;
	unsigned name = fs_twin_below(FS_TWIN_NAMES);
	bool rmdir = fs_twin_below(3) == 0;

	if (!fs_twin_hold(d))
		return;
	n = nodes[d].names[name];
	want = nodes[d].removed || n < 0 ? -ENOENT : 0;
	if (!want && rmdir)
		want = nodes[n].kind != DIR_NODE ? -ENOTDIR : fs_twin_dir_empty(n) ? 0 : -ENOTEMPTY;
	else if (!want)
		want = nodes[n].kind == DIR_NODE ? -EISDIR : 0;
	fs_twin_same(rmdir ? fs_rmdir(twin.f.fs, nodes[d].ino, fs_twin_name(name)) :
			     fs_unlink(twin.f.fs, nodes[d].ino, fs_twin_name(name)),
		     want, "remove");
	if (want)
		return;
	nodes[d].names[name] = -1;
	fs_twin_lose(n);
}

static int fs_twin_rename_want(int a, int n, int b, int m, unsigned flags)
{
	bool exchange = flags & FS_RENAME_EXCHANGE;

	if (nodes[a].removed || nodes[b].removed || n < 0 || (exchange && m < 0))
		return -ENOENT;
	if (m >= 0 && flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (nodes[n].kind == DIR_NODE && fs_twin_above(n, b))
		return -EINVAL;
	if (m >= 0 && nodes[m].kind == DIR_NODE && fs_twin_above(m, a))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (n == m)
		return 1;
	if (m >= 0 && !exchange) {
		if (nodes[n].kind == DIR_NODE && nodes[m].kind != DIR_NODE)
			return -ENOTDIR;
		if (nodes[n].kind != DIR_NODE && nodes[m].kind == DIR_NODE)
			return -EISDIR;
		if (nodes[m].kind == DIR_NODE && !fs_twin_dir_empty(m))
			return -ENOTEMPTY;
	}
	return 0;
}

void fs_twin_rename(void)
{
	int a = fs_twin_pick(DIR_NODE), b = fs_twin_below(3) ? fs_twin_pick(DIR_NODE) : a, n, m,
	    want;
	unsigned from = fs_twin_below(FS_TWIN_NAMES), to = fs_twin_below(FS_TWIN_NAMES);
	unsigned flags = fs_twin_below(2) ? 0 : fs_twin_below(3);

	if (!fs_twin_hold(a) || !fs_twin_hold(b))
		return;
	n = nodes[a].names[from];
	m = nodes[b].names[to];
	want = fs_twin_rename_want(a, n, b, m, flags);
	fs_twin_same(fs_rename(twin.f.fs, nodes[a].ino, fs_twin_name(from), nodes[b].ino,
			       fs_twin_name(to), flags),
		     want == 1 ? 0 : want, "rename");
	if (want)
		return;
	nodes[a].names[from] = flags & FS_RENAME_EXCHANGE ? m : -1;
	nodes[b].names[to] = n;
	nodes[n].parent = b;
	if (flags & FS_RENAME_EXCHANGE)
		nodes[m].parent = a;
	else if (m >= 0)
		fs_twin_lose(m);
}

/* An offset, often near the end of an extent or of the bytes kept in the record. */
static size_t fs_twin_pick_offset(void)
{
	static const size_t edges[] = {0, FS_INLINE_BYTES_MAX, 4096, 128 << 10};
	size_t at = edges[fs_twin_below(4)];

	switch (fs_twin_below(4)) {
	case 0:
		return fs_twin_below((unsigned)twin.bytes_max / 2);
	case 1:
		return at < twin.bytes_max / 2 ? at : 0;
	default:
		at += fs_twin_below(64);
		return at > 32 && at < twin.bytes_max / 2 ? at - 32 : fs_twin_below(64);
	}
}

static size_t fs_twin_pick_size(void)
{
	switch (fs_twin_below(8)) {
	case 0:
		return fs_twin_below((unsigned)twin.bytes_max / 2);
	case 1:
	case 2:
	case 3:
		return fs_twin_below(3000);
	default:
		return fs_twin_below(300);
	}
}

static void fs_twin_grow_to(int n, size_t size)
{
	if (size > nodes[n].size)
		nodes[n].size = size;
}

void fs_twin_write(void)
{
	static unsigned char data[FS_TWIN_BYTES_MAX / 2];
	int n = fs_twin_pick(FILE_NODE);
	size_t at = fs_twin_pick_offset(), size = fs_twin_pick_size();
	uint64_t seed = rng_next(&twin.choices);
	unsigned flags = 0;
	struct stat st;

	if (n < 0 || !fs_twin_hold(n))
		return;
	if (fs_twin_below(8) == 0 && nodes[n].size < twin.bytes_max / 2) {
		at = nodes[n].size;
		flags = FS_WRITE_APPEND;
	}
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(rng_mix(seed + i / 8) >> i % 8 * 8);
	fs_twin_same(fs_write(twin.f.fs, nodes[n].ino, flags ? 7 : at, data, size, flags, &st), 0,
		     "write");
	memcpy(nodes[n].bytes + at, data, size);
	if (size)
		fs_twin_grow_to(n, at + size);
}

void fs_twin_truncate(void)
{
	int n = fs_twin_pick(FILE_NODE);
	struct stat want = {.st_size = (off_t)(fs_twin_below(2) ? 0 : fs_twin_pick_offset())}, st;
	size_t size = (size_t)want.st_size;

	if (n < 0 || !fs_twin_hold(n))
		return;
	fs_twin_same(fs_setattr(twin.f.fs, &ROOT, nodes[n].ino, &want, FS_SET_SIZE, &st), 0,
		     "truncate");
	if (size < nodes[n].size)
		memset(nodes[n].bytes + size, 0, nodes[n].size - size);
	nodes[n].size = size;
}

void fs_twin_allocate(void)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int n = fs_twin_pick(FILE_NODE), mode = modes[fs_twin_below(5)];
	size_t at = fs_twin_pick_offset(), size = fs_twin_pick_size() + 1;

	if (n < 0 || !fs_twin_hold(n))
		return;
	fs_twin_same(fs_fallocate(twin.f.fs, nodes[n].ino, mode, at, size), 0, "fallocate");
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(nodes[n].bytes + at, 0, size);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		fs_twin_grow_to(n, at + size);
}

void fs_twin_copy(void)
{
	int a = fs_twin_pick(FILE_NODE), b = fs_twin_pick(FILE_NODE);
	size_t from = fs_twin_pick_offset(), to = fs_twin_pick_offset(), size = fs_twin_pick_size(),
	       copied, want = 0;
	int err;

	if (a < 0 || !fs_twin_hold(a) || !fs_twin_hold(b))
		return;
	if (from < nodes[a].size)
		want = size < nodes[a].size - from ? size : nodes[a].size - from;
	err = fs_copy_range(twin.f.fs, nodes[a].ino, from, nodes[b].ino, to, size, &copied);
	if (a == b && from < to + want && to < from + want) {
		fs_twin_same(err, -EINVAL, "copy onto itself");
		return;
	}
	fs_twin_same(err, 0, "copy");
	if (copied > want || (want && !copied))
		bail("step %u: copied %zu of %zu bytes", twin.step, copied, want);
	memcpy(nodes[b].bytes + to, nodes[a].bytes + from, copied);
	if (copied)
		fs_twin_grow_to(b, to + copied);
}

void fs_twin_attr(void)
{
	int n = fs_twin_pick_any();
	struct stat want = {0}, st;

	if (n < 0 || !fs_twin_hold(n))
		return;
	if (fs_twin_below(2)) {
		want.st_mode = fs_twin_below(01000);
		want.st_uid = fs_twin_below(5);
		fs_twin_same(fs_setattr(twin.f.fs, &ROOT, nodes[n].ino, &want,
					FS_SET_MODE | FS_SET_UID, &st),
			     0, "setattr");
		nodes[n].mode = want.st_mode;
		nodes[n].uid = want.st_uid;
	} else if (fs_twin_below(3)) {
		unsigned char value = (unsigned char)fs_twin_below(100);

		fs_twin_same(fs_setxattr(twin.f.fs, nodes[n].ino, "user.model", &value, 1, 0), 0,
			     "setxattr");
		nodes[n].xattr = value;
	} else {
		fs_twin_same(fs_removexattr(twin.f.fs, nodes[n].ino, "user.model"),
			     nodes[n].xattr < 0 ? -ENODATA : 0, "removexattr");
		nodes[n].xattr = -1;
	}
}

void fs_twin_forget(void)
{
	int n = fs_twin_pick_any();

	if (n <= 0 || !nodes[n].lookups)
		return;
	fs_forget(twin.f.fs, nodes[n].ino, nodes[n].lookups);
	nodes[n].lookups = 0;
	fs_twin_drop_if_gone(n);
}

/* ---- comparing ---- */

struct fs_twin_compare {
	int dir;
	unsigned seen;
};

static int fs_twin_compare_entry(void *ctx, const char *name, const struct stat *st, bool held,
				 uint64_t next)
{
	struct fs_twin_compare *c = ctx;

	(void)next;
	if (held)
		fs_forget(twin.f.fs, st->st_ino, 1);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < FS_TWIN_NAMES; i++) {
		int n = nodes[c->dir].names[i];

		if (strcmp(name, fs_twin_name(i)))
			continue;
		if (n < 0 || nodes[n].ino != st->st_ino || !held)
			bail("entry %s is not as expected", name);
		c->seen++;
		return 0;
	}
	bail("entry %s is nobody's", name);
}

static void fs_twin_compare_dir(int n)
{
	struct fs_twin_compare c = {.dir = n};
	struct fs_dir *dir;
	unsigned subdirs = 0, entries = 0;

	for (unsigned i = 0; i < FS_TWIN_NAMES; i++) {
		int e = nodes[n].names[i];

		entries += e >= 0;
		subdirs += e >= 0 && nodes[e].kind == DIR_NODE;
	}
	fs_twin_same(fs_dir_open(twin.f.fs, nodes[n].ino, &dir), 0, "opendir");
	fs_twin_same(fs_dir_read(dir, 0, true, fs_twin_compare_entry, &c), 0, "readdir");
	fs_dir_close(dir);
	if (c.seen != entries)
		bail("%u entries instead of %u", c.seen, entries);
	if (!nodes[n].removed && attr_of(twin.f.fs, nodes[n].ino).st_nlink != 2 + subdirs)
		bail("links of a directory");
}

static void fs_twin_compare_node(int n)
{
	static unsigned char buf[FS_TWIN_BYTES_MAX + 1];
	char target[FS_SYMLINK_BYTES_MAX + 1], value;
	struct stat st;
	size_t got;
	int err;

	if (!fs_twin_hold(n))
		return;
	st = attr_of(twin.f.fs, nodes[n].ino);
	if (n && ((st.st_mode & 07777) != nodes[n].mode || st.st_uid != nodes[n].uid))
		bail("attributes of node %d: mode %o, want %o", n, st.st_mode, nodes[n].mode);
	err = fs_getxattr(twin.f.fs, nodes[n].ino, "user.model", &value, 1, &got);
	if (nodes[n].xattr < 0 ? err != -ENODATA : err || value != nodes[n].xattr)
		bail("attribute of node %d", n);
	if (nodes[n].kind == DIR_NODE) {
		fs_twin_compare_dir(n);
		return;
	}
	if (st.st_nlink != nodes[n].links)
		bail("node %d has %lu links, want %u", n, (unsigned long)st.st_nlink,
		     nodes[n].links);
	if (nodes[n].kind == LINK_NODE) {
		fs_twin_same(fs_readlink(twin.f.fs, nodes[n].ino, target), 0, "readlink");
		if (strcmp(target, "to/there"))
			bail("target");
		return;
	}
	fs_twin_same(fs_read(twin.f.fs, nodes[n].ino, 0, buf, sizeof(buf), &got), 0, "read");
	if (got != nodes[n].size || (size_t)st.st_size != got || memcmp(buf, nodes[n].bytes, got))
		bail("content of node %d: %zu bytes, want %zu", n, got, nodes[n].size);
}

void fs_twin_compare(void)
{
	struct fs_stats stats;
	uint64_t named = 1;

	for (unsigned n = 0; n < twin.nodes_max; n++) {
		if (nodes[n].kind == FREE)
			continue;
		named += n && nodes[n].links;
		fs_twin_compare_node((int)n);
	}
	fs_twin_same(fs_stats(twin.f.fs, &stats), 0, "stats");
	if (stats.files != named)
		bail("%llu files, want %llu", (unsigned long long)stats.files,
		     (unsigned long long)named);
}

/* ---- endings ---- */

void fs_twin_forget_all(void)
{
	for (unsigned n = 1; n < twin.nodes_max; n++) {
		nodes[n].lookups = 0;
		fs_twin_drop_if_gone((int)n);
	}
}

void fs_twin_reopen(void)
{
	fs_fixture_reopen(&twin.f);
	fs_twin_forget_all();
}

void fs_twin_begin(unsigned nodes_max, size_t bytes_max)
{
	twin.step = 0;
	twin.nodes_max = nodes_max;
	twin.bytes_max = bytes_max;
	nodes = must_alloc(calloc(nodes_max, sizeof(*nodes)));
	for (unsigned n = 0; n < nodes_max; n++)
		nodes[n].bytes = must_alloc(malloc(bytes_max));
	nodes[0].kind = DIR_NODE;
	nodes[0].ino = FS_ROOT_INO;
	nodes[0].links = 1;
	nodes[0].xattr = -1;
	memset(nodes[0].names, -1, sizeof(nodes[0].names));
}

void fs_twin_end(void)
{
	for (unsigned n = 1; n < twin.nodes_max; n++)
		if (nodes[n].lookups)
			fs_forget(twin.f.fs, nodes[n].ino, nodes[n].lookups);
	for (unsigned n = 0; n < twin.nodes_max; n++)
		free(nodes[n].bytes);
	free(nodes);
	nodes = NULL;
}
