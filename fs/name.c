/*
 * name.c - names in directories: lookup, create, link, unlink.
 *
 * An entry is one record, under the directory's number and the name. As long as
 * an inode has this one name the record is the whole inode; the second name
 * makes it move to a record of its own, and both entries become links to that.
 * It stays there when it goes back to one name. Files with two names are few, and files that
 * once had two are fewer.
 *
 * Every call here locks the directory (and thereby all its names), finds out
 * what there is, builds one batch of everything that changes (the entry, the
 * inode, the directory's own record with its counts and times, the list of
 * orphans), writes it, and then changes what is in memory.
 */
#include "fs/name.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/acl.h"
#include "fs/count.h"
#include "fs/orphan.h"

/* A directory that held so many entries and is empty gets one range tombstone for all of them. */
#define EMPTIED_ENTRIES_MIN 1000u

int name_check(const char *name, size_t *size)
{
	*size = strnlen(name, FS_NAME_BYTES_MAX + 1);
	if (!*size)
		return -ENOENT;
	if (*size > FS_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	return memchr(name, '/', *size) ? -EINVAL : 0;
}

bool name_possible(struct lsm_slice name)
{
	const char *bytes = name.data;

	return name.size && name.size <= FS_NAME_BYTES_MAX && !memchr(bytes, '/', name.size) &&
	       !memchr(bytes, 0, name.size) &&
	       (bytes[0] != '.' || (name.size > 1 && (name.size > 2 || bytes[1] != '.')));
}

int name_dir(struct fs *fs, uint64_t ino, struct inode **dir)
{
	int err = inode_get(fs, ino, dir);

	if (err)
		return err;
	if (S_ISDIR((*dir)->type))
		return 0;
	inode_put(fs, *dir);
	*dir = NULL;
	return -ENOTDIR;
}

int name_dir_alive(const struct inode *dir)
{
	inode_assert_shared(dir);
	return dir->where == INODE_NAMELESS ? -ENOENT : 0;
}

static struct lsm_slice name_key(struct key *k, const struct inode *dir, const char *name)
{
	return key_make(k, KEY_NAME, dir->ino, name, strlen(name));
}

int name_find(struct fs *fs, struct inode *dir, const char *name, struct name *n)
{
	struct key k;
	struct lsm_slice key = name_key(&k, dir, name);
	const char *why;
	int err;

	inode_assert_shared(dir);
	do {
		n->stamp = atomic_load(&dir->changes);
		err = lsm_get(fs->lsm, NULL, key, &n->value);
		if (err)
			return err == LSM_ABSENT ? -ENOENT : err;
		err = record_decode((struct lsm_slice){n->value.data, n->value.size}, &n->record,
				    &why);
		if (err)
			return fs_corrupt(fs, key, why);
		err = inode_enter(fs, dir, name, &n->record, n->stamp, &n->inode);
	} while (err == INODE_STALE);
	return err;
}

void name_release(struct fs *fs, struct name *n)
{
	inode_put(fs, n->inode);
	lsm_value_release(&n->value);
}

int name_content(struct fs *fs, const struct inode *dir, struct name *n, struct lsm_slice *content)
{
	struct key k;

	inode_assert_shared(n->inode);
	if (n->inode->where == INODE_NAMED && n->record.kind == RECORD_INODE &&
	    atomic_load(&dir->changes) == n->stamp) {
		/* In a contradictory store the inode in memory is that of another record. */
		if (n->record.content.size != n->inode->attr.content_size)
			return fs_corrupt(fs, inode_key(n->inode, &k),
					  "two names have records of one inode that differ");
		*content = n->record.content;
		return 0;
	}
	return inode_content(fs, n->inode, &n->value, content);
}

int name_stage(struct lsm_batch *b, const struct inode *dir, const char *name, uint64_t ino,
	       const struct attr *attr, const void *content)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct key k;
	size_t size = record_encode(bytes, ino, attr, content);

	return lsm_batch_put(b, name_key(&k, dir, name), (struct lsm_slice){bytes, size});
}

int name_stage_link(struct lsm_batch *b, const struct inode *dir, const char *name, uint64_t ino,
		    mode_t type)
{
	unsigned char bytes[RECORD_LINK_BYTES_MAX];
	struct key k;
	size_t size = record_encode_link(bytes, ino, type);

	return lsm_batch_put(b, name_key(&k, dir, name), (struct lsm_slice){bytes, size});
}

int name_stage_delete(struct lsm_batch *b, const struct inode *dir, const char *name)
{
	struct key k;

	return lsm_batch_delete(b, name_key(&k, dir, name));
}

/* `count` and `by`, but not below 0: a count on disk may be wrong. */
static uint64_t name_count_changed(uint64_t count, int by)
{
	return by < 0 && count < (uint64_t)-by ? 0 : count + (uint64_t)(int64_t)by;
}

int name_stage_dir(struct lsm_batch *b, const struct inode *dir, int entries, int subdirs,
		   struct attr *next)
{
	int err = 0;

	inode_assert_held(dir);
	*next = dir->attr;
	next->entries = name_count_changed(next->entries, entries);
	next->subdirs = name_count_changed(next->subdirs, subdirs);
	next->mtime = next->ctime = time_now();
	/* So that nobody walks over the tombstones of all that was in it. */
	if (entries < 0 && !next->entries && dir->entries_max >= EMPTIED_ENTRIES_MIN)
		err = key_drop_range(b, KEY_NAME, dir->ino);
	return err ? err : inode_stage(b, dir, next, NULL);
}

void name_apply_dir(struct fs *fs, struct inode *dir, const struct attr *next)
{
	inode_apply(fs, dir, next);
	atomic_fetch_add(&dir->changes, 1);
	if (!next->entries)
		dir->entries_max = 0;
	else if (next->entries > dir->entries_max)
		dir->entries_max = next->entries;
}

/* ---- lookup ---- */

/* Give the caller of a fs_*() call a reference to `inode`, and its attributes. */
static void name_reply(struct fs *fs, struct inode *inode, struct stat *st)
{
	inode_lock_shared(inode);
	inode_stat(inode, st);
	inode_unlock_shared(inode);
	inode_hold(fs, inode);
}

/* "." and ".." of `dir`. */
static void name_lookup_dots(struct fs *fs, struct inode *dir, const char *name, struct stat *st)
{
	struct inode *inode;

	inode_lock_shared(dir);
	inode = name[1] && dir->parent ? dir->parent : dir;
	inode_ref(fs, inode);
	/* The parent's lock comes before this one. */
	inode_unlock_shared(dir);
	name_reply(fs, inode, st);
	inode_put(fs, inode);
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st)
{
	struct name n = {0};
	struct inode *dir;
	size_t size;
	int err;

	memset(st, 0, sizeof(*st));
	err = name_check(name, &size);
	if (err)
		return err;
	err = name_dir(fs, parent, &dir);
	if (err)
		return err;
	if (name_is_dots(name)) {
		name_lookup_dots(fs, dir, name, st);
	} else {
		inode_lock_shared(dir);
		err = name_find(fs, dir, name, &n);
		if (!err)
			name_reply(fs, n.inode, st);
		inode_unlock_shared(dir);
		name_release(fs, &n);
	}
	inode_put(fs, dir);
	return fs_errno(err);
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	if (count && ino != FS_ROOT_INO)
		inode_forget(fs, ino, count);
}

/* ---- creating ---- */

/* The attributes of something new in `dir`, which may pass its group on. */
static struct attr name_attr_new(const struct fs_cred *cred, const struct inode *dir, mode_t mode)
	REQUIRES_SHARED(*dir)
{
	struct attr a = {.mode = mode, .uid = cred->uid, .gid = cred->gid, .nlink = 1};

	if (dir->attr.mode & S_ISGID) {
		a.gid = dir->attr.gid;
		if (S_ISDIR(mode))
			a.mode |= S_ISGID;
		else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !cred->privileged &&
			 a.gid != cred->gid)
			a.mode &= ~(mode_t)S_ISGID;
	}
	a.atime = a.mtime = a.ctime = a.btime = time_now();
	return a;
}

/* 0 if there is no such name in `dir` yet; -EEXIST, or an error. */
static int name_is_free(struct fs *fs, const struct inode *dir, const char *name)
	REQUIRES_SHARED(*dir)
{
	struct lsm_value value = {0};
	struct key k;
	int err = lsm_get(fs->lsm, NULL, name_key(&k, dir, name), &value);

	lsm_value_release(&value);
	return err == LSM_ABSENT ? 0 : err ? err : -EEXIST;
}

/*
 * Make `name` in `dir` an inode with `attr`, what it inherits and, for a symbolic
 * link, `target`.
 */
static int name_make(struct fs *fs, struct inode *dir, const char *name, const struct attr *attr,
		     const struct acl_inherited *inherited, const char *target, struct stat *st)
	REQUIRES(*dir)
{
	struct inode *inode = NULL;
	struct lsm_batch *b = NULL;
	struct attr dir_attr;
	uint64_t ino;
	int err;

	err = name_is_free(fs, dir, name);
	if (!err)
		err = fs_ino_new(fs, &ino);
	if (err)
		return err;
	inode = inode_new(fs, ino, attr, INODE_NAMED, dir, name);
	b = fs_batch_get(fs);
	err = inode && b ? 0 : -ENOMEM;
	if (!err)
		err = name_stage(b, dir, name, ino, attr, target);
	if (!err)
		err = acl_stage_inherited(b, ino, inherited);
	if (!err)
		err = name_stage_dir(b, dir, 1, S_ISDIR(attr->mode) != 0, &dir_attr);
	if (!err)
		err = fs_commit(fs, b, 0);
	fs_batch_put(fs, b);
	if (err) {
		inode_discard(fs, inode);
		return err;
	}
	name_apply_dir(fs, dir, &dir_attr);
	count_add(fs, 1);
	inode_lock_shared(inode);
	inode_stat(inode, st);
	inode_unlock_shared(inode);
	inode_add(fs, inode);
	inode_keep(fs, inode);
	return 0;
}

static int name_create(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
		       mode_t mode, dev_t rdev, const char *target, struct stat *st)
{
	struct acl_inherited inherited;
	struct inode *dir;
	struct attr attr;
	size_t size;
	int err;

	memset(st, 0, sizeof(*st));
	err = name_check(name, &size);
	if (err)
		return err;
	err = name_dir(fs, parent, &dir);
	if (err)
		return err;
	inode_lock(dir);
	err = name_dir_alive(dir);
	if (!err && name_is_dots(name)) {
		err = -EEXIST;
	} else if (!err) {
		attr = name_attr_new(cred, dir, mode);
		if (target)
			attr.size = attr.content_size = (uint32_t)strlen(target);
		else if (S_ISCHR(mode) || S_ISBLK(mode))
			attr.rdev = rdev;
		err = acl_inherit(fs, dir, cred->umask, &attr, &inherited);
		if (!err)
			err = name_make(fs, dir, name, &attr, &inherited, target, st);
		acl_inherited_release(&inherited);
	}
	inode_unlock(dir);
	inode_put(fs, dir);
	err = fs_finish(fs, err, false);
	/* Made, but it may not last: with the error the caller gets no reference. */
	if (err)
		fs_forget(fs, st->st_ino, 1);
	return err;
}

int fs_mknod(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, dev_t rdev, struct stat *st)
{
	switch (mode & S_IFMT) {
	case 0:
		mode |= S_IFREG;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		break;
	case S_IFDIR:
		return -EPERM;
	default:
		return -EINVAL;
	}
	return name_create(fs, cred, parent, name, mode & (S_IFMT | 07777), rdev, NULL, st);
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, struct stat *st)
{
	return name_create(fs, cred, parent, name, S_IFDIR | (mode & 07777), 0, NULL, st);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	       const char *target, struct stat *st)
{
	size_t size = strnlen(target, FS_SYMLINK_BYTES_MAX + 1);

	if (!size)
		return -ENOENT;
	if (size > FS_SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	return name_create(fs, cred, parent, name, S_IFLNK | 0777, 0, target, st);
}

int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, uint64_t parent, mode_t mode,
	       struct stat *st)
{
	struct inode *dir, *inode = NULL;
	struct acl_inherited inherited = {0};
	struct lsm_batch *b = NULL;
	struct attr attr;
	uint64_t ino;
	int err;

	memset(st, 0, sizeof(*st));
	if (fs->read_only)
		return -EROFS;
	err = name_dir(fs, parent, &dir);
	if (err)
		return err;
	inode_lock(dir);
	err = name_dir_alive(dir);
	attr = name_attr_new(cred, dir, S_IFREG | (mode & 07777));
	attr.nlink = 0;
	if (!err)
		err = acl_inherit(fs, dir, cred->umask, &attr, &inherited);
	inode_unlock(dir);
	inode_put(fs, dir);
	if (!err)
		err = fs_ino_new(fs, &ino);
	if (!err) {
		inode = inode_new(fs, ino, &attr, INODE_NAMELESS, NULL, NULL);
		b = fs_batch_get(fs);
		err = inode && b ? 0 : -ENOMEM;
	}
	if (!err)
		err = acl_stage_inherited(b, ino, &inherited);
	if (!err) {
		inode_lock(inode);
		err = inode_stage(b, inode, &attr, NULL);
		inode_unlock(inode);
	}
	if (!err)
		err = fs_commit(fs, b, 0);
	fs_batch_put(fs, b);
	acl_inherited_release(&inherited);
	if (err) {
		inode_discard(fs, inode);
		return fs_errno(err);
	}
	inode_lock(inode);
	inode->linkable = true;
	inode->orphaned = attr.flags & ATTR_FLAGS;
	inode_stat(inode, st);
	inode_unlock(inode);
	inode_add(fs, inode);
	inode_keep(fs, inode);
	return 0;
}

/* ---- another name ---- */

struct linking {
	struct fs *fs;
	struct inode *dir, *inode;
	const char *name;
	struct lsm_batch *b;
	struct attr dir_attr, attr;
};

/* Add to the batch what `name` for a file without one takes. */
static int name_link_first(struct linking *l)
{
	struct key k;
	int err;

	err = name_stage(l->b, l->dir, l->name, l->inode->ino, &l->attr, l->inode->content);
	if (!err && l->inode->orphaned)
		err = lsm_batch_delete(l->b, key_make(&k, KEY_ORPHAN, l->inode->ino, NULL, 0));
	return err;
}

/* ... what another one takes. */
static int name_link_another(struct linking *l)
{
	struct lsm_value value = {0};
	unsigned char bytes[RECORD_BYTES_MAX];
	struct inode *inode = l->inode;
	struct lsm_slice content;
	struct key k;
	size_t size;
	int err;

	inode_assert_held(inode);
	err = inode_content(l->fs, inode, &value, &content);
	if (!err) {
		size = record_encode(bytes, inode->ino, &l->attr, content.data);
		err = lsm_batch_put(l->b, key_make(&k, KEY_INODE, inode->ino, NULL, 0),
				    (struct lsm_slice){bytes, size});
	}
	if (!err && inode->where == INODE_NAMED)
		err = name_stage_link(l->b, inode->parent, inode->name, inode->ino, inode->type);
	if (!err)
		err = name_stage_link(l->b, l->dir, l->name, inode->ino, inode->type);
	lsm_value_release(&value);
	return err;
}

/* Both inodes are locked. */
static int name_link_locked(struct linking *l)
{
	struct inode *inode = l->inode;
	bool first = inode->where == INODE_NAMELESS;
	char *name = NULL;
	int err;

	inode_assert_held(l->dir);
	inode_assert_held(inode);
	if (first && !inode->linkable)
		return -ENOENT;
	if (inode->attr.nlink >= FS_LINKS_MAX)
		return -EMLINK;
	err = name_is_free(l->fs, l->dir, l->name);
	if (err)
		return err;
	l->attr = inode->attr;
	l->attr.nlink++;
	l->attr.ctime = time_now();
	name = strdup(l->name);
	l->b = fs_batch_get(l->fs);
	err = name && l->b ? 0 : -ENOMEM;
	if (!err)
		err = first ? name_link_first(l) : name_link_another(l);
	if (!err)
		err = name_stage_dir(l->b, l->dir, 1, 0, &l->dir_attr);
	if (!err)
		err = fs_commit(l->fs, l->b, 0);
	fs_batch_put(l->fs, l->b);
	if (err) {
		free(name);
		return err;
	}
	/* Both places its record was and is in have changed. */
	inode_changed(l->fs, inode);
	if (first) {
		free(inode->content);
		inode->content = NULL;
		inode->orphaned = inode->linkable = false;
		count_add(l->fs, 1);
	}
	inode_move(l->fs, inode, first ? INODE_NAMED : INODE_OWN, l->dir, name);
	inode_apply(l->fs, inode, &l->attr);
	name_apply_dir(l->fs, l->dir, &l->dir_attr);
	return 0;
}

int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct stat *st)
{
	struct linking l = {.fs = fs, .name = name};
	size_t size;
	int err;

	memset(st, 0, sizeof(*st));
	err = name_check(name, &size);
	if (err)
		return err;
	err = inode_get(fs, ino, &l.inode);
	if (err)
		return err;
	err = S_ISDIR(l.inode->type) ? -EPERM : name_dir(fs, parent, &l.dir);
	if (!err) {
		inode_lock(l.dir);
		inode_lock(l.inode);
		err = name_dir_alive(l.dir);
		if (!err)
			err = name_is_dots(name) ? -EEXIST : name_link_locked(&l);
		if (!err)
			inode_stat(l.inode, st);
		inode_unlock(l.inode);
		inode_unlock(l.dir);
		inode_put(fs, l.dir);
	}
	err = fs_finish(fs, err, false);
	if (!err)
		inode_keep(fs, l.inode);
	else
		inode_put(fs, l.inode);
	return err;
}

/* ---- taking a name away ---- */

int name_stage_loss(struct fs *fs, struct lsm_batch *b, const struct inode *dir, struct name *n,
		    struct loss *loss)
{
	struct inode *inode = n->inode;
	struct lsm_slice content = {0};
	struct key k;
	int err = 0;

	inode_assert_held(inode);
	memset(loss, 0, sizeof(*loss));
	if (inode->where == INODE_NAMELESS)
		return fs_corrupt(fs, key_make(&k, KEY_INODE, inode->ino, NULL, 0),
				  "it has more names than it knows of");
	loss->attr = inode->attr;
	loss->attr.ctime = time_now();
	loss->attr.nlink--;
	if (inode->attr.content_size)
		err = name_content(fs, dir, n, &content);
	if (err)
		return err;
	if (loss->attr.nlink)
		return inode_stage(b, inode, &loss->attr, content.data);

	if (inode->where == INODE_OWN)
		err = lsm_batch_delete(b, key_make(&k, KEY_INODE, inode->ino, NULL, 0));
	loss->freed = inode_is_only_mine(fs, inode);
	if (!err && loss->freed)
		err = orphan_stage_free(b, inode->ino, inode->attr.flags, false);
	else if (!err && inode->attr.flags & ATTR_FLAGS)
		err = lsm_batch_put(b, key_make(&k, KEY_ORPHAN, inode->ino, NULL, 0),
				    (struct lsm_slice){"", 0});
	if (!err && !loss->freed && content.size) {
		loss->content = malloc(content.size);
		if (!loss->content)
			return -ENOMEM;
		memcpy(loss->content, content.data, content.size);
	}
	return err;
}

void name_apply_loss(struct fs *fs, struct inode *inode, struct loss *loss)
{
	if (loss->attr.nlink) {
		inode_apply(fs, inode, &loss->attr);
		return;
	}
	inode_changed(fs, inode);
	if (loss->freed) {
		loss->attr.flags &= ~ATTR_FLAGS;
		loss->attr.content_size = 0;
		if (S_ISREG(inode->type))
			loss->attr.size = loss->attr.stored = 0;
	}
	inode->where = INODE_NAMELESS;
	inode->content = loss->content;
	loss->content = NULL;
	inode_apply(fs, inode, &loss->attr);
	count_add(fs, -1);
}

static int name_remove_locked(struct fs *fs, struct inode *dir, const char *name, struct name *n)
	REQUIRES(*dir)
{
	bool is_dir = S_ISDIR(n->inode->type);
	struct loss loss = {0};
	struct attr dir_attr;
	struct lsm_batch *b;
	int err;

	inode_assert_held(n->inode);
	if (is_dir && n->inode->attr.entries)
		return -ENOTEMPTY;
	b = fs_batch_get(fs);
	err = b ? name_stage_loss(fs, b, dir, n, &loss) : -ENOMEM;
	if (!err)
		err = name_stage_delete(b, dir, name);
	if (!err)
		err = name_stage_dir(b, dir, -1, is_dir ? -1 : 0, &dir_attr);
	if (!err)
		err = fs_commit(fs, b, LSM_FREES);
	if (!err) {
		name_apply_loss(fs, n->inode, &loss);
		name_apply_dir(fs, dir, &dir_attr);
	}
	free(loss.content);
	fs_batch_put(fs, b);
	return err;
}

static int name_remove(struct fs *fs, uint64_t parent, const char *name, bool is_dir)
{
	struct name n = {0};
	struct inode *dir;
	int err;

	err = name_dir(fs, parent, &dir);
	if (err)
		return err;
	inode_lock(dir);
	err = name_dir_alive(dir);
	if (!err)
		err = name_find(fs, dir, name, &n);
	if (!err && is_dir != !!S_ISDIR(n.inode->type))
		err = is_dir ? -ENOTDIR : -EISDIR;
	if (!err) {
		inode_lock(n.inode);
		err = name_remove_locked(fs, dir, name, &n);
		inode_unlock(n.inode);
	}
	inode_unlock(dir);
	inode_put(fs, dir);
	name_release(fs, &n);
	return fs_finish(fs, err, false);
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	size_t size;
	int err = name_check(name, &size);

	if (!err && name_is_dots(name))
		err = -EISDIR;
	return err ? err : name_remove(fs, parent, name, false);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	size_t size;
	int err = name_check(name, &size);

	if (!err && name_is_dots(name))
		err = name[1] ? -ENOTEMPTY : -EINVAL;
	return err ? err : name_remove(fs, parent, name, true);
}
