/*
 * fs_xattrs.h - the extended attributes in the model of fs_model.h: one of the user's, and
 * ACLs that give something to one friend and take nothing from anybody else.
 */
#ifndef TESTS_SUPPORT_FS_XATTRS_H
#define TESTS_SUPPORT_FS_XATTRS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/fs.h"

/* -1: there is none. */
struct fs_xattrs {
	int user;             /* its value */
	int access, fallback; /* what an ACL gives to the friend */
};

#define FS_XATTRS_NONE ((struct fs_xattrs){-1, -1, -1})

/* What the filesystem has. */
int fs_xattrs_find(struct fs *fs, const struct stat *st, struct fs_xattrs *x);

/* Give the friend `value` (-1: no ACL) in a default ACL, or in an access one beside `mode`. */
int fs_xattrs_set_acl(struct fs *fs, uint64_t ino, bool fallback, mode_t mode, int value);

#endif
