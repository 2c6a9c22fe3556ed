/*
 * choose.h - which call a writer of churn.c makes next. The same seed gives the
 * same choices as long as the calls end in the same way.
 */
#ifndef TESTS_MOUNT_CHURN_CHOOSE_H
#define TESTS_MOUNT_CHURN_CHOOSE_H

#include "tests/mount/churn/model.h"

#define WRITE_BYTES_MAX (3u << 20)
#define BIG_BYTES_MAX (64u << 20)
#define BIG_STEP (1u << 20)
#define XATTR_BYTES_MAX 3000u
#define HUNGRY 8 /* so many calls after ENOSPC mostly delete */

struct chooser {
	uint64_t seed;
	uint64_t next_tag;
	uint64_t quota_bytes; /* with more than that the largest file goes */
	bool big;             /* files of up to BIG_BYTES_MAX are made, too */
	int big_slot;         /* the one in the making, or NOTHING */
	uint64_t big_left;    /* steps until it is done */
	int hungry;
};

static inline uint64_t random64(struct chooser *c) /* xorshift */
{
	c->seed ^= c->seed << 13;
	c->seed ^= c->seed >> 7;
	c->seed ^= c->seed << 17;
	return c->seed;
}

static inline uint64_t below(struct chooser *c, uint64_t n)
{
	return random64(c) % n;
}

static inline uint64_t random_size(struct chooser *c)
{
	uint64_t dice = below(c, 100);

	return 1 + below(c, dice < 55 ? 2048 :
			    dice < 80 ? 16384 :
			    dice < 94 ? 131072 :
			    dice < 99 ? 1u << 20 :
					WRITE_BYTES_MAX);
}

static inline void choose_write(struct chooser *c, struct model *model, struct op *op)
{
	const struct file *f = model_file(model, op->a);
	uint64_t size = f ? f->size : 0, dice = below(c, 10);

	op->kind = WRITE;
	op->tag = ++c->next_tag;
	op->size = random_size(c);
	if (dice < 4) {
		op->append = true;
		op->offset = size;
	} else if (dice < 7) {
		op->offset = size ? below(c, size) : 0;
	} else if (dice < 8) {
		op->offset = size + below(c, 65536);
	}
}

/* Another MiB of the large file in the making, or a new one. */
static inline bool choose_big(struct chooser *c, struct model *model, struct op *op)
{
	const struct file *f = c->big_slot == NOTHING ? NULL : model_file(model, c->big_slot);

	if (!f || !c->big_left) {
		c->big_slot = NOTHING;
		if (!c->big || below(c, 400) || model_bytes(model) > c->quota_bytes / 4)
			return false;
		c->big_slot = op->a;
		c->big_left = 1 + below(c, BIG_BYTES_MAX / BIG_STEP);
		*op = (struct op){.kind = TRUNCATE, .a = c->big_slot};
		return model_file(model, c->big_slot) != NULL;
	}
	c->big_left--;
	/* One tag: its bytes follow from the offset as well. */
	*op = (struct op){.kind = WRITE,
			  .a = c->big_slot,
			  .append = true,
			  .offset = f->size,
			  .size = BIG_STEP,
			  .tag = f->extents_count ? f->extents[0].tag : ++c->next_tag};
	return true;
}

/* The largest file, which goes when there is too much. */
static inline int largest(struct model *model)
{
	int slot = NOTHING;

	for (int s = 0; s < (int)model->slots_count; s++)
		if (model_file(model, s) &&
		    (slot == NOTHING || model_file(model, s)->size > model_file(model, slot)->size))
			slot = s;
	return slot;
}

/* The next call, most of them sensible, some of them to be refused. */
static inline void choose(struct chooser *c, struct model *model, struct op *op)
{
	uint64_t dice = below(c, 100);
	const struct file *f;
	int slot;

	*op = (struct op){.a = (int)below(c, model->slots_count),
			  .b = (int)below(c, model->slots_count)};
	if (choose_big(c, model, op))
		return;
	if (c->hungry > 0)
		c->hungry--;
	if (c->big_slot == NOTHING &&
	    ((c->hungry && dice < 70) ||
	     (!(random64(c) % 16) && model_bytes(model) > c->quota_bytes))) {
		slot = c->hungry ? op->a : largest(model);
		op->kind = below(c, 2) ? UNLINK : TRUNCATE;
		op->a = slot == NOTHING ? op->a : slot;
		if (op->kind == TRUNCATE || model_file(model, op->a))
			return;
	}
	op->mode = 0600 | (mode_t)below(c, 0200);
	if (op->a == op->b)
		op->b = (op->a + 1) % (int)model->slots_count;
	f = model_file(model, op->a);
	if (f && !file_has_room(f)) {
		*op = (struct op){.kind = TRUNCATE, .a = op->a};
		return;
	}
	if (!f && dice < 60) {
		op->kind = CREATE;
	} else if (dice < 45) {
		choose_write(c, model, op);
	} else if (dice < 52) {
		op->kind = FSYNC;
	} else if (dice < 57) {
		op->kind = TRUNCATE;
		op->size = below(c, 4) ? (f ? below(c, f->size + 1) : 0) : below(c, 200000);
	} else if (dice < 59) {
		op->kind = PUNCH;
		op->offset = f ? below(c, f->size + 1) : 0;
		op->size = random_size(c);
	} else if (dice < 68) {
		op->kind = RENAME;
	} else if (dice < 70) {
		op->kind = EXCHANGE;
	} else if (dice < 75) {
		op->kind = LINK;
	} else if (dice < 86) {
		op->kind = UNLINK;
		op->mode = below(c, 3) == 0; /* while it is open */
	} else if (dice < 88) {
		op->kind = CHMOD;
	} else if (dice < 92) {
		op->kind = SETXATTR;
		op->tag = ++c->next_tag;
		op->size = 1 + below(c, XATTR_BYTES_MAX);
	} else if (dice < 93) {
		op->kind = REMOVEXATTR;
	} else {
		op->kind = dice < 97 ? MKDIR : dice < 98 ? RMDIR : MOVEDIR;
		op->a = 1 + (int)below(c, 2);
		op->b = 3 - op->a;
	}
}

#endif
