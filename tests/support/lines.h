/*
 * lines.h - all that fs_check() or fs_repair() says, a line for each text.
 */
#ifndef TESTS_SUPPORT_LINES_H
#define TESTS_SUPPORT_LINES_H

#include <stddef.h>

#define LINES_BYTES (64u << 10) /* what does not fit is left out */

struct lines {
	char text[LINES_BYTES];
	size_t size;
};

void lines_clear(struct lines *l);

/* A callback: add `text` to the `struct lines` that is its context. */
void lines_add(void *ctx, const char *text);

#endif
