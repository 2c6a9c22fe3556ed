/*
 * choose.h - which call a writer of churn.c makes next. The same seed gives the
 * same choices as long as the calls end in the same way.
 */
#ifndef TESTS_MOUNT_CHURN_CHOOSE_H
#define TESTS_MOUNT_CHURN_CHOOSE_H

#include "tests/mount/churn/model.h"
#include "tests/support/rng.h"

#define WRITE_BYTES_MAX (3u << 20)
#define BIG_BYTES_MAX (64u << 20)
#define BIG_STEP (1u << 20)
#define XATTR_BYTES_MAX 3000u
#define HUNGRY 8 /* calls after ENOSPC that mostly delete */

struct chooser {
	struct rng rng;
	uint64_t next_tag;
	uint64_t quota_bytes; /* above this the largest file is removed */
	bool big;             /* files of up to BIG_BYTES_MAX are made, too */
	int big_slot;         /* the large file in the making, or NOTHING */
	uint64_t big_left;    /* steps until it is done */
	int hungry;
};

/* Return a random number below `n`, which is 1 to UINT32_MAX. */
uint64_t choose_below(struct chooser *c, uint64_t n);
/* Choose the next call for a writer with this model. Most are sensible, some have to be refused. */
void choose(struct chooser *c, struct model *model, struct op *op);

#endif
