// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_SHADOWS_PRIV_H
#define CONTROL_SHADOWS_PRIV_H

#include "control/control_priv.h"
#include "control/shadows.h"
#include "prm/skew.h"

/* Inside shadows. shadows.c: what is remembered; shadows_ask.c: orders and questions; shadows_order.c: from an order to
 * a spec; shadows_run.c: the machine; shadows_sides.c: what the lane is told and tells; shadows_judge.c: what a look
 * leads to; shadows_keep.c: what stays; shadows_watch.c: triggers, guards, budgets; profiles.c: from measures to a
 * profile; candidates.c: another text from a setting. */

#define BURST_MAX_NS (60 * 1000000000LL) /* keys that have become rare are not waited for */

/* Sides: what is measured and what it is compared with; and the same two again in a burst of the heavy keys alone. */
enum {
    SHADOW_SUBJECT,
    SHADOW_BASELINE,
    SHADOW_SIDES,
    SHADOW_BURST_SUBJECT = SHADOW_SIDES,
    SHADOW_BURST_BASELINE,
    SHADOW_SIDES_ALL
};

/* Heavy keys, measured in bounded bursts now and then while a shadow measures: a key with many records costs less a record than
 * one with few, and a sample has other shares of either than the primary.
 *
 *   from     to       when
 *   IDLE     RUNNING  the shadow measures, its sample by key names heavy keys, and the time has come
 *   RUNNING  CLOSING  all have ended by themselves; or it took too long, or the shadow pauses or ends
 *   CLOSING  IDLE     the lane has none of them any more: what they measured is taken
 *
 * Invariant: B1 while IDLE no burst side is open or out. */
enum burst_state { BURST_IDLE, BURST_RUNNING, BURST_CLOSING };

struct shadow_burst {
    enum burst_state state;
    struct shadow_sample
        sample; /* the heavy keys, those left out of the shadow's sample among them */
    int64_t began_ns, look_ns;
    int64_t next_ns;            /* not before */
    int32_t count;              /* taken so far */
    char problem[ERR_TEXT_MAX]; /* why the last one could not be; empty: it could */
    struct twin_looks
        *twins; /* heap: costs of heavy keys; without a baseline the subject against itself */
};

/* One shadow on the lane. */
struct shadow_side {
    struct shadow_command command; /* first */
    struct control *control;
    struct shadow_entry *entry;
    bool out;  /* the command is with the lane */
    bool open; /* the lane has it */
    bool paused;
    bool look_wanted;
    bool measured;                     /* `measures` are of this look */
    struct shadow_measures *measures;  /* heap */
    struct shadow_operator *operators; /* heap, [operator_cap] */
    int32_t operator_cap;
    /* What the lane fills while a command is out; they change places when it is back. */
    bool filling;
    struct shadow_measures *next_measures;
    struct shadow_operator *next_operators;
};

/* The primary's heavy keys and load by key group, as its lane tells them. */
struct primary_detail {
    struct lane_command command; /* first */
    struct control *control;
    struct shadow_entry *entry;
    bool out, known;
    struct partition_detail detail, fresh; /* as last told; what the lane fills while it is out */
    uint32_t group_counts[KEY_GROUP_COUNT], fresh_counts[KEY_GROUP_COUNT];
};

struct shadow_run {
    struct job *job;   /* the order, until it is answered; NULL: nobody waits */
    int64_t answer_ns; /* when it is answered at the latest */
    struct shadow_side sides[SHADOW_SIDES_ALL];
    int32_t side_count; /* of the first two */
    struct shadow_burst burst;
    struct primary_detail primary;
    /* the primary */
    int32_t stage;
    const struct stage_plan *plan; /* another one: the layout has changed */
    struct partition_place place;
    struct partition_report report; /* as last seen */
    bool reported;
    /* what runs instead, of a candidate */
    struct arena arena;
    bool has_arena;
    struct stage *candidate; /* heap */
    const struct config *config;
    /* measuring */
    struct shadow_sample sample;
    struct shadow_strata strata;
    struct profile_looks looks;
    double *looks_memory;     /* heap */
    struct twin_looks *twins; /* heap */
    struct adaptive adaptive;
    struct profile *profile; /* heap */
    struct skew skew;
    struct shadow_comparison *comparison;      /* heap; with a twin */
    struct shadow_comparison *next_comparison; /* what the lane fills meanwhile */
    bool compare_turn;
    int64_t look_ns;  /* when to look next */
    int64_t asked_ns; /* since when a look is not answered; 0: all are */
    int32_t look_count;
    int64_t record;      /* number of its last record in the stream; 0: it was lost */
    int64_t recorded_ns; /* when the profile was last put into the stream */
    int64_t dropped_seen;
    bool want_close, want_pause, want_resample;
    bool failing;         /* a side cannot be: the other one is closed, then it has failed */
    enum life_state told; /* by an event */
};

/* shadows_order.c: fills `entry` and its run from a request that names a partition. Errors: those of the order. */
ATTR_NODISCARD enum err shadow_order_read(struct control *control, struct control_request *request,
                                          bool candidate, struct shadow_entry *entry,
                                          struct err_info *info);
/* The same for one that control casts by itself. */
ATTR_NODISCARD enum err shadow_order_cast(struct control *control, int32_t stage,
                                          const struct partition_place *place,
                                          const struct shadow_order *order,
                                          struct shadow_entry *entry, struct err_info *info);

/* Where results go: a store by its name; NULL: only their digests are kept. Errors: NOT_FOUND, with the names there are. */
struct shadowstore *shadow_store_of(const struct control *control, const char *name);
ATTR_NODISCARD enum err shadow_store_check(const struct control *control, const char *name,
                                           struct err_info *info);

/* shadows_run.c */
struct shadow_entry *shadow_entry_new(struct control *control, struct job *job);
void shadow_run_free(struct shadow_entry *entry);
/* It is in order: takes it into the table and begins. Returns false and fails the job if a budget forbids it. */
void shadow_begin(struct control *control, struct shadow_entry *entry);
void shadow_tell(struct control *control, struct shadow_entry *entry, enum life_event event);
const struct partition_report *shadow_primary_report(const struct control *control,
                                                     const struct shadow_run *run);
/* Its sides have opened. */
void shadow_opened(struct control *control, struct shadow_entry *entry, struct shadow_side *side);
void shadow_ask_primary(struct control *control, struct shadow_entry *entry);

/* shadows_keep.c */
void shadow_record(struct control *control, struct shadow_entry *entry);
void shadow_tell_event(struct control *control, const struct shadow_entry *entry);
void shadow_note(struct shadow_entry *entry, const char *reason); /* the first one is kept */
void shadow_keep_profile(struct control *control, struct shadow_entry *entry);
void shadow_keep_figures(struct control *control, const struct shadow_entry *entry);
void shadows_resolve(struct control *control);

/* shadows_sides.c */
bool shadow_sides_closed(const struct shadow_run *run);
/* What a side is to be told next, if anything. */
void shadow_side_advance(struct control *control, struct shadow_entry *entry, int index);
void shadow_sides_take_replies(struct control *control);

void shadow_side_open(struct control *control, struct shadow_entry *entry, int index,
                      const struct shadow_sample *sample);
void shadow_side_measure(struct shadow_entry *entry, int index, enum shadow_command_kind kind);

/* shadows_burst.c: begins, looks at and ends bursts; returns its next deadline. */
int64_t shadow_burst_step(struct control *control, struct shadow_entry *entry);
void shadow_burst_reply(struct shadow_side *side);

/* shadows_judge.c: all sides of a look that was wanted were measured, or not yet. */
void shadow_measured(struct control *control, struct shadow_entry *entry);

/* The sample of its present percentage, from what is known of the primary's keys. */
void shadow_choose_sample(struct shadow_entry *entry);

/* shadows_watch.c */
struct shadowing *shadowing_of(struct control *control, struct str pipeline);
int64_t shadows_watch(struct control *control); /* next deadline */
void shadows_watch_init(struct control *control);
void shadows_watch_free(struct control *control);
void shadows_set_budgets(struct control *control);

/* profiles.c. Before anything is seen nothing is known; then the entry's figures follow the measures; the profile as JSON into `text`. */
void profile_begin(const struct control *control, struct shadow_run *run);
void profile_update(struct control *control, struct shadow_entry *entry);
void profile_keep_sample(struct shadow_entry *entry);
/* Share of the heavy keys' records among the primary's. */
double profile_heavy_share(const struct shadow_run *run);
/* CPU of a record against the baseline's, over all strata that were measured. */
struct estimate profile_ratio(const struct shadow_run *run, double confidence);
/* Its figures as a table, for the local view. */
void profile_write_figures(const struct shadow_entry *entry, struct text *text);
void profile_write(struct control *control, struct shadow_entry *entry, struct text *text);

/* candidates.c: a text in force, and the stage in it that settings are of: "operator.key=value", more of them separated by
 * semicolons, "operator.key=" for what it is where nobody sets it. */
struct candidate_place {
    struct str text, pipeline, stage;
};

/* The text with the settings put in; and the settings that set back what these would change. Live in `arena`. Errors:
 * INVALID, NOT_FOUND; of the second UNSUPPORTED (a list or map stands there now). */
ATTR_NODISCARD enum err candidate_text(struct arena *arena, const struct candidate_place *of,
                                       const char *settings, struct str *ret_text,
                                       struct err_info *info);
ATTR_NODISCARD enum err candidate_settings_back(struct arena *arena,
                                                const struct candidate_place *of,
                                                const char *settings, struct str *ret_back,
                                                struct err_info *info);

#endif
