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
#ifndef TESTS_SUPPORT_FS_MODEL_H
#define TESTS_SUPPORT_FS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fs.h"
#include "tests/support/fs_text.h"
#include "tests/support/fs_xattrs.h"
#include "tests/support/history.h"
#include "tests/support/rng.h"
#include "tests/support/wrong.h"

#define FS_MODEL_NODES 64u
#define FS_MODEL_NAMES 9u

#define FS_MODEL_BYTES (200u << 10) /* of a file at most: over the end of an extent */

struct fs_workload {
	const char *name;
	unsigned ops;
	unsigned reopen_every, sync_one_in, compact_one_in;
	uint32_t write_max; /* one write in four; the others are small */
	struct lsm_options lsm;
};

enum fs_model_kind { FREE, FILE_NODE, DIR_NODE, LINK_NODE };

struct fs_model_node {
	enum fs_model_kind kind;
	uint64_t ino, lookups; /* ino 0: unknown */
	unsigned links;
	int names[FS_MODEL_NAMES]; /* of a directory: nodes, -1 none */
	unsigned mode, uid;
	size_t size;
	unsigned char *bytes;
	uint64_t hash; /* of the content */
	struct fs_xattrs xattrs;
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
	struct fs_model_node nodes[FS_MODEL_NODES];
	struct history history;
	char **texts;                /* [0] before any operation, [n] after the nth */
	uint64_t done[FS_MODEL_OPS]; /* how often each operation was done */
	bool sync;                   /* mounted so that every change is durable when it returns */
	bool may_fail, doubt;
	unsigned errors;         /* that calls returned */
	char error[WRONG_BYTES]; /* what is wrong */
};

/* Note what is wrong; the first finding stays. False. */
#define fs_model_wrong(m, ...) wrong_note((m)->error, sizeof((m)->error), __VA_ARGS__)

/*
 * This thread is in the model, not in the filesystem: a test that has allocations fail
 * spares those of the model. FS() is around every call.
 */
extern _Thread_local bool fs_model_outside;

#define FS(call) (fs_model_outside = false, fs_model_left(call))

int fs_model_left(int err);

/* A call returned `err`: did it fail? */
bool fs_model_failed(struct fs_model *m, int err, const char *what);

/* A call that changes something returned `err`: did it, as far as the model is to know? */
bool fs_model_changed(struct fs_model *m, int err, const char *what);

int fs_model_open(const struct fs_model *m, struct storage *st, struct fs **fs);

const char *fs_model_name(unsigned n);

struct fs_model_listing {
	struct stat entries[FS_MODEL_NAMES + 1];
	bool there[FS_MODEL_NAMES];
	struct fs *fs;
	uint64_t next; /* to go on at */
	unsigned given, strange;
};

int fs_model_list_entry(void *ctx, const char *name, const struct stat *st, bool held,
			uint64_t next);

int fs_model_say(struct fs *fs, struct fs_text *t);

/*
 * What is there is as after one of the operations [least, most]. `found` (may be NULL)
 * gets the text, to be freed. An error is wrong, or returned where calls may fail.
 */
int fs_model_check(struct fs_model *m, struct fs *fs, uint64_t least, uint64_t most, char **found);

/* The check finds nothing, and counts what is counted. */
void fs_model_check_clean(struct fs_model *m, struct fs *fs);

/* ---- the steps of a run ---- */

/* Make sure that we hold it: look it up by a name, its parents first. False: that failed. */
bool fs_model_hold(struct fs_model *m, int n);

void fs_model_let_go(struct fs_model *m, int n);

/* An operation is done; it was about these nodes (-1: none). */
void fs_model_done(struct fs_model *m, enum fs_model_op op, int a, int b, int c, int d);

void fs_model_close(struct fs_model *m);

/* Open it for the workload; where that may fail, m->fs is NULL if it did, also once more. */
void fs_model_start(struct fs_model *m);

void fs_model_reopen(struct fs_model *m);

/* How many kinds of operations are not in `done`. */
unsigned fs_model_never(const uint64_t *done);

void fs_model_init(struct fs_model *m, const struct fs_workload *w, uint64_t seed);

/* The first state: an empty filesystem, once there is one. */
void fs_model_first(struct fs_model *m);

void fs_model_release(struct fs_model *m);

#endif
