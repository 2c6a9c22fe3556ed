/*
 * control.c - what the command line may ask of a running daemon.
 *
 * A compaction of a large store takes longer than a request may, so it runs on
 * a thread of its own; whoever asked for it watches the numbers.
 */
#include "mount/control.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/message.h"
#include "mount/stats.h"

struct control {
	struct fs *fs;
	uid_t owner;
	atomic_bool stopping;
	pthread_mutex_t lock;
	/* guarded by `lock` */
	bool joinable, running;
	pthread_t thread;
	uint64_t done, total, runs;
	int result;
};

static int get_pid(struct control *c, char *text)
{
	(void)c;
	return sprintf(text, "%ld", (long)getpid());
}

static int get_stats(struct control *c, char *text)
{
	struct stats stats = {.pid = (uint64_t)getpid()};
	int err = fs_stats(c->fs, &stats.fs);

	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	stats.compacting = c->running;
	stats.compact_done = c->done;
	stats.compact_total = c->total;
	stats.compact_runs = c->runs;
	stats.compact_errno = (uint64_t)-c->result;
	pthread_mutex_unlock(&c->lock);
	return (int)stats_write(&stats, text, STATS_BYTES_MAX);
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct control *c = ctx;

	pthread_mutex_lock(&c->lock);
	c->done = done;
	c->total = total;
	pthread_mutex_unlock(&c->lock);
	return atomic_load(&c->stopping);
}

static void *compact(void *ctx)
{
	struct control *c = ctx;
	int err = fs_compact(c->fs, on_progress, c);

	if (err && err != -EINTR)
		say_error("compaction failed: %s", message_reason(err));
	pthread_mutex_lock(&c->lock);
	c->running = false;
	c->result = err;
	c->runs++;
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int set_compact(struct control *c)
{
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (c->running) {
		err = -EALREADY;
		goto out;
	}
	if (c->joinable)
		pthread_join(c->thread, NULL);
	c->done = c->total = 0;
	err = -pthread_create(&c->thread, NULL, compact, c);
	c->joinable = c->running = !err;
out:
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* The only place that knows the names. A getter fills STATS_BYTES_MAX bytes at most. */
static const struct attribute {
	const char *name;
	int (*get)(struct control *c, char *text);
	int (*set)(struct control *c);
} attributes[] = {
	{CONTROL_PID, get_pid, NULL},
	{CONTROL_STATS, get_stats, NULL},
	{CONTROL_COMPACT, NULL, set_compact},
};

static const struct attribute *find_attribute(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(attributes) / sizeof(*attributes); i++)
		if (!strcmp(attributes[i].name, name))
			return &attributes[i];
	return NULL;
}

bool control_has(uint64_t ino, const char *name)
{
	return ino == FS_ROOT_INO && find_attribute(name);
}

int control_get(struct control *c, const char *name, void *value, size_t size, size_t *got)
{
	const struct attribute *attribute = find_attribute(name);
	char text[STATS_BYTES_MAX];
	int n;

	*got = 0;
	if (!attribute || !attribute->get)
		return -ENODATA;
	n = attribute->get(c, text);
	if (n < 0)
		return n;
	*got = (size_t)n;
	if (!size)
		return 0;
	if (*got > size)
		return -ERANGE;
	memcpy(value, text, *got);
	return 0;
}

int control_set(struct control *c, uid_t uid, const char *name)
{
	const struct attribute *attribute = find_attribute(name);

	if (!attribute || !attribute->set || (uid && uid != c->owner))
		return -EPERM;
	return attribute->set(c);
}

struct control *control_new(struct fs *fs, uid_t owner)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fs = fs;
	c->owner = owner;
	if (pthread_mutex_init(&c->lock, NULL)) {
		free(c);
		return NULL;
	}
	return c;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	atomic_store(&c->stopping, true);
	/* No request comes any more: nobody else changes `joinable`. */
	if (c->joinable)
		pthread_join(c->thread, NULL);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
