/*
 * fs_model.h - a plain model of a filesystem beside the real one, for the tests that
 * take the power away, make calls fail and damage files.
 *
 * A workload of names, links, contents and attributes (fs_workload.h) runs on both. After each
 * operation the model writes down as a text what the whole filesystem looks like (fs_text.h). The
 * text made from the filesystem has to be the same. Times and inode numbers are in the text. So a
 * state that mixes two others is found even where the contents happen to agree.
 *
 * Where calls may fail (`may_fail`), a failed call has changed nothing. The exception is a call
 * with which the store became read-only: it may have taken effect or not. That operation is the
 * last one of the model then, and `doubt` is set. Times and inode numbers that it would have given
 * are `?` in the text.
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

/* Back in the model after a call of the filesystem. Returns `err`. */
int fs_model_left(int err);

/*
 * Whether the call `what` failed. Notes in `m` an error that no failing call or allocation
 * explains.
 */
bool fs_model_failed(struct fs_model *m, int err, const char *what);

/* Whether the model must change too: the call worked, or is the first one in doubt. */
bool fs_model_changed(struct fs_model *m, int err, const char *what);

/* Open the filesystem of the workload on `st`. */
int fs_model_open(const struct fs_model *m, struct storage *st, struct fs **fs);

/* The nth name that the workload uses. */
const char *fs_model_name(unsigned n);

struct fs_model_listing {
	struct stat entries[FS_MODEL_NAMES + 1];
	bool there[FS_MODEL_NAMES];
	struct fs *fs;
	uint64_t next; /* to go on at */
	unsigned given, strange;
};

/* A callback of fs_dir_read() that fills a listing. */
int fs_model_list_entry(void *ctx, const char *name, const struct stat *st, bool held,
			uint64_t next);

/* Write down what is in the filesystem. 0 or an error of reading it. */
int fs_model_say(struct fs *fs, struct fs_text *t);

/*
 * The filesystem is in the state after one of the operations [least, most]. `found` (may be NULL)
 * gets its text, which the caller frees. 0, or an error of reading; that is wrong unless calls
 * may fail.
 */
int fs_model_check(struct fs_model *m, struct fs *fs, uint64_t least, uint64_t most, char **found);

/* fs_check() finds nothing, and counts as many inodes as fs_stats(). */
void fs_model_check_clean(struct fs_model *m, struct fs *fs);

/* ---- the steps of a run ---- */

/* Hold node `n`: look it up by a name, after its parents. False: a look-up failed. */
bool fs_model_hold(struct fs_model *m, int n);

/* Forget every reference to node `n`. A node without a name is free then. */
void fs_model_let_go(struct fs_model *m, int n);

/*
 * An operation is done that was about these nodes (-1: none). Reads their new times from the
 * filesystem and writes the new state down.
 */
void fs_model_done(struct fs_model *m, enum fs_model_op op, int a, int b, int c, int d);

/* Close the filesystem. If that works, all operations are durable. */
void fs_model_close(struct fs_model *m);

/*
 * Open the filesystem for the workload. Where calls may fail it tries twice; m->fs is NULL if
 * both fail.
 */
void fs_model_start(struct fs_model *m);

/* Forget half of what is held, close the filesystem, and open it again. */
void fs_model_reopen(struct fs_model *m);

/* How many kinds of operations are not in `done`. */
unsigned fs_model_never(const uint64_t *done);

/* Make an empty model on a new storage in memory. The filesystem is not open yet. */
void fs_model_init(struct fs_model *m, const struct fs_workload *w, uint64_t seed);

/* Write down the state before any operation, once there is a filesystem. */
void fs_model_first(struct fs_model *m);

void fs_model_release(struct fs_model *m);

#endif
