/*
 * repair_walk.c - what every step of a repair is made of: going over records, reporting
 * and writing what is done, and names in lost+found.
 */
#include <stdarg.h>
#include <stdio.h>

#include "fs/repair.h"
#include "fs/time.h"

typedef unsigned long long ull;

#define LOST_FOUND "lost+found"
#define BATCH_OPS 1000u

void repair_say(struct repair *r, enum outcome outcome, const char *format, ...)
{
	char text[CHECK_PATH_BYTES + 512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	r->counts->actions++;
	r->counts->saved += outcome == SAVED;
	r->counts->lost += outcome == LOST;
	if (r->c.finding)
		r->c.finding(r->c.ctx, text);
}

/* ---- writing ---- */

int repair_flush(struct repair *r)
{
	int err = lsm_batch_count(r->b) ? lsm_write(r->c.fs->lsm, r->b, 0) : 0;

	lsm_batch_clear(r->b);
	return err;
}

int repair_put(struct repair *r, struct lsm_slice key, struct lsm_slice value)
{
	int err = lsm_batch_put(r->b, key, value);

	return !err && lsm_batch_count(r->b) >= BATCH_OPS ? repair_flush(r) : err;
}

int repair_drop(struct repair *r, struct lsm_slice key)
{
	int err = lsm_batch_delete(r->b, key);

	return !err && lsm_batch_count(r->b) >= BATCH_OPS ? repair_flush(r) : err;
}

struct attr repair_attr(mode_t mode)
{
	uint64_t now = time_now();

	return (struct attr){
		.mode = mode, .nlink = 1, .atime = now, .mtime = now, .ctime = now, .btime = now};
}

/* ---- lost+found ---- */

/* Write a record of `ino` under the key that a name has in `dir`, unless it is taken. */
enum { REPAIR_NAME_TAKEN = 1 };
static int repair_put_name(struct repair *r, uint64_t dir, const char *name,
			   struct lsm_slice record)
{
	struct lsm_slice key;
	struct key k;
	int err;

	key = key_make(&k, KEY_NAME, dir, name, strlen(name));
	err = repair_flush(r);
	if (!err)
		err = lsm_get(r->c.fs->lsm, NULL, key, &r->c.scratch);
	if (err != LSM_ABSENT)
		return err ? err : REPAIR_NAME_TAKEN;
	return repair_put(r, key, record);
}

int repair_add_dir(struct repair *r, uint64_t ino, uint64_t parent)
{
	struct node *n = check_node_get(&r->c, ino);

	if (!n)
		return -ENOMEM;
	n->type = S_IFDIR;
	n->parent = parent;
	return numset_add(&r->c.seen, ino) < 0 ? -ENOMEM : 0;
}

/* lost+found as it is, or a new one. */
static int repair_lost_found(struct repair *r)
{
	unsigned char bytes[RECORD_BYTES_MAX];
	struct attr attr = repair_attr(S_IFDIR | 0700);
	char name[32] = LOST_FOUND;
	struct lsm_slice record;
	int err = repair_flush(r);

	for (unsigned n = 2; !err && !r->lost_found; n++) {
		struct record old;
		const char *why;
		struct key k;

		err = lsm_get(r->c.fs->lsm, NULL,
			      key_make(&k, KEY_NAME, FS_ROOT_INO, name, strlen(name)),
			      &r->c.scratch);
		if (err < 0)
			break;
		record = (struct lsm_slice){r->c.scratch.data, r->c.scratch.size};
		if (!err && !record_decode(record, &old, &why) && S_ISDIR(old.type)) {
			r->lost_found = old.ino;
		} else if (!err) { /* something else */
			snprintf(name, sizeof(name), LOST_FOUND "-%u", n);
		} else {
			r->lost_found = r->next++;
			record.data = bytes;
			record.size = record_encode(bytes, r->lost_found, &attr, NULL);
			err = repair_put_name(r, FS_ROOT_INO, name, record);
			if (!err)
				err = repair_add_dir(r, r->lost_found, FS_ROOT_INO);
		}
	}
	return err;
}

int repair_save(struct repair *r, uint64_t ino, struct lsm_slice record)
{
	char name[64];
	int err = repair_lost_found(r);

	snprintf(name, sizeof(name), "#%llu", (ull)ino);
	if (!err)
		err = repair_put_name(r, r->lost_found, name, record);
	for (unsigned n = 2; err == REPAIR_NAME_TAKEN; n++) {
		snprintf(name, sizeof(name), "#%llu.%u", (ull)ino, n);
		err = repair_put_name(r, r->lost_found, name, record);
	}
	return err;
}

int repair_save_inode(struct repair *r, uint64_t ino, const struct attr *attr)
{
	unsigned char bytes[RECORD_BYTES_MAX];

	return repair_save(r, ino,
			   (struct lsm_slice){bytes, record_encode(bytes, ino, attr, NULL)});
}

/* ---- what every record is looked at for ---- */

const char *repair_path(struct repair *r, const struct at *a, char buf[CHECK_PATH_BYTES])
{
	const struct key *k = &a->w.at;

	if (k->bytes[0] == KEY_NAME && k->size > 9)
		return check_path_name(&r->c, key_get_u64(k->bytes + 1),
				       (struct lsm_slice){k->bytes + 9, k->size - 9}, buf);
	if (k->size >= 9)
		return check_path_inode(&r->c, key_get_u64(k->bytes + 1), buf);
	return "a malformed key";
}

/* What is wrong with the record as such, or with its number, or NULL. */
static const char *repair_record_problem(struct at *a)
{
	bool own = a->w.at.bytes[0] == KEY_INODE;
	const char *why = NULL;

	if (a->key.size > KEY_BYTES_MAX || (own ? a->key.size != 9 : a->key.size < 10))
		return "it has a malformed key";
	if (a->why)
		return a->why;
	if (record_decode(a->value, &a->rec, &why))
		return why;
	if (a->rec.ino > INO_MAX)
		return "its inode number is impossible";
	if (own && (a->rec.kind != RECORD_INODE || a->rec.ino != key_get_u64(a->w.at.bytes + 1)))
		return "it is another's";
	if (a->rec.ino == FS_ROOT_INO && (!own || !S_ISDIR(a->rec.type)))
		return "it has the number of the root";
	return NULL;
}

int repair_each(struct repair *r, enum key_kind kind, record_fn *fn)
{
	struct at a = {0};
	int err = repair_flush(r);

	if (err)
		return err;
	for (check_walk_begin(&a.w, &r->c, kind); check_walk_valid(&a.w); check_walk_next(&a.w)) {
		a.key = lsm_iter_key(a.w.it);
		a.why = NULL;
		err = lsm_iter_value(a.w.it, &a.value);
		if (err == -EUCLEAN)
			a.why = "it cannot be read";
		else if (err)
			a.w.err = err;
		if (a.w.err)
			break;
		a.why = repair_record_problem(&a);
		a.w.err = fn(r, &a);
		if (a.w.err)
			break;
	}
	err = check_walk_end(&a.w);
	return err ? err : repair_flush(r);
}

int repair_each_inode(struct repair *r, record_fn *fn)
{
	int err = repair_each(r, KEY_INODE, fn);

	return err ? err : repair_each(r, KEY_NAME, fn);
}

int repair_move(struct repair *r, struct at *a, struct lsm_slice record)
{
	int err = repair_save(r, a->rec.ino, record);
	struct node *n = check_node_find(&r->c, a->rec.ino);

	if (n && S_ISDIR(a->rec.type))
		n->parent = r->lost_found;
	return err ? err : repair_drop(r, a->key);
}
