/*
 * snapshot.c - snapshots. One is a sequence and nothing else: while it is in the list,
 * compaction keeps what a reader at that sequence can see (compact_write.c).
 */
#include "lsm/snapshot.h"

#include <assert.h>
#include <stdlib.h>

struct lsm_snapshot *lsm_snapshot_take(struct lsm *lsm)
{
	struct lsm_snapshot *s = calloc(1, sizeof(*s)), *last;

	if (!s)
		return NULL;
	mutex_lock(&lsm->mu);
	s->sequence = tree_sequence(lsm);
	last = TAILQ_LAST(&lsm->snapshots, lsm_snapshots);
	assert(!last || last->sequence <= s->sequence);
	TAILQ_INSERT_TAIL(&lsm->snapshots, s, link);
	mutex_unlock(&lsm->mu);
	return s;
}

void lsm_snapshot_drop(struct lsm *lsm, struct lsm_snapshot *snapshot)
{
	if (!snapshot)
		return;
	mutex_lock(&lsm->mu);
	TAILQ_REMOVE(&lsm->snapshots, snapshot, link);
	mutex_unlock(&lsm->mu);
	free(snapshot);
}

uint64_t snapshot_oldest(struct lsm *lsm)
{
	const struct lsm_snapshot *s;
	uint64_t sequence;

	mutex_lock(&lsm->mu);
	s = TAILQ_FIRST(&lsm->snapshots);
	sequence = s ? s->sequence : SEQUENCE_MAX;
	mutex_unlock(&lsm->mu);
	return sequence;
}

int snapshot_sequences(struct lsm *lsm, uint64_t **out, size_t *count)
{
	const struct lsm_snapshot *s;
	size_t n = 0;

	*count = 0;
	mutex_lock(&lsm->mu);
	TAILQ_FOREACH(s, &lsm->snapshots, link)
	n++;
	*out = malloc((n + 1) * sizeof(**out));
	if (*out)
		TAILQ_FOREACH(s, &lsm->snapshots, link)
	if (!*count || (*out)[*count - 1] != s->sequence)
		(*out)[(*count)++] = s->sequence;
	mutex_unlock(&lsm->mu);
	return *out ? 0 : -ENOMEM;
}
