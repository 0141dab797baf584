// SPDX-License-Identifier: Apache-2.0
// build: src/api/guard.c src/api/routes.c src/api/bind.c src/control/request.c src/control/entity.c -ljansson
#include <string.h>

#include "api/guard.h"
#include "api/routes.h"
#include "base/check.h"

/* "METHOD TARGET\n", lines "Name: value", a blank line, a body: whatever it is, it is refused with a reason, or it becomes
 * arguments within their bounds. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VALUE_MAX = 8192 };

/* A header's value, 0 behind it, as the HTTP library hands it on. */
static struct str header(void *ctx, const char *name)
{
    static char value[VALUE_MAX];
    struct str lines = *(const struct str *)ctx;
    while (lines.ptr != NULL) {
        struct str line = str_cut(&lines, '\n');
        struct str key = str_cut(&line, ':');
        if (guard_name_is(key, name) && line.ptr != NULL && line.len < VALUE_MAX) {
            struct str text = str_trim(line);
            memcpy(value, text.ptr, (size_t)text.len);
            value[text.len] = 0;
            return (struct str){value, (ptrdiff_t)strlen(value)};
        }
    }
    return (struct str){NULL, 0};
}

static bool guarded(struct str target, struct str lines)
{
    struct guard_headers headers;
    guard_headers_init(&headers);
    while (lines.ptr != NULL && lines.len > 0) {
        struct str value = str_cut(&lines, '\n');
        struct str name = str_cut(&value, ':');
        guard_headers_add(&headers, name, str_trim(value));
    }
    return guard_uri(target) == GUARD_OK && guard_headers_end(&headers) == GUARD_OK;
}

static void check_args(const struct control_args *args)
{
    CHECK(memchr(args->stream, 0, sizeof(args->stream)) != NULL);
    CHECK(memchr(args->key_field, 0, sizeof(args->key_field)) != NULL);
    CHECK(memchr(args->record_key, 0, sizeof(args->record_key)) != NULL);
    CHECK(memchr(args->idempotency_key, 0, sizeof(args->idempotency_key)) != NULL);
    CHECK(memchr(args->if_match, 0, sizeof(args->if_match)) != NULL);
    CHECK(args->shard >= -1 && args->shard < 1024 && args->shards >= 1 && args->shards <= 1024);
    CHECK(args->limit >= 1 && args->limit <= CONTROL_READ_RECORDS_MAX && args->offset >= -2);
    CHECK(args->wait_seconds >= 0 && args->wait_seconds <= CONTROL_WAIT_SECONDS_MAX);
    CHECK(args->format >= 0 && args->format <= INGEST_RAW);
    CHECK(args->producer_id >= -1 && args->producer_epoch <= INT16_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err_info info = {.code = ERR_OK};
    char pointer[BIND_POINTER_MAX];
    char allow[ROUTE_ALLOW_MAX];
    const struct route *route = NULL;
    struct str rest = {(const char *)data, (ptrdiff_t)size};
    struct str target = str_cut(&rest, '\n');
    struct str method = str_cut(&target, ' ');
    ptrdiff_t blank = str_find(rest, STR("\n\n"));
    struct str lines = blank >= 0 ? (struct str){rest.ptr, blank} : rest;
    struct str body = blank >= 0 ? (struct str){rest.ptr + blank + 2, rest.len - blank - 2}
                                 : (struct str){NULL, 0};
    if (!guarded(target, lines)) {
        return 0;
    }
    struct bind_input input = {.query = target, .header = header, .ctx = &lines};
    struct control_args args;
    input.path = str_cut(&input.query, '?');
    control_args_init(&args);
    enum err err = route_find(method, input.path, &route, allow, &info);
    err = err == ERR_OK ? route_bind_head(route, &input, &args, pointer, &info) : err;
    if (err == ERR_OK && route->body == BODY_JSON) {
        err = route_bind_body(route, body, &args, pointer, &info);
    }
    CHECK(err == ERR_OK || (info.text[0] != 0 && strlen(info.text) < ERR_TEXT_MAX));
    check_args(&args);
    return 0;
}
