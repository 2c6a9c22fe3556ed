/*
 * numset.c - see numset.h. Pages of 4096 bits, found through a hash table by their
 * number: what is taken grows with the numbers that are there and never with how large
 * one is, because a damaged record may name any. Such a stray number costs 528 bytes.
 */
#include "fs/numset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 4096u

struct numset_page {
	uint64_t number; /* its bits are those of the numbers from number * PAGE_BITS on */
	uint64_t words[PAGE_BITS / 64];
};

void numset_release(struct numset *s)
{
	for (size_t i = 0; i < s->slots_count; i++)
		free(s->slots[i]);
	free(s->slots);
	memset(s, 0, sizeof(*s));
}

/* The slot of the page: the one it is in, or the free one where it belongs. */
static size_t numset_slot(struct numset_page *const *slots, size_t count, uint64_t page)
{
	size_t at = (size_t)((page * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (count - 1);

	while (slots[at] && slots[at]->number != page)
		at = (at + 1) & (count - 1);
	return at;
}

static int numset_grow(struct numset *s)
{
	size_t count = s->slots_count ? 2 * s->slots_count : 16;
	struct numset_page **slots = calloc(count, sizeof(struct numset_page *));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < s->slots_count; i++)
		if (s->slots[i])
			slots[numset_slot(slots, count, s->slots[i]->number)] = s->slots[i];
	free(s->slots);
	s->slots = slots;
	s->slots_count = count;
	return 0;
}

int numset_add(struct numset *s, uint64_t n)
{
	uint64_t page = n / PAGE_BITS, bit = UINT64_C(1) << (n % 64), *word;
	size_t at;

	/* Never more than half full, so that there is always a free slot near. */
	if (2 * s->pages_count >= s->slots_count && numset_grow(s))
		return -ENOMEM;
	at = numset_slot(s->slots, s->slots_count, page);
	if (!s->slots[at]) {
		s->slots[at] = calloc(1, sizeof(struct numset_page));
		if (!s->slots[at])
			return -ENOMEM;
		s->slots[at]->number = page;
		s->pages_count++;
	}
	word = &s->slots[at]->words[n % PAGE_BITS / 64];
	if (*word & bit)
		return NUMSET_THERE;
	*word |= bit;
	return 0;
}

bool numset_has(const struct numset *s, uint64_t n)
{
	size_t at;

	if (!s->slots_count)
		return false;
	at = numset_slot(s->slots, s->slots_count, n / PAGE_BITS);
	return s->slots[at] && s->slots[at]->words[n % PAGE_BITS / 64] >> (n % 64) & 1;
}
