// SPDX-License-Identifier: Apache-2.0
#include "app/rows.h"

#include <jansson.h>

#include "base/check.h"

enum { CELL_MAX = 512, COLUMNS_MAX = 64 };

static bool ends_with(const char *name, const char *end)
{
    return str_ends_with(str_of(name), str_of(end));
}

/* Bytes as people say them: 1.5 MiB. */
static void put_bytes(char cell[CELL_MAX], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024.0 && unit < 4) {
        bytes /= 1024.0;
        unit++;
    }
    IGNORE_RESULT(
        snprintf(cell, CELL_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit])); /* fits */
}

/* A value as text. For people (`pretty`): units, short numbers, '-' for unknown. */
static void put_cell(char cell[CELL_MAX], const struct field *field, const json_t *value,
                     bool pretty)
{
    cell[0] = 0;
    if (value == NULL || json_is_null(value)) {
        IGNORE_RESULT(snprintf(cell, CELL_MAX, "%s", pretty ? "-" : "")); /* fits */
    } else if (json_is_string(value)) {
        IGNORE_RESULT(snprintf(cell, CELL_MAX, "%s", json_string_value(value))); /* cut is fine */
    } else if (json_is_boolean(value)) {
        IGNORE_RESULT(snprintf(cell, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no"));
    } else if (pretty && ends_with(field->name, "_bytes")) {
        put_bytes(cell, json_number_value(value));
    } else if (pretty && ends_with(field->name, "_ratio")) {
        IGNORE_RESULT(snprintf(cell, CELL_MAX, "%.1f %%", 100.0 * json_number_value(value)));
    } else if (json_is_integer(value)) {
        IGNORE_RESULT(snprintf(cell, CELL_MAX, "%lld", (long long)json_integer_value(value)));
    } else {
        IGNORE_RESULT(
            snprintf(cell, CELL_MAX, pretty ? "%.4g" : "%.17g", json_number_value(value)));
    }
}

static size_t columns_of(const struct entity *entity, bool all,
                         const struct field *ret[COLUMNS_MAX])
{
    size_t count = 0;
    for (int i = 0; i < entity->field_count && count < COLUMNS_MAX; i++) {
        if (all || entity->fields[i].shown == SHOWN_TABLE) {
            ret[count++] = &entity->fields[i];
        }
    }
    return count;
}

/* Terminal columns of UTF-8 text, near enough: one for each code point. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != 0; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static const char *heading(const struct field *field, char buf[CELL_MAX])
{
    size_t i = 0;
    for (; field->name[i] != 0 && i < CELL_MAX - 1; i++) {
        char c = field->name[i];
        buf[i] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c == '_' ? ' ' : c);
    }
    buf[i] = 0;
    return buf;
}

static void print_padded(FILE *to, const char *text, int width, bool right, bool last)
{
    int pad = width - width_of(text);
    if (right) {
        IGNORE_RESULT(fprintf(to, "%*s%s", pad, "", text)); /* main() judges stdout */
    } else {
        IGNORE_RESULT(fprintf(to, "%s%*s", text, last ? 0 : pad, ""));
    }
    IGNORE_RESULT(fputs(last ? "\n" : "  ", to));
}

static void print_table(FILE *to, const struct entity *entity, const json_t *items)
{
    const struct field *columns[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    char cell[CELL_MAX];
    size_t count = columns_of(entity, false, columns);
    for (size_t c = 0; c < count; c++) {
        widths[c] = width_of(heading(columns[c], cell));
        for (size_t r = 0; r < json_array_size(items); r++) {
            put_cell(cell, columns[c], json_object_get(json_array_get(items, r), columns[c]->name),
                     true);
            widths[c] = width_of(cell) > widths[c] ? width_of(cell) : widths[c];
        }
    }
    for (size_t c = 0; c < count; c++) {
        bool right = columns[c]->type == FIELD_I64 || columns[c]->type == FIELD_F64;
        print_padded(to, heading(columns[c], cell), widths[c], right, c + 1 == count);
    }
    for (size_t r = 0; r < json_array_size(items); r++) {
        for (size_t c = 0; c < count; c++) {
            bool right = columns[c]->type == FIELD_I64 || columns[c]->type == FIELD_F64;
            put_cell(cell, columns[c], json_object_get(json_array_get(items, r), columns[c]->name),
                     true);
            print_padded(to, cell, widths[c], right, c + 1 == count);
        }
    }
}

/* RFC 4180: quotes where needed. */
static void print_csv_cell(const char *text, bool last)
{
    if (strpbrk(text, ",\"\n\r") == NULL) {
        IGNORE_RESULT(fputs(text, stdout)); /* main() judges stdout */
    } else {
        IGNORE_RESULT(fputc('"', stdout));
        for (; *text != 0; text++) {
            IGNORE_RESULT(fputs(*text == '"' ? "\"\"" : (char[]){*text, 0}, stdout));
        }
        IGNORE_RESULT(fputc('"', stdout));
    }
    IGNORE_RESULT(fputc(last ? '\n' : ',', stdout));
}

static void print_csv(const struct entity *entity, const json_t *items)
{
    const struct field *columns[COLUMNS_MAX];
    char cell[CELL_MAX];
    size_t count = columns_of(entity, true, columns);
    for (size_t c = 0; c < count; c++) {
        print_csv_cell(columns[c]->name, c + 1 == count);
    }
    for (size_t r = 0; r < json_array_size(items); r++) {
        for (size_t c = 0; c < count; c++) {
            put_cell(cell, columns[c], json_object_get(json_array_get(items, r), columns[c]->name),
                     false);
            print_csv_cell(cell, c + 1 == count);
        }
    }
}

/* The rows of an answer as an array, a new reference; NULL if it is no such JSON. */
static json_t *items_of(struct str answer, struct err_info *info)
{
    json_t *root = json_loadb(answer.ptr, (size_t)answer.len, 0, NULL);
    json_t *items = json_incref(json_object_get(root, "items"));
    if (items == NULL && json_is_object(root)) {
        items = json_array();
        CHECK(json_array_append(items, root) == 0);
    }
    json_decref(root);
    if (!json_is_array(items)) {
        IGNORE_RESULT(err_set(
            info, ERR_PARSE, "the answer is not what this version understands")); /* told by NULL */
        json_decref(items);
        return NULL;
    }
    return items;
}

enum err rows_print_table(FILE *to, const struct entity *entity, struct str answer,
                          struct err_info *info)
{
    json_t *items = items_of(answer, info);
    if (items == NULL) {
        return ERR_PARSE;
    }
    print_table(to, entity, items);
    json_decref(items);
    return ERR_OK;
}

enum err rows_print(const struct cli *cli, const struct entity *entity, struct str answer,
                    struct err_info *info)
{
    const char *format = cli_text(cli, "output");
    if (strcmp(format, "json") == 0) {
        IGNORE_RESULT(fwrite(answer.ptr, 1, (size_t)answer.len, stdout)); /* main() judges stdout */
        return ERR_OK;
    }
    if (strcmp(format, "table") == 0) {
        return rows_print_table(stdout, entity, answer, info);
    }
    json_t *items = items_of(answer, info);
    if (items == NULL) {
        return ERR_PARSE;
    }
    print_csv(entity, items);
    json_decref(items);
    return ERR_OK;
}
