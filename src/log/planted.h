// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_PLANTED_H
#define LOG_PLANTED_H

#include <stdbool.h>

/* Bugs that a build may contain on purpose (meson -Dplanted_bug=NAME), to prove that the simulator finds them.
 * sim/README.md lists them. False in every build that is meant to be used. */

#ifdef PLANTED_BUG_ACK_BEFORE_SYNC
static const bool PLANTED_ACK_BEFORE_SYNC = true; /* a group is acknowledged once it is written */
#else
static const bool PLANTED_ACK_BEFORE_SYNC = false;
#endif

#endif
