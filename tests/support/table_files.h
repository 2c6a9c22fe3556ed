/*
 * table_files.h - a storage of a few files in memory, whose bytes a test can get at.
 */
#ifndef TESTS_SUPPORT_TABLE_FILES_H
#define TESTS_SUPPORT_TABLE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "lsm/base/buf.h"
#include "lsm/storage/storage.h"
#include "lsm/table/table.h"
#include "lsm/table/table_format.h"

#define TABLE_FILES_MAX 8

struct table_file {
	struct storage_file base;
	char name[TABLE_NAME_BYTES];
	struct buf bytes;
	bool exists;
	int open;
};

extern struct table_file table_files[TABLE_FILES_MAX];

/* The errno that all these calls fail with; 0: they work. */
extern int fail_reads_with, fail_writes_with, fail_syncs_with, fail_closes_with;

/* The file with this name; NULL if there is none. */
struct table_file *table_file_named(const char *name);

int table_files_open(struct storage *st, const char *name, enum storage_open how,
		     struct storage_file **out);

int table_files_unlink(struct storage *st, const char *name);

int table_files_close(struct storage_file *sf);

extern struct storage table_storage;

/* Remove all files. Bails out if one is still open. */
void table_files_clear(void);

#endif
