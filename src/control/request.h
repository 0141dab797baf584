// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_REQUEST_H
#define CONTROL_REQUEST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "base/str.h"
#include "control/entity.h"
#include "control/text.h"

/* A question to the control plane, or an order: filled by whoever asks (the API), pushed to control, changed by nobody
 * else until it comes back in `done`. */

enum control_kind {
    CONTROL_STREAM_LIST,   /* args.internal -> stream rows */
    CONTROL_STREAM_GET,    /* args.stream -> one stream row, etag */
    CONTROL_STREAM_CREATE, /* args.stream, shards, retention_* -> one stream row */
    CONTROL_STREAM_ALTER,  /* args.stream, retention_*, if_match -> one stream row */
    CONTROL_STREAM_DELETE, /* args.stream, if_match */
    CONTROL_SHARD_LIST,    /* args.stream -> shard rows */
    CONTROL_INGEST,        /* args.stream ..., body -> one appended row */
    CONTROL_READ,          /* args.stream, shard, offset, limit, wait_seconds, format -> text */
    CONTROL_END,           /* args.stream: end markers to all shards -> one appended row */
    CONTROL_PRODUCER_NEW,  /* -> one producer row */
    CONTROL_PARTITION_LIST,
    CONTROL_LANE_LIST,
    CONTROL_PIPELINE_LIST,
    CONTROL_PARTITION_GET,   /* -> figures: partition row, heavy_key rows, key_group rows; etag */
    CONTROL_PARTITION_SPLIT, /* these six -> one operation row, status */
    CONTROL_PARTITION_MERGE,
    CONTROL_PARTITION_MIGRATE,
    CONTROL_NODE_ADD,
    CONTROL_NODE_DRAIN,
    CONTROL_PIPELINE_REPLACE, /* body: a whole configuration */
    CONTROL_PIPELINE_GET,     /* -> one pipeline row, etag */
    CONTROL_PIPELINE_TEXT,    /* -> text, etag */
    CONTROL_NODE_LIST,
    CONTROL_OPERATION_LIST,
    CONTROL_OPERATION_GET, /* args.operation, wait_seconds: for its end */
    CONTROL_OPERATION_CANCEL,
    CONTROL_SAMPLE_LIST, /* args.sample_kind, subject, since_seconds, rolled, limit -> sample rows */
    CONTROL_FORECAST_LIST, /* args.subject, series -> forecast rows */
    CONTROL_SHADOW_LIST,   /* args.active, limit -> shadow rows */
    CONTROL_SHADOW_GET, /* args.operation: its number; wait_seconds: for its end -> one shadow row */
    CONTROL_SHADOW_START, /* args.subject, percent ... -> one shadow row */
    CONTROL_SHADOW_STOP,
    CONTROL_SHADOW_PROFILE, /* -> text: JSON */
    CONTROL_SHADOW_COMPARE, /* args.operation, other -> difference rows */
    CONTROL_CANDIDATE_LIST,
    CONTROL_CANDIDATE_GET,
    CONTROL_CANDIDATE_START, /* body: another configuration, or args.settings */
    CONTROL_CANDIDATE_STOP,
    CONTROL_CANDIDATE_PROFILE,
    CONTROL_CANDIDATE_PROMOTE, /* args.operation -> one plan row */
    CONTROL_CANDIDATE_TEXT,    /* -> text: the configuration that it runs by */
    CONTROL_SHADOWING_GET,     /* args.pipeline -> one shadowing row, etag */
    CONTROL_SHADOWING_SET,
    CONTROL_STORE_LIST,    /* -> store rows */
    CONTROL_MANAGER_GET,   /* -> manager rows, etag */
    CONTROL_MANAGER_MODE,  /* args.mode, pipeline, if_match -> manager rows, etag */
    CONTROL_DECISION_LIST, /* args.limit -> decision rows */
    CONTROL_DECISION_GET, /* args.decision -> figures: decision row, option rows, step rows; etag */
    CONTROL_PLAN_LIST,    /* args.limit, active -> plan rows */
    CONTROL_PLAN_GET,     /* args.decision -> figures: plan row, option rows, step rows; etag */
    CONTROL_PLAN_APPLY,   /* args.decision, if_match -> one plan row, status; these three */
    CONTROL_PLAN_CANCEL,
    CONTROL_PLAN_UNDO,
    CONTROL_PLAN_JOIN,        /* args.decision, other, if_match -> one plan row, status */
    CONTROL_CORRELATION_LIST, /* -> correlation rows */
    CONTROL_EVENTS,           /* args.last_event_id, wait_seconds -> text (frames), last_event_id */
    CONTROL_LIVE,             /* -> check rows; err UNAVAILABLE if any is not ok */
    CONTROL_READY,            /* the same */
    CONTROL_FIGURES,          /* -> `figures`: rows of several entities, for metrics */
    CONTROL_KIND_COUNT
};

enum {
    CONTROL_NAME_MAX = 249,
    CONTROL_FIELD_MAX = 128, /* name of a payload field */
    CONTROL_KEY_MAX = 1024,  /* X-Record-Key */
    CONTROL_IDEMPOTENCY_MAX = 128,
    CONTROL_INGEST_RECORDS_MAX = 200000, /* lines of one call */
    CONTROL_READ_RECORDS_MAX = 10000,
    CONTROL_READ_TEXT_MAX = 8 << 20, /* a read's answer ends with the record that passes this */
    CONTROL_WAIT_SECONDS_MAX = 30,
    CONTROL_SAMPLES_MAX = 20000, /* in one answer */
    CONTROL_ARENA_MAX = 64 << 20,
    CONTROL_FIGURES_MAX = 10,
    CONTROL_STORE_MAX = 64,
    CONTROL_SETTINGS_MAX = 240,
    CONTROL_RANGE_MAX = 16,
    CONTROL_PARTITION_MAX = 255, /* an id, as text */
    CONTROL_PLACE_MAX = 15,
    CONTROL_EVENT_ID_MAX = 40
};

enum ingest_format { INGEST_NDJSON, INGEST_LINES, INGEST_RAW };
enum read_format { READ_JSON, READ_RAW };

struct control_args {
    char stream[CONTROL_NAME_MAX + 1];
    bool internal; /* list internal streams too */
    int64_t shard; /* -1: not given */
    int64_t offset;
    int64_t limit;
    int64_t wait_seconds;
    int64_t shards;
    double retention_seconds; /* NaN: not given (create: for ever); < 0: for ever */
    int64_t retention_bytes;  /* FIELD_I64_UNKNOWN: not given (create: no limit); < 0: no limit */
    int64_t format;           /* enum ingest_format or read_format */
    char key_field[CONTROL_FIELD_MAX + 1];
    char record_key[CONTROL_KEY_MAX + 1];
    bool has_record_key;
    char idempotency_key[CONTROL_IDEMPOTENCY_MAX + 1];
    int64_t producer_id; /* -1: none */
    int64_t producer_epoch;
    int64_t producer_sequence;
    char if_match[64];
    /* layout */
    char pipeline[CONTROL_NAME_MAX + 1];
    char stage[CONTROL_NAME_MAX + 1];
    char range[CONTROL_RANGE_MAX + 1];    /* "lo-hi": key groups, hi not included */
    char with[CONTROL_PARTITION_MAX + 1]; /* id of the other partition of a merge */
    char to[CONTROL_PLACE_MAX + 1];       /* "n1" or "n1/0"; empty: not given */
    char node[CONTROL_PLACE_MAX + 1];
    int64_t border; /* 0: where the load halves */
    bool apply;     /* else a dry run */
    bool drop_state;
    bool bare;         /* a node that is added: nothing is moved there */
    bool planned;      /* a plan's step: where it goes was weighed with all the others */
    int64_t operation; /* number of one */
    bool active;       /* list those that are not final only */
    char last_event_id[CONTROL_EVENT_ID_MAX + 1];
    /* the manager */
    char subject[CONTROL_PARTITION_MAX + 1]; /* partition, node or pipeline; empty: all */
    int64_t sample_kind;                     /* 0 partition, 1 node, 2 pipeline; -1: all */
    int64_t series;                          /* enum forecast_series; -1: all */
    int64_t since_seconds;                   /* how far back; 0: no limit */
    bool rolled;                             /* five-minute means */
    /* shadows; NaN: not given */
    double percent, duration_seconds, threshold, sustain_seconds, budget_ratio, budget_cores;
    int64_t sampling;  /* 0 key, 1 record */
    int64_t transport; /* 0 view, 1 queue */
    int64_t feed;      /* 0 follow, 1 backlog */
    int64_t automatic; /* 0 off, 1 on; -1: not given */
    bool twin, adaptive;
    int64_t other; /* number of another shadow */
    char store[CONTROL_STORE_MAX + 1];
    char settings[CONTROL_SETTINGS_MAX + 1]; /* "operator.key=value; ..." */
    int64_t mode;                            /* enum config_mode */
    int64_t decision;                        /* number of one, and of its plan */
};

/* Who asks; goes into the audit record of orders. */
struct control_who {
    char name[33]; /* of the token */
    char role[9];
    char peer[48]; /* address */
    char request_id[65];
    bool admin;         /* may read internal streams */
    bool audit;         /* the route's: an order to be recorded */
    const char *action; /* "POST /api/v1/streams" */
};

struct control_rows {
    const struct entity *entity;
    const void *rows; /* [count] of the entity's struct */
    int32_t count;
};

struct control_request {
    struct msg msg; /* first */
    enum control_kind kind;
    struct mailbox *done;
    struct arena *arena; /* the asker's; answers live in it */
    struct control_args args;
    struct control_who who;
    struct str body;
    /* answers */
    enum err err;
    struct err_info info;
    struct control_rows rows;                         /* of most kinds */
    struct control_rows figures[CONTROL_FIGURES_MAX]; /* of FIGURES; ended by a NULL entity */
    struct text text;                                 /* of READ */
    int64_t next_offset, end_offset, start_offset;    /* of READ */
    uint64_t etag;                                    /* 0: none */
    int status;                                       /* HTTP's, of success; 0: the usual one */
    int64_t operation;                       /* that this was, or that stands in the way; 0: none */
    char subject[CONTROL_PARTITION_MAX + 1]; /* what the order was about, for the audit record */
    /* control's while it has the request */
    struct control_request *next;
    int64_t deadline_ns;
    void *job;
};

/* Defaults for all arguments. */
void control_args_init(struct control_args *args);

#endif
