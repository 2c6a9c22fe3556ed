/*
 * worker.c - the state of one process of churn, and its reports.
 */
#include "tests/mount/churn/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>

struct shared *shared;
unsigned writers_count, slots_count;
unsigned self;
struct chooser chooser = {.big_slot = NOTHING};
FILE *trace;
struct model *model;
uint8_t *bytes, *want;
struct flight flight;

static const char *const call_names[CALLS] = {
	"create", "write", "truncate", "punch",       "fsync", "rename", "exchange",        "link",
	"unlink", "chmod", "setxattr", "removexattr", "mkdir", "rmdir",  "rename a folder", "open",
	"read",   "stat",  "readdir",  "close",
};

bool wrong(const char *format, ...)
{
	va_list args;

	atomic_store(&shared->failed, true);
	fprintf(stderr, "w%u: ", self);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

bool daemon_is_gone(void)
{
	struct statvfs s;

	return statvfs(".", &s) && (errno == ENOTCONN || errno == ECONNABORTED);
}

void describe(const struct op *op, char *out, size_t size)
{
	snprintf(out, size, "%s %d %d offset=%llu size=%llu tag=%llu mode=%o%s",
		 call_names[op->kind], op->a, op->b, (unsigned long long)op->offset,
		 (unsigned long long)op->size, (unsigned long long)op->tag, op->mode,
		 op->append ? " append" : "");
}

void note(unsigned call, uint64_t since_ns)
{
	timing_note(&shared->timing[call], since_ns);
}

int open_timed(const char *path, int flags, mode_t mode, unsigned call)
{
	uint64_t t = timing_now_ns();
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, mode);

	note(call, t);
	return fd;
}

void report(void)
{
	unsigned slowest = 0;

	for (unsigned c = 0; c < CALLS; c++) {
		const struct timing *t = &shared->timing[c];
		uint64_t n = atomic_load(&t->count);

		if (!n)
			continue;
		if (atomic_load(&t->max_ns) > atomic_load(&shared->timing[slowest].max_ns))
			slowest = c;
		printf("# %-15s %9llu; ms: p50 %.3f, p99 %.2f, p99.9 %.1f, max %.1f at %.1f s\n",
		       call_names[c], (unsigned long long)n, timing_ms(t, n / 2),
		       timing_ms(t, n / 100), timing_ms(t, n / 1000),
		       (double)atomic_load(&t->max_ns) / 1e6,
		       (double)(atomic_load(&t->max_at_ns) - shared->started_ns) / 1e9);
	}
	printf("ok %llu %s\n",
	       (unsigned long long)atomic_load(&shared->timing[slowest].max_ns) / 1000000,
	       call_names[slowest]);
}
