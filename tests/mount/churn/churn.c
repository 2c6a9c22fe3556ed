/*
 * churn.c - writers that know what must be in their files, and readers beside them.
 *
 * usage: churn FOLDER LOGS WRITERS READERS SLOTS QUOTA_MIB SEED
 *
 * Works in FOLDER on the mount. Each writer is a process that keeps a model of the files that
 * its system calls have made (model.h). The writers survive the daemon: when the daemon is
 * killed, each writer remembers the call that was in flight, and waits. Each writer has a log
 * in LOGS, outside of the mount ("w3.log"). A line there has a call, written before the call is
 * made, and then its result.
 *
 * Commands come on stdin, one per line. The answer is a line that begins with "ok" or with
 * "failed". After "failed" the reason is on stderr.
 *
 *   fill N            once, first of all: make the folders, and N files for the readers
 *   load [writeback] [full] [big]
 *                     start the load; the answer comes at once. "writeback" says how the mount
 *                     was made, "full" that ENOSPC is expected, "big" asks for files of up to
 *                     64 MiB as well
 *   stop              end the load; after a kill: wait for its end
 *   verify            compare all files with the models; afterwards both are the same
 *   empty             delete all files of the writers; ENOSPC is then an error
 *   report            print how long calls took, in lines that begin with "# "; the answer is
 *                     "ok MILLISECONDS CALL" of the slowest
 *   end               end; the end of stdin does the same
 *
 * After a kill each writer's files have to be as they were after the last call that returned,
 * or as if the call in flight had been done. A write in flight may be done in part, from its
 * beginning. With "writeback" a write counts once its close has returned. Before that any of
 * its pages may have been written, and the size may be anything in between.
 */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/mount/churn/perform.h"
#include "tests/mount/churn/read.h"
#include "tests/mount/churn/verify.h"
#include "tests/mount/churn/worker.h"

#define WORKERS_MAX 64u

static const char *root, *logs;
static unsigned readers_count;

static bool empty(void)
{
	struct op op;
	bool going = true;

	shared->full = false;
	for (int s = 0; going && s < (int)slots_count; s++) {
		op = (struct op){.kind = UNLINK, .a = s};
		if (model_file(model, s))
			going = perform(&op);
	}
	return going;
}

/* ---- the processes and their commands ---- */

enum command { LOAD = 'l', VERIFY = 'v', EMPTY = 'e' };

static struct worker {
	pid_t pid;
	int to, from;
} workers[WORKERS_MAX];

static bool load_writer(void)
{
	struct op op;

	chooser.big = shared->big;
	do
		choose(&chooser, model, &op);
	while (!atomic_load(&shared->stop) && perform(&op));
	fflush(trace);
	return !atomic_load(&shared->failed);
}

static bool obey(char command)
{
	bool writer = self < writers_count, right;

	/* Between commands no process has a file open there, so that the mount may be removed. */
	if (chdir(root)) {
		/* The daemon may be killed before there was a call to make. */
		if (command == LOAD && (errno == ENOTCONN || errno == ECONNABORTED))
			return true;
		return wrong("%s: %s", root, strerror(errno));
	}
	if (command == LOAD)
		right = writer ? load_writer() : read_load();
	else if (command == EMPTY)
		right = !writer || empty();
	else
		right = !writer || verify();
	if (chdir("/"))
		err(1, "/");
	/* Files were right: the log begins again. */
	if (writer && right && command == VERIFY) {
		rewind(trace);
		right = !ftruncate(fileno(trace), 0);
	}
	return right;
}

static void work(int from, int to)
{
	char command, answer, path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/w%u.log", logs, self);
	trace = fopen(path, "we");
	model = malloc(sizeof(*model));
	if (!trace || !model)
		err(1, "%s", path);
	model_init(model, slots_count);
	while (read(from, &command, 1) == 1) {
		answer = obey(command);
		if (write(to, &answer, 1) != 1)
			break;
	}
	_exit(0);
}

static void start_worker(unsigned i)
{
	struct worker *w = &workers[i];
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		err(1, "pipe");
	w->to = to[1];
	w->from = from[0];
	w->pid = fork();
	if (w->pid < 0)
		err(1, "fork");
	if (!w->pid) {
		/* With these open it would not see the end of commands when the parent ends. */
		for (unsigned k = 0; k <= i; k++)
			close(workers[k].to);
		self = i;
		chooser.rng.state = rng_mix(chooser.rng.state + i);
		work(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
}

static void tell_all(char command)
{
	for (unsigned i = 0; i < writers_count + readers_count; i++)
		if (write(workers[i].to, &command, 1) != 1)
			err(1, "telling w%u", i);
}

/* Wait until all have carried out the command. Returns whether nothing was wrong. */
static bool wait_all(void)
{
	bool right = true;
	char answer;

	for (unsigned i = 0; i < writers_count + readers_count; i++)
		right &= read(workers[i].from, &answer, 1) == 1 && answer;
	return right;
}

static bool set_up(unsigned fill_count)
{
	char path[PATH_BYTES];
	bool right = !chdir(root) && !mkdir("shared", 0755);

	for (unsigned i = 0; right && i < writers_count; i++) {
		snprintf(path, sizeof(path), "w%u", i);
		right = !mkdir(path, 0755);
	}
	right = right && read_fill(fill_count);
	return !chdir("/") && right;
}

static bool start_load(const char *how)
{
	shared->writeback = strstr(how, "writeback");
	shared->full = strstr(how, "full");
	shared->big = strstr(how, "big");
	atomic_store(&shared->stop, false);
	tell_all(LOAD);
	return true;
}

static bool carry_out(char *line)
{
	if (!strncmp(line, "fill ", 5))
		return set_up((unsigned)strtoul(line + 5, NULL, 10));
	if (!strncmp(line, "load", 4))
		return start_load(line + 4);
	if (!strcmp(line, "stop")) {
		atomic_store(&shared->stop, true);
		return wait_all();
	}
	if (strcmp(line, "verify") != 0 && strcmp(line, "empty") != 0)
		return wrong("no such command: %s", line);
	tell_all(*line == 'v' ? VERIFY : EMPTY);
	return wait_all();
}

int main(int argc, char **argv)
{
	char line[100];

	if (argc != 8)
		errx(2, "usage: churn FOLDER LOGS WRITERS READERS SLOTS QUOTA_MIB SEED");
	root = argv[1];
	logs = argv[2];
	writers_count = (unsigned)strtoul(argv[3], NULL, 10);
	readers_count = (unsigned)strtoul(argv[4], NULL, 10);
	slots_count = (unsigned)strtoul(argv[5], NULL, 10) / FOLDERS * FOLDERS;
	chooser.quota_bytes = strtoull(argv[6], NULL, 10) << 20;
	chooser.rng.state = strtoull(argv[7], NULL, 10);
	if (writers_count + readers_count > WORKERS_MAX || !slots_count || slots_count > SLOTS_MAX)
		errx(2, "too many workers or slots, or none");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	bytes = malloc(WRITE_BYTES_MAX);
	want = malloc(CHUNK_BYTES);
	umask(0);
	if (shared == MAP_FAILED || !bytes || !want)
		err(1, "memory");
	shared->started_ns = timing_now_ns();
	for (unsigned i = 0; i < writers_count + readers_count; i++)
		start_worker(i);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "end"))
			break;
		if (!strcmp(line, "report"))
			report();
		else if (carry_out(line))
			printf("ok %llu calls, %llu without room, %llu in flight, of these %llu "
			       "partly done\n",
			       (unsigned long long)atomic_load(&shared->calls),
			       (unsigned long long)atomic_load(&shared->no_space),
			       (unsigned long long)atomic_load(&shared->in_flight),
			       (unsigned long long)atomic_load(&shared->partial));
		else
			printf("failed %s\n", line);
		fflush(stdout);
	}
	return 0;
}
