// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/yaml.h"

/* Typed readers over the tree of base/yaml.c. */

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP) {
        return NULL;
    }
    for (int32_t i = 0; i < map->count; i++) {
        if (str_is(map->keys[i]->text, key)) {
            return map->items[i];
        }
    }
    return NULL;
}

/* Which item of a list or map `name` is; `count`: a new one of a map; -1: none. */
static int32_t child_of(const struct yaml_node *node, struct str name)
{
    if (node->kind == YAML_MAP) {
        int32_t i = 0;
        while (i < node->count && !str_equal(node->keys[i]->text, name)) {
            i++;
        }
        return i;
    }
    int32_t number = 0;
    bool digits = node->kind == YAML_LIST && name.len > 0 && name.len < 8;
    for (ptrdiff_t i = 0; digits && i < name.len; i++) {
        digits = name.ptr[i] >= '0' && name.ptr[i] <= '9';
        number = 10 * number + (name.ptr[i] - '0');
    }
    return digits && number < node->count ? number : -1;
}

/* A copy of a list or map with room for one more. */
static struct yaml_node *copy_node(struct arena *arena, const struct yaml_node *node)
{
    struct yaml_node *copy = ARENA_NEW(arena, struct yaml_node);
    *copy = *node;
    copy->items = ARENA_NEW_ARRAY(arena, struct yaml_node *, node->count + 1);
    copy->keys = ARENA_NEW_ARRAY(arena, struct yaml_node *, node->count + 1);
    for (int32_t i = 0; i < node->count; i++) {
        copy->items[i] = node->items[i];
        if (node->kind == YAML_MAP) {
            copy->keys[i] = node->keys[i];
        }
    }
    return copy;
}

enum err yaml_set(struct arena *arena, const struct yaml_node *root, struct str path,
                  const struct yaml_node *value, const struct yaml_node **ret_root,
                  struct err_info *info)
{
    struct yaml_node *top = copy_node(arena, root);
    struct yaml_node *at = top;
    for (struct str rest = path; rest.ptr != NULL;) {
        struct str name = str_cut(&rest, '.');
        int32_t index = name.len > 0 ? child_of(at, name) : -1;
        if (index < 0) {
            return yaml_fail(info, value, "'%.*s' of '%.*s' names nothing there", STR_ARG(name),
                             STR_ARG(path));
        }
        if (index == at->count) { /* a new name */
            struct yaml_node *key = ARENA_NEW(arena, struct yaml_node);
            *key = *value;
            key->kind = YAML_SCALAR;
            key->text = (struct str){arena_dup(arena, name.ptr, name.len), name.len};
            at->keys[at->count++] = key;
            at->items[index] = ARENA_NEW(arena, struct yaml_node);
            *at->items[index] = (struct yaml_node){.kind = YAML_MAP,
                                                   .line = value->line,
                                                   .column = value->column,
                                                   .file = value->file};
        }
        at->items[index] = copy_node(arena, rest.ptr != NULL ? at->items[index] : value);
        at = at->items[index];
    }
    *ret_root = top;
    return ERR_OK;
}

enum err yaml_fail(struct err_info *info, const struct yaml_node *node, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(text, sizeof(text), fmt, args)); /* cut */
    va_end(args);
    return err_set(info, ERR_INVALID, "%s:%d:%d: %s", node->file, node->line, node->column, text);
}

enum { SHOWN_BYTES = 40 };

/* What stands at `node`, for messages. */
struct shown {
    char text[SHOWN_BYTES + 16];
};

static struct shown show(const struct yaml_node *node)
{
    struct shown shown = {0};
    const char *fixed = node->kind == YAML_MAP                 ? "a map"
                        : node->kind == YAML_LIST              ? "a list"
                        : node->text.len == 0 && !node->quoted ? "nothing"
                                                               : NULL;
    if (fixed != NULL) {
        IGNORE_RESULT(snprintf(shown.text, sizeof(shown.text), "%s", fixed)); /* fits */
        return shown;
    }
    ptrdiff_t len = node->text.len < SHOWN_BYTES ? node->text.len : SHOWN_BYTES;
    IGNORE_RESULT(snprintf(shown.text, sizeof(shown.text), "\"%.*s%s\"", (int)len, node->text.ptr,
                           len < node->text.len ? "..." : "")); /* fits */
    for (char *c = shown.text; *c != 0; c++) {
        *c = (unsigned char)*c < ' ' || *c == 127 ? '?' : *c; /* one line, no terminal codes */
    }
    return shown;
}

static enum err fail_want(struct err_info *info, const struct yaml_node *node, const char *want)
{
    return yaml_fail(info, node, "%s is wanted here, found %s", want, show(node).text);
}

static bool plain(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted && node->text.len > 0;
}

/* [+-]digits, all of `text`, within int64_t. */
static bool parse_i64(struct str text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    ptrdiff_t at = negative || (text.len > 0 && text.ptr[0] == '+') ? 1 : 0;
    if (at == text.len) {
        return false;
    }
    int64_t value = 0;
    for (; at < text.len; at++) {
        int digit = text.ptr[at] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value)) {
            return false; /* summed below zero, where there is one more */
        }
    }
    if (!negative && value == INT64_MIN) {
        return false;
    }
    *ret_value = negative ? value : -value;
    return true;
}

enum err yaml_i64(const struct yaml_node *node, int64_t min, int64_t max, int64_t *ret_value,
                  struct err_info *info)
{
    int64_t value = 0;
    if (!plain(node) || !parse_i64(node->text, &value)) {
        return fail_want(info, node, "a whole number");
    }
    if (value < min || value > max) {
        return yaml_fail(info, node, "%lld is out of range: %lld to %lld", (long long)value,
                         (long long)min, (long long)max);
    }
    *ret_value = value;
    return ERR_OK;
}

/* Decimal notation only: no hexadecimal, infinity or not-a-number. `text` has a 0 behind it or a '%'. */
static bool parse_f64(struct str text, double *ret_value)
{
    for (ptrdiff_t i = 0; i < text.len; i++) {
        if (strchr("0123456789+-.eE", text.ptr[i]) == NULL) {
            return false;
        }
    }
    if (text.len == 0 || text.len > 64) {
        return false;
    }
    char copy[65];
    memcpy(copy, text.ptr, (size_t)text.len);
    copy[text.len] = 0;
    char *end = NULL;
    errno = 0;
    double value = strtod(copy, &end);
    if (end != copy + text.len || (errno == ERANGE && (value > 1 || value < -1))) {
        return false;
    }
    *ret_value = value;
    return true;
}

enum err yaml_f64(const struct yaml_node *node, double min, double max, double *ret_value,
                  struct err_info *info)
{
    double value = 0;
    if (!plain(node) || !parse_f64(node->text, &value)) {
        return fail_want(info, node, "a number");
    }
    if (value < min || value > max) {
        return yaml_fail(info, node, "%g is out of range: %g to %g", value, min, max);
    }
    *ret_value = value;
    return ERR_OK;
}

enum err yaml_bool(const struct yaml_node *node, bool *ret_value, struct err_info *info)
{
    if (!plain(node) || !(str_is(node->text, "true") || str_is(node->text, "false"))) {
        return fail_want(info, node, "true or false");
    }
    *ret_value = str_is(node->text, "true");
    return ERR_OK;
}

enum err yaml_text(const struct yaml_node *node, struct str *ret_value, struct err_info *info)
{
    if (node->kind != YAML_SCALAR || (node->text.len == 0 && !node->quoted)) {
        return fail_want(info, node, "a text");
    }
    *ret_value = node->text;
    return ERR_OK;
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},           {"s", 1000000000},
    {"m", 60000000000}, {"h", 3600000000000}, {"d", 24 * 3600000000000}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},
                                         {"B", 1},
                                         {"KiB", 1024},
                                         {"MiB", 1048576},
                                         {"GiB", 1073741824},
                                         {"TiB", 1099511627776},
                                         {NULL, 0}};

struct quantity {
    char text[32];
};

/* As the file would say it: in the largest unit that it is a whole number of. */
static struct quantity quantity_of(int64_t value, const struct unit *units)
{
    const struct unit *best = units;
    struct quantity q;
    for (; units->name != NULL; units++) {
        bool whole = value % units->factor == 0 && units->name[0] != 0;
        bool fits = value == 0 ? strcmp(units->name, "s") == 0 : whole;
        best = fits ? units : best;
    }
    IGNORE_RESULT(snprintf(q.text, sizeof(q.text), "%lld%s", (long long)(value / best->factor),
                           best->name)); /* fits */
    return q;
}

/* digits[.digits]unit, exact: what is no whole number of the smallest unit is refused, as is what overflows. */
static bool parse_quantity(struct str text, const struct unit *units, int64_t *ret_value)
{
    ptrdiff_t at = 0;
    ptrdiff_t point = -1;
    int64_t digits = 0;
    int64_t scale = 1;
    for (; at < text.len; at++) {
        char c = text.ptr[at];
        if (c == '.' && point < 0 && at > 0) {
            point = at;
        } else if (c >= '0' && c <= '9') {
            if (__builtin_mul_overflow(digits, 10, &digits) ||
                __builtin_add_overflow(digits, c - '0', &digits) ||
                (point >= 0 && __builtin_mul_overflow(scale, 10, &scale))) {
                return false;
            }
        } else {
            break;
        }
    }
    if (at == 0 || point == at - 1) {
        return false;
    }
    struct str unit = {text.ptr + at, text.len - at};
    for (; units->name != NULL; units++) {
        if (str_is(unit, units->name)) {
            __int128_t scaled = (__int128_t)digits * units->factor;
            if (scaled % scale != 0 || scaled / scale > INT64_MAX) {
                return false;
            }
            *ret_value = (int64_t)(scaled / scale);
            return true;
        }
    }
    return false;
}

enum err yaml_duration_ns(const struct yaml_node *node, int64_t min_ns, int64_t max_ns,
                          int64_t *ret_ns, struct err_info *info)
{
    int64_t value = 0;
    if (!plain(node) || !parse_quantity(node->text, duration_units, &value)) {
        return fail_want(info, node, "a duration with its unit (ns us ms s m h d), such as 250ms,");
    }
    if (value < min_ns || value > max_ns) {
        return yaml_fail(info, node, "%s is out of range: %s to %s", show(node).text,
                         quantity_of(min_ns, duration_units).text,
                         quantity_of(max_ns, duration_units).text);
    }
    *ret_ns = value;
    return ERR_OK;
}

enum err yaml_size_bytes(const struct yaml_node *node, int64_t min, int64_t max, int64_t *ret_bytes,
                         struct err_info *info)
{
    int64_t value = 0;
    if (!plain(node) || !parse_quantity(node->text, size_units, &value)) {
        return fail_want(info, node, "a size (B KiB MiB GiB TiB), such as 64MiB,");
    }
    if (value < min || value > max) {
        return yaml_fail(info, node, "%s is out of range: %s to %s", show(node).text,
                         quantity_of(min, size_units).text, quantity_of(max, size_units).text);
    }
    *ret_bytes = value;
    return ERR_OK;
}

enum err yaml_ratio(const struct yaml_node *node, double min, double max, double *ret_ratio,
                    struct err_info *info)
{
    double value = 0;
    bool percent = plain(node) && node->text.ptr[node->text.len - 1] == '%';
    struct str number = {node->text.ptr, node->text.len - (percent ? 1 : 0)};
    if (!plain(node) || !parse_f64(number, &value)) {
        return fail_want(info, node, "a share, such as 12.5% or 0.125,");
    }
    value = percent ? value / 100 : value;
    if (value < min || value > max) {
        return yaml_fail(info, node, "%s is out of range: %g%% to %g%%", show(node).text, min * 100,
                         max * 100);
    }
    *ret_ratio = value;
    return ERR_OK;
}

enum { HINT_BYTES = 32 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Edit distance with swaps of neighbours (optimal string alignment); anything long is far from everything. */
static int distance(struct str a, struct str b)
{
    if (a.len > HINT_BYTES || b.len > HINT_BYTES) {
        return HINT_BYTES;
    }
    int rows[HINT_BYTES + 1][HINT_BYTES + 1];
    for (int i = 0; i <= a.len; i++) {
        for (int j = 0; j <= b.len; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            int change = a.ptr[i - 1] != b.ptr[j - 1];
            int best =
                least(least(rows[i - 1][j], rows[i][j - 1]) + 1, rows[i - 1][j - 1] + change);
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            rows[i][j] = swapped ? least(best, rows[i - 2][j - 2] + 1) : best;
        }
    }
    return rows[a.len][b.len];
}

static enum err fail_unknown(struct err_info *info, const struct yaml_node *key,
                             const char *const known[])
{
    const char *nearest = NULL;
    int nearest_distance = (int)(key->text.len / 3 < 2 ? 2 : key->text.len / 3) + 1;
    char list[120] = "";
    size_t used = 0;
    for (int i = 0; known[i] != NULL; i++) {
        int d = distance(key->text, str_of(known[i]));
        if (d < nearest_distance && d < (int)strlen(known[i])) {
            nearest_distance = d;
            nearest = known[i];
        }
        size_t len = strlen(known[i]);
        if (used + len + 3 < sizeof(list)) {
            IGNORE_RESULT(snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? ", " : "",
                                   known[i])); /* fits */
            used = strlen(list);
        }
    }
    if (nearest != NULL) {
        return yaml_fail(info, key, "unknown key %s; did you mean \"%s\"?", show(key).text,
                         nearest);
    }
    return yaml_fail(info, key, "unknown key %s; known here: %s", show(key).text,
                     used > 0 ? list : "none");
}

enum err yaml_only_keys(const struct yaml_node *map, const char *const known[],
                        struct err_info *info)
{
    if (map->kind != YAML_MAP) {
        return fail_want(info, map, "a map");
    }
    for (int32_t i = 0; i < map->count; i++) {
        bool found = false;
        for (int k = 0; known[k] != NULL && !found; k++) {
            found = str_is(map->keys[i]->text, known[k]);
        }
        if (!found) {
            return fail_unknown(info, map->keys[i], known);
        }
    }
    return ERR_OK;
}
