// SPDX-License-Identifier: Apache-2.0
/* The sides of a shadow: what the shadow lane is told of each, one command at a time, and what comes back. */
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/shadows_priv.h"

enum {
    BURST_RECORDS = 32768,
    WARM_PART = 5 /* of its time a side may wait until its windows are full */
};

static struct shadow_lane *lane_of(const struct control *control)
{
    return node_runtime_shadow_lane(control->runtime);
}

bool shadow_sides_closed(const struct shadow_run *run)
{
    for (int i = 0; i < SHADOW_SIDES_ALL; i++) {
        if (run->sides[i].open || run->sides[i].out) {
            return false;
        }
    }
    return !run->primary.out;
}

/* --- commands --- */

static void prepare_side(struct shadow_side *side, int32_t operators)
{
    if (side->measures == NULL) {
        side->operator_cap = operators > 0 ? operators : 1;
        side->measures = MEM_NEW(struct shadow_measures);
        side->operators = MEM_NEW_ARRAY(struct shadow_operator, side->operator_cap);
        side->next_measures = MEM_NEW(struct shadow_measures);
        side->next_operators = MEM_NEW_ARRAY(struct shadow_operator, side->operator_cap);
    }
}

static uint64_t id_on_lane(const struct shadow_entry *entry, int side)
{
    return (uint64_t)entry->id * SHADOW_SIDES_ALL + (uint64_t)side;
}

static void submit(struct shadow_side *side, enum shadow_command_kind kind)
{
    side->command.kind = kind;
    side->command.reply = &side->control->shadow_replies;
    side->command.err = ERR_OK;
    side->out = true;
    shadow_lane_send(lane_of(side->control), &side->command);
}

/* Whether the store keeps results whole. */
static bool store_wants_payloads(const struct control *control, const char *store)
{
    const struct shadow_store_spec *spec = config_shadow_store(control->config, str_of(store));
    return spec != NULL && spec->payloads;
}

/* Own rows that the primary's batches have in the mean; 0: it has had none. */
static int32_t primary_batch_rows(const struct shadow_run *run)
{
    const struct partition_figures *figures = &run->report.figures;
    if (!run->reported || figures->batches == 0) {
        return 0;
    }
    return (int32_t)((figures->records_in + figures->batches - 1) / figures->batches);
}

void shadow_side_open(struct control *control, struct shadow_entry *entry, int index,
                      const struct shadow_sample *sample)
{
    struct shadow_run *run = entry->run;
    struct shadow_side *side = &run->sides[index];
    const struct shadow_order *order = &entry->order;
    bool burst = index >= SHADOW_SIDES;
    bool subject = index == SHADOW_SUBJECT || index == SHADOW_BURST_SUBJECT;
    bool with_twin = run->side_count == SHADOW_SIDES;
    const struct stage_plan *plan =
        subject && run->candidate != NULL ? run->candidate->plan : run->plan;
    prepare_side(side, plan->operator_count);
    side->command = (struct shadow_command){.kind = SHADOW_OPEN};
    struct shadow_spec *spec = &side->command.u.open;
    *spec = (struct shadow_spec){
        .id = id_on_lane(entry, index),
        .stage = run->stage,
        .candidate = subject ? run->candidate : NULL,
        .shard = run->place.shard,
        .group_lo = run->place.group_lo,
        .group_hi = run->place.group_hi,
        .sample = *sample,
        .transport = order->transport,
        .feed = order->feed,
        .partner = subject && with_twin ? id_on_lane(entry, index + 1) : 0,
        .warm_until = {run->reported ? run->report.next_offset[0] : -1,
                       run->reported ? run->report.next_offset[1] : -1},
    };
    if (order->feed == SHADOW_BACKLOG && !order->candidate && !subject) {
        spec->feed = SHADOW_FOLLOW; /* what it costs as records come */
    }
    if (order->candidate || burst) {
        spec->batch_rows = primary_batch_rows(run);
    }
    double scale = control->config->manager.time_scale;
    double wait_ns = (double)(burst ? BURST_MAX_NS : entry->life.duration_ns) / WARM_PART;
    spec->warm_span_ms_max = (int64_t)(wait_ns * scale / 1e6); /* the load's time */
    if (burst) {
        spec->records_max = BURST_RECORDS;
    } else {
        spec->store = shadow_store_of(control, order->store);
        spec->flags = (run->comparison != NULL ? SHADOW_KEEP_RESULTS : 0U) |
                      (store_wants_payloads(control, order->store) ? SHADOW_PAYLOADS : 0U);
    }
    submit(side, SHADOW_OPEN);
}

void shadow_side_measure(struct shadow_entry *entry, int index, enum shadow_command_kind kind)
{
    struct shadow_side *side = &entry->run->sides[index];
    struct shadow_measure measure = {.id = id_on_lane(entry, index),
                                     .measures = side->next_measures,
                                     .operators = side->next_operators,
                                     .operator_cap = side->operator_cap};
    side->command = (struct shadow_command){.kind = kind};
    if (kind == SHADOW_RESAMPLE) {
        side->command.u.resample.last = measure;
        side->command.u.resample.sample = entry->run->sample;
    } else {
        side->command.u.measure = measure;
    }
    side->filling = true;
    submit(side, kind);
}

static void send_plain(struct shadow_entry *entry, int index, enum shadow_command_kind kind)
{
    struct shadow_side *side = &entry->run->sides[index];
    side->command = (struct shadow_command){.kind = kind};
    side->command.u.id = id_on_lane(entry, index);
    submit(side, kind);
}

static void send_compare(struct shadow_entry *entry)
{
    struct shadow_side *side = &entry->run->sides[SHADOW_SUBJECT];
    side->command = (struct shadow_command){.kind = SHADOW_COMPARE};
    side->command.u.compare.id = id_on_lane(entry, SHADOW_SUBJECT);
    side->command.u.compare.comparison = entry->run->next_comparison;
    submit(side, SHADOW_COMPARE);
}

/* What a side is to be told next, if anything. */
void shadow_side_advance(struct control *control, struct shadow_entry *entry, int index)
{
    struct shadow_run *run = entry->run;
    struct shadow_side *side = &run->sides[index];
    bool before =
        index == SHADOW_BASELINE || run->side_count == 1 || run->sides[SHADOW_BASELINE].open;
    if (side->out) {
        return;
    }
    if (!side->open) {
        if (entry->life.state == LIFE_OPENING && !run->want_close && !run->failing && before) {
            shadow_side_open(control, entry, index, &run->sample);
        }
        return;
    }
    if (run->want_close || run->failing) {
        shadow_side_measure(entry, index, SHADOW_CLOSE);
    } else if (side->paused != run->want_pause) {
        side->paused = run->want_pause;
        send_plain(entry, index, side->paused ? SHADOW_PAUSE : SHADOW_RESUME);
    } else if (run->want_resample && index == SHADOW_SUBJECT) {
        run->want_resample = false;
        shadow_side_measure(entry, index, SHADOW_RESAMPLE);
    } else if (side->look_wanted) {
        side->look_wanted = false;
        shadow_side_measure(entry, index, SHADOW_MEASURE);
    } else if (run->compare_turn && index == SHADOW_SUBJECT) {
        run->compare_turn = false;
        send_compare(entry);
    }
}

/* --- what comes back --- */

static void take_measures(struct shadow_side *side)
{
    if (side->filling && side->command.err == ERR_OK) {
        struct shadow_measures *measures = side->measures;
        struct shadow_operator *operators = side->operators;
        side->measures = side->next_measures;
        side->operators = side->next_operators;
        side->next_measures = measures;
        side->next_operators = operators;
    }
    side->filling = false;
}

static void side_reply(struct control *control, struct shadow_side *side)
{
    struct shadow_entry *entry = side->entry;
    struct shadow_run *run = entry->run;
    CHECK(side->out);
    side->out = false;
    take_measures(side);
    if (side - run->sides >= SHADOW_SIDES) {
        shadow_burst_reply(side);
        return;
    }
    switch (side->command.kind) {
    case SHADOW_OPEN:
        shadow_opened(control, entry, side);
        break;
    case SHADOW_CLOSE:
        side->open = false;
        if (side->command.err == ERR_OK) {
            side->measured = true;
        }
        break;
    case SHADOW_MEASURE:
        if (side->command.err == ERR_OK) {
            side->measured = true;
            shadow_measured(control, entry);
        } else {
            side->open = false; /* NOT_FOUND: it is gone */
            shadow_note(entry, side->command.info.text);
            run->failing = true;
        }
        break;
    case SHADOW_RESAMPLE:
        if (side->command.err != ERR_OK) {
            shadow_note(entry, side->command.info.text);
            shadow_tell(control, entry, LIFE_EVENT_BROKEN);
        } else {
            profile_keep_sample(entry);
        }
        break;
    case SHADOW_COMPARE:
        if (side->command.err == ERR_OK) {
            *run->comparison = *run->next_comparison;
        }
        break;
    case SHADOW_PAUSE:
    case SHADOW_RESUME:
        break;
    case SHADOW_LIST:
    case SHADOW_LIMITS:
    case SHADOW_STOP:
        CHECK_MSG(false, "no side sends that");
    }
}

static void detail_reply(struct control *control, struct primary_detail *primary)
{
    struct shadow_entry *entry = primary->entry;
    primary->out = false;
    if (primary->command.err != ERR_OK) {
        shadow_note(entry, primary->command.info.text);
        shadow_tell(control, entry,
                    entry->life.state == LIFE_WANTED ? LIFE_EVENT_REFUSED : LIFE_EVENT_LAYOUT);
        return;
    }
    primary->detail = primary->fresh;
    primary->detail.group_counts = primary->group_counts;
    memcpy(primary->group_counts, primary->fresh_counts, sizeof(primary->group_counts));
    primary->known = true;
}

void shadow_sides_take_replies(struct control *control)
{
    struct msg *next = NULL;
    for (struct msg *msg = mailbox_take_all(&control->shadow_replies); msg != NULL; msg = next) {
        struct shadow_command *command = CONTAINER_OF(msg, struct shadow_command, msg);
        next = msg->next;
        if (command == &control->shadow_limits) {
            control->shadow_limits_out = false;
        } else {
            side_reply(control, CONTAINER_OF(command, struct shadow_side, command));
        }
    }
    for (struct msg *msg = mailbox_take_all(&control->shadow_details); msg != NULL; msg = next) {
        next = msg->next;
        detail_reply(control, CONTAINER_OF(msg, struct primary_detail, command.msg));
    }
}
