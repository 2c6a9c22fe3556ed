/*
 * inode.h - inodes in memory: the table, references, and where each one's
 * record is. See the top of inode.c.
 */
#ifndef FS_INODE_H
#define FS_INODE_H

#include "fs/core.h"

enum inode_where {
	INODE_NAMED,    /* the record is under 'N' parent name */
	INODE_OWN,      /* ... under 'I' ino */
	INODE_NAMELESS, /* no record: an orphan lives in memory only */
};

struct inode {
	/* constant */
	uint64_t ino;
	mode_t type; /* S_IFREG, ... */

	/* guarded by the shard's lock */
	struct inode *next;
	uint64_t lookups; /* references callers were given */
	uint32_t refs;    /* calls at work, children in memory, open directories */
	bool used;        /* since the prune thread last came by */

	/* atomic: of a directory, how often a record in its range was written */
	_Atomic uint64_t changes;

	pthread_rwlock_t lock;
	/* guarded by lock */
	struct attr attr;
	enum inode_where where;
	bool orphaned; /* nameless, and 'O' ino is in the store */
	bool linkable; /* nameless, but never had a name */
	/*
	 * Where the name is, when NAMED; when OWN a name it once had, as a hint
	 * for pruning; when NAMELESS what it was. A reference is held on `parent`,
	 * so that from every directory in memory a walk up to the root is possible.
	 * NULL for the root. Of a directory, only changed under rename_lock too.
	 */
	struct inode *parent;
	char *name;
	void *content;        /* when NAMELESS: attr.content_size bytes */
	uint64_t entries_max; /* of a directory: most entries since it was empty */
};

static inline void inode_lock(struct inode *inode)
{
	pthread_rwlock_wrlock(&inode->lock);
}
static inline void inode_lock_shared(struct inode *inode)
{
	pthread_rwlock_rdlock(&inode->lock);
}
static inline void inode_unlock(struct inode *inode)
{
	pthread_rwlock_unlock(&inode->lock);
}

/* ---- the table ---- */

int inode_table_init(struct fs *fs);
void inode_table_release(struct fs *fs); /* frees orphans in the store, and all inodes */

/* The inode `ino` with a reference; -ESTALE if nobody holds it. */
int inode_get(struct fs *fs, uint64_t ino, struct inode **out);
void inode_ref(struct fs *fs, struct inode *inode);
/* Give a reference back; NULL is fine. Frees an orphan's data with the last one. */
void inode_put(struct fs *fs, struct inode *inode);
/* Turn the reference into one the caller of fs_lookup() and the like holds. */
void inode_keep(struct fs *fs, struct inode *inode);
/* Give one more of those. */
void inode_hold(struct fs *fs, struct inode *inode);
/* Take back `count` of those. */
void inode_forget(struct fs *fs, uint64_t ino, uint64_t count);
/* Does nobody but the calling operation, with its one reference, hold it? */
bool inode_is_only_mine(struct fs *fs, struct inode *inode);

/* A new inode, in no table yet, with one reference; NULL: no memory. */
struct inode *inode_new(struct fs *fs, uint64_t ino, const struct attr *attr,
			enum inode_where where, struct inode *parent, const char *name);
/* Put a new one into the table. */
void inode_add(struct fs *fs, struct inode *inode);
/* Free one that never was in the table. */
void inode_discard(struct fs *fs, struct inode *inode);

/*
 * The inode that `record`, of `name` in `dir`, stands for: the one in memory or
 * else made from the record. `stamp` is dir->changes from before the record was
 * read. Returns 0 with a reference; 1 if the record may be out of date: read it
 * again; -EUCLEAN.
 * REQUIRES: dir locked, at least shared.
 */
int inode_enter(struct fs *fs, struct inode *dir, const char *name, const struct record *record,
		uint64_t stamp, struct inode **out);

/* ---- one inode; REQUIRES: its lock, shared for reading ---- */

void inode_stat(const struct inode *inode, struct stat *st);

/* The key of its record; not when NAMELESS. */
struct lsm_slice inode_key(const struct inode *inode, struct key *k);

/* Its content in the record (or in memory), within `*value` or the inode. */
int inode_content(struct fs *fs, const struct inode *inode, struct lsm_value *value,
		  struct lsm_slice *content);

/*
 * Add to `b` its record as it will be: with `attr`, and `content` of
 * attr->content_size bytes. For a nameless inode that gets data in the store,
 * its entry in the list of orphans.
 */
int inode_stage(struct lsm_batch *b, const struct inode *inode, const struct attr *attr,
		const void *content);
/* After the batch was written: this is how it is now. */
void inode_apply(struct fs *fs, struct inode *inode, const struct attr *attr);
/* Note that a record of it was written where it is now; inode_apply() does. */
void inode_changed(struct fs *fs, const struct inode *inode);
/* Add to `b` what frees its data and attributes in the store. */
int inode_stage_free(struct lsm_batch *b, uint64_t ino, uint32_t flags, bool orphaned);

/*
 * Move it: `name` (malloc()ed) becomes its own; it takes a reference on
 * `parent` and gives back the one on the last.
 */
void inode_move(struct fs *fs, struct inode *inode, enum inode_where where,
		struct inode *parent, char *name);

/*
 * A change to one inode: change_begin(), then edit `attr` and the batch, call
 * change_content() if the content changes, change_commit(), change_end().
 */
struct change {
	struct fs *fs;
	struct inode *inode;
	struct lsm_batch *b;
	struct attr attr;
	struct lsm_slice content; /* valid if content_known */
	bool content_known, content_new;
	struct lsm_value value;
};
/* REQUIRES: inode locked until change_end(). */
int change_begin(struct change *c, struct fs *fs, struct inode *inode);
int change_load(struct change *c); /* make c->content what it is in the store */
/* `data` stays the caller's, until change_end(). */
void change_content(struct change *c, const void *data, size_t size);
int change_commit(struct change *c, unsigned flags);
void change_end(struct change *c);

/* Now, but not before the inode's last change: mtime and ctime never go back by themselves. */
int64_t inode_now(const struct inode *inode);
int64_t time_pack(struct timespec ts);
struct timespec time_unpack(int64_t ns);

/* Make `*inode`'s atime now if the mount's rules ask for it; takes its lock. */
void inode_touch(struct fs *fs, struct inode *inode);
/* Do they? REQUIRES: lock, shared. */
bool inode_touch_due(const struct fs *fs, const struct inode *inode);

#endif
