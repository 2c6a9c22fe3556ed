/*
 * fs_text.h - what a whole filesystem looks like, as a text: a line for each name.
 *
 * The model of fs_model.h writes its state down like this, and so is a filesystem written down
 * to be compared with it. What the model does not know is a `?`, which stands for any number.
 */
#ifndef TESTS_SUPPORT_FS_TEXT_H
#define TESTS_SUPPORT_FS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/fs_xattrs.h"

#define FS_TEXT_UNKNOWN INT64_MIN /* a time */

struct fs_text {
	char *data;
	size_t size, room;
};

/* Add to the text. */
void fs_text_say(struct fs_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Add the line of one inode. */
void fs_text_inode(struct fs_text *t, unsigned depth, const char *name, const struct stat *st,
		   int64_t mtime, int64_t ctime, const struct fs_xattrs *x, uint64_t hash);

/* Whether `text` is what the model wrote. A `?` of the model stands for any number. */
bool fs_text_is(const char *text, const char *want);

/* Print a text as comments, under the heading `what`. */
void fs_text_print(const char *what, const char *text);

/*
 * Whether it is an empty filesystem with a new root. The root is made again if a cut took it
 * away.
 */
bool fs_text_is_fresh(const char *text);

#endif
