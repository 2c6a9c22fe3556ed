/*
 * damages.h - all there is to do to the files of a small store.
 *
 * One at a time, each on a copy: bytes with a random bit wrong, and inverted; files cut
 * off at many places, grown, missing, or in the place of another one. What has to hold
 * is the test's to say.
 *
 * STRIDE=n in the environment: every nth byte; 1: every byte, in both ways.
 */
#ifndef TESTS_CRASH_DAMAGES_H
#define TESTS_CRASH_DAMAGES_H

#include "tests/support/cuts.h"

#define DAMAGES_FILES_MAX 64

struct damages_file {
	char name[32];
	uint64_t size;
};

struct damages {
	const char *name;
	struct storage *st; /* stays as it is */
	void *ctx;
	/*
	 * Look at `st`, and take it; false: something is wrong, and *error says what. `mute`:
	 * the newest log was touched, which may be what says that something was synced.
	 */
	bool (*check)(void *ctx, struct storage *st, bool mute, bool go_on);
	/* So much was done to this file: tell, and forget the error. */
	void (*finish)(void *ctx, const char *what, const char *name, unsigned cases);
	const char *error;
	struct rng rng;
	struct damages_file files[DAMAGES_FILES_MAX];
	size_t files_count;
};

static inline void must(int rc, const char *what)
{
	if (rc)
		bail("%s: %s", what, strerror(-rc));
}

static inline uint64_t damages_stride(uint64_t normal)
{
	uint64_t stride = cuts_number("STRIDE", normal);

	return stride ? stride : 1;
}

static inline struct storage *damages_copy(const struct damages *d)
{
	return model_must(storage_mem_crash(d->st, STORAGE_MEM_KEEP_ALL, 0));
}

static inline int damages_take_file(void *ctx, const char *name, uint64_t size)
{
	struct damages *d = ctx;

	if (d->files_count == DAMAGES_FILES_MAX)
		bail("too many files");
	snprintf(d->files[d->files_count].name, sizeof(d->files[0].name), "%s", name);
	d->files[d->files_count++].size = size;
	return 0;
}

static inline void damages_list(struct damages *d)
{
	must(d->st->ops->list(d->st, damages_take_file, d), "listing");
}

static inline bool damages_is_newest_log(const struct damages *d, const struct damages_file *f)
{
	if (!strstr(f->name, ".log"))
		return false;
	for (size_t i = 0; i < d->files_count; i++)
		if (strstr(d->files[i].name, ".log") && strcmp(d->files[i].name, f->name) > 0)
			return false;
	return true;
}

static inline void damages_flip(struct damages *d, const struct damages_file *f, uint64_t stride)
{
	unsigned cases = 0;

	for (uint64_t at = 0; at < f->size && !d->error[0]; at += stride)
		for (int all = 0; all < 2 && !d->error[0]; all++) {
			unsigned char mask =
				all ? 255 : (unsigned char)(1 << rng_below(&d->rng, 8));
			struct storage *st;

			if (stride > 1 && (int)(at / stride % 2) != all)
				continue;
			st = damages_copy(d);
			must(storage_mem_flip(st, f->name, at, mask), "flip");
			if (!d->check(d->ctx, st, false, cases++ % 8 == 0))
				printf("#   %s, byte %" PRIu64 " of %" PRIu64
				       " of %s, mask %02x: %s\n",
				       d->name, at, f->size, f->name, mask, d->error);
		}
	d->finish(d->ctx, "a byte wrong", f->name, cases);
}

static inline void damages_cut_off(struct damages *d, const struct damages_file *f)
{
	uint64_t step = f->size / 12 + 1;
	unsigned cases = 0;

	for (uint64_t size = 0; size < f->size + 2 && !d->error[0]; size += step) {
		struct storage *st = damages_copy(d);
		struct storage_file *file;
		/* The last one: all but one byte. */
		uint64_t to = size + step < f->size + 2 ? size : f->size - (f->size > 0);

		must(storage_open_file(st, f->name, STORAGE_WRITE, &file), "open");
		must(st->ops->truncate(file, to), "truncate");
		storage_close(file);
		if (!d->check(d->ctx, st, damages_is_newest_log(d, f), true))
			printf("#   %s, %s cut to %" PRIu64 " of %" PRIu64 ": %s\n", d->name,
			       f->name, to, f->size, d->error);
		cases++;
	}
	d->finish(d->ctx, "cut off", f->name, cases);
}

static inline void damages_grow(struct damages *d, const struct damages_file *f)
{
	static const char junk[700] = "junk at the end";
	unsigned cases = 0;

	for (size_t size = 1; size <= sizeof(junk) && !d->error[0]; size += 233, cases++) {
		struct storage *st = damages_copy(d);
		struct storage_file *file;

		must(storage_open_file(st, f->name, STORAGE_WRITE, &file), "open");
		must(storage_pwrite(file, junk, size, f->size), "write");
		storage_close(file);
		if (!d->check(d->ctx, st, false, true))
			printf("#   %s, %s longer by %zu: %s\n", d->name, f->name, size, d->error);
	}
	d->finish(d->ctx, "grown", f->name, cases);
}

static inline void damages_lose(struct damages *d, const struct damages_file *f)
{
	struct storage *st = damages_copy(d);

	must(st->ops->unlink(st, f->name), "unlink");
	if (!d->check(d->ctx, st, damages_is_newest_log(d, f), true))
		printf("#   %s, without %s: %s\n", d->name, f->name, d->error);
	d->finish(d->ctx, "missing", f->name, 1);
}

static inline void damages_swap(struct damages *d, const struct damages_file *f)
{
	unsigned cases = 0;

	for (const struct damages_file *g = d->files; g < d->files + d->files_count; g++) {
		struct storage *st;

		if (g == f || d->error[0])
			continue;
		st = damages_copy(d);
		must(st->ops->rename(st, f->name, "other"), "rename");
		must(st->ops->rename(st, g->name, f->name), "rename");
		must(st->ops->rename(st, "other", g->name), "rename");
		if (!d->check(d->ctx, st,
			      damages_is_newest_log(d, f) || damages_is_newest_log(d, g), true))
			printf("#   %s, %s and %s swapped: %s\n", d->name, f->name, g->name,
			       d->error);
		cases++;
	}
	d->finish(d->ctx, "in the place of another", f->name, cases);
}

static inline void damages_all(struct damages *d, uint64_t stride)
{
	damages_list(d);
	for (size_t i = 0; i < d->files_count; i++) {
		const struct damages_file *f = &d->files[i];
		uint64_t every = stride;

		/* Nobody reads the one; in the others are long rows of zeros. */
		if (!strcmp(f->name, "RESERVE"))
			every = f->size;
		else if (stride > 1 && strstr(f->name, ".seg"))
			every = stride * 16;
		damages_flip(d, f, every);
		damages_cut_off(d, f);
		damages_grow(d, f);
		damages_lose(d, f);
		damages_swap(d, f);
	}
}

#endif
