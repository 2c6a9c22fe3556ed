/*
 * tree.c - what every part of the open tree needs: file numbers, the values of entries, and
 * the failures after which the tree is read-only.
 *
 * It calls nothing above the segments, so that every other file may call it.
 */
#include "lsm/tree.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t tree_new_file(struct lsm *lsm)
{
	uint64_t number;

	mutex_lock(&lsm->mu);
	number = lsm->next_file++;
	mutex_unlock(&lsm->mu);
	return number;
}

uint64_t tree_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec;
}

/* ---- values ---- */

int tree_ref_decode(const struct lsm *lsm, struct lsm_slice key, struct lsm_slice stored,
		    struct segment_ref *ref)
{
	if (segment_ref_decode(stored, ref))
		return report_corrupt_key(&lsm->report, key, "malformed segment reference");
	return 0;
}

/* Give `value` room for `size` bytes, which become its size. */
static int tree_value_resize(struct lsm_value *value, size_t size)
{
	void *grown;

	if (size > value->capacity) {
		grown = realloc(value->data, size);
		if (!grown)
			return -ENOMEM;
		value->data = grown;
		value->capacity = size;
	}
	value->size = size;
	return 0;
}

int tree_value(struct lsm *lsm, struct lsm_slice key, enum ikey_type type, struct lsm_slice stored,
	       struct lsm_value *value)
{
	struct segment_ref ref;
	int err;

	if (type != IKEY_PUT_REF) {
		err = tree_value_resize(value, stored.size);
		if (!err && stored.size)
			memcpy(value->data, stored.data, stored.size);
		return err;
	}
	err = tree_ref_decode(lsm, key, stored, &ref);
	if (!err)
		err = tree_value_resize(value, ref.size);
	return err ? err : segments_read(lsm->segments, &ref, 0, value->data, ref.size);
}

void lsm_value_release(struct lsm_value *value)
{
	free(value->data);
	*value = (struct lsm_value){0};
}

/* ---- failures that are final ---- */

int tree_fail(struct lsm *lsm, int err, const char *what)
{
	int none = 0;

	assert(err < 0);
	if (atomic_compare_exchange_strong(&lsm->failed, &none, err))
		report(&lsm->report, LSM_REPORT_ERROR,
		       "%s failed: %s; the store is read-only until it is opened again", what,
		       strerror(-err));
	mutex_lock(&lsm->mu);
	cond_broadcast(&lsm->changed);
	mutex_unlock(&lsm->mu);
	return err;
}

int tree_sync_segments(struct lsm *lsm)
{
	int err = segments_sync(lsm->segments);

	return err ? tree_fail(lsm, err, "syncing a segment") : 0;
}

int tree_sync_dir(struct lsm *lsm)
{
	int err = storage_sync_dir(lsm->st);

	return err ? tree_fail(lsm, err, "syncing the directory") : 0;
}
