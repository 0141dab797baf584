// SPDX-License-Identifier: Apache-2.0
#include "pipeline/json_template.h"

#include <assert.h>
#include <immintrin.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/time_text.h"

enum {
    SEGMENTS_MAX = 32, /* values of a record */
    BETWEEN_MAX =
        64,     /* bytes between two values: padding bounds what may be read behind the record */
    CHUNK = 16, /* bytes compared at once */
    INTEGER_DIGITS_MAX = 15, /* more go to the general parser */
    REST_FIRST = 64, /* records without a template after one was given up, at first and at most */
    REST_MOST = 1 << 16
};

static_assert((int)BETWEEN_MAX <= (int)JSON_PADDING, "comparing reads behind a record");

enum value_kind { KIND_STRING, KIND_NUMBER, KIND_WORD /* true, false, null */ };

/* The bytes before a value, and the value. The last segment has only bytes: the tail. */
struct segment {
    ATTR_ALIGNED(16) char between[BETWEEN_MAX]; /* filled up with zeros */
    int32_t between_len;
    int32_t last_mask; /* of the last chunk's bytes */
    enum value_kind kind;
    int32_t node; /* of the shape, or -1: not used */
};

/* A segment whose value goes into a column. */
struct bound {
    int32_t segment, column;
};

/* T1 with `valid`, segments[0..count) have values, segments[count] is the tail, and every field of the shape is bound to
 * exactly one segment. T2 rest > 0 only without a valid template. */
struct json_template {
    bool valid;
    bool wide; /* the processor has AVX2 */
    int32_t count;
    int32_t used;      /* segments up to the last one with a field */
    int32_t rest;      /* records to leave alone before learning again */
    int32_t next_rest; /* doubles each time a template is given up */
    int32_t hits, misses;
    int64_t hits_total;
    int32_t bound; /* fields */
    struct bound bounds[SEGMENTS_MAX];
    struct segment segments[SEGMENTS_MAX + 1];
};

struct json_template *json_template_new(void)
{
    struct json_template *tmpl = mem_new_aligned((ptrdiff_t)sizeof(*tmpl), 16);
    tmpl->next_rest = REST_FIRST;
    tmpl->wide = __builtin_cpu_supports("avx2") != 0;
    return tmpl;
}

void json_template_narrow(struct json_template *tmpl)
{
    tmpl->wide = false;
}

void json_template_free(struct json_template *tmpl)
{
    mem_free(tmpl);
}

int64_t json_template_hits(const struct json_template *tmpl)
{
    return tmpl->hits_total;
}

/* --- reading --- */

static inline bool between_is(const struct segment *segment, const char *p)
{
    const char *want = segment->between;
    int32_t left = segment->between_len;
    for (; left > CHUNK; left -= CHUNK, p += CHUNK, want += CHUNK) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i b = _mm_load_si128((const __m128i *)(const void *)want);
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) != 0xFFFF) {
            return false;
        }
    }
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i b = _mm_load_si128((const __m128i *)(const void *)want);
    return (_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) & segment->last_mask) == segment->last_mask;
}

/* The closing quote of a plain ASCII text without escapes; NULL: it is something else, or ends behind `end`. */
static inline const char *plain_text_end(const char *p, const char *end)
{
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i slashes = _mm_set1_epi8('\\');
    const __m128i blanks = _mm_set1_epi8(0x20);
    for (; p < end; p += CHUNK) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Signed: control characters and everything from 0x80 on are below the blank. */
        __m128i stop = _mm_or_si128(
            _mm_cmplt_epi8(bytes, blanks),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, slashes)));
        int mask = _mm_movemask_epi8(stop);
        if (mask != 0) {
            p += __builtin_ctz((unsigned)mask);
            return p < end && *p == '"' ? p : NULL;
        }
    }
    return NULL;
}

/* The same, twice as wide. */
ATTR_TARGET("avx2") static inline const char *plain_text_end_avx2(const char *p, const char *end)
{
    const __m256i quotes = _mm256_set1_epi8('"');
    const __m256i slashes = _mm256_set1_epi8('\\');
    const __m256i blanks = _mm256_set1_epi8(0x20);
    for (; p < end; p += 2 * CHUNK) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i stop = _mm256_or_si256(
            _mm256_cmpgt_epi8(blanks, bytes),
            _mm256_or_si256(_mm256_cmpeq_epi8(bytes, quotes), _mm256_cmpeq_epi8(bytes, slashes)));
        uint32_t mask = (uint32_t)_mm256_movemask_epi8(stop);
        if (mask != 0) {
            p += __builtin_ctz(mask);
            return p < end && *p == '"' ? p : NULL;
        }
    }
    return NULL;
}

/* What stands behind the value of the last field that is used is not looked into by the general parser: its first pass
 * over the bytes must find nothing, that is UTF-8, strings that are closed and hold no control characters, a brace at the
 * end. Told here in the easy case: ASCII without control characters and backslashes, as many quotes as there must be. From
 * `p` on, which is inside a string or not; false: it may be otherwise. One corner more: a brace behind the record makes
 * the general parser count those in it. */
static inline bool rest_may_pass(const char *p, const char *end)
{
    return end > p && end[-1] == '}' && end[0] != '}';
}

static inline bool rest_is_plain(const char *p, const char *end, bool inside)
{
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i slashes = _mm_set1_epi8('\\');
    const __m128i blanks = _mm_set1_epi8(0x20);
    uint32_t quoted = 0; // bit by bit, whether there was an odd number of quotes
    uint32_t odd = 0;
    if (!rest_may_pass(p, end)) {
        return false;
    }
    for (; p < end; p += CHUNK) {
        uint32_t here = end - p < CHUNK ? (1u << (end - p)) - 1 : UINT32_MAX;
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmplt_epi8(bytes, blanks), _mm_cmpeq_epi8(bytes, slashes));
        quoted ^= here & (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quotes));
        odd |= here & (uint32_t)_mm_movemask_epi8(stop);
    }
    return odd == 0 && (__builtin_popcount(quoted) & 1) == (inside ? 1 : 0);
}

/* The same, twice as wide. */
ATTR_TARGET("avx2")
static inline bool rest_is_plain_avx2(const char *p, const char *end, bool inside)
{
    const __m256i quotes = _mm256_set1_epi8('"');
    const __m256i slashes = _mm256_set1_epi8('\\');
    const __m256i blanks = _mm256_set1_epi8(0x20);
    uint32_t quoted = 0;
    uint32_t odd = 0;
    if (!rest_may_pass(p, end)) {
        return false;
    }
    for (; p < end; p += 2 * CHUNK) {
        uint32_t here = end - p < 2 * CHUNK ? (1u << (end - p)) - 1 : UINT32_MAX;
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i stop =
            _mm256_or_si256(_mm256_cmpgt_epi8(blanks, bytes), _mm256_cmpeq_epi8(bytes, slashes));
        quoted ^= here & (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, quotes));
        odd |= here & (uint32_t)_mm256_movemask_epi8(stop);
    }
    return odd == 0 && (__builtin_popcount(quoted) & 1) == (inside ? 1 : 0);
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* How many of the 16 bytes at `p` are digits before the first that is none. */
static inline int32_t count_digits(__m128i bytes)
{
    /* Shifted so that '0'..'9' are the smallest signed numbers, one comparison finds what is none of them. */
    __m128i shifted = _mm_add_epi8(bytes, _mm_set1_epi8((char)(0x80 - '0')));
    __m128i other = _mm_cmpgt_epi8(shifted, _mm_set1_epi8((char)(0x80 + 9)));
    int mask = _mm_movemask_epi8(other);
    return mask != 0 ? __builtin_ctz((unsigned)mask) : CHUNK;
}

/* The number of the first `count` (1..15) of the digits: moved to the right end, then pairs, fours and eights of them
 * are added up side by side. */
static inline int64_t add_digits(__m128i bytes, int32_t count)
{
    static const uint8_t places[32] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                       0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                       0,    1,    2,    3,    4,    5,    6,    7,
                                       8,    9,    10,   11,   12,   13,   14,   15};
    __m128i values = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    __m128i right = _mm_loadu_si128((const __m128i *)(const void *)(places + count));
    values = _mm_shuffle_epi8(values, right);
    __m128i twos = _mm_maddubs_epi16(values, _mm_set1_epi16(1 << 8 | 10));
    __m128i fours = _mm_madd_epi16(twos, _mm_set1_epi32(1 << 16 | 100));
    fours = _mm_packus_epi32(fours, fours);
    __m128i eights = _mm_madd_epi16(fours, _mm_set1_epi32(1 << 16 | 10000));
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (int64_t)(both & 0xFFFFFFFF) * 100000000 + (int64_t)(both >> 32);
}

/* -?(0|[1-9][0-9]{0,14}), but not -0. Reading past the end is safe: what stands there is no part of the record, and the
 * walk must end exactly at its end. */
static inline const char *read_integer(const char *p, int64_t *ret_value)
{
    bool negative = *p == '-';
    p += negative ? 1 : 0;
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    int32_t digits = count_digits(bytes);
    bool plain = digits >= 1 && digits <= INTEGER_DIGITS_MAX && (*p != '0' || digits == 1);
    if (!plain) {
        return NULL;
    }
    int64_t value = add_digits(bytes, digits);
    *ret_value = negative ? -value : value;
    return negative && value == 0 ? NULL : p + digits;
}

/* A number by JSON's grammar; NULL: it is none. */
static const char *number_end(const char *p, const char *end)
{
    p += p < end && *p == '-' ? 1 : 0;
    const char *first = p;
    while (p < end && is_digit(*p)) {
        p++;
    }
    if (p == first || (*first == '0' && p - first > 1)) {
        return NULL;
    }
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        while (p < end && is_digit(*p)) {
            p++;
        }
        if (p == fraction) {
            return NULL;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-') ? 1 : 0;
        const char *exponent = p;
        while (p < end && is_digit(*p)) {
            p++;
        }
        if (p == exponent) {
            return NULL;
        }
    }
    return p;
}

static inline const char *read_number(const char *p, const char *end,
                                      const struct json_shape_node *node, struct column *columns,
                                      int32_t row)
{
    if (node == NULL) {
        int32_t digits = count_digits(_mm_loadu_si128((const __m128i *)(const void *)p));
        char next = p[digits];
        bool plain =
            digits >= 1 && digits < CHUNK && *p != '0' && next != '.' && (next | 32) != 'e';
        return plain ? p + digits : number_end(p, end);
    }
    struct column *column = &columns[node->column];
    if (node->type == VALUE_I64 || node->type == VALUE_TIME) {
        return read_integer(p, &COLUMN_I64(column)[row]);
    }
    const char *stop = node->type == VALUE_F64 ? number_end(p, end) : NULL;
    return stop != NULL && f64_read((struct str){p, stop - p}, &COLUMN_F64(column)[row]) ? stop
                                                                                         : NULL;
}

/* `stop`: where the text ends, as plain_text_end says. */
static inline const char *read_string(const char *p, const char *stop,
                                      const struct json_shape_node *node, struct column *columns,
                                      int32_t row)
{
    if (stop == NULL || node == NULL) {
        return stop;
    }
    struct str text = {p, stop - p};
    struct column *column = &columns[node->column];
    if (node->type == VALUE_STR) {
        COLUMN_STR(column)[row] = text;
        return stop;
    }
    return node->type == VALUE_TIME && time_parse_field(text, &COLUMN_I64(column)[row]) ? stop
                                                                                        : NULL;
}

/* true, false, null; ret_null: it is null. */
static inline const char *read_word(const char *p, const struct json_shape_node *node,
                                    struct column *columns, int32_t row, bool *ret_null)
{
    bool yes = memcmp(p, "true", 4) == 0;
    bool no = memcmp(p, "false", 5) == 0;
    *ret_null = memcmp(p, "null", 4) == 0;
    if (node != NULL && (yes || no)) {
        if (node->type != VALUE_BOOL) {
            return NULL;
        }
        COLUMN_BOOL(&columns[node->column])[row] = yes ? 1 : 0;
    }
    return yes || *ret_null ? p + 4 : no ? p + 5 : NULL;
}

/* The row that is being read. */
struct target {
    struct column *columns;
    int32_t row;
    uint32_t present; /* bit i: segment i had a value for its field */
};

/* Whether a value ends at `p` whatever follows: strings end at their quote. */
static inline bool value_is_ended(const char *p, enum value_kind kind)
{
    return kind == KIND_STRING || *p == ',' || *p == '}' || *p == ' ';
}

/* Inlined into one function for each kind of processor. */
static ATTR_ALWAYS_INLINE bool walk(const struct json_template *tmpl,
                                    const struct json_shape *shape, struct str record,
                                    struct target *target, bool wide)
{
    const char *p = record.ptr;
    const char *end = record.ptr + record.len;
    uint32_t present = 0;
    for (int32_t i = 0; i < tmpl->count; i++) {
        const struct segment *segment = &tmpl->segments[i];
        if (end - p < segment->between_len || !between_is(segment, p)) {
            return false;
        }
        p += segment->between_len;
        const struct json_shape_node *node =
            segment->node >= 0 ? &shape->nodes[segment->node] : NULL;
        bool null = false;
        if (segment->kind == KIND_STRING) {
            const char *stop = wide ? plain_text_end_avx2(p, end) : plain_text_end(p, end);
            p = read_string(p, stop, node, target->columns, target->row);
        } else if (segment->kind == KIND_NUMBER) {
            p = read_number(p, end, node, target->columns, target->row);
        } else {
            p = read_word(p, node, target->columns, target->row, &null);
        }
        if (p == NULL) {
            return false;
        }
        present |= node != NULL && !null ? 1u << i : 0;
        if (i + 1 == tmpl->used && value_is_ended(p, segment->kind) &&
            (wide ? rest_is_plain_avx2(p, end, segment->kind == KIND_STRING)
                  : rest_is_plain(p, end, segment->kind == KIND_STRING))) {
            target->present = present;
            return true;
        }
    }
    const struct segment *tail = &tmpl->segments[tmpl->count];
    target->present = present;
    return end - p == tail->between_len && between_is(tail, p);
}

typedef bool (*walk_fn)(const struct json_template *tmpl, const struct json_shape *shape,
                        struct str record, struct target *target);

static bool walk_any(const struct json_template *tmpl, const struct json_shape *shape,
                     struct str record, struct target *target)
{
    return walk(tmpl, shape, record, target, false);
}

ATTR_TARGET("avx2")
static bool walk_avx2(const struct json_template *tmpl, const struct json_shape *shape,
                      struct str record, struct target *target)
{
    return walk(tmpl, shape, record, target, true);
}

static void give_up(struct json_template *tmpl)
{
    tmpl->valid = false;
    tmpl->rest = tmpl->next_rest;
    tmpl->next_rest = tmpl->next_rest < REST_MOST ? 2 * tmpl->next_rest : REST_MOST;
    tmpl->hits = tmpl->misses = 0;
}

bool json_template_read(struct json_template *tmpl, const struct json_shape *shape,
                        struct str record, struct column *columns, int32_t row)
{
    enum { WINDOW = 1024, SLACK = 16 };
    if (!tmpl->valid) {
        return false;
    }
    struct target target = {.columns = columns, .row = row};
    walk_fn fn = tmpl->wide ? walk_avx2 : walk_any;
    if (!fn(tmpl, shape, record, &target)) {
        tmpl->misses++;
        if (tmpl->misses > tmpl->hits / 2 + SLACK) {
            give_up(tmpl); /* an irregular stream costs more than it brings */
        }
        return false;
    }
    for (int32_t i = 0; i < tmpl->bound; i++) {
        const struct bound *bound = &tmpl->bounds[i];
        if ((target.present >> bound->segment & 1) != 0) {
            columns[bound->column].null[row] = 0;
        }
    }
    tmpl->hits_total++;
    if (++tmpl->hits == WINDOW) {
        tmpl->hits = tmpl->misses = 0;
        tmpl->next_rest = REST_FIRST;
    }
    return true;
}

/* --- learning --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && is_blank(*p)) {
        p++;
    }
    return p;
}

/* The child of the record that `key` names, if it is a field that is still free; -1: none; -2: no template can do it. */
static int32_t field_of(const struct json_template *tmpl, int32_t count,
                        const struct json_shape *shape, struct str key)
{
    const struct json_shape_node *root = &shape->nodes[0];
    for (int32_t i = root->child_first; i < root->child_first + root->child_count; i++) {
        if (!str_equal(shape->nodes[i].key, key)) {
            continue;
        }
        if (shape->nodes[i].child_count > 0 || shape->nodes[i].raw_json) {
            return -2;
        }
        for (int32_t s = 0; s < count; s++) {
            if (tmpl->segments[s].node == i) {
                return -1; /* the first counts */
            }
        }
        return i;
    }
    return -1;
}

static bool set_between(struct segment *segment, const char *from, const char *to)
{
    ptrdiff_t len = to - from;
    if (len < 1 || len > BETWEEN_MAX) {
        return false;
    }
    memset(segment->between, 0, BETWEEN_MAX);
    memcpy(segment->between, from, (size_t)len);
    segment->between_len = (int32_t)len;
    int32_t last = (int32_t)((len - 1) % CHUNK) + 1;
    segment->last_mask = (1 << last) - 1;
    return true;
}

/* A value of a kind that templates know; returns where it ends (strings: at the closing quote). */
static const char *value_end(const char *p, const char *end, enum value_kind *ret_kind)
{
    if (p < end && (*p == '-' || is_digit(*p))) {
        *ret_kind = KIND_NUMBER;
        return number_end(p, end);
    }
    bool null = false;
    *ret_kind = KIND_WORD;
    return p < end ? read_word(p, NULL, NULL, 0, &null) : NULL;
}

/* One `"key": value` from `p` on into a segment that begins at `from`; returns where the value ends. */
static const char *learn_member(struct json_template *tmpl, const struct json_shape *shape,
                                const char *from, const char *p, const char *end)
{
    struct segment *segment = &tmpl->segments[tmpl->count];
    const char *key_end = p < end && *p == '"' ? plain_text_end(p + 1, end) : NULL;
    if (key_end == NULL) {
        return NULL;
    }
    segment->node = field_of(tmpl, tmpl->count, shape, (struct str){p + 1, key_end - p - 1});
    p = skip_blanks(key_end + 1, end);
    if (segment->node == -2 || p >= end || *p != ':') {
        return NULL;
    }
    p = skip_blanks(p + 1, end);
    const char *stop;
    if (p < end && *p == '"') {
        p++;
        segment->kind = KIND_STRING;
        stop = plain_text_end(p, end);
    } else {
        stop = value_end(p, end, &segment->kind);
    }
    return stop != NULL && set_between(segment, from, p) ? stop : NULL;
}

static bool learn(struct json_template *tmpl, const struct json_shape *shape, struct str record)
{
    const char *end = record.ptr + record.len;
    const char *from = record.ptr;
    const char *p = skip_blanks(from, end);
    tmpl->bound = 0;
    tmpl->count = 0;
    tmpl->used = 0; // no field: the general parser looks at all
    if (p == end || *p != '{') {
        return false;
    }
    do {
        if (tmpl->count == SEGMENTS_MAX) {
            return false;
        }
        p = skip_blanks(p + 1, end);
        const char *stop = learn_member(tmpl, shape, from, p, end);
        if (stop == NULL) {
            return false;
        }
        int32_t node = tmpl->segments[tmpl->count].node;
        if (node >= 0) {
            tmpl->used = tmpl->count + 1;
            tmpl->bounds[tmpl->bound++] =
                (struct bound){.segment = tmpl->count, .column = shape->nodes[node].column};
        }
        from = stop;
        p = stop + (tmpl->segments[tmpl->count].kind == KIND_STRING ? 1 : 0);
        p = skip_blanks(p, end);
        tmpl->count++;
    } while (p < end && *p == ',');
    bool closed = p < end && *p == '}' && skip_blanks(p + 1, end) == end;
    return closed && tmpl->bound == shape->nodes[0].child_count &&
           set_between(&tmpl->segments[tmpl->count], from, end);
}

void json_template_learn(struct json_template *tmpl, const struct json_shape *shape,
                         struct str record)
{
    if (tmpl->valid) {
        return;
    }
    if (tmpl->rest > 0) {
        tmpl->rest--;
        return;
    }
    tmpl->valid = learn(tmpl, shape, record);
    if (!tmpl->valid) {
        give_up(tmpl);
    }
}
