// SPDX-License-Identifier: Apache-2.0
#include "sim/log_actors.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* Who uses the log: each actor has at most one op under way, waits a drawn while between two, and judges what comes
 * back. Producers append, owners commit for the partitions the controller gives them. */

enum { MS = 1000000, READ_BYTES = LOG_BATCH_BYTES_MAX };

bool actor_chance(struct actor *actor, double p)
{
    return rng_chance(&actor->rng, p);
}

int64_t actor_draw(struct actor *actor, int64_t lo, int64_t hi)
{
    return rng_range(&actor->rng, lo, hi);
}

struct log_op *actor_op(struct actor *actor, enum log_op_kind kind)
{
    CHECK(!actor->busy);
    actor->op = (struct log_op){.kind = kind, .done = &actor->done};
    actor->retried = false;
    return &actor->op;
}

void actor_submit(struct actor *actor)
{
    actor->busy = true;
    actor->op.err = ERR_INTERNAL; /* the log sets it */
    log_submit(actor->sim->log, &actor->op);
}

void actor_fail(struct actor *actor, const char *what)
{
    CHECK(actor->sim != NULL);
    log_model_fail(actor->sim->model, "%s, op %d: %s: %s (%s)", actor->name, actor->op.kind, what,
                   err_name(actor->op.err), actor->op.err != ERR_OK ? actor->op.info.text : "");
}

enum verdict actor_verdict(struct actor *actor, int64_t now_ns)
{
    struct sim *sim = actor->sim;
    bool full = actor->op.err == ERR_NO_SPACE;
    switch (err_class_of(actor->op.err)) {
    case ERR_CLASS_RETRY:
        if (full && !sim->full_before && !sim->fault_before) {
            actor_fail(actor, "the disk never was full or faulty");
            return VERDICT_STOP;
        }
        actor->again = true;
        actor->retried = true;
        actor->next_ns = now_ns + actor_draw(actor, 0, full ? 40 * MS : 8 * MS);
        if (actor->attempt != NULL) {
            actor->attempt->retried = true;
        }
        return VERDICT_LATER;
    case ERR_CLASS_FATAL:
        if (!sim->fault_before) {
            actor_fail(actor, "no fault was set");
        }
        sim->died = true;
        return VERDICT_STOP;
    case ERR_CLASS_ABANDON:
        if (actor->op.err == ERR_CLOSED && sim->died) {
            return VERDICT_STOP;
        }
        return VERDICT_OTHER;
    case ERR_CLASS_REJECT:
    default:
        return actor->op.err == ERR_OK ? VERDICT_OK : VERDICT_OTHER;
    }
}

/* ---- producers */

static struct check_producer no_producer(void)
{
    return (struct check_producer){.id = -1, .epoch = -1, .base_sequence = -1};
}

static void producer_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    if (actor->idempotent && actor->producer_id < 0) {
        actor_op(actor, LOG_OP_PRODUCER_INIT);
        actor_submit(actor);
        return;
    }
    actor->attempt = log_model_begin(sim->model, actor->index);
    int32_t count = (int32_t)actor_draw(actor, 1, actor_chance(actor, 0.1) ? 60 : 8);
    log_model_add_piece(actor->attempt, sim->shards[actor->shard].model, count);
    struct check_producer who = no_producer();
    if (actor->idempotent) {
        who = (struct check_producer){.id = actor->producer_id,
                                      .epoch = actor->producer_epoch,
                                      .base_sequence = actor->sequence};
    }
    actor->batch_len = log_model_encode(actor->attempt, 0, who, actor->buf, actor->buf_cap);
    struct log_op *op = actor_op(actor, LOG_OP_APPEND);
    op->u.append = (struct log_append_op){
        .shard = sim->shards[actor->shard].id, .batch = actor->buf, .bytes = actor->batch_len};
    actor_submit(actor);
}

/* A refusal that is right only if the log does not know the producer (any more). */
static void producer_fenced(struct actor *actor)
{
    if (!actor->idempotent || actor->acked_before) {
        actor_fail(actor, "the producer was known");
        return;
    }
    log_model_void(actor->sim->model, actor->attempt);
    actor->attempt = NULL;
    actor->producer_id = -1;
}

static void producer_acked(struct actor *actor)
{
    struct attempt *attempt = actor->attempt;
    if (actor->op.u.append.ret_duplicate && !attempt->retried) {
        actor_fail(actor, "the first try is told to be a repetition");
    }
    log_model_acked(actor->sim->model, attempt, &actor->op.u.append.ret_base_offset, NULL);
    actor->sequence += attempt->pieces[0].count;
    actor->acked_before = true;
    actor->attempt = NULL;
}

static void producer_done(struct actor *actor, int64_t now_ns)
{
    enum verdict verdict = actor_verdict(actor, now_ns);
    if (verdict == VERDICT_LATER && actor->attempt != NULL && !actor->idempotent &&
        actor->op.err != ERR_AGAIN) {
        /* Without a producer id only AGAIN says that nothing happened. */
        log_model_open(actor->sim->model, actor->attempt);
        actor->attempt = NULL;
        actor->again = false;
    } else if (verdict == VERDICT_OK && actor->op.kind == LOG_OP_PRODUCER_INIT) {
        actor->producer_id = actor->op.u.producer.ret_id;
        actor->producer_epoch = actor->op.u.producer.ret_epoch;
        actor->sequence = 0;
        actor->acked_before = false;
    } else if (verdict == VERDICT_OK) {
        producer_acked(actor);
    } else if (verdict == VERDICT_OTHER && actor->op.err == ERR_FENCED) {
        producer_fenced(actor);
    } else if (verdict == VERDICT_OTHER) {
        actor_fail(actor, "a good append is refused");
    }
}

/* ---- owners */

/* Reads the map: which partitions are its own. */
static void owner_refresh(struct actor *actor)
{
    struct sim *sim = actor->sim;
    actor->part_count = 0;
    for (int i = 0; i < sim->part_count; i++) {
        if (sim->parts[i].owner == actor->index) {
            actor->part_epochs[actor->part_count] = sim->parts[i].epoch;
            actor->parts[actor->part_count++] = i;
        }
    }
}

static void owner_init(struct actor *actor)
{
    struct log_op *op = actor_op(actor, LOG_OP_OWNER_INIT);
    IGNORE_RESULT(snprintf(op->u.owner.name, sizeof(op->u.owner.name), "node0.lane%d",
                           actor->index)); /* fits */
    actor_submit(actor);
}

/* Outputs: records in one or two sinks, and sometimes in an internal shard. */
static void owner_outputs(struct actor *actor)
{
    struct sim *sim = actor->sim;
    int first = (int)actor_draw(actor, 0, sim->shard_count - 1);
    int wanted = (int)actor_draw(actor, 1, 3);
    bool whole = false;
    for (int i = 0; i < sim->shard_count && (wanted > 0 || !whole); i++) {
        struct sim_shard *shard = &sim->shards[(first + i) % sim->shard_count];
        if (shard->trimmed) {
            continue; /* producers' */
        }
        int32_t count = (int32_t)actor_draw(actor, 1, 6);
        log_model_add_piece(actor->attempt, shard->model, count);
        whole = whole || !shard->internal;
        wanted--;
    }
}

/* Deltas: some keys of some of its partitions, a batch a changelog. */
static void owner_deltas(struct actor *actor)
{
    struct sim *sim = actor->sim;
    for (int c = 0; c < sim->changelog_count; c++) {
        int piece = -1;
        for (int p = 0; p < actor->part_count; p++) {
            struct sim_part_range *part = &sim->parts[actor->parts[p]];
            int entries = part->changelog == c ? (int)actor_draw(actor, 0, 4) : 0;
            for (int e = 0; e < entries; e++) {
                piece = piece >= 0
                            ? piece
                            : log_model_add_piece(actor->attempt, sim->changelogs[c].model, 0);
                uint32_t group = part->lo + (uint32_t)actor_draw(actor, 0, 2) * 13;
                log_model_add_entry(sim->model, actor->attempt, piece, (uint16_t)group,
                                    (uint16_t)actor_draw(actor, 0, MODEL_USER_KEYS - 1),
                                    actor_chance(actor, 0.15));
            }
        }
    }
    /* A piece whose entries found no room has no records: the last one may be that. */
    struct attempt *attempt = actor->attempt;
    while (attempt->piece_count > 0 && attempt->pieces[attempt->piece_count - 1].count == 0) {
        attempt->piece_count--;
    }
}

static struct shard_id shard_of_model(const struct sim *sim, int model)
{
    for (int i = 0; i < sim->shard_count; i++) {
        if (sim->shards[i].model == model) {
            return sim->shards[i].id;
        }
    }
    for (int i = 0; i < sim->changelog_count; i++) {
        if (sim->changelogs[i].model == model) {
            return sim->changelogs[i].id;
        }
    }
    CHECK_MSG(false, "no shard %d", model);
    return (struct shard_id){0};
}

static void owner_submit(struct actor *actor)
{
    struct sim *sim = actor->sim;
    struct attempt *attempt = actor->attempt;
    uint8_t *at = actor->buf;
    for (int i = 0; i < attempt->piece_count; i++) {
        ptrdiff_t len =
            log_model_encode(attempt, i, no_producer(), at, actor->buf_cap - (at - actor->buf));
        actor->batches[i] = (struct log_batch){
            .shard = shard_of_model(sim, attempt->pieces[i].shard), .bytes = at, .len = len};
        at += len;
    }
    int claims = 0;
    for (int p = 0; p < actor->part_count; p++) {
        const struct sim_part_range *part = &sim->parts[actor->parts[p]];
        actor->claim_part[claims] = actor->parts[p];
        actor->claims[claims++] =
            (struct log_claim){.changelog = sim->changelogs[part->changelog].id,
                               .group_lo = part->lo,
                               .group_hi = part->hi,
                               .epoch = actor->part_epochs[p]};
        attempt->must_fail =
            attempt->must_fail || (sim->embedded && actor->part_epochs[p] < part->epoch_fenced);
    }
    attempt->must_fail = attempt->must_fail || actor->zombie || actor->fenced;
    struct log_op *op = actor_op(actor, LOG_OP_COMMIT);
    op->u.commit = (struct log_commit_op){
        .owner = actor->zombie ? actor->old_owner : actor->owner,
        .incarnation = actor->zombie ? actor->old_incarnation : actor->incarnation,
        .sequence = (actor->zombie ? actor->old_commits : actor->commits) + 1,
        .batches = actor->batches,
        .batch_count = attempt->piece_count,
        .claims = actor->claims,
        .claim_count = claims,
    };
    actor_submit(actor);
}

static void owner_begin(struct actor *actor)
{
    if (actor->incarnation == 0) {
        owner_init(actor);
        return;
    }
    if (actor->old_incarnation == 0 && actor_chance(actor, 0.02)) {
        /* Starts again; the one before will try a commit later. */
        actor->old_owner = actor->owner;
        actor->old_incarnation = actor->incarnation;
        actor->old_commits = actor->commits;
        actor->incarnation = 0;
        owner_init(actor);
        return;
    }
    if (!actor->sim->embedded || actor_chance(actor, 0.8)) {
        owner_refresh(actor); /* else: a map that may be old; its claims tell */
    }
    actor->zombie = actor->old_incarnation != 0;
    actor->attempt = log_model_begin(actor->sim->model, actor->index);
    owner_outputs(actor);
    owner_deltas(actor);
    owner_submit(actor);
    if (actor->zombie) {
        actor->old_incarnation = 0;
    }
}

static void owner_committed(struct actor *actor)
{
    struct sim *sim = actor->sim;
    struct attempt *attempt = actor->attempt;
    int64_t bases[MODEL_PIECES_MAX], ends[MODEL_PIECES_MAX];
    for (int i = 0; i < attempt->piece_count; i++) {
        bases[i] = actor->batches[i].ret_base_offset;
        ends[i] = actor->batches[i].ret_end_offset;
        for (int c = 0; c < sim->changelog_count; c++) {
            struct sim_changelog *changelog = &sim->changelogs[c];
            if (changelog->model == attempt->pieces[i].shard) {
                changelog->ats[changelog->at_count++ % SIM_ATS_MAX] =
                    (struct sim_at){.offset = ends[i], .life = log_model_life(sim->model)};
            }
        }
    }
    log_model_acked(sim->model, attempt, bases, ends);
    actor->commits++;
}

static void owner_fenced(struct actor *actor)
{
    struct sim *sim = actor->sim;
    int claim = actor->op.u.commit.ret_fenced_claim;
    if (actor->attempt->retried) {
        log_model_open(sim->model, actor->attempt); /* an earlier try may have been in time */
    } else {
        log_model_void(sim->model, actor->attempt);
    }
    if (claim >= 0) {
        bool known = sim->embedded && claim < actor->op.u.commit.claim_count;
        const struct sim_part_range *part = known ? &sim->parts[actor->claim_part[claim]] : NULL;
        if (!known || part->epoch_asked <= actor->claims[claim].epoch) {
            actor_fail(actor, "nobody raised the epoch of that claim");
        }
        owner_refresh(actor);
        return;
    }
    if (actor->zombie) {
        return;
    }
    if (!actor->fence_asked) {
        actor_fail(actor, "nobody fenced this owner");
    }
    actor->incarnation = 0;
}

static void owner_done(struct actor *actor, int64_t now_ns)
{
    enum verdict verdict = actor_verdict(actor, now_ns);
    if (verdict == VERDICT_OK && actor->op.kind == LOG_OP_OWNER_INIT) {
        actor->owner = actor->op.u.owner.ret_id;
        actor->incarnation = actor->op.u.owner.ret_incarnation;
        actor->commits = 0;
        actor->fenced = false;
        if (actor->old_incarnation != 0 && actor->incarnation <= actor->old_incarnation) {
            actor_fail(actor, "the incarnation did not rise");
        }
        owner_refresh(actor);
    } else if (verdict == VERDICT_OK) {
        owner_committed(actor);
    } else if (verdict == VERDICT_OTHER && actor->op.err == ERR_FENCED &&
               actor->op.kind == LOG_OP_COMMIT) {
        owner_fenced(actor);
    } else if (verdict == VERDICT_OTHER) {
        actor_fail(actor, "a good commit is refused");
    }
    if (verdict != VERDICT_LATER) {
        actor->attempt = verdict == VERDICT_STOP ? actor->attempt : NULL;
        actor->zombie = false;
    }
}

/* ---- the controller: moves partitions */

static void controller_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    actor->part = (int)actor_draw(actor, 0, sim->part_count - 1);
    do {
        actor->new_owner = (int)actor_draw(actor, 0, sim->actor_count - 1);
    } while (sim->actors[actor->new_owner].kind != ACTOR_OWNER);
    struct sim_part_range *part = &sim->parts[actor->part];
    /* The old one is fenced as an owner where claims are not looked at, sometimes where they are. */
    int old = part->owner;
    actor->shard = old >= 0 && (!sim->embedded || actor_chance(actor, 0.2)) ? old : -1;
    part->owner = -1;
    part->epoch_asked++;
    struct log_op *op = actor_op(actor, LOG_OP_RANGE_FENCE);
    op->u.fence = (struct log_fence_op){.changelog = sim->changelogs[part->changelog].id,
                                        .group_lo = part->lo,
                                        .group_hi = part->hi,
                                        .epoch = part->epoch_asked};
    actor_submit(actor);
}

static void controller_done(struct actor *actor, int64_t now_ns)
{
    struct sim *sim = actor->sim;
    CHECK(sim != NULL && actor->part < sim->part_count);
    struct sim_part_range *part = &sim->parts[actor->part];
    enum verdict verdict = actor_verdict(actor, now_ns);
    struct actor *old = actor->shard >= 0 ? &sim->actors[actor->shard] : NULL;
    bool never_there = verdict == VERDICT_OTHER && actor->op.kind == LOG_OP_OWNER_FENCE &&
                       actor->op.err == ERR_NOT_FOUND && old != NULL && actor->at == 0;
    if (verdict == VERDICT_OTHER && !never_there) {
        actor_fail(actor, "a fence is refused");
    }
    if (verdict != VERDICT_OK && !never_there) {
        return;
    }
    if (actor->op.kind == LOG_OP_RANGE_FENCE) {
        part->epoch_fenced = part->epoch_asked;
        if (old != NULL) {
            old->fence_asked = true;
            actor->at = old->incarnation; /* which one it is meant for */
            struct log_op *op = actor_op(actor, LOG_OP_OWNER_FENCE);
            IGNORE_RESULT(snprintf(op->u.owner.name, sizeof(op->u.owner.name), "node0.lane%d",
                                   old->index)); /* fits */
            actor_submit(actor);
            return;
        }
    } else if (old != NULL) {
        bool starting = old->busy && old->op.kind == LOG_OP_OWNER_INIT;
        old->fenced = old->fenced || (!starting && old->incarnation == actor->at && actor->at != 0);
    }
    part->epoch = part->epoch_asked;
    part->owner = actor->new_owner;
}

/* ---- weather: the disk is full for a while, a sync fails */

static void weather_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    if (!sim->embedded) {
        return;
    }
    if (actor->checkpoint) {
        disk_set_size(sim->disk, INT64_MAX / 4);
        actor->checkpoint = false;
    } else if (actor_chance(actor, 0.25)) {
        disk_set_size(sim->disk, disk_used_bytes(sim->disk) + actor_draw(actor, 0, 300000));
        sim->full_before = true;
        actor->checkpoint = true;
    } else if (actor_chance(actor, 0.05)) {
        struct disk_fault fault = {
            .kind = actor_chance(actor, 0.7) ? FS_SYNC : FS_WRITE,
            .nth = actor_draw(actor, 1, 20),
            .err = ERR_IO,
            .persistent = actor_chance(actor, 0.5),
            .partial = true,
        };
        disk_set_fault(sim->disk, &fault);
        sim->fault_before = true;
    }
}

/* ---- all of them */

static const struct {
    void (*begin)(struct actor *actor);
    void (*done)(struct actor *actor, int64_t now_ns);
    int64_t pause_max_ns; /* between two ops */
} kinds[] = {
    [ACTOR_PRODUCER] = {producer_begin, producer_done, 4 * MS},
    [ACTOR_OWNER] = {owner_begin, owner_done, 4 * MS},
    [ACTOR_CONTROLLER] = {controller_begin, controller_done, 30 * MS},
    [ACTOR_READER] = {reader_begin, reader_done, 5 * MS},
    [ACTOR_RESTORER] = {restorer_begin, restorer_done, 15 * MS},
    [ACTOR_TRIMMER] = {trimmer_begin, trimmer_done, 25 * MS},
    [ACTOR_CONTROL] = {control_begin, control_done, 10 * MS},
    [ACTOR_WEATHER] = {weather_begin, NULL, 80 * MS},
};

int64_t actor_step(void *ctx, int64_t now_ns)
{
    struct actor *actor = ctx;
    struct sim *sim = actor->sim;
    if (actor->busy) {
        if (mailbox_take_all(&actor->done) == NULL) {
            return CLOCK_NEVER;
        }
        actor->busy = false;
        actor->completions++;
        kinds[actor->kind].done(actor, now_ns);
    }
    if (actor->busy || sim->died || log_model_problem(sim->model) != NULL) {
        return CLOCK_NEVER;
    }
    if (now_ns < actor->next_ns) {
        return actor->next_ns;
    }
    if (actor->again) {
        actor->again = false;
        actor_submit(actor);
        return CLOCK_NEVER;
    }
    if (sim->paused) {
        return CLOCK_NEVER;
    }
    actor->next_ns = now_ns + actor_draw(actor, 0, kinds[actor->kind].pause_max_ns);
    kinds[actor->kind].begin(actor);
    return actor->busy ? CLOCK_NEVER : actor->next_ns;
}

struct actor *actor_new(struct sim *sim, enum actor_kind kind, const char *name)
{
    CHECK(sim->actor_count < SIM_ACTORS_MAX);
    struct actor *actor = &sim->actors[sim->actor_count];
    *actor = (struct actor){.sim = sim, .kind = kind, .index = sim->actor_count++};
    IGNORE_RESULT(
        snprintf(actor->name, sizeof(actor->name), "%s %d", name, actor->index)); /* fits */
    actor->rng = rng_fork(&sim->rng);
    actor->producer_id = -1;
    waker_init(&actor->waker);
    mailbox_init(&actor->done, &actor->waker);
    bool reads = kind == ACTOR_READER || kind == ACTOR_RESTORER;
    actor->buf_cap = reads ? READ_BYTES : 2 * SIM_BATCH_BYTES;
    actor->buf = mem_new(1, actor->buf_cap);
    if (kind == ACTOR_RESTORER) {
        actor->restored = mem_new(MODEL_GROUPS, (ptrdiff_t)sizeof(*actor->restored));
    }
    world_add(sim->world, actor->name, actor_step, actor, &actor->waker);
    return actor;
}

void actor_crash(struct actor *actor)
{
    actor->busy = false;
    actor->again = false;
    mailbox_init(&actor->done, &actor->waker);
    if (actor->reader != NULL) {
        log_reader_free(actor->sim->log, actor->reader);
        actor->reader = NULL;
    }
    if (actor->kind == ACTOR_OWNER && actor->incarnation != 0) {
        actor->old_owner = actor->owner;
        actor->old_incarnation = actor->incarnation;
        actor->old_commits = actor->commits;
        actor->incarnation = 0;
    }
    actor->zombie = false;
    actor->fenced = false;
    actor->fence_asked = false;
    if (actor->kind == ACTOR_WEATHER) {
        actor->checkpoint = false;
    }
}

void actor_revive(struct actor *actor)
{
    actor->next_ns = 0;
    bool resend = actor->kind == ACTOR_PRODUCER && actor->attempt != NULL &&
                  actor->op.kind == LOG_OP_APPEND && actor->idempotent && actor_chance(actor, 0.7);
    if (resend) {
        log_model_retry(actor->sim->model, actor->attempt); /* the client outlived the log */
        actor->again = true;
        if (actor_chance(actor, 0.4)) { /* and is in no hurry: the journal may roll meanwhile */
            actor->next_ns = world_now_ns(actor->sim->world) + actor_draw(actor, 0, 300) * MS;
        }
        return;
    }
    if (actor->kind == ACTOR_PRODUCER && actor->attempt != NULL) {
        actor->producer_id = -1; /* its sequence is not known */
    }
    actor->attempt = NULL;
}

void actor_free(struct actor *actor)
{
    mem_free(actor->buf);
    mem_free(actor->restored);
}
