// SPDX-License-Identifier: Apache-2.0
#ifndef APP_AGAINST_H
#define APP_AGAINST_H

#include "pipeline/config.h"

/* Compares a configuration with a data folder that no process uses just now, and prints what a start would do with each
 * stage: begin anew, go on (with another layout), or refuse its state. Writes nothing but what opening the log mends.
 * Returns an exit code: OK, NEEDS_OPERATOR (state would be refused), or that of the error. */
int validate_against(const struct config *config, const char *data);

#endif
