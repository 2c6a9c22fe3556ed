/*
 * damages.h - all kinds of damage to the files of a small store.
 *
 * Each case is made on a copy of the store: a byte with one bit wrong, or inverted; a file cut off
 * at one of many places, grown, missing, or in the place of another one. The test says what has to
 * hold afterwards.
 *
 * STRIDE=n in the environment damages every nth byte; STRIDE=1 every byte, in both ways.
 */
#ifndef TESTS_SUPPORT_DAMAGES_H
#define TESTS_SUPPORT_DAMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/storage/storage_mem.h"
#include "tests/support/rng.h"

#define DAMAGES_FILES_MAX 64

struct damages_file {
	char name[32];
	uint64_t size;
};

struct damages {
	const char *name;
	struct storage *st; /* stays as it is */
	void *ctx;
	/*
	 * Check the damaged `st`, and free it. False: something is wrong, and *error says what.
	 * `mute`: the newest log is damaged, and with it perhaps the record of the last sync.
	 * `go_on`: write to the store as well.
	 */
	bool (*check)(void *ctx, struct storage *st, bool mute, bool go_on);
	/* A kind of damage to one file is done, in `cases` cases: print that, clear *error. */
	void (*finish)(void *ctx, const char *what, const char *name, unsigned cases);
	const char *error;
	struct rng rng;
	struct damages_file files[DAMAGES_FILES_MAX];
	size_t files_count;
};

/* STRIDE, or `normal`; never 0. */
uint64_t damages_stride(uint64_t normal);

/* A copy of d->st. The caller frees it. */
struct storage *damages_copy(const struct damages *d);

/* List the files of d->st in d->files. */
void damages_list(struct damages *d);

/* Whether no other log has a higher number. */
bool damages_is_newest_log(const struct damages *d, const struct damages_file *f);

/* Damage every file in every way. `stride`: in bytes. */
void damages_all(struct damages *d, uint64_t stride);

#endif
