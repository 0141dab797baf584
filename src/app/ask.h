// SPDX-License-Identifier: Apache-2.0
#ifndef APP_ASK_H
#define APP_ASK_H

#include "app/client.h"
#include "control/entity.h"

/* One call, its answer printed by `entity`'s table (NULL: nothing is printed). Returns the exit code; failures are told. */
int ask(const struct cli *cli, const struct client_call *call, const struct entity *entity);

#endif
