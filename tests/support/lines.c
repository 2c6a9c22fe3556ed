#include "tests/support/lines.h"

#include <stdio.h>

void lines_clear(struct lines *l)
{
	l->size = 0;
	l->text[0] = '\0';
}

void lines_add(void *ctx, const char *text)
{
	struct lines *l = ctx;
	size_t room = sizeof(l->text) - l->size;
	int size = snprintf(l->text + l->size, room, "%s\n", text);

	l->size += (size_t)size < room ? (size_t)size : room - 1;
}
