/*
 * manifest.h - the record on disk of which version is current.
 */
#ifndef LSM_MANIFEST_H
#define LSM_MANIFEST_H

#include "lsm/base/report.h"
#include "lsm/storage/storage.h"
#include "lsm/version.h"

#define MANIFEST_FORMAT 1u
#define MANIFEST_CURRENT "CURRENT"
#define MANIFEST_CURRENT_NEW "CURRENT.new"
#define MANIFEST_NAME_BYTES 32
#define FILE_NUMBER_MAX UINT32_MAX               /* a fragment of a log has 32 bits for it */
void manifest_name(char *name, uint64_t number); /* "%06llu.man" */

struct manifest;

/* The state that a manifest describes. manifest_state_release() frees what it owns. */
struct manifest_state {
	struct version *version;
	uint64_t next_file;
	uint64_t log_number;
	uint64_t sequence_flushed;
	uint64_t *segments; /* numbers, in the order they were added */
	size_t segments_count, segments_room;
	uint64_t number; /* of the manifest file itself */
	bool torn;       /* it ends in a broken edit: see the crash rules in manifest.c */
};
void manifest_state_release(struct manifest_state *s);

/*
 * Read the current manifest into `*s`, which the caller releases.
 * Returns 0; -ENOENT without a CURRENT file; -EPROTONOSUPPORT for a newer format; -EUCLEAN if it
 * is damaged (both are reported); -ENOMEM; an error of the storage. After an error `*s` is empty.
 */
int manifest_read(struct storage *st, const struct report *report, struct manifest_state *s);
/* The same for manifest `number`, whatever CURRENT names. -EUCLEAN also if it is missing. */
int manifest_read_number(struct storage *st, const struct report *report, uint64_t number,
			 struct manifest_state *s);

/*
 * Start manifest `number` with all of `s`, and make it the current one.
 *
 * The caller owns `*out`. The file of the manifest before it is not deleted.
 * Returns 0; -ENOMEM; an error of the storage. After an error it is unknown which of the two is
 * current.
 * Durability: on return the manifest, CURRENT and their names are synced.
 */
int manifest_create(struct storage *st, const struct manifest_state *s, uint64_t number,
		    struct manifest **out);

/*
 * Append an edit. `sync`: it is durable on return.
 * Returns 0; -ENOMEM; an error of the storage. After an error the manifest must not be
 * used again: the caller starts a new one, and deletes no file before that has succeeded.
 * Threads: one at a time.
 */
int manifest_append(struct manifest *m, const struct version_edit *e, uint64_t next_file,
		    bool sync);
uint64_t manifest_bytes(const struct manifest *m); /* the size of the file so far */
uint64_t manifest_number(const struct manifest *m);
int manifest_close(struct manifest *m); /* does not sync; NULL is fine */

#endif
