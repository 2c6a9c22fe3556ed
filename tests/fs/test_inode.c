/*
 * test_inode.c - inode_table_valid() finds what is wrong in the table of inodes.
 */
#include "fs/inode.h"
#include "tests/support/fs_fixture.h"

static struct fs_fixture f;

static void wrong(const char *what)
{
	ok(!inode_table_valid(f.fs), "it finds %s", what);
}

int main(void)
{
	struct inode *dir, *file;
	uint64_t dir_ino, file_ino;

	fs_fixture_init(&f);
	dir_ino = make_dir(f.fs, FS_ROOT_INO, "dir");
	file_ino = make_file(f.fs, dir_ino, "file");
	for (unsigned i = 0; i < 5000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		make_file(f.fs, dir_ino, name);
	}
	if (inode_get(f.fs, dir_ino, &dir) || inode_get(f.fs, file_ino, &file))
		bail("inode_get");
	ok(inode_table_valid(f.fs), "a table with 5003 inodes is right");

	atomic_fetch_add(&f.fs->inodes, 1);
	wrong("a wrong number of inodes");
	atomic_fetch_sub(&f.fs->inodes, 1);

	atomic_fetch_add(&f.fs->inode_bytes, 1);
	wrong("a wrong number of bytes");
	atomic_fetch_sub(&f.fs->inode_bytes, 1);

	file->ino += UINT64_C(1) << 40;
	wrong("an inode in another's bucket");
	file->ino -= UINT64_C(1) << 40;

	dir->refs -= 4000;
	wrong("a parent with less references than children");
	dir->refs += 4000;

	file->type = S_IFDIR;
	wrong("an inode that is not of its mode's type");
	file->type = S_IFREG;

	file->orphaned = true;
	wrong("an orphan with a name");
	file->orphaned = false;

	ok(inode_table_valid(f.fs), "and all is right again");
	inode_put(f.fs, file);
	inode_put(f.fs, dir);
	fs_fixture_release(&f);
	return done();
}
