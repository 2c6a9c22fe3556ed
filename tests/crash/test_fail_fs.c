/*
 * test_fail_fs.c - calls of the storage, and allocations, fail under a filesystem.
 *
 * The workload of fs_workload.h runs again and again. Each time the Nth call of one kind
 * fails, once or from then on, with EIO or ENOSPC: a failing write writes a part first,
 * a failing sync drops what is dirty, as Linux does (storage_mem.h). Or the Nth
 * allocation (or start of a thread) fails, in whatever thread, alone or with 49 after it.
 *
 *   - a call returns an error, or does what it says; what failed changed nothing, unless
 *     the store became read-only with it, and then nothing changes any more;
 *   - meanwhile what is read without an error is right, and fs_check() finds nothing;
 *   - when calls work again, what is in memory is what the model has, and no reference to
 *     an inode is left over when all were given back (one in three runs is of a mount with
 *     `sync`, where what was done may yet fail);
 *   - it opens again, after the process ended with nothing missing that a call
 *     returned, and after a power cut with nothing missing that was synced; it is whole,
 *     and takes writes;
 *   - nothing hangs or leaks (the address sanitizer looks for that).
 *
 * FAILS=n in the environment: n points for each kind, picked by SEED; FAILS=all: each one.
 * NTH=n: only the points around the nth of each kind.
 */
#include "tests/support/alloc.h"
#include "tests/support/fs_workload.h"

#define FAILS_DEFAULT 8
#define WATCHDOG_SECONDS 600
#define NTH_SPAN 5
#define CHECK_EVERY 24 /* steps */
#define STEPS_MAX 600

static const struct fs_workload workload = {
	"all kinds of operations",
	220,
	120,
	6,
	15,
	30000,
	{.memtable_bytes = 8 << 10,
	 .block_bytes = 256,
	 .table_bytes = 4 << 10,
	 .level1_bytes = 8 << 10,
	 .segment_bytes = 64 << 10,
	 .separate_min = 1024,
	 .l0_compact = 2,
	 .imm_max = 2,
	 .memory_bytes = 4 << 20},
};

#define KIND_ALLOCATION (STORAGE_MEM_SIZE + 1)

static const char *const kinds[] = {
	[STORAGE_MEM_ANY] = "any call",      [STORAGE_MEM_OPEN] = "open",
	[STORAGE_MEM_READ] = "read",         [STORAGE_MEM_WRITE] = "write",
	[STORAGE_MEM_SYNC] = "sync",         [STORAGE_MEM_RENAME] = "rename",
	[STORAGE_MEM_UNLINK] = "unlink",     [STORAGE_MEM_SYNC_DIR] = "sync of the directory",
	[STORAGE_MEM_ALLOCATE] = "allocate", [STORAGE_MEM_TRUNCATE] = "truncate",
	[STORAGE_MEM_PUNCH] = "punch",       [STORAGE_MEM_LIST] = "list",
	[STORAGE_MEM_SIZE] = "size",         [KIND_ALLOCATION] = "allocation",
};
#define KINDS_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* What fails. */
struct failure {
	unsigned kind;
	uint64_t nth;   /* 0: nothing */
	unsigned times; /* in a row; 0: all from then on */
	int error;      /* of a call */
};

static uint64_t calls_of[KINDS_COUNT]; /* without a failure */
static bool calls_may_fail;            /* in this run, not allocations */

static bool alloc_exempt(void)
{
	return fs_model_outside;
}

static void failure_begin(struct storage *st, const struct failure *f)
{
	bool allocation = f->kind == KIND_ALLOCATION;

	calls_may_fail = !allocation;
	alloc_begin(allocation && f->nth ? f->nth : UINT64_MAX / 2, f->times);
	if (!allocation)
		storage_mem_fail(st, (enum storage_mem_op)f->kind, f->nth, f->times, f->error);
}

static void failure_end(struct storage *st)
{
	uint64_t allocations = alloc_end();

	storage_mem_fail(st, STORAGE_MEM_ANY, 0, 0, 0);
	for (size_t i = 0; !calls_of[KIND_ALLOCATION] && i < KIND_ALLOCATION; i++)
		calls_of[i] = storage_mem_count(st, (enum storage_mem_op)i);
	if (!calls_of[KIND_ALLOCATION])
		calls_of[KIND_ALLOCATION] = allocations;
}

/* ---- one run ---- */

/* What is there is what the model has; with an operation in doubt, perhaps without that. */
static void check_live(struct fs_model *m)
{
	uint64_t last = m->history.ops_count;

	(void)fs_model_check(m, m->fs, last - m->doubt, last, NULL);
}

static void note_finding(void *ctx, const char *text)
{
	struct fs_model *m = ctx;

	/* What a device cannot read is a finding; without memory there is none. */
	if (calls_may_fail)
		m->errors++;
	else
		fs_model_wrong(m, "the check finds what is not: %s", text);
}

static void check_while_failing(struct fs_model *m)
{
	struct fs_check_counts counts;
	int rc;

	check_live(m);
	rc = FS(fs_check(m->fs, note_finding, m, NULL, NULL, &counts));
	if (rc != -EUCLEAN || !counts.findings)
		(void)failed(m, rc, "the check");
}

static void run_workload(struct fs_model *m)
{
	bool reopened = false;

	fs_model_start(m);
	if (!m->fs)
		return;
	fs_model_first(m);
	/* What always fails makes no progress. */
	for (unsigned i = 1; m->fs && !m->doubt && !m->error[0] && i <= STEPS_MAX &&
			     m->history.ops_count < m->w->ops;
	     i++) {
		step(m);
		if (i % CHECK_EVERY == 0)
			check_while_failing(m);
		if (!reopened && !m->doubt && i >= m->w->reopen_every) {
			reopened = true;
			reopen(m);
		}
	}
	if (m->doubt) {
		struct stat st;
		int rc = FS(fs_mknod(m->fs, &ROOT, FS_ROOT_INO, "refused", S_IFREG | 0600, 0, &st));

		if (!failed(m, rc, "a create"))
			fs_model_wrong(m, "a read-only store takes a create");
	}
}

/* Calls work again: is all well, in memory too? */
static void check_mended(struct fs_model *m)
{
	struct fs_stats stats;

	m->may_fail = false;
	check_live(m);
	if (!m->doubt && !m->error[0])
		fs_model_check_clean(m, m->fs);
	for (int n = 1; n < (int)FS_MODEL_NODES; n++)
		if (m->nodes[n].kind != FREE)
			let_go(m, n);
	m->may_fail = true;
	(void)fs_stats(m->fs, &stats);
	if (stats.inodes_in_memory != 1)
		fs_model_wrong(m, "%ju inodes in memory when all were given back",
			       (uintmax_t)stats.inodes_in_memory);
}

/* Open it when calls work: what is there, and does it go on? Takes `st`, unless it is the run's. */
static void check_after(struct fs_model *m, struct storage *st, uint64_t least, const char *when)
{
	struct stat attr;
	struct fs *fs = NULL;
	int rc = fs_model_open(m, st, &fs);

	m->may_fail = false;
	if (rc)
		fs_model_wrong(m, "opening it: %s", strerror(-rc));
	else if (m->texts)
		fs_model_check(m, fs, least, m->history.ops_count, NULL);
	if (!m->error[0])
		fs_model_check_clean(m, fs);
	if (!m->error[0]) {
		rc = fs_mknod(fs, &ROOT, FS_ROOT_INO, "goes on", S_IFREG | 0600, 0, &attr);
		if (rc)
			fs_model_wrong(m, "a create: %s", strerror(-rc));
		rc = fs_close(fs);
		if (rc)
			fs_model_wrong(m, "closing it: %s", strerror(-rc));
	}
	if (m->error[0])
		printf("#   %s\n", when);
	if (st != m->history.st)
		st->ops->free(st);
}

static bool test_failure(const struct failure *f, uint64_t seed, unsigned *errors)
{
	struct fs_model *m = model_must(malloc(sizeof(*m)));
	struct storage *cut;
	uint64_t least = 0;
	bool right;

	fs_model_init(m, &workload, seed);
	m->may_fail = true;
	m->sync = f->nth % 3 == 1;
	failure_begin(m->history.st, f);
	run_workload(m);
	cut = model_must(storage_mem_crash(
		m->history.st, f->nth % 2 ? STORAGE_MEM_KEEP_NONE : STORAGE_MEM_KEEP_RANDOM,
		seed + f->nth));
	if (m->fs && f->nth / 2 % 2) { /* closing is something that fails, too */
		failure_end(m->history.st);
		check_mended(m);
	}
	if (m->fs)
		fs_model_close(m);
	failure_end(m->history.st);
	if (m->history.syncs_count)
		least = m->history.syncs[m->history.syncs_count - 1].op;
	/* The cut was before the close. */
	if (least && m->history.syncs[m->history.syncs_count - 1].op == m->history.ops_count)
		least = m->history.syncs_count > 1 ?
				m->history.syncs[m->history.syncs_count - 2].op :
				0;
	if (!m->error[0])
		check_after(m, cut, least, "after a power cut");
	else
		cut->ops->free(cut);
	if (!m->error[0])
		check_after(m, m->history.st, m->history.ops_count - m->doubt,
			    "after the process ended");
	if (!f->nth && fs_model_never(m->done))
		fs_model_wrong(m, "%u kinds of operations were never done",
			       fs_model_never(m->done));
	*errors += m->errors != 0;
	right = !m->error[0];
	if (!right)
		printf("#   %s %ju failed %s with %s, seed %ju: %s\n"
		       "#   SEED=%ju NTH=%ju repeats it\n",
		       kinds[f->kind], (uintmax_t)f->nth,
		       f->times == 1 ? "once" :
		       f->times      ? "and some after" :
				       "and all after",
		       strerror(f->error), (uintmax_t)seed, m->error, (uintmax_t)seed,
		       (uintmax_t)f->nth);
	fs_model_release(m);
	free(m);
	return right;
}

/* ---- all of them ---- */

struct options {
	uint64_t seed, fails, nth;
	bool all, only;
};

/* The nth call of the kind fails in each way there is. */
static bool test_nth(unsigned kind, uint64_t nth, const struct options *o, unsigned *runs,
		     unsigned *errors)
{
	static const unsigned alloc_times[] = {1, 50}, call_times[] = {1, 0};
	bool allocation = kind == KIND_ALLOCATION, right = true;

	for (unsigned way = 0; right && way < (allocation ? 2 : 4); way++) {
		struct failure f = {.kind = kind, .nth = nth};

		f.times = allocation ? alloc_times[way] : call_times[way % 2];
		f.error = allocation ? ENOMEM : way / 2 ? ENOSPC : EIO;
		/* Once, each call is in `any call`. */
		if (o->all && kind != STORAGE_MEM_ANY && !allocation && f.times)
			continue;
		(*runs)++;
		right = test_failure(&f, o->seed, errors);
	}
	return right;
}

static void test_kind(unsigned kind, const struct options *o)
{
	uint64_t count = calls_of[kind], from = 1, to = count + 1;
	struct rng rng = {.state = o->seed + kind};
	unsigned runs = 0, errors = 0;
	bool right = true;

	if (o->only) {
		from = o->nth > NTH_SPAN ? o->nth - NTH_SPAN : 1;
		to = o->nth + NTH_SPAN;
	}
	if (o->all || o->only)
		for (uint64_t nth = from; right && nth < to; nth++)
			right = test_nth(kind, nth, o, &runs, &errors);
	else
		for (uint64_t i = 0; right && i < o->fails; i++)
			right = test_nth(kind, 1 + rng_below(&rng, (uint32_t)count), o, &runs,
					 &errors);
	ok(right, "%s fails (%ju made): %u runs, %u saw an error", kinds[kind], (uintmax_t)count,
	   runs, errors);
}

/* ---- one handle of a directory ---- */

#define LISTED 300u

struct counted {
	struct fs *fs;
	uint64_t next;
	unsigned given, seen;
};

static int count_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct counted *c = ctx;

	(void)name;
	if (held)
		fs_forget(c->fs, st->st_ino, 1);
	c->next = next;
	c->given++;
	return 0;
}

/* Read it all, going on after an error, which may be told or not; two are one too many. */
static void list_all(struct fs_dir *dir, struct counted *c)
{
	unsigned errors = 0;

	do {
		c->given = 0;
		errors += fs_dir_read(dir, c->next, true, count_entry, c) != 0;
		c->seen += c->given;
	} while (errors < 2 && (c->given || c->next < LISTED + 2));
}

/* An error that went away is no error of who reads on. */
static void test_listing(void)
{
	struct fs_model *m = model_must(malloc(sizeof(*m)));
	unsigned failures = 0, wrong = 0;

	fs_model_init(m, &workload, 1);
	fs_model_start(m);
	for (unsigned i = 0; i < LISTED; i++) {
		char name[16];

		sprintf(name, "file%u", i);
		mk_file(m->fs, FS_ROOT_INO, name);
	}
	for (uint64_t nth = 1; nth < 30; nth++) {
		struct counted c = {0};
		struct fs_dir *dir;
		uint64_t reads;

		/* Opened anew, so that nothing is cached. */
		fs_model_close(m);
		fs_model_start(m);
		c.fs = m->fs;
		if (fs_dir_open(m->fs, FS_ROOT_INO, &dir))
			bail("no directory");
		reads = storage_mem_count(m->history.st, STORAGE_MEM_READ);
		storage_mem_fail(m->history.st, STORAGE_MEM_READ, nth, 1, EIO);
		list_all(dir, &c);
		failures += storage_mem_count(m->history.st, STORAGE_MEM_READ) >= reads + nth;
		wrong += c.seen != LISTED + 2;
		storage_mem_fail(m->history.st, STORAGE_MEM_ANY, 0, 0, 0);
		fs_dir_close(dir);
	}
	ok(!wrong && failures, "a directory is read to its end over each of %u failed reads",
	   failures);
	fs_model_close(m);
	fs_model_release(m);
	free(m);
}

#define ATTRIBUTES 120 /* in several tables */

/*
 * An attribute goes, or stays with an error. Regression: whether it was the only one is
 * seen by a second look, and where that one failed an assertion did.
 */
static void test_attribute(unsigned kind)
{
	struct failure f = {.kind = kind, .times = 1, .error = EIO};
	struct fs_model *m = model_must(malloc(sizeof(*m)));
	unsigned failures = 0, wrong = 0;
	char name[16], value[200] = {0};
	uint64_t ino;
	size_t got;

	fs_model_init(m, &workload, 1);
	m->may_fail = true; /* what cannot be logged makes it read-only */
	fs_model_start(m);
	ino = mk_file(m->fs, FS_ROOT_INO, "file");
	for (unsigned i = 0; i < ATTRIBUTES; i++) {
		sprintf(name, "user.%03u", i);
		wrong += fs_setxattr(m->fs, ino, name, value, sizeof(value), 0) != 0;
	}
	for (f.nth = 1; f.nth < 40; f.nth++) {
		struct stat st;
		int rc;

		/* Opened anew, so that nothing is cached. */
		fs_model_close(m);
		fs_model_start(m);
		wrong += fs_lookup(m->fs, FS_ROOT_INO, "file", &st) != 0;
		failure_begin(m->history.st, &f);
		fs_model_outside = false;
		rc = fs_removexattr(m->fs, ino, name);
		fs_model_outside = true;
		failure_end(m->history.st);
		failures += rc != 0;
		wrong += rc && rc != (kind == KIND_ALLOCATION ? -ENOMEM : -EIO);
		wrong += fs_getxattr(m->fs, ino, name, value, sizeof(value), &got) !=
			 (rc ? 0 : -ENODATA);
		rc = fs_setxattr(m->fs, ino, name, value, sizeof(value), 0);
		wrong += rc && rc != -EROFS;
		fs_forget(m->fs, ino, 1);
	}
	ok(!wrong && failures, "an attribute stays when one %s of %u fails", kinds[kind], failures);
	fs_model_close(m);
	fs_model_release(m);
	free(m);
}

int main(void)
{
	const char *fails = getenv("FAILS");
	struct options o = {.seed = cuts_number("SEED", 1),
			    .fails = cuts_number("FAILS", FAILS_DEFAULT),
			    .nth = cuts_number("NTH", 0),
			    .all = fails && !strcmp(fails, "all"),
			    .only = getenv("NTH") != NULL};
	struct failure none = {.kind = STORAGE_MEM_ANY, .times = 1};
	unsigned errors = 0;

	/* What hangs fails, too. */
	alarm(o.all || o.fails > FAILS_DEFAULT ? 0 : WATCHDOG_SECONDS);
	printf("# SEED=%ju\n", (uintmax_t)o.seed);
	ok(test_failure(&none, o.seed, &errors) && !errors, "without a failure");
	for (unsigned kind = 0; kind < KINDS_COUNT; kind++)
		if (calls_of[kind])
			test_kind(kind, &o);
	test_listing();
	test_attribute(STORAGE_MEM_READ);
	test_attribute(KIND_ALLOCATION);
	return done();
}
