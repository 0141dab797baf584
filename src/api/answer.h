// SPDX-License-Identifier: Apache-2.0
#ifndef API_ANSWER_H
#define API_ANSWER_H

#include "api/guard.h"
#include "api/routes.h"
#include "control/text.h"

/* Answers as text: rows as JSON, figures as metrics, errors as RFC 9457 problems, the OpenAPI document. Pure. */

/* An answer to a failed call. */
struct problem {
    int code;   /* the stable one: 1203 is written SC1203 */
    int status; /* HTTP */
    const char *title;
    const char *detail;  /* may be NULL */
    const char *pointer; /* what is wrong, "/query/limit"; NULL or empty: nothing in particular */
    const char *request_id; /* may be NULL */
    int64_t operation;      /* that stands in the way; 0: none */
    struct str differences; /* why, a line each; may be empty */
};

/* The codes of errors: SC1000 + a number that never changes. */
struct problem problem_of(enum err err);
struct problem problem_of_guard(enum guard_verdict verdict);

/* Codes that belong to HTTP alone. */
enum {
    PROBLEM_METHOD = 2100,
    PROBLEM_RATE = 2101,
    PROBLEM_BODY_MEDIA = 2102,
    PROBLEM_BODY_SHORT = 2103
};

void answer_problem(struct text *text, const struct problem *problem);

/* {"items": [...]} */
void answer_list(struct text *text, const struct control_rows *rows);

/* A row, and lists of rows as members named for their entity: {..., "key_groups": [...]}; ended by a NULL entity. */
void answer_detail(struct text *text, const struct control_rows *rows);

/* {"ok": ..., "checks": [...]} */
void answer_checks(struct text *text, const struct control_rows *rows);

/* Prometheus text (version 0.0.4): every GAUGE and COUNTER of the rows' tables, LABELs as labels. Rows of partitions
 * are left out when there are more than ANSWER_PARTITIONS_MAX, as their series would be too many. */
enum { ANSWER_PARTITIONS_MAX = 1000 };
void answer_metrics(struct text *text, const struct control_rows *figures, const char *version);

/* OpenAPI 3.1, from the table of routes and the field tables. */
void answer_openapi(struct text *text, const char *version);

/* The table of routes as Markdown; stands in docs/api.md. */
void answer_route_table(struct text *text);
/* The table of problem codes, the same way. */
void answer_problem_table(struct text *text);

#endif
