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

/* Read the attributes of an inode that is held. 0 or an error. */
int fs_xattrs_find(struct fs *fs, const struct stat *st, struct fs_xattrs *x);

/*
 * Set an ACL that gives the friend `value`, or remove it (-1). `fallback`: the default ACL of a
 * directory; else the access ACL, which goes with `mode`.
 */
int fs_xattrs_set_acl(struct fs *fs, uint64_t ino, bool fallback, mode_t mode, int value);

#endif
