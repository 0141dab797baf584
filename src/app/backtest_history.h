// SPDX-License-Identifier: Apache-2.0
#ifndef APP_BACKTEST_HISTORY_H
#define APP_BACKTEST_HISTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "load/trace.h"

/* The load of a pipeline as the local view of a running process (history.db) has it: means of five minutes of the lanes that it
 * needed, at equal steps; where some are missing, a straight line. The file is only read, also while the process writes it.
 *   pipeline      NULL: the only one there is
 *   ret_missing   steps that were missing
 * Memory: the arena's. Errors: IO, CORRUPT, INVALID (no such view), NOT_FOUND (no such pipeline: names those there are), LIMIT. */
ATTR_NODISCARD enum err backtest_history(struct arena *arena, const char *file,
                                         const char *pipeline, struct trace *ret_trace,
                                         int64_t *ret_missing, struct err_info *info);

#endif
