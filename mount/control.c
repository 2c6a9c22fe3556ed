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
#include "mount/scrub.h"
#include "mount/stats.h"

struct control {
	struct fs *fs;
	struct scrub *scrub;
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
	return ino == FS_ROOT_INO &&
	       (find_attribute(name) || !strncmp(name, CONTROL_SCRUB, strlen(CONTROL_SCRUB)));
}

/* ---- a scrub: what is asked for is in the name ---- */

static bool may(const struct control *c, uid_t uid)
{
	return !uid || uid == c->owner;
}

/* Up to two numbers behind `verb` and a dot each: how many there are, or -1. */
static int take_numbers(const char *ask, const char *verb, uint64_t number[2])
{
	size_t size = strlen(verb);
	int n = 0;
	char *end;

	if (strncmp(ask, verb, size))
		return -1;
	for (ask += size; *ask == '.' && n < 2; ask = end) {
		number[n++] = strtoull(ask + 1, &end, 10);
		if (end == ask + 1)
			return -1;
	}
	return *ask ? -1 : n;
}

static int get_scrub(struct control *c, const char *ask, char *text, size_t size, size_t *got)
{
	struct scrub_state state;
	uint64_t number[2], run;
	char head[SCRUB_HEAD_BYTES];
	size_t head_size;
	int err;

	if (size < SCRUB_HEAD_BYTES)
		return -ERANGE;
	if (take_numbers(ask, "begin", number) == 1) {
		err = scrub_begin(c->scrub, number[0], &run);
		if (!err)
			*got = (size_t)sprintf(text, "%" PRIu64, run);
		return err;
	}
	if (take_numbers(ask, "stop", number) == 1)
		return scrub_stop(c->scrub, number[0]);
	if (take_numbers(ask, "at", number) != 2)
		return -ENODATA;
	/* The findings go where the line will not reach, and then behind it. */
	err = scrub_read(c->scrub, number[0], number[1], &state, text + SCRUB_HEAD_BYTES,
			 size - SCRUB_HEAD_BYTES, got);
	if (err)
		return err;
	head_size = scrub_state_write(&state, head);
	memcpy(text, head, head_size);
	memmove(text + head_size, text + SCRUB_HEAD_BYTES, *got);
	*got += head_size;
	return 0;
}

int control_get(struct control *c, uid_t uid, const char *name, void *value, size_t size,
		size_t *got)
{
	const struct attribute *attribute = find_attribute(name);
	char text[STATS_BYTES_MAX];
	int n;

	*got = 0;
	/* Findings name files that others may not see. */
	if (!strncmp(name, CONTROL_SCRUB, strlen(CONTROL_SCRUB)))
		return may(c, uid) ? get_scrub(c, name + strlen(CONTROL_SCRUB), value, size, got) :
				     -EPERM;
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

	if (!attribute || !attribute->set || !may(c, uid))
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
	c->scrub = scrub_new(fs);
	if (!c->scrub || pthread_mutex_init(&c->lock, NULL)) {
		scrub_free(c->scrub);
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
	scrub_free(c->scrub);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
