// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "log/record_walk.h"
#include "node/runtime_priv.h"

/* Tables that lookups read: a file once, at start; a table stream up to its end before partitions are opened, then as it
 * grows. A new snapshot goes to every lane by message, at most one a TABLES_NS. */

enum { TABLES_NS = 1000000000 };

struct runtime_table {
    int32_t stage, index; /* lookups[index] of the stage */
    const struct lookup_spec *spec;
    struct lookup_builder *builder;
    const struct stage_stream *stream; /* NULL: a file */
    int64_t *position;                 /* [shard_count]; -1: where the shard begins */
    int64_t left_out;                  /* rows that do not fit */
    bool changed;
    int64_t told_ns;
    struct lane_command *commands;      /* [lane_count], each with a reference while it is busy */
    struct lane_command shadow_command; /* the same for the shadow lane */
    bool shadow_busy, shadow_missed;
    bool *busy;
};

static void count_tables(struct node_runtime *rt)
{
    int32_t count = 0;
    for (int32_t i = 0; i < rt->stage_count; i++) {
        count += rt->stages[i]->plan->lookup_count;
    }
    rt->tables = MEM_NEW_ARRAY(struct runtime_table, count);
    for (int32_t i = 0; i < rt->stage_count; i++) {
        struct stage *stage = rt->stages[i];
        int32_t lookups = stage->plan->lookup_count;
        stage->lookup_tables = ARENA_NEW_ARRAY(&rt->arena, struct lookup_table *, lookups + 1);
        for (int32_t k = 0; k < lookups; k++) {
            const struct lookup_spec *spec = &stage->plan->lookups[k];
            struct runtime_table *table = &rt->tables[rt->table_count++];
            *table = (struct runtime_table){
                .stage = i, .index = k, .spec = spec, .builder = lookup_builder_new()};
            table->commands = MEM_NEW_ARRAY(struct lane_command, rt->lane_count);
            table->busy = MEM_NEW_ARRAY(bool, rt->lane_count);
            if (spec->stream != NULL) {
                table->stream = node_runtime_stream(rt, spec->stream->name);
                CHECK(table->stream != NULL); /* configured streams were created */
                table->position = MEM_NEW_ARRAY(int64_t, table->stream->info.config.shard_count);
            }
        }
    }
}

static enum err read_file(struct node_runtime *rt, struct runtime_table *table,
                          struct err_info *info)
{
    struct str name = table->spec->file;
    if (rt->options.fs == NULL) {
        return err_set(info, ERR_UNSUPPORTED, "there are no files here to read table %.*s from",
                       STR_ARG(name));
    }
    const char *path = arena_dup(&rt->arena, name.ptr, name.len);
    struct fs_file file;
    int64_t size = 0;
    ptrdiff_t got = 0;
    enum err err = fs_open(rt->options.fs, path, FS_O_READ, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    err = fs_size(rt->options.fs, file, &size, info);
    if (err == ERR_OK && size > LOOKUP_TEXT_MAX) {
        err = err_set(info, ERR_LIMIT, "table %.*s has %lld bytes, more than %d", STR_ARG(name),
                      (long long)size, LOOKUP_TEXT_MAX);
    }
    char *text = err == ERR_OK ? mem_new((ptrdiff_t)size + LOOKUP_PADDING, 1) : NULL;
    if (err == ERR_OK) {
        err = fs_read(rt->options.fs, file, text, (ptrdiff_t)size, 0, &got, info);
    }
    if (err == ERR_OK) {
        err = lookup_builder_add_text(table->builder, name, table->spec->format,
                                      table->spec->key_field, (struct str){text, got}, info);
    }
    mem_free(text);
    fs_close(rt->options.fs, file);
    return err;
}

static void read_shard(struct node_runtime *rt, const struct runtime_table *table)
{
    rt->op.u.read = (struct log_read_op){
        .reader = rt->reader,
        .shard = stage_shard(table->stream, (uint32_t)rt->sub),
        .offset = table->position[rt->sub],
        .buf = rt->buf,
        .cap = RUNTIME_BUF_BYTES,
    };
    runtime_submit(rt, LOG_OP_READ);
}

/* The next shard of any table stream that has something new; false: there is none. */
static bool read_next(struct node_runtime *rt)
{
    for (rt->step = 0; rt->step < rt->table_count; rt->step++) {
        struct runtime_table *table = &rt->tables[rt->step];
        int32_t shards = table->stream != NULL ? table->stream->info.config.shard_count : 0;
        for (rt->sub = 0; rt->sub < shards; rt->sub++) {
            struct shard_id shard = stage_shard(table->stream, (uint32_t)rt->sub);
            if (table->position[rt->sub] < log_end_offset(rt->options.log, shard)) {
                read_shard(rt, table);
                return true;
            }
        }
    }
    return false;
}

static void publish_first(struct node_runtime *rt)
{
    for (int32_t i = 0; i < rt->table_count; i++) {
        struct runtime_table *table = &rt->tables[i];
        rt->stages[table->stage]->lookup_tables[table->index] = lookup_table_new(table->builder);
        table->changed = false;
        table->told_ns = rt->now_ns;
    }
}

static void follow_streams(struct node_runtime *rt, struct err_info *info)
{
    for (int32_t i = 0; i < rt->table_count; i++) {
        const struct stage_stream *stream = rt->tables[i].stream;
        int32_t shards = stream != NULL ? stream->info.config.shard_count : 0;
        for (int32_t k = 0; k < shards && info->code == ERR_OK; k++) {
            info->code = log_watch(rt->options.log, stage_shard(stream, (uint32_t)k), &rt->waker);
        }
    }
}

static void first_read_done(struct node_runtime *rt)
{
    publish_first(rt);
    struct err_info info = {0};
    follow_streams(rt, &info);
    if (info.code != ERR_OK) {
        IGNORE_RESULT(err_set(&info, info.code, "a table stream cannot be watched")); /* told */
        runtime_fail(rt, &info);
        return;
    }
    runtime_enter(rt, RUNTIME_MAPS);
}

void tables_begin(struct node_runtime *rt)
{
    struct err_info info = {0};
    count_tables(rt);
    for (int32_t i = 0; i < rt->table_count; i++) {
        if (rt->tables[i].stream == NULL && read_file(rt, &rt->tables[i], &info) != ERR_OK) {
            runtime_fail(rt, &info);
            return;
        }
    }
    if (!read_next(rt)) {
        first_read_done(rt);
    }
}

/* A row that no table can hold: its key has none from here on, as the one it replaces does not count any more. One record must
 * not stop the table, less so every later start. */
static void leave_out(struct node_runtime *rt, struct runtime_table *table,
                      const struct record *record, const struct err_info *why)
{
    struct err_info unused; /* a key that is too long was never there */
    IGNORE_RESULT(lookup_builder_put(table->builder, record->key, (struct str){NULL, 0}, &unused));
    table->left_out++;
    atomic_fetch_add_explicit(&rt->rows_left_out, 1, memory_order_relaxed);
    IGNORE_RESULT(err_set(&rt->left_out, ERR_LIMIT,
                          "table stream %s: %lld rows left out, the last is %d/%lld: %s",
                          table->stream->info.config.name, (long long)table->left_out, rt->sub,
                          (long long)record->offset, why->text)); /* told */
}

/* Rows of the batches that were read. CORRUPT. */
static enum err take_rows(struct node_runtime *rt, struct runtime_table *table, ptrdiff_t bytes,
                          struct err_info *info)
{
    struct record_walk walk = record_walk_of(&rt->records, rt->buf, bytes);
    struct record record;
    enum err err = ERR_OK;
    while (err == ERR_OK && (err = record_walk_next(&walk, &record, info)) == ERR_OK) {
        bool behind = record.offset < table->position[rt->sub];
        if (!behind && record.key.ptr != NULL) {
            err = lookup_builder_put(table->builder, record.key, record.value, info);
            if (err == ERR_LIMIT) {
                leave_out(rt, table, &record, info);
                err = ERR_OK;
            }
            table->changed = true;
        }
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

void tables_done(struct node_runtime *rt)
{
    struct log_op *op = &rt->op;
    struct runtime_table *table = &rt->tables[rt->step];
    struct err_info info = op->info;
    enum err err = op->err;
    int64_t *position = &table->position[rt->sub];
    if (err == ERR_OFFSET_RANGE && op->u.read.ret_start_offset > *position) {
        *position = op->u.read.ret_start_offset; /* what was trimmed is not in the table any more */
        err = ERR_OK;
    } else if (err == ERR_OK) {
        err = take_rows(rt, table, op->u.read.ret_bytes, &info);
        int64_t next = op->u.read.ret_next_offset;
        *position = next > *position ? next : log_end_offset(rt->options.log, op->u.read.shard);
    }
    if (err != ERR_OK) {
        if (node_runtime_state(rt) == RUNTIME_LOOKUPS) {
            info.code = err;
            runtime_fail(rt, &info);
        } else {
            *position = INT64_MAX; /* the table stays as it is; the problem says why */
            rt->problem = info;
        }
        return;
    }
    if (node_runtime_state(rt) == RUNTIME_LOOKUPS && !read_next(rt)) {
        first_read_done(rt);
    }
}

static void send_table(struct runtime_table *table, struct lookup_table *snapshot,
                       struct lane_command *command, struct mailbox *reply)
{
    *command = (struct lane_command){
        .kind = LANE_TABLE,
        .reply = reply,
        .u.table = {.stage = table->stage,
                    .index = table->index,
                    .table = lookup_table_ref(snapshot)},
    };
}

/* The shadow lane may be long in taking one: nobody waits for it, it is told the next one when it is ready. */
static void tell_shadows(struct node_runtime *rt, struct runtime_table *table,
                         struct lookup_table *snapshot)
{
    if (rt->shadow_lane == NULL) {
        return;
    }
    table->shadow_missed = table->shadow_busy;
    if (!table->shadow_busy) {
        table->shadow_busy = true;
        send_table(table, snapshot, &table->shadow_command, &rt->replies);
        shadow_lane_send_table(rt->shadow_lane, &table->shadow_command);
    }
}

static void tell_lanes(struct node_runtime *rt, struct runtime_table *table)
{
    for (int32_t i = 0; i < rt->lane_count; i++) {
        if (table->busy[i]) {
            return; /* a lane has not taken the last one yet */
        }
    }
    struct lookup_table *snapshot = lookup_table_new(table->builder);
    for (int32_t i = 0; i < rt->lane_count; i++) {
        table->busy[i] = true;
        send_table(table, snapshot, &table->commands[i], &rt->replies);
        lane_send(rt->lanes[i], &table->commands[i]);
    }
    tell_shadows(rt, table, snapshot);
    lookup_table_unref(snapshot);
    table->changed = false;
    table->told_ns = rt->now_ns;
}

int64_t tables_follow(struct node_runtime *rt)
{
    if (rt->table_count == 0) {
        return CLOCK_NEVER;
    }
    if (!rt->op_busy && rt->retry_ns == CLOCK_NEVER) {
        IGNORE_RESULT(read_next(rt)); /* its completion wakes us */
    }
    int64_t next = CLOCK_NEVER;
    for (int32_t i = 0; i < rt->table_count; i++) {
        struct runtime_table *table = &rt->tables[i];
        if (!table->changed) {
            continue;
        }
        if (rt->now_ns - table->told_ns >= TABLES_NS) {
            tell_lanes(rt, table);
        } else if (table->told_ns + TABLES_NS < next) {
            next = table->told_ns + TABLES_NS;
        }
    }
    return next;
}

void tables_reply(struct node_runtime *rt, const struct lane_command *command)
{
    for (int32_t i = 0; i < rt->table_count; i++) {
        struct runtime_table *table = &rt->tables[i];
        if (&table->shadow_command == command) {
            table->shadow_busy = false;
            table->changed = table->changed || table->shadow_missed;
        }
        for (int32_t k = 0; k < rt->lane_count; k++) {
            if (&rt->tables[i].commands[k] == command) {
                rt->tables[i].busy[k] = false;
            }
        }
    }
}

void tables_free(struct node_runtime *rt)
{
    for (int32_t i = 0; i < rt->table_count; i++) {
        struct runtime_table *table = &rt->tables[i];
        int32_t shards = table->stream != NULL ? table->stream->info.config.shard_count : 0;
        for (int32_t k = 0; k < shards; k++) {
            log_unwatch(rt->options.log, stage_shard(table->stream, (uint32_t)k), &rt->waker);
        }
        struct lookup_table *first = rt->stages[table->stage]->lookup_tables[table->index];
        if (first != NULL) {
            lookup_table_unref(first);
        }
        lookup_builder_free(table->builder);
        mem_free(table->position);
        mem_free(table->commands);
        mem_free(table->busy);
    }
    mem_free(rt->tables);
}
