// SPDX-License-Identifier: Apache-2.0
/* What a restart finds of operations: their records are read, and what became of those without a last one is looked up in the
 * partition maps and the nodes' states, which are the only commit points.
 *
 *   created(sc.operations) -> its end -> read ... -> samples, decisions (own_stream.c) -> serving;  when the runtime runs: resolved */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/ledger.h"
#include "control/operations_priv.h"
#include "control/own_stream.h"

#define OPERATIONS_KEPT_MS    (90LL * 24 * 3600 * 1000)
#define OPERATIONS_KEPT_BYTES (16LL << 20)

/* A later record of the same operation takes the place of the first. */
static void take_record(struct control *control, struct str value)
{
    struct operation *op = MEM_NEW(struct operation);
    struct operation *known = NULL;
    if (operation_read(value, op, NULL) != ERR_OK) {
        control
            ->operations_unreadable++; /* told by an event: history is not worth a refused start */
        mem_free(op);
        return;
    }
    op->stage = -1;
    known = operations_find(&control->operations, op->id);
    if (known != NULL) {
        *known = *op;
        mem_free(op);
    } else if (op->id > control->operations.last_id) {
        operations_add(&control->operations, op);
    } else {
        mem_free(op); /* its first record was trimmed, or it was forgotten */
    }
}

static void read_next(struct job *job, int64_t offset);

static void shadows_known(struct job *job)
{
    start_serve(job->control);
}

static void ledger_ready(struct job *job)
{
    own_stream_replay(job->control->own[OWN_SHADOWS], job, shadows_take_record, shadows_known);
}

static void own_ready(struct job *job)
{
    own_stream_replay(job->control->own[OWN_DECISIONS], job, ledger_take, ledger_ready);
}

static void take_records(struct job *job)
{
    struct control *control = job->control;
    if (start_failed(job)) {
        return;
    }
    if (start_take_records(job, take_record)) {
        read_next(job, job->one.op.u.read.ret_next_offset);
        return;
    }
    if (control->operations_unreadable > 0) {
        event_add(control, "operation", "", "unreadable", 0,
                  "records of " OPERATIONS_STREAM " that are no operations were passed over");
    }
    own_streams_create(job, own_ready);
}

static void read_next(struct job *job, int64_t offset)
{
    struct control *control = job->control;
    struct log_op *op = job_op(job, LOG_OP_READ, take_records);
    op->u.read = (struct log_read_op){.reader = control->slots[0].reader,
                                      .shard = control->operations_shard,
                                      .offset = offset,
                                      .buf = job->rows,
                                      .cap = LOG_BATCH_BYTES_MAX};
    job_submit(job, &job->one);
}

static void ends_known(struct job *job)
{
    const struct shard_info *shard = &job->one.op.u.shard.ret_info;
    if (start_failed(job)) {
        return;
    }
    if (shard->end_offset <= shard->start_offset) {
        own_streams_create(job, own_ready);
        return;
    }
    read_next(job, shard->start_offset);
}

static void created(struct job *job)
{
    if (start_failed(job)) {
        return;
    }
    job->control->operations_shard = job->one.op.u.stream.ret_info.first_shard;
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, ends_known);
    op->u.shard.shard = job->control->operations_shard;
    job_submit(job, &job->one);
}

void operations_restore(struct job *job)
{
    struct log_op *op = job_op(job, LOG_OP_STREAM_CREATE, created);
    op->u.stream.config = (struct stream_config){.name = OPERATIONS_STREAM,
                                                 .shard_count = 1,
                                                 .retention_ms = OPERATIONS_KEPT_MS,
                                                 .retention_bytes = OPERATIONS_KEPT_BYTES};
    job_submit(job, &job->one);
}

/* --- what became of it --- */

/* The map of the stage that a partition's id names; NULL: it is not there any more. */
static const struct partition_map *map_of(const struct control *control, const struct operation *op)
{
    struct str pipeline, stage;
    uint32_t shard, lo, hi;
    if (!partition_id_parse(str_of(op->subject), &pipeline, &stage, &shard, &lo, &hi)) {
        return NULL;
    }
    for (int32_t i = 0; i < node_runtime_stage_count(control->runtime); i++) {
        const struct stage *at = node_runtime_stage(control->runtime, i);
        if (str_equal(at->plan->pipeline, pipeline) && str_equal(at->plan->name, stage)) {
            return op->shard < (uint32_t)at->shard_count ? node_runtime_map(control->runtime, i)
                                                         : NULL;
        }
    }
    return NULL;
}

static bool map_has(const struct partition_map *map, const struct operation *op)
{
    const struct partition_place *place =
        &map->places[partition_map_find(map, op->shard, op->group_lo)];
    switch ((int)op->kind) {
    case OPERATION_SPLIT:
        return op->border > 0 && op->border < KEY_GROUP_COUNT &&
               map->places[partition_map_find(map, op->shard, op->border)].group_lo == op->border;
    case OPERATION_MERGE:
        return place->group_lo == op->group_lo && place->group_hi == op->group_hi;
    default:
        return place->node == op->node && place->lane == op->lane;
    }
}

static void resolve_partition(struct control *control, struct operation *op)
{
    const struct partition_map *map = map_of(control, op);
    bool done = map != NULL && map_has(map, op);
    operation_end(control, op, done ? OPERATION_DONE : OPERATION_UNDONE,
                  done ? ERR_OK : ERR_CANCELLED,
                  done          ? "the process ended meanwhile; the partition map has the change"
                  : map != NULL ? "the process ended meanwhile; the partition map is as before"
                                : "the process ended meanwhile; its stage is not there any more");
}

static void resolve_node(struct control *control, struct operation *op)
{
    bool known = op->node >= 0 && op->node < node_runtime_node_max(control->runtime);
    enum node_state state = known ? node_runtime_node_state(control->runtime, op->node) : NODE_OFF;
    bool drain = op->kind == OPERATION_NODE_DRAIN;
    if (drain && known && state == NODE_DRAINING) { /* it goes on */
        op->run->phase = NODE_PHASE_MOVING;
        op->unfinished = false;
        return;
    }
    bool done = drain ? !known || state == NODE_OFF : state == NODE_ACTIVE;
    operation_end(control, op, done ? OPERATION_DONE : OPERATION_UNDONE,
                  done ? ERR_OK : ERR_CANCELLED,
                  done ? "the process ended meanwhile; the node's state has changed"
                       : "the process ended meanwhile; the node's state is as before");
}

static void resolve_pipeline(struct control *control, struct operation *op)
{
    char hash[20];
    struct str text = config_in_force(control, str_of(op->subject))->text;
    IGNORE_RESULT(snprintf(hash, sizeof(hash), "%016" PRIx64, text_etag_of(text))); /* fits */
    bool done = strcmp(hash, op->target) == 0;
    operation_end(control, op, done ? OPERATION_DONE : OPERATION_UNDONE,
                  done ? ERR_OK : ERR_CANCELLED,
                  done ? "the process ended meanwhile; the new text is in force"
                       : "the process ended meanwhile; another text is in force");
}

void operations_resolve(struct control *control)
{
    if (control->operations_resolved || node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return;
    }
    control->operations_resolved = true;
    for (int32_t i = 0; i < control->operations.count; i++) {
        struct operation *op = control->operations.all[i];
        if (!op->unfinished) {
            continue;
        }
        operation_resume(control, op);
        op->state = OPERATION_CHANGING; /* as far as it may have come */
        if (op->kind == OPERATION_NODE_ADD || op->kind == OPERATION_NODE_DRAIN) {
            resolve_node(control, op);
        } else if (op->kind == OPERATION_PIPELINE) {
            resolve_pipeline(control, op);
        } else {
            resolve_partition(control, op);
        }
    }
}
