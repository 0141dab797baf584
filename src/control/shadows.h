// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_SHADOWS_H
#define CONTROL_SHADOWS_H

#include "control/entity.h"
#include "control/request.h"
#include "node/shadow.h"
#include "prm/adaptive.h"
#include "prm/predict.h"
#include "prm/profile.h"
#include "prm/shadow.h"

/* Shadows and candidates, carried out: prm/shadow.h says what is to be done, node/shadow.h does it, this is the hand between.
 *
 * Invariants:
 *   C1  What runs on the shadow lane is in the table with a run; what has no run is ended and holds nothing there.
 *   C2  The first record of a shadow is added to the stream `sc.shadows` before it is opened, its last one when it has ended;
 *       so a restart finds those that ran and ends them as partial.
 *   C3  A partition has at most one shadow that was not asked for by a person.
 *   C4  Numbers grow, over restarts too.
 *   C5  At most SHADOWS_ACTIVE_MAX run, at most SHADOWS_KEPT_MAX are remembered: the oldest ended go first. */

enum {
    SHADOWS_KEPT_MAX = 256,
    SHADOWS_ACTIVE_MAX =
        12, /* each is two on the lane, which holds SHADOWS_MAX; a burst that finds no place waits */
    SHADOW_PROFILE_MAX = 512 << 10
};
#define SHADOWS_STREAM "sc.shadows"

struct shadow_run;

/* What was asked for. */
struct shadow_order {
    bool candidate;
    enum life_cause cause;
    double percent;
    int64_t duration_ns;
    enum shadow_sampling by;
    enum shadow_transport transport;
    enum shadow_feed feed;
    bool twin;     /* a second one beside it: noise floor; a candidate's baseline */
    bool adaptive; /* the percentage may be raised, and it ends when it is answered */
    char store[CONTROL_STORE_MAX + 1]; /* "memory" or the name of a store */
    char settings[CONTROL_SETTINGS_MAX +
                  1]; /* of a candidate, as it was asked for: "w.cache=1MiB", or "text" */
};

struct shadow_entry {
    int64_t id;
    struct shadow_order order;
    struct shadow_life life;
    char partition[CONTROL_PARTITION_MAX + 1];
    char pipeline[CONTROL_NAME_MAX + 1];
    char who[33];
    char key[CONTROL_IDEMPOTENCY_MAX + 1];
    int64_t began_ms, ended_ms; /* since 1970 */
    double age_s;               /* of an ended one: what it was */
    char reason[ERR_TEXT_MAX];
    /* as last measured */
    double percent, reached, completeness;
    int64_t records, dropped;
    double
        starved; /* of the time since it was asked for: its lane had work and the machine no processor for it */
    char limits[PROFILE_NAME_MAX + 1];
    struct estimate limits_share, ratio;
    enum adaptive_verdict verdict;
    bool compared, same; /* of a twin: whether results were compared, and none differed */
    char *profile;       /* heap: JSON, as it is answered; NULL: none */
    struct shadow_run *run;
};

struct shadows {
    int64_t last_id;
    int32_t count;
    struct shadow_entry *all[SHADOWS_KEPT_MAX + SHADOWS_ACTIVE_MAX]; /* heap; oldest first */
};

/* A pipeline's shadowing, as it is now. */
struct shadowing {
    struct str pipeline; /* the configuration's */
    struct shadow_settings settings;
    char store[CONTROL_STORE_MAX + 1];
    struct shadow_guard guard;
    int64_t committed, committed_late; /* of its partitions, at the guard's last look */
    bool counted;                      /* they are known */
    double cores;                      /* that its primaries use, as last monitored */
    double told_cores;                 /* its shadows' budget, as the shadow lane was told */
    int64_t begun, ended[LIFE_OUTCOME_COUNT];
};

/* A partition that may get one. */
struct watched {
    uint64_t id; /* hash of what it is */
    struct shadow_trigger trigger;
    bool seen; /* in this look */
};

struct shadow_watch {
    struct shadowing *all; /* [count], by pipeline of the configuration */
    int32_t count;
    struct watched *parts; /* heap */
    int32_t part_count, part_cap;
    int64_t taken_ns; /* the monitor's samples that were looked at */
    int64_t look_ns;  /* of the guards, next */
    bool asked;       /* a snapshot is under way for them */
};

void shadows_init(struct shadows *shadows);
void shadows_release(struct shadows *shadows); /* none has a run any more */

/* Takes it over, heap from MEM_NEW; with id 0 it gets the next number. The oldest ended one makes room. */
void shadows_add(struct shadows *shadows, struct shadow_entry *entry);
struct shadow_entry *shadows_find(const struct shadows *shadows, int64_t id); /* or NULL */
struct shadow_entry *shadows_find_key(const struct shadows *shadows, const char *key);
/* One of the partition that runs and was cast for `cause` other than a person's wish; or NULL. */
struct shadow_entry *shadows_find_cast(const struct shadows *shadows, const char *partition);
/* One of the partition that runs, no candidate, whoever wanted it, whose time is over by `until_ns`; or NULL. */
struct shadow_entry *shadows_find_ending(const struct shadows *shadows, const char *partition,
                                         int64_t until_ns);
int32_t shadows_active(const struct shadows *shadows, const char *pipeline); /* NULL: of all */

/* As the API shows it; texts are the arena's or the entry's. `now_ns`: of one that runs. */
struct shadow_row shadow_row_of(const struct shadow_entry *entry, int64_t now_ns,
                                struct arena *arena);

/* Its record, and back: the row, and beside it the profile so far. Reading never trusts. CORRUPT. */
struct str shadow_write(const struct shadow_entry *entry, int64_t now_ns, struct arena *arena);
ATTR_NODISCARD enum err shadow_read(struct str record, struct shadow_entry *ret_entry,
                                    struct err_info *info);

/* Adds the stretches of input that both twins have whole. With `heavy_ns`, what their heavy rows cost, [0] and [1] a row, is
 * taken away with these rows: what is left is the other stratum's. NULL: they stay. Pure. */
void shadow_pairs(const struct shadow_groups *own, const struct shadow_groups *baseline,
                  const double heavy_ns[2], struct twin_looks *twins);

#endif
