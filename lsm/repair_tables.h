/*
 * repair_tables.h - what a repair found damaged, and the tables that it makes of the rest.
 */
#ifndef LSM_REPAIR_TABLES_H
#define LSM_REPAIR_TABLES_H

#include "lsm/tree.h"

/* A part of a table that cannot be read; keys are inclusive. */
struct lost_part {
	struct buf first, last;
	bool whole; /* all of the table, not a block */
};

/* A table of which parts cannot be read. */
struct lost_table {
	uint64_t number, bytes; /* of the table that took its place; number 0: nothing did */
	uint64_t sequence_max;
	struct buf filter; /* empty: there was none that can be read */
	struct lost_part *parts;
	size_t parts_count, parts_room;
};

/* A repair, from lsm_repair_open() to the end of its tree. */
struct repair {
	lsm_damage_fn *damage; /* of the repair's caller; NULL: nothing is reported */
	void *damage_ctx;
	bool damaged;       /* something was reported */
	bool rebuilt;       /* the tables were found without a manifest */
	bool no_manifest;   /* go on as if there were no manifest */
	uint64_t made_from; /* tables from this number on are made by the repair */
	struct lost_table *tables;
	size_t tables_count, tables_room;
};

void repair_free(struct repair *r); /* NULL is fine */

/* Report unreadable data to the repair's caller. */
void repair_report(struct repair *r, const char *file, uint64_t offset, const char *reason);

/* Whether the repair goes on as if there were no manifest. */
bool repair_without_manifest(const struct repair *r);

/*
 * Replace the damaged tables of `s`, each by one of what can be read of it.
 * Returns 0 or an error, and then `s` is as it was. Threads: only at open.
 */
int repair_tables_named(struct lsm *lsm, struct manifest_state *s);

/*
 * There is no manifest, and `s` has no tables: put what can be read of `count` tables with the
 * given numbers into level 0. As repair_tables_named() for the rest.
 */
int repair_tables_found(struct lsm *lsm, struct manifest_state *s, const uint64_t *numbers,
			size_t count);

#endif
