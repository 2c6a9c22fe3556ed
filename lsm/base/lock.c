/*
 * lock.c - the ranks of the locks that a thread holds; see lock.h.
 */
#include "lsm/base/lock.h"

_Thread_local uint64_t lock_held;
