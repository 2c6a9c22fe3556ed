#include "tests/support/fs_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/must.h"

void fs_text_say(struct fs_text *t, const char *format, ...)
{
	va_list args;

	if (t->room - t->size < 512) {
		t->room = t->room ? t->room * 2 : 4096;
		t->data = must_alloc(realloc(t->data, t->room));
	}
	va_start(args, format);
	t->size += (size_t)vsnprintf(t->data + t->size, t->room - t->size, format, args);
	va_end(args);
}

static void fs_text_time(struct fs_text *t, int64_t ns)
{
	if (ns == FS_TEXT_UNKNOWN)
		fs_text_say(t, ", ?");
	else
		fs_text_say(t, ", %jd", (intmax_t)ns);
}

void fs_text_inode(struct fs_text *t, unsigned depth, const char *name, const struct stat *st,
		   int64_t mtime, int64_t ctime, const struct fs_xattrs *x, uint64_t hash)
{
	fs_text_say(t, "%*s%s: ", (int)depth, "", name);
	if (st->st_ino)
		fs_text_say(t, "inode %ju", (uintmax_t)st->st_ino);
	else
		fs_text_say(t, "inode ?");
	fs_text_say(t, ", mode %o, uid %u, %ju links, size %jd", st->st_mode, st->st_uid,
		    (uintmax_t)st->st_nlink, (intmax_t)st->st_size);
	fs_text_time(t, mtime);
	fs_text_time(t, ctime);
	fs_text_say(t, ", %d %d %d, %jx\n", x->user, x->access, x->fallback, (uintmax_t)hash);
}

bool fs_text_is(const char *text, const char *want)
{
	for (; *want; want++) {
		if (*want == '?')
			text += strspn(text, "-0123456789");
		else if (*text++ != *want)
			return false;
	}
	return !*text;
}

void fs_text_print(const char *what, const char *text)
{
	printf("#   %s:\n", what);
	while (text && *text) {
		int size = (int)strcspn(text, "\n");

		printf("#     %.*s\n", size, text);
		text += size + (text[size] != 0);
	}
}

bool fs_text_is_fresh(const char *text)
{
	return !strncmp(text, "/: inode 1,", 11) && !strchr(strchr(text, '\n') + 1, '\n');
}
