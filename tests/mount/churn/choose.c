/*
 * choose.c - the next call of a writer of churn.
 */
#include "tests/mount/churn/choose.h"

#include <assert.h>

uint64_t choose_below(struct chooser *c, uint64_t n)
{
	assert(n && n <= UINT32_MAX);
	return rng_below(&c->rng, (uint32_t)n);
}

static uint64_t choose_size(struct chooser *c)
{
	uint64_t dice = choose_below(c, 100);

	return 1 + choose_below(c, dice < 55 ? 2048 :
				   dice < 80 ? 16384 :
				   dice < 94 ? 131072 :
				   dice < 99 ? 1u << 20 :
					       WRITE_BYTES_MAX);
}

static void choose_write(struct chooser *c, struct model *model, struct op *op)
{
	const struct file *f = model_file(model, op->a);
	uint64_t size = f ? f->size : 0, dice = choose_below(c, 10);

	op->kind = WRITE;
	op->tag = ++c->next_tag;
	op->size = choose_size(c);
	if (dice < 4) {
		op->append = true;
		op->offset = size;
	} else if (dice < 7) {
		op->offset = size ? choose_below(c, size) : 0;
	} else if (dice < 8) {
		op->offset = size + choose_below(c, 65536);
	}
}

/*
 * Choose another MiB of the large file in the making, or begin a new one. Returns false if
 * no large file is due.
 */
static bool choose_big(struct chooser *c, struct model *model, struct op *op)
{
	const struct file *f = c->big_slot == NOTHING ? NULL : model_file(model, c->big_slot);

	if (!f || !c->big_left) {
		c->big_slot = NOTHING;
		if (!c->big || choose_below(c, 400) || model_bytes(model) > c->quota_bytes / 4)
			return false;
		c->big_slot = op->a;
		c->big_left = 1 + choose_below(c, BIG_BYTES_MAX / BIG_STEP);
		*op = (struct op){.kind = TRUNCATE, .a = c->big_slot};
		return model_file(model, c->big_slot) != NULL;
	}
	c->big_left--;
	/* All steps have one tag: the bytes depend on the offset as well. */
	*op = (struct op){.kind = WRITE,
			  .a = c->big_slot,
			  .append = true,
			  .offset = f->size,
			  .size = BIG_STEP,
			  .tag = f->extents_count ? f->extents[0].tag : ++c->next_tag};
	return true;
}

/* The slot of the largest file, or NOTHING. */
static int choose_largest(struct model *model)
{
	int slot = NOTHING;

	for (int s = 0; s < (int)model->slots_count; s++)
		if (model_file(model, s) &&
		    (slot == NOTHING || model_file(model, s)->size > model_file(model, slot)->size))
			slot = s;
	return slot;
}

void choose(struct chooser *c, struct model *model, struct op *op)
{
	uint64_t dice = choose_below(c, 100);
	const struct file *f;
	int slot;

	*op = (struct op){.a = (int)choose_below(c, model->slots_count),
			  .b = (int)choose_below(c, model->slots_count)};
	if (choose_big(c, model, op))
		return;
	if (c->hungry > 0)
		c->hungry--;
	if (c->big_slot == NOTHING &&
	    ((c->hungry && dice < 70) ||
	     (!choose_below(c, 16) && model_bytes(model) > c->quota_bytes))) {
		slot = c->hungry ? op->a : choose_largest(model);
		op->kind = choose_below(c, 2) ? UNLINK : TRUNCATE;
		op->a = slot == NOTHING ? op->a : slot;
		if (op->kind == TRUNCATE || model_file(model, op->a))
			return;
	}
	op->mode = 0600 | (unsigned)choose_below(c, 0200);
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
		op->size = choose_below(c, 4) ? (f ? choose_below(c, f->size + 1) : 0) :
						choose_below(c, 200000);
	} else if (dice < 59) {
		op->kind = PUNCH;
		op->offset = f ? choose_below(c, f->size + 1) : 0;
		op->size = choose_size(c);
	} else if (dice < 68) {
		op->kind = RENAME;
	} else if (dice < 70) {
		op->kind = EXCHANGE;
	} else if (dice < 75) {
		op->kind = LINK;
	} else if (dice < 86) {
		op->kind = UNLINK;
		op->mode = choose_below(c, 3) == 0; /* while it is open */
	} else if (dice < 88) {
		op->kind = CHMOD;
	} else if (dice < 92) {
		op->kind = SETXATTR;
		op->tag = ++c->next_tag;
		op->size = 1 + choose_below(c, XATTR_BYTES_MAX);
	} else if (dice < 93) {
		op->kind = REMOVEXATTR;
	} else {
		op->kind = dice < 97 ? MKDIR : dice < 98 ? RMDIR : MOVEDIR;
		op->a = 1 + (int)choose_below(c, 2);
		op->b = 3 - op->a;
	}
}
