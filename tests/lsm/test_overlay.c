/*
 * test_overlay.c - the storage that a repair works through: below it nothing changes, and what
 * it made takes the place of what was there all at once, whenever the power goes.
 */
#include <errno.h>

#include "lsm/manifest.h"
#include "lsm/storage_overlay.h"
#include "tests/storage/storage_mem.h"
#include "tests/support/tap.h"

#define SEEDS 20

static void write_file(struct storage *st, const char *name, const char *text)
{
	struct storage_file *f;

	if (storage_open_file(st, name, STORAGE_CREATE, &f) ||
	    storage_pwrite(f, text, strlen(text), 0) || storage_sync(f) || storage_close(f))
		bail("cannot write %s", name);
}

/* Whether the file is there, with this text. */
static bool has(struct storage *st, const char *name, const char *text)
{
	struct storage_file *f;
	char got[16] = "";
	size_t size = 0;

	if (storage_open_file(st, name, STORAGE_READ, &f))
		return false;
	(void)storage_pread(f, got, sizeof(got) - 1, 0, &size);
	storage_close(f);
	return !strcmp(got, text);
}

static struct storage *old_store(void)
{
	struct storage *st = storage_mem_new();

	if (!st)
		bail("no memory");
	write_file(st, "000001.tab", "old");
	write_file(st, MANIFEST_CURRENT, "old");
	if (storage_sync_dir(st))
		bail("cannot sync");
	return st;
}

/* An overlay in which a table is replaced, and so is what CURRENT says. */
static struct storage *repaired(struct storage *base)
{
	struct storage *st = overlay_new(base, false);

	if (!st)
		bail("no memory");
	/* CURRENT first: it is to be put in place last all the same. */
	write_file(st, MANIFEST_CURRENT, "new");
	write_file(st, "000002.tab", "new");
	write_file(st, "000003.man", "new");
	if (st->ops->unlink(st, "000001.tab"))
		bail("cannot hide a file");
	return st;
}

static void test_apart(void)
{
	struct storage *base = old_store(), *st = repaired(base);
	struct storage_file *f;

	is_int(storage_open_file(st, "000001.tab", STORAGE_READ, &f), -ENOENT,
	       "a file that was deleted is gone");
	ok(has(base, "000001.tab", "old"), "but not below");
	ok(has(st, "000002.tab", "new") && has(st, MANIFEST_CURRENT, "new"), "new ones are there");
	ok(!has(base, "000002.tab", "new") && has(base, MANIFEST_CURRENT, "old"), "but not below");
	st->ops->free(st);
	st = overlay_new(base, false);
	is_int(storage_open_file(st, "000001.tab", STORAGE_WRITE, &f), -EROFS,
	       "what is below is not opened for writing");
	ok(has(st, "000001.tab", "old"), "only for reading");
	overlay_drop_new(base);
	is_int(storage_open_file(base, "000002.tab" OVERLAY_NEW, STORAGE_READ, &f), -ENOENT,
	       "what an overlay has left can be deleted");
	st->ops->free(st);
	base->ops->free(base);
}

static void test_commit(void)
{
	struct storage *base = old_store(), *st = repaired(base);
	unsigned mixed = 0, old = 0, new = 0;
	uint64_t kept, calls, before;

	storage_mem_record(base, true);
	before = storage_mem_calls(base);
	is_int(overlay_commit(st, &kept), 0, "the overlay is put in place");
	is_int(kept, 3, "what it replaced is kept");
	calls = storage_mem_calls(base);
	ok(has(base, "000001.tab" OVERLAY_OLD, "old") && has(base, "000002.tab", "new") &&
		   has(base, MANIFEST_CURRENT, "new"),
	   "all of it");
	for (uint64_t cut = before; cut <= calls; cut++)
		for (unsigned seed = 0; seed < SEEDS; seed++) {
			enum storage_mem_keep keep =
				seed ? STORAGE_MEM_KEEP_RANDOM : STORAGE_MEM_KEEP_NONE;
			struct storage *left = storage_mem_cut(base, cut, keep, seed);

			if (!left)
				bail("no memory");
			if (has(left, MANIFEST_CURRENT, "old") && has(left, "000001.tab", "old"))
				old++;
			else if (has(left, MANIFEST_CURRENT, "new") &&
				 has(left, "000002.tab", "new") && has(left, "000003.man", "new"))
				new ++;
			else
				mixed++;
			left->ops->free(left);
		}
	ok(old && new, "a power cut leaves the old store %u times, the new one %u times", old, new);
	is_int(mixed, 0, "and never parts of both");
	st->ops->free(st);
	base->ops->free(base);
}

int main(void)
{
	run_test(test_apart);
	run_test(test_commit);
	return done();
}
