/*
 * meta_check.c - is it true what the manifest says of a table? See meta_check.h.
 */
#include "lsm/meta_check.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lsm/segment.h"

int meta_check_begin(struct meta_check *m, const struct table_meta *t)
{
	*m = (struct meta_check){.t = t};
	if (!t)
		return 0;
	m->bytes = calloc(t->uses_count + 1, sizeof(*m->bytes));
	if (!m->bytes)
		return -ENOMEM;
	for (size_t i = 1; i < t->uses_count; i++)
		if (t->uses[i].number <= t->uses[i - 1].number)
			m->wrong = "the manifest has its segments in disorder";
	return 0;
}

void meta_check_entry(struct meta_check *m, struct lsm_slice ikey, struct lsm_slice value)
{
	size_t low = 0, high = m->t ? m->t->uses_count : 0;
	struct segment_ref ref;

	if (!m->t || m->wrong)
		return;
	if (ikey_sequence(ikey) > m->t->sequence_max)
		m->wrong = "the manifest says that it has older entries only";
	if (ikey_type(ikey) != IKEY_PUT_REF || segment_ref_decode(value, &ref) ||
	    ref.segment == SEGMENT_LOST)
		return;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->t->uses[mid].number < ref.segment)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == m->t->uses_count || m->t->uses[low].number != ref.segment)
		m->wrong = "the manifest does not have one of its segments";
	else
		m->bytes[low] += segment_ref_bytes(&ref);
}

const char *meta_check_end(struct meta_check *m, bool whole)
{
	for (size_t i = 0; m->t && whole && !m->wrong && i < m->t->uses_count; i++)
		if (m->t->uses[i].bytes != m->bytes[i])
			m->wrong = "the manifest has other sizes of what is in segments";
	free(m->bytes);
	m->bytes = NULL;
	return m->wrong;
}
