// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/control_priv.h"
#include "log/memory.h"

/* A body of POST .../records: the first byte chooses format, key and how time is read. It is refused with a reason, or it
 * becomes batches that any reader can read, with as many records as are said to be in them. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHARDS = 3, SCRATCH_MAX = 256 << 20 };

static int64_t fixed(void *ctx)
{
    (void)ctx;
    return 1700000000000;
}

static struct control *control_for_parsing(void)
{
    static struct clock clock = {.now_ns = fixed, .wall_unix_ms = fixed, .thread_cpu_ns = fixed};
    struct control *control = MEM_NEW(struct control);
    control->clock = &clock;
    control->log = log_memory_new(&(struct log_memory_options){.clock = &clock, .seed = 1});
    control->json = json_reader_new();
    control->builders = MEM_NEW_ARRAY(struct record_builder, SHARDS);
    for (int i = 0; i < SHARDS; i++) {
        record_builder_init(&control->builders[i], RECORD_CODEC_NONE);
    }
    rng_init(&control->rng, 1);
    arena_init(&control->scratch, SCRATCH_MAX);
    return control;
}

static int64_t count_records(const struct log_batch *batch)
{
    static struct record_reader reader;
    static bool ready;
    struct record_batch_header header;
    ptrdiff_t total = 0;
    int64_t count = 0;
    struct record record;
    if (!ready) {
        record_reader_init(&reader);
        ready = true;
    }
    CHECK(record_batch_check_new(batch->bytes, batch->len, &header, NULL) == ERR_OK);
    CHECK(record_batch_parse(batch->bytes, batch->len, &header, &total, NULL) == ERR_OK);
    CHECK(record_reader_begin(&reader, batch->bytes, total, NULL) == ERR_OK);
    while (record_reader_next(&reader, &record, NULL) == ERR_OK) {
        count++;
    }
    return count;
}

static void check_batches(const struct ingest_job *ingest)
{
    int64_t count = 0;
    for (int32_t i = 0; i < ingest->batch_count; i++) {
        CHECK(ingest->batches[i].shard.v < SHARDS);
        count += count_records(&ingest->batches[i]);
    }
    CHECK(count == ingest->records && ingest->records > 0);
    CHECK(ingest->records + ingest->rejected == ingest->keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct control *control;
    if (control == NULL) {
        control = control_for_parsing();
    }
    if (size < 1) {
        return 0;
    }
    struct arena arena;
    struct stream_spec spec = {.max_future_ms = (data[0] & 8) != 0 ? 3600000 : INT64_MAX,
                               .time_ingest_field = (data[0] & 16) != 0 ? STR("ts") : STR("")};
    struct ingest_job ingest = {.info = {.config = {.shard_count = SHARDS}}, .spec = &spec};
    struct control_request request = {.arena = &arena};
    struct err_info info = {0};
    arena_init(&arena, SCRATCH_MAX);
    char *body = arena_new(&arena, (ptrdiff_t)size - 1 + JSON_PADDING, 1);
    memcpy(body, data + 1, size - 1);
    request.body = (struct str){body, (ptrdiff_t)size - 1};
    control_args_init(&request.args);
    request.args.format = (data[0] & 3) % (INGEST_RAW + 1);
    memcpy(request.args.key_field, "u", (data[0] & 4) != 0 ? 1 : 0);
    if (ingest_parse(control, &request, &ingest, &info) == ERR_OK) {
        check_batches(&ingest);
    } else {
        CHECK(info.text[0] != 0);
    }
    arena_release(&arena);
    return 0;
}
