/*
 * fs_workload.h - random operations on a filesystem and on the model beside it.
 *
 * Each picks what it works on, makes one call, and changes the model if that did
 * something (fs_model.h says what a call that fails may have done).
 */
#ifndef TESTS_CRASH_FS_WORKLOAD_H
#define TESTS_CRASH_FS_WORKLOAD_H

#include "tests/support/fs_model.h"

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
			      .xattrs = FS_XATTRS_NONE};
	if (what != 1)
		node->xattrs.access = m->nodes[d].xattrs.fallback;
	if (what == 0)
		node->xattrs.fallback = m->nodes[d].xattrs.fallback;
	m->done[OP_INHERIT] += node->xattrs.access >= 0;
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
	removes = m->nodes[n].xattrs.user >= 0 && below(m, 2);
	history_begin(&m->history);
	rc = removes ? FS(fs_removexattr(m->fs, m->nodes[n].ino, "user.cut")) :
		       FS(fs_setxattr(m->fs, m->nodes[n].ino, "user.cut", &value, 1, 0));
	if (!changed(m, rc, "changing an attribute"))
		return;
	m->nodes[n].xattrs.user = removes ? -1 : value;
	end(m, OP_XATTR, n, -1, -1, -1);
}

static inline void do_acl(struct fs_model *m)
{
	int n = pick(m, (enum kind)(FILE_NODE + below(m, 2))), value = (int)below(m, 8), *had;
	bool fallback;

	if (n < 0 || !hold(m, n))
		return;
	fallback = m->nodes[n].kind == DIR_NODE && below(m, 3);
	had = fallback ? &m->nodes[n].xattrs.fallback : &m->nodes[n].xattrs.access;
	if (*had >= 0 && below(m, 2))
		value = -1;
	history_begin(&m->history);
	if (!changed(m,
		     FS(xattrs_set_acl(m->fs, m->nodes[n].ino, fallback, m->nodes[n].mode, value)),
		     "changing an ACL"))
		return;
	*had = value;
	end(m, OP_ACL, n, -1, -1, -1);
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
		do_create, do_create, do_create, do_create,   do_link,  do_remove, do_remove,
		do_rmdir,  do_rename, do_rename, do_rename,   do_write, do_write,  do_write,
		do_write,  do_write,  do_write,  do_truncate, do_punch, do_copy,   do_attr,
		do_xattr,  do_forget, do_acl,    do_acl,
	};
	int rc;

	ops[below(m, sizeof(ops) / sizeof(ops[0]))](m);
	if (rng_chance(&m->rng, m->w->sync_one_in * 4)) {
		rc = FS(fs_sync(m->fs));
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
	m->nodes[0] = (struct node){.kind = DIR_NODE, .ino = FS_ROOT_INO, .links = 2};
	m->nodes[0].xattrs = FS_XATTRS_NONE;
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
