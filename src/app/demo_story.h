// SPDX-License-Identifier: Apache-2.0
#ifndef APP_DEMO_STORY_H
#define APP_DEMO_STORY_H

#include "base/err.h"
#include "load/trace.h"

/* The second part of the demo: an hour in which the load rises is replayed through the real engine with the manager acting, then
 * the same hour with a reactive rule; prints what was decided and why, and what came of both.
 *   terminal   progress is shown on standard error
 * Errors: of the engine. */
ATTR_NODISCARD enum err demo_story(const struct trace *trace, double scale, bool terminal,
                                   struct err_info *info);

#endif
