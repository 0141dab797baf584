// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/fs.h"
#include "control/request.h"
#include "log/log.h"
#include "node/runtime.h"
#include "pipeline/config.h"
#include "prm/policy.h"

/* The control plane's shell: one loop that owns the runtime of all nodes, answers requests and takes records in. It
 * stands between the API and everything else. Never blocks; all its waiting is for completions and deadlines.
 *
 *   STREAMS --> OWNER --> RESTORE --> AUDIT --> SERVING        any failure --> FAILED: answers health, refuses the rest
 *
 * Taking records in: all records of a call, of all its shards, are one part of one commit by control's own owner, beside
 * an entry of the changelog `sc.ingest` if the call names a producer or an Idempotency-Key. So a call is stored whole or
 * not at all, and what is remembered of it for its retries is exactly as durable as its records. */

/* How the error of a call begins of which no record can be taken; the first refused one's "line N: why" follows. */
#define CONTROL_NO_RECORD_TEXT "no record can be taken: "

struct control;
struct history;
struct forecaster;

/* What a replayed load was before: arrival rates at equal steps of the load's clock, the newest last. */
struct control_past {
    const double *rate_per_s; /* [count], records per second of the wall */
    int64_t count;
    double step_s; /* divides 300 */
};

/* Where shadows put their results. */
struct control_store {
    struct str name;
    struct shadowstore *store;
};

struct control_options {
    const struct config *config; /* outlives control */
    struct log *log;
    const struct clock *clock;
    const struct fs *fs; /* for lookup files; may be NULL */
    uint64_t seed;
    uint32_t runtime_flags; /* enum runtime_flags */
    struct lane_tuning tuning;
    struct history *history;       /* local view; outlives control. NULL: none is kept */
    struct forecaster *forecaster; /* outlives control. NULL: nothing is forecast */
    const struct control_past
        *past; /* of the one pipeline, instead of the view's; outlives control. NULL: none */
    const struct control_store *stores; /* [store_count]; outlive control */
    int32_t store_count;
    double shadow_budget; /* as in node_runtime_options: the shadow lane's, to begin with */
    int64_t shadow_memory_bytes;
    const struct policy_params
        *rival_params; /* of `policy`, if it is a rival; NULL: usual ones. Outlives control */
};

/* Errors: as node_runtime_new. */
ATTR_NODISCARD enum err control_new(const struct control_options *options,
                                    struct control **ret_control, struct err_info *info);

/* Its loop and the lanes' have ended, or the log dropped its ops. NULL is fine. */
void control_free(struct control *control);

/* A loop_step: also steps the runtime. */
int64_t control_step(void *ctx, int64_t now_ns);
struct waker *control_waker(struct control *control);

/* Where requests go (struct control_request). Any thread pushes. */
struct mailbox *control_mailbox(struct control *control);

struct node_runtime *control_runtime(struct control *control);

/* Any thread: whether it answers all requests; and if it never will: true, with why. */
bool control_serving(const struct control *control);
bool control_failed(const struct control *control, struct err_info *ret_why);

/* Any thread, once it serves: the changelogs, by name, of stages that the configuration did not have at the start; empty: there
 * were none. They hold back records of streams that those stages read. */
const char *control_left_over(const struct control *control);

/* Any thread: long reads are answered at once from now on. For the end of the process. */
void control_drain(struct control *control);

#endif
