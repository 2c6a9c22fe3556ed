#include "tests/support/fs_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/fs_fixture.h"
#include "tests/support/must.h"
#include "tests/support/print.h"

_Thread_local bool fs_model_outside;

int fs_model_left(int err)
{
	fs_model_outside = true;
	return err;
}

bool fs_model_failed(struct fs_model *m, int err, const char *what)
{
	if (!err)
		return false;
	if (!m->may_fail)
		bail("%s: %s", what, strerror(-err));
	m->errors++;
	if (err != -EIO && err != -ENOSPC && err != -EROFS && err != -ENOMEM && err != -EAGAIN)
		fs_model_wrong(m, "%s: %s", what, strerror(-err));
	return true;
}

bool fs_model_changed(struct fs_model *m, int err, const char *what)
{
	struct fs_stats stats;

	if (!fs_model_failed(m, err, what)) {
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

int fs_model_open(const struct fs_model *m, struct storage *st, struct fs **fs)
{
	struct fs_options options = {
		.lsm = m->w->lsm, .atime = FS_NOATIME, .sync = m->sync, .acl = true};

	options.lsm.storage = st;
	options.lsm.create = true;
	options.lsm.report = m->may_fail ? NULL : print_report;
	return FS(fs_open(NULL, &options, fs));
}

const char *fs_model_name(unsigned n)
{
	static const char *const names[FS_MODEL_NAMES] = {"a",   "b",      "c.txt", "dir", "e",
							  "lib", "main.c", "x",     "y"};

	return names[n];
}

/* As the model has it. */
static void fs_model_say_node(const struct fs_model *m, struct fs_text *t, unsigned depth,
			      const char *name, int n)
{
	static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFLNK};
	const struct fs_model_node *node = &m->nodes[n];
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
	fs_text_inode(t, depth, name, &st, node->mtime, node->ctime, &node->xattrs, node->hash);
	for (unsigned i = 0; node->kind == DIR_NODE && i < FS_MODEL_NAMES; i++)
		if (node->names[i] >= 0)
			fs_model_say_node(m, t, depth + 1, fs_model_name(i), node->names[i]);
}

int fs_model_list_entry(void *ctx, const char *name, const struct stat *st, bool held,
			uint64_t next)
{
	struct fs_model_listing *l = ctx;

	l->next = next;
	l->given++;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++)
		if (!strcmp(name, fs_model_name(i)) && held && !l->there[i]) {
			l->there[i] = true;
			l->entries[i] = *st;
			return 0;
		}
	if (held)
		fs_forget(l->fs, st->st_ino, 1);
	l->strange++;
	return 0;
}

static int fs_model_say_found(struct fs *fs, struct fs_text *t, unsigned depth, const char *name,
			      const struct stat *st);

static int fs_model_say_entries(struct fs *fs, struct fs_text *t, unsigned depth, uint64_t ino)
{
	struct fs_model_listing *l = must_alloc(calloc(1, sizeof(*l)));
	struct fs_dir *dir;
	int err = FS(fs_dir_open(fs, ino, &dir));

	l->fs = fs;
	if (!err) {
		/* A read ends early, and without an error, where there is one behind. */
		do {
			l->given = 0;
			err = FS(fs_dir_read(dir, l->next, true, fs_model_list_entry, l));
		} while (!err && l->given);
		fs_dir_close(dir);
	}
	for (unsigned i = 0; i < FS_MODEL_NAMES; i++) {
		if (!l->there[i])
			continue;
		if (!err)
			err = fs_model_say_found(fs, t, depth, fs_model_name(i), &l->entries[i]);
		fs_forget(fs, l->entries[i].st_ino, 1);
	}
	if (l->strange)
		fs_text_say(t, "%*s%u strange entries\n", (int)depth, "", l->strange);
	free(l);
	return err;
}

/* As the filesystem has it; `st` is held. */
static int fs_model_say_found(struct fs *fs, struct fs_text *t, unsigned depth, const char *name,
			      const struct stat *st)
{
	static unsigned char bytes[FS_MODEL_BYTES + 1];
	struct fs_xattrs xattrs;
	uint64_t hash = 0;
	size_t got;
	int err;

	err = FS(fs_xattrs_find(fs, st, &xattrs));
	if (!err && S_ISREG(st->st_mode)) {
		err = FS(fs_read(fs, st->st_ino, 0, bytes, sizeof(bytes), &got));
		hash = err ? 0 : XXH3_64bits(bytes, got);
		if (!err && got != (size_t)st->st_size)
			fs_text_say(t, "%s: read %zu bytes\n", name, got);
	} else if (!err && S_ISLNK(st->st_mode)) {
		err = FS(fs_readlink(fs, st->st_ino, (char *)bytes));
		hash = err ? 0 : XXH3_64bits(bytes, strlen((char *)bytes));
	}
	if (!err)
		fs_text_inode(t, depth, name, st, ns_of(st->st_mtim), ns_of(st->st_ctim), &xattrs,
			      hash);
	if (!err && S_ISDIR(st->st_mode))
		err = fs_model_say_entries(fs, t, depth + 1, st->st_ino);
	return err;
}

int fs_model_say(struct fs *fs, struct fs_text *t)
{
	struct stat st;
	int err = FS(fs_getattr(fs, FS_ROOT_INO, &st));

	return err ? err : fs_model_say_found(fs, t, 0, "/", &st);
}

int fs_model_check(struct fs_model *m, struct fs *fs, uint64_t least, uint64_t most, char **found)
{
	struct fs_text t = {0};
	int err = fs_model_say(fs, &t);
	bool right = false;

	if (found)
		*found = NULL;
	if (err) {
		free(t.data);
		if (!m->may_fail)
			fs_model_wrong(m, "reading it: %s", strerror(-err));
		return err;
	}
	for (uint64_t i = least; i <= most && !right; i++)
		right = fs_text_is(t.data, m->texts[i]);
	if (!right && !(!least && fs_text_is_fresh(t.data)) && !m->error[0]) {
		fs_model_wrong(m, "it is in no state between the operations %ju and %ju",
			       (uintmax_t)least, (uintmax_t)most);
		fs_text_print("found", t.data);
		fs_text_print("the first of them", m->texts[least]);
		if (most > least)
			fs_text_print("the last of them", m->texts[most]);
	}
	if (found)
		*found = t.data;
	else
		free(t.data);
	return 0;
}

void fs_model_check_clean(struct fs_model *m, struct fs *fs)
{
	struct fs_check_counts counts;
	struct fs_stats stats;
	int err = fs_check(fs, print_finding, NULL, NULL, NULL, &counts);

	if (err)
		fs_model_wrong(m, "the check: %s", strerror(-err));
	err = fs_stats(fs, &stats);
	if (err)
		fs_model_wrong(m, "fs_stats: %s", strerror(-err));
	else if (stats.files != counts.files + counts.directories + counts.symlinks + counts.others)
		fs_model_wrong(m, "%ju inodes are counted, the check found others",
			       (uintmax_t)stats.files);
}

/* ---- the steps of a run ---- */

bool fs_model_hold(struct fs_model *m, int n)
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
			if (!fs_model_hold(m, d) ||
			    fs_model_failed(
				    m, FS(fs_lookup(m->fs, m->nodes[d].ino, fs_model_name(i), &st)),
				    "lookup"))
				return false;
			m->nodes[n].lookups = 1;
			return true;
		}
	}
	bail("node %d has no name", n);
}

void fs_model_let_go(struct fs_model *m, int n)
{
	if (m->nodes[n].lookups)
		(void)FS((fs_forget(m->fs, m->nodes[n].ino, m->nodes[n].lookups), 0));
	m->nodes[n].lookups = 0;
	if (!m->nodes[n].links)
		m->nodes[n].kind = FREE;
}

/* Take the times from the filesystem, which chooses them. */
static void fs_model_take_times(struct fs_model *m, int n)
{
	struct fs_model_node *node = n < 0 ? NULL : &m->nodes[n];
	struct stat st;

	if (!node || node->kind == FREE || !node->links)
		return;
	node->mtime = node->ctime = FS_TEXT_UNKNOWN;
	if (m->doubt || !fs_model_hold(m, n) ||
	    fs_model_failed(m, FS(fs_getattr(m->fs, node->ino, &st)), "getattr"))
		return;
	node->mtime = ns_of(st.st_mtim);
	node->ctime = ns_of(st.st_ctim);
}

/* Write down what is there now. */
static void fs_model_write_down(struct fs_model *m)
{
	struct fs_text t = {0};

	fs_model_say_node(m, &t, 0, "/", 0);
	m->texts = history_grown(m->texts, m->history.ops_count, sizeof(*m->texts));
	m->texts[m->history.ops_count] = t.data;
}

void fs_model_done(struct fs_model *m, enum fs_model_op op, int a, int b, int c, int d)
{
	history_done(&m->history);
	if (m->sync && !m->doubt)
		history_synced(&m->history);
	m->done[op]++;
	fs_model_take_times(m, a);
	fs_model_take_times(m, b);
	fs_model_take_times(m, c);
	fs_model_take_times(m, d);
	fs_model_write_down(m);
}

/* Closed (perhaps with errors), or gone: it holds nothing for us any more. */
static void fs_model_closed(struct fs_model *m)
{
	m->fs = NULL;
	for (int n = 1; n < (int)FS_MODEL_NODES; n++) {
		m->nodes[n].lookups = 0;
		if (!m->nodes[n].links)
			m->nodes[n].kind = FREE;
	}
}

void fs_model_close(struct fs_model *m)
{
	if (!fs_model_failed(m, FS(fs_close(m->fs)), "close") && !m->doubt)
		history_synced(&m->history);
	fs_model_closed(m);
}

void fs_model_start(struct fs_model *m)
{
	for (int i = 0; i < 2 && !m->fs; i++)
		if (fs_model_failed(m, fs_model_open(m, m->history.st, &m->fs), "opening"))
			m->fs = NULL;
}

void fs_model_reopen(struct fs_model *m)
{
	for (int n = 1; n < (int)FS_MODEL_NODES; n++)
		if (m->nodes[n].kind != FREE && rng_below(&m->rng, 2))
			fs_model_let_go(m, n);
	fs_model_close(m);
	fs_model_start(m);
}

unsigned fs_model_never(const uint64_t *done)
{
	unsigned never = 0;

	for (size_t op = 0; op < FS_MODEL_OPS; op++)
		never += !done[op];
	return never;
}

void fs_model_init(struct fs_model *m, const struct fs_workload *w, uint64_t seed)
{
	*m = (struct fs_model){.w = w, .rng = {.state = seed}};
	fs_model_outside = true;
	m->history.st = must_alloc(storage_mem_new());
	m->nodes[0] = (struct fs_model_node){.kind = DIR_NODE, .ino = FS_ROOT_INO, .links = 2};
	m->nodes[0].xattrs = FS_XATTRS_NONE;
	memset(m->nodes[0].names, -1, sizeof(m->nodes[0].names));
	m->nodes[0].mode = 0755;
}

void fs_model_first(struct fs_model *m)
{
	fs_model_take_times(m, 0);
	fs_model_write_down(m);
}

void fs_model_release(struct fs_model *m)
{
	for (uint64_t i = 0; m->texts && i <= m->history.ops_count; i++)
		free(m->texts[i]);
	free(m->texts);
	for (size_t i = 0; i < FS_MODEL_NODES; i++)
		free(m->nodes[i].bytes);
	history_release(&m->history);
	m->history.st->ops->free(m->history.st);
}
