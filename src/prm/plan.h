// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_PLAN_H
#define PRM_PLAN_H

#include "prm/load.h"
#include "prm/outlook.h"
#include "prm/queue.h"

/* Plans: which changes of the layout there are, what each would cost over the horizon, and which one is chosen.
 *
 * The options are nothing; moves on the lanes that are there; moves and splits; each with one or more nodes added; nodes
 * drained (neighbours fused where that saves reading); neighbours of one lane fused; tuned operators. Each is priced by
 * design's formula: every lane is a fluid queue under each sample path of the forecast, before and after the change
 * takes effect; what is moved stands still for the pause; a second is late if it is late on any lane of the pipeline.
 * The cheapest wins only if it beats *nothing* by the margin. What a setting frees of the lanes counts as lane-seconds
 * that are not reserved: it is capacity for what comes, or to be given back, and without a price a setting that saves no
 * whole lane would never be worth setting. For a setting alone the margin is of what its pipeline takes: in a cluster of
 * many lanes the margin of all of them would leave every pipeline as badly set as it is.
 *
 * Pure. Nothing is chosen by chance: equal input, equal plan. */

enum {
    PLAN_STEPS_MAX = 4096,
    PLAN_OPTIONS_MAX = 24,
    PLAN_TUNINGS_MAX = 8,
    PLAN_TEXT_MAX = 200,
    PLAN_SETTING_MAX = 511, /* bytes of what a tuning sets */
};

#define PLAN_STEP_KINDS(X) \
    X(SPLIT, "split") \
    X(MERGE, "merge") \
    X(MIGRATE, "migrate") \
    X(NODE_ADD, "node_add") \
    X(NODE_DRAIN, "node_drain") \
    X(TUNE, "tune")

enum plan_step_kind {
#define X(name, text) PLAN_STEP_##name,
    PLAN_STEP_KINDS(X)
#undef X
        PLAN_STEP_KIND_COUNT
};

/* One change. Steps are carried out in order. A step names what it finds then: a part that an earlier step has cut is
 * another partition. */
struct plan_step {
    enum plan_step_kind kind;
    int64_t shard;     /* id of the shard; NODE_*, TUNE: -1 */
    uint32_t group_lo; /* SPLIT, MIGRATE: the partition's range. MERGE: of both together */
    uint32_t group_hi;
    uint32_t border; /* SPLIT, MERGE: first key group of the upper partition */
    int32_t from,
        to; /* lanes. SPLIT: `to` gets the upper part; MERGE: the whole, and `from` had the other half */
    int32_t node; /* NODE_*: index, TUNE: index of the tuning in plan_input; else -1 */
    int32_t
        part; /* index in the load_input that was planned on: for the planner's own use; -1: none */
    bool lower;         /* MERGE: what `from` had is the lower part */
    double moved_bytes; /* expected */
    double moved_share; /* of the pipeline's load that stands still for the pause */
};

/* What an option is made of. */
#define PLAN_OPTION_KINDS(X) \
    X(NOTHING, "nothing") \
    X(MIGRATE, "migrate") \
    X(SPLIT, "split") \
    X(NODES_ADD, "add nodes") \
    X(NODES_DRAIN, "drain nodes") \
    X(MERGE, "merge") \
    X(TUNE, "tune") \
    X(ROLL_BACK, "roll back") \
    X(GIVEN, "as asked for")

enum plan_option_kind {
#define X(name, text) PLAN_##name,
    PLAN_OPTION_KINDS(X)
#undef X
        PLAN_OPTION_KIND_COUNT
};

/* Why an option was not chosen. */
#define PLAN_VERDICTS(X) \
    X(CHOSEN, "chosen") \
    X(DEARER, "another option is cheaper") \
    X(MARGIN, "does not beat doing nothing by the margin") \
    X(NO_HELP, "does not bring any lane below where it is") \
    X(FAILED_BEFORE, "the same change has failed before") \
    X(UNCONFIRMED, "the drop is not confirmed yet") \
    X(COOLING, "too soon after the last change") \
    X(SETTLED, "partitions were placed for this load already") \
    X(BUDGET, "the day's changes are used up") \
    X(CLOSED, "outside the maintenance windows") \
    X(DRAINING, "a drain is under way") \
    X(SYMPTOM, "the cause is not the load") \
    X(WAITS, "waits for a shadow's profile") \
    X(ASKED, "somebody asked for another")

enum plan_verdict {
#define X(name, text) PLAN_VERDICT_##name,
    PLAN_VERDICTS(X)
#undef X
        PLAN_VERDICT_COUNT
};

struct plan_option {
    enum plan_option_kind kind;
    enum plan_verdict verdict;
    const struct plan_step *steps; /* [step_count] */
    int32_t step_count, moves, splits, merges;
    int32_t nodes;  /* added (> 0) or drained (< 0) */
    int32_t tuning; /* TUNE: index; else -1 */
    struct usage
        usage; /* expected over the horizon; late_seconds summed over pipelines, weighted by their lanes / lanes;
                * lane_seconds less what a setting frees */
    double freed_lanes; /* share of lanes that a setting or fusing frees, at the load now */
    double cost;        /* in units of prices */
    double max_before, max_after; /* utilisation of the busiest open lane, at the load now */
    double mean_after;
    double pause_s;     /* of a moved partition, expected */
    uint64_t signature; /* equal for equal changes on equal partitions: the memory of what failed */
    char text[PLAN_TEXT_MAX]; /* one line for people */
};

/* What the coming load may be, by pipeline: factors on the measured rates. */
struct plan_growth {
    const struct outlook_view
        *view;  /* absolute, in the unit of `now`; NULL or no paths: no forecast, stays as it is */
    double now; /* > 0: the rate that `load_input` was measured at */
    double fixed; /* share of the demand that does not grow with the rate, [0, 1] */
    double
        part_cores; /* CPU that each partition takes, however small its share; a cut pays it once more */
};

/* A change of an operator's settings that a profile has found to be better. */
struct plan_tuning {
    int32_t pipeline;
    struct str text;   /* "pipeline/stage: operator.knob=value", at most PLAN_SETTING_MAX bytes */
    struct str back;   /* what sets it back, in the same words */
    double work_ratio; /* the stage's work cost with / without, upper end of its interval, (0, 1) */
    uint64_t signature;
};

struct plan_options {
    struct prices prices;
    double risk; /* weight of expected late seconds, > 0; 1: as priced */
    /* Share of the cost of doing nothing, [0, 1); of a setting: or of what its pipeline takes. */
    double margin;
    double startup_s; /* of a node */
    double pause_s;   /* of a moved partition, as last measured */
    double full; /* share of its capacity at which a lane is full: queues drain no faster, (0, 1] */
    double target;                 /* utilisation that a relieved lane is brought to, (0, 1] */
    double horizon_s;              /* without a forecast; else the view's window */
    int32_t nodes_min, nodes_max;  /* open ones */
    int32_t nodes_step;            /* most added or drained at once, >= 1 */
    int32_t moves_max, splits_max; /* of one plan */
    bool may_grow, may_shrink, may_split; /* kinds that are considered */
};

struct plan_input {
    const struct load_input *load;
    const struct plan_growth *growth; /* [pipeline_count] */
    const struct plan_tuning *tunings;
    int32_t tuning_count;   /* 0..PLAN_TUNINGS_MAX */
    const uint64_t *failed; /* signatures that are not tried again */
    int32_t failed_count;
};

/* What somebody wants done. */
struct plan_given {
    struct plan_step *steps; /* [step_count] */
    int32_t step_count;
};

struct plan {
    struct plan_option *options; /* [option_count]; 0 is NOTHING */
    int32_t option_count, chosen;
    /* What no layout cures, of the busiest partition that needs relief. */
    enum load_limit limit;
    int32_t limit_part;     /* -1: none */
    const char *limit_text; /* "" if none */
};

/* The planner keeps the load between decisions, so that a decision after few changes costs little. */
struct planner;

/* Room for so many; memory from the arena, all at once: about 160 bytes a partition.
 * Errors: LIMIT (over LOAD_*_MAX, or the arena's limit). */
ATTR_NODISCARD enum err planner_new(struct arena *arena, int32_t parts_max, int32_t shards_max,
                                    int32_t lanes_max, int32_t pipelines_max,
                                    struct planner **ret_planner, struct err_info *info);

/* Takes a whole new picture. `input`'s arrays must stay until the next call of planner_load: the planner reads them.
 * Errors, the planner as before: INVALID, LIMIT. */
ATTR_NODISCARD enum err planner_load(struct planner *planner, const struct load_input *input,
                                     struct err_info *info);

/* Tells that parts[part] of the input (share, work, waiting, cuts, held; not its lane) has changed since. O(1). */
void planner_touch(struct planner *planner, int32_t part);

/* Generates, prices and chooses. The plan is the arena's.
 * Errors: INVALID (an option out of its range, a touched partition that makes no sense). Cost: docs/manager.md. */
ATTR_NODISCARD enum err planner_decide(struct planner *planner, const struct plan_input *input,
                                       const struct plan_options *options, struct arena *arena,
                                       struct plan *ret_plan, struct err_info *info);

/* Prices steps that somebody gives, in order, against doing nothing: option 0 is NOTHING, option 1 is GIVEN and chosen,
 * whatever it costs. Fills in what the steps do not say: `from`, `part`, moved_bytes.
 *   steps   [step_count], 1..PLAN_STEPS_MAX; the plan keeps the pointer
 * Errors, nothing written but to the steps: INVALID as above; NOT_FOUND (a partition or node that is not there, after the
 * steps before it), CONFLICT (a lane that is not open), LIMIT (more moves than moves_max). */
ATTR_NODISCARD enum err planner_price(struct planner *planner, const struct plan_input *input,
                                      const struct plan_options *options,
                                      const struct plan_given *given, struct arena *arena,
                                      struct plan *ret_plan, struct err_info *info);

const char *plan_step_name(enum plan_step_kind kind);
const char *plan_option_name(enum plan_option_kind kind);
const char *plan_verdict_text(enum plan_verdict verdict);

#endif
