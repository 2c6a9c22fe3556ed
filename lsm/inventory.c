/*
 * inventory.c - the files in the directory of a store, by kind. A file is what its name says.
 */
#include "lsm/inventory.h"

#include <assert.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "lsm/reserve.h"
#include "lsm/storage_overlay.h"

/* Whether `name` is exactly a number as files have it, such as 000012, and then `suffix`. */
static bool inventory_numbered(const char *name, const char *suffix, uint64_t *number)
{
	char expected[64], *end;

	errno = 0;
	*number = strtoull(name, &end, 10);
	if (errno || end == name || strcmp(end, suffix) != 0)
		return false;
	snprintf(expected, sizeof(expected), "%06" PRIu64 "%s", *number, suffix);
	return *number <= FILE_NUMBER_MAX && !strcmp(expected, name);
}

/* The list that a numbered file belongs to; NULL: the file is not numbered. */
static struct inventory_numbers *inventory_list(struct inventory *inv, const char *name,
						uint64_t *number)
{
	if (inventory_numbered(name, ".log", number))
		return &inv->logs;
	if (inventory_numbered(name, ".tab", number))
		return &inv->tables;
	if (inventory_numbered(name, ".man", number))
		return &inv->manifests;
	if (inventory_numbered(name, ".seg", number))
		return &inv->segments;
	return NULL;
}

static int inventory_add(void *ctx, const char *name, uint64_t size)
{
	struct inventory *inv = ctx;
	uint64_t number;
	struct inventory_numbers *list = inventory_list(inv, name, &number);

	(void)size;
	assert(inv);
	if (list) {
		if (array_reserve(list->numbers, list->room, list->count + 1))
			return -ENOMEM;
		list->numbers[list->count++] = number;
		if (number > inv->number_max)
			inv->number_max = number;
	} else if (!strcmp(name, MANIFEST_CURRENT)) {
		inv->current = true;
	} else if (!strcmp(name, MANIFEST_CURRENT_NEW)) {
		inv->current_new = true;
	} else if (!strcmp(name, RESERVE_NAME)) {
		inv->reserve = true;
	} else if (overlay_is_new(name)) {
		inv->unfinished = true;
	} else if (strcmp(name, "LOCK") != 0 && strcmp(name, "lost+found") != 0) {
		snprintf(inv->strange_name, sizeof(inv->strange_name), "%s", name);
	}
	return 0;
}

static int inventory_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int inventory_take(struct storage *st, struct inventory *inv)
{
	int err;

	*inv = (struct inventory){0};
	err = st->ops->list(st, inventory_add, inv);
	if (inv->logs.count)
		qsort(inv->logs.numbers, inv->logs.count, sizeof(*inv->logs.numbers),
		      inventory_compare);
	return err;
}

void inventory_release(struct inventory *inv)
{
	free(inv->logs.numbers);
	free(inv->tables.numbers);
	free(inv->manifests.numbers);
	free(inv->segments.numbers);
}

bool inventory_has(const struct inventory_numbers *list, uint64_t number)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->numbers[i] == number)
			return true;
	return false;
}
