/*
 * fs_model.h - a plain model of a filesystem beside the real one, for the tests that
 * take the power away, make calls fail and damage files.
 *
 * A workload of names, links, contents and attributes (fs_workload.h) is run on both. After
 * each operation the model writes down, as text, what the whole filesystem looks like; the
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

#include "tests/support/cuts.h"
#include "tests/support/fs_xattrs.h"
#include "tests/support/fs_fixture.h"

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
	struct xattrs xattrs;
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
	OP_ACL,
	OP_INHERIT, /* something was made that got an ACL */
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
	struct fs_options options = {
		.lsm = m->w->lsm, .atime = FS_NOATIME, .sync = m->sync, .acl = true};

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
			     const struct stat *st, int64_t mtime, int64_t ctime,
			     const struct xattrs *x, uint64_t hash)
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
	say(t, ", %d %d %d, %jx\n", x->user, x->access, x->fallback, (uintmax_t)hash);
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
	say_inode(t, depth, name, &st, node->mtime, node->ctime, &node->xattrs, node->hash);
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
	struct xattrs xattrs;
	uint64_t hash = 0;
	size_t got;
	int rc;

	rc = FS(xattrs_find(fs, st, &xattrs));
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
		say_inode(t, depth, name, st, ns_of(st->st_mtim), ns_of(st->st_ctim), &xattrs,
			  hash);
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

#endif
