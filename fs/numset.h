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

struct numset {                     /* starts as {0} */
	struct numset_page **slots; /* a hash table by the page's number */
	size_t slots_count, pages_count;
};

void numset_release(struct numset *s);
/* Add `n`. Returns 0; NUMSET_THERE if it was there before; -ENOMEM. */
enum { NUMSET_THERE = 1 };
int numset_add(struct numset *s, uint64_t n);
bool numset_has(const struct numset *s, uint64_t n);

#endif
