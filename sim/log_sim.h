// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_LOG_SIM_H
#define SIM_LOG_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "log/log.h"
#include "sim/crash.h"
#include "sim/disk.h"
#include "sim/log_model.h"
#include "sim/world.h"

/* Inside of the log's part: log_sim.c has the world, its lives and crashes, log_actors.c who writes and reads. */

enum {
    SIM_SHARDS_MAX = 16,
    SIM_CHANGELOGS_MAX = 3,
    SIM_PARTS_MAX = 24,
    SIM_ACTORS_MAX = 32,
    SIM_ATS_MAX = 16,
    SIM_CONTROL_KEYS = 3,
    SIM_SETS_MAX = 4096,
    SIM_BATCH_BYTES = 64 << 10
};

struct sim;

/* A shard that is read and written record by record. */
struct sim_shard {
    struct shard_id id;
    int model;
    bool internal;       /* trimmed at its floor, written by owners */
    bool trimmed;        /* producers' shard */
    bool retention;      /* by size */
    int64_t trim_asked;  /* highest offset anybody wanted trimmed to */
    int64_t floor_asked; /* highest floor asked for; -1: none */
};

/* A commit's name in a changelog, and when it became known. */
struct sim_at {
    int64_t offset;
    int64_t life;
};

struct sim_changelog {
    struct shard_id id;
    int model;
    struct sim_at ats[SIM_ATS_MAX]; /* of the last commits */
    int64_t at_count;
    int64_t checkpoint_asked[LOG_BLOCKS]; /* highest `at` of a checkpoint submitted */
};

/* A partition: a range of key groups of a changelog, owned by one owner at a time. */
struct sim_part_range {
    int changelog;
    uint32_t lo, hi;
    uint64_t epoch;        /* present owner's */
    uint64_t epoch_asked;  /* of a fence submitted */
    uint64_t epoch_fenced; /* of a fence completed */
    int owner;             /* actor index; -1: in transition */
};

/* A successful or open SET of a control key. */
struct sim_set {
    int key;
    uint64_t value;
    int64_t expected;
    int64_t version; /* 0: not known */
    bool acked;
};

enum actor_kind {
    ACTOR_PRODUCER,
    ACTOR_OWNER,
    ACTOR_CONTROLLER,
    ACTOR_READER,
    ACTOR_RESTORER,
    ACTOR_TRIMMER,
    ACTOR_CONTROL,
    ACTOR_WEATHER
};

struct actor {
    struct sim *sim;
    enum actor_kind kind;
    int index; /* in sim->actors; also its writer number */
    char name[24];
    struct waker waker;
    struct mailbox done;
    struct rng rng;
    struct log_op op;
    bool busy;    /* op is the log's */
    bool again;   /* op is to be submitted again as it is */
    bool retried; /* it was submitted more than once */
    int64_t next_ns;
    int64_t completions;

    struct attempt *attempt; /* producer, owner: what is being written */
    uint8_t *buf;            /* batches to write, or what was read */
    ptrdiff_t buf_cap;

    /* producer */
    int shard;
    bool idempotent;
    int64_t producer_id; /* -1: none yet */
    int16_t producer_epoch;
    int32_t sequence;
    ptrdiff_t batch_len;
    bool acked_before; /* the producer id had an append acknowledged */

    /* owner */
    struct owner_id owner;
    uint32_t incarnation; /* 0: none yet */
    int64_t commits;      /* of this incarnation that took effect */
    bool fence_asked;     /* somebody asked to fence this owner */
    bool fenced;          /* and it was done */
    bool zombie;          /* the commit under way is an old incarnation's */
    struct owner_id old_owner;
    uint32_t old_incarnation; /* 0: no zombie to play */
    int64_t old_commits;
    struct log_batch batches[MODEL_PIECES_MAX];
    struct log_claim claims[SIM_PARTS_MAX];
    int claim_part[SIM_PARTS_MAX];
    int parts[SIM_PARTS_MAX]; /* which it believes to own, with the epochs beside */
    uint64_t part_epochs[SIM_PARTS_MAX];
    int part_count;

    /* controller */
    int part;
    int new_owner;

    /* reader */
    struct log_reader *reader;
    int64_t offset;
    int64_t start_least; /* the shard's start when the read was submitted */

    /* restorer */
    int changelog;
    uint32_t lo, hi;
    int64_t at, at_life, at_least;
    bool checkpoint; /* the restore is for one */
    struct restored (*restored)[MODEL_USER_KEYS];

    /* control */
    int key;
    int64_t versions[SIM_CONTROL_KEYS]; /* last known */
    int64_t version_least;              /* of the key when a GET was submitted */
    uint64_t value;
};

struct sim {
    uint64_t seed;
    bool embedded;
    struct rng rng;
    struct world *world;
    struct disk *disk;
    struct sim_crash crash;
    struct fs fs;
    struct log *log;
    struct log_model *model;
    struct waker waker; /* of sim_do */
    struct mailbox done;
    int loops[LOG_LOOPS_MAX];
    int loop_count;

    bool paused;       /* actors begin nothing */
    bool died;         /* the log said that it has stopped */
    bool full_before;  /* the disk was full in this life */
    bool fault_before; /* a fault was set in this life */
    bool rotten;       /* bytes on the disk were changed */
    int crashes;

    struct sim_shard shards[SIM_SHARDS_MAX];
    int shard_count;
    struct sim_changelog changelogs[SIM_CHANGELOGS_MAX];
    int changelog_count;
    struct sim_part_range parts[SIM_PARTS_MAX];
    int part_count;
    struct actor actors[SIM_ACTORS_MAX];
    int actor_count;
    struct sim_set sets[SIM_SETS_MAX];
    int set_count;
};

/* One actor's step, for the world. */
int64_t actor_step(void *ctx, int64_t now_ns);

/* Adds an actor and its buffers. */
struct actor *actor_new(struct sim *sim, enum actor_kind kind, const char *name);

/* The process it lives in died: nothing is under way any more. Attempts were turned to MAYBE by the model. */
void actor_crash(struct actor *actor);

/* After the scan that follows a crash: picks up what survives one. */
void actor_revive(struct actor *actor);

void actor_free(struct actor *actor);

/* Submits `op` and runs the world until it is back; AGAIN is tried again. Fails the model if it does not come. */
enum err sim_do(struct sim *sim, struct log_op *op);

/* Opens the embedded engine on sim->disk, with drawn sizes, as a new process. */
ATTR_NODISCARD enum err sim_open_embedded(struct sim *sim, struct err_info *info);

/* After a crash: reads every shard from start to end, and restores every changelog whole; the model judges. Where
 * `rotten` is set, what refuses as CORRUPT is left out: anything else must still be right. */
void sim_scan(struct sim *sim);
void sim_restore_all(struct sim *sim);

/* Flips bits of a file of the log, which is closed. */
void sim_rot(struct sim *sim);

#endif
