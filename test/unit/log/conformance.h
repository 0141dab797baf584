// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_UNIT_LOG_CONFORMANCE_H
#define TEST_UNIT_LOG_CONFORMANCE_H

#include <string.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/rng.h"
#include "log/log.h"
#include "log/record_batch.h"
#include "test.h"

/* The conformance suite: what log.h promises, asked of every engine. A test is a function of a `struct rig`, which is
 * one engine on a clock of its own, stepped by hand on one thread. An engine joins by a factory and a line a test:
 *
 *     #define X(name) TEST(memory_##name) { conformance_run(&memory_factory, conform_##name); }
 *     CONFORMANCE_LIST(X)
 *     #undef X
 *
 * Engines with segments take them small (64 KiB), so that retention has something to let go.
 * Tests assert what log.h says and nothing else: what only some engines do is asked only of those whose flags say so. */

struct rig;

enum conformance_flags {
    CONFORM_DENSE = 1,       /* offsets have no gaps */
    CONFORM_RANGE_EPOCHS = 2 /* claims are looked at */
};

struct conformance_factory {
    uint32_t flags;
    void *options; /* the factory's own */
    /* Makes what the log stands on (a disk, a folder) and opens it: sets rig->log. */
    void (*open)(struct rig *rig);
    /* Power cut or killed process: whatever is in flight may or may not have happened; no old op is touched any more.
     * Readers were freed. Sets rig->log, open again. */
    void (*crash)(struct rig *rig);
    /* Advances what the log stands on (a simulated disk); returns its next deadline. May be NULL. */
    int64_t (*step)(struct rig *rig, int64_t now_ns);
    /* Closes rig->log and drops everything. */
    void (*close)(struct rig *rig);
};

struct rig {
    const struct conformance_factory *factory;
    void *state; /* the factory's */
    struct log *log;
    struct log_loop loops[LOG_LOOPS_MAX];
    int loop_count;
    struct log_reader *reader;
    struct mailbox done;
    struct msg *back; /* taken from `done`, not yet polled */
    struct waker waker;
    int64_t now_ns;
    struct clock clock; /* reads now_ns; wall time is now_ns from a fixed day on */
    struct rng rng;
    struct record_builder builder;
    struct record_reader records;
    uint8_t *buf; /* LOG_BATCH_BYTES_MAX and 64 */
    int64_t watchdog;
};

enum { RIG_BUF_BYTES = LOG_BATCH_BYTES_MAX };

void conformance_run(const struct conformance_factory *factory, void (*test)(struct rig *rig));

/* Steps everything once; the clock jumps to the next deadline when nothing is due and nobody was answered. */
void rig_step(struct rig *rig);

/* Lets `ns` pass, stepping at each deadline. */
void rig_pass(struct rig *rig, int64_t ns);

void rig_crash(struct rig *rig);

/* Submits; the op is away until rig_poll() gives it back. */
void rig_submit(struct rig *rig, struct log_op *op, enum log_op_kind kind);
struct log_op *rig_poll(struct rig *rig); /* NULL: none is back */

/* Submits and waits. `rig_once` takes AGAIN for an answer, `rig_do` tries again until it has another one. */
ATTR_NODISCARD enum err rig_once(struct rig *rig, struct log_op *op, enum log_op_kind kind);
ATTR_NODISCARD enum err rig_do(struct rig *rig, struct log_op *op, enum log_op_kind kind);

/* A stream of `shards` for ever; CHECKs. */
struct stream_info rig_stream(struct rig *rig, const char *name, uint32_t flags, int32_t shards);
struct shard_id rig_shard(struct stream_info info, int32_t index);
struct shard_info rig_shard_info(struct rig *rig, struct shard_id shard);

/* One batch of `count` records whose values are "text/i", keys absent; bytes are the caller's to free(). */
void *rig_batch(struct rig *rig, const char *text, int32_t count, struct record_producer producer,
                ptrdiff_t *ret_len);

/* Appends such a batch, waits; returns the answer. */
ATTR_NODISCARD enum err rig_append(struct rig *rig, struct shard_id shard, const char *text,
                                   int32_t count, struct record_producer producer,
                                   struct log_append_op *ret_append);

struct rig_owner {
    char name[64];
    struct owner_id id;
    uint32_t incarnation;
    int64_t sequence; /* of the last commit */
};

struct rig_owner rig_owner(struct rig *rig, const char *name);

/* Commits one batch ("text/i", `count` records) to each of `shards`; the answer. Sequence goes up only with OK. */
ATTR_NODISCARD enum err rig_commit(struct rig *rig, struct rig_owner *owner,
                                   const struct shard_id *shards, int32_t shard_count,
                                   const char *text, int32_t count,
                                   struct log_commit_op *ret_commit);

/* All that a shard holds, read from its start, as the values joined by spaces ("a/0 a/1 b/0 "); checks on the way that
 * offsets rise, that checksums hold and that progress is made. Into a static buffer. */
const char *rig_contents(struct rig *rig, struct shard_id shard);

/* Offsets seen by the last rig_contents(). */
extern int64_t rig_offsets[];
extern int32_t rig_offset_count;

#define CONFORMANCE_STREAMS(X) \
    X(stream_is_made_once_and_found_by_name) \
    X(stream_of_another_configuration_exists_already) \
    X(stream_names_that_may_not_be_are_refused) \
    X(shard_counts_are_limited) \
    X(streams_are_listed_by_name_and_a_cut_list_says_so) \
    X(altered_retention_stays) \
    X(deleted_stream_is_gone_and_its_name_free) \
    X(streams_survive_a_crash_scratch_streams_do_not) \
    X(ops_on_what_is_not_there_are_not_found) \
    X(appended_records_are_read_back_in_order) \
    X(appends_of_one_thread_take_effect_in_order) \
    X(read_begins_with_the_batch_that_holds_the_offset) \
    X(read_at_the_end_is_empty_and_beyond_it_out_of_range) \
    X(read_follows_the_room_it_has) \
    X(batch_that_is_not_sound_is_refused_and_changes_nothing) \
    X(acknowledged_appends_survive_a_crash) \
    X(offsets_are_not_used_again_after_a_crash) \
    X(repeated_sequence_completes_with_its_first_offset) \
    X(sequence_gap_is_refused) \
    X(sequences_wrap) \
    X(producers_are_told_apart_by_shard_and_id) \
    X(producer_that_was_never_given_out_is_fenced) \
    X(retrying_producers_lose_and_double_nothing) \
    X(watcher_is_woken_when_the_end_moves) \
    X(watchers_are_limited) \
    X(trim_never_passes_a_floor_or_the_end) \
    X(reader_that_tells_what_it_reads_holds_nothing_else_back) \
    X(deleted_changelog_holds_nothing_back_as_a_reader) \
    X(trim_behind_an_append_in_flight_survives_a_crash) \
    X(internal_stream_is_trimmed_at_its_lowest_floor_at_most) \
    X(retention_never_passes_a_floor) \
    X(retention_by_size_lets_old_records_go) \
    X(retention_by_age_lets_old_records_go)

#define CONFORMANCE_COMMITS(X) \
    X(commit_reaches_all_its_shards) \
    X(commit_of_several_batches_behind_each_other) \
    X(commits_survive_a_crash) \
    X(commit_is_whole_or_absent_after_a_crash) \
    X(repeated_commit_completes_with_its_first_offsets) \
    X(commit_out_of_sequence_is_refused) \
    X(commit_that_is_not_sound_changes_nothing) \
    X(commit_over_the_limit_is_refused) \
    X(older_incarnation_is_fenced) \
    X(fenced_owner_commits_nothing_more) \
    X(fences_and_incarnations_survive_a_crash) \
    X(fence_against_a_commit_in_flight_is_one_or_the_other) \
    X(owner_names_are_checked) \
    X(range_epoch_refuses_older_claims) \
    X(range_epochs_survive_a_crash) \
    X(retried_commits_lose_and_double_nothing) \
    X(control_set_compares_versions) \
    X(control_versions_are_not_given_twice) \
    X(control_keys_are_listed_in_order) \
    X(control_records_survive_a_crash) \
    X(control_limits)

#define CONFORMANCE_RESTORES(X) \
    X(restore_of_an_empty_changelog_is_empty) \
    X(restore_gives_the_last_entry_of_each_key) \
    X(restore_at_a_named_commit_gives_the_state_of_then) \
    X(open_restore_is_pinned_while_the_owner_commits_on) \
    X(restore_after_checkpoints_gives_the_same) \
    X(restore_after_checkpoints_and_a_crash_gives_the_same) \
    X(restore_of_what_cannot_be_is_refused) \
    X(checkpoint_of_more_than_a_block_is_refused) \
    X(checkpoint_of_all_groups_lets_the_changelog_go) \
    X(closed_restore_is_gone) \
    X(random_life_with_crashes_matches_a_model)

#define CONFORMANCE_LIST(X) CONFORMANCE_STREAMS(X) CONFORMANCE_COMMITS(X) CONFORMANCE_RESTORES(X)

#define X(name) void conform_##name(struct rig *rig);
CONFORMANCE_LIST(X)
#undef X

#endif
