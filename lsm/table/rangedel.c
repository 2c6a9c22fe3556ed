/*
 * rangedel.c - range tombstones cut into disjoint fragments.
 *
 * While tombstones are added they are kept as they come, their bytes in one
 * buffer that may still move. finish() walks over all starts and ends in key
 * order, with the set of sequences that are open there:
 *
 *     key:        a        c        f        m
 *     event:     +9       +4       -9       -4
 *     open:         {9}     {9,4}     {4}       {}
 *
 * and each stretch between two events with a sequence open becomes a fragment. Neighbours with
 * the same sequences are joined: if compaction drops the tombstones that had cut another
 * one, its fragments become one again.
 *
 * n tombstones give at most 2n - 1 fragments. A fragment holds every sequence
 * over it, so n tombstones all nested in each other take n * n of them. At a flush
 * MEMTABLE_RANGES_MAX bounds n. A compaction drops a sequence that a newer one hides.
 */
#include "lsm/table/rangedel.h"

#include <assert.h>

#include "lsm/base/buf.h"

struct raw { /* a tombstone as it was added: offsets in `bytes` */
	uint64_t sequence;
	size_t start, start_size, end, end_size;
};

struct event {
	struct lsm_slice key;
	uint64_t sequence;
	bool opens;
};

struct rangedel_list {
	struct buf bytes;     /* all keys; does not move once finished */
	struct buf raws;      /* struct raw[]; empty once finished */
	struct buf sequences; /* uint64_t[]; the fragments point into it once finished */
	struct buf fragments; /* struct rangedel[] */
	bool finished;
};

struct rangedel_list *rangedel_new(void)
{
	return calloc(1, sizeof(struct rangedel_list));
}

void rangedel_free(struct rangedel_list *l)
{
	if (!l)
		return;
	buf_release(&l->bytes);
	buf_release(&l->raws);
	buf_release(&l->sequences);
	buf_release(&l->fragments);
	free(l);
}

int rangedel_add(struct rangedel_list *l, uint64_t sequence, struct lsm_slice start,
		 struct lsm_slice end)
{
	struct raw raw = {sequence, l->bytes.size, start.size, l->bytes.size + start.size,
			  end.size};

	assert(!l->finished && slice_compare(start, end) < 0);
	if (buf_reserve(&l->bytes, start.size + end.size) || buf_add(&l->raws, &raw, sizeof(raw)))
		return -ENOMEM;
	buf_add(&l->bytes, start.data, start.size); /* reserved: cannot fail */
	buf_add(&l->bytes, end.data, end.size);
	return 0;
}

static int rangedel_event_compare(const void *a, const void *b)
{
	return slice_compare(((const struct event *)a)->key, ((const struct event *)b)->key);
}

/* Make two events of each tombstone, sorted by key. The caller frees `*out`. 0; -ENOMEM. */
static int rangedel_make_events(const struct rangedel_list *l, struct event **out, size_t *count)
{
	const struct raw *raws = (const struct raw *)l->raws.data;
	size_t n = l->raws.size / sizeof(*raws);
	struct event *events = calloc(n ? 2 * n : 1, sizeof(*events));

	*out = events;
	*count = 0;
	if (!events)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		events[2 * i] = (struct event){{l->bytes.data + raws[i].start, raws[i].start_size},
					       raws[i].sequence,
					       true};
		events[2 * i + 1] = (struct event){
			{l->bytes.data + raws[i].end, raws[i].end_size}, raws[i].sequence, false};
	}
	*count = 2 * n;
	qsort(events, *count, sizeof(*events), rangedel_event_compare);
	return 0;
}

/*
 * Open or close a sequence in `open`, an ascending array of uint64_t with enough room. A
 * sequence of two tombstones is in it twice.
 */
static void rangedel_open_apply(struct buf *open, const struct event *e)
{
	uint64_t *s = (uint64_t *)open->data;
	size_t n = open->size / sizeof(*s), low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s[middle] < e->sequence)
			low = middle + 1;
		else
			high = middle;
	}
	if (e->opens) {
		assert(open->data && open->capacity - open->size >= sizeof(*s));
		memmove(s + low + 1, s + low, (n - low) * sizeof(*s));
		s[low] = e->sequence;
		open->size += sizeof(*s);
	} else {
		assert(low < n && s[low] == e->sequence);
		memmove(s + low, s + low + 1, (n - low - 1) * sizeof(*s));
		open->size -= sizeof(*s);
	}
}

/*
 * Add [start, end) under the sequences in `open`. Until rangedel_finish() ends, the field
 * `sequences` holds an index into l->sequences instead of a pointer, because that array
 * still moves. 0; -ENOMEM.
 */
static int rangedel_add_fragment(struct rangedel_list *l, struct lsm_slice start,
				 struct lsm_slice end, const struct buf *open)
{
	const uint64_t *s = (const uint64_t *)open->data;
	size_t first = l->sequences.size / sizeof(*s), count = 0;
	struct rangedel fragment, *last;

	for (size_t i = open->size / sizeof(*s); i-- > 0;) {
		if (i + 1 < open->size / sizeof(*s) && s[i] == s[i + 1])
			continue;
		if (buf_add(&l->sequences, &s[i], sizeof(*s)))
			return -ENOMEM;
		count++;
	}
	if (l->fragments.size) {
		const uint64_t *all = (const uint64_t *)l->sequences.data;

		last = (struct rangedel *)(l->fragments.data + l->fragments.size) - 1;
		if (last->sequences_count == count && !slice_compare(last->end, start) &&
		    !memcmp(all + (uintptr_t)last->sequences, all + first, count * sizeof(*s))) {
			last->end = end;
			l->sequences.size = first * sizeof(*s);
			return 0;
		}
	}
	fragment = (struct rangedel){start, end, (const uint64_t *)(uintptr_t)first, count};
	return buf_add(&l->fragments, &fragment, sizeof(fragment));
}

int rangedel_finish(struct rangedel_list *l)
{
	struct event *events = NULL;
	struct buf open = {0};
	struct rangedel *fragments;
	size_t count;
	int err;

	assert(!l->finished);
	err = rangedel_make_events(l, &events, &count);
	if (!err)
		err = buf_reserve(&open, (count / 2 + 1) * sizeof(uint64_t));
	for (size_t i = 0; !err && i < count; i++) {
		if (i && open.size && slice_compare(events[i - 1].key, events[i].key))
			err = rangedel_add_fragment(l, events[i - 1].key, events[i].key, &open);
		/* Every sequence is opened before it is closed, as each start is below its end. */
		if (!err)
			rangedel_open_apply(&open, &events[i]);
	}
	free(events);
	buf_release(&open);
	if (err) { /* make the list what it was before */
		l->fragments.size = 0;
		l->sequences.size = 0;
		return err;
	}
	fragments = (struct rangedel *)l->fragments.data;
	for (size_t i = 0; i < l->fragments.size / sizeof(*fragments); i++)
		fragments[i].sequences =
			(const uint64_t *)l->sequences.data + (uintptr_t)fragments[i].sequences;
	buf_release(&l->raws);
	l->finished = true;
	return 0;
}

size_t rangedel_count(const struct rangedel_list *l)
{
	return l->fragments.size / sizeof(struct rangedel);
}

const struct rangedel *rangedel_at(const struct rangedel_list *l, size_t i)
{
	assert(l->finished && i < rangedel_count(l));
	return (const struct rangedel *)l->fragments.data + i;
}

size_t rangedel_memory(const struct rangedel_list *l)
{
	return sizeof(*l) + l->bytes.capacity + l->raws.capacity + l->sequences.capacity +
	       l->fragments.capacity;
}

const struct rangedel *rangedel_find(const struct rangedel_list *l, struct lsm_slice key)
{
	const struct rangedel *f = (const struct rangedel *)l->fragments.data;
	size_t low = 0, high = rangedel_count(l);

	assert(l->finished);
	while (low < high) { /* the first that ends above the key */
		size_t middle = low + (high - low) / 2;

		if (slice_compare(f[middle].end, key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == rangedel_count(l) || slice_compare(f[low].start, key) > 0)
		return NULL;
	return &f[low];
}

uint64_t rangedel_covering(const struct rangedel_list *l, struct lsm_slice key, uint64_t sequence)
{
	const struct rangedel *f = rangedel_find(l, key);
	size_t low = 0, high = f ? f->sequences_count : 0;

	while (low < high) { /* the first <= sequence: they descend */
		size_t middle = low + (high - low) / 2;

		if (f->sequences[middle] > sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return f && low < f->sequences_count ? f->sequences[low] : 0;
}
