/*
 * alloc.h - an allocator that fails when told to, and threads that cannot be started.
 *
 * The linker wraps every function of our objects that allocates (see the Makefile). What
 * libraries call for themselves is left alone. Between alloc_begin() and alloc_end() the calls
 * of all threads are counted, except those of a thread that is exempt.
 */
#ifndef TESTS_SUPPORT_ALLOC_H
#define TESTS_SUPPORT_ALLOC_H

#include <stdbool.h>

/*
 * From now on count allocations, and fail `times` of them from the nth on. `is_exempt` says
 * whether the thread that calls it is spared at present.
 */
void alloc_begin(unsigned long long nth, unsigned long long times, bool (*is_exempt)(void));

/* Stop counting and failing. Returns how many allocations there were. */
unsigned long long alloc_end(void);

#endif
