/*
 * recover.c - from files to an open tree.
 *
 * 1. CURRENT and the manifest give the version, the segments, and the oldest log
 *    that is needed. No CURRENT: a new store, if the directory has nothing else.
 *    Segments that are there without being named are taken too: what named them may
 *    be damaged, and records may refer to them.
 * 2. The logs from that one on are replayed in order, as long as each record's
 *    sequence continues the one before. Where that ends the rest is dropped: it
 *    is what the disk had of writes that were never synced.
 * 3. Files that nothing names, and segments that nothing refers to, are leftovers of an
 *    interrupted change: deleted.
 * 4. What was replayed is written to tables, and a fresh log starts.
 *
 * A torn tail or damage? Every record says which sequence was durable when it was
 * written. If any record anywhere in the logs says that more was durable than the
 * replay reached, bytes that had been synced are wrong: that is damage, and opening
 * fails, saying how much would be lost, unless told to go on without it: without
 * everything behind the damage, as what is found must be a prefix of the history.
 * The log that the manifest names was durable before that: if it is missing, so is what
 * it had. (Of the last records that were synced nothing later says so, and of a newer log,
 * should all of it be gone, no other file does: those look like a torn tail.)
 *
 * A record beyond what was surely synced may be on disk while the segment it refers
 * to is not: the values it brought are read and verified, and a wrong one ends the
 * replay like a torn record. They are also written again, in place: after a failed
 * sync the kernel may hold bytes that it believes to be on disk. Below that mark
 * they are not read: if one is damaged, reading it later says so, and everything
 * else stays.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lsm/batch.h"
#include "lsm/storage_overlay.h"
#include "lsm/tree.h"

/* The files of the directory, by kind. */
struct listing {
	uint64_t *logs; /* ascending once sorted */
	size_t logs_count;
	struct dead_file *others; /* tables and manifests */
	size_t others_count;
	uint64_t *segments;
	size_t segments_count;
	uint64_t number_max;
	bool current, current_new, reserve, strange;
	bool unfinished; /* files of a repair that did not end */
	char strange_name[64];
};

static void listing_release(struct listing *l)
{
	free(l->logs);
	free(l->others);
	free(l->segments);
}

/* "000012.tab" with exactly this suffix. */
static bool numbered(const char *name, const char *suffix, uint64_t *number)
{
	char expected[64], *end;

	errno = 0;
	*number = strtoull(name, &end, 10);
	if (errno || end == name || strcmp(end, suffix) != 0)
		return false;
	snprintf(expected, sizeof(expected), "%06" PRIu64 "%s", *number, suffix);
	return *number <= FILE_NUMBER_MAX && !strcmp(expected, name);
}

static int push(uint64_t **list, size_t *count, uint64_t number)
{
	uint64_t *grown = realloc(*list, (*count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[(*count)++] = number;
	*list = grown;
	return 0;
}

static int push_other(struct listing *l, enum file_kind kind, uint64_t number)
{
	struct dead_file *grown = realloc(l->others, (l->others_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[l->others_count++] = (struct dead_file){kind, number};
	l->others = grown;
	return 0;
}

static int list_file(void *ctx, const char *name, uint64_t size)
{
	struct listing *l = ctx;
	uint64_t n;
	int err = 0;

	(void)size;
	if (numbered(name, ".log", &n))
		err = push(&l->logs, &l->logs_count, n);
	else if (numbered(name, ".tab", &n))
		err = push_other(l, FILE_TABLE, n);
	else if (numbered(name, ".man", &n))
		err = push_other(l, FILE_MANIFEST, n);
	else if (numbered(name, ".seg", &n))
		err = push(&l->segments, &l->segments_count, n);
	else {
		if (!strcmp(name, MANIFEST_CURRENT))
			l->current = true;
		else if (!strcmp(name, MANIFEST_CURRENT_NEW))
			l->current_new = true;
		else if (!strcmp(name, "RESERVE"))
			l->reserve = true;
		else if (overlay_is_new(name))
			l->unfinished = true;
		else if (strcmp(name, "LOCK") != 0 && strcmp(name, "lost+found") != 0) {
			l->strange = true;
			snprintf(l->strange_name, sizeof(l->strange_name), "%s", name);
		}
		return 0;
	}
	if (n > l->number_max)
		l->number_max = n;
	return err;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool has_number(const uint64_t *list, size_t count, uint64_t number)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == number)
			return true;
	return false;
}

/* ---- the manifest ---- */

static int check_new(struct lsm *lsm, const struct listing *l)
{
	if (l->strange) {
		report(&lsm->report, LSM_REPORT_ERROR,
		       "the directory is not a store: it has other files in it, such as \"%s\"",
		       l->strange_name);
		return -EEXIST;
	}
	for (size_t i = 0; i < l->others_count; i++)
		if (l->others[i].kind == FILE_TABLE)
			return report_corrupt(&lsm->report, MANIFEST_CURRENT, 0,
					      "missing, though there are tables");
	if (l->segments_count)
		return report_corrupt(&lsm->report, MANIFEST_CURRENT, 0,
				      "missing, though there are segments");
	return lsm->opt.create && !lsm->opt.read_only ? 0 : -ENOENT;
}

int recover_probe(struct lsm *lsm)
{
	struct listing l = {0};
	int err = lsm->st->ops->list(lsm->st, list_file, &l);

	if (!err && lsm->repair)
		err = l.current || l.logs_count || l.others_count || l.segments_count ? 0 : -ENOENT;
	else if (!err && !l.current)
		err = check_new(lsm, &l);
	listing_release(&l);
	return err;
}

/*
 * The manifest ends in a broken edit. It never happened if all that the others name is
 * there; else it is damage, and going on would delete what only that edit names.
 */
static int check_torn(struct lsm *lsm, const struct listing *l, const struct manifest_state *s)
{
	char name[MANIFEST_NAME_BYTES];
	bool whole = !s->log_number || has_number(l->logs, l->logs_count, s->log_number);

	for (unsigned n = 0; n < LSM_LEVELS; n++)
		for (size_t i = 0; whole && i < s->version->level[n].count; i++) {
			uint64_t number = s->version->level[n].tables[i]->number;
			size_t at = 0;

			while (at < l->others_count &&
			       (l->others[at].kind != FILE_TABLE || l->others[at].number != number))
				at++;
			whole = at < l->others_count;
		}
	if (whole)
		return 0;
	manifest_name(name, s->number);
	return report_corrupt(&lsm->report, name, 0,
			      "its last edit is broken, and files that were there before that "
			      "edit are gone");
}

static int read_manifest(struct lsm *lsm, const struct listing *l, struct manifest_state *s)
{
	int err;

	*s = (struct manifest_state){0};
	if (l->current) {
		err = manifest_read(lsm->st, &lsm->report, s);
		return !err && s->torn ? check_torn(lsm, l, s) : err;
	}
	err = check_new(lsm, l);
	if (err)
		return err;
	s->version = version_new();
	s->next_file = 1;
	return s->version ? 0 : -ENOMEM;
}

/* The newest manifest below `*number` that is whole; what it names is there, as far as it tells. */
static int newest_manifest(struct lsm *lsm, const struct listing *l, uint64_t *number,
			   struct manifest_state *s)
{
	uint64_t below = *number;
	int err;

	*number = 0;
	for (size_t i = 0; i < l->others_count; i++)
		if (l->others[i].kind == FILE_MANIFEST && l->others[i].number < below &&
		    l->others[i].number > *number)
			*number = l->others[i].number;
	if (!*number)
		return -ENOENT;
	err = manifest_read_number(lsm->st, &lsm->report, *number, s);
	if (!err && s->torn)
		err = check_torn(lsm, l, s);
	if (err)
		manifest_state_release(s);
	return err;
}

/* Without any manifest: all tables found, in no order yet. */
static int rebuild_manifest(struct lsm *lsm, const struct listing *l, struct manifest_state *s)
{
	uint64_t *list = calloc(l->others_count + 1, sizeof(*list));
	size_t count = 0;
	int err = 0;

	*s = (struct manifest_state){.version = version_new()};
	if (!list || !s->version)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < l->others_count; i++)
		if (l->others[i].kind == FILE_TABLE)
			list[count++] = l->others[i].number;
	lsm->next_file = l->number_max + 1;
	if (!err)
		err = repair_tables(lsm, s, list, count);
	s->next_file = lsm->next_file;
	free(list);
	return err;
}

/* Also the segments found that the manifest does not name. */
static int add_segments(const struct listing *l, struct manifest_state *s)
{
	uint64_t *grown =
		realloc(s->segments, (s->segments_count + l->segments_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s->segments = grown;
	for (size_t i = 0; i < l->segments_count; i++)
		if (!has_number(grown, s->segments_count, l->segments[i]))
			grown[s->segments_count++] = l->segments[i];
	return 0;
}

/* Replace what is damaged of what a manifest names. */
static int repair_named(struct lsm *lsm, const struct listing *l, struct manifest_state *s)
{
	int err;

	lsm->next_file = s->next_file > l->number_max ? s->next_file : l->number_max + 1;
	err = repair_tables(lsm, s, NULL, 0);
	s->next_file = lsm->next_file;
	return err;
}

/*
 * To repair. CURRENT only tells which manifest is the newest, and that one is as good as
 * it; one that is broken in the middle is not, as what it does not tell may be dead.
 */
static int repair_manifest(struct lsm *lsm, const struct listing *l, struct manifest_state *s)
{
	uint64_t number = UINT64_MAX;
	int err = read_manifest(lsm, l, s);
	bool without = repair_without_manifest(lsm->repair);

	if (!err && l->current && !without)
		return repair_named(lsm, l, s);
	manifest_state_release(s);
	if (err == -ENOMEM || err == -EPROTONOSUPPORT)
		return err;
	if (!without) {
		repair_tell(lsm->repair, l->current ? "the manifest" : MANIFEST_CURRENT, 0,
			    l->current ? "cannot be read" : "is missing");
		err = newest_manifest(lsm, l, &number, s);
		if (!err)
			return repair_named(lsm, l, s);
		if (err == -ENOMEM)
			return err;
	}
	repair_tell(lsm->repair, "the manifest", 0,
		    "the list of tables is lost: all tables found are taken, and what had been "
		    "deleted may be back");
	return rebuild_manifest(lsm, l, s);
}

static int adopt(struct lsm *lsm, const struct listing *l, struct manifest_state *s)
{
	size_t named = s->segments_count, kept = 0;
	enum segments_added added;
	int err = add_segments(l, s);

	for (size_t i = 0; !err && i < s->segments_count; i++) {
		err = segments_add(lsm->segments, s->segments[i], &added);
		if (added == SEGMENTS_ADDED_BEFORE && lsm->repair)
			continue;
		if (added == SEGMENTS_ADDED_BEFORE)
			err = report_corrupt(&lsm->report, "the manifest", 0,
					     "segment %" PRIu64 " named twice", s->segments[i]);
		else if (err != -ENOMEM && i >= named)
			err = 0; /* a missing one is reported when it is read */
		s->segments[kept++] = s->segments[i];
	}
	s->segments_count = kept;
	for (unsigned n = 0; !err && n < LSM_LEVELS; n++)
		for (size_t i = 0; !err && i < s->version->level[n].count; i++)
			err = tree_adopt_table(lsm, s->version->level[n].tables[i]);
	lsm->recorded = s->segments;
	lsm->recorded_count = s->segments_count;
	s->segments = NULL;
	s->segments_count = 0;
	s->segments_room = 0;
	return err;
}

/* ---- replaying ---- */

struct replay {
	struct lsm *lsm;
	struct memlog **memlogs; /* oldest first */
	size_t memlogs_count;
	uint64_t expected;  /* the sequence that comes next */
	uint64_t synced;    /* the highest that any record says was durable */
	uint64_t discarded; /* operations in records that could not be replayed */
	bool ended;
	bool salvage;             /* take what is behind the damage too */
	uint64_t lost;            /* operations missing in between */
	char log[LOG_NAME_BYTES]; /* where it ended */
	uint64_t offset;
};

static int open_log(struct lsm *lsm, uint64_t number, struct wal_reader **r)
{
	char name[LOG_NAME_BYTES];

	log_name(name, number);
	return wal_reader_open(lsm->st, name, (uint32_t)number, &lsm->report, r);
}

/* Read every whole record of a log, past bad ones, for what it says of durability. */
static int scan_synced(struct replay *p, uint64_t number)
{
	struct batch_reader b;
	struct wal_reader *r;
	struct lsm_slice record;
	bool resynced = false;
	uint64_t offset;
	int err = open_log(p->lsm, number, &r);

	while (!err) {
		err = wal_reader_next(r, &record, &offset);
		if (err == WAL_END && !resynced) {
			wal_reader_resync(r);
			resynced = true;
			err = 0;
			continue;
		}
		if (!err && !batch_read(record, &b) && b.synced > p->synced)
			p->synced = b.synced;
		if (!err)
			resynced = false;
	}
	wal_reader_close(r);
	return err < 0 ? err : 0;
}

/* Whether the values that a record brought are whole. 0; 1: no; an error. */
static int check_values(struct lsm *lsm, struct lsm_slice record)
{
	struct buf scratch = {0};
	struct segment_ref ref;
	struct batch_reader b;
	struct batch_entry e;
	int err = batch_read(record, &b);

	while (!err && (err = batch_next(&b, &e)) == 0) {
		if (e.kind != BATCH_REF)
			continue;
		err = segment_ref_decode(e.value, &ref);
		if (!err)
			err = segments_probe(lsm->segments, &ref, &scratch,
					     !lsm->opt.read_only && !lsm->repair);
	}
	buf_release(&scratch);
	if (err == BATCH_END)
		return 0;
	return err == -EUCLEAN ? 1 : err;
}

static int replay_entry(struct lsm *lsm, struct memlog *memlog, const struct batch_entry *e)
{
	int err;

	switch (e->kind) {
	case BATCH_DELETE_RANGE:
		return memtable_add_range(memlog->mem, e->sequence, e->key, e->value);
	case BATCH_REF:
	case BATCH_SLICE:
		err = memlog_pin_refs(lsm, memlog, e->value);
		if (err && err != -ENOENT) /* a missing segment is told when it is read */
			return err;
		return memtable_add(memlog->mem, e->sequence, IKEY_PUT_REF, e->key, e->value);
	default:
		return memtable_add(memlog->mem, e->sequence, (enum ikey_type)e->kind, e->key,
				    e->value);
	}
}

/* Apply one record. 0; 1: it cannot follow what came before; an error. */
static int replay_record(struct replay *p, struct memlog *memlog, struct lsm_slice record)
{
	struct batch_reader b;
	struct batch_entry e;
	int err = batch_read(record, &b);

	if (err)
		return 1;
	if (b.sequence + b.left <= p->expected)
		return 0; /* in a table already */
	if (p->salvage && b.sequence > p->expected) {
		p->lost += b.sequence - p->expected;
		p->expected = b.sequence;
	}
	if (b.sequence != p->expected)
		return 1;
	if (b.sequence > p->synced) {
		err = check_values(p->lsm, record);
		if (err)
			return err;
	}
	while ((err = batch_next(&b, &e)) == 0) {
		err = replay_entry(p->lsm, memlog, &e);
		if (err)
			return err;
	}
	if (err < 0)
		return report_corrupt(&p->lsm->report, p->log, p->offset, "%s", b.reason);
	p->expected = b.sequence;
	memlog->sequence_first = 1;
	atomic_store(&memlog->sequence_last, p->expected - 1);
	return 0;
}

static int keep_memlog(struct replay *p, struct memlog *memlog)
{
	struct memlog **grown;

	if (!atomic_load(&memlog->sequence_last)) {
		memlog_unref(memlog);
		return 0;
	}
	grown = realloc(p->memlogs, (p->memlogs_count + 1) * sizeof(struct memlog *));
	if (!grown) {
		memlog_unref(memlog);
		return -ENOMEM;
	}
	grown[p->memlogs_count++] = memlog;
	p->memlogs = grown;
	return 0;
}

/* The next record; a repair goes on at the next whole one behind damage, as `*torn` says. */
static int next_record(struct replay *p, struct wal_reader *r, struct lsm_slice *record)
{
	int err = wal_reader_next(r, record, &p->offset);

	if (err != WAL_END || !p->salvage)
		return err;
	wal_reader_resync(r);
	return wal_reader_next(r, record, &p->offset);
}

static int replay_log(struct replay *p, uint64_t number)
{
	struct memlog *memlog = memlog_new(p->lsm->segments);
	struct wal_reader *r = NULL;
	struct lsm_slice record;
	int err = memlog ? open_log(p->lsm, number, &r) : -ENOMEM, kept;

	log_name(p->log, number);
	while (!err && (err = next_record(p, r, &record)) == 0) {
		err = replay_record(p, memlog, record);
		if (p->salvage && (err == 1 || err == -EUCLEAN))
			err = 0; /* of no use; go on behind it */
		if (err == 1)
			p->ended = true;
	}
	if (!p->ended && r)
		p->offset = wal_reader_offset(r);
	wal_reader_close(r);
	if (memlog) {
		memlog->log_number = number;
		kept = keep_memlog(p, memlog);
		if (err >= 0 && kept)
			err = kept;
	}
	return err < 0 ? err : 0;
}

/* A damaged log: replay whatever is whole behind the damage, telling how much is not. */
static int replay_rest(struct replay *p, const struct listing *l)
{
	char reason[100];
	uint64_t offset = p->offset;
	char log[LOG_NAME_BYTES];
	int err = 0;

	memcpy(log, p->log, sizeof(log));
	p->salvage = true;
	for (size_t i = 0; !err && i < l->logs_count; i++)
		if (l->logs[i] >= p->lsm->log_number)
			err = replay_log(p, l->logs[i]);
	if (!err && p->expected <= p->synced) {
		p->lost += p->synced + 1 - p->expected;
		p->expected = p->synced + 1;
	}
	snprintf(reason, sizeof(reason),
		 "the log is damaged: %" PRIu64 " operations are lost, their keys unknown",
		 p->lost);
	repair_tell(p->lsm->repair, log[0] ? log : "the log", offset, reason);
	return err;
}

/* The log that the manifest names was durable before that: is it there? */
static int check_log(struct lsm *lsm, const struct listing *l)
{
	static const char *reason = "the log is missing, and with it what was written last";
	char name[LOG_NAME_BYTES];
	int err;

	if (!lsm->log_number || has_number(l->logs, l->logs_count, lsm->log_number))
		return 0;
	log_name(name, lsm->log_number);
	if (lsm->repair) {
		repair_tell(lsm->repair, name, 0, reason);
		return 0;
	}
	err = report_corrupt(&lsm->report, name, 0, "%s", reason);
	return lsm->opt.discard_damage ? 0 : err;
}

static int replay_all(struct replay *p, const struct listing *l)
{
	struct lsm *lsm = p->lsm;
	int err = check_log(lsm, l);

	for (size_t i = 0; !err && i < l->logs_count; i++)
		if (l->logs[i] >= lsm->log_number)
			err = scan_synced(p, l->logs[i]);
	for (size_t i = 0; !err && !p->ended && i < l->logs_count; i++)
		if (l->logs[i] >= lsm->log_number)
			err = replay_log(p, l->logs[i]);
	if (lsm->repair && (err == -EUCLEAN || (!err && p->expected <= p->synced)))
		return replay_rest(p, l);
	if (err || p->expected > p->synced)
		return err;
	err = report_corrupt(&lsm->report, p->log, p->offset,
			     "the log is damaged: at least %" PRIu64
			     " operations that were synced cannot be read",
			     p->synced - p->expected + 1);
	return lsm->opt.discard_damage ? 0 : err;
}

/* ---- the open tree ---- */

/* Memlogs newest first, with `fresh` in front. */
static int install_memlogs(struct lsm *lsm, struct replay *p, struct memlog *fresh,
			   struct version *version)
{
	struct memlog **memlogs = malloc((p->memlogs_count + 1) * sizeof(struct memlog *));
	struct view *old;
	int err;

	if (!memlogs)
		return -ENOMEM;
	memlogs[0] = fresh;
	for (size_t i = 0; i < p->memlogs_count; i++)
		memlogs[p->memlogs_count - i] = p->memlogs[i];
	err = view_install(lsm, memlogs, p->memlogs_count + 1, version, &old);
	lsm->newest = fresh;
	view_unref(old);
	free(memlogs);
	return err;
}

static bool is_live(const struct version *v, const struct dead_file *f, uint64_t manifest)
{
	if (f->kind == FILE_MANIFEST)
		return f->number == manifest;
	for (unsigned n = 0; n < LSM_LEVELS; n++)
		for (size_t i = 0; i < v->level[n].count; i++)
			if (v->level[n].tables[i]->number == f->number)
				return true;
	return false;
}

/* Unlink the logs before the oldest one needed. */
static void delete_logs(struct lsm *lsm, const struct listing *l)
{
	for (size_t i = 0; i < l->logs_count; i++)
		if (l->logs[i] < lsm->log_number)
			background_dead_file(lsm, FILE_LOG, l->logs[i]);
	background_purge(lsm);
}

/* Unlink every file that the manifest, which is synced, does not name, but for segments. */
static void delete_leftovers(struct lsm *lsm, const struct listing *l)
{
	struct view *view = view_current(lsm);

	for (size_t i = 0; i < l->others_count; i++)
		if (!is_live(view->version, &l->others[i], manifest_number(lsm->manifest)))
			background_dead_file(lsm, l->others[i].kind, l->others[i].number);
	view_unref(view);
	delete_logs(lsm, l);
	if (l->current_new)
		lsm->st->ops->unlink(lsm->st, MANIFEST_CURRENT_NEW);
	if (l->unfinished)
		overlay_drop_new(lsm->st);
}

/*
 * Write what was replayed to tables; from then on the old logs are not needed. On a
 * full disk that needs the space of the leftovers, and then that of one log after the
 * other. The manifest that was read may be in the page cache only, if the process was
 * killed: nothing is deleted before a new one of the same is on disk.
 */
static int settle(struct lsm *lsm, const struct listing *l, const struct memlog *fresh)
{
	struct version_edit nothing = {0}, e = {.has_log = true,
						.log_number = fresh->log_number,
						.sequence_flushed = tree_sequence(lsm)};
	bool did = true;
	int err = 0;

	/* The same goes for the segments' bytes. */
	err = tree_sync_segments(lsm);
	if (!err)
		err = background_apply(lsm, &nothing, NULL);
	if (!err) {
		segments_drop_unused(lsm->segments);
		delete_leftovers(lsm, l);
	}
	while (!err && did)
		err = background_flush_one(lsm, &did);
	if (!err)
		err = background_apply(lsm, &e, NULL);
	version_edit_release(&nothing);
	version_edit_release(&e);
	if (err)
		return err;
	atomic_store(&lsm->sequence_synced, tree_sequence(lsm));
	delete_logs(lsm, l);
	return background_tidy_manifest(lsm);
}

static int build(struct lsm *lsm, struct listing *l, struct manifest_state *s)
{
	struct replay p = {.lsm = lsm};
	struct memlog *fresh = NULL;
	int err;

	lsm->log_number = s->log_number;
	lsm->sequence_flushed = s->sequence_flushed;
	lsm->next_file = (s->next_file > l->number_max ? s->next_file : l->number_max + 1);
	p.expected = s->sequence_flushed + 1;
	err = adopt(lsm, l, s);
	if (!err)
		err = replay_all(&p, l);
	if (!err) {
		atomic_store(&lsm->sequence, p.expected - 1);
		if (lsm->opt.read_only) {
			fresh = memlog_new(lsm->segments);
			err = fresh ? 0 : -ENOMEM;
		} else {
			/* What a full disk has left is needed to write tables now. */
			if (l->reserve)
				lsm->st->ops->unlink(lsm->st, "RESERVE");
			err = memlog_create(lsm, &fresh);
		}
	}
	if (!err)
		err = install_memlogs(lsm, &p, fresh, s->version);
	if (!err && !lsm->opt.read_only) {
		err = settle(lsm, l, fresh);
		if (!err)
			background_reserve(lsm);
	}
	memlog_unref(fresh);
	for (size_t i = 0; i < p.memlogs_count; i++)
		memlog_unref(p.memlogs[i]);
	free(p.memlogs);
	return err;
}

int recover(struct lsm *lsm)
{
	struct manifest_state state = {0};
	struct listing l = {0};
	int err = lsm->st->ops->list(lsm->st, list_file, &l);

	if (l.logs_count)
		qsort(l.logs, l.logs_count, sizeof(*l.logs), compare_numbers);
	if (lsm->opt.read_only)
		segments_hold_deletes(lsm->segments, true);
	if (!err)
		err = lsm->repair ? repair_manifest(lsm, &l, &state) :
				    read_manifest(lsm, &l, &state);
	if (!err)
		err = build(lsm, &l, &state);
	manifest_state_release(&state);
	listing_release(&l);
	return err;
}
