/*
 * fs_fixture.h - a filesystem in a scratch directory, for the tests of fs/.
 */
#ifndef TESTS_SUPPORT_FS_FIXTURE_H
#define TESTS_SUPPORT_FS_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/fs.h"
#include "tests/support/print.h"
#include "tests/support/tap.h"

struct fs_fixture {
	char dir[64], store[80];
	struct fs_options options;
	struct fs *fs;
	bool quiet; /* damage is expected */
};

extern const struct fs_cred ROOT;

extern const struct fs_cred USER;

/* A callback: print reports, unless damage is expected (`quiet`). Its context is the fixture. */
void fs_fixture_report(void *ctx, enum lsm_report_level level, const char *text);

/* Open the filesystem with f->options. */
void fs_fixture_open(struct fs_fixture *f);

void fs_fixture_close(struct fs_fixture *f);

void fs_fixture_reopen(struct fs_fixture *f);

/* Make a scratch directory with an empty filesystem in it, and open that. */
void fs_fixture_init(struct fs_fixture *f);

/* Close the filesystem and remove the scratch directory. */
void fs_fixture_release(struct fs_fixture *f);

/* One result: fs_check() finds nothing. */
void fs_fixture_clean(struct fs_fixture *f, const char *when);

/* Make an empty file or a directory. Returns its inode, which is held; bails out on an error. */
uint64_t make_file(struct fs *fs, uint64_t dir, const char *name);

uint64_t make_dir(struct fs *fs, uint64_t dir, const char *name);

/* The attributes of an inode that is held. */
struct stat attr_of(struct fs *fs, uint64_t ino);

/* The inode of a name, which is not held; 0 if there is none. */
uint64_t ino_of(struct fs *fs, uint64_t dir, const char *name);

/* A time in nanoseconds. */
int64_t ns_of(struct timespec ts);

#endif
