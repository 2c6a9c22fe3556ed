/*
 * tap.h - the few macros a C test needs to print TAP.
 *
 *     int main(void) { ok(1 + 1 == 2, "adds"); is_int(f(), 0, "f works"); return done(); }
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failed;

static inline bool tap_ok(bool pass, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static inline bool tap_ok(bool pass, const char *file, int line, const char *format, ...)
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

#define ok(cond, ...) tap_ok((cond), __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, want, ...)                                                                     \
	({                                                                                         \
		long long tap_got = (long long)(got), tap_want = (long long)(want);                \
		bool tap_pass = tap_ok(tap_got == tap_want, __FILE__, __LINE__, __VA_ARGS__);      \
		if (!tap_pass)                                                                     \
			printf("#   got %lld, want %lld\n", tap_got, tap_want);                    \
		tap_pass;                                                                          \
	})
#define is_mem(got, got_size, want, want_size, ...)                                                \
	ok((got_size) == (want_size) && !memcmp((got), (want), (want_size)), __VA_ARGS__)

/* Stop the whole test: something it needs is missing or broken. (libFuzzer misses an _exit().) */
#ifdef LIBFUZZER
#define tap_exit() abort()
#else
#define tap_exit() _exit(255)
#endif
#define bail(...)                                                                                  \
	do {                                                                                       \
		printf("Bail out! ");                                                              \
		printf(__VA_ARGS__);                                                               \
		putchar('\n');                                                                     \
		fflush(stdout);                                                                    \
		tap_exit();                                                                        \
	} while (0)

/* In CI nothing is skipped: what is missing there is a failure. */
static inline void tap_skip(const char *why)
{
	const char *ci = getenv("CI");

	if (ci && *ci)
		ok(false, "must not skip in CI: %s", why);
	else
		printf("ok %d # SKIP %s\n", ++tap_count, why);
}

static inline int done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
