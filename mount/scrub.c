/*
 * scrub.c - the thread that scrubs; see scrub.h.
 *
 * The thread gives way to all others in three ways. The disk serves it only when it is idle
 * (where the disk's scheduler has priorities). The CPU prefers others. It reads at most a given
 * number of bytes a second. The nice value is 10 and not 19: the thread takes locks of
 * the tree for short times. With 19 it might lose the CPU while it holds one, hardly ever get
 * it back, and keep others waiting.
 */
#include "mount/scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mount/lock_ranks.h"
#include "mount/message.h"

#define NICE 10
/* From linux/ioprio.h, which older kernels do not install. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE (3 << 13)
#define NS_PER_S INT64_C(1000000000)

struct scrub {
	struct fs *fs;
	struct mutex lock;
	pthread_cond_t changed; /* text was read, or the scrub is to stop */
	/* guarded by lock */
	bool joinable, running, stopping;
	pthread_t thread;
	uint64_t run;
	struct scrub_state state;
	int64_t read_ns;    /* when it was last read */
	uint64_t text_from; /* the place of text[0] among all bytes of findings */
	size_t text_size;
	char text[SCRUB_TEXT_BYTES];
	/* the thread's own */
	uint64_t rate_mib;
	uint64_t paid_bytes; /* of progress, for which due_ns has been moved */
	int64_t due_ns;      /* by the rate, the next read may not begin before this */
};

static int64_t scrub_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Wait until `ns`, or `changed`. Stop the scrub if nobody has read from it for too long. */
static void scrub_wait_until(struct scrub *s, int64_t ns) REQUIRES(s->lock)
{
	int64_t watched = s->read_ns + SCRUB_WATCH_S * NS_PER_S;
	struct timespec t;

	if (ns > watched)
		ns = watched;
	t = (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
	(void)cond_wait_until(&s->changed, &s->lock, &t);
	if (scrub_now_ns() > s->read_ns + SCRUB_WATCH_S * NS_PER_S)
		s->stopping = true;
}

static void scrub_on_finding(void *ctx, const char *text)
{
	struct scrub *s = ctx;
	size_t size = strlen(text);

	/* A finding is a few KB at most. It always fits once all before it were read. */
	if (size > SCRUB_TEXT_BYTES - 1)
		size = SCRUB_TEXT_BYTES - 1;
	mutex_lock(&s->lock);
	while (!s->stopping && s->text_size + size + 1 > SCRUB_TEXT_BYTES)
		scrub_wait_until(s, INT64_MAX);
	if (s->text_size + size + 1 <= SCRUB_TEXT_BYTES) {
		memcpy(s->text + s->text_size, text, size);
		/* A newline in a name must not end the line of the finding. */
		s->text[s->text_size + size] = 0;
		message_clean(s->text + s->text_size);
		s->text[s->text_size + size] = '\n';
		s->text_size += size + 1;
	}
	mutex_unlock(&s->lock);
}

static int scrub_on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct scrub *s = ctx;
	int64_t now = scrub_now_ns();
	bool stop;

	if (s->rate_mib && done > s->paid_bytes) {
		double seconds = (double)(done - s->paid_bytes) / ((double)s->rate_mib * (1 << 20));

		/* After a slow read there is no burst to catch up. */
		s->due_ns = (s->due_ns > now ? s->due_ns : now) + (int64_t)(seconds * NS_PER_S);
		s->paid_bytes = done;
	}
	mutex_lock(&s->lock);
	s->state.done = done;
	s->state.total = total;
	/* Less than a tick is not worth a sleep: it adds to the next one. */
	if (s->due_ns > now + NS_PER_S / 100)
		while (!s->stopping && scrub_now_ns() < s->due_ns)
			scrub_wait_until(s, s->due_ns);
	else if (now > s->read_ns + SCRUB_WATCH_S * NS_PER_S)
		s->stopping = true;
	stop = s->stopping;
	mutex_unlock(&s->lock);
	return stop;
}

static void *scrub_run(void *ctx)
{
	struct scrub *s = ctx;
	struct fs_check_counts counts;
	int err;

	/* For this thread alone. If one is refused, others are only disturbed more. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	err = fs_check(s->fs, scrub_on_finding, s, scrub_on_progress, s, &counts);
	if (err == -EUCLEAN)
		say_warning("scrub: %" PRIu64 " findings", counts.findings);
	else if (err)
		say_info("scrub: %s", err == -EINTR ? "stopped" : message_reason(err));
	mutex_lock(&s->lock);
	s->state.ended = true;
	s->state.err = err;
	s->state.counts = counts;
	s->running = false;
	mutex_unlock(&s->lock);
	return NULL;
}

int scrub_begin(struct scrub *s, uint64_t rate_mib, uint64_t *run)
{
	int err;

	*run = 0;
	mutex_lock(&s->lock);
	if (s->running) {
		mutex_unlock(&s->lock);
		return -EALREADY;
	}
	if (s->joinable)
		pthread_join(s->thread, NULL);
	s->state = (struct scrub_state){0};
	s->text_from = s->text_size = 0;
	s->stopping = false;
	s->rate_mib = rate_mib;
	s->paid_bytes = 0;
	s->due_ns = 0;
	s->read_ns = scrub_now_ns();
	*run = ++s->run;
	err = -pthread_create(&s->thread, NULL, scrub_run, s);
	s->joinable = s->running = !err;
	mutex_unlock(&s->lock);
	return err;
}

int scrub_read(struct scrub *s, uint64_t run, uint64_t from, struct scrub_state *state, char *text,
	       size_t size, size_t *got)
{
	size_t read;

	*got = 0;
	mutex_lock(&s->lock);
	if (!run || run != s->run || from < s->text_from || from > s->text_from + s->text_size) {
		mutex_unlock(&s->lock);
		return -ESTALE;
	}
	read = (size_t)(from - s->text_from);
	s->text_size -= read;
	memmove(s->text, s->text + read, s->text_size);
	s->text_from = from;
	s->read_ns = scrub_now_ns();
	*got = s->text_size < size ? s->text_size : size;
	memcpy(text, s->text, *got);
	*state = s->state;
	if (read)
		cond_broadcast(&s->changed);
	mutex_unlock(&s->lock);
	return 0;
}

int scrub_stop(struct scrub *s, uint64_t run)
{
	int err = 0;

	mutex_lock(&s->lock);
	if (run != s->run)
		err = -ESTALE;
	else
		s->stopping = true;
	cond_broadcast(&s->changed);
	mutex_unlock(&s->lock);
	return err;
}

struct scrub *scrub_new(struct fs *fs)
{
	struct scrub *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fs = fs;
	if (mutex_init(&s->lock, LOCK_SCRUB))
		goto out;
	if (!cond_init(&s->changed))
		return s;
	mutex_destroy(&s->lock);
out:
	free(s);
	return NULL;
}

void scrub_free(struct scrub *s)
{
	if (!s)
		return;
	(void)scrub_stop(s, s->run);
	if (s->joinable)
		pthread_join(s->thread, NULL);
	cond_destroy(&s->changed);
	mutex_destroy(&s->lock);
	free(s);
}

/* ---- the state as text ---- */

size_t scrub_state_write(const struct scrub_state *state, char *text)
{
	const struct fs_check_counts *n = &state->counts;

	return (size_t)snprintf(text, SCRUB_HEAD_BYTES,
				"%d %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
				" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
				state->ended, -state->err, state->done, state->total, n->files,
				n->directories, n->symlinks, n->others, n->bytes, n->orphans,
				n->findings);
}

size_t scrub_state_read(struct scrub_state *state, const char *text)
{
	uint64_t number[11];
	const char *at = text;
	char *end;

	*state = (struct scrub_state){0};
	for (size_t i = 0; i < 11; i++, at = end) {
		number[i] = strtoull(at, &end, 10);
		if (end == at)
			return 0;
	}
	if (*at != '\n')
		return 0;
	state->ended = number[0] != 0;
	state->err = -(int)number[1];
	state->done = number[2];
	state->total = number[3];
	state->counts = (struct fs_check_counts){.files = number[4],
						 .directories = number[5],
						 .symlinks = number[6],
						 .others = number[7],
						 .bytes = number[8],
						 .orphans = number[9],
						 .findings = number[10]};
	return (size_t)(at + 1 - text);
}
