/*
 * fs_twin.h - a filesystem and a plain model of it side by side: the same calls, the same result
 * expected of both, and everything compared when asked.
 *
 * Every choice comes from `twin.choices`: from a seed (fs/test_model.c), or from the bytes of a
 * fuzzer (fuzz/test_fs_ops.c). The first difference between the two ends the test.
 */
#ifndef TESTS_SUPPORT_FS_TWIN_H
#define TESTS_SUPPORT_FS_TWIN_H

#include <stddef.h>

#include "tests/support/fs_fixture.h"
#include "tests/support/rng.h"

#define FS_TWIN_BYTES_MAX (300u << 10)

struct fs_twin {
	struct fs_fixture f;
	struct rng choices;
	unsigned step;      /* which it is, for messages */
	unsigned nodes_max; /* inodes at a time */
	size_t bytes_max;   /* of a file; at most FS_TWIN_BYTES_MAX */
};

/* There is one at a time. A test sets `choices`, and opens `f`, before it begins. */
extern struct fs_twin twin;

/* A choice from 0 to n - 1. */
unsigned fs_twin_below(unsigned n);

/* The call `what` returned `got`; bail out unless that is `want`. */
void fs_twin_same(int got, int want, const char *what);

/* The steps. Each makes one call, or none if its choices do not allow one. */
void fs_twin_create(void);

void fs_twin_tmpfile(void);

void fs_twin_link(void);

void fs_twin_remove(void);

void fs_twin_rename(void);

void fs_twin_write(void);

void fs_twin_truncate(void);

void fs_twin_allocate(void);

void fs_twin_copy(void);

void fs_twin_attr(void);

void fs_twin_forget(void);

/* ---- comparing ---- */

/* Compare the attributes, names and bytes of everything. */
void fs_twin_compare(void);

/* ---- endings ---- */

/* The filesystem was closed: the model holds nothing any more. */
void fs_twin_forget_all(void);

void fs_twin_reopen(void);

/* Begin with an empty filesystem. At most `nodes_max` inodes at a time, of `bytes_max` bytes. */
void fs_twin_begin(unsigned nodes_max, size_t bytes_max);

/* Forget every inode, so that nothing is held, and free the model. */
void fs_twin_end(void);

#endif
