// SPDX-License-Identifier: Apache-2.0
#ifndef APP_DEMO_RECOUNT_H
#define APP_DEMO_RECOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The demo's second opinion: counts views per user and hour as the records are made, in one flat array, and is then held
 * against what the pipeline says. Shares nothing with the pipeline, its JSON reader included. */

enum { RECOUNT_USERS = 10000, RECOUNT_HOURS = 26 /* the day, and one to either side */ };

struct recount_cell {
    uint32_t views;
    uint32_t told; /* by the pipeline */
    bool seen;     /* the pipeline told of it */
};

struct recount {
    int64_t day_start_ms;
    struct recount_cell *cells; /* [user][hour]; hour 1 is the day's first */
    int64_t records, views;
    int64_t strange;   /* lines, or results, that do not belong to the demo */
    int64_t repeated;  /* results told twice */
    int64_t different; /* results with another number */
    int64_t results;
};

void recount_init(struct recount *recount, int64_t day_start_ms);
void recount_release(struct recount *recount);

/* A record that is sent: {"ts":MS,"user":"uNNNNNN","kind":"view",...}. */
void recount_add(struct recount *recount, struct str json);

/* A result of the pipeline: `key` is the user, `time_ms` the last millisecond of the hour, `views` its count. */
void recount_compare(struct recount *recount, struct str key, int64_t time_ms, int64_t views);

/* Cells that have views: as many results are due. */
int64_t recount_due(const struct recount *recount);

/* Whether every result was told, once, with the same number, and nothing else. */
bool recount_equal(const struct recount *recount);

struct recount_hour {
    int64_t views, told;
    int32_t users;   /* with a view in it */
    int32_t busiest; /* user */
    uint32_t busiest_views;
};

/* What happened in an hour, 0..RECOUNT_HOURS-1. */
struct recount_hour recount_hour(const struct recount *recount, int32_t hour);

/* The whole number behind `"name":` in flat JSON; false if there is none. */
bool recount_number(struct str json, const char *name, int64_t *ret_value);

#endif
