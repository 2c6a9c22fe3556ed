/*
 * live.c - asking the daemon behind a mount.
 *
 * On a mount without allow_other not even root may reach the files of another user. So, to
 * ask, a process of root becomes that user, and stays that user: the user may also do all
 * that follows (unmounting).
 */
#include "mount/live.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount/control.h"
#include "mount/message.h"

int live_find(const char *path, struct mount_info *info)
{
	char *whole = mountpoint_resolve(path);
	int err;

	*info = (struct mount_info){0};
	if (!whole)
		return -ENOENT;
	err = mount_info_find(whole, info);
	free(whole);
	if (!err && !info->is_varve) {
		mount_info_release(info);
		err = -ENOENT;
	}
	return err;
}

static int live_become_owner(const struct mount_info *info)
{
	if (geteuid() || !info->user_id)
		return -EACCES;
	if (setgroups(0, NULL) || setresgid(info->group_id, info->group_id, info->group_id) ||
	    setresuid(info->user_id, info->user_id, info->user_id))
		return -errno;
	return 0;
}

static ssize_t live_ask(const struct mount_info *info, const char *name, char *text, size_t size)
{
	ssize_t n = getxattr(info->path, name, text, size);

	if (n < 0 && errno == EACCES && !live_become_owner(info))
		n = getxattr(info->path, name, text, size);
	if (n < 0 && errno == ECONNABORTED)
		errno = ENOTCONN;
	return n < 0 ? -errno : n;
}

long live_pid(const struct mount_info *info)
{
	char text[32];
	ssize_t n = live_ask(info, CONTROL_PID, text, sizeof(text) - 1);

	if (n < 0)
		return n;
	text[n] = 0;
	n = strtol(text, NULL, 10);
	return n > 0 ? n : -EPROTO;
}

int live_stats(const struct mount_info *info, struct stats *stats)
{
	char text[STATS_BYTES_MAX + 1];
	ssize_t n = live_ask(info, CONTROL_STATS, text, STATS_BYTES_MAX);

	*stats = (struct stats){0};
	if (n < 0)
		return (int)n;
	text[n] = 0;
	stats_read(stats, text);
	return 0;
}

int live_compact(const struct mount_info *info)
{
	if (!setxattr(info->path, CONTROL_COMPACT, "", 0, 0))
		return 0;
	if (errno == EACCES && !live_become_owner(info) &&
	    !setxattr(info->path, CONTROL_COMPACT, "", 0, 0))
		return 0;
	return -errno;
}

int live_scrub_begin(const struct mount_info *info, uint64_t rate_mib, uint64_t *run)
{
	char name[64], text[SCRUB_HEAD_BYTES + 1];
	ssize_t n;

	snprintf(name, sizeof(name), CONTROL_SCRUB "begin.%" PRIu64, rate_mib);
	n = live_ask(info, name, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	*run = strtoull(text, NULL, 10);
	return n < 0 ? (int)n : *run ? 0 : -EPROTO;
}

int live_scrub_read(const struct mount_info *info, uint64_t run, uint64_t from,
		    struct scrub_state *state, char *text, size_t *got)
{
	char name[64];
	size_t head;
	ssize_t n;

	*got = 0;
	snprintf(name, sizeof(name), CONTROL_SCRUB "at.%" PRIu64 ".%" PRIu64, run, from);
	n = live_ask(info, name, text, LIVE_SCRUB_BYTES - 1);
	if (n < 0)
		return (int)n;
	text[n] = 0;
	head = scrub_state_read(state, text);
	if (!head)
		return -EPROTO;
	*got = (size_t)n - head;
	memmove(text, text + head, *got + 1);
	return 0;
}

int live_scrub_stop(const struct mount_info *info, uint64_t run)
{
	char name[64], text[SCRUB_HEAD_BYTES];

	ssize_t n;

	snprintf(name, sizeof(name), CONTROL_SCRUB "stop.%" PRIu64, run);
	n = live_ask(info, name, text, sizeof(text));
	return n < 0 ? (int)n : 0;
}

void live_say(const struct mount_info *info, int err)
{
	if (err == -ENOTCONN)
		say_error("%s: its daemon was killed; mount it again: varve mount %s %s",
			  info->path, info->source, info->path);
	else if (err == -EACCES || err == -EPERM)
		say_error("%s: not your mount; its owner (user %lu) can do that, and root",
			  info->path, (unsigned long)info->user_id);
	else if (err == -EROFS)
		say_error("%s: mounted read-only; for that, mount it without -o ro", info->path);
	else
		say_error("%s: its daemon does not answer: %s", info->path, strerror(-err));
}
