/*
 * verify.h - the files of a writer of churn, compared with its model.
 */
#ifndef TESTS_MOUNT_CHURN_VERIFY_H
#define TESTS_MOUNT_CHURN_VERIFY_H

#include <stdbool.h>

/*
 * Compare the files with the model, with or without the call in flight. Afterwards the model
 * is as the files are, and no call is in flight. Returns false if they differ (reported).
 */
bool verify(void);

#endif
