/*
 * lsm.c - the face of the store: lsm_open(), lsm_close() and errors in words. Here is also how
 * the parts of an open tree hang together, and the order of their locks.
 *
 * The parts and their life:
 *
 *   lsm --> view --> memlogs (memtable + log), newest first; [0] takes the writes
 *               \--> version --> table_metas, per level
 *
 * A view is what readers pin. A reader takes view_mu for as long as it takes to count one
 * reference. Views, versions, memlogs and metas are immutable once current (but for the newest
 * memtable) and counted. The thread that drops the last reference frees them, and with them
 * the claim on files. So nothing is deleted under a reader.
 *
 * Lock order, outermost first (lock.h has the ranks, and asserts them):
 *
 *   compact_mu  >  segments.create_mu  >  manifest_mu  >  segments.sync_mu  >  mu
 *     >  view_mu
 *   write_mu, sync_mu, dead_mu, segments.mu, the cache's and the storage's locks are leaves:
 *   no other lock of the tree is taken under them
 *
 * The leading writer needs no lock for the newest memlog: see write.c. A view's last reference
 * is never dropped under mu.
 *
 * Sequences. The leader publishes `sequence` after its group is in the memtable. A reader takes
 * its view first and the sequence after. So its sources are complete up to some point of the
 * history, and it sees exactly what came before that.
 */
#include "lsm/lsm.h"

#include <errno.h>
#include <string.h>

#include "lsm/tree_open.h"

int lsm_open(const char *path, const struct lsm_options *options, struct lsm **out)
{
	return tree_open(path, options, NULL, out);
}

int lsm_close(struct lsm *lsm)
{
	int err;

	if (!lsm)
		return 0;
	err = tree_stop(lsm, false);
	tree_free(lsm);
	return err;
}

const char *lsm_strerror(int err)
{
	const char *other;

	switch (err) {
	case 0:
		return "no error";
	case LSM_ABSENT:
		return "no such key";
	case -EUCLEAN:
		return "the store is damaged";
	case -EROFS:
		return "the store is read-only";
	case -ENOSPC:
		return "the disk of the store is full";
	case -EIO:
		return "the device of the store failed";
	case -ENOENT:
		return "there is no store";
	case -ENOTDIR:
		return "the path of the store is not a directory";
	case -EEXIST:
		return "the directory has files in it and is not a store";
	case -EBUSY:
		return "the store is in use";
	case -EPROTONOSUPPORT:
		return "the store was written by a newer version";
	case -EFBIG:
		return "the value or batch is too large";
	case -EINTR:
		return "stopped by the caller";
	case -ENOMEM:
		return "out of memory";
	default:
		/* Unlike strerror(), this has no buffer that threads share. */
		other = err < 0 && err > -4096 ? strerrordesc_np(-err) : NULL;
		return other ? other : "unknown error";
	}
}
