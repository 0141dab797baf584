// SPDX-License-Identifier: Apache-2.0
#ifndef APP_SHADOW_STORES_H
#define APP_SHADOW_STORES_H

#include "base/clock.h"
#include "base/fs.h"
#include "pipeline/config.h"
#include "shadowstore/shadowstore.h"

/* The shadow stores of a configuration, each with its thread, those with a server with a net of their own; all of the idle
 * class. Reads the passwords that the file names. */

struct shadow_stores;

struct shadow_stores_options {
    const struct config *config; /* outlives the stores */
    const struct clock *clock;   /* outlives the stores */
    const struct fs *fs;         /* the data folder: its file `id` says whose results they are */
    const char *root;            /* folder that paths in the file are relative to */
    uint64_t incarnation;        /* of the process */
};

/* Starts all; asks no server yet. Errors: NOT_FOUND, INVALID, LIMIT (a password that cannot be read), IO, NO_SPACE. */
ATTR_NODISCARD enum err shadow_stores_start(const struct shadow_stores_options *options,
                                            struct shadow_stores **ret_stores,
                                            struct err_info *info);

int32_t shadow_stores_count(const struct shadow_stores *stores);
struct str shadow_stores_name(const struct shadow_stores *stores, int32_t index);
struct shadowstore *shadow_stores_get(const struct shadow_stores *stores, int32_t index);

/* Stops their threads, after stores that are up have removed all shadows, but in two seconds at most: what is left then is
 * found at the next start. NULL is fine, and so is twice. */
void shadow_stores_stop(struct shadow_stores *stores);

/* Stops if that was not done; ops in flight are completed as CANCELLED, and all is freed. NULL is fine. */
void shadow_stores_free(struct shadow_stores *stores);

#endif
