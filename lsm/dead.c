/*
 * dead.c - files that nothing needs any more. They are unlinked in bulk, by a thread that
 * holds no lock, and not before the manifest is known not to name them.
 */
#include "lsm/dead.h"

#include <stdlib.h>
#include <string.h>

#include "lsm/base/array.h"
#include "lsm/memlog.h"

void dead_file_add(struct lsm *lsm, enum file_kind kind, uint64_t number)
{
	mutex_lock(&lsm->dead_mu);
	if (!array_reserve(lsm->dead, lsm->dead_room, lsm->dead_count + 1))
		lsm->dead[lsm->dead_count++] = (struct dead_file){kind, number};
	mutex_unlock(&lsm->dead_mu);
}

static void dead_file_unlink(struct lsm *lsm, const struct dead_file *d)
{
	char name[64];
	int err;

	switch (d->kind) {
	case FILE_TABLE:
		table_name(name, d->number);
		break;
	case FILE_LOG:
		log_name(name, d->number);
		break;
	case FILE_MANIFEST:
		manifest_name(name, d->number);
		break;
	}
	err = lsm->st->ops->unlink(lsm->st, name);
	if (err && err != -ENOENT)
		report(&lsm->report, LSM_REPORT_WARNING, "cannot delete %s: %s", name,
		       strerror(-err));
}

void dead_files_unlink(struct lsm *lsm)
{
	struct dead_file *dead;
	size_t count;
	bool broken;

	mutex_lock(&lsm->manifest_mu);
	broken = lsm->manifest_broken;
	mutex_unlock(&lsm->manifest_mu);
	if (broken || lsm->opt.read_only)
		return;
	mutex_lock(&lsm->dead_mu);
	dead = lsm->dead;
	count = lsm->dead_count;
	lsm->dead = NULL;
	lsm->dead_count = lsm->dead_room = 0;
	mutex_unlock(&lsm->dead_mu);
	for (size_t i = 0; i < count; i++)
		dead_file_unlink(lsm, &dead[i]);
	free(dead);
}
