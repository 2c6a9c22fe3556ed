#include "tests/support/history.h"

#include <stdlib.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/must.h"

void *history_grown(void *v, size_t count, size_t size)
{
	/* At powers of two: there is room up to the next one. */
	return count & (count - 1) ? v : must_alloc(realloc(v, (count ? 2 * count : 1) * size));
}

void history_begin(struct history *h)
{
	h->ops = history_grown(h->ops, h->ops_count + 1, sizeof(*h->ops));
	h->ops[h->ops_count + 1].begun = storage_mem_calls(h->st);
}

void history_done(struct history *h)
{
	h->ops[++h->ops_count].done = storage_mem_calls(h->st);
}

void history_synced(struct history *h)
{
	h->syncs = history_grown(h->syncs, h->syncs_count, sizeof(*h->syncs));
	h->syncs[h->syncs_count++] = (struct history_sync){storage_mem_calls(h->st), h->ops_count};
}

void history_release(struct history *h)
{
	free(h->ops);
	free(h->syncs);
}

void history_bounds(const struct history *h, uint64_t calls, bool killed, uint64_t *least,
		    uint64_t *most)
{
	*least = *most = 0;
	for (size_t i = 0; i < h->syncs_count && h->syncs[i].calls <= calls; i++)
		*least = h->syncs[i].op;
	for (uint64_t i = 1; i <= h->ops_count && h->ops[i].begun < calls; i++) {
		*most = i;
		if (killed && h->ops[i].done <= calls)
			*least = i;
	}
}
