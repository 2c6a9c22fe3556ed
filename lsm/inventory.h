/*
 * inventory.h - the files in the directory of a store, by kind.
 */
#ifndef LSM_INVENTORY_H
#define LSM_INVENTORY_H

#include "lsm/dead.h"
#include "lsm/tree.h"

/* Numbers of files of one kind. */
struct inventory_numbers {
	uint64_t *numbers;
	size_t count, room;
};

struct inventory {
	struct inventory_numbers logs; /* ascending */
	struct inventory_numbers tables, manifests, segments;
	uint64_t number_max;
	bool current, current_new, reserve;
	bool unfinished;       /* there are files of a repair that did not end */
	char strange_name[64]; /* a file that is none of a store's; "": there is none */
};

/* List the directory. `*inv` is released by the caller, also after an error. */
int inventory_take(struct storage *st, struct inventory *inv);
void inventory_release(struct inventory *inv);

bool inventory_has(const struct inventory_numbers *list, uint64_t number);

#endif
