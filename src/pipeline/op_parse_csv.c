// SPDX-License-Identifier: Apache-2.0
/* One CSV line (RFC 4180: fields in quotes may hold delimiters, line ends and doubled quotes) into typed columns. */
#include "pipeline/number.h"
#include "pipeline/op_parse.h"
#include "pipeline/time_text.h"

static const char *const not_closed = "csv: a quote is not closed";
static const char *const behind_quote = "csv: something stands behind a closing quote";

/* One field cut from the line. */
struct cell {
    struct str text;
    bool quoted, doubled; /* doubled: "" inside stands for one */
};

static const char *cut_quoted(struct str *rest, char delimiter, struct cell *ret_cell,
                              bool *ret_last)
{
    const char *p = rest->ptr + 1;
    const char *end = rest->ptr + rest->len;
    bool doubled = false;
    for (;; p += 2) {
        p = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
        if (p == NULL) {
            return not_closed;
        }
        if (p + 1 == end || p[1] != '"') {
            break;
        }
        doubled = true;
    }
    *ret_cell = (struct cell){{rest->ptr + 1, p - rest->ptr - 1}, true, doubled};
    *ret_last = p + 1 == end;
    if (!*ret_last && p[1] != delimiter) {
        return behind_quote;
    }
    *rest = (struct str){p + 2, *ret_last ? 0 : end - p - 2};
    return NULL;
}

static const char *cut_cell(struct str *rest, char delimiter, struct cell *ret_cell, bool *ret_last)
{
    if (rest->len > 0 && rest->ptr[0] == '"') {
        return cut_quoted(rest, delimiter, ret_cell, ret_last);
    }
    const char *end = rest->len > 0 ? memchr(rest->ptr, delimiter, (size_t)rest->len) : NULL;
    *ret_last = end == NULL;
    ptrdiff_t len = end != NULL ? end - rest->ptr : rest->len;
    *ret_cell = (struct cell){{rest->ptr, len}, false, false};
    *rest = end != NULL ? (struct str){end + 1, rest->len - len - 1} : (struct str){0};
    return NULL;
}

static struct str undouble(struct str text, struct arena *arena)
{
    char *out = arena_new_raw(arena, text.len + 1, 1);
    ptrdiff_t len = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        out[len++] = text.ptr[i];
        i += text.ptr[i] == '"' ? 1 : 0;
    }
    return (struct str){out, len};
}

static bool read_bool(struct str text, uint8_t *ret_flag)
{
    bool yes = str_is(text, "true") || str_is(text, "1");
    *ret_flag = yes ? 1 : 0;
    return yes || str_is(text, "false") || str_is(text, "0");
}

static bool read_cell(const struct cell *cell, struct column *column, int32_t row,
                      struct arena *arena)
{
    struct str text = cell->doubled ? undouble(cell->text, arena) : cell->text;
    switch (column->type) {
    case VALUE_STR:
        COLUMN_STR(column)[row] = text;
        return true; /* the whole line is UTF-8 */
    case VALUE_I64:
        return i64_read(text, &COLUMN_I64(column)[row]);
    case VALUE_F64:
        return f64_read(text, &COLUMN_F64(column)[row]);
    case VALUE_BOOL:
        return read_bool(text, &COLUMN_BOOL(column)[row]);
    case VALUE_TIME:
        return i64_read(text, &COLUMN_I64(column)[row]) ||
               time_parse_rfc3339(text, &COLUMN_I64(column)[row]);
    case VALUE_TYPE_COUNT:
        break;
    }
    return false;
}

/* Fields in order of their columns; compile() sees to it. */
const char *parse_csv_row(const struct parse_plan *plan, uint64_t used, struct str value,
                          struct column *columns, int32_t row, struct arena *arena)
{
    struct str rest = value;
    while (rest.len > 0 && (rest.ptr[rest.len - 1] == '\n' || rest.ptr[rest.len - 1] == '\r')) {
        rest.len--;
    }
    if (value.ptr == NULL) {
        return "no value";
    }
    if (!utf8_valid(rest)) {
        return "csv: not UTF-8";
    }
    int32_t column = 0;
    bool last = false;
    for (int32_t f = 0; f < plan->field_count; f++) {
        const struct parse_field *field = &plan->fields[f];
        struct cell cell = {0};
        bool found = false;
        for (; !last && column <= field->csv_column; column++) {
            const char *reason = cut_cell(&rest, plan->delimiter, &cell, &last);
            if (reason != NULL) {
                return reason;
            }
            found = column == field->csv_column;
        }
        if (!found && plan->strict) {
            return "csv: too few columns";
        }
        if (!found || (used >> f & 1) == 0 || (cell.text.len == 0 && !cell.quoted)) {
            continue; /* null */
        }
        if (!read_cell(&cell, &columns[f], row, arena)) {
            return field->reason;
        }
        columns[f].null[row] = 0;
    }
    return plan->strict && !last ? "csv: too many columns" : NULL;
}
