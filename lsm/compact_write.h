/*
 * compact_write.h - writing sorted input to new tables.
 */
#ifndef LSM_COMPACT_WRITE_H
#define LSM_COMPACT_WRITE_H

#include "lsm/base/iter.h"
#include "lsm/table/rangedel.h"
#include "lsm/tree.h"

struct compact_job {
	struct lsm *lsm;
	struct version *version; /* of the inputs; NULL: nothing is known of deeper levels */
	unsigned output_level;
	struct iter *input;           /* internal keys, ascending; the caller's */
	struct rangedel_list *ranges; /* of the input, finished; NULL: none; the caller's */
	const uint64_t *relocate;     /* segments to move values out of */
	size_t relocate_count;
	uint64_t created_s;        /* of the oldest input */
	bool cut;                  /* cut at table_bytes; false: one table. Needs `version` */
	struct version_edit *edit; /* gets the outputs */
	struct segment **pinned;   /* where relocated values went; starts as NULL */
	size_t pinned_count, pinned_room;
};

/*
 * Write the job's input to new tables, which the job's edit then adds. They are synced, but
 * not their names. The caller calls compact_job_release() after it has applied the edit.
 * Returns 0; -ECANCELED if the tree is being closed (only with `version`); -EUCLEAN
 * (reported) if the input is damaged; or another error. After an error the edit may have some
 * of the tables: it must not be applied.
 */
int compact_write(struct compact_job *job);

/* Let go of the segments that relocated values went to. */
void compact_job_release(struct compact_job *job);

#endif
