// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_REAL_ENTROPY_H
#define BASE_REAL_ENTROPY_H

#include <stddef.h>

/* Fills `buf` with bytes fit for secrets (tokens) and for seeds. A machine that has none ends the process. Any thread. */
void entropy_fill(void *buf, ptrdiff_t len);

#endif
