// SPDX-License-Identifier: Apache-2.0
#include "pipeline/json.h"

/* simdjson switches its helper thread on for itself where it sees a build with threads; this is what it looks at. */
#undef _REENTRANT
#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

#include "pipeline/json_template.h"
#include "pipeline/time_text.h"

#ifdef SIMDJSON_THREADS_ENABLED
#    error "simdjson must not start threads"
#endif

using namespace simdjson;

namespace
{

/* The keys that the last record had in one object, in order: records mostly repeat it, so each key is tried against the
 * one that stood at its place before, and only a miss looks through the shape. */
enum { LEARNED_KEYS_MAX = 32, LEARNED_KEY_BYTES = 40 };

struct learned_key {
    int32_t child; /* node, or -1: not in the shape */
    int32_t len;   /* with the closing quote; 0: nothing learned */
    char text[LEARNED_KEY_BYTES];
};

struct level {
    learned_key keys[LEARNED_KEYS_MAX];
};

} // namespace

struct json_reader {
    ondemand::parser parser;
    dom::parser dom;
    json_template *tmpl;
    level
        *levels; /* [nodes of the shape], made at first use: most partitions never have a record */
    uint32_t record;
    uint32_t seen[JSON_SHAPE_NODES_MAX]; /* the record in which a node was met last */
};

namespace
{

const char *reason_of(error_code error)
{
    switch (error) {
    case UTF8_ERROR:
        return "invalid JSON: not UTF-8";
    case UNCLOSED_STRING:
        return "invalid JSON: a string is not closed";
    case UNESCAPED_CHARS:
        return "invalid JSON: a control character in a string";
    case EMPTY:
        return "invalid JSON: empty";
    case CAPACITY:
        return "invalid JSON: too long";
    case INCORRECT_TYPE:
        return "not a JSON object";
    case INCOMPLETE_ARRAY_OR_OBJECT:
        return "invalid JSON: an object or array is not closed";
    case DEPTH_ERROR:
        return "invalid JSON: nested too deep";
    case TRAILING_CONTENT:
        return "invalid JSON: something stands behind the object";
    default:
        return "invalid JSON: bad structure";
    }
}

struct read_context {
    json_reader *reader;
    const json_shape *shape;
    column *columns;
    struct arena *arena;
    int32_t row;
    const char *reason; /* of a field; NULL: the error code says it */
    int32_t left;       /* top-level fields of the shape that were not seen yet */
};

inline bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string_view trim_end(std::string_view text)
{
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

/* A string token without its quotes, unescaped into the arena only if it has to be. False: no string, or bad escapes. */
bool read_text(ondemand::value &value, struct arena *arena, struct str *ret_text)
{
    std::string_view token = trim_end(value.raw_json_token());
    if (token.size() < 2 || token.front() != '"' || token.back() != '"') {
        return false;
    }
    ptrdiff_t len = (ptrdiff_t)token.size() - 2;
    if (memchr(token.data() + 1, '\\', (size_t)len) == nullptr) {
        ret_text->ptr = token.data() + 1;
        ret_text->len = len;
        return true;
    }
    std::string_view text;
    if (value.get_string().get(text) != SUCCESS) {
        return false;
    }
    ret_text->ptr = arena_dup(arena, text.data(), (ptrdiff_t)text.size());
    ret_text->len = (ptrdiff_t)text.size();
    return true;
}

bool read_raw(ondemand::value &value, struct str *ret_text)
{
    std::string_view text;
    ondemand::json_type type;
    if (value.type().get(type) != SUCCESS) {
        return false;
    }
    if (type == ondemand::json_type::array) {
        ondemand::array array;
        if (value.get_array().get(array) != SUCCESS || array.raw_json().get(text) != SUCCESS) {
            return false;
        }
    } else if (type == ondemand::json_type::object) {
        ondemand::object object;
        if (value.get_object().get(object) != SUCCESS || object.raw_json().get(text) != SUCCESS) {
            return false;
        }
    } else {
        text = value.raw_json_token();
    }
    text = trim_end(text);
    ret_text->ptr = text.data();
    ret_text->len = (ptrdiff_t)text.size();
    return true;
}

bool read_time(ondemand::value &value, struct arena *arena, int64_t *ret_ms)
{
    if (value.get_int64().get(*ret_ms) == SUCCESS) {
        return true;
    }
    struct str text;
    return read_text(value, arena, &text) && time_parse_field(text, ret_ms);
}

/* Writes one value into its column; false: it has another type. */
bool read_typed(ondemand::value &value, enum value_type type, column *col, int32_t row,
                struct arena *arena)
{
    switch (type) {
    case VALUE_I64:
        return value.get_int64().get(COLUMN_I64(col)[row]) == SUCCESS;
    case VALUE_F64:
        return value.get_double().get(COLUMN_F64(col)[row]) == SUCCESS;
    case VALUE_BOOL: {
        bool flag;
        if (value.get_bool().get(flag) != SUCCESS) {
            return false;
        }
        COLUMN_BOOL(col)[row] = flag ? 1 : 0;
        return true;
    }
    case VALUE_STR:
        return read_text(value, arena, &COLUMN_STR(col)[row]);
    case VALUE_TIME:
        return read_time(value, arena, &COLUMN_I64(col)[row]);
    case VALUE_TYPE_COUNT:
        break;
    }
    return false;
}

error_code read_field(read_context &ctx, const json_shape_node &node, ondemand::value &value)
{
    column *col = &ctx.columns[node.column];
    bool done = node.raw_json ? read_raw(value, &COLUMN_STR(col)[ctx.row])
                              : read_typed(value, node.type, col, ctx.row, ctx.arena);
    if (done) {
        col->null[ctx.row] = 0;
        return SUCCESS;
    }
    bool null = false;
    if (value.is_null().get(null) == SUCCESS && null) {
        return SUCCESS;
    }
    ctx.reason = node.wrong_type;
    return INCORRECT_TYPE;
}

bool at_end(ondemand::document &doc)
{
    const char *place;
    return doc.current_location().get(place) == OUT_OF_BOUNDS;
}

bool raw_key_is(const char *raw, struct str key)
{
    return memcmp(raw, key.ptr, (size_t)key.len) == 0 && raw[key.len] == '"';
}

/* The child of `parent` that the key names; -1: none. Reading past a short key is safe: padding stands behind it. */
error_code find_child(const json_shape &shape, const json_shape_node &parent,
                      ondemand::field &field, int32_t *ret_child)
{
    const char *raw = field.key().raw();
    int32_t end = parent.child_first + parent.child_count;
    for (int32_t i = parent.child_first; i < end; i++) {
        const struct str &key = shape.nodes[i].key;
        if (key.len <= JSON_PADDING && raw_key_is(raw, key)) {
            *ret_child = i;
            return SUCCESS;
        }
    }
    *ret_child = -1;
    const char *p = raw;
    while (*p != '"' && *p != '\\') {
        p++;
    }
    if (*p == '"') {
        return SUCCESS;
    }
    std::string_view text; /* the key is written with escapes */
    error_code error = field.unescaped_key().get(text);
    for (int32_t i = parent.child_first; error == SUCCESS && i < end; i++) {
        const struct str &key = shape.nodes[i].key;
        if ((size_t)key.len == text.size() && memcmp(key.ptr, text.data(), text.size()) == 0) {
            *ret_child = i;
        }
    }
    return error;
}

void learn(learned_key &slot, const char *raw, int32_t child)
{
    int32_t len = 0;
    while (len < LEARNED_KEY_BYTES && raw[len] != '"' && raw[len] != '\\') {
        len++;
    }
    if (len >= LEARNED_KEY_BYTES || raw[len] != '"') {
        slot.len = 0;
        return;
    }
    memcpy(slot.text, raw, (size_t)len + 1);
    slot.len = len + 1;
    slot.child = child;
}

error_code match_key(read_context &ctx, int32_t parent, int32_t place, ondemand::field &field,
                     int32_t *ret_child)
{
    const char *raw = field.key().raw();
    learned_key *slot = nullptr;
    if (place < LEARNED_KEYS_MAX) {
        slot = &ctx.reader->levels[parent].keys[place];
        if (slot->len > 0 && memcmp(raw, slot->text, (size_t)slot->len) == 0) {
            *ret_child = slot->child;
            return SUCCESS;
        }
    }
    error_code error = find_child(*ctx.shape, ctx.shape->nodes[parent], field, ret_child);
    if (error == SUCCESS && slot != nullptr) {
        learn(*slot, raw, *ret_child);
    }
    return error;
}

/* Walks one object; depth is that of the shape (JSON_PATH_MAX at most). */
error_code read_object(read_context &ctx, int32_t parent, ondemand::object &object)
{
    int32_t place = 0;
    for (auto item : object) {
        ondemand::field field;
        error_code error = std::move(item).get(field);
        int32_t child = -1;
        if (error == SUCCESS) {
            error = match_key(ctx, parent, place++, field, &child);
        }
        if (error != SUCCESS) {
            return error;
        }
        if (child < 0 || ctx.reader->seen[child] == ctx.reader->record) {
            continue;
        }
        ctx.reader->seen[child] = ctx.reader->record;
        ctx.left -= parent == 0 ? 1 : 0;
        const json_shape_node &node = ctx.shape->nodes[child];
        if (node.child_count == 0) {
            error = read_field(ctx, node, field.value());
        } else {
            ondemand::object inner;
            error = field.value().get_object().get(inner);
            bool null = false;
            if (error == SUCCESS) {
                error = read_object(ctx, child, inner);
            } else if (field.value().is_null().get(null) == SUCCESS && null) {
                error = SUCCESS;
            } else {
                ctx.reason = node.wrong_type;
            }
        }
        if (error != SUCCESS || (parent == 0 && ctx.left == 0)) {
            return error; /* all that is used has been read: the rest is not looked at */
        }
    }
    return SUCCESS;
}

/* simdjson looks at the byte behind the record in one corner (a record that ends with a brace but is not balanced); a
 * record in which a field is missing is walked to its end, so that its verdict is "bad" whatever stands there. */
error_code read_record(read_context &ctx, struct str text)
{
    ondemand::document doc;
    error_code error =
        ctx.reader->parser.iterate(text.ptr, (size_t)text.len, (size_t)text.len + SIMDJSON_PADDING)
            .get(doc);
    ondemand::object object;
    if (error == SUCCESS) {
        error = doc.get_object().get(object);
    }
    if (error == SUCCESS) {
        error = read_object(ctx, 0, object);
    }
    if (error == SUCCESS && ctx.left > 0 && !at_end(doc)) {
        error = TRAILING_CONTENT;
    }
    return error;
}

void next_record(json_reader *reader)
{
    if (++reader->record == 0) {
        memset(reader->seen, 0, sizeof(reader->seen));
        reader->record = 1;
    }
}

const char *check_length(struct str text)
{
    if (text.len == 0) {
        return text.ptr == nullptr ? "no value" : "invalid JSON: empty";
    }
    return text.len > JSON_RECORD_MAX ? "invalid JSON: too long" : nullptr;
}

const char *read_row(read_context &ctx, bool strict, struct str text)
{
    const char *reason = check_length(text);
    if (reason != nullptr) {
        return reason;
    }
    if (!strict && json_template_read(ctx.reader->tmpl, ctx.shape, text, ctx.columns, ctx.row)) {
        return nullptr;
    }
    next_record(ctx.reader);
    ctx.reason = nullptr;
    ctx.left = ctx.shape->nodes[0].child_count;
    if (strict) {
        dom::element root;
        error_code error = ctx.reader->dom.parse(text.ptr, (size_t)text.len, false).get(root);
        if (error != SUCCESS) {
            return reason_of(error);
        }
    }
    error_code error = read_record(ctx, text);
    if (error == SUCCESS) {
        if (!strict) {
            json_template_learn(ctx.reader->tmpl, ctx.shape, text);
        }
        return nullptr;
    }
    return ctx.reason != nullptr ? ctx.reason : reason_of(error);
}

} // namespace

struct json_reader *json_reader_new(void)
{
    json_reader *reader = new (std::nothrow) json_reader();
    if (reader == nullptr) {
        abort(); /* as base/mem.h: exhaustion ends the process */
    }
    reader->tmpl = json_template_new();
    return reader;
}

void json_reader_free(struct json_reader *reader)
{
    if (reader != nullptr) {
        json_template_free(reader->tmpl);
        delete[] reader->levels;
        delete reader;
    }
}

int32_t json_read_rows(struct json_reader *reader, const struct json_shape *shape, bool strict,
                       const struct str *value, const int32_t *sel, int32_t count,
                       struct column *columns, struct arena *arena, const char **ret_reason)
{
    read_context ctx = {reader, shape, columns, arena, 0, nullptr, 0};
    int32_t bad = 0;
    if (reader->levels == nullptr) {
        reader->levels = new (std::nothrow) level[(size_t)shape->count]();
        if (reader->levels == nullptr) {
            abort();
        }
    }
    for (int32_t i = 0; i < count; i++) {
        ctx.row = sel[i];
        ret_reason[ctx.row] = read_row(ctx, strict, value[ctx.row]);
        bad += ret_reason[ctx.row] != nullptr ? 1 : 0;
    }
    return bad;
}

const char *json_read_time(struct json_reader *reader, struct str record, struct str field,
                           int64_t *ret_ms)
{
    const char *reason = check_length(record);
    if (reason != nullptr) {
        return reason;
    }
    ondemand::document doc;
    ondemand::object object;
    error_code error =
        reader->parser
            .iterate(record.ptr, (size_t)record.len, (size_t)record.len + SIMDJSON_PADDING)
            .get(doc);
    if (error == SUCCESS) {
        error = doc.get_object().get(object);
    }
    if (error != SUCCESS) {
        return reason_of(error);
    }
    bool found = false;
    for (auto item : object) {
        ondemand::field f;
        error = std::move(item).get(f);
        if (error != SUCCESS) {
            return reason_of(error);
        }
        std::string_view key;
        if (found || f.unescaped_key().get(key) != SUCCESS || key.size() != (size_t)field.len ||
            memcmp(key.data(), field.ptr, key.size()) != 0) {
            continue;
        }
        found = true;
        if (f.value().get_int64().get(*ret_ms) == SUCCESS) {
            continue;
        }
        std::string_view text;
        if (f.value().get_string().get(text) != SUCCESS ||
            !time_parse_field({text.data(), (ptrdiff_t)text.size()}, ret_ms)) {
            return "the time field is no time (ms since 1970, or RFC 3339)";
        }
    }
    if (!at_end(doc)) {
        return reason_of(TRAILING_CONTENT);
    }
    return found ? nullptr : "the time field is absent";
}

int32_t json_array_split(struct json_reader *reader, struct str text, struct str *ret_elements,
                         int32_t cap, const char **ret_reason)
{
    *ret_reason = check_length(text);
    if (*ret_reason != nullptr) {
        return -1;
    }
    ondemand::document doc;
    ondemand::array array;
    error_code error =
        reader->parser.iterate(text.ptr, (size_t)text.len, (size_t)text.len + SIMDJSON_PADDING)
            .get(doc);
    if (error == SUCCESS) {
        error = doc.get_array().get(array);
        if (error == INCORRECT_TYPE) {
            *ret_reason = "not a JSON array";
            return -1;
        }
    }
    int32_t count = 0;
    if (error == SUCCESS) {
        for (auto item : array) {
            ondemand::value value;
            struct str element;
            error = std::move(item).get(value);
            if (error != SUCCESS || !read_raw(value, &element)) {
                *ret_reason = reason_of(error != SUCCESS ? error : TAPE_ERROR);
                return -1;
            }
            if (count < cap) {
                ret_elements[count] = element;
            }
            count++;
        }
    }
    if (error == SUCCESS && !at_end(doc)) {
        error = TRAILING_CONTENT;
    }
    if (error != SUCCESS) {
        *ret_reason = reason_of(error);
        return -1;
    }
    return count;
}

bool json_read_scalar(struct json_reader *reader, struct str text, struct column *column,
                      int32_t row, struct arena *arena)
{
    /* Within brackets, the one kind of document whose parts are plain values. */
    char *wrapped = static_cast<char *>(arena_new_raw(arena, text.len + 2 + JSON_PADDING, 1));
    wrapped[0] = '[';
    memcpy(wrapped + 1, text.ptr, (size_t)text.len);
    wrapped[text.len + 1] = ']';
    memset(wrapped + text.len + 2, 0, JSON_PADDING);
    ondemand::document doc;
    ondemand::array array;
    if (reader->parser.iterate(wrapped, (size_t)text.len + 2, (size_t)text.len + 2 + JSON_PADDING)
                .get(doc) != SUCCESS ||
        doc.get_array().get(array) != SUCCESS) {
        return false;
    }
    for (auto item : array) {
        ondemand::value value;
        if (std::move(item).get(value) != SUCCESS) {
            return false;
        }
        if (read_typed(value, column->type, column, row, arena)) {
            column->null[row] = 0;
            return true;
        }
        bool null = false;
        column->null[row] = 1;
        return value.is_null().get(null) == SUCCESS && null;
    }
    return false;
}

bool utf8_valid(struct str text)
{
    return text.len == 0 || validate_utf8(text.ptr, (size_t)text.len);
}

int32_t f64_write(double value, char out[32])
{
    std::to_chars_result result = std::to_chars(out, out + 32, value);
    return (int32_t)(result.ptr - out);
}

bool f64_read(struct str text, double *ret_value)
{
    double value = 0;
    std::from_chars_result result = std::from_chars(text.ptr, text.ptr + text.len, value);
    if (result.ec != std::errc() || result.ptr != text.ptr + text.len || !std::isfinite(value)) {
        return false;
    }
    *ret_value = value;
    return true;
}
