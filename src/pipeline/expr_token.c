// SPDX-License-Identifier: Apache-2.0
/* Cuts the text of an expression into tokens, and tells where in the file one stands. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "pipeline/expr_tree.h"

struct expr_node *expr_fail(struct expr_parser *p, int32_t at, const char *fmt, ...)
{
    if (p->failed) {
        return NULL; /* the first error is the one to tell */
    }
    p->failed = true;
    int32_t lines = 0;
    int32_t line_start = 0;
    bool block = memchr(p->text.ptr, '\n', (size_t)p->text.len) != NULL;
    for (int32_t i = 0; i < at; i++) {
        if (p->text.ptr[i] == '\n') {
            lines++;
            line_start = i + 1;
        }
    }
    struct yaml_node here = *p->place;
    here.line += lines + (block ? 1 : 0);
    here.column = block ? at - line_start + 1 : here.column + at + (here.quoted ? 1 : 0);
    char message[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(
        vsnprintf(message, sizeof(message), fmt, args)); /* cut at the size of any error */
    va_end(args);
    enum err err = yaml_fail(p->info, &here, "%s", message);
    CHECK(err != ERR_OK);
    return NULL;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

char expr_char_at(const struct expr_parser *p, int32_t i)
{
    return i < p->text.len ? p->text.ptr[i] : 0;
}

static int32_t end_of_name(const struct expr_parser *p, int32_t i)
{
    while (is_name_start(expr_char_at(p, i)) || expr_is_digit(expr_char_at(p, i)) ||
           (expr_char_at(p, i) == '.' && is_name_start(expr_char_at(p, i + 1)))) {
        i++;
    }
    return i;
}

/* Digits, a fraction, an exponent, a unit: "10", "1.5", "2e3", "10s". */
static int32_t end_of_number(const struct expr_parser *p, int32_t i)
{
    while (expr_is_digit(expr_char_at(p, i))) {
        i++;
    }
    if (expr_char_at(p, i) == '.' && expr_is_digit(expr_char_at(p, i + 1))) {
        i++;
        while (expr_is_digit(expr_char_at(p, i))) {
            i++;
        }
    }
    if (expr_char_at(p, i) == 'e' || expr_char_at(p, i) == 'E') {
        int32_t sign = expr_char_at(p, i + 1) == '+' || expr_char_at(p, i + 1) == '-' ? 1 : 0;
        if (expr_is_digit(expr_char_at(p, i + 1 + sign))) {
            i += 1 + sign;
            while (expr_is_digit(expr_char_at(p, i))) {
                i++;
            }
        }
    }
    return end_of_name(p, i);
}

/* The end of a text in quotes, where a doubled quote stands for one; -1: not closed. */
static int32_t end_of_quoted(const struct expr_parser *p, int32_t i, char quote)
{
    for (i++; i < p->text.len; i++) {
        if (p->text.ptr[i] == quote) {
            if (expr_char_at(p, i + 1) != quote) {
                return i + 1;
            }
            i++;
        }
    }
    return -1;
}

static int32_t end_of_sign(const struct expr_parser *p, int32_t i)
{
    char c = expr_char_at(p, i);
    char next = expr_char_at(p, i + 1);
    bool two = (next == '=' && (c == '=' || c == '!' || c == '<' || c == '>')) ||
               (c == '<' && next == '>');
    return i + (two ? 2 : 1);
}

void expr_advance(struct expr_parser *p)
{
    int32_t i = p->token_end;
    while (expr_char_at(p, i) == ' ' || expr_char_at(p, i) == '\t' || expr_char_at(p, i) == '\n' ||
           expr_char_at(p, i) == '\r') {
        i++;
    }
    char c = expr_char_at(p, i);
    struct expr_token token = {.at = i};
    int32_t end = i;
    if (i >= p->text.len) {
        token.kind = EXPR_TOKEN_END;
    } else if (is_name_start(c)) {
        token.kind = EXPR_TOKEN_NAME;
        end = end_of_name(p, i);
    } else if (expr_is_digit(c)) {
        token.kind = EXPR_TOKEN_NUMBER;
        end = end_of_number(p, i);
    } else if (c == '\'' || c == '"') {
        token.kind = c == '"' ? EXPR_TOKEN_QUOTED_NAME : EXPR_TOKEN_TEXT;
        end = end_of_quoted(p, i, c);
        if (end < 0) {
            IGNORE_RESULT(expr_fail(p, i, "a text begins here and is not closed: add a %c", c));
            token.kind = EXPR_TOKEN_END;
            end = (int32_t)p->text.len;
        }
    } else {
        token.kind = EXPR_TOKEN_SIGN;
        end = end_of_sign(p, i);
    }
    int32_t inner = token.kind == EXPR_TOKEN_TEXT || token.kind == EXPR_TOKEN_QUOTED_NAME ? 1 : 0;
    token.text = (struct str){p->text.ptr + i + inner, end - i - 2 * inner};
    p->token = token;
    p->token_end = end;
}

bool expr_at_word(const struct expr_parser *p, const char *word)
{
    return p->token.kind == EXPR_TOKEN_NAME && str_is(p->token.text, word);
}

bool expr_at_sign(const struct expr_parser *p, const char *sign)
{
    return p->token.kind == EXPR_TOKEN_SIGN && str_is(p->token.text, sign);
}

bool expr_take_word(struct expr_parser *p, const char *word)
{
    bool found = expr_at_word(p, word);
    if (found) {
        expr_advance(p);
    }
    return found;
}

bool expr_take_sign(struct expr_parser *p, const char *sign)
{
    bool found = expr_at_sign(p, sign);
    if (found) {
        expr_advance(p);
    }
    return found;
}

bool expr_expect_sign(struct expr_parser *p, const char *sign)
{
    if (expr_take_sign(p, sign)) {
        return true;
    }
    if (p->token.kind == EXPR_TOKEN_END) {
        IGNORE_RESULT(
            expr_fail(p, p->token.at, "the expression ends here, a '%s' is missing", sign));
    } else {
        IGNORE_RESULT(expr_fail(p, p->token.at, "'%.*s' stands where a '%s' belongs",
                                STR_ARG(p->token.text), sign));
    }
    return false;
}
