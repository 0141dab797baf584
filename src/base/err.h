// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/attr.h"

/* Errors: one list. A class tells the caller what to do:
 *   RETRY    the same call may succeed later, unchanged
 *   REJECT   the call is wrong; it never succeeds unchanged
 *   ABANDON  the thing called upon is gone or taken: drop it, reopen it
 *   FATAL    the owner of the resource must stop
 * Columns: name, class, HTTP status, text. */
#define ERR_LIST(X) \
    X(OK, REJECT, 200, "ok") \
    X(INVALID, REJECT, 400, "invalid argument") \
    X(PARSE, REJECT, 400, "cannot be parsed") \
    X(TYPE, REJECT, 400, "wrong type") \
    X(LIMIT, REJECT, 413, "over a limit") \
    X(NOT_FOUND, REJECT, 404, "not found") \
    X(EXISTS, REJECT, 409, "exists already") \
    X(CONFLICT, REJECT, 409, "conflict") \
    X(PRECONDITION, REJECT, 412, "precondition failed") \
    X(UNAUTHENTICATED, REJECT, 401, "not authenticated") \
    X(DENIED, REJECT, 403, "denied") \
    X(UNSUPPORTED, REJECT, 501, "unsupported") \
    X(OFFSET_RANGE, REJECT, 416, "offset out of range") \
    X(SEQUENCE, REJECT, 409, "producer sequence out of order") \
    X(AGAIN, RETRY, 503, "try again") \
    X(BUSY, RETRY, 429, "busy") \
    X(TIMEOUT, RETRY, 504, "timed out") \
    X(UNAVAILABLE, RETRY, 503, "unavailable") \
    X(NO_SPACE, RETRY, 507, "no space left") \
    X(FENCED, ABANDON, 409, "fenced by a newer owner") \
    X(CLOSED, ABANDON, 410, "closed") \
    X(CANCELLED, ABANDON, 409, "cancelled") \
    X(IO, FATAL, 500, "input/output error") \
    X(CORRUPT, FATAL, 500, "corrupt data") \
    X(NEEDS_OPERATOR, FATAL, 503, "needs an operator") \
    X(INTERNAL, FATAL, 500, "internal error")

enum err {
#define X(name, class, status, text) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

enum err_class { ERR_CLASS_RETRY, ERR_CLASS_REJECT, ERR_CLASS_ABANDON, ERR_CLASS_FATAL };

enum { ERR_TEXT_MAX = 240 };

/* What happened, for people: filled by the function that found it, carried up unchanged. No heap. */
struct err_info {
    enum err code;
    int sys_errno; /* 0 if no system call failed */
    char text[ERR_TEXT_MAX];
};

/* Name such as "NO_SPACE", text such as "no space left", HTTP status and class of an error. */
const char *err_name(enum err err);
const char *err_text(enum err err);
int err_http_status(enum err err);
enum err_class err_class_of(enum err err);

/* Fills `info` (NULL: nothing) and returns `code`, so that a failure is one statement: return err_set(info, ...).
 *   fmt   what failed, where, why, what to do; values in it; cut at ERR_TEXT_MAX - 1 bytes */
enum err err_set(struct err_info *info, enum err code, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* The same for a failed system call: `sys_errno` is kept and its text appended. */
enum err err_set_sys(struct err_info *info, enum err code, int sys_errno, const char *fmt, ...)
    ATTR_PRINTF(4, 5);

#endif
