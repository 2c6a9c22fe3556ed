/*
 * key.c - ranges of keys. See key.h.
 */
#include "fs/key.h"

void key_range(enum key_kind kind, uint64_t ino, struct key *start, struct key *end)
{
	key_make(start, kind, ino, NULL, 0);
	if (ino < UINT64_MAX) {
		key_make(end, kind, ino + 1, NULL, 0);
	} else {
		end->bytes[0] = (unsigned char)(kind + 1);
		end->size = 1;
	}
}

int key_drop_range(struct lsm_batch *b, enum key_kind kind, uint64_t ino)
{
	struct key start, end;

	key_range(kind, ino, &start, &end);
	return lsm_batch_delete_range(b, key_slice(&start), key_slice(&end));
}
