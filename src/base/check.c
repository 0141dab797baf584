// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void (*check_hook)(void);

void check_set_hook(void (*hook)(void))
{
    check_hook = hook;
}

ATTR_NORETURN static void die(void)
{
    void (*hook)(void) = check_hook;
    check_hook = NULL; /* a hook that fails a check must not come back here */
    if (hook != NULL) {
        hook();
    }
    abort();
}

void check_failed(const char *file, int line, const char *expr)
{
    IGNORE_RESULT(
        fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, expr)); /* dying anyway */
    die();
}

void check_failed_msg(const char *file, int line, const char *expr, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(
        fprintf(stderr, "%s:%d: CHECK failed: %s: ", file, line, expr)); /* dying anyway */
    IGNORE_RESULT(vfprintf(stderr, fmt, args));
    IGNORE_RESULT(fputc('\n', stderr));
    va_end(args);
    die();
}
