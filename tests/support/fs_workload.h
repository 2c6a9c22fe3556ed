/*
 * fs_workload.h - random operations on a filesystem and on the model beside it.
 *
 * Each picks what it works on, makes one call, and changes the model if that did
 * something (fs_model.h says what a call that fails may have done).
 */
#ifndef TESTS_SUPPORT_FS_WORKLOAD_H
#define TESTS_SUPPORT_FS_WORKLOAD_H

#include "tests/support/fs_model.h"

void fs_workload_step(struct fs_model *m);

#endif
