#include "tests/support/fs_workload.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/support/fs_fixture.h"
#include "tests/support/mval.h"
#include "tests/support/must.h"

/* A node of the kind with a name (or the root), or -1. */
static int fs_workload_pick(struct fs_model *m, enum fs_model_kind kind)
{
	for (unsigned i = 0; i < 60; i++) {
		int n = (int)rng_below(&m->rng, FS_MODEL_NODES);

		if (m->nodes[n].kind == kind && m->nodes[n].links)
			return n;
	}
	return kind == DIR_NODE ? 0 : -1;
}

static void fs_workload_rehash(struct fs_model_node *node)
{
	node->hash = XXH3_64bits(node->bytes, node->size);
}

static int fs_workload_free_node(const struct fs_model *m)
{
	for (int n = 1; n < (int)FS_MODEL_NODES; n++)
		if (m->nodes[n].kind == FREE)
			return n;
	return -1;
}

static void fs_workload_create(struct fs_model *m)
{
	int d = fs_workload_pick(m, DIR_NODE), n = fs_workload_free_node(m), err;
	unsigned name = rng_below(&m->rng, FS_MODEL_NAMES), what = rng_below(&m->rng, 5);
	struct fs_model_node *node;
	unsigned char *bytes;
	struct stat st;
	uint64_t dir;

	if (n < 0 || m->nodes[d].names[name] >= 0 || !fs_model_hold(m, d))
		return;
	node = &m->nodes[n];
	dir = m->nodes[d].ino;
	history_begin(&m->history);
	if (what == 0)
		err = FS(fs_mkdir(m->fs, &USER, dir, fs_model_name(name), 0711, &st));
	else if (what == 1)
		err = FS(fs_symlink(m->fs, &USER, dir, fs_model_name(name), "to/there", &st));
	else
		err = FS(fs_mknod(m->fs, &USER, dir, fs_model_name(name), S_IFREG | 0600, 0, &st));
	if (!fs_model_changed(m, err, "making a name"))
		return;
	bytes = node->bytes ? node->bytes : must_alloc(malloc(FS_MODEL_BYTES));
	memset(bytes, 0, FS_MODEL_BYTES);
	*node = (struct fs_model_node){.kind = what == 0 ? DIR_NODE :
					       what == 1 ? LINK_NODE :
							   FILE_NODE,
				       .ino = err ? 0 : st.st_ino,
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
		fs_workload_rehash(node);
	m->nodes[d].names[name] = n;
	fs_model_done(m, what == 0 ? OP_MKDIR : what == 1 ? OP_SYMLINK : OP_CREATE, d, n, -1, -1);
}

static void fs_workload_link(struct fs_model *m)
{
	int d = fs_workload_pick(m, DIR_NODE), n = fs_workload_pick(m, FILE_NODE), err;
	unsigned name = rng_below(&m->rng, FS_MODEL_NAMES);
	struct stat st;

	if (n < 0 || m->nodes[d].names[name] >= 0 || !fs_model_hold(m, d) || !fs_model_hold(m, n))
		return;
	history_begin(&m->history);
	err = FS(fs_link(m->fs, m->nodes[n].ino, m->nodes[d].ino, fs_model_name(name), &st));
	if (!fs_model_changed(m, err, "link"))
		return;
	m->nodes[d].names[name] = n;
	m->nodes[n].links++;
	m->nodes[n].lookups++;
	fs_model_done(m, OP_LINK, d, n, -1, -1);
}

static bool fs_workload_is_empty(const struct fs_model_node *d)
{
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		if (d->names[i] >= 0)
			return false;
	return true;
}

/* Node `n` lost a name. Half of the files without a name stay open for a while. */
static void fs_workload_lose(struct fs_model *m, int n)
{
	struct fs_model_node *node = &m->nodes[n];

	node->links -= node->kind == DIR_NODE ? 2 : 1;
	if (node->links)
		return;
	if (!node->lookups || node->kind == DIR_NODE || rng_below(&m->rng, 2))
		fs_model_let_go(m, n);
	else
		m->done[OP_ORPHAN]++;
}

static void fs_workload_remove_name(struct fs_model *m, int d, unsigned name)
{
	int n = m->nodes[d].names[name], err;
	bool is_dir;

	if (n < 0 || !fs_model_hold(m, d))
		return;
	is_dir = m->nodes[n].kind == DIR_NODE;
	if ((is_dir && !fs_workload_is_empty(&m->nodes[n])) ||
	    (rng_below(&m->rng, 2) && !fs_model_hold(m, n)))
		return;
	history_begin(&m->history);
	err = is_dir ? FS(fs_rmdir(m->fs, m->nodes[d].ino, fs_model_name(name))) :
		       FS(fs_unlink(m->fs, m->nodes[d].ino, fs_model_name(name)));
	if (!fs_model_changed(m, err, "removing a name"))
		return;
	m->nodes[d].names[name] = -1;
	fs_workload_lose(m, n);
	fs_model_done(m, is_dir ? OP_RMDIR : OP_UNLINK, d, n, -1, -1);
}

static void fs_workload_remove(struct fs_model *m)
{
	int d = fs_workload_pick(m, DIR_NODE);

	fs_workload_remove_name(m, d, rng_below(&m->rng, FS_MODEL_NAMES));
}

/* An empty directory, of which there are few. */
static void fs_workload_rmdir(struct fs_model *m)
{
	int d = fs_workload_pick(m, DIR_NODE);

	for (unsigned name = 0; name < FS_MODEL_NAMES; name++) {
		int n = m->nodes[d].names[name];

		if (n >= 0 && m->nodes[n].kind == DIR_NODE && fs_workload_is_empty(&m->nodes[n])) {
			fs_workload_remove_name(m, d, name);
			return;
		}
	}
}

/* Whether `d` is `n` or below it. */
static bool fs_workload_is_below(const struct fs_model *m, int n, int d)
{
	if (n == d)
		return true;
	for (unsigned i = 0; m->nodes[n].kind == DIR_NODE && i < FS_MODEL_NAMES; i++)
		if (m->nodes[n].names[i] >= 0 && fs_workload_is_below(m, m->nodes[n].names[i], d))
			return true;
	return false;
}

/* May `n`, from directory `a`, take the place of `old`? */
static bool fs_workload_fits(const struct fs_model *m, int n, int old)
{
	return (m->nodes[n].kind == DIR_NODE) == (m->nodes[old].kind == DIR_NODE) &&
	       (m->nodes[old].kind != DIR_NODE || fs_workload_is_empty(&m->nodes[old]));
}

static void fs_workload_rename(struct fs_model *m)
{
	int a = fs_workload_pick(m, DIR_NODE),
	    b = rng_below(&m->rng, 3) ? fs_workload_pick(m, DIR_NODE) : a, err;
	unsigned from = rng_below(&m->rng, FS_MODEL_NAMES), to = rng_below(&m->rng, FS_MODEL_NAMES);
	int n = m->nodes[a].names[from], old = m->nodes[b].names[to];
	bool exchange;

	if (n < 0 || n == old || fs_workload_is_below(m, n, b) ||
	    (old >= 0 && fs_workload_is_below(m, old, a)))
		return;
	exchange = old >= 0 && rng_below(&m->rng, 4) == 0;
	if (old >= 0 && !exchange &&
	    (!fs_workload_fits(m, n, old) || (rng_below(&m->rng, 2) && !fs_model_hold(m, old))))
		return;
	if (!fs_model_hold(m, a) || !fs_model_hold(m, b))
		return;
	history_begin(&m->history);
	err = FS(fs_rename(m->fs, m->nodes[a].ino, fs_model_name(from), m->nodes[b].ino,
			   fs_model_name(to), exchange ? FS_RENAME_EXCHANGE : 0));
	if (!fs_model_changed(m, err, "rename"))
		return;
	m->nodes[a].names[from] = exchange ? old : -1;
	m->nodes[b].names[to] = n;
	if (old >= 0 && !exchange)
		fs_workload_lose(m, old);
	fs_model_done(m, exchange ? OP_EXCHANGE : old >= 0 ? OP_REPLACE : OP_RENAME, a, b, n, old);
}

static void fs_workload_write(struct fs_model *m)
{
	static unsigned char data[FS_MODEL_BYTES];
	int n = fs_workload_pick(m, FILE_NODE), err;
	uint32_t most = rng_below(&m->rng, 4) ? 2500 : m->w->write_max;
	size_t size = 1 + rng_below(&m->rng, most), at;
	unsigned flags = rng_below(&m->rng, m->w->sync_one_in) ? 0 : FS_WRITE_SYNC;
	struct mval value = {rng_next(&m->rng) >> 1 | 1 << 2, 0, (uint32_t)size};
	struct fs_model_node *node;

	if (n < 0 || !fs_model_hold(m, n))
		return;
	node = &m->nodes[n];
	at = rng_below(&m->rng, 3) ? node->size : rng_below(&m->rng, (uint32_t)node->size + 5000);
	if (at + size > FS_MODEL_BYTES)
		at = 0;
	mval_fill(value, 0, data, size);
	history_begin(&m->history);
	err = FS(fs_write(m->fs, node->ino, at, data, size, flags, NULL));
	if (!fs_model_changed(m, err, "write"))
		return;
	memcpy(node->bytes + at, data, size);
	if (at + size > node->size)
		node->size = at + size;
	fs_workload_rehash(node);
	fs_model_done(m, size > FS_INLINE_BYTES_MAX ? OP_WRITE_LARGE : OP_WRITE, n, -1, -1, -1);
	if (flags && !err)
		history_synced(&m->history);
}

static void fs_workload_truncate(struct fs_model *m)
{
	int n = fs_workload_pick(m, FILE_NODE), err;
	struct stat want = {0}, st;
	struct fs_model_node *node;
	size_t size;

	if (n < 0 || !fs_model_hold(m, n))
		return;
	node = &m->nodes[n];
	size = rng_below(&m->rng, 3) ? rng_below(&m->rng, (uint32_t)node->size + 1) :
				       rng_below(&m->rng, FS_MODEL_BYTES / 2);
	if (rng_below(&m->rng, 4) == 0)
		size = 0;
	want.st_size = (off_t)size;
	history_begin(&m->history);
	err = FS(fs_setattr(m->fs, &ROOT, node->ino, &want, FS_SET_SIZE, &st));
	if (!fs_model_changed(m, err, "truncate"))
		return;
	if (size < node->size)
		memset(node->bytes + size, 0, node->size - size);
	node->size = size;
	fs_workload_rehash(node);
	fs_model_done(m, OP_TRUNCATE, n, -1, -1, -1);
}

static void fs_workload_punch(struct fs_model *m)
{
	int n = fs_workload_pick(m, FILE_NODE), err;
	struct fs_model_node *node;
	size_t at, size;

	if (n < 0 || m->nodes[n].size < 2 || !fs_model_hold(m, n))
		return;
	node = &m->nodes[n];
	at = rng_below(&m->rng, (uint32_t)node->size - 1);
	size = 1 + rng_below(&m->rng, (uint32_t)(node->size - at));
	history_begin(&m->history);
	err = FS(fs_fallocate(m->fs, node->ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			      size));
	if (!fs_model_changed(m, err, "punch"))
		return;
	memset(node->bytes + at, 0, at + size > node->size ? node->size - at : size);
	fs_workload_rehash(node);
	fs_model_done(m, OP_PUNCH, n, -1, -1, -1);
}

static void fs_workload_copy(struct fs_model *m)
{
	int a = fs_workload_pick(m, FILE_NODE), b = fs_workload_pick(m, FILE_NODE), err;
	struct fs_model_node *from, *to;
	size_t copied;

	if (a < 0 || b < 0 || a == b || !m->nodes[a].size || !fs_model_hold(m, a) ||
	    !fs_model_hold(m, b))
		return;
	from = &m->nodes[a];
	to = &m->nodes[b];
	history_begin(&m->history);
	err = FS(fs_copy_range(m->fs, from->ino, 0, to->ino, 0, from->size, &copied));
	if (!fs_model_changed(m, err, "copy"))
		return;
	if (err)
		copied = from->size;
	memcpy(to->bytes, from->bytes, copied);
	if (copied > to->size)
		to->size = copied;
	fs_workload_rehash(to);
	fs_model_done(m, OP_COPY, a, b, -1, -1);
}

static void fs_workload_attr(struct fs_model *m)
{
	int n = fs_workload_pick(m, (enum fs_model_kind)(FILE_NODE + rng_below(&m->rng, 2)));
	struct stat want = {.st_mode = 0600 | rng_below(&m->rng, 0100),
			    .st_uid = rng_below(&m->rng, 5)},
		    st;

	if (n <= 0 || !fs_model_hold(m, n))
		return;
	history_begin(&m->history);
	if (!fs_model_changed(m,
			      FS(fs_setattr(m->fs, &ROOT, m->nodes[n].ino, &want,
					    FS_SET_MODE | FS_SET_UID, &st)),
			      "setattr"))
		return;
	m->nodes[n].mode = want.st_mode;
	m->nodes[n].uid = want.st_uid;
	fs_model_done(m, OP_ATTR, n, -1, -1, -1);
}

static void fs_workload_xattr(struct fs_model *m)
{
	int n = fs_workload_pick(m, (enum fs_model_kind)(FILE_NODE + rng_below(&m->rng, 2))), err;
	unsigned char value = (unsigned char)rng_below(&m->rng, 100);
	bool removes;

	if (n <= 0 || !fs_model_hold(m, n))
		return;
	removes = m->nodes[n].xattrs.user >= 0 && rng_below(&m->rng, 2);
	history_begin(&m->history);
	err = removes ? FS(fs_removexattr(m->fs, m->nodes[n].ino, "user.cut")) :
			FS(fs_setxattr(m->fs, m->nodes[n].ino, "user.cut", &value, 1, 0));
	if (!fs_model_changed(m, err, "changing an attribute"))
		return;
	m->nodes[n].xattrs.user = removes ? -1 : value;
	fs_model_done(m, OP_XATTR, n, -1, -1, -1);
}

static void fs_workload_acl(struct fs_model *m)
{
	int n = fs_workload_pick(m, (enum fs_model_kind)(FILE_NODE + rng_below(&m->rng, 2))),
	    value = (int)rng_below(&m->rng, 8), *had;
	bool fallback;

	if (n < 0 || !fs_model_hold(m, n))
		return;
	fallback = m->nodes[n].kind == DIR_NODE && rng_below(&m->rng, 3);
	had = fallback ? &m->nodes[n].xattrs.fallback : &m->nodes[n].xattrs.access;
	if (*had >= 0 && rng_below(&m->rng, 2))
		value = -1;
	history_begin(&m->history);
	if (!fs_model_changed(m,
			      FS(fs_xattrs_set_acl(m->fs, m->nodes[n].ino, fallback,
						   m->nodes[n].mode, value)),
			      "changing an ACL"))
		return;
	*had = value;
	fs_model_done(m, OP_ACL, n, -1, -1, -1);
}

/* Forget some node that is held, with or without a name. */
static void fs_workload_forget(struct fs_model *m)
{
	for (unsigned i = 0; i < 10; i++) {
		int n = 1 + (int)rng_below(&m->rng, FS_MODEL_NODES - 1);

		if (m->nodes[n].kind != FREE && m->nodes[n].lookups) {
			fs_model_let_go(m, n);
			return;
		}
	}
}

void fs_workload_step(struct fs_model *m)
{
	static void (*const ops[])(struct fs_model *) = {
		fs_workload_create, fs_workload_create,   fs_workload_create, fs_workload_create,
		fs_workload_link,   fs_workload_remove,   fs_workload_remove, fs_workload_rmdir,
		fs_workload_rename, fs_workload_rename,   fs_workload_rename, fs_workload_write,
		fs_workload_write,  fs_workload_write,    fs_workload_write,  fs_workload_write,
		fs_workload_write,  fs_workload_truncate, fs_workload_punch,  fs_workload_copy,
		fs_workload_attr,   fs_workload_xattr,    fs_workload_forget, fs_workload_acl,
		fs_workload_acl,
	};
	int err;

	ops[rng_below(&m->rng, sizeof(ops) / sizeof(ops[0]))](m);
	if (rng_chance(&m->rng, m->w->sync_one_in * 4)) {
		err = FS(fs_sync(m->fs));
		if (!fs_model_failed(m, err, "sync") && !m->doubt)
			history_synced(&m->history);
	}
	if (rng_chance(&m->rng, m->w->compact_one_in * 2))
		fs_model_failed(m, FS(fs_compact(m->fs, NULL, NULL)), "compact");
}
