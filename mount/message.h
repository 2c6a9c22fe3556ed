/*
 * message.h - messages to people: on stderr until the daemon is in the background, in the
 * system's log from then on.
 *
 * A message is "WHAT: REASON; WHAT TO DO" without a newline. "varve: " is added in front of it.
 * A message may contain names from a store that another user has written. So every control
 * character in it is replaced, and a terminal shows it as text.
 * Threads: any.
 */
#ifndef MOUNT_MESSAGE_H
#define MOUNT_MESSAGE_H

#include "fs/fs.h"

#define MESSAGE_BYTES_MAX 1024 /* a longer message is cut */

void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Only for the system's log, and for stderr after message_verbose(). */
void say_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

void message_verbose(void);
/* From now on, messages go to the system's log. */
void message_to_syslog(void);

/*
 * Replace every control character in `text`, in place: those of ASCII, and those of eight bits
 * (0x80 to 0x9f), as bytes and in UTF-8. For text that goes to a terminal.
 */
void message_clean(char *text);
/* As message_clean(), but the ends of lines stay. For text of several lines. */
void message_clean_lines(char *text);

/*
 * The length of the character at the start of `text`, which is not empty: 1, or more in UTF-8.
 * `*control`: it is one of the control characters.
 */
size_t message_character(const char *text, bool *control);

/* An lsm_report_fn that prints the report. `ctx` is the path of the store, or NULL. */
void message_report(void *ctx, enum lsm_report_level level, const char *text);

/* The meaning of a negative errno of fs.h, in words that fit behind "STORE: " or "FILE: ". */
const char *message_reason(int err);

#endif
