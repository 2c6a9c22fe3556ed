/*
 * tree_manifest.c - the manifest of an open tree.
 *
 * If logging an edit fails it is unknown whether the edit is on disk. So the old version stays
 * current in memory, no file of either version is deleted, and the next edit starts a new
 * manifest of what is current, which puts an end to the doubt.
 */
#include "lsm/tree_manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "lsm/dead.h"
#include "lsm/view.h"

/* A longer manifest is replaced by a new one, which has what is current and no history. */
#define MANIFEST_BYTES_MAX (4u << 20)

/* ---- the segments that it names ---- */

static int tree_manifest_record(struct lsm *lsm, uint64_t number) REQUIRES(lsm->manifest_mu)
{
	if (array_reserve(lsm->recorded, lsm->recorded_room, lsm->recorded_count + 1))
		return -ENOMEM;
	lsm->recorded[lsm->recorded_count++] = number;
	return 0;
}

static void tree_manifest_forget(struct lsm *lsm, uint64_t number) REQUIRES(lsm->manifest_mu)
{
	for (size_t i = 0; i < lsm->recorded_count; i++)
		if (lsm->recorded[i] == number) {
			lsm->recorded[i] = lsm->recorded[--lsm->recorded_count];
			return;
		}
}

/* ---- edits ---- */

void tree_manifest_doubt(struct lsm *lsm)
{
	mutex_assert_held(&lsm->manifest_mu);
	lsm->manifest_broken = true;
	segments_hold_deletes(lsm->segments, true);
}

/* Start a new manifest of what is current. */
static int tree_manifest_start(struct lsm *lsm) REQUIRES(lsm->manifest_mu)
{
	struct view *view = view_current(lsm);
	struct manifest_state state = {.version = view->version,
				       .segments = lsm->recorded,
				       .segments_count = lsm->recorded_count};
	struct manifest *m = NULL;
	uint64_t number = tree_new_file(lsm);
	int err;

	mutex_lock(&lsm->mu);
	state.next_file = lsm->next_file;
	state.log_number = lsm->log_number;
	state.sequence_flushed = lsm->sequence_flushed;
	mutex_unlock(&lsm->mu);
	err = manifest_create(lsm->st, &state, number, &m);
	view_unref(view);
	if (err) {
		/* CURRENT may name the new one already: neither may be deleted. */
		tree_manifest_doubt(lsm);
		return err == -EIO ? tree_fail(lsm, err, "starting a manifest") : err;
	}
	if (lsm->manifest) {
		dead_file_add(lsm, FILE_MANIFEST, manifest_number(lsm->manifest));
		manifest_close(lsm->manifest);
	}
	lsm->manifest = m;
	lsm->manifest_broken = false;
	segments_hold_deletes(lsm->segments, false);
	return 0;
}

int tree_manifest_log(struct lsm *lsm, const struct version_edit *e)
{
	uint64_t next_file;
	int err = 0;

	mutex_assert_held(&lsm->manifest_mu);
	if (!lsm->manifest || lsm->manifest_broken ||
	    manifest_bytes(lsm->manifest) > MANIFEST_BYTES_MAX)
		err = tree_manifest_start(lsm);
	if (err)
		return err;
	mutex_lock(&lsm->mu);
	next_file = lsm->next_file;
	mutex_unlock(&lsm->mu);
	err = manifest_append(lsm->manifest, e, next_file, true);
	if (err) {
		tree_manifest_doubt(lsm);
		report(&lsm->report, LSM_REPORT_WARNING,
		       "cannot write the manifest: %s; starting a new one", strerror(-err));
	}
	return err;
}

/* Make the empty file of a segment that the manifest names. */
static int tree_manifest_make_file(struct lsm *lsm, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];
	struct storage_file *f;
	int err;

	segment_name(name, number);
	err = storage_open_file(lsm->st, name, STORAGE_CREATE, &f);
	if (err)
		return err;
	err = storage_close(f);
	return err ? err : tree_sync_dir(lsm);
}

int tree_manifest_new_segment(void *ctx, uint64_t *number)
{
	struct version_edit e = {0};
	struct lsm *lsm = ctx;
	int err;

	mutex_lock(&lsm->manifest_mu);
	*number = tree_new_file(lsm);
	err = version_edit_segment(&e, *number, false);
	/* Not recorded before it is logged, or a new manifest would name it twice. */
	if (!err)
		err = tree_manifest_log(lsm, &e);
	if (!err)
		err = tree_manifest_record(lsm, *number);
	if (!err)
		err = tree_manifest_make_file(lsm, *number);
	mutex_unlock(&lsm->manifest_mu);
	version_edit_release(&e);
	return err;
}

int tree_manifest_tidy(struct lsm *lsm)
{
	struct version_edit e = {0};
	uint64_t *gone;
	size_t count;
	int err = 0;

	segments_take_deleted(lsm->segments, &gone, &count);
	mutex_lock(&lsm->manifest_mu);
	for (size_t i = 0; !err && i < count; i++) {
		tree_manifest_forget(lsm, gone[i]);
		err = version_edit_segment(&e, gone[i], true);
	}
	if (!err && (count || lsm->manifest_broken))
		err = tree_manifest_log(lsm, &e);
	mutex_unlock(&lsm->manifest_mu);
	version_edit_release(&e);
	free(gone);
	return err;
}

int tree_manifest_close(struct lsm *lsm)
{
	int err = tree_manifest_tidy(lsm);

	mutex_lock(&lsm->manifest_mu);
	if (!err && !atomic_load(&lsm->failed))
		err = tree_manifest_start(lsm);
	mutex_unlock(&lsm->manifest_mu);
	return err;
}
