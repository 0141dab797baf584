// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_LOG_MODEL_H
#define SIM_LOG_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "sim/batch_check.h"

/* What a log may and must hold, kept by the side of whoever writes to it; the judge of log/log.h's L1-L7. Knows the
 * interface's promises, none of an engine's code.
 *
 * Each append or commit is an *attempt* of one or more *pieces* (a record batch in one shard). A record's value names its
 * attempt, piece and place, and the rest of its bytes follow from that, so whatever is read can be told and compared.
 *
 *   FLYING --completed OK--> ACKED            must be there, whole, at its offsets, for ever (L1, L2)
 *          --refused-------> VOID             must never be seen (L5)
 *          --crash, or an error that leaves it open--> MAYBE --full scan--> THERE (as ACKED) or VOID
 *
 * Whatever a reader saw counts as there (L4). */

enum {
    MODEL_SHARDS_MAX = 64,
    MODEL_WRITERS_MAX = 64,
    MODEL_PIECES_MAX = 8,
    MODEL_ENTRIES_MAX = 32,
    MODEL_GROUPS = 512,  /* key groups in use: [0, this) */
    MODEL_USER_KEYS = 4, /* keys in each */
    MODEL_VALUE_MAX = 400
};

enum attempt_state { ATTEMPT_FLYING, ATTEMPT_ACKED, ATTEMPT_MAYBE, ATTEMPT_THERE, ATTEMPT_VOID };

struct model_piece {
    int shard;      /* index in the model */
    int32_t count;  /* records */
    int64_t base;   /* offset of the first; -1: not known */
    int64_t end;    /* one past the last, as the log told it; -1: not known */
    int64_t number; /* scan in which it was found last */
};

/* What a commit does to one key of a changelog. */
struct model_entry {
    int piece;
    uint16_t group, user_key;
    bool tombstone;
};

struct attempt {
    uint64_t id;
    int writer;
    enum attempt_state state;
    bool seen;          /* by a reader or a restore: must not vanish */
    bool must_fail;     /* its claim or owner was fenced before it was submitted */
    bool retried;       /* an earlier try may have taken effect */
    int64_t ended_life; /* in which its fate became known */
    int piece_count, entry_count;
    struct model_piece pieces[MODEL_PIECES_MAX];
    struct model_entry entries[MODEL_ENTRIES_MAX];
};

struct log_model;

/* dense: whether offsets may have no gaps. */
struct log_model *log_model_new(bool dense);
void log_model_free(struct log_model *model);

/* First violation in words, or NULL. */
const char *log_model_problem(const struct log_model *model);
void log_model_fail(struct log_model *model, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* What is known of a shard: nothing is ever trimmed, something may be, or it is a changelog (judged by restores). */
enum model_shard_kind { MODEL_WHOLE, MODEL_TRIMMED, MODEL_CHANGELOG };

/* Registers a shard. Returns its index. */
int log_model_add_shard(struct log_model *model, uint32_t shard, enum model_shard_kind kind);
int64_t log_model_end(const struct log_model *model, int shard); /* highest known end */

/* Attempts live until the model is freed. */
struct attempt *log_model_begin(struct log_model *model, int writer);
int log_model_add_piece(struct attempt *attempt, int shard, int32_t count);
/* A record more in `piece` that sets or deletes a key; nothing if the attempt has the key already. */
void log_model_add_entry(struct log_model *model, struct attempt *attempt, int piece,
                         uint16_t group, uint16_t user_key, bool tombstone);

/* The bytes of a piece. Returns their number. */
ptrdiff_t log_model_encode(const struct attempt *attempt, int piece, struct check_producer producer,
                           uint8_t *buf, ptrdiff_t cap);

/* Fates. `bases` and `ends` as the log returned them, a piece each; ends may be NULL. */
void log_model_acked(struct log_model *model, struct attempt *attempt, const int64_t *bases,
                     const int64_t *ends);
void log_model_void(struct log_model *model, struct attempt *attempt);
void log_model_open(struct log_model *model, struct attempt *attempt); /* may or may not be there */
void log_model_retry(struct log_model *model,
                     struct attempt *attempt); /* sent again after a crash */
void log_model_crash(struct log_model *model); /* all that fly become MAYBE; next life */
int64_t log_model_life(const struct log_model *model);

/* Judges what a read returned: whole batches, from offset `*next` on. Moves `*next` behind them. */
void log_model_saw(struct log_model *model, int shard, const uint8_t *bytes, ptrdiff_t len,
                   int64_t *next);

/* A full scan: begin, then log_model_scanned over all of each shard from its start on, then end (which decides MAYBEs). */
void log_model_scan_begin(struct log_model *model);
void log_model_scan_shard(struct log_model *model, int shard, int64_t start_offset,
                          int64_t end_offset);
void log_model_scan_end(struct log_model *model);

/* Where a shard may be trimmed to at most: checked against what reads and scans tell. Only rises.
 *   least   log_model_start() when the read was submitted: a shard's start does not go back */
void log_model_allow_start(struct log_model *model, int shard, int64_t offset);
int64_t log_model_start(const struct log_model *model, int shard);
void log_model_check_start(struct log_model *model, int shard, int64_t least, int64_t start_offset);

/* What a restore gave for a key: its last entry. */
struct restored {
    bool there; /* an entry came for it */
    bool tombstone;
    uint64_t attempt;
};

/* Judges a restore of [group_lo, group_hi) at `at`. `restored` is [MODEL_GROUPS][MODEL_USER_KEYS]. `life`: in which `at`
 * became known. */
void log_model_check_restore(struct log_model *model, int shard, uint32_t group_lo,
                             uint32_t group_hi, int64_t at, int64_t life,
                             struct restored (*restored)[MODEL_USER_KEYS]);

/* Takes batches that a restore returned into `restored`. */
void log_model_apply(struct log_model *model, int shard, const uint8_t *bytes, ptrdiff_t len,
                     struct restored (*restored)[MODEL_USER_KEYS]);

/* One record of a changelog: a key's newest entry as the model would write it into a checkpoint. */
ptrdiff_t log_model_encode_state(struct log_model *model, int shard, uint32_t group_lo,
                                 uint32_t group_hi, struct restored (*restored)[MODEL_USER_KEYS],
                                 uint8_t *buf, ptrdiff_t cap);

/* For the tally at the end. */
struct log_tally {
    int64_t attempts, acked, there, voided;
};
struct log_tally log_model_tally(const struct log_model *model);

#endif
