/*
 * test_options.c - options whose effect on a mount cannot be seen everywhere.
 */
#include "mount/options.h"
#include "tests/support/tap.h"

/* The options of `varve mount -o LIST STORE MOUNTPOINT`. */
static enum options_outcome parse(struct mount_options *o, const char *list)
{
	char *argv[] = {(char *)"mount", (char *)"-o", (char *)list,
			(char *)"s",     (char *)"m",  NULL};

	return mount_options_parse(o, 5, argv);
}

/* Whether the kernel is to check modes and owners. */
static bool checked(const char *list)
{
	struct mount_options o;
	bool checks = parse(&o, list) == OPTIONS_READ && o.default_permissions;

	mount_options_release(&o);
	return checks;
}

static void test_permissions(void)
{
	/* Only root's own mount goes unchecked, as root may do everything. */
	is_int(checked("noatime"), geteuid() != 0, "a mount for nobody else");
	ok(checked("allow_other"), "one for others is checked");
	ok(checked("acl"), "so is one with ACLs");
	ok(checked("context=a"), "and one with a value that is passed on");
	ok(checked("context=a\\,allow_other"), "as there may be an option in it");
}

int main(void)
{
	run_test(test_permissions);
	return done();
}
