/*
 * fs_workload.h - random operations on a filesystem and on the model beside it.
 *
 * Each operation chooses what to work on, makes one call, and changes the model if the call may
 * have changed something. fs_model.h says what a failed call may have done.
 */
#ifndef TESTS_SUPPORT_FS_WORKLOAD_H
#define TESTS_SUPPORT_FS_WORKLOAD_H

#include "tests/support/fs_model.h"

/* One operation, and now and then a sync or a compaction. */
void fs_workload_step(struct fs_model *m);

#endif
