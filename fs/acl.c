/*
 * acl.c - POSIX access control lists: their bytes, and how they and the mode of
 * an inode keep together.
 *
 * An inode's access ACL is its attribute "system.posix_acl_access", a directory's
 * default ACL, which is for what will be made in it, "system.posix_acl_default".
 * Both have the format of Linux's system calls, little-endian:
 *
 *   4 bytes  version: 2
 *   then for each entry
 *   2 bytes  tag: 1 owner, 2 a user, 4 owning group, 8 a group, 16 mask, 32 others
 *   2 bytes  permissions: 4 read, 2 write, 1 execute
 *   4 bytes  uid or gid of a user or group, else ffffffff
 *
 * Rules: entries come by ascending tag. Owner, owning group and others are there
 * once each; the mask at most once, and if there is a user or a group. No user or
 * group is ffffffff. There are at most ACL_ENTRIES_MAX: one page, which is what the
 * kernel takes.
 *
 * Example: owner rw-, user 5 r-x, owning group r--, mask r--, others ---:
 *   02000000 01000600ffffffff 0200050005000000 04000400ffffffff 10000400ffffffff
 *   20000000ffffffff
 *
 * Owner, others and, for the group bits, the mask (the owning group, if there is no
 * mask) are the lower nine bits of the mode:
 *
 *   - an access ACL that is set sets the mode; if it says no more than a mode, it
 *     is not stored. Removing it leaves the mode.
 *   - a mode that is set sets these entries of the access ACL.
 *   - what is made in a directory with a default ACL gets that as its access ACL,
 *     with these entries cut to the mode asked for, whatever the umask; a directory
 *     gets it as its default ACL too. A symbolic link has no ACL.
 *
 * Who may do what by an ACL is for the kernel to decide. Without fs_options.acl
 * there are no ACLs: what is stored stays, but nobody sees it and nothing keeps it
 * together with the mode.
 */
#include "fs/acl.h"

#include <errno.h>
#include <linux/posix_acl.h>

#define VERSION 2u
#define NOBODY UINT32_MAX

/* ---- bytes ---- */

/* What is wrong with the entries; NULL if nothing. */
static const char *acl_why_bad(const struct acl *acl)
{
	unsigned tags = 0, last = 0;

	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->entries[i];
		bool named = e->tag == ACL_USER || e->tag == ACL_GROUP;

		if (e->tag > ACL_OTHER || !e->tag || e->tag & (e->tag - 1))
			return "an entry with an unknown tag";
		if (e->tag < last || (e->tag == last && !named))
			return "entries out of order";
		if (e->permissions > 7)
			return "unknown permissions";
		if (named == (e->id == NOBODY))
			return named ? "an entry for nobody" : "an entry with an id too many";
		last = e->tag;
		tags |= last;
	}
	if (~tags & (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER))
		return "no entry for the owner, its group or others";
	if (tags & (ACL_USER | ACL_GROUP) && !(tags & ACL_MASK))
		return "no mask";
	return NULL;
}

int acl_decode(struct lsm_slice bytes, struct acl *acl, const char **why)
{
	const unsigned char *p = bytes.data;
	uint32_t version;

	acl->count = 0;
	*why = "not the length of an access control list";
	if (bytes.size < 4 || bytes.size > ACL_BYTES_MAX || (bytes.size - 4) % 8)
		return -EUCLEAN;
	memcpy(&version, p, 4);
	*why = "an access control list of another version";
	if (le32toh(version) != VERSION)
		return -EUCLEAN;
	for (p += 4; acl->count < (bytes.size - 4) / 8; p += 8) {
		struct acl_entry *e = &acl->entries[acl->count++];

		memcpy(&e->tag, p, 2);
		memcpy(&e->permissions, p + 2, 2);
		memcpy(&e->id, p + 4, 4);
		e->tag = le16toh(e->tag);
		e->permissions = le16toh(e->permissions);
		e->id = le32toh(e->id);
	}
	*why = acl_why_bad(acl);
	return *why ? -EUCLEAN : 0;
}

size_t acl_encode(unsigned char out[ACL_BYTES_MAX], const struct acl *acl)
{
	uint32_t version = htole32(VERSION);
	unsigned char *p = out + 4;

	memcpy(out, &version, 4);
	for (size_t i = 0; i < acl->count; i++, p += 8) {
		const struct acl_entry *e = &acl->entries[i];
		uint16_t tag = htole16(e->tag), permissions = htole16(e->permissions);
		uint32_t id = htole32(e->id);

		memcpy(p, &tag, 2);
		memcpy(p + 2, &permissions, 2);
		memcpy(p + 4, &id, 4);
	}
	return (size_t)(p - out);
}

/* ---- the mode ---- */

/* Where the entry's permissions are in a mode; -1: nowhere. */
static int acl_mode_shift(const struct acl *acl, const struct acl_entry *e)
{
	switch (e->tag) {
	case ACL_USER_OBJ:
		return 6;
	case ACL_GROUP_OBJ:
		/* The mask comes right before the last. */
		return acl->entries[acl->count - 2].tag == ACL_MASK ? -1 : 3;
	case ACL_MASK:
		return 3;
	case ACL_OTHER:
		return 0;
	default:
		return -1;
	}
}

mode_t acl_mode(const struct acl *acl)
{
	mode_t mode = 0;

	for (size_t i = 0; i < acl->count; i++) {
		int shift = acl_mode_shift(acl, &acl->entries[i]);

		if (shift >= 0)
			mode |= (mode_t)acl->entries[i].permissions << shift;
	}
	return mode;
}

void acl_set_mode(struct acl *acl, mode_t mode)
{
	for (size_t i = 0; i < acl->count; i++) {
		int shift = acl_mode_shift(acl, &acl->entries[i]);

		if (shift >= 0)
			acl->entries[i].permissions = mode >> shift & 7;
	}
}

/* ---- those of inodes ---- */

enum acl_kind acl_kind(const char *name, size_t size)
{
	if (size == sizeof(ACL_ACCESS_NAME) - 1 && !memcmp(name, ACL_ACCESS_NAME, size))
		return ACL_ACCESS;
	if (size == sizeof(ACL_DEFAULT_NAME) - 1 && !memcmp(name, ACL_DEFAULT_NAME, size))
		return ACL_DEFAULT;
	return ACL_NONE;
}

const char *acl_fault(mode_t type, const char *name, struct lsm_slice bytes)
{
	const char *why;
	struct acl acl;

	if (S_ISLNK(type) || (!S_ISDIR(type) && acl_kind(name, strlen(name)) == ACL_DEFAULT))
		return "on something that has none";
	return acl_decode(bytes, &acl, &why) ? why : NULL;
}

static struct lsm_slice acl_key(struct key *k, uint64_t ino, enum acl_kind kind)
{
	if (kind == ACL_ACCESS)
		return key_make(k, KEY_XATTR, ino, ACL_ACCESS_NAME, sizeof(ACL_ACCESS_NAME) - 1);
	return key_make(k, KEY_XATTR, ino, ACL_DEFAULT_NAME, sizeof(ACL_DEFAULT_NAME) - 1);
}

/* Read the one of `kind`; `value` keeps its bytes. 0, LSM_ABSENT, or an error. */
static int acl_read(struct fs *fs, const struct inode *inode, enum acl_kind kind,
		    struct lsm_value *value, struct acl *acl) REQUIRES_SHARED(*inode)
{
	struct lsm_slice key;
	const char *why;
	struct key k;
	int err;

	if (!fs->acl || !(inode->attr.flags & ATTR_XATTRS))
		return LSM_ABSENT;
	key = acl_key(&k, inode->ino, kind);
	err = lsm_get(fs->lsm, NULL, key, value);
	if (!err && acl_decode((struct lsm_slice){value->data, value->size}, acl, &why))
		err = fs_corrupt(fs, key, why);
	return err;
}

static int acl_stage(struct lsm_batch *b, uint64_t ino, const struct acl *acl)
{
	unsigned char bytes[ACL_BYTES_MAX];
	struct key k;
	size_t size = acl_encode(bytes, acl);

	return lsm_batch_put(b, acl_key(&k, ino, ACL_ACCESS), (struct lsm_slice){bytes, size});
}

int acl_stage_mode(struct change *c)
{
	struct lsm_value value = {0};
	struct acl acl;
	int err;

	inode_assert_held(c->inode);
	err = acl_read(c->fs, c->inode, ACL_ACCESS, &value, &acl);
	if (!err) {
		acl_set_mode(&acl, c->attr.mode);
		err = acl_stage(c->b, c->inode->ino, &acl);
	}
	lsm_value_release(&value);
	return err == LSM_ABSENT ? 0 : err;
}

int acl_inherit(struct fs *fs, const struct inode *dir, mode_t umask, struct attr *attr,
		struct acl_inherited *in)
{
	int err;

	in->access = in->fallback = false;
	in->value = (struct lsm_value){0};
	if (S_ISLNK(attr->mode))
		return 0;
	err = acl_read(fs, dir, ACL_DEFAULT, &in->value, &in->acl);
	if (err == LSM_ABSENT) {
		attr->mode &= ~(umask & 0777);
		return 0;
	}
	if (err)
		return err;
	acl_set_mode(&in->acl, acl_mode(&in->acl) & attr->mode);
	attr->mode = (attr->mode & ~(mode_t)0777) | acl_mode(&in->acl);
	in->access = !acl_is_mode(&in->acl);
	in->fallback = S_ISDIR(attr->mode);
	if (in->access || in->fallback)
		attr->flags |= ATTR_XATTRS;
	return 0;
}

int acl_stage_inherited(struct lsm_batch *b, uint64_t ino, const struct acl_inherited *in)
{
	struct key k;
	int err = 0;

	if (in->access)
		err = acl_stage(b, ino, &in->acl);
	if (!err && in->fallback)
		err = lsm_batch_put(b, acl_key(&k, ino, ACL_DEFAULT),
				    (struct lsm_slice){in->value.data, in->value.size});
	return err;
}
