/*
 * storage.c - calls that are the same for every storage.
 */
#include "lsm/storage/storage.h"

#include "lsm/base/report.h"

int storage_open_file(struct storage *st, const char *name, enum storage_open how,
		      struct storage_file **out)
{
	int err = st->ops->open(st, name, how, out);

	if ((err == -EMFILE || err == -ENFILE) && st->relieve && st->relieve(st->relieve_ctx))
		err = st->ops->open(st, name, how, out);
	return err;
}

int storage_pread_full(struct storage_file *f, void *buf, size_t size, uint64_t offset)
{
	size_t got;
	int err = storage_pread(f, buf, size, offset, &got);

	if (err)
		return err;
	return got == size ? 0 : report_malformed(NULL, "the file ends before");
}

int storage_sync_dir(struct storage *st)
{
	return st->ops->sync_dir(st) ? -EIO : 0;
}
