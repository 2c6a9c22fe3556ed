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

void message_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
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
