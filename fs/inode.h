/*
 * inode.h - inodes in memory: the table, references, and where each one's
 * record is. See the top of inode.c.
 */
#ifndef FS_INODE_H
#define FS_INODE_H

#include "fs/core.h"
#include "fs/inode_lock.h"

enum inode_where {
	INODE_NAMED,    /* the record is under 'N' parent name */
	INODE_OWN,      /* ... under 'I' ino */
	INODE_NAMELESS, /* no record: an orphan lives in memory only */
};

struct LOCK_ATTRIBUTE(capability("inode")) inode {
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

	pthread_rwlock_t rwlock; /* see inode_lock.h */
	/* guarded by rwlock */
	struct attr attr;
	enum inode_where where;
	bool orphaned; /* nameless, and 'O' ino is in the store */
	bool linkable; /* nameless, but never had a name */
	bool touched;  /* attr.atime is newer than the record's */
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

/* ---- the table ---- */

int inode_table_init(struct fs *fs);
void inode_table_release(struct fs *fs); /* frees orphans in the store, and all inodes */

/*
 * Is everything right in the table: the counts, the bytes, each inode in its bucket, each parent
 * there and referred to? For assertions and tests, while no call is at work.
 */
bool inode_table_valid(struct fs *fs);

/* The inode `ino` with one more reference for this call; -ESTALE if it is not in memory. */
int inode_get(struct fs *fs, uint64_t ino, struct inode **out);
void inode_ref(struct fs *fs, struct inode *inode);
/* Drop a reference; NULL is fine. The last one frees an orphan's data. */
void inode_put(struct fs *fs, struct inode *inode);
/* Turn the reference of this call into one that the caller of fs.h holds. */
void inode_keep(struct fs *fs, struct inode *inode);
/* Add one that the caller of fs.h holds. */
void inode_hold(struct fs *fs, struct inode *inode);
/* Drop `count` of those. */
void inode_forget(struct fs *fs, uint64_t ino, uint64_t count);
/* Is the one reference of this call the only one? */
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
 * read. Returns 0 with a reference; INODE_STALE if the record may be out of date, and is to be
 * read again; -EUCLEAN, reported; or another error.
 */
enum { INODE_STALE = 1 };
int inode_enter(struct fs *fs, struct inode *dir, const char *name, const struct record *record,
		uint64_t stamp, struct inode **out) REQUIRES_SHARED(*dir);

/*
 * Move it: `name` (malloc()ed) becomes its own; it takes a reference on
 * `parent` and drops the one on the last.
 */
void inode_move(struct fs *fs, struct inode *inode, enum inode_where where, struct inode *parent,
		char *name) REQUIRES(*inode);

#endif
