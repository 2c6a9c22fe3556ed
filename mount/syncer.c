/*
 * syncer.c - the thread that answers what syncer_answer() leaves to it.
 */
#include "mount/syncer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "mount/lock_ranks.h"

struct syncer_wait {
	struct request request;
	SLIST_ENTRY(syncer_wait) next;
};
SLIST_HEAD(syncer_waits, syncer_wait);

struct syncer {
	struct fs *fs;
	pthread_t thread;
	struct mutex lock;
	pthread_cond_t wake; /* there is a request, or the thread is to end */
	/* guarded by lock */
	struct syncer_waits waits; /* in no order: one sync is for all of them */
	bool busy;                 /* a thread that answers requests is in a sync */
	bool stop;
};

/* Wait for requests and take all of them. Returns false when there are none and never will be. */
static bool syncer_take(struct syncer *s, struct syncer_waits *taken)
{
	mutex_lock(&s->lock);
	while (SLIST_EMPTY(&s->waits) && !s->stop)
		cond_wait(&s->wake, &s->lock);
	*taken = s->waits;
	SLIST_INIT(&s->waits);
	mutex_unlock(&s->lock);
	return !SLIST_EMPTY(taken);
}

static void *syncer_run(void *arg)
{
	struct syncer *s = arg;
	struct syncer_waits taken;

	while (syncer_take(s, &taken)) {
		int err = fs_sync(s->fs);

		while (!SLIST_EMPTY(&taken)) {
			struct syncer_wait *w = SLIST_FIRST(&taken);

			SLIST_REMOVE_HEAD(&taken, next);
			reply_error(&w->request, err);
			free(w);
		}
	}
	return NULL;
}

int syncer_new(struct fs *fs, struct syncer **out)
{
	struct syncer *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->fs = fs;
	SLIST_INIT(&s->waits);
	err = mutex_init(&s->lock, LOCK_SYNCER);
	if (err)
		goto out;
	err = cond_init(&s->wake);
	if (err)
		goto out_mutex;
	err = -pthread_create(&s->thread, NULL, syncer_run, s);
	if (!err) {
		*out = s;
		return 0;
	}
	cond_destroy(&s->wake);
out_mutex:
	mutex_destroy(&s->lock);
out:
	free(s);
	return err;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	mutex_lock(&s->lock);
	s->stop = true;
	cond_signal(&s->wake);
	mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	cond_destroy(&s->wake);
	mutex_destroy(&s->lock);
	free(s);
}

void syncer_answer(struct syncer *s, const struct request *r)
{
	struct request request = *r;
	struct syncer_wait *w = NULL;
	bool here;

	mutex_lock(&s->lock);
	here = !s->busy && r->mount->options->threads > 1;
	if (!here)
		w = malloc(sizeof(*w));
	if (w) {
		w->request = request;
		SLIST_INSERT_HEAD(&s->waits, w, next);
		cond_signal(&s->wake);
	} else if (here) {
		s->busy = true;
	}
	mutex_unlock(&s->lock);
	if (w)
		return;
	reply_error(&request, fs_sync(s->fs));
	if (!here) /* There was no memory to leave it to the syncer's thread. */
		return;
	mutex_lock(&s->lock);
	s->busy = false;
	mutex_unlock(&s->lock);
}
