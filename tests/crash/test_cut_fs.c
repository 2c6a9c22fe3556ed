/*
 * test_cut_fs.c - the power goes under a filesystem, at every call that changes the disk.
 *
 * A workload of names, links, contents and attributes is run once, under tiny limits,
 * on a storage in memory that records what is done to it. A model beside it writes
 * down, after each operation, what the whole filesystem looks like, as text. Then, for
 * points all over the record and each way in which a disk may keep what was not
 * synced, the filesystem is opened on what the disk could hold. Its own text must be
 * that of the moment after some operation; after a power cut none that was synced may
 * be missing, after a mere kill none that returned. The check must find nothing, and
 * it must go on working. Now and then the power goes a second time during the opening.
 *
 * Times and inode numbers are in the text, so that a state put together of two others
 * is found even where the contents happen to agree.
 *
 * CUTS=n in the environment makes about n cuts, SEED=n another workload.
 */
#include <inttypes.h>
#include <xxhash.h>

#include "lsm/storage_mem.h"
#include "tests/fs/fixture.h"
#include "tests/lsm/model.h"

#define CUTS_DEFAULT 1500
#define WATCHDOG_SECONDS 600
#define NODES 64u
#define NAMES 9u
#define BYTES (200u << 10) /* of a file at most: over the end of an extent */

struct workload {
	const char *name;
	unsigned ops;
	unsigned reopen_every, sync_one_in, compact_one_in;
	uint32_t write_max; /* one write in four; the others are small */
	struct lsm_options lsm;
};

static const struct workload workloads[] = {
	{
		"many small files",
		700,
		230,
		14,
		120,
		6000,
		{.memtable_bytes = 12 << 10,
		 .block_bytes = 512,
		 .table_bytes = 6 << 10,
		 .level1_bytes = 12 << 10,
		 .segment_bytes = 64 << 10,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
	},
	{
		"large files",
		400,
		150,
		16,
		40,
		90000,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 4 << 10,
		 .level1_bytes = 8 << 10,
		 .segment_bytes = 128 << 10,
		 .separate_min = 1024,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
	},
	{
		"reopened all the time",
		300,
		15,
		25,
		60,
		20000,
		{.memtable_bytes = 16 << 10,
		 .block_bytes = 512,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 16 << 10,
		 .segment_bytes = 64 << 10,
		 .l0_compact = 2,
		 .memory_bytes = 4 << 20},
	},
};
#define WORKLOADS_COUNT (sizeof(workloads) / sizeof(workloads[0]))

enum kind { FREE, FILE_NODE, DIR_NODE, LINK_NODE };

struct node {
	enum kind kind;
	uint64_t ino, lookups;
	unsigned links;
	int names[NAMES]; /* of a directory: nodes, -1 none */
	unsigned mode, uid;
	size_t size;
	unsigned char *bytes;
	uint64_t hash; /* of the content */
	int xattr;     /* value of the one attribute, -1 none */
	int64_t mtime, ctime;
};

struct state {
	uint64_t begun, done; /* recorded calls before the operation and after it */
	char *text;           /* what is there after it */
};

struct record {
	const struct workload *w;
	struct storage *st;
	struct fs *fs;
	struct rng rng;
	struct node nodes[NODES];
	struct state *states; /* [0] before any operation */
	size_t ops;           /* done so far */
	struct sync_time {
		uint64_t calls;
		size_t op;
	} * syncs; /* ascending */
	size_t syncs_count;
	uint64_t calls;
	char error[256];
};

static bool wrong(struct record *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct record *r, const char *format, ...)
{
	va_list args;

	if (r->error[0])
		return false;
	va_start(args, format);
	vsnprintf(r->error, sizeof(r->error), format, args);
	va_end(args);
	return false;
}

static void must(int rc, const char *what)
{
	if (rc)
		bail("%s: %s", what, strerror(-rc));
}

static void print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

static int open_on(const struct workload *w, struct storage *st, struct fs **fs)
{
	struct fs_options options = {.lsm = w->lsm, .atime = FS_NOATIME};

	options.lsm.storage = st;
	options.lsm.create = true;
	options.lsm.report = print_report;
	return fs_open(NULL, &options, fs);
}

static const char *name_of(unsigned n)
{
	static const char *const names[NAMES] = {"a",   "b",      "c.txt", "dir", "e",
						 "lib", "main.c", "x",     "y"};

	return names[n];
}

/* ---- a filesystem as text ---- */

struct text {
	char *data;
	size_t size, room;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *format, ...)
{
	va_list args;

	if (t->room - t->size < 512) {
		t->room = t->room ? t->room * 2 : 4096;
		t->data = model_must(realloc(t->data, t->room));
	}
	va_start(args, format);
	t->size += (size_t)vsnprintf(t->data + t->size, t->room - t->size, format, args);
	va_end(args);
}

static void say_inode(struct text *t, unsigned depth, const char *name, const struct stat *st,
		      int xattr, uint64_t hash)
{
	say(t, "%*s%s: inode %ju, mode %o, uid %u, %ju links, size %jd, times %jd %jd, %d, %jx\n",
	    (int)depth, "", name, (uintmax_t)st->st_ino, st->st_mode, st->st_uid,
	    (uintmax_t)st->st_nlink, (intmax_t)st->st_size, (intmax_t)ns_of(st->st_mtim),
	    (intmax_t)ns_of(st->st_ctim), xattr, (uintmax_t)hash);
}

/* As the model has it. */
static void say_node(const struct record *r, struct text *t, unsigned depth, const char *name,
		     int n)
{
	static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFLNK};
	const struct node *node = &r->nodes[n];
	struct stat st = {.st_ino = node->ino,
			  .st_mode = types[node->kind] | node->mode,
			  .st_uid = node->uid,
			  .st_nlink = node->links,
			  .st_size = (off_t)node->size,
			  .st_mtim = {node->mtime / 1000000000, node->mtime % 1000000000},
			  .st_ctim = {node->ctime / 1000000000, node->ctime % 1000000000}};

	if (node->kind == DIR_NODE) {
		st.st_size = 4096;
		for (unsigned i = 0; i < NAMES; i++)
			if (node->names[i] >= 0)
				st.st_nlink += r->nodes[node->names[i]].kind == DIR_NODE;
	}
	say_inode(t, depth, name, &st, node->xattr, node->hash);
	for (unsigned i = 0; node->kind == DIR_NODE && i < NAMES; i++)
		if (node->names[i] >= 0)
			say_node(r, t, depth + 1, name_of(i), node->names[i]);
}

struct listing {
	struct stat entries[NAMES + 1];
	bool there[NAMES];
	struct fs *fs;
	int strange;
};

static int list_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct listing *l = ctx;

	(void)next;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < NAMES; i++)
		if (!strcmp(name, name_of(i)) && held && !l->there[i]) {
			l->there[i] = true;
			l->entries[i] = *st;
			return 0;
		}
	if (held)
		fs_forget(l->fs, st->st_ino, 1);
	l->strange++;
	return 0;
}

static int say_found(struct fs *fs, struct text *t, unsigned depth, const char *name,
		     const struct stat *st);

static int say_entries(struct fs *fs, struct text *t, unsigned depth, uint64_t ino)
{
	struct listing *l = model_must(calloc(1, sizeof(*l)));
	struct fs_dir *dir;
	int rc = fs_dir_open(fs, ino, &dir);

	l->fs = fs;
	if (!rc) {
		rc = fs_dir_read(dir, 0, true, list_entry, l);
		fs_dir_close(dir);
	}
	for (unsigned i = 0; i < NAMES; i++) {
		if (!l->there[i])
			continue;
		if (!rc)
			rc = say_found(fs, t, depth, name_of(i), &l->entries[i]);
		fs_forget(fs, l->entries[i].st_ino, 1);
	}
	if (l->strange)
		say(t, "%*s%d strange entries\n", (int)depth, "", l->strange);
	free(l);
	return rc;
}

/* As the filesystem has it; `st` is held. */
static int say_found(struct fs *fs, struct text *t, unsigned depth, const char *name,
		     const struct stat *st)
{
	static unsigned char bytes[BYTES + 1];
	uint64_t hash = 0;
	unsigned char value;
	int xattr = -1, rc;
	size_t got;

	rc = fs_getxattr(fs, st->st_ino, "user.cut", &value, 1, &got);
	if (!rc)
		xattr = value;
	else if (rc == -ENODATA)
		rc = 0;
	if (!rc && S_ISREG(st->st_mode)) {
		rc = fs_read(fs, st->st_ino, 0, bytes, sizeof(bytes), &got);
		hash = XXH3_64bits(bytes, got);
		if (!rc && got != (size_t)st->st_size)
			say(t, "%s: read %zu bytes\n", name, got);
	} else if (!rc && S_ISLNK(st->st_mode)) {
		rc = fs_readlink(fs, st->st_ino, (char *)bytes);
		hash = rc ? 0 : XXH3_64bits(bytes, strlen((char *)bytes));
	}
	if (!rc)
		say_inode(t, depth, name, st, xattr, hash);
	if (!rc && S_ISDIR(st->st_mode))
		rc = say_entries(fs, t, depth + 1, st->st_ino);
	return rc;
}

static int say_all(struct fs *fs, struct text *t)
{
	struct stat st;
	int rc = fs_getattr(fs, FS_ROOT_INO, &st);

	return rc ? rc : say_found(fs, t, 0, "/", &st);
}

/* ---- the workload ---- */

static unsigned below(struct record *r, uint32_t n)
{
	return rng_below(&r->rng, n);
}

/* A node of the kind with a name (or the root), or -1. */
static int pick(struct record *r, enum kind kind)
{
	for (unsigned i = 0; i < 60; i++) {
		int n = (int)below(r, NODES);

		if (r->nodes[n].kind == kind && r->nodes[n].links)
			return n;
	}
	return kind == DIR_NODE ? 0 : -1;
}

/* Make sure that we hold it: look it up by a name, its parents first. */
static void hold(struct record *r, int n)
{
	struct stat st;

	if (!n || r->nodes[n].lookups)
		return;
	for (int d = 0; d < (int)NODES; d++) {
		if (r->nodes[d].kind != DIR_NODE || !r->nodes[d].links)
			continue;
		for (unsigned i = 0; i < NAMES; i++) {
			if (r->nodes[d].names[i] != n)
				continue;
			hold(r, d);
			must(fs_lookup(r->fs, r->nodes[d].ino, name_of(i), &st), "lookup");
			r->nodes[n].lookups = 1;
			return;
		}
	}
	bail("node %d has no name", n);
}

static void let_go(struct record *r, int n)
{
	if (r->nodes[n].lookups)
		fs_forget(r->fs, r->nodes[n].ino, r->nodes[n].lookups);
	r->nodes[n].lookups = 0;
	if (!r->nodes[n].links)
		r->nodes[n].kind = FREE;
}

static void begin(struct record *r)
{
	r->states[r->ops + 1].begun = storage_mem_calls(r->st);
}

static void now_synced(struct record *r)
{
	r->syncs[r->syncs_count++] = (struct sync_time){storage_mem_calls(r->st), r->ops};
}

/* The times are the filesystem's to choose: believe what it says, here. */
static void take_times(struct record *r, int n)
{
	struct stat st;

	if (n < 0 || r->nodes[n].kind == FREE || !r->nodes[n].links)
		return;
	hold(r, n);
	must(fs_getattr(r->fs, r->nodes[n].ino, &st), "getattr");
	r->nodes[n].mtime = ns_of(st.st_mtim);
	r->nodes[n].ctime = ns_of(st.st_ctim);
}

/* An operation is done; it was about these nodes (-1: none). */
static void end(struct record *r, int a, int b, int c, int d)
{
	struct text t = {0};

	r->states[++r->ops].done = storage_mem_calls(r->st);
	take_times(r, a);
	take_times(r, b);
	take_times(r, c);
	take_times(r, d);
	say_node(r, &t, 0, "/", 0);
	r->states[r->ops].text = t.data;
}

static void rehash(struct node *node)
{
	node->hash = XXH3_64bits(node->bytes, node->size);
}

static int free_node(const struct record *r)
{
	for (int n = 1; n < (int)NODES; n++)
		if (r->nodes[n].kind == FREE)
			return n;
	return -1;
}

static void do_create(struct record *r)
{
	int d = pick(r, DIR_NODE), n = free_node(r);
	unsigned name = below(r, NAMES), what = below(r, 5);
	struct node *node;
	unsigned char *bytes;
	struct stat st;
	uint64_t dir;

	if (n < 0 || r->nodes[d].names[name] >= 0)
		return;
	node = &r->nodes[n];
	hold(r, d);
	dir = r->nodes[d].ino;
	begin(r);
	if (what == 0)
		must(fs_mkdir(r->fs, &USER, dir, name_of(name), 0711, &st), "mkdir");
	else if (what == 1)
		must(fs_symlink(r->fs, &USER, dir, name_of(name), "to/there", &st), "symlink");
	else
		must(fs_mknod(r->fs, &USER, dir, name_of(name), S_IFREG | 0600, 0, &st), "mknod");
	bytes = node->bytes ? node->bytes : model_must(malloc(BYTES));
	memset(bytes, 0, BYTES);
	*node = (struct node){.kind = what == 0 ? DIR_NODE :
				      what == 1 ? LINK_NODE :
						  FILE_NODE,
			      .ino = st.st_ino,
			      .lookups = 1,
			      .links = what == 0 ? 2 : 1,
			      .mode = st.st_mode & 07777,
			      .uid = 1000,
			      .size = what == 1 ? 8 : 0,
			      .bytes = bytes,
			      .xattr = -1};
	memset(node->names, -1, sizeof(node->names));
	if (what == 1)
		memcpy(bytes, "to/there", 8);
	if (what)
		rehash(node);
	r->nodes[d].names[name] = n;
	end(r, d, n, -1, -1);
}

static void do_link(struct record *r)
{
	int d = pick(r, DIR_NODE), n = pick(r, FILE_NODE);
	unsigned name = below(r, NAMES);
	struct stat st;

	if (n < 0 || r->nodes[d].names[name] >= 0)
		return;
	hold(r, d);
	hold(r, n);
	begin(r);
	must(fs_link(r->fs, r->nodes[n].ino, r->nodes[d].ino, name_of(name), &st), "link");
	r->nodes[d].names[name] = n;
	r->nodes[n].links++;
	r->nodes[n].lookups++;
	end(r, d, n, -1, -1);
}

static bool is_empty(const struct node *d)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (d->names[i] >= 0)
			return false;
	return true;
}

/* A name of it went. Half of what is gone for good stays open for a while. */
static void lose(struct record *r, int n)
{
	struct node *node = &r->nodes[n];

	node->links -= node->kind == DIR_NODE ? 2 : 1;
	if (!node->links && (!node->lookups || node->kind == DIR_NODE || below(r, 2)))
		let_go(r, n);
}

static void do_remove(struct record *r)
{
	int d = pick(r, DIR_NODE), n;
	unsigned name = below(r, NAMES);

	n = r->nodes[d].names[name];
	if (n < 0)
		return;
	hold(r, d);
	if (r->nodes[n].kind == DIR_NODE && !is_empty(&r->nodes[n]))
		return;
	if (below(r, 2))
		hold(r, n);
	begin(r);
	if (r->nodes[n].kind == DIR_NODE)
		must(fs_rmdir(r->fs, r->nodes[d].ino, name_of(name)), "rmdir");
	else
		must(fs_unlink(r->fs, r->nodes[d].ino, name_of(name)), "unlink");
	r->nodes[d].names[name] = -1;
	lose(r, n);
	end(r, d, n, -1, -1);
}

/* Whether `d` is `n` or below it. */
static bool is_below(const struct record *r, int n, int d)
{
	if (n == d)
		return true;
	for (unsigned i = 0; r->nodes[n].kind == DIR_NODE && i < NAMES; i++)
		if (r->nodes[n].names[i] >= 0 && is_below(r, r->nodes[n].names[i], d))
			return true;
	return false;
}

static void do_rename(struct record *r)
{
	int a = pick(r, DIR_NODE), b = below(r, 3) ? pick(r, DIR_NODE) : a, n, m;
	unsigned from = below(r, NAMES), to = below(r, NAMES);
	bool exchange;

	n = r->nodes[a].names[from];
	m = r->nodes[b].names[to];
	if (n < 0 || n == m || is_below(r, n, b) || (m >= 0 && is_below(r, m, a)))
		return;
	exchange = m >= 0 && below(r, 4) == 0;
	if (m >= 0 && !exchange) {
		if ((r->nodes[n].kind == DIR_NODE) != (r->nodes[m].kind == DIR_NODE) ||
		    (r->nodes[m].kind == DIR_NODE && !is_empty(&r->nodes[m])))
			return;
		if (below(r, 2))
			hold(r, m);
	}
	hold(r, a);
	hold(r, b);
	begin(r);
	must(fs_rename(r->fs, r->nodes[a].ino, name_of(from), r->nodes[b].ino, name_of(to),
		       exchange ? FS_RENAME_EXCHANGE : 0),
	     "rename");
	r->nodes[a].names[from] = exchange ? m : -1;
	r->nodes[b].names[to] = n;
	if (m >= 0 && !exchange)
		lose(r, m);
	end(r, a, b, n, m);
}

static void do_write(struct record *r)
{
	static unsigned char data[BYTES];
	int n = pick(r, FILE_NODE);
	uint32_t most = below(r, 4) ? 2500 : r->w->write_max;
	size_t size = 1 + below(r, most), at;
	unsigned flags = below(r, r->w->sync_one_in) ? 0 : FS_WRITE_SYNC;
	struct mval value = {rng_next(&r->rng) >> 1 | 1 << 2, 0, (uint32_t)size};
	struct node *node;

	if (n < 0)
		return;
	node = &r->nodes[n];
	at = below(r, 3) ? node->size : below(r, (uint32_t)node->size + 5000);
	if (at + size > BYTES)
		at = 0;
	mval_fill(value, 0, data, size);
	hold(r, n);
	begin(r);
	must(fs_write(r->fs, node->ino, at, data, size, flags, NULL), "write");
	memcpy(node->bytes + at, data, size);
	if (at + size > node->size)
		node->size = at + size;
	rehash(node);
	end(r, n, -1, -1, -1);
	if (flags)
		now_synced(r);
}

static void do_truncate(struct record *r)
{
	int n = pick(r, FILE_NODE);
	struct stat want = {0}, st;
	struct node *node;
	size_t old;

	if (n < 0)
		return;
	node = &r->nodes[n];
	old = node->size;
	node->size = below(r, 3) ? below(r, (uint32_t)old + 1) : below(r, BYTES / 2);
	if (below(r, 4) == 0)
		node->size = 0;
	want.st_size = (off_t)node->size;
	hold(r, n);
	begin(r);
	must(fs_setattr(r->fs, &ROOT, node->ino, &want, FS_SET_SIZE, &st), "truncate");
	if (node->size < old)
		memset(node->bytes + node->size, 0, old - node->size);
	rehash(node);
	end(r, n, -1, -1, -1);
}

static void do_punch(struct record *r)
{
	int n = pick(r, FILE_NODE);
	struct node *node;
	size_t at, size;

	if (n < 0 || r->nodes[n].size < 2)
		return;
	node = &r->nodes[n];
	at = below(r, (uint32_t)node->size - 1);
	size = 1 + below(r, (uint32_t)(node->size - at));
	hold(r, n);
	begin(r);
	must(fs_fallocate(r->fs, node->ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size),
	     "punch");
	memset(node->bytes + at, 0, at + size > node->size ? node->size - at : size);
	rehash(node);
	end(r, n, -1, -1, -1);
}

static void do_copy(struct record *r)
{
	int a = pick(r, FILE_NODE), b = pick(r, FILE_NODE);
	struct node *from, *to;
	size_t copied;

	if (a < 0 || b < 0 || a == b || !r->nodes[a].size)
		return;
	from = &r->nodes[a];
	to = &r->nodes[b];
	hold(r, a);
	hold(r, b);
	begin(r);
	must(fs_copy_range(r->fs, from->ino, 0, to->ino, 0, from->size, &copied), "copy");
	memcpy(to->bytes, from->bytes, copied);
	if (copied > to->size)
		to->size = copied;
	rehash(to);
	end(r, a, b, -1, -1);
}

static void do_attr(struct record *r)
{
	int n = pick(r, (enum kind)(FILE_NODE + below(r, 2)));
	struct stat want = {0}, st;
	unsigned char value = (unsigned char)below(r, 100);

	if (n <= 0)
		return;
	hold(r, n);
	begin(r);
	if (below(r, 2)) {
		want.st_mode = 0600 | below(r, 0100);
		want.st_uid = below(r, 5);
		must(fs_setattr(r->fs, &ROOT, r->nodes[n].ino, &want, FS_SET_MODE | FS_SET_UID,
				&st),
		     "setattr");
		r->nodes[n].mode = want.st_mode;
		r->nodes[n].uid = want.st_uid;
	} else if (r->nodes[n].xattr >= 0 && below(r, 2)) {
		must(fs_removexattr(r->fs, r->nodes[n].ino, "user.cut"), "removexattr");
		r->nodes[n].xattr = -1;
	} else {
		must(fs_setxattr(r->fs, r->nodes[n].ino, "user.cut", &value, 1, 0), "setxattr");
		r->nodes[n].xattr = value;
	}
	end(r, n, -1, -1, -1);
}

/* What is open without a name, or has just not been used for long. */
static void do_forget(struct record *r)
{
	for (unsigned i = 0; i < 10; i++) {
		int n = 1 + (int)below(r, NODES - 1);

		if (r->nodes[n].kind != FREE && r->nodes[n].lookups) {
			let_go(r, n);
			return;
		}
	}
}

static void reopen(struct record *r)
{
	for (int n = 1; n < (int)NODES; n++)
		if (r->nodes[n].kind != FREE && below(r, 2))
			let_go(r, n);
	must(fs_close(r->fs), "close");
	now_synced(r);
	must(open_on(r->w, r->st, &r->fs), "reopening");
	for (int n = 1; n < (int)NODES; n++) {
		r->nodes[n].lookups = 0;
		if (!r->nodes[n].links)
			r->nodes[n].kind = FREE;
	}
}

static void step(struct record *r)
{
	static void (*const ops[])(struct record *) = {
		do_create, do_create,   do_create, do_create, do_link,  do_remove, do_remove,
		do_rename, do_rename,   do_rename, do_write,  do_write, do_write,  do_write,
		do_write,  do_truncate, do_punch,  do_copy,   do_attr,  do_forget,
	};

	ops[below(r, sizeof(ops) / sizeof(ops[0]))](r);
	if (rng_chance(&r->rng, r->w->sync_one_in * 4)) {
		must(below(r, 2) ? fs_sync(r->fs) : fs_fsync(r->fs, FS_ROOT_INO), "sync");
		now_synced(r);
	}
	if (rng_chance(&r->rng, r->w->compact_one_in * 2))
		must(fs_compact(r->fs, NULL, NULL), "compact");
}

static void run_workload(struct record *r)
{
	size_t reopened = 0;

	storage_mem_record(r->st, true);
	must(open_on(r->w, r->st, &r->fs), "opening");
	r->nodes[0] = (struct node){.kind = DIR_NODE, .ino = FS_ROOT_INO, .links = 2, .xattr = -1};
	memset(r->nodes[0].names, -1, sizeof(r->nodes[0].names));
	r->nodes[0].mode = attr_of(r->fs, FS_ROOT_INO).st_mode & 07777;
	/* The first state: an empty filesystem, once there is one. */
	r->ops = SIZE_MAX;
	end(r, 0, -1, -1, -1);
	while (r->ops < r->w->ops) {
		step(r);
		if (r->ops / r->w->reopen_every != reopened) {
			reopened = r->ops / r->w->reopen_every;
			reopen(r);
		}
	}
	must(fs_close(r->fs), "closing");
	now_synced(r);
	r->calls = storage_mem_calls(r->st);
}

/* ---- the cuts ---- */

/* Which operations must and may be there after a cut. */
static void bounds_at(const struct record *r, uint64_t calls, bool killed, size_t *least,
		      size_t *most)
{
	*least = *most = 0;
	for (size_t i = 0; i < r->syncs_count && r->syncs[i].calls <= calls; i++)
		*least = r->syncs[i].op;
	for (size_t i = 1; i <= r->ops && r->states[i].begun < calls; i++) {
		*most = i;
		if (killed && r->states[i].done <= calls)
			*least = i;
	}
}

static void print_lines(const char *what, const char *text)
{
	printf("#   %s:\n", what);
	while (text && *text) {
		int size = (int)strcspn(text, "\n");

		printf("#     %.*s\n", size, text);
		text += size + (text[size] != 0);
	}
}

/* The root of an empty filesystem is made anew if its making was cut. */
static bool is_fresh(const char *text)
{
	return !strncmp(text, "/: inode 1,", 11) && !strchr(strchr(text, '\n') + 1, '\n');
}

static bool check_text(struct record *r, struct fs *fs, size_t least, size_t most, char **found)
{
	struct text t = {0};
	int rc = say_all(fs, &t);
	bool right = false;

	if (rc) {
		free(t.data);
		return wrong(r, "reading it: %s", strerror(-rc));
	}
	for (size_t i = least; i <= most && !right; i++)
		right = !strcmp(t.data, r->states[i].text);
	if (!right && !least && is_fresh(t.data))
		right = true;
	if (!right && !r->error[0]) {
		wrong(r, "it is in no state between the operations %zu and %zu", least, most);
		print_lines("found", t.data);
		print_lines("the first of them", r->states[least].text);
		if (most > least)
			print_lines("the last of them", r->states[most].text);
	}
	*found = t.data;
	return right;
}

static void print_finding(void *ctx, const char *text)
{
	(void)ctx;
	printf("# finding: %s\n", text);
}

static bool check_clean(struct record *r, struct fs *fs, const char *text)
{
	struct fs_check_counts counts;
	struct fs_stats stats;
	int rc = fs_check(fs, print_finding, NULL, NULL, NULL, &counts);

	(void)text;
	if (rc)
		return wrong(r, "the check: %s", strerror(-rc));
	rc = fs_stats(fs, &stats);
	if (rc)
		return wrong(r, "fs_stats: %s", strerror(-rc));
	if (stats.files != counts.files + counts.directories + counts.symlinks + counts.others)
		return wrong(r, "%ju inodes are counted, the check found others",
			     (uintmax_t)stats.files);
	return true;
}

/* The filesystem goes on: what is written and synced is there after it was opened again. */
static bool check_goes_on(struct record *r, struct storage *st, struct fs **fs)
{
	char buf[8];
	struct stat attr;
	size_t got;
	int rc = fs_mknod(*fs, &ROOT, FS_ROOT_INO, "after the cut", S_IFREG | 0600, 0, &attr);

	if (!rc)
		rc = fs_write(*fs, attr.st_ino, 0, "goes on", 7, FS_WRITE_SYNC, NULL);
	if (rc)
		return wrong(r, "a write after the cut: %s", strerror(-rc));
	rc = fs_close(*fs);
	*fs = NULL;
	if (rc)
		return wrong(r, "closing after the cut: %s", strerror(-rc));
	rc = open_on(r->w, st, fs);
	if (rc)
		return wrong(r, "opening it once more: %s", strerror(-rc));
	rc = fs_lookup(*fs, FS_ROOT_INO, "after the cut", &attr);
	if (!rc)
		rc = fs_read(*fs, attr.st_ino, 0, buf, sizeof(buf), &got);
	if (rc || got != 7 || memcmp(buf, "goes on", 7) != 0)
		return wrong(r, "what was written after the cut is gone: %d", rc);
	return true;
}

/* The power goes again while it is being opened, which may lose nothing of what was there. */
static bool check_cut_again(struct record *r, struct storage *st, uint64_t calls, uint64_t seed,
			    const char *want)
{
	struct storage *again = storage_mem_cut(st, calls, (enum storage_mem_keep)(seed % 3), seed);
	struct text t = {0};
	struct fs *fs;
	int rc;

	if (!again)
		bail("no memory");
	rc = open_on(r->w, again, &fs);
	if (rc) {
		wrong(r, "a second cut, after call %" PRIu64 " of opening: %s", calls,
		      strerror(-rc));
	} else {
		rc = say_all(fs, &t);
		if (rc || (strcmp(t.data, want) != 0 && !(is_fresh(want) && is_fresh(t.data)))) {
			wrong(r, "a second cut, after call %" PRIu64 " of opening: another state",
			      calls);
			print_lines("found", t.data);
			print_lines("before", want);
		}
		rc = fs_close(fs);
		if (rc)
			wrong(r, "closing after a second cut: %s", strerror(-rc));
	}
	free(t.data);
	again->ops->free(again);
	return !r->error[0];
}

static bool check_store(struct record *r, struct storage *st, uint64_t calls, bool killed,
			uint64_t seed, struct fs **fs)
{
	size_t least, most;
	char *text = NULL;
	uint64_t opened;
	int rc = open_on(r->w, st, fs);

	if (rc)
		return wrong(r, "opening it: %s", strerror(-rc));
	opened = storage_mem_calls(st);
	bounds_at(r, calls, killed, &least, &most);
	if (check_text(r, *fs, least, most, &text) && check_clean(r, *fs, text) &&
	    (seed % 4 || check_cut_again(r, st, seed / 4 % (opened + 1), seed / 16, text)))
		check_goes_on(r, st, fs);
	free(text);
	return !r->error[0];
}

static bool check_cut(struct record *r, uint64_t calls, enum storage_mem_keep keep, uint64_t seed)
{
	struct storage *st = storage_mem_cut(r->st, calls, keep, seed);
	struct fs *fs = NULL;

	if (!st)
		bail("no memory");
	storage_mem_record(st, true);
	check_store(r, st, calls, keep == STORAGE_MEM_KEEP_ALL, seed, &fs);
	if (fs) {
		int rc = fs_close(fs);

		if (rc)
			wrong(r, "closing it: %s", strerror(-rc));
	}
	st->ops->free(st);
	return !r->error[0];
}

/* In turn the three ways of losing power, each at another point. */
static uint64_t cut_everywhere(struct record *r, uint64_t seed, uint64_t cuts_max)
{
	static const char *const keep_names[] = {"nothing", "everything", "a random part"};
	double stride = (double)r->calls * 3 / (double)cuts_max;
	uint64_t cuts = 0;

	for (uint64_t i = 0; (double)i * stride < (double)r->calls; i++) {
		uint64_t at = (uint64_t)((double)i * stride);

		for (int keep = 0; keep < 3 && !r->error[0]; keep++) {
			uint64_t calls = at + below(r, (uint32_t)stride + 1);
			uint64_t cut_seed = rng_next(&r->rng);

			if (calls > r->calls)
				calls = r->calls;
			cuts++;
			if (!check_cut(r, calls, (enum storage_mem_keep)keep, cut_seed))
				printf("#   seed %" PRIu64 ", cut after call %" PRIu64
				       " of %" PRIu64 ", %s kept (seed %" PRIu64 "): %s\n",
				       seed, calls, r->calls, keep_names[keep], cut_seed, r->error);
		}
	}
	return cuts;
}

static void test_workload(const struct workload *w, uint64_t seed, uint64_t cuts_max)
{
	struct record *r = model_must(calloc(1, sizeof(*r)));
	uint64_t cuts;

	r->w = w;
	r->rng.state = seed;
	r->st = model_must(storage_mem_new());
	r->states = model_must(calloc(w->ops + 2, sizeof(*r->states)));
	r->syncs = model_must(calloc((size_t)w->ops * 100 + 100, sizeof(*r->syncs)));
	run_workload(r);
	cuts = cut_everywhere(r, seed, cuts_max);
	ok(!r->error[0], "%s: %zu operations, %" PRIu64 " calls: %" PRIu64 " power cuts", w->name,
	   r->ops, r->calls, cuts);
	for (size_t i = 0; i <= r->ops; i++)
		free(r->states[i].text);
	for (size_t i = 0; i < NODES; i++)
		free(r->nodes[i].bytes);
	free(r->states);
	free(r->syncs);
	r->st->ops->free(r->st);
	free(r);
}

int main(void)
{
	const char *env_cuts = getenv("CUTS"), *env_seed = getenv("SEED");
	uint64_t cuts = env_cuts ? strtoull(env_cuts, NULL, 0) : CUTS_DEFAULT;
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 0) : 1;

	/* A store that hangs fails the test, too. */
	alarm(cuts > CUTS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	for (size_t i = 0; i < WORKLOADS_COUNT; i++)
		test_workload(&workloads[i], seed + i, cuts / WORKLOADS_COUNT + 1);
	return done();
}
