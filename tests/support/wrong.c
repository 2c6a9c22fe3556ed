#include "tests/support/wrong.h"

#include <stdarg.h>
#include <stdio.h>

bool wrong_note(char *wrong, size_t size, const char *format, ...)
{
	va_list args;

	if (wrong[0])
		return false;
	va_start(args, format);
	vsnprintf(wrong, size, format, args);
	va_end(args);
	return false;
}
