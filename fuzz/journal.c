// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/embedded.h"
#include "log/journal.h"
#include "log/record_batch.h"
#include "sim/disk.h"

/* A journal segment from a hostile disk: its frames' lengths and checksums are mended, so that the fuzzer gets behind them, and
 * the engine recovers from it. It refuses with a reason and changes nothing, or opens; then every shard can be read or says why
 * not, and what is there is there again at the next start. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENT_MAX = 256 << 10, STREAMS_MAX = 64, SHARDS_LOOKED_AT = 8, STEPS = 10000 };
static const uint64_t STORE = 77;

/* Seals one frame at `at` with the sizes it claims, as far as they fit; returns where the next may begin. */
static int64_t mend_frame(uint8_t *bytes, int64_t at, int64_t size, uint64_t number)
{
    uint8_t *frame = bytes + at;
    int64_t room = size - at - JOURNAL_HEADER - JOURNAL_TRAILER;
    int64_t entries = wire_load_u32(frame + 48) % (uint32_t)(room + 1);
    int64_t data = (int64_t)(wire_load_u64(frame + 56) % (uint64_t)(room - entries + 1));
    struct frame_header header = {.store = STORE,
                                  .number = number,
                                  .segment = 1,
                                  .kind = number == 1 ? JOURNAL_SNAPSHOT : JOURNAL_GROUP,
                                  .flags = wire_load_u32(frame + 36) & JOURNAL_FLAG_UNSYNCED,
                                  .time_ms = (int64_t)wire_load_u64(frame + 40),
                                  .entries_bytes = (uint32_t)entries,
                                  .data_bytes = data,
                                  .entry_count = wire_load_u32(frame + 64)};
    int64_t total = frame_total(&header);
    if (at + total > size) {
        return size;
    }
    memset(frame + JOURNAL_HEADER + entries + data, 0,
           (size_t)(total - JOURNAL_HEADER - entries - data));
    frame_seal(frame, &header);
    return at + total;
}

static void mend(uint8_t *bytes, int64_t size)
{
    uint64_t number = 1;
    for (int64_t at = 0; at + JOURNAL_SECTOR <= size;) {
        bool wanted = number == 1 || memcmp(bytes + at, "SCJ1", 4) == 0;
        at = wanted ? mend_frame(bytes, at, size, number) : size;
        number++;
    }
}

struct run {
    struct clock clock;
    struct fs fs;
    struct log *log;
    struct log_loop loops[LOG_LOOPS_MAX];
    int loop_count;
    struct mailbox done;
    struct waker waker;
};

static int64_t one(void *ctx)
{
    (void)ctx;
    return 1;
}

static bool run_op(struct run *run, struct log_op *op)
{
    op->done = &run->done;
    log_submit(run->log, op);
    for (int i = 0; i < STEPS; i++) {
        if (mailbox_take_all(&run->done) != NULL) {
            return true;
        }
        for (int k = 0; k < run->loop_count; k++) {
            IGNORE_RESULT(run->loops[k].step(run->loops[k].ctx, 1)); /* nothing is ever due later */
        }
    }
    return false;
}

static int64_t read_shard(struct run *run, struct shard_id id, int64_t from, uint8_t *buf)
{
    struct log_reader *reader = log_reader_new(run->log);
    struct record_reader records;
    record_reader_init(&records);
    int64_t offset = from;
    for (int i = 0; i < 1000; i++) {
        struct log_op op = {.kind = LOG_OP_READ};
        op.u.read = (struct log_read_op){
            .reader = reader, .shard = id, .offset = offset, .buf = buf, .cap = SEGMENT_MAX};
        CHECK(run_op(run, &op));
        CHECK(op.err == ERR_OK || op.info.text[0] != 0);
        if (op.err != ERR_OK || op.u.read.ret_bytes == 0) {
            break;
        }
        CHECK(op.u.read.ret_next_offset > offset);
        offset = op.u.read.ret_next_offset;
    }
    record_reader_release(&records);
    log_reader_free(run->log, reader);
    return offset;
}

/* Everything the log says it has; a sum that must be the same after the next start. */
static int64_t look(struct run *run)
{
    static struct stream_info infos[STREAMS_MAX];
    uint8_t *buf = mem_new(SEGMENT_MAX, 1);
    struct log_op op = {.kind = LOG_OP_STREAM_LIST};
    op.u.list = (struct log_list_op){.infos = infos, .cap = STREAMS_MAX};
    int64_t sum = 0;
    CHECK(run_op(run, &op));
    for (int32_t i = 0; op.err == ERR_OK && i < op.u.list.ret_count && i < STREAMS_MAX; i++) {
        CHECK(log_name_valid(str_of(infos[i].config.name)));
        for (uint32_t s = 0; s < (uint32_t)infos[i].config.shard_count && s < SHARDS_LOOKED_AT;
             s++) {
            struct shard_id id = {infos[i].first_shard.v + s};
            struct log_op get = {.kind = LOG_OP_SHARD_GET, .u.shard.shard = id};
            CHECK(run_op(run, &get) && get.err == ERR_OK);
            const struct shard_info *info = &get.u.shard.ret_info;
            CHECK(info->start_offset <= info->end_offset);
            sum = 31 * sum + read_shard(run, id, info->start_offset, buf) + info->end_offset;
        }
    }
    mem_free(buf);
    return sum;
}

static enum err open_run(struct run *run, struct disk *disk)
{
    struct log_recovery_report report;
    struct err_info info = {0};
    run->fs = disk_fs(disk);
    run->clock =
        (struct clock){.ctx = run, .now_ns = one, .wall_unix_ms = one, .thread_cpu_ns = one};
    waker_init(&run->waker);
    mailbox_init(&run->done, &run->waker);
    enum err err = log_embedded_open(
        &(struct log_embedded_options){
            .fs = &run->fs, .clock = &run->clock, .journal_segment_bytes = 64 << 10},
        &run->log, &report, &info);
    CHECK(err == ERR_OK || info.text[0] != 0);
    run->loop_count = err == ERR_OK ? log_loops(run->log, run->loops) : 0;
    return err;
}

static void put_file(const struct fs *fs, const char *path, const uint8_t *bytes, size_t size)
{
    struct fs_file file = {-1};
    CHECK(fs_mkdir(fs, "log", NULL) == ERR_OK && fs_mkdir(fs, "log/journal", NULL) == ERR_OK);
    CHECK(fs_open(fs, path, FS_O_READ | FS_O_WRITE | FS_O_CREATE, &file, NULL) == ERR_OK);
    CHECK(fs_write(fs, file, bytes, (ptrdiff_t)size, 0, NULL) == ERR_OK);
    CHECK(fs_sync(fs, file, NULL) == ERR_OK);
    fs_close(fs, file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < JOURNAL_SECTOR || size > SEGMENT_MAX) {
        return 0;
    }
    struct run run = {0};
    char path[JOURNAL_PATH_MAX];
    struct disk *disk = disk_new(&(struct disk_options){.seed = 1});
    struct fs fs = disk_fs(disk);
    uint8_t *bytes = mem_new((ptrdiff_t)size, 1);
    memcpy(bytes, data, size);
    mend(bytes, (int64_t)size);
    journal_path(path, 1);
    put_file(&fs, path, bytes, size);
    mem_free(bytes);
    if (open_run(&run, disk) == ERR_OK) {
        int64_t sum = look(&run);
        log_close(run.log);
        CHECK(open_run(&run, disk) == ERR_OK && look(&run) == sum);
        log_close(run.log);
    }
    disk_free(disk);
    return 0;
}
