// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_NUMBER_H
#define PIPELINE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Decimal text of `value`; returns its length, <= 20, no 0 behind it. */
int32_t i64_write(int64_t value, char out[24]);

/* Reads all of `text`: an optional minus and digits. False if it is none or is out of range. */
bool i64_read(struct str text, int64_t *ret_value);

#endif
