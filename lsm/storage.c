/*
 * storage.c - what is the same for every storage.
 */
#include "storage.h"

#include <errno.h>

int storage_pread_full(struct storage_file *f, void *buf, size_t size, uint64_t offset)
{
	size_t got;
	int err = storage_pread(f, buf, size, offset, &got);

	if (err)
		return err;
	return got == size ? 0 : -EUCLEAN;
}

int storage_sync_dir(struct storage *st)
{
	return st->ops->sync_dir(st) ? -EIO : 0;
}
