/*
 * test_cut_fs.c - the power goes under a filesystem, at every call that changes the disk.
 *
 * The workload of fs_workload.h, under tiny limits. How it is cut is in cuts.h; here what is
 * there after a cut must be one of the texts the model wrote, fs_check() must find
 * nothing, and the number of inodes must be right.
 */
#include "tests/support/fs_workload.h"

#define CUTS_DEFAULT 1500

static const struct fs_workload workloads[] = {
	{
		"many small files",
		700,
		230,
		14,
		120,
		6000,
		{.memtable_bytes = 12 << 10,
		 .block_bytes = 512,
		 .table_bytes = 6 << 10,
		 .level1_bytes = 12 << 10,
		 .segment_bytes = 64 << 10,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
	},
	{
		"large files",
		400,
		150,
		16,
		40,
		90000,
		{.memtable_bytes = 8 << 10,
		 .block_bytes = 256,
		 .table_bytes = 4 << 10,
		 .level1_bytes = 8 << 10,
		 .segment_bytes = 128 << 10,
		 .separate_min = 1024,
		 .l0_compact = 2,
		 .imm_max = 2,
		 .memory_bytes = 4 << 20},
	},
	{
		"reopened all the time",
		300,
		15,
		25,
		60,
		20000,
		{.memtable_bytes = 16 << 10,
		 .block_bytes = 512,
		 .table_bytes = 8 << 10,
		 .level1_bytes = 16 << 10,
		 .segment_bytes = 64 << 10,
		 .l0_compact = 2,
		 .memory_bytes = 4 << 20},
	},
};
#define WORKLOADS_COUNT (sizeof(workloads) / sizeof(workloads[0]))

static int open_on(void *ctx, struct storage *st, void **db)
{
	const struct fs_model *m = ctx;
	struct fs *fs;
	int rc = fs_model_open(m, st, &fs);

	*db = fs;
	return rc;
}

static int close_db(void *db)
{
	return fs_close(db);
}

static char *found; /* the text of the last check */

static void check(void *ctx, void *db, uint64_t least, uint64_t most)
{
	struct fs_model *m = ctx;

	free(found);
	fs_model_check(m, db, least, most, &found);
	if (!m->error[0])
		fs_model_check_clean(m, db);
}

static void check_same(void *ctx, void *db)
{
	struct fs_model *m = ctx;
	struct text t = {0};
	int rc = say_all(db, &t);

	if (rc) {
		fs_model_wrong(m, "reading it: %s", strerror(-rc));
	} else if (strcmp(t.data, found) != 0 && !(is_fresh(found) && is_fresh(t.data))) {
		fs_model_wrong(m, "it is in another state than before");
		print_lines("found", t.data);
		print_lines("before", found);
	}
	free(t.data);
}

static int write_on(void *ctx, void *db)
{
	struct stat st;
	int rc = fs_mknod(db, &ROOT, FS_ROOT_INO, "after the cut", S_IFREG | 0600, 0, &st);

	(void)ctx;
	return rc ? rc : fs_write(db, st.st_ino, 0, "goes on", 7, FS_WRITE_SYNC, NULL);
}

static bool is_written(void *ctx, void *db)
{
	struct stat st;
	char buf[8];
	size_t got;

	(void)ctx;
	return !fs_lookup(db, FS_ROOT_INO, "after the cut", &st) &&
	       !fs_read(db, st.st_ino, 0, buf, sizeof(buf), &got) && got == 7 &&
	       !memcmp(buf, "goes on", 7);
}

static const struct cuts_subject subject = {open_on,    close_db, check,
					    check_same, write_on, is_written};

static void run_workload(struct fs_model *m)
{
	uint64_t reopened = 0;

	storage_mem_record(m->history.st, true);
	fs_model_start(m);
	fs_model_first(m);
	while (m->history.ops_count < m->w->ops) {
		step(m);
		if (m->history.ops_count / m->w->reopen_every != reopened) {
			reopened = m->history.ops_count / m->w->reopen_every;
			reopen(m);
		}
	}
	fs_model_close(m);
}

static void test_workload(size_t i, const struct cuts_options *options, uint64_t *done)
{
	struct fs_model *m = model_must(malloc(sizeof(*m)));
	struct cuts cuts = {.subject = &subject, .ctx = m, .history = &m->history};

	fs_model_init(m, &workloads[i], options->seed + i);
	cuts.error = m->error;
	run_workload(m);
	cuts_count_events(m->history.st);
	for (size_t op = 0; op < FS_MODEL_OPS; op++)
		done[op] += m->done[op];
	cuts_run(&cuts, options, options->cuts / WORKLOADS_COUNT + 1);
	ok(!m->error[0], "%s: %ju operations, %ju calls: %ju power cuts", m->w->name,
	   (uintmax_t)m->history.ops_count, (uintmax_t)storage_mem_calls(m->history.st),
	   (uintmax_t)cuts.done);
	free(found);
	found = NULL;
	fs_model_release(m);
	free(m);
}

int main(void)
{
	struct cuts_options options = cuts_options(CUTS_DEFAULT);
	uint64_t done_ops[FS_MODEL_OPS] = {0};

	for (size_t i = 0; i < WORKLOADS_COUNT; i++)
		test_workload(i, &options, done_ops);
	cuts_check_events();
	is_int(fs_model_never(done_ops), 0, "every operation is among those cut");
	return done();
}
