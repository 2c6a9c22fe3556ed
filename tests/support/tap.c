#include "tests/support/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;
static bool tap_chosen; /* TEST named a function that was called */

bool tap_ok(bool pass, const char *file, int line, const char *format, ...)
{
	va_list args;

	printf("%s %d - ", pass ? "ok" : "not ok", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!pass) {
		tap_failed++;
		printf("#   failed at %s:%d\n", file, line);
	}
	fflush(stdout);
	return pass;
}

/* NULL: all functions run. */
static const char *tap_choice(void)
{
	const char *choice = getenv("TEST");

	return choice && *choice ? choice : NULL;
}

bool tap_is_chosen(const char *name)
{
	const char *choice = tap_choice();

	if (!choice)
		return true;
	if (strcmp(choice, name) != 0)
		return false;
	tap_chosen = true;
	return true;
}

void tap_skip(const char *why)
{
	const char *ci = getenv("CI");

	if (ci && *ci)
		ok(false, "must not skip in CI: %s", why);
	else
		printf("ok %d # SKIP %s\n", ++tap_count, why);
}

int done(void)
{
	if (tap_choice() && !tap_chosen)
		ok(false, "there is no function %s in this test", tap_choice());
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}
