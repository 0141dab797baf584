// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/mem.h"
#include "log/memory_priv.h"

/* Control records: an array by key. Versions come from one counter of the log, so that no content of a key ever has the
 * version of another. */

enum { LIST_GROWTH = 16 };

void *memory_list_grow(void *items, int32_t count, int32_t *cap, ptrdiff_t size_bytes)
{
    if (count < *cap) {
        return items;
    }
    *cap = *cap > 0 ? 2 * *cap : LIST_GROWTH;
    return mem_resize(items, *cap, size_bytes);
}

bool memory_text_ends(const char *text, ptrdiff_t cap)
{
    return memchr(text, 0, (size_t)cap) != NULL;
}

static int32_t control_find(const struct memory_log *m, const char *key)
{
    int32_t lo = 0, hi = m->control_count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (strcmp(m->controls[mid].key, key) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void control_remove(struct memory_log *m, int32_t at)
{
    mem_free(m->controls[at].value);
    m->control_count--;
    memmove(&m->controls[at], &m->controls[at + 1],
            (size_t)(m->control_count - at) * sizeof *m->controls);
}

static enum err control_set(struct memory_log *m, struct log_op *op, int32_t at, bool present)
{
    struct log_control_op *set = &op->u.control;
    int64_t version = present ? m->controls[at].version : 0;
    if (set->len > LOG_CONTROL_VALUE_MAX) {
        return err_set(&op->info, ERR_LIMIT,
                       "control record '%s' of %td bytes; at most %d are kept", set->key, set->len,
                       LOG_CONTROL_VALUE_MAX);
    }
    if (set->expected_version != version) {
        set->ret_version = version;
        return err_set(&op->info, ERR_PRECONDITION,
                       "control record '%s' has version %lld, not %lld", set->key,
                       (long long)version, (long long)set->expected_version);
    }
    if (set->len < 0) {
        if (present) {
            control_remove(m, at);
        }
        set->ret_version = 0;
        return ERR_OK;
    }
    if (!present) {
        m->controls =
            memory_list_grow(m->controls, m->control_count, &m->control_cap, sizeof *m->controls);
        memmove(&m->controls[at + 1], &m->controls[at],
                (size_t)(m->control_count - at) * sizeof *m->controls);
        m->controls[at] = (struct memory_control){0};
        memcpy(m->controls[at].key, set->key, sizeof set->key);
        m->control_count++;
    }
    struct memory_control *control = &m->controls[at];
    mem_free(control->value);
    control->value = (uint8_t *)mem_dup(set->len > 0 ? set->value : "", set->len);
    control->len = set->len;
    control->version = ++m->control_version;
    set->ret_version = control->version;
    return ERR_OK;
}

static enum err control_list(struct memory_log *m, struct log_op *op)
{
    struct log_control_op *list = &op->u.control;
    ptrdiff_t used = 0;
    for (int32_t i = control_find(m, list->key); i < m->control_count; i++) {
        const char *text = m->controls[i].key;
        struct str key = {.ptr = text, .len = (ptrdiff_t)strlen(text)};
        if (!str_starts_with(key, str_of(list->key))) {
            break;
        }
        if (used + key.len + 1 <= list->len) {
            memcpy((char *)list->value + used, text, (size_t)key.len + 1);
        }
        used += key.len + 1;
    }
    list->ret_len = used;
    return used <= list->len ? ERR_OK
                             : err_set(&op->info, ERR_LIMIT, "the keys need %td bytes, given %td",
                                       used, list->len);
}

enum err memory_control_op(struct memory_log *m, struct log_op *op)
{
    struct log_control_op *control = &op->u.control;
    if (!memory_text_ends(control->key, COUNT_OF(control->key)) ||
        (control->key[0] == 0 && op->kind != LOG_OP_CONTROL_LIST)) {
        return err_set(&op->info, ERR_INVALID, "a control record's key has 1 to 127 bytes");
    }
    if (op->kind == LOG_OP_CONTROL_LIST) {
        return control_list(m, op);
    }
    int32_t at = control_find(m, control->key);
    bool present = at < m->control_count && strcmp(m->controls[at].key, control->key) == 0;
    if (op->kind == LOG_OP_CONTROL_SET) {
        return control_set(m, op, at, present);
    }
    control->ret_len = present ? m->controls[at].len : 0;
    control->ret_version = present ? m->controls[at].version : 0;
    if (control->ret_len > control->len) {
        return err_set(&op->info, ERR_LIMIT, "control record '%s' has %td bytes, room is for %td",
                       control->key, control->ret_len, control->len);
    }
    if (control->ret_len > 0) {
        memcpy(control->value, m->controls[at].value, (size_t)control->ret_len);
    }
    return ERR_OK;
}

void memory_control_release(struct memory_log *m)
{
    for (int32_t i = 0; i < m->control_count; i++) {
        mem_free(m->controls[i].value);
    }
    mem_free(m->controls);
}
