/*
 * meta_check.h - is it true what the manifest says of a table?
 *
 * The segments that a table refers to, as the manifest has them, are kept from being deleted
 * (gc.c). Its highest sequence keeps older versions from coming to light. So both are compared
 * with the table's entries.
 */
#ifndef LSM_META_CHECK_H
#define LSM_META_CHECK_H

#include "lsm/version.h"

struct meta_check {
	const struct table_meta *t; /* NULL: nothing is compared */
	uint64_t *bytes;            /* of each of its uses, counted from the entries */
	const char *wrong;          /* the first thing that is; NULL: nothing so far */
};

/* Start with table `t`. Returns 0 or -ENOMEM. */
int meta_check_begin(struct meta_check *m, const struct table_meta *t);
/* Count an entry; `ikey` is a valid internal key. */
void meta_check_entry(struct meta_check *m, struct lsm_slice ikey, struct lsm_slice value);
/* Returns what is wrong, or NULL. `whole`: all entries were counted. Frees what `m` holds. */
const char *meta_check_end(struct meta_check *m, bool whole);

#endif
