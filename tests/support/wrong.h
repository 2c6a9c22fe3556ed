/*
 * wrong.h - the first thing that was found wrong, as a text.
 *
 * A test that compares thousands of states prints one result for all of them. Each check notes
 * what is wrong in a buffer, and only the first text stays: what follows is mostly its effect.
 */
#ifndef TESTS_SUPPORT_WRONG_H
#define TESTS_SUPPORT_WRONG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define WRONG_BYTES 512 /* of a buffer: the text and its 0 */

/* Write the text into `wrong`, of `size` bytes, unless there is one already. Returns false. */
bool wrong_note(char *wrong, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
