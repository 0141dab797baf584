// SPDX-License-Identifier: Apache-2.0
#include "app/backtest_history.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/time_text.h"

enum { STEP_MS = 300000, BUSY_MS = 2000 };
#define STEPS_MAX INT64_C(2000000)

struct view {
    sqlite3 *db;
    const char *file;
    struct err_info *info;
};

static enum err fail(const struct view *view, const char *what)
{
    int code = view->db != NULL ? sqlite3_errcode(view->db) : SQLITE_NOMEM;
    bool missing = code == SQLITE_CANTOPEN;
    bool foreign = code == SQLITE_NOTADB || code == SQLITE_ERROR;
    enum err err = foreign                  ? ERR_INVALID
                   : missing                ? ERR_NOT_FOUND
                   : code == SQLITE_CORRUPT ? ERR_CORRUPT
                                            : ERR_IO;
    return err_set(view->info, err, "%.120s: %s: %.80s", view->file,
                   foreign ? "--history wants the history.db of a data folder" : what,
                   view->db != NULL ? sqlite3_errmsg(view->db) : "no memory");
}

static enum err prepare(const struct view *view, const char *sql, sqlite3_stmt **ret_stmt)
{
    return sqlite3_prepare_v2(view->db, sql, -1, ret_stmt, NULL) == SQLITE_OK
               ? ERR_OK
               : fail(view, "it cannot be asked");
}

/* The next row; at the end false, and also where it cannot be read, which is told in `err`. */
static bool next_row(const struct view *view, sqlite3_stmt *stmt, enum err *err)
{
    int code = sqlite3_step(stmt);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        *err = fail(view, "it cannot be read");
    }
    return code == SQLITE_ROW;
}

/* The one that is meant: by its name, or the only one. */
static enum err choose(const struct view *view, struct arena *arena, const char *wanted,
                       const char **ret_name)
{
    sqlite3_stmt *stmt = NULL;
    const char *names = "", *found = NULL;
    int count = 0;
    enum err err = prepare(
        view, "SELECT DISTINCT subject FROM sample_rolled WHERE kind = 'pipeline' ORDER BY 1",
        &stmt);
    while (err == ERR_OK && next_row(view, stmt, &err)) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        name = arena_dup(arena, name, (ptrdiff_t)strlen(name));
        names = arena_printf(arena, "%s%s%s", names, count > 0 ? ", " : "", name);
        found = wanted == NULL || strcmp(wanted, name) == 0 ? name : found;
        count++;
    }
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* its errors were told by the steps */
    if (err != ERR_OK) {
        return err;
    }
    if (count == 0) {
        return err_set(view->info, ERR_NOT_FOUND,
                       "%.120s: no five minutes of any pipeline are in it yet", view->file);
    }
    if (found == NULL || (wanted == NULL && count > 1)) {
        return err_set(view->info, ERR_NOT_FOUND, "--pipeline NAME: one of %.180s", names);
    }
    *ret_name = found;
    return ERR_OK;
}

/* Values at their steps, NaN where there is none. */
static enum err read_values(const struct view *view, struct arena *arena, const char *pipeline,
                            struct trace *trace)
{
    sqlite3_stmt *stmt = NULL;
    double *values = NULL;
    int64_t first = 0, count = 0, room = 0;
    enum err err = prepare(view,
                           "SELECT time, demand_ratio FROM sample_rolled WHERE kind = 'pipeline' "
                           "AND subject = ?1 AND demand_ratio IS NOT NULL ORDER BY time",
                           &stmt);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(sqlite3_bind_text(stmt, 1, pipeline, -1, SQLITE_STATIC) == SQLITE_OK);
    while (next_row(view, stmt, &err)) {
        int64_t time_ms = 0;
        if (!time_parse_rfc3339(str_of((const char *)sqlite3_column_text(stmt, 0)), &time_ms)) {
            continue;
        }
        first = count == 0 ? time_ms / STEP_MS : first;
        int64_t at = time_ms / STEP_MS - first;
        if (at < 0 || at >= STEPS_MAX) {
            err = err_set(view->info, ERR_LIMIT, "%.120s: more than %lld steps of five minutes",
                          view->file, (long long)STEPS_MAX);
            break;
        }
        if (at >= room) {
            int64_t more = 2 * at + 1024;
            double *larger = ARENA_NEW_ARRAY(arena, double, more);
            for (int64_t i = 0; i < more; i++) {
                larger[i] = i < count ? values[i] : (double)NAN;
            }
            values = larger;
            room = more;
        }
        values[at] = sqlite3_column_double(stmt, 1);
        count = at + 1;
    }
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* its errors were told by the steps */
    *trace = (struct trace){
        .start_ms = first * STEP_MS, .step_ms = STEP_MS, .values = values, .count = (int)count};
    return err;
}

/* Straight lines over what is missing; the first and last step are there. */
static int64_t fill_gaps(double *values, int64_t count)
{
    int64_t missing = 0, left = 0;
    for (int64_t i = 1; i < count; i++) {
        if (isnan(values[i])) {
            continue;
        }
        for (int64_t k = left + 1; k < i; k++) {
            double share = (double)(k - left) / (double)(i - left);
            values[k] = values[left] * (1 - share) + values[i] * share;
            missing++;
        }
        left = i;
    }
    return missing;
}

enum err backtest_history(struct arena *arena, const char *file, const char *pipeline,
                          struct trace *ret_trace, int64_t *ret_missing, struct err_info *info)
{
    struct view view = {.file = file, .info = info};
    struct trace trace = {.count = 0};
    const char *name = NULL;
    enum err err = ERR_OK;
    if (sqlite3_open_v2(file, &view.db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(view.db, BUSY_MS) != SQLITE_OK) {
        err = fail(&view, "it cannot be opened");
    }
    err = err == ERR_OK ? choose(&view, arena, pipeline, &name) : err;
    err = err == ERR_OK ? read_values(&view, arena, name, &trace) : err;
    IGNORE_RESULT(sqlite3_close(view.db)); /* it was only read */
    if (err != ERR_OK) {
        return err;
    }
    *ret_missing = fill_gaps(trace.values, trace.count);
    *ret_trace = trace;
    return ERR_OK;
}
