// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

struct err_row {
    const char *name;
    enum err_class class;
    int http_status;
    const char *text;
};

static const struct err_row err_rows[ERR_COUNT] = {
#define X(name_, class_, status_, text_) \
    [ERR_##name_] = { \
        .name = #name_, .class = ERR_CLASS_##class_, .http_status = (status_), .text = (text_)},
    ERR_LIST(X)
#undef X
};

static const struct err_row *err_row(enum err err)
{
    CHECK((unsigned)err < ERR_COUNT);
    return &err_rows[err];
}

const char *err_name(enum err err)
{
    return err_row(err)->name;
}

const char *err_text(enum err err)
{
    return err_row(err)->text;
}

int err_http_status(enum err err)
{
    return err_row(err)->http_status;
}

enum err_class err_class_of(enum err err)
{
    return err_row(err)->class;
}

enum err err_set(struct err_info *info, enum err code, const char *fmt, ...)
{
    if (info != NULL) {
        va_list args;
        va_start(args, fmt);
        info->code = code;
        info->sys_errno = 0;
        IGNORE_RESULT(
            vsnprintf(info->text, sizeof(info->text), fmt, args)); /* cutting is the contract */
        va_end(args);
    }
    return code;
}

enum err err_set_sys(struct err_info *info, enum err code, int sys_errno, const char *fmt, ...)
{
    if (info != NULL) {
        va_list args;
        va_start(args, fmt);
        info->code = code;
        info->sys_errno = sys_errno;
        int n = vsnprintf(info->text, sizeof(info->text), fmt, args);
        va_end(args);
        if (n >= 0 && n < (int)sizeof(info->text)) {
            char reason[96];
            const char *text = strerror_r(sys_errno, reason, sizeof(reason));
            IGNORE_RESULT(
                snprintf(info->text + n, sizeof(info->text) - (size_t)n, ": %s", text)); /* cut */
        }
    }
    return code;
}
