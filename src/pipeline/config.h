// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_CONFIG_H
#define PIPELINE_CONFIG_H

#include "base/arena.h"
#include "base/yaml.h"
#include "pipeline/operator.h"

/* The configuration file, checked and compiled: text in, an immutable `struct config` out, or one error with its place.
 * `validate`, start and the API go through config_load() and nothing else. No IO: the caller reads the file, and files
 * of `lookup` tables are named here and read by node. */

enum {
    STREAMS_CONFIGURED_MAX = 1024,
    PIPELINES_MAX = 256,
    STAGES_MAX = 64,
    CHAIN_OPERATORS_MAX = 64,
    NODES_MAX = 256,
    LANES_PER_NODE_MAX = 64,
    PARTITIONS_PER_SHARD_MAX = 4096,
    LOOKUP_TABLES_MAX = 16,
    SHADOW_STORES_MAX = 16
};

enum stream_codec { STREAM_CODEC_NONE, STREAM_CODEC_LZ4, STREAM_CODEC_ZSTD };

/* One `streams:` entry. Also filled in, with defaults, for the internal and side streams of stages. */
struct stream_spec {
    struct str name;
    int32_t shard_count;
    struct str
        time_field; /* payload field (top level of a JSON value) that each view reads as event time; empty:
                                   * the record's timestamp */
    struct str
        time_ingest_field; /* payload field copied to the record's timestamp at ingest; empty: none */
    int64_t out_of_order_ms; /* watermark = largest event time - this */
    int64_t idle_after_ns;   /* CLOCK_NEVER: a silent shard holds its readers back for ever */
    int64_t max_future_ms;   /* judged at ingest; INT64_MAX: not judged */
    int64_t retention_ms;    /* < 0: for ever */
    int64_t retention_bytes; /* < 0: no limit */
    enum stream_codec codec;
    bool internal; /* a stage's re-keyed output: shards by hash of the new key */
};

enum stage_source_kind { STAGE_SOURCE_STREAM, STAGE_SOURCE_STAGE };

struct stage_input {
    enum stage_source_kind kind;
    int32_t stage; /* the stage whose internal stream is read; with STAGE_SOURCE_STAGE */
    const struct stream_spec *stream; /* what is read, in both cases */
};

/* A table that a `lookup` wants: filled and refreshed by node, handed to the chain. */
struct lookup_spec {
    struct str name;                  /* of the operator */
    struct str file;                  /* path, or empty */
    const struct stream_spec *stream; /* or the table stream */
    struct str format;                /* "json", "csv" */
    struct str key_field;             /* of the file's rows; streams are looked up by record key */
};

struct stage_plan {
    struct str name; /* unique in its pipeline */
    int32_t index;   /* in its pipeline */
    struct str pipeline;
    int32_t input_count; /* 1, or 2 for a join */
    struct stage_input inputs[2];
    int32_t partitions_per_shard;
    int32_t operator_count;
    const struct operator_plan *operators[CHAIN_OPERATORS_MAX];
    bool key_by; /* its output is its internal stream */
    const struct stream_spec
        *output; /* sink stream, or internal stream; NULL: results are dropped */
    const struct stream_spec
        *dead_letter; /* "<pipeline>.<stage>.dead" unless set: `dead_letter:` */
    const struct stream_spec
        *late; /* "<pipeline>.<stage>.late" unless set: `late:`; NULL: only counted */
    int64_t
        internal_bytes_max; /* bound on each internal output shard, at which the stage stops reading */
    int32_t lookup_count;
    struct lookup_spec lookups[LOOKUP_TABLES_MAX];
    struct str text;    /* normalised text of the chain */
    uint64_t text_hash; /* hash64 of it */
};

/* Event time after which a chain that began without state works as one that has run for long: the sum of what its operators
 * reach back over. 0: none of them says. */
int64_t stage_plan_span_ms(const struct stage_plan *plan);

/* What operators hold the watermark back by (operator_plan.hold_ms), summed on each input's way to the join and, in the first,
 * behind it. */
struct stage_holds {
    int64_t of[2];
};
/* Goes past the next operator; returns what those before it hold back. */
int64_t stage_holds_pass(struct stage_holds *holds, const struct operator_plan *plan);
/* By how much what the stage has emitted may be behind the watermark that it was told. */
int64_t stage_plan_hold_ms(const struct stage_plan *plan);
/* A watermark less `hold_ms`; those that stand for the end, or for none, stay. */
int64_t watermark_held(int64_t watermark_ms, int64_t hold_ms);

/* Of its windows that close together those that do so most seldom; NULL: it has none. Their hop_ms is > 0. */
const struct operator_plan *stage_plan_closing(const struct stage_plan *plan);

enum shadow_store_kind { SHADOW_STORE_MEMORY, SHADOW_STORE_REDIS, SHADOW_STORE_MEMCACHED };

/* One `shadow_stores:` entry; "memory" is there without being configured. Texts but the name end with 0; those that are
 * empty were not given. Secrets are named, never held. */
struct shadow_store_spec {
    struct str name;
    enum shadow_store_kind kind;
    int64_t ttl_ns;       /* default 1 h */
    int64_t size_bytes;   /* of all results; default 64 MiB */
    int64_t memory_bytes; /* of those that fall back to memory; default 16 MiB */
    bool payloads;        /* results' bytes are stored too, not their digest and size alone */
    /* redis, memcached */
    struct str host;
    int32_t port;
    int64_t connect_timeout_ns, timeout_ns; /* default 500 ms each */
    bool tls, tls_verify;
    struct str tls_ca, tls_server_name;
    struct str username;
    struct str password_file; /* path: the file's first line is the password */
    struct str password_env;  /* or the variable that holds it */
    int32_t database;         /* redis */
};

/* `shadowing:` of a pipeline: accepted and checked here, carried out by the control plane. */
struct shadowing_spec {
    int32_t percent;     /* 1..100, default 10 */
    double threshold;    /* of utilisation, default 0.7 */
    int64_t sustain_ns;  /* default 60 s */
    int64_t duration_ns; /* 10 s..1 d, default 10 min */
    bool automatic;      /* cast by threshold and forecast too, default true */
    double budget_share; /* of the pipeline's CPU, for all its shadows; default 0.05 */
    double budget_cores; /* that they may use in any case; default 0.1 */
    struct str store;    /* name of one of config.shadow_stores */
};

/* What the manager may do by itself. */
enum config_mode {
    CONFIG_OBSERVE,   /* samples, forecasts */
    CONFIG_RECOMMEND, /* and decisions, whose plans wait for somebody to apply them */
    CONFIG_ACT        /* and carries them out */
};
extern const char *const config_mode_names[]; /* ended by NULL */

/* A stretch of the week in which the manager may change the layout. */
struct window_spec {
    uint32_t days;                     /* bit 0: Monday */
    int32_t from_minute, until_minute; /* of the day, UTC; until <= from: into the next day */
};

enum { CONFIG_WINDOWS_MAX = 8 };

/* `manager:`, carried out by the control plane. Times are of the load's clock: they pass `time_scale` times as fast as the
 * wall's when a recorded load is replayed. */
struct manager_spec {
    enum config_mode mode; /* default recommend */
    int64_t interval_ns;   /* between samples, and between decisions; 1 s..60 s, default 10 s */
    double time_scale;     /* 1..1000, default 1 */
    double price_node, price_late, price_move, price_change;
    double margin;       /* of the cost, by which an option must beat doing nothing; default 2 % */
    double urgent;       /* utilisation from which always-on figures decide at once; default 90 % */
    double target;       /* utilisation that a lane is filled to at most by a plan; default 80 % */
    int64_t sustain_ns;  /* a drop must have been seen for so long; default 10 min */
    int64_t cooldown_ns; /* between changes that are not urgent; default 1 min */
    int32_t budget;      /* changes a day that are not urgent; 0: no bound; default 48 */
    int32_t step;        /* nodes in one plan at most; default 4 */
    int64_t io_bytes;    /* bytes a second that the disk can take; 0: not known */
    struct str policy;   /* who decides: shadowcast, or one of the rivals it is compared with */
    int32_t window_count; /* 0: always */
    struct window_spec windows[CONFIG_WINDOWS_MAX];
};

struct pipeline_plan {
    struct str name;
    int64_t objective_ns;
    int64_t memory_bytes;
    bool commit_eager;
    int64_t commit_ns; /* 1 ms..1 s; with eager: the longest wait */
    struct shadowing_spec shadowing;
    enum config_mode mode; /* `mode:`; default the manager's */
    int32_t stage_count;
    struct stage_plan
        *stages[STAGES_MAX]; /* in order of the file; a stage reads only earlier ones */
};

struct nodes_spec {
    int32_t count;
    int32_t max;
    int32_t lanes;   /* of each node */
    double capacity; /* of a core, per lane; 1.0 = unlimited */
    int64_t startup_ns;
};

enum config_sync { CONFIG_SYNC, CONFIG_UNSYNCED };

struct listen_spec {
    struct str address; /* default 127.0.0.1 */
    int32_t port;       /* default 8080; 0: any free one */
};

struct config {
    struct str data;    /* folder; default ./data */
    struct str plugins; /* folder of plug-ins named without a path; empty: only absolute paths */
    enum config_sync sync;
    int64_t unsynced_interval_ns;
    struct listen_spec listen;
    struct nodes_spec nodes;
    struct manager_spec manager;
    int32_t stream_count;
    const struct stream_spec
        *streams[STREAMS_CONFIGURED_MAX]; /* configured ones, then internal and side ones */
    int32_t shadow_store_count;
    const struct shadow_store_spec *shadow_stores[SHADOW_STORES_MAX]; /* "memory" among them */
    int32_t pipeline_count;
    const struct pipeline_plan *pipelines[PIPELINES_MAX];
    struct str text; /* copy of the source; if settings came with it, written anew with them in */
};

/* What operators may declare of the outside while they are compiled. */
struct stage_resources {
    const struct config *config; /* streams are there, pipelines are not yet */
    struct stage_plan *stage;    /* inputs, name and lookups are there */
};

/* The configured stream named by `node`, or an error at its place. */
ATTR_NODISCARD enum err stage_resources_stream(const struct stage_resources *resources,
                                               const struct yaml_node *node,
                                               const struct stream_spec **ret_stream,
                                               struct err_info *info);

/* Declares a table for the lookup operator at `node`; its index is that in chain_options.lookup_tables. */
ATTR_NODISCARD enum err stage_resources_add_lookup(struct stage_resources *resources,
                                                   const struct yaml_node *node,
                                                   const struct lookup_spec *spec,
                                                   int32_t *ret_index, struct err_info *info);

/* Reads, checks and compiles. All that `*ret_config` points to lives in `arena`.
 *   file   named in errors
 * Errors: INVALID, PARSE, LIMIT, TYPE; `info` reads "file:line:column: what, why, what to do". */
ATTR_NODISCARD enum err config_load(struct arena *arena, const char *file, struct str text,
                                    const struct config **ret_config, struct err_info *info);

/* Whether a time lies in one of the maintenance windows; true if there are none. */
bool config_window_open(const struct manager_spec *spec, int64_t unix_ms);

/* The same with settings in place of the file's: sets[set_count], each "path=value" (yaml_set's path; value is YAML). An error
 * in one has it for its file: "--set nodes.count:1:1: ...". */
ATTR_NODISCARD enum err config_load_set(struct arena *arena, const char *file, struct str text,
                                        const struct str *sets, int32_t set_count,
                                        const struct config **ret_config, struct err_info *info);

/* A tree of a whole file as text, a line a section: reads back as the same tree. Comments and layout are gone. */
struct str config_written_text(struct arena *arena, const struct yaml_node *root);

const struct pipeline_plan *config_pipeline(const struct config *config, struct str name);
int32_t config_pipeline_index(const struct config *config, struct str name); /* -1: none */
const struct stream_spec *config_stream(const struct config *config, struct str name);
const struct shadow_store_spec *config_shadow_store(const struct config *config, struct str name);

/* --- the second day: what continues when another text is opened over a stage's state --- */

/* What a stage's changelog says of the chain that wrote it; encoded in its meta entry (node/changelog.h). */
struct stage_shape {
    struct str text;      /* normalised text */
    int32_t input_count;  /* 0: an earlier version wrote it, which did not tell */
    struct str inputs[2]; /* the streams */
    int32_t space_count;
    struct {
        struct str name, schema;
    } spaces[CHAIN_OPERATORS_MAX * OPERATOR_STATE_SPACES_MAX];
};
void stage_shape_of(const struct stage_plan *plan, struct stage_shape *ret_shape);

/* Whether input `i` is of another stream now: where it stood says nothing of that one. */
bool stage_shape_input_moved(const struct stage_shape *old, const struct stage_plan *plan,
                             int32_t i);

/* Compares: fills `text` with one line a difference that loses state or a place ("pipeline/stage: state of 'w' has another
 * schema: ..."); returns how many. Same names with the same schema continue, new ones start empty. */
int32_t stage_shape_compare(const struct stage_shape *old, const struct stage_plan *plan,
                            char *text, ptrdiff_t cap);

#endif
