// SPDX-License-Identifier: Apache-2.0
#include "app/forecast_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pipeline/time_text.h"

static const char *model_at(const struct online_point *point)
{
    return point->basis == ONLINE_ONE ? model_name(point->model) : online_basis_name(point->basis);
}

void forecast_print_point(const struct online_point *point)
{
    printf("\"steps\":%d,\"basis\":\"%s\",\"members\":%d,\"matured\":%d,\"error\":%.6g,"
           "\"error_naive\":%.6g,\"loss\":%.6g,\"loss_naive\":%.6g",
           point->steps, model_at(point), point->members, point->matured, point->error,
           point->error_naive, point->loss, point->loss_naive);
}

static void print_time(const struct forecast_result *r, int i)
{
    char text[TIME_TEXT_MAX];
    int32_t len = time_write_rfc3339(r->end_ms + (i + 1) * r->step_ms, text);
    printf("%.*s", (int)len, text);
}

static void print_json(const struct forecast_result *r)
{
    printf("{\"model\":\"%s\",\"season_steps\":%d,\"values\":%d", r->model,
           r->report != NULL ? r->report->season : r->series->season, r->series->n);
    if (r->report != NULL) {
        printf(",\"beats_naive\":%s,\"points\":[", r->report->beats_naive ? "true" : "false");
        for (int p = 0; p < r->report->point_count; p++) {
            printf(p > 0 ? ",{" : "{");
            forecast_print_point(&r->report->point[p]);
            printf("}");
        }
        printf("]");
    }
    printf(",\"items\":[");
    for (int i = 0; i < r->h; i++) {
        printf(i > 0 ? ",{\"timestamp\":\"" : "{\"timestamp\":\"");
        print_time(r, i);
        printf("\"");
        for (int j = 0; j < r->count; j++) {
            printf(",\"q%g\":%.10g", r->q[j], r->out[(long)i * r->count + j]);
        }
        printf("}");
    }
    printf("]}\n");
}

static void print_csv(const struct forecast_result *r)
{
    printf("timestamp");
    for (int j = 0; j < r->count; j++) {
        printf(",q%g", r->q[j]);
    }
    for (int i = 0; i < r->h; i++) {
        printf("\n");
        print_time(r, i);
        for (int j = 0; j < r->count; j++) {
            printf(",%.10g", r->out[(long)i * r->count + j]);
        }
    }
    printf("\n");
}

static void print_table(const struct forecast_result *r)
{
    char name[32];
    printf("%-24s", "timestamp");
    for (int j = 0; j < r->count; j++) {
        IGNORE_RESULT(snprintf(name, sizeof name, "q%g", r->q[j])); /* fits */
        printf(" %12s", name);
    }
    for (int i = 0; i < r->h; i++) {
        char text[TIME_TEXT_MAX];
        int32_t len = time_write_rfc3339(r->end_ms + (i + 1) * r->step_ms, text);
        printf("\n%-24.*s", (int)len, text);
        for (int j = 0; j < r->count; j++) {
            printf(" %12.6g", r->out[(long)i * r->count + j]);
        }
    }
    printf("\n");
}

void forecast_print(const struct forecast_result *result, const char *format)
{
    if (strcmp(format, "json") == 0) {
        print_json(result);
    } else if (strcmp(format, "csv") == 0) {
        print_csv(result);
    } else {
        print_table(result);
    }
}

/* Results of writing to standard error are of no use to anybody. */
#define TELL(...) IGNORE_RESULT(fprintf(stderr, __VA_ARGS__))

void forecast_tell(const struct forecast_result *result)
{
    const struct online_report *report = result->report;
    const struct online_point *last = &report->point[report->point_count - 1];
    if (last->basis == ONLINE_FEW_SAMPLES || last->basis == ONLINE_NOTHING) {
        int known = result->series->n - report->missing;
        if (known < ONLINE_FEW) {
            TELL("shadowcast: %d values are too few for a model (%d are the least)", known,
                 ONLINE_FEW);
        } else {
            TELL("shadowcast: no model can be fitted to these %d values", known);
        }
        TELL(": the last value, with the errors that repeating it had\n");
        return;
    }
    TELL("shadowcast: season of %d steps%s\n", report->season,
         report->beats_naive ? "" : "; no model beats the naive one");
    for (int p = 0; p < report->point_count; p++) {
        const struct online_point *point = &report->point[p];
        if (point->basis == ONLINE_MEDIAN) {
            TELL("  %4d ahead: median of %d models", point->steps, point->members);
        } else {
            TELL("  %4d ahead: %s", point->steps, model_at(point));
        }
        if (point->matured > 0) {
            TELL(", error %.4g over the last %d forecasts, naive %.4g", point->error,
                 point->matured, point->error_naive);
        }
        TELL("\n");
    }
}
