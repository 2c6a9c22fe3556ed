/*
 * option.h - numbers that a test takes from the environment, such as SEED=7.
 */
#ifndef TESTS_SUPPORT_OPTION_H
#define TESTS_SUPPORT_OPTION_H

#include <stdbool.h>
#include <stdint.h>

/* The number in `variable`; `normal` where it is unset or empty. */
uint64_t option_number(const char *variable, uint64_t normal);

/* Whether `variable` is set to "all". */
bool option_is_all(const char *variable);

/* A test that hangs must fail: end the process after `seconds`, unless it is a `long_run`. */
void option_watchdog(bool long_run, unsigned seconds);

#endif
