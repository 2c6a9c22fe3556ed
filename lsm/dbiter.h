/*
 * dbiter.h - what the rest of the tree may ask of a public iterator.
 */
#ifndef LSM_DBITER_H
#define LSM_DBITER_H

#include "lsm/base/ikey.h"

struct view;

/* The entry here as it is stored, and the view that keeps what it refers to alive. */
struct view *dbiter_stored(const struct lsm_iter *it, enum ikey_type *type,
			   struct lsm_slice *stored);

#endif
