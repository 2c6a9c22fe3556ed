/*
 * storage_mem.c - the storage in memory, for tests. It counts and records the calls that
 * change it, fails calls on request, has a size, and can lose power at any recorded call.
 *
 * Files, names, and what a cut leaves of them are in mem_disk.c and mem_node.c. Here every
 * changing call becomes a `struct call`. It is applied to the disk and, if the record is on,
 * kept with its data. To cut in the past, the recorded calls are applied to a copy of the disk
 * from when recording began (the replay), up to the call of the cut. The replay is kept: a
 * later cut at the same call or behind it only applies the calls between the two.
 *
 * A failed sync of the directory leaves its changes as they were: each may or
 * may not survive, and a later sync_dir that succeeds makes them durable.
 *
 * One mutex guards everything. Copies made by cuts share pages with their
 * origin but nothing else; they may be used and freed by any thread at any time.
 */
#include "tests/storage/storage_mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lsm/base/array.h"
#include "lsm/base/lock.h"
#include "tests/storage/mem_disk.h"

#define OPS (STORAGE_MEM_SIZE + 1)

/* What storage_space() answers while there is no limit. */
#define UNLIMITED_BYTES (UINT64_C(1) << 40)

enum call_kind {
	CALL_CREATE,
	CALL_WRITE,
	CALL_ALLOCATE,
	CALL_TRUNCATE,
	CALL_PUNCH,
	CALL_SYNC,
	CALL_LOSE,
	CALL_RENAME,
	CALL_UNLINK,
	CALL_SYNC_DIR,
	CALL_FLIP,
};

struct call {
	enum call_kind kind;
	uint64_t node;         /* id */
	uint64_t offset, size; /* CALL_FLIP: size is the mask */
	void *data;            /* CALL_WRITE; the record's own */
	char name[MEM_NAME_BYTES], to[MEM_NAME_BYTES];
};

struct rule { /* of storage_mem_fail() */
	bool on, forever;
	uint64_t skip;
	unsigned left;
	int error;
};

struct mem {
	struct storage base;
	struct mutex mutex;
	/* guarded by mutex: all that follows */
	struct mem_disk disk;
	uint64_t calls;
	struct rule rules[OPS];
	uint64_t counts[OPS]; /* of calls */
	struct mem_rng rng;   /* how much of a failing write is done */
	uint64_t pages_max;   /* 0: no limit */
	bool locked_exclusive;
	unsigned locked_shared, handles;

	bool recording;
	struct mem_disk start; /* when recording began, after start_calls */
	uint64_t start_calls;
	struct call *record;
	size_t record_count, record_room;
	struct mem_disk replay; /* `start` with the first replay_count calls done */
	size_t replay_count;
	bool replay_valid;
};

struct mem_file {
	struct storage_file base;
	struct mem_node *node;
	bool writable;
};

static const struct storage_ops mem_ops;

static struct mem *storage_mem_of(struct storage *st)
{
	assert(st->ops == &mem_ops);
	return (struct mem *)st;
}

static int storage_mem_name_check(const char *name)
{
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return strlen(name) < MEM_NAME_BYTES ? 0 : -ENAMETOOLONG;
}

/* ---- failing ---- */

static int storage_mem_rule_check(struct rule *r)
{
	if (!r->on)
		return 0;
	if (r->skip) {
		r->skip--;
		return 0;
	}
	if (!r->forever && !--r->left)
		r->on = false;
	return -r->error;
}

/* The error that this call of kind `op` is to fail with, or 0. */
static int storage_mem_injected(struct mem *m, enum storage_mem_op op) REQUIRES(m->mutex)
{
	int own = storage_mem_rule_check(&m->rules[op]),
	    any = storage_mem_rule_check(&m->rules[STORAGE_MEM_ANY]);

	m->counts[op]++;
	m->counts[STORAGE_MEM_ANY]++;
	return own ? own : any;
}

void storage_mem_fail(struct storage *st, enum storage_mem_op op, uint64_t nth, unsigned times,
		      int error)
{
	struct mem *m = storage_mem_of(st);

	mutex_lock(&m->mutex);
	if (op == STORAGE_MEM_ANY && !nth)
		memset(m->rules, 0, sizeof(m->rules));
	else
		m->rules[op] = (struct rule){
			.on = nth > 0,
			.forever = !times,
			.skip = nth - 1,
			.left = times,
			.error = error,
		};
	mutex_unlock(&m->mutex);
}

void storage_mem_limit(struct storage *st, uint64_t bytes)
{
	struct mem *m = storage_mem_of(st);

	mutex_lock(&m->mutex);
	m->pages_max = bytes / MEM_PAGE_BYTES;
	if (bytes && !m->pages_max)
		m->pages_max = 1;
	mutex_unlock(&m->mutex);
}

static uint64_t storage_mem_pages_left(const struct mem *m) REQUIRES(m->mutex)
{
	if (!m->pages_max)
		return UINT64_MAX;
	return m->disk.pages < m->pages_max ? m->pages_max - m->disk.pages : 0;
}

/* ---- changing calls and their record ---- */

/* Apply `c` to `d`. In a replay, calls about a file that no name leads to any more are skipped. */
static int storage_mem_call_do(struct mem_disk *d, const struct call *c)
{
	struct mem_node *n = NULL;

	if (c->kind != CALL_CREATE && c->kind != CALL_RENAME && c->kind != CALL_UNLINK &&
	    c->kind != CALL_SYNC_DIR) {
		n = mem_disk_by_id(d, c->node);
		if (!n)
			return 0;
	}
	switch (c->kind) {
	case CALL_CREATE:
		return mem_disk_create(d, c->name, &n);
	case CALL_WRITE:
		return mem_node_write(n, c->data, (size_t)c->size, c->offset);
	case CALL_ALLOCATE:
		return mem_node_allocate(n, c->size);
	case CALL_TRUNCATE:
		return mem_node_truncate(n, c->size);
	case CALL_PUNCH:
		return mem_node_punch(n, c->offset, c->size);
	case CALL_SYNC:
		return mem_node_sync(n);
	case CALL_LOSE:
		mem_node_lose(n);
		return 0;
	case CALL_RENAME:
		return mem_disk_rename(d, c->name, c->to);
	case CALL_UNLINK:
		return mem_disk_unlink(d, c->name);
	case CALL_SYNC_DIR:
		return mem_disk_sync_dir(d);
	case CALL_FLIP:
		return mem_node_flip(n, c->offset, (unsigned char)c->size);
	}
	return -EINVAL;
}

static int storage_mem_record_reserve(struct mem *m) REQUIRES(m->mutex)
{
	return m->recording ? array_reserve(m->record, m->record_room, m->record_count + 1) : 0;
}

/* Do `c` now, count it and keep it. Takes c->data if it succeeds. */
static int storage_mem_call_now(struct mem *m, const struct call *c) REQUIRES(m->mutex)
{
	int err = storage_mem_record_reserve(m);

	if (!err)
		err = storage_mem_call_do(&m->disk, c);
	if (err)
		return err;
	m->calls++;
	if (m->recording)
		m->record[m->record_count++] = *c;
	else
		free(c->data);
	return 0;
}

static void storage_mem_record_drop(struct mem *m) REQUIRES(m->mutex)
{
	for (size_t i = 0; i < m->record_count; i++)
		free(m->record[i].data);
	free(m->record);
	m->record = NULL;
	m->record_count = m->record_room = 0;
	mem_disk_release(&m->start);
	mem_disk_release(&m->replay);
	m->replay_count = 0;
	m->replay_valid = m->recording = false;
}

void storage_mem_record(struct storage *st, bool on)
{
	struct mem *m = storage_mem_of(st);

	mutex_lock(&m->mutex);
	if (!on) {
		storage_mem_record_drop(m);
	} else if (!m->recording) {
		m->start_calls = m->calls;
		/* Without memory there is no record, and a cut says so. */
		m->recording = !mem_disk_clone(&m->disk, &m->start);
	}
	mutex_unlock(&m->mutex);
}

uint64_t storage_mem_calls(struct storage *st)
{
	struct mem *m = storage_mem_of(st);
	uint64_t calls;

	mutex_lock(&m->mutex);
	calls = m->calls;
	mutex_unlock(&m->mutex);
	return calls;
}

uint64_t storage_mem_count(struct storage *st, enum storage_mem_op op)
{
	struct mem *m = storage_mem_of(st);
	uint64_t count;

	mutex_lock(&m->mutex);
	count = m->counts[op];
	mutex_unlock(&m->mutex);
	return count;
}

static bool storage_mem_call_is(const struct call *c, enum storage_mem_op op, const char *suffix)
{
	static const enum storage_mem_op ops[] = {
		[CALL_CREATE] = STORAGE_MEM_OPEN,       [CALL_WRITE] = STORAGE_MEM_WRITE,
		[CALL_ALLOCATE] = STORAGE_MEM_ALLOCATE, [CALL_TRUNCATE] = STORAGE_MEM_TRUNCATE,
		[CALL_PUNCH] = STORAGE_MEM_PUNCH,       [CALL_SYNC] = STORAGE_MEM_SYNC,
		[CALL_LOSE] = STORAGE_MEM_SYNC,         [CALL_RENAME] = STORAGE_MEM_RENAME,
		[CALL_UNLINK] = STORAGE_MEM_UNLINK,     [CALL_SYNC_DIR] = STORAGE_MEM_SYNC_DIR,
		[CALL_FLIP] = STORAGE_MEM_ANY,
	};
	const char *name = c->kind == CALL_RENAME ? c->to : c->name;
	size_t size = strlen(name), tail = suffix ? strlen(suffix) : 0;

	return (op == STORAGE_MEM_ANY || ops[c->kind] == op) && size >= tail &&
	       (!tail || !strcmp(name + size - tail, suffix));
}

uint64_t storage_mem_recorded(struct storage *st, enum storage_mem_op op, const char *suffix)
{
	struct mem *m = storage_mem_of(st);
	uint64_t count = 0;

	mutex_lock(&m->mutex);
	for (size_t i = 0; i < m->record_count; i++)
		count += storage_mem_call_is(&m->record[i], op, suffix);
	mutex_unlock(&m->mutex);
	return count;
}

/* ---- cutting ---- */

/* Bring the replay to the first `count` recorded calls. */
static int storage_mem_replay_to(struct mem *m, size_t count) REQUIRES(m->mutex)
{
	int err = 0;

	if (!m->replay_valid || m->replay_count > count) {
		mem_disk_release(&m->replay);
		m->replay_count = 0;
		err = mem_disk_clone(&m->start, &m->replay);
	}
	while (!err && m->replay_count < count)
		err = storage_mem_call_do(&m->replay, &m->record[m->replay_count++]);
	m->replay_valid = !err;
	return err;
}

struct storage *storage_mem_crash(struct storage *st, enum storage_mem_keep keep, uint64_t seed)
{
	struct mem *m = storage_mem_of(st);
	struct storage *cut = storage_mem_new();
	int err;

	if (!cut)
		return NULL;
	mutex_lock(&m->mutex);
	err = mem_disk_cut(&m->disk, keep, seed, &storage_mem_of(cut)->disk);
	mutex_unlock(&m->mutex);
	if (err) {
		cut->ops->free(cut);
		return NULL;
	}
	return cut;
}

struct storage *storage_mem_cut(struct storage *st, uint64_t calls, enum storage_mem_keep keep,
				uint64_t seed)
{
	struct mem *m = storage_mem_of(st);
	struct storage *cut = storage_mem_new();
	int err = -ENOMEM;

	if (!cut)
		return NULL;
	mutex_lock(&m->mutex);
	if (m->recording) {
		assert(calls >= m->start_calls && calls <= m->calls);
		err = storage_mem_replay_to(m, (size_t)(calls - m->start_calls));
		if (!err)
			err = mem_disk_cut(&m->replay, keep, seed, &storage_mem_of(cut)->disk);
	}
	mutex_unlock(&m->mutex);
	if (err) {
		cut->ops->free(cut);
		return NULL;
	}
	return cut;
}

/* ---- the directory ---- */

/* A call about names; `to` may be NULL. */
static int storage_mem_name_call(struct mem *m, enum call_kind kind, const char *name,
				 const char *to) REQUIRES(m->mutex)
{
	struct call c = {.kind = kind};

	strcpy(c.name, name);
	if (to)
		strcpy(c.to, to);
	return storage_mem_call_now(m, &c);
}

static int storage_mem_open_node(struct mem *m, const char *name, enum storage_open how,
				 struct mem_node **node) REQUIRES(m->mutex)
{
	int err = storage_mem_injected(m, STORAGE_MEM_OPEN);

	if (err)
		return err;
	*node = mem_disk_find(&m->disk, name);
	if (how != STORAGE_CREATE)
		return *node ? 0 : -ENOENT;
	if (*node)
		return -EEXIST;
	err = storage_mem_name_call(m, CALL_CREATE, name, NULL);
	if (!err)
		*node = mem_disk_find(&m->disk, name);
	return err;
}

static int storage_mem_open(struct storage *st, const char *name, enum storage_open how,
			    struct storage_file **out)
{
	struct mem *m = storage_mem_of(st);
	struct mem_file *f;
	int err = storage_mem_name_check(name);

	*out = NULL;
	if (err)
		return err;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->base.st = st;
	f->writable = how != STORAGE_READ;
	mutex_lock(&m->mutex);
	err = storage_mem_open_node(m, name, how, &f->node);
	if (!err) {
		mem_disk_take(&m->disk, f->node);
		m->handles++;
	}
	mutex_unlock(&m->mutex);
	if (err) {
		free(f);
		return err;
	}
	*out = &f->base;
	return 0;
}

static int storage_mem_rename(struct storage *st, const char *from, const char *to)
{
	struct mem *m = storage_mem_of(st);
	int err = storage_mem_name_check(from);

	if (!err)
		err = storage_mem_name_check(to);
	if (err)
		return err;
	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_RENAME);
	if (!err)
		err = storage_mem_name_call(m, CALL_RENAME, from, to);
	mutex_unlock(&m->mutex);
	return err;
}

static int storage_mem_unlink(struct storage *st, const char *name)
{
	struct mem *m = storage_mem_of(st);
	int err = storage_mem_name_check(name);

	if (err)
		return err;
	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_UNLINK);
	if (!err)
		err = storage_mem_name_call(m, CALL_UNLINK, name, NULL);
	mutex_unlock(&m->mutex);
	return err;
}

static int storage_mem_sync_dir(struct storage *st)
{
	struct mem *m = storage_mem_of(st);
	int err;

	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_SYNC_DIR);
	if (!err)
		err = storage_mem_name_call(m, CALL_SYNC_DIR, "", NULL);
	mutex_unlock(&m->mutex);
	return err;
}

/* Lists a copy: `fn` may call the storage. */
static int storage_mem_list(struct storage *st, storage_list_fn *fn, void *ctx)
{
	struct listed {
		char name[MEM_NAME_BYTES];
		uint64_t size;
	} *listed = NULL;
	struct mem *m = storage_mem_of(st);
	size_t count = 0;
	int err;

	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_LIST);
	if (!err)
		listed = malloc((m->disk.now.count + 1) * sizeof(*listed));
	if (!err && !listed)
		err = -ENOMEM;
	for (; !err && count < m->disk.now.count; count++) {
		memcpy(listed[count].name, m->disk.now.v[count].name, MEM_NAME_BYTES);
		listed[count].size = m->disk.now.v[count].node->size_now;
	}
	mutex_unlock(&m->mutex);
	for (size_t i = 0; !err && i < count; i++)
		err = fn(ctx, listed[i].name, listed[i].size);
	free(listed);
	return err;
}

static int storage_mem_lock(struct storage *st, bool exclusive, long *holder)
{
	struct mem *m = storage_mem_of(st);
	int err = 0;

	mutex_lock(&m->mutex);
	if (holder)
		*holder = 0;
	if (m->locked_exclusive || (exclusive && m->locked_shared)) {
		err = -EBUSY;
		if (holder && m->locked_exclusive)
			*holder = (long)getpid();
	} else if (exclusive) {
		m->locked_exclusive = true;
	} else {
		m->locked_shared++;
	}
	mutex_unlock(&m->mutex);
	return err;
}

static void storage_mem_unlock(struct storage *st)
{
	struct mem *m = storage_mem_of(st);

	mutex_lock(&m->mutex);
	if (m->locked_exclusive)
		m->locked_exclusive = false;
	else if (m->locked_shared)
		m->locked_shared--;
	mutex_unlock(&m->mutex);
}

static int storage_mem_space(struct storage *st, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct mem *m = storage_mem_of(st);
	uint64_t used;

	mutex_lock(&m->mutex);
	used = m->disk.pages * MEM_PAGE_BYTES;
	*total_bytes = m->pages_max ? m->pages_max * MEM_PAGE_BYTES : UNLIMITED_BYTES;
	*free_bytes = used < *total_bytes ? *total_bytes - used : 0;
	mutex_unlock(&m->mutex);
	return 0;
}

/* No other thread uses the storage any more. */
static void storage_mem_free(struct storage *st) NO_OTHER_THREADS
{
	struct mem *m = storage_mem_of(st);

	assert(!m->handles); /* each is a descriptor leaked */
	storage_mem_record_drop(m);
	mem_disk_release(&m->disk);
	mutex_destroy(&m->mutex);
	free(m);
}

/* ---- files ---- */

static struct mem_file *storage_mem_file(struct storage_file *f)
{
	return (struct mem_file *)f;
}

static int storage_mem_pread(struct storage_file *f, void *buf, size_t size, uint64_t offset,
			     size_t *got)
{
	struct mem *m = storage_mem_of(f->st);
	int err;

	*got = 0;
	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_READ);
	if (!err)
		*got = mem_node_read(storage_mem_file(f)->node, buf, size, offset);
	mutex_unlock(&m->mutex);
	return err;
}

/* The bytes of `iov` in one piece. NULL: no memory. */
static void *storage_mem_join(const struct iovec *iov, int iov_count, size_t *size)
{
	uint8_t *data, *to;

	*size = 0;
	for (int i = 0; i < iov_count; i++)
		*size += iov[i].iov_len;
	data = to = malloc(*size + 1);
	for (int i = 0; data && i < iov_count; i++) {
		if (iov[i].iov_len)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	return data;
}

static int storage_mem_pwritev(struct storage_file *f, const struct iovec *iov, int iov_count,
			       uint64_t offset)
{
	struct mem *m = storage_mem_of(f->st);
	struct mem_node *n = storage_mem_file(f)->node;
	struct call c = {.kind = CALL_WRITE, .node = n->id, .offset = offset};
	size_t size, part;
	int err = 0, failure, fault;

	if (!storage_mem_file(f)->writable)
		return -EBADF;
	c.data = storage_mem_join(iov, iov_count, &size);
	if (!c.data)
		return -ENOMEM;
	mutex_lock(&m->mutex);
	part = mem_node_fits(n, size, offset, storage_mem_pages_left(m));
	failure = part < size ? -ENOSPC : 0;
	fault = storage_mem_injected(m, STORAGE_MEM_WRITE);
	if (fault) {
		failure = fault;
		part = (size_t)mem_rng_below(&m->rng, part + 1);
	}
	c.size = part;
	if (part)
		err = storage_mem_call_now(m, &c);
	if (!part || err)
		free(c.data);
	mutex_unlock(&m->mutex);
	return failure ? failure : err;
}

/* A call about a file with two numbers, after the checks that all share. */
static int storage_mem_file_call(struct storage_file *f, enum storage_mem_op op,
				 enum call_kind kind, uint64_t offset, uint64_t size)
{
	struct mem *m = storage_mem_of(f->st);
	struct mem_node *n = storage_mem_file(f)->node;
	struct call c = {.kind = kind, .node = n->id, .offset = offset, .size = size};
	int err;

	if (!storage_mem_file(f)->writable && kind != CALL_SYNC)
		return -EBADF;
	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, op);
	if (err && kind == CALL_SYNC) {
		c.kind = CALL_LOSE;
		storage_mem_call_now(m, &c); /* fails, if at all, for lack of memory to record it */
	}
	if (!err && kind == CALL_ALLOCATE && size <= MEM_FILE_BYTES_MAX &&
	    mem_node_fits(n, (size_t)size, 0, storage_mem_pages_left(m)) < size)
		err = -ENOSPC;
	if (!err)
		err = storage_mem_call_now(m, &c);
	mutex_unlock(&m->mutex);
	return err;
}

static int storage_mem_allocate(struct storage_file *f, uint64_t size)
{
	return storage_mem_file_call(f, STORAGE_MEM_ALLOCATE, CALL_ALLOCATE, 0, size);
}

static int storage_mem_truncate(struct storage_file *f, uint64_t size)
{
	return storage_mem_file_call(f, STORAGE_MEM_TRUNCATE, CALL_TRUNCATE, 0, size);
}

static int storage_mem_punch(struct storage_file *f, uint64_t offset, uint64_t size)
{
	return storage_mem_file_call(f, STORAGE_MEM_PUNCH, CALL_PUNCH, offset, size);
}

static int storage_mem_sync(struct storage_file *f)
{
	return storage_mem_file_call(f, STORAGE_MEM_SYNC, CALL_SYNC, 0, 0);
}

static int storage_mem_size(struct storage_file *f, uint64_t *size, uint64_t *allocated)
{
	struct mem *m = storage_mem_of(f->st);
	struct mem_node *n = storage_mem_file(f)->node;
	int err;

	mutex_lock(&m->mutex);
	err = storage_mem_injected(m, STORAGE_MEM_SIZE);
	if (size)
		*size = err ? 0 : n->size_now;
	if (allocated)
		*allocated = err ? 0 : n->pages * MEM_PAGE_BYTES;
	mutex_unlock(&m->mutex);
	return err;
}

static int storage_mem_close(struct storage_file *f)
{
	struct mem *m = storage_mem_of(f->st);

	mutex_lock(&m->mutex);
	mem_disk_drop(&m->disk, storage_mem_file(f)->node);
	m->handles--;
	mutex_unlock(&m->mutex);
	free(f);
	return 0;
}

int storage_mem_flip(struct storage *st, const char *name, uint64_t offset, unsigned char mask)
{
	struct mem *m = storage_mem_of(st);
	struct call c = {.kind = CALL_FLIP, .offset = offset, .size = mask};
	struct mem_node *n;
	int err = storage_mem_name_check(name);

	if (err)
		return err;
	mutex_lock(&m->mutex);
	n = mem_disk_find(&m->disk, name);
	if (!n) {
		err = -ENOENT;
	} else if (offset >= n->size_now) {
		err = -EINVAL;
	} else {
		c.node = n->id;
		err = storage_mem_call_now(m, &c);
	}
	mutex_unlock(&m->mutex);
	return err;
}

static const struct storage_ops mem_ops = {
	.open = storage_mem_open,
	.rename = storage_mem_rename,
	.unlink = storage_mem_unlink,
	.list = storage_mem_list,
	.sync_dir = storage_mem_sync_dir,
	.lock = storage_mem_lock,
	.unlock = storage_mem_unlock,
	.space = storage_mem_space,
	.free = storage_mem_free,
	.pread = storage_mem_pread,
	.pwritev = storage_mem_pwritev,
	.allocate = storage_mem_allocate,
	.truncate = storage_mem_truncate,
	.punch = storage_mem_punch,
	.sync = storage_mem_sync,
	.size = storage_mem_size,
	.close = storage_mem_close,
};

struct storage *storage_mem_new(void)
{
	struct mem *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	if (mutex_init(&m->mutex, LOCK_STORAGE)) {
		free(m);
		return NULL;
	}
	m->base.ops = &mem_ops;
	return &m->base;
}
