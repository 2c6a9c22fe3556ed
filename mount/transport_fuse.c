/*
 * transport_fuse.c - requests and replies through libfuse's low-level interface.
 *
 * libfuse decodes requests, encodes replies, mounts, and keeps the pool of
 * threads. The reading and writing of the device is done here (its "custom io"),
 * for three things that libfuse does not pass on:
 *
 *   - Of the features a kernel offers, 3.14 to 3.16 never ask for
 *     FUSE_PARALLEL_DIROPS (lookups beside each other in one directory), and 3.14
 *     not for FUSE_HANDLE_KILLPRIV_V2 (else the kernel asks for an attribute before
 *     every write). Both are added to the reply to FUSE_INIT if they were offered.
 *   - With KILLPRIV_V2 the kernel marks each write that must clear setuid and
 *     setgid. The mark is taken from the request as it is read; the thread that
 *     reads a request is the one that handles it.
 *   - With FUSE_SETXATTR_EXT, asked for with the option acl, so is each setting of an
 *     ACL that must clear setgid. The request is longer then; the mark is taken out of
 *     it, so that libfuse sees one as it expects it.
 *
 * What the kernel may remember, it may remember for good: this daemon is the only
 * one to change the store, through this mount. So entries (also of names that are
 * not there) and attributes have no end, data stays cached until it is written.
 * OPEN is answered ENOSYS, after which the kernel opens files by itself, unless the exact
 * times of access are wanted (ops_data.c). So it must not be promised that an open
 * truncates: truncation comes as SETATTR.
 */
#include "mount/transport_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mount/message.h"
#include "mount/mountpoint.h"
#include "mount/wakeful.h"

#define FOR_EVER_S 1e9 /* the kernel takes what its clock cannot count as its end */
#define READ_AHEAD_KIB 1024

_Thread_local bool transport_write_kills_priv;
_Thread_local bool transport_setxattr_kills_sgid;

/* ---- memory for replies, per thread ---- */

struct room {
	void *data;
	size_t size;
};
static pthread_key_t room_key;
static pthread_once_t room_once = PTHREAD_ONCE_INIT;
static int room_key_error;

static void room_free(void *arg)
{
	struct room *room = arg;

	free(room->data);
	free(room);
}

static void room_init(void)
{
	room_key_error = pthread_key_create(&room_key, room_free);
}

/* Kept from request to request: a large block from malloc() is new pages each time. */
void *request_room(struct request *r, size_t size)
{
	struct room *room;

	(void)r;
	if (pthread_once(&room_once, room_init) || room_key_error)
		return NULL;
	room = pthread_getspecific(room_key);
	if (!room) {
		room = calloc(1, sizeof(*room));
		if (!room || pthread_setspecific(room_key, room)) {
			free(room);
			return NULL;
		}
	}
	if (size > room->size || !room->data) {
		size = (size + 65535) & ~(size_t)65535;
		if (!size)
			size = 65536;
		free(room->data);
		room->size = 0;
		room->data = malloc(size);
		if (room->data)
			room->size = size;
	}
	return room->data;
}

/* ---- who asks ---- */

static fuse_req_t handle(const struct request *r)
{
	return r->handle;
}

bool request_in_group(struct request *r, gid_t gid)
{
	gid_t few[64], *groups = few;
	int i, n, room = 64;
	bool found = false;

	if (r->gid == gid)
		return true;
	/* Read from /proc: requests do not bring them. */
	n = fuse_req_getgroups(handle(r), room, groups);
	if (n > room) {
		room = n;
		groups = calloc((size_t)room, sizeof(*groups));
		n = groups ? fuse_req_getgroups(handle(r), room, groups) : 0;
	}
	for (i = 0; i < n && i < room && !found; i++)
		found = groups[i] == gid;
	if (groups != few)
		free(groups);
	return found;
}

/* ---- replies ---- */

static void fill_entry(struct fuse_entry_param *entry, const struct stat *st)
{
	*entry = (struct fuse_entry_param){
		.ino = st->st_ino,
		.attr = *st,
		.attr_timeout = FOR_EVER_S,
		.entry_timeout = FOR_EVER_S,
	};
}

void reply_error(struct request *r, int err)
{
	fuse_reply_err(handle(r), err == -EUCLEAN ? EIO : -err);
}

void reply_none(struct request *r)
{
	fuse_reply_none(handle(r));
}

int reply_entry(struct request *r, const struct stat *st)
{
	struct fuse_entry_param entry;

	fill_entry(&entry, st);
	return fuse_reply_entry(handle(r), &entry);
}

int reply_created(struct request *r, const struct stat *st)
{
	struct fuse_file_info fi = {.keep_cache = 1};
	struct fuse_entry_param entry;

	fill_entry(&entry, st);
	return fuse_reply_create(handle(r), &entry, &fi);
}

void reply_absent(struct request *r)
{
	struct fuse_entry_param entry = {.entry_timeout = FOR_EVER_S};

	fuse_reply_entry(handle(r), &entry);
}

void reply_attributes(struct request *r, const struct stat *st)
{
	fuse_reply_attr(handle(r), st, FOR_EVER_S);
}

void reply_target(struct request *r, const char *target)
{
	fuse_reply_readlink(handle(r), target);
}

void reply_bytes(struct request *r, const void *data, size_t size)
{
	fuse_reply_buf(handle(r), data, size);
}

void reply_written(struct request *r, size_t size)
{
	fuse_reply_write(handle(r), size);
}

void reply_length(struct request *r, size_t size)
{
	fuse_reply_xattr(handle(r), size);
}

void reply_offset(struct request *r, uint64_t offset)
{
	fuse_reply_lseek(handle(r), (off_t)offset);
}

void reply_statfs(struct request *r, const struct statvfs *st)
{
	fuse_reply_statfs(handle(r), st);
}

void reply_opened(struct request *r, bool keep)
{
	struct fuse_file_info fi = {.keep_cache = keep};

	fuse_reply_open(handle(r), &fi);
}

int reply_directory(struct request *r, struct open_dir *dir, bool kept, bool anew)
{
	struct fuse_file_info fi = {
		.fh = (uintptr_t)dir,
		.keep_cache = !(kept && anew),
		.cache_readdir = kept,
	};

	return fuse_reply_open(handle(r), &fi);
}

bool listing_add(struct listing *l, const char *name, const struct stat *st, bool held,
		 uint64_t next)
{
	fuse_req_t req = handle(l->request);
	struct fuse_entry_param entry;
	size_t room = l->size - l->used, need;

	if (l->plus) {
		fill_entry(&entry, st);
		if (!held) {
			/* The kernel takes the name and the type, and looks it up when asked. */
			entry.ino = 0;
			entry.attr_timeout = entry.entry_timeout = 0;
		}
		need = fuse_add_direntry_plus(req, l->data + l->used, room, name, &entry,
					      (off_t)next);
	} else {
		need = fuse_add_direntry(req, l->data + l->used, room, name, st, (off_t)next);
	}
	if (need > room)
		return false;
	l->used += need;
	return true;
}

/* Only attributes, so the kernel takes no lock that the request's caller may hold. */
void transport_forget_attributes(struct request *r, uint64_t ino)
{
	fuse_lowlevel_notify_inval_inode(r->mount->transport->session, ino, -1, 0);
}

/* ---- reading and writing the device ---- */

static uint64_t init_flags(const struct fuse_init_in *in, size_t size)
{
	uint64_t flags = 0;

	if (size >= offsetof(struct fuse_init_in, flags) + sizeof(in->flags))
		flags = in->flags;
	if ((flags & FUSE_INIT_EXT) &&
	    size >= offsetof(struct fuse_init_in, flags2) + sizeof(in->flags2))
		flags |= (uint64_t)in->flags2 << 32;
	return flags;
}

/* Take what FUSE_SETXATTR_EXT adds out of the request of `size` bytes. Returns what is left. */
static size_t shorten_setxattr(struct fuse_in_header *header, size_t size)
{
	const size_t added = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct fuse_setxattr_in *in = (void *)(header + 1);
	char *rest = (char *)(in + 1);

	if (size < sizeof(*header) + sizeof(*in))
		return size;
	transport_setxattr_kills_sgid = in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
	memmove(rest - added, rest, size - sizeof(*header) - sizeof(*in));
	header->len -= (uint32_t)added;
	return size - added;
}

static ssize_t device_read(int fd, void *buf, size_t size, void *userdata)
{
	struct transport *t = userdata;
	struct fuse_in_header *header = buf;
	ssize_t n = read(fd, buf, size);
	size_t rest;

	if (n < (ssize_t)sizeof(*header))
		return n;
	wakeful_request(t->wakeful);
	rest = (size_t)n - sizeof(*header);
	if (header->opcode == FUSE_WRITE && rest >= sizeof(struct fuse_write_in)) {
		const struct fuse_write_in *in = (const void *)(header + 1);

		transport_write_kills_priv = in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	} else if (header->opcode == FUSE_SETXATTR && t->setxattr_ext) {
		n = (ssize_t)shorten_setxattr(header, (size_t)n);
	} else if (header->opcode == FUSE_INIT) {
		t->init_unique = header->unique;
		t->offered = init_flags((const void *)(header + 1), rest);
	}
	return n;
}

/* Add what libfuse did not ask for. The reply is libfuse's own, about to be sent. */
static void extend_init(struct transport *t, const struct fuse_out_header *header,
			const struct iovec *body)
{
	struct fuse_init_out *out = body->iov_base;

	if (header->unique != t->init_unique || header->error ||
	    body->iov_len < offsetof(struct fuse_init_out, max_background))
		return;
	t->init_answered = out->major == FUSE_KERNEL_VERSION;
	out->flags |= (uint32_t)t->offered & FUSE_PARALLEL_DIROPS;
	/* The write-back cache holds writes of many callers: the kernel clears the bits then. */
	if ((t->offered & FUSE_HANDLE_KILLPRIV_V2) && !t->mount->options->writeback) {
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		t->kill_priv_v2 = true;
	}
	if ((t->offered & FUSE_SETXATTR_EXT) && (out->flags & FUSE_POSIX_ACL)) {
		out->flags |= FUSE_SETXATTR_EXT;
		t->setxattr_ext = true;
	}
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct transport *t = userdata;

	if (!t->init_answered && count == 2 && iov[0].iov_len == sizeof(struct fuse_out_header))
		extend_init(t, iov[0].iov_base, &iov[1]);
	return writev(fd, iov, count);
}

/* ---- mounting ---- */

static bool is_in_path(const char *program)
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

/* Does root let users mount for others? */
static bool users_may_allow_other(void)
{
	FILE *f = fopen("/etc/fuse.conf", "re");
	char *line = NULL, word[32], rest[2];
	size_t capacity = 0;
	bool found = false;

	if (!f)
		return errno == EACCES; /* fusermount3 will see */
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
		say_error("/dev/fuse: %s; this kernel has no FUSE, or not yet: as root, "
			  "modprobe fuse",
			  strerror(-err));
		return err;
	}
	if (!geteuid())
		return 0;
	if (!is_in_path("fusermount3")) {
		say_error("fusermount3: not found, and only root can mount without it; "
			  "install the package fuse3");
		return -ENOENT;
	}
	if (options->allow_others && !users_may_allow_other()) {
		say_error("option allow_other: not permitted to users; root can permit it by a "
			  "line user_allow_other in /etc/fuse.conf");
		return -EPERM;
	}
	return 0;
}

/* libfuse's option list: ours, then what the user gave for it. NULL: no memory. */
static char *session_options(const struct mount_options *o)
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

static void on_log(enum fuse_log_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static void on_log(enum fuse_log_level level, const char *format, va_list args)
{
	char text[MESSAGE_BYTES_MAX];
	size_t n;

	if (level == FUSE_LOG_DEBUG) {
		vfprintf(stderr, format, args);
		return;
	}
	vsnprintf(text, sizeof(text), format, args);
	n = strlen(text);
	if (n && text[n - 1] == '\n')
		text[n - 1] = 0;
	say_warning("%s", text);
}

/*
 * Mount, with what libfuse and fusermount3 print on stderr put into `words`
 * instead: the reason of a failure is only there.
 */
static int mount_quietly(struct transport *t, char *words, size_t size)
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

static void say_mount_failed(const char *mountpoint, char *words)
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

/* The kernel's first request says what it can do; its reply makes the mount usable. */
static int answer_init(struct transport *t)
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
		say_error("option acl: this kernel has no ACLs for FUSE; Linux 5.13 has");
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
	static const struct fuse_custom_io io = {.writev = device_writev, .read = device_read};
	char *options = session_options(mount->options);
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
		say_error("libfuse does not take the options %s; see `varve mount --help`",
			  options);
		goto out;
	}
	if (mount_quietly(t, words, sizeof(words))) {
		say_mount_failed(mount->options->mountpoint, words);
		err = -EPERM;
		goto out;
	}
	fuse_set_log_func(on_log);
	err = fuse_session_custom_io(t->session, &io, fuse_session_fd(t->session));
	if (err)
		say_error("libfuse: %s", strerror(-err));
	else
		err = answer_init(t);
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

static void on_wake(int signal)
{
	(void)signal;
}

int transport_run(struct transport *t)
{
	/* Without SA_RESTART, so that transport_stop() can end libfuse's waiting. */
	struct sigaction wake = {.sa_handler = on_wake};
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
	atomic_store(&t->running, true);
	if (!t->mount->options->halt)
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

	/* A name the kernel does not know any more is as good as dropped. */
	fuse_lowlevel_notify_inval_entry(t->session, parent, name, strlen(name));
}

/*
 * Have libfuse forget the mount point without unmounting what is there by now. It
 * lets it be when its descriptor reports an error, as one of a dead connection
 * does; so does a pipe without a reader. The device itself is closed by this.
 */
static void disown_mountpoint(struct transport *t)
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
			disown_mountpoint(t);
		else
			fuse_session_unmount(t->session);
		fuse_session_destroy(t->session);
	}
	if (t->mount)
		t->mount->transport = NULL;
	free(t);
}
