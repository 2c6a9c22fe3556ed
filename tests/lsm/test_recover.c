/*
 * test_recover.c - what an open makes of a store that is not as a close leaves it: of
 * another format, with files missing, changed or left over, or after a failed sync.
 */
#include "lsm/manifest.h"
#include "lsm/wal.h"
#include "tests/support/lsm_bed.h"

static int open_error(struct storage *st, bool discard)
{
	struct lsm_options o = {.storage = st, .discard_damage = discard};
	struct lsm *lsm;
	int err = lsm_open("recover", &o, &lsm);

	lsm_close(lsm);
	return err;
}

/* What `kill -9` leaves of a tree, which goes on. */
static struct storage *killed(struct bed *t)
{
	struct storage *st = storage_mem_crash(t->st, STORAGE_MEM_KEEP_ALL, 0);

	if (!st)
		bail("no memory");
	return st;
}

static void let_go(struct storage *st)
{
	st->ops->free(st);
}

/* The name of the last file with this suffix. */
struct search {
	const char *suffix;
	char name[64];
	unsigned count;
};

static int look(void *ctx, const char *name, uint64_t size)
{
	struct search *s = ctx;
	size_t n = strlen(name), suffix = strlen(s->suffix);

	(void)size;
	if (n < suffix || strcmp(name + n - suffix, s->suffix) != 0)
		return 0;
	s->count++;
	if (strcmp(name, s->name) > 0)
		snprintf(s->name, sizeof(s->name), "%s", name);
	return 0;
}

static struct search last_file(struct storage *st, const char *suffix)
{
	struct search s = {.suffix = suffix};

	if (st->ops->list(st, look, &s))
		bail("cannot list");
	return s;
}

/* A tree with two tables in level 0, and something in its log. */
static struct bed two_tables(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 100});

	bed_put(&t, "a", 100, 1);
	bed_put(&t, "large", 10000, 2);
	bed_flush(&t);
	bed_put(&t, "b", 100, 3);
	bed_flush(&t);
	bed_put(&t, "c", 100, 4);
	return t;
}

/* ---- CURRENT and the manifest ---- */

static void write_current(struct storage *st, const char *text)
{
	struct storage_file *f;

	if (storage_open_file(st, MANIFEST_CURRENT, STORAGE_WRITE, &f) ||
	    storage_pwrite(f, text, strlen(text), 0) || st->ops->truncate(f, strlen(text)))
		bail("cannot write CURRENT");
	storage_close(f);
}

static void test_current(void)
{
	struct bed t = two_tables();
	struct storage *st = killed(&t);
	struct storage_file *f;
	char text[300];
	size_t size;

	if (storage_open_file(st, MANIFEST_CURRENT, STORAGE_READ, &f) ||
	    storage_pread(f, text, sizeof(text) - 1, 0, &size))
		bail("cannot read CURRENT");
	storage_close(f);
	text[size] = '\0';
	is_int(open_error(st, false), 0, "a store opens after a kill");
	let_go(st);
	st = killed(&t);
	text[size - 2] ^= 1;
	write_current(st, text);
	is_int(open_error(st, false), -EUCLEAN, "but not with a wrong sum in CURRENT");
	write_current(st, "varve store, format 2\nmanifest 000002\nchecksum 0\n");
	is_int(open_error(st, false), -EPROTONOSUPPORT, "nor one of a newer format");
	write_current(st, "of somebody else\n");
	is_int(open_error(st, false), -EUCLEAN, "nor one that is none");
	st->ops->unlink(st, MANIFEST_CURRENT);
	is_int(open_error(st, false), -EUCLEAN, "nor without it, as there are tables and segments");
	let_go(st);
	bed_release(&t);

	t = bed_new((struct lsm_options){0});
	bed_put(&t, "a", 10, 1);
	bed_flush(&t);
	st = killed(&t);
	st->ops->unlink(st, MANIFEST_CURRENT);
	is_int(open_error(st, false), -EUCLEAN, "or only tables");
	let_go(st);
	bed_release(&t);
	t = bed_new((struct lsm_options){0});
	bed_put(&t, "a", 10000, 1);
	st = killed(&t);
	st->ops->unlink(st, MANIFEST_CURRENT);
	is_int(open_error(st, false), -EUCLEAN, "or only segments");
	let_go(st);
	bed_release(&t);
}

/* Where the records of the manifest begin; behind the last one it ends. */
static size_t record_offsets(struct storage *st, const char *name, uint64_t offsets[32])
{
	struct report silent = {0};
	struct wal_reader *r;
	struct lsm_slice record;
	size_t n = 0;

	if (wal_reader_open(st, name, (uint32_t)strtoul(name, NULL, 10), &silent, &r))
		bail("cannot read the manifest");
	while (n < 32 && !wal_reader_next(r, &record, &offsets[n]))
		n++;
	wal_reader_close(r);
	return n;
}

/* Break record `n` of the manifest, counted from the end if it is negative. */
static void break_edit(struct storage *st, int n)
{
	struct search manifest = last_file(st, ".man");
	uint64_t offsets[32];
	size_t count = record_offsets(st, manifest.name, offsets);

	if (count < 3 ||
	    storage_mem_flip(st, manifest.name, offsets[n < 0 ? (int)count + n : n] + 12, 1))
		bail("cannot damage the manifest, of %zu edits", count);
}

static void test_edits(void)
{
	struct bed t = bed_new((struct lsm_options){.segment_bytes = 64 << 10});
	struct storage *st;

	/* Each has a segment of its own, with an edit; nothing is replaced by any. */
	for (unsigned i = 0; i < 4; i++)
		bed_put(&t, "a", 60 << 10, i);
	st = killed(&t);
	break_edit(st, -1);
	is_int(open_error(st, false), 0, "if nothing is missing, a broken last edit never was");
	let_go(st);
	st = killed(&t);
	break_edit(st, -2);
	is_int(open_error(st, false), -EUCLEAN, "a broken edit with another behind it is damage");
	let_go(st);
	bed_release(&t);

	t = two_tables();
	bed_compact(&t);
	st = killed(&t);
	is_int(open_error(st, false), 0, "a store opens that was compacted and killed");
	let_go(st);
	st = killed(&t);
	break_edit(st, -1);
	is_int(open_error(st, false), -EUCLEAN,
	       "if its last edit is broken, the tables that it replaced are missing");
	let_go(st);
	bed_release(&t);
}

/* What reading a manifest says that was made of `s` and, if there is one, an edit. */
static int manifest_error(struct manifest_state *s, struct version_edit *e)
{
	struct report silent = {0};
	struct storage *st = storage_mem_new();
	struct manifest_state read;
	struct manifest *m;
	int err;

	if (!st || manifest_create(st, s, 1, &m) ||
	    (e && manifest_append(m, e, s->next_file, true)) || manifest_close(m))
		bail("cannot make a manifest");
	err = manifest_read(st, &silent, &read);
	if (!err)
		manifest_state_release(&read);
	let_go(st);
	return err;
}

static void test_numbers(void)
{
	struct manifest_state s = {.version = version_new(), .next_file = 9};
	struct table_meta *t = table_meta_new(bed_key("a"), bed_key("b"), NULL, 0);
	struct version_edit none = {0}, deletes = {0}, adds = {0};
	uint64_t segment = 8;

	t->number = 8;
	if (version_edit_delete(&deletes, 1, t) || version_edit_add(&adds, 1, t))
		bail("no memory");
	is_int(manifest_error(&s, &none), 0, "a manifest is read");
	is_int(manifest_error(&s, &adds), 0, "so is one that adds a table");
	is_int(manifest_error(&s, &deletes), -EUCLEAN,
	       "but none that deletes one it does not have");
	t->number = 9;
	is_int(manifest_error(&s, &adds), -EUCLEAN, "nor one with a table that is still to come");
	s.segments = &segment;
	s.segments_count = 1;
	is_int(manifest_error(&s, &none), 0, "segments are named");
	segment = 9;
	is_int(manifest_error(&s, &none), -EUCLEAN, "but none that is still to come");
	s.segments_count = 0;
	s.log_number = 9;
	is_int(manifest_error(&s, &none), -EUCLEAN, "nor a log");
	version_edit_release(&deletes);
	version_edit_release(&adds);
	table_meta_unref(t);
	version_unref(s.version);
}

/* ---- files ---- */

static void test_files(void)
{
	struct bed t = two_tables();
	struct storage *st = killed(&t);
	struct search log;
	struct storage_file *f;

	if (storage_open_file(st, "000900.tab", STORAGE_CREATE, &f) || storage_close(f))
		bail("cannot make a file");
	is_int(open_error(st, false), 0, "a store opens with a file that nothing names");
	is_int(storage_open_file(st, "000900.tab", STORAGE_READ, &f), -ENOENT,
	       "which is then gone");
	let_go(st);

	st = killed(&t);
	for (log = last_file(st, ".log"); log.count; log = last_file(st, ".log"))
		st->ops->unlink(st, log.name);
	is_int(open_error(st, false), -EUCLEAN, "a log that the manifest names is missed");
	is_int(open_error(st, true), 0, "but not if one is told to go on without");
	let_go(st);
	bed_release(&t);
}

/* ---- failures ---- */

/*
 * A sync of a segment fails, and the process ends. The kernel has the bytes, and believes
 * them to be on disk: they are there at the next open, and have to be written again.
 */
static void test_failed_sync(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 100});
	struct storage *st;

	bed_put(&t, "a", 10000, 1);
	if (lsm_sync(t.lsm))
		bail("cannot sync");
	bed_put(&t, "b", 10000, 2);
	storage_mem_fail(t.st, STORAGE_MEM_SYNC, 1, 1, EIO);
	is_int(lsm_sync(t.lsm), -EIO, "a sync fails");
	storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
	ok(lsm_close(t.lsm), "and the close says so");
	bed_open(&t);
	ok(bed_has(&t, "b", 10000, 2), "the next open has what was written");
	is_int(lsm_sync(t.lsm), 0, "its sync succeeds");
	st = storage_mem_crash(t.st, STORAGE_MEM_KEEP_NONE, 0);
	bed_release(&t);
	t.st = st;
	bed_open(&t);
	ok(bed_has(&t, "a", 10000, 1) && bed_has(&t, "b", 10000, 2),
	   "so when the power goes then, it is there");
	bed_release(&t);
}

/* One call to write fails while a table is flushed: if the log is well, the next flush works. */
static void test_failed_flush(void)
{
	unsigned failed = 0, read_only = 0, stays_failed = 0;

	for (unsigned nth = 1; nth <= 12; nth++) {
		struct bed t = bed_new((struct lsm_options){.l0_compact = 100});

		bed_put(&t, "a", 100, 1);
		storage_mem_fail(t.st, STORAGE_MEM_WRITE, nth, 1, EIO);
		failed += lsm_flush(t.lsm) != 0;
		storage_mem_fail(t.st, STORAGE_MEM_ANY, 0, 0, 0);
		read_only += bed_stats(&t).read_only;
		if (!bed_stats(&t).read_only) {
			bed_put(&t, "b", 100, 2);
			stays_failed += lsm_flush(t.lsm) != 0;
		}
		(void)lsm_close(t.lsm);
		let_go(t.st);
	}
	ok(failed && failed > read_only, "a flush fails for a table or the manifest: %u, %u",
	   failed, read_only);
	is_int(stays_failed, 0, "the next one succeeds, with a new manifest");
}

/* ---- closing, and who may open ---- */

static void test_close(void)
{
	struct bed t = bed_new((struct lsm_options){.commit_interval_ms = 3600 * 1000});
	struct lsm_options o = {.storage = t.st};
	struct storage *st;
	struct lsm *lsm;

	bed_put(&t, "a", 10000, 1);
	bed_put(&t, "b", 10, 2);
	is_int(lsm_open("recover", &o, &lsm), -EBUSY, "a tree has one writer");
	o.read_only = true;
	is_int(lsm_open("recover", &o, &lsm), -EBUSY, "and no reader beside it");
	if (lsm_close(t.lsm))
		bail("cannot close");
	st = storage_mem_crash(t.st, STORAGE_MEM_KEEP_NONE, 0);
	let_go(t.st);
	t.st = st;
	bed_open(&t);
	ok(bed_has(&t, "a", 10000, 1) && bed_has(&t, "b", 10, 2),
	   "what was there at a clean close survives a power cut");
	bed_release(&t);
}

/* ---- damage while it is open, and repairs ---- */

static void on_damage(void *ctx, const struct lsm_damage *d)
{
	(void)d;
	++*(unsigned *)ctx;
}

static void test_verify(void)
{
	struct bed t = two_tables();
	unsigned told = 0;

	is_int(lsm_verify(t.lsm, on_damage, &told, NULL, NULL), 0, "verify finds nothing");
	break_edit(t.st, 1);
	is_int(lsm_verify(t.lsm, on_damage, &told, NULL, NULL), -EUCLEAN,
	       "but what the next open would find in the manifest");
	is_int(told, 1, "and tells it");
	(void)lsm_close(t.lsm);
	let_go(t.st);
}

/* The older of two tables in level 0 is damaged: not where "k", which both have, is. */
static struct storage *half_damaged(void)
{
	struct bed t = bed_new((struct lsm_options){.l0_compact = 100});
	struct storage *st;
	char key[8];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "a%03u", i);
		bed_put(&t, key, 100, i);
	}
	bed_put(&t, "k", 100, 1);
	bed_flush(&t);
	st = killed(&t);
	if (storage_mem_flip(t.st, last_file(t.st, ".tab").name, 500, 1))
		bail("cannot damage the table");
	let_go(st);
	bed_put(&t, "k", 100, 2);
	if (lsm_close(t.lsm))
		bail("cannot close");
	return t.st;
}

static void test_repair(void)
{
	struct bed t = {.st = half_damaged()};
	struct lsm_options o = {.storage = t.st, .l0_compact = 100};
	struct search made;
	unsigned told = 0;
	bool damaged;

	is_int(lsm_repair_open("recover", &o, on_damage, &told, &damaged, &t.lsm), 0,
	       "a damaged table is replaced");
	ok(damaged && told, "which is told");
	made = last_file(t.st, ".tab.repair");
	for (uint64_t at = 0; made.count && at < 100; at++)
		(void)storage_mem_flip(t.st, made.name, at, 1);
	is_int(lsm_repair_commit(t.lsm, NULL), -EUCLEAN,
	       "what the disk does not have as it was written is not put in place: %s", made.name);
	is_int(lsm_repair_open("recover", &o, on_damage, &told, &damaged, &t.lsm), 0,
	       "another try");
	is_int(lsm_repair_commit(t.lsm, NULL), 0, "is");
	bed_open(&t);
	ok(bed_has(&t, "k", 100, 2), "a version that is newer than the damaged table's stays so");
	ok(bed_has(&t, "a199", 100, 199), "and what of that could be read is there");
	bed_release(&t);
}

int main(void)
{
	run_test(test_current);
	run_test(test_edits);
	run_test(test_numbers);
	run_test(test_files);
	run_test(test_failed_sync);
	run_test(test_failed_flush);
	run_test(test_close);
	run_test(test_verify);
	run_test(test_repair);
	return done();
}
