/*
 * worker.h - the state of one process of churn, and the state that all of them share.
 */
#ifndef TESTS_MOUNT_CHURN_WORKER_H
#define TESTS_MOUNT_CHURN_WORKER_H

#include <stdio.h>
#include <sys/types.h>

#include "tests/mount/churn/choose.h"
#include "tests/mount/churn/model.h"
#include "tests/mount/churn/timing.h"

#define PATH_BYTES 64u
#define CHUNK_BYTES 65536u
#define XATTR_NAME "user.churn"

/* The calls that are timed: those that change something (enum kind), and these. */
enum { OPEN = KINDS, READ, STAT, READDIR, CLOSE, CALLS };

/* The state that all processes share. */
struct shared {
	atomic_bool stop, failed;
	bool writeback, full, big;
	unsigned fill;
	uint64_t started_ns;
	atomic_uint_fast64_t calls, no_space, in_flight, partial;
	struct timing timing[CALLS];
};
extern struct shared *shared;

extern unsigned writers_count, slots_count;

/* This process. */
extern unsigned self; /* its number: the writers come first, then the readers */
extern struct chooser chooser;
extern FILE *trace; /* a writer's log of its calls */
extern struct model *model;
extern uint8_t *bytes, *want; /* buffers of WRITE_BYTES_MAX and CHUNK_BYTES */

/* The call in flight when the daemon died. */
extern struct flight {
	bool is; /* there is one */
	struct op op;
	uint64_t done; /* bytes of a write that are known to be written */
} flight;

/* Report on stderr that something is not as it has to be. Returns false. */
bool wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Return whether the current folder is on a mount without its daemon. */
bool daemon_is_gone(void);
/* Write `op` as text to `out`. */
void describe(const struct op *op, char *out, size_t size);
/* Count a call that began at `since_ns`. */
void note(unsigned call, uint64_t since_ns);
/* Open a file and count the time of that as `call`. Returns what open() returns. */
int open_timed(const char *path, int flags, mode_t mode, unsigned call);
/* Print how long the calls took, and the line that answers the command "report". */
void report(void);

#endif
