#include "tests/support/option.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t option_number(const char *variable, uint64_t normal)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 0) : normal;
}

bool option_is_all(const char *variable)
{
	const char *text = getenv(variable);

	return text && !strcmp(text, "all");
}

void option_watchdog(bool long_run, unsigned seconds)
{
	alarm(long_run ? 0 : seconds);
}
