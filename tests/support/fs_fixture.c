#include "tests/support/fs_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct fs_cred ROOT = {0, 0, true, 0};

const struct fs_cred USER = {1000, 1000, false, 0};

void fs_fixture_report(void *ctx, enum lsm_report_level level, const char *text)
{
	const struct fs_fixture *f = ctx;

	if (level != LSM_REPORT_INFO && !f->quiet)
		printf("# report: %s\n", text);
}

void fs_fixture_open(struct fs_fixture *f)
{
	int err = fs_open(f->store, &f->options, &f->fs);

	if (err)
		bail("fs_open: %s", strerror(-err));
}

void fs_fixture_close(struct fs_fixture *f)
{
	int err = fs_close(f->fs);

	f->fs = NULL;
	if (err)
		bail("fs_close: %s", strerror(-err));
}

void fs_fixture_reopen(struct fs_fixture *f)
{
	fs_fixture_close(f);
	fs_fixture_open(f);
}

void fs_fixture_init(struct fs_fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%.40s/varve-fs-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(f->dir))
		bail("mkdtemp %s: %s", f->dir, strerror(errno));
	snprintf(f->store, sizeof(f->store), "%s/store", f->dir);
	f->options.lsm.create = true;
	f->options.lsm.report = fs_fixture_report;
	f->options.lsm.report_ctx = f;
	f->options.lsm.memory_bytes = 16 << 20;
	fs_fixture_open(f);
}

static int fs_fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void fs_fixture_release(struct fs_fixture *f)
{
	if (f->fs)
		fs_fixture_close(f);
	nftw(f->dir, fs_fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
}

void fs_fixture_clean(struct fs_fixture *f, const char *when)
{
	struct fs_check_counts counts;

	is_int(fs_check(f->fs, print_finding, NULL, NULL, NULL, &counts), 0, "check is clean %s",
	       when);
}

uint64_t make_file(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;
	int err = fs_mknod(fs, &ROOT, dir, name, S_IFREG | 0644, 0, &st);

	if (err)
		bail("mknod %s: %s", name, strerror(-err));
	return st.st_ino;
}

uint64_t make_dir(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;
	int err = fs_mkdir(fs, &ROOT, dir, name, 0755, &st);

	if (err)
		bail("mkdir %s: %s", name, strerror(-err));
	return st.st_ino;
}

struct stat attr_of(struct fs *fs, uint64_t ino)
{
	struct stat st;
	int err = fs_getattr(fs, ino, &st);

	if (err)
		printf("# getattr %llu: %s\n", (unsigned long long)ino, strerror(-err));
	return st;
}

uint64_t ino_of(struct fs *fs, uint64_t dir, const char *name)
{
	struct stat st;

	if (fs_lookup(fs, dir, name, &st))
		return 0;
	fs_forget(fs, st.st_ino, 1);
	return st.st_ino;
}

int64_t ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}
