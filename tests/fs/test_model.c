/*
 * The whole filesystem against a plain model of one: random calls, the same
 * result expected of both, everything compared again and again, with the
 * filesystem closed and reopened in between, and everything forgotten.
 */
#include <stdlib.h>

#include "tests/support/fs_twin.h"
#include "tests/support/option.h"

#define STEPS 30000u

static void take_step(void)
{
	static void (*const steps[])(void) = {
		fs_twin_create, fs_twin_create, fs_twin_create,   fs_twin_tmpfile,  fs_twin_link,
		fs_twin_remove, fs_twin_remove, fs_twin_rename,   fs_twin_rename,   fs_twin_rename,
		fs_twin_write,  fs_twin_write,  fs_twin_truncate, fs_twin_allocate, fs_twin_copy,
		fs_twin_attr,   fs_twin_forget, fs_twin_forget,
	};

	steps[fs_twin_below(sizeof(steps) / sizeof(steps[0]))]();
}

static void test_steps(unsigned seed)
{
	twin.choices = (struct rng){.state = seed};
	fs_fixture_init(&twin.f);
	fs_twin_begin(400, 9000);
	for (twin.step = 0; twin.step < STEPS; twin.step++) {
		take_step();
		if (twin.step % 1500 == 1499)
			fs_twin_compare();
		if (twin.step % 4000 == 3999) {
			fs_twin_reopen();
			fs_twin_compare();
		}
	}
	fs_fixture_clean(&twin.f, "after all steps");
	fs_twin_end();
	fs_fixture_reopen(&twin.f);
	fs_fixture_clean(&twin.f, "after all was forgotten");
	fs_fixture_release(&twin.f);
	ok(true, "%u steps from seed %u", STEPS, seed);
}

int main(void)
{
	unsigned seed = (unsigned)option_number("SEED", 1);

	run_test(test_steps, seed);
	run_test(test_steps, seed + 1);
	return done();
}
