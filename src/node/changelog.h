// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_CHANGELOG_H
#define NODE_CHANGELOG_H

#include "base/arena.h"
#include "log/log.h"
#include "node/position.h"
#include "pipeline/config.h"

/* Entries of a changelog that are the node's own, and the one routine that reads a changelog back: for a start, a
 * recovery, a shadow. State entries are pipeline/state.h's; space ids below CHANGELOG_SPACES_RESERVED are the node's:
 *
 *   space 0   position of one input: key u16 group_lo, u32 0, i64 input (sign flipped), u16 group_lo, u16 group_hi
 *             (0: 4096); value as position_encode. Holds for the groups it names until a later one names them.
 *   space 1   meta: key u16 group_lo, u32 1, i64 0 (sign flipped), u16 group_lo, u16 group_hi; value: the shape of the
 *             chain that writes (u8 format, u32 length and text, u16 count, then u16 length and name, u32 length and
 *             schema of each state space). With a partition's first commit and in checkpoints. */

enum {
    CHANGELOG_SPACE_POSITION = 0,
    CHANGELOG_SPACE_META = 1,
    CHANGELOG_SPACES_RESERVED = 16,
    CHANGELOG_KEY_BYTES = 18
};

struct changelog_key {
    uint32_t group;
    uint32_t space;
    int64_t input;               /* of a position */
    uint32_t group_lo, group_hi; /* of the node's own entries */
};

/* The key of one of the node's own entries, in `buf`. */
struct str changelog_own_key(char buf[CHANGELOG_KEY_BYTES], uint32_t space, int64_t input,
                             uint32_t group_lo, uint32_t group_hi);

/* Reads any entry's key; the last three fields only of the node's own. False if it is malformed. */
bool changelog_key_parse(struct str key, struct changelog_key *ret_key);

ptrdiff_t stage_shape_bytes(const struct stage_shape *shape);
void stage_shape_encode(const struct stage_shape *shape, void *buf);
/* Views into `bytes`. */
ATTR_NODISCARD enum err stage_shape_decode(struct str bytes, struct stage_shape *ret_shape,
                                           struct err_info *info);

/* --- reading back ---
 *
 *   IDLE --start--> OPENING --> READING <--> ENTRIES --> CLOSING --> DONE
 *                      |           |                        ^
 *                      |           +-------- error ---------+
 *                      +------------------------------------------> DONE
 *
 * The owner calls restore_completed() when the op is back and, in ENTRIES, restore_entries() until it says NOT_FOUND,
 * then restore_more(). In DONE, `err` says how it went. */

enum restore_state {
    RESTORE_IDLE,
    RESTORE_OPENING,
    RESTORE_READING,
    RESTORE_ENTRIES,
    RESTORE_CLOSING,
    RESTORE_DONE
};

struct restore {
    enum restore_state state;
    struct log *log;
    struct log_op *op; /* the owner's; u.restore */
    uint32_t group_lo, group_hi;
    int64_t at; /* changelog offset that was restored */
    enum err err;
    struct err_info info;
    void *buf; /* kept from restore to restore */
    ptrdiff_t len, pos;
    struct log_restore *handle;
    struct record_reader reader;
    bool in_batch, more;
};

void restore_init(struct restore *restore, struct log *log, struct log_op *op);
void restore_release(struct restore *restore);

/* op->done is set. `at`: LOG_AT_LAST or the name of a commit. */
void restore_start(struct restore *restore, struct shard_id changelog, uint32_t group_lo,
                   uint32_t group_hi, int64_t at);
void restore_completed(struct restore *restore);

struct restore_entry {
    struct changelog_key key;
    struct str raw_key;
    struct str value; /* ptr NULL: a tombstone */
};

/* Next entries whose key group is in the range, 1..cap of them, in order. NOT_FOUND: read more; CORRUPT: restore_fail
 * follows. Views until the next call. */
ATTR_NODISCARD enum err restore_entries(struct restore *restore, struct restore_entry *entries,
                                        int32_t cap, int32_t *ret_count, struct err_info *info);
void restore_more(struct restore *restore);

/* Ends it early with an error of the owner's. */
void restore_fail(struct restore *restore, const struct err_info *info);

#endif
