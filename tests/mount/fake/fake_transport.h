/*
 * fake_transport.h - transport.h without libfuse and without a mount, for the tests of handlers.
 *
 * A test makes a request by fake_request(), calls a handler with it, and looks at the reply:
 *
 *     struct request r = fake_request(&f, FS_ROOT_INO);
 *
 *     op_lookup(&r, "file");
 *     is_int(fake_reply(&f)->kind, FAKE_ENTRY, "there is one");
 *
 * The fake keeps the references that replies hand to the kernel, as the kernel does: the test
 * drops them by op_forget(). With `refuse` set, no reply that could fail reaches the kernel.
 */
#ifndef TESTS_MOUNT_FAKE_TRANSPORT_H
#define TESTS_MOUNT_FAKE_TRANSPORT_H

#include "mount/ops.h"
#include "tests/support/fs_fixture.h"

#define FAKE_BYTES_MAX (2u << 20)

enum fake_kind {
	FAKE_NOTHING, /* no reply yet */
	FAKE_ERROR,   /* also "done": err is 0 then */
	FAKE_NONE,
	FAKE_ENTRY,
	FAKE_CREATED,
	FAKE_ABSENT,
	FAKE_ATTRIBUTES,
	FAKE_TARGET,
	FAKE_BYTES,
	FAKE_WRITTEN,
	FAKE_LENGTH,
	FAKE_OFFSET,
	FAKE_STATFS,
	FAKE_OPENED,
	FAKE_DIRECTORY,
	FAKE_DIR_ENTRIES,
};

/* An entry of a directory as it is in the bytes of a reply. */
struct fake_entry {
	uint64_t next;
	struct stat st; /* only the number and the type are set without attributes */
	bool held;      /* a reference came with it */
	char name[FS_NAME_BYTES_MAX + 1];
};
#define FAKE_ENTRY_BYTES sizeof(struct fake_entry)

struct fake_answer {
	enum fake_kind kind;
	int err; /* as the kernel gets it: positive */
	struct stat st;
	struct statvfs statfs;
	char *data; /* FAKE_BYTES_MAX; NUL-terminated behind `size` */
	size_t size;
	uint64_t offset;
	bool keep, kept, anew;
	struct open_dir *dir;
};

struct fake {
	struct fs_fixture fixture;
	struct mount mount;
	struct mount_options options;
	bool refuse;        /* replies do not reach the kernel */
	gid_t groups[4];    /* supplementary groups of whoever makes requests */
	size_t group_count; /* ... that are set */
	uint64_t forgotten; /* the last number whose attributes were forgotten; 0: none */
	struct mutex lock;
	pthread_cond_t answered;
	/* guarded by lock */
	struct fake_answer answer;
	unsigned answers; /* how many there were in all */
};

/* A new, empty filesystem, with everything that handlers need. */
void fake_init(struct fake *f);
/* As a mount ends: what is open is closed. The store stays open. */
void fake_stop(struct fake *f);
/* At the end of the test; here, so that the test counts the check. The store must be clean. */
static inline void fake_release(struct fake *f)
{
	fake_stop(f);
	fs_fixture_clean(&f->fixture, "at the end");
	fs_fixture_release(&f->fixture);
}

/* A request about `ino` by root; the test may change its fields. Forgets the last reply. */
struct request fake_request(struct fake *f, uint64_t ino);
/* The reply to the last request. Waits for one by another thread; bails if none comes. */
const struct fake_answer *fake_reply(struct fake *f);
/* How many entries a reply of a directory has, and the one with number `i`. */
size_t fake_entries(const struct fake_answer *a);
const struct fake_entry *fake_entry(const struct fake_answer *a, size_t i);

/* The last request is answered by `kind`. */
#define is_kind(f, want, ...) is_int(fake_reply(f)->kind, (want), __VA_ARGS__)
/* The last request failed with the errno `want`; 0: it is done. */
#define is_error(f, want, ...)                                                                     \
	({                                                                                         \
		const struct fake_answer *fake_got = fake_reply(f);                                \
		is_int(fake_got->kind == FAKE_ERROR ? fake_got->err : -(int)fake_got->kind,        \
		       (want), __VA_ARGS__);                                                       \
	})

#endif
