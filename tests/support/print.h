/*
 * print.h - callbacks that print what a store or a filesystem says, as TAP comments.
 */
#ifndef TESTS_SUPPORT_PRINT_H
#define TESTS_SUPPORT_PRINT_H

#include "lsm/lsm.h"

/* A report of a store; only those that are errors. */
void print_report(void *ctx, enum lsm_report_level level, const char *message);

/* Damage that lsm_verify() found. */
void print_damage(void *ctx, const struct lsm_damage *damage);

/* Something that fs_check() found. */
void print_finding(void *ctx, const char *text);

#endif
