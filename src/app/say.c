// SPDX-License-Identifier: Apache-2.0
#include "app/say.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "base/real/clock_real.h"

enum { SAY_TEXT_MAX = 1024 };

void say(enum say_level level, const char *mod, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info"};
    struct clock clock = clock_real();
    int64_t now_ms = clock_wall_unix_ms(&clock);
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm parts;
    char text[SAY_TEXT_MAX];
    char quoted[2 * SAY_TEXT_MAX];
    size_t len = 0;
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(text, sizeof(text), fmt, args)); /* a long line is cut */
    va_end(args);
    for (const char *c = text; *c != 0; c++) {
        if (*c == '"' || *c == '\\') {
            quoted[len++] = '\\';
        }
        quoted[len++] = (unsigned char)*c < 0x20 ? ' ' : *c;
    }
    quoted[len] = 0;
    if (gmtime_r(&now_s, &parts) == NULL) {
        return; /* a clock that is out of all bounds: nothing to put in front */
    }
    IGNORE_RESULT(fprintf(
        stderr, "t=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ lvl=%s mod=%s msg=\"%s\"\n",
        parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
        parts.tm_sec, (int)(now_ms % 1000), names[level], mod, quoted)); /* nobody left to tell */
}
