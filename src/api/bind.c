// SPDX-License-Identifier: Apache-2.0
/* From a request's path, query, headers and JSON body to typed, checked arguments, by the route's table. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"
#include "base/check.h"

enum { BIND_VALUE_MAX = 4096, QUERY_PARAMS_MAX = 32 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err uri_decode(struct str text, bool plus, char *buf, ptrdiff_t cap, ptrdiff_t *ret_len,
                    struct err_info *info)
{
    ptrdiff_t len = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            bool whole = i + 2 < text.len;
            int high = whole ? hex_digit(text.ptr[i + 1]) : -1;
            int low = whole ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || high * 16 + low == 0) {
                return err_set(info, ERR_INVALID, "bad percent-encoding at byte %td of '%.*s'", i,
                               text.len > 64 ? 64 : (int)text.len, text.ptr);
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (len + 1 >= cap) {
            return err_set(info, ERR_LIMIT, "value longer than %td bytes", cap - 1);
        }
        buf[len++] = c;
    }
    buf[len] = 0;
    *ret_len = len;
    return ERR_OK;
}

static const char *source_name(enum param_source source)
{
    static const char *const names[] = {"path", "query", "header", "body"};
    return names[source];
}

static void point_at(char pointer[BIND_POINTER_MAX], enum param_source source, struct str name)
{
    IGNORE_RESULT(snprintf(pointer, BIND_POINTER_MAX, "/%s/%.*s", source_name(source),
                           name.len > 64 ? 64 : (int)name.len, name.ptr)); /* cut is fine */
}

static void *place(const struct param *param, struct control_args *args)
{
    return (char *)args + param->offset;
}

/* The three writers below are the only places that store into `args`; each checks the table's bounds. */

static enum err put_text(const struct param *param, struct str value, struct control_args *args,
                         struct err_info *info)
{
    if (value.len < param->min || value.len > param->max) {
        return err_set(info, value.len > param->max ? ERR_LIMIT : ERR_INVALID,
                       "%s is %td bytes long, not %lld to %lld", param->name, value.len,
                       (long long)param->min, (long long)param->max);
    }
    if (value.len > 0 && memchr(value.ptr, 0, (size_t)value.len) != NULL) {
        return err_set(info, ERR_INVALID, "%s holds a NUL", param->name);
    }
    char *to = place(param, args);
    if (value.len > 0) {
        memcpy(to, value.ptr, (size_t)value.len);
    }
    to[value.len] = 0;
    if (param->offset == offsetof(struct control_args, record_key)) {
        args->has_record_key = true;
    }
    return ERR_OK;
}

static enum err put_i64(const struct param *param, int64_t value, struct control_args *args,
                        struct err_info *info)
{
    if (value < param->min || value > param->max) {
        return err_set(info, ERR_INVALID, "%s is %lld, not %lld to %lld", param->name,
                       (long long)value, (long long)param->min, (long long)param->max);
    }
    *(int64_t *)place(param, args) = value;
    return ERR_OK;
}

static enum err put_f64(const struct param *param, double value, struct control_args *args,
                        struct err_info *info)
{
    if (!(value >= param->least && value <= param->most)) {
        return err_set(info, ERR_INVALID, "%s is %g, not %g to %g", param->name, value,
                       param->least, param->most);
    }
    *(double *)place(param, args) = value;
    return ERR_OK;
}

static enum err put_choice(const struct param *param, struct str value, struct control_args *args,
                           struct err_info *info)
{
    struct str rest = str_of(param->words);
    for (int64_t i = 0; rest.ptr != NULL; i++) {
        if (str_equal(str_cut(&rest, '|'), value)) {
            *(int64_t *)place(param, args) = i;
            return ERR_OK;
        }
    }
    return err_set(info, ERR_INVALID, "%s is '%.*s', which is none of %s", param->name,
                   value.len > 64 ? 64 : (int)value.len, value.ptr, param->words);
}

/* A value that came as text, 0 behind it. */
static enum err put(const struct param *param, struct str value, struct control_args *args,
                    struct err_info *info)
{
    char *end = NULL;
    errno = 0;
    switch (param->type) {
    case PARAM_TEXT:
        return put_text(param, value, args, info);
    case PARAM_CHOICE:
        return put_choice(param, value, args, info);
    case PARAM_I64: {
        long long number = strtoll(value.ptr, &end, 10);
        bool digits = value.len > 0 && (value.ptr[0] == '-' || hex_digit(value.ptr[0]) >= 0);
        if (!digits || end != value.ptr + value.len || errno != 0) {
            return err_set(info, ERR_TYPE, "%s is not a whole number", param->name);
        }
        return put_i64(param, number, args, info);
    }
    case PARAM_F64: {
        double number = strtod(value.ptr, &end);
        if (value.len == 0 || end != value.ptr + value.len || errno != 0) {
            return err_set(info, ERR_TYPE, "%s is not a number", param->name);
        }
        return put_f64(param, number, args, info);
    }
    case PARAM_FLAG:
        if (!str_is(value, "true") && !str_is(value, "false")) {
            return err_set(info, ERR_TYPE, "%s is neither true nor false", param->name);
        }
        *(bool *)place(param, args) = str_is(value, "true");
        return ERR_OK;
    }
    return err_set(info, ERR_INTERNAL, "%s has no type", param->name);
}

static const struct param *find_param(const struct route *route, enum param_source source,
                                      struct str name)
{
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        if (p->source == source && str_is(name, p->name)) {
            return p;
        }
    }
    return NULL;
}

/* A name that is none of the route's: tells those that are, as far as they fit. */
static enum err refuse_name(const struct route *route, enum param_source source, const char *name,
                            struct err_info *info)
{
    char known[ERR_TEXT_MAX] = "";
    size_t len = 0;
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        size_t more = strlen(p->name) + 2;
        if (p->source == source && len + more < sizeof(known)) {
            IGNORE_RESULT(snprintf(known + len, sizeof(known) - len, "%s%s", len > 0 ? ", " : "",
                                   p->name)); /* fits */
            len = strlen(known);
        }
    }
    return err_set(info, ERR_INVALID, "no %s '%.64s' here; there %s%s",
                   source == PARAM_QUERY ? "query parameter" : "member", name,
                   len > 0 ? "are: " : "is none", known);
}

static enum err bind_path(const struct route *route, struct str path, struct control_args *args,
                          char pointer[BIND_POINTER_MAX], struct err_info *info)
{
    struct str wanted = str_of(route->path);
    while (wanted.ptr != NULL) {
        char buf[BIND_VALUE_MAX];
        ptrdiff_t len = 0;
        struct str want = str_cut(&wanted, '/');
        struct str have = str_cut(&path, '/');
        if (want.len == 0 || want.ptr[0] != '{') {
            continue;
        }
        struct str name = {want.ptr + 1, want.len - 2};
        const struct param *param = find_param(route, PARAM_PATH, name);
        CHECK_MSG(param != NULL, "route %s: a path parameter without a row", route->path);
        point_at(pointer, PARAM_PATH, name);
        enum err err = uri_decode(have, false, buf, sizeof(buf), &len, info);
        if (err == ERR_OK) {
            err = put(param, (struct str){buf, len}, args, info);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err bind_query_pair(const struct route *route, struct str pair,
                                struct control_args *args, char pointer[BIND_POINTER_MAX],
                                uint32_t *seen, struct err_info *info)
{
    char name[128];
    char buf[BIND_VALUE_MAX];
    ptrdiff_t name_len = 0;
    ptrdiff_t len = 0;
    struct str name_text = str_cut(&pair, '=');
    point_at(pointer, PARAM_QUERY, name_text);
    enum err err = uri_decode(name_text, true, name, sizeof(name), &name_len, info);
    if (err == ERR_OK) {
        err = uri_decode(pair, true, buf, sizeof(buf), &len, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct param *param = find_param(route, PARAM_QUERY, (struct str){name, name_len});
    if (param == NULL) {
        return refuse_name(route, PARAM_QUERY, name, info);
    }
    uint32_t bit = 1u << (param - route->params);
    if ((*seen & bit) != 0) {
        return err_set(info, ERR_INVALID, "query parameter '%s' comes twice", param->name);
    }
    *seen |= bit;
    return put(param, (struct str){buf, len}, args, info);
}

enum err route_bind_head(const struct route *route, const struct bind_input *input,
                         struct control_args *args, char ret_pointer[BIND_POINTER_MAX],
                         struct err_info *info)
{
    uint32_t seen = 0;
    ret_pointer[0] = 0;
    enum err err = bind_path(route, input->path, args, ret_pointer, info);
    struct str query = input->query;
    while (err == ERR_OK && query.ptr != NULL && query.len > 0) {
        err = bind_query_pair(route, str_cut(&query, '&'), args, ret_pointer, &seen, info);
    }
    for (const struct param *p = route->params; err == ERR_OK && p != NULL && p->name != NULL;
         p++) {
        struct str value = {NULL, 0};
        if (p->source == PARAM_HEADER) {
            value = input->header(input->ctx, p->name);
        }
        point_at(ret_pointer, p->source, str_of(p->name));
        if (value.ptr != NULL) {
            err = put(p, value, args, info);
        } else if (p->source == PARAM_HEADER && p->required) {
            err = err_set(info, ERR_INVALID, "header %s is missing", p->name);
        } else if (p->source == PARAM_QUERY && p->required &&
                   (seen & 1u << (p - route->params)) == 0) {
            err = err_set(info, ERR_INVALID, "query parameter '%s' is missing", p->name);
        }
    }
    return err;
}

static enum err put_json(const struct param *param, const json_t *value, struct control_args *args,
                         struct err_info *info)
{
    switch (param->type) {
    case PARAM_TEXT:
    case PARAM_CHOICE:
        if (json_is_string(value)) {
            return put(param,
                       (struct str){json_string_value(value), (ptrdiff_t)json_string_length(value)},
                       args, info);
        }
        return err_set(info, ERR_TYPE, "%s is not a string", param->name);
    case PARAM_I64:
        if (json_is_integer(value)) {
            return put_i64(param, json_integer_value(value), args, info);
        }
        return err_set(info, ERR_TYPE, "%s is not a whole number", param->name);
    case PARAM_F64:
        if (json_is_number(value)) {
            return put_f64(param, json_number_value(value), args, info);
        }
        return err_set(info, ERR_TYPE, "%s is not a number", param->name);
    case PARAM_FLAG:
        if (json_is_boolean(value)) {
            *(bool *)place(param, args) = json_is_true(value);
            return ERR_OK;
        }
        return err_set(info, ERR_TYPE, "%s is neither true nor false", param->name);
    }
    return err_set(info, ERR_INTERNAL, "%s has no type", param->name);
}

static enum err bind_members(const struct route *route, json_t *root, struct control_args *args,
                             char pointer[BIND_POINTER_MAX], struct err_info *info)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(root, name, value)
    {
        const struct param *param = find_param(route, PARAM_BODY, str_of(name));
        point_at(pointer, PARAM_BODY, str_of(name));
        if (param == NULL) {
            return refuse_name(route, PARAM_BODY, name, info);
        }
        enum err err = put_json(param, value, args, info);
        if (err != ERR_OK) {
            return err;
        }
    }
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        if (p->source == PARAM_BODY && p->required && json_object_get(root, p->name) == NULL) {
            point_at(pointer, PARAM_BODY, str_of(p->name));
            return err_set(info, ERR_INVALID, "member '%s' is missing", p->name);
        }
    }
    return ERR_OK;
}

enum err route_bind_body(const struct route *route, struct str body, struct control_args *args,
                         char ret_pointer[BIND_POINTER_MAX], struct err_info *info)
{
    json_error_t error;
    point_at(ret_pointer, PARAM_BODY, STR(""));
    if (body.len == 0) {
        return err_set(info, ERR_PARSE, "the body is empty; a JSON object is wanted");
    }
    json_t *root = json_loadb(body.ptr, (size_t)body.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return err_set(info, ERR_PARSE, "the body is not JSON: line %d column %d: %.120s",
                       error.line, error.column, error.text);
    }
    enum err err = json_is_object(root) ? bind_members(route, root, args, ret_pointer, info)
                                        : err_set(info, ERR_TYPE, "the body is not a JSON object");
    json_decref(root);
    return err;
}
