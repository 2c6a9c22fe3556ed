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
#include <stdlib.h>
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
