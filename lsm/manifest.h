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
#define FILE_NUMBER_MAX UINT32_MAX               /* what a record of a log can say */
void manifest_name(char *name, uint64_t number); /* "%06llu.man" */

struct manifest;

/* What reading a manifest gives. */
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
 * Read the current manifest. -ENOENT: no CURRENT file; -EPROTONOSUPPORT: of a
 * newer format; -EUCLEAN: damaged (reported).
 */
int manifest_read(struct storage *st, const struct report *report, struct manifest_state *s);
/* The same of manifest `number`, whatever CURRENT names; -EUCLEAN also if it is missing. */
int manifest_read_number(struct storage *st, const struct report *report, uint64_t number,
			 struct manifest_state *s);

/*
 * Start manifest `number` holding all of `s`, sync it and make it the current
 * one by renaming CURRENT over and syncing the directory. The old file is left.
 * After an error it is unknown which of the two is current.
 */
int manifest_create(struct storage *st, const struct manifest_state *s, uint64_t number,
		    struct manifest **out);

/*
 * Append an edit, and sync it if asked. After an error the manifest must not be
 * used again: start a new one, and delete no file before that has succeeded.
 */
int manifest_append(struct manifest *m, const struct version_edit *e, uint64_t next_file,
		    bool sync);
uint64_t manifest_bytes(const struct manifest *m);
uint64_t manifest_number(const struct manifest *m);
int manifest_close(struct manifest *m); /* NULL is fine */

#endif
