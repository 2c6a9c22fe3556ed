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

void fs_fixture_report(void *ctx, enum lsm_report_level level, const char *text);

void fs_fixture_open(struct fs_fixture *f);

void fs_fixture_close(struct fs_fixture *f);

void fs_fixture_reopen(struct fs_fixture *f);

void fs_fixture_init(struct fs_fixture *f);

void fs_fixture_release(struct fs_fixture *f);

/* The check finds nothing. */
void fs_fixture_clean(struct fs_fixture *f, const char *when);

/* Shorthands. They bail when what cannot fail fails; the reference is kept. */
uint64_t make_file(struct fs *fs, uint64_t dir, const char *name);

uint64_t make_dir(struct fs *fs, uint64_t dir, const char *name);

struct stat attr_of(struct fs *fs, uint64_t ino);

/* Look up and give the reference back. 0 when it is not there. */
uint64_t ino_of(struct fs *fs, uint64_t dir, const char *name);

int64_t ns_of(struct timespec ts);

#endif
