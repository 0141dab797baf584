// SPDX-License-Identifier: Apache-2.0
/* What is remembered of operations: the table, rows, records. */
#include "control/operations.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/names.h"
#include "control/text.h"
#include "pipeline/time_text.h"

static const char *const kinds[] = {OPERATION_KINDS(NAMES_TEXT)};

static const char *const states[] = {OPERATION_STATES(NAMES_TEXT)};

const char *operation_kind_name(enum operation_kind kind)
{
    return NAMES_AT(kinds, kind);
}

const char *operation_state_name(enum operation_state state)
{
    return NAMES_AT(states, state);
}

bool operation_follows(enum operation_state from, enum operation_state to)
{
#define TO(state) (1u << OPERATION_##state)
    static const uint32_t table[OPERATION_STATE_COUNT] = {
        [OPERATION_MEASURING] = TO(CHECKED) | TO(RECORDING),
        [OPERATION_RECORDING] = TO(CHANGING) | TO(ENDING),
        [OPERATION_CHANGING] = TO(ENDING) | TO(UNDOING),
        [OPERATION_UNDOING] = TO(ENDING),
        [OPERATION_ENDING] = TO(DONE) | TO(UNDONE) | TO(NEEDS_OPERATOR),
    };
#undef TO
    return (table[from] & 1u << to) != 0;
}

bool operation_final(const struct operation *op)
{
    return op->state >= OPERATION_CHECKED && !op->unfinished;
}

bool operation_of_node(const struct operation *op)
{
    return op->kind == OPERATION_NODE_ADD || op->kind == OPERATION_NODE_DRAIN;
}

/* --- the table --- */

void operations_init(struct operations *ops)
{
    ops->last_id = 0;
    ops->count = 0;
}

void operations_release(struct operations *ops)
{
    for (int32_t i = 0; i < ops->count; i++) {
        CHECK(ops->all[i]->run == NULL);
        mem_free(ops->all[i]);
    }
    ops->count = 0;
}

static void forget_oldest(struct operations *ops)
{
    for (int32_t i = 0; i < ops->count; i++) {
        if (operation_final(ops->all[i])) {
            mem_free(ops->all[i]);
            memmove(&ops->all[i], &ops->all[i + 1],
                    (size_t)(ops->count - i - 1) * sizeof(struct operation *));
            ops->count--;
            return;
        }
    }
}

void operations_add(struct operations *ops, struct operation *op)
{
    if (ops->count >= OPERATIONS_KEPT_MAX) {
        forget_oldest(ops);
    }
    CHECK(ops->count < (int32_t)COUNT_OF(ops->all) && (op->id == 0 || op->id > ops->last_id));
    op->id = op->id == 0 ? ops->last_id + 1 : op->id;
    ops->last_id = op->id;
    ops->all[ops->count++] = op;
}

struct operation *operations_find(struct operations *ops, int64_t id)
{
    int32_t lo = 0, hi = ops->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (ops->all[mid]->id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < ops->count && ops->all[lo]->id == id ? ops->all[lo] : NULL;
}

struct operation *operations_find_key(struct operations *ops, struct str key)
{
    for (int32_t i = ops->count - 1; key.len > 0 && i >= 0; i--) {
        if (str_is(key, ops->all[i]->key)) {
            return ops->all[i];
        }
    }
    return NULL;
}

int32_t operations_active(const struct operations *ops)
{
    int32_t active = 0;
    for (int32_t i = 0; i < ops->count; i++) {
        active += !operation_final(ops->all[i]);
    }
    return active;
}

static bool in_the_way(const struct operation *a, const struct operation *b)
{
    if (operation_of_node(a) || operation_of_node(b)) {
        return operation_of_node(a) && operation_of_node(b) && a->node == b->node;
    }
    if (a->kind == OPERATION_PIPELINE || b->kind == OPERATION_PIPELINE) {
        return str_equal(a->pipeline, b->pipeline);
    }
    return a->stage == b->stage && a->shard == b->shard && a->group_lo < b->group_hi &&
           b->group_lo < a->group_hi;
}

struct operation *operations_conflict(const struct operations *ops, const struct operation *op)
{
    for (int32_t i = 0; i < ops->count; i++) {
        struct operation *other = ops->all[i];
        if (other != op && !operation_final(other) && in_the_way(other, op)) {
            return other;
        }
    }
    return NULL;
}

/* --- rows --- */

static struct str time_of(int64_t ms, struct arena *arena)
{
    char text[TIME_TEXT_MAX];
    if (ms == 0) {
        return STR("");
    }
    int32_t len = time_write_rfc3339(ms, text);
    return (struct str){arena_dup(arena, text, len), len};
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

static double progress(const struct operation *op)
{
    if (operation_final(op)) {
        return 1;
    }
    return op->steps > 0 ? (double)op->steps_done / op->steps : 0;
}

struct operation_row operation_row_of(const struct operation *op, struct arena *arena)
{
    bool ended = op->ended_ms != 0;
    bool partition = op->kind <= OPERATION_MIGRATE;
    const char *hash = arena_printf(arena, "%016" PRIx64, op->request_hash);
    return (struct operation_row){
        .id = op->id,
        .kind = str_of(operation_kind_name(op->kind)),
        .subject = str_of(op->subject),
        .target = str_of(op->target),
        .state = str_of(operation_state_name(op->state)),
        .final = operation_final(op),
        .dry_run = op->dry_run,
        .progress_ratio = progress(op),
        .partitions = op->partitions,
        .partitions_done = op->partitions_done,
        .border = op->kind == OPERATION_SPLIT && op->border != 0 ? op->border : FIELD_I64_UNKNOWN,
        .upper_share_ratio = op->kind == OPERATION_SPLIT ? op->upper_share : (double)NAN,
        .gap_records = op->kind == OPERATION_MERGE ? op->gap_records : FIELD_I64_UNKNOWN,
        .state_bytes = op->state_bytes,
        .expected_pause_seconds = seconds(op->expected_pause_ns),
        .pause_seconds = ended && !op->dry_run ? seconds(op->pause_ns) : (double)NAN,
        .moved_bytes = op->moved_bytes,
        .restored = op->restored,
        .map_version = partition || op->map_version != 0 ? op->map_version : FIELD_I64_UNKNOWN,
        .began = time_of(op->began_ms, arena),
        .ended = time_of(op->ended_ms, arena),
        .result = ended ? str_of(err_name(op->err)) : STR(""),
        .reason = str_of(op->reason),
        .who = str_of(op->who),
        .idempotency_key = str_of(op->key),
        .request_hash = {hash, 16},
        .plan = op->plan != 0 ? op->plan : FIELD_I64_UNKNOWN,
        .cost = op->plan != 0 ? op->cost : (double)NAN,
        .cost_nothing = op->plan != 0 ? op->cost_nothing : (double)NAN,
    };
}

/* --- records: the row, and beside it what an unfinished one concerns --- */

struct str operation_write(const struct operation *op, struct arena *arena)
{
    struct text text;
    struct operation_row row = operation_row_of(op, arena);
    row.state = str_of(op->state == OPERATION_ENDING ? operation_state_name(op->outcome)
                                                     : operation_state_name(op->state));
    text_init(&text, arena);
    text_add(&text, STR("{\"operation\":"));
    text_json_row(&text, &operation_entity, &row);
    text_printf(&text,
                ",\"stage\":%d,\"shard\":%u,\"group_lo\":%u,\"group_hi\":%u,\"border\":%u,"
                "\"node\":%d,\"lane\":%d,\"began_ms\":%" PRId64 ",\"ended_ms\":%" PRId64
                ",\"pause_ns\":%" PRId64 ",\"expected_pause_ns\":%" PRId64 "}",
                op->stage, op->shard, op->group_lo, op->group_hi, op->border, op->node, op->lane,
                op->began_ms, op->ended_ms, op->pause_ns, op->expected_pause_ns);
    return text_str(&text);
}

/* What a reader has met: the first thing that is not as it must be. */
struct reading {
    const json_t *root, *row;
    const char *wrong;
};

static int64_t take_i64(struct reading *r, const json_t *from, const char *name, int64_t min,
                        int64_t max)
{
    const json_t *value = json_object_get(from, name);
    int64_t number = json_is_integer(value) ? json_integer_value(value) : min;
    if (!json_is_null(value) && (!json_is_integer(value) || number < min || number > max)) {
        r->wrong = r->wrong == NULL ? name : r->wrong;
        return min;
    }
    return number;
}

static void take_text(struct reading *r, const char *name, char *buf, size_t cap)
{
    const json_t *value = json_object_get(r->row, name);
    if (!json_is_string(value) || json_string_length(value) >= cap) {
        r->wrong = r->wrong == NULL ? name : r->wrong;
        return;
    }
    memcpy(buf, json_string_value(value), json_string_length(value) + 1);
}

static int32_t take_word(struct reading *r, const char *name, const char *const *words,
                         int32_t count)
{
    const char *text = json_string_value(json_object_get(r->row, name));
    for (int32_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    r->wrong = r->wrong == NULL ? name : r->wrong;
    return 0;
}

static enum err take_result(struct reading *r)
{
    const char *text = json_string_value(json_object_get(r->row, "result"));
    for (int32_t i = 0; text != NULL && text[0] != 0 && i < ERR_COUNT; i++) {
        if (strcmp(text, err_name((enum err)i)) == 0) {
            return (enum err)i;
        }
    }
    if (text == NULL || text[0] != 0) {
        r->wrong = r->wrong == NULL ? "result" : r->wrong;
    }
    return ERR_OK;
}

static void take_numbers(struct reading *r, struct operation *op)
{
    const json_t *row = r->row, *root = r->root;
    double share = json_number_value(json_object_get(row, "upper_share_ratio"));
    op->id = take_i64(r, row, "id", 1, INT64_MAX);
    op->partitions = (int32_t)take_i64(r, row, "partitions", 0, INT32_MAX);
    op->partitions_done = (int32_t)take_i64(r, row, "partitions_done", 0, INT32_MAX);
    op->gap_records = take_i64(r, row, "gap_records", 0, INT64_MAX);
    op->state_bytes = take_i64(r, row, "state_bytes", 0, INT64_MAX);
    op->moved_bytes = take_i64(r, row, "moved_bytes", 0, INT64_MAX);
    op->restored = (int32_t)take_i64(r, row, "restored", 0, INT32_MAX);
    op->map_version = take_i64(r, row, "map_version", 0, INT64_MAX);
    op->upper_share = share >= 0 && share <= 1 ? share : 0;
    op->stage = (int32_t)take_i64(r, root, "stage", -1, INT32_MAX);
    op->shard = (uint32_t)take_i64(r, root, "shard", 0, UINT32_MAX);
    op->group_lo = (uint32_t)take_i64(r, root, "group_lo", 0, KEY_GROUP_COUNT);
    op->group_hi = (uint32_t)take_i64(r, root, "group_hi", 0, KEY_GROUP_COUNT);
    op->border = (uint32_t)take_i64(r, root, "border", 0, KEY_GROUP_COUNT);
    op->node = (int32_t)take_i64(r, root, "node", -1, NODES_MAX);
    op->lane = (int32_t)take_i64(r, root, "lane", -1, LANES_PER_NODE_MAX);
    op->began_ms = take_i64(r, root, "began_ms", 0, INT64_MAX);
    op->ended_ms = take_i64(r, root, "ended_ms", 0, INT64_MAX);
    op->pause_ns = take_i64(r, root, "pause_ns", 0, INT64_MAX);
    op->expected_pause_ns = take_i64(r, root, "expected_pause_ns", 0, INT64_MAX);
}

enum err operation_read(struct str record, struct operation *ret_op, struct err_info *info)
{
    struct operation op = {.node = -1};
    json_t *root = json_loadb(record.ptr, (size_t)record.len, JSON_REJECT_DUPLICATES, NULL);
    struct reading r = {.root = root, .row = json_object_get(root, "operation")};
    const char *hash = json_string_value(json_object_get(r.row, "request_hash"));
    op.kind = (enum operation_kind)take_word(&r, "kind", kinds, OPERATION_KIND_COUNT);
    op.state = (enum operation_state)take_word(&r, "state", states, OPERATION_STATE_COUNT);
    take_text(&r, "subject", op.subject, sizeof(op.subject));
    take_text(&r, "target", op.target, sizeof(op.target));
    take_text(&r, "reason", op.reason, sizeof(op.reason));
    take_text(&r, "who", op.who, sizeof(op.who));
    take_text(&r, "idempotency_key", op.key, sizeof(op.key));
    op.err = take_result(&r);
    take_numbers(&r, &op);
    char *end = NULL;
    op.request_hash = hash != NULL ? strtoull(hash, &end, 16) : 0;
    if (hash == NULL || end == hash || *end != 0) {
        r.wrong = r.wrong == NULL ? "request_hash" : r.wrong;
    }
    json_decref(root);
    if (r.wrong != NULL) {
        return err_set(info, ERR_CORRUPT,
                       OPERATIONS_STREAM ": a record of %td bytes is no operation: its %s",
                       record.len, r.wrong);
    }
    op.unfinished = op.state < OPERATION_CHECKED;
    op.outcome = op.state;
    *ret_op = op;
    return ERR_OK;
}

/* --- names --- */

/* Digits at the begin of `text`, at most `max`; -1: none. */
static int64_t take_digits(struct str *text, int64_t max)
{
    int64_t value = 0;
    ptrdiff_t n = 0;
    while (n < text->len && n < 6 && text->ptr[n] >= '0' && text->ptr[n] <= '9') {
        value = value * 10 + (text->ptr[n] - '0');
        n++;
    }
    if (n == 0 || value > max) {
        return -1;
    }
    *text = (struct str){text->ptr + n, text->len - n};
    return value;
}

bool place_parse(struct str text, int32_t *ret_node, int32_t *ret_lane)
{
    int64_t lane = -1;
    if (text.len < 2 || text.ptr[0] != 'n') {
        return false;
    }
    text = (struct str){text.ptr + 1, text.len - 1};
    int64_t node = take_digits(&text, NODES_MAX);
    if (node >= 0 && text.len > 1 && text.ptr[0] == '/') {
        text = (struct str){text.ptr + 1, text.len - 1};
        lane = take_digits(&text, LANES_PER_NODE_MAX);
        node = lane < 0 ? -1 : node;
    }
    if (node < 0 || text.len > 0) {
        return false;
    }
    *ret_node = (int32_t)node;
    *ret_lane = (int32_t)lane;
    return true;
}

bool range_parse(struct str text, uint32_t *ret_lo, uint32_t *ret_hi)
{
    int64_t lo = take_digits(&text, KEY_GROUP_COUNT);
    if (lo < 0 || text.len < 2 || text.ptr[0] != '-') {
        return false;
    }
    text = (struct str){text.ptr + 1, text.len - 1};
    int64_t hi = take_digits(&text, KEY_GROUP_COUNT);
    if (hi <= lo || text.len > 0) {
        return false;
    }
    *ret_lo = (uint32_t)lo;
    *ret_hi = (uint32_t)hi;
    return true;
}
