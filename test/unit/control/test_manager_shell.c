// SPDX-License-Identifier: Apache-2.0
/* What the manager's shell keeps and computes: the ledger's rows and back, cuts, undoing steps, states. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "control/ledger.h"
#include "control/manager_load.h"
#include "control/modes.h"
#include "control/plan_run.h"
#include "control/row_read.h"
#include "control/tuner.h"
#include "test.h"

static struct arena arena;
static struct control *control; /* only its ledger is looked at */

static void begin(void)
{
    arena_release(&arena);
    arena_init(&arena, 64 << 20);
    control = MEM_NEW(struct control);
    control->ledger = MEM_NEW(struct ledger);
    ledger_init(control->ledger);
}

static void end(void)
{
    ledger_release(control->ledger);
    mem_free(control->ledger);
    mem_free(control);
}

static struct decision *made(int64_t id, enum decision_state state)
{
    struct decision *d = ARENA_NEW(&arena, struct decision);
    *d = (struct decision){.id = id,
                           .cause = DECISION_FORECAST,
                           .state = state,
                           .who = "manager",
                           .inputs = {.pipeline = "p\"q",
                                      .partition = "p/s/0/0-4096",
                                      .lane = "n0/0",
                                      .rate_per_s = 1e5 / 3,
                                      .cost_s = 1e-6,
                                      .read_ratio = 0.25,
                                      .demand = 2.5,
                                      .utilisation = 1.25,
                                      .lanes = 2,
                                      .nodes = 2,
                                      .partitions = 3,
                                      .symptoms = LOAD_SYMPTOM_SINK},
                           .forecast = {.there = true,
                                        .horizon_s = 130,
                                        .demand = 3,
                                        .demand_high = 4,
                                        .quantile = 0.95,
                                        .error = 0.5,
                                        .passes_s = NAN},
                           .limit = LOAD_LIMIT_READING,
                           .answer = "a split cannot help",
                           .option_count = 2,
                           .chosen = 1,
                           .signature = UINT64_C(0xFEDCBA9876543210)};
    d->options[0] = (struct decision_option){
        .kind = PLAN_NOTHING, .verdict = PLAN_VERDICT_DEARER, .cost = 100, .text = "nothing"};
    d->options[1] = (struct decision_option){.kind = PLAN_SPLIT,
                                             .verdict = PLAN_VERDICT_CHOSEN,
                                             .cost = 40,
                                             .max_after = 0.7,
                                             .text = "split it"};
    return d;
}

static const struct plan_step split_step = {.kind = PLAN_STEP_SPLIT,
                                            .shard = SHARD_NUMBER(3, 1),
                                            .group_hi = 4096,
                                            .border = 1700,
                                            .from = 0,
                                            .to = 1,
                                            .node = -1,
                                            .part = 5,
                                            .moved_bytes = 1e6};

static struct str record_of(const struct control_rows *rows)
{
    struct text text;
    text_init(&text, &arena);
    text_json_table(&text, rows->entity, rows->rows, rows->count);
    return text_str(&text);
}

/* As a restart reads it: options, steps, then the decision. */
static void write_and_take(const struct ledger_entry *entry, const struct step_row *step)
{
    struct decision_row row = decision_row_of(entry, &arena);
    struct control_rows options = option_rows_of(entry, &arena);
    struct control_rows steps = {.entity = &step_entity, .rows = step, .count = 1};
    struct control_rows decision = {.entity = &decision_entity, .rows = &row, .count = 1};
    ledger_take(control, record_of(&options));
    ledger_take(control, record_of(&steps));
    ledger_take(control, record_of(&decision));
}

TEST(a_decision_comes_back_from_its_records_as_it_was)
{
    begin();
    struct ledger_entry *entry = ledger_put(control->ledger, made(7, DECISION_STATE_APPLYING),
                                            &split_step, 1, 1767225600123);
    struct ledger_entry kept = *entry;
    struct step_row step = {.decision = 7,
                            .kind = STR("split"),
                            .subject = STR("x"),
                            .target = STR("y"),
                            .state = STR("waiting"),
                            .shard = split_step.shard,
                            .group_hi = 4096,
                            .border = 1700,
                            .lane_to = 1,
                            .node = -1,
                            .moved_bytes = 1e6};
    struct ledger_entry copy = kept;
    ledger_release(control->ledger);
    ledger_init(control->ledger);
    control->ledger->last_id = 0;
    write_and_take(&copy, &step);
    struct ledger_entry *back = ledger_find(control->ledger, 7);
    EXPECT(back != NULL);
    const struct decision *a = &kept.decision, *b = &back->decision;
    EXPECT_INT(b->state, a->state);
    EXPECT_INT(b->cause, a->cause);
    EXPECT_INT(b->chosen, 1);
    EXPECT_INT(b->option_count, 2);
    EXPECT_INT(b->limit, LOAD_LIMIT_READING);
    EXPECT(b->signature == a->signature && a->signature != 0);
    EXPECT_STR(str_of(b->inputs.pipeline), str_of("p\"q"));
    EXPECT_NEAR(b->inputs.rate_per_s, 1e5 / 3, 0);
    EXPECT(b->forecast.there && isnan(b->forecast.passes_s));
    EXPECT_NEAR(b->options[1].cost, 40, 0);
    EXPECT_INT(b->step_count, 1);
    EXPECT_INT(back->steps[0].kind, PLAN_STEP_SPLIT);
    EXPECT_INT(SHARD_STAGE(back->steps[0].shard), 3);
    EXPECT_INT(SHARD_INDEX(back->steps[0].shard), 1);
    EXPECT_INT(back->steps[0].border, 1700);
    EXPECT_INT(back->time_ms, 1767225600123);
    EXPECT_INT(control->ledger->last_id, 7);
    end();
}

TEST(what_is_no_record_of_the_ledger_is_passed_over)
{
    static const char *const strange[] = {
        "", "{}", "{\"entity\":\"decision\",\"fields\":[\"id\"],\"rows\":[[\"seven\"]]}",
        "{\"entity\":\"decision\",\"fields\":[\"id\",\"time\"],\"rows\":[[9,\"yesterday\"]]}",
        "{\"entity\":\"ghost\",\"fields\":[],\"rows\":[]}"};
    begin();
    for (ptrdiff_t i = 0; i < COUNT_OF(strange); i++) {
        ledger_take(control, str_of(strange[i]));
    }
    EXPECT_INT(control->ledger->count, 0);
    EXPECT(control->ledger->unreadable >= 4);
    end();
}

TEST(the_ledger_keeps_the_last_ones_and_a_change_takes_the_place_of_what_was)
{
    begin();
    for (int64_t id = 1; id <= LEDGER_KEPT_MAX + 5; id++) {
        EXPECT(ledger_put(control->ledger, made(id, DECISION_STATE_OBSERVED), NULL, 0, id) != NULL);
    }
    EXPECT_INT(control->ledger->count, LEDGER_KEPT_MAX);
    EXPECT(ledger_find(control->ledger, 5) == NULL);
    EXPECT(ledger_put(control->ledger, made(5, DECISION_STATE_DONE), NULL, 0, 1) == NULL);
    struct ledger_entry *entry =
        ledger_put(control->ledger, made(6, DECISION_STATE_DONE), &split_step, 1, 99);
    EXPECT_INT(entry->time_ms, 6);
    EXPECT_INT(entry->changed_ms, 99);
    EXPECT_INT(entry->decision.step_count, 1);
    entry = ledger_put(control->ledger, made(6, DECISION_STATE_MEASURED), NULL, 0, 100);
    EXPECT_INT(entry->decision.step_count, 1); /* it has the steps that it had */
    end();
}

/* Against the definition: of all borders the one whose share below is nearest to each sixteenth. */
TEST(cuts_are_the_borders_nearest_to_each_sixteenth)
{
    static uint32_t counts[KEY_GROUP_COUNT];
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int round = 0; round < 200; round++) {
        struct load_cut cuts[LOAD_CUTS_MAX];
        uint32_t lo = (uint32_t)rng_below(&rng, 4000), all = 0;
        uint32_t hi = lo + 1 + (uint32_t)rng_below(&rng, 4096 - lo);
        memset(counts, 0, sizeof(counts));
        for (uint32_t g = lo; g < hi; g++) {
            counts[g] = rng_below(&rng, 3) == 0 ? 0 : (uint32_t)rng_below(&rng, 1000);
            counts[g] *= rng_below(&rng, 50) == 0 ? 1000 : 1;
            all += counts[g];
        }
        int32_t count = cuts_of(counts, lo, hi, cuts);
        for (int32_t i = 0; i < count; i++) {
            EXPECT(cuts[i].group > lo && cuts[i].group < hi);
            EXPECT(i == 0 || cuts[i].group > cuts[i - 1].group);
        }
        for (int k = 1; k <= LOAD_CUTS_MAX && all > 0 && hi - lo > 1; k++) {
            double wanted = (double)k / (LOAD_CUTS_MAX + 1), best = 1, reached = 1, below = 0;
            for (uint32_t g = lo; g + 1 < hi; g++) {
                below += counts[g];
                best = fmin(best, fabs(below / all - wanted));
            }
            for (int32_t i = 0; i < count; i++) {
                reached = fmin(reached, fabs((double)cuts[i].below - wanted));
            }
            EXPECT_MSG(reached <= best + 1e-6, "%u-%u, %d sixteenths: %g, not %g", lo, hi, k,
                       reached, best);
        }
    }
}

TEST(a_heavy_group_is_cut_before_and_behind)
{
    static uint32_t counts[KEY_GROUP_COUNT];
    struct load_cut cuts[LOAD_CUTS_MAX];
    memset(counts, 0, sizeof(counts));
    counts[10] = 1;
    counts[50] = 98;
    counts[90] = 1;
    int32_t count = cuts_of(counts, 0, 4096, cuts);
    EXPECT_INT(count, 2);
    EXPECT(cuts[0].group > 10 && cuts[0].group <= 50);
    EXPECT(cuts[1].group > 50 && cuts[1].group <= 90);
    memset(counts, 0, sizeof(counts));
    EXPECT_INT(cuts_of(counts, 0, 4096, cuts), 0);
    EXPECT_INT(cuts_of(counts, 7, 8, cuts), 0);
}

TEST(each_step_is_undone_by_its_opposite)
{
    struct plan_step back[2], again[2];
    EXPECT_INT(plan_step_undo(&split_step, back), 1);
    EXPECT_INT(back[0].kind, PLAN_STEP_MERGE);
    EXPECT_INT(back[0].to, split_step.from);
    EXPECT_INT(plan_step_undo(&back[0], again), 1);
    EXPECT_INT(again[0].kind, PLAN_STEP_SPLIT);
    EXPECT_INT(again[0].to, split_step.to);
    EXPECT_INT(again[0].border, split_step.border);
    struct plan_step add = {.kind = PLAN_STEP_NODE_ADD, .node = 2};
    EXPECT_INT(plan_step_undo(&add, back), 1);
    EXPECT_INT(back[0].kind, PLAN_STEP_NODE_DRAIN);
    struct plan_step tune = {.kind = PLAN_STEP_TUNE};
    EXPECT_INT(plan_step_undo(&tune, back), 1);
    EXPECT_INT(back[0].kind, PLAN_STEP_TUNE);
    /* A merge to which the lower part came: the upper one is where it was, so the lower one goes back. */
    struct plan_step merge = {.kind = PLAN_STEP_MERGE,
                              .group_hi = 4096,
                              .border = 1000,
                              .from = 2,
                              .to = 5,
                              .lower = true};
    EXPECT_INT(plan_step_undo(&merge, back), 2);
    EXPECT_INT(back[0].kind, PLAN_STEP_SPLIT);
    EXPECT_INT(back[0].to, 5);
    EXPECT_INT(back[1].kind, PLAN_STEP_MIGRATE);
    EXPECT_INT(back[1].group_hi, 1000);
    EXPECT_INT(back[1].to, 2);
}

TEST(a_plan_goes_on_by_its_table_and_ends)
{
    EXPECT(plan_run_follows(PLAN_RUN_RECORDING, PLAN_RUN_ORDERING));
    EXPECT(!plan_run_follows(PLAN_RUN_RECORDING, PLAN_RUN_WAITING)); /* R1 */
    EXPECT(!plan_run_follows(PLAN_RUN_WAITING, PLAN_RUN_ENDED));
    for (int to = 0; to < PLAN_RUN_STATE_COUNT; to++) {
        EXPECT(!plan_run_follows(PLAN_RUN_ENDED, (enum plan_run_state)to));
    }
}

static void take_mode(struct kept_modes *modes, const char *scope, const char *mode)
{
    struct mode_row row = {
        .scope = str_of(scope), .mode = str_of(mode), .file_mode = STR("recommend")};
    modes_take(modes, &row);
}

TEST(modes_by_hand_are_kept_in_the_order_they_were_set)
{
    static struct kept_modes modes;
    modes.count = 0;
    take_mode(&modes, "a", "act");
    take_mode(&modes, "b", "observe");
    take_mode(&modes, "a", "observe");
    EXPECT_INT(modes.count, 2);
    EXPECT_INT(modes.all[0].mode, CONFIG_OBSERVE);
    take_mode(&modes, "c", "dance"); /* no such mode */
    take_mode(&modes, "", "act");
    EXPECT_INT(modes.count, 2);
    take_mode(&modes, "all", "act"); /* makes the others void */
    EXPECT_INT(modes.count, 1);
    take_mode(&modes, "b", "recommend");
    EXPECT_INT(modes.count, 2);
    EXPECT_STR(str_of(modes.all[0].scope), STR("all"));
    EXPECT_INT(modes.all[1].file_mode, CONFIG_RECOMMEND);
    for (int i = 0; i < 200; i++) { /* bounded */
        char scope[16];
        CHECK(snprintf(scope, sizeof(scope), "p%d", i) > 0);
        take_mode(&modes, scope, "act");
    }
    EXPECT_INT(modes.count, (int)COUNT_OF(modes.all));
}

TEST(the_tuner_goes_by_its_table)
{
    EXPECT(tuner_follows(TUNER_IDLE, TUNER_TRYING));
    EXPECT(!tuner_follows(TUNER_IDLE, TUNER_WAITING));
    EXPECT(!tuner_follows(TUNER_WAITING, TUNER_IDLE)); /* what has ended is judged first */
    EXPECT(tuner_follows(TUNER_TRYING, TUNER_IDLE));
}
