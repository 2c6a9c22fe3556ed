/*
 * fs_model.h - a plain model of a filesystem beside the real one, for the tests that
 * take the power away and make calls fail.
 *
 * A workload of names, links, contents and attributes is run on both. After each
 * operation the model writes down, as text, what the whole filesystem looks like; the
 * filesystem's own text has to be that. Times and inode numbers are in the text, so that a
 * state put together of two others is found even where the contents happen to agree.
 *
 * Where calls may fail (`may_fail`), a failed one has changed nothing. Only if the store
 * became read-only with it is that open: the operation is the last of the text then,
 * and `doubt` says so. What it would have made up (times, inode numbers) is `?`.
 */
#ifndef TESTS_CRASH_FS_MODEL_H
#define TESTS_CRASH_FS_MODEL_H

#include <xxhash.h>

#include "tests/crash/cuts.h"
#include "tests/fs/fixture.h"

#define FS_MODEL_NODES 64u
#define FS_MODEL_NAMES 9u
#define FS_MODEL_BYTES (200u << 10) /* of a file at most: over the end of an extent */
#define FS_MODEL_UNKNOWN INT64_MIN  /* a time */

struct fs_workload {
	const char *name;
	unsigned ops;
	unsigned reopen_every, sync_one_in, compact_one_in;
	uint32_t write_max; /* one write in four; the others are small */
	struct lsm_options lsm;
};

enum kind { FREE, FILE_NODE, DIR_NODE, LINK_NODE };

struct node {
	enum kind kind;
	uint64_t ino, lookups; /* ino 0: unknown */
	unsigned links;
	int names[FS_MODEL_NAMES]; /* of a directory: nodes, -1 none */
	unsigned mode, uid;
	size_t size;
	unsigned char *bytes;
	uint64_t hash; /* of the content */
	int xattr;     /* value of the one attribute, -1 none */
	int64_t mtime, ctime;
};

enum fs_model_op {
	OP_CREATE,
	OP_MKDIR,
	OP_SYMLINK,
	OP_LINK,
	OP_UNLINK,
	OP_RMDIR,
	OP_ORPHAN, /* the last name went while it was held */
	OP_RENAME,
	OP_REPLACE,
	OP_EXCHANGE,
	OP_WRITE,
	OP_WRITE_LARGE,
	OP_TRUNCATE,
	OP_PUNCH,
	OP_COPY,
	OP_ATTR,
	OP_XATTR,
	FS_MODEL_OPS,
};

struct fs_model {
	const struct fs_workload *w;
	struct fs *fs;
	struct rng rng;
	struct node nodes[FS_MODEL_NODES];
	struct history history;
	char **texts;                /* [0] before any operation, [n] after the nth */
	uint64_t done[FS_MODEL_OPS]; /* how often each operation was done */
	bool sync;                   /* mounted so that every change is durable when it returns */
	bool may_fail, doubt;
	unsigned errors; /* that calls returned */
	char error[512]; /* what is wrong */
};

static inline bool fs_model_wrong(struct fs_model *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline bool fs_model_wrong(struct fs_model *m, const char *format, ...)
{
	va_list args;

	if (m->error[0])
		return false;
	va_start(args, format);
	vsnprintf(m->error, sizeof(m->error), format, args);
	va_end(args);
	return false;
}

/*
 * This thread is in the model, not in the filesystem: a test that has allocations fail
 * spares those of the model. FS() is around every call.
 */
static _Thread_local bool fs_model_outside;
#define FS(call) (fs_model_outside = false, fs_model_left(call))
static inline int fs_model_left(int rc)
{
	fs_model_outside = true;
	return rc;
}

/* A call returned `rc`: did it fail? */
static inline bool failed(struct fs_model *m, int rc, const char *what)
{
	if (!rc)
		return false;
	if (!m->may_fail)
		bail("%s: %s", what, strerror(-rc));
	m->errors++;
	if (rc != -EIO && rc != -ENOSPC && rc != -EROFS && rc != -ENOMEM && rc != -EAGAIN)
		fs_model_wrong(m, "%s: %s", what, strerror(-rc));
	return true;
}

/* A call that changes something returned `rc`: did it, as far as the model is to know? */
static inline bool changed(struct fs_model *m, int rc, const char *what)
{
	struct fs_stats stats;

	if (!failed(m, rc, what)) {
		if (m->doubt)
			fs_model_wrong(m, "%s worked after something in doubt", what);
		return true;
	}
	(void)FS(fs_stats(m->fs, &stats));
	if (m->doubt || !stats.lsm.read_only)
		return false;
	m->doubt = true;
	return true;
}

static inline int fs_model_open(const struct fs_model *m, struct storage *st, struct fs **fs)
{
	struct fs_options options = {.lsm = m->w->lsm, .atime = FS_NOATIME, .sync = m->sync};

	options.lsm.storage = st;
	options.lsm.create = true;
	options.lsm.report = m->may_fail ? NULL : cuts_print_report;
	return FS(fs_open(NULL, &options, fs));
}

static inline const char *name_of(unsigned n)
{
	static const char *const names[FS_MODEL_NAMES] = {"a",   "b",      "c.txt", "dir", "e",
							  "lib", "main.c", "x",     "y"};

	return names[n];
}

/* ---- a filesystem as text ---- */

struct text {
	char *data;
	size_t size, room;
};

static inline void say(struct text *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline void say(struct text *t, const char *format, ...)
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

static inline void say_time(struct text *t, int64_t ns)
{
	if (ns == FS_MODEL_UNKNOWN)
		say(t, ", ?");
	else
		say(t, ", %jd", (intmax_t)ns);
}

static inline void say_inode(struct text *t, unsigned depth, const char *name,
			     const struct stat *st, int64_t mtime, int64_t ctime, int xattr,
			     uint64_t hash)
{
	say(t, "%*s%s: ", (int)depth, "", name);
	if (st->st_ino)
		say(t, "inode %ju", (uintmax_t)st->st_ino);
	else
		say(t, "inode ?");
	say(t, ", mode %o, uid %u, %ju links, size %jd", st->st_mode, st->st_uid,
	    (uintmax_t)st->st_nlink, (intmax_t)st->st_size);
	say_time(t, mtime);
	say_time(t, ctime);
	say(t, ", %d, %jx\n", xattr, (uintmax_t)hash);
}

/* As the model has it. */
static inline void say_node(const struct fs_model *m, struct text *t, unsigned depth,
			    const char *name, int n)
{
	static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFLNK};
	const struct node *node = &m->nodes[n];
	struct stat st = {.st_ino = node->ino,
			  .st_mode = types[node->kind] | node->mode,
			  .st_uid = node->uid,
			  .st_nlink = node->links,
			  .st_size = (off_t)node->size};

	if (node->kind == DIR_NODE) {
		st.st_size = 4096;
		for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
			if (node->names[i] >= 0)
				st.st_nlink += m->nodes[node->names[i]].kind == DIR_NODE;
	}
	say_inode(t, depth, name, &st, node->mtime, node->ctime, node->xattr, node->hash);
	for (unsigned i = 0; node->kind == DIR_NODE && i < FS_MODEL_NAMES; i++)
		if (node->names[i] >= 0)
			say_node(m, t, depth + 1, name_of(i), node->names[i]);
}

struct listing {
	struct stat entries[FS_MODEL_NAMES + 1];
	bool there[FS_MODEL_NAMES];
	struct fs *fs;
	uint64_t next; /* to go on at */
	unsigned given, strange;
};

static inline int list_entry(void *ctx, const char *name, const struct stat *st, bool held,
			     uint64_t next)
{
	struct listing *l = ctx;

	l->next = next;
	l->given++;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
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

static inline int say_found(struct fs *fs, struct text *t, unsigned depth, const char *name,
			    const struct stat *st);

static inline int say_entries(struct fs *fs, struct text *t, unsigned depth, uint64_t ino)
{
	struct listing *l = model_must(calloc(1, sizeof(*l)));
	struct fs_dir *dir;
	int rc = FS(fs_dir_open(fs, ino, &dir));

	l->fs = fs;
	if (!rc) {
		/* A read ends early, and without an error, where there is one behind. */
		do {
			l->given = 0;
			rc = FS(fs_dir_read(dir, l->next, true, list_entry, l));
		} while (!rc && l->given);
		fs_dir_close(dir);
	}
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++) {
		if (!l->there[i])
			continue;
		if (!rc)
			rc = say_found(fs, t, depth, name_of(i), &l->entries[i]);
		fs_forget(fs, l->entries[i].st_ino, 1);
	}
	if (l->strange)
		say(t, "%*s%u strange entries\n", (int)depth, "", l->strange);
	free(l);
	return rc;
}

/* As the filesystem has it; `st` is held. */
static inline int say_found(struct fs *fs, struct text *t, unsigned depth, const char *name,
			    const struct stat *st)
{
	static unsigned char bytes[FS_MODEL_BYTES + 1];
	uint64_t hash = 0;
	unsigned char value;
	int xattr = -1, rc;
	size_t got;

	rc = FS(fs_getxattr(fs, st->st_ino, "user.cut", &value, 1, &got));
	if (!rc)
		xattr = value;
	else if (rc == -ENODATA)
		rc = 0;
	if (!rc && S_ISREG(st->st_mode)) {
		rc = FS(fs_read(fs, st->st_ino, 0, bytes, sizeof(bytes), &got));
		hash = rc ? 0 : XXH3_64bits(bytes, got);
		if (!rc && got != (size_t)st->st_size)
			say(t, "%s: read %zu bytes\n", name, got);
	} else if (!rc && S_ISLNK(st->st_mode)) {
		rc = FS(fs_readlink(fs, st->st_ino, (char *)bytes));
		hash = rc ? 0 : XXH3_64bits(bytes, strlen((char *)bytes));
	}
	if (!rc)
		say_inode(t, depth, name, st, ns_of(st->st_mtim), ns_of(st->st_ctim), xattr, hash);
	if (!rc && S_ISDIR(st->st_mode))
		rc = say_entries(fs, t, depth + 1, st->st_ino);
	return rc;
}

static inline int say_all(struct fs *fs, struct text *t)
{
	struct stat st;
	int rc = FS(fs_getattr(fs, FS_ROOT_INO, &st));

	return rc ? rc : say_found(fs, t, 0, "/", &st);
}

/* Is it what the model wrote? Its `?` stands for any number. */
static inline bool text_is(const char *text, const char *want)
{
	for (; *want; want++) {
		if (*want == '?')
			text += strspn(text, "-0123456789");
		else if (*text++ != *want)
			return false;
	}
	return !*text;
}

static inline void print_lines(const char *what, const char *text)
{
	printf("#   %s:\n", what);
	while (text && *text) {
		int size = (int)strcspn(text, "\n");

		printf("#     %.*s\n", size, text);
		text += size + (text[size] != 0);
	}
}

/* The root of an empty filesystem is made anew if its making was cut. */
static inline bool is_fresh(const char *text)
{
	return !strncmp(text, "/: inode 1,", 11) && !strchr(strchr(text, '\n') + 1, '\n');
}

/*
 * What is there is as after one of the operations [least, most]. `found` (may be NULL)
 * gets the text, to be freed. An error is wrong, or returned where calls may fail.
 */
static inline int fs_model_check(struct fs_model *m, struct fs *fs, uint64_t least, uint64_t most,
				 char **found)
{
	struct text t = {0};
	int rc = say_all(fs, &t);
	bool right = false;

	if (found)
		*found = NULL;
	if (rc) {
		free(t.data);
		if (!m->may_fail)
			fs_model_wrong(m, "reading it: %s", strerror(-rc));
		return rc;
	}
	for (uint64_t i = least; i <= most && !right; i++)
		right = text_is(t.data, m->texts[i]);
	if (!right && !(!least && is_fresh(t.data)) && !m->error[0]) {
		fs_model_wrong(m, "it is in no state between the operations %ju and %ju",
			       (uintmax_t)least, (uintmax_t)most);
		print_lines("found", t.data);
		print_lines("the first of them", m->texts[least]);
		if (most > least)
			print_lines("the last of them", m->texts[most]);
	}
	if (found)
		*found = t.data;
	else
		free(t.data);
	return 0;
}

static inline void print_finding(void *ctx, const char *text)
{
	(void)ctx;
	printf("# finding: %s\n", text);
}

/* The check finds nothing, and counts what is counted. */
static inline void fs_model_check_clean(struct fs_model *m, struct fs *fs)
{
	struct fs_check_counts counts;
	struct fs_stats stats;
	int rc = fs_check(fs, print_finding, NULL, NULL, NULL, &counts);

	if (rc)
		fs_model_wrong(m, "the check: %s", strerror(-rc));
	rc = fs_stats(fs, &stats);
	if (rc)
		fs_model_wrong(m, "fs_stats: %s", strerror(-rc));
	else if (stats.files != counts.files + counts.directories + counts.symlinks + counts.others)
		fs_model_wrong(m, "%ju inodes are counted, the check found others",
			       (uintmax_t)stats.files);
}

/* ---- operations ---- */

static inline unsigned below(struct fs_model *m, uint32_t n)
{
	return rng_below(&m->rng, n);
}

/* A node of the kind with a name (or the root), or -1. */
static inline int pick(struct fs_model *m, enum kind kind)
{
	for (unsigned i = 0; i < 60; i++) {
		int n = (int)below(m, FS_MODEL_NODES);

		if (m->nodes[n].kind == kind && m->nodes[n].links)
			return n;
	}
	return kind == DIR_NODE ? 0 : -1;
}

/* Make sure that we hold it: look it up by a name, its parents first. False: that failed. */
static inline bool hold(struct fs_model *m, int n)
{
	struct stat st;

	if (!n || m->nodes[n].lookups)
		return true;
	for (int d = 0; d < (int)FS_MODEL_NODES; d++) {
		if (m->nodes[d].kind != DIR_NODE || !m->nodes[d].links)
			continue;
		for (unsigned i = 0; i < FS_MODEL_NAMES; i++) {
			if (m->nodes[d].names[i] != n)
				continue;
			if (!hold(m, d) ||
			    failed(m, FS(fs_lookup(m->fs, m->nodes[d].ino, name_of(i), &st)),
				   "lookup"))
				return false;
			m->nodes[n].lookups = 1;
			return true;
		}
	}
	bail("node %d has no name", n);
}

static inline void let_go(struct fs_model *m, int n)
{
	if (m->nodes[n].lookups)
		(void)FS((fs_forget(m->fs, m->nodes[n].ino, m->nodes[n].lookups), 0));
	m->nodes[n].lookups = 0;
	if (!m->nodes[n].links)
		m->nodes[n].kind = FREE;
}

/* The times are the filesystem's to choose: believe what it says, here. */
static inline void take_times(struct fs_model *m, int n)
{
	struct node *node = n < 0 ? NULL : &m->nodes[n];
	struct stat st;

	if (!node || node->kind == FREE || !node->links)
		return;
	node->mtime = node->ctime = FS_MODEL_UNKNOWN;
	if (m->doubt || !hold(m, n) || failed(m, FS(fs_getattr(m->fs, node->ino, &st)), "getattr"))
		return;
	node->mtime = ns_of(st.st_mtim);
	node->ctime = ns_of(st.st_ctim);
}

/* Write down what is there now. */
static inline void write_down(struct fs_model *m)
{
	struct text t = {0};

	say_node(m, &t, 0, "/", 0);
	m->texts = history_grown(m->texts, m->history.ops_count, sizeof(*m->texts));
	m->texts[m->history.ops_count] = t.data;
}

/* An operation is done; it was about these nodes (-1: none). */
static inline void end(struct fs_model *m, enum fs_model_op op, int a, int b, int c, int d)
{
	history_done(&m->history);
	if (m->sync && !m->doubt)
		history_synced(&m->history);
	m->done[op]++;
	take_times(m, a);
	take_times(m, b);
	take_times(m, c);
	take_times(m, d);
	write_down(m);
}

static inline void rehash(struct node *node)
{
	node->hash = XXH3_64bits(node->bytes, node->size);
}

static inline int free_node(const struct fs_model *m)
{
	for (int n = 1; n < (int)FS_MODEL_NODES; n++)
		if (m->nodes[n].kind == FREE)
			return n;
	return -1;
}

static inline void do_create(struct fs_model *m)
{
	int d = pick(m, DIR_NODE), n = free_node(m), rc;
	unsigned name = below(m, FS_MODEL_NAMES), what = below(m, 5);
	struct node *node;
	unsigned char *bytes;
	struct stat st;
	uint64_t dir;

	if (n < 0 || m->nodes[d].names[name] >= 0 || !hold(m, d))
		return;
	node = &m->nodes[n];
	dir = m->nodes[d].ino;
	history_begin(&m->history);
	if (what == 0)
		rc = FS(fs_mkdir(m->fs, &USER, dir, name_of(name), 0711, &st));
	else if (what == 1)
		rc = FS(fs_symlink(m->fs, &USER, dir, name_of(name), "to/there", &st));
	else
		rc = FS(fs_mknod(m->fs, &USER, dir, name_of(name), S_IFREG | 0600, 0, &st));
	if (!changed(m, rc, "making a name"))
		return;
	bytes = node->bytes ? node->bytes : model_must(malloc(FS_MODEL_BYTES));
	memset(bytes, 0, FS_MODEL_BYTES);
	*node = (struct node){.kind = what == 0 ? DIR_NODE :
				      what == 1 ? LINK_NODE :
						  FILE_NODE,
			      .ino = rc ? 0 : st.st_ino,
			      .lookups = 1,
			      .links = what == 0 ? 2 : 1,
			      .mode = what == 0 ? 0711 :
				      what == 1 ? 0777 :
						  0600,
			      .uid = 1000,
			      .size = what == 1 ? 8 : 0,
			      .bytes = bytes,
			      .xattr = -1};
	memset(node->names, -1, sizeof(node->names));
	if (what == 1)
		memcpy(bytes, "to/there", 8);
	if (what)
		rehash(node);
	m->nodes[d].names[name] = n;
	end(m, what == 0 ? OP_MKDIR : what == 1 ? OP_SYMLINK : OP_CREATE, d, n, -1, -1);
}

static inline void do_link(struct fs_model *m)
{
	int d = pick(m, DIR_NODE), n = pick(m, FILE_NODE), rc;
	unsigned name = below(m, FS_MODEL_NAMES);
	struct stat st;

	if (n < 0 || m->nodes[d].names[name] >= 0 || !hold(m, d) || !hold(m, n))
		return;
	history_begin(&m->history);
	rc = FS(fs_link(m->fs, m->nodes[n].ino, m->nodes[d].ino, name_of(name), &st));
	if (!changed(m, rc, "link"))
		return;
	m->nodes[d].names[name] = n;
	m->nodes[n].links++;
	m->nodes[n].lookups++;
	end(m, OP_LINK, d, n, -1, -1);
}

static inline bool is_empty(const struct node *d)
{
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		if (d->names[i] >= 0)
			return false;
	return true;
}

/* A name of it went. Half of what is gone for good stays open for a while. */
static inline void lose(struct fs_model *m, int n)
{
	struct node *node = &m->nodes[n];

	node->links -= node->kind == DIR_NODE ? 2 : 1;
	if (node->links)
		return;
	if (!node->lookups || node->kind == DIR_NODE || below(m, 2))
		let_go(m, n);
	else
		m->done[OP_ORPHAN]++;
}

static inline void remove_name(struct fs_model *m, int d, unsigned name)
{
	int n = m->nodes[d].names[name], rc;
	bool is_dir;

	if (n < 0 || !hold(m, d))
		return;
	is_dir = m->nodes[n].kind == DIR_NODE;
	if ((is_dir && !is_empty(&m->nodes[n])) || (below(m, 2) && !hold(m, n)))
		return;
	history_begin(&m->history);
	rc = is_dir ? FS(fs_rmdir(m->fs, m->nodes[d].ino, name_of(name))) :
		      FS(fs_unlink(m->fs, m->nodes[d].ino, name_of(name)));
	if (!changed(m, rc, "removing a name"))
		return;
	m->nodes[d].names[name] = -1;
	lose(m, n);
	end(m, is_dir ? OP_RMDIR : OP_UNLINK, d, n, -1, -1);
}

static inline void do_remove(struct fs_model *m)
{
	int d = pick(m, DIR_NODE);

	remove_name(m, d, below(m, FS_MODEL_NAMES));
}

/* An empty directory, of which there are few. */
static inline void do_rmdir(struct fs_model *m)
{
	int d = pick(m, DIR_NODE);

	for (unsigned name = 0; name < FS_MODEL_NAMES; name++) {
		int n = m->nodes[d].names[name];

		if (n >= 0 && m->nodes[n].kind == DIR_NODE && is_empty(&m->nodes[n])) {
			remove_name(m, d, name);
			return;
		}
	}
}

/* Whether `d` is `n` or below it. */
static inline bool is_below(const struct fs_model *m, int n, int d)
{
	if (n == d)
		return true;
	for (unsigned i = 0; m->nodes[n].kind == DIR_NODE && i < FS_MODEL_NAMES; i++)
		if (m->nodes[n].names[i] >= 0 && is_below(m, m->nodes[n].names[i], d))
			return true;
	return false;
}

/* May `n`, from directory `a`, take the place of `old`? */
static inline bool fits(const struct fs_model *m, int n, int old)
{
	return (m->nodes[n].kind == DIR_NODE) == (m->nodes[old].kind == DIR_NODE) &&
	       (m->nodes[old].kind != DIR_NODE || is_empty(&m->nodes[old]));
}

static inline void do_rename(struct fs_model *m)
{
	int a = pick(m, DIR_NODE), b = below(m, 3) ? pick(m, DIR_NODE) : a, rc;
	unsigned from = below(m, FS_MODEL_NAMES), to = below(m, FS_MODEL_NAMES);
	int n = m->nodes[a].names[from], old = m->nodes[b].names[to];
	bool exchange;

	if (n < 0 || n == old || is_below(m, n, b) || (old >= 0 && is_below(m, old, a)))
		return;
	exchange = old >= 0 && below(m, 4) == 0;
	if (old >= 0 && !exchange && (!fits(m, n, old) || (below(m, 2) && !hold(m, old))))
		return;
	if (!hold(m, a) || !hold(m, b))
		return;
	history_begin(&m->history);
	rc = FS(fs_rename(m->fs, m->nodes[a].ino, name_of(from), m->nodes[b].ino, name_of(to),
			  exchange ? FS_RENAME_EXCHANGE : 0));
	if (!changed(m, rc, "rename"))
		return;
	m->nodes[a].names[from] = exchange ? old : -1;
	m->nodes[b].names[to] = n;
	if (old >= 0 && !exchange)
		lose(m, old);
	end(m, exchange ? OP_EXCHANGE : old >= 0 ? OP_REPLACE : OP_RENAME, a, b, n, old);
}

static inline void do_write(struct fs_model *m)
{
	static unsigned char data[FS_MODEL_BYTES];
	int n = pick(m, FILE_NODE), rc;
	uint32_t most = below(m, 4) ? 2500 : m->w->write_max;
	size_t size = 1 + below(m, most), at;
	unsigned flags = below(m, m->w->sync_one_in) ? 0 : FS_WRITE_SYNC;
	struct mval value = {rng_next(&m->rng) >> 1 | 1 << 2, 0, (uint32_t)size};
	struct node *node;

	if (n < 0 || !hold(m, n))
		return;
	node = &m->nodes[n];
	at = below(m, 3) ? node->size : below(m, (uint32_t)node->size + 5000);
	if (at + size > FS_MODEL_BYTES)
		at = 0;
	mval_fill(value, 0, data, size);
	history_begin(&m->history);
	rc = FS(fs_write(m->fs, node->ino, at, data, size, flags, NULL));
	if (!changed(m, rc, "write"))
		return;
	memcpy(node->bytes + at, data, size);
	if (at + size > node->size)
		node->size = at + size;
	rehash(node);
	end(m, size > FS_INLINE_BYTES_MAX ? OP_WRITE_LARGE : OP_WRITE, n, -1, -1, -1);
	if (flags && !rc)
		history_synced(&m->history);
}

static inline void do_truncate(struct fs_model *m)
{
	int n = pick(m, FILE_NODE), rc;
	struct stat want = {0}, st;
	struct node *node;
	size_t size;

	if (n < 0 || !hold(m, n))
		return;
	node = &m->nodes[n];
	size = below(m, 3) ? below(m, (uint32_t)node->size + 1) : below(m, FS_MODEL_BYTES / 2);
	if (below(m, 4) == 0)
		size = 0;
	want.st_size = (off_t)size;
	history_begin(&m->history);
	rc = FS(fs_setattr(m->fs, &ROOT, node->ino, &want, FS_SET_SIZE, &st));
	if (!changed(m, rc, "truncate"))
		return;
	if (size < node->size)
		memset(node->bytes + size, 0, node->size - size);
	node->size = size;
	rehash(node);
	end(m, OP_TRUNCATE, n, -1, -1, -1);
}

static inline void do_punch(struct fs_model *m)
{
	int n = pick(m, FILE_NODE), rc;
	struct node *node;
	size_t at, size;

	if (n < 0 || m->nodes[n].size < 2 || !hold(m, n))
		return;
	node = &m->nodes[n];
	at = below(m, (uint32_t)node->size - 1);
	size = 1 + below(m, (uint32_t)(node->size - at));
	history_begin(&m->history);
	rc = FS(fs_fallocate(m->fs, node->ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			     size));
	if (!changed(m, rc, "punch"))
		return;
	memset(node->bytes + at, 0, at + size > node->size ? node->size - at : size);
	rehash(node);
	end(m, OP_PUNCH, n, -1, -1, -1);
}

static inline void do_copy(struct fs_model *m)
{
	int a = pick(m, FILE_NODE), b = pick(m, FILE_NODE), rc;
	struct node *from, *to;
	size_t copied;

	if (a < 0 || b < 0 || a == b || !m->nodes[a].size || !hold(m, a) || !hold(m, b))
		return;
	from = &m->nodes[a];
	to = &m->nodes[b];
	history_begin(&m->history);
	rc = FS(fs_copy_range(m->fs, from->ino, 0, to->ino, 0, from->size, &copied));
	if (!changed(m, rc, "copy"))
		return;
	if (rc)
		copied = from->size;
	memcpy(to->bytes, from->bytes, copied);
	if (copied > to->size)
		to->size = copied;
	rehash(to);
	end(m, OP_COPY, a, b, -1, -1);
}

static inline void do_attr(struct fs_model *m)
{
	int n = pick(m, (enum kind)(FILE_NODE + below(m, 2)));
	struct stat want = {.st_mode = 0600 | below(m, 0100), .st_uid = below(m, 5)}, st;

	if (n <= 0 || !hold(m, n))
		return;
	history_begin(&m->history);
	if (!changed(m,
		     FS(fs_setattr(m->fs, &ROOT, m->nodes[n].ino, &want, FS_SET_MODE | FS_SET_UID,
				   &st)),
		     "setattr"))
		return;
	m->nodes[n].mode = want.st_mode;
	m->nodes[n].uid = want.st_uid;
	end(m, OP_ATTR, n, -1, -1, -1);
}

static inline void do_xattr(struct fs_model *m)
{
	int n = pick(m, (enum kind)(FILE_NODE + below(m, 2))), rc;
	unsigned char value = (unsigned char)below(m, 100);
	bool removes;

	if (n <= 0 || !hold(m, n))
		return;
	removes = m->nodes[n].xattr >= 0 && below(m, 2);
	history_begin(&m->history);
	rc = removes ? FS(fs_removexattr(m->fs, m->nodes[n].ino, "user.cut")) :
		       FS(fs_setxattr(m->fs, m->nodes[n].ino, "user.cut", &value, 1, 0));
	if (!changed(m, rc, "changing an attribute"))
		return;
	m->nodes[n].xattr = removes ? -1 : value;
	end(m, OP_XATTR, n, -1, -1, -1);
}

/* What is open without a name, or has just not been used for long. */
static inline void do_forget(struct fs_model *m)
{
	for (unsigned i = 0; i < 10; i++) {
		int n = 1 + (int)below(m, FS_MODEL_NODES - 1);

		if (m->nodes[n].kind != FREE && m->nodes[n].lookups) {
			let_go(m, n);
			return;
		}
	}
}

/* Closed (perhaps with errors), or gone: it holds nothing for us any more. */
static inline void fs_model_closed(struct fs_model *m)
{
	m->fs = NULL;
	for (int n = 1; n < (int)FS_MODEL_NODES; n++) {
		m->nodes[n].lookups = 0;
		if (!m->nodes[n].links)
			m->nodes[n].kind = FREE;
	}
}

static inline void fs_model_close(struct fs_model *m)
{
	if (!failed(m, FS(fs_close(m->fs)), "close") && !m->doubt)
		history_synced(&m->history);
	fs_model_closed(m);
}

/* Open it for the workload; where that may fail, m->fs is NULL if it did, also once more. */
static inline void fs_model_start(struct fs_model *m)
{
	for (int i = 0; i < 2 && !m->fs; i++)
		if (failed(m, fs_model_open(m, m->history.st, &m->fs), "opening"))
			m->fs = NULL;
}

static inline void reopen(struct fs_model *m)
{
	for (int n = 1; n < (int)FS_MODEL_NODES; n++)
		if (m->nodes[n].kind != FREE && below(m, 2))
			let_go(m, n);
	fs_model_close(m);
	fs_model_start(m);
}

static inline void step(struct fs_model *m)
{
	static void (*const ops[])(struct fs_model *) = {
		do_create, do_create, do_create, do_create, do_link,   do_remove,
		do_remove, do_rmdir,  do_rename, do_rename, do_rename, do_write,
		do_write,  do_write,  do_write,  do_write,  do_write,  do_truncate,
		do_punch,  do_copy,   do_attr,   do_xattr,  do_forget,
	};
	int rc;

	ops[below(m, sizeof(ops) / sizeof(ops[0]))](m);
	if (rng_chance(&m->rng, m->w->sync_one_in * 4)) {
		rc = below(m, 2) ? FS(fs_sync(m->fs)) : FS(fs_fsync(m->fs, FS_ROOT_INO));
		if (!failed(m, rc, "sync") && !m->doubt)
			history_synced(&m->history);
	}
	if (rng_chance(&m->rng, m->w->compact_one_in * 2))
		failed(m, FS(fs_compact(m->fs, NULL, NULL)), "compact");
}

/* How many kinds of operations are not in `done`. */
static inline unsigned fs_model_never(const uint64_t *done)
{
	unsigned never = 0;

	for (size_t op = 0; op < FS_MODEL_OPS; op++)
		never += !done[op];
	return never;
}

/* ---- a run ---- */

static inline void fs_model_init(struct fs_model *m, const struct fs_workload *w, uint64_t seed)
{
	*m = (struct fs_model){.w = w, .rng = {.state = seed}};
	fs_model_outside = true;
	m->history.st = model_must(storage_mem_new());
	m->nodes[0] = (struct node){.kind = DIR_NODE, .ino = FS_ROOT_INO, .links = 2, .xattr = -1};
	memset(m->nodes[0].names, -1, sizeof(m->nodes[0].names));
	m->nodes[0].mode = 0755;
}

/* The first state: an empty filesystem, once there is one. */
static inline void fs_model_first(struct fs_model *m)
{
	take_times(m, 0);
	write_down(m);
}

static inline void fs_model_release(struct fs_model *m)
{
	for (uint64_t i = 0; m->texts && i <= m->history.ops_count; i++)
		free(m->texts[i]);
	free(m->texts);
	for (size_t i = 0; i < FS_MODEL_NODES; i++)
		free(m->nodes[i].bytes);
	history_release(&m->history);
	m->history.st->ops->free(m->history.st);
}

#endif
