// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/log_sim.h"

/* Reading all of it, and rot. */

static bool forgiven(const struct sim *sim, enum err err)
{
    return sim->rotten && err == ERR_CORRUPT;
}

static void scan_shard(struct sim *sim, struct sim_shard *shard, uint8_t *buf)
{
    struct log_reader *reader = log_reader_new(sim->log);
    struct log_op get = {.kind = LOG_OP_SHARD_GET};
    get.u.shard.shard = shard->id;
    enum err health = sim_do(sim, &get);
    health = health == ERR_OK ? get.u.shard.ret_info.health : health;
    if (forgiven(sim, health)) {
        log_reader_free(sim->log, reader);
        return;
    }
    if (health != ERR_OK) {
        log_model_fail(sim->model, "shard %u cannot be read: %s%s", shard->id.v, get.info.text,
                       get.u.shard.ret_info.problem);
    }
    int64_t start = get.u.shard.ret_info.start_offset;
    int64_t offset = start;
    int64_t end = get.u.shard.ret_info.end_offset;
    log_model_check_start(sim->model, shard->model, log_model_start(sim->model, shard->model),
                          start);
    while (offset < end && log_model_problem(sim->model) == NULL) {
        struct log_op op = {.kind = LOG_OP_READ};
        op.u.read = (struct log_read_op){.reader = reader,
                                         .shard = shard->id,
                                         .offset = offset,
                                         .buf = buf,
                                         .cap = LOG_BATCH_BYTES_MAX};
        enum err err = sim_do(sim, &op);
        int64_t next = offset;
        if (forgiven(sim, err)) {
            log_reader_free(sim->log, reader);
            return;
        }
        if (err == ERR_OK) {
            log_model_saw(sim->model, shard->model, buf, op.u.read.ret_bytes, &next);
        }
        if (err != ERR_OK || op.u.read.ret_next_offset <= offset) {
            log_model_fail(sim->model, "shard %u stops at %lld of [%lld, %lld): %s", shard->id.v,
                           (long long)offset, (long long)start, (long long)end,
                           err != ERR_OK ? op.info.text : "no progress");
        }
        offset = op.u.read.ret_next_offset;
    }
    log_model_scan_shard(sim->model, shard->model, start, end);
    log_reader_free(sim->log, reader);
}

void sim_scan(struct sim *sim)
{
    uint8_t *buf = mem_resize(NULL, 1, LOG_BATCH_BYTES_MAX);
    log_model_scan_begin(sim->model);
    for (int i = 0; i < sim->shard_count && log_model_problem(sim->model) == NULL; i++) {
        scan_shard(sim, &sim->shards[i], buf);
    }
    if (log_model_problem(sim->model) == NULL) {
        log_model_scan_end(sim->model);
    }
    mem_free(buf);
}

/* Restores each changelog whole, at its last commit: nothing is open any more, so the model expects one answer. */
void sim_restore_all(struct sim *sim)
{
    uint8_t *buf = mem_resize(NULL, 1, LOG_BATCH_BYTES_MAX);
    struct restored(*restored)[MODEL_USER_KEYS] =
        mem_new(MODEL_GROUPS, (ptrdiff_t)sizeof(*restored));
    for (int c = 0; c < sim->changelog_count && log_model_problem(sim->model) == NULL; c++) {
        struct sim_changelog *changelog = &sim->changelogs[c];
        memset(restored, 0, MODEL_GROUPS * sizeof(*restored));
        struct log_op op = {.kind = LOG_OP_RESTORE_OPEN};
        op.u.restore = (struct log_restore_op){
            .changelog = changelog->id, .group_hi = KEY_GROUP_COUNT, .at = LOG_AT_LAST};
        enum err err = sim_do(sim, &op);
        int64_t at = op.u.restore.ret_at;
        bool more = err == ERR_OK;
        while (more && err == ERR_OK) {
            op.kind = LOG_OP_RESTORE_NEXT;
            op.u.restore.buf = buf;
            op.u.restore.cap = LOG_BATCH_BYTES_MAX;
            err = sim_do(sim, &op);
            if (err == ERR_OK) {
                log_model_apply(sim->model, changelog->model, buf, op.u.restore.ret_bytes,
                                restored);
                more = op.u.restore.ret_more;
            }
        }
        if (forgiven(sim, err)) {
            continue;
        }
        op.kind = LOG_OP_RESTORE_CLOSE;
        if (err != ERR_OK || sim_do(sim, &op) != ERR_OK) {
            log_model_fail(sim->model, "changelog %u cannot be restored: %s", changelog->id.v,
                           op.info.text);
            break;
        }
        log_model_check_restore(sim->model, changelog->model, 0, MODEL_GROUPS, at,
                                log_model_life(sim->model), restored);
    }
    mem_free(restored);
    mem_free(buf);
}

enum { FILES_MAX = 256, NAMES_BYTES = 16 << 10 };

struct files {
    char paths[FILES_MAX][200];
    int count;
};

/* Adds the files below `folder` to `files`; folders are looked into after that: `paths` serves as the list of both. */
static void list_folder(const struct fs *fs, const char *folder, char *names, struct files *files)
{
    ptrdiff_t bytes = 0;
    if (fs_list(fs, folder, names, NAMES_BYTES, &bytes, NULL) != ERR_OK) {
        return; /* it is a file */
    }
    for (ptrdiff_t at = 0; at < bytes && files->count < FILES_MAX;
         at += (ptrdiff_t)strlen(names + at) + 1) {
        IGNORE_RESULT(snprintf(files->paths[files->count++], sizeof(files->paths[0]), "%s%s%s",
                               folder, folder[0] != 0 ? "/" : "", names + at)); /* fits */
    }
}

void sim_rot(struct sim *sim)
{
    struct fs fs = disk_fs(sim->disk);
    struct files *files = MEM_NEW(struct files);
    char *names = mem_new(1, NAMES_BYTES);
    list_folder(&fs, "", names, files);
    for (int i = 0; i < files->count; i++) {
        list_folder(&fs, files->paths[i], names, files);
    }
    int first = (int)rng_below(&sim->rng, (uint64_t)(files->count > 0 ? files->count : 1));
    for (int i = 0; i < files->count && !sim->rotten; i++) {
        const char *path = files->paths[(first + i) % files->count];
        struct fs_file file = {-1};
        int64_t size = 0;
        if (fs_open(&fs, path, FS_O_READ, &file, NULL) != ERR_OK) {
            continue; /* a folder */
        }
        if (fs_size(&fs, file, &size, NULL) == ERR_OK && size > 0) {
            int64_t offset = rng_range(&sim->rng, 0, size - 1);
            CHECK(disk_corrupt(sim->disk, path, offset, rng_range(&sim->rng, 1, 8)) == ERR_OK);
            sim->rotten = true;
        }
        fs_close(&fs, file);
    }
    mem_free(names);
    mem_free(files);
}
