/*
 * transport_fuse.c - the connection to the kernel through libfuse's low-level interface:
 * mounting, running, ending.
 *
 * libfuse decodes requests, encodes replies, mounts, and keeps the pool of threads. The
 * requests go to transport_fuse_requests.c, and the replies come from transport_fuse_reply.c.
 */
#include "mount/transport_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mount/message.h"
#include "mount/mountpoint.h"
#include "mount/wakeful.h"

#define READ_AHEAD_KIB 1024

/* ---- mounting ---- */

static bool transport_find_program(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path && *path ? path : "/usr/local/bin:/usr/bin:/bin"), *save = NULL;
	char *dir, file[4096];
	bool found = false;

	for (dir = copy ? strtok_r(copy, ":", &save) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &save)) {
		snprintf(file, sizeof(file), "%s/%s", dir, program);
		found = !access(file, X_OK);
	}
	free(copy);
	return found || !access("/usr/bin/fusermount3", X_OK) || !access("/bin/fusermount3", X_OK);
}

/* Has root allowed users to mount with allow_other? */
static bool transport_users_may_allow_other(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char *line = NULL, word[32], rest[2];
	size_t capacity = 0;
	bool found = false;

	if (!f)
		return errno == EACCES; /* fusermount3, which can read it, decides */
	while (!found && getline(&line, &capacity, f) > 0)
		found = sscanf(line, " %31s %1s", word, rest) == 1 &&
			!strcmp(word, "user_allow_other");
	free(line);
	fclose(f);
	return found;
}

int transport_check(const struct mount_options *options)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), err = fd < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (err == -EACCES || err == -EPERM) {
		say_error("/dev/fuse: no permission; as root: chmod 666 /dev/fuse");
		return err;
	}
	if (err) {
		say_error("/dev/fuse: %s; this kernel has no FUSE, or has not loaded it: as root, "
			  "`modprobe fuse`",
			  strerror(-err));
		return err;
	}
	if (!geteuid())
		return 0;
	if (!transport_find_program("fusermount3")) {
		say_error("fusermount3: not found, and only root can mount without it; "
			  "install the package fuse3");
		return -ENOENT;
	}
	if (options->allow_others && !transport_users_may_allow_other()) {
		say_error("option allow_other: not permitted to users; root can permit it by a "
			  "line user_allow_other in /etc/fuse.conf");
		return -EPERM;
	}
	return 0;
}

/* libfuse's option list: ours, then the user's for libfuse. NULL: no memory. */
static char *transport_options(const struct mount_options *o)
{
	char *text = NULL, *source = malloc(2 * strlen(o->store) + 1), *to = source;
	char max_read[32] = "";
	const char *from;

	if (!source)
		return NULL;
	for (from = o->store; *from; *to++ = *from++)
		if (*from == ',' || *from == '\\')
			*to++ = '\\';
	*to = 0;
	if (o->max_read)
		snprintf(max_read, sizeof(max_read), ",max_read=%u", o->max_read);
	if (asprintf(&text, "subtype=varve,fsname=%s%s%s%s%s%s%s", source,
		     o->default_permissions ? ",default_permissions" : "",
		     o->fs.lsm.read_only ? ",ro" : "", o->debug ? ",debug" : "", max_read,
		     o->fuse ? "," : "", o->fuse ? o->fuse : "") < 0)
		text = NULL;
	free(source);
	return text;
}

static void transport_on_log(enum fuse_log_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static void transport_on_log(enum fuse_log_level level, const char *format, va_list args)
{
	char text[MESSAGE_BYTES_MAX];
	size_t n;

	vsnprintf(text, sizeof(text), format, args);
	if (level == FUSE_LOG_DEBUG) {
		message_clean_lines(text);
		fputs(text, stderr);
		return;
	}
	n = strlen(text);
	if (n && text[n - 1] == '\n')
		text[n - 1] = 0;
	say_warning("%s", text);
}

/*
 * Mount, and put into `words` what libfuse and fusermount3 print on stderr meanwhile. Only
 * these words say why mounting failed.
 */
static int transport_mount(struct transport *t, char *words, size_t size)
{
	const char *mountpoint = t->mount->options->mountpoint;
	int file = memfd_create("stderr", MFD_CLOEXEC), saved = -1, err;
	ssize_t n;

	*words = 0;
	if (file >= 0)
		saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (saved >= 0)
		dup2(file, STDERR_FILENO);
	err = fuse_session_mount(t->session, mountpoint);
	if (saved >= 0) {
		dup2(saved, STDERR_FILENO);
		close(saved);
		n = pread(file, words, size - 1, 0);
		words[n > 0 ? n : 0] = 0;
	}
	if (file >= 0)
		close(file);
	return err;
}

static void transport_say_not_mounted(const char *mountpoint, char *words)
{
	char *line = words + strlen(words);

	/* The last line, without the program's own name. */
	while (line > words && line[-1] == '\n')
		*--line = 0;
	while (line > words && line[-1] != '\n')
		line--;
	if (!strncmp(line, "fusermount3: ", 13))
		line += 13;
	else if (!strncmp(line, "fuse: ", 6))
		line += 6;
	say_error("%s: cannot mount: %s; %s", mountpoint, *line ? line : "the kernel refused",
		  geteuid() ? "use a directory of your own, or mount as root" :
			      "see that this system lets root mount FUSE filesystems");
}

/* In its first request the kernel says what it can do. The reply makes the mount usable. */
static int transport_answer_init(struct transport *t)
{
	struct fuse_buf buf = {0};
	int n = 0;

	while (!t->init_answered && !fuse_session_exited(t->session)) {
		n = fuse_session_receive_buf(t->session, &buf);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		fuse_session_process_buf(t->session, &buf);
	}
	free(buf.mem);
	if (t->init_answered && t->mount->options->fs.acl && !t->setxattr_ext) {
		say_error("option acl: this kernel has no ACLs for FUSE; use Linux 5.13 or newer");
		return -EOPNOTSUPP;
	}
	if (t->init_answered)
		return 0;
	say_error("%s: the kernel and libfuse did not agree on a protocol; update libfuse3",
		  t->mount->options->mountpoint);
	return n < 0 ? n : -EPROTO;
}

int transport_open(struct mount *mount, struct transport **out)
{
	char *options = transport_options(mount->options);
	char *argv[] = {(char *)"varve", (char *)"-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct transport *t = calloc(1, sizeof(*t));
	char words[MESSAGE_BYTES_MAX] = "";
	int err = -ENOMEM;

	*out = NULL;
	if (!t || !options) {
		say_error("not enough memory to mount");
		goto out;
	}
	t->mount = mount;
	mount->transport = t;
	err = -EINVAL;
	t->session = fuse_session_new(&args, &transport_handlers, sizeof(transport_handlers), t);
	if (!t->session) {
		say_error("libfuse refuses the options %s; see `varve mount --help`", options);
		goto out;
	}
	if (transport_mount(t, words, sizeof(words))) {
		transport_say_not_mounted(mount->options->mountpoint, words);
		err = -EPERM;
		goto out;
	}
	fuse_set_log_func(transport_on_log);
	err = fuse_session_custom_io(t->session, &transport_device_io, fuse_session_fd(t->session));
	if (err)
		say_error("libfuse: %s", strerror(-err));
	else
		err = transport_answer_init(t);
	if (!err)
		mountpoint_set_read_ahead(mount->options->mountpoint, READ_AHEAD_KIB);
out:
	free(options);
	fuse_opt_free_args(&args);
	if (err)
		transport_close(t);
	else
		*out = t;
	return err;
}

/* ---- running ---- */

static void transport_on_wake(int signal)
{
	(void)signal;
}

int transport_run(struct transport *t, transport_ready_fn *ready, void *ctx)
{
	/* Without SA_RESTART, so that transport_stop() can end libfuse's waiting. */
	struct sigaction wake = {.sa_handler = transport_on_wake};
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	sigset_t set;
	int err;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, t->mount->options->threads);
	sigaction(SIGUSR1, &wake, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	t->runner = pthread_self();
	t->ready = ready;
	t->ready_ctx = ctx;
	atomic_store(&t->running, true);
	if (!t->mount->options->idle_halt)
		t->wakeful = wakeful_new();
	err = fuse_session_loop_mt(t->session, config);
	atomic_store(&t->running, false);
	wakeful_free(t->wakeful);
	t->wakeful = NULL;
	fuse_loop_cfg_destroy(config);
	return err < 0 ? err : 0;
}

void transport_stop(struct transport *t)
{
	fuse_session_exit(t->session);
	if (atomic_load(&t->running))
		pthread_kill(t->runner, SIGUSR1);
}

int transport_detach(struct transport *t, bool lazy)
{
	int err = mountpoint_unmount(t->mount->options->mountpoint, lazy);

	if (!err)
		atomic_store(&t->detached, true);
	return err;
}

void transport_prune(void *ctx, uint64_t parent, const char *name)
{
	struct transport *t = ctx;

	/* It fails if the kernel does not know the name any more. That is as good. */
	fuse_lowlevel_notify_inval_entry(t->session, parent, name, strlen(name));
}

/*
 * Make libfuse forget the mount point. It would unmount whatever is mounted there now, which
 * may be something else. It does not when its descriptor reports an error, as that of a dead
 * connection does. So the descriptor is replaced by a pipe without a reader, which reports one,
 * too. This closes the device.
 */
static void transport_disown(struct transport *t)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return;
	close(fds[0]);
	dup2(fds[1], fuse_session_fd(t->session));
	close(fds[1]);
	fuse_session_unmount(t->session);
}

void transport_close(struct transport *t)
{
	if (!t)
		return;
	if (t->session) {
		if (atomic_load(&t->detached))
			transport_disown(t);
		else
			fuse_session_unmount(t->session);
		fuse_session_destroy(t->session);
	}
	if (t->mount)
		t->mount->transport = NULL;
	free(t);
}
