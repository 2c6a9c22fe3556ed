/*
 * read.h - the readers of churn, beside its writers.
 */
#ifndef TESTS_MOUNT_CHURN_READ_H
#define TESTS_MOUNT_CHURN_READ_H

#include <stdbool.h>

/* Make the folder "filled" with `count` files. Returns false if that fails (reported). */
bool read_fill(unsigned count);
/*
 * Read files and folders until shared->stop. Returns false if the daemon is gone, or if
 * something was wrong (reported).
 */
bool read_load(void);

#endif
