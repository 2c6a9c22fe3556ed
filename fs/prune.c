/*
 * prune.c - keeping the table of inodes within its share of memory.
 *
 * An inode can only leave the table when the kernel drops its references, and the
 * kernel does so when it is short of memory itself. So a thread asks
 * it to: names that were not used since the hand of the clock last came by are
 * handed to the callback, a few at a time and with no lock held. What is in use
 * by a call, or has children in memory, is left alone; so are inodes without a
 * known name.
 *
 * The kernel may answer late or never (a file that is open keeps its inode). So
 * after each handful the thread gives it a moment, and after a whole round that
 * did not help it waits, longer each time, until the table has shrunk. Meanwhile
 * reading a directory adds nothing to a full table (dir.c): it lists names alone,
 * which the kernel looks up one by one if it wants more.
 */
#include "fs/inode.h"
#include "fs/prune.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define PRUNE_STEP 256u   /* names per handful */
#define PRUNE_PAUSE_MS 1u /* after one, for the kernel to answer: 250,000 names a second */
#define PRUNE_WAIT_MS_MIN 50u
#define PRUNE_WAIT_MS_MAX 10000u

struct victim {
	uint64_t parent;
	char name[FS_NAME_BYTES_MAX + 1];
};

static bool prune_over(struct fs *fs, size_t limit)
{
	return atomic_load_explicit(&fs->inode_bytes, memory_order_relaxed) > limit;
}

/*
 * Move the hand on until `max` victims are found or a shard is done.
 * Returns how many.
 */
static unsigned prune_collect(struct fs *fs, struct victim *victims, unsigned max)
{
	struct prune *p = &fs->prune;
	struct shard *s = &fs->shards[p->shard];
	unsigned n = 0;

	mutex_lock(&s->lock);
	for (; p->bucket <= s->mask && n < max; p->bucket++) {
		for (struct inode *i = s->buckets[p->bucket]; i && n < max; i = i->next) {
			/* Nobody at work on it, so its place cannot change now. */
			if (i->refs || !i->lookups || i->where == INODE_NAMELESS || !i->name)
				continue;
			if (i->used) {
				i->used = false;
				continue;
			}
			victims[n].parent = i->parent->ino;
			strcpy(victims[n++].name, i->name);
		}
	}
	if (p->bucket > s->mask) {
		p->bucket = 0;
		p->shard = (p->shard + 1) % INODE_SHARDS;
	}
	mutex_unlock(&s->lock);
	return n;
}

/* Wait until `ms` have passed or the thread is to stop. */
static void prune_sleep(struct fs *fs, unsigned ms) REQUIRES(fs->prune.lock)
{
	struct prune *p = &fs->prune;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!p->stop && cond_wait_until(&p->wake, &fs->prune.lock, &until) != -ETIMEDOUT)
		;
}

/*
 * Go around until the table is small enough. Returns whether a round helped. The lock is
 * released while the callback runs.
 */
static bool prune_round(struct fs *fs, struct victim *victims) REQUIRES(fs->prune.lock)
{
	/* A little below the limit, so as not to be back at once. */
	size_t limit = fs->inode_bytes_max - fs->inode_bytes_max / 8;
	uint64_t before = atomic_load(&fs->inode_bytes);
	struct prune *p = &fs->prune;
	unsigned turns = 0, first = p->shard;

	/* Twice around: the first time may only clear `used`. */
	while (!p->stop && p->fn && prune_over(fs, limit) && turns < 2) {
		fs_prune_fn *fn = p->fn;
		void *ctx = p->ctx;
		unsigned shard = p->shard, n;

		p->calling = true;
		mutex_unlock(&fs->prune.lock);
		n = prune_collect(fs, victims, PRUNE_STEP);
		for (unsigned i = 0; i < n; i++)
			fn(ctx, victims[i].parent, victims[i].name);
		mutex_lock(&fs->prune.lock);
		p->calling = false;
		cond_broadcast(&p->idle);
		if (n)
			prune_sleep(fs, PRUNE_PAUSE_MS);
		if (p->shard != shard && p->shard == first)
			turns++;
	}
	return atomic_load(&fs->inode_bytes) < before - before / 64;
}

static void *prune_main(void *arg)
{
	struct fs *fs = arg;
	struct prune *p = &fs->prune;
	struct victim *victims = malloc(PRUNE_STEP * sizeof(*victims));
	unsigned wait_ms = PRUNE_WAIT_MS_MIN;

	if (!victims) {
		fs_report(fs, LSM_REPORT_WARNING, "no memory to keep the table of inodes small");
		return NULL;
	}
	mutex_lock(&fs->prune.lock);
	while (!p->stop) {
		if (!p->fn || !prune_over(fs, fs->inode_bytes_max)) {
			/* No wake is lost: after this the limit is looked at once more. */
			atomic_store(&p->wanted, false);
			if (!p->fn || !prune_over(fs, fs->inode_bytes_max))
				cond_wait(&p->wake, &fs->prune.lock);
			continue;
		}
		if (prune_round(fs, victims)) {
			wait_ms = PRUNE_WAIT_MS_MIN;
		} else {
			prune_sleep(fs, wait_ms);
			wait_ms = wait_ms * 2 < PRUNE_WAIT_MS_MAX ? wait_ms * 2 : PRUNE_WAIT_MS_MAX;
		}
	}
	mutex_unlock(&fs->prune.lock);
	free(victims);
	return NULL;
}

int prune_open(struct fs *fs)
{
	struct prune *p = &fs->prune;
	int err;

	err = mutex_init(&fs->prune.lock, LOCK_PRUNE);
	if (err)
		return err;
	err = cond_init(&p->wake);
	if (err)
		goto no_wake;
	err = cond_init(&p->idle);
	if (err)
		goto no_idle;
	err = -pthread_create(&p->thread, NULL, prune_main, fs);
	if (!err) {
		p->running = true;
		return 0;
	}
	cond_destroy(&p->idle);
no_idle:
	cond_destroy(&p->wake);
no_wake:
	mutex_destroy(&fs->prune.lock);
	return err;
}

void prune_close(struct fs *fs)
{
	struct prune *p = &fs->prune;

	if (!p->running)
		return;
	mutex_lock(&fs->prune.lock);
	p->stop = true;
	cond_broadcast(&p->wake);
	mutex_unlock(&fs->prune.lock);
	pthread_join(p->thread, NULL);
	p->running = false;
	cond_destroy(&p->wake);
	cond_destroy(&p->idle);
	mutex_destroy(&fs->prune.lock);
}

bool prune_full(struct fs *fs)
{
	return prune_over(fs, fs->inode_bytes_max);
}

void prune_wake(struct fs *fs)
{
	struct prune *p = &fs->prune;

	/* Once is enough. Over the limit and woken already, which is common, costs a load. */
	if (atomic_load_explicit(&p->wanted, memory_order_relaxed) ||
	    atomic_exchange(&p->wanted, true))
		return;
	mutex_lock(&fs->prune.lock);
	cond_signal(&p->wake);
	mutex_unlock(&fs->prune.lock);
}

void fs_set_prune(struct fs *fs, fs_prune_fn *fn, void *ctx)
{
	struct prune *p = &fs->prune;

	mutex_lock(&fs->prune.lock);
	p->fn = fn;
	p->ctx = ctx;
	while (p->calling)
		cond_wait(&p->idle, &fs->prune.lock);
	cond_broadcast(&p->wake);
	mutex_unlock(&fs->prune.lock);
}
