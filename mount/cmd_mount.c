/*
 * cmd_mount.c - the life of a daemon, from the terminal to the background.
 *
 *   parent: check options, mount point, store's place and FUSE    errors: exit 1 or 2
 *     fork
 *   child:  open the store, mount, answer the kernel's first request, start all threads
 *           leave the terminal, write a byte to the parent          parent: exit 0
 *           answer requests
 *           unmounted, or a signal came: flush and close the store, exit
 *
 * The fork comes before any thread is started and before the store is opened, because
 * a child inherits neither threads nor locks. The parent waits on a pipe for one byte. If
 * the child ends without writing it, the child has reported an error, and the parent ends
 * with the child's exit status.
 *
 * Signals are blocked in every thread and waited for in one. To end, that thread
 * unmounts in the normal way, while requests are still answered. If a program uses the mount,
 * it is detached instead, and the program's calls fail from then on.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/control.h"
#include "mount/message.h"
#include "mount/mountpoint.h"
#include "mount/ops.h"
#include "mount/options.h"
#include "mount/store.h"
#include "mount/syncer.h"
#include "mount/transport.h"

#define FILES_MIN 64 /* for tables, log and segments: with fewer, files are opened all the time */
#define STORE_WAIT_S 30

struct daemon {
	struct mount_options options;
	struct mount mount;
	struct transport *transport;
	pthread_t watcher;
	sigset_t signals;
	int ready_fd;      /* a byte goes there when the mount works; -1: in the foreground */
	int null_fd;       /* /dev/null, until the mount works */
	bool ready;        /* requests have been answered */
	atomic_bool ended; /* no more requests come */
};

/* ---- before the fork ---- */

static int mount_resolve_paths(struct mount_options *o)
{
	char *path = mountpoint_resolve(o->mountpoint);

	if (!path) {
		if (errno == ENOENT)
			say_error("%s: no such mount point; make it first: mkdir %s", o->mountpoint,
				  o->mountpoint);
		else
			say_error("%s: cannot use the mount point: %s; name an empty directory",
				  o->mountpoint, strerror(errno));
		return -ENOENT;
	}
	free(o->mountpoint);
	o->mountpoint = path;
	if (mountpoint_check(o->mountpoint, o->nonempty))
		return -EINVAL;
	path = store_resolve(o->store);
	if (!path) {
		say_error("%s: cannot use the store: %s; the directory it is in must exist",
			  o->store, strerror(errno));
		return -ENOENT;
	}
	free(o->store);
	o->store = path;
	if (mountpoint_is_within(o->store, o->mountpoint)) {
		say_error("%s: the store is within its own mount point %s and would be hidden by "
			  "it; keep them apart",
			  o->store, o->mountpoint);
		return -EINVAL;
	}
	if (mountpoint_is_within(o->mountpoint, o->store)) {
		say_error("%s: the mount point is within its own store %s; keep them apart",
			  o->mountpoint, o->store);
		return -EINVAL;
	}
	return 0;
}

/* The tree keeps many files open: allow as many as this process may have. */
static int mount_raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= FILES_MIN)
		return 0;
	say_error("only %lu open files are allowed and at least %d are needed; raise the limit "
		  "(`ulimit -n`)",
		  (unsigned long)limit.rlim_cur, FILES_MIN);
	return -EMFILE;
}

/* ---- signals ---- */

static void daemon_end_by_signal(struct daemon *d)
{
	int err = transport_detach(d->transport, false);

	if (!err)
		return;
	say_warning("%s: in use while the daemon is told to end; programs there lose it",
		    d->options.mountpoint);
	err = transport_detach(d->transport, true);
	if (err)
		say_warning("%s: cannot unmount: %s", d->options.mountpoint, strerror(-err));
	/* Requests must still be answered: one of them may wait for the name being pruned. */
	fs_set_prune(d->mount.fs, NULL, NULL);
	transport_stop(d->transport);
}

static void *daemon_watch_signals(void *arg)
{
	static const struct timespec pause = {.tv_nsec = 10000000};
	struct daemon *d = arg;
	bool ending = false;

	while (!atomic_load(&d->ended)) {
		/* After the first signal, do not wait for another: look whether it has ended. */
		int signal = ending ? sigtimedwait(&d->signals, NULL, &pause) :
				      sigwaitinfo(&d->signals, NULL);

		if (atomic_load(&d->ended))
			break;
		if (signal > 0 && !ending) {
			say_info("ending by signal %d", signal);
			daemon_end_by_signal(d);
			ending = true;
		} else if (signal > 0) {
			transport_stop(d->transport);
		}
	}
	return NULL;
}

/* ---- the daemon ---- */

/*
 * Requests are answered from now on: leave the terminal, and let the parent end. From here on
 * messages go to the system's log. Errors that come earlier are still seen.
 */
static void daemon_on_ready(void *ctx)
{
	struct daemon *d = ctx;
	int i;

	d->ready = true;
	if (d->ready_fd >= 0) {
		setsid();
		message_to_syslog();
		for (i = STDIN_FILENO; i <= STDERR_FILENO; i++)
			dup2(d->null_fd, i);
		/* The parent may have been killed. The mount works without it. */
		if (write(d->ready_fd, "", 1) < 0)
			say_warning("nobody waits for the mount");
		close(d->ready_fd);
		close(d->null_fd);
	}
	say_info("%s mounted at %s", d->options.store, d->options.mountpoint);
}

static int daemon_run(struct daemon *d)
{
	int err;

	if (d->ready_fd >= 0) {
		d->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (d->null_fd < 0) {
			err = -errno;
			say_error("/dev/null: %s", strerror(-err));
			return err;
		}
	}
	err = -pthread_create(&d->watcher, NULL, daemon_watch_signals, d);
	if (err) {
		say_error("cannot start a thread: %s", strerror(-err));
		return err;
	}
	fs_set_prune(d->mount.fs, transport_prune, d->transport);
	err = transport_run(d->transport, daemon_on_ready, d);
	if (err && !d->ready)
		say_error("cannot start a thread that answers requests; allow more processes or "
			  "memory (`ulimit -u`, `ulimit -v`)");
	else if (err)
		say_error("%s: lost the connection to the kernel: %s", d->options.mountpoint,
			  strerror(-err));
	atomic_store(&d->ended, true);
	pthread_kill(d->watcher, SIGTERM);
	pthread_join(d->watcher, NULL);
	return err;
}

static int daemon_serve(struct daemon *d, int ready_fd)
{
	int err, close_err;

	d->ready_fd = ready_fd;
	sigemptyset(&d->signals);
	sigaddset(&d->signals, SIGTERM);
	sigaddset(&d->signals, SIGINT);
	sigaddset(&d->signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &d->signals, NULL);
	/*
	 * When this process needs memory, the kernel must not try to get it by writing to this
	 * very mount. Only root may ask for that.
	 */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	if (chdir("/"))
		say_warning("/: %s", strerror(errno));

	err = store_open(d->options.store, &d->options.fs, STORE_WAIT_S, &d->mount.fs);
	if (err)
		return err;
	d->mount.options = &d->options;
	err = open_dirs_init(&d->mount.dirs);
	d->mount.control = control_new(d->mount.fs, getuid());
	if (err || !d->mount.control) {
		say_error("not enough memory to mount");
		err = -ENOMEM;
	}
	if (!err) {
		err = syncer_new(d->mount.fs, &d->mount.syncer);
		if (err)
			say_error("cannot start a thread: %s", strerror(-err));
	}
	if (!err)
		err = transport_open(&d->mount, &d->transport);
	if (!err)
		err = daemon_run(d);
	fs_set_prune(d->mount.fs, NULL, NULL);
	syncer_free(d->mount.syncer);
	transport_close(d->transport);
	open_dirs_release(&d->mount.dirs);
	control_free(d->mount.control);
	close_err = store_close(d->options.store, d->mount.fs);
	say_info("%s closed", d->options.store);
	return err ? err : close_err;
}

/* In the parent: wait until the mount works, or the child has failed. The exit status. */
static int mount_wait_for_ready(int fd, pid_t child)
{
	char byte;
	ssize_t n;
	int status;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	close(fd);
	if (n == 1)
		return EXIT_DONE;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILED;
	if (WIFEXITED(status))
		return WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED;
	say_error("the daemon was killed by signal %d while it started; try again with -f",
		  WTERMSIG(status));
	return EXIT_FAILED;
}

static int mount_start(struct daemon *d)
{
	int fds[2];
	pid_t child;

	if (d->options.foreground) {
		message_verbose();
		return daemon_serve(d, -1) ? EXIT_FAILED : EXIT_DONE;
	}
	if (pipe2(fds, O_CLOEXEC)) {
		say_error("cannot make a pipe: %s", strerror(errno));
		return EXIT_FAILED;
	}
	child = fork();
	if (child < 0) {
		say_error("cannot start the daemon: %s", strerror(errno));
		return EXIT_FAILED;
	}
	if (child) {
		close(fds[1]);
		return mount_wait_for_ready(fds[0], child);
	}
	/* The daemon must not keep the files open that its parent has open. */
	if (dup2(fds[1], 3) != 3)
		_exit(EXIT_FAILED);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	close_range(4, ~0u, 0);
	return daemon_serve(d, 3) ? EXIT_FAILED : EXIT_DONE;
}

static int cmd_mount(const struct command *self, int argc, char **argv)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int status = EXIT_FAILED;

	if (!d) {
		say_error("not enough memory");
		return EXIT_FAILED;
	}
	switch (mount_options_parse(&d->options, argc, argv)) {
	case OPTIONS_READ:
		if (!mount_resolve_paths(&d->options) && !transport_check(&d->options) &&
		    !mount_raise_file_limit())
			status = mount_start(d);
		break;
	case OPTIONS_HELP:
		command_help(self);
		status = command_finish(EXIT_DONE);
		break;
	case OPTIONS_WRONG:
		status = EXIT_USAGE;
		break;
	case OPTIONS_FAILED:
		break;
	}
	mount_options_release(&d->options);
	free(d);
	return status;
}

static const char cmd_mount_help[] =
	"The store is a directory. It is made on first use. MOUNTPOINT is an empty directory.\n"
	"When the mount works the daemon goes to the background. With -f it stays in the\n"
	"foreground, with its messages on stderr.\n"
	"\n"
	"  -o memory=SIZE     memory for all caches and buffers (256M; at least 16M)\n"
	"  -o commit=SECONDS  a change is on disk after this time at the latest (5)\n"
	"  -o sync            every change survives a power cut before its call returns\n"
	"  -o ro              read only: not a byte of the store is written\n"
	"  -o compress=HOW    how tables are compressed: none, lz4 (default) or zstd\n"
	"  -o noatime|relatime|strictatime   when reading changes a file's access time\n"
	"  -o acl             POSIX access control lists, as on ext4\n"
	"  -o writeback       the kernel collects writes: faster when they are tiny\n"
	"  -o threads=N       answer requests by at most N threads (2)\n"
	"  -o nonempty        mount over a directory with files in it\n"
	"  -o idle_halt       let idle virtual CPUs halt, even while requests come\n"
	"  -o discard_damage  open a store with a damaged log; all that was logged from the\n"
	"                     damage on is lost\n"
	"  -o debug           print every request; implies -f\n"
	"\n"
	"  -o allow_other, allow_root    let all other users, or root, use the mount\n"
	"  -o default_permissions        the kernel checks modes and owners. It always does,\n"
	"                                except on root's own mount without allow_* and acl\n"
	"  -o auto_unmount, max_read=N, rw, [no]suid, [no]dev, [no]exec   as for any FUSE mount\n";

const struct command command_mount = {
	.name = "mount",
	.run = cmd_mount,
	.usage = "varve mount [-f] [-o OPT,...] STORE MOUNTPOINT",
	.summary = "make the store's files usable at MOUNTPOINT",
	.help = cmd_mount_help,
};
