// SPDX-License-Identifier: Apache-2.0
#ifndef APP_EXIT_CODE_H
#define APP_EXIT_CODE_H

#include "base/err.h"

/* What the program's exit code says; one list, also printed in the manual. */
#define EXIT_CODE_LIST(X) \
    X(OK, 0, "done") \
    X(FAILURE, 1, "failed") \
    X(USAGE, 2, "wrong call: unknown verb, option or value") \
    X(NOT_FOUND, 3, "what was named does not exist") \
    X(CONFLICT, 4, "exists already, or is in use by another process") \
    X(DENIED, 5, "not allowed, or no valid token") \
    X(TIMEOUT, 6, "timed out") \
    X(NEEDS_OPERATOR, 7, "stopped: somebody has to decide") \
    X(UNAVAILABLE, 69, "no running process could be reached") \
    X(CONFIG, 78, "the configuration is wrong; nothing was started")

enum exit_code {
#define X(name, value, text) EXIT_CODE_##name = (value),
    EXIT_CODE_LIST(X)
#undef X
};

/* The exit code that tells of an error. */
enum exit_code exit_code_of(enum err err);

#endif
