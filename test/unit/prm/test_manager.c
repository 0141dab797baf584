// SPDX-License-Identifier: Apache-2.0
#include "prm/manager.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

/* A small world that does what the manager says: partitions of two shards on up to four nodes of one lane. */
enum { PARTS_MAX = 64, LANES = 4 };
#define SECOND INT64_C(1000000000)

struct world {
    struct arena arena, scratch;
    struct manager *manager;
    struct load_pipeline pipelines[2];
    int32_t pipeline_count; /* 2: the second has the second shard */
    struct load_shard shards[2];
    struct load_part parts[PARTS_MAX];
    struct load_lane lanes[LANES];
    int32_t part_count;
    double rate, lag_s,
        work_factor; /* work_factor: of lanes after a change, for layouts that disappoint */
    int64_t now_ns;
    struct manager_actions actions;
    /* what the manager has done */
    int64_t casts, ends, applies, logs, refusals, shadow, applying, last_apply_ns;
    struct decision last, judged; /* logged; and with an outcome */
    int64_t grown_ns;             /* when a node was first added */
    struct manager_action cast;
    double pause_s;
    bool fails; /* operations */
    int64_t logged[4096];
};

static struct world w;

static struct manager_options quick(void)
{
    struct manager_options o = manager_defaults();
    o.sustain_s = 30;
    o.confirm_s = 120;
    o.cooldown_s = 60;
    o.nodes_max = LANES;
    return o;
}

/* One partition a shard, on the first `open` lanes; 100 us of work, 10 us of reading a record. */
static void begin(const struct manager_options *o, int32_t open)
{
    static const char *const names[] = {"n0/0", "n1/0", "n2/0", "n3/0"};
    struct err_info info;
    arena_release(&w.arena);
    arena_release(&w.scratch);
    memset(&w, 0, sizeof w);
    arena_init(&w.arena, (ptrdiff_t)1 << 28);
    arena_init(&w.scratch, (ptrdiff_t)1 << 26);
    w.pipelines[0] = (struct load_pipeline){.name = STR("per_user"), .objective_s = 2};
    w.pipelines[1] = (struct load_pipeline){.name = STR("per_page"), .objective_s = 2};
    w.pipeline_count = 1;
    w.work_factor = 1;
    for (int32_t i = 0; i < LANES; i++) {
        w.lanes[i] = (struct load_lane){
            .name = str_of(names[i]), .node = i, .capacity = 1, .open = i < open};
    }
    for (int32_t i = 0; i < 2; i++) {
        w.shards[i] = (struct load_shard){.id = 10 + i, .read_s = 1e-5};
        w.parts[i] = (struct load_part){.name = STR("per_user/count/0/0-4096"),
                                        .shard = i,
                                        .lane = i % open,
                                        .group_hi = 4096,
                                        .share = 1,
                                        .work_s = 1e-4,
                                        .state_bytes = 1e6};
    }
    w.part_count = 2;
    w.pause_s = 0.05;
    CHECK(manager_new(&w.arena, o, PARTS_MAX, LANES, 2, &w.manager, &info) == ERR_OK);
}

static struct load_part *find(int64_t shard, uint32_t lo, uint32_t hi)
{
    for (int32_t i = 0; i < w.part_count; i++) {
        if (w.shards[w.parts[i].shard].id == shard && w.parts[i].group_lo == lo &&
            w.parts[i].group_hi == hi) {
            return &w.parts[i];
        }
    }
    return NULL;
}

static void carry_out(const struct plan_step *step)
{
    uint32_t end = step->kind == PLAN_STEP_MERGE ? step->border : step->group_hi;
    struct load_part *part = find(step->shard, step->group_lo, end);
    switch (step->kind) {
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
        w.lanes[step->node].open = step->kind == PLAN_STEP_NODE_ADD;
        w.grown_ns = w.grown_ns == 0 && w.lanes[step->node].open ? w.now_ns : w.grown_ns;
        return;
    case PLAN_STEP_MIGRATE:
        CHECK(part != NULL && part->lane == step->from);
        part->lane = step->to;
        break;
    case PLAN_STEP_SPLIT: {
        CHECK(part != NULL && w.part_count < PARTS_MAX);
        struct load_part *upper = &w.parts[w.part_count++];
        double above =
            (double)(step->group_hi - step->border) / (double)(step->group_hi - step->group_lo);
        *upper = *part;
        upper->group_lo = step->border;
        upper->lane = step->to;
        upper->share = part->share * above;
        part->share *= 1 - above;
        part->group_hi = step->border;
        break;
    }
    case PLAN_STEP_MERGE: {
        struct load_part *upper = find(step->shard, step->border, step->group_hi);
        CHECK(part != NULL && upper != NULL);
        part->share += upper->share;
        part->group_hi = upper->group_hi;
        part->lane = step->to;
        *upper = w.parts[--w.part_count];
        break;
    }
    case PLAN_STEP_TUNE:
        for (int32_t i = 0; i < w.part_count; i++) {
            w.parts[i].work_s *= 0.5;
        }
        break;
    case PLAN_STEP_KIND_COUNT:
        CHECK(false);
    }
    for (int32_t i = 0; i < w.part_count; i++) {
        w.parts[i].work_s *= w.work_factor;
    }
    w.work_factor = 1;
}

static void send(const struct manager_event *event);

static void obey(void)
{
    struct manager_actions actions = w.actions;
    for (int32_t i = 0; i < actions.count; i++) {
        const struct manager_action *a = &actions.list[i];
        switch (a->kind) {
        case MANAGER_ACTION_CAST:
            CHECK(w.shadow == 0); /* M5: one at a time, and none is lost */
            w.shadow = a->shadow;
            w.cast = *a;
            w.casts++;
            break;
        case MANAGER_ACTION_END_SHADOW:
            CHECK(w.shadow == a->shadow);
            w.shadow = 0;
            w.ends++;
            break;
        case MANAGER_ACTION_LOG:
            w.last = *a->decision;
            w.judged = w.last.state == DECISION_STATE_MEASURED ? w.last : w.judged;
            CHECK(w.last.id > 0 && w.last.id < 4096);
            w.logged[w.last.id]++;
            w.logs++;
            break;
        case MANAGER_ACTION_APPLY:
            CHECK(w.logged[a->decision->id] > 0);                 /* M2 */
            CHECK(w.applying == 0);                               /* M4: one change at a time */
            CHECK(a->decision->state == DECISION_STATE_APPROVED); /* and approved */
            for (int32_t s = 0; s < a->step_count && !w.fails; s++) {
                carry_out(&a->steps[s]);
            }
            w.applying = a->decision->id;
            w.applies++;
            w.last_apply_ns = w.now_ns;
            break;
        case MANAGER_ACTION_REFUSE:
            w.refusals++;
            break;
        case MANAGER_ACTION_KIND_COUNT:
            CHECK(false);
        }
    }
}

static void send(const struct manager_event *event)
{
    manager_step(w.manager, event, w.now_ns, &w.scratch, &w.actions);
    obey();
}

static void finish(void)
{
    if (w.applying != 0) {
        struct manager_event done = {.kind = MANAGER_EVENT_OPERATION_DONE,
                                     .operation_done = {.decision = w.applying,
                                                        .done = !w.fails,
                                                        .pause_s = w.pause_s,
                                                        .reason = STR("planted")}};
        struct manager_event applying = {.kind = MANAGER_EVENT_APPLYING,
                                         .applying = {.decision = w.applying}};
        w.applying = 0;
        send(&applying);
        send(&done);
    }
}

static struct load_input picture(void)
{
    for (int32_t i = 0; i < 2; i++) {
        w.shards[i].rate_per_s = w.rate / 2;
    }
    return (struct load_input){.pipelines = w.pipelines,
                               .shards = w.shards,
                               .parts = w.parts,
                               .lanes = w.lanes,
                               .pipeline_count = w.pipeline_count,
                               .shard_count = 2,
                               .part_count = w.part_count,
                               .lane_count = LANES};
}

/* `count` intervals at `rate`, operations done between them. */
static void run(double rate, int count)
{
    for (int i = 0; i < count; i++) {
        w.now_ns += 10 * SECOND;
        w.rate = rate;
        struct load_input load = picture();
        struct manager_event event = {.kind = MANAGER_EVENT_SAMPLES,
                                      .samples = {.load = &load, .lag_s = {w.lag_s, w.lag_s}}};
        send(&event);
        finish();
    }
}

static void mode(enum manager_mode m)
{
    struct manager_event event = {.kind = MANAGER_EVENT_MODE, .mode = {-1, m}};
    send(&event);
}

/* Half of the load lies below ten key groups past the middle. */
static void profile(bool complete)
{
    uint32_t lo = w.cast.group_lo, span = w.cast.group_hi - lo;
    struct manager_event event = {.kind = MANAGER_EVENT_PROFILE,
                                  .profile = {.shadow = w.shadow,
                                              .complete = complete,
                                              .cut_count = 3,
                                              .cuts = {{(uint16_t)(lo + span / 4), 0.25F},
                                                       {(uint16_t)(lo + span / 2 + 10), 0.5F},
                                                       {(uint16_t)(lo + span * 3 / 4), 0.75F}}}};
    send(&event);
}

static void end(void)
{
    arena_release(&w.arena);
    arena_release(&w.scratch);
}

static double busiest(void)
{
    double most = 0;
    for (int32_t l = 0; l < LANES; l++) {
        double sum = 0;
        bool read[2] = {false, false};
        for (int32_t i = 0; i < w.part_count; i++) {
            const struct load_part *part = &w.parts[i];
            if (part->lane != l) {
                continue;
            }
            sum += w.rate / 2 * part->share * part->work_s;
            sum += read[part->shard] ? 0 : w.rate / 2 * 1e-5;
            read[part->shard] = true;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

TEST(manager_does_nothing_while_there_is_nothing_to_do)
{
    struct manager_options o = quick();
    begin(&o, 2);
    mode(MANAGER_ACT);
    run(8000, 500); /* 0.44 a lane */
    EXPECT_INT(w.applies + w.casts + w.logs, 0);
    EXPECT_INT(manager_view(w.manager, 0).state, MANAGER_STATE_WATCHING);
    EXPECT_NEAR(manager_view(w.manager, 0).demand, 0.88, 1e-9);
    end();
}

TEST(manager_casts_a_shadow_measures_plans_changes_and_judges)
{
    struct manager_options o = quick();
    begin(&o, 2);
    mode(MANAGER_ACT);
    run(9000, 20);
    run(14000, 6); /* 0.77 a lane: above the threshold, below the second one */
    EXPECT_INT(w.casts, 1);
    EXPECT_INT(w.cast.shard, 10);
    EXPECT(!w.cast.by_forecast);
    EXPECT_INT(manager_view(w.manager, 0).state, MANAGER_STATE_SHADOWING);
    EXPECT_INT(w.applies, 0);
    profile(true);
    EXPECT_INT(w.ends, 1);
    run(17000, 2); /* 0.935: now it cannot wait; the profile says where to cut */
    EXPECT_INT(w.applies, 1);
    EXPECT_MSG(busiest() <= 0.85, "%g", busiest());
    bool cut = false;
    for (int32_t i = 0; i < w.part_count; i++) {
        cut = cut || (w.parts[i].shard == 0 && w.parts[i].group_lo == 2058);
    }
    EXPECT(cut);
    EXPECT_INT(manager_view(w.manager, 0).state, MANAGER_STATE_VERDICT);
    run(17000, 10);
    EXPECT_INT(manager_view(w.manager, 0).state, MANAGER_STATE_WATCHING);
    EXPECT_INT(w.last.state, DECISION_STATE_MEASURED);
    EXPECT(!w.last.outcome.layout_failed);
    EXPECT_NEAR(w.last.outcome.pause_s, 0.05, 1e-9);
    EXPECT_MSG(fabs(w.last.outcome.work_ratio - 1) < 0.05, "%g", w.last.outcome.work_ratio);
    EXPECT(w.last.outcome.benefit > 0 && w.last.outcome.cost_old > w.last.outcome.cost_new);
    EXPECT_INT(w.applies, 1);
    end();
}

TEST(manager_recommends_and_a_person_applies)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    run(10000, 6); /* 1.1 on one lane, in the mode that is the default */
    EXPECT_INT(w.applies, 0);
    EXPECT_INT(w.last.state, DECISION_STATE_RECOMMENDED);
    int64_t logs = w.logs, id = w.last.id;
    run(10000, 5);
    EXPECT_INT(w.logs, logs); /* told once */
    int32_t count = 0;
    EXPECT(manager_steps(w.manager, id, &count) != NULL && count > 0);
    struct manager_event wrong = {.kind = MANAGER_EVENT_APPLY, .apply = {id + 7, STR("anna")}};
    send(&wrong);
    EXPECT_INT(w.refusals, 1);
    struct manager_event apply = {.kind = MANAGER_EVENT_APPLY, .apply = {id, STR("anna")}};
    send(&apply);
    EXPECT_INT(w.applies, 1);
    EXPECT(strcmp(w.last.who, "anna") == 0);
    send(&apply); /* twice is once */
    EXPECT_INT(w.refusals, 2);
    EXPECT_INT(w.applies, 1);
    finish();
    run(10000, 1);
    EXPECT(busiest() < 0.9);
    end();
}

static int64_t propose(int32_t lane)
{
    struct plan_step step = {.kind = PLAN_STEP_MIGRATE,
                             .shard = 11,
                             .group_hi = 4096,
                             .from = -1,
                             .to = lane,
                             .node = -1,
                             .part = -1};
    struct manager_event event = {.kind = MANAGER_EVENT_PROPOSE,
                                  .propose = {&step, 1, NULL, STR("someone")}};
    int64_t before = w.last.id;
    send(&event);
    return w.last.id > before && w.last.state == DECISION_STATE_RECOMMENDED ? w.last.id : 0;
}

TEST(manager_prices_and_keeps_what_a_person_wants)
{
    struct manager_options o = quick();
    begin(&o, 2);
    mode(MANAGER_ACT);
    EXPECT_INT(propose(0), 0); /* nothing has been measured */
    EXPECT_INT(w.refusals, 1);
    run(4000, 5);
    EXPECT_INT(propose(7), 0);
    EXPECT_INT(propose(2), 0); /* that node is off */
    EXPECT_INT(w.refusals, 3);
    int64_t id = propose(0);
    EXPECT(id > 0);
    EXPECT_INT(w.last.cause, DECISION_PERSON);
    EXPECT_INT(w.last.option_count, 2);
    EXPECT_INT(w.last.options[1].kind, PLAN_GIVEN);
    EXPECT_STR(str_of(w.last.who), STR("someone"));
    run(4000, 3);
    EXPECT_INT(w.applies, 0); /* also in mode act a person's plan waits for a person */
    int64_t again = propose(0);
    EXPECT(again > id);
    EXPECT(manager_decision(w.manager, id) == NULL); /* replaced */
    struct manager_event apply = {.kind = MANAGER_EVENT_APPLY, .apply = {again, STR("other")}};
    send(&apply);
    finish();
    EXPECT_INT(w.applies, 1);
    EXPECT_INT(w.parts[1].lane, 0);
    EXPECT_STR(str_of(w.last.who), STR("other"));
    end();
}

TEST(manager_lets_plans_expire_that_no_longer_fit)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    run(10000, 6);
    int64_t id = w.last.id;
    w.lanes[1].open = true; /* somebody has added a node */
    run(4000, 1);
    EXPECT_INT(w.last.id, id);
    EXPECT_INT(w.last.state, DECISION_STATE_EXPIRED);
    struct manager_event apply = {.kind = MANAGER_EVENT_APPLY, .apply = {id, STR("anna")}};
    send(&apply);
    EXPECT_INT(w.refusals, 1);
    EXPECT_INT(w.applies, 0);
    end();
}

TEST(manager_takes_away_only_after_a_confirmed_drop)
{
    struct manager_options o = quick();
    begin(&o, 3);
    w.parts[1].lane = 1;
    mode(MANAGER_ACT);
    run(17000, 1);
    run(4000, 12); /* 0.22 a lane, but for less than two minutes */
    EXPECT_INT(w.applies, 0);
    run(4000, 40);
    EXPECT(w.applies >= 1);
    EXPECT(!w.lanes[2].open || !w.lanes[1].open);
    EXPECT(w.lanes[0].open || w.lanes[1].open || w.lanes[2].open);
    EXPECT(busiest() <= 0.8);
    end();
}

TEST(manager_does_not_scale_for_a_symptom)
{
    struct manager_options o = quick();
    begin(&o, 1);
    mode(MANAGER_ACT);
    w.pipelines[0].symptoms = LOAD_SYMPTOM_SINK;
    w.lag_s = 3;
    for (int i = 0; i < 30; i++) {
        w.lag_s += 1;
        run(10000, 1);
    }
    EXPECT_INT(w.applies, 0);
    EXPECT(w.logs >= 1);
    EXPECT(strstr(decision_sentence(&w.last, &w.scratch),
                  "the cause is not the load: commits stall") != NULL);
    end();
}

TEST(manager_keeps_windows_budget_and_cool_down_but_not_when_urgent)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.window_count = 1;
    o.windows[0] = (struct manager_window){3600, 7200};
    begin(&o, 3);
    mode(MANAGER_ACT);
    run(4000, 100); /* a confirmed drop, outside the window */
    EXPECT_INT(w.applies, 0);
    EXPECT_INT(w.last.options[w.last.option_count - 1].verdict, PLAN_VERDICT_CLOSED);
    run(17000, 4); /* what cannot wait does not wait for a window */
    EXPECT_INT(w.applies, 1);
    run(4000, 300); /* 17 minutes past the hour: open */
    EXPECT(w.applies >= 2);
    end();
}

/* The budget is a day's: what is left of it when a day is over does not depend on a change having been made since. */
TEST(manager_has_a_new_budget_each_day)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.budget_day = 1;
    begin(&o, 3);
    mode(MANAGER_ACT);
    struct decision spent = {.id = 41, .state = DECISION_STATE_MEASURED};
    struct manager_event recall = {.kind = MANAGER_EVENT_RECALL, .recall = &spent};
    send(&recall);
    run(4000, 100); /* a confirmed drop */
    EXPECT_INT(w.applies, 0);
    EXPECT_INT(w.last.options[w.last.option_count - 1].verdict, PLAN_VERDICT_BUDGET);
    w.now_ns += 86400 * SECOND;
    run(4000, 40);
    EXPECT_INT(w.applies, 1);
    end();
}

TEST(manager_rolls_back_what_did_not_do_as_predicted_and_remembers)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    mode(MANAGER_ACT);
    w.pause_s = 5; /* fifty times what was expected */
    run(8400, 2);
    EXPECT_INT(w.applies, 1);
    EXPECT(w.lanes[1].open);
    int64_t first = w.last.id;
    run(3000, 8); /* and it was not worth it */
    EXPECT_INT(w.logged[first] >= 3, 1);
    EXPECT_INT(w.applies, 2);
    EXPECT_INT(w.last.parent, first);
    EXPECT_INT(w.last.cause, DECISION_VERDICT);
    EXPECT(!w.lanes[1].open && w.parts[0].lane == 0 && w.parts[1].lane == 0);
    w.pause_s = 0.05;
    run(3000, 10);
    run(8400, 3); /* the same again would be the same step: another is taken, or none */
    EXPECT(w.applies == 2 || w.part_count > 2 || (w.lanes[1].open && w.lanes[2].open));
    end();
}

/* The first shard is the first pipeline's, in two partitions; the second is another's, and takes next to nothing. */
static void begin_two(const struct manager_options *o)
{
    begin(o, 3);
    w.pipeline_count = 2;
    w.shards[1].pipeline = 1;
    w.shards[1].read_s = 1e-7;
    for (int32_t i = 0; i < 3; i++) {
        w.parts[i] = w.parts[0];
        w.parts[i].lane = 0;
    }
    w.parts[0].share = w.parts[1].share = 0.5;
    w.parts[0].group_hi = w.parts[1].group_lo = 2048;
    w.parts[2].shard = 1;
    w.parts[2].work_s = 1e-7;
    w.part_count = 3;
}

/* By then other partitions stand where those of the plan stood: what is undone is still the first pipeline's. */
TEST(manager_rolls_back_in_the_mode_of_the_pipeline_that_was_changed)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.prices.change = 100;
    begin_two(&o);
    mode(MANAGER_ACT);
    struct manager_event other = {.kind = MANAGER_EVENT_MODE, .mode = {1, MANAGER_RECOMMEND}};
    send(&other);
    w.pause_s = 5;
    run(20000, 2);
    EXPECT_INT(w.applies, 1);
    int64_t first = w.last.id;
    for (int32_t i = 0; i < w.part_count / 2; i++) {
        struct load_part last = w.parts[w.part_count - 1 - i];
        w.parts[w.part_count - 1 - i] = w.parts[i];
        w.parts[i] = last;
    }
    run(6000, 8);
    EXPECT_INT(w.last.parent, first);
    EXPECT_INT(w.applies, 2);
    end();
}

/* The first pipeline may be an hour late; the one that the lane is full of may not. */
TEST(manager_judges_a_lane_by_the_objective_of_who_is_on_it)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin_two(&o);
    w.shards[0].pipeline = 1;
    w.shards[1].pipeline = 0;
    w.pipelines[0].objective_s = 3600;
    w.parts[2].lane = 2;
    mode(MANAGER_ACT);
    run(20000, 2); /* 1.1 of the lane */
    EXPECT_INT(w.applies, 1);
    run(20000, 10);
    EXPECT_INT(w.judged.state, DECISION_STATE_MEASURED);
    EXPECT_MSG(w.judged.outcome.benefit > 100, "%g", w.judged.outcome.benefit);
    end();
}

TEST(manager_tells_a_layout_that_disappoints_from_a_forecast_that_does)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    mode(MANAGER_ACT);
    run(7000, 10);
    w.work_factor = 2.5; /* whatever is changed makes it worse */
    run(8400, 1);
    EXPECT_INT(w.applies, 1);
    int64_t first = w.last.id;
    run(8400, 3); /* so bad that it cannot wait for the verdict's time: once that is sure */
    EXPECT_INT(w.judged.id, first);
    EXPECT(w.judged.outcome.layout_failed && !w.judged.outcome.forecast_failed);
    EXPECT_MSG(w.judged.outcome.work_ratio > 2, "%g", w.judged.outcome.work_ratio);
    end();
}

TEST(manager_gives_back_every_shadow)
{
    struct manager_options o = quick();
    begin(&o, 2);
    mode(MANAGER_ACT);
    run(14000, 6);
    EXPECT_INT(w.casts, 1);
    run(14000, 80); /* nobody answers: ten minutes, and what is granted beyond */
    EXPECT_INT(w.ends, 1);
    int64_t casts = w.casts;
    EXPECT_INT(casts, 1); /* not at once again */
    run(14000, 70);
    EXPECT(w.casts >= 2 && w.casts <= 4);
    while (w.shadow == 0) {
        run(14000, 1);
    }
    mode(MANAGER_OBSERVE); /* the switch */
    EXPECT_INT(w.shadow, 0);
    EXPECT_INT(w.casts, w.ends);
    int64_t shadows = w.casts;
    run(14000, 200);
    EXPECT_INT(w.casts, shadows);
    end();
}

TEST(manager_goes_on_after_a_restart)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    mode(MANAGER_ACT);
    struct decision before = {
        .id = 41, .state = DECISION_STATE_APPLYING, .at_ns = 0, .changed_ns = 5 * SECOND};
    struct manager_event recall = {.kind = MANAGER_EVENT_RECALL, .recall = &before};
    send(&recall);
    EXPECT_INT(w.last.id, 41);
    EXPECT_INT(w.last.state, DECISION_STATE_FAILED);
    EXPECT(strstr(w.last.reason, "restarted") != NULL);
    run(10000, 4);
    EXPECT(w.last.id > 41);
    end();
}

/* A change of twenty seconds before the start is one: the next waits for its cool-down. */
TEST(manager_cools_down_over_a_restart)
{
    struct manager_options o = quick();
    o.shadows = o.forecasts = false;
    o.cooldown_s = 600;
    for (int changed = 0; changed < 2; changed++) {
        begin(&o, 2);
        mode(MANAGER_ACT);
        struct decision before = {.id = 41,
                                  .state = changed == 1 ? DECISION_STATE_MEASURED
                                                        : DECISION_STATE_RECOMMENDED,
                                  .at_ns = -30 * SECOND,
                                  .changed_ns = -20 * SECOND};
        struct manager_event recall = {.kind = MANAGER_EVENT_RECALL, .recall = &before};
        send(&recall);
        run(200, 50);
        EXPECT_INT(w.applies, changed == 1 ? 0 : 1);
        run(200, 40);
        EXPECT(w.applies > 0);
        end();
    }
}

/* A restart does not make it forget what has failed: the same change is not tried again within the day. */
TEST(manager_remembers_over_a_restart_what_has_failed)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    mode(MANAGER_ACT);
    run(10000, 4);
    EXPECT_INT(w.applies, 1);
    struct decision failed = w.last;
    EXPECT(failed.signature != 0);
    failed.state = DECISION_STATE_FAILED;
    struct manager_event recall = {.kind = MANAGER_EVENT_RECALL, .recall = &failed};
    for (int round = 0; round < 2; round++) { /* of just now, and of two days ago */
        failed.changed_ns = round == 0 ? 0 : -2 * 86400 * SECOND;
        begin(&o, 1);
        mode(MANAGER_ACT);
        send(&recall);
        run(10000, 12);
        EXPECT(w.last.id > failed.id);
        EXPECT_INT(w.last.signature == failed.signature, round);
    }
    end();
}

/* A wave that is the same every day: after three days the rise is seen before it comes. */
TEST(manager_acts_before_the_bottleneck)
{
    enum { DAY = 8640 };
    static double history[DAY * 3];
    const double around = 6.283185307179586;
    int64_t grown_ns[2];
    for (int i = 0; i < DAY * 3; i++) {
        history[i] = 11000 - 9000 * cos(around * i / DAY) + 40 * sin(i * 0.7);
    }
    for (int proactive = 0; proactive < 2; proactive++) {
        struct manager_options o = quick();
        o.forecasts = proactive == 1;
        o.startup_s = 300;
        begin(&o, 1);
        mode(MANAGER_ACT);
        struct manager_event past = {
            .kind = MANAGER_EVENT_HISTORY,
            .history = {.pipeline = 0, .rate_per_s = history, .count = (int64_t)DAY * 3}};
        send(&past);
        double worst = 0;
        int64_t by_forecast = 0;
        for (int i = 0; i < DAY / 2; i++) {
            run(11000 - 9000 * cos(around * i / DAY), 1);
            if (w.shadow != 0) {
                by_forecast += w.cast.by_forecast;
                profile(true);
            }
            worst = fmax(worst, busiest());
        }
        EXPECT(w.casts > 0 && w.applies > 0 && w.grown_ns > 0);
        EXPECT(proactive == 0 || (by_forecast > 0 && worst < 0.9));
        grown_ns[proactive] = w.grown_ns;
    }
    EXPECT_MSG(grown_ns[1] + 100 * SECOND < grown_ns[0], "%lld s, without a forecast %lld s",
               (long long)(grown_ns[1] / SECOND), (long long)(grown_ns[0] / SECOND));
    end();
}

/* M1 to M6 against anything that may happen. */
TEST(manager_keeps_its_invariants_whatever_happens)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    int64_t applies = 0, casts = 0;
    for (int round = 0; round < 60; round++) {
        struct manager_options o = quick();
        o.startup_s = rng_chance(&rng, 0.5) ? 0 : 60;
        o.budget_day = rng_chance(&rng, 0.3) ? 2 : 0;
        begin(&o, 1 + (int32_t)rng_below(&rng, LANES));
        mode(rng_chance(&rng, 0.8) ? MANAGER_ACT : MANAGER_RECOMMEND);
        double rate = 8000;
        for (int step = 0; step < 400; step++) {
            int64_t before = w.applies, last_ns = w.last_apply_ns, time = w.now_ns;
            bool acts = manager_view(w.manager, 0).mode == MANAGER_ACT;
            bool sane = true;
            rate = fmin(fmax(rate * exp(0.1 * rng_normal(&rng)), 10), 60000);
            w.rate = rate;
            struct load_input load = picture();
            struct manager_event event = {
                .kind = MANAGER_EVENT_SAMPLES,
                .samples = {.load = &load, .lag_s = {rng_chance(&rng, 0.1) ? 5 : 0}}};
            struct load_part was = w.parts[0];
            w.now_ns += 10 * SECOND;
            switch (rng_below(&rng, 14)) {
            case 0:
                event.samples.load = NULL;
                sane = false;
                break;
            case 1:
                w.parts[0].work_s = (double)NAN;
                sane = false;
                break;
            case 2:
                w.shards[0].rate_per_s = -1;
                sane = false;
                break;
            case 3:
                w.now_ns += (int64_t)rng_below(&rng, 100) * 86400 * SECOND;
                break;
            case 4:
                w.now_ns -= 3600 * SECOND;
                break;
            case 5:
                event.samples.draining = true;
                sane = false;
                break;
            case 6:
                event = (struct manager_event){
                    .kind = MANAGER_EVENT_FORECAST,
                    .forecast = {.usable = true,
                                 .horizon_s = rng_chance(&rng, 0.5) ? NAN : 3600,
                                 .high_per_s = rng_chance(&rng, 0.5) ? (double)NAN : 1e12,
                                 .error = rng_chance(&rng, 0.5) ? 0.5 : 7}};
                sane = false; /* a forecast alone changes nothing */
                break;
            case 7:
                event = (struct manager_event){
                    .kind = MANAGER_EVENT_PROFILE,
                    .profile = {.shadow = w.shadow,
                                .complete = rng_chance(&rng, 0.7),
                                .top_share = rng_chance(&rng, 0.2) ? (double)NAN : rng_unit(&rng)}};
                sane = false;
                break;
            case 8:
                event = (struct manager_event){.kind = MANAGER_EVENT_SHADOW_ENDED,
                                               .shadow_ended = {.shadow = w.shadow}};
                w.shadow = 0;
                sane = false;
                break;
            default:
                break;
            }
            send(&event);
            w.parts[0].work_s =
                w.parts[0].group_hi == was.group_hi ? was.work_s : w.parts[0].work_s;
            EXPECT_MSG(sane || w.applies == before, "round %d step %d: changed for nothing", round,
                       step);
            EXPECT_MSG(acts || w.applies == before, "round %d step %d: changed unasked", round,
                       step);
            EXPECT(w.applies <= before + 1);
            if (w.applies > before && before > 0) {
                int64_t since = w.now_ns - last_ns;
                EXPECT_MSG(since >= 10 * SECOND || w.now_ns < time, "round %d step %d: %lld ns",
                           round, step, (long long)since);
            }
            int32_t open = 0;
            for (int32_t l = 0; l < LANES; l++) {
                open += w.lanes[l].open;
            }
            EXPECT(open >= 1);
            w.fails =
                rng_chance(&rng, 0.2); /* carried out, but told to have failed: that is believed */
            finish();
            w.fails = false;
        }
        applies += w.applies;
        casts += w.casts;
    }
    EXPECT_MSG(applies > 60 && casts > 20, "%lld changes, %lld shadows", (long long)applies,
               (long long)casts);
    end();
}

TEST(manager_refuses_options_out_of_range)
{
    struct manager_options o = quick();
    struct err_info info;
    begin(&o, 1);
    o.threshold = NAN;
    struct manager *none = NULL;
    EXPECT_INT(manager_new(&w.arena, &o, 4, 4, 1, &none, &info), ERR_INVALID);
    EXPECT(strstr(info.text, "threshold is nan; 0.01 to 1 is allowed") != NULL);
    o = quick();
    o.windows[0] = (struct manager_window){7200, 3600};
    o.window_count = 1;
    EXPECT_INT(manager_new(&w.arena, &o, 4, 4, 1, &none, &info), ERR_INVALID);
    EXPECT(none == NULL);
    end();
}

TEST(manager_explains_itself_in_a_sentence)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 1);
    run(10000, 6);
    const char *text = decision_sentence(&w.last, &w.scratch);
    EXPECT_MSG(
        strstr(text, "per_user: 10000 records/s ask for 1.10 lanes of 1, n0/0 is at 110 %") != NULL,
        "%s", text);
    EXPECT(strstr(text, "reactive") != NULL);
    EXPECT(strstr(text, "recommended; nothing moves until it is applied") != NULL);
    printf("%s\n", text);
    EXPECT(decision_follows(DECISION_STATE_RECOMMENDED, DECISION_STATE_APPROVED));
    EXPECT(!decision_follows(DECISION_STATE_OBSERVED, DECISION_STATE_APPLYING));
    for (int s = 0; s < DECISION_STATE_COUNT; s++) {
        for (int t = 0; t < DECISION_STATE_COUNT; t++) {
            bool moves = decision_follows((enum decision_state)s, (enum decision_state)t);
            EXPECT(!moves || s != DECISION_STATE_OBSERVED);
        }
    }
    end();
}

/* --- what is not known moves nothing (M1) --- */

/* 0.7 of two lanes: whatever is believed to come would ask for more. */
static void calm(const struct manager_options *o)
{
    begin(o, 2);
    mode(MANAGER_ACT);
    run(8000, 12); /* 0.44 a lane */
}

static void hours(double high_per_s, double horizon_s, double error)
{
    struct manager_event event = {.kind = MANAGER_EVENT_FORECAST,
                                  .forecast = {.pipeline = 0,
                                               .usable = true,
                                               .horizon_s = horizon_s,
                                               .high_per_s = high_per_s,
                                               .error = error}};
    send(&event);
}

TEST(manager_without_a_forecast_is_reactive_and_says_so)
{
    struct manager_options o = quick();
    o.shadows = false;
    begin(&o, 2);
    run(13500, 8); /* 0.74 a lane, and no past to forecast from */
    EXPECT(manager_view(w.manager, 0).blind);
    EXPECT_INT(w.last.cause, DECISION_BLIND);
    EXPECT(!w.last.forecast.there);
    EXPECT(strstr(decision_sentence(&w.last, &w.scratch), "reactive") != NULL);
    EXPECT_INT(w.applies, 0);
    end();
}

TEST(manager_moves_nothing_for_a_forecast_that_was_wrong)
{
    struct manager_options o = quick();
    o.shadows = false;
    calm(&o);
    hours(1e6, 3600, 1.4); /* its backtest is worse than "stays as it is" */
    run(8000, 12);
    EXPECT_INT(w.applies + w.logs, 0);
    hours(1e6, 3600, 0.5); /* a good one of the same: now it is decided for it */
    run(8000, 2);
    EXPECT(w.logs > 0);
    end();
}

TEST(manager_moves_nothing_for_figures_that_are_no_numbers)
{
    struct manager_options o = quick();
    o.shadows = false;
    calm(&o);
    const double bad[] = {NAN, INFINITY, -INFINITY, -5};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hours(bad[i], 3600, 0.5);
        run(8000, 2);
        hours(1e6, bad[i], 0.5);
        run(8000, 2);
        hours(1e6, 3600, bad[i]);
        run(8000, 2);
        run(bad[i], 12); /* arrivals */
        double work_s = w.parts[0].work_s;
        w.parts[0].work_s = bad[i];
        run(8000, 12);
        w.parts[0].work_s = work_s;
        struct manager_event history = {.kind = MANAGER_EVENT_HISTORY,
                                        .history = {.pipeline = 0, .rate_per_s = bad, .count = 4}};
        send(&history);
    }
    run(8000, 12);
    EXPECT_INT(w.applies + w.casts, 0);
    EXPECT_NEAR(manager_view(w.manager, 0).demand, 0.88, 1e-9); /* it goes on as before */
    end();
}

TEST(manager_moves_nothing_across_a_gap)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.sustain_s = 60;
    calm(&o);
    for (int i = 0; i < 10;
         i++) { /* never above the threshold for as long as it takes, as far as is known */
        run(13500, 3);
        w.now_ns += 100 * SECOND;
        struct manager_event missing = {.kind = MANAGER_EVENT_SAMPLES, .samples = {.load = NULL}};
        send(&missing);
        w.now_ns += 100 * SECOND;
    }
    EXPECT_INT(w.applies + w.casts + w.logs, 0);
    run(13500, 8); /* without a gap it is */
    EXPECT(w.logs > 0);
    end();
}

/* Intervals in which each partition takes 30 ms of CPU a second by itself, whatever its share. */
static void run_with_own_cost(double rate, int count)
{
    for (int i = 0; i < count; i++) {
        for (int32_t k = 0; k < w.part_count; k++) {
            w.parts[k].work_s = 1e-4 + 0.03 / (rate / 2 * w.parts[k].share);
        }
        run(rate, 1);
    }
}

/* Load has been low for long: what partitions take by themselves is saved by fusing them, though no node can be given back. */
TEST(manager_fuses_partitions_when_load_is_low_for_long)
{
    struct manager_options o = quick();
    o.nodes_min = 2;
    o.margin = 0.02;
    begin(&o, 2);
    mode(MANAGER_ACT);
    for (int32_t i = 0; i < 4; i++) { /* the first shard in four, shares of 0.1 to 0.4 */
        struct load_part *part = &w.parts[i == 0 ? 0 : i + 1];
        *part = w.parts[0];
        part->group_lo = (uint32_t)i * 1024;
        part->group_hi = (uint32_t)(i + 1) * 1024;
        part->share = 0.1 * (i + 1);
    }
    w.part_count = 5;
    run_with_own_cost(2000, 11); /* 0.23 of a lane; confirmed after 120 s */
    EXPECT_INT(w.applies, 0);
    run_with_own_cost(2000, 30);
    EXPECT_INT(w.applies, 1);
    EXPECT_INT(w.part_count, 2);
    EXPECT_INT(w.judged.state, DECISION_STATE_MEASURED);
    EXPECT_INT(w.judged.options[w.judged.chosen].kind, PLAN_MERGE);
    EXPECT(!w.judged.outcome.layout_failed);
    run_with_own_cost(8000, 60); /* more, but no more than a lane takes: it is not cut again */
    EXPECT_INT(w.applies, 1);
    end();
}

/* Lanes are at 44 %, nothing is late: a setting that halves the work is set, and what it frees is what was predicted. */
TEST(manager_sets_what_trials_have_found_better_and_measures_what_it_frees)
{
    struct plan_tuning good = {.text = STR("per_user/count: l.cache=4096"),
                               .back = STR("per_user/count: l.cache=0"),
                               .work_ratio = 0.5,
                               .signature = 77};
    struct manager_event event = {.kind = MANAGER_EVENT_TUNINGS, .tunings = {&good, 1}};
    struct manager_options o = quick();
    o.nodes_min = 2;
    begin(&o, 2);
    mode(MANAGER_ACT);
    run(8000, 50);
    send(&event);
    run(8000, 20);
    EXPECT_INT(w.applies, 1);
    EXPECT_INT(w.judged.state, DECISION_STATE_MEASURED);
    EXPECT_STR(str_of(w.judged.setting), good.text);
    EXPECT_NEAR(w.judged.outcome.freed_predicted, 0.4,
                1e-9); /* half of 0.4 s of work a second, twice */
    EXPECT_NEAR(w.judged.outcome.freed_lanes, 0.4, 1e-9);
    EXPECT(w.judged.outcome.benefit > 0);
    EXPECT(strstr(decision_sentence(&w.judged, &w.arena),
                  "the setting freed 0.40 lanes, 0.40 were predicted") != NULL);
    end();
    good.work_ratio = 0.99; /* of no use: it would free a hundredth of a lane of two */
    begin(&o, 2);
    mode(MANAGER_ACT);
    run(8000, 50);
    send(&event);
    run(8000, 20);
    EXPECT_INT(w.applies, 0);
    EXPECT(w.last.option_count > 1 && w.last.chosen == 0); /* it was weighed, and lost */
    end();
}

/* The same load, the same forecast of arrivals: what shadows have found before changes what is foreseen of them. */
TEST(manager_foresees_less_need_with_what_shadows_have_found)
{
    struct plan_tuning found = {.text = STR("per_user/count: l.cache=4096"),
                                .back = STR("per_user/count: l.cache=0"),
                                .work_ratio = 0.5,
                                .signature = 77};
    struct manager_event event = {.kind = MANAGER_EVENT_TUNINGS, .tunings = {&found, 1}};
    struct decision_option chosen[2];
    double nothing[2];
    for (int i = 0; i < 2; i++) {
        struct manager_options o = quick();
        o.shadows = false;
        o.startup_s = 60;
        o.nodes_min = 2;
        begin(&o, 2);
        mode(MANAGER_RECOMMEND);
        run(8000, 12);
        hours(22000, 120, 0.5); /* 1.2 a lane in two minutes */
        if (i == 1) {
            send(&event);
        }
        run(8000, 2);
        EXPECT_INT(w.last.state, DECISION_STATE_RECOMMENDED);
        chosen[i] = w.last.options[w.last.chosen];
        nothing[i] = w.last.options[0].late_seconds;
        end();
    }
    EXPECT_INT(chosen[0].kind, PLAN_NODES_ADD);
    EXPECT_INT(chosen[1].kind, PLAN_TUNE); /* with it the lanes that are there will do */
    EXPECT(nothing[0] > 0 && fabs(nothing[1] - nothing[0]) < 1e-9);
    EXPECT_MSG(chosen[1].late_seconds < 0.1 * nothing[1], "%g of %g", chosen[1].late_seconds,
               nothing[1]);
    EXPECT_NEAR(chosen[1].max_after, 0.24, 1e-9); /* of 0.44, at the load now */
}

TEST(manager_moves_nothing_for_a_clock_that_jumps)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.sustain_s = 60;
    calm(&o);
    const int64_t jumps[] = {86400, -7200, 3600, -86400 * 30};
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        run(13500, 3);
        int64_t before = w.now_ns;
        w.now_ns += jumps[i] * SECOND;
        run(13500, 3);
        EXPECT_INT(w.applies + w.casts, 0);
        w.now_ns = before > w.now_ns ? before + 86400 * SECOND : w.now_ns;
        run(8000, 6);
    }
    EXPECT_INT(w.applies + w.casts, 0);
    end();
}

TEST(manager_prepares_the_plan_of_a_follower_for_what_its_leader_says)
{
    struct manager_options o = quick();
    o.shadows = false;
    o.startup_s = 60;
    calm(&o);
    run(11000, 6); /* 0.6 a lane: below every threshold */
    EXPECT_INT(w.applies, 0);
    hours(22000, 120, 0.5); /* 1.2 a lane in two minutes */
    run(11000, 2);
    EXPECT_INT(w.applies, 1);
    EXPECT_INT(w.lanes[2].open, true); /* before anything of it has come */
    end();
}
