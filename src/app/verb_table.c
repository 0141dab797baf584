// SPDX-License-Identifier: Apache-2.0
/* The verbs: one row each, and nothing about a verb's call is written anywhere else. */
#include "app/verbs.h"

#define OPTIONS_END \
    { \
        NULL, 0, CLI_FLAG, NULL, NULL, NULL \
    }

static const struct cli_option generate_options[] = {
    {"trace", 't', CLI_TEXT, "FILE", NULL,
     "trace to play: CSV `timestamp,value`; - is standard input"},
    {"keys", 'k', CLI_TEXT, "KEYS", "zipf:1.1:10000",
     "uniform:N, zipf:EXPONENT:N or drift:EXPONENT:N:SECONDS"},
    {"shape", 0, CLI_CHOICE, "click|order", "click", "what the records look like"},
    {"rate-scale", 0, CLI_F64, "X", "1", "records are the trace's value times this"},
    {"per-second", 0, CLI_FLAG, NULL, NULL,
     "the trace's values are rates a second, not counts a step"},
    {"speed", 0, CLI_F64, "X", NULL, "play at X times real time (left out: as fast as possible)"},
    {"until", 0, CLI_DURATION, "DURATION", NULL, "stop after this much of the trace"},
    {"jitter", 0, CLI_DURATION, "DURATION", "0s",
     "event times lie up to this far back: out of order"},
    {"seed", 0, CLI_I64, "N", "1", "same seed, same records"},
    {"format", 0, CLI_CHOICE, "value|tab", "value", "the value alone, or key, tab, value"},
    OPTIONS_END,
};

static const struct cli_option forecast_options[] = {
    {"horizon", 0, CLI_DURATION, "TIME", "3h", "how far ahead; whole steps of the series"},
    {"model", 'm', CLI_CHOICE,
     "auto|naive|snaive|drift|trend|ets|theta|stl|arima|arima-fourier|prophet|prophet-ar|prophet-logistic|regression|holt-winters|croston|tsb|median",
     "auto", "auto: chosen for each step ahead by a rehearsal over the end of the series"},
    {"quantiles", 'q', CLI_TEXT, "Q,Q,...", "0.5,0.9,0.95", "levels, ascending, between 0 and 1"},
    {"season", 0, CLI_TEXT, "TIME", NULL,
     "length of the season, or none (left out: found, a day and a week first)"},
    {"plot", 0, CLI_TEXT, "FILE.svg", NULL,
     "also draw the forecast as a fan chart; with --backtest one for each origin, the last 12"},
    {"holidays", 0, CLI_TEXT, "FILE.csv", NULL,
     "days unlike others, for auto and Prophet's models: CSV `ds,holiday` or `ds,holiday,lower_window,upper_window,prior_scale`"},
    {"backtest", 0, CLI_FLAG, NULL, NULL,
     "print how far off each model would have been instead (csv: at each origin)"},
    {"online", 0, CLI_FLAG, NULL, NULL,
     "play the series into the online forecaster, sample by sample, and print how its forecasts did"},
    {"origins", 0, CLI_I64, "N", "5", "with --backtest: how many, evenly over the series"},
    {"train", 0, CLI_DURATION, "TIME", NULL,
     "how far to look back (left out: 4096 steps; with --backtest at each origin: 7 tenths, at most 4096 steps)"},
    OPTIONS_END,
};

#define STANDARD_OPTIONS \
    {"events", 'n', CLI_I64, "N", "1000000", "how many events"}, \
        {"first", 0,   CLI_I64, \
         "N",     "0", "number of the first one: pieces of a stream can be made apart"}, \
        {"rate", 'r', CLI_I64, "N", "10000", "events a second of event time"}, \
        {"start", 0, CLI_TEXT, "TIME", "2015-07-15T00:00:00Z", "event time of event 0"}, \
        {"speed", 0,    CLI_F64, \
         "X",     NULL, "play at X times event time (left out: as fast as possible)"}, \
    { \
        "seed", 0, CLI_I64, "N", "1", "same seed, same events" \
    }

static const struct cli_option nexmark_options[] = {
    STANDARD_OPTIONS,
    {"group", 0, CLI_I64, "N", "1", "events of so many change places; 1: in order"},
    {"only", 0, CLI_CHOICE, "all|person|auction|bid", "all", "leave the other kinds out"},
    {"format", 0, CLI_CHOICE, "json|tab|binary", "json",
     "tab: key, tab, JSON; binary: fixed offsets, docs/nexmark.md"},
    OPTIONS_END,
};

static const struct cli_option ysb_options[] = {
    STANDARD_OPTIONS,
    {"campaigns", 0, CLI_I64, "N", "100", "number of campaigns"},
    {"ads-per-campaign", 0, CLI_I64, "N", "10", "ads of each"},
    {"ads", 0, CLI_FLAG, NULL, NULL, "print the table of ads and campaigns instead"},
    {"skew", 0, CLI_FLAG, NULL, NULL,
     "event times lie up to 50 ms off, and one in 100,000 up to a minute back"},
    {"format", 0, CLI_CHOICE, "json|tab|binary", "json",
     "tab: key, tab, JSON; binary: fixed offsets, docs/nexmark.md"},
    OPTIONS_END,
};

static const struct cli_option produce_options[] = {
    {"key-field", 'k', CLI_TEXT, "FIELD", NULL,
     "top-level field of each JSON value that becomes the key"},
    {"format", 0, CLI_CHOICE, "ndjson|lines", "ndjson",
     "ndjson: a JSON value a line; lines: any text"},
    {"end", 0, CLI_FLAG, NULL, NULL, "then say that no more records come: closes all windows"},
    {"retry-for", 0, CLI_DURATION, "TIME", "60s",
     "keep trying this long while the process is away or busy"},
    OPTIONS_END,
};

static const struct cli_option consume_options[] = {
    {"from", 0, CLI_TEXT, "WHERE", "start", "start, end, or an offset"},
    {"shard", 's', CLI_I64, "N", NULL, "this shard only"},
    {"limit", 'n', CLI_I64, "N", NULL, "stop after N records"},
    {"follow", 'f', CLI_FLAG, NULL, NULL, "wait for more at the end"},
    {"format", 0, CLI_CHOICE, "json|raw", "json",
     "json: an object a record, with offset, key, time, headers; raw: the values"},
    {"result-hash", 0, CLI_FLAG, NULL, NULL,
     "print only how many records there are and the sum of XXH3-64 over their values, which "
     "depends on no order"},
    OPTIONS_END,
};

static const struct cli_option stream_list_options[] = {
    {"internal", 0, CLI_FLAG, NULL, NULL, "internal streams too"},
    OPTIONS_END,
};

#define RETENTION_OPTIONS \
    {"keep", 0, CLI_DURATION, "TIME", NULL, "how long records are kept"}, \
        {"keep-forever", 0, CLI_FLAG, NULL, NULL, "no limit of time"}, \
    { \
        "keep-bytes", 0, CLI_SIZE, "SIZE", NULL, "bytes kept of each shard" \
    }

static const struct cli_option stream_create_options[] = {
    {"shards", 's', CLI_I64, "N", "1", "number of shards, 1 to 1024"},
    RETENTION_OPTIONS,
    OPTIONS_END,
};

static const struct cli_option stream_alter_options[] = {
    RETENTION_OPTIONS,
    OPTIONS_END,
};

static const struct cli_option stream_delete_options[] = {
    {"yes", 'y', CLI_FLAG, NULL, NULL, "yes, for ever"},
    OPTIONS_END,
};

#define ORDER_OPTIONS \
    {"apply", 0, CLI_FLAG, NULL, NULL, "do it (left out: only tell what would happen)"}, \
        {"no-wait", 0, CLI_FLAG, NULL, NULL, "do not wait for its end"}, \
    { \
        "idempotency-key", 0, CLI_TEXT, "KEY", NULL, \
            "the same key again begins nothing and shows the first one's operation" \
    }

static const struct cli_option order_options[] = {
    ORDER_OPTIONS,
    OPTIONS_END,
};

static const struct cli_option split_options[] = {
    {"border", 0, CLI_I64, "GROUP", NULL,
     "first key group of the upper half (left out: where the measured load halves)"},
    {"to", 0, CLI_TEXT, "PLACE", NULL,
     "where the upper half goes: n1/0, or n1 (left out: the least demanded lane, if that is a gain)"},
    ORDER_OPTIONS,
    OPTIONS_END,
};

static const struct cli_option replace_options[] = {
    {"drop-state", 0, CLI_FLAG, NULL, NULL, "drop state that the new chains cannot go on with"},
    ORDER_OPTIONS,
    OPTIONS_END,
};

static const struct cli_option node_list_options[] = {
    {"lanes", 0, CLI_FLAG, NULL, NULL, "their lanes, a row each"},
    OPTIONS_END,
};

static const struct cli_option pipeline_show_options[] = {
    {"text", 0, CLI_FLAG, NULL, NULL, "the configuration that it runs by"},
    OPTIONS_END,
};

static const struct cli_option operation_list_options[] = {
    {"active", 0, CLI_FLAG, NULL, NULL, "only those that have not ended"},
    OPTIONS_END,
};

static const struct cli_option forecast_show_options[] = {
    {"series", 's', CLI_CHOICE, "demand|arrival|cost", NULL,
     "this one only (left out: all; of all pipelines: demand)"},
    OPTIONS_END,
};

static const struct cli_option sample_options[] = {
    {"kind", 'k', CLI_CHOICE, "partition|node|pipeline", NULL, "of what (left out: of all)"},
    {"since", 0, CLI_DURATION, "TIME", NULL, "how far back (left out: as far as there are any)"},
    {"rolled", 0, CLI_FLAG, NULL, NULL, "means of five minutes, kept for four weeks"},
    {"limit", 'n', CLI_I64, "N", "100", "the newest N, 1 to 20000"},
    OPTIONS_END,
};

#define SHADOW_OPTIONS \
    {"percent", 0,    CLI_F64, \
     "P",       NULL, "of the primary's records, 1 to 100 (left out: the pipeline's)"}, \
        {"duration", 0,    CLI_DURATION, \
         "TIME",     NULL, "how long it lives at most, 10s to 24h (left out: the pipeline's)"}, \
        {"store", \
         0, \
         CLI_TEXT, \
         "NAME", \
         NULL, \
         "where results go: memory, or a name of shadow_stores (left out: the pipeline's)"}, \
        {"sampling",   0,     CLI_CHOICE, \
         "key|record", "key", "all records of some keys, or some records of stages without state"}, \
        {"transport", 0, \
         CLI_CHOICE,  "view|queue", \
         "view",      "a second cursor on the log, or a scratch stream that carries the sample"}, \
        {"feed",     0, \
         CLI_CHOICE, "follow|backlog", \
         "follow",   "records as they come, or drained at full speed: the maximum rate"}, \
        {"adaptive", 0, CLI_FLAG, NULL, NULL, "end as soon as the question is answered"}, \
    { \
        "idempotency-key", 0, CLI_TEXT, "KEY", NULL, "the same key again begins nothing" \
    }

static const struct cli_option shadow_start_options[] = {
    SHADOW_OPTIONS,
    {"twin", 0, CLI_FLAG, NULL, NULL, "an identical one beside it: tells the noise floor"},
    OPTIONS_END,
};

static const struct cli_option candidate_start_options[] = {
    SHADOW_OPTIONS,
    {"set", 0, CLI_TEXT, "OPERATOR.KEY=VALUE", NULL,
     "a setting to try; more of them separated by ';'"},
    {"file", 'f', CLI_TEXT, "FILE", NULL, "another configuration to try"},
    {"drop-state", 0, CLI_FLAG, NULL, NULL, "leave out state that its chain cannot go on with"},
    OPTIONS_END,
};

static const struct cli_option shadow_list_options[] = {
    {"active", 0, CLI_FLAG, NULL, NULL, "only those that have not ended"},
    OPTIONS_END,
};

static const struct cli_option candidate_show_options[] = {
    {"text", 0, CLI_FLAG, NULL, NULL, "the configuration that it runs by: what promotes it"},
    OPTIONS_END,
};

static const struct cli_option shadowing_options[] = {
    {"automatic", 0, CLI_CHOICE, "off|on", NULL, "cast by threshold and forecast, or by hand only"},
    {"percent", 0, CLI_F64, "P", NULL, "of the primary's records, 1 to 100"},
    {"threshold", 0, CLI_SHARE, "SHARE", NULL, "of lane, demand, memory or IO, 1% to 1000%"},
    {"sustain", 0, CLI_DURATION, "TIME", NULL, "for so long, to 24h"},
    {"duration", 0, CLI_DURATION, "TIME", NULL, "how long one lives at most, 10s to 24h"},
    {"store", 0, CLI_TEXT, "NAME", NULL, "where results go: memory, or a name of shadow_stores"},
    {"budget", 0, CLI_SHARE, "SHARE", NULL,
     "of the pipeline's own CPU, for all its shadows, 0.1% to 100%"},
    {"budget-cores", 0, CLI_F64, "CORES", NULL, "that they may always use"},
    OPTIONS_END,
};

static const struct cli_option mode_options[] = {
    {"pipeline", 'p', CLI_TEXT, "NAME", NULL, "this one only (left out: all)"},
    OPTIONS_END,
};

static const struct cli_option decision_list_options[] = {
    {"limit", 'n', CLI_I64, "N", "20", "the newest N, 1 to 1000"},
    OPTIONS_END,
};

static const struct cli_option plan_list_options[] = {
    {"active", 0, CLI_FLAG, NULL, NULL, "only those that are not final"},
    {"limit", 'n', CLI_I64, "N", "20", "the newest N, 1 to 1000"},
    OPTIONS_END,
};

static const struct cli_option plan_order_options[] = {
    {"no-wait", 0, CLI_FLAG, NULL, NULL, "do not wait for its end"},
    OPTIONS_END,
};

static const struct cli_option plan_made_options[] = {
    {"apply", 0, CLI_FLAG, NULL, NULL, "carry the plan out at once"},
    {"no-wait", 0, CLI_FLAG, NULL, NULL, "do not wait for its end"},
    OPTIONS_END,
};

static const struct cli_option top_options[] = {
    {"every", 0, CLI_DURATION, "TIME", "2s", "time between two pages"},
    {"once", 0, CLI_FLAG, NULL, NULL, "one page (always so when not on a terminal)"},
    OPTIONS_END,
};

static const struct cli_option run_options[] = {
    {"data", 0, CLI_TEXT, "DIR", NULL, "data folder instead of the configuration's"},
    {"listen", 0, CLI_TEXT, "ADDRESS:PORT", NULL,
     "where the API listens instead; port 0: any free one"},
    {"set", 0, CLI_TEXTS, "NAME=VALUE", NULL,
     "a setting in place of the file's, such as nodes.count=2; may be given more than once"},
    {"insecure-listen", 0, CLI_FLAG, NULL, NULL,
     "allow an address beyond loopback, though there is no TLS"},
    {"until-end", 0, CLI_FLAG, NULL, NULL,
     "end when all input is processed; streams without an end marker get one at start"},
    {"drop-state", 0, CLI_FLAG, NULL, NULL,
     "forget state that the present chains cannot go on with, and where a stage stood in a "
     "stream that it does not read any more"},
    {"log", 0, CLI_CHOICE, "embedded|memory", "embedded",
     "where streams are kept; memory: nothing survives"},
    OPTIONS_END,
};

static const struct cli_option validate_options[] = {
    {"against", 0, CLI_TEXT, "DIR", NULL,
     "also tell what a start would do with this data folder (no process may use it)"},
    {"set", 0, CLI_TEXTS, "NAME=VALUE", NULL,
     "a setting in place of the file's, such as nodes.count=2; may be given more than once"},
    OPTIONS_END,
};

static const struct cli_option repair_options[] = {
    {"show", 0, CLI_FLAG, NULL, NULL, "say what a repair would cut; changes nothing"},
    OPTIONS_END,
};

static const struct cli_option token_options[] = {
    {"role", 0, CLI_CHOICE, "viewer|operator|admin", "viewer", "what its bearer may do"},
    {"data", 0, CLI_TEXT, "DIR", "./data", "data folder"},
    OPTIONS_END,
};

static const struct cli_option bench_options[] = {
    {"pairs", 0, CLI_I64, "N", "15", "pairs of slices a row, 3 to 400; each takes 0.2 s of CPU"},
    {"seed", 0, CLI_I64, "N", "1", "of the rows' data and the intervals' resampling, 0 or more"},
    {"seconds", 0, CLI_I64, "N", "180", "length of each stretch of a latency row, 1 to 3600"},
    {"noisy", 0, CLI_FLAG, NULL, NULL,
     "count pairs that others disturbed, too: to look, not to tell"},
    OPTIONS_END,
};

static const struct cli_option bench_forecast_options[] = {
    {"values", 0, CLI_TEXT, "N,N,...", "288,2016", "how many of the last values are fitted"},
    {"task", 0, CLI_TEXT, "TASK", NULL, "this one only"},
    {"repeats", 0, CLI_I64, "N", "5", "of each"},
    OPTIONS_END,
};

static const struct cli_option bench_loop_options[] = {
    {"trace", 't', CLI_TEXT, "FILE", NULL, "recorded load: CSV `timestamp,value` at equal steps"},
    {"policy", 0, CLI_TEXT, "NAME,...", "shadowcast,predictive,trend,reactive,ds2,static-peak",
     "policies to compare, one run each"},
    {"from", 0, CLI_DURATION, "TIME", NULL,
     "where in the trace to begin (left out: where it rises most, in its second half)"},
    {"length", 0, CLI_DURATION, "TIME", "2h", "how much of it to replay"},
    {"scale", 0, CLI_F64, "X", "20", "trace seconds in a second, 1 to 1000"},
    {"lanes", 0, CLI_I64, "N", "8", "lanes that the stretch's peak fills to 80 %"},
    {"capacity", 0, CLI_F64, "X", "0.05", "of a core, each lane"},
    {"startup", 0, CLI_DURATION, "TIME", "60s", "how long a new lane takes to come, trace time"},
    {"shards", 0, CLI_I64, "N", "4", "of the input, 1 to 8"},
    {"partitions", 0, CLI_I64, "N", "4", "of each shard at first, 1 to 64"},
    {"chain", 0, CLI_TEXT, "KIND", "work",
     "work: records are dear to process; read: to read, which no split divides"},
    {"repeats", 0, CLI_I64, "N", "3", "runs of each policy, in turn; medians and ranges are told"},
    {"cost", 0, CLI_F64, "US", NULL,
     "CPU of a record in microseconds, as an earlier run has told it (left out: measured first)"},
    {"runs", 0, CLI_TEXT, "FILE", NULL,
     "keep calibration and runs there, and go on from those that it has: CSV"},
    {"within", 0, CLI_DURATION, "TIME", NULL, "begin no run that would not be over by then"},
    {"ledger", 0, CLI_FLAG, NULL, NULL,
     "also tell, on stderr, the minutes, what the manager decided and what came of it"},
    {"tune", 0, CLI_FLAG, NULL, NULL,
     "choose the rivals' settings by backtest on the days before (takes some minutes)"},
    OPTIONS_END,
};

static const struct cli_option demo_options[] = {
    {"nodes", 0, CLI_I64, "N", "3", "nodes to play, 1 to 16"},
    {"speed", 0, CLI_F64, "X", "2880",
     "trace seconds played in a second; 2880: a day in half a minute"},
    {"rate-scale", 0, CLI_F64, "X", "8", "records are the trace's requests times this"},
    {"day-only", 0, CLI_FLAG, NULL, NULL, "leave the manager's part out"},
    {"story-speed", 0, CLI_F64, "X", "30", "time_scale of the manager's part, 1 to 1000"},
    OPTIONS_END,
};

static const struct cli_option backtest_options[] = {
    {"trace", 0, CLI_TEXT, "FILE", NULL,
     "CSV `timestamp,value` at equal steps; - is standard input"},
    {"history", 0, CLI_TEXT, "DB", NULL,
     "instead: what a process has measured: history.db of its data folder, also while it runs"},
    {"pipeline", 0, CLI_TEXT, "NAME", NULL,
     "with --history: whose load (left out: the only one's)"},
    {"synthetic", 0, CLI_TEXT, "PxN", NULL,
     "instead: how long a decision takes for P partitions on N nodes"},
    {"policy", 0, CLI_TEXT, "NAME,...",
     "shadowcast,predictive,trend,reactive,ds2,static-peak,static-mean,perfect,oracle",
     "policies to compare"},
    {"lanes", 0, CLI_I64, "N", "8", "lanes that the load's peak fills to 80 %"},
    {"startup", 0, CLI_DURATION, "DURATION", "60s", "how long an ordered lane takes to come"},
    {"interval", 0, CLI_DURATION, "DURATION", "10s", "time between decisions"},
    {"objective", 0, CLI_DURATION, "DURATION", "2s", "latency beyond which a second is late"},
    {"late-price", 0, CLI_F64, "N", "19", "of a late second and lane, in lane-seconds"},
    {"plot", 0, CLI_TEXT, "FILE", NULL, "write load and lanes as SVG"},
    {NULL, 0, CLI_FLAG, NULL, NULL, NULL},
};

const struct cli_verb cli_verbs[] = {
    {"run", verb_run, "run the pipelines of a configuration", "FILE", run_options, 0,
     "Log, lanes, control plane and API in one process. The first start writes a token into the data "
     "folder."},
    {"validate", verb_validate, "check a configuration as a start would", "FILE", validate_options,
     CLI_OUTPUT, NULL},
    {"produce", verb_produce, "append lines of standard input to a stream", "STREAM",
     produce_options, CLI_CLIENT,
     "A line sent twice because of a broken connection or a restart is stored once."},
    {"consume", verb_consume, "print the records of a stream", "STREAM", consume_options,
     CLI_CLIENT, NULL},
    {"stream list", verb_stream_list, "list streams", "", stream_list_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"stream show", verb_stream_show, "show the shards of a stream", "STREAM", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"stream create", verb_stream_create, "make a stream", "STREAM", stream_create_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"stream alter", verb_stream_alter, "change how long a stream's records are kept", "STREAM",
     stream_alter_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"stream delete", verb_stream_delete, "delete a stream and its records", "STREAM",
     stream_delete_options, CLI_CLIENT, NULL},
    {"partition list", verb_partition_list, "list partitions with their figures", "", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"partition show", verb_partition_show, "show a partition, its heavy keys and key groups", "ID",
     NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"partition split", verb_partition_split, "cut a partition in two", "ID", split_options,
     CLI_CLIENT | CLI_OUTPUT, "ID is pipeline/stage/shard/lo-hi, as partition list shows it."},
    {"partition merge", verb_partition_merge, "fuse two neighbours of a shard", "ID NEIGHBOUR",
     order_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"partition migrate", verb_partition_migrate, "move a partition to another lane", "ID PLACE",
     order_options, CLI_CLIENT | CLI_OUTPUT,
     "PLACE is a lane, n1/0, or a node, n1: its least demanded lane."},
    {"node list", verb_node_list, "list nodes, those that may be added too", "", node_list_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"node add", verb_node_add, "take a node in and give it its share", "NODE", order_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"node drain", verb_node_drain, "move all that a node owns elsewhere, then switch it off",
     "NODE", order_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"pipeline list", verb_pipeline_list, "list pipelines", "", NULL, CLI_CLIENT | CLI_OUTPUT,
     NULL},
    {"pipeline show", verb_pipeline_show, "show a pipeline, or its text", "NAME",
     pipeline_show_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"pipeline replace", verb_pipeline_replace, "run a pipeline by another text, the others go on",
     "NAME FILE", replace_options, CLI_CLIENT | CLI_OUTPUT,
     "FILE is the whole configuration with that pipeline edited. It is also what the next start should "
     "be given."},
    {"operation list", verb_operation_list, "list changes, newest first", "",
     operation_list_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"operation show", verb_operation_show, "show how far a change is, or what became of it", "ID",
     NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"operation cancel", verb_operation_cancel, "stop a change and undo what can be undone", "ID",
     NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow start", verb_shadow_start, "cast a shadow of a partition", "PARTITION",
     shadow_start_options, CLI_CLIENT | CLI_OUTPUT,
     "PARTITION is pipeline/stage/shard/lo-hi, as partition list shows it. Nothing of the live path "
     "changes."},
    {"shadow list", verb_shadow_list, "list shadows, newest first", "", shadow_list_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow show", verb_shadow_show, "show a shadow", "ID", NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow profile", verb_shadow_profile,
     "show what a shadow measured: which operator limits, what a split could do", "ID", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow stop", verb_shadow_stop, "end a shadow; its profile stays", "ID", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow compare", verb_shadow_compare, "show the figures of two profiles side by side",
     "ID OTHER", NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow stores", verb_shadow_stores, "list shadow stores: how they are, what they hold", "",
     NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"shadow settings", verb_shadow_settings,
     "show how a pipeline's partitions get shadows, or change it", "PIPELINE", shadowing_options,
     CLI_CLIENT | CLI_OUTPUT, "What is changed holds until the next start."},
    {"candidate start", verb_candidate_start,
     "try other settings, or another configuration, beside a baseline on the same sample",
     "PARTITION", candidate_start_options, CLI_CLIENT | CLI_OUTPUT,
     "candidate start count/window/0/0-4096 --set l.cache=1MiB\n"
     "candidate start count/window/0/0-4096 --file next.yaml"},
    {"candidate list", verb_shadow_list, "list candidates, newest first", "", shadow_list_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"candidate show", verb_candidate_show,
     "show what a candidate costs and which results differ from the baseline's", "ID",
     candidate_show_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"candidate promote", verb_candidate_promote,
     "make a plan that puts a candidate's settings in force, priced by what it has measured", "ID",
     plan_made_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"candidate stop", verb_shadow_stop, "end a candidate; what it showed stays", "ID", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"top", verb_top, "watch pipelines, nodes, lanes, partitions, changes, forecasts and plans", "",
     top_options, CLI_CLIENT, NULL},
    {"log repair", verb_log_repair, "tell what is wrong with a data folder's log", "DATA",
     repair_options, 0, NULL},
    {"token create", verb_token_create, "make a token for the API", "NAME", token_options, 0,
     "Prints the token once; the data folder keeps only its SHA-256."},
    {"completion", verb_completion, "print a completion script for the shell", "[SHELL]", NULL, 0,
     "SHELL is bash (the default): source <(shadowcast completion bash)"},
    {"demo", verb_demo,
     "replay a day of a recorded load, check the results; then the manager at work", "",
     demo_options, 0,
     "Needs nothing and leaves nothing: one process plays the nodes, the log is in a temporary folder.\n"
     "Exit code 0 only if every result equals an independent recount."},
    {"generate", verb_generate, "play a recorded load as records, one JSON a line", "",
     generate_options, 0,
     "shadowcast generate --trace load.csv --speed 60 | shadowcast produce clicks --key-field user"},
    {"generate nexmark", verb_generate_nexmark, "events of the Nexmark benchmark", "",
     nexmark_options, 0, "shadowcast generate nexmark -n 100000 | shadowcast produce nexmark"},
    {"generate ysb", verb_generate_ysb, "events of Yahoo's streaming benchmark", "", ysb_options, 0,
     "shadowcast generate ysb --ads > ads.json; shadowcast generate ysb | shadowcast produce ads"},
    {"forecast file", verb_forecast_file, "forecast a series with quantiles", "FILE",
     forecast_options, CLI_OUTPUT,
     "FILE is CSV `timestamp,value` at equal steps, empty = missing; - is standard input."},
    {"forecast show", verb_forecast_show,
     "show what is expected of a pipeline or partition, and how good the last forecasts were",
     "[SUBJECT]", forecast_show_options, CLI_CLIENT | CLI_OUTPUT,
     "SUBJECT is the name of a pipeline or the id of a partition; without it, each pipeline's demand."},
    {"sample list", verb_sample_list, "list what the monitor measured, oldest first", "[SUBJECT]",
     sample_options, CLI_CLIENT | CLI_OUTPUT,
     "SUBJECT is the id of a partition, or the name of a node or pipeline."},
    {"correlation list", verb_correlation_list, "list which pipeline's load follows which other's",
     "", NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"manager show", verb_manager_show, "show the manager's modes and what it does", "", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"manager mode", verb_manager_mode, "change what the manager may do by itself", "MODE",
     mode_options, CLI_CLIENT | CLI_OUTPUT,
     "MODE is observe, recommend or act. It holds until the next start, which takes the "
     "configuration's. With recommend the manager goes on deciding, and changes nothing."},
    {"decision list", verb_decision_list, "list what the manager chose and why, newest first", "",
     decision_list_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"decision show", verb_decision_show,
     "show one decision, all options that were weighed, and its steps", "ID", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan list", verb_plan_list, "list plans, newest first", "", plan_list_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan show", verb_plan_show, "show one plan, priced, with its steps", "ID", NULL,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan apply", verb_plan_apply, "carry out a recommended plan", "ID", plan_order_options,
     CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan cancel", verb_plan_cancel, "stop a plan that is under way and undo what is done of it",
     "ID", plan_order_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan undo", verb_plan_undo, "undo a plan that is done, by a new one", "ID",
     plan_order_options, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"plan join", verb_plan_join, "make one plan of two recommended ones", "ID NEXT",
     plan_made_options, CLI_CLIENT | CLI_OUTPUT,
     "The steps of ID, then those of NEXT, priced together, carried out and undone as one. Three are joined two by two."},
    {"backtest", verb_backtest, "replay a recorded load against policies", "", backtest_options,
     CLI_OUTPUT,
     "The first half of the load chooses each policy's settings; the second is replayed."},
    {"manual", verb_manual, "print what is generated of the documentation", "[TOPIC]", NULL, 0,
     "TOPIC is cli (the default: this page), routes, problems or openapi."},
    {"bench forecast", verb_bench_forecast, "measure how long fits, updates and forecasts take",
     "FILE", bench_forecast_options, CLI_OUTPUT,
     "FILE is CSV `timestamp,value`. CPU time of one thread. tools/bench_forecast in the sources runs the same tasks with "
     "R, Prophet and statsmodels beside it and tells the ratios."},
    {"bench loop", verb_bench_loop,
     "replay a recorded load through the real engine, once per policy", "", bench_loop_options,
     CLI_OUTPUT,
     "Takes length / scale for each policy and repeat. Late seconds and lane-hours are of trace time, latencies of "
     "the wall's. The forecaster is given the days before the stretch. Runs are dropped, and tried once more, in which threads "
     "came late, others or the host used the machine or the same work cost another amount than when the load was calibrated."},
    {"bench", verb_bench, "measure the engine against bare loops in the same run", "[ROW...]",
     bench_options, CLI_OUTPUT,
     "ROW 'list' tells the rows' names. None named: all but those that take minutes."},
    {"version", verb_version, "print the version", "", NULL, 0, NULL},
    {NULL, NULL, NULL, NULL, NULL, 0, NULL},
};
