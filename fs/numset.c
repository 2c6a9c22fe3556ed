/*
 * numset.c - see numset.h. Pages of 4 KiB of bits, found through an array that
 * grows with the largest number: 8 bytes for 32768 numbers nobody has.
 */
#include "fs/numset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 32768u
#define NUMBER_MAX (UINT64_C(1) << 44) /* an array of 4 GiB; nobody made that many files */

struct numset_page {
	uint64_t words[PAGE_BITS / 64];
};

void numset_release(struct numset *s)
{
	for (size_t i = 0; i < s->page_count; i++)
		free(s->pages[i]);
	free(s->pages);
	memset(s, 0, sizeof(*s));
}

static int numset_grow(struct numset *s, size_t page)
{
	size_t count = s->page_count ? s->page_count : 16;
	struct numset_page **pages;

	while (count <= page)
		count *= 2;
	pages = realloc(s->pages, count * sizeof(struct numset_page *));
	if (!pages)
		return -ENOMEM;
	memset(pages + s->page_count, 0, (count - s->page_count) * sizeof(struct numset_page *));
	s->pages = pages;
	s->page_count = count;
	return 0;
}

int numset_add(struct numset *s, uint64_t n)
{
	size_t page = (size_t)(n / PAGE_BITS);
	uint64_t bit = UINT64_C(1) << (n % 64), *word;

	if (n >= NUMBER_MAX)
		return -EINVAL;
	if (page >= s->page_count && numset_grow(s, page))
		return -ENOMEM;
	if (!s->pages[page])
		s->pages[page] = calloc(1, sizeof(struct numset_page));
	if (!s->pages[page])
		return -ENOMEM;
	word = &s->pages[page]->words[n % PAGE_BITS / 64];
	if (*word & bit)
		return 1;
	*word |= bit;
	return 0;
}

bool numset_has(const struct numset *s, uint64_t n)
{
	size_t page = (size_t)(n / PAGE_BITS);

	return n < NUMBER_MAX && page < s->page_count && s->pages[page] &&
	       s->pages[page]->words[n % PAGE_BITS / 64] >> (n % 64) & 1;
}
