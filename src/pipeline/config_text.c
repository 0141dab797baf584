// SPDX-License-Identifier: Apache-2.0
/* Normalised text of a chain, and "the second day": what of a stage's state goes on when another chain is opened over
 * it. */
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/config_priv.h"

struct text_buffer {
    char *ptr; /* NULL: only counts */
    ptrdiff_t len;
};

static void put(struct text_buffer *out, const char *bytes, ptrdiff_t len)
{
    if (out->ptr != NULL && len > 0) {
        memcpy(out->ptr + out->len, bytes, (size_t)len);
    }
    out->len += len;
}

static void put_scalar(struct text_buffer *out, const struct yaml_node *node)
{
    put(out, "\"", 1);
    for (ptrdiff_t i = 0; i < node->text.len; i++) {
        char c = node->text.ptr[i];
        if (c == '"' || c == '\\') {
            put(out, "\\", 1);
        }
        put(out, c == '\n' ? "\\n" : &node->text.ptr[i], c == '\n' ? 2 : 1);
    }
    put(out, "\"", 1);
}

/* Index of the key that comes next in order of bytes behind `after` (-1: the first); -1: no more. */
static int32_t next_key(const struct yaml_node *map, int32_t after)
{
    int32_t best = -1;
    for (int32_t i = 0; i < map->count; i++) {
        bool behind = after < 0 || str_compare(map->keys[i]->text, map->keys[after]->text) > 0;
        if (behind && (best < 0 || str_compare(map->keys[i]->text, map->keys[best]->text) < 0)) {
            best = i;
        }
    }
    return best;
}

/* Depth is that of the YAML: YAML_DEPTH_MAX. The order of `set` and `fields` means something, so those keep theirs. */
static void put_node(struct text_buffer *out, const struct yaml_node *node, bool ordered)
{
    if (node->kind == YAML_SCALAR) {
        put_scalar(out, node);
        return;
    }
    bool map = node->kind == YAML_MAP;
    put(out, map ? "{" : "[", 1);
    int32_t at = -1;
    for (int32_t n = 0; n < node->count; n++) {
        at = map && !ordered ? next_key(node, at) : n;
        CHECK(at >= 0);
        if (n > 0) {
            put(out, ",", 1);
        }
        bool keep = false;
        if (map) {
            put_scalar(out, node->keys[at]);
            put(out, ":", 1);
            keep = str_is(node->keys[at]->text, "set") || str_is(node->keys[at]->text, "fields") ||
                   str_is(node->keys[at]->text, "out");
        }
        put_node(out, node->items[at], keep);
    }
    put(out, map ? "}" : "]", 1);
}

struct str config_normal_text(struct arena *arena, const struct yaml_node *node)
{
    struct text_buffer count = {0};
    put_node(&count, node, false);
    struct text_buffer text = {.ptr = arena_new_raw(arena, count.len + 1, 1)};
    put_node(&text, node, false);
    text.ptr[text.len] = 0;
    return (struct str){text.ptr, text.len};
}

/* --- a tree, written as flow YAML that reads back as the same tree --- */

/* Plain words stay plain, as numbers and durations in quotes would be strings; all else is a string and gets quotes. */
static bool is_plain(const struct yaml_node *node)
{
    bool plain = !node->quoted && node->text.len > 0;
    for (ptrdiff_t i = 0; i < node->text.len && plain; i++) {
        char c = node->text.ptr[i];
        plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                c == '_' || c == '.' || c == '/' || c == '+' || (c == '%' && i > 0) ||
                (c == '-' && node->text.len > 1);
    }
    return plain;
}

/* The character at `rest`'s begin as YAML wants it escaped in quotes: controls and breaks of lines. Returns its bytes in
 * `rest`; 0: it may stand as it is. */
static int32_t escape_of(struct str rest, char buf[8])
{
    const unsigned char *c = (const unsigned char *)rest.ptr;
    if (c[0] == '"' || c[0] == '\\') {
        IGNORE_RESULT(snprintf(buf, 8, "\\%c", c[0])); /* fits, as those below */
        return 1;
    }
    if (c[0] < 0x20 || c[0] == 0x7f) {
        IGNORE_RESULT(snprintf(buf, 8, "\\u%04x", c[0]));
        return 1;
    }
    if (rest.len >= 2 && c[0] == 0xc2 && c[1] < 0xa0) {
        IGNORE_RESULT(snprintf(buf, 8, "\\u%04x", c[1]));
        return 2;
    }
    if (rest.len >= 3 && c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)) {
        IGNORE_RESULT(snprintf(buf, 8, "\\u%04x", 0x2028 + (c[2] - 0xa8)));
        return 3;
    }
    return 0;
}

static void write_scalar(struct text_buffer *out, const struct yaml_node *node)
{
    if (is_plain(node)) {
        put(out, node->text.ptr, node->text.len);
        return;
    }
    put(out, "\"", 1);
    for (ptrdiff_t i = 0; i < node->text.len;) {
        char buf[8];
        struct str rest = {node->text.ptr + i, node->text.len - i};
        int32_t len = escape_of(rest, buf);
        put(out, len > 0 ? buf : rest.ptr, len > 0 ? (ptrdiff_t)strlen(buf) : 1);
        i += len > 0 ? len : 1;
    }
    put(out, "\"", 1);
}

/* Its depth is the text's: YAML_DEPTH_MAX. */
static void write_node(struct text_buffer *out, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR) {
        bool nothing = !node->quoted && node->text.len == 0;
        if (nothing) {
            put(out, "null", 4);
        } else {
            write_scalar(out, node);
        }
        return;
    }
    bool map = node->kind == YAML_MAP;
    put(out, map ? "{" : "[", 1);
    for (int32_t i = 0; i < node->count; i++) {
        put(out, ", ", i > 0 ? 2 : 0);
        if (map) {
            write_scalar(out, node->keys[i]);
            put(out, ": ", 2);
        }
        write_node(out, node->items[i]);
    }
    put(out, map ? "}" : "]", 1);
}

static void write_sections(struct text_buffer *out, const struct yaml_node *root)
{
    for (int32_t i = 0; i < root->count; i++) {
        write_scalar(out, root->keys[i]);
        put(out, ": ", 2);
        write_node(out, root->items[i]);
        put(out, "\n", 1);
    }
}

struct str config_written_text(struct arena *arena, const struct yaml_node *root)
{
    struct text_buffer count = {0};
    write_sections(&count, root);
    struct text_buffer text = {.ptr = arena_new_raw(arena, count.len + 1, 1)};
    write_sections(&text, root);
    text.ptr[text.len] = 0;
    return (struct str){text.ptr, text.len};
}

void stage_shape_of(const struct stage_plan *plan, struct stage_shape *ret_shape)
{
    ret_shape->text = plan->text;
    ret_shape->input_count = plan->input_count;
    for (int32_t i = 0; i < plan->input_count; i++) {
        ret_shape->inputs[i] = plan->inputs[i].stream->name;
    }
    ret_shape->space_count = 0;
    for (int32_t i = 0; i < plan->operator_count; i++) {
        const struct operator_plan *op = plan->operators[i];
        for (int32_t s = 0; s < op->space_count; s++) {
            ret_shape->spaces[ret_shape->space_count].name = op->spaces[s].name;
            ret_shape->spaces[ret_shape->space_count].schema = op->spaces[s].schema;
            ret_shape->space_count++;
        }
    }
}

int64_t stage_holds_pass(struct stage_holds *holds, const struct operator_plan *plan)
{
    int32_t way = plan->joins ? 0 : plan->input;
    if (plan->joins && holds->of[1] > holds->of[0]) {
        holds->of[0] = holds->of[1];
    }
    int64_t before = holds->of[way];
    holds->of[way] += plan->hold_ms;
    return before;
}

int64_t stage_plan_hold_ms(const struct stage_plan *plan)
{
    struct stage_holds holds = {{0}};
    for (int32_t i = 0; i < plan->operator_count; i++) {
        IGNORE_RESULT(stage_holds_pass(&holds, plan->operators[i])); // the sum is what counts
    }
    return holds.of[0];
}

int64_t watermark_held(int64_t watermark_ms, int64_t hold_ms)
{
    bool real = watermark_ms != INT64_MAX && watermark_ms >= INT64_MIN + hold_ms;
    return real ? watermark_ms - hold_ms : watermark_ms;
}

int64_t stage_plan_span_ms(const struct stage_plan *plan)
{
    int64_t span_ms = 0;
    for (int32_t i = 0; i < plan->operator_count; i++) {
        int64_t more = plan->operators[i]->span_ms;
        span_ms = span_ms > INT64_MAX - more ? INT64_MAX : span_ms + more;
    }
    return span_ms;
}

const struct operator_plan *stage_plan_closing(const struct stage_plan *plan)
{
    const struct operator_plan *closing = NULL;
    for (int32_t i = 0; i < plan->operator_count; i++) {
        const struct operator_plan *op = plan->operators[i];
        bool longer = closing == NULL || op->hop_ms > closing->hop_ms;
        closing = op->hop_ms > 0 && longer ? op : closing;
    }
    return closing;
}

static int32_t find_space(const struct stage_shape *shape, struct str name)
{
    for (int32_t i = 0; i < shape->space_count; i++) {
        if (str_equal(shape->spaces[i].name, name)) {
            return i;
        }
    }
    return -1;
}

bool stage_shape_input_moved(const struct stage_shape *old, const struct stage_plan *plan,
                             int32_t i)
{
    return i < old->input_count && i < plan->input_count &&
           !str_equal(old->inputs[i], plan->inputs[i].stream->name);
}

/* Lines of inputs that have moved; returns how many. */
static int32_t compare_inputs(const struct stage_shape *old, const struct stage_plan *plan,
                              char *text, ptrdiff_t cap, ptrdiff_t *used)
{
    int32_t moved = 0;
    for (int32_t i = 0; i < old->input_count; i++) {
        if (!stage_shape_input_moved(old, plan, i)) {
            continue;
        }
        moved++;
        if (*used < cap - 1) {
            int n = snprintf(text + *used, (size_t)(cap - *used),
                             "%.*s/%.*s: it read '%.*s' and reads '%.*s' now, of which it has no "
                             "place to go on from\n",
                             STR_ARG(plan->pipeline), STR_ARG(plan->name), STR_ARG(old->inputs[i]),
                             STR_ARG(plan->inputs[i].stream->name));
            *used += n > 0 ? n : 0;
        }
    }
    return moved;
}

int32_t stage_shape_compare(const struct stage_shape *old, const struct stage_plan *plan,
                            char *text, ptrdiff_t cap)
{
    CHECK(cap > 0);
    struct stage_shape *now = MEM_NEW(struct stage_shape);
    stage_shape_of(plan, now);
    ptrdiff_t used = 0;
    text[0] = 0;
    int32_t lost = compare_inputs(old, plan, text, cap, &used);
    for (int32_t i = 0; i < old->space_count; i++) {
        int32_t at = find_space(now, old->spaces[i].name);
        if (at >= 0 && str_equal(now->spaces[at].schema, old->spaces[i].schema)) {
            continue;
        }
        lost++;
        if (used >= cap - 1) {
            continue; /* counted, but there is no more room to tell */
        }
        const char *schema = at >= 0 ? now->spaces[at].schema.ptr : "";
        int schema_len = at >= 0 ? (int)now->spaces[at].schema.len : 0;
        int n =
            snprintf(text + used, (size_t)(cap - used), "%.*s/%.*s: state of '%.*s' %s%.*s%s%.*s\n",
                     STR_ARG(plan->pipeline), STR_ARG(plan->name), STR_ARG(old->spaces[i].name),
                     at >= 0 ? "has another schema: it was " : "is not kept by the new chain",
                     at >= 0 ? (int)old->spaces[i].schema.len : 0, old->spaces[i].schema.ptr,
                     at >= 0 ? ", now " : "", schema_len, schema);
        used += n > 0 ? n : 0;
    }
    mem_free(now);
    return lost;
}
