// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "sim/log_actors.h"

/* Who looks at the log, and who trims it. */

/* ---- readers: one shard from somewhere to the end, again and again */

void reader_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    struct sim_shard *shard = &sim->shards[actor->shard];
    if (actor->reader == NULL) {
        actor->reader = log_reader_new(sim->log);
    }
    int64_t end = log_model_end(sim->model, shard->model);
    if (actor_chance(actor, 0.03)) {
        actor->shard = (int)actor_draw(actor, 0, sim->shard_count - 1);
        shard = &sim->shards[actor->shard];
        end = log_model_end(sim->model, shard->model);
        actor->offset = actor_draw(actor, 0, end);
    }
    /* While a shard's file cannot be written, what is acknowledged (it is in the journal) becomes readable later. */
    actor->at_least = sim->full_before || sim->fault_before ? 0 : end;
    actor->start_least = log_model_start(sim->model, shard->model);
    struct log_op *op = actor_op(actor, LOG_OP_READ);
    op->u.read = (struct log_read_op){.reader = actor->reader,
                                      .shard = shard->id,
                                      .offset = actor->offset,
                                      .buf = actor->buf,
                                      .cap = actor->buf_cap};
    actor_submit(actor);
}

void reader_done(struct actor *actor, int64_t now_ns)
{
    struct sim *sim = actor->sim;
    struct sim_shard *shard = &sim->shards[actor->shard];
    struct log_read_op *read = &actor->op.u.read;
    enum verdict verdict = actor_verdict(actor, now_ns);
    if (verdict == VERDICT_OTHER && actor->op.err == ERR_OFFSET_RANGE &&
        actor->offset < read->ret_start_offset) {
        log_model_check_start(sim->model, shard->model, actor->start_least, read->ret_start_offset);
        actor->offset = read->ret_start_offset;
        return;
    }
    if (verdict == VERDICT_OTHER && actor->op.err == ERR_OFFSET_RANGE && actor->at_least == 0 &&
        actor->offset > read->ret_end_offset) {
        actor->offset =
            read->ret_end_offset; /* acknowledged, and readable only when there is space */
        return;
    }
    if (verdict == VERDICT_OTHER) {
        actor_fail(actor, "a good read is refused");
    }
    if (verdict != VERDICT_OK) {
        return;
    }
    int64_t next = actor->offset;
    log_model_saw(sim->model, shard->model, actor->buf, read->ret_bytes, &next);
    log_model_check_start(sim->model, shard->model, actor->start_least, read->ret_start_offset);
    if (read->ret_next_offset < next || read->ret_end_offset < actor->at_least ||
        read->ret_next_offset > read->ret_end_offset) {
        actor_fail(actor, "next or end offset is behind what is known to be there");
    }
    if (read->ret_bytes == 0 && read->ret_next_offset < read->ret_end_offset && sim->embedded) {
        actor_fail(actor, "nothing is returned though there is something");
    }
    actor->offset = read->ret_next_offset;
}

/* ---- restores and checkpoints */

static void draw_range(struct actor *actor)
{
    struct sim *sim = actor->sim;
    actor->checkpoint = actor_chance(actor, 0.4);
    if (actor->checkpoint) { /* one block */
        actor->lo =
            (uint32_t)actor_draw(actor, 0, MODEL_GROUPS / LOG_BLOCK_GROUPS - 1) * LOG_BLOCK_GROUPS;
        actor->hi = actor->lo + LOG_BLOCK_GROUPS;
    } else if (actor_chance(actor, 0.3)) { /* any range */
        actor->lo = (uint32_t)actor_draw(actor, 0, MODEL_GROUPS - 1);
        actor->hi = (uint32_t)actor_draw(actor, actor->lo + 1, MODEL_GROUPS);
    } else {
        const struct sim_part_range *part = &sim->parts[actor_draw(actor, 0, sim->part_count - 1)];
        actor->changelog = part->changelog;
        actor->lo = part->lo;
        actor->hi = part->hi;
    }
}

void restorer_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    actor->changelog = (int)actor_draw(actor, 0, sim->changelog_count - 1);
    draw_range(actor);
    struct sim_changelog *changelog = &sim->changelogs[actor->changelog];
    actor->at = LOG_AT_LAST;
    bool trouble = sim->full_before || sim->fault_before;
    actor->at_least = trouble ? 0 : log_model_end(sim->model, changelog->model);
    if (!actor->checkpoint && changelog->at_count > 0 && actor_chance(actor, 0.5)) {
        int64_t known = changelog->at_count < SIM_ATS_MAX ? changelog->at_count : SIM_ATS_MAX;
        const struct sim_at *at = &changelog->ats[actor_draw(actor, 0, known - 1)];
        actor->at = at->offset;
        actor->at_life = at->life;
    }
    memset(actor->restored, 0, MODEL_GROUPS * sizeof(*actor->restored));
    struct log_op *op = actor_op(actor, LOG_OP_RESTORE_OPEN);
    op->u.restore = (struct log_restore_op){
        .changelog = changelog->id, .group_lo = actor->lo, .group_hi = actor->hi, .at = actor->at};
    actor_submit(actor);
}

static void submit_restore(struct actor *actor, enum log_op_kind kind, struct log_restore *handle)
{
    struct log_op *op = actor_op(actor, kind);
    op->u.restore = (struct log_restore_op){
        .changelog = actor->sim->changelogs[actor->changelog].id,
        .group_lo = actor->lo,
        .group_hi = actor->hi,
        .at = actor->at,
        .handle = handle,
        .buf = actor->buf,
        .cap = actor->buf_cap,
    };
    actor_submit(actor);
}

/* Whether a restore at `at` may be refused: a checkpoint of a block in the range has passed it, or compaction has. */
static bool may_be_passed(const struct actor *actor)
{
    const struct sim_changelog *changelog = &actor->sim->changelogs[actor->changelog];
    bool passed = !actor->sim->embedded;
    for (uint32_t block = actor->lo / LOG_BLOCK_GROUPS;
         block * LOG_BLOCK_GROUPS < actor->hi && !passed; block++) {
        passed = changelog->checkpoint_asked[block] > actor->at;
    }
    return passed && actor->at != LOG_AT_LAST;
}

static void restore_opened(struct actor *actor)
{
    if (actor->at == LOG_AT_LAST) {
        actor->at = actor->op.u.restore.ret_at;
        actor->at_life = log_model_life(actor->sim->model);
        if (actor->at < actor->at_least) {
            actor_fail(actor, "the last commit is older than one that was acknowledged");
        }
    }
    submit_restore(actor, LOG_OP_RESTORE_NEXT, actor->op.u.restore.handle);
}

static void restore_closed(struct actor *actor)
{
    struct sim *sim = actor->sim;
    struct sim_changelog *changelog = &sim->changelogs[actor->changelog];
    log_model_check_restore(sim->model, changelog->model, actor->lo, actor->hi, actor->at,
                            actor->at_life, actor->restored);
    if (!actor->checkpoint || log_model_problem(sim->model) != NULL) {
        return;
    }
    ptrdiff_t len = log_model_encode_state(sim->model, changelog->model, actor->lo, actor->hi,
                                           actor->restored, actor->buf, actor->buf_cap);
    if (len == 0) {
        return;
    }
    int64_t *asked = &changelog->checkpoint_asked[actor->lo / LOG_BLOCK_GROUPS];
    *asked = actor->at > *asked ? actor->at : *asked;
    struct log_op *op = actor_op(actor, LOG_OP_CHECKPOINT);
    op->u.checkpoint = (struct log_checkpoint_op){.changelog = changelog->id,
                                                  .group_lo = actor->lo,
                                                  .group_hi = actor->hi,
                                                  .at = actor->at,
                                                  .bytes = actor->buf,
                                                  .len = len};
    actor_submit(actor);
}

void restorer_done(struct actor *actor, int64_t now_ns)
{
    enum verdict verdict = actor_verdict(actor, now_ns);
    if (verdict == VERDICT_OTHER && actor->op.kind == LOG_OP_RESTORE_OPEN &&
        actor->op.err == ERR_OFFSET_RANGE && may_be_passed(actor)) {
        return;
    }
    if (verdict == VERDICT_OTHER) {
        actor_fail(actor, "a good restore or checkpoint is refused");
    }
    if (verdict != VERDICT_OK) {
        return;
    }
    struct log_restore_op *restore = &actor->op.u.restore;
    if (actor->op.kind == LOG_OP_RESTORE_OPEN) {
        restore_opened(actor);
    } else if (actor->op.kind == LOG_OP_RESTORE_NEXT) {
        struct sim *sim = actor->sim;
        log_model_apply(sim->model, sim->changelogs[actor->changelog].model, actor->buf,
                        restore->ret_bytes, actor->restored);
        submit_restore(actor, restore->ret_more ? LOG_OP_RESTORE_NEXT : LOG_OP_RESTORE_CLOSE,
                       restore->handle);
    } else if (actor->op.kind == LOG_OP_RESTORE_CLOSE) {
        restore_closed(actor);
    }
}

/* ---- trims and floors */

static void allow_start(struct sim *sim, const struct sim_shard *shard)
{
    int64_t asked = shard->retention || shard->internal ? INT64_MAX : shard->trim_asked;
    bool floor = shard->floor_asked >= 0 && shard->floor_asked < asked;
    log_model_allow_start(sim->model, shard->model, floor ? shard->floor_asked : asked);
}

void trimmer_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    struct sim_shard *shard = &sim->shards[actor_draw(actor, 0, sim->shard_count - 1)];
    int64_t end = log_model_end(sim->model, shard->model);
    int64_t offset = actor_draw(actor, 0, end);
    if (!shard->trimmed && !shard->internal) {
        return;
    }
    if (shard->internal || (shard->floor_asked >= 0 && actor_chance(actor, 0.5))) {
        offset = offset > shard->floor_asked ? offset : shard->floor_asked;
        shard->floor_asked = offset;
        struct log_op *op = actor_op(actor, LOG_OP_FLOOR);
        op->u.floor = (struct log_floor_op){.shard = shard->id, .reader = 7, .offset = offset};
    } else {
        shard->trim_asked = offset > shard->trim_asked ? offset : shard->trim_asked;
        struct log_op *op = actor_op(actor, LOG_OP_TRIM);
        op->u.trim = (struct log_trim_op){.shard = shard->id, .before_offset = offset};
    }
    allow_start(sim, shard);
    actor_submit(actor);
}

void trimmer_done(struct actor *actor, int64_t now_ns)
{
    if (actor_verdict(actor, now_ns) == VERDICT_OTHER) {
        actor_fail(actor, "a good trim or floor is refused");
    }
}

/* ---- control records: compare and set by several */

static struct sim_set *find_set(struct sim *sim, int key, uint64_t value)
{
    for (int i = 0; i < sim->set_count; i++) {
        if (sim->sets[i].key == key && sim->sets[i].value == value) {
            return &sim->sets[i];
        }
    }
    return NULL;
}

/* Highest version that was acknowledged. */
static int64_t version_of(const struct sim *sim, int key)
{
    int64_t version = 0;
    for (int i = 0; i < sim->set_count; i++) {
        if (sim->sets[i].key == key && sim->sets[i].version > version) {
            version = sim->sets[i].version;
        }
    }
    return version;
}

void control_begin(struct actor *actor)
{
    struct sim *sim = actor->sim;
    actor->key = (int)actor_draw(actor, 0, SIM_CONTROL_KEYS - 1);
    bool set = sim->set_count < SIM_SETS_MAX && actor_chance(actor, 0.6);
    struct log_op *op = actor_op(actor, set ? LOG_OP_CONTROL_SET : LOG_OP_CONTROL_GET);
    memcpy(op->u.control.key, "map/p/0", 8);
    op->u.control.key[6] = (char)('0' + actor->key);
    op->u.control.value = &actor->value;
    op->u.control.len = (ptrdiff_t)sizeof(actor->value);
    actor->version_least = version_of(sim, actor->key);
    if (set) {
        actor->value = (uint64_t)sim->set_count + 1;
        op->u.control.expected_version = actor->versions[actor->key];
        sim->sets[sim->set_count++] = (struct sim_set){
            .key = actor->key, .value = actor->value, .expected = actor->versions[actor->key]};
    }
    actor_submit(actor);
}

/* A version belongs to one value, and follows one other. */
static void learn_version(struct actor *actor, struct sim_set *set, int64_t version)
{
    struct sim *sim = actor->sim;
    if (set->version != 0 && set->version != version) {
        actor_fail(actor, "a value has two versions");
    }
    set->version = version;
    for (int i = 0; i < sim->set_count; i++) {
        const struct sim_set *other = &sim->sets[i];
        if (other != set && other->key == set->key && other->version != 0 &&
            (other->version == version || other->expected == set->expected)) {
            actor_fail(actor, "two values stand in one place of a control record's history");
        }
    }
}

void control_done(struct actor *actor, int64_t now_ns)
{
    struct sim *sim = actor->sim;
    struct log_control_op *control = &actor->op.u.control;
    enum verdict verdict = actor_verdict(actor, now_ns);
    bool set_op = actor->op.kind == LOG_OP_CONTROL_SET;
    if (verdict == VERDICT_OTHER && set_op && actor->op.err == ERR_PRECONDITION) {
        struct sim_set *set = find_set(sim, actor->key, actor->value);
        if (control->ret_version == control->expected_version) {
            actor_fail(actor, "the precondition held");
        }
        set->key = actor->retried ? set->key : -1; /* did not happen, unless an earlier try did */
        actor->versions[actor->key] = control->ret_version;
        return;
    }
    if (verdict == VERDICT_OTHER) {
        actor_fail(actor, "a good control op is refused");
    }
    if (verdict != VERDICT_OK) {
        return;
    }
    actor->versions[actor->key] = control->ret_version;
    if (control->ret_version < actor->version_least) {
        actor_fail(actor, "a version that was acknowledged is gone (L1)");
    }
    if (control->ret_version == 0) {
        return;
    }
    struct sim_set *set = find_set(sim, actor->key, actor->value);
    if (set == NULL || (!set_op && control->ret_len != (ptrdiff_t)sizeof(actor->value))) {
        actor_fail(actor, "a value that nobody set");
        return;
    }
    learn_version(actor, set, control->ret_version);
}
