/*
 * recover.c - from files to an open tree.
 *
 * 1. CURRENT and the manifest give the version, the segments, and the oldest log that is
 *    needed. No CURRENT: a new store, if the directory has nothing else. Segments that are
 *    there without being named are taken too: the edit that named them may be damaged, and
 *    records may refer to them.
 * 2. The logs from that one on are replayed (replay.c).
 * 3. Files that nothing names, and segments that nothing refers to, are leftovers of an
 *    interrupted change: they are deleted.
 * 4. What was replayed is written to tables, and a fresh log starts.
 *
 * A repair (repair.c) goes the same way, with less to go by: see recover_repair_manifest().
 */
#include "lsm/recover.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lsm/apply.h"
#include "lsm/base/array.h"
#include "lsm/dead.h"
#include "lsm/flush.h"
#include "lsm/inventory.h"
#include "lsm/repair_tables.h"
#include "lsm/replay.h"
#include "lsm/reserve.h"
#include "lsm/storage_overlay.h"
#include "lsm/tree_manifest.h"
#include "lsm/view.h"

/* ---- the manifest ---- */

/* There is no CURRENT: may a new store be made here? */
static int recover_check_new(struct lsm *lsm, const struct inventory *inv)
{
	if (inv->strange_name[0]) {
		report(&lsm->report, LSM_REPORT_ERROR,
		       "the directory is not a store: it has other files in it, such as \"%s\"",
		       inv->strange_name);
		return -EEXIST;
	}
	if (inv->tables.count)
		return report_corrupt(&lsm->report, MANIFEST_CURRENT, 0,
				      "missing, though there are tables");
	if (inv->segments.count)
		return report_corrupt(&lsm->report, MANIFEST_CURRENT, 0,
				      "missing, though there are segments");
	return lsm->opt.create && !lsm->opt.read_only ? 0 : -ENOENT;
}

int recover_probe(struct lsm *lsm)
{
	struct inventory inv;
	int err = inventory_take(lsm->st, &inv);

	if (!err && lsm->repair)
		err = inv.current || inv.logs.count || inv.tables.count || inv.manifests.count ||
				      inv.segments.count ?
			      0 :
			      -ENOENT;
	else if (!err && !inv.current)
		err = recover_check_new(lsm, &inv);
	inventory_release(&inv);
	return err;
}

/*
 * The manifest ends in a broken edit. That edit never happened if all that the others name is
 * there. Otherwise this is damage, and going on would delete what only that edit names.
 */
static int recover_check_torn(struct lsm *lsm, const struct inventory *inv,
			      const struct manifest_state *s)
{
	bool whole = !s->log_number || inventory_has(&inv->logs, s->log_number);
	char name[MANIFEST_NAME_BYTES];

	for (unsigned n = 0; n < LSM_LEVELS; n++)
		for (size_t i = 0; whole && i < s->version->level[n].count; i++)
			whole = inventory_has(&inv->tables, s->version->level[n].tables[i]->number);
	if (whole)
		return 0;
	manifest_name(name, s->number);
	return report_corrupt(&lsm->report, name, 0,
			      "its last edit is broken, and files that were there before that "
			      "edit are gone");
}

static int recover_read_manifest(struct lsm *lsm, const struct inventory *inv,
				 struct manifest_state *s)
{
	int err;

	*s = (struct manifest_state){0};
	if (inv->current) {
		err = manifest_read(lsm->st, &lsm->report, s);
		return !err && s->torn ? recover_check_torn(lsm, inv, s) : err;
	}
	err = recover_check_new(lsm, inv);
	if (err)
		return err;
	s->version = version_new();
	s->next_file = 1;
	return s->version ? 0 : -ENOMEM;
}

/* ---- the manifest of a damaged store ---- */

/* Read the newest manifest. It must be whole, and what it names must be there if it is torn. */
static int recover_newest_manifest(struct lsm *lsm, const struct inventory *inv,
				   struct manifest_state *s)
{
	uint64_t newest = 0;
	int err;

	for (size_t i = 0; i < inv->manifests.count; i++)
		if (inv->manifests.numbers[i] > newest)
			newest = inv->manifests.numbers[i];
	if (!newest)
		return -ENOENT;
	err = manifest_read_number(lsm->st, &lsm->report, newest, s);
	if (!err && s->torn)
		err = recover_check_torn(lsm, inv, s);
	if (err)
		manifest_state_release(s);
	return err;
}

/* Make tables of what can be read: of those that `s` names, or with `all` of every one found. */
static int recover_repair_tables(struct lsm *lsm, const struct inventory *inv,
				 struct manifest_state *s, bool all)
{
	int err;

	lsm->next_file = s->next_file > inv->number_max ? s->next_file : inv->number_max + 1;
	err = all ? repair_tables_found(lsm, s, inv->tables.numbers, inv->tables.count) :
		    repair_tables_named(lsm, s);
	s->next_file = lsm->next_file;
	return err;
}

/*
 * To repair. CURRENT only says which manifest is the newest, so without it the newest one is
 * as good. One that is broken in the middle is no good: files named in its lost part would
 * be taken for dead.
 */
static int recover_repair_manifest(struct lsm *lsm, const struct inventory *inv,
				   struct manifest_state *s)
{
	int err = recover_read_manifest(lsm, inv, s);
	bool without = repair_without_manifest(lsm->repair);

	if (!err && inv->current && !without)
		return recover_repair_tables(lsm, inv, s, false);
	manifest_state_release(s);
	if (err == -ENOMEM || err == -EPROTONOSUPPORT)
		return err;
	if (!without) {
		repair_report(lsm->repair, inv->current ? "the manifest" : MANIFEST_CURRENT, 0,
			      inv->current ? "cannot be read" : "is missing");
		err = recover_newest_manifest(lsm, inv, s);
		if (!err)
			return recover_repair_tables(lsm, inv, s, false);
		if (err == -ENOMEM)
			return err;
	}
	repair_report(lsm->repair, "the manifest", 0,
		      "the list of tables is lost: all tables found are taken, and what had been "
		      "deleted may be back");
	*s = (struct manifest_state){.version = version_new()};
	return s->version ? recover_repair_tables(lsm, inv, s, true) : -ENOMEM;
}

/* ---- what the manifest names ---- */

/* Take one segment. `*kept`: it was not there before. */
static int recover_adopt_segment(struct lsm *lsm, uint64_t number, bool named, bool *kept)
{
	enum segments_added added;
	int err = segments_add(lsm->segments, number, &added);

	*kept = added != SEGMENTS_ADDED_BEFORE;
	if (!*kept && !lsm->repair)
		return report_corrupt(&lsm->report, "the manifest", 0,
				      "segment %" PRIu64 " named twice", number);
	/* If one that is not named cannot be opened, reading a value of it will report that. */
	return err && err != -ENOMEM && !named ? 0 : err;
}

/* Take the segments that the manifest names, and those that are there without being named. */
static int recover_adopt_segments(struct lsm *lsm, const struct inventory *inv,
				  const struct manifest_state *s)
{
	const struct inventory_numbers named = {.numbers = s->segments, .count = s->segments_count};
	size_t count = named.count + inv->segments.count;
	int err = array_reserve(lsm->recorded, lsm->recorded_room, count + 1);

	for (size_t i = 0; !err && i < count; i++) {
		bool is_named = i < named.count, kept;
		uint64_t number =
			is_named ? named.numbers[i] : inv->segments.numbers[i - named.count];

		if (!is_named && inventory_has(&named, number))
			continue;
		err = recover_adopt_segment(lsm, number, is_named, &kept);
		if (!err && kept)
			lsm->recorded[lsm->recorded_count++] = number;
	}
	return err;
}

static int recover_adopt(struct lsm *lsm, const struct inventory *inv,
			 const struct manifest_state *s)
{
	int err = recover_adopt_segments(lsm, inv, s);

	for (unsigned n = 0; !err && n < LSM_LEVELS; n++)
		for (size_t i = 0; i < s->version->level[n].count; i++)
			apply_adopt_table(lsm, s->version->level[n].tables[i]);
	return err;
}

/* ---- the open tree ---- */

/* Make the first view: `fresh` in front of what was replayed. */
static int recover_install(struct lsm *lsm, const struct replayed *p, struct memlog *fresh,
			   struct version *version)
{
	struct memlog **memlogs = malloc((p->count + 1) * sizeof(struct memlog *));
	struct view *old = NULL;
	int err;

	if (!memlogs)
		return -ENOMEM;
	memlogs[0] = fresh;
	for (size_t i = 0; i < p->count; i++)
		memlogs[p->count - i] = p->memlogs[i];
	mutex_lock(&lsm->mu);
	err = view_install(lsm, memlogs, p->count + 1, version, &old);
	mutex_unlock(&lsm->mu);
	assert(!old);
	lsm->newest = fresh;
	free(memlogs);
	return err;
}

/* Unlink the logs before the oldest one needed. */
static void recover_delete_logs(struct lsm *lsm, const struct inventory *inv)
{
	for (size_t i = 0; i < inv->logs.count; i++)
		if (inv->logs.numbers[i] < lsm->log_number)
			dead_file_add(lsm, FILE_LOG, inv->logs.numbers[i]);
	dead_files_unlink(lsm);
}

static bool recover_is_live(const struct version *v, uint64_t table)
{
	for (unsigned n = 0; n < LSM_LEVELS; n++)
		for (size_t i = 0; i < v->level[n].count; i++)
			if (v->level[n].tables[i]->number == table)
				return true;
	return false;
}

/* Unlink every file that the manifest, which is synced, does not name, but for segments. */
static void recover_delete_leftovers(struct lsm *lsm, const struct inventory *inv)
{
	struct view *view = view_current(lsm);
	uint64_t manifest = manifest_number(lsm->manifest);

	for (size_t i = 0; i < inv->tables.count; i++)
		if (!recover_is_live(view->version, inv->tables.numbers[i]))
			dead_file_add(lsm, FILE_TABLE, inv->tables.numbers[i]);
	for (size_t i = 0; i < inv->manifests.count; i++)
		if (inv->manifests.numbers[i] != manifest)
			dead_file_add(lsm, FILE_MANIFEST, inv->manifests.numbers[i]);
	view_unref(view);
	recover_delete_logs(lsm, inv);
	if (inv->current_new)
		lsm->st->ops->unlink(lsm->st, MANIFEST_CURRENT_NEW);
	if (inv->unfinished)
		overlay_drop_new(lsm->st);
}

/*
 * Write what was replayed to tables; from then on the old logs are not needed. On a full disk
 * this needs the space of the leftovers, and then that of one log after the other. If the
 * process was killed, the manifest that was read may be in the page cache only. So nothing is
 * deleted before a new manifest of the same state is on disk.
 */
static int recover_write_tables(struct lsm *lsm, const struct inventory *inv,
				const struct memlog *fresh)
{
	struct version_edit nothing = {0}, e = {.has_log = true,
						.log_number = fresh->log_number,
						.sequence_flushed = tree_sequence(lsm)};
	/* The segments' bytes may be in the page cache only, too. */
	int err = tree_sync_segments(lsm);

	if (!err)
		err = apply_edit(lsm, &nothing, NULL);
	if (!err) {
		segments_drop_unused(lsm->segments);
		recover_delete_leftovers(lsm, inv);
		err = flush_waiting(lsm);
	}
	if (!err)
		err = apply_edit(lsm, &e, NULL);
	version_edit_release(&nothing);
	version_edit_release(&e);
	if (err)
		return err;
	atomic_store(&lsm->sequence_synced, tree_sequence(lsm));
	recover_delete_logs(lsm, inv);
	return tree_manifest_tidy(lsm);
}

/* The memlog that takes writes; in a tree that is open read-only it has no log. */
static int recover_fresh(struct lsm *lsm, const struct inventory *inv, struct memlog **fresh)
{
	if (lsm->opt.read_only) {
		*fresh = memlog_new(lsm->segments);
		return *fresh ? 0 : -ENOMEM;
	}
	/* The space that a full disk has left is needed to write tables now. */
	if (inv->reserve)
		reserve_remove(lsm);
	return memlog_create(lsm, fresh);
}

static int recover_build(struct lsm *lsm, const struct inventory *inv, struct manifest_state *s)
{
	struct memlog *fresh = NULL;
	struct replayed p = {0};
	int err;

	lsm->log_number = s->log_number;
	lsm->sequence_flushed = s->sequence_flushed;
	lsm->next_file = s->next_file > inv->number_max ? s->next_file : inv->number_max + 1;
	err = recover_adopt(lsm, inv, s);
	if (!err)
		err = replay_logs(lsm, inv, s->sequence_flushed, &p);
	if (!err) {
		atomic_store(&lsm->sequence, p.sequence);
		err = recover_fresh(lsm, inv, &fresh);
	}
	if (!err)
		err = recover_install(lsm, &p, fresh, s->version);
	if (!err && !lsm->opt.read_only) {
		err = recover_write_tables(lsm, inv, fresh);
		if (!err)
			reserve_renew(lsm);
	}
	memlog_unref(fresh);
	replayed_release(&p);
	return err;
}

int recover(struct lsm *lsm)
{
	struct manifest_state state = {0};
	struct inventory inv;
	int err = inventory_take(lsm->st, &inv);

	assert(!lsm->threads_started);
	if (lsm->opt.read_only)
		segments_hold_deletes(lsm->segments, true);
	if (!err)
		err = lsm->repair ? recover_repair_manifest(lsm, &inv, &state) :
				    recover_read_manifest(lsm, &inv, &state);
	if (!err)
		err = recover_build(lsm, &inv, &state);
	manifest_state_release(&state);
	inventory_release(&inv);
	return err;
}
