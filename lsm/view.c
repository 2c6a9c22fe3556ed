/*
 * view.c - the pinned view; see view.h, and lsm.c for how the parts hang together.
 */
#include "lsm/view.h"

#include <assert.h>
#include <stdlib.h>

struct view *view_current(struct lsm *lsm)
{
	struct view *view;

	mutex_lock(&lsm->view_mu);
	view = lsm->view;
	atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
	mutex_unlock(&lsm->view_mu);
	return view;
}

void view_unref(struct view *view)
{
	if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < view->memlogs_count; i++)
		memlog_unref(view->memlogs[i]);
	version_unref(view->version);
	atomic_fetch_sub(view->alive, 1);
	free(view);
}

int view_install(struct lsm *lsm, struct memlog *const *memlogs, size_t memlogs_count,
		 struct version *version, struct view **old)
{
	struct view *view = malloc(sizeof(*view) + memlogs_count * sizeof(struct memlog *));

	mutex_assert_held(&lsm->mu);
	assert(memlogs_count > 0);
	*old = NULL;
	if (!view)
		return -ENOMEM;
	atomic_init(&view->refs, 1);
	view->alive = &lsm->views_alive;
	atomic_fetch_add(view->alive, 1);
	view->memlogs = (struct memlog **)(view + 1);
	view->memlogs_count = memlogs_count;
	view->version = version;
	version_ref(version);
	for (size_t i = 0; i < memlogs_count; i++) {
		view->memlogs[i] = memlogs[i];
		memlog_ref(memlogs[i]);
	}
	mutex_lock(&lsm->view_mu);
	*old = lsm->view;
	lsm->view = view;
	mutex_unlock(&lsm->view_mu);
	return 0;
}
