#include "tests/support/print.h"

#include <stdio.h>

void print_report(void *ctx, enum lsm_report_level level, const char *message)
{
	(void)ctx;
	if (level == LSM_REPORT_ERROR)
		printf("# %s\n", message);
}

void print_damage(void *ctx, const struct lsm_damage *damage)
{
	(void)ctx;
	printf("# damage: %s at %llu: %s\n", damage->file, (unsigned long long)damage->offset,
	       damage->reason);
}

void print_finding(void *ctx, const char *text)
{
	(void)ctx;
	printf("# finding: %s\n", text);
}
