// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_FAKE_CHAIN_H
#define TEST_FAKE_CHAIN_H

#include "pipeline/config.h"

/* Chains small enough to be sure of, in place of the real ones: tests of the node are about what the node does with any
 * chain. The stage's text says what it does:
 *   "rekey"   the value becomes the key
 *   "flaky"   the same, but says AGAIN before every batch until it was asked fake_again_count times
 *   "count"   counts records by key in windows of 1000 ms; a late one goes to the late output
 *   "reject"  records whose value begins with "bad" are dead letters, the others pass */
enum { FAKE_WINDOW_MS = 1000 };

extern int fake_again_count;

/* Number of outputs an advance makes at most: small, so that a closing takes many calls. */
enum { FAKE_ADVANCE_ROWS = 7 };

#endif
