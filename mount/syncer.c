#include "mount/syncer.h"

#include <errno.h>
#include <stdlib.h>

struct waiting {
	struct request request;
	struct waiting *next;
};

struct syncer {
	struct fs *fs;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* guarded by lock */
	struct waiting *waiting;
	bool busy; /* a thread that answers requests is in a sync */
	bool stop;
};

static void *run(void *arg)
{
	struct syncer *s = arg;
	bool stop = false;

	while (!stop) {
		struct waiting *w, *next;
		int err;

		pthread_mutex_lock(&s->lock);
		while (!s->waiting && !s->stop)
			pthread_cond_wait(&s->wake, &s->lock);
		w = s->waiting;
		s->waiting = NULL;
		stop = !w;
		pthread_mutex_unlock(&s->lock);
		err = w ? fs_sync(s->fs) : 0;
		for (; w; w = next) {
			next = w->next;
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
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	err = pthread_create(&s->thread, NULL, run, s);
	if (err) {
		pthread_cond_destroy(&s->wake);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return -err;
	}
	*out = s;
	return 0;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void syncer_answer(struct syncer *s, const struct request *r)
{
	struct request request = *r;
	struct waiting *w = NULL;
	bool here;

	pthread_mutex_lock(&s->lock);
	here = !s->busy && r->mount->options->threads > 1;
	if (!here)
		w = malloc(sizeof(*w));
	if (w) {
		*w = (struct waiting){request, s->waiting};
		s->waiting = w;
		pthread_cond_signal(&s->wake);
	} else if (here) {
		s->busy = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (w)
		return;
	reply_error(&request, fs_sync(s->fs));
	if (!here) /* there was no memory to wait with */
		return;
	pthread_mutex_lock(&s->lock);
	s->busy = false;
	pthread_mutex_unlock(&s->lock);
}
