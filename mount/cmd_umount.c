/*
 * cmd_umount.c - unmount, and wait until the daemon has written everything to disk.
 *
 * umount(8) returns as soon as the kernel has removed the mount, while the daemon still
 * flushes and closes. Nothing tells whether that succeeded. So everything is synced first,
 * while the daemon can still answer. Then the mount is removed, and the daemon's end is
 * waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/live.h"
#include "mount/message.h"

/* Write what the kernel has cached, then what the daemon has. 0 or a negative errno. */
static int umount_sync(const char *path)
{
	struct statvfs st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	/* The owner may have made the root unreadable. The daemon syncs at its end anyway. */
	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	if (syncfs(fd))
		err = -errno;
	if (!fstatvfs(fd, &st) && (st.f_flag & ST_RDONLY))
		err = 0;
	else if (!err && fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

static int umount_wait(int pidfd, const char *path)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	bool warned = false;
	int n;

	for (;;) {
		n = poll(&poll_fd, 1, warned ? -1 : 5000);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			say_warning("%s: waiting for the daemon to write everything", path);
		warned = warned || !n;
	}
}

static int umount_dead(const struct mount_info *info)
{
	int err = mountpoint_unmount(info->path, true);

	if (err) {
		say_error("%s: its daemon was killed, and the mount cannot be removed: %s; run "
			  "`umount -l %s` as root",
			  info->path, strerror(-err), info->path);
		return EXIT_FAILED;
	}
	say_warning("%s: its daemon was killed; every change it had confirmed is in %s", info->path,
		    info->source);
	return EXIT_DONE;
}

static int umount_live(const struct mount_info *info, int pidfd)
{
	int sync_err = umount_sync(info->path), err;

	err = mountpoint_unmount(info->path, false);
	if (err == -EBUSY)
		say_error("%s: in use by a program; `fuser -vm %s` lists who uses it", info->path,
			  info->path);
	else if (err)
		say_error("%s: cannot unmount: %s; the user who mounted it can, and root",
			  info->path, strerror(-err));
	if (err)
		return EXIT_FAILED;
	err = umount_wait(pidfd, info->path);
	if (err)
		say_error("%s: cannot wait for the daemon: %s; it may still be writing",
			  info->source, strerror(-err));
	if (sync_err)
		say_error("%s: writing everything to disk failed: %s; the last changes may be "
			  "lost at a power cut",
			  info->source, message_reason(sync_err));
	return err || sync_err ? EXIT_FAILED : EXIT_DONE;
}

static int cmd_umount(const struct command *self, int argc, char **argv)
{
	struct mount_info info;
	char given[8];
	int status, pidfd;
	long pid;

	if (!command_arguments(self, argc, argv, "", 1, 1, given, &status))
		return status;
	if (live_find(argv[optind], &info)) {
		say_error("%s: no Varve mount there; `findmnt -t fuse.varve` lists them",
			  argv[optind]);
		return EXIT_FAILED;
	}
	pid = live_pid(&info);
	if (pid > 0 && geteuid() && geteuid() != info.user_id)
		pid = -EPERM;
	if (pid == -ENOTCONN) {
		status = umount_dead(&info);
	} else if (pid < 0) {
		live_say(&info, (int)pid);
		status = EXIT_FAILED;
	} else {
		pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
		if (pidfd < 0) {
			say_error("%s: its daemon (process %ld) is not seen from here: %s; "
				  "unmount it where it was mounted",
				  info.path, pid, strerror(errno));
			status = EXIT_FAILED;
		} else {
			status = umount_live(&info, pidfd);
			close(pidfd);
		}
	}
	mount_info_release(&info);
	return status;
}

const struct command command_umount = {
	.name = "umount",
	.run = cmd_umount,
	.usage = "varve umount MOUNTPOINT",
	.summary = "unmount; returns when everything is on disk",
	.help = "Fails if a program still uses the mount.\n",
};
