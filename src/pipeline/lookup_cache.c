// SPDX-License-Identifier: Apache-2.0
#include "pipeline/lookup_cache.h"

#include "base/check.h"
#include "base/mem.h"

enum {
    TEXT_BYTES_A_ROW = 64, /* expected, to divide the memory between places and texts */
    PLACES_MIN = 16
};

union field {
    int64_t number;
    double real;
    struct str text;
};

struct lookup_cache {
    struct lookup_table *table; /* a reference */
    int32_t field_count;
    enum value_type types[BATCH_COLUMNS_MAX];
    /* By place: which row it holds (NULL: none), its fields, which of them are null. */
    const char **rows;
    union field *fields;
    uint8_t *nulls;
    int shift; /* 64 - log2(places) */
    char *texts;
    ptrdiff_t texts_used, texts_cap;
};

struct lookup_cache *lookup_cache_new(int64_t bytes, const enum value_type *types, int32_t count)
{
    CHECK(bytes >= 0 && bytes <= LOOKUP_CACHE_BYTES_MAX && count <= BATCH_COLUMNS_MAX);
    ptrdiff_t text_bytes = 0;
    for (int32_t i = 0; i < count; i++) {
        text_bytes += types[i] == VALUE_STR ? TEXT_BYTES_A_ROW : 0;
    }
    ptrdiff_t place_bytes =
        (ptrdiff_t)sizeof(char *) + count * ((ptrdiff_t)sizeof(union field) + 1);
    int bits = 0;
    while ((INT64_C(2) << bits) * (place_bytes + text_bytes) <= bytes) {
        bits++;
    }
    ptrdiff_t places = (ptrdiff_t)1 << bits;
    if (places < PLACES_MIN) {
        return NULL;
    }
    struct lookup_cache *cache = MEM_NEW(struct lookup_cache);
    cache->field_count = count;
    memcpy(cache->types, types, (size_t)count * sizeof *types);
    cache->rows = (const char **)mem_new(places, sizeof(char *));
    cache->fields = MEM_NEW_ARRAY(union field, places * count);
    cache->nulls = MEM_NEW_ARRAY(uint8_t, places * count);
    cache->shift = 64 - bits;
    cache->texts_cap = text_bytes > 0 ? bytes - places * place_bytes : 0;
    cache->texts = mem_new(cache->texts_cap + 1, 1);
    return cache;
}

void lookup_cache_free(struct lookup_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    lookup_table_unref(cache->table);
    mem_free((void *)cache->rows);
    mem_free(cache->fields);
    mem_free(cache->nulls);
    mem_free(cache->texts);
    mem_free(cache);
}

static void forget_all(struct lookup_cache *cache)
{
    memset((void *)cache->rows, 0, sizeof(char *) << (64 - cache->shift));
    cache->texts_used = 0;
}

void lookup_cache_of(struct lookup_cache *cache, struct lookup_table *table)
{
    if (cache == NULL || cache->table == table) {
        return;
    }
    lookup_table_unref(cache->table);
    cache->table = lookup_table_ref(table);
    forget_all(cache);
}

/* A row's text stands where it stands as long as its table lives, so its address is its name. */
static size_t place_of(const struct lookup_cache *cache, const char *row)
{
    return (size_t)(((uint64_t)(uintptr_t)row * 0x9e3779b97f4a7c15u) >> cache->shift);
}

bool lookup_cache_get(struct lookup_cache *cache, struct str text, struct column *to, int32_t row,
                      struct arena *arena)
{
    if (cache == NULL) {
        return false;
    }
    size_t place = place_of(cache, text.ptr);
    if (cache->rows[place] != text.ptr) {
        return false;
    }
    const union field *fields = &cache->fields[place * (size_t)cache->field_count];
    const uint8_t *nulls = &cache->nulls[place * (size_t)cache->field_count];
    for (int32_t c = 0; c < cache->field_count; c++) {
        to[c].null[row] = nulls[c];
        if (nulls[c] != 0) {
            continue;
        }
        switch (cache->types[c]) {
        case VALUE_BOOL:
            COLUMN_BOOL(&to[c])[row] = (uint8_t)fields[c].number;
            break;
        case VALUE_I64:
        case VALUE_TIME:
            COLUMN_I64(&to[c])[row] = fields[c].number;
            break;
        case VALUE_F64:
            COLUMN_F64(&to[c])[row] = fields[c].real;
            break;
        case VALUE_STR: {
            struct str held = fields[c].text;
            COLUMN_STR(&to[c])
            [row] = (struct str){.ptr = arena_dup(arena, held.ptr, held.len), .len = held.len};
            break;
        }
        case VALUE_TYPE_COUNT:
            break;
        }
    }
    return true;
}

/* Bytes of all texts of a row. */
static ptrdiff_t text_bytes_of(const struct lookup_cache *cache, const struct column *from,
                               int32_t row)
{
    ptrdiff_t sum = 0;
    for (int32_t c = 0; c < cache->field_count; c++) {
        if (cache->types[c] == VALUE_STR && from[c].null[row] == 0) {
            sum += COLUMN_STR(&from[c])[row].len;
        }
    }
    return sum;
}

static struct str keep_text(struct lookup_cache *cache, struct str text)
{
    char *copy = cache->texts + cache->texts_used;
    if (text.len > 0) {
        memcpy(copy, text.ptr, (size_t)text.len);
    }
    cache->texts_used += text.len;
    return (struct str){.ptr = copy, .len = text.len};
}

void lookup_cache_put(struct lookup_cache *cache, struct str text, const struct column *from,
                      int32_t row)
{
    if (cache == NULL) {
        return;
    }
    ptrdiff_t bytes = text_bytes_of(cache, from, row);
    if (bytes > cache->texts_cap) {
        return;
    }
    if (bytes > cache->texts_cap - cache->texts_used) {
        forget_all(cache);
    }
    size_t place = place_of(cache, text.ptr);
    union field *fields = &cache->fields[place * (size_t)cache->field_count];
    uint8_t *nulls = &cache->nulls[place * (size_t)cache->field_count];
    cache->rows[place] = text.ptr;
    for (int32_t c = 0; c < cache->field_count; c++) {
        nulls[c] = from[c].null[row];
        if (nulls[c] != 0) {
            continue;
        }
        switch (cache->types[c]) {
        case VALUE_BOOL:
            fields[c].number = COLUMN_BOOL(&from[c])[row];
            break;
        case VALUE_I64:
        case VALUE_TIME:
            fields[c].number = COLUMN_I64(&from[c])[row];
            break;
        case VALUE_F64:
            fields[c].real = COLUMN_F64(&from[c])[row];
            break;
        case VALUE_STR:
            fields[c].text = keep_text(cache, COLUMN_STR(&from[c])[row]);
            break;
        case VALUE_TYPE_COUNT:
            break;
        }
    }
}
