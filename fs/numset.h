/*
 * numset.h - a set of inode numbers: a bitmap of which only the parts in use
 * exist. Numbers are given out one after the other, so it takes little more
 * than a bit for each.
 */
#ifndef FS_NUMSET_H
#define FS_NUMSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct numset_page;

struct numset { /* starts as {0} */
	struct numset_page **pages;
	size_t page_count; /* room in `pages` */
};

void numset_release(struct numset *s);
/* Add `n`. Returns 0; 1 if it was there; -ENOMEM; -EINVAL for one too large to be kept. */
int numset_add(struct numset *s, uint64_t n);
bool numset_has(const struct numset *s, uint64_t n);

#endif
