// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_LEDGER_H
#define CONTROL_LEDGER_H

#include "control/control_priv.h"
#include "control/modes.h"
#include "prm/decision.h"

/* The ledger: what was decided, why, and what came of it. Each time a decision changes, its options, its steps and itself
 * are appended to `sc.decisions`, in this order, as rows; a restart reads them back. The last ones are kept here. */

enum { LEDGER_KEPT_MAX = 1000, LEDGER_SYMPTOM_MAX = 7 };

struct ledger_entry {
    struct decision decision;
    struct plan_step *steps; /* heap, [decision.step_count] */
    int32_t steps_done;
    int64_t time_ms, changed_ms; /* since 1970 */
    int64_t record;              /* number of its last record; 0: it was lost */
    bool complete;               /* read back: the decision itself came behind its steps */
};

struct ledger {
    int32_t count;
    int64_t last_id;
    struct ledger_entry *all[LEDGER_KEPT_MAX]; /* oldest first */
    struct kept_modes modes;
    /* reading back: what came before its decision */
    struct arena arena;
    const struct option_row *options;
    const struct step_row *steps;
    int32_t option_count, step_count, unreadable;
};

void ledger_init(struct ledger *ledger);
void ledger_release(struct ledger *ledger);

struct ledger_entry *ledger_find(struct ledger *ledger, int64_t id); /* or NULL */

/* Puts a decision in, or in place of what it was. `steps` NULL: it has those that it had. */
struct ledger_entry *ledger_put(struct ledger *ledger, const struct decision *decision,
                                const struct plan_step *steps, int32_t step_count, int64_t now_ms);

/* Appends it to the stream. */
void ledger_write(struct control *control, struct ledger_entry *entry);

/* A record of the stream, at start. What is none is passed over and counted. */
void ledger_take(struct control *control, struct str value);

/* As the API shows them; texts are the arena's or the entry's. */
struct decision_row decision_row_of(const struct ledger_entry *entry, struct arena *arena);
struct plan_row plan_row_of(const struct ledger_entry *entry, struct arena *arena);
struct control_rows option_rows_of(const struct ledger_entry *entry, struct arena *arena);
struct control_rows step_rows_of(const struct control *control, const struct ledger_entry *entry,
                                 struct arena *arena);

/* A partition or node that a step is about, as text; the arena's. */
const char *step_subject(const struct control *control, const struct plan_step *step,
                         struct arena *arena);

/* The number of a shard among all stages', and back: what the core knows partitions by. */
#define SHARD_NUMBER(stage, shard) ((int64_t)(stage) << 16 | (int64_t)(shard))
#define SHARD_STAGE(number)        ((int32_t)((number) >> 16))
#define SHARD_INDEX(number)        ((uint32_t)((number)&0xffff))

#endif
