/*
 * bench_lsm.c - the tree beside RocksDB, LevelDB and LMDB.
 *
 *     bench_lsm [-n OPS] [-v VALUE_BYTES] [-r ROUNDS] [-m MEMORY_MIB] [-d DIR]
 *
 * Prints, as Markdown, operations per second of each engine and how many times
 * as fast Varve is. Without -v there are two tables, for values of 100 bytes and
 * (a tenth of the operations) of 4 KiB. Everything happens in a new directory in DIR, which
 * is removed at the end.
 *
 * What is compared, so that the numbers mean the same for all:
 *
 *   - One thread. One operation is one atomic write or one get. Keys are 16
 *     digits; values compress to about half. The random order is a fixed one.
 *   - An unsynced write survives the death of the process, not of the machine.
 *     (Varve syncs every few seconds all the same; LMDB has MDB_NOSYNC.)
 *     `fillsync` survives both, on return.
 *   - One memory budget: an eighth of it is one write buffer, three quarters the
 *     block cache with filters and indexes in it, where an engine has these.
 *     LMDB has neither: it uses the page cache, which this does not limit.
 *   - LZ4 for Varve and RocksDB, Snappy for LevelDB (all it has), none for LMDB.
 *     Bloom filters of 10 bits for RocksDB and LevelDB. Checksums are verified
 *     on every read, except by LMDB, which has none.
 *   - Every get compares the whole value with the one written, every scan adds up
 *     all bytes: no engine gets away with handing out a pointer.
 *   - Nobody waits for background work between the steps; each engine's rest is
 *     paid by what follows. Before an engine starts, and before `fillsync`, what
 *     was written so far is synced (syncfs) outside the measured time.
 *
 * A round runs every engine once on a fresh store, in turns; the engine that
 * starts rotates. The number printed is the median of the rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <leveldb/c.h>
#include <lmdb.h>
#include <rocksdb/c.h>

#include "lsm/lsm.h"

#define KEY_BYTES 16
#define ROUNDS_MAX 99
#define POOL_BYTES (4u << 20) /* what values are cut from */
#define VALUE_BYTES_MAX (1u << 20)

struct setup {
	size_t ops;
	size_t value_bytes;
	size_t memory_bytes;
};

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

/* ---- keys and values ---- */

static unsigned char *pool;

static uint64_t random_u64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Bytes of which every 64 are 32 random ones, twice. */
static bool pool_fill(void)
{
	uint64_t state = 1;

	pool = malloc(POOL_BYTES);
	for (size_t i = 0; pool && i < POOL_BYTES; i += 64) {
		for (size_t j = 0; j < 32; j += 8) {
			uint64_t x = random_u64(&state);

			memcpy(pool + i + j, &x, sizeof(x));
		}
		memcpy(pool + i + 32, pool + i, 32);
	}
	return pool;
}

/* The value written under key `i` in the `generation`th pass. */
static const unsigned char *value_of(uint64_t i, unsigned generation, size_t size)
{
	return pool + (i * 1021 + generation * 7919) % (POOL_BYTES - size);
}

/* Existing keys are even numbers, missing ones lie between them. */
static void key_of(char key[KEY_BYTES], uint64_t number)
{
	for (int i = KEY_BYTES - 1; i >= 0; i--) {
		key[i] = (char)('0' + number % 10);
		number /= 10;
	}
}

static uint32_t *shuffled(size_t n, uint64_t seed)
{
	uint32_t *order = malloc(n * sizeof(*order));

	if (!order)
		return NULL;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t j = random_u64(&seed) % (i + 1);
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	return order;
}

/* Read all of it. */
static uint64_t sum_of(const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t sum = 0, x;
	size_t i;

	for (i = 0; i + sizeof(x) <= size; i += sizeof(x)) {
		memcpy(&x, p + i, sizeof(x));
		sum += x;
	}
	for (; i < size; i++)
		sum += p[i];
	return sum;
}

/* ---- engines ---- */

/* What a scan saw. */
struct seen {
	uint64_t entries, bytes, sum;
};

static void see(struct seen *seen, const void *value, size_t size)
{
	seen->entries++;
	seen->bytes += size;
	seen->sum += sum_of(value, size);
}

/* `put`, `get` and `scan` return 0, or -1 after an error was printed. */
struct engine {
	const char *name;
	void *(*open)(const char *path, const struct setup *setup);
	int (*close)(void *db);
	int (*put)(void *db, const char *key, const void *value, size_t size, bool sync);
	/* `want` NULL: must be absent; else the value must be equal. */
	int (*get)(void *db, const char *key, const void *want, size_t size);
	int (*scan)(void *db, struct seen *seen);
};

static int complain(const char *engine, const char *what, const char *why)
{
	fprintf(stderr, "bench_lsm: %s: %s: %s\n", engine, what, why);
	return -1;
}

static int compare(const char *engine, bool found, const void *got, size_t got_size,
		   const void *want, size_t size)
{
	if (!want)
		return found ? complain(engine, "get", "found a key that was never put") : 0;
	if (!found)
		return complain(engine, "get", "a key is missing");
	if (got_size != size || memcmp(got, want, size))
		return complain(engine, "get", "wrong bytes");
	return 0;
}

/* Varve */

struct varve {
	struct lsm *lsm;
	struct lsm_batch *batch;
	struct lsm_value value;
};

static int varve_fail(const char *what, int r)
{
	return complain("Varve", what, strerror(-r));
}

static void varve_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level != LSM_REPORT_INFO)
		complain("Varve", "report", message);
}

static int varve_close(void *db)
{
	struct varve *v = db;
	int r = v->lsm ? lsm_close(v->lsm) : 0;

	lsm_batch_free(v->batch);
	lsm_value_release(&v->value);
	free(v);
	return r ? varve_fail("close", r) : 0;
}

static void *varve_open(const char *path, const struct setup *setup)
{
	struct lsm_options options = {
		.create = true,
		.memory_bytes = setup->memory_bytes,
		.report = varve_report,
	};
	struct varve *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return NULL;
	v->batch = lsm_batch_new();
	r = v->batch ? lsm_open(path, &options, &v->lsm) : -ENOMEM;
	if (r) {
		varve_fail("open", r);
		varve_close(v);
		return NULL;
	}
	return v;
}

static int varve_put(void *db, const char *key, const void *value, size_t size, bool sync)
{
	struct varve *v = db;
	int r;

	lsm_batch_clear(v->batch);
	r = lsm_batch_put_borrowed(v->batch, (struct lsm_slice){key, KEY_BYTES},
				   (struct lsm_slice){value, size});
	if (!r)
		r = lsm_write(v->lsm, v->batch, sync ? LSM_SYNC : 0);
	return r ? varve_fail("put", r) : 0;
}

static int varve_get(void *db, const char *key, const void *want, size_t size)
{
	struct varve *v = db;
	int r = lsm_get(v->lsm, NULL, (struct lsm_slice){key, KEY_BYTES}, &v->value);

	if (r < 0)
		return varve_fail("get", r);
	return compare("Varve", !r, v->value.data, v->value.size, want, size);
}

static int varve_scan(void *db, struct seen *seen)
{
	struct varve *v = db;
	struct lsm_iter *it = lsm_iter_new(v->lsm, NULL);
	struct lsm_slice value;
	int r = 0;

	if (!it)
		return varve_fail("scan", -ENOMEM);
	for (lsm_iter_first(it); !r && lsm_iter_valid(it); lsm_iter_next(it)) {
		r = lsm_iter_value(it, &value);
		if (!r)
			see(seen, value.data, value.size);
	}
	if (!r)
		r = lsm_iter_status(it);
	lsm_iter_free(it);
	return r ? varve_fail("scan", r) : 0;
}

/* RocksDB */

struct rocks {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_cache_t *cache;
	rocksdb_writeoptions_t *write[2]; /* [sync] */
	rocksdb_readoptions_t *read;
};

static int rocks_fail(const char *what, char *error)
{
	complain("RocksDB", what, error);
	rocksdb_free(error);
	return -1;
}

static int rocks_close(void *db)
{
	struct rocks *s = db;

	if (s->db)
		rocksdb_close(s->db);
	rocksdb_readoptions_destroy(s->read);
	rocksdb_writeoptions_destroy(s->write[0]);
	rocksdb_writeoptions_destroy(s->write[1]);
	rocksdb_options_destroy(s->options);
	rocksdb_cache_destroy(s->cache);
	free(s);
	return 0;
}

static void *rocks_open(const char *path, const struct setup *setup)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	struct rocks *s = calloc(1, sizeof(*s));
	char *error = NULL;

	if (!s)
		return NULL;
	s->cache = rocksdb_cache_create_lru(setup->memory_bytes / 4 * 3);
	rocksdb_block_based_options_set_block_cache(table, s->cache);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	rocksdb_block_based_options_set_filter_policy(table,
						      rocksdb_filterpolicy_create_bloom_full(10));
	s->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(s->options, 1);
	rocksdb_options_set_write_buffer_size(s->options, setup->memory_bytes / 8);
	rocksdb_options_set_max_write_buffer_number(s->options, 2);
	rocksdb_options_set_compression(s->options, rocksdb_lz4_compression);
	rocksdb_options_set_block_based_table_factory(s->options, table);
	rocksdb_block_based_options_destroy(table);
	s->write[0] = rocksdb_writeoptions_create();
	s->write[1] = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(s->write[1], 1);
	s->read = rocksdb_readoptions_create();
	s->db = rocksdb_open(s->options, path, &error);
	if (error) {
		rocks_fail("open", error);
		rocks_close(s);
		return NULL;
	}
	return s;
}

static int rocks_put(void *db, const char *key, const void *value, size_t size, bool sync)
{
	struct rocks *s = db;
	char *error = NULL;

	rocksdb_put(s->db, s->write[sync], key, KEY_BYTES, value, size, &error);
	return error ? rocks_fail("put", error) : 0;
}

static int rocks_get(void *db, const char *key, const void *want, size_t size)
{
	struct rocks *s = db;
	rocksdb_pinnableslice_t *slice;
	const char *got = NULL;
	char *error = NULL;
	size_t got_size = 0;
	int r;

	slice = rocksdb_get_pinned(s->db, s->read, key, KEY_BYTES, &error);
	if (error)
		return rocks_fail("get", error);
	if (slice)
		got = rocksdb_pinnableslice_value(slice, &got_size);
	r = compare("RocksDB", slice, got, got_size, want, size);
	rocksdb_pinnableslice_destroy(slice);
	return r;
}

static int rocks_scan(void *db, struct seen *seen)
{
	struct rocks *s = db;
	rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->read);
	char *error = NULL;

	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		size_t size;
		const char *value = rocksdb_iter_value(it, &size);

		see(seen, value, size);
	}
	rocksdb_iter_get_error(it, &error);
	rocksdb_iter_destroy(it);
	return error ? rocks_fail("scan", error) : 0;
}

/* LevelDB */

struct level {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_filterpolicy_t *filter;
	leveldb_writeoptions_t *write[2]; /* [sync] */
	leveldb_readoptions_t *read;
};

static int level_fail(const char *what, char *error)
{
	complain("LevelDB", what, error);
	leveldb_free(error);
	return -1;
}

static int level_close(void *db)
{
	struct level *s = db;

	if (s->db)
		leveldb_close(s->db);
	leveldb_readoptions_destroy(s->read);
	leveldb_writeoptions_destroy(s->write[0]);
	leveldb_writeoptions_destroy(s->write[1]);
	leveldb_options_destroy(s->options);
	leveldb_filterpolicy_destroy(s->filter);
	leveldb_cache_destroy(s->cache);
	free(s);
	return 0;
}

static void *level_open(const char *path, const struct setup *setup)
{
	struct level *s = calloc(1, sizeof(*s));
	char *error = NULL;

	if (!s)
		return NULL;
	s->cache = leveldb_cache_create_lru(setup->memory_bytes / 4 * 3);
	s->filter = leveldb_filterpolicy_create_bloom(10);
	s->options = leveldb_options_create();
	leveldb_options_set_create_if_missing(s->options, 1);
	leveldb_options_set_write_buffer_size(s->options, setup->memory_bytes / 8);
	leveldb_options_set_cache(s->options, s->cache);
	leveldb_options_set_filter_policy(s->options, s->filter);
	leveldb_options_set_compression(s->options, leveldb_snappy_compression);
	s->write[0] = leveldb_writeoptions_create();
	s->write[1] = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(s->write[1], 1);
	s->read = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(s->read, 1);
	s->db = leveldb_open(s->options, path, &error);
	if (error) {
		level_fail("open", error);
		level_close(s);
		return NULL;
	}
	return s;
}

static int level_put(void *db, const char *key, const void *value, size_t size, bool sync)
{
	struct level *s = db;
	char *error = NULL;

	leveldb_put(s->db, s->write[sync], key, KEY_BYTES, value, size, &error);
	return error ? level_fail("put", error) : 0;
}

static int level_get(void *db, const char *key, const void *want, size_t size)
{
	struct level *s = db;
	char *error = NULL;
	size_t got_size;
	char *got = leveldb_get(s->db, s->read, key, KEY_BYTES, &got_size, &error);
	int r;

	if (error)
		return level_fail("get", error);
	r = compare("LevelDB", got, got, got_size, want, size);
	leveldb_free(got);
	return r;
}

static int level_scan(void *db, struct seen *seen)
{
	struct level *s = db;
	leveldb_iterator_t *it = leveldb_create_iterator(s->db, s->read);
	char *error = NULL;

	for (leveldb_iter_seek_to_first(it); leveldb_iter_valid(it); leveldb_iter_next(it)) {
		size_t size;
		const char *value = leveldb_iter_value(it, &size);

		see(seen, value, size);
	}
	leveldb_iter_get_error(it, &error);
	leveldb_iter_destroy(it);
	return error ? level_fail("scan", error) : 0;
}

/* LMDB */

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *read; /* reset between gets */
	bool sync;
};

static int lmdb_fail(const char *what, int r)
{
	return complain("LMDB", what, mdb_strerror(r));
}

static int lmdb_close(void *db)
{
	struct lmdb *s = db;

	if (s->read)
		mdb_txn_abort(s->read);
	if (s->env)
		mdb_env_close(s->env);
	free(s);
	return 0;
}

static int lmdb_start(struct lmdb *s, const char *path, size_t map_bytes)
{
	MDB_txn *txn = NULL;
	int r = mdb_env_create(&s->env);

	if (r)
		return r;
	r = mdb_env_set_mapsize(s->env, map_bytes);
	if (!r)
		r = mdb_env_open(s->env, path, MDB_NOSYNC, 0666);
	if (!r)
		r = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (r)
		return r;
	r = mdb_dbi_open(txn, NULL, 0, &s->dbi);
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	r = mdb_txn_commit(txn);
	if (!r)
		r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->read);
	if (!r)
		mdb_txn_reset(s->read);
	return r;
}

static void *lmdb_open(const char *path, const struct setup *setup)
{
	/* Address space, not memory: room for half-full pages and whole pages per value. */
	size_t map_bytes = (1u << 30) + setup->ops * 4 * (setup->value_bytes + 4096);
	struct lmdb *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return NULL;
	r = mkdir(path, 0777) ? errno : lmdb_start(s, path, map_bytes & ~(size_t)4095);
	if (r) {
		lmdb_fail("open", r);
		lmdb_close(s);
		return NULL;
	}
	return s;
}

static int lmdb_put(void *db, const char *key, const void *value, size_t size, bool sync)
{
	MDB_val k = {KEY_BYTES, (void *)key}, v = {size, (void *)value};
	struct lmdb *s = db;
	MDB_txn *txn;
	int r = 0;

	if (sync != s->sync)
		r = mdb_env_set_flags(s->env, MDB_NOSYNC, !sync);
	s->sync = sync;
	if (!r)
		r = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (r)
		return lmdb_fail("put", r);
	r = mdb_put(txn, s->dbi, &k, &v, 0);
	if (r)
		mdb_txn_abort(txn);
	else
		r = mdb_txn_commit(txn);
	return r ? lmdb_fail("put", r) : 0;
}

static int lmdb_get(void *db, const char *key, const void *want, size_t size)
{
	MDB_val k = {KEY_BYTES, (void *)key}, v = {0, NULL};
	struct lmdb *s = db;
	int r = mdb_txn_renew(s->read);

	if (r)
		return lmdb_fail("get", r);
	r = mdb_get(s->read, s->dbi, &k, &v);
	if (r && r != MDB_NOTFOUND)
		lmdb_fail("get", r);
	else
		r = compare("LMDB", !r, v.mv_data, v.mv_size, want, size);
	mdb_txn_reset(s->read);
	return r;
}

static int lmdb_scan(void *db, struct seen *seen)
{
	struct lmdb *s = db;
	MDB_cursor *cursor = NULL;
	MDB_val k, v;
	int r = mdb_txn_renew(s->read);

	if (r)
		return lmdb_fail("scan", r);
	r = mdb_cursor_open(s->read, s->dbi, &cursor);
	while (!r) {
		r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
		if (!r)
			see(seen, v.mv_data, v.mv_size);
	}
	if (cursor)
		mdb_cursor_close(cursor);
	mdb_txn_reset(s->read);
	return r == MDB_NOTFOUND ? 0 : lmdb_fail("scan", r);
}

static const struct engine engines[] = {
	{"Varve", varve_open, varve_close, varve_put, varve_get, varve_scan},
	{"RocksDB", rocks_open, rocks_close, rocks_put, rocks_get, rocks_scan},
	{"LevelDB", level_open, level_close, level_put, level_get, level_scan},
	{"LMDB", lmdb_open, lmdb_close, lmdb_put, lmdb_get, lmdb_scan},
};
#define ENGINES (sizeof(engines) / sizeof(*engines))

/* ---- the work ---- */

enum step { FILLSEQ, FILLRANDOM, OVERWRITE, READRANDOM, READMISSING, READSEQ, FILLSYNC, STEPS };
static const char *const step_names[STEPS] = {
	"fillseq", "fillrandom", "overwrite", "readrandom", "readmissing", "readseq", "fillsync",
};

struct results {
	double ops[STEPS][ENGINES][ROUNDS_MAX];
};

static size_t step_ops(enum step step, size_t ops)
{
	size_t synced = ops / 200; /* a sync takes milliseconds */

	if (step != FILLSYNC)
		return ops;
	if (synced > 1000)
		return 1000;
	if (synced < 20)
		return ops < 20 ? ops : 20;
	return synced;
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int scan_all(const struct engine *e, void *db, const struct setup *setup)
{
	struct seen seen = {0};

	if (e->scan(db, &seen))
		return -1;
	if (seen.entries != setup->ops || seen.bytes != setup->ops * setup->value_bytes)
		return complain(e->name, "scan", "not the entries that were put");
	return 0;
}

/* One operation of a step, on the `i`th key in the step's order. */
static int step_once(const struct engine *e, void *db, enum step step, uint64_t i, size_t size)
{
	char key[KEY_BYTES];

	key_of(key, 2 * i + (step == READMISSING || step == FILLSYNC));
	switch (step) {
	case FILLSEQ:
	case FILLRANDOM:
	case FILLSYNC:
		return e->put(db, key, value_of(i, 0, size), size, step == FILLSYNC);
	case OVERWRITE:
		return e->put(db, key, value_of(i, 1, size), size, false);
	case READRANDOM:
		return e->get(db, key, value_of(i, 1, size), size);
	default:
		return e->get(db, key, NULL, 0);
	}
}

/* Operations per second, or -1. `order` NULL: ascending. */
static double run_step(const struct engine *e, void *db, enum step step, const uint32_t *order,
		       const struct setup *setup)
{
	size_t n = step_ops(step, setup->ops);
	double start = now_seconds();

	if (step == READSEQ) {
		if (scan_all(e, db, setup))
			return -1;
	} else {
		for (size_t i = 0; i < n; i++)
			if (stopped ||
			    step_once(e, db, step, order ? order[i] : i, setup->value_bytes))
				return -1;
	}
	return (double)n / (now_seconds() - start);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int remove_tree(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT) {
		fprintf(stderr, "bench_lsm: cannot remove %s: %s\n", path, strerror(errno));
		return -1;
	}
	return 0;
}

static int settle(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY), r = fd < 0 ? -1 : syncfs(fd);

	if (r)
		fprintf(stderr, "bench_lsm: %s: %s\n", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return r;
}

/* Run the steps from `first` to `last` on a fresh store. */
static int run_store(const char *dir, const struct setup *setup, struct results *results,
		     size_t engine, int round, enum step first, enum step last)
{
	const struct engine *e = &engines[engine];
	uint32_t *order = NULL;
	char path[4096];
	void *db;
	int r = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, e->name);
	if (settle(dir))
		return -1;
	db = e->open(path, setup);
	if (!db)
		return complain(e->name, "open", "cannot begin");
	for (enum step step = first; !r && step <= last; step++) {
		bool ascending = step == FILLSEQ || step == READSEQ;

		free(order);
		order = ascending ? NULL : shuffled(setup->ops, step + 1);
		if (!ascending && !order) {
			r = complain(e->name, step_names[step], "no memory");
			break;
		}
		if (step == FILLSYNC && settle(dir)) {
			r = -1;
			break;
		}
		results->ops[step][engine][round] = run_step(e, db, step, order, setup);
		if (results->ops[step][engine][round] < 0)
			r = -1;
	}
	free(order);
	if (e->close(db))
		r = -1;
	if (remove_tree(path))
		r = -1;
	return r;
}

static int run_round(const char *dir, const struct setup *setup, struct results *results, int round)
{
	for (size_t i = 0; i < ENGINES; i++) {
		size_t engine = (i + (size_t)round) % ENGINES;

		if (run_store(dir, setup, results, engine, round, FILLSEQ, FILLSEQ) ||
		    run_store(dir, setup, results, engine, round, FILLRANDOM, FILLSYNC))
			return -1;
	}
	return 0;
}

/* ---- the table ---- */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, int count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, (size_t)count * sizeof(*values));
	qsort(sorted, (size_t)count, sizeof(*sorted), compare_doubles);
	return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void print_table(const struct setup *setup, const struct results *results, int rounds)
{
	printf("\n%zu operations (%zu synced), %zu-byte values, %zu MiB of memory, "
	       "median of %d:\n\n",
	       setup->ops, step_ops(FILLSYNC, setup->ops), setup->value_bytes,
	       setup->memory_bytes >> 20, rounds);
	printf("| ops/s |");
	for (size_t e = 0; e < ENGINES; e++)
		printf(" %s |", engines[e].name);
	for (size_t e = 1; e < ENGINES; e++)
		printf(" %s/%s |", engines[0].name, engines[e].name);
	printf("\n|---|");
	for (size_t e = 0; e < 2 * ENGINES - 1; e++)
		printf("---:|");
	printf("\n");
	for (enum step step = 0; step < STEPS; step++) {
		double ours = median(results->ops[step][0], rounds);

		printf("| %s |", step_names[step]);
		for (size_t e = 0; e < ENGINES; e++)
			printf(" %.0f |", median(results->ops[step][e], rounds));
		for (size_t e = 1; e < ENGINES; e++)
			printf(" %.2f |", ours / median(results->ops[step][e], rounds));
		printf("\n");
	}
	fflush(stdout);
}

static int run_table(const char *dir, const struct setup *setup, int rounds)
{
	struct results *results = calloc(1, sizeof(*results));
	int r = 0;

	if (!results)
		return complain("bench", "table", "no memory");
	for (int round = 0; !r && round < rounds; round++)
		r = run_round(dir, setup, results, round);
	if (!r)
		print_table(setup, results, rounds);
	free(results);
	return r;
}

/* ---- the command line ---- */

static int usage(void)
{
	fprintf(stderr, "usage: bench_lsm [-n OPS] [-v VALUE_BYTES] [-r ROUNDS] [-m MEMORY_MIB] "
			"[-d DIR]\n");
	return 2;
}

/* A number from 1 to `max`, or 0. */
static size_t number(const char *text, size_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	return errno || *end || *text == '-' || n > max ? 0 : (size_t)n;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = stop};
	size_t ops = 500000, value_bytes = 0, rounds = 3, memory_mib = 64;
	const char *parent = getenv("TMPDIR");
	bool good = true;
	char dir[4000];
	int option, r;

	while (good && (option = getopt(argc, argv, "n:v:r:m:d:")) != -1) {
		switch (option) {
		case 'n':
			good = (ops = number(optarg, UINT32_MAX));
			break;
		case 'v':
			good = (value_bytes = number(optarg, VALUE_BYTES_MAX));
			break;
		case 'r':
			good = (rounds = number(optarg, ROUNDS_MAX));
			break;
		case 'm':
			good = (memory_mib = number(optarg, 1u << 20));
			break;
		case 'd':
			parent = optarg;
			break;
		default:
			good = false;
		}
	}
	if (!good || optind != argc)
		return usage();
	if (!parent || !*parent)
		parent = "/tmp";
	if (strlen(parent) + sizeof("/bench_lsm.XXXXXX") > sizeof(dir)) {
		fprintf(stderr, "bench_lsm: %s: %s\n", parent, strerror(ENAMETOOLONG));
		return 1;
	}
	snprintf(dir, sizeof(dir), "%s/bench_lsm.XXXXXX", parent);
	if (!mkdtemp(dir)) {
		fprintf(stderr, "bench_lsm: cannot make a directory in %s: %s\n", parent,
			strerror(errno));
		return 1;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* the directory is removed all the same */
	if (pool_fill()) {
		struct setup setup = {ops, value_bytes ? value_bytes : 100, memory_mib << 20};

		r = run_table(dir, &setup, (int)rounds);
		if (!r && !value_bytes) {
			setup.value_bytes = 4096;
			setup.ops = ops < 10 ? 1 : ops / 10;
			r = run_table(dir, &setup, (int)rounds);
		}
	} else {
		r = complain("bench", "start", "no memory");
	}
	free(pool);
	if (remove_tree(dir))
		r = -1;
	if (stopped)
		fprintf(stderr, "bench_lsm: stopped\n");
	return r ? 1 : 0;
}
