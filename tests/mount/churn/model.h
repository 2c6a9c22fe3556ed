/*
 * model.h - the names, files and contents that one writer of churn has made.
 *
 * No other writer uses a writer's names, so its own operations determine their files:
 *
 *     w3/NUMBER  w3/d0/NUMBER  w3/d1/NUMBER    in its folders; d0 and d1 come and go
 *     shared/w3.NUMBER                         in a folder where all writers work
 *
 * Each name is a slot, a number below slots_count (a multiple of four). The slot is NUMBER
 * times four, plus the number of the folder. Contents are not kept but generated: a file is a
 * few extents, each with a tag, and each byte follows from its offset and the tag. Between
 * extents are zeros.
 */
#ifndef TESTS_MOUNT_CHURN_MODEL_H
#define TESTS_MOUNT_CHURN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXTENTS_MAX 24u
#define SLOTS_MAX 4096u
#define FOLDERS 4u
#define SHARED 3u
#define NOTHING (-1)
#define PATTERN_WORD sizeof(uint64_t)

struct extent {
	uint64_t start, end, tag;
};

struct file {
	unsigned links; /* 0: not in use */
	unsigned mode;
	uint64_t size;
	uint64_t xattr_tag;  /* of "user.churn" */
	unsigned xattr_size; /* 0: it has none */
	unsigned extents_count;
	struct extent extents[EXTENTS_MAX]; /* ascending */
};

struct model {
	unsigned slots_count;
	bool folder[FOLDERS];
	int slot[SLOTS_MAX]; /* index of the file, or NOTHING */
	struct file files[SLOTS_MAX];
};

enum kind {
	CREATE,
	WRITE,
	TRUNCATE,
	PUNCH,
	FSYNC,
	RENAME,
	EXCHANGE,
	LINK,
	UNLINK,
	CHMOD,
	SETXATTR,
	REMOVEXATTR,
	MKDIR,
	RMDIR,
	MOVEDIR,
	KINDS
};

/* One system call that changes something. `a` and `b` are slots, or folders for the *DIR. */
struct op {
	enum kind kind;
	int a, b;
	bool append;
	uint64_t offset, size, tag; /* size of a write, hole or attribute; new size of a file */
	unsigned mode;
};

/* ---- contents ---- */

/* Write the `size` bytes at `offset` of what was written with `tag` to `out`. Tag 0 has zeros. */
void pattern(uint64_t tag, uint64_t offset, uint8_t *out, size_t size);
/* Write the `size` bytes that `f` has at `offset` to `out`. All are within the file's size. */
void file_bytes(const struct file *f, uint64_t offset, uint8_t *out, size_t size);
/* Return whether `f` has room for one more change: each may split an extent and add one. */
bool file_has_room(const struct file *f);

/* ---- names ---- */

unsigned slot_folder(int slot);
void folder_path(unsigned writer, unsigned folder, char *out, size_t size);
void slot_path(unsigned writer, int slot, char *out, size_t size);

/* ---- the model ---- */

void model_init(struct model *m, unsigned slots_count);
/* Return the file at `slot`, or NULL if the slot is free. */
struct file *model_file(struct model *m, int slot);
/* Return the sum of the sizes of all files. */
uint64_t model_bytes(const struct model *m);
/* Return the errno that `op` has to end with, or 0. */
int model_expect(const struct model *m, const struct op *op);
/* Change `m` as `op` does when it succeeds. Of a write, the first op->size bytes are written. */
void model_apply(struct model *m, const struct op *op);

#endif
