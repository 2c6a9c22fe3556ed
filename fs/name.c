/*
 * name.c - names in directories: lookup, create, link, unlink.
 *
 * An entry is one record, under the directory's number and the name. As long as
 * an inode has this one name the record is the whole inode; the second name
 * makes it move to a record of its own, and both entries become links to that.
 * It stays there when it goes back to one name, and moves back at a rename
 * never: files with two names are few, and those that had two once are fewer.
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
	int rc = inode_get(fs, ino, dir);

	if (rc)
		return rc;
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
	int rc;

	inode_assert_shared(dir);
	do {
		n->stamp = atomic_load(&dir->changes);
		rc = lsm_get(fs->lsm, NULL, key, &n->value);
		if (rc)
			return rc == 1 ? -ENOENT : rc;
		rc = record_decode((struct lsm_slice){n->value.data, n->value.size}, &n->record,
				   &why);
		if (rc)
			return fs_corrupt(fs, key, why);
		rc = inode_enter(fs, dir, name, &n->record, n->stamp, &n->inode);
	} while (rc == 1);
	return rc;
}

void name_release(struct fs *fs, struct name *n)
{
	inode_put(fs, n->inode);
	lsm_value_release(&n->value);
}

int name_content(struct fs *fs, const struct inode *dir, struct name *n, struct lsm_slice *content)
{
	inode_assert_shared(n->inode);
	if (n->inode->where == INODE_NAMED && n->record.kind == RECORD_INODE &&
	    atomic_load(&dir->changes) == n->stamp) {
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

/* A count on disk may be wrong; it does not become absurd by that. */
static uint64_t count_changed(uint64_t count, int by)
{
	return by < 0 && count < (uint64_t)-by ? 0 : count + (uint64_t)(int64_t)by;
}

int name_stage_dir(struct lsm_batch *b, const struct inode *dir, int entries, int subdirs,
		   struct attr *next)
{
	int rc = 0;

	inode_assert_held(dir);
	*next = dir->attr;
	next->entries = count_changed(next->entries, entries);
	next->subdirs = count_changed(next->subdirs, subdirs);
	next->mtime = next->ctime = time_now();
	/* So that nobody walks over the tombstones of all that was in it. */
	if (entries < 0 && !next->entries && dir->entries_max >= EMPTIED_ENTRIES_MIN)
		rc = key_drop_range(b, KEY_NAME, dir->ino);
	return rc ? rc : inode_stage(b, dir, next, NULL);
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
static void reply(struct fs *fs, struct inode *inode, struct stat *st)
{
	inode_lock_shared(inode);
	inode_stat(inode, st);
	inode_unlock_shared(inode);
	inode_hold(fs, inode);
}

/* "." and ".." of `dir`. */
static void lookup_dots(struct fs *fs, struct inode *dir, const char *name, struct stat *st)
{
	struct inode *inode;

	inode_lock_shared(dir);
	inode = name[1] && dir->parent ? dir->parent : dir;
	inode_ref(fs, inode);
	/* The parent's lock comes before this one. */
	inode_unlock_shared(dir);
	reply(fs, inode, st);
	inode_put(fs, inode);
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct stat *st)
{
	struct name n = {0};
	struct inode *dir;
	size_t size;
	int rc;

	memset(st, 0, sizeof(*st));
	rc = name_check(name, &size);
	if (rc)
		return rc;
	rc = name_dir(fs, parent, &dir);
	if (rc)
		return rc;
	if (name_is_dots(name)) {
		lookup_dots(fs, dir, name, st);
	} else {
		inode_lock_shared(dir);
		rc = name_find(fs, dir, name, &n);
		if (!rc)
			reply(fs, n.inode, st);
		inode_unlock_shared(dir);
		name_release(fs, &n);
	}
	inode_put(fs, dir);
	return fs_errno(rc);
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	if (count && ino != FS_ROOT_INO)
		inode_forget(fs, ino, count);
}

/* ---- creating ---- */

/* The attributes of something new in `dir`, which may pass its group on. */
static struct attr attr_new(const struct fs_cred *cred, const struct inode *dir, mode_t mode)
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

/* Is there no such name yet? REQUIRES: dir locked. */
static int name_is_free(struct fs *fs, const struct inode *dir, const char *name)
	REQUIRES_SHARED(*dir)
{
	struct lsm_value value = {0};
	struct key k;
	int rc = lsm_get(fs->lsm, NULL, name_key(&k, dir, name), &value);

	lsm_value_release(&value);
	return rc == 1 ? 0 : rc ? rc : -EEXIST;
}

/*
 * Make `name` in `dir` an inode with `attr`, what it inherits and, for a symbolic
 * link, `target`. REQUIRES: dir locked.
 */
static int name_make(struct fs *fs, struct inode *dir, const char *name, const struct attr *attr,
		     const struct acl_inherited *inherited, const char *target, struct stat *st)
	REQUIRES(*dir)
{
	struct inode *inode = NULL;
	struct lsm_batch *b = NULL;
	struct attr dir_attr;
	uint64_t ino;
	int rc;

	rc = name_is_free(fs, dir, name);
	if (!rc)
		rc = fs_ino_new(fs, &ino);
	if (rc)
		return rc;
	inode = inode_new(fs, ino, attr, INODE_NAMED, dir, name);
	b = fs_batch_get(fs);
	rc = inode && b ? 0 : -ENOMEM;
	if (!rc)
		rc = name_stage(b, dir, name, ino, attr, target);
	if (!rc)
		rc = acl_stage_inherited(b, ino, inherited);
	if (!rc)
		rc = name_stage_dir(b, dir, 1, S_ISDIR(attr->mode) != 0, &dir_attr);
	if (!rc)
		rc = fs_commit(fs, b, 0);
	fs_batch_put(fs, b);
	if (rc) {
		inode_discard(fs, inode);
		return rc;
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

static int create(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
		  mode_t mode, dev_t rdev, const char *target, struct stat *st)
{
	struct acl_inherited inherited;
	struct inode *dir;
	struct attr attr;
	size_t size;
	int rc;

	memset(st, 0, sizeof(*st));
	rc = name_check(name, &size);
	if (rc)
		return rc;
	rc = name_dir(fs, parent, &dir);
	if (rc)
		return rc;
	inode_lock(dir);
	rc = name_dir_alive(dir);
	if (!rc && name_is_dots(name)) {
		rc = -EEXIST;
	} else if (!rc) {
		attr = attr_new(cred, dir, mode);
		if (target)
			attr.size = attr.content_size = (uint32_t)strlen(target);
		else if (S_ISCHR(mode) || S_ISBLK(mode))
			attr.rdev = rdev;
		rc = acl_inherit(fs, dir, cred->umask, &attr, &inherited);
		if (!rc)
			rc = name_make(fs, dir, name, &attr, &inherited, target, st);
		acl_inherited_release(&inherited);
	}
	inode_unlock(dir);
	inode_put(fs, dir);
	rc = fs_finish(fs, rc, false);
	/* Made, but it may not last: with the error the caller gets no reference. */
	if (rc)
		fs_forget(fs, st->st_ino, 1);
	return rc;
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
	return create(fs, cred, parent, name, mode & (S_IFMT | 07777), rdev, NULL, st);
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	     mode_t mode, struct stat *st)
{
	return create(fs, cred, parent, name, S_IFDIR | (mode & 07777), 0, NULL, st);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name,
	       const char *target, struct stat *st)
{
	size_t size = strnlen(target, FS_SYMLINK_BYTES_MAX + 1);

	if (!size)
		return -ENOENT;
	if (size > FS_SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	return create(fs, cred, parent, name, S_IFLNK | 0777, 0, target, st);
}

int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, uint64_t parent, mode_t mode,
	       struct stat *st)
{
	struct inode *dir, *inode = NULL;
	struct acl_inherited inherited = {0};
	struct lsm_batch *b = NULL;
	struct attr attr;
	uint64_t ino;
	int rc;

	memset(st, 0, sizeof(*st));
	if (fs->read_only)
		return -EROFS;
	rc = name_dir(fs, parent, &dir);
	if (rc)
		return rc;
	inode_lock(dir);
	rc = name_dir_alive(dir);
	attr = attr_new(cred, dir, S_IFREG | (mode & 07777));
	attr.nlink = 0;
	if (!rc)
		rc = acl_inherit(fs, dir, cred->umask, &attr, &inherited);
	inode_unlock(dir);
	inode_put(fs, dir);
	if (!rc)
		rc = fs_ino_new(fs, &ino);
	if (!rc) {
		inode = inode_new(fs, ino, &attr, INODE_NAMELESS, NULL, NULL);
		b = fs_batch_get(fs);
		rc = inode && b ? 0 : -ENOMEM;
	}
	if (!rc)
		rc = acl_stage_inherited(b, ino, &inherited);
	if (!rc) {
		inode_lock(inode);
		rc = inode_stage(b, inode, &attr, NULL);
		inode_unlock(inode);
	}
	if (!rc)
		rc = fs_commit(fs, b, 0);
	fs_batch_put(fs, b);
	acl_inherited_release(&inherited);
	if (rc) {
		inode_discard(fs, inode);
		return fs_errno(rc);
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
static int link_first(struct linking *l)
{
	struct key k;
	int rc;

	rc = name_stage(l->b, l->dir, l->name, l->inode->ino, &l->attr, l->inode->content);
	if (!rc && l->inode->orphaned)
		rc = lsm_batch_delete(l->b, key_make(&k, KEY_ORPHAN, l->inode->ino, NULL, 0));
	return rc;
}

/* ... what another one takes. */
static int link_another(struct linking *l)
{
	struct lsm_value value = {0};
	unsigned char bytes[RECORD_BYTES_MAX];
	struct inode *inode = l->inode;
	struct lsm_slice content;
	struct key k;
	size_t size;
	int rc;

	inode_assert_held(inode);
	rc = inode_content(l->fs, inode, &value, &content);
	if (!rc) {
		size = record_encode(bytes, inode->ino, &l->attr, content.data);
		rc = lsm_batch_put(l->b, key_make(&k, KEY_INODE, inode->ino, NULL, 0),
				   (struct lsm_slice){bytes, size});
	}
	if (!rc && inode->where == INODE_NAMED)
		rc = name_stage_link(l->b, inode->parent, inode->name, inode->ino, inode->type);
	if (!rc)
		rc = name_stage_link(l->b, l->dir, l->name, inode->ino, inode->type);
	lsm_value_release(&value);
	return rc;
}

/* REQUIRES: both locked. */
static int link_locked(struct linking *l)
{
	struct inode *inode = l->inode;
	bool first = inode->where == INODE_NAMELESS;
	char *name = NULL;
	int rc;

	inode_assert_held(l->dir);
	inode_assert_held(inode);
	if (first && !inode->linkable)
		return -ENOENT;
	if (inode->attr.nlink >= FS_LINKS_MAX)
		return -EMLINK;
	rc = name_is_free(l->fs, l->dir, l->name);
	if (rc)
		return rc;
	l->attr = inode->attr;
	l->attr.nlink++;
	l->attr.ctime = time_now();
	name = strdup(l->name);
	l->b = fs_batch_get(l->fs);
	rc = name && l->b ? 0 : -ENOMEM;
	if (!rc)
		rc = first ? link_first(l) : link_another(l);
	if (!rc)
		rc = name_stage_dir(l->b, l->dir, 1, 0, &l->dir_attr);
	if (!rc)
		rc = fs_commit(l->fs, l->b, 0);
	fs_batch_put(l->fs, l->b);
	if (rc) {
		free(name);
		return rc;
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
	int rc;

	memset(st, 0, sizeof(*st));
	rc = name_check(name, &size);
	if (rc)
		return rc;
	rc = inode_get(fs, ino, &l.inode);
	if (rc)
		return rc;
	rc = S_ISDIR(l.inode->type) ? -EPERM : name_dir(fs, parent, &l.dir);
	if (!rc) {
		inode_lock(l.dir);
		inode_lock(l.inode);
		rc = name_dir_alive(l.dir);
		if (!rc)
			rc = name_is_dots(name) ? -EEXIST : link_locked(&l);
		if (!rc)
			inode_stat(l.inode, st);
		inode_unlock(l.inode);
		inode_unlock(l.dir);
		inode_put(fs, l.dir);
	}
	rc = fs_finish(fs, rc, false);
	if (!rc)
		inode_keep(fs, l.inode);
	else
		inode_put(fs, l.inode);
	return rc;
}

/* ---- taking a name away ---- */

int name_stage_loss(struct fs *fs, struct lsm_batch *b, const struct inode *dir, struct name *n,
		    struct loss *loss)
{
	struct inode *inode = n->inode;
	struct lsm_slice content = {0};
	struct key k;
	int rc = 0;

	inode_assert_held(inode);
	memset(loss, 0, sizeof(*loss));
	if (inode->where == INODE_NAMELESS)
		return fs_corrupt(fs, key_make(&k, KEY_INODE, inode->ino, NULL, 0),
				  "it has more names than it knows of");
	loss->attr = inode->attr;
	loss->attr.ctime = time_now();
	loss->attr.nlink--;
	if (inode->attr.content_size)
		rc = name_content(fs, dir, n, &content);
	if (rc)
		return rc;
	if (loss->attr.nlink)
		return inode_stage(b, inode, &loss->attr, content.data);

	if (inode->where == INODE_OWN)
		rc = lsm_batch_delete(b, key_make(&k, KEY_INODE, inode->ino, NULL, 0));
	loss->freed = inode_is_only_mine(fs, inode);
	if (!rc && loss->freed)
		rc = orphan_stage_free(b, inode->ino, inode->attr.flags, false);
	else if (!rc && inode->attr.flags & ATTR_FLAGS)
		rc = lsm_batch_put(b, key_make(&k, KEY_ORPHAN, inode->ino, NULL, 0),
				   (struct lsm_slice){"", 0});
	if (!rc && !loss->freed && content.size) {
		loss->content = malloc(content.size);
		if (!loss->content)
			return -ENOMEM;
		memcpy(loss->content, content.data, content.size);
	}
	return rc;
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

static int remove_locked(struct fs *fs, struct inode *dir, const char *name, struct name *n)
	REQUIRES(*dir)
{
	bool is_dir = S_ISDIR(n->inode->type);
	struct loss loss = {0};
	struct attr dir_attr;
	struct lsm_batch *b;
	int rc;

	inode_assert_held(n->inode);
	if (is_dir && n->inode->attr.entries)
		return -ENOTEMPTY;
	b = fs_batch_get(fs);
	rc = b ? name_stage_loss(fs, b, dir, n, &loss) : -ENOMEM;
	if (!rc)
		rc = name_stage_delete(b, dir, name);
	if (!rc)
		rc = name_stage_dir(b, dir, -1, is_dir ? -1 : 0, &dir_attr);
	if (!rc)
		rc = fs_commit(fs, b, LSM_FREES);
	if (!rc) {
		name_apply_loss(fs, n->inode, &loss);
		name_apply_dir(fs, dir, &dir_attr);
	}
	free(loss.content);
	fs_batch_put(fs, b);
	return rc;
}

static int remove_name(struct fs *fs, uint64_t parent, const char *name, bool is_dir)
{
	struct name n = {0};
	struct inode *dir;
	int rc;

	rc = name_dir(fs, parent, &dir);
	if (rc)
		return rc;
	inode_lock(dir);
	rc = name_dir_alive(dir);
	if (!rc)
		rc = name_find(fs, dir, name, &n);
	if (!rc && is_dir != !!S_ISDIR(n.inode->type))
		rc = is_dir ? -ENOTDIR : -EISDIR;
	if (!rc) {
		inode_lock(n.inode);
		rc = remove_locked(fs, dir, name, &n);
		inode_unlock(n.inode);
	}
	inode_unlock(dir);
	inode_put(fs, dir);
	name_release(fs, &n);
	return fs_finish(fs, rc, false);
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	size_t size;
	int rc = name_check(name, &size);

	if (!rc && name_is_dots(name))
		rc = -EISDIR;
	return rc ? rc : remove_name(fs, parent, name, false);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	size_t size;
	int rc = name_check(name, &size);

	if (!rc && name_is_dots(name))
		rc = name[1] ? -ENOTEMPTY : -EINVAL;
	return rc ? rc : remove_name(fs, parent, name, true);
}
