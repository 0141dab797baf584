// SPDX-License-Identifier: Apache-2.0
#ifndef APP_SAY_H
#define APP_SAY_H

#include "base/attr.h"

/* Log lines of the running process: logfmt to stderr. Any thread; a line is one write. */

enum say_level { SAY_ERROR, SAY_WARN, SAY_INFO };

/* t=<RFC 3339> lvl=<level> mod=<mod> msg="<text>" */
void say(enum say_level level, const char *mod, const char *fmt, ...) ATTR_PRINTF(3, 4);

#endif
