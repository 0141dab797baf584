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
     .least = -1, \
     .most = 3650LL * 86400, \
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

/* --- layout --- */

#define PIPELINE_IN_PATH \
    { \
        .name = "pipeline", .source = PARAM_PATH, .type = PARAM_TEXT, .required = true, \
        .offset = ARG(pipeline), .min = 1, .max = CONTROL_NAME_MAX, .help = "name of the pipeline" \
    }
#define PARTITION_IN_PATH \
    PIPELINE_IN_PATH, \
        {.name = "stage", \
         .source = PARAM_PATH, \
         .type = PARAM_TEXT, \
         .required = true, \
         .offset = ARG(stage), \
         .min = 1, \
         .max = CONTROL_NAME_MAX, \
         .help = "name of the stage"}, \
        {.name = "shard", \
         .source = PARAM_PATH, \
         .type = PARAM_I64, \
         .required = true, \
         .offset = ARG(shard), \
         .min = 0, \
         .max = 1023, \
         .help = "index of the shard"}, \
    { \
        .name = "range", .source = PARAM_PATH, .type = PARAM_TEXT, .required = true, \
        .offset = ARG(range), .min = 3, .max = CONTROL_RANGE_MAX, \
        .help = "key groups, lo-hi, hi not included: 0-4096" \
    }
#define ORDER_PARAMS \
    {.name = "apply", \
     .source = PARAM_QUERY, \
     .type = PARAM_FLAG, \
     .offset = ARG(apply), \
     .help = "true: do it; false (default): only tell what would happen"}, \
    { \
        .name = "Idempotency-Key", .source = PARAM_HEADER, .type = PARAM_TEXT, \
        .offset = ARG(idempotency_key), .min = 1, .max = CONTROL_IDEMPOTENCY_MAX, \
        .help = \
            "a second call with the same key begins nothing and is answered with the first one's " \
            "operation" \
    }
#define IF_MATCH(what) \
    { \
        .name = "If-Match", .source = PARAM_HEADER, .type = PARAM_TEXT, .offset = ARG(if_match), \
        .min = 1, .max = TEXT_CAP(if_match), .help = what \
    }
#define TO_IN_QUERY(is_required, what) \
    { \
        .name = "to", .source = PARAM_QUERY, .type = PARAM_TEXT, .required = is_required, \
        .offset = ARG(to), .min = 2, .max = CONTROL_PLACE_MAX, .help = what \
    }

static const struct param partition_params[] = {PARTITION_IN_PATH, PARAM_END};

static const struct param split_params[] = {
    PARTITION_IN_PATH,
    {.name = "border",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(border),
     .min = 1,
     .max = 4095,
     .help = "first key group of the upper half (left out: where the measured load halves)"},
    TO_IN_QUERY(false,
                "where the upper half goes: n1/0, or n1 for its least demanded lane (left out: "
                "the least demanded lane, if that is a gain)"),
    ORDER_PARAMS,
    IF_MATCH("only if the partition's ETag still is this"),
    PARAM_END,
};

static const struct param merge_params[] = {
    PARTITION_IN_PATH,
    {.name = "with",
     .source = PARAM_QUERY,
     .type = PARAM_TEXT,
     .required = true,
     .offset = ARG(with),
     .min = 1,
     .max = CONTROL_PARTITION_MAX,
     .help = "id of a neighbour: pipeline/stage/shard/lo-hi"},
    TO_IN_QUERY(false, "where the whole goes: n1/0, or n1 (left out: it stays where the first is)"),
    ORDER_PARAMS,
    IF_MATCH("only if the partition's ETag still is this"),
    PARAM_END,
};

static const struct param migrate_params[] = {
    PARTITION_IN_PATH, TO_IN_QUERY(true, "where it goes: n1/0, or n1 for its least demanded lane"),
    ORDER_PARAMS,      IF_MATCH("only if the partition's ETag still is this"),
    PARAM_END,
};

static const struct param node_params[] = {
    {.name = "node",
     .source = PARAM_PATH,
     .type = PARAM_TEXT,
     .required = true,
     .offset = ARG(node),
     .min = 1,
     .max = CONTROL_PLACE_MAX,
     .help = "name of the node: n0, n1, ..."},
    ORDER_PARAMS,
    PARAM_END,
};

static const struct param pipeline_params[] = {PIPELINE_IN_PATH, PARAM_END};

static const struct param replace_params[] = {
    PIPELINE_IN_PATH,
    {.name = "drop_state",
     .source = PARAM_QUERY,
     .type = PARAM_FLAG,
     .offset = ARG(drop_state),
     .help = "true: state that the new chains cannot go on with is dropped"},
    ORDER_PARAMS,
    IF_MATCH("only if the text's ETag still is this"),
    PARAM_END,
};

#define OPERATION_IN_PATH \
    { \
        .name = "id", .source = PARAM_PATH, .type = PARAM_I64, .required = true, \
        .offset = ARG(operation), .min = 1, .max = INT64_MAX, .help = "number of the operation" \
    }

#define NEWEST_LIMIT \
    { \
        .name = "limit", .source = PARAM_QUERY, .type = PARAM_I64, .offset = ARG(limit), .min = 1, \
        .max = 1000, .help = "newest ones first, at most (default 100)" \
    }

#define ONLY_ACTIVE(are) \
    { \
        .name = "active", .source = PARAM_QUERY, .type = PARAM_FLAG, .offset = ARG(active), \
        .help = "true: only those that " are \
    }

static const struct param operation_list_params[] = {
    ONLY_ACTIVE("are not final"),
    NEWEST_LIMIT,
    PARAM_END,
};

static const struct param operation_params[] = {
    OPERATION_IN_PATH,
    {.name = "wait",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(wait_seconds),
     .min = 0,
     .max = CONTROL_WAIT_SECONDS_MAX,
     .help = "seconds to wait for its end"},
    PARAM_END,
};

static const struct param cancel_params[] = {OPERATION_IN_PATH, PARAM_END};

static const struct param event_params[] = {
    {.name = "Last-Event-ID",
     .source = PARAM_HEADER,
     .type = PARAM_TEXT,
     .offset = ARG(last_event_id),
     .min = 1,
     .max = CONTROL_EVENT_ID_MAX,
     .help = "go on behind this event (left out: from now on)"},
    PARAM_END,
};

#define SUBJECT_IN_QUERY(what) \
    { \
        .name = "subject", .source = PARAM_QUERY, .type = PARAM_TEXT, .offset = ARG(subject), \
        .min = 1, .max = CONTROL_PARTITION_MAX, .help = what \
    }

static const struct param sample_params[] = {
    {.name = "kind",
     .source = PARAM_QUERY,
     .type = PARAM_CHOICE,
     .offset = ARG(sample_kind),
     .words = "partition|node|pipeline",
     .help = "of what (left out: of all)"},
    SUBJECT_IN_QUERY("id of a partition, name of a node or pipeline (left out: all)"),
    {.name = "since",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(since_seconds),
     .min = 1,
     .max = 366LL * 86400,
     .help = "seconds to look back (left out: as far as there are any)"},
    {.name = "rolled",
     .source = PARAM_QUERY,
     .type = PARAM_FLAG,
     .offset = ARG(rolled),
     .help =
         "true: means of five minutes, kept for four weeks; false: as measured, kept for hours"},
    {.name = "limit",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(limit),
     .min = 1,
     .max = CONTROL_SAMPLES_MAX,
     .help = "the newest ones, at most (default 100)"},
    PARAM_END,
};

static const struct param forecast_params[] = {
    SUBJECT_IN_QUERY("id of a partition or name of a pipeline (left out: each pipeline's demand)"),
    {.name = "series",
     .source = PARAM_QUERY,
     .type = PARAM_CHOICE,
     .offset = ARG(series),
     .words = "demand|arrival|cost",
     .help = "which of its series (left out: all)"},
    PARAM_END,
};

/* --- shadows --- */

#define SHADOW_IN_PATH \
    { \
        .name = "id", .source = PARAM_PATH, .type = PARAM_I64, .required = true, \
        .offset = ARG(operation), .min = 1, .max = INT64_MAX, .help = "its number" \
    }
#define PERCENT_IN_BODY \
    { \
        .name = "percent", .source = PARAM_BODY, .type = PARAM_F64, .offset = ARG(percent), \
        .least = 1, .most = 100, .help = "of the primary's records (left out: the pipeline's)" \
    }
#define STORE_IN_BODY \
    { \
        .name = "store", .source = PARAM_BODY, .type = PARAM_TEXT, .offset = ARG(store), .min = 1, \
        .max = TEXT_CAP(store), \
        .help = "where results go: memory, or a name of shadow_stores (left out: the pipeline's)" \
    }
#define IDEMPOTENCY \
    { \
        .name = "Idempotency-Key", .source = PARAM_HEADER, .type = PARAM_TEXT, \
        .offset = ARG(idempotency_key), .min = 1, .max = CONTROL_IDEMPOTENCY_MAX, \
        .help = \
            "a second call with the same key begins nothing and is answered with the first one's" \
    }
#define SHADOW_ORDER(source_) \
    {.name = "percent", \
     .source = source_, \
     .type = PARAM_F64, \
     .offset = ARG(percent), \
     .least = 1, \
     .most = 100, \
     .help = "of the primary's records (left out: the pipeline's)"}, \
        {.name = "duration_seconds", \
         .source = source_, \
         .type = PARAM_F64, \
         .offset = ARG(duration_seconds), \
         .least = 10, \
         .most = 86400, \
         .help = "how long it lives at most (left out: the pipeline's)"}, \
        {.name = "store", \
         .source = source_, \
         .type = PARAM_TEXT, \
         .offset = ARG(store), \
         .min = 1, \
         .max = TEXT_CAP(store), \
         .help = \
             "where results go: memory, or a name of shadow_stores (left out: the pipeline's)"}, \
        {.name = "sampling", \
         .source = source_, \
         .type = PARAM_CHOICE, \
         .offset = ARG(sampling), \
         .words = "key|record", \
         .help = \
             "all records of some keys (default), or some records: stages without state only"}, \
        {.name = "transport", \
         .source = source_, \
         .type = PARAM_CHOICE, \
         .offset = ARG(transport), \
         .words = "view|queue", \
         .help = \
             "a second cursor on the log (default), or a scratch stream that carries the sample"}, \
        {.name = "feed", \
         .source = source_, \
         .type = PARAM_CHOICE, \
         .offset = ARG(feed), \
         .words = "follow|backlog", \
         .help = "records as they come (default), or drained at full speed: the maximum rate"}, \
    { \
        .name = "adaptive", .source = source_, .type = PARAM_FLAG, .offset = ARG(adaptive), \
        .help = \
            "true: ends as soon as its question is answered; the percentage follows what that takes" \
    }
#define SUBJECT_REQUIRED(source_) \
    { \
        .name = "partition", .source = source_, .type = PARAM_TEXT, .required = true, \
        .offset = ARG(subject), .min = 1, .max = CONTROL_PARTITION_MAX, \
        .help = "id of the primary: pipeline/stage/shard/lo-hi" \
    }

static const struct param shadow_start_params[] = {
    SUBJECT_REQUIRED(PARAM_BODY),
    SHADOW_ORDER(PARAM_BODY),
    {.name = "twin",
     .source = PARAM_BODY,
     .type = PARAM_FLAG,
     .offset = ARG(twin),
     .help = "true: an identical one beside it tells the noise floor"},
    IDEMPOTENCY,
    PARAM_END,
};

static const struct param candidate_start_params[] = {
    SUBJECT_REQUIRED(PARAM_QUERY),
    SHADOW_ORDER(PARAM_QUERY),
    {.name = "set",
     .source = PARAM_QUERY,
     .type = PARAM_TEXT,
     .offset = ARG(settings),
     .min = 3,
     .max = CONTROL_SETTINGS_MAX,
     .help = "operator.key=value, more of them separated by ';' (left out: the body is a "
             "configuration)"},
    {.name = "drop_state",
     .source = PARAM_QUERY,
     .type = PARAM_FLAG,
     .offset = ARG(drop_state),
     .help = "true: state that its chain cannot go on with is left out: it begins cold"},
    IDEMPOTENCY,
    PARAM_END,
};

static const struct param shadow_get_params[] = {
    SHADOW_IN_PATH,
    {.name = "wait",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .offset = ARG(wait_seconds),
     .min = 0,
     .max = CONTROL_WAIT_SECONDS_MAX,
     .help = "seconds to wait for its end"},
    PARAM_END,
};

static const struct param shadow_params[] = {SHADOW_IN_PATH, PARAM_END};

static const struct param shadow_list_params[] = {
    ONLY_ACTIVE("have not ended"),
    NEWEST_LIMIT,
    PARAM_END,
};

static const struct param shadow_compare_params[] = {
    SHADOW_IN_PATH,
    {.name = "with",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .required = true,
     .offset = ARG(other),
     .min = 1,
     .max = INT64_MAX,
     .help = "number of the other one"},
    PARAM_END,
};

static const struct param shadowing_set_params[] = {
    PIPELINE_IN_PATH,
    {.name = "automatic",
     .source = PARAM_BODY,
     .type = PARAM_CHOICE,
     .offset = ARG(automatic),
     .words = "off|on",
     .help = "on: cast by threshold and forecast; by hand always"},
    PERCENT_IN_BODY,
    {.name = "threshold_ratio",
     .source = PARAM_BODY,
     .type = PARAM_F64,
     .offset = ARG(threshold),
     .least = 0.01,
     .most = 10,
     .help = "of lane, demand, memory or IO"},
    {.name = "sustain_seconds",
     .source = PARAM_BODY,
     .type = PARAM_F64,
     .offset = ARG(sustain_seconds),
     .least = 0,
     .most = 86400,
     .help = "for so long"},
    {.name = "duration_seconds",
     .source = PARAM_BODY,
     .type = PARAM_F64,
     .offset = ARG(duration_seconds),
     .least = 10,
     .most = 86400,
     .help = "how long one lives at most"},
    STORE_IN_BODY,
    {.name = "budget_ratio",
     .source = PARAM_BODY,
     .type = PARAM_F64,
     .offset = ARG(budget_ratio),
     .least = 0.001,
     .most = 1,
     .help = "of the pipeline's own CPU, for all its shadows"},
    {.name = "budget_cores",
     .source = PARAM_BODY,
     .type = PARAM_F64,
     .offset = ARG(budget_cores),
     .least = 0.001,
     .most = 64,
     .help = "that they may always use"},
    IF_MATCH("only if the settings' ETag still is this"),
    PARAM_END,
};

static const struct param mode_params[] = {
    {.name = "pipeline",
     .source = PARAM_QUERY,
     .type = PARAM_TEXT,
     .offset = ARG(pipeline),
     .min = 1,
     .max = CONTROL_NAME_MAX,
     .help = "this one only (left out: all)"},
    {.name = "mode",
     .source = PARAM_BODY,
     .type = PARAM_CHOICE,
     .required = true,
     .offset = ARG(mode),
     .words = "observe|recommend|act",
     .help = "what the manager may do by itself"},
    IF_MATCH("only if the manager's ETag still is this"),
    PARAM_END,
};

static const struct param decision_list_params[] = {
    NEWEST_LIMIT,
    PARAM_END,
};

static const struct param plan_list_params[] = {
    ONLY_ACTIVE("are not final"),
    NEWEST_LIMIT,
    PARAM_END,
};

#define DECISION_IN_PATH \
    { \
        .name = "id", .source = PARAM_PATH, .type = PARAM_I64, .required = true, \
        .offset = ARG(decision), .min = 1, .max = INT64_MAX, \
        .help = "number of the decision and its plan" \
    }

static const struct param decision_params[] = {DECISION_IN_PATH, PARAM_END};

static const struct param plan_order_params[] = {
    DECISION_IN_PATH,
    IF_MATCH("only if the plan's ETag still is this"),
    PARAM_END,
};

static const struct param plan_join_params[] = {
    DECISION_IN_PATH,
    {.name = "with",
     .source = PARAM_QUERY,
     .type = PARAM_I64,
     .required = true,
     .offset = ARG(other),
     .min = 1,
     .max = INT64_MAX,
     .help = "number of the plan whose steps follow"},
    IF_MATCH("only if the first plan's ETag still is this"),
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
#define PARTITION_PATH "/api/v1/partitions/{pipeline}/{stage}/{shard}/{range}"
    {METHOD_GET, PARTITION_PATH, ROLE_VIEWER, CONTROL_PARTITION_GET, BODY_NONE, ANSWER_DETAIL, NULL,
     200, false, partition_params, "partition_show",
     "One partition, its heavy keys and what its key groups have had"},
    {METHOD_POST, PARTITION_PATH "/split", ROLE_OPERATOR, CONTROL_PARTITION_SPLIT, BODY_NONE,
     ANSWER_ROW, &operation_entity, 202, true, split_params, "partition_split",
     "Cut it in two; a dry run (200) unless apply=true"},
    {METHOD_POST, PARTITION_PATH "/merge", ROLE_OPERATOR, CONTROL_PARTITION_MERGE, BODY_NONE,
     ANSWER_ROW, &operation_entity, 202, true, merge_params, "partition_merge",
     "Fuse it with a neighbour; a dry run (200) unless apply=true"},
    {METHOD_POST, PARTITION_PATH "/migrate", ROLE_OPERATOR, CONTROL_PARTITION_MIGRATE, BODY_NONE,
     ANSWER_ROW, &operation_entity, 202, true, migrate_params, "partition_migrate",
     "Move it to another lane; a dry run (200) unless apply=true"},
    {METHOD_GET, "/api/v1/nodes", ROLE_VIEWER, CONTROL_NODE_LIST, BODY_NONE, ANSWER_LIST,
     &node_entity, 200, false, NULL, "node_list", "Nodes, those that may be added too"},
    {METHOD_POST, "/api/v1/nodes/{node}/add", ROLE_OPERATOR, CONTROL_NODE_ADD, BODY_NONE,
     ANSWER_ROW, &operation_entity, 202, true, node_params, "node_add",
     "Take it in and give it its share; a dry run (200) unless apply=true"},
    {METHOD_POST, "/api/v1/nodes/{node}/drain", ROLE_OPERATOR, CONTROL_NODE_DRAIN, BODY_NONE,
     ANSWER_ROW, &operation_entity, 202, true, node_params, "node_drain",
     "Move all it owns elsewhere, then off; a dry run (200) unless apply=true"},
    {METHOD_GET, "/api/v1/lanes", ROLE_VIEWER, CONTROL_LANE_LIST, BODY_NONE, ANSWER_LIST,
     &lane_entity, 200, false, NULL, "lane_list", "Lanes of all nodes, with their figures"},
    {METHOD_GET, "/api/v1/pipelines", ROLE_VIEWER, CONTROL_PIPELINE_LIST, BODY_NONE, ANSWER_LIST,
     &pipeline_entity, 200, false, NULL, "pipeline_list", "Pipelines"},
    {METHOD_GET, "/api/v1/pipelines/{pipeline}", ROLE_VIEWER, CONTROL_PIPELINE_GET, BODY_NONE,
     ANSWER_ROW, &pipeline_entity, 200, false, pipeline_params, "pipeline_show", "One pipeline"},
    {METHOD_GET, "/api/v1/pipelines/{pipeline}/text", ROLE_VIEWER, CONTROL_PIPELINE_TEXT, BODY_NONE,
     ANSWER_TEXT, NULL, 200, false, pipeline_params, "pipeline_text",
     "The configuration that it runs by"},
    {METHOD_PUT, "/api/v1/pipelines/{pipeline}/text", ROLE_OPERATOR, CONTROL_PIPELINE_REPLACE,
     BODY_TEXT, ANSWER_ROW, &operation_entity, 202, true, replace_params, "pipeline_replace",
     "Run it by another text while the others go on; a dry run (200) unless apply=true"},
    {METHOD_GET, "/api/v1/operations", ROLE_VIEWER, CONTROL_OPERATION_LIST, BODY_NONE, ANSWER_LIST,
     &operation_entity, 200, false, operation_list_params, "operation_list",
     "Operations, newest first"},
    {METHOD_GET, "/api/v1/operations/{id}", ROLE_VIEWER, CONTROL_OPERATION_GET, BODY_NONE,
     ANSWER_ROW, &operation_entity, 200, false, operation_params, "operation_show",
     "One operation: how far it is, what became of it"},
    {METHOD_POST, "/api/v1/operations/{id}/cancel", ROLE_OPERATOR, CONTROL_OPERATION_CANCEL,
     BODY_NONE, ANSWER_ROW, &operation_entity, 202, true, cancel_params, "operation_cancel",
     "Stop it and undo what can be undone"},
    {METHOD_GET, "/api/v1/samples", ROLE_VIEWER, CONTROL_SAMPLE_LIST, BODY_NONE, ANSWER_LIST,
     &sample_entity, 200, false, sample_params, "sample_list",
     "What the monitor measured, oldest first"},
    {METHOD_GET, "/api/v1/forecasts", ROLE_VIEWER, CONTROL_FORECAST_LIST, BODY_NONE, ANSWER_LIST,
     &forecast_entity, 200, false, forecast_params, "forecast_list",
     "What is expected, with quantiles and how far off the last ones were"},
    {METHOD_GET, "/api/v1/shadows", ROLE_VIEWER, CONTROL_SHADOW_LIST, BODY_NONE, ANSWER_LIST,
     &shadow_entity, 200, false, shadow_list_params, "shadow_list", "Shadows, newest first"},
    {METHOD_POST, "/api/v1/shadows", ROLE_OPERATOR, CONTROL_SHADOW_START, BODY_JSON, ANSWER_ROW,
     &shadow_entity, 201, true, shadow_start_params, "shadow_start",
     "Cast a shadow of a partition; answered when it is open"},
    {METHOD_GET, "/api/v1/shadows/{id}", ROLE_VIEWER, CONTROL_SHADOW_GET, BODY_NONE, ANSWER_ROW,
     &shadow_entity, 200, false, shadow_get_params, "shadow_show", "One shadow"},
    {METHOD_DELETE, "/api/v1/shadows/{id}", ROLE_OPERATOR, CONTROL_SHADOW_STOP, BODY_NONE,
     ANSWER_ROW, &shadow_entity, 202, true, shadow_params, "shadow_stop",
     "End it; its profile stays"},
    {METHOD_GET, "/api/v1/shadows/{id}/profile", ROLE_VIEWER, CONTROL_SHADOW_PROFILE, BODY_NONE,
     ANSWER_JSON, NULL, 200, false, shadow_params, "shadow_profile",
     "What it measured: answers, operators, figures with intervals, heavy keys"},
    {METHOD_GET, "/api/v1/shadows/{id}/compare", ROLE_VIEWER, CONTROL_SHADOW_COMPARE, BODY_NONE,
     ANSWER_LIST, &difference_entity, 200, false, shadow_compare_params, "shadow_compare",
     "Figures of two profiles side by side"},
    {METHOD_GET, "/api/v1/candidates", ROLE_VIEWER, CONTROL_CANDIDATE_LIST, BODY_NONE, ANSWER_LIST,
     &shadow_entity, 200, false, shadow_list_params, "candidate_list", "Candidates, newest first"},
    {METHOD_POST, "/api/v1/candidates", ROLE_OPERATOR, CONTROL_CANDIDATE_START, BODY_TEXT,
     ANSWER_ROW, &shadow_entity, 201, true, candidate_start_params, "candidate_start",
     "Try other settings, or another configuration, beside a baseline twin on the same sample"},
    {METHOD_GET, "/api/v1/candidates/{id}", ROLE_VIEWER, CONTROL_CANDIDATE_GET, BODY_NONE,
     ANSWER_ROW, &shadow_entity, 200, false, shadow_get_params, "candidate_show", "One candidate"},
    {METHOD_DELETE, "/api/v1/candidates/{id}", ROLE_OPERATOR, CONTROL_CANDIDATE_STOP, BODY_NONE,
     ANSWER_ROW, &shadow_entity, 202, true, shadow_params, "candidate_stop",
     "End it; what it showed stays"},
    {METHOD_GET, "/api/v1/candidates/{id}/profile", ROLE_VIEWER, CONTROL_CANDIDATE_PROFILE,
     BODY_NONE, ANSWER_JSON, NULL, 200, false, shadow_params, "candidate_profile",
     "What it measured, and which results differ"},
    {METHOD_GET, "/api/v1/candidates/{id}/text", ROLE_VIEWER, CONTROL_CANDIDATE_TEXT, BODY_NONE,
     ANSWER_TEXT, NULL, 200, false, shadow_params, "candidate_text",
     "The configuration that it runs by"},
    {METHOD_POST, "/api/v1/candidates/{id}/promote", ROLE_OPERATOR, CONTROL_CANDIDATE_PROMOTE,
     BODY_NONE, ANSWER_ROW, &plan_entity, 200, true, shadow_params, "candidate_promote",
     "Make a plan that puts its settings in force, priced by what it has measured; to be applied"},
    {METHOD_GET, "/api/v1/pipelines/{pipeline}/shadowing", ROLE_VIEWER, CONTROL_SHADOWING_GET,
     BODY_NONE, ANSWER_ROW, &shadowing_entity, 200, false, pipeline_params, "shadowing_show",
     "How its partitions get shadows"},
    {METHOD_PUT, "/api/v1/pipelines/{pipeline}/shadowing", ROLE_OPERATOR, CONTROL_SHADOWING_SET,
     BODY_JSON, ANSWER_ROW, &shadowing_entity, 200, true, shadowing_set_params, "shadowing_set",
     "Change that, until the next start; what is left out stays"},
    {METHOD_GET, "/api/v1/correlations", ROLE_VIEWER, CONTROL_CORRELATION_LIST, BODY_NONE,
     ANSWER_LIST, &correlation_entity, 200, false, NULL, "correlation_list",
     "Which pipeline's load follows which other's, and how long after"},
    {METHOD_GET, "/api/v1/manager", ROLE_VIEWER, CONTROL_MANAGER_GET, BODY_NONE, ANSWER_LIST,
     &manager_entity, 200, false, NULL, "manager_show",
     "The Predictive Resource Manager, of all and of each pipeline"},
    {METHOD_PATCH, "/api/v1/manager", ROLE_OPERATOR, CONTROL_MANAGER_MODE, BODY_JSON, ANSWER_LIST,
     &manager_entity, 200, true, mode_params, "manager_mode",
     "Change its mode, of all or of one pipeline, until the next start"},
    {METHOD_GET, "/api/v1/decisions", ROLE_VIEWER, CONTROL_DECISION_LIST, BODY_NONE, ANSWER_LIST,
     &decision_entity, 200, false, decision_list_params, "decision_list",
     "What the manager chose and why, newest first"},
    {METHOD_GET, "/api/v1/decisions/{id}", ROLE_VIEWER, CONTROL_DECISION_GET, BODY_NONE,
     ANSWER_DETAIL, &decision_entity, 200, false, decision_params, "decision_show",
     "One decision, all options that were weighed, the steps of its plan"},
    {METHOD_GET, "/api/v1/plans", ROLE_VIEWER, CONTROL_PLAN_LIST, BODY_NONE, ANSWER_LIST,
     &plan_entity, 200, false, plan_list_params, "plan_list", "Plans, newest first"},
    {METHOD_GET, "/api/v1/plans/{id}", ROLE_VIEWER, CONTROL_PLAN_GET, BODY_NONE, ANSWER_DETAIL,
     &plan_entity, 200, false, decision_params, "plan_show", "One plan, priced, with its steps"},
    {METHOD_POST, "/api/v1/plans/{id}/apply", ROLE_OPERATOR, CONTROL_PLAN_APPLY, BODY_NONE,
     ANSWER_ROW, &plan_entity, 202, true, plan_order_params, "plan_apply",
     "Carry out a recommended plan; asked again, it begins nothing"},
    {METHOD_POST, "/api/v1/plans/{id}/cancel", ROLE_OPERATOR, CONTROL_PLAN_CANCEL, BODY_NONE,
     ANSWER_ROW, &plan_entity, 202, true, plan_order_params, "plan_cancel",
     "Stop a plan that is under way and undo what is done of it"},
    {METHOD_POST, "/api/v1/plans/{id}/undo", ROLE_OPERATOR, CONTROL_PLAN_UNDO, BODY_NONE,
     ANSWER_ROW, &plan_entity, 202, true, plan_order_params, "plan_undo",
     "Undo a plan that is done: a new plan, of its steps backwards"},
    {METHOD_POST, "/api/v1/plans/{id}/join", ROLE_OPERATOR, CONTROL_PLAN_JOIN, BODY_NONE,
     ANSWER_ROW, &plan_entity, 200, true, plan_join_params, "plan_join",
     "Make one plan of two recommended ones: its steps, then the other's, priced together"},
    {METHOD_GET, "/api/v1/stores", ROLE_VIEWER, CONTROL_STORE_LIST, BODY_NONE, ANSWER_LIST,
     &store_entity, 200, false, NULL, "store_list", "Shadow stores: how they are, what they hold"},
    {METHOD_GET, "/api/v1/events", ROLE_VIEWER, CONTROL_EVENTS, BODY_NONE, ANSWER_EVENTS, NULL, 200,
     false, event_params, "event_stream", "What happens, as server-sent events"},
    {.path = NULL},
};

static const char *const method_names[METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

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
