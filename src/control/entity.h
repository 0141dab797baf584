// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_ENTITY_H
#define CONTROL_ENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* What the control plane tells about: one field table an entity. From it come the struct that carries a row, its JSON,
 * its part of the OpenAPI document, the columns of the command line's tables and the metrics.
 *
 * A field: X(type, name, metric, shown, help). Units stand in the name: _seconds, _bytes, _ratio, _per_second; a plain
 * number counts. metric: NONE, LABEL (identifies the row), GAUGE, COUNTER. shown: TABLE, or WIDE (JSON and CSV only). */

enum field_type { FIELD_TEXT, FIELD_I64, FIELD_F64, FIELD_BOOL };
enum field_metric { METRIC_NONE, METRIC_LABEL, METRIC_GAUGE, METRIC_COUNTER };
enum field_shown { SHOWN_TABLE, SHOWN_WIDE };

/* A value that is not known: left out of metrics, null in JSON, '-' in tables. */
#define FIELD_I64_UNKNOWN INT64_MIN

#define STREAM_COLUMNS(X) \
    X(TEXT, name, LABEL, TABLE, "name of the stream") \
    X(TEXT, kind, NONE, TABLE, "data, internal, changelog or scratch") \
    X(I64, shards, GAUGE, TABLE, "number of shards") \
    X(I64, records, GAUGE, TABLE, "offsets between start and end, over all shards") \
    X(I64, size_bytes, GAUGE, TABLE, "bytes stored") \
    X(F64, retention_seconds, NONE, TABLE, "how long records are kept; null: for ever") \
    X(I64, retention_bytes, NONE, TABLE, "bytes kept of each shard; null: no limit") \
    X(I64, shards_refused, GAUGE, WIDE, "shards that refuse to be read or written")

#define SHARD_COLUMNS(X) \
    X(TEXT, stream, LABEL, WIDE, "name of the stream") \
    X(I64, shard, LABEL, TABLE, "index of the shard in its stream") \
    X(I64, start_offset, GAUGE, TABLE, "first offset that can be read") \
    X(I64, end_offset, COUNTER, TABLE, "one past the last committed offset") \
    X(I64, size_bytes, GAUGE, TABLE, "bytes stored") \
    X(TEXT, health, NONE, TABLE, "ok, or why it refuses") \
    X(TEXT, problem, NONE, WIDE, "in words")

#define PARTITION_COLUMNS(X) \
    X(TEXT, id, NONE, TABLE, "pipeline/stage/shard/lo-hi") \
    X(TEXT, pipeline, LABEL, WIDE, "pipeline") \
    X(TEXT, stage, LABEL, WIDE, "stage") \
    X(TEXT, partition, LABEL, WIDE, "shard/lo-hi within the stage") \
    X(TEXT, node, NONE, TABLE, "node that owns it") \
    X(I64, lane, NONE, TABLE, "lane of that node") \
    X(I64, epoch, NONE, TABLE, "map version that last changed its owner") \
    X(TEXT, state, NONE, TABLE, "opening, running, stalled, fenced, failed or ended") \
    X(I64, records_in, COUNTER, TABLE, "records processed since it was opened") \
    X(I64, records_out, COUNTER, TABLE, "records written since it was opened") \
    X(F64, records_in_per_second, NONE, TABLE, "records processed, over the last seconds") \
    X(I64, lag_records, GAUGE, TABLE, "records of its inputs not yet committed") \
    X(F64, lag_seconds, GAUGE, WIDE, "age of the oldest record not yet committed") \
    X(I64, rejected, COUNTER, WIDE, "records sent to the dead-letter stream") \
    X(I64, late, COUNTER, WIDE, "records dropped by a window as late") \
    X(I64, commits, COUNTER, WIDE, "commits acknowledged") \
    X(I64, records_read, COUNTER, WIDE, "records of its inputs that it looked at") \
    X(I64, in_bytes, COUNTER, WIDE, "keys and values of its own records") \
    X(I64, out_bytes, COUNTER, WIDE, "keys and values written to its output") \
    X(F64, watermark_seconds, GAUGE, WIDE, "event time up to which it is complete, since 1970") \
    X(I64, state_entries, GAUGE, WIDE, "entries of keyed state") \
    X(I64, state_bytes, GAUGE, WIDE, "bytes of keyed state") \
    X(F64, read_cost_seconds, COUNTER, WIDE, \
      "CPU time of reading: fetch, check, inflate, decode, filter") \
    X(F64, work_cost_seconds, COUNTER, WIDE, "CPU time of its own records") \
    X(F64, demand_ratio, GAUGE, WIDE, "arrival rate x cost / capacity of its lane") \
    X(TEXT, problem, NONE, TABLE, "why it does not run; empty if it does")

#define LANE_COLUMNS(X) \
    X(TEXT, node, LABEL, TABLE, "node") \
    X(I64, lane, LABEL, TABLE, "index of the lane in its node") \
    X(I64, partitions, GAUGE, TABLE, "partitions placed on it") \
    X(F64, capacity_ratio, GAUGE, TABLE, "share of a core it may use") \
    X(F64, utilisation_ratio, GAUGE, TABLE, \
      "CPU time / (capacity x wall time), over the last seconds") \
    X(F64, cpu_seconds, COUNTER, WIDE, "CPU time") \
    X(F64, throttled_seconds, COUNTER, WIDE, "time waited for capacity") \
    X(F64, blocked_seconds, COUNTER, WIDE, "time with work to do, waited for a commit") \
    X(F64, commit_seconds, GAUGE, WIDE, \
      "from a commit's submission to its acknowledgement, moving average") \
    X(I64, commits_again, COUNTER, WIDE, "commits that had to be sent again") \
    X(I64, cache_hits, COUNTER, WIDE, "batches found decoded") \
    X(I64, cache_misses, COUNTER, WIDE, "batches read and decoded") \
    X(I64, records_in, COUNTER, TABLE, "records processed") \
    X(I64, commits, COUNTER, TABLE, "commits acknowledged") \
    X(TEXT, state, NONE, TABLE, "running, or why not")

#define PIPELINE_COLUMNS(X) \
    X(TEXT, name, LABEL, TABLE, "pipeline") \
    X(I64, stages, GAUGE, TABLE, "number of stages") \
    X(I64, partitions, GAUGE, TABLE, "number of partitions") \
    X(F64, objective_seconds, GAUGE, TABLE, "latency objective") \
    X(I64, memory_bytes, GAUGE, TABLE, "memory limit") \
    X(I64, state_bytes, GAUGE, TABLE, "bytes of keyed state") \
    X(I64, lag_records, GAUGE, TABLE, "lag of its partitions together") \
    X(TEXT, state, NONE, TABLE, "running, ended, stalled or failed")

#define CHECK_COLUMNS(X) \
    X(TEXT, check, LABEL, TABLE, "what was looked at") \
    X(BOOL, ok, GAUGE, TABLE, "whether it is as it should be") \
    X(TEXT, reason, NONE, TABLE, "why not, or what was found")

#define PRODUCER_COLUMNS(X) \
    X(I64, id, NONE, TABLE, "producer id, for X-Producer-Id") \
    X(I64, epoch, NONE, TABLE, "its epoch, for X-Producer-Epoch")

#define APPENDED_COLUMNS(X) \
    X(I64, records, NONE, TABLE, "records of this call that are stored") \
    X(I64, rejected, NONE, TABLE, "records refused: see `reason` for the first") \
    X(BOOL, duplicate, NONE, TABLE, "true: an earlier try of this call had stored them already") \
    X(I64, shard, NONE, TABLE, "shard, if all went to one; else null") \
    X(I64, offset, NONE, TABLE, "offset of the first record, if all went to one shard; else null") \
    X(TEXT, reason, NONE, TABLE, "line and reason of the first record refused")

#define PROCESS_COLUMNS(X) \
    X(F64, uptime_seconds, GAUGE, TABLE, "time since start") \
    X(I64, records_ingested, COUNTER, TABLE, "records taken through the API") \
    X(I64, ingest_rejected, COUNTER, TABLE, "records refused at ingest") \
    X(I64, ingest_duplicates, COUNTER, TABLE, "calls whose records had been stored before") \
    X(I64, ingest_commits, COUNTER, TABLE, "commits of idempotent ingest") \
    X(I64, reads, COUNTER, TABLE, "reads through the API") \
    X(I64, requests_waiting, GAUGE, TABLE, "reads that wait for records")

#define NODE_COLUMNS(X) \
    X(TEXT, node, LABEL, TABLE, "node") \
    X(TEXT, state, NONE, TABLE, "active, draining, or off: may be added") \
    X(I64, lanes, GAUGE, TABLE, "lanes that it has") \
    X(I64, partitions, GAUGE, TABLE, "partitions placed on them") \
    X(F64, capacity_ratio, GAUGE, TABLE, "cores that its lanes may use together") \
    X(F64, utilisation_ratio, GAUGE, TABLE, "mean of its lanes, over the last seconds") \
    X(F64, demand_ratio, GAUGE, TABLE, "demand of its partitions / its capacity") \
    X(I64, state_bytes, GAUGE, WIDE, "bytes of keyed state")

#define OPERATION_COLUMNS(X) \
    X(I64, id, NONE, TABLE, "number of the operation; 0: a dry run that is not kept") \
    X(TEXT, kind, NONE, TABLE, "split, merge, migrate, node_add, node_drain or pipeline") \
    X(TEXT, subject, NONE, TABLE, "partition, node or pipeline") \
    X(TEXT, target, NONE, TABLE, "where to, with what, at which border, hash of the text") \
    X(TEXT, state, NONE, TABLE, \
      "measuring, recording, changing, undoing, ending; final: checked, done, undone, " \
      "needs_operator") \
    X(BOOL, final, NONE, WIDE, "nothing of it will change any more") \
    X(BOOL, dry_run, NONE, WIDE, "it only tells what would happen") \
    X(F64, progress_ratio, NONE, TABLE, "steps done / steps") \
    X(I64, partitions, NONE, TABLE, "partitions that stop and go on") \
    X(I64, partitions_done, NONE, WIDE, "of them, those that go on already") \
    X(I64, border, NONE, WIDE, "of a split: first key group of the upper half") \
    X(F64, upper_share_ratio, NONE, WIDE, "of a split: records of the upper half / all") \
    X(I64, gap_records, NONE, WIDE, "of a merge: records between the two positions") \
    X(I64, state_bytes, NONE, TABLE, "keyed state of the partitions concerned") \
    X(F64, expected_pause_seconds, NONE, TABLE, "pause of a partition, as expected") \
    X(F64, pause_seconds, NONE, TABLE, "longest pause of a partition, measured") \
    X(I64, moved_bytes, NONE, TABLE, "keyed state that changed its owner") \
    X(I64, restored, NONE, WIDE, "partitions restored from the log instead of handed over") \
    X(I64, map_version, NONE, WIDE, "of the partition map that has the change; 0: none") \
    X(TEXT, began, NONE, WIDE, "when it began") \
    X(TEXT, ended, NONE, WIDE, "when it ended; empty: not yet") \
    X(TEXT, result, NONE, WIDE, "OK, or the name of the error; empty: not yet") \
    X(TEXT, reason, NONE, TABLE, "the error in words, or what else is to be said") \
    X(TEXT, who, NONE, WIDE, "token that asked for it") \
    X(TEXT, idempotency_key, NONE, WIDE, "of the call that asked for it; empty: none") \
    X(TEXT, request_hash, NONE, WIDE, "of what that call asked for") \
    X(I64, plan, NONE, TABLE, "of a dry run: the plan that does it, to be applied; null: none") \
    X(F64, cost, NONE, TABLE, "of that plan, over the horizon, in lane-seconds") \
    X(F64, cost_nothing, NONE, TABLE, "of doing nothing")

#define EVENT_COLUMNS(X) \
    X(TEXT, id, NONE, TABLE, "incarnation-number, for Last-Event-ID") \
    X(TEXT, time, NONE, TABLE, "when") \
    X(TEXT, kind, NONE, TABLE, "operation, node, runtime, or gap: events were missed") \
    X(TEXT, subject, NONE, TABLE, "what it is about") \
    X(TEXT, state, NONE, TABLE, "what it is now") \
    X(I64, operation, NONE, TABLE, "number of the operation; null: none") \
    X(TEXT, detail, NONE, TABLE, "in words")

#define LAYOUT_COLUMNS(X) \
    X(TEXT, kind, LABEL, TABLE, "of operation") \
    X(TEXT, outcome, LABEL, TABLE, "done, undone or needs_operator") \
    X(I64, operations, COUNTER, TABLE, "that ended so") \
    X(I64, partitions, COUNTER, TABLE, "that were stopped and went on in them") \
    X(I64, moved_bytes, COUNTER, TABLE, "keyed state that changed its owner") \
    X(I64, restored, COUNTER, TABLE, "partitions restored instead of handed over") \
    X(F64, pause_seconds, COUNTER, TABLE, "pauses of partitions, summed") \
    X(F64, pause_max_seconds, GAUGE, TABLE, "longest pause of a partition")

#define HEAVY_KEY_COLUMNS(X) \
    X(TEXT, key, NONE, TABLE, "the key, cut at 48 bytes") \
    X(TEXT, hash, NONE, WIDE, "its hash, hexadecimal") \
    X(I64, group, NONE, TABLE, "its key group") \
    X(F64, share_ratio, NONE, TABLE, "of the partition's sampled records") \
    X(F64, error_ratio, NONE, WIDE, "by which that may be too high")

#define KEY_GROUP_COLUMNS(X) \
    X(I64, group, NONE, TABLE, "key group") \
    X(I64, records, NONE, TABLE, "records of it since the partition was opened")

#define SAMPLE_COLUMNS(X) \
    X(TEXT, time, NONE, TABLE, "end of the interval that it describes") \
    X(TEXT, kind, NONE, TABLE, "partition, node or pipeline") \
    X(TEXT, subject, NONE, TABLE, "its id or name") \
    X(F64, demand_ratio, NONE, TABLE, \
      "arrival rate x cost / capacity of its lane; of a node: of its lanes; of a pipeline: lanes " \
      "that it needs") \
    X(F64, utilisation_ratio, NONE, TABLE, "CPU time / (capacity x wall time) of its lanes") \
    X(F64, memory_ratio, NONE, WIDE, "keyed state / the pipeline's memory") \
    X(I64, state_bytes, NONE, WIDE, "bytes of keyed state") \
    X(F64, io_bytes_per_second, NONE, WIDE, "read and written") \
    X(F64, io_ratio, NONE, WIDE, "of what the disk can take; null: not configured") \
    X(F64, arrival_per_second, NONE, TABLE, "own records that arrive") \
    X(F64, service_per_second, NONE, TABLE, "own records processed") \
    X(F64, read_per_second, NONE, WIDE, "records of its shards that arrive and must be looked at") \
    X(F64, read_cost_seconds, NONE, WIDE, "CPU time of looking at a record") \
    X(F64, work_cost_seconds, NONE, WIDE, "CPU time of processing an own record") \
    X(I64, lag_records, NONE, TABLE, "records not yet committed") \
    X(F64, lag_seconds, NONE, TABLE, "age of the oldest record not yet committed") \
    X(F64, errors_per_second, NONE, WIDE, "records sent to the dead-letter stream") \
    X(F64, blocked_ratio, NONE, WIDE, "of the time, with work to do, waited for a commit or a sink")

#define FORECAST_COLUMNS(X) \
    X(TEXT, kind, NONE, TABLE, "partition or pipeline") \
    X(TEXT, subject, NONE, TABLE, "its id or name") \
    X(TEXT, series, NONE, TABLE, "demand, arrival or cost") \
    X(F64, ahead_seconds, NONE, TABLE, "how far ahead") \
    X(TEXT, time, NONE, WIDE, "the moment that it is for") \
    X(F64, now, NONE, TABLE, "last measured value") \
    X(F64, low, NONE, WIDE, "10 % quantile") \
    X(F64, median, NONE, TABLE, "50 % quantile") \
    X(F64, high, NONE, TABLE, "90 % quantile") \
    X(F64, planning, NONE, TABLE, "the planning quantile, late / (late + node) of the prices") \
    X(TEXT, model, NONE, TABLE, "model, or how several were combined") \
    X(F64, error, NONE, TABLE, "mean absolute error of recent forecasts so far ahead") \
    X(F64, naive_error, NONE, TABLE, "the same of repeating the last value") \
    X(BOOL, reactive, NONE, TABLE, "nothing beats repeating the last value: not acted upon") \
    X(I64, samples, NONE, WIDE, "that it has learned from") \
    X(F64, step_seconds, NONE, WIDE, "between those samples")

#define MANAGER_COLUMNS(X) \
    X(TEXT, scope, LABEL, TABLE, "the whole process, or a pipeline") \
    X(TEXT, mode, NONE, TABLE, "observe, recommend or act") \
    X(TEXT, policy, NONE, TABLE, "who decides") \
    X(BOOL, window_open, GAUGE, TABLE, "whether a maintenance window is open now") \
    X(TEXT, state, NONE, TABLE, "what it does, or why it does nothing") \
    X(I64, decisions, COUNTER, TABLE, "since the start") \
    X(I64, plans_applied, COUNTER, TABLE, "by the manager itself, since the start") \
    X(F64, demand_lanes, GAUGE, TABLE, "lanes that its load needs now") \
    X(F64, lane_seconds, COUNTER, WIDE, "lanes reserved, over time of the load's clock") \
    X(F64, forecast_error_ratio, GAUGE, WIDE, \
      "error of its short forecasts over that of repeating the last value; above 1: worse")

#define DECISION_COLUMNS(X) \
    X(I64, id, NONE, TABLE, "number of the decision, and of its plan") \
    X(TEXT, time, NONE, TABLE, "when it was made") \
    X(TEXT, pipeline, NONE, TABLE, "the pipeline that is worst off") \
    X(TEXT, cause, NONE, TABLE, "what made the manager look") \
    X(TEXT, choice, NONE, TABLE, "what was chosen") \
    X(TEXT, state, NONE, TABLE, "what became of it") \
    X(TEXT, who, NONE, TABLE, "manager, or who approved it") \
    X(F64, benefit, NONE, TABLE, \
      "cost that it saved, on the arrivals that came; null: not known yet") \
    X(TEXT, sentence, NONE, TABLE, "all of it in words") \
    X(I64, parent, NONE, WIDE, "the decision that it undoes; 0: none") \
    X(TEXT, changed, NONE, WIDE, "when its state last changed") \
    X(TEXT, partition, NONE, WIDE, "the heaviest partition of the busiest lane") \
    X(TEXT, lane, NONE, WIDE, "the busiest lane") \
    X(F64, rate_per_second, NONE, WIDE, "records that arrived") \
    X(F64, cost_seconds, NONE, WIDE, "CPU time a record, reading included") \
    X(F64, read_ratio, NONE, WIDE, "of it, reading") \
    X(F64, demand_lanes, NONE, WIDE, "lanes that were needed") \
    X(F64, utilisation_ratio, NONE, WIDE, "of the busiest lane, as demand") \
    X(F64, lag_seconds, NONE, WIDE, "age of the oldest record that waited") \
    X(F64, slope_per_minute, NONE, WIDE, "change of demand, lanes a minute") \
    X(I64, lanes, NONE, WIDE, "open lanes") \
    X(I64, nodes, NONE, WIDE, "active nodes") \
    X(I64, partitions, NONE, WIDE, "partitions") \
    X(I64, symptoms, NONE, WIDE, "other causes seen: 1 errors, 2 sink, 4 memory") \
    X(BOOL, forecast, NONE, WIDE, "whether there was a forecast that counts") \
    X(F64, horizon_seconds, NONE, WIDE, "how far it looked") \
    X(F64, forecast_lanes, NONE, WIDE, "demand at its end, median") \
    X(F64, forecast_high_lanes, NONE, WIDE, "highest demand in it, at the planning quantile") \
    X(F64, quantile, NONE, WIDE, "the planning quantile") \
    X(F64, forecast_error_ratio, NONE, WIDE, "backtest error / that of staying as it is") \
    X(F64, passes_seconds, NONE, WIDE, "until the threshold would be passed; null: it would not") \
    X(TEXT, limit, NONE, WIDE, "none, reading, key or range: what no layout cures") \
    X(TEXT, answer, NONE, WIDE, "that in words") \
    X(F64, benefit_predicted, NONE, WIDE, "cost that the change was to save") \
    X(F64, cost_new, NONE, WIDE, "cost on those arrivals, new layout") \
    X(F64, cost_old, NONE, WIDE, "cost on those arrivals, layout of before") \
    X(F64, pause_seconds, NONE, WIDE, "longest pause of a partition, measured") \
    X(F64, work_ratio, NONE, WIDE, "measured load / predicted for those arrivals") \
    X(F64, arrivals_ratio, NONE, WIDE, "arrivals / the forecast's median") \
    X(F64, freed_lanes, NONE, WIDE, "lanes that its setting has freed, measured") \
    X(F64, freed_predicted_lanes, NONE, WIDE, "... and was to free") \
    X(BOOL, layout_failed, NONE, WIDE, "the layout did not do what was predicted of it") \
    X(BOOL, forecast_failed, NONE, WIDE, "arrivals lay outside of what was forecast") \
    X(TEXT, reason, NONE, WIDE, "why it failed or expired") \
    X(TEXT, setting, NONE, WIDE, "what its tune step sets; empty: none") \
    X(TEXT, setting_back, NONE, WIDE, "what sets that back") \
    X(TEXT, signature, NONE, WIDE, \
      "hexadecimal; equal for equal changes: one that has failed is not tried again for a day")

#define PLAN_COLUMNS(X) \
    X(I64, id, NONE, TABLE, "number of the plan, and of its decision") \
    X(TEXT, time, NONE, TABLE, "when it was made") \
    X(TEXT, pipeline, NONE, TABLE, "the pipeline that it is for") \
    X(TEXT, state, NONE, TABLE, \
      "recommended, approved, applying, done, failed, expired, measured or rolled_back") \
    X(TEXT, change, NONE, TABLE, "what it changes") \
    X(I64, step_count, NONE, TABLE, "changes that it is made of") \
    X(I64, steps_done, NONE, TABLE, "of them, those that are done") \
    X(I64, operation, NONE, TABLE, "number of the operation under way; null: none") \
    X(F64, cost, NONE, TABLE, "over the horizon, in lane-seconds of the price of a node") \
    X(F64, cost_nothing, NONE, TABLE, "of doing nothing") \
    X(F64, utilisation_before_ratio, NONE, TABLE, "busiest lane") \
    X(F64, utilisation_after_ratio, NONE, TABLE, "busiest lane then") \
    X(F64, moved_bytes, NONE, WIDE, "expected") \
    X(TEXT, who, NONE, WIDE, "manager, or who approved it") \
    X(TEXT, reason, NONE, TABLE, "why it failed or expired, or what is waited for")

#define OPTION_COLUMNS(X) \
    X(I64, decision, NONE, WIDE, "its decision") \
    X(I64, option, NONE, TABLE, "its place among the options") \
    X(TEXT, kind, NONE, TABLE, "what kind of change") \
    X(TEXT, change, NONE, TABLE, "in words") \
    X(F64, cost, NONE, TABLE, "over the horizon") \
    X(F64, lane_seconds, NONE, TABLE, "reserved") \
    X(F64, late_seconds, NONE, TABLE, "expected") \
    X(F64, moved_bytes, NONE, WIDE, "state that changes its owner") \
    X(F64, changes, NONE, WIDE, "how many") \
    X(F64, utilisation_after_ratio, NONE, TABLE, "busiest lane then") \
    X(TEXT, verdict, NONE, TABLE, "chosen, or why it lost")

#define STEP_COLUMNS(X) \
    X(I64, decision, NONE, WIDE, "its decision") \
    X(I64, step, NONE, TABLE, "its place among the steps") \
    X(TEXT, kind, NONE, TABLE, "split, merge, migrate, node_add, node_drain or tune") \
    X(TEXT, subject, NONE, TABLE, "partition or node") \
    X(TEXT, target, NONE, TABLE, "where to, at which border") \
    X(TEXT, state, NONE, TABLE, "waiting, under way, done, failed") \
    X(I64, shard, NONE, WIDE, "number of its shard among all stages'; -1: none") \
    X(I64, group_lo, NONE, WIDE, "first key group") \
    X(I64, group_hi, NONE, WIDE, "one past the last") \
    X(I64, border, NONE, WIDE, "first key group of the upper partition") \
    X(I64, lane_from, NONE, WIDE, "lane") \
    X(I64, lane_to, NONE, WIDE, "lane") \
    X(I64, node, NONE, WIDE, "node; -1: none") \
    X(F64, moved_bytes, NONE, WIDE, "expected") \
    X(BOOL, lower, NONE, WIDE, "of a merge: the lower partition is the one that moves")

#define MODE_COLUMNS(X) \
    X(TEXT, scope, NONE, TABLE, "all, or a pipeline") \
    X(TEXT, mode, NONE, TABLE, "set by hand") \
    X(TEXT, file_mode, NONE, TABLE, "of the file at that time: another one there makes this void") \
    X(TEXT, time, NONE, WIDE, "when it was set") \
    X(TEXT, who, NONE, WIDE, "token that set it")

#define CORRELATION_COLUMNS(X) \
    X(TEXT, leader, NONE, TABLE, "subject and series that moves first") \
    X(TEXT, follower, NONE, TABLE, "subject and series that moves after it") \
    X(F64, lag_seconds, NONE, TABLE, "how long after") \
    X(F64, correlation_ratio, NONE, TABLE, "of the whitened series at that lag, -1 to 1") \
    X(F64, threshold_ratio, NONE, TABLE, "that chance reaches in one of 50 tries, over all lags") \
    X(I64, samples, NONE, TABLE, "pairs that were compared")

#define SHADOW_COLUMNS(X) \
    X(I64, id, NONE, TABLE, "its number") \
    X(TEXT, kind, NONE, TABLE, "shadow or candidate") \
    X(TEXT, partition, NONE, TABLE, "the primary: pipeline/stage/shard/lo-hi") \
    X(TEXT, pipeline, NONE, WIDE, "pipeline") \
    X(TEXT, state, NONE, TABLE, "wanted, opening, warming, measuring, paused, ending, ended") \
    X(TEXT, outcome, NONE, TABLE, \
      "answered, duration, request, resources, layout_changed, restart, refused, failed; empty: not " \
      "yet") \
    X(BOOL, partial, NONE, WIDE, "it ended before its question was answered or its time over") \
    X(TEXT, cause, NONE, TABLE, "person, lane, demand, memory, io, forecast or manager") \
    X(F64, percent, NONE, TABLE, "of the primary's records, as wanted now") \
    X(F64, reached_ratio, NONE, WIDE, "of the primary's records, as came") \
    X(F64, completeness_ratio, NONE, TABLE, "of the sample: measured") \
    X(F64, starved_ratio, NONE, WIDE, "of its time: the machine had no processor for it") \
    X(I64, records, NONE, TABLE, "measured") \
    X(I64, dropped, NONE, WIDE, "records passed over") \
    X(TEXT, limits, NONE, TABLE, "operator that costs most; empty: not known yet") \
    X(F64, limits_share_ratio, NONE, TABLE, "of the chain's CPU") \
    X(F64, limits_share_low_ratio, NONE, WIDE, "95 % interval of it") \
    X(F64, limits_share_high_ratio, NONE, WIDE, "95 % interval of it") \
    X(F64, cost_ratio, NONE, TABLE, "CPU of a record against the twin's; null: it has none") \
    X(F64, cost_low_ratio, NONE, WIDE, "95 % interval of it") \
    X(F64, cost_high_ratio, NONE, WIDE, "95 % interval of it") \
    X(TEXT, verdict, NONE, TABLE, "open, known; of a candidate: better, worse, same") \
    X(F64, age_seconds, NONE, TABLE, "since it was opened; of an ended one: how long it lived") \
    X(F64, duration_seconds, NONE, WIDE, "how long it may live") \
    X(TEXT, sampling, NONE, WIDE, "key or record") \
    X(TEXT, transport, NONE, WIDE, "view or queue") \
    X(TEXT, feed, NONE, WIDE, "follow or backlog") \
    X(BOOL, twin, NONE, WIDE, "a second one runs beside it") \
    X(BOOL, adaptive, NONE, WIDE, "it ends when its question is answered") \
    X(TEXT, store, NONE, WIDE, "where its results go") \
    X(TEXT, settings, NONE, WIDE, "of a candidate: what is set otherwise") \
    X(TEXT, began, NONE, WIDE, "when it was wanted") \
    X(TEXT, ended, NONE, WIDE, "when it ended; empty: not yet") \
    X(TEXT, who, NONE, WIDE, "token that asked for it; empty: nobody did") \
    X(TEXT, idempotency_key, NONE, WIDE, "of the call that asked for it") \
    X(TEXT, reason, NONE, TABLE, "in words, why it ended")

#define SHADOWING_COLUMNS(X) \
    X(TEXT, name, LABEL, TABLE, "pipeline") \
    X(BOOL, automatic, GAUGE, TABLE, "cast by threshold and forecast; by hand always") \
    X(F64, percent, NONE, TABLE, "of the primary's records") \
    X(F64, threshold_ratio, NONE, TABLE, "of lane, demand, memory or IO, above which one is cast") \
    X(F64, sustain_seconds, NONE, TABLE, "for so long") \
    X(F64, duration_seconds, NONE, TABLE, "how long one lives at most") \
    X(TEXT, store, NONE, TABLE, "where results go") \
    X(F64, budget_ratio, NONE, TABLE, "of the pipeline's own CPU, for all its shadows") \
    X(F64, budget_cores, NONE, TABLE, "that they may always use") \
    X(F64, allowed_cores, GAUGE, TABLE, "that they may use now") \
    X(I64, running, GAUGE, TABLE, "shadows and candidates that run") \
    X(I64, begun, COUNTER, TABLE, "since the start of the process") \
    X(I64, answered, COUNTER, WIDE, "ended with an answer") \
    X(I64, yielded, COUNTER, WIDE, "ended for the live path's need") \
    X(I64, failed, COUNTER, WIDE, "that could not go on, or could not be begun") \
    X(BOOL, pressed, GAUGE, WIDE, "the live path needs what shadows use")

#define STORE_COLUMNS(X) \
    X(TEXT, name, LABEL, TABLE, "of shadow_stores, or memory") \
    X(TEXT, type, NONE, TABLE, "memory, redis or memcached") \
    X(TEXT, state, NONE, TABLE, "up, down (results go to memory) or starting") \
    X(BOOL, up, GAUGE, WIDE, "results go to it") \
    X(F64, state_seconds, NONE, TABLE, "since it is so") \
    X(I64, failures, COUNTER, TABLE, "of its server, probes included") \
    X(I64, shadows, GAUGE, TABLE, "open in it") \
    X(I64, cleanups_pending, GAUGE, TABLE, "ended shadows of which something may still be there") \
    X(I64, cleaned, COUNTER, WIDE, "shadows removed") \
    X(I64, leftovers, COUNTER, WIDE, "shadows of earlier processes that were found") \
    X(I64, left_to_ttl, COUNTER, WIDE, "clean-ups that the time to live had to do") \
    X(I64, results_taken, COUNTER, TABLE, "from shadows") \
    X(I64, results_stored, NONE, TABLE, "of those: in the store") \
    X(I64, results_fallen_back, NONE, TABLE, "of those: in memory in its place") \
    X(I64, results_lost, NONE, TABLE, "of those: expired, evicted, or memory was full") \
    X(I64, results_dropped, COUNTER, TABLE, "not taken: it was slow, or its size was used up") \
    X(I64, kept_bytes, NONE, WIDE, "of results that are kept") \
    X(I64, memory_bytes, GAUGE, WIDE, "of results in memory") \
    X(I64, queue_bytes, GAUGE, WIDE, "of results on their way") \
    X(TEXT, problem, NONE, TABLE, "its last failure; empty: never")

#define OPERATOR_COLUMNS(X) \
    X(TEXT, name, NONE, TABLE, "operator") \
    X(TEXT, type, NONE, TABLE, "its type") \
    X(F64, share_ratio, NONE, TABLE, "of the chain's CPU") \
    X(F64, share_low_ratio, NONE, TABLE, "95 % interval of it") \
    X(F64, share_high_ratio, NONE, TABLE, "95 % interval of it") \
    X(F64, cost_us, NONE, TABLE, "CPU in us, for each record that the partition takes in") \
    X(F64, cost_low_us, NONE, WIDE, "95 % interval of it") \
    X(F64, cost_high_us, NONE, WIDE, "95 % interval of it") \
    X(F64, service_us, NONE, TABLE, "CPU in us, for each row that reaches it") \
    X(F64, service_low_us, NONE, WIDE, "95 % interval of it") \
    X(F64, service_high_us, NONE, WIDE, "95 % interval of it") \
    X(F64, selectivity, NONE, TABLE, "rows out / rows in") \
    X(F64, selectivity_low, NONE, WIDE, "95 % interval of it") \
    X(F64, selectivity_high, NONE, WIDE, "95 % interval of it") \
    X(F64, p50_us, NONE, TABLE, "latency of a row in it, us: median") \
    X(F64, p90_us, NONE, WIDE, "90th percentile") \
    X(F64, p99_us, NONE, TABLE, "99th percentile") \
    X(F64, p99_low_us, NONE, WIDE, "95 % interval of it") \
    X(F64, p99_high_us, NONE, WIDE, "95 % interval of it") \
    X(F64, p999_us, NONE, TABLE, "99.9th percentile") \
    X(I64, rows_in, NONE, TABLE, "rows that it took") \
    X(I64, rows_out, NONE, WIDE, "rows that it gave") \
    X(I64, in_bytes, NONE, WIDE, "bytes of the rows that it took") \
    X(I64, out_bytes, NONE, WIDE, "bytes of the rows that it gave") \
    X(I64, rejected, NONE, TABLE, "rows to the dead-letter stream") \
    X(I64, late, NONE, WIDE, "rows behind the watermark") \
    X(I64, waits, NONE, WIDE, "times a dependency was down") \
    X(I64, state_bytes, NONE, TABLE, "keyed state of the sample") \
    X(I64, state_entries, NONE, WIDE, "entries of it")

#define FIGURE_COLUMNS(X) \
    X(I64, shadow, NONE, WIDE, "number of the shadow") \
    X(TEXT, name, NONE, TABLE, "what was measured") \
    X(F64, value, NONE, TABLE, "value") \
    X(F64, low, NONE, TABLE, "95 % interval of it; null: none can be told") \
    X(F64, high, NONE, TABLE, "95 % interval of it") \
    X(TEXT, unit, NONE, TABLE, "unit") \
    X(F64, samples, NONE, TABLE, "records or calls that it rests on")

#define ANSWER_COLUMNS(X) \
    X(TEXT, question, NONE, TABLE, "what is asked of a profile") \
    X(TEXT, answer, NONE, TABLE, "in words, with intervals")

#define PERCENT_STEP_COLUMNS(X) \
    X(F64, after_seconds, NONE, TABLE, "since it was opened") \
    X(F64, from_percent, NONE, TABLE, "of the records before") \
    X(F64, to_percent, NONE, TABLE, "of the records after") \
    X(TEXT, reason, NONE, TABLE, "why") \
    X(F64, low, NONE, TABLE, "interval that was judged") \
    X(F64, high, NONE, TABLE, "interval that was judged") \
    X(F64, samples, NONE, TABLE, "records that it rested on")

#define EXAMPLE_COLUMNS(X) \
    X(TEXT, kind, NONE, TABLE, "differing, missing or extra") \
    X(TEXT, key, NONE, TABLE, "of the result") \
    X(I64, time_ms, NONE, TABLE, "event time of it, since 1970") \
    X(TEXT, candidate, NONE, TABLE, "its beginning; empty: there is none") \
    X(TEXT, baseline, NONE, TABLE, "the baseline's")

#define DIFFERENCE_COLUMNS(X) \
    X(TEXT, name, NONE, TABLE, "figure") \
    X(F64, first, NONE, TABLE, "of the first shadow") \
    X(F64, second, NONE, TABLE, "of the second") \
    X(F64, change_ratio, NONE, TABLE, "second / first - 1") \
    X(BOOL, apart, NONE, TABLE, "their intervals do not touch") \
    X(TEXT, unit, NONE, TABLE, "unit")

/* name, X-list, help; the row's struct is `struct <name>_row`, its table `<name>_entity`. */
#define ENTITY_LIST(E) \
    E(stream, STREAM_COLUMNS, "a named, durable sequence of records") \
    E(shard, SHARD_COLUMNS, "one append-only log of a stream") \
    E(partition, PARTITION_COLUMNS, "a stage, a shard of each input, a range of key groups") \
    E(lane, LANE_COLUMNS, "one processing thread") \
    E(pipeline, PIPELINE_COLUMNS, "a directed graph of stages") \
    E(check, CHECK_COLUMNS, "one question about health") \
    E(producer, PRODUCER_COLUMNS, "an identity for retries that do not double") \
    E(appended, APPENDED_COLUMNS, "what became of an ingest call") \
    E(process, PROCESS_COLUMNS, "the running process") \
    E(node, NODE_COLUMNS, "lanes that fail together") \
    E(operation, OPERATION_COLUMNS, "a change being carried out, or what became of it") \
    E(event, EVENT_COLUMNS, "something that happened") \
    E(layout, LAYOUT_COLUMNS, "changes of the layout, by kind and outcome") \
    E(heavy_key, HEAVY_KEY_COLUMNS, "a key that many records have") \
    E(key_group, KEY_GROUP_COLUMNS, "a 4096th of the key space") \
    E(sample, SAMPLE_COLUMNS, "what the monitor measured in one interval") \
    E(forecast, FORECAST_COLUMNS, "what a series will do, so far ahead") \
    E(manager, MANAGER_COLUMNS, "the Predictive Resource Manager, of a pipeline") \
    E(decision, DECISION_COLUMNS, "what the manager chose, why, and what came of it") \
    E(plan, PLAN_COLUMNS, "changes that belong together, priced") \
    E(option, OPTION_COLUMNS, "one of the plans weighed for a decision") \
    E(step, STEP_COLUMNS, "one change of a plan") \
    E(mode, MODE_COLUMNS, "a mode of the manager that was set by hand") \
    E(correlation, CORRELATION_COLUMNS, "a series that follows another") \
    E(shadow, SHADOW_COLUMNS, "a temporary sampled twin of a partition, or a candidate") \
    E(shadowing, SHADOWING_COLUMNS, "how a pipeline's partitions get shadows") \
    E(store, STORE_COLUMNS, "where shadows put their results") \
    E(operator, OPERATOR_COLUMNS, "an operator of a chain, as a shadow measured it") \
    E(figure, FIGURE_COLUMNS, "one figure of a profile, with its interval") \
    E(answer, ANSWER_COLUMNS, "what a profile says, in words") \
    E(percent_step, PERCENT_STEP_COLUMNS, "a judgement of the adaptive percentage") \
    E(example, EXAMPLE_COLUMNS, "a result that differs between twins") \
    E(difference, DIFFERENCE_COLUMNS, "a figure of two profiles")

#define FIELD_C_TEXT struct str
#define FIELD_C_I64  int64_t
#define FIELD_C_F64  double
#define FIELD_C_BOOL bool

#define FIELD_MEMBER(type, name, metric, shown, help) FIELD_C_##type name;
#define ENTITY_STRUCT(name, FIELDS, help) \
    struct name##_row { \
        FIELDS(FIELD_MEMBER) \
    };
ENTITY_LIST(ENTITY_STRUCT)
#undef ENTITY_STRUCT

struct field {
    const char *name;
    enum field_type type;
    enum field_metric metric;
    enum field_shown shown;
    size_t offset; /* in the row */
    const char *help;
};

struct entity {
    const char *name;
    const char *help;
    size_t row_bytes;
    int field_count;
    const struct field *fields;
};

#define ENTITY_EXTERN(name, FIELDS, help) extern const struct entity name##_entity;
ENTITY_LIST(ENTITY_EXTERN)
#undef ENTITY_EXTERN

/* All of them, ended by NULL. */
extern const struct entity *const entities[];

/* Reads a field of a row. */
struct str field_text(const struct field *field, const void *row);
int64_t field_i64(const struct field *field, const void *row); /* BOOL: 0 or 1 */
double field_f64(const struct field *field, const void *row);

/* Whether the row has a value for the field: FIELD_I64_UNKNOWN and not-a-number are none. */
bool field_known(const struct field *field, const void *row);

#endif
