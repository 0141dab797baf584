// SPDX-License-Identifier: Apache-2.0
// Listed spaces: the entries of one time, of all key groups together, in the order of their making.
//
// Where keys come and go and key groups hold one or two entries each, going from group to group costs more than what is done
// to the entries. A list needs no sorting, its entries are fetched together, and an entry is one reference of 8 bytes.

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/state_probe.h"

enum {
    LISTED_TIMES_MAX = 256, /* buckets */
    WALK_REFS = 64,         /* looked at in one call */
    FILTER_BITS_PER_REF = 8
};

/* --- buckets --- */

static void bucket_push(struct state_space *space, struct ref_bucket *bucket, uint64_t ref)
{
    if (bucket->count == bucket->cap) {
        int64_t cap = bucket->cap == 0 ? 64 : bucket->cap * 2;
        int64_t bytes = (cap - bucket->cap) * (int64_t)sizeof *bucket->refs;
        bucket->refs = mem_resize(bucket->refs, cap, (ptrdiff_t)sizeof *bucket->refs);
        bucket->cap = cap;
        space->list.memory_bytes += bytes;
        space->state->bytes_used += bytes;
    }
    bucket->refs[bucket->count++] = ref;
}

/* Takes bucket `index` out. Its memory goes to the end of the array, for the next bucket to come. */
static void bucket_drop(struct ref_list *list, int32_t index)
{
    struct ref_bucket dropped = list->buckets[index];
    list->ref_count -= dropped.count;
    memmove(&list->buckets[index], &list->buckets[index + 1],
            (size_t)(list->count - index - 1) * sizeof dropped);
    dropped.count = 0;
    list->buckets[--list->count] = dropped;
    list->last = 0;
}

/* Index of the first bucket with an id >= `id`. */
static int32_t bucket_search(const struct ref_list *list, int64_t id)
{
    int32_t lo = 0;
    int32_t hi = list->count;
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (list->buckets[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* An empty bucket in the place `index`. */
static void bucket_insert(struct state_space *space, int32_t index, int64_t id)
{
    struct ref_list *list = &space->list;
    if (list->count == list->cap) {
        int32_t cap = list->cap == 0 ? 4 : list->cap * 2;
        int64_t bytes = (int64_t)(cap - list->cap) * (int64_t)sizeof *list->buckets;
        list->buckets = mem_resize(list->buckets, cap, (ptrdiff_t)sizeof *list->buckets);
        memset(list->buckets + list->cap, 0, (size_t)bytes);
        list->cap = cap;
        list->memory_bytes += bytes;
        space->state->bytes_used += bytes;
    }
    struct ref_bucket fresh = list->buckets[list->count];
    memmove(&list->buckets[index + 1], &list->buckets[index],
            (size_t)(list->count - index) * sizeof fresh);
    fresh.id = id;
    list->buckets[index] = fresh;
    list->count++;
}

static struct ref_bucket *bucket_for(struct state_space *space, int64_t time)
{
    struct ref_list *list = &space->list;
    int64_t id = time >> list->shift;
    int32_t index = list->last;
    if (index >= list->count || list->buckets[index].id != id) {
        index = bucket_search(list, id);
        if (index == list->count || list->buckets[index].id != id) {
            bucket_insert(space, index, id);
        }
        list->last = index;
    }
    return &list->buckets[index];
}

/* How wide buckets must be for at most half as many as there may be. */
static int32_t wider(const struct ref_list *list)
{
    int32_t shift = list->shift;
    int32_t count = list->count;
    while (count > LISTED_TIMES_MAX / 2) {
        shift++;
        count = 1;
        for (int32_t i = 1; i < list->count; i++) {
            count += list->buckets[i].id >> (shift - list->shift) !=
                     list->buckets[i - 1].id >> (shift - list->shift);
        }
    }
    return shift;
}

/* All buckets anew from the tables: without stale references, and wider if there are too many. */
static void list_again(struct state_space *space)
{
    struct ref_list *list = &space->list;
    list->shift = list->count > LISTED_TIMES_MAX ? wider(list) : list->shift;
    for (int32_t i = 0; i < list->cap; i++) {
        list->buckets[i].count = 0;
    }
    list->count = list->last = 0;
    list->ref_count = 0;
    list->version++;
    for (uint32_t group = space->state->group_lo; group < space->state->group_hi; group++) {
        const struct table *table = space->tables[group - space->state->group_lo];
        for (uint32_t place = 0; table != NULL && place <= table->mask; place++) {
            const struct slot *slot = table_slot(table, place);
            if ((slot->flags & SLOT_USED) != 0) {
                bucket_push(space, bucket_for(space, slot->time),
                            (uint64_t)group << 32 | slot->tag);
                list->ref_count++;
            }
        }
    }
}

/* Whether a table has two entries of one tag and time, of which a reference then names both. */
static bool has_twin(const struct table *table, uint32_t tag, int64_t time)
{
    uint32_t place = table_home(tag, table->mask);
    int32_t found = 0;
    struct slot *slot;
    while ((slot = table_probe_tag(table, tag, &place)) != NULL) {
        found += slot->time == time;
    }
    return found > 1;
}

void ref_list_add(struct state_space *space, uint32_t group, uint32_t tag, int64_t time)
{
    struct ref_list *list = &space->list;
    const struct table *table = space->tables[group - space->state->group_lo];
    bucket_push(space, bucket_for(space, time), (uint64_t)group << 32 | tag);
    list->ref_count++;
    list->twins = list->twins || has_twin(table, tag, time);
    if (UNLIKELY(list->count > LISTED_TIMES_MAX ||
                 list->ref_count > 2 * space->state->entry_count + WALK_REFS)) {
        list_again(space);
    }
}

void ref_list_add_table(struct state_space *space, uint32_t group, const struct table *table)
{
    for (uint32_t place = 0; place <= table->mask; place++) {
        const struct slot *slot = table_slot(table, place);
        if ((slot->flags & SLOT_USED) != 0) {
            ref_list_add(space, group, slot->tag, slot->time);
        }
    }
}

void ref_list_release(struct state_space *space)
{
    for (int32_t i = 0; i < space->list.cap; i++) {
        mem_free(space->list.buckets[i].refs);
    }
    mem_free(space->list.buckets);
    mem_free(space->shown.entries);
    mem_free(space->shown.beside);
    mem_free(space->beside.words);
}

/* --- what is listed --- */

/* The slots with a reference's tag, one after the other; `place` begins at its home. NULL at the end. */
static struct slot *ref_slot(const struct table_ref *ref, uint32_t tag, uint32_t *place)
{
    for (;; *place = (*place + 1) & ref->mask) {
        struct slot *slot =
            (struct slot *)(void *)(ref->slots + (size_t)*place * ref->stride_bytes);
        if ((slot->flags & SLOT_USED) == 0) {
            return NULL;
        }
        if (slot->tag == tag) {
            *place = (*place + 1) & ref->mask;
            return slot;
        }
    }
}

static const struct table_ref *ref_table(const struct state_space *space, uint64_t ref)
{
    return &space->refs[(uint32_t)(ref >> 32) - space->state->group_lo];
}

/* The smallest time >= `from` in a bucket of more than one. */
static int64_t least_in(const struct state_space *space, const struct ref_bucket *bucket,
                        int64_t from)
{
    int64_t least = INT64_MAX;
    for (int64_t i = 0; i < bucket->count; i++) {
        const struct table_ref *table = ref_table(space, bucket->refs[i]);
        uint32_t tag = (uint32_t)bucket->refs[i];
        uint32_t place = table_home(tag, table->mask);
        struct slot *slot;
        while ((slot = ref_slot(table, tag, &place)) != NULL) {
            bool in = slot->time >> space->list.shift == bucket->id && slot->time >= from;
            least = in && slot->time < least ? slot->time : least;
        }
    }
    return least;
}

int64_t state_listed_from(struct state_space *space, int64_t from)
{
    struct ref_list *list = &space->list;
    CHECK(space->listed);
    if (list->shift == 0) {
        int32_t index = bucket_search(list, from);
        return index < list->count ? list->buckets[index].id : INT64_MAX;
    }
    for (int32_t i = bucket_search(list, from >> list->shift); i < list->count; i++) {
        int64_t least = least_in(space, &list->buckets[i], from);
        if (least != INT64_MAX) {
            return least;
        }
    }
    return INT64_MAX;
}

/* --- a walk --- */

static void fetch_entry(const struct state_space *space, uint64_t ref)
{
    const struct table_ref *table = ref_table(space, ref);
    const char *slot =
        table->slots + (size_t)table_home((uint32_t)ref, table->mask) * table->stride_bytes;
    PREFETCH(slot);
    PREFETCH(slot + TABLE_LINE_BYTES);
}

/* What turns an entry's tag into that which its key has at walk->beside. */
static uint32_t beside_tag(const struct state_walk *walk)
{
    return table_tag(0, walk->time) ^ table_tag(0, walk->beside);
}

/* Empty, and with room for `refs` references. */
static void filter_clear(struct tag_filter *filter, int64_t refs)
{
    enum { FIRST_WORDS = 64, WORD_BITS = 64 };
    int64_t words = filter->word_count == 0 ? FIRST_WORDS : filter->word_count;
    while (words * WORD_BITS < refs * FILTER_BITS_PER_REF) {
        words *= 2;
    }
    if (words != filter->word_count) {
        filter->words = mem_resize(filter->words, words, (ptrdiff_t)sizeof *filter->words);
        filter->word_count = words;
    }
    memset(filter->words, 0, (size_t)words * sizeof *filter->words);
    filter->noted = 0;
}

/* Takes up what is new in the bucket that the walk looks beside itself into. Few keys of streams that come and go are in both:
 * a bit tells of nearly all others that there is nothing to fetch. */
static void filter_follow(struct state_space *space, const struct state_walk *walk)
{
    const struct ref_list *list = &space->list;
    struct tag_filter *filter = &space->beside;
    int64_t id = walk->beside >> list->shift;
    int32_t index = bucket_search(list, id);
    bool listed = index < list->count && list->buckets[index].id == id;
    int64_t count = listed ? list->buckets[index].count : 0;
    bool fits = count * FILTER_BITS_PER_REF <= filter->word_count * 64;
    if (filter->id != id || filter->version != list->version || !fits || filter->words == NULL) {
        filter_clear(filter, count);
        filter->id = id;
        filter->version = list->version;
    }
    for (; filter->noted < count; filter->noted++) {
        uint32_t tag = (uint32_t)list->buckets[index].refs[filter->noted];
        filter->words[tag / 64 & (uint64_t)(filter->word_count - 1)] |= UINT64_C(1) << tag % 64;
    }
}

static ATTR_ALWAYS_INLINE bool filter_has(const struct tag_filter *filter, uint32_t tag)
{
    return (filter->words[tag / 64 & (uint64_t)(filter->word_count - 1)] >> tag % 64 & 1) != 0;
}

/* Fetches the entries that the next call will show, while the caller is at work on those of this one. */
static void fetch_ahead(const struct state_space *space, const struct ref_bucket *bucket,
                        struct state_walk *walk)
{
    int64_t end = walk->at + 2 * WALK_REFS;
    end = end < bucket->count ? end : bucket->count;
    uint32_t beside = beside_tag(walk);
    for (; walk->fetched < end; walk->fetched++) {
        uint64_t ref = bucket->refs[walk->fetched];
        fetch_entry(space, ref);
        if (walk->beside != STATE_NO_TIME && filter_has(&space->beside, (uint32_t)ref ^ beside)) {
            fetch_entry(space, ref ^ beside);
        }
    }
}

/* Room for one more entry shown. Written member by member where it stands: copied from a struct put together elsewhere, it
 * would be read in wider pieces than it was written in, and wait for the stores each time. */
static struct state_due *shown_push(struct state_space *space)
{
    struct state_shown *shown = &space->shown;
    if (shown->count == shown->cap) {
        shown->cap = shown->cap == 0 ? 2 * WALK_REFS : 2 * shown->cap;
        ptrdiff_t bytes = (ptrdiff_t)sizeof *shown->entries;
        shown->entries = mem_resize(shown->entries, shown->cap, bytes);
        shown->beside = mem_resize(shown->beside, shown->cap, bytes);
    }
    return &shown->entries[shown->count++];
}

/* Shows what a reference of a bucket names at walk->time. False: it names nothing in the bucket any more. */
static bool show_ref(struct state_space *space, const struct ref_bucket *bucket, uint64_t ref,
                     const struct state_walk *walk)
{
    const struct table_ref *table = ref_table(space, ref);
    uint32_t tag = (uint32_t)ref;
    uint32_t place = table_home(tag, table->mask);
    bool named = false;
    struct slot *slot;
    while ((slot = ref_slot(table, tag, &place)) != NULL) {
        named = named || slot->time >> space->list.shift == bucket->id;
        if (slot->time != walk->time || (slot->flags & SLOT_PICKED) != 0) {
            continue;
        }
        slot->flags |= SLOT_PICKED;
        struct state_due *shown = shown_push(space);
        shown->key = ref_key(&space->shape, table, slot);
        shown->payload = slot_payload(slot);
        shown->time = walk->time;
        shown->group = (uint32_t)(ref >> 32);
        shown->tag = tag;
        shown->verdict = STATE_LEAVE;
        if (!space->list.twins) {
            break; // the slots behind are not fetched
        }
    }
    return named;
}

/* Beside each entry shown the one that its key has at walk->beside. */
static void show_beside(struct state_space *space, const struct state_walk *walk)
{
    struct state_shown *shown = &space->shown;
    uint32_t turn = beside_tag(walk);
    for (int32_t i = 0; i < shown->count; i++) {
        const struct state_due *entry = &shown->entries[i];
        struct state_due *beside = &shown->beside[i];
        beside->group = entry->group;
        beside->tag = entry->tag ^ turn;
        struct slot *slot = NULL;
        if (filter_has(&space->beside, beside->tag)) {
            slot = ref_find(&space->shape, &space->refs[entry->group - space->state->group_lo],
                            beside->tag, entry->key, walk->beside);
        }
        beside->key = entry->key;
        beside->payload = slot != NULL ? slot_payload(slot) : NULL;
        beside->time = walk->beside;
        beside->verdict = STATE_LEAVE;
    }
}

/* A walk has come to the end of its bucket: what it found stale goes. */
static void end_walk(struct ref_list *list, int32_t index, const struct state_walk *walk)
{
    struct ref_bucket *bucket = &list->buckets[index];
    list->ref_count -= bucket->count - walk->kept;
    bucket->count = walk->kept;
    if (bucket->count == 0) {
        bucket_drop(list, index);
        list->shift = list->count == 0 ? 0 : list->shift;
        list->twins = list->twins && list->count != 0;
    }
    list->version++;
}

int32_t state_walk_next(struct state_space *space, struct state_walk *walk,
                        struct state_due **ret_entries, struct state_due **ret_beside)
{
    struct ref_list *list = &space->list;
    CHECK(space->listed);
    int32_t index = bucket_search(list, walk->time >> list->shift);
    if (index == list->count || list->buckets[index].id != walk->time >> list->shift) {
        return 0;
    }
    struct ref_bucket *bucket = &list->buckets[index];
    if (walk->at == 0 || walk->version != list->version) {
        walk->at = walk->kept = walk->fetched = 0;
        walk->version = list->version;
    }
    space->shown.count = 0;
    space->shown.has_beside = walk->beside != STATE_NO_TIME;
    if (space->shown.has_beside) {
        filter_follow(space, walk);
    }
    while (space->shown.count == 0 && walk->at < bucket->count) {
        int64_t end = walk->at + WALK_REFS < bucket->count ? walk->at + WALK_REFS : bucket->count;
        fetch_ahead(space, bucket, walk);
        for (; walk->at < end; walk->at++) {
            uint64_t ref = bucket->refs[walk->at];
            if (show_ref(space, bucket, ref, walk)) {
                bucket->refs[walk->kept++] = ref;
            }
        }
    }
    if (space->shown.count == 0) {
        end_walk(list, index, walk);
    } else if (space->shown.has_beside) {
        show_beside(space, walk);
    }
    *ret_entries = space->shown.entries;
    *ret_beside = space->shown.has_beside ? space->shown.beside : NULL;
    return space->shown.count;
}

/* Takes note of what an entry's verdict says; those that go are marked. Returns how many. */
static int32_t note_verdicts(struct state_space *space, const struct state_due *entries)
{
    int32_t going = 0;
    for (int32_t i = 0; i < space->shown.count; i++) {
        const struct state_due *entry = &entries[i];
        if (entry->payload == NULL) {
            continue;
        }
        struct slot *slot = slot_of_payload(entry->payload);
        slot->flags &= (uint8_t)~SLOT_PICKED;
        if (entry->verdict == STATE_CHANGED) {
            if (space->state->tracking) {
                space_mark_dirty(space, entry->group, slot);
            }
        } else if (entry->verdict == STATE_REMOVE) {
            slot->flags |= SLOT_PICKED;
            PREFETCH(space->tables[entry->group - space->state->group_lo]);
            going++;
        }
    }
    return going;
}

static void remove_marked(struct state_space *space, const struct state_due *entries)
{
    for (int32_t i = 0; i < space->shown.count; i++) {
        const struct state_due *entry = &entries[i];
        if (entry->payload == NULL || entry->verdict != STATE_REMOVE) {
            continue;
        }
        const struct table_ref *table = &space->refs[entry->group - space->state->group_lo];
        uint32_t place = table_home(entry->tag, table->mask);
        struct slot *slot = ref_slot(table, entry->tag, &place);
        while (slot != NULL && (slot->flags & SLOT_PICKED) == 0) {
            slot = ref_slot(table, entry->tag, &place);
        }
        CHECK(slot != NULL);
        space_remove(space, entry->group, slot, true);
    }
}

void state_walk_settle(struct state_space *space)
{
    // All marks first: a removal moves other slots.
    int32_t going = note_verdicts(space, space->shown.entries);
    int32_t going_beside = space->shown.has_beside ? note_verdicts(space, space->shown.beside) : 0;
    if (going > 0) {
        remove_marked(space, space->shown.entries);
    }
    if (going_beside > 0) {
        remove_marked(space, space->shown.beside);
    }
    space->shown.count = 0;
}
