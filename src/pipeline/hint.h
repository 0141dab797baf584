// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_HINT_H
#define PIPELINE_HINT_H

#include <stdint.h>

#include "base/str.h"

/* Help for whoever mistyped a name: ": did you mean 'amount'?", else ": there are a, b, c", cut at its size. */
struct hint {
    char text[120];
};

void hint_of_names(struct hint *hint, struct str wrong, const struct str *names, int32_t count);

#endif
