/*
 * file.h - the content of regular files, as pieces of a change.
 */
#ifndef FS_FILE_H
#define FS_FILE_H

#include "fs/change.h"

/* Add to the change that the file is `size` long: cut off, or grown with zeros. */
int file_stage_size(struct change *c, uint64_t size);

#endif
