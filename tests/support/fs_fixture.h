/*
 * fixture.h - a filesystem in a scratch directory, for the tests of fs/.
 */
#ifndef TESTS_FS_FIXTURE_H
#define TESTS_FS_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/fs.h"
#include "tests/support/tap.h"

struct fixture {
	char dir[64], store[80];
	struct fs_options options;
	struct fs *fs;
	bool quiet; /* damage is expected */
};

static const struct fs_cred ROOT = {0, 0, true, 0};
static const struct fs_cred USER = {1000, 1000, false, 0};

static inline void fixture_report(void *ctx, enum lsm_report_level level, const char *text)
{
	const struct fixture *f = ctx;

	if (level != LSM_REPORT_INFO && !f->quiet)
		printf("# report: %s\n", text);
}

static inline void fixture_open(struct fixture *f)
{
	int rc = fs_open(f->store, &f->options, &f->fs);

	if (rc)
		bail("fs_open: %s", strerror(-rc));
}

static inline void fixture_close(struct fixture *f)
{
	int rc = fs_close(f->fs);

	f->fs = NULL;
	if (rc)
		bail("fs_close: %s", strerror(-rc));
}

static inline void fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	fixture_open(f);
}

static inline void fixture_init(struct fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%.40s/varve-fs-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(f->dir))
		bail("mkdtemp %s: %s", f->dir, strerror(errno));
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	f->options.lsm.create = true;
	f->options.lsm.report = fixture_report;
	f->options.lsm.report_ctx = f;
	f->options.lsm.memory_bytes = 16 << 20;
	fixture_open(f);
}

static inline int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void fixture_release(struct fixture *f)
{
	if (f->fs)
		fixture_close(f);
	nftw(f->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_finding(void *ctx, const char *text)
{
	(void)ctx;
	printf("# finding: %s\n", text);
}

/* The check finds nothing. */
static inline void fixture_clean(struct fixture *f, const char *when)
{
	struct fs_check_counts counts;

	is_int(fs_check(f->fs, fixture_finding, NULL, NULL, NULL, &counts), 0, "check is clean %s",
	       when);
}

/* Shorthands. They bail when what cannot fail fails; the reference is kept. */
static inline uint64_t mk_file(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;
	int rc = fs_mknod(fs, &ROOT, dir, name, S_IFREG | 0644, 0, &st);

	if (rc)
		bail("mknod %s: %s", name, strerror(-rc));
	return st.st_ino;
}
static inline uint64_t mk_dir(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;
	int rc = fs_mkdir(fs, &ROOT, dir, name, 0755, &st);

	if (rc)
		bail("mkdir %s: %s", name, strerror(-rc));
	return st.st_ino;
}
static inline struct stat attr_of(struct fs *fs, uint64_t ino)
{
	struct stat st;
	int rc = fs_getattr(fs, ino, &st);

	if (rc)
		printf("# getattr %llu: %s\n", (unsigned long long)ino, strerror(-rc));
	return st;
}
/* Look up and give the reference back. 0 when it is not there. */
static inline uint64_t ino_of(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;

	if (fs_lookup(fs, dir, name, &st))
		return 0;
	fs_forget(fs, st.st_ino, 1);
	return st.st_ino;
}
static inline int64_t ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

#endif
