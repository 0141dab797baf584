// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_LIMITS_REAL_H
#define BASE_REAL_LIMITS_REAL_H

#include <stdint.h>

/* Raises the number of files that this process may have open to all that the machine allows it; returns that number.
 * Readers and shards hold a descriptor each, and the usual soft limit (1024) is too small for them. At start, once. */
int64_t limits_raise_open_files(void);

#endif
