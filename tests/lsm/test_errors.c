/*
 * test_errors.c - lsm_strerror(): every outcome of the store has words of its own.
 */
#include <errno.h>
#include <string.h>

#include "lsm/lsm.h"
#include "tests/support/tap.h"

static void is_words(int err, const char *want, const char *what)
{
	ok(!strcmp(lsm_strerror(err), want), "%s: %s", what, lsm_strerror(err));
}

static void test_words(void)
{
	is_words(0, "no error", "success");
	is_words(LSM_ABSENT, "no such key", "absence is no error");
	is_words(-EUCLEAN, "the store is damaged", "damage, in words of the store");
	is_words(-EROFS, "the store is read-only", "a store that became read-only");
	is_words(-EBUSY, "the store is in use", "a store that is open elsewhere");
	is_words(-EACCES, "Permission denied", "other errors have the system's words");
}

static void test_unknown(void)
{
	is_words(-99999, "unknown error", "a number that is no errno");
	is_words(2, "unknown error", "a positive number that is not LSM_ABSENT");
	is_words(-2147483647 - 1, "unknown error", "the lowest number");
}

/* Each of the store's own errors can be told from the others. */
static void test_distinct(void)
{
	static const int errs[] = {0,      LSM_ABSENT, -EUCLEAN, -EROFS,           -ENOSPC,
				   -EIO,   -ENOENT,    -ENOTDIR, -EEXIST,          -EBUSY,
				   -EFBIG, -EINTR,     -ENOMEM,  -EPROTONOSUPPORT, -EINVAL};
	size_t count = sizeof(errs) / sizeof(errs[0]), same = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			same += !strcmp(lsm_strerror(errs[i]), lsm_strerror(errs[j]));
	ok(!same, "no two outcomes have the same words");
	ok(lsm_strerror(-EUCLEAN) == lsm_strerror(-EUCLEAN), "the strings are constant");
}

int main(void)
{
	run_test(test_words);
	run_test(test_unknown);
	run_test(test_distinct);
	return done();
}
