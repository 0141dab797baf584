// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_STATE_H
#define PIPELINE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

/* Keyed state: the only place where operators remember anything, timers included. One `struct state` a partition; in it
 * one *space* an operator asks for; in each space one table a key group, its own allocation, so that a key group can be
 * handed over by moving pointers, dumped and applied alone. A table appears with its group's first entry.
 *
 * An entry is (key, time) -> payload of the space's fixed size, plus optional bytes of any length (its tail). `time` is
 * 0 for plain values; windows use their start, timers their due time, lists their index. Every change marks its entry
 * dirty; the delta of a commit is the dirty entries' present contents (or a tombstone), so applying deltas is
 * idempotent and later ones replace earlier ones.
 *
 * Growth: a table doubles alone, and tables of one space reach their thresholds at different fills, so that no batch
 * pays for all of them while a state grows to millions of keys.
 *
 * The hash of an entry names its key group (top 12 bits) and its place in the table (low 32 bits). For an ordinary space
 * it is hash64 of the key. In a *composite* space the key is more than the record's key; see state_composite_key().
 *
 * Invariants: S1 an entry is in the table of its key's group and nowhere else. S2 dirty lists name each dirty entry
 * once. S3 bytes_used is the sum of what all tables and tails hold. S4 pointers to payloads hold until the next
 * upsert, delete or set_tail in the same (space, group).
 * One thread at a time. */

struct state;
struct state_space;
struct state_group; /* all tables of one key group, detached */

enum {
    STATE_SPACES_MAX = 64,
    STATE_KEY_MAX = 32 << 10,
    STATE_PAYLOAD_MAX = 4096,
    STATE_TAIL_MAX = 8 << 20,
    STATE_APPLY_MAX = 64
};

struct state_space_options {
    struct str name; /* "<operator>/<what>": stable over versions of the pipeline */
    struct str
        schema; /* normalised text of what the entries mean; another text is another schema */
    int32_t payload_bytes; /* 0..STATE_PAYLOAD_MAX, zeroed in a new entry */
    bool timed;            /* due entries can be taken in order of time */
    bool listed;    /* entries of one time can be walked over where they stand; not with `timed` */
    bool tails;     /* entries may have a tail */
    bool composite; /* keys are made by state_composite_key */
};

struct state_entry {
    struct str key; /* a view; empty for an absent key */
    uint64_t hash;
    int64_t time;
    void *payload;   /* payload_bytes, 8-aligned */
    struct str tail; /* empty if none */
};

/* A state for key groups [lo, hi). Owned by the partition. */
struct state *state_new(uint32_t group_lo, uint32_t group_hi);
void state_free(struct state *state);

/* Declares a space, once per state, before use. Its id is hash64 of its name cut to 31 bits, the top bit telling
 * composite spaces; CHECKs clashes, also with the reserved ids below 16. */
struct state_space *state_space_open(struct state *state,
                                     const struct state_space_options *options);

/* Finds or makes the entry (key, time) and marks it dirty; returns its payload.
 *   ret_created   may be NULL */
void *state_upsert(struct state_space *space, uint64_t hash, struct str key, int64_t time,
                   bool *ret_created);

/* Rows sel[0..count) of a batch's hashes and keys, each at time[row], or all at `at` if `time` is NULL. */
struct state_rows {
    const int32_t *sel;
    int32_t count;
    int32_t key_bytes; /* of each key; 0: they differ, or it is not known */
    const uint64_t *hash;
    const struct str *key;
    const int64_t *time;
    int64_t at;
};

/* The same for many rows at once, with prefetching. ret_payload[i] belongs to sel[i] and is valid only until the next call
 * that changes the space: the function therefore calls nothing else; pointers of one call stay valid together. ret_created
 * may be NULL. */
void state_upsert_many(struct state_space *space, const struct state_rows *rows, void **ret_payload,
                       uint8_t *ret_created);

/* Finds without changing; NULL if absent. */
const void *state_find(struct state_space *space, uint64_t hash, struct str key, int64_t time);

/* The entry's tail; empty view if none. */
struct str state_tail(struct state_space *space, uint64_t hash, struct str key, int64_t time);

/* Removes; false if it was not there. */
bool state_delete(struct state_space *space, uint64_t hash, struct str key, int64_t time);

/* The tail of the entry whose payload is `payload`, and the same to be written in place: resized to `len` bytes, what
 * was there is kept, new bytes are zero. NULL over STATE_TAIL_MAX (nothing changed). The entry must be dirty already,
 * that is, `payload` comes from an upsert since the last delta. */
struct str state_tail_at(const struct state_space *space, const void *payload);
char *state_tail_resize(struct state_space *space, uint64_t hash, void *payload, ptrdiff_t len);

/* A key made of a record's key and more (columns that a dedupe goes by): entries stay in the record key's group and
 * samples of record keys can be told from the entry's key alone.
 *   buffer    at least 2 + key.len + more.len bytes; the result is a view of it
 *   ret_hash  what to pass as its hash: group of `key_hash`, place of the whole */
struct str state_composite_key(char *buffer, uint64_t key_hash, struct str key, struct str more,
                               uint64_t *ret_hash);

/* Timed spaces: the smallest time in the space, or INT64_MAX if it is empty. O(groups in use) at most, usually O(1). */
int64_t state_min_time(struct state_space *space);

/* Timed spaces: removes entries with time <= `until` and hands them out in order of (time, key bytes) within each key
 * group, group by group ascending: the order is the same for every layout of a group. Returns how many were written to
 * `entries` (<= cap); call again until 0. Views are copies that stay until the next call of this function on the space. */
int32_t state_take_due(struct state_space *space, int64_t until, struct state_entry *entries,
                       int32_t cap);

/* An entry where it stands, and what is to become of it. */
enum state_verdict { STATE_LEAVE, STATE_CHANGED, STATE_REMOVE };

struct state_due {
    struct str key; /* a view */
    void *payload;  /* may be written to; NULL: there is no such entry */
    int64_t time;   /* of a timed space's */
    uint32_t group, tag;
    enum state_verdict verdict;
};

/* Timed spaces: shows the entries with time <= `until` of one key group in order of (time, key bytes), where they stand: of
 * the first group from `*group` on that has some. Returns how many; 0: there are no more. `*group` is then behind it. After
 * a look that showed some, state_due_end() does what their verdicts say; nothing else may change the space in between. */
int32_t state_due_begin(struct state_space *space, int64_t until, uint32_t *group,
                        struct state_due **ret_entries);
void state_due_end(struct state_space *space);

/* A walk over the entries of one time, and beside each what its key has at another time, unless that is STATE_NO_TIME; begun
 * with the rest zero. May be left and gone on with: what is made meanwhile comes at its end; after a hand-over it may begin
 * again. */
struct state_walk {
    int64_t time, beside;
    int64_t at, kept, fetched;
    uint32_t version;
};

#define STATE_NO_TIME INT64_MAX

/* Listed spaces: the smallest time >= `from` that has entries, or had some since the last walk over it; INT64_MAX: there is
 * none. */
int64_t state_listed_from(struct state_space *space, int64_t from);

/* Listed spaces: shows the next entries, in the order of their making (any order behind a restore or hand-over); none twice
 * in one call. Returns how many; 0: there are no more. Nothing may change the space before state_walk_settle() does what
 * their verdicts say.
 *   ret_beside   those at walk->beside, their verdicts count as well; payload NULL: the key has none. NULL if not asked for */
int32_t state_walk_next(struct state_space *space, struct state_walk *walk,
                        struct state_due **ret_entries, struct state_due **ret_beside);

void state_walk_settle(struct state_space *space);

/* Walks all entries (any order, without changing): `cursor` starts at 0. Returns false at the end. */
bool state_next(struct state_space *space, uint64_t *cursor, struct state_entry *ret_entry);

int64_t state_bytes_used(const struct state *state);
int64_t state_entry_count(const struct state *state);

/* The same of the space named `name`; zeros if it is not open. O(key groups). */
void state_space_usage(const struct state *state, struct str name, int64_t *ret_bytes,
                       int64_t *ret_entries);

/* --- delta, snapshot, restore: entries as (key bytes, value bytes) of changelog records ---
 *   key    u16 BE key group, u32 BE space id, i64 BE time (sign bit flipped), the key's own bytes
 *   value  payload bytes, then the tail; a tombstone is an absent value (ptr NULL) */

/* Dirty entries: tombstones first, then contents. What _next has handed out is clean; a change behind it makes the entry
 * dirty again, to be handed out later. So a delta may be taken in pieces, and _end, called when _next said false, only
 * gives back its memory. (A commit is never given up, only sent again or the partition dropped.) */
bool state_delta_next(struct state *state, struct str *ret_key, struct str *ret_value);
void state_delta_end(struct state *state);
int64_t state_delta_bytes(const struct state *state); /* an estimate of what the delta will take */

/* Entries of key group `group` for a checkpoint; `cursor` starts at 0. */
bool state_dump_next(struct state *state, uint32_t group, uint64_t *cursor, struct str *ret_key,
                     struct str *ret_value);

/* Applies one changelog entry without marking it dirty. Entries of other groups than the state's, and of spaces that are
 * not open, are kept apart by the result: NOT_FOUND (counted by the caller), OK, or CORRUPT. */
ATTR_NODISCARD enum err state_apply(struct state *state, struct str key, struct str value);

/* The same of up to STATE_APPLY_MAX entries in their order, several times as fast: their tables are fetched together. What
 * comes of each is in ret_err[count]; those that are refused do not hold up the others. */
void state_apply_many(struct state *state, const struct str *key, const struct str *value,
                      int32_t count, enum err *ret_err);

/* Key group, space id and *record key* of a changelog entry's key, for filtering before state_apply: of a composite key
 * the record key's part, so that hash64 of it gives group and sample in all cases. False if malformed. */
bool state_entry_key(struct str key, uint32_t *ret_group, uint32_t *ret_space,
                     struct str *ret_record_key);

/* Hand-over within a process: takes all tables of a group out (clean: after a commit), or puts them in. The spaces of
 * both states must have been opened with the same options. NULL: the group has no tables. */
struct state_group *state_detach(struct state *state, uint32_t group);
void state_attach(struct state *state, struct state_group *tables);
void state_group_free(struct state_group *tables);
int64_t state_group_bytes(const struct state_group *tables);

/* Hash over all entries' contents, independent of order and table sizes: equal states give equal hashes (I6). */
uint64_t state_digest(struct state *state);

/* Switches delta tracking off (benchmarks with deltas off; shadows). */
void state_set_tracking(struct state *state, bool on);

#endif
