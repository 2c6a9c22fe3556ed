/*
 * perform.h - one call of a writer of churn, made and compared with the model.
 */
#ifndef TESTS_MOUNT_CHURN_PERFORM_H
#define TESTS_MOUNT_CHURN_PERFORM_H

#include "tests/mount/churn/model.h"

/*
 * Make the call in the current folder and change the model by what it did. Returns false if the
 * daemon is gone (the call is then the one in flight), or if the answer was wrong (reported).
 */
bool perform(struct op *op);

#endif
