// SPDX-License-Identifier: Apache-2.0
#include "api/routes.h"

#include <stddef.h>
#include <stdio.h>

#include "base/check.h"

#define ARG(member)      offsetof(struct control_args, member)
#define TEXT_CAP(member) ((int64_t)sizeof(((struct control_args *)NULL)->member) - 1)
#define PARAM_END \
    { \
        .name = NULL \
    }
#define STREAM_IN_PATH \
    { \
        .name = "name", .source = PARAM_PATH, .type = PARAM_TEXT, .required = true, \
        .offset = ARG(stream), .min = 1, .max = CONTROL_NAME_MAX, .help = "name of the stream" \
    }

static const struct param list_params[] = {
    {.name = "internal",
     .source = PARAM_QUERY,
     .type = PARAM_FLAG,
     .offset = ARG(internal),
     .help = "internal streams too (admin)"},
    PARAM_END,
};

static const struct param name_params[] = {STREAM_IN_PATH, PARAM_END};

static const struct param changed_params[] = {
    STREAM_IN_PATH,
    {.name = "If-Match",
     .source = PARAM_HEADER,
     .type = PARAM_TEXT,
     .offset = ARG(if_match),
     .min = 1,
     .max = TEXT_CAP(if_match),
     .help = "only if the stream's ETag still is this"},
    PARAM_END,
};

#define RETENTION_IN_BODY \
    {.name = "retention_seconds", \
     .source = PARAM_BODY, \
     .type = PARAM_F64, \
     .offset = ARG(retention_seconds), \
     .min = -1, \
     .max = 3650LL * 86400, \
     .help = "how long records are kept; -1: for ever"}, \
    { \
        .name = "retention_bytes", .source = PARAM_BODY, .type = PARAM_I64, \
        .offset = ARG(retention_bytes), .min = -1, .max = 1LL << 50, \
        .help = "bytes kept of each shard; -1: no limit" \
    }

static const struct param create_params[] = {
    {.name = "name",
     .source = PARAM_BODY,
     .type = PARAM_TEXT,
     .required = true,
     .offset = ARG(stream),
     .min = 1,
     .max = CONTROL_NAME_MAX,
     .help = "letters, digits, '.', '_', '-'; names that begin with sc. are reserved"},
    {.name = "shards",
     .source = PARAM_BODY,
     .type = PARAM_I64,
     .offset = ARG(shards),
     .min = 1,
     .max = 1024,
     .help = "number of shards (default 1)"},
    RETENTION_IN_BODY,
    PARAM_END,
};

static const struct param alter_params[] = {
    STREAM_IN_PATH,
    {.name = "If-Match",
     .source = PARAM_HEADER,
     .type = PARAM_TEXT,
     .offset = ARG(if_match),
     .min = 1,
     .max = TEXT_CAP(if_match),
     .help = "only if the stream's ETag still is this"},
    RETENTION_IN_BODY,
    PARAM_END,
};

static const struct param ingest_params[] = {
    STREAM_IN_PATH,
    {.name = "format",
     .source = PARAM_QUERY,
     .type = PARAM_CHOICE,
     .offset = ARG(format),
     .words = "ndjson|lines|raw",
     .help =
         "ndjson: a JSON value a line (default); lines: any text a line; raw: the body is one record"},
    {.name = "key_field",
     .source = PARAM_QUERY,
     .type = PARAM_TEXT,
     .offset = ARG(key_field),
     .min = 1,
     .max = CONTROL_FIELD_MAX,
     .help = "ndjson: top-level field that becomes the key"},
    {.name = "shard",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(shard),
     .min = 0,
     .max = 1023,
     .help = "write to this shard, whatever the keys are"},
    {.name = "X-Record-Key",
     .source = PARAM_HEADER,
     .type = PARAM_TEXT,
     .offset = ARG(record_key),
     .min = 0,
     .max = CONTROL_KEY_MAX,
     .help = "key of all records of this call"},
    {.name = "Idempotency-Key",
     .source = PARAM_HEADER,
     .type = PARAM_TEXT,
     .offset = ARG(idempotency_key),
     .min = 1,
     .max = CONTROL_IDEMPOTENCY_MAX,
     .help =
         "a second call with the same key and body stores nothing and is answered as the first (one day)"},
    {.name = "X-Producer-Id",
     .source = PARAM_HEADER,
     .type = PARAM_I64,
     .offset = ARG(producer_id),
     .min = 0,
     .max = INT64_MAX,
     .help = "from POST /api/v1/producers"},
    {.name = "X-Producer-Epoch",
     .source = PARAM_HEADER,
     .type = PARAM_I64,
     .offset = ARG(producer_epoch),
     .min = 0,
     .max = INT16_MAX,
     .help = "with X-Producer-Id"},
    {.name = "X-Producer-Sequence",
     .source = PARAM_HEADER,
     .type = PARAM_I64,
     .offset = ARG(producer_sequence),
     .min = 0,
     .max = INT64_MAX,
     .help =
         "number of this call's first record among all that the producer sends to the stream, from 0"},
    PARAM_END,
};

static const struct param read_params[] = {
    STREAM_IN_PATH,
    {.name = "shard",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(shard),
     .min = 0,
     .max = 1023,
     .help = "index of the shard (default 0)"},
    {.name = "offset",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(offset),
     .min = -2,
     .max = INT64_MAX,
     .help = "first offset; -1: the end, -2: the start (default 0)"},
    {.name = "limit",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(limit),
     .min = 1,
     .max = CONTROL_READ_RECORDS_MAX,
     .help = "records at most (default 100)"},
    {.name = "wait",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(wait_seconds),
     .min = 0,
     .max = CONTROL_WAIT_SECONDS_MAX,
     .help = "seconds to wait for a first record"},
    {.name = "format",
     .source = PARAM_QUERY,
     .type = PARAM_CHOICE,
     .offset = ARG(format),
     .words = "json|raw",
     .help = "json: an object a line (default); raw: the values, a line each"},
    PARAM_END,
};

const struct route routes[] = {
    {METHOD_GET, "/livez", ROLE_NONE, CONTROL_LIVE, BODY_NONE, ANSWER_CHECKS, &check_entity, 200,
     false, NULL, "live", "Whether the process does its work at all"},
    {METHOD_GET, "/readyz", ROLE_NONE, CONTROL_READY, BODY_NONE, ANSWER_CHECKS, &check_entity, 200,
     false, NULL, "ready", "Whether it takes and processes records, with a reason for each check"},
    {METHOD_GET, "/metrics", ROLE_VIEWER, CONTROL_FIGURES, BODY_NONE, ANSWER_METRICS, NULL, 200,
     false, NULL, "metrics", "Figures in Prometheus' text format"},
    {METHOD_GET, "/openapi.json", ROLE_VIEWER, CONTROL_LIVE, BODY_NONE, ANSWER_OPENAPI, NULL, 200,
     false, NULL, "openapi", "This document"},
    {METHOD_GET, "/api/v1/streams", ROLE_VIEWER, CONTROL_STREAM_LIST, BODY_NONE, ANSWER_LIST,
     &stream_entity, 200, false, list_params, "stream_list", "Streams"},
    {METHOD_POST, "/api/v1/streams", ROLE_OPERATOR, CONTROL_STREAM_CREATE, BODY_JSON, ANSWER_ROW,
     &stream_entity, 201, true, create_params, "stream_create", "Make a stream"},
    {METHOD_GET, "/api/v1/streams/{name}", ROLE_VIEWER, CONTROL_STREAM_GET, BODY_NONE, ANSWER_ROW,
     &stream_entity, 200, false, name_params, "stream_show", "One stream"},
    {METHOD_PATCH, "/api/v1/streams/{name}", ROLE_OPERATOR, CONTROL_STREAM_ALTER, BODY_JSON,
     ANSWER_ROW, &stream_entity, 200, true, alter_params, "stream_alter", "Change its retention"},
    {METHOD_DELETE, "/api/v1/streams/{name}", ROLE_ADMIN, CONTROL_STREAM_DELETE, BODY_NONE,
     ANSWER_NONE, NULL, 204, true, changed_params, "stream_delete", "Delete it and its records"},
    {METHOD_GET, "/api/v1/streams/{name}/shards", ROLE_VIEWER, CONTROL_SHARD_LIST, BODY_NONE,
     ANSWER_LIST, &shard_entity, 200, false, name_params, "shard_list", "Its shards"},
    {METHOD_POST, "/api/v1/streams/{name}/records", ROLE_OPERATOR, CONTROL_INGEST, BODY_RECORDS,
     ANSWER_ROW, &appended_entity, 200, false, ingest_params, "record_append",
     "Append records; answered when they are durable"},
    {METHOD_GET, "/api/v1/streams/{name}/records", ROLE_VIEWER, CONTROL_READ, BODY_NONE,
     ANSWER_RECORDS, NULL, 200, false, read_params, "record_read", "Read records of one shard"},
    {METHOD_POST, "/api/v1/streams/{name}/end", ROLE_OPERATOR, CONTROL_END, BODY_NONE, ANSWER_ROW,
     &appended_entity, 200, true, name_params, "stream_end",
     "Say that no more records come: closes all windows of its readers"},
    {METHOD_POST, "/api/v1/producers", ROLE_OPERATOR, CONTROL_PRODUCER_NEW, BODY_NONE, ANSWER_ROW,
     &producer_entity, 201, true, NULL, "producer_create", "A new producer id"},
    {METHOD_GET, "/api/v1/partitions", ROLE_VIEWER, CONTROL_PARTITION_LIST, BODY_NONE, ANSWER_LIST,
     &partition_entity, 200, false, NULL, "partition_list", "Partitions, with their figures"},
    {METHOD_GET, "/api/v1/lanes", ROLE_VIEWER, CONTROL_LANE_LIST, BODY_NONE, ANSWER_LIST,
     &lane_entity, 200, false, NULL, "lane_list", "Lanes of all nodes, with their figures"},
    {METHOD_GET, "/api/v1/pipelines", ROLE_VIEWER, CONTROL_PIPELINE_LIST, BODY_NONE, ANSWER_LIST,
     &pipeline_entity, 200, false, NULL, "pipeline_list", "Pipelines"},
    {.path = NULL},
};

static const char *const method_names[METHOD_COUNT] = {"GET", "POST", "PATCH", "DELETE"};

const char *method_name(enum method method)
{
    CHECK((unsigned)method < METHOD_COUNT);
    return method_names[method];
}

/* Whether a raw path has the template's form; a `{...}` takes one segment that is not empty. */
static bool path_matches(const char *template, struct str path)
{
    struct str wanted = str_of(template);
    while (wanted.ptr != NULL && path.ptr != NULL) {
        struct str want = str_cut(&wanted, '/');
        struct str have = str_cut(&path, '/');
        bool any = want.len > 0 && want.ptr[0] == '{';
        if (any ? have.len == 0 : !str_equal(want, have)) {
            return false;
        }
    }
    return wanted.ptr == NULL && path.ptr == NULL;
}

enum err route_find(struct str method, struct str path, const struct route **ret_route,
                    char ret_allow[ROUTE_ALLOW_MAX], struct err_info *info)
{
    size_t used = 0;
    struct str wanted = str_is(method, "HEAD") ? STR("GET") : method;
    ret_allow[0] = 0;
    for (const struct route *route = routes; route->path != NULL; route++) {
        if (!path_matches(route->path, path)) {
            continue;
        }
        if (str_is(wanted, method_name(route->method))) {
            *ret_route = route;
            return ERR_OK;
        }
        IGNORE_RESULT(snprintf(ret_allow + used, ROUTE_ALLOW_MAX - used, "%s%s",
                               used > 0 ? ", " : "", method_name(route->method))); /* fits */
        used = strlen(ret_allow);
    }
    if (used > 0) {
        return err_set(info, ERR_UNSUPPORTED, "%.*s is not for this path; these are: %s",
                       method.len > 16 ? 16 : (int)method.len, method.ptr, ret_allow);
    }
    return err_set(info, ERR_NOT_FOUND, "no such path; GET /openapi.json lists them");
}
