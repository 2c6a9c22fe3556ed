/*
 * dead.h - files that nothing needs any more and that wait to be unlinked.
 */
#ifndef LSM_DEAD_H
#define LSM_DEAD_H

#include "lsm/tree.h"

enum file_kind { FILE_TABLE, FILE_LOG, FILE_MANIFEST };

struct dead_file {
	enum file_kind kind;
	uint64_t number;
};

/*
 * Note that nothing needs a file any more. dead_files_unlink() unlinks it later. Without
 * memory the file stays, and the next open deletes it. Threads: any, under any lock of the
 * tree but the leaves.
 */
void dead_file_add(struct lsm *lsm, enum file_kind kind, uint64_t number) EXCLUDES(lsm->dead_mu);

/*
 * Unlink the files noted so far. While the manifest's end is in doubt, and in a tree that is
 * open read-only, they stay.
 */
void dead_files_unlink(struct lsm *lsm) EXCLUDES(lsm->manifest_mu, lsm->dead_mu);

#endif
