/*
 * tap.h - the few macros a C test needs to print TAP.
 *
 *     static void test_sums(void) { is_int(sum(1, 1), 2, "adds"); }
 *
 *     int main(void)
 *     {
 *             run_test(test_sums);
 *             return done();
 *     }
 *
 * With TEST=test_sums in the environment only that function runs.
 */
#ifndef TESTS_SUPPORT_TAP_H
#define TESTS_SUPPORT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Print one result. Returns `pass`. Threads: one at a time. */
bool tap_ok(bool pass, const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

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

/* Call a test function with the arguments that follow its name, unless TEST names another one. */
#define run_test(function, ...)                                                                    \
	do {                                                                                       \
		if (tap_is_chosen(#function))                                                      \
			function(__VA_ARGS__);                                                     \
	} while (0)
bool tap_is_chosen(const char *name);

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

/* In CI nothing is skipped: there, what a test needs and does not find is a failure. */
void tap_skip(const char *why);

/*
 * Print the plan. Returns the exit status of the test: 0, or 1 if a result was not ok, or if
 * TEST names no function of this test.
 */
int done(void);

#endif
