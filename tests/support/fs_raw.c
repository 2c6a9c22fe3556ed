#include "tests/support/fs_raw.h"

#include <string.h>

struct raw raw;

void raw_begin(void)
{
	struct stat st;

	for (size_t i = 0; i < sizeof(raw.big_bytes); i++)
		raw.big_bytes[i] = (char)(i * 31 + i / 4096);
	fs_fixture_init(&raw.f);
	raw.f.quiet = true;
	raw.dir_ino = make_dir(raw.f.fs, FS_ROOT_INO, "dir");
	raw.sub_ino = make_dir(raw.f.fs, raw.dir_ino, "sub");
	raw.file_ino = make_file(raw.f.fs, raw.dir_ino, "file");
	fs_write(raw.f.fs, raw.file_ino, 0, "small", 5, 0, NULL);
	raw.big_ino = make_file(raw.f.fs, raw.sub_ino, "big");
	fs_write(raw.f.fs, raw.big_ino, 0, raw.big_bytes, sizeof(raw.big_bytes), 0, NULL);
	raw.hard_ino = make_file(raw.f.fs, raw.dir_ino, "hard");
	fs_link(raw.f.fs, raw.hard_ino, raw.sub_ino, "hard2", &st);
	fs_setxattr(raw.f.fs, raw.file_ino, "user.a", "1", 1, 0);
	fs_symlink(raw.f.fs, &ROOT, raw.dir_ino, "link", "target", &st);
	fs_fixture_close(&raw.f);
	if (lsm_open(raw.f.store, &raw.f.options.lsm, &raw.lsm))
		bail("lsm_open");
}

void raw_end(void)
{
	fs_fixture_release(&raw.f);
}

void raw_put_value(struct lsm_slice key, const void *data, size_t size)
{
	struct lsm_batch *b = lsm_batch_new();

	if (!b || lsm_batch_put(b, key, (struct lsm_slice){data, size}) || lsm_write(raw.lsm, b, 0))
		bail("put");
	lsm_batch_free(b);
}

void raw_put(enum key_kind kind, uint64_t ino, const char *tail, const void *data, size_t size)
{
	struct key k;

	raw_put_value(key_make(&k, kind, ino, tail, strlen(tail)), data, size);
}

void raw_drop_key(struct lsm_slice key)
{
	struct lsm_batch *b = lsm_batch_new();

	if (!b || lsm_batch_delete(b, key) || lsm_write(raw.lsm, b, 0))
		bail("drop");
	lsm_batch_free(b);
}

void raw_drop(enum key_kind kind, uint64_t ino, const char *tail)
{
	struct key k;

	raw_drop_key(key_make(&k, kind, ino, tail, strlen(tail)));
}

struct attr raw_get(enum key_kind kind, uint64_t ino, const char *tail)
{
	static struct lsm_value value;
	struct record r;
	const char *why;
	struct key k;

	if (lsm_get(raw.lsm, NULL, key_make(&k, kind, ino, tail, strlen(tail)), &value) ||
	    record_decode((struct lsm_slice){value.data, value.size}, &r, &why))
		bail("get");
	r.attr.content_size = 0;
	lsm_value_release(&value);
	return r.attr;
}

void raw_put_attr(enum key_kind kind, uint64_t ino, const char *tail, uint64_t self, struct attr a)
{
	unsigned char record[RECORD_BYTES_MAX];

	raw_put(kind, ino, tail, record, record_encode(record, self, &a, ""));
}

void raw_put_link(uint64_t dir, const char *name, uint64_t to, mode_t type)
{
	unsigned char record[RECORD_LINK_BYTES_MAX];

	raw_put(KEY_NAME, dir, name, record, record_encode_link(record, to, type));
}
