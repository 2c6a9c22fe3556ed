/*
 * acl.h - POSIX access control lists. See the top of acl.c.
 */
#ifndef FS_ACL_H
#define FS_ACL_H

#include "fs/change.h"

#define ACL_ACCESS_NAME "system.posix_acl_access"
#define ACL_DEFAULT_NAME "system.posix_acl_default"

#define ACL_ENTRIES_MAX 511u
#define ACL_BYTES_MAX (4u + 8u * ACL_ENTRIES_MAX)

struct acl_entry {
	uint16_t tag;         /* ACL_USER_OBJ and the like of linux/posix_acl.h */
	uint16_t permissions; /* as three bits of a mode */
	uint32_t id;          /* uid or gid */
};
struct acl {
	size_t count;
	struct acl_entry entries[ACL_ENTRIES_MAX];
};

/* Decode `bytes`. Returns 0, or -EUCLEAN with the reason in `*why`. */
int acl_decode(struct lsm_slice bytes, struct acl *acl, const char **why);
/* Returns the bytes used of `out`; they decode to the same. */
size_t acl_encode(unsigned char out[ACL_BYTES_MAX], const struct acl *acl);

/* The lower nine bits of the mode that goes with it. */
mode_t acl_mode(const struct acl *acl);
/* Change its entries so that acl_mode() is the lower nine bits of `mode`. */
void acl_set_mode(struct acl *acl, mode_t mode);
/* Can a mode alone say the same? */
static inline bool acl_is_mode(const struct acl *acl)
{
	return acl->count == 3; /* owner, owning group, others: always there */
}

/* ---- those of inodes ---- */

enum acl_kind { ACL_NONE, ACL_ACCESS, ACL_DEFAULT };
/* Which ACL the attribute called `name` holds. */
enum acl_kind acl_kind(const char *name, size_t size);

/* What is wrong with `bytes` as the ACL called `name` of an inode of `type`; NULL if nothing. */
const char *acl_fault(mode_t type, const char *name, struct lsm_slice bytes);

/* Add to `c`, whose mode was set, the access ACL that goes with the new mode. */
int acl_stage_mode(struct change *c);

/* The ACLs that a new inode gets from the default ACL of its directory. */
struct acl_inherited {
	bool access, fallback; /* it gets an access ACL; it gets the default ACL, too */
	struct acl acl;        /* the access ACL, if there is one */
	struct lsm_value value;
};
/*
 * Find out which ACLs a new inode in `dir` gets. `attr` gets the mode that goes with them, and
 * the flag that it has attributes. Without a default ACL `umask` is cleared in the mode.
 * Release `in` in any case.
 */
int acl_inherit(struct fs *fs, const struct inode *dir, mode_t umask, struct attr *attr,
		struct acl_inherited *in) REQUIRES_SHARED(*dir);
/* Add it to `b`. */
int acl_stage_inherited(struct lsm_batch *b, uint64_t ino, const struct acl_inherited *in);
static inline void acl_inherited_release(struct acl_inherited *in)
{
	lsm_value_release(&in->value);
}

#endif
