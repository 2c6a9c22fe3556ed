/*
 * disk_file.h - the files of a store in a folder, for tests that damage one.
 */
#ifndef TESTS_SUPPORT_DISK_FILE_H
#define TESTS_SUPPORT_DISK_FILE_H

#include <limits.h>
#include <sys/types.h>

/* The largest file in `folder` with this suffix: its path, and its size; 0 if there is none. */
off_t disk_file_largest(const char *folder, const char *suffix, char path[PATH_MAX]);

/* Invert the bits of `mask` in the byte at `offset` of a file. Bails out if that fails. */
void disk_file_flip(const char *path, off_t offset, unsigned char mask);

#endif
