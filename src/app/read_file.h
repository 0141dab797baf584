// SPDX-License-Identifier: Apache-2.0
#ifndef APP_READ_FILE_H
#define APP_READ_FILE_H

#include "app/cli.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "pipeline/config.h"

/* Reads all of `path` ("-": standard input) into `arena`, with a 0 behind it. Errors: NOT_FOUND, IO, LIMIT over
 * `bytes_max`. */
ATTR_NODISCARD enum err read_file(struct arena *arena, const char *path, ptrdiff_t bytes_max,
                                  struct str *ret_text, struct err_info *info);

/* The configuration in `path`, with the call's --set in place of the file's settings: what `run` starts and `validate` checks.
 * Errors: read_file's and config_load_set's. */
ATTR_NODISCARD enum err read_config(struct arena *arena, const struct cli *cli, const char *path,
                                    const struct config **ret_config, struct err_info *info);

/* Whether the folder is there, for verbs that only look: opening a data folder would make it where a path was mistyped.
 * Errors: NOT_FOUND, IO. */
ATTR_NODISCARD enum err folder_check(const char *path, struct err_info *info);

#endif
