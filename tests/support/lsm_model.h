/*
 * lsm_model.h - a plain model of a store, for the tests that compare the two.
 *
 * The model knows a few hundred keys, sorted, and the value that each should have (mval.h).
 *
 * Every batch also puts its number under the counter key. After a crash the number that is read
 * there says which batch was the last to survive. The model keeps what each batch changed, so it
 * goes back to the state after that batch, and then everything must be equal.
 */
#ifndef TESTS_SUPPORT_LSM_MODEL_H
#define TESTS_SUPPORT_LSM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lsm/lsm.h"
#include "tests/support/mval.h"
#include "tests/support/rng.h"
#include "tests/support/wrong.h"

#define LSM_MODEL_NONE SIZE_MAX
#define LSM_MODEL_BATCH_OPS_MAX 20

/* ---- keys and states ---- */

struct lsm_model_change {
	uint64_t batch;
	size_t key;
	struct mval old, new;
};

struct lsm_model {
	size_t keys_count;
	struct lsm_slice *keys; /* sorted; each owns its bytes */
	size_t counter;         /* which of them is the counter */
	struct mval *now;       /* of each key */
	uint64_t batch;         /* the last one in `now` */

	struct lsm_model_change *changes; /* oldest first */
	size_t changes_count, changes_capacity;
	size_t applied; /* how many of them are in `now` */

	char error[WRONG_BYTES]; /* what was found wrong */
};

/* The order of keys: as memcmp(), and a key before those that it is a prefix of. */
int lsm_model_compare(struct lsm_slice a, struct lsm_slice b);

/* A readable form of a key, for messages. The last four results of a thread stay valid. */
const char *lsm_model_name(struct lsm_slice key);

/* The index of `key`, or of the first key after it. `*exact`: whether it is the key itself. */
size_t lsm_model_find(const struct lsm_model *m, struct lsm_slice key, bool *exact);

/* Make up `keys_count` keys, without values. One of them is the counter. */
void lsm_model_init(struct lsm_model *m, struct rng *r, size_t keys_count);

void lsm_model_release(struct lsm_model *m);

/* A copy of `now`. The caller frees it. */
struct mval *lsm_model_copy_state(const struct lsm_model *m);

/* Go to the state after `batch`, back or forth, as far as the changes are kept. */
void lsm_model_go(struct lsm_model *m, uint64_t batch);

/* Drop the changes after the present state: these batches never happened. */
void lsm_model_truncate(struct lsm_model *m);

/* Drop all kept changes: there is no way back from the present state. */
void lsm_model_forget(struct lsm_model *m);

/* Note in `m` what is wrong; the first finding stays. False. */
#define lsm_model_wrong(m, ...) wrong_note((m)->error, sizeof((m)->error), __VA_ARGS__)

/* ---- writing ---- */

struct lsm_model_mix {
	uint32_t batch_ops_max; /* 1 .. LSM_MODEL_BATCH_OPS_MAX */
	uint32_t small_max;     /* most values */
	uint32_t large_max;     /* one in `large_one_in` */
	uint32_t large_one_in;
	uint32_t huge_max; /* a very few of them */
	uint32_t range_keys_max;
};

enum lsm_model_op_kind {
	LSM_MODEL_PUT,
	LSM_MODEL_PUT_BORROWED,
	LSM_MODEL_SLICE,
	LSM_MODEL_DELETE,
	LSM_MODEL_RANGE
};

struct lsm_model_op {
	enum lsm_model_op_kind kind;
	size_t key, end; /* `end` for ranges: one past the last key hit */
	struct mval value;
};

/* A batch for the store, and what it does in the model's terms. */
struct lsm_model_batch {
	struct lsm_batch *lsm_batch;
	uint64_t number;
	struct lsm_model_op ops[LSM_MODEL_BATCH_OPS_MAX + 1];
	size_t ops_count;
	void *borrowed[LSM_MODEL_BATCH_OPS_MAX];
	size_t borrowed_count;
};

/* Empty the batch for the next one. */
void lsm_model_batch_clear(struct lsm_model_batch *b);

void lsm_model_batch_release(struct lsm_model_batch *b);

/* The index of some key, but not of the counter. */
size_t lsm_model_pick(const struct lsm_model *m, struct rng *r);

/* A key to look for, in `buf`: one of the model, or one near it that no batch writes. */
struct lsm_slice lsm_model_any_key(const struct lsm_model *m, struct rng *r, unsigned char *buf);

/*
 * Make up batch `number` on the present state. The counter comes last, so it survives the range
 * tombstones before it. 0 or an error of the tree; `b` is unfinished then.
 */
int lsm_model_build(const struct lsm_model *m, struct lsm_model_batch *b, struct rng *r,
		    struct lsm *lsm, const struct lsm_model_mix *mix, uint64_t number);

/* Change the model as the batch says, after it was written to the store. */
void lsm_model_apply(struct lsm_model *m, const struct lsm_model_batch *b);

/* ---- comparing ---- */

/* The first key with a value from `at` up to, without, `to`; LSM_MODEL_NONE if there is none. */
size_t lsm_model_next(const struct mval *state, size_t at, size_t to);

/* The last key with a value from `at` down to `from`; LSM_MODEL_NONE if there is none. */
size_t lsm_model_prev(const struct mval *state, size_t at, size_t from);

/*
 * Whether the iterator is on key `at`, or at its end (LSM_MODEL_NONE), with the right size and
 * value. All these checks return false after noting in `m` what is wrong.
 */
bool lsm_model_check_at(struct lsm_model *m, const struct mval *state, struct lsm_iter *it,
			size_t at, bool with_value);

/* Compare everything: forwards with the values, or backwards without. */
bool lsm_model_check_all(struct lsm_model *m, const struct mval *state, struct lsm *lsm,
			 const struct lsm_snapshot *snapshot, bool backwards);

/*
 * Compare what a get of `key` finds. `at`: its index, or LSM_MODEL_NONE if the model has no such
 * key.
 */
bool lsm_model_check_get(struct lsm_model *m, const struct mval *state, struct lsm *lsm,
			 const struct lsm_snapshot *snapshot, struct lsm_slice key, size_t at,
			 struct lsm_value *value);

/* The number of the last batch in the store; 0 if there is none; a negative error. */
int64_t lsm_model_read_counter(const struct lsm_model *m, struct lsm *lsm);

/* lsm_verify() finds nothing. What it finds is printed. */
bool lsm_model_check_verify(struct lsm_model *m, struct lsm *lsm);

#endif
