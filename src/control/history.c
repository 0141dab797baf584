// SPDX-License-Identifier: Apache-2.0
#include "control/history.h"

#include <jansson.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/record_batch.h"
#include "log/record_walk.h"
#include "pipeline/time_text.h"

enum { SQL_MAX = 4096, PATH_MAX_BYTES = 4096, TABLES_MAX = 16, COLUMNS_MAX = 48 };
#define FILE_NAME "history.db"

/* Clocks differ by a little. What is stamped later than so much after the taker's now was stamped by one that was wrong. */
#define AHEAD_MS (5 * 60 * 1000LL)

/* What is kept of each entity. */
struct kept {
    const struct entity *entity;
    const char *key;     /* columns that identify a row: a later one takes its place */
    const char *seconds; /* how long, by the column `time`; NULL: by number alone */
    int64_t rows;        /* at most */
    bool rolled;         /* the five-minute means of another row's entity */
};

static const struct kept tables[] = {
    {&sample_entity, "\"kind\",\"subject\",\"time\"", "21600", 4 << 20, false},
    {&sample_entity, "\"kind\",\"subject\",\"time\"", "2419200", 4 << 20, true},
    {&decision_entity, "\"id\"", NULL, 100000, false},
    {&option_entity, "\"decision\",\"option\"", NULL, 1000000, false},
    {&step_entity, "\"decision\",\"step\"", NULL, 1000000, false},
    {&shadow_entity, "\"id\"", NULL, 100000, false},
    {&figure_entity, "\"shadow\",\"name\"", NULL, 1000000, false},
};

struct table {
    sqlite3_stmt *insert;
};

struct history {
    struct history_options options;
    char path[PATH_MAX_BYTES];
    sqlite3 *db;
    struct table tables[COUNT_OF(tables)];
    struct waker waker;
    struct mailbox inbox;
    struct record_reader reader;
    int64_t unreadable;         /* records and rows passed over */
    char latest[TIME_TEXT_MAX]; /* of the take under way: no row may be stamped later */
    int64_t made;               /* how often the file was made anew since the start */
};

/* --- SQLite --- */

static enum err db_fail(const struct history *history, const char *what, struct err_info *info)
{
    int code = history->db != NULL ? sqlite3_errcode(history->db) : SQLITE_CANTOPEN;
    bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return err_set(info,
                   damaged               ? ERR_CORRUPT
                   : code == SQLITE_FULL ? ERR_NO_SPACE
                                         : ERR_IO,
                   FILE_NAME ": %s: %.150s", what,
                   history->db != NULL ? sqlite3_errmsg(history->db) : "cannot be opened");
}

static enum err run(struct history *history, const char *sql, struct err_info *info)
{
    return sqlite3_exec(history->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? ERR_OK
               : db_fail(history, "a statement failed", info);
}

static enum err prepare(struct history *history, const char *sql, sqlite3_stmt **ret,
                        struct err_info *info)
{
    return sqlite3_prepare_v2(history->db, sql, -1, ret, NULL) == SQLITE_OK
               ? ERR_OK
               : db_fail(history, "a statement is not understood", info);
}

static void bind_text(sqlite3_stmt *stmt, int index, struct str text)
{
    CHECK(sqlite3_bind_text(stmt, index, text.ptr, (int)text.len, SQLITE_TRANSIENT) == SQLITE_OK);
}

/* --- tables --- */

static const char *sql_type(const struct field *field)
{
    return field->type == FIELD_TEXT ? "TEXT" : field->type == FIELD_F64 ? "REAL" : "INTEGER";
}

static const char *suffix(const struct kept *kept)
{
    return kept->rolled ? "_rolled" : "";
}

/* The columns of a table, each by `format`, which has one %s for the name and may have one for its type. */
static int add_columns(char *sql, int used, const struct entity *entity, bool types)
{
    CHECK(entity->field_count <= COLUMNS_MAX);
    for (int i = 0; i < entity->field_count; i++) {
        const struct field *field = &entity->fields[i];
        used += snprintf(sql + used, (size_t)(SQL_MAX - used), "%s\"%s\"%s%s", i > 0 ? "," : "",
                         field->name, types ? " " : "", types ? sql_type(field) : "");
        CHECK(used < SQL_MAX);
    }
    return used;
}

static void create_sql(const struct kept *kept, char sql[SQL_MAX])
{
    int used = snprintf(sql, SQL_MAX, "CREATE TABLE IF NOT EXISTS \"%s%s\" (", kept->entity->name,
                        suffix(kept));
    used = add_columns(sql, used, kept->entity, true);
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), ", UNIQUE (%s))", kept->key);
    CHECK(used < SQL_MAX);
}

static void insert_sql(const struct kept *kept, char sql[SQL_MAX])
{
    int used = snprintf(sql, SQL_MAX, "INSERT OR REPLACE INTO \"%s%s\" (", kept->entity->name,
                        suffix(kept));
    used = add_columns(sql, used, kept->entity, false);
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), ") VALUES (?1");
    for (int i = 1; i < kept->entity->field_count; i++) {
        used += snprintf(sql + used, (size_t)(SQL_MAX - used), ",?%d", i + 1);
        CHECK(used < SQL_MAX);
    }
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), ")");
    CHECK(used < SQL_MAX);
}

/* Of all tables as they are made: another one is another version. */
static int32_t schema_number(void)
{
    char sql[SQL_MAX];
    uint64_t number = 1;
    for (ptrdiff_t i = 0; i < COUNT_OF(tables); i++) {
        create_sql(&tables[i], sql);
        number = number * 31 + hash64(sql, (ptrdiff_t)strlen(sql));
    }
    return (int32_t)(number & 0x7fffffff);
}

/* `*ret_made`: the tables are there. */
static enum err schema_check(struct history *history, bool *ret_made, struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = prepare(history, "PRAGMA user_version", &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    int code = sqlite3_step(stmt);
    int32_t found = code == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : -1;
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* tells again what the step told */
    if (code != SQLITE_ROW) {
        return db_fail(history, "its version cannot be read", info);
    }
    if (found != 0 && found != schema_number()) {
        return err_set(info, ERR_CORRUPT, FILE_NAME " has another version's tables");
    }
    *ret_made = found != 0;
    return ERR_OK;
}

/* Writes nothing where they are: a write at each start would be two syncs that the start waits for. */
static enum err make_tables(struct history *history, bool made, struct err_info *info)
{
    char sql[SQL_MAX];
    enum err err = run(
        history, "CREATE TABLE IF NOT EXISTS taken (stream TEXT PRIMARY KEY, next INTEGER)", info);
    for (ptrdiff_t i = 0; i < COUNT_OF(tables) && err == ERR_OK; i++) {
        create_sql(&tables[i], sql);
        err = run(history, sql, info);
        insert_sql(&tables[i], sql);
        err = err == ERR_OK ? prepare(history, sql, &history->tables[i].insert, info) : err;
    }
    IGNORE_RESULT(
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", schema_number())); /* fits */
    return err == ERR_OK && !made ? run(history, sql, info) : err;
}

static void db_close(struct history *history)
{
    for (ptrdiff_t i = 0; i < COUNT_OF(tables); i++) {
        IGNORE_RESULT(sqlite3_finalize(history->tables[i].insert)); /* NULL is fine */
        history->tables[i].insert = NULL;
    }
    IGNORE_RESULT(sqlite3_close_v2(history->db)); /* nothing of it is used any more */
    history->db = NULL;
}

/* All of it is there, or nothing is open: a file without its statements is no file to work on. */
static enum err db_open(struct history *history, struct err_info *info)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    bool made = false;
    enum err err = sqlite3_open_v2(history->path, &history->db, flags, NULL) == SQLITE_OK
                       ? run(history, "PRAGMA journal_mode = WAL", info)
                       : db_fail(history, "open", info);
    err = err == ERR_OK ? run(history, "PRAGMA synchronous = NORMAL", info) : err;
    err = err == ERR_OK ? schema_check(history, &made, info) : err;
    err = err == ERR_OK ? make_tables(history, made, info) : err;
    if (err != ERR_OK) {
        db_close(history);
    }
    return err;
}

/* V2. */
static enum err db_make_anew(struct history *history, struct err_info *info)
{
    static const char *const files[] = {FILE_NAME, FILE_NAME "-wal", FILE_NAME "-shm"};
    db_close(history);
    history->made++;
    for (ptrdiff_t i = 0; i < COUNT_OF(files) && history->options.fs != NULL; i++) {
        IGNORE_RESULT(fs_unlink(history->options.fs, files[i], NULL)); /* it may not be there */
    }
    return db_open(history, info);
}

static enum err db_open_or_make(struct history *history, struct err_info *info)
{
    enum err err = db_open(history, info);
    return err == ERR_CORRUPT ? db_make_anew(history, info) : err;
}

/* --- taking in --- */

static const struct kept *kept_of(const char *name, bool rolled)
{
    for (ptrdiff_t i = 0; name != NULL && i < COUNT_OF(tables); i++) {
        if (strcmp(tables[i].entity->name, name) == 0 && tables[i].rolled == rolled) {
            return &tables[i];
        }
    }
    return NULL;
}

static int column_of(const struct entity *entity, const char *name)
{
    for (int i = 0; name != NULL && i < entity->field_count; i++) {
        if (strcmp(entity->fields[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static void bind_value(sqlite3_stmt *stmt, int index, const json_t *value)
{
    int code = SQLITE_OK;
    if (json_is_string(value)) {
        bind_text(stmt, index,
                  (struct str){json_string_value(value), (ptrdiff_t)json_string_length(value)});
    } else if (json_is_integer(value)) {
        code = sqlite3_bind_int64(stmt, index, json_integer_value(value));
    } else if (json_is_real(value)) {
        code = sqlite3_bind_double(stmt, index, json_real_value(value));
    } else if (json_is_boolean(value)) {
        code = sqlite3_bind_int64(stmt, index, json_is_true(value));
    } else {
        code = sqlite3_bind_null(stmt, index);
    }
    CHECK(code == SQLITE_OK);
}

/* V4. What is no text sorts behind every time. */
static bool is_of_now(const struct history *history, const struct kept *kept, const json_t *fields,
                      const json_t *row)
{
    size_t index = 0;
    const json_t *field = NULL;
    json_array_foreach(fields, index, field)
    {
        const char *name = json_string_value(field);
        if (name != NULL && strcmp(name, "time") == 0) {
            const char *time = json_string_value(json_array_get(row, index));
            return kept->seconds == NULL || (time != NULL && strcmp(time, history->latest) <= 0);
        }
    }
    return true;
}

static enum err take_row(struct history *history, const struct kept *kept, const json_t *fields,
                         const json_t *row, struct err_info *info)
{
    sqlite3_stmt *stmt = history->tables[kept - tables].insert;
    if (!is_of_now(history, kept, fields, row)) {
        history->unreadable++;
        return ERR_OK;
    }
    IGNORE_RESULT(sqlite3_reset(stmt)); /* tells again what the last step told */
    IGNORE_RESULT(sqlite3_clear_bindings(stmt));
    for (size_t i = 0; i < json_array_size(row); i++) {
        int column = column_of(kept->entity, json_string_value(json_array_get(fields, i)));
        if (column >= 0) {
            bind_value(stmt, column + 1, json_array_get(row, i));
        }
    }
    return sqlite3_step(stmt) == SQLITE_DONE ? ERR_OK : db_fail(history, "a row", info);
}

static enum err take_record(struct history *history, struct str value, struct err_info *info)
{
    json_t *root = json_loadb(value.ptr, (size_t)value.len, JSON_REJECT_DUPLICATES, NULL);
    const struct kept *kept = kept_of(json_string_value(json_object_get(root, "entity")), false);
    const json_t *fields = json_object_get(root, "fields");
    const json_t *rows = json_object_get(root, "rows");
    enum err err = ERR_OK;
    size_t index = 0;
    const json_t *row = NULL;
    if (kept == NULL) { /* of another version, or damaged before it was written */
        history->unreadable++;
        json_decref(root);
        return ERR_OK;
    }
    for (index = 0; index < json_array_size(rows) && err == ERR_OK; index++) {
        row = json_array_get(rows, index);
        err = take_row(history, kept, fields, row, info);
    }
    json_decref(root);
    return err;
}

static enum err take_batches(struct history *history, const struct history_op *op,
                             struct err_info *info)
{
    struct record_walk walk = record_walk_of(&history->reader, op->bytes, op->len);
    struct record record;
    enum err err = ERR_OK;
    while (err == ERR_OK && (err = record_walk_next(&walk, &record, info)) == ERR_OK) {
        err = record.offset >= op->from_offset ? take_record(history, record.value, info) : ERR_OK;
        if (err != ERR_OK) {
            return err; /* the file's: CORRUPT is another thing than of a batch */
        }
    }
    if (err == ERR_CORRUPT) {
        return err_set(info, ERR_IO, "a batch of %s is damaged", op->stream);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err put_next(struct history *history, const char *stream, int64_t next,
                         struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = prepare(history, "INSERT OR REPLACE INTO taken VALUES (?1, ?2)", &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    bind_text(stmt, 1, str_of(stream));
    CHECK(sqlite3_bind_int64(stmt, 2, next) == SQLITE_OK);
    err = sqlite3_step(stmt) == SQLITE_DONE ? ERR_OK : db_fail(history, "taken", info);
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* as above */
    return err;
}

static enum err get_next(struct history *history, const char *stream, int64_t *ret_next,
                         struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = prepare(history, "SELECT next FROM taken WHERE stream = ?1", &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    bind_text(stmt, 1, str_of(stream));
    int code = sqlite3_step(stmt);
    *ret_next = code == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    err = code == SQLITE_ROW || code == SQLITE_DONE ? ERR_OK : db_fail(history, "taken", info);
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* as above */
    return err;
}

/* --- rolling up and forgetting (V3) --- */

struct newest {
    char time[TIME_TEXT_MAX]; /* not later than `latest`; "": none */
};

static enum err run_with(struct history *history, const char *sql, const char *first,
                         const char *second, struct err_info *info)
{
    sqlite3_stmt *stmt = NULL;
    enum err err = prepare(history, sql, &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    bind_text(stmt, 1, str_of(first));
    if (second != NULL) {
        bind_text(stmt, 2, str_of(second));
    }
    err = sqlite3_step(stmt) == SQLITE_DONE ? ERR_OK : db_fail(history, "a statement failed", info);
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* as above */
    return err;
}

/* V4: rows that a file has from before, stamped later than may be, go if they are the fewer. If they are the more, it is the
 * taker's clock that is behind. */
static enum err drop_ahead(struct history *history, const struct kept *kept, int64_t ahead,
                           int64_t others, struct err_info *info)
{
    char sql[SQL_MAX];
    if (ahead == 0 || ahead >= others) {
        return ERR_OK;
    }
    IGNORE_RESULT(snprintf(sql, sizeof(sql), "DELETE FROM \"%s%s\" WHERE time > ?1",
                           kept->entity->name, suffix(kept))); /* fits */
    return run_with(history, sql, history->latest, NULL, info);
}

static enum err find_newest(struct history *history, const struct kept *kept,
                            struct newest *ret_newest, struct err_info *info)
{
    char sql[SQL_MAX];
    sqlite3_stmt *stmt = NULL;
    IGNORE_RESULT(snprintf(sql, sizeof(sql),
                           "SELECT coalesce(max(CASE WHEN time <= ?1 THEN time END), ''),"
                           "total(time > ?1), total(time <= ?1) FROM \"%s%s\"",
                           kept->entity->name, suffix(kept))); /* fits */
    enum err err = prepare(history, sql, &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    bind_text(stmt, 1, str_of(history->latest));
    int64_t ahead = 0, others = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        IGNORE_RESULT(snprintf(ret_newest->time, sizeof(ret_newest->time), "%s",
                               (const char *)sqlite3_column_text(stmt, 0))); /* no time is longer */
        ahead = sqlite3_column_int64(stmt, 1);
        others = sqlite3_column_int64(stmt, 2);
    } else {
        err = db_fail(history, "its newest row", info);
    }
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* as above */
    return err == ERR_OK ? drop_ahead(history, kept, ahead, others, info) : err;
}

/* ?1, ?2: the newest rolled row and the newest row; the bin that has the latter is under way, that of the
 * former is done: a bin that came again would take a row number each time, and those are what is counted. */
static void roll_sql(const struct kept *kept, char sql[SQL_MAX])
{
    static const char bin[] = "strftime('%Y-%m-%dT%H:%M:%SZ',"
                              "CAST(strftime('%s',time) AS INTEGER)/300*300,'unixepoch')";
    int used = snprintf(sql, SQL_MAX, "INSERT OR REPLACE INTO \"%s_rolled\" (", kept->entity->name);
    used = add_columns(sql, used, kept->entity, false);
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), ") SELECT ");
    for (int i = 0; i < kept->entity->field_count; i++) {
        const struct field *field = &kept->entity->fields[i];
        bool mean = field->type == FIELD_F64 && !str_starts_with(str_of(field->name), STR("lag_"));
        if (strcmp(field->name, "time") == 0) {
            used += snprintf(sql + used, (size_t)(SQL_MAX - used), "%s%s AS bin", i > 0 ? "," : "",
                             bin);
        } else {
            used += snprintf(sql + used, (size_t)(SQL_MAX - used), "%s%s(\"%s\")", i > 0 ? "," : "",
                             mean ? "avg" : "max", field->name);
        }
        CHECK(used < SQL_MAX);
    }
    used += snprintf(sql + used, (size_t)(SQL_MAX - used),
                     " FROM \"%s\" WHERE time >= "
                     "coalesce(strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ',?1,'+300 seconds'),'') AND "
                     "time < strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ',"
                     "CAST(strftime('%%s',?2) AS INTEGER)/300*300,'unixepoch') "
                     "GROUP BY kind, subject, bin",
                     kept->entity->name);
    CHECK(used < SQL_MAX);
}

static enum err forget(struct history *history, const struct kept *kept,
                       const struct newest *newest, struct err_info *info)
{
    char sql[SQL_MAX];
    const char *name = kept->entity->name;
    enum err err = ERR_OK;
    if (kept->seconds != NULL) {
        IGNORE_RESULT(snprintf(sql, sizeof(sql),
                               "DELETE FROM \"%s%s\" WHERE time < "
                               "strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ', ?1, '-%s seconds')",
                               name, suffix(kept), kept->seconds)); /* fits */
        err = run_with(history, sql, newest->time, NULL, info);
    }
    IGNORE_RESULT(
        snprintf(sql, sizeof(sql),
                 "DELETE FROM \"%s%s\" WHERE rowid <= (SELECT max(rowid) FROM \"%s%s\") - "
                 "%lld",
                 name, suffix(kept), name, suffix(kept), (long long)kept->rows)); /* fits */
    return err == ERR_OK ? run(history, sql, info) : err;
}

/* The newest of each table is looked for before anything is rolled: what is rolled now is no newer than its rows. */
static enum err roll_and_forget(struct history *history, struct err_info *info)
{
    char sql[SQL_MAX];
    struct newest newest[COUNT_OF(tables)] = {{""}};
    enum err err = ERR_OK;
    for (ptrdiff_t i = 0; i < COUNT_OF(tables) && err == ERR_OK; i++) {
        err = tables[i].seconds != NULL ? find_newest(history, &tables[i], &newest[i], info) : err;
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(tables) && err == ERR_OK; i++) {
        if (tables[i].rolled) {
            const struct kept *raw = kept_of(tables[i].entity->name, false);
            roll_sql(&tables[i], sql);
            err = run_with(history, sql, newest[i].time, newest[raw - tables].time, info);
        }
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(tables) && err == ERR_OK; i++) {
        err = forget(history, &tables[i], &newest[i], info);
    }
    return err;
}

static enum err take(struct history *history, const struct history_op *op, struct err_info *info)
{
    enum err err = run(history, "BEGIN", info);
    if (err != ERR_OK) {
        return err;
    }
    int32_t len = time_write_rfc3339((op->now_ms + AHEAD_MS) / 1000 * 1000, history->latest);
    history->latest[len] = 0;
    err = take_batches(history, op, info);
    err = err == ERR_OK ? put_next(history, op->stream, op->next_offset, info) : err;
    err = err == ERR_OK ? roll_and_forget(history, info) : err;
    err = err == ERR_OK ? run(history, "COMMIT", info) : err;
    if (err != ERR_OK) {
        IGNORE_RESULT(run(history, "ROLLBACK", NULL)); /* nothing may be open any more */
    }
    return err;
}

/* --- asking --- */

static void ask_sql(const struct history_query *query, char sql[SQL_MAX])
{
    const struct entity *entity = query->entity;
    bool timed = column_of(entity, "time") >= 0;
    int used = snprintf(sql, SQL_MAX, "SELECT ");
    used = add_columns(sql, used, entity, false);
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), " FROM \"%s%s\" WHERE %s", entity->name,
                     query->rolled ? "_rolled" : "", timed ? "time >= ?1" : "?1 = ?1");
    for (int i = 0; i < HISTORY_WHERE_MAX && query->where[i].column != NULL; i++) {
        CHECK(column_of(entity, query->where[i].column) >= 0);
        used += snprintf(sql + used, (size_t)(SQL_MAX - used), " AND \"%s\" = ?%d",
                         query->where[i].column, i + 3);
    }
    used += snprintf(sql + used, (size_t)(SQL_MAX - used), " ORDER BY %s DESC LIMIT ?2",
                     timed ? "time" : "rowid");
    CHECK(used < SQL_MAX);
}

static void read_field(sqlite3_stmt *stmt, int column, const struct field *field, void *row,
                       struct arena *arena)
{
    void *to = (char *)row + field->offset;
    bool known = sqlite3_column_type(stmt, column) != SQLITE_NULL;
    if (field->type == FIELD_TEXT) {
        ptrdiff_t len = sqlite3_column_bytes(stmt, column);
        const unsigned char *text = sqlite3_column_text(stmt, column);
        *(struct str *)to = known && text != NULL ? (struct str){arena_dup(arena, text, len), len}
                                                  : (struct str){NULL, 0};
    } else if (field->type == FIELD_F64) {
        *(double *)to = known ? sqlite3_column_double(stmt, column) : (double)NAN;
    } else if (field->type == FIELD_I64) {
        *(int64_t *)to = known ? sqlite3_column_int64(stmt, column) : FIELD_I64_UNKNOWN;
    } else {
        *(bool *)to = known && sqlite3_column_int64(stmt, column) != 0;
    }
}

/* The newest come first: they are put from the end on. */
static enum err read_rows(struct history *history, struct history_op *op, sqlite3_stmt *stmt,
                          struct err_info *info)
{
    const struct entity *entity = op->query.entity;
    int64_t limit = op->query.limit, count = 0;
    char *rows = arena_new(op->arena, (ptrdiff_t)limit, (ptrdiff_t)entity->row_bytes);
    int code = SQLITE_DONE;
    while (count < limit && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        count++;
        char *row = rows + (size_t)(limit - count) * entity->row_bytes;
        for (int i = 0; i < entity->field_count; i++) {
            read_field(stmt, i, &entity->fields[i], row, op->arena);
        }
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return db_fail(history, "a question", info);
    }
    op->ret_rows = (struct control_rows){.entity = entity,
                                         .rows = rows + (size_t)(limit - count) * entity->row_bytes,
                                         .count = (int32_t)count};
    return ERR_OK;
}

static enum err answer(struct history *history, struct history_op *op, struct err_info *info)
{
    char sql[SQL_MAX];
    char time[TIME_TEXT_MAX];
    sqlite3_stmt *stmt = NULL;
    const struct history_query *query = &op->query;
    CHECK(query->limit >= 1 && query->limit <= HISTORY_ROWS_MAX);
    ask_sql(query, sql);
    enum err err = prepare(history, sql, &stmt, info);
    if (err != ERR_OK) {
        return err;
    }
    int32_t len = time_write_rfc3339(query->since_ms / 1000 * 1000, time);
    bind_text(stmt, 1, (struct str){time, len});
    CHECK(sqlite3_bind_int64(stmt, 2, query->limit) == SQLITE_OK);
    for (int i = 0; i < HISTORY_WHERE_MAX && query->where[i].column != NULL; i++) {
        bind_text(stmt, i + 3, query->where[i].value);
    }
    err = read_rows(history, op, stmt, info);
    IGNORE_RESULT(sqlite3_finalize(stmt)); /* tells again what the steps told */
    return err;
}

/* --- the loop --- */

static enum err act_on(struct history *history, struct history_op *op, struct err_info *info)
{
    switch (op->kind) {
    case HISTORY_OPEN:
        op->made = history->made;
        return get_next(history, op->stream, &op->next_offset, info);
    case HISTORY_TAKE:
        return take(history, op, info);
    case HISTORY_ASK:
        return answer(history, op, info);
    }
    return ERR_OK;
}

static void carry_out(struct history *history, struct history_op *op)
{
    struct err_info info = {.code = ERR_OK};
    enum err err = history->db != NULL ? ERR_OK : db_open_or_make(history, &info);
    if (err == ERR_OK && op->kind == HISTORY_TAKE && op->made != history->made) {
        /* Another's op has met the damage: without what comes before it, this would stay a gap. */
        err = err_set(&info, ERR_CORRUPT, FILE_NAME " was made anew meanwhile");
    } else if (err == ERR_OK) {
        err = act_on(history, op, &info);
        if (err == ERR_CORRUPT) {
            IGNORE_RESULT(db_make_anew(history, NULL)); /* the next op tries again */
        }
    }
    op->err = err;
    op->info = info;
}

int64_t history_step(void *ctx, int64_t now_ns)
{
    struct history *history = ctx;
    struct msg *next = NULL;
    (void)now_ns;
    for (struct msg *msg = mailbox_take_all(&history->inbox); msg != NULL; msg = next) {
        struct history_op *op = CONTAINER_OF(msg, struct history_op, msg);
        next = msg->next;
        carry_out(history, op);
        mailbox_push(op->done, &op->msg);
    }
    return CLOCK_NEVER;
}

enum err history_new(const struct history_options *options, struct history **ret_history,
                     struct err_info *info)
{
    struct history *history = MEM_NEW(struct history);
    history->options = *options;
    waker_init(&history->waker);
    mailbox_init(&history->inbox, &history->waker);
    record_reader_init(&history->reader);
    int len = options->fs == NULL ? snprintf(history->path, sizeof(history->path), ":memory:")
                                  : snprintf(history->path, sizeof(history->path), "%s/" FILE_NAME,
                                             options->folder);
    enum err err = len < PATH_MAX_BYTES
                       ? db_open_or_make(history, info)
                       : err_set(info, ERR_LIMIT, "the data folder's path is too long");
    if (err != ERR_OK) {
        history_free(history);
        return err;
    }
    *ret_history = history;
    return ERR_OK;
}

void history_free(struct history *history)
{
    if (history != NULL) {
        db_close(history);
        record_reader_release(&history->reader);
        mem_free(history);
    }
}

struct waker *history_waker(struct history *history)
{
    return &history->waker;
}

struct mailbox *history_mailbox(struct history *history)
{
    return &history->inbox;
}
