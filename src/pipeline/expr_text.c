// SPDX-License-Identifier: Apache-2.0
/* The part of expressions that has to do with texts: functions of strings, casts from and to them, times. Strings that
 * are made are written into one piece of the arena a column. */
#include "base/check.h"
#include "pipeline/expr_priv.h"
#include "pipeline/json.h"
#include "pipeline/number.h"
#include "pipeline/time_text.h"

#define ARG(f, instr, n) (&(f)->regs[(instr)->args[n]])

/* Runs BODY for each selected row whose result is not null. */
#define EACH_PRESENT(f, dst, ...) EXPR_EACH(f, if (!expr_reg_is_null((dst), i)){__VA_ARGS__})

/* The nesting that counts here is that of the macros. */
// NOLINTBEGIN(readability-function-size)

static void fill_args(struct expr_frame *f, const struct expr_instr *in)
{
    for (int32_t i = 0; i < in->arg_count; i++) {
        expr_reg_fill(f, in->args[i]);
    }
}

/* Lead bytes are all but 10xxxxxx. */
static int64_t code_points(struct str text)
{
    int64_t count = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xC0) != 0x80 ? 1 : 0;
    }
    return count;
}

/* Byte offset of code point `index`, or the length. */
static ptrdiff_t offset_of(struct str text, ptrdiff_t from, int64_t index)
{
    ptrdiff_t i = from;
    while (i < text.len && index > 0) {
        i++;
        while (i < text.len && ((unsigned char)text.ptr[i] & 0xC0) == 0x80) {
            i++;
        }
        index--;
    }
    return i;
}

/* From code point `from` (below 0: from the beginning), `count` of them (below 0: none). */
static struct str substr(struct str text, int64_t from, int64_t count)
{
    ptrdiff_t begin = from > 0 ? offset_of(text, 0, from) : 0;
    ptrdiff_t end = count > 0 ? offset_of(text, begin, count) : begin;
    return (struct str){text.ptr + begin, end - begin};
}

static void run_length(struct expr_frame *f, const struct expr_instr *in)
{
    const struct str *a = ARG(f, in, 0)->data;
    int64_t *r = expr_result(f, in);
    EACH_PRESENT(f, &f->regs[in->dst], r[i] = code_points(a[i]););
}

static void run_search(struct expr_frame *f, const struct expr_instr *in)
{
    const struct str *a = ARG(f, in, 0)->data;
    const struct str *b = ARG(f, in, 1)->data;
    uint8_t *r = expr_result(f, in);
    const struct expr_reg *dst = &f->regs[in->dst];
    if (in->op == EXPR_CONTAINS) {
        EACH_PRESENT(f, dst, r[i] = str_find(a[i], b[i]) >= 0;);
    } else if (in->op == EXPR_STARTS_WITH) {
        EACH_PRESENT(f, dst, r[i] = str_starts_with(a[i], b[i]););
    } else {
        EACH_PRESENT(f, dst, r[i] = str_ends_with(a[i], b[i]););
    }
}

static void run_substr(struct expr_frame *f, const struct expr_instr *in)
{
    const struct str *a = ARG(f, in, 0)->data;
    const int64_t *from = ARG(f, in, 1)->data;
    const int64_t *count = in->arg_count > 2 ? ARG(f, in, 2)->data : NULL;
    struct str *r = expr_result(f, in);
    EACH_PRESENT(f, &f->regs[in->dst],
                 r[i] = substr(a[i], from[i], count != NULL ? count[i] : INT64_MAX););
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

/* A text of `len` bytes to be written at *out for row `i`; NULL: the row is null or it would be too long. */
static char *text_begin(struct expr_frame *f, const struct expr_instr *in, int32_t i, ptrdiff_t len,
                        char *out)
{
    const struct expr_reg *dst = &f->regs[in->dst];
    if (expr_reg_is_null(dst, i)) {
        return NULL;
    }
    if (len > EXPR_STR_MAX) {
        ((struct str *)dst->data)[i] = (struct str){0};
        expr_reject(f, i, EXPR_REJECT_TOO_LONG);
        return NULL;
    }
    ((struct str *)dst->data)[i] = (struct str){out, len};
    return out;
}

static ptrdiff_t joined_length(const struct expr_frame *f, const struct expr_instr *in, int32_t row)
{
    ptrdiff_t len = 0;
    for (int32_t k = 0; k < in->arg_count && !expr_reg_is_null(&f->regs[in->dst], row); k++) {
        len += ((const struct str *)ARG(f, in, k)->data)[row].len;
    }
    return len;
}

/* Room for the texts of all rows that are not too long. */
static char *room_for_texts(struct expr_frame *f, const struct expr_instr *in)
{
    ptrdiff_t total = 1;
    for (int32_t k = 0; k < f->n; k++) {
        ptrdiff_t len = joined_length(f, in, f->rows[k]);
        total += len <= EXPR_STR_MAX ? len : 0;
    }
    return arena_new_raw(f->arena, total, 1);
}

/* ASCII letters only: what other letters do depends on language. */
static void run_case(struct expr_frame *f, const struct expr_instr *in)
{
    const struct str *a = ARG(f, in, 0)->data;
    IGNORE_RESULT(expr_result(f, in)); /* written through text_begin */
    char *out = room_for_texts(f, in);
    bool down = in->op == EXPR_LOWER;
    for (int32_t k = 0; k < f->n; k++) {
        int32_t i = f->rows[k];
        ptrdiff_t len = joined_length(f, in, i);
        if (text_begin(f, in, i, len, out) == NULL) {
            continue;
        }
        for (ptrdiff_t j = 0; j < len; j++) {
            *out++ = down ? lower(a[i].ptr[j]) : upper(a[i].ptr[j]);
        }
    }
}

static void run_concat(struct expr_frame *f, const struct expr_instr *in)
{
    IGNORE_RESULT(expr_result(f, in)); /* written through text_begin */
    char *out = room_for_texts(f, in);
    for (int32_t k = 0; k < f->n; k++) {
        int32_t i = f->rows[k];
        if (text_begin(f, in, i, joined_length(f, in, i), out) == NULL) {
            continue;
        }
        for (int32_t n = 0; n < in->arg_count; n++) {
            struct str part = ((const struct str *)ARG(f, in, n)->data)[i];
            if (part.len > 0) {
                memcpy(out, part.ptr, (size_t)part.len);
            }
            out += part.len;
        }
    }
}

/* Down to a multiple of the width, also before 1970. */
static void run_bucket(struct expr_frame *f, const struct expr_instr *in)
{
    const int64_t *a = ARG(f, in, 0)->data;
    const int64_t *width = ARG(f, in, 1)->data;
    int64_t *r = expr_result(f, in);
    EACH_PRESENT(
        f, &f->regs[in->dst], int64_t w = width[i]; int64_t rest = w > 0 ? a[i] % w : 0;
        rest += rest < 0 ? w : 0; if (w <= 0 || __builtin_sub_overflow(a[i], rest, &r[i])) {
            r[i] = 0;
            expr_reject(f, i, EXPR_REJECT_TIME_RANGE);
        });
}

static struct str constant_format(const struct expr_frame *f, const struct expr_instr *in)
{
    return in->arg_count > 1 ? f->expr->bindings[in->args[1]].value.text : (struct str){0};
}

static void run_parse_time(struct expr_frame *f, const struct expr_instr *in)
{
    struct str format = constant_format(f, in);
    bool rfc3339 = in->arg_count == 1;
    const struct str *a = ARG(f, in, 0)->data;
    int64_t *r = expr_result(f, in);
    EACH_PRESENT(
        f, &f->regs[in->dst], int64_t ms = 0;
        bool good = rfc3339 ? time_parse_rfc3339(a[i], &ms) : time_parse_format(a[i], format, &ms);
        r[i] = ms; if (!good) { expr_reject(f, i, EXPR_REJECT_TIME_TEXT); });
}

static void run_format_time(struct expr_frame *f, const struct expr_instr *in)
{
    struct str format = constant_format(f, in);
    bool rfc3339 = in->arg_count == 1;
    const int64_t *a = ARG(f, in, 0)->data;
    struct str *r = expr_result(f, in);
    ptrdiff_t width = rfc3339 ? TIME_TEXT_MAX : 9 * format.len + 16; /* %s: 2 -> 13, at most */
    char *out = arena_new_raw(f->arena, (ptrdiff_t)f->n * width + 1, 1);
    EACH_PRESENT(
        f, &f->regs[in->dst],
        int32_t len = rfc3339 ? time_write_rfc3339(a[i], out)
                              : time_write_format(a[i], format, out, (int32_t)width);
        r[i] = (struct str){out, len}; out += len;
        if (a[i] < TIME_TEXT_MIN_MS || a[i] > TIME_TEXT_MAX_MS) {
            expr_reject(f, i, EXPR_REJECT_TIME_RANGE);
        });
}

static void run_cast_from_text(struct expr_frame *f, const struct expr_instr *in)
{
    const struct str *a = ARG(f, in, 0)->data;
    void *r = expr_result(f, in);
    const struct expr_reg *dst = &f->regs[in->dst];
    if (in->op == EXPR_CAST_STR_I64) {
        int64_t *to = r;
        EACH_PRESENT(
            f, dst, to[i] = 0;
            if (!i64_read(a[i], &to[i])) { expr_reject(f, i, EXPR_REJECT_CAST); });
    } else if (in->op == EXPR_CAST_STR_F64) {
        double *to = r;
        EACH_PRESENT(
            f, dst, to[i] = 0;
            if (!f64_read(a[i], &to[i])) { expr_reject(f, i, EXPR_REJECT_CAST); });
    } else {
        uint8_t *to = r;
        EACH_PRESENT(
            f, dst, to[i] = str_is(a[i], "true");
            if (to[i] == 0 && !str_is(a[i], "false")) { expr_reject(f, i, EXPR_REJECT_CAST); });
    }
}

static void run_cast_to_text(struct expr_frame *f, const struct expr_instr *in)
{
    const void *a = ARG(f, in, 0)->data;
    struct str *r = expr_result(f, in);
    const struct expr_reg *dst = &f->regs[in->dst];
    if (in->op == EXPR_CAST_BOOL_STR) {
        const uint8_t *flag = a;
        EACH_PRESENT(f, dst, r[i] = flag[i] != 0 ? STR("true") : STR("false"););
        return;
    }
    char *out = arena_new_raw(f->arena, (ptrdiff_t)f->n * 32 + 1, 1);
    if (in->op == EXPR_CAST_I64_STR) {
        const int64_t *value = a;
        EACH_PRESENT(f, dst, int32_t len = i64_write(value[i], out); r[i] = (struct str){out, len};
                     out += len;);
    } else {
        const double *value = a;
        EACH_PRESENT(f, dst, int32_t len = f64_write(value[i], out); r[i] = (struct str){out, len};
                     out += len;);
    }
}

void expr_run_text(struct expr_frame *f, const struct expr_instr *in)
{
    fill_args(f, in);
    switch ((int)in->op) {
    case EXPR_LENGTH:
        run_length(f, in);
        break;
    case EXPR_LOWER:
    case EXPR_UPPER:
        run_case(f, in);
        break;
    case EXPR_CONTAINS:
    case EXPR_STARTS_WITH:
    case EXPR_ENDS_WITH:
        run_search(f, in);
        break;
    case EXPR_SUBSTR:
        run_substr(f, in);
        break;
    case EXPR_CONCAT:
        run_concat(f, in);
        break;
    case EXPR_BUCKET:
        run_bucket(f, in);
        break;
    case EXPR_PARSE_TIME:
        run_parse_time(f, in);
        break;
    case EXPR_FORMAT_TIME:
        run_format_time(f, in);
        break;
    case EXPR_CAST_STR_I64:
    case EXPR_CAST_STR_F64:
    case EXPR_CAST_STR_BOOL:
        run_cast_from_text(f, in);
        break;
    default:
        CHECK(in->op == EXPR_CAST_I64_STR || in->op == EXPR_CAST_F64_STR ||
              in->op == EXPR_CAST_BOOL_STR);
        run_cast_to_text(f, in);
    }
}

// NOLINTEND(readability-function-size)
