/*
 * lock.c - which locks a thread holds; see lock.h.
 */
#include "lsm/base/lock.h"

_Thread_local uint32_t lock_held;
