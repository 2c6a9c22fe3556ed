/*
 * message.h - what Varve says to people: on stderr until the daemon is in the
 * background, in the system's log from then on.
 *
 * A message is "WHAT: REASON; MEND" without a newline; the program's name is put
 * before it here. Names in it may come from a store that anybody wrote: no byte of a
 * message but the last is one that a terminal obeys. Threads: any.
 */
#ifndef MOUNT_MESSAGE_H
#define MOUNT_MESSAGE_H

#include "fs/fs.h"

#define MESSAGE_BYTES_MAX 1024

void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only seen in the system's log, and on stderr after message_verbose(). */
void say_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

void message_verbose(void);
void message_to_syslog(void);

/* Replace what a terminal would obey, in place; for text that goes to stdout. */
void message_clean(char *text);

/* An lsm_report_fn: `ctx` is the path of the store, or NULL. */
void message_report(void *ctx, enum lsm_report_level level, const char *text);

/* The reason of a negative errno as a person would say it of a store or a file in it. */
const char *message_reason(int err);

#endif
