/*
 * report.c - messages of the tree, formatted and passed to the program's callback.
 *
 * A message that is too long is cut, never lost. Formatting allocates nothing, because a
 * message may be about the lack of memory.
 */
#include "lsm/base/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_BYTES 1024
#define KEY_BYTES 32 /* of a key, in a message */

void report(const struct report *r, enum lsm_report_level level, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	int saved = errno;
	va_list args;

	if (!r || !r->fn)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	r->fn(r->ctx, level, message);
	errno = saved;
}

int report_corrupt(const struct report *r, const char *file, uint64_t offset, const char *format,
		   ...)
{
	char reason[MESSAGE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	report(r, LSM_REPORT_ERROR, "%s: damaged at offset %" PRIu64 ": %s", file, offset, reason);
	return report_malformed(NULL, reason);
}

int report_corrupt_key(const struct report *r, struct lsm_slice user_key, const char *reason)
{
	const uint8_t *bytes = user_key.data;
	size_t count = user_key.size < KEY_BYTES ? user_key.size : KEY_BYTES;
	char hex[2 * KEY_BYTES + 1] = "";

	for (size_t i = 0; i < count; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	report(r, LSM_REPORT_ERROR, "a table: damaged at key %s%s: %s", hex,
	       count < user_key.size ? "..." : "", reason);
	return report_malformed(NULL, reason);
}
