// SPDX-License-Identifier: Apache-2.0
// Tables of lookups: rows in one block, found by an open table of offsets.

#include "pipeline/lookup_table.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "pipeline/json.h"

static_assert((int)LOOKUP_PADDING >= (int)JSON_PADDING, "rows are read by the JSON reader");

/* A row in a block: key, then value. */
struct lookup_row {
    uint64_t hash;
    int64_t offset; /* of the key in the block; < 0: removed, or an empty slot */
    uint32_t key_len;
    uint32_t value_len;
};

/* Open addressing, linear probing; at most three quarters full. Removed rows keep their slot and key. */
struct row_map {
    struct lookup_row *slots;
    int64_t mask; /* -1: no slots */
    int64_t used; /* slots with a row or a removed one */
};

struct lookup_builder {
    struct row_map map;
    int64_t count; /* rows that are there */
    char *block;
    int64_t block_len, block_cap;
    int64_t dead_bytes; /* of the block: replaced and removed rows */
};

struct lookup_table {
    atomic_int_fast64_t refs;
    struct row_map map;
    int64_t count;
    int64_t block_len;
    char *block;
};

enum { REMOVED = -2, EMPTY = -1, SLOTS_MIN = 16 };

static void map_alloc(struct row_map *map, int64_t slots)
{
    map->slots = MEM_NEW_ARRAY(struct lookup_row, slots);
    map->mask = slots - 1;
    map->used = 0;
    for (int64_t i = 0; i < slots; i++) {
        map->slots[i].offset = EMPTY;
    }
}

/* The key's slot, or the empty one where it would go. */
static struct lookup_row *map_slot(const struct row_map *map, const char *block, uint64_t hash,
                                   struct str key)
{
    for (int64_t place = (int64_t)(hash & (uint64_t)map->mask);; place = (place + 1) & map->mask) {
        struct lookup_row *row = &map->slots[place];
        if (row->offset == EMPTY) {
            return row;
        }
        if (row->offset >= 0 && row->hash == hash &&
            str_equal((struct str){.ptr = block + row->offset, .len = row->key_len}, key)) {
            return row;
        }
    }
}

/* Puts a row into a map in which its key is not. */
static void map_insert(struct row_map *map, struct lookup_row row)
{
    int64_t place = (int64_t)(row.hash & (uint64_t)map->mask);
    while (map->slots[place].offset != EMPTY) {
        place = (place + 1) & map->mask;
    }
    map->slots[place] = row;
    map->used++;
}

static int64_t slots_for(int64_t rows)
{
    int64_t slots = SLOTS_MIN;
    while (slots * 3 / 4 <= rows) {
        slots *= 2;
    }
    return slots;
}

/* Copies the rows that are there into a block and map of the least size. */
static void rows_pack(const struct row_map *from, const char *from_block, int64_t count,
                      struct row_map *to, char *to_block, int64_t *ret_len)
{
    map_alloc(to, slots_for(count));
    int64_t len = 0;
    for (int64_t i = 0; i <= from->mask; i++) {
        struct lookup_row row = from->slots[i];
        if (row.offset < 0) {
            continue;
        }
        int64_t bytes = (int64_t)row.key_len + row.value_len;
        memcpy(to_block + len, from_block + row.offset, (size_t)bytes);
        row.offset = len;
        len += bytes;
        map_insert(to, row);
    }
    *ret_len = len;
}

struct lookup_builder *lookup_builder_new(void)
{
    struct lookup_builder *builder = MEM_NEW(struct lookup_builder);
    map_alloc(&builder->map, SLOTS_MIN);
    return builder;
}

void lookup_builder_free(struct lookup_builder *builder)
{
    if (builder != NULL) {
        mem_free(builder->map.slots);
        mem_free(builder->block);
        mem_free(builder);
    }
}

int64_t lookup_builder_count(const struct lookup_builder *builder)
{
    return builder->count;
}

/* Gives back what replaced and removed rows hold, and makes room for more. */
static void builder_repack(struct lookup_builder *builder)
{
    struct row_map map;
    int64_t cap = builder->block_cap;
    char *block = mem_resize(NULL, cap > 0 ? cap : 1, 1);
    int64_t len;
    rows_pack(&builder->map, builder->block, builder->count * 2, &map, block, &len);
    mem_free(builder->map.slots);
    mem_free(builder->block);
    builder->map = map;
    builder->block = block;
    builder->block_len = len;
    builder->dead_bytes = 0;
}

static void builder_reserve(struct lookup_builder *builder, int64_t bytes)
{
    if (builder->dead_bytes > builder->block_len / 2 && builder->dead_bytes > 4096) {
        builder_repack(builder);
    }
    int64_t wanted = builder->block_len + bytes;
    if (wanted > builder->block_cap) {
        int64_t cap = builder->block_cap < 4096 ? 4096 : builder->block_cap;
        while (cap < wanted) {
            cap *= 2;
        }
        builder->block = mem_resize(builder->block, cap, 1);
        builder->block_cap = cap;
    }
    if ((builder->map.used + 1) * 4 > (builder->map.mask + 1) * 3) {
        builder_repack(builder);
    }
}

enum err lookup_builder_put(struct lookup_builder *builder, struct str key, struct str value,
                            struct err_info *info)
{
    if (key.len > LOOKUP_KEY_MAX || value.len > LOOKUP_ROW_MAX) {
        return err_set(info, ERR_LIMIT, "a lookup row with a key of %td and a value of %td bytes",
                       key.len, value.len);
    }
    builder_reserve(builder, key.len + value.len);
    uint64_t hash = hash64(key.ptr, key.len);
    struct lookup_row *row = map_slot(&builder->map, builder->block, hash, key);
    if (row->offset < 0 && value.ptr != NULL && builder->count >= LOOKUP_ROWS_MAX) {
        return err_set(info, ERR_LIMIT, "a lookup table has at most %d rows", LOOKUP_ROWS_MAX);
    }
    if (row->offset >= 0) {
        builder->dead_bytes += (int64_t)row->key_len + row->value_len;
        builder->count--;
        row->offset = REMOVED;
    } else if (value.ptr == NULL) {
        return ERR_OK;
    } else {
        builder->map.used++;
    }
    if (value.ptr == NULL) {
        return ERR_OK;
    }
    *row = (struct lookup_row){.hash = hash,
                               .offset = builder->block_len,
                               .key_len = (uint32_t)key.len,
                               .value_len = (uint32_t)value.len};
    if (key.len != 0) {
        memcpy(builder->block + builder->block_len, key.ptr, (size_t)key.len);
    }
    if (value.len != 0) {
        memcpy(builder->block + builder->block_len + key.len, value.ptr, (size_t)value.len);
    }
    builder->block_len += key.len + value.len;
    builder->count++;
    return ERR_OK;
}

/* --- tables --- */

struct lookup_table *lookup_table_new(const struct lookup_builder *builder)
{
    struct lookup_table *table = MEM_NEW(struct lookup_table);
    atomic_init(&table->refs, 1);
    table->count = builder->count;
    int64_t bytes = builder->block_len - builder->dead_bytes;
    table->block = mem_new(bytes + LOOKUP_PADDING, 1);
    rows_pack(&builder->map, builder->block, builder->count, &table->map, table->block,
              &table->block_len);
    CHECK(table->block_len == bytes);
    return table;
}

struct lookup_table *lookup_table_ref(struct lookup_table *table)
{
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void lookup_table_unref(struct lookup_table *table)
{
    if (table != NULL && atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(table->map.slots);
        mem_free(table->block);
        mem_free(table);
    }
}

struct str lookup_table_find(const struct lookup_table *table, uint64_t hash, struct str key)
{
    const struct lookup_row *row = map_slot(&table->map, table->block, hash, key);
    if (row->offset < 0) {
        return (struct str){0};
    }
    return (struct str){.ptr = table->block + row->offset + row->key_len, .len = row->value_len};
}

int64_t lookup_table_count(const struct lookup_table *table)
{
    return table->count;
}

/* --- files --- */

/* One file being read. */
struct text_reader {
    struct lookup_builder *builder;
    struct str file;
    struct str key_field;
    int64_t line;
    struct err_info *info;
    struct arena arena; /* of one line */
};

static struct str next_line(struct str *rest)
{
    struct str line = str_cut(rest, '\n');
    return str_trim(line);
}

/* Copies a line to where it can be read past its end. */
static struct str padded(struct arena *arena, struct str text)
{
    char *copy = arena_new_raw(arena, text.len + LOOKUP_PADDING, 1);
    if (text.len != 0) {
        memcpy(copy, text.ptr, (size_t)text.len);
    }
    memset(copy + text.len, 0, LOOKUP_PADDING);
    return (struct str){.ptr = copy, .len = text.len};
}

/* The key of a JSON row: a string, or an integer. */
static enum err json_key(struct text_reader *reader, struct json_reader *json, struct str row,
                         struct str *ret_key)
{
    struct json_shape *shape = ARENA_NEW(&reader->arena, struct json_shape);
    shape->count = 2;
    shape->nodes[0] = (struct json_shape_node){.child_first = 1, .child_count = 1};
    shape->nodes[1] = (struct json_shape_node){
        .key = reader->key_field, .type = VALUE_STR, .wrong_type = "key is no string"};
    int32_t sel = 0;
    uint8_t null = 0;
    struct str text = {0};
    const char *reason;
    struct column column = {.type = VALUE_STR, .data = &text, .null = &null};
    int32_t bad =
        json_read_rows(json, shape, true, &row, &sel, 1, &column, &reader->arena, &reason);
    if (bad == 0 && null == 0) {
        *ret_key = text;
        return ERR_OK;
    }
    int64_t number = 0;
    if (bad != 0 && reason == shape->nodes[1].wrong_type) {
        shape->nodes[1].type = VALUE_I64;
        shape->nodes[1].wrong_type = "the key is neither a string nor an integer";
        column = (struct column){.type = VALUE_I64, .data = &number, .null = &null};
        bad = json_read_rows(json, shape, true, &row, &sel, 1, &column, &reader->arena, &reason);
    }
    if (bad != 0 || null != 0) {
        return err_set(reader->info, ERR_PARSE, "%.*s:%lld: %s", STR_ARG(reader->file),
                       (long long)reader->line, bad != 0 ? reason : "the key field is missing");
    }
    *ret_key = str_of(arena_printf(&reader->arena, "%lld", (long long)number));
    return ERR_OK;
}

static enum err add_json(struct text_reader *reader, struct str text)
{
    struct json_reader *json = json_reader_new();
    enum err err = ERR_OK;
    for (struct str rest = text; err == ERR_OK && rest.len > 0;) {
        reader->line++;
        struct str line = next_line(&rest);
        if (line.len == 0) {
            continue;
        }
        if (line.len > LOOKUP_ROW_MAX) {
            err = err_set(reader->info, ERR_LIMIT, "%.*s:%lld: a row has at most %d bytes",
                          STR_ARG(reader->file), (long long)reader->line, LOOKUP_ROW_MAX);
            break;
        }
        arena_reset(&reader->arena);
        struct str row = padded(&reader->arena, line);
        struct str key = {0};
        err = json_key(reader, json, row, &key);
        if (err == ERR_OK) {
            err = lookup_builder_put(reader->builder, key, row, reader->info);
        }
    }
    json_reader_free(json);
    return err;
}

enum { CSV_FIELDS_MAX = 256 };

/* Cuts one CSV line (RFC 4180, no line breaks inside quotes) into fields, unquoted in place. Returns how many, or -1. */
static int32_t csv_cut(char *line, ptrdiff_t len, struct str *ret_fields)
{
    int32_t count = 0;
    ptrdiff_t at = 0;
    for (;;) {
        if (count == CSV_FIELDS_MAX) {
            return -1;
        }
        if (at < len && line[at] == '"') {
            ptrdiff_t out = ++at;
            ptrdiff_t first = out;
            while (at < len && (line[at] != '"' || (at + 1 < len && line[at + 1] == '"'))) {
                at += line[at] == '"';
                line[out++] = line[at++];
            }
            if (at >= len || (at + 1 < len && line[at + 1] != ',')) {
                return -1;
            }
            at++;
            ret_fields[count++] = (struct str){.ptr = line + first, .len = out - first};
        } else {
            ptrdiff_t first = at;
            while (at < len && line[at] != ',') {
                at++;
            }
            ret_fields[count++] = (struct str){.ptr = line + first, .len = at - first};
        }
        if (at >= len) {
            return count;
        }
        at++; // the comma
    }
}

static char *put_json_string(char *out, struct str text)
{
    static const char HEX[] = "0123456789abcdef";
    *out++ = '"';
    for (ptrdiff_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = (char)c;
        } else if (c < 0x20) {
            *out++ = '\\';
            *out++ = 'u';
            *out++ = '0';
            *out++ = '0';
            *out++ = HEX[c >> 4];
            *out++ = HEX[c & 15];
        } else {
            *out++ = (char)c;
        }
    }
    *out++ = '"';
    return out;
}

static struct str csv_to_json(struct arena *arena, const struct str *names,
                              const struct str *values, int32_t count)
{
    ptrdiff_t most = 2;
    for (int32_t i = 0; i < count; i++) {
        most += 6 * (names[i].len + values[i].len) + 6;
    }
    char *text = arena_new_raw(arena, most, 1);
    char *out = text;
    *out++ = '{';
    for (int32_t i = 0; i < count; i++) {
        if (i > 0) {
            *out++ = ',';
        }
        out = put_json_string(out, names[i]);
        *out++ = ':';
        out = put_json_string(out, values[i]);
    }
    *out++ = '}';
    return (struct str){.ptr = text, .len = out - text};
}

static enum err csv_fail(struct text_reader *reader, const char *what)
{
    return err_set(reader->info, ERR_PARSE, "%.*s:%lld: %s", STR_ARG(reader->file),
                   (long long)reader->line, what);
}

static enum err add_csv_row(struct text_reader *reader, struct str line, const struct str *names,
                            int32_t name_count, int32_t key_index)
{
    struct str fields[CSV_FIELDS_MAX];
    arena_reset(&reader->arena);
    char *copy = arena_dup(&reader->arena, line.ptr, line.len);
    if (!utf8_valid(line)) {
        return csv_fail(reader, "the row is not UTF-8");
    }
    int32_t count = csv_cut(copy, line.len, fields);
    if (count != name_count) {
        return csv_fail(reader, "the row has not as many fields as the first line");
    }
    CHECK(key_index >= 0 && key_index < count);
    struct str row = csv_to_json(&reader->arena, names, fields, count);
    return lookup_builder_put(reader->builder, fields[key_index], row, reader->info);
}

static enum err add_csv(struct text_reader *reader, struct str text)
{
    struct str names[CSV_FIELDS_MAX];
    struct str rest = text;
    struct str head = next_line(&rest);
    reader->line = 1;
    if (head.len > LOOKUP_ROW_MAX || !utf8_valid(head)) {
        return csv_fail(reader, "the first line, which names the fields, cannot be read");
    }
    char *head_copy = mem_dup(head.ptr, head.len);
    int32_t count = csv_cut(head_copy, head.len, names);
    int32_t key_index = -1;
    for (int32_t i = 0; i < count; i++) {
        key_index = str_equal(names[i], reader->key_field) ? i : key_index;
    }
    enum err err = ERR_OK;
    if (key_index < 0) {
        err = csv_fail(reader, "the first line does not name the key field");
    }
    while (err == ERR_OK && rest.len > 0) {
        reader->line++;
        struct str line = next_line(&rest);
        if (line.len > LOOKUP_ROW_MAX) {
            err = csv_fail(reader, "the row is too long");
        } else if (line.len != 0) {
            err = add_csv_row(reader, line, names, count, key_index);
        }
    }
    mem_free(head_copy);
    return err;
}

enum err lookup_builder_add_text(struct lookup_builder *builder, struct str file, struct str format,
                                 struct str key_field, struct str text, struct err_info *info)
{
    if (text.len > LOOKUP_TEXT_MAX) {
        return err_set(info, ERR_LIMIT, "%.*s: a lookup file has at most %d bytes", STR_ARG(file),
                       LOOKUP_TEXT_MAX);
    }
    struct text_reader reader = {
        .builder = builder, .file = file, .key_field = key_field, .info = info};
    arena_init(&reader.arena, (ptrdiff_t)64 << 20);
    enum err err = str_is(format, "csv") ? add_csv(&reader, text) : add_json(&reader, text);
    arena_release(&reader.arena);
    return err;
}
