#include "tests/support/disk_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/tap.h"

off_t disk_file_largest(const char *folder, const char *suffix, char path[PATH_MAX])
{
	DIR *d = opendir(folder);
	struct dirent *e;
	off_t largest = 0;

	if (!d)
		bail("%s: %s", folder, strerror(errno));
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');
		struct stat st;

		if (!dot || strcmp(dot, suffix) != 0 || fstatat(dirfd(d), e->d_name, &st, 0) ||
		    !S_ISREG(st.st_mode) || st.st_size <= largest)
			continue;
		largest = st.st_size;
		snprintf(path, PATH_MAX, "%s/%s", folder, e->d_name);
	}
	closedir(d);
	return largest;
}

void disk_file_flip(const char *path, off_t offset, unsigned char mask)
{
	int fd = open(path, O_RDWR);
	unsigned char byte;

	if (fd < 0 || pread(fd, &byte, 1, offset) != 1)
		bail("%s: %s", path, strerror(errno));
	byte ^= mask;
	if (pwrite(fd, &byte, 1, offset) != 1 || close(fd))
		bail("%s: %s", path, strerror(errno));
}
