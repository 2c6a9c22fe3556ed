/*
 * The whole filesystem against a plain model of one: random calls, the same
 * result expected of both, everything compared again and again, with the
 * filesystem closed and reopened in between, and everything forgotten.
 */
#include "tests/support/fs_twin.h"

#define STEPS 30000u

static void take_step(void)
{
	switch (random_below(18)) {
	case 0:
	case 1:
	case 2:
		step_create();
		break;
	case 3:
		step_tmpfile();
		break;
	case 4:
		step_link();
		break;
	case 5:
	case 6:
		step_remove();
		break;
	case 7:
	case 8:
	case 9:
		step_rename();
		break;
	case 10:
	case 11:
		step_write();
		break;
	case 12:
		step_truncate();
		break;
	case 13:
		step_allocate();
		break;
	case 14:
		step_copy();
		break;
	case 15:
		step_attr();
		break;
	default:
		step_forget();
		break;
	}
}

static void run(unsigned seed)
{
	choices = (struct rng){.state = seed};
	fixture_init(&f);
	model_begin();
	for (step = 0; step < STEPS; step++) {
		take_step();
		if (step % 1500 == 1499)
			compare_all();
		if (step % 4000 == 3999) {
			reopen();
			compare_all();
		}
	}
	fixture_clean(&f, "after all steps");
	model_end();
	fixture_reopen(&f);
	fixture_clean(&f, "after all was forgotten");
	fixture_release(&f);
	ok(true, "%u steps from seed %u", STEPS, seed);
}

int main(int argc, char **argv)
{
	run(argc > 1 ? (unsigned)atoi(argv[1]) : 1);
	run(argc > 1 ? (unsigned)atoi(argv[1]) + 1 : 2);
	return done();
}
