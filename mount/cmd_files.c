/*
 * cmd_files.c - ls, get, put, rm and scan: the files of a store that is not mounted.
 *
 * A name may contain any byte. Where names are printed, control characters and backslashes
 * are written as in C (\n, \\, \033), so that a line is always one entry, and that a terminal
 * shows it as text.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mount/command.h"
#include "mount/message.h"
#include "mount/store.h"
#include "mount/path.h"

#define COPY_BYTES (1u << 20)

/* A store opened for one command. */
struct session {
	char *store;
	struct fs *fs;
	const char *path; /* in the store, as it was given */
	bool reported;    /* why the command failed, or it needs no report */
};

static int session_open(struct session *s, const char *store, const char *path, bool write,
			bool create)
{
	struct fs_options options = {
		.lsm.read_only = !write,
		.lsm.create = create,
		.root_uid = getuid(),
		.root_gid = getgid(),
	};
	int err;

	*s = (struct session){.path = path, .store = store_resolve(store)};
	if (!s->store) {
		err = -errno;
		say_error("%s: no store there: %s; the directory it is in must exist", store,
			  strerror(errno));
		return err;
	}
	err = store_open(s->store, &options, STORE_WAIT_SHORT_S, &s->fs);
	if (err)
		free(s->store);
	return err;
}

static const char *session_advice(int err)
{
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
		return "`varve scan` lists what there is";
	case EISDIR:
		return "name a file, or use `rm -r` for a directory";
	case EINVAL:
		return "name a file below the root, without ..";
	case EEXIST:
	case ENAMETOOLONG:
		return "choose another name";
	case ENOSPC:
		return "free some space on the disk";
	case EUCLEAN:
	case EIO:
		return "see what `varve check` finds";
	default:
		return "check the disk that the store is on";
	}
}

/* Report `err` unless that was done, close the store, and return the exit status. */
static int session_end(struct session *s, int err)
{
	int close_err;

	/* command_finish() reports that stdout cannot be written. */
	if (err && !s->reported && !ferror(stdout))
		say_error("%s: %s: %s; %s", s->store, s->path, message_reason(err),
			  session_advice(err));
	close_err = store_close(s->store, s->fs);
	free(s->store);
	return command_finish(err || close_err ? EXIT_FAILED : EXIT_DONE);
}

static void print_escaped(const char *name)
{
	size_t size, i;
	bool control;

	for (; *name; name += size) {
		size = message_character(name, &control);
		if (*name == '\n')
			fputs("\\n", stdout);
		else if (*name == '\\')
			fputs("\\\\", stdout);
		else if (!control)
			fwrite(name, 1, size, stdout);
		else
			for (i = 0; i < size; i++)
				printf("\\%03o", (unsigned char)name[i]);
	}
}

static char type_letter(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	default:
		return '-';
	}
}

static void ls_mode(mode_t mode, char text[11])
{
	static const char letters[] = "rwxrwxrwx";
	int i;

	text[0] = type_letter(mode);
	for (i = 0; i < 9; i++)
		text[1 + i] = mode & (0400u >> i) ? letters[i] : '-';
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text[10] = 0;
}

/* ---- ls ---- */

/* A line as `ls -ln` has it, the date in a form that sorts. */
static int ls_print(struct fs *fs, const char *name, const struct stat *st)
{
	char mode[11], date[32], target[FS_SYMLINK_BYTES_MAX + 1];
	struct tm tm;
	int err = 0;

	ls_mode(st->st_mode, mode);
	if (!localtime_r(&st->st_mtim.tv_sec, &tm) ||
	    !strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm))
		snprintf(date, sizeof(date), "%lld", (long long)st->st_mtim.tv_sec);
	printf("%s %3lu %5lu %5lu %12lld %s ", mode, (unsigned long)st->st_nlink,
	       (unsigned long)st->st_uid, (unsigned long)st->st_gid, (long long)st->st_size, date);
	print_escaped(name);
	if (S_ISLNK(st->st_mode)) {
		err = fs_readlink(fs, st->st_ino, target);
		if (!err) {
			fputs(" -> ", stdout);
			print_escaped(target);
		}
	}
	putchar('\n');
	return err;
}

struct ls {
	struct fs *fs;
	uint64_t ino; /* of the directory */
	int err;
	int left_out; /* the first error of an entry that could not be looked up */
};

static int ls_on_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct stat own = *st;
	struct ls *l = ctx;
	int err;

	(void)next;
	err = path_entry_hold(l->fs, l->ino, name, name, held, &own);
	if (err) {
		if (err != LSM_ABSENT && !l->left_out)
			l->left_out = err;
		return 0;
	}
	l->err = ls_print(l->fs, name, &own);
	if (!l->err && ferror(stdout))
		l->err = -EPIPE;
	/* After an error, fs_dir_read() drops the reference that it gave. */
	if (!l->err || !held)
		fs_forget(l->fs, own.st_ino, 1);
	return l->err != 0;
}

static int ls_directory(struct fs *fs, uint64_t ino)
{
	struct ls l = {.fs = fs, .ino = ino};
	int err = path_read_dir(fs, ino, true, ls_on_entry, &l);

	if (l.err)
		return l.err;
	return err ? err : l.left_out;
}

static int cmd_ls(const struct command *self, int argc, char **argv)
{
	struct session s;
	struct stat st;
	char given[8];
	int status, err;

	if (!command_arguments(self, argc, argv, "", 1, 2, given, &status))
		return status;
	if (session_open(&s, argv[optind], argc - optind > 1 ? argv[optind + 1] : "/", false,
			 false))
		return EXIT_FAILED;
	err = path_lookup(s.fs, s.path, &st);
	if (!err) {
		err = S_ISDIR(st.st_mode) ? ls_directory(s.fs, st.st_ino) :
					    ls_print(s.fs, s.path, &st);
		path_forget(s.fs, &st);
	}
	return session_end(&s, err);
}

const struct command command_ls = {
	.name = "ls",
	.run = cmd_ls,
	.usage = "varve ls STORE [PATH]",
	.summary = "list a directory without a mount",
	.help = "",
};

/* ---- scan ---- */

static int scan_print(void *ctx, const char *path, const struct stat *st)
{
	const char *top = ctx;

	printf("%c %12lld ", type_letter(st->st_mode), (long long)st->st_size);
	if (*top) {
		print_escaped(top);
		putchar('/');
	}
	print_escaped(path);
	putchar('\n');
	return ferror(stdout) ? -EPIPE : 0;
}

static int cmd_scan(const struct command *self, int argc, char **argv)
{
	struct session s;
	struct stat st;
	char given[8], *top;
	size_t n;
	int status, err;

	if (!command_arguments(self, argc, argv, "", 1, 2, given, &status))
		return status;
	if (session_open(&s, argv[optind], argc - optind > 1 ? argv[optind + 1] : "/", false,
			 false))
		return EXIT_FAILED;
	/* Print paths in the form that `get` takes: without slashes around them. */
	top = strdup(s.path + strspn(s.path, "/"));
	err = top ? path_lookup(s.fs, s.path, &st) : -ENOMEM;
	if (!err) {
		for (n = strlen(top); n && top[n - 1] == '/'; n--)
			top[n - 1] = 0;
		if (S_ISDIR(st.st_mode))
			err = path_each_below(s.fs, st.st_ino, scan_print, top);
		else
			err = scan_print((char *)"", top, &st);
		path_forget(s.fs, &st);
	}
	free(top);
	return session_end(&s, err);
}

const struct command command_scan = {
	.name = "scan",
	.run = cmd_scan,
	.usage = "varve scan STORE [PATH]",
	.summary = "print type, size and path of all below PATH",
	.help = "",
};

/* ---- get ---- */

static int get_write(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int get_copy(struct session *s, uint64_t ino)
{
	char *buf = malloc(COPY_BYTES);
	uint64_t offset = 0;
	size_t got = 1;
	int err = buf ? 0 : -ENOMEM;

	while (!err && got) {
		err = fs_read(s->fs, ino, offset, buf, COPY_BYTES, &got);
		if (err || !got)
			break;
		offset += got;
		err = get_write(STDOUT_FILENO, buf, got);
		/* A reader that has closed the pipe wants no more, and no report. */
		if (err && err != -EPIPE)
			say_error("stdout: %s", strerror(-err));
		s->reported = err != 0;
	}
	free(buf);
	return err;
}

static int cmd_get(const struct command *self, int argc, char **argv)
{
	struct session s;
	struct stat st;
	char given[8];
	int status, err;

	if (!command_arguments(self, argc, argv, "", 2, 2, given, &status))
		return status;
	if (session_open(&s, argv[optind], argv[optind + 1], false, false))
		return EXIT_FAILED;
	err = path_lookup(s.fs, s.path, &st);
	if (!err) {
		if (S_ISDIR(st.st_mode))
			err = -EISDIR;
		else
			err = S_ISREG(st.st_mode) ? get_copy(&s, st.st_ino) : -EINVAL;
		path_forget(s.fs, &st);
	}
	return session_end(&s, err);
}

const struct command command_get = {
	.name = "get",
	.run = cmd_get,
	.usage = "varve get STORE PATH",
	.summary = "write a file's bytes to stdout",
	.help = "",
};

/* ---- put ---- */

/* Write everything that `fd` gives to the file `ino`. `from` is the name of `fd`. */
static int put_fill(struct session *s, uint64_t ino, int fd, const char *from)
{
	char *buf = malloc(COPY_BYTES);
	uint64_t offset = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		size_t have = 0;
		ssize_t n = 1;

		/* Fill the whole buffer: a pipe gives less at a time. */
		while (have < COPY_BYTES && n) {
			n = read(fd, buf + have, COPY_BYTES - have);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0) {
				err = -errno;
				say_error("%s: %s", from, strerror(errno));
				s->reported = true;
				goto out;
			}
			have += (size_t)n;
		}
		if (!have)
			break;
		err = fs_write(s->fs, ino, offset, buf, have, 0, NULL);
		offset += have;
	}
out:
	free(buf);
	return err;
}

/*
 * Give the file `ino` the name `name`. If a regular file has that name, its mode and owner are
 * given to the new file, which then replaces it.
 */
static int put_replace(struct fs *fs, uint64_t ino, uint64_t parent, const char *name)
{
	struct fs_cred cred = {.uid = getuid(), .gid = getgid(), .privileged = true};
	char temporary[64];
	struct stat old, st;
	int err = fs_lookup(fs, parent, name, &old);

	if (err == -ENOENT) {
		err = fs_link(fs, ino, parent, name, &st);
		if (!err)
			fs_forget(fs, ino, 1);
		return err;
	}
	if (err)
		return err;
	if (S_ISDIR(old.st_mode))
		err = -EISDIR;
	else if (S_ISREG(old.st_mode))
		err = fs_setattr(fs, &cred, ino, &old, FS_SET_MODE | FS_SET_UID | FS_SET_GID, &st);
	fs_forget(fs, old.st_ino, 1);
	if (err)
		return err;
	snprintf(temporary, sizeof(temporary), ".varve-put-%" PRIu64, ino);
	err = fs_link(fs, ino, parent, temporary, &st);
	if (err)
		return err;
	fs_forget(fs, ino, 1);
	err = fs_rename(fs, parent, temporary, parent, name, 0);
	if (err)
		fs_unlink(fs, parent, temporary);
	return err;
}

static int put_path(struct session *s, int fd, const char *from)
{
	struct fs_cred cred = {.uid = getuid(), .gid = getgid(), .privileged = true};
	char name[FS_NAME_BYTES_MAX + 1];
	struct stat dir, st;
	mode_t mask = umask(0);
	int err = path_lookup_parent(s->fs, s->path, &dir, name);

	umask(mask);
	if (err)
		return err;
	/* The new file has no name until it is whole. So a failure leaves nothing behind. */
	err = fs_tmpfile(s->fs, &cred, dir.st_ino, S_IFREG | (0666 & ~mask), &st);
	if (!err) {
		err = put_fill(s, st.st_ino, fd, from);
		if (!err)
			err = put_replace(s->fs, st.st_ino, dir.st_ino, name);
		fs_forget(s->fs, st.st_ino, 1);
	}
	path_forget(s->fs, &dir);
	return err;
}

static int cmd_put(const struct command *self, int argc, char **argv)
{
	struct session s;
	const char *from = "stdin";
	char given[8];
	int status, fd = STDIN_FILENO, err;

	if (!command_arguments(self, argc, argv, "", 2, 3, given, &status))
		return status;
	if (argc - optind > 2 && strcmp(argv[optind + 2], "-")) {
		from = argv[optind + 2];
		fd = open(from, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			say_error("%s: %s; name a file that can be read", from, strerror(errno));
			return EXIT_FAILED;
		}
	}
	if (session_open(&s, argv[optind], argv[optind + 1], true, true)) {
		status = EXIT_FAILED;
	} else {
		err = put_path(&s, fd, from);
		status = session_end(&s, err);
	}
	if (fd != STDIN_FILENO)
		close(fd);
	return status;
}

const struct command command_put = {
	.name = "put",
	.run = cmd_put,
	.usage = "varve put STORE PATH [FILE]",
	.summary = "make or replace a file from FILE or stdin",
	.help = "If there is no store, it is made. The old content stays until the new is whole.\n",
};

/* ---- rm ---- */

static int cmd_rm(const struct command *self, int argc, char **argv)
{
	char name[FS_NAME_BYTES_MAX + 1], given[8];
	struct session s;
	struct stat dir, st;
	int status, err;

	if (!command_arguments(self, argc, argv, "r", 2, 2, given, &status))
		return status;
	if (session_open(&s, argv[optind], argv[optind + 1], true, false))
		return EXIT_FAILED;
	err = path_lookup_parent(s.fs, s.path, &dir, name);
	if (!err) {
		err = fs_lookup(s.fs, dir.st_ino, name, &st);
		if (!err) {
			fs_forget(s.fs, st.st_ino, 1);
			if (!S_ISDIR(st.st_mode))
				err = fs_unlink(s.fs, dir.st_ino, name);
			else if (strchr(given, 'r'))
				err = path_remove(s.fs, dir.st_ino, name);
			else
				err = -EISDIR;
		}
		path_forget(s.fs, &dir);
	}
	return session_end(&s, err);
}

const struct command command_rm = {
	.name = "rm",
	.run = cmd_rm,
	.usage = "varve rm [-r] STORE PATH",
	.summary = "remove a file, or with -r a directory and all below it",
	.help = "",
};
