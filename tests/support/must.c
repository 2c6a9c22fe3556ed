#include "tests/support/must.h"

#include <string.h>

#include "tests/support/tap.h"

void must(int err, const char *what)
{
	if (err)
		bail("%s: %s", what, strerror(-err));
}

void *must_alloc(void *p)
{
	if (!p)
		bail("no memory");
	return p;
}
