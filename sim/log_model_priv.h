// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_LOG_MODEL_PRIV_H
#define SIM_LOG_MODEL_PRIV_H

#include "sim/log_model.h"

/* Inside of the model: log_model.c keeps attempts and offsets, log_model_state.c judges restores. */

enum { MODEL_KEY_BYTES = 16 };

struct model_span { /* offsets of one piece */
    int64_t base, end;
    uint64_t attempt;
};

struct model_write { /* of a key, by one attempt */
    struct attempt *attempt;
    int piece;
    bool tombstone;
};

struct
    model_key { /* all writes of a key in the order they were submitted: fencing makes that the order of effects */
    struct model_write *writes;
    int32_t count, cap;
};

struct model_shard {
    uint32_t number; /* as the log numbers it */
    enum model_shard_kind kind;
    int64_t end;              /* highest end told or read */
    int64_t start;            /* highest start told */
    int64_t start_max;        /* highest start allowed */
    struct model_span *spans; /* by base */
    int64_t span_count, span_cap;
    uint64_t last_of_writer[MODEL_WRITERS_MAX]; /* in the scan under way */
    struct model_key *keys; /* [MODEL_GROUPS x MODEL_USER_KEYS], changelogs only */
};

struct log_model {
    bool dense;
    bool scanning;
    int64_t scan; /* number of the scan */
    int64_t life;
    struct model_shard shards[MODEL_SHARDS_MAX];
    int shard_count;
    struct attempt **attempts; /* [id - 1] */
    int64_t attempt_count, attempt_cap;
    char problem[400];
};

struct attempt *model_attempt(const struct log_model *model, uint64_t id);
struct model_key *model_key(struct log_model *model, int shard, uint32_t group, uint32_t user_key);

/* The bytes of a record's value. `buf` is [MODEL_VALUE_MAX]. */
ptrdiff_t model_value(uint64_t attempt, int piece, int index, uint8_t *buf);

/* Which record of an attempt sets a key of a shard. */
bool model_find_entry(const struct log_model *model, const struct attempt *attempt, int shard,
                      uint32_t group, uint32_t user_key, int *ret_piece, int *ret_index);

#endif
