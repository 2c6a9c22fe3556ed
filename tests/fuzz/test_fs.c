/*
 * A filesystem whose records were written by somebody hostile: any keys and values in a
 * sound tree. It is opened, checked, walked, read and changed. All of that may fail;
 * nothing may crash, hang or take memory without end.
 *
 * The input: pairs of pieces, a key and its value. An empty filesystem lies beneath, so
 * that most get past the superblock.
 */
#include "tests/support/fuzz.h"

#include "fs/fs.h"
#include "fs/key.h"
#include "fs/record.h"
#include "tests/storage/storage_mem.h"

static const struct fs_cred root = {0, 0, true, 0};

static struct fs_options options_on(struct storage *st)
{
	struct fs_options o = {
		.lsm = {.storage = st, .create = true, .memory_bytes = 4 << 20},
		.acl = true,
	};

	return o;
}

/* An empty filesystem, made once. */
static struct storage *empty(void)
{
	static struct storage *st;
	struct fs_options o;
	struct fs *fs;

	if (!st) {
		st = model_must(storage_mem_new());
		o = options_on(st);
		if (fs_open(NULL, &o, &fs) || fs_close(fs))
			bail("an empty filesystem");
	}
	return model_must(storage_mem_crash(st, STORAGE_MEM_KEEP_ALL, 0));
}

static void write_records(struct storage *st, struct input *in)
{
	struct fs_options o = options_on(st);
	struct lsm_batch *b = model_must(lsm_batch_new());
	struct lsm *lsm;

	if (lsm_open(NULL, &o.lsm, &lsm))
		bail("lsm_open");
	while (in->left) {
		struct lsm_slice key = take_piece(in), value = take_piece(in);

		if (key.size)
			(void)lsm_batch_put(b, key, value);
	}
	if (lsm_write(lsm, b, 0))
		bail("lsm_write");
	lsm_batch_free(b);
	if (lsm_close(lsm))
		bail("lsm_close");
}

struct walk {
	struct fs *fs;
	uint64_t found[40];
	size_t count;
};

static int take_entry(void *ctx, const char *name, const struct stat *st, bool held, uint64_t next)
{
	struct walk *w = ctx;

	(void)next;
	(void)name;
	if (!held)
		return 0;
	if (w->count == sizeof(w->found) / sizeof(w->found[0]))
		return 1;
	w->found[w->count++] = st->st_ino;
	return 0;
}

static void use(struct walk *w, uint64_t ino)
{
	static char buf[5000];
	struct fs *fs = w->fs;
	struct fs_dir *dir;
	struct stat st, want = {.st_size = 100, .st_mode = 0640};
	size_t got;

	(void)fs_getattr(fs, ino, &st);
	(void)fs_read(fs, ino, 0, buf, sizeof(buf), &got);
	(void)fs_read(fs, ino, 130000, buf, sizeof(buf), &got);
	(void)fs_readlink(fs, ino, buf);
	(void)fs_listxattr(fs, ino, buf, sizeof(buf), &got);
	(void)fs_getxattr(fs, ino, "user.a", buf, sizeof(buf), &got);
	(void)fs_getxattr(fs, ino, "system.posix_acl_access", buf, sizeof(buf), &got);
	(void)fs_seek(fs, ino, 0, 3 /* SEEK_DATA */, &(uint64_t){0});
	if (!fs_dir_open(fs, ino, &dir)) {
		(void)fs_dir_read(dir, 0, true, take_entry, w);
		fs_dir_close(dir);
	}
	(void)fs_write(fs, ino, 50, "hello", 5, 0, NULL);
	(void)fs_setattr(fs, &root, ino, &want, FS_SET_SIZE, &st);
	(void)fs_setattr(fs, &root, ino, &want, FS_SET_MODE, &st);
	(void)fs_setxattr(fs, ino, "user.b", "x", 1, 0);
}

static void change(struct fs *fs, uint64_t dir)
{
	struct stat st;

	if (!fs_mknod(fs, &root, dir, "made", S_IFREG | 0600, 0, &st)) {
		(void)fs_write(fs, st.st_ino, 3000, "x", 1, 0, NULL);
		fs_forget(fs, st.st_ino, 1);
	}
	(void)fs_rename(fs, dir, "made", FS_ROOT_INO, "a", 0);
	(void)fs_rename(fs, FS_ROOT_INO, "b", dir, "c", FS_RENAME_EXCHANGE);
	(void)fs_unlink(fs, dir, "a");
	(void)fs_unlink(fs, dir, "c");
	(void)fs_rmdir(fs, dir, "d");
}

static void fuzz_tell(void *ctx, const char *text)
{
	(void)ctx;
	printf("# %s\n", text);
}

static void ignore(void *ctx, const char *text)
{
	(void)ctx;
	(void)strlen(text);
}

/* A repair makes it whole, or says that there is nothing to be made whole. */
static void repair_copy(struct storage *st)
{
	struct fs_repair_counts counts;
	struct fs_check_counts check;
	struct fs_options o;
	struct fs *fs;
	int err;

	st = model_must(storage_mem_crash(st, STORAGE_MEM_KEEP_ALL, 0));
	o = options_on(st);
	err = fs_repair(NULL, &o, ignore, NULL, NULL, NULL, &counts);
	if (!err) {
		if (fs_open(NULL, &o, &fs))
			bail("a repaired filesystem does not open");
		if (fs_check(fs, fuzz_tell, NULL, NULL, NULL, &check))
			bail("a repaired filesystem is not whole");
		if (fs_close(fs))
			bail("a repaired filesystem does not close");
	} else if (err != -EPROTONOSUPPORT && err != -ENODATA) {
		(void)fs_repair(NULL, &o, fuzz_tell, NULL, NULL, NULL, &counts);
		bail("a repair: %s", strerror(-err));
	}
	st->ops->free(st);
}

static void fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct storage *st = empty();
	struct fs_options o = options_on(st);
	struct walk w = {0};
	struct fs *fs;

	write_records(st, &in);
	repair_copy(st);
	if (!fs_open(NULL, &o, &fs)) {
		struct fs_check_counts counts;

		(void)fs_check(fs, ignore, NULL, NULL, NULL, &counts);
		w.fs = fs;
		use(&w, FS_ROOT_INO);
		for (size_t i = 0; i < w.count; i++) {
			use(&w, w.found[i]);
			change(fs, w.found[i]);
		}
		change(fs, FS_ROOT_INO);
		for (size_t i = 0; i < w.count; i++)
			fs_forget(fs, w.found[i], 1);
		(void)fs_check(fs, ignore, NULL, NULL, NULL, &counts);
		(void)fs_close(fs);
	}
	st->ops->free(st);
}

/* ---- seeds: parts of a filesystem, whole ones among them ---- */

static void put_pair(struct output *out, struct lsm_slice key, const void *value, size_t size)
{
	put_piece(out, key.data, key.size);
	put_piece(out, value, size);
}

static void put_name(struct output *out, uint64_t parent, const char *name, uint64_t ino,
		     mode_t mode, uint64_t number, unsigned flags)
{
	static unsigned char record[RECORD_BYTES_MAX];
	struct attr attr = {.mode = mode, .nlink = 1, .flags = flags, .mtime = 5};
	struct key k;

	if (S_ISDIR(mode)) {
		attr.entries = number;
	} else {
		attr.size = number;
		attr.content_size = flags & ATTR_EXTENTS ? 0 : (uint32_t)number;
	}
	put_pair(out, key_make(&k, KEY_NAME, parent, name, strlen(name)), record,
		 record_encode(record, ino, &attr, "content of it"));
}

static void put_root(struct output *out, uint64_t entries, uint64_t subdirs)
{
	unsigned char record[RECORD_BYTES_MAX];
	struct attr attr = {.mode = S_IFDIR | 0755, .nlink = 1};
	struct key k;

	attr.entries = entries;
	attr.subdirs = subdirs;
	put_pair(out, key_make(&k, KEY_INODE, FS_ROOT_INO, NULL, 0), record,
		 record_encode(record, FS_ROOT_INO, &attr, NULL));
}

static void fuzz_seeds(fuzz_give_fn *give)
{
	/* Owner, a user, owning group, mask, others. */
	static const char acl[44] =
		"\2\0\0\0\1\0\6\0\377\377\377\377\2\0\5\0\5\0\0\0\4\0\4\0"
		"\377\377\377\377\20\0\4\0\377\377\377\377\40\0\0\0\377\377\377\377";
	static const char access[] = "system.posix_acl_access",
			  fallback[] = "system.posix_acl_default";
	static struct output out;
	static unsigned char extent[3000], record[RECORD_BYTES_MAX];
	struct attr attr = {.mode = S_IFREG | 0600, .nlink = 2, .size = 4, .content_size = 4};
	struct key k;

	for (unsigned n = 0; n < 6; n++) {
		unsigned flags = n == 3 ? ATTR_XATTRS : 0;

		out.size = 0;
		put_pair(&out, (struct lsm_slice){"Snext", 5}, "\0\0\0\0\0\1\0\0", 8);
		put_root(&out, n < 4 ? 3 : 7, 1);
		put_name(&out, FS_ROOT_INO, "a", 10, S_IFREG | 0644, 7, flags);
		put_name(&out, FS_ROOT_INO, "b", 11, S_IFDIR | 0755, n == 1, flags);
		put_name(&out, FS_ROOT_INO, "c", 12, S_IFREG | 0644, 140000, ATTR_EXTENTS);
		put_pair(&out, key_extent(&k, 12, 0), extent, 3000);
		put_pair(&out, key_extent(&k, 12, 131072), extent, 500);
		if (n == 1) /* a directory in itself */
			put_name(&out, 11, "d", 11, S_IFDIR | 0755, 1, 0);
		if (n == 2) {
			put_pair(&out, key_make(&k, KEY_NAME, FS_ROOT_INO, "e", 1), record,
				 record_encode_link(record, 13, S_IFREG));
			put_pair(&out, key_make(&k, KEY_INODE, 13, NULL, 0), record,
				 record_encode(record, 13, &attr, "four"));
		}
		if (n == 4) { /* large numbers are no reason to take memory */
			put_pair(&out, (struct lsm_slice){"Snext", 5},
				 "\377\377\377\377\377\377\377\377", 8);
			put_name(&out, FS_ROOT_INO, "far", UINT64_C(1) << 43, S_IFREG, 3, 0);
			put_name(&out, FS_ROOT_INO, "out", UINT64_MAX - 1, S_IFREG, 3, 0);
		}
		if (n == 3) { /* what no file can be called */
			put_name(&out, FS_ROOT_INO, "a/b", 15, S_IFREG | 0644, 7, 0);
			put_name(&out, FS_ROOT_INO, "..", 16, S_IFREG | 0644, 7, 0);
			put_name(&out, FS_ROOT_INO, "", 17, S_IFREG | 0644, 7, 0);
		}
		if (n == 5) { /* accessed before there were clocks */
			struct attr old = {.mode = S_IFREG | 0600,
					   .nlink = 1,
					   .atime = 2,
					   .mtime = 0,
					   .ctime = 1};

			put_pair(&out, key_make(&k, KEY_NAME, FS_ROOT_INO, "old", 3), record,
				 record_encode(record, 14, &old, NULL));
		}
		if (n == 3) {
			put_pair(&out, key_make(&k, KEY_ORPHAN, 12, NULL, 0), "", 0);
			put_pair(&out, key_make(&k, KEY_XATTR, 10, "user.a", 6), "x", 1);
			put_pair(&out, key_make(&k, KEY_XATTR, 10, access, strlen(access)), acl,
				 44);
			put_pair(&out, key_make(&k, KEY_XATTR, 11, fallback, strlen(fallback)), acl,
				 44);
		}
		give(out.bytes, out.size);
	}
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 2000);
}
#endif
