/*
 * The whole filesystem against a plain model of one: random calls, the same
 * result expected of both, everything compared again and again, with the
 * filesystem closed and reopened in between, and everything forgotten.
 */
#include "tests/fs/fixture.h"

#define NODES 400u  /* inodes at most at a time */
#define NAMES 12u   /* names that are used, in each directory */
#define BYTES 9000u /* of a file at most */
#define STEPS 30000u

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
static unsigned rng;

static unsigned random_below(unsigned n)
{
	rng = rng * 1103515245u + 12345u;
	return (rng >> 8) % n;
}

static const char *name_of(unsigned n)
{
	static char names[4][16];
	static unsigned turn;
	char *name = names[turn++ % 4];

	snprintf(name, 16, n % 3 ? "n%u" : "a-longer-%u", n);
	return name;
}

static void same(int got, int want, const char *what, unsigned step)
{
	if (got != want)
		bail("step %u: %s: got %d (%s), want %d", step, what, got, strerror(-got), want);
}

/* A node of the kind, held or not; -1 if none is found. */
static int pick(enum kind kind)
{
	for (unsigned i = 0; i < 40; i++) {
		unsigned n = random_below(NODES);

		if (nodes[n].kind == kind)
			return (int)n;
	}
	return kind == DIR_NODE ? 0 : -1;
}

static int pick_any(void)
{
	int n = pick((enum kind)(FILE_NODE + random_below(3)));

	return n;
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
			same(fs_lookup(f.fs, nodes[d].ino, name_of(i), &st), 0, "lookup", 0);
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

static void step_create(unsigned step)
{
	int d = pick(DIR_NODE), n, want;
	unsigned name = random_below(NAMES), what = random_below(4);
	struct stat st;

	if (nodes_free() < 2 || !hold(d))
		return;
	want = nodes[d].removed ? -ENOENT : nodes[d].names[name] >= 0 ? -EEXIST : 0;
	if (what == 0) {
		same(fs_mkdir(f.fs, &USER, nodes[d].ino, name_of(name), 0711, &st), want, "mkdir",
		     step);
	} else if (what == 1) {
		same(fs_symlink(f.fs, &USER, nodes[d].ino, name_of(name), "to/there", &st), want,
		     "symlink", step);
	} else {
		same(fs_mknod(f.fs, &USER, nodes[d].ino, name_of(name), S_IFREG | 0600, 0, &st),
		     want, "mknod", step);
	}
	if (want)
		return;
	n = node_new(what == 0 ? DIR_NODE : what == 1 ? LINK_NODE : FILE_NODE, &st, 1);
	nodes[n].parent = d;
	nodes[n].uid = 1000;
	nodes[d].names[name] = n;
}

static void step_tmpfile(unsigned step)
{
	int d = pick(DIR_NODE), n;
	struct stat st;

	if (nodes_free() < 2 || !hold(d) || nodes[d].removed)
		return;
	same(fs_tmpfile(f.fs, &USER, nodes[d].ino, 0600, &st), 0, "tmpfile", step);
	n = node_new(FILE_NODE, &st, 0);
	nodes[n].uid = 1000;
	if (random_below(2)) {
		unsigned name = random_below(NAMES);

		same(fs_link(f.fs, st.st_ino, nodes[d].ino, name_of(name), &st),
		     nodes[d].names[name] >= 0 ? -EEXIST : 0, "link of a tmpfile", step);
		if (nodes[d].names[name] < 0) {
			nodes[d].names[name] = n;
			nodes[n].links = 1;
			nodes[n].lookups++;
		}
	}
}

static void step_link(unsigned step)
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
	same(fs_link(f.fs, nodes[n].ino, nodes[d].ino, name_of(name), &st), want, "link", step);
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

static void step_remove(unsigned step)
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
	     want, "remove", step);
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

static void step_rename(unsigned step)
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
	     want == 1 ? 0 : want, "rename", step);
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

static void step_write(unsigned step)
{
	int n = pick(FILE_NODE);
	size_t at = random_below(BYTES / 2), size = random_below(random_below(2) ? 3000 : 300);
	unsigned char data[3000];
	struct stat st, want = {0};

	if (n < 0 || !hold(n))
		return;
	if (random_below(4) == 0) {
		want.st_size = (off_t)(random_below(2) ? 0 : at);
		same(fs_setattr(f.fs, &ROOT, nodes[n].ino, &want, FS_SET_SIZE, &st), 0, "truncate",
		     step);
		if ((size_t)want.st_size < nodes[n].size)
			memset(nodes[n].bytes + want.st_size, 0,
			       nodes[n].size - (size_t)want.st_size);
		nodes[n].size = (size_t)want.st_size;
		return;
	}
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(random_below(256));
	same(fs_write(f.fs, nodes[n].ino, at, data, size, 0, &st), 0, "write", step);
	memcpy(nodes[n].bytes + at, data, size);
	if (size && at + size > nodes[n].size)
		nodes[n].size = at + size;
}

static void step_attr(unsigned step)
{
	int n = pick_any();
	struct stat want = {0}, st;

	if (n < 0 || !hold(n))
		return;
	if (random_below(2)) {
		want.st_mode = random_below(01000);
		want.st_uid = random_below(5);
		same(fs_setattr(f.fs, &ROOT, nodes[n].ino, &want, FS_SET_MODE | FS_SET_UID, &st), 0,
		     "setattr", step);
		nodes[n].mode = want.st_mode;
		nodes[n].uid = want.st_uid;
	} else if (random_below(3)) {
		unsigned char value = (unsigned char)random_below(100);

		same(fs_setxattr(f.fs, nodes[n].ino, "user.model", &value, 1, 0), 0, "setxattr",
		     step);
		nodes[n].xattr = value;
	} else {
		same(fs_removexattr(f.fs, nodes[n].ino, "user.model"),
		     nodes[n].xattr < 0 ? -ENODATA : 0, "removexattr", step);
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

static void reopen(void)
{
	fixture_reopen(&f);
	for (unsigned n = 1; n < NODES; n++) {
		nodes[n].lookups = 0;
		drop_if_gone((int)n);
	}
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
	same(fs_dir_open(f.fs, nodes[n].ino, &dir), 0, "opendir", 0);
	same(fs_dir_read(dir, 0, true, compare_entry, &c), 0, "readdir", 0);
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
		same(fs_readlink(f.fs, nodes[n].ino, target), 0, "readlink", 0);
		if (strcmp(target, "to/there"))
			bail("target");
		return;
	}
	same(fs_read(f.fs, nodes[n].ino, 0, buf, sizeof(buf), &got), 0, "read", 0);
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
	same(fs_stats(f.fs, &stats), 0, "stats", 0);
	if (stats.files != named)
		bail("%llu files, want %llu", (unsigned long long)stats.files,
		     (unsigned long long)named);
}

static void run(unsigned seed)
{
	struct stat st = {.st_ino = FS_ROOT_INO};

	rng = seed;
	nodes = calloc(NODES, sizeof(*nodes));
	if (!nodes)
		bail("memory");
	fixture_init(&f);
	nodes[0].kind = DIR_NODE;
	nodes[0].ino = st.st_ino;
	nodes[0].links = 1;
	nodes[0].xattr = -1;
	memset(nodes[0].names, -1, sizeof(nodes[0].names));
	for (unsigned step = 0; step < STEPS; step++) {
		switch (random_below(16)) {
		case 0:
		case 1:
		case 2:
			step_create(step);
			break;
		case 3:
			step_tmpfile(step);
			break;
		case 4:
			step_link(step);
			break;
		case 5:
		case 6:
			step_remove(step);
			break;
		case 7:
		case 8:
		case 9:
			step_rename(step);
			break;
		case 10:
		case 11:
		case 12:
			step_write(step);
			break;
		case 13:
			step_attr(step);
			break;
		default:
			step_forget();
			break;
		}
		if (step % 1500 == 1499)
			compare_all();
		if (step % 4000 == 3999) {
			reopen();
			compare_all();
		}
	}
	fixture_clean(&f, "after all steps");
	for (unsigned n = 1; n < NODES; n++)
		if (nodes[n].lookups)
			fs_forget(f.fs, nodes[n].ino, nodes[n].lookups);
	fixture_reopen(&f);
	fixture_clean(&f, "after all was forgotten");
	fixture_release(&f);
	ok(true, "%u steps from seed %u", STEPS, seed);
	free(nodes);
}

int main(int argc, char **argv)
{
	run(argc > 1 ? (unsigned)atoi(argv[1]) : 1);
	run(argc > 1 ? (unsigned)atoi(argv[1]) + 1 : 2);
	return done();
}
