/*
 * fs_raw.h - plant faults in a filesystem, by writing into its store while it is closed.
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

/* Make a store with one of everything, and open it below the closed filesystem. */
void raw_begin(void);

/* Remove the store. The filesystem is open, or everything is closed. */
void raw_end(void);

void raw_put_value(struct lsm_slice key, const void *data, size_t size);

/* Put `data` under a key. `tail`: what follows the inode in the key. */
void raw_put(enum key_kind kind, uint64_t ino, const char *tail, const void *data, size_t size);

void raw_drop_key(struct lsm_slice key);

/* Delete a key. */
void raw_drop(enum key_kind kind, uint64_t ino, const char *tail);

/* Read a record, to change it and put it back. */
struct attr raw_get(enum key_kind kind, uint64_t ino, const char *tail);

/* Put a record with the attributes `a` of the inode `self`. */
void raw_put_attr(enum key_kind kind, uint64_t ino, const char *tail, uint64_t self, struct attr a);

/* Put a name that refers to the inode `to`. */
void raw_put_link(uint64_t dir, const char *name, uint64_t to, mode_t type);

#endif
