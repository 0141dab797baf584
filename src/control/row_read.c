// SPDX-License-Identifier: Apache-2.0
#include "control/row_read.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/check.h"

static const struct entity *entity_named(const char *name)
{
    for (int i = 0; name != NULL && entities[i] != NULL; i++) {
        if (strcmp(entities[i]->name, name) == 0) {
            return entities[i];
        }
    }
    return NULL;
}

static void put_unknown(const struct field *field, void *to)
{
    if (field->type == FIELD_TEXT) {
        *(struct str *)to = STR("");
    } else if (field->type == FIELD_F64) {
        *(double *)to = (double)NAN;
    } else if (field->type == FIELD_I64) {
        *(int64_t *)to = FIELD_I64_UNKNOWN;
    } else {
        *(bool *)to = false;
    }
}

static void put_value(const struct field *field, void *to, const json_t *value, struct arena *arena)
{
    if (field->type == FIELD_TEXT && json_is_string(value)) {
        ptrdiff_t len = (ptrdiff_t)json_string_length(value);
        *(struct str *)to = (struct str){arena_dup(arena, json_string_value(value), len), len};
    } else if (field->type == FIELD_F64 && json_is_number(value)) {
        *(double *)to = json_number_value(value);
    } else if (field->type == FIELD_I64 && json_is_integer(value)) {
        *(int64_t *)to = json_integer_value(value);
    } else if (field->type == FIELD_BOOL && json_is_boolean(value)) {
        *(bool *)to = json_is_true(value);
    }
}

static void read_row(const struct entity *entity, const json_t *fields, const json_t *row, char *to,
                     struct arena *arena)
{
    for (int f = 0; f < entity->field_count; f++) {
        const struct field *field = &entity->fields[f];
        put_unknown(field, to + field->offset);
        for (size_t i = 0; i < json_array_size(fields); i++) {
            const char *name = json_string_value(json_array_get(fields, i));
            if (name != NULL && strcmp(name, field->name) == 0) {
                put_value(field, to + field->offset, json_array_get(row, i), arena);
            }
        }
    }
}

enum err rows_read(struct str value, struct arena *arena, struct control_rows *ret_rows)
{
    json_t *root = json_loadb(value.ptr, (size_t)value.len, JSON_REJECT_DUPLICATES, NULL);
    const struct entity *entity = entity_named(json_string_value(json_object_get(root, "entity")));
    const json_t *fields = json_object_get(root, "fields");
    const json_t *rows = json_object_get(root, "rows");
    size_t count = json_array_size(rows);
    if (entity == NULL || count > ROWS_READ_MAX) {
        json_decref(root);
        return ERR_CORRUPT;
    }
    char *all = arena_new(arena, (ptrdiff_t)count, (ptrdiff_t)entity->row_bytes);
    for (size_t i = 0; i < count; i++) {
        read_row(entity, fields, json_array_get(rows, i), all + i * entity->row_bytes, arena);
    }
    json_decref(root);
    *ret_rows = (struct control_rows){.entity = entity, .rows = all, .count = (int32_t)count};
    return ERR_OK;
}
