// SPDX-License-Identifier: Apache-2.0
#include "app/against.h"

#include <stdio.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/read_file.h"
#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/fs_real.h"
#include "log/embedded.h"
#include "node/changelog.h"
#include "node/map.h"

enum { TEXT_CAP = 64 << 10, AGAINST_ARENA_MAX = 64 << 20, REPAIR_TEXT_MAX = 1 << 20 };

#define PRINT(...) IGNORE_RESULT(printf(__VA_ARGS__)) /* main() judges stdout */

/* The log, opened for looking, and one op at a time on it. */
struct looker {
    struct clock clock;
    struct fs fs;
    struct log *log;
    struct loop *loops[LOG_LOOPS_MAX];
    struct waker waker;
    struct mailbox done;
    struct log_op op;
    struct arena arena;
    int32_t refused;   /* stages whose state cannot go on */
    int32_t conflicts; /* streams that have other shards */
};

static void looker_init(struct looker *looker)
{
    looker->clock = clock_real();
    waker_init(&looker->waker);
    mailbox_init(&looker->done, &looker->waker);
    arena_init(&looker->arena, AGAINST_ARENA_MAX);
}

static enum err open_looker(struct looker *looker, struct err_info *info)
{
    struct log_recovery_report report;
    struct log_loop loops[LOG_LOOPS_MAX];
    enum err err = log_embedded_open(
        &(struct log_embedded_options){.fs = &looker->fs, .clock = &looker->clock}, &looker->log,
        &report, info);
    if (err == ERR_OK) {
        int count = log_loops(looker->log, loops);
        for (int i = 0; i < count; i++) {
            looker->loops[i] = loop_start(&(struct loop_options){.name = loops[i].name,
                                                                 .clock = &looker->clock,
                                                                 .waker = loops[i].waker,
                                                                 .step = loops[i].step,
                                                                 .ctx = loops[i].ctx,
                                                                 .class = LOOP_NORMAL,
                                                                 .cpu = -1});
        }
    }
    return err;
}

static void close_looker(struct looker *looker)
{
    for (int i = 0; i < LOG_LOOPS_MAX; i++) {
        loop_stop(looker->loops[i]);
    }
    log_close(looker->log);
    fs_real_close(&looker->fs);
    arena_release(&looker->arena);
}

static void await(struct looker *looker)
{
    while (mailbox_take_all(&looker->done) == NULL) {
        waker_sleep(&looker->waker, CLOCK_NEVER);
    }
}

static enum err run_op(struct looker *looker)
{
    looker->op.done = &looker->done;
    log_submit(looker->log, &looker->op);
    await(looker);
    return looker->op.err;
}

/* The shape of the chain that wrote the changelog; NOT_FOUND if none did. Its texts are the arena's. */
static enum err read_shape(struct looker *looker, struct shard_id changelog,
                           struct stage_shape *ret_shape, struct err_info *info)
{
    struct restore restore;
    enum err found = ERR_NOT_FOUND;
    looker->op = (struct log_op){.done = &looker->done};
    restore_init(&restore, looker->log, &looker->op);
    restore_start(&restore, changelog, 0, KEY_GROUP_COUNT, LOG_AT_LAST);
    while (restore.state != RESTORE_DONE) {
        struct restore_entry entry;
        int32_t count;
        if (restore.state != RESTORE_ENTRIES) {
            await(looker);
            restore_completed(&restore);
            continue;
        }
        enum err err = restore_entries(&restore, &entry, 1, &count, info);
        if (err == ERR_NOT_FOUND) {
            restore_more(&restore);
        } else if (err != ERR_OK) {
            restore_fail(&restore, info);
        } else if (entry.key.space == CHANGELOG_SPACE_META) {
            struct str copy = {arena_dup(&looker->arena, entry.value.ptr, entry.value.len),
                               entry.value.len};
            found = stage_shape_decode(copy, ret_shape, info);
        }
    }
    enum err err = restore.err;
    if (err != ERR_OK) {
        *info = restore.info;
    }
    restore_release(&restore);
    return err != ERR_OK ? err : found;
}

/* How many partitions the stage's map has; 0: no map. */
static int32_t read_map(struct looker *looker, const struct stage_plan *plan)
{
    struct partition_map map;
    looker->op = (struct log_op){.kind = LOG_OP_CONTROL_GET};
    if (!partition_map_key(looker->op.u.control.key, plan->pipeline, plan->name)) {
        return 0;
    }
    void *buf = mem_new(LOG_CONTROL_VALUE_MAX, 1);
    looker->op.u.control.value = buf;
    looker->op.u.control.len = LOG_CONTROL_VALUE_MAX;
    int32_t count = 0;
    if (run_op(looker) == ERR_OK && looker->op.u.control.ret_version > 0 &&
        partition_map_decode(&looker->arena, (struct str){buf, looker->op.u.control.ret_len}, &map,
                             NULL) == ERR_OK) {
        count = map.count;
    }
    mem_free(buf);
    return count;
}

static enum err look_at_stage(struct looker *looker, const struct stage_plan *plan,
                              struct err_info *info)
{
    struct stage_shape *shape = ARENA_NEW(&looker->arena, struct stage_shape);
    char *text = arena_new(&looker->arena, TEXT_CAP, 1);
    looker->op = (struct log_op){.kind = LOG_OP_STREAM_GET};
    struct log_stream_op *stream = &looker->op.u.stream;
    IGNORE_RESULT(snprintf(stream->config.name, sizeof(stream->config.name), "sc.%.*s.%.*s.log",
                           STR_ARG(plan->pipeline), STR_ARG(plan->name))); /* cut: not found */
    int32_t now = plan->partitions_per_shard * plan->inputs[0].stream->shard_count;
    enum err err = run_op(looker);
    struct shard_id first = stream->ret_info.first_shard;
    if (err == ERR_OK) {
        err = read_shape(looker, first, shape, info);
    }
    if (err == ERR_NOT_FOUND) {
        PRINT("%.*s/%.*s: begins anew, %d partitions\n", STR_ARG(plan->pipeline),
              STR_ARG(plan->name), now);
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    int32_t before = read_map(looker, plan);
    int32_t lost = stage_shape_compare(shape, plan, text, TEXT_CAP);
    if (lost > 0) {
        looker->refused++;
        PRINT("%s", text);
        return ERR_OK;
    }
    PRINT("%.*s/%.*s: goes on from its last commit, %d partitions (last: %d)%s\n",
          STR_ARG(plan->pipeline), STR_ARG(plan->name), now, before,
          str_equal(shape->text, plan->text) ? "" : ", with a changed chain");
    return ERR_OK;
}

/* A stream that is there with another number of shards: a start would end there. */
static enum err look_at_stream(struct looker *looker, const struct stream_spec *spec,
                               struct err_info *info)
{
    looker->op = (struct log_op){.kind = LOG_OP_STREAM_GET};
    struct log_stream_op *stream = &looker->op.u.stream;
    IGNORE_RESULT(snprintf(stream->config.name, sizeof(stream->config.name), "%.*s",
                           STR_ARG(spec->name))); /* fits: the configuration checked it */
    enum err err = run_op(looker);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK; /* will be made */
    }
    if (err != ERR_OK) {
        *info = looker->op.info;
        return err;
    }
    int32_t have = stream->ret_info.config.shard_count;
    if (have != spec->shard_count) {
        looker->conflicts++;
        PRINT("stream %.*s: has %d shards in the data folder and %d in the configuration; shards "
              "cannot be changed: give the stream (or stage) another name\n",
              STR_ARG(spec->name), have, spec->shard_count);
    }
    return ERR_OK;
}

static enum err look_at_all(struct looker *looker, const struct config *config,
                            struct err_info *info)
{
    for (int32_t i = 0; i < config->stream_count; i++) {
        enum err err = look_at_stream(looker, config->streams[i], info);
        if (err != ERR_OK) {
            return err;
        }
    }
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        const struct pipeline_plan *pipeline = config->pipelines[p];
        for (int32_t s = 0; s < pipeline->stage_count; s++) {
            enum err err = look_at_stage(looker, pipeline->stages[s], info);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

/* Every byte of the log, as `log repair --show` looks at it: what would stop a start, or a reader later. */
static enum err look_at_log(const struct fs *fs, struct err_info *info)
{
    char *text = mem_new(REPAIR_TEXT_MAX, 1);
    bool sound = false;
    enum err err = log_embedded_repair_show(fs, text, REPAIR_TEXT_MAX, &sound, info);
    if (err == ERR_OK && !sound) {
        PRINT("%s", text);
        err = err_set(info, ERR_CORRUPT, "the log is damaged");
    }
    mem_free(text);
    return err;
}

int validate_against(const struct config *config, const char *data)
{
    struct err_info info = {.code = ERR_OK};
    struct looker *looker = MEM_NEW(struct looker);
    looker_init(looker);
    enum err err = folder_check(data, &info);
    err = err == ERR_OK ? fs_real_open(data, &looker->fs, &info) : err;
    err = err == ERR_OK ? look_at_log(&looker->fs, &info) : err;
    err = err == ERR_OK ? open_looker(looker, &info) : err;
    err = err == ERR_OK ? look_at_all(looker, config, &info) : err;
    int32_t refused = looker->refused;
    int32_t conflicts = looker->conflicts;
    close_looker(looker);
    mem_free(looker);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info.text)); /* nobody left to tell */
        return (int)exit_code_of(err);
    }
    if (conflicts > 0) {
        PRINT("a start would refuse: the data folder has other streams than the configuration\n");
        return EXIT_CODE_CONFLICT;
    }
    if (refused > 0) {
        PRINT("a start would refuse: 'run --drop-state' forgets what cannot go on\n");
        return EXIT_CODE_NEEDS_OPERATOR;
    }
    return EXIT_CODE_OK;
}
