/*
 * dbiter.h - calls on a public iterator that are for the rest of the tree only.
 */
#ifndef LSM_DBITER_H
#define LSM_DBITER_H

#include "lsm/base/ikey.h"
#include "lsm/segment.h"

struct view;

/*
 * The entry that the iterator is on, as it is stored: the value itself, or a reference to one.
 * Returns the view that keeps the segments alive, without a reference for the caller.
 */
struct view *dbiter_stored(const struct lsm_iter *it, enum ikey_type *type,
			   struct lsm_slice *stored);

/* Decode the reference to the value of the entry, of type IKEY_PUT_REF. 0; -EUCLEAN. */
int dbiter_reference(const struct lsm_iter *it, struct segment_ref *ref);

#endif
