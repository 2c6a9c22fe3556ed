/*
 * control.c - the attributes by which the command line asks a running daemon.
 *
 * A compaction of a large store takes longer than a request may. So it runs on
 * a thread of its own, and the command that asked for it watches the numbers.
 */
#include "mount/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/lock_ranks.h"
#include "mount/message.h"
#include "mount/scrub.h"
#include "mount/stats.h"

struct control {
	struct fs *fs;
	struct scrub *scrub;
	uid_t owner;
	atomic_bool stopping;
	struct mutex lock;
	/* guarded by `lock` */
	bool joinable, running;
	pthread_t thread;
	uint64_t done, total, runs;
	int last_err; /* of the last one that ended */
};

static int control_get_pid(struct control *c, char *text)
{
	(void)c;
	return sprintf(text, "%ld", (long)getpid());
}

static int control_get_stats(struct control *c, char *text)
{
	struct stats stats = {.pid = (uint64_t)getpid()};
	int err = fs_stats(c->fs, &stats.fs);

	if (err)
		return err;
	mutex_lock(&c->lock);
	stats.compacting = c->running;
	stats.compact_done = c->done;
	stats.compact_total = c->total;
	stats.compact_runs = c->runs;
	stats.compact_errno = (uint64_t)-c->last_err;
	mutex_unlock(&c->lock);
	return (int)stats_write(&stats, text, STATS_BYTES_MAX);
}

static int control_on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct control *c = ctx;

	mutex_lock(&c->lock);
	c->done = done;
	c->total = total;
	mutex_unlock(&c->lock);
	return atomic_load(&c->stopping);
}

static void *control_compact(void *ctx)
{
	struct control *c = ctx;
	int err = fs_compact(c->fs, control_on_progress, c);

	if (err && err != -EINTR)
		say_error("compaction failed: %s", message_reason(err));
	mutex_lock(&c->lock);
	c->running = false;
	c->last_err = err;
	c->runs++;
	mutex_unlock(&c->lock);
	return NULL;
}

static int control_set_compact(struct control *c)
{
	int err = 0;

	mutex_lock(&c->lock);
	if (c->running) {
		err = -EALREADY;
		goto out;
	}
	if (c->joinable)
		pthread_join(c->thread, NULL);
	c->done = c->total = 0;
	err = -pthread_create(&c->thread, NULL, control_compact, c);
	c->joinable = c->running = !err;
out:
	mutex_unlock(&c->lock);
	return err;
}

/*
 * The only place that knows the names. A getter writes STATS_BYTES_MAX bytes at most, and
 * returns how many they are, or a negative errno.
 */
static const struct control_attribute {
	const char *name;
	int (*get)(struct control *c, char *text);
	int (*set)(struct control *c);
} control_attributes[] = {
	{CONTROL_PID, control_get_pid, NULL},
	{CONTROL_STATS, control_get_stats, NULL},
	{CONTROL_COMPACT, NULL, control_set_compact},
};

static const struct control_attribute *control_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(control_attributes) / sizeof(*control_attributes); i++)
		if (!strcmp(control_attributes[i].name, name))
			return &control_attributes[i];
	return NULL;
}

bool control_has(uint64_t ino, const char *name)
{
	return ino == FS_ROOT_INO &&
	       (control_find(name) || !strncmp(name, CONTROL_SCRUB, strlen(CONTROL_SCRUB)));
}

/* ---- a scrub: the command and its numbers are in the attribute's name ---- */

static bool control_may(const struct control *c, uid_t uid)
{
	return !uid || uid == c->owner;
}

/*
 * Read up to two numbers behind `verb`, each after a dot. Returns how many there are, or -1 if
 * `ask` is something else.
 */
static int control_numbers(const char *ask, const char *verb, uint64_t number[2])
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

static int control_get_scrub(struct control *c, const char *ask, char *text, size_t size,
			     size_t *got)
{
	struct scrub_state state;
	uint64_t number[2], run;
	char head[SCRUB_HEAD_BYTES];
	size_t head_size;
	int err;

	if (size < SCRUB_HEAD_BYTES)
		return -ERANGE;
	if (control_numbers(ask, "begin", number) == 1) {
		err = scrub_begin(c->scrub, number[0], &run);
		if (!err)
			*got = (size_t)sprintf(text, "%" PRIu64, run);
		return err;
	}
	if (control_numbers(ask, "stop", number) == 1)
		return scrub_stop(c->scrub, number[0]);
	if (control_numbers(ask, "at", number) != 2)
		return -ENODATA;
	/* Leave room for the longest line in front of the findings, then close the gap. */
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
	const struct control_attribute *attribute = control_find(name);
	char text[STATS_BYTES_MAX];
	int n;

	*got = 0;
	/* Findings name files. Others may not be allowed to see these names. */
	if (!strncmp(name, CONTROL_SCRUB, strlen(CONTROL_SCRUB)))
		return control_may(c, uid) ? control_get_scrub(c, name + strlen(CONTROL_SCRUB),
							       value, size, got) :
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
	const struct control_attribute *attribute = control_find(name);

	if (!attribute || !attribute->set || !control_may(c, uid))
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
	if (c->scrub && !mutex_init(&c->lock, LOCK_CONTROL))
		return c;
	scrub_free(c->scrub);
	free(c);
	return NULL;
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
	mutex_destroy(&c->lock);
	free(c);
}
