/*
 * test_ops_dir.c - the handlers that read directories.
 */
#include <fcntl.h>

#include "tests/mount/fake/fake_transport.h"

#define FILES 50

static struct fake f;
static uint64_t dir, file[FILES];

static struct open_dir *open_dir(int flags)
{
	struct request r = fake_request(&f, dir);

	op_opendir(&r, flags);
	if (fake_reply(&f)->kind != FAKE_DIRECTORY)
		bail("opendir: %d", fake_reply(&f)->err);
	return fake_reply(&f)->dir;
}

static void release_dir(struct open_dir *open)
{
	struct request r = fake_request(&f, dir);

	op_releasedir(&r, open);
	is_error(&f, 0, "releasedir");
}

/* Read from `offset`, at most `entries` of them. */
static const struct fake_answer *read_dir(struct open_dir *open, uint64_t offset, size_t entries,
					  bool plus)
{
	struct request r = fake_request(&f, dir);

	op_readdir(&r, open, offset, entries * FAKE_ENTRY_BYTES, plus);
	return fake_reply(&f);
}

static void forget_entries(const struct fake_answer *a)
{
	size_t i;

	for (i = 0; i < fake_entries(a); i++)
		if (fake_entry(a, i)->held)
			fs_forget(f.mount.fs, fake_entry(a, i)->st.st_ino, 1);
}

static bool is_forgotten(uint64_t ino)
{
	struct stat st;

	return fs_getattr(f.mount.fs, ino, &st) == -ESTALE;
}

static void make(void)
{
	char name[32];
	int i;

	dir = make_dir(f.mount.fs, FS_ROOT_INO, "dir");
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		file[i] = make_file(f.mount.fs, dir, name);
		fs_forget(f.mount.fs, file[i], 1);
	}
}

/* Read all by `step` entries at a time: each is there once. Returns how many replies it took. */
static unsigned read_all(size_t step, bool plus)
{
	struct open_dir *open = open_dir(O_RDONLY);
	unsigned seen[FILES] = {0}, dots = 0, wrong = 0, replies = 0, n;
	uint64_t next = 0;
	size_t i;

	for (;;) {
		const struct fake_answer *a = read_dir(open, next, step, plus);
		size_t count = fake_entries(a);

		if (!count)
			break;
		replies++;
		for (i = 0; i < count; i++) {
			const struct fake_entry *e = fake_entry(a, i);

			next = e->next;
			if (*e->name == '.') {
				dots++;
				wrong += e->held || !S_ISDIR(e->st.st_mode);
			} else if (sscanf(e->name, "file-%u", &n) == 1 && n < FILES) {
				seen[n]++;
				wrong += e->st.st_ino != file[n] || !S_ISREG(e->st.st_mode);
				wrong += e->held != plus;
				wrong += plus && e->st.st_mode != (S_IFREG | 0644);
			}
		}
		forget_entries(a);
	}
	for (i = 0; i < FILES; i++)
		wrong += seen[i] != 1;
	is_int(dots, 2, "by %zu%s: . and ..", step, plus ? ", plus" : "");
	is_int(wrong, 0, "by %zu%s: each entry once, and right", step, plus ? ", plus" : "");
	release_dir(open);
	return replies;
}

static void test_read(void)
{
	size_t step;
	int i, held = 0;

	for (step = 1; step <= FILES + 3; step += step < 8 ? 1 : 15)
		is_int(read_all(step, false), (FILES + 2 + step - 1) / step, "as few replies");
	read_all(1, true);
	read_all(7, true);
	read_all(FILES + 2, true);
	for (i = 0; i < FILES; i++)
		held += !is_forgotten(file[i]);
	is_int(held, 0, "no references are left");
}

static void test_offsets(void)
{
	struct open_dir *open = open_dir(O_RDONLY);
	const struct fake_answer *a = read_dir(open, 0, 10, false);
	uint64_t next = fake_entry(a, 4)->next;
	char sixth[256];

	snprintf(sixth, sizeof(sixth), "%s", fake_entry(a, 5)->name);
	a = read_dir(open, next, 1, false);
	is_int(fake_entries(a), 1, "from an offset, room for one: one entry");
	ok(!strcmp(fake_entry(a, 0)->name, sixth), "... the one behind it");
	a = read_dir(open, next, 1, true);
	ok(!strcmp(fake_entry(a, 0)->name, sixth), "... with attributes, too");
	forget_entries(a);
	a = read_dir(open, 0, 0, false);
	is_int(a->size, 0, "no room: no entry");
	a = read_dir(open, UINT64_MAX / 2, 10, false);
	ok(a->kind == FAKE_ERROR || !a->size, "from an offset that nothing has: none");
	release_dir(open);
}

static void test_references(void)
{
	struct open_dir *open = open_dir(O_RDONLY);
	const struct fake_answer *a;
	int i, held = 0;

	f.refuse = true;
	a = read_dir(open, 0, FILES + 2, true);
	f.refuse = false;
	is_int(fake_entries(a), FILES + 2, "a reply with attributes that does not arrive");
	for (i = 0; i < FILES; i++)
		held += !is_forgotten(file[i]);
	is_int(held, 0, "... leaves no references");
	a = read_dir(open, 0, FILES + 2, true);
	for (held = i = 0; i < FILES; i++)
		held += !is_forgotten(file[i]);
	is_int(held, FILES, "one that arrives hands one over for each");
	forget_entries(a);
	release_dir(open);
}

/* The kernel keeps the entries of one handle of a directory at a time. */
static void test_kept(void)
{
	struct open_dir *first = open_dir(O_RDONLY), *second, *third;

	ok(fake_reply(&f)->kept, "the first handle's entries are kept");
	second = open_dir(O_RDONLY);
	ok(!fake_reply(&f)->kept, "... and no other's meanwhile");
	release_dir(first);
	third = open_dir(O_RDONLY);
	ok(fake_reply(&f)->kept, "... until it is closed");
	release_dir(second);
	release_dir(third);
	f.refuse = true;
	(void)open_dir(O_RDONLY);
	f.refuse = false;
	first = open_dir(O_RDONLY);
	ok(fake_reply(&f)->kept, "a handle whose reply did not arrive is closed");
	release_dir(first);
}

static void test_atime(void)
{
	struct stat old = {.st_atim = {1000, 0}}, st;
	struct open_dir *open;

	if (fs_setattr(f.mount.fs, &ROOT, dir, &old, FS_SET_ATIME, &st))
		bail("setattr");
	open = open_dir(O_RDONLY | O_NOATIME);
	ok(!fake_reply(&f)->anew, "without atime, what the kernel keeps is good");
	(void)read_dir(open, 0, 10, false);
	is_int(attr_of(f.mount.fs, dir).st_atim.tv_sec, 1000, "... and reading sets none");
	release_dir(open);
	open = open_dir(O_RDONLY);
	ok(fake_reply(&f)->anew, "with an atime that is due, the kernel reads anew");
	(void)read_dir(open, 0, 10, false);
	ok(attr_of(f.mount.fs, dir).st_atim.tv_sec > 1000, "... and that sets it");
	release_dir(open);
	open = open_dir(O_RDONLY);
	ok(!fake_reply(&f)->anew, "... and then nothing is due");
	release_dir(open);
}

static void test_errors(void)
{
	struct request r = fake_request(&f, 4711);
	struct open_dir *open;

	op_opendir(&r, O_RDONLY);
	is_error(&f, ESTALE, "opendir of a number that nobody holds");
	r = fake_request(&f, make_file(f.mount.fs, FS_ROOT_INO, "file"));
	op_opendir(&r, O_RDONLY);
	is_error(&f, ENOTDIR, "opendir of a file");
	is_int(f.mount.dirs.count, 0, "nothing is open after that");
	/* Left to open_dirs_release(), as after an unmount by force. */
	open = open_dir(O_RDONLY);
	ok(open && f.mount.dirs.count == 1, "one is left open");
}

int main(void)
{
	fake_init(&f);
	make();
	test_read();
	test_offsets();
	test_references();
	test_kept();
	test_atime();
	test_errors();
	fake_release(&f);
	return done();
}
