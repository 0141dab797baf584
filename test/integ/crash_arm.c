// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crashpoint.h"

/* Linked into a program of its own, shadowcast_crash, so that the real one has no such thing: the environment says at which
 * crash point it is to end as by kill -9, and at which pass of it: CRASH_AT="change.map.before:2". */

static char wanted[64];
static _Atomic long passes_left;

static void pass(void *ctx, const char *name)
{
    (void)ctx;
    if (strcmp(name, wanted) == 0 && atomic_fetch_sub(&passes_left, 1) == 1) {
        IGNORE_RESULT(kill(getpid(), SIGKILL)); /* does not return */
    }
}

__attribute__((constructor)) static void arm(void)
{
    const char *text = getenv("CRASH_AT"); // NOLINT(concurrency-mt-unsafe): before main
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;
    if (colon == NULL || colon - text >= (long)sizeof(wanted)) {
        return;
    }
    memcpy(wanted, text, (size_t)(colon - text));
    atomic_store(&passes_left, strtol(colon + 1, NULL, 10));
    crashpoint_arm(pass, NULL);
}
