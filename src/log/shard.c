// SPDX-License-Identifier: Apache-2.0
#include "log/shard.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/segment.h"

enum { CHUNK0_BITS = 3 };

/* Chunk k holds 8 << k segments; index i lies in the chunk of the highest bit of i + 8. */
static int chunk_of(int32_t index, int32_t *ret_slot)
{
    uint32_t n = (uint32_t)index + (1U << CHUNK0_BITS);
    int high = 31 - __builtin_clz(n);
    *ret_slot = (int32_t)(n - (1U << high));
    return high - CHUNK0_BITS;
}

struct segment *segment_at(const struct segment_list *list, int32_t index)
{
    int32_t slot = 0;
    int chunk = chunk_of(index, &slot);
    struct segment *first = atomic_load_explicit(&list->chunk[chunk], memory_order_acquire);
    CHECK(first != NULL);
    return &first[slot];
}

int32_t segment_find(const struct segment_list *list, int64_t offset)
{
    int32_t lo = atomic_load_explicit(&list->first, memory_order_acquire);
    int32_t hi = atomic_load_explicit(&list->count, memory_order_acquire);
    int32_t found = -1;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (segment_at(list, mid)->base_offset <= offset) {
            found = mid;
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return found;
}

struct watch_list {
    _Atomic(struct waker *) slot[LOG_WATCHERS_PER_SHARD_MAX];
    _Atomic int32_t used; /* slots that ever held one */
};

struct shard *shard_get(const struct shard_table *table, uint32_t id)
{
    uint32_t chunk = id / SHARD_CHUNK;
    if (chunk >= SHARD_CHUNK_COUNT) {
        return NULL;
    }
    _Atomic(struct shard *) *slots =
        atomic_load_explicit(&table->chunk[chunk], memory_order_acquire);
    return slots == NULL ? NULL
                         : atomic_load_explicit(&slots[id % SHARD_CHUNK], memory_order_acquire);
}

struct shard *shard_new(struct shard_table *table, uint32_t id, uint32_t stream, uint32_t flags)
{
    CHECK(id / SHARD_CHUNK < SHARD_CHUNK_COUNT);
    struct shard *shard = MEM_NEW(struct shard);
    shard->id = id;
    shard->stream = stream;
    shard->flags = flags;
    shard->file.fd = -1;
    _Atomic(struct shard *) *slots =
        atomic_load_explicit(&table->chunk[id / SHARD_CHUNK], memory_order_relaxed);
    if (slots == NULL) {
        slots = mem_new(SHARD_CHUNK, (ptrdiff_t)sizeof(*slots));
        atomic_store_explicit(&table->chunk[id / SHARD_CHUNK], slots, memory_order_release);
    }
    CHECK(atomic_load_explicit(&slots[id % SHARD_CHUNK], memory_order_relaxed) == NULL);
    atomic_store_explicit(&slots[id % SHARD_CHUNK], shard, memory_order_release);
    return shard;
}

static void shard_free(struct shard *shard)
{
    if (shard == NULL) {
        return;
    }
    for (int i = 0; i < SEGMENT_CHUNKS; i++) {
        mem_free(atomic_load(&shard->segments.chunk[i]));
    }
    for (int32_t i = 0; i < shard->cover_count; i++) {
        struct checkpoint *checkpoint = shard->covers[i].checkpoint;
        if (--checkpoint->refs == 0) {
            mem_free(checkpoint);
        }
    }
    mem_free(shard->covers);
    mem_free(shard->floors);
    mem_free(shard->epochs);
    mem_free(atomic_load(&shard->watchers));
    mem_free(shard);
}

void shard_table_release(struct shard_table *table)
{
    for (int c = 0; c < SHARD_CHUNK_COUNT; c++) {
        _Atomic(struct shard *) *slots = atomic_load(&table->chunk[c]);
        for (int i = 0; slots != NULL && i < SHARD_CHUNK; i++) {
            shard_free(atomic_load(&slots[i]));
        }
        mem_free(slots);
        atomic_store(&table->chunk[c], NULL);
    }
}

void shard_add_segment(struct shard *shard, int64_t base_offset, int64_t last_append_ms,
                       int64_t now_ns)
{
    struct segment_list *list = &shard->segments;
    int32_t index = atomic_load_explicit(&list->count, memory_order_relaxed);
    int32_t slot = 0;
    int chunk = chunk_of(index, &slot);
    CHECK(chunk < SEGMENT_CHUNKS);
    struct segment *first = atomic_load_explicit(&list->chunk[chunk], memory_order_relaxed);
    if (first == NULL) {
        first = MEM_NEW_ARRAY(struct segment, (ptrdiff_t)1 << (chunk + CHUNK0_BITS));
        atomic_store_explicit(&list->chunk[chunk], first, memory_order_release);
    }
    first[slot] = (struct segment){
        .base_offset = base_offset, .last_append_ms = last_append_ms, .seen_ns = now_ns};
    atomic_store_explicit(&list->count, index + 1, memory_order_release);
    shard->index_window = 0;
}

struct place shard_place(struct shard *shard, ptrdiff_t bytes, int32_t records,
                         int64_t segment_bytes, int64_t time_ms, int64_t now_ns)
{
    struct place place = {0};
    int32_t count = atomic_load_explicit(&shard->segments.count, memory_order_relaxed);
    int32_t first = atomic_load_explicit(&shard->segments.first, memory_order_relaxed);
    struct segment *last = count > first ? segment_at(&shard->segments, count - 1) : NULL;
    if (last == NULL || (last->bytes > 0 && last->bytes + bytes > segment_bytes)) {
        shard_add_segment(shard, shard->next_offset, time_ms, now_ns);
        last = segment_at(&shard->segments, count);
        place.rolled = true;
    }
    place.segment_base = last->base_offset;
    place.position = last->bytes;
    int64_t window = place.position / SEGMENT_INDEX_SPACING;
    if (window > shard->index_window) {
        shard->index_window = window;
        place.index = true;
    }
    last->bytes += bytes;
    last->last_append_ms = time_ms > last->last_append_ms ? time_ms : last->last_append_ms;
    last->seen_ns = now_ns;
    shard->size_bytes += bytes;
    shard->next_offset += records;
    return place;
}

void shard_clear_segments(struct shard *shard)
{
    atomic_store(&shard->segments.count, 0);
    atomic_store(&shard->segments.first, 0);
    shard->size_bytes = 0;
    shard->index_window = 0;
}

void shard_set_problem(struct shard *shard, int64_t base, enum err health, const char *fmt, ...)
{
    int32_t healthy = 0;
    int32_t count = atomic_load_explicit(&shard->segments.count, memory_order_acquire);
    if (count == 0 || segment_at(&shard->segments, count - 1)->base_offset <= base) {
        atomic_store_explicit(&shard->unwritable, true, memory_order_relaxed);
    }
    if (!atomic_compare_exchange_strong(&shard->problem_state, &healthy, 1)) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(shard->problem, sizeof(shard->problem), fmt, args)); /* may be cut */
    va_end(args);
    shard->health = health;
    atomic_store_explicit(&shard->problem_state, 2, memory_order_release);
}

enum err shard_health(const struct shard *shard)
{
    return atomic_load_explicit(&shard->problem_state, memory_order_acquire) == 2 ? shard->health
                                                                                  : ERR_OK;
}

enum err shard_write_health(const struct shard *shard)
{
    bool unwritable = atomic_load_explicit(&shard->unwritable, memory_order_relaxed);
    return unwritable ? shard_health(shard) : ERR_OK;
}

void shard_publish(struct log *log, struct shard *shard)
{
    atomic_store_explicit(&shard->end_offset, shard->next_offset, memory_order_release);
    log_moved(log);
    struct watch_list *list = atomic_load_explicit(&shard->watchers, memory_order_acquire);
    if (list == NULL) {
        return;
    }
    atomic_store(&shard->waking, 1); /* ordered before the slots are looked at: S5 */
    int32_t used = atomic_load(&list->used);
    for (int32_t i = 0; i < used; i++) {
        struct waker *waker = atomic_load(&list->slot[i]);
        if (waker != NULL) {
            waker_wake(waker);
        }
    }
    atomic_store(&shard->waking, 0);
}

enum err shard_watch(struct shard *shard, struct waker *waker)
{
    struct watch_list *list = atomic_load_explicit(&shard->watchers, memory_order_acquire);
    if (list == NULL) {
        struct watch_list *fresh = MEM_NEW(struct watch_list);
        if (atomic_compare_exchange_strong(&shard->watchers, &list, fresh)) {
            list = fresh;
        } else {
            mem_free(fresh);
        }
    }
    for (int32_t i = 0; i < LOG_WATCHERS_PER_SHARD_MAX; i++) {
        struct waker *none = NULL;
        if (atomic_compare_exchange_strong(&list->slot[i], &none, waker)) {
            int32_t used = atomic_load(&list->used);
            while (used <= i && !atomic_compare_exchange_weak(&list->used, &used, i + 1)) {
            }
            return ERR_OK;
        }
    }
    return ERR_LIMIT;
}

void shard_unwatch(struct shard *shard, struct waker *waker)
{
    struct watch_list *list = atomic_load_explicit(&shard->watchers, memory_order_acquire);
    int32_t used = list != NULL ? atomic_load(&list->used) : 0;
    for (int32_t i = 0; i < used; i++) {
        struct waker *mine = waker;
        if (atomic_compare_exchange_strong(&list->slot[i], &mine, NULL)) {
            break;
        }
    }
    while (atomic_load(&shard->waking) != 0) {
    }
}

int64_t shard_lowest_floor(const struct shard *shard)
{
    int64_t lowest = INT64_MAX;
    for (int32_t i = 0; i < shard->floor_count; i++) {
        lowest = shard->floors[i].offset < lowest ? shard->floors[i].offset : lowest;
    }
    return lowest;
}

static void path_print(char *path, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void path_print(char *path, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(path, SHARD_PATH_MAX, fmt, args);
    va_end(args);
    CHECK(len > 0 && len < SHARD_PATH_MAX);
}

void shard_folder_path(char *path, uint32_t id)
{
    path_print(path, "log/shards/%08x", id);
}

void segment_path(char *path, uint32_t id, int64_t base_offset)
{
    path_print(path, "log/shards/%08x/%020lld.seg", id, (long long)base_offset);
}

void segment_index_path(char *path, uint32_t id, int64_t base_offset)
{
    path_print(path, "log/shards/%08x/%020lld.idx", id, (long long)base_offset);
}

void checkpoint_path(char *path, int64_t number)
{
    path_print(path, "log/checkpoints/%016llx", (unsigned long long)number);
}
