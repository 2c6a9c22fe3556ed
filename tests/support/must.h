/*
 * must.h - for what a test cannot go on without: it bails out where that fails.
 */
#ifndef TESTS_SUPPORT_MUST_H
#define TESTS_SUPPORT_MUST_H

/* `err` (0, or negative) of a call that `what` names. */
void must(int err, const char *what);

/* What an allocating function returned; never NULL after this. */
void *must_alloc(void *p);

#endif
