/*
 * manifest.c - the manifest: a log of version edits, and the CURRENT file.
 *
 * A manifest is a file of records in the format of wal.c. Each record is one
 * edit, applied whole or not at all; the first record of a file describes a
 * whole version. A record is a sequence of fields, each a tag byte and:
 *
 *   1 next file      varint      no file number at or above it was ever used
 *   2 log            varint number, varint sequence
 *                                logs below are not needed: all up to the
 *                                sequence is in tables
 *   3 add table      u8 level, varint number, bytes, entries, tombstones,
 *                    ranges, sequence max, created; bytes smallest, bytes
 *                    largest; u8 1 if largest is excluded; varint count of
 *                    segment uses, each varint number, varint bytes
 *   4 delete table   u8 level, varint number
 *   5 add segment    varint number
 *   6 drop segment   varint number
 *
 * where "bytes" is a varint length and the bytes. Example: an edit that says
 * that the next file is 7 and deletes table 3 of level 1 is
 *   01 07 04 01 03
 * All files that are named, at the end, have numbers below the next file.
 *
 * CURRENT is text, so that a person can read it, and small enough to be
 * written in one piece:
 *   "varve store, format 1\nmanifest 000004\nchecksum 0123456789abcdef\n"
 * with the checksum (XXH3, 64 bits) of the two lines before. Its first line
 * names the format, so that an old program can say that a store is too new.
 *
 * Crash rules: the edit's files are synced, and their names (sync_dir), before
 * its record is appended and synced; files it deletes are unlinked after. A torn
 * record at the end is an edit that did not happen. CURRENT is replaced by
 * rename, after the new manifest was synced.
 *
 * A bad record at the end may be torn or damaged, and the bytes do not show which. But files
 * that an edit makes superfluous are deleted only after the edit. If all files that the
 * manifest names without the bad record are there, going on without it is right: a crash
 * just before the edit would have left the same. If any is missing, the edit had happened.
 * recover.c looks for them when manifest_state.torn is set.
 */
#include "lsm/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "lsm/base/array.h"
#include "lsm/wal.h"

enum tag {
	TAG_NEXT_FILE = 1,
	TAG_LOG,
	TAG_ADD_TABLE,
	TAG_DELETE_TABLE,
	TAG_ADD_SEGMENT,
	TAG_DROP_SEGMENT
};

struct manifest {
	struct storage *st;
	struct wal *log;
	uint64_t number;
	struct buf record;
};

void manifest_name(char *name, uint64_t number)
{
	snprintf(name, MANIFEST_NAME_BYTES, "%06" PRIu64 ".man", number);
}

void manifest_state_release(struct manifest_state *s)
{
	version_unref(s->version);
	free(s->segments);
	*s = (struct manifest_state){0};
}

/* ---- encoding ---- */

static int manifest_put_tag(struct buf *b, enum tag tag, uint64_t v)
{
	uint8_t byte = (uint8_t)tag;

	return buf_add(b, &byte, 1) ? -ENOMEM : buf_add_varint(b, v);
}

static int manifest_put_table(struct buf *b, unsigned level, const struct table_meta *t)
{
	uint8_t head[2] = {TAG_ADD_TABLE, (uint8_t)level}, excluded = t->largest_excluded;
	const uint64_t numbers[] = {t->number, t->bytes,        t->entries,  t->tombstones,
				    t->ranges, t->sequence_max, t->created_s};
	int err = buf_add(b, head, sizeof(head));

	for (size_t i = 0; !err && i < sizeof(numbers) / sizeof(*numbers); i++)
		err = buf_add_varint(b, numbers[i]);
	if (err || buf_add_bytes(b, t->smallest) || buf_add_bytes(b, t->largest) ||
	    buf_add(b, &excluded, 1) || buf_add_varint(b, t->uses_count))
		return -ENOMEM;
	for (size_t i = 0; i < t->uses_count; i++)
		if (buf_add_varint(b, t->uses[i].number) || buf_add_varint(b, t->uses[i].bytes))
			return -ENOMEM;
	return 0;
}

static int manifest_put_edit(struct buf *b, const struct version_edit *e, uint64_t next_file)
{
	int err = manifest_put_tag(b, TAG_NEXT_FILE, next_file);

	if (!err && e->has_log) {
		err = manifest_put_tag(b, TAG_LOG, e->log_number);
		if (!err)
			err = buf_add_varint(b, e->sequence_flushed);
	}
	for (size_t i = 0; !err && i < e->new_segments_count; i++)
		err = manifest_put_tag(b, TAG_ADD_SEGMENT, e->new_segments[i]);
	for (size_t i = 0; !err && i < e->deletes_count; i++) {
		err = manifest_put_tag(b, TAG_DELETE_TABLE, e->deletes[i].level);
		if (!err)
			err = buf_add_varint(b, e->deletes[i].table->number);
	}
	for (size_t i = 0; !err && i < e->adds_count; i++)
		err = manifest_put_table(b, e->adds[i].level, e->adds[i].table);
	for (size_t i = 0; !err && i < e->dead_segments_count; i++)
		err = manifest_put_tag(b, TAG_DROP_SEGMENT, e->dead_segments[i]);
	return err;
}

/* ---- decoding ---- */

struct decoder {
	const uint8_t *p, *end; /* p is NULL once malformed */
	struct manifest_state *s;
	struct version_edit edit; /* of this record */
	const char *reason;       /* with `p` NULL: what is malformed, in words */
};

static uint64_t manifest_take(struct decoder *d)
{
	uint64_t v;

	d->p = get_varint(d->p, d->end, &v);
	return v;
}

static uint8_t manifest_take_byte(struct decoder *d)
{
	if (!d->p || d->p == d->end) {
		d->p = NULL;
		return 0;
	}
	return *d->p++;
}

static struct lsm_slice manifest_take_key(struct decoder *d)
{
	const uint8_t *data;
	size_t size;

	d->p = get_bytes(d->p, d->end, &data, &size);
	if (size > LSM_KEY_BYTES_MAX)
		d->p = NULL;
	return (struct lsm_slice){data, size};
}

static int manifest_decode_uses(struct decoder *d, struct segment_use **uses, size_t *count)
{
	uint64_t n = manifest_take(d);

	*uses = NULL;
	*count = 0;
	if (!d->p || n > (uint64_t)(d->end - d->p) / 2) {
		d->p = NULL;
		return 0;
	}
	*uses = calloc(n + 1, sizeof(**uses));
	if (!*uses)
		return -ENOMEM;
	for (; *count < n; ++*count) {
		(*uses)[*count].number = manifest_take(d);
		(*uses)[*count].bytes = manifest_take(d);
	}
	return 0;
}

static int manifest_decode_add_table(struct decoder *d)
{
	unsigned level = manifest_take_byte(d);
	uint64_t numbers[7];
	struct lsm_slice smallest, largest;
	struct segment_use *uses;
	struct table_meta *t = NULL;
	size_t uses_count;
	uint8_t excluded;
	int err;

	for (size_t i = 0; i < 7; i++)
		numbers[i] = manifest_take(d);
	smallest = manifest_take_key(d);
	largest = manifest_take_key(d);
	excluded = manifest_take_byte(d);
	err = manifest_decode_uses(d, &uses, &uses_count);
	if (err || !d->p)
		goto out;
	if (level >= LSM_LEVELS || excluded > 1) {
		d->p = NULL;
		goto out;
	}
	t = table_meta_new(smallest, largest, uses, uses_count);
	if (!t) {
		err = -ENOMEM;
		goto out;
	}
	t->number = numbers[0];
	t->bytes = numbers[1];
	t->entries = numbers[2];
	t->tombstones = numbers[3];
	t->ranges = numbers[4];
	t->sequence_max = numbers[5];
	t->created_s = numbers[6];
	t->largest_excluded = excluded;
	err = version_edit_add(&d->edit, level, t);
out:
	free(uses);
	table_meta_unref(t);
	return err;
}

static int manifest_decode_delete_table(struct decoder *d)
{
	unsigned level = manifest_take_byte(d);
	uint64_t number = manifest_take(d);
	const struct level *l;

	if (!d->p)
		return 0;
	if (level >= LSM_LEVELS) {
		d->p = NULL;
		return 0;
	}
	l = &d->s->version->level[level];
	for (size_t i = 0; i < l->count; i++)
		if (l->tables[i]->number == number)
			return version_edit_delete(&d->edit, level, l->tables[i]);
	d->p = NULL;
	d->reason = "an edit deletes a table that is not there";
	return 0;
}

static int manifest_state_add_segment(struct manifest_state *s, uint64_t number)
{
	if (array_reserve(s->segments, s->segments_room, s->segments_count + 1))
		return -ENOMEM;
	s->segments[s->segments_count++] = number;
	return 0;
}

static void manifest_state_drop_segment(struct manifest_state *s, uint64_t number)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->segments_count; i++)
		if (s->segments[i] != number)
			s->segments[kept++] = s->segments[i];
	s->segments_count = kept;
}

static int manifest_decode_field(struct decoder *d)
{
	uint64_t v;

	switch (manifest_take_byte(d)) {
	case TAG_NEXT_FILE:
		v = manifest_take(d);
		if (d->p && v > d->s->next_file)
			d->s->next_file = v;
		return 0;
	case TAG_LOG:
		d->s->log_number = manifest_take(d);
		d->s->sequence_flushed = manifest_take(d);
		if (d->s->sequence_flushed > SEQUENCE_MAX)
			d->p = NULL;
		return 0;
	case TAG_ADD_TABLE:
		return manifest_decode_add_table(d);
	case TAG_DELETE_TABLE:
		return manifest_decode_delete_table(d);
	case TAG_ADD_SEGMENT:
		v = manifest_take(d);
		return d->p ? manifest_state_add_segment(d->s, v) : 0;
	case TAG_DROP_SEGMENT:
		manifest_state_drop_segment(d->s, manifest_take(d));
		return 0;
	default:
		d->p = NULL;
		return 0;
	}
}

/* Apply one record to `s`. 0; -ENOMEM; -EUCLEAN (not reported), with the reason. */
static int manifest_decode_record(struct manifest_state *s, struct lsm_slice record,
				  const char **reason)
{
	struct decoder d = {.p = record.data, .s = s, .reason = "malformed edit"};
	struct version *next;
	int err = 0;

	d.end = d.p + record.size;
	while (!err && d.p && d.p < d.end)
		err = manifest_decode_field(&d);
	if (!err && !d.p)
		err = report_malformed(reason, d.reason);
	if (!err)
		err = version_apply(s->version, &d.edit, &next, reason);
	if (!err) {
		version_unref(s->version);
		s->version = next;
	}
	version_edit_release(&d.edit);
	return err;
}

/* ---- CURRENT ---- */

#define CURRENT_BYTES_MAX 256

static int manifest_current_format(char *text, uint64_t number)
{
	int n = snprintf(text, CURRENT_BYTES_MAX,
			 "varve store, format %u\nmanifest %06" PRIu64 "\n", MANIFEST_FORMAT,
			 number);

	return n + snprintf(text + n, (size_t)(CURRENT_BYTES_MAX - n), "checksum %016" PRIx64 "\n",
			    (uint64_t)XXH3_64bits(text, (size_t)n));
}

static int manifest_current_write(struct storage *st, uint64_t number)
{
	char text[CURRENT_BYTES_MAX];
	int size = manifest_current_format(text, number);
	struct storage_file *f;
	int err = st->ops->unlink(st, MANIFEST_CURRENT_NEW), closed;

	if (err && err != -ENOENT)
		return err;
	err = storage_open_file(st, MANIFEST_CURRENT_NEW, STORAGE_CREATE, &f);
	if (err)
		return err;
	err = storage_pwrite(f, text, (size_t)size, 0);
	if (!err)
		err = storage_sync(f);
	closed = storage_close(f);
	if (!err)
		err = closed;
	if (!err)
		err = st->ops->rename(st, MANIFEST_CURRENT_NEW, MANIFEST_CURRENT);
	return err ? err : storage_sync_dir(st);
}

static int manifest_current_read(struct storage *st, const struct report *rep, uint64_t *number)
{
	char text[CURRENT_BYTES_MAX + 1], expected[CURRENT_BYTES_MAX];
	struct storage_file *f;
	unsigned format;
	size_t size;
	int err = storage_open_file(st, MANIFEST_CURRENT, STORAGE_READ, &f), n;

	if (err)
		return err;
	err = storage_pread(f, text, CURRENT_BYTES_MAX, 0, &size);
	storage_close(f);
	if (err)
		return err;
	text[size] = '\0';
	if (sscanf(text, "varve store, format %u\n", &format) != 1)
		return report_corrupt(rep, MANIFEST_CURRENT, 0, "not the CURRENT file of a store");
	if (format > MANIFEST_FORMAT) {
		report(rep, LSM_REPORT_ERROR,
		       "the store has format %u, this program knows up to %u: use a newer varve",
		       format, MANIFEST_FORMAT);
		return -EPROTONOSUPPORT;
	}
	if (sscanf(text, "varve store, format %*u\nmanifest %" SCNu64 "\n", number) != 1)
		return report_corrupt(rep, MANIFEST_CURRENT, 0, "no manifest named");
	n = manifest_current_format(expected, *number);
	if ((size_t)n != size || memcmp(expected, text, size) != 0)
		return report_corrupt(rep, MANIFEST_CURRENT, 0, "wrong checksum");
	return 0;
}

/* ---- files ---- */

/* Whether all named files have numbers below the next one, so that no new file gets one. */
static bool manifest_state_numbers_valid(const struct manifest_state *s)
{
	bool valid =
		s->next_file <= FILE_NUMBER_MAX && (!s->log_number || s->log_number < s->next_file);

	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; i < s->version->level[l].count; i++)
			valid = valid && s->version->level[l].tables[i]->number < s->next_file;
	for (size_t i = 0; i < s->segments_count; i++)
		valid = valid && s->segments[i] < s->next_file;
	return valid;
}

static int manifest_read_records(struct wal_reader *r, const char *name, const struct report *rep,
				 struct manifest_state *s)
{
	struct lsm_slice record;
	uint64_t offset;
	const char *reason = "";
	size_t records = 0;
	int err;

	while ((err = wal_reader_next(r, &record, &offset)) == 0) {
		err = manifest_decode_record(s, record, &reason);
		if (err == -EUCLEAN)
			return report_corrupt(rep, name, offset, "%s", reason);
		if (err)
			return err;
		records++;
	}
	if (err < 0)
		return err;
	if (!records)
		return report_corrupt(rep, name, 0, "no whole edit in the manifest");
	offset = wal_reader_offset(r);
	s->torn = wal_reader_torn(r);
	/* Only the last record can be torn, so a whole one behind a bad one means damage. */
	wal_reader_resync(r);
	err = wal_reader_next(r, &record, &offset);
	if (err == 0)
		return report_corrupt(rep, name, offset, "damaged before this record");
	if (err == WAL_END && !manifest_state_numbers_valid(s))
		return report_corrupt(rep, name, 0, "names a file with a number never given");
	return err < 0 ? err : 0;
}

int manifest_read_number(struct storage *st, const struct report *rep, uint64_t number,
			 struct manifest_state *s)
{
	char name[MANIFEST_NAME_BYTES];
	struct wal_reader *r = NULL;
	int err;

	*s = (struct manifest_state){.number = number};
	if (number > FILE_NUMBER_MAX)
		return report_corrupt(rep, MANIFEST_CURRENT, 0, "impossible manifest number");
	s->version = version_new();
	if (!s->version)
		return -ENOMEM;
	manifest_name(name, s->number);
	err = wal_reader_open(st, name, (uint32_t)s->number, rep, &r);
	if (err == -ENOENT)
		err = report_corrupt(rep, name, 0,
				     "CURRENT names this manifest, and it is missing");
	if (!err)
		err = manifest_read_records(r, name, rep, s);
	wal_reader_close(r);
	if (err)
		manifest_state_release(s);
	return err;
}

int manifest_read(struct storage *st, const struct report *rep, struct manifest_state *s)
{
	uint64_t number = 0;
	int err = manifest_current_read(st, rep, &number);

	*s = (struct manifest_state){0};
	return err ? err : manifest_read_number(st, rep, number, s);
}

/* Make the edit that turns an empty state into `s`. 0; -ENOMEM. */
static int manifest_state_edit(const struct manifest_state *s, struct version_edit *e)
{
	int err = 0;

	*e = (struct version_edit){.has_log = true,
				   .log_number = s->log_number,
				   .sequence_flushed = s->sequence_flushed};
	for (unsigned l = 0; l < LSM_LEVELS; l++)
		for (size_t i = 0; !err && i < s->version->level[l].count; i++)
			err = version_edit_add(e, l, s->version->level[l].tables[i]);
	for (size_t i = 0; !err && i < s->segments_count; i++)
		err = version_edit_segment(e, s->segments[i], false);
	return err;
}

int manifest_create(struct storage *st, const struct manifest_state *s, uint64_t number,
		    struct manifest **out)
{
	char name[MANIFEST_NAME_BYTES];
	struct manifest *m = calloc(1, sizeof(*m));
	struct version_edit e = {0};
	int err;

	*out = NULL;
	if (!m)
		return -ENOMEM;
	m->st = st;
	m->number = number;
	manifest_name(name, number);
	err = manifest_state_edit(s, &e);
	if (!err)
		err = wal_create(st, name, (uint32_t)number, 0, NULL, &m->log);
	if (!err)
		err = manifest_append(m, &e, s->next_file, true);
	version_edit_release(&e);
	if (!err)
		err = storage_sync_dir(st);
	if (!err)
		err = manifest_current_write(st, number);
	if (err) {
		manifest_close(m);
		return err;
	}
	*out = m;
	return 0;
}

int manifest_append(struct manifest *m, const struct version_edit *e, uint64_t next_file, bool sync)
{
	struct lsm_slice record;
	int err;

	m->record.size = 0;
	err = manifest_put_edit(&m->record, e, next_file);
	if (err)
		return err;
	record = buf_slice(&m->record);
	err = wal_append(m->log, &record, 1);
	return err || !sync ? err : wal_sync(m->log);
}

uint64_t manifest_bytes(const struct manifest *m)
{
	return wal_bytes(m->log);
}

uint64_t manifest_number(const struct manifest *m)
{
	return m->number;
}

int manifest_close(struct manifest *m)
{
	int err;

	if (!m)
		return 0;
	err = wal_close(m->log);
	buf_release(&m->record);
	free(m);
	return err;
}
