// SPDX-License-Identifier: Apache-2.0
#include "api/answer.h"

#include <stdio.h>

#include "base/check.h"

/* Stable: a number is never given to another error. */
static const int err_codes[ERR_COUNT] = {
    [ERR_OK] = 1000,
    [ERR_INVALID] = 1001,
    [ERR_PARSE] = 1002,
    [ERR_TYPE] = 1003,
    [ERR_LIMIT] = 1004,
    [ERR_UNSUPPORTED] = 1005,
    [ERR_OFFSET_RANGE] = 1006,
    [ERR_NOT_FOUND] = 1101,
    [ERR_EXISTS] = 1102,
    [ERR_CONFLICT] = 1103,
    [ERR_PRECONDITION] = 1104,
    [ERR_SEQUENCE] = 1105,
    [ERR_FENCED] = 1106,
    [ERR_CLOSED] = 1107,
    [ERR_CANCELLED] = 1108,
    [ERR_UNAUTHENTICATED] = 1201,
    [ERR_DENIED] = 1202,
    [ERR_AGAIN] = 1301,
    [ERR_BUSY] = 1302,
    [ERR_TIMEOUT] = 1303,
    [ERR_UNAVAILABLE] = 1304,
    [ERR_NO_SPACE] = 1305,
    [ERR_IO] = 1401,
    [ERR_CORRUPT] = 1402,
    [ERR_NEEDS_OPERATOR] = 1403,
    [ERR_INTERNAL] = 1404,
};

struct problem problem_of(enum err err)
{
    CHECK((unsigned)err < ERR_COUNT && err_codes[err] != 0);
    return (struct problem){
        .code = err_codes[err], .status = err_http_status(err), .title = err_text(err)};
}

struct problem problem_of_guard(enum guard_verdict verdict)
{
    return (struct problem){.code = 2000 + (int)verdict,
                            .status = guard_status(verdict),
                            .title = "request refused",
                            .detail = guard_text(verdict)};
}

void answer_problem(struct text *text, const struct problem *problem)
{
    text_printf(text, "{\"type\":\"urn:shadowcast:problem:SC%d\",\"title\":", problem->code);
    text_json_str(text, str_of(problem->title));
    text_printf(text, ",\"status\":%d,\"code\":\"SC%d\"", problem->status, problem->code);
    if (problem->detail != NULL && problem->detail[0] != 0) {
        text_add(text, STR(",\"detail\":"));
        text_json_str(text, str_of(problem->detail));
    }
    if (problem->request_id != NULL && problem->request_id[0] != 0) {
        text_add(text, STR(",\"instance\":"));
        text_printf(text, "\"urn:shadowcast:request:%s\"", problem->request_id);
    }
    if (problem->operation != 0) {
        text_printf(text, ",\"operation\":%lld", (long long)problem->operation);
    }
    if (problem->differences.len > 0) {
        struct str rest = problem->differences;
        text_add(text, STR(",\"differences\":["));
        for (bool first = true; rest.ptr != NULL && rest.len > 0; first = false) {
            text_add(text, first ? STR("") : STR(","));
            text_json_str(text, str_cut(&rest, '\n'));
        }
        text_add(text, STR("]"));
    }
    if (problem->pointer != NULL && problem->pointer[0] != 0) {
        text_add(text, STR(",\"errors\":[{\"pointer\":"));
        text_json_str(text, str_of(problem->pointer));
        text_printf(text, ",\"code\":\"SC%d\",\"hint\":", problem->code);
        text_json_str(text, str_of(problem->detail != NULL ? problem->detail : problem->title));
        text_add(text, STR("}]"));
    }
    text_add(text, STR("}\n"));
}

static const void *row_at(const struct control_rows *rows, int32_t index)
{
    return (const char *)rows->rows + (size_t)index * rows->entity->row_bytes;
}

static void add_rows(struct text *text, const struct control_rows *rows)
{
    text_add(text, STR("["));
    for (int32_t i = 0; i < rows->count; i++) {
        text_add(text, i > 0 ? STR(",\n") : STR("\n"));
        text_json_row(text, rows->entity, row_at(rows, i));
    }
    text_add(text, STR("]"));
}

void answer_list(struct text *text, const struct control_rows *rows)
{
    text_add(text, STR("{\"items\":"));
    add_rows(text, rows);
    text_add(text, STR("}\n"));
}

void answer_detail(struct text *text, const struct control_rows *rows)
{
    CHECK(rows[0].count == 1);
    text_json_row(text, rows[0].entity, rows[0].rows);
    if (text->cut) {
        return;
    }
    CHECK(text->len > 0 && text->ptr[text->len - 1] == '}');
    text->len--;
    for (int i = 1; rows[i].entity != NULL; i++) {
        text_printf(text, ",\n\"%ss\":", rows[i].entity->name);
        add_rows(text, &rows[i]);
    }
    text_add(text, STR("}\n"));
}

void answer_checks(struct text *text, const struct control_rows *rows)
{
    bool ok = true;
    CHECK(rows->entity == &check_entity);
    for (int32_t i = 0; i < rows->count; i++) {
        ok = ok && ((const struct check_row *)rows->rows)[i].ok;
    }
    text_printf(text, "{\"ok\":%s,\"checks\":", ok ? "true" : "false");
    add_rows(text, rows);
    text_add(text, STR("}\n"));
}

/* --- metrics --- */

static void add_label_value(struct text *text, const struct field *field, const void *row)
{
    if (field->type == FIELD_I64) {
        text_printf(text, "\"%lld\"", (long long)field_i64(field, row));
        return;
    }
    struct str value = field_text(field, row);
    text_add(text, STR("\""));
    for (ptrdiff_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"') {
            text_printf(text, "\\%c", c);
        } else if (c == '\n') {
            text_add(text, STR("\\n"));
        } else {
            text_add(text, (struct str){&c, 1});
        }
    }
    text_add(text, STR("\""));
}

static void add_labels(struct text *text, const struct entity *entity, const void *row)
{
    bool any = false;
    for (int i = 0; i < entity->field_count; i++) {
        const struct field *field = &entity->fields[i];
        if (field->metric == METRIC_LABEL && field_known(field, row)) {
            /* `name` alone says nothing among other labels. */
            bool bare = strcmp(field->name, "name") == 0;
            text_printf(text, "%s%s=", any ? "," : "{", bare ? entity->name : field->name);
            add_label_value(text, field, row);
            any = true;
        }
    }
    text_add(text, any ? STR("}") : STR(""));
}

static void add_metric(struct text *text, const struct control_rows *rows,
                       const struct field *field)
{
    bool counter = field->metric == METRIC_COUNTER;
    bool headed = false;
    for (int32_t i = 0; i < rows->count; i++) {
        const void *row = row_at(rows, i);
        if (!field_known(field, row)) {
            continue;
        }
        char name[128];
        IGNORE_RESULT(snprintf(name, sizeof(name), "shadowcast_%s_%s%s", rows->entity->name,
                               field->name, counter ? "_total" : "")); /* fits: our own names */
        if (!headed) {
            text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, field->help, name,
                        counter ? "counter" : "gauge");
            headed = true;
        }
        text_add(text, str_of(name));
        add_labels(text, rows->entity, row);
        text_add(text, STR(" "));
        text_json_f64(text, field_f64(field, row));
        text_add(text, STR("\n"));
    }
}

void answer_metrics(struct text *text, const struct control_rows *figures, const char *version)
{
    text_printf(text,
                "# HELP shadowcast_build_info The program that runs\n"
                "# TYPE shadowcast_build_info gauge\n"
                "shadowcast_build_info{version=\"%s\"} 1\n",
                version);
    for (int i = 0; i < CONTROL_FIGURES_MAX && figures[i].entity != NULL; i++) {
        const struct entity *entity = figures[i].entity;
        if (entity == &partition_entity && figures[i].count > ANSWER_PARTITIONS_MAX) {
            continue;
        }
        for (int f = 0; f < entity->field_count; f++) {
            if (entity->fields[f].metric == METRIC_GAUGE ||
                entity->fields[f].metric == METRIC_COUNTER) {
                add_metric(text, &figures[i], &entity->fields[f]);
            }
        }
    }
}
