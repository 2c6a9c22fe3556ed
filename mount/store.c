/*
 * store.c - opening a store, with every error explained in words.
 *
 * The tree reports the details of a failure through its callback (which file, which offset,
 * which process holds the lock), and only then does fs_open() return the errno. While a
 * store is being opened, the last reported error is held back: it becomes the reason
 * within the message about the failure. Earlier ones (several damaged files) are printed as
 * they come.
 */
#include "mount/store.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "lsm/base/lock.h"
#include "mount/message.h"
#include "mount/mountpoint.h"

/* A process opens one store. The callback may come as long as it is open. */
static struct {
	struct mutex lock;
	/* guarded by lock */
	bool opening;
	bool hushed;                    /* errors are not printed */
	char reason[MESSAGE_BYTES_MAX]; /* the last error while opening, or "" */
	char path[PATH_MAX];
} store = {.lock = MUTEX_INITIALIZER(LOCK_MESSAGE)};

char *store_resolve(const char *path)
{
	char *whole = realpath(path, NULL), *copy = NULL, *copy2 = NULL, *parent = NULL;
	const char *name;

	if (whole || errno != ENOENT)
		return whole;
	copy = strdup(path);
	copy2 = strdup(path);
	if (!copy || !copy2)
		goto out;
	parent = realpath(dirname(copy), NULL);
	if (!parent)
		goto out;
	name = basename(copy2);
	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		errno = ENOENT;
		goto out;
	}
	if (asprintf(&whole, "%s/%s", strcmp(parent, "/") ? parent : "", name) < 0) {
		whole = NULL;
		errno = ENOMEM;
	}
out:
	free(copy);
	free(copy2);
	free(parent);
	return whole;
}

static void store_on_report(void *ctx, enum lsm_report_level level, const char *text)
{
	(void)ctx;
	mutex_lock(&store.lock);
	if (store.opening && level == LSM_REPORT_ERROR) {
		if (*store.reason && !store.hushed)
			say_error("%s: %s", store.path, store.reason);
		snprintf(store.reason, sizeof(store.reason), "%s", text);
	} else if (!store.hushed || level != LSM_REPORT_ERROR) {
		message_report(store.path, level, text);
	}
	mutex_unlock(&store.lock);
}

static bool store_is_mounted(const char *path)
{
	char *mnt = mountpoint_of_store(path);

	free(mnt);
	return mnt != NULL;
}

static void store_say_in_use(const char *path, const char *detail)
{
	char *mnt = mountpoint_of_store(path);

	if (mnt)
		say_error("%s: in use, mounted at %s%s; use the files there, or `varve umount %s` "
			  "first",
			  path, mnt, detail, mnt);
	else
		say_error("%s: in use by another process%s; wait for it to end, or stop it", path,
			  detail);
	free(mnt);
}

static void store_say_why(const char *path, int err, bool read_only) REQUIRES(store.lock)
{
	char detail[MESSAGE_BYTES_MAX] = "";

	if (*store.reason)
		snprintf(detail, sizeof(detail), " (%.*s)", MESSAGE_BYTES_MAX - 8, store.reason);
	switch (-err) {
	case ENOENT:
		say_error("%s: no store there%s; `varve mount` makes one on first use", path,
			  detail);
		break;
	case ENOTDIR:
		say_error("%s: not a directory; name the directory of a store, or a new one", path);
		break;
	case EEXIST:
		say_error("%s: not a store, but a directory with other files in it%s; "
			  "name an empty or a new directory",
			  path, detail);
		break;
	case EBUSY:
		store_say_in_use(path, detail);
		break;
	case EPROTONOSUPPORT:
		say_error("%s: written by a newer version of Varve%s; open it with that version",
			  path, detail);
		break;
	case EUCLEAN:
		say_error("%s: damaged%s; copy the store before anything else; then `varve check "
			  "--repair` saves what can be read, or -o discard_damage mounts it and "
			  "drops everything that was logged from the damage on",
			  path, detail);
		break;
	case ENOSPC:
		say_error("%s: the disk is full%s; free some space and try again%s", path, detail,
			  read_only ? "" : ", or open it with -o ro");
		break;
	case EROFS:
		say_error("%s: on a read-only filesystem%s; open it with -o ro", path, detail);
		break;
	case EACCES:
	case EPERM:
		say_error("%s: no permission to open the store%s; its owner can, and root", path,
			  detail);
		break;
	case EMFILE:
	case ENFILE:
		say_error("%s: too few open files allowed%s; raise the limit (`ulimit -n`)", path,
			  detail);
		break;
	case ENOMEM:
		say_error("%s: not enough memory%s; lower it with -o memory=", path, detail);
		break;
	default:
		say_error("%s: cannot open the store: %s%s; check the disk that it is on", path,
			  strerror(-err), detail);
	}
}

/* Hold errors back from now on, or no longer. */
static void store_opening(const char *path, bool opening)
{
	mutex_lock(&store.lock);
	if (opening) {
		snprintf(store.path, sizeof(store.path), "%s", path);
		store.reason[0] = 0;
	}
	store.opening = opening;
	mutex_unlock(&store.lock);
}

int store_open(const char *path, struct fs_options *options, unsigned wait_s, struct fs **out)
{
	static const struct timespec pause = {.tv_nsec = 50000000};
	unsigned tries = wait_s * 20;
	int err;

	*out = NULL;
	options->lsm.report = store_on_report;
	for (;;) {
		store_opening(path, true);
		err = fs_open(path, options, out);
		store_opening(path, false);
		if (err != -EBUSY || !tries || store_is_mounted(path))
			break;
		if (tries == wait_s * 20 - 20)
			say_warning("%s: in use; waiting up to %u s for it", path, wait_s);
		tries--;
		nanosleep(&pause, NULL);
	}
	mutex_lock(&store.lock);
	if (err)
		store_say_why(path, err, options->lsm.read_only);
	else if (*store.reason)
		say_warning("%s: %s", path, store.reason);
	mutex_unlock(&store.lock);
	return err;
}

void store_hush(bool hush)
{
	mutex_lock(&store.lock);
	store.hushed = hush;
	mutex_unlock(&store.lock);
}

int store_repair(const char *path, fs_finding_fn *finding, void *ctx, lsm_progress_fn *progress,
		 void *progress_ctx, struct fs_repair_counts *counts)
{
	struct fs_options options = {.lsm.report = store_on_report};
	int err;

	store_opening(path, true);
	store_hush(true);
	err = fs_repair(path, &options, finding, ctx, progress, progress_ctx, counts);
	store_opening(path, false);
	store_hush(false);
	mutex_lock(&store.lock);
	if (err == -EUCLEAN)
		say_error("%s: no whole store can be made of what can be read; nothing was changed",
			  path);
	else if (err == -ENODATA)
		say_error("%s: no part of a filesystem can be read there; nothing was changed",
			  path);
	else if (err)
		store_say_why(path, err, false);
	mutex_unlock(&store.lock);
	return err;
}

int store_close(const char *path, struct fs *fs)
{
	int err = fs_close(fs);

	if (err)
		say_error("%s: closing the store failed: %s; the last changes may be lost at a "
			  "power cut",
			  path, message_reason(err));
	return err;
}
