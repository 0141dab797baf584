// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_FS_REAL_H
#define BASE_REAL_FS_REAL_H

#include "base/fs.h"

/* Files of the machine below one folder. Blocking: submit runs the op on the calling thread and completes at once, so
 * only loops that have nothing else to do submit. New files have mode 0600, new folders 0700; symbolic links are not
 * followed as the last part of a path. Any thread. */

/* Opens `root` (made, with its name durable, if only its last part is absent). Errors: NOT_FOUND, IO. */
ATTR_NODISCARD enum err fs_real_open(const char *root, struct fs *ret_fs, struct err_info *info);

/* Closes the root; files opened through it stay open. An fs of all zeros is fine. */
void fs_real_close(struct fs *fs);

#endif
