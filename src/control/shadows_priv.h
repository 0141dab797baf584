// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_SHADOWS_PRIV_H
#define CONTROL_SHADOWS_PRIV_H

#include "control/control_priv.h"
#include "control/shadows.h"
#include "prm/skew.h"

/* Inside shadows. shadows.c: what is remembered; shadows_ask.c: orders and questions; shadows_order.c: from an order to a
 * spec; shadows_run.c: the machine; shadows_watch.c: triggers, guards, budgets; profiles.c: from measures to a
 * profile; candidates.c: another text from a setting. */

enum { SHADOW_SIDES = 2, SHADOW_SUBJECT = 0, SHADOW_BASELINE = 1 };

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
    struct partition_detail detail;
    uint32_t group_counts[KEY_GROUP_COUNT];
};

struct shadow_run {
    struct job *job;   /* the order, until it is answered; NULL: nobody waits */
    int64_t answer_ns; /* when it is answered at the latest */
    struct shadow_side sides[SHADOW_SIDES];
    int32_t side_count;
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
    struct shadow_comparison *comparison; /* heap; with a twin */
    bool compare_turn;
    int64_t look_ns; /* when to look next */
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
void shadow_record(struct control *control, struct shadow_entry *entry);

/* The sample of a percentage. */
void shadow_sample_of(const struct shadow_order *order, const struct partition_detail *detail,
                      double percent, struct shadow_sample *ret_sample,
                      struct shadow_strata *ret_strata);

/* shadows_watch.c */
struct shadowing *shadowing_of(struct control *control, struct str pipeline);
int64_t shadows_watch(struct control *control); /* next deadline */
void shadows_watch_init(struct control *control);
void shadows_watch_free(struct control *control);

/* profiles.c: the profile as JSON into `text`; the entry's figures follow the measures. */
void profile_update(struct control *control, struct shadow_entry *entry);
void profile_keep_sample(struct shadow_entry *entry);
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
