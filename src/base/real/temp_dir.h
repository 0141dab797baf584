// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_TEMP_DIR_H
#define BASE_REAL_TEMP_DIR_H

#include "base/err.h"

enum { TEMP_DIR_MAX = 256 };

/* Makes a folder of this process' own (mode 0700) below TMPDIR or /tmp, named `prefix` and something random.
 *   ret_path   TEMP_DIR_MAX bytes
 * Errors: IO, NO_SPACE, LIMIT (TMPDIR is too long). */
ATTR_NODISCARD enum err temp_dir_make(const char *prefix, char *ret_path, struct err_info *info);

/* The same in /dev/shm, whose files are memory, unless TMPDIR is set: for what is written but need not reach a disk. Where
 * there is no such folder, as above. */
ATTR_NODISCARD enum err temp_dir_make_in_memory(const char *prefix, char *ret_path,
                                                struct err_info *info);

/* Removes the folder and all in it, as far as that is possible. Links are removed, not followed. */
void temp_dir_remove(const char *path);

#endif
