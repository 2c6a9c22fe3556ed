/*
 * fs_raw.h - writing into a store below its filesystem, which is closed: to plant faults.
 */
#ifndef TESTS_SUPPORT_FS_RAW_H
#define TESTS_SUPPORT_FS_RAW_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/core.h"
#include "lsm/lsm.h"
#include "tests/support/fs_fixture.h"

struct raw {
	struct lsm *lsm; /* of the closed store */
	struct fs_fixture f;
	/* A store with one of everything has these inodes. */
	uint64_t dir_ino, file_ino, big_ino, hard_ino, sub_ino;
	char big_bytes[200000]; /* the content of big_ino */
};

extern struct raw raw;

/* Make a store with one of everything. It is open below the filesystem then, not above. */
void raw_begin(void);

void raw_end(void);

void raw_put_value(struct lsm_slice key, const void *data, size_t size);

void raw_put(enum key_kind kind, uint64_t ino, const char *tail, const void *data, size_t size);

void raw_drop_key(struct lsm_slice key);

void raw_drop(enum key_kind kind, uint64_t ino, const char *tail);

/* Read a record, to be changed and put back. */
struct attr raw_get(enum key_kind kind, uint64_t ino, const char *tail);

void raw_put_attr(enum key_kind kind, uint64_t ino, const char *tail, uint64_t self, struct attr a);

void raw_put_link(uint64_t dir, const char *name, uint64_t to, mode_t type);

#endif
