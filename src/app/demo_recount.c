// SPDX-License-Identifier: Apache-2.0
#include "app/demo_recount.h"

#include "base/check.h"
#include "base/mem.h"

static const int64_t hour_ms = 3600000;

void recount_init(struct recount *recount, int64_t day_start_ms)
{
    *recount = (struct recount){.day_start_ms = day_start_ms};
    recount->cells = MEM_NEW_ARRAY(struct recount_cell, (ptrdiff_t)RECOUNT_USERS * RECOUNT_HOURS);
}

void recount_release(struct recount *recount)
{
    mem_free(recount->cells);
    *recount = (struct recount){0};
}

/* What stands behind `"name":`. */
static bool behind(struct str json, const char *name, struct str *ret_rest)
{
    char pattern[32];
    ptrdiff_t len = (ptrdiff_t)strlen(name);
    CHECK(len + 3 < (ptrdiff_t)sizeof pattern);
    pattern[0] = '"';
    memcpy(pattern + 1, name, (size_t)len);
    memcpy(pattern + 1 + len, "\":", 3);
    ptrdiff_t at = str_find(json, str_of(pattern));
    if (at < 0) {
        return false;
    }
    at += len + 3;
    *ret_rest = (struct str){.ptr = json.ptr + at, .len = json.len - at};
    return true;
}

/* Digits at the start of `text`. */
static bool digits(struct str text, int64_t *ret_value)
{
    int64_t value = 0;
    ptrdiff_t i = 0;
    for (; i < text.len && i < 18 && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        value = 10 * value + (text.ptr[i] - '0');
    }
    *ret_value = value;
    return i > 0;
}

bool recount_number(struct str json, const char *name, int64_t *ret_value)
{
    struct str rest;
    return behind(json, name, &rest) && digits(rest, ret_value);
}

/* The cell of user "uNNNNNN" in the hour of `time_ms`, or NULL. */
static struct recount_cell *cell_at(struct recount *recount, struct str user, int64_t time_ms)
{
    int64_t number, since_ms = time_ms - (recount->day_start_ms - hour_ms);
    struct str rest = {.ptr = user.ptr + 1, .len = user.len - 1};
    if (user.len < 2 || user.ptr[0] != 'u' || !digits(rest, &number) || number >= RECOUNT_USERS ||
        since_ms < 0 || since_ms / hour_ms >= RECOUNT_HOURS) {
        return NULL;
    }
    return &recount->cells[number * RECOUNT_HOURS + since_ms / hour_ms];
}

void recount_add(struct recount *recount, struct str json)
{
    struct str user, kind;
    int64_t time_ms;
    if (!behind(json, "user", &user) || !behind(json, "kind", &kind) ||
        !recount_number(json, "ts", &time_ms) || user.len < 2) {
        recount->strange++;
        return;
    }
    recount->records++;
    if (!str_starts_with(kind, STR("\"view\""))) {
        return;
    }
    user = (struct str){.ptr = user.ptr + 1, .len = user.len - 1}; /* its opening quote */
    struct recount_cell *cell = cell_at(recount, user, time_ms);
    if (cell == NULL) {
        recount->strange++;
        return;
    }
    cell->views++;
    recount->views++;
}

void recount_compare(struct recount *recount, struct str key, int64_t time_ms, int64_t views)
{
    struct recount_cell *cell = cell_at(recount, key, time_ms);
    recount->results++;
    if (cell == NULL || (time_ms + 1 - recount->day_start_ms) % hour_ms != 0 || views < 1) {
        recount->strange++;
        return;
    }
    recount->repeated += cell->seen;
    recount->different += cell->views != (uint64_t)views;
    cell->seen = true;
    cell->told += (uint32_t)views;
}

int64_t recount_due(const struct recount *recount)
{
    int64_t due = 0;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)RECOUNT_USERS * RECOUNT_HOURS; i++) {
        due += recount->cells[i].views > 0;
    }
    return due;
}

bool recount_equal(const struct recount *recount)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)RECOUNT_USERS * RECOUNT_HOURS; i++) {
        const struct recount_cell *cell = &recount->cells[i];
        if (cell->seen != (cell->views > 0) || cell->told != cell->views) {
            return false;
        }
    }
    return recount->strange == 0 && recount->repeated == 0 && recount->different == 0 &&
           recount->results == recount_due(recount);
}

struct recount_hour recount_hour(const struct recount *recount, int32_t hour)
{
    struct recount_hour result = {.busiest = -1};
    for (int32_t user = 0; user < RECOUNT_USERS; user++) {
        const struct recount_cell *cell = &recount->cells[(ptrdiff_t)user * RECOUNT_HOURS + hour];
        result.views += cell->views;
        result.told += cell->told;
        result.users += cell->views > 0;
        if (cell->views > result.busiest_views) {
            result.busiest_views = cell->views;
            result.busiest = user;
        }
    }
    return result;
}
