/*
 * model.c - the names and contents that one writer of churn has made.
 */
#include "tests/mount/churn/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- contents ---- */

static uint64_t pattern_word(uint64_t tag, uint64_t at)
{
	uint64_t x = tag * 0x9e3779b97f4a7c15u + at;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void pattern(uint64_t tag, uint64_t offset, uint8_t *out, size_t size)
{
	if (!tag)
		memset(out, 0, size);
	while (tag && size) {
		uint64_t word = pattern_word(tag, offset / PATTERN_WORD);
		size_t skip = offset % PATTERN_WORD, n = PATTERN_WORD - skip;

		if (n > size)
			n = size;
		memcpy(out, (const uint8_t *)&word + skip, n);
		out += n;
		offset += n;
		size -= n;
	}
}

void file_bytes(const struct file *f, uint64_t offset, uint8_t *out, size_t size)
{
	memset(out, 0, size);
	for (unsigned i = 0; i < f->extents_count; i++) {
		const struct extent *e = &f->extents[i];
		uint64_t start = e->start > offset ? e->start : offset;
		uint64_t end = e->end < offset + size ? e->end : offset + size;

		if (start < end)
			pattern(e->tag, start, out + (start - offset), end - start);
	}
}

bool file_has_room(const struct file *f)
{
	return f->extents_count + 2 <= EXTENTS_MAX;
}

/* Set the bytes [start, end) to those of `tag`. Tag 0 has zeros. */
static void file_set(struct file *f, uint64_t start, uint64_t end, uint64_t tag)
{
	struct extent old[EXTENTS_MAX], fresh = {start, end, tag};
	unsigned count = f->extents_count, n = 0;
	bool placed = !tag || start >= end;

	if (start >= end)
		return;
	memcpy(old, f->extents, sizeof(old));
	for (unsigned i = 0; i < count; i++) {
		const struct extent *e = &old[i];

		if (e->start < start)
			f->extents[n++] =
				(struct extent){e->start, e->end < start ? e->end : start, e->tag};
		if (!placed && e->end > start) {
			f->extents[n++] = fresh;
			placed = true;
		}
		if (e->end > end)
			f->extents[n++] =
				(struct extent){e->start > end ? e->start : end, e->end, e->tag};
	}
	if (!placed)
		f->extents[n++] = fresh;
	/* Neighbours with the same tag become one extent. */
	f->extents_count = 0;
	for (unsigned i = 0; i < n; i++) {
		struct extent *last = f->extents_count ? &f->extents[f->extents_count - 1] : NULL;

		if (last && last->end == f->extents[i].start && last->tag == f->extents[i].tag)
			last->end = f->extents[i].end;
		else
			f->extents[f->extents_count++] = f->extents[i];
	}
}

static void file_resize(struct file *f, uint64_t size)
{
	if (size < f->size)
		file_set(f, size, f->size, 0);
	f->size = size;
}

/* ---- names ---- */

unsigned slot_folder(int slot)
{
	return (unsigned)slot % FOLDERS;
}

void folder_path(unsigned writer, unsigned folder, char *out, size_t size)
{
	if (folder == SHARED)
		snprintf(out, size, "shared");
	else if (folder)
		snprintf(out, size, "w%u/d%u", writer, folder - 1);
	else
		snprintf(out, size, "w%u", writer);
}

void slot_path(unsigned writer, int slot, char *out, size_t size)
{
	if (slot_folder(slot) == SHARED) {
		snprintf(out, size, "shared/w%u.%d", writer, slot / (int)FOLDERS);
		return;
	}
	folder_path(writer, slot_folder(slot), out, size);
	snprintf(out + strlen(out), size - strlen(out), "/%d", slot / (int)FOLDERS);
}

struct file *model_file(struct model *m, int slot)
{
	return m->slot[slot] == NOTHING ? NULL : &m->files[m->slot[slot]];
}

static bool model_folder_empty(const struct model *m, unsigned folder)
{
	for (unsigned s = folder; s < m->slots_count; s += FOLDERS)
		if (m->slot[s] != NOTHING)
			return false;
	return true;
}

void model_init(struct model *m, unsigned slots_count)
{
	memset(m, 0, sizeof(*m));
	m->slots_count = slots_count;
	m->folder[0] = m->folder[SHARED] = true;
	for (unsigned s = 0; s < slots_count; s++)
		m->slot[s] = NOTHING;
}

uint64_t model_bytes(const struct model *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->slots_count; i++)
		if (m->files[i].links)
			sum += m->files[i].size;
	return sum;
}

/* ---- operations ---- */

int model_expect(const struct model *m, const struct op *op)
{
	bool there;

	switch (op->kind) {
	case MKDIR:
		return m->folder[op->a] ? EEXIST : 0;
	case RMDIR:
		return !m->folder[op->a]                      ? ENOENT :
		       model_folder_empty(m, (unsigned)op->a) ? 0 :
								ENOTEMPTY;
	case MOVEDIR:
		return !m->folder[op->a]                                           ? ENOENT :
		       m->folder[op->b] && !model_folder_empty(m, (unsigned)op->b) ? ENOTEMPTY :
										     0;
	default:
		break;
	}
	there = m->slot[op->a] != NOTHING;
	switch (op->kind) {
	case CREATE:
		return !m->folder[slot_folder(op->a)] ? ENOENT : there ? EEXIST : 0;
	case RENAME:
	case EXCHANGE:
	case LINK:
		if (!there || !m->folder[slot_folder(op->b)])
			return ENOENT;
		if (op->kind == LINK && m->slot[op->b] != NOTHING)
			return EEXIST;
		return op->kind == EXCHANGE && m->slot[op->b] == NOTHING ? ENOENT : 0;
	case REMOVEXATTR:
		return !there ? ENOENT : m->files[m->slot[op->a]].xattr_size ? 0 : ENODATA;
	default:
		return there ? 0 : ENOENT;
	}
}

static void model_unlink(struct model *m, int slot)
{
	if (m->slot[slot] != NOTHING)
		m->files[m->slot[slot]].links--;
	m->slot[slot] = NOTHING;
}

static void model_create(struct model *m, const struct op *op)
{
	for (int i = 0; i < (int)m->slots_count; i++)
		if (!m->files[i].links) {
			m->files[i] = (struct file){.links = 1, .mode = op->mode};
			m->slot[op->a] = i;
			return;
		}
	abort(); /* there are as many files as slots */
}

/* Rename a folder: the names in it keep their NUMBERs. */
static void model_move_folder(struct model *m, int from, int to)
{
	m->folder[from] = false;
	m->folder[to] = true;
	for (unsigned s = 0; s + FOLDERS <= m->slots_count; s += FOLDERS) {
		m->slot[s + (unsigned)to] = m->slot[s + (unsigned)from];
		m->slot[s + (unsigned)from] = NOTHING;
	}
}

static void model_make(struct model *m, const struct op *op)
{
	if (op->kind == CREATE)
		model_create(m, op);
	else if (op->kind == MOVEDIR)
		model_move_folder(m, op->a, op->b);
	else
		m->folder[op->a] = op->kind == MKDIR;
}

void model_apply(struct model *m, const struct op *op)
{
	struct file *f;
	int other;

	if (op->kind == CREATE || op->kind >= MKDIR) {
		model_make(m, op);
		return;
	}
	f = model_file(m, op->a);
	if (!f) /* it cannot have succeeded */
		abort();
	switch (op->kind) {
	case WRITE:
		file_set(f, op->offset, op->offset + op->size, op->tag);
		if (op->size && op->offset + op->size > f->size)
			f->size = op->offset + op->size;
		break;
	case TRUNCATE:
		file_resize(f, op->size);
		break;
	case PUNCH:
		file_set(f, op->offset, op->offset + op->size, 0);
		break;
	case RENAME:
		if (m->slot[op->a] == m->slot[op->b]) /* two names of one file: nothing changes */
			break;
		model_unlink(m, op->b);
		m->slot[op->b] = m->slot[op->a];
		m->slot[op->a] = NOTHING;
		break;
	case EXCHANGE:
		other = m->slot[op->a];
		m->slot[op->a] = m->slot[op->b];
		m->slot[op->b] = other;
		break;
	case LINK:
		m->slot[op->b] = m->slot[op->a];
		f->links++;
		break;
	case UNLINK:
		model_unlink(m, op->a);
		break;
	case CHMOD:
		f->mode = op->mode;
		break;
	case SETXATTR:
		f->xattr_tag = op->tag;
		f->xattr_size = (unsigned)op->size;
		break;
	case REMOVEXATTR:
		f->xattr_size = 0;
		break;
	default: /* FSYNC */
		break;
	}
}
