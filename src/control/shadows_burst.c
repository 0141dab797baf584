// SPDX-License-Identifier: Apache-2.0
/* Bursts of the heavy keys (struct shadow_burst): begun, looked at, ended. */
#include <stdio.h>

#include "base/check.h"
#include "control/shadows_priv.h"

#define BURST_LOOK_NS  1000000000LL
#define BURST_QUIET_NS (60 * 1000000000LL) /* between two, at least */
enum { BURSTS_A_LIFE = 4 };

static bool may_run(const struct shadow_entry *entry)
{
    const struct shadow_run *run = entry->run;
    return entry->life.state == LIFE_MEASURING && !run->want_close && !run->want_pause &&
           !run->failing && !run->want_resample;
}

/* All keys that the sample names, whole or left out. */
static void name_keys(const struct shadow_sample *of, struct shadow_sample *burst)
{
    *burst = (struct shadow_sample){.by = SHADOW_BY_KEY, .requested = 1};
    for (int32_t i = 0; i < of->left_count && burst->heavy_count < SHADOW_HEAVY_MAX; i++) {
        burst->heavy[burst->heavy_count++] = of->left[i];
    }
    for (int32_t i = 0; i < of->heavy_count && burst->heavy_count < SHADOW_HEAVY_MAX; i++) {
        burst->heavy[burst->heavy_count++] = of->heavy[i];
    }
}

static void begin(struct control *control, struct shadow_entry *entry)
{
    struct shadow_burst *burst = &entry->run->burst;
    name_keys(&entry->run->sample, &burst->sample);
    burst->state = BURST_RUNNING;
    burst->began_ns = control->now_ns;
    burst->look_ns = control->now_ns + BURST_LOOK_NS;
    burst->problem[0] = 0;
    for (int i = SHADOW_BURST_SUBJECT; i < SHADOW_SIDES_ALL; i++) {
        entry->run->sides[i].measured = entry->run->sides[i].look_wanted = false;
    }
}

/* Opens what is to be open, the baseline first; true when all are. */
static bool open_sides(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    for (int i = SHADOW_BURST_SUBJECT + run->side_count - 1; i >= SHADOW_BURST_SUBJECT; i--) {
        if (!run->sides[i].open) {
            if (!run->sides[i].out) {
                shadow_side_open(control, entry, i, &run->burst.sample);
            }
            return false;
        }
    }
    return true;
}

static void look(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    if (control->now_ns < run->burst.look_ns) {
        return;
    }
    run->burst.look_ns = control->now_ns + BURST_LOOK_NS;
    for (int i = SHADOW_BURST_SUBJECT; i < SHADOW_BURST_SUBJECT + run->side_count; i++) {
        if (!run->sides[i].out) {
            shadow_side_measure(entry, i, SHADOW_MEASURE);
        }
    }
}

/* Each has measured as many records as a burst has, or cannot go on. */
static bool all_ended(const struct shadow_run *run)
{
    for (int i = SHADOW_BURST_SUBJECT; i < SHADOW_BURST_SUBJECT + run->side_count; i++) {
        if (!run->sides[i].measured || run->sides[i].measures->state != SHADOW_ENDED) {
            return false;
        }
    }
    return true;
}

static void run_on(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    bool late = control->now_ns - run->burst.began_ns >= BURST_MAX_NS;
    if (!may_run(entry) || late || run->burst.problem[0] != 0 || all_ended(run)) {
        run->burst.state = BURST_CLOSING;
    } else if (open_sides(control, entry)) {
        look(control, entry);
    }
}

/* What they have measured joins what earlier ones have. */
static void take(struct shadow_run *run)
{
    const struct shadow_side *own = &run->sides[SHADOW_BURST_SUBJECT];
    const struct shadow_side *base =
        run->side_count == SHADOW_SIDES ? &run->sides[SHADOW_BURST_BASELINE] : own;
    if (!own->measured || !base->measured) {
        return;
    }
    twin_begin(run->burst.twins);
    shadow_pairs(&own->measures->groups, &base->measures->groups, NULL, run->burst.twins);
    twin_keep(run->burst.twins);
    run->burst.count++;
}

static void close_sides(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    bool closed = true;
    for (int i = SHADOW_BURST_SUBJECT; i < SHADOW_SIDES_ALL; i++) {
        if (run->sides[i].open && !run->sides[i].out) {
            shadow_side_measure(entry, i, SHADOW_CLOSE);
        }
        closed = closed && !run->sides[i].open && !run->sides[i].out;
    }
    if (closed) {
        take(run);
        int64_t wait_ns = entry->life.duration_ns / BURSTS_A_LIFE;
        run->burst.state = BURST_IDLE;
        run->burst.next_ns =
            control->now_ns + (wait_ns > BURST_QUIET_NS ? wait_ns : BURST_QUIET_NS);
    }
}

int64_t shadow_burst_step(struct control *control, struct shadow_entry *entry)
{
    struct shadow_run *run = entry->run;
    struct shadow_burst *burst = &run->burst;
    bool named =
        run->sample.by == SHADOW_BY_KEY && run->sample.heavy_count + run->sample.left_count > 0;
    switch (burst->state) {
    case BURST_IDLE:
        if (named && may_run(entry) && control->now_ns >= burst->next_ns) {
            begin(control, entry);
            run_on(control, entry);
        }
        break;
    case BURST_RUNNING:
        run_on(control, entry);
        break;
    case BURST_CLOSING:
        break;
    }
    if (burst->state == BURST_CLOSING) {
        close_sides(control, entry);
    }
    return burst->state == BURST_RUNNING ? burst->look_ns : CLOCK_NEVER;
}

void shadow_burst_reply(struct shadow_side *side)
{
    struct shadow_burst *burst = &side->entry->run->burst;
    enum shadow_command_kind kind = side->command.kind;
    bool ok = side->command.err == ERR_OK;
    if (kind == SHADOW_OPEN) {
        side->open = ok;
    } else {
        side->measured = ok;
        side->open = side->open && ok && kind != SHADOW_CLOSE;
    }
    if (!ok) {
        IGNORE_RESULT(snprintf(burst->problem, sizeof(burst->problem), "%s",
                               side->command.info.text)); /* may be cut */
    }
}
