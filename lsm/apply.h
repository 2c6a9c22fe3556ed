/*
 * apply.h - the one place where the tree's shape changes.
 */
#ifndef LSM_APPLY_H
#define LSM_APPLY_H

#include "lsm/memlog.h"
#include "lsm/tree.h"

/*
 * Log an edit and make its result current, without the memlog `flushed` (may be NULL). The
 * files that the edit adds are synced, but not their names.
 * Returns 0; -EROFS after the tree has failed; -EUCLEAN if the edit breaks an invariant of
 * the tree; or an error of the storage. After an error nothing has changed, and no file is
 * deleted until a new manifest was written.
 * Durability: the edit survives power loss on return.
 */
int apply_edit(struct lsm *lsm, struct version_edit *e, struct memlog *flushed)
	EXCLUDES(lsm->manifest_mu, lsm->mu);

/*
 * Make the version that results from an edit of `base`, in `*next`, with a reference.
 * Returns 0; -ENOMEM; -EUCLEAN (reported) if the edit breaks an invariant of the tree.
 */
int apply_to_version(const struct lsm *lsm, const struct version *base,
		     const struct version_edit *e, struct version **next);

/*
 * Make a table one of the tree's, before an edit adds it: the segments that it refers to are
 * kept as long as the table, and its file is dead when its last reference goes. A repair
 * calls it again for the tables it made, once the segments are known.
 */
void apply_adopt_table(struct lsm *lsm, struct table_meta *t);

#endif
