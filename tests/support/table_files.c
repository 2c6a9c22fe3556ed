#include "tests/support/table_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/tap.h"

struct table_file table_files[TABLE_FILES_MAX];

int fail_reads_with, fail_writes_with, fail_syncs_with, fail_closes_with;

struct table_file *table_file_named(const char *name)
{
	for (int i = 0; i < TABLE_FILES_MAX; i++)
		if (table_files[i].exists && !strcmp(table_files[i].name, name))
			return &table_files[i];
	return NULL;
}

int table_files_open(struct storage *st, const char *name, enum storage_open how,
		     struct storage_file **out)
{
	struct table_file *f = table_file_named(name);

	*out = NULL;
	if (how != STORAGE_CREATE && !f)
		return -ENOENT;
	if (how == STORAGE_CREATE) {
		if (f)
			return -EEXIST;
		f = table_files;
		while (f < table_files + TABLE_FILES_MAX && f->exists)
			f++;
		if (f == table_files + TABLE_FILES_MAX)
			bail("too many table_files");
		f->exists = true;
		f->base.st = st;
		f->bytes.size = 0;
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	__atomic_add_fetch(&f->open, 1, __ATOMIC_SEQ_CST);
	*out = &f->base;
	return 0;
}

int table_files_unlink(struct storage *st, const char *name)
{
	struct table_file *f = table_file_named(name);

	(void)st;
	if (!f)
		return -ENOENT;
	f->exists = false;
	return 0;
}

static int table_files_pread(struct storage_file *sf, void *buf, size_t size, uint64_t offset,
			     size_t *got)
{
	struct table_file *f = (struct table_file *)sf;

	*got = 0;
	if (fail_reads_with)
		return -fail_reads_with;
	if (offset < f->bytes.size)
		*got = size < f->bytes.size - offset ? size : f->bytes.size - offset;
	if (*got)
		memcpy(buf, f->bytes.data + offset, *got);
	return 0;
}

static int table_files_pwritev(struct storage_file *sf, const struct iovec *iov, int count,
			       uint64_t offset)
{
	struct table_file *f = (struct table_file *)sf;

	if (fail_writes_with)
		return -fail_writes_with;
	if (offset != f->bytes.size)
		bail("a table is written from start to end");
	for (int i = 0; i < count; i++)
		if (buf_add(&f->bytes, iov[i].iov_base, iov[i].iov_len))
			bail("out of memory");
	return 0;
}

static int table_files_sync(struct storage_file *sf)
{
	(void)sf;
	return -fail_syncs_with;
}

static int table_files_size(struct storage_file *sf, uint64_t *size, uint64_t *allocated)
{
	*size = *allocated = ((struct table_file *)sf)->bytes.size;
	return 0;
}

int table_files_close(struct storage_file *sf)
{
	__atomic_sub_fetch(&((struct table_file *)sf)->open, 1, __ATOMIC_SEQ_CST);
	return -fail_closes_with;
}

static const struct storage_ops table_files_ops = {
	.open = table_files_open,
	.unlink = table_files_unlink,
	.pread = table_files_pread,
	.pwritev = table_files_pwritev,
	.sync = table_files_sync,
	.size = table_files_size,
	.close = table_files_close,
};

struct storage table_storage = {.ops = &table_files_ops};

void table_files_clear(void)
{
	for (int i = 0; i < TABLE_FILES_MAX; i++) {
		if (table_files[i].open)
			bail("%s is still open", table_files[i].name);
		buf_release(&table_files[i].bytes);
		table_files[i].exists = false;
	}
}
