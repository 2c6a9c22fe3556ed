/*
 * name.h - names in directories: finding, adding and taking away, as pieces of
 * a batch. What name.c and rename.c share.
 */
#ifndef FS_NAME_H
#define FS_NAME_H

#include "fs/change.h"

/* Is `name` one that a file can have? `*size` is its length. "." is; see name_is_dots(). */
int name_check(const char *name, size_t *size);
static inline bool name_is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Can a file have this name, which was read from the store? Not "." and "..". */
bool name_possible(struct lsm_slice name);

/*
 * The directory `ino`, with a reference for inode_put(). 0, -ESTALE, -ENOTDIR; `*dir` is NULL
 * after an error.
 */
int name_dir(struct fs *fs, uint64_t ino, struct inode **dir);
/* 0 if names may still be made in `dir`; -ENOENT if it was removed. */
int name_dir_alive(const struct inode *dir) REQUIRES_SHARED(*dir);

/* A name found, and what it stands for. Release with name_release(), found or not. */
struct name {
	struct inode *inode; /* with a reference */
	uint64_t stamp;      /* dir->changes when it was read */
	struct record record;
	struct lsm_value value;
};
/*
 * Find `name` in `dir`. Returns 0; -ENOENT; an error.
 * `n` starts as {0}. Release it in any case.
 */
int name_find(struct fs *fs, struct inode *dir, const char *name, struct name *n)
	REQUIRES_SHARED(*dir);
void name_release(struct fs *fs, struct name *n);
/*
 * The content in the record of n->inode, which is locked. Uses the record that was found, if it
 * still holds, and reads it again otherwise.
 */
int name_content(struct fs *fs, const struct inode *dir, struct name *n, struct lsm_slice *content)
	REQUIRES_SHARED(*dir);

/* Add to `b` the entry `name` of `dir`: the whole record, or a link. */
int name_stage(struct lsm_batch *b, const struct inode *dir, const char *name, uint64_t ino,
	       const struct attr *attr, const void *content);
int name_stage_link(struct lsm_batch *b, const struct inode *dir, const char *name, uint64_t ino,
		    mode_t type);
int name_stage_delete(struct lsm_batch *b, const struct inode *dir, const char *name);
/* Add to `b` the record of `dir` with its counts changed and its times `*next` = now. */
int name_stage_dir(struct lsm_batch *b, const struct inode *dir, int entries, int subdirs,
		   struct attr *next) REQUIRES(*dir);
/* The batch was written: change what is in memory of `dir`. */
void name_apply_dir(struct fs *fs, struct inode *dir, const struct attr *next) REQUIRES(*dir);

/* How an inode is after it lost a name. */
struct loss {
	struct attr attr;
	void *content; /* to keep in memory */
	bool freed;    /* there is no reference: the batch frees its data, too */
};
/*
 * Add to `b` what becomes of n->inode when its name in `dir` goes, but not the
 * entry itself. n->inode is locked, too.
 */
int name_stage_loss(struct fs *fs, struct lsm_batch *b, const struct inode *dir, struct name *n,
		    struct loss *loss) REQUIRES(*dir);
void name_apply_loss(struct fs *fs, struct inode *inode, struct loss *loss) REQUIRES(*inode);

#endif
