/*
 * message.c - the one way out for every message of every thread.
 *
 * Each message is formatted into one buffer and written by one call. So the messages
 * of two threads do not mix on a terminal.
 */
#include "mount/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static atomic_bool to_syslog, verbose;

void message_verbose(void)
{
	atomic_store(&verbose, true);
}

void message_to_syslog(void)
{
	openlog("varve", LOG_PID, LOG_DAEMON);
	atomic_store(&to_syslog, true);
}

size_t message_character(const char *text, bool *control)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t size = 1, i;

	*control = *at < ' ' || *at == 127 || (*at >= 0x80 && *at < 0xa0);
	if (*at >= 0xc2 && *at < 0xf5)
		size = *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
	/* Without all of its bytes it is no character: each byte is looked at by itself. */
	for (i = 1; i < size; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 1;
	if (size == 2 && at[0] == 0xc2 && at[1] < 0xa0)
		*control = true;
	return size;
}

static void message_replace(char *text, bool keep_lines)
{
	bool control;
	size_t size;

	for (; *text; text += size) {
		size = message_character(text, &control);
		if (control && !(keep_lines && *text == '\n'))
			memset(text, '?', size);
	}
}

void message_clean(char *text)
{
	message_replace(text, false);
}

void message_clean_lines(char *text)
{
	message_replace(text, true);
}

static void message_write(int priority, const char *format, va_list args)
{
	char text[MESSAGE_BYTES_MAX + 16] = "varve: ";
	size_t used = strlen(text);
	int n;

	n = vsnprintf(text + used, MESSAGE_BYTES_MAX, format, args);
	if (n < 0)
		return;
	message_clean(text);
	if (atomic_load(&to_syslog)) {
		syslog(priority, "%s", text + used);
		return;
	}
	if (priority == LOG_INFO && !atomic_load(&verbose))
		return;
	used = strlen(text);
	text[used++] = '\n';
	/* If stderr cannot be written, there is no other place to report that. */
	if (write(STDERR_FILENO, text, used) < 0)
		return;
}

void say_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message_write(LOG_ERR, format, args);
	va_end(args);
}

void say_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message_write(LOG_WARNING, format, args);
	va_end(args);
}

void say_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message_write(LOG_INFO, format, args);
	va_end(args);
}

void message_report(void *ctx, enum lsm_report_level level, const char *text)
{
	const char *path = ctx;
	const char *colon = path ? ": " : "";

	if (!path)
		path = "";
	if (level == LSM_REPORT_ERROR)
		say_error("%s%s%s", path, colon, text);
	else if (level == LSM_REPORT_WARNING)
		say_warning("%s%s%s", path, colon, text);
	else
		say_info("%s%s%s", path, colon, text);
}

const char *message_reason(int err)
{
	switch (-err) {
	case EUCLEAN:
		return "its bytes on disk are damaged";
	case EROFS:
		return "the store is read-only";
	case EPROTONOSUPPORT:
		return "it was written by a newer version of Varve";
	default:
		return strerror(-err);
	}
}
