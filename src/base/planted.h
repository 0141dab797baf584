// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_PLANTED_H
#define BASE_PLANTED_H

/* Bugs that a build may contain on purpose (meson -Dplanted_bug=NAME), to prove that the simulator finds them;
 * tools/test_planted does, sim/README.md lists how soon. In every build that is meant to be used none is planted and
 * PLANTED() is a constant false. */

/* clang-format off */
#define PLANTED_BUGS(X) \
    X(NONE) \
    X(ACK_BEFORE_SYNC)         /* a group is acknowledged once it is written */ \
    X(SKIP_DIRECTORY_SYNC)     /* the name of a shard's new segment is not made durable */ \
    X(JOURNAL_REMOVED_EARLY)   /* journal segments go before the shards are synced */ \
    X(CUT_AT_WRONG_END)        /* recovery takes the last good frame for torn */ \
    X(RETRY_FAILED_SYNC)       /* a sync that failed is tried again */ \
    X(SKIP_CHECKSUM)           /* batches read are not verified */ \
    X(CHECKPOINT_NOT_SYNCED)   /* a checkpoint gets its name before its bytes are durable */ \
    X(FILES_GO_EARLY)          /* unsynced mode: files go before the frame that let go of them is durable */ \
    X(TRIM_PASSES_FLOOR)       /* retention does not look at floors */ \
    X(NO_FENCE)                /* a fenced owner may commit */ \
    X(OLD_EPOCH)               /* a claim of an old epoch is accepted */ \
    X(OLD_INCARNATION)         /* an owner's earlier incarnation may commit */ \
    X(DEDUPE_FORGOTTEN)        /* the journal's snapshot leaves out what producers sent */ \
    X(DUPLICATE_TAKEN)         /* a repeated batch of a producer is appended again */ \
    X(LOST_DELTA)              /* every eighth commit of a partition leaves out its state */ \
    X(POSITION_NOT_IN_COMMIT)  /* every eighth commit leaves out its positions */ \
    X(AGAIN_AS_NEW)            /* a commit told `again` is sent with a new sequence */ \
    X(STALE_POSITION)          /* a partition opens one offset too early */ \
    X(PLAN_LEFT_HALF)          /* a plan that a restart interrupted is not undone */ \
    X(CHANGE_AMID_OTHERS)      /* the manager acts while somebody's operation is under way */ \
    X(COOLDOWN_FORGOTTEN)      /* the manager's cool-down ends with a restart */ \
    X(AUDIT_FORGOTTEN)         /* every eighth order is answered without an audit record */
/* clang-format on */

#define PLANTED_ENUM(name) PLANTED_##name,
enum planted_bug { PLANTED_BUGS(PLANTED_ENUM) PLANTED_COUNT };

#ifndef PLANTED_BUG
#    define PLANTED_BUG NONE
#endif

#define PLANTED_JOIN_(a, b) a##b
#define PLANTED_JOIN(a, b)  PLANTED_JOIN_(a, b)
#define PLANTED(name)       (PLANTED_JOIN(PLANTED_, PLANTED_BUG) == PLANTED_##name)

#endif
