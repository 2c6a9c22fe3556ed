/*
 * fake_transport.c - what handlers see of a transport, kept for the test to look at.
 */
#include "tests/mount/fake/fake_transport.h"

#include <time.h>

#include "mount/control.h"
#include "mount/syncer.h"

#define WAIT_S 30 /* for a reply of another thread: far longer than any takes */

static struct fake *fake_of(const struct request *r)
{
	return r->handle;
}

/* Lock, and note that there is a reply. A second one to a request is a fault of the handler. */
static struct fake_answer *fake_begin(const struct request *r, enum fake_kind kind)
	ACQUIRES(fake_of(r)->lock) NO_OTHER_THREADS /* the lock is released by fake_end() */
{
	struct fake *f = fake_of(r);

	mutex_lock(&f->lock);
	f->answers++;
	if (f->answer.kind != FAKE_NOTHING)
		bail("a second reply, %d, to a request that had %d", kind, f->answer.kind);
	f->answer.kind = kind;
	return &f->answer;
}

static void fake_end(const struct request *r)
	RELEASES(fake_of(r)->lock) NO_OTHER_THREADS /* it was taken by fake_begin() */
{
	struct fake *f = fake_of(r);

	cond_broadcast(&f->answered);
	mutex_unlock(&f->lock);
}

/* ---- transport.h ---- */

void reply_error(struct request *r, int err)
{
	struct fake_answer *a = fake_begin(r, FAKE_ERROR);

	if (err > 0)
		bail("reply_error(%d): not a negative errno", err);
	a->err = -err;
	fake_end(r);
}

void reply_none(struct request *r)
{
	fake_begin(r, FAKE_NONE);
	fake_end(r);
}

static int fake_reply_entry(struct request *r, enum fake_kind kind, const struct stat *st)
{
	fake_begin(r, kind)->st = *st;
	fake_end(r);
	return fake_of(r)->refuse;
}

int reply_entry(struct request *r, const struct stat *st)
{
	return fake_reply_entry(r, FAKE_ENTRY, st);
}

int reply_created(struct request *r, const struct stat *st)
{
	return fake_reply_entry(r, FAKE_CREATED, st);
}

void reply_absent(struct request *r)
{
	fake_begin(r, FAKE_ABSENT);
	fake_end(r);
}

void reply_attributes(struct request *r, const struct stat *st)
{
	fake_begin(r, FAKE_ATTRIBUTES)->st = *st;
	fake_end(r);
}

static void fake_reply_data(struct request *r, enum fake_kind kind, const void *data, size_t size)
{
	struct fake_answer *a = fake_begin(r, kind);

	if (size > FAKE_BYTES_MAX)
		bail("a reply of %zu bytes", size);
	memcpy(a->data, data, size);
	a->data[size] = 0;
	a->size = size;
	fake_end(r);
}

void reply_target(struct request *r, const char *target)
{
	fake_reply_data(r, FAKE_TARGET, target, strlen(target));
}

void reply_bytes(struct request *r, const void *data, size_t size)
{
	fake_reply_data(r, FAKE_BYTES, data, size);
}

void reply_written(struct request *r, size_t size)
{
	fake_begin(r, FAKE_WRITTEN)->size = size;
	fake_end(r);
}

void reply_length(struct request *r, size_t size)
{
	fake_begin(r, FAKE_LENGTH)->size = size;
	fake_end(r);
}

void reply_offset(struct request *r, uint64_t offset)
{
	fake_begin(r, FAKE_OFFSET)->offset = offset;
	fake_end(r);
}

void reply_statfs(struct request *r, const struct statvfs *st)
{
	fake_begin(r, FAKE_STATFS)->statfs = *st;
	fake_end(r);
}

void reply_opened(struct request *r, bool keep)
{
	fake_begin(r, FAKE_OPENED)->keep = keep;
	fake_end(r);
}

int reply_directory(struct request *r, struct open_dir *dir, bool kept, bool anew)
{
	struct fake_answer *a = fake_begin(r, FAKE_DIRECTORY);

	a->dir = dir;
	a->kept = kept;
	a->anew = anew;
	fake_end(r);
	return fake_of(r)->refuse;
}

bool request_in_group(struct request *r, gid_t gid)
{
	const struct fake *f = fake_of(r);
	size_t i;

	if (r->gid == gid)
		return true;
	for (i = 0; i < f->group_count; i++)
		if (f->groups[i] == gid)
			return true;
	return false;
}

bool dir_reply_add(struct dir_reply *d, const char *name, const struct stat *st, bool held,
		   uint64_t next)
{
	struct fake_entry entry = {.next = next, .st = *st, .held = held};

	if (d->used + sizeof(entry) > d->size)
		return false;
	snprintf(entry.name, sizeof(entry.name), "%s", name);
	memcpy(d->data + d->used, &entry, sizeof(entry));
	d->used += sizeof(entry);
	return true;
}

void reply_dir_entries(struct dir_reply *d)
{
	struct fake *f = fake_of(d->request);
	size_t i;

	fake_reply_data(d->request, FAKE_DIR_ENTRIES, d->data, d->used);
	for (i = 0; f->refuse && d->plus && i < fake_entries(&f->answer); i++)
		if (fake_entry(&f->answer, i)->held)
			fs_forget(f->mount.fs, fake_entry(&f->answer, i)->st.st_ino, 1);
}

void transport_forget_attributes(struct request *r, uint64_t ino)
{
	fake_of(r)->forgotten = ino;
}

/* ---- for the test ---- */

void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	fs_fixture_init(&f->fixture);
	f->options.threads = 2;
	f->answer.data = malloc(FAKE_BYTES_MAX + 1);
	f->mount.fs = f->fixture.fs;
	f->mount.options = &f->options;
	f->mount.control = control_new(f->mount.fs, 1000);
	if (!f->answer.data || !f->mount.control || open_dirs_init(&f->mount.dirs) ||
	    syncer_new(f->mount.fs, &f->mount.syncer) || mutex_init(&f->lock, LOCK_MESSAGE) ||
	    cond_init(&f->answered))
		bail("no memory for a mount");
}

void fake_stop(struct fake *f)
{
	syncer_free(f->mount.syncer);
	open_dirs_release(&f->mount.dirs);
	control_free(f->mount.control);
	cond_destroy(&f->answered);
	mutex_destroy(&f->lock);
	free(f->answer.data);
}

struct request fake_request(struct fake *f, uint64_t ino)
{
	char *data = f->answer.data;

	mutex_lock(&f->lock);
	f->answer = (struct fake_answer){.data = data};
	f->forgotten = 0;
	mutex_unlock(&f->lock);
	return (struct request){.mount = &f->mount, .ino = ino, .pid = getpid(), .handle = f};
}

const struct fake_answer *fake_reply(struct fake *f)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += WAIT_S;
	mutex_lock(&f->lock);
	while (f->answer.kind == FAKE_NOTHING)
		if (cond_wait_until(&f->answered, &f->lock, &end))
			bail("no reply");
	mutex_unlock(&f->lock);
	return &f->answer;
}

size_t fake_entries(const struct fake_answer *a)
{
	if (a->kind != FAKE_DIR_ENTRIES || a->size % sizeof(struct fake_entry))
		bail("not the entries of a directory");
	return a->size / sizeof(struct fake_entry);
}

const struct fake_entry *fake_entry(const struct fake_answer *a, size_t i)
{
	if (i >= fake_entries(a))
		bail("there is no entry %zu", i);
	return (const struct fake_entry *)(const void *)a->data + i;
}
