// SPDX-License-Identifier: Apache-2.0
// Keyed state against a naive twin: an array of entries, searched from end to end.

#include "pipeline/state.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { TWIN_MAX = 4096, TWIN_KEY_MAX = 72, TWIN_TAIL_MAX = 256, PAYLOAD = 16 };

struct twin_entry {
    char key[TWIN_KEY_MAX];
    ptrdiff_t key_len;
    int64_t time;
    unsigned char payload[PAYLOAD];
    char tail[TWIN_TAIL_MAX];
    ptrdiff_t tail_len;
};

struct twin {
    struct twin_entry *entries;
    int32_t count;
};

static struct str twin_key(const struct twin_entry *entry)
{
    return (struct str){.ptr = entry->key, .len = entry->key_len};
}

static struct twin_entry *twin_find(struct twin *twin, struct str key, int64_t time)
{
    for (int32_t i = 0; i < twin->count; i++) {
        if (twin->entries[i].time == time && str_equal(twin_key(&twin->entries[i]), key)) {
            return &twin->entries[i];
        }
    }
    return NULL;
}

static struct twin_entry *twin_upsert(struct twin *twin, struct str key, int64_t time)
{
    struct twin_entry *entry = twin_find(twin, key, time);
    if (entry != NULL) {
        return entry;
    }
    CHECK(twin->count < TWIN_MAX);
    entry = &twin->entries[twin->count++];
    memset(entry, 0, sizeof *entry);
    if (key.len != 0) {
        memcpy(entry->key, key.ptr, (size_t)key.len);
    }
    entry->key_len = key.len;
    entry->time = time;
    return entry;
}

static void twin_delete(struct twin *twin, struct twin_entry *entry)
{
    *entry = twin->entries[--twin->count];
}

static uint64_t key_hash(struct str key)
{
    return hash64(key.ptr, key.len);
}

static const struct state_space_options OPTIONS = {
    .name = {"t/e", 3}, .schema = {"x", 1}, .payload_bytes = PAYLOAD, .timed = true, .tails = true};

/* Does `space` hold what `twin` holds, and nothing else? */
static bool same(struct state *state, struct state_space *space, struct twin *twin)
{
    int64_t min = INT64_MAX;
    for (int32_t i = 0; i < twin->count; i++) {
        const struct twin_entry *want = &twin->entries[i];
        struct str key = twin_key(want);
        const void *payload = state_find(space, key_hash(key), key, want->time);
        struct str tail = state_tail(space, key_hash(key), key, want->time);
        if (payload == NULL || memcmp(payload, want->payload, PAYLOAD) != 0 ||
            !str_equal(tail, (struct str){.ptr = want->tail, .len = want->tail_len})) {
            return false;
        }
        min = want->time < min ? want->time : min;
    }
    uint64_t cursor = 0;
    struct state_entry entry;
    int32_t count = 0;
    while (state_next(space, &cursor, &entry)) {
        count++;
    }
    return count == twin->count && state_entry_count(state) == count &&
           state_min_time(space) == min;
}

struct rig {
    struct rng rng;
    struct state *state;
    struct state_space *space;
    struct state *copy; /* kept by deltas alone */
    struct state_space *copy_space;
    struct twin twin;
    int32_t key_count;
    int32_t key_len_max;
    int64_t time_step;
    int64_t time_count;
};

static void rig_init(struct rig *rig, uint64_t seed)
{
    rng_init(&rig->rng, seed);
    rig->state = state_new(0, KEY_GROUP_COUNT);
    rig->space = state_space_open(rig->state, &OPTIONS);
    rig->copy = state_new(0, KEY_GROUP_COUNT);
    rig->copy_space = state_space_open(rig->copy, &OPTIONS);
    rig->twin = (struct twin){.entries = MEM_NEW_ARRAY(struct twin_entry, TWIN_MAX)};
    rig->key_count = (int32_t)rng_range(&rig->rng, 1, 40);
    rig->key_len_max = (int32_t)rng_range(&rig->rng, 0, TWIN_KEY_MAX);
    rig->time_step = rng_chance(&rig->rng, 0.5) ? 1000 : 1;
    rig->time_count = rng_range(&rig->rng, 1, 40);
}

static void rig_release(struct rig *rig)
{
    state_free(rig->state);
    state_free(rig->copy);
    mem_free(rig->twin.entries);
}

static struct str draw_key(struct rig *rig, char *buffer)
{
    uint64_t which = rng_below(&rig->rng, (uint64_t)rig->key_count);
    struct rng own;
    rng_init(&own, which);
    ptrdiff_t len = (ptrdiff_t)rng_below(&own, (uint64_t)rig->key_len_max + 1);
    for (ptrdiff_t i = 0; i < len; i++) {
        buffer[i] = (char)rng_below(&own, 256);
    }
    return (struct str){.ptr = len != 0 ? buffer : NULL, .len = len};
}

static int64_t draw_time(struct rig *rig)
{
    int64_t n = rng_range(&rig->rng, -rig->time_count / 4, rig->time_count);
    return n * rig->time_step;
}

static bool rig_write(struct rig *rig)
{
    char buffer[TWIN_KEY_MAX];
    struct str key = draw_key(rig, buffer);
    int64_t time = draw_time(rig);
    bool was = twin_find(&rig->twin, key, time) != NULL;
    struct twin_entry *entry = twin_upsert(&rig->twin, key, time);
    bool created;
    unsigned char *payload = state_upsert(rig->space, key_hash(key), key, time, &created);
    if (created == was || memcmp(payload, entry->payload, PAYLOAD) != 0) {
        return false;
    }
    unsigned char value = (unsigned char)rng_below(&rig->rng, 256);
    payload[value % PAYLOAD] = entry->payload[value % PAYLOAD] = value;
    if (rng_chance(&rig->rng, 0.3)) {
        ptrdiff_t len = (ptrdiff_t)rng_below(&rig->rng, TWIN_TAIL_MAX);
        for (ptrdiff_t i = entry->tail_len; i < len; i++) {
            entry->tail[i] = 0;
        }
        char *tail = state_tail_resize(rig->space, key_hash(key), payload, len);
        if (len > 0) {
            tail[len - 1] = entry->tail[len - 1] = (char)value;
        }
        entry->tail_len = len;
    }
    return true;
}

static bool rig_delete(struct rig *rig)
{
    char buffer[TWIN_KEY_MAX];
    struct str key = draw_key(rig, buffer);
    int64_t time = draw_time(rig);
    struct twin_entry *entry = twin_find(&rig->twin, key, time);
    bool was = state_delete(rig->space, key_hash(key), key, time);
    if (was != (entry != NULL)) {
        return false;
    }
    if (entry != NULL) {
        twin_delete(&rig->twin, entry);
    }
    return true;
}

static bool rig_take_due(struct rig *rig)
{
    int64_t until = draw_time(rig);
    struct state_entry entries[7];
    int32_t cap = (int32_t)rng_range(&rig->rng, 1, 7);
    int32_t rounds = (int32_t)rng_range(&rig->rng, 1, 30);
    uint32_t group = 0;
    int64_t time = INT64_MIN;
    char last[TWIN_KEY_MAX];
    struct str last_key = {0};
    for (; rounds > 0; rounds--) {
        int32_t count = state_take_due(rig->space, until, entries, cap);
        for (int32_t i = 0; i < count; i++) {
            struct twin_entry *want = twin_find(&rig->twin, entries[i].key, entries[i].time);
            if (want == NULL || entries[i].time > until ||
                memcmp(entries[i].payload, want->payload, PAYLOAD) != 0 ||
                !str_equal(entries[i].tail,
                           (struct str){.ptr = want->tail, .len = want->tail_len}) ||
                entries[i].hash != key_hash(entries[i].key)) {
                return false;
            }
            uint32_t its_group = key_group_of(entries[i].hash);
            int order = its_group != group        ? (its_group < group ? -1 : 1)
                        : entries[i].time != time ? (entries[i].time < time ? -1 : 1)
                                                  : str_compare(entries[i].key, last_key);
            if (order < 0) {
                return false;
            }
            group = its_group;
            time = entries[i].time;
            if (entries[i].key.len != 0) {
                memcpy(last, entries[i].key.ptr, (size_t)entries[i].key.len);
            }
            last_key = (struct str){.ptr = last, .len = entries[i].key.len};
            twin_delete(&rig->twin, want);
        }
        if (count == 0) {
            return state_min_time(rig->space) > until;
        }
    }
    return true;
}

/* One entry that is shown: as the twin has it, behind the one before; then left, changed or removed: `kept` of 10 are not. */
static bool rig_judge(struct rig *rig, const struct state_due *before, struct state_due *due,
                      uint64_t kept)
{
    struct twin_entry *want = twin_find(&rig->twin, due->key, due->time);
    if (want == NULL || memcmp(due->payload, want->payload, PAYLOAD) != 0 ||
        (before != NULL &&
         (before->time > due->time ||
          (before->time == due->time && str_compare(before->key, due->key) >= 0)))) {
        return false;
    }
    uint64_t draw = rng_below(&rig->rng, 10);
    if (draw >= kept) {
        due->verdict = STATE_REMOVE;
        twin_delete(&rig->twin, want);
    } else if (draw < 2) {
        due->verdict = STATE_CHANGED;
        want->payload[0]++;
        memcpy(due->payload, want->payload, PAYLOAD);
    }
    return true;
}

/* Looks at what is due; one time in three all of it goes, as with a window that closes. */
static bool rig_show_due(struct rig *rig)
{
    int64_t until = draw_time(rig);
    int32_t want = 0;
    for (int32_t i = 0; i < rig->twin.count; i++) {
        want += rig->twin.entries[i].time <= until;
    }
    uint64_t kept = rng_chance(&rig->rng, 0.3) ? 0 : 5;
    bool fine = true;
    uint32_t group = 0;
    struct state_due *due;
    int32_t count;
    while ((count = state_due_begin(rig->space, until, &group, &due)) > 0) {
        for (int32_t i = 0; i < count && fine; i++) {
            fine =
                due[i].time <= until && rig_judge(rig, i > 0 ? &due[i - 1] : NULL, &due[i], kept);
        }
        state_due_end(rig->space);
        want -= count;
    }
    return fine && want == 0 && (kept != 0 || state_min_time(rig->space) > until);
}

static bool rig_commit(struct rig *rig, int32_t most)
{
    struct str key;
    struct str value;
    bool more = true;
    while (most-- > 0 && (more = state_delta_next(rig->state, &key, &value))) {
        if (state_apply(rig->copy, key, value) != ERR_OK) {
            return false;
        }
    }
    if (!more) {
        state_delta_end(rig->state);
        return state_delta_bytes(rig->state) == 0 &&
               state_digest(rig->copy) == state_digest(rig->state);
    }
    return true;
}

/* Moves some groups to a fresh state and back: nothing may be lost or changed. */
static bool rig_hand_over(struct rig *rig)
{
    if (!rig_commit(rig, INT32_MAX)) {
        return false;
    }
    struct state *other = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(other, &OPTIONS);
    for (uint32_t g = 0; g < KEY_GROUP_COUNT; g++) {
        state_attach(other, state_detach(rig->state, g));
    }
    bool fine = state_entry_count(rig->state) == 0 && same(other, space, &rig->twin);
    state_free(rig->state);
    rig->state = other;
    rig->space = space;
    return fine;
}

TEST(state_behaves_as_a_plain_list_of_entries)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig rig;
        rig_init(&rig, test_seed() + seed);
        for (int step = 0; step < 1500; step++) {
            uint64_t draw = rng_below(&rig.rng, 100);
            bool fine = draw < 65   ? rig_write(&rig)
                        : draw < 85 ? rig_delete(&rig)
                        : draw < 88 ? rig_take_due(&rig)
                        : draw < 91 ? rig_show_due(&rig)
                        : draw < 93 ? rig_commit(&rig, (int32_t)rng_below(&rig.rng, 20))
                        : draw < 99 ? rig_commit(&rig, INT32_MAX)
                                    : rig_hand_over(&rig);
            EXPECT_MSG(fine, "seed %llu step %d draw %d", test_seed() + seed, step, (int)draw);
            EXPECT_MSG(step % 50 != 0 || same(rig.state, rig.space, &rig.twin),
                       "seed %llu step %d: contents differ", test_seed() + seed, step);
        }
        EXPECT(rig_commit(&rig, INT32_MAX) && same(rig.copy, rig.copy_space, &rig.twin));
        rig_release(&rig);
    }
}

TEST(state_that_was_handed_over_knows_its_smallest_time)
{
    struct state *from = state_new(0, KEY_GROUP_COUNT);
    struct state *to = state_new(0, KEY_GROUP_COUNT);
    struct state_space *old = state_space_open(from, &OPTIONS);
    struct state_space *space = state_space_open(to, &OPTIONS);
    struct str key = STR("a"), value;
    uint64_t hash = hash64(key.ptr, key.len);
    state_upsert(old, hash, key, 100, NULL);
    while (state_delta_next(from, &key, &value)) {
    }
    state_delta_end(from);
    state_attach(to, state_detach(from, key_group_of(hash)));
    key = STR("a");
    state_upsert(space, hash, key, 200, NULL); /* before anybody asked for the smallest */
    EXPECT_INT(state_min_time(space), 100);
    EXPECT_INT(state_min_time(old), INT64_MAX);
    state_free(from);
    state_free(to);
}

TEST(state_batches_give_pointers_that_stay_valid_together)
{
    enum { ROWS = 1024 };
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &OPTIONS);
    static int32_t sel[ROWS];
    static uint64_t hash[ROWS], number[ROWS];
    static struct str key[ROWS];
    static int64_t time[ROWS];
    static void *payload[ROWS];
    static uint8_t created[ROWS];
    struct rng rng;
    rng_init(&rng, test_seed());
    static int64_t counts[20000];
    for (int round = 0; round < 60; round++) {
        int32_t count = 0;
        for (int32_t i = 0; i < ROWS; i++) {
            number[i] = rng_below(&rng, 5000);
            key[i] = (struct str){.ptr = (const char *)&number[i], .len = 8};
            hash[i] = key_hash(key[i]);
            time[i] = (int64_t)rng_below(&rng, 4);
            if (rng_chance(&rng, 0.8)) {
                sel[count++] = i;
            }
        }
        struct state_rows rows = {
            .sel = sel, .count = count, .hash = hash, .key = key, .time = time};
        state_upsert_many(space, &rows, payload, created);
        for (int32_t i = 0; i < count; i++) {
            int64_t *counter = payload[i];
            int64_t *want = &counts[number[sel[i]] * 4 + (uint64_t)time[sel[i]]];
            EXPECT(*want != 0 || *counter == 0);
            EXPECT(created[i] == (*want == 0));
            EXPECT_INT(*counter, *want);
            *counter = ++*want;
        }
    }
    int64_t live = 0;
    for (uint64_t i = 0; i < 5000; i++) {
        for (int64_t t = 0; t < 4; t++) {
            struct str k = {.ptr = (const char *)&i, .len = 8};
            const int64_t *found = state_find(space, key_hash(k), k, t);
            EXPECT_INT(found != NULL ? *found : 0, counts[i * 4 + (uint64_t)t]);
            live += found != NULL;
        }
    }
    EXPECT_INT(state_entry_count(state), live);
    state_free(state);
}

/* Batches whose keys have one length, or many; whose rows have one time, or their own: each way of putting rows in, against
 * one entry after the other. */
TEST(state_batches_of_every_form_do_what_single_entries_do)
{
    enum { ROWS = 300, KEYS = 2000 };
    static int32_t sel[ROWS];
    static uint64_t hash[ROWS];
    static struct str key[ROWS];
    static int64_t time[ROWS];
    static char text[KEYS][64];
    static void *payload[ROWS];
    static uint8_t created[ROWS];
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int form = 0; form < 4; form++) {
        struct state *many = state_new(0, KEY_GROUP_COUNT);
        struct state *single = state_new(0, KEY_GROUP_COUNT);
        struct state_space *space = state_space_open(many, &OPTIONS);
        struct state_space *other = state_space_open(single, &OPTIONS);
        for (int round = 0; round < 40; round++) {
            struct state_rows rows = {.sel = sel, .hash = hash, .key = key, .at = round % 3};
            rows.time = form < 2 ? NULL : time;
            rows.key_bytes = form % 2 == 0 && round % 4 != 3 ? 8 : 0; // may be told, or not
            for (int32_t i = 0; i < ROWS; i++) {
                uint64_t number = rng_below(&rng, KEYS);
                ptrdiff_t len = form % 2 == 0 ? 8 : (ptrdiff_t)(number % 56);
                memset(text[number], (int)(number % 7), sizeof text[number]);
                memcpy(text[number], &number, sizeof number);
                key[i] = (struct str){.ptr = len > 0 ? text[number] : NULL, .len = len};
                hash[i] = key_hash(key[i]);
                time[i] = (int64_t)rng_below(&rng, 3);
                sel[rows.count] = i;
                rows.count += rng_chance(&rng, 0.9);
            }
            state_upsert_many(space, &rows, payload, created);
            for (int32_t i = 0; i < rows.count; i++) {
                int32_t row = sel[i];
                bool fresh;
                int64_t *counter = state_upsert(other, hash[row], key[row],
                                                rows.time != NULL ? time[row] : rows.at, &fresh);
                EXPECT_INT(created[i] != 0, fresh);
                ++*counter;
                ++*(int64_t *)payload[i];
            }
        }
        EXPECT_INT(state_entry_count(many), state_entry_count(single));
        EXPECT(state_digest(many) == state_digest(single));
        state_free(many);
        state_free(single);
    }
}

TEST(state_times_that_are_all_different_come_out_in_order)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &OPTIONS);
    struct rng rng;
    rng_init(&rng, test_seed());
    int32_t made = 0;
    for (int i = 0; i < 20000; i++) {
        bool created;
        state_upsert(space, key_hash(STR("k")), STR("k"), rng_range(&rng, -1000000, 1000000),
                     &created);
        made += created;
    }
    struct state_entry entries[100];
    int64_t last = INT64_MIN;
    for (int64_t until = -1000000; made > 0; until += 10007) {
        int32_t count;
        while ((count = state_take_due(space, until, entries, 100)) > 0) {
            for (int32_t i = 0; i < count; i++) {
                EXPECT(entries[i].time > last && entries[i].time <= until);
                last = entries[i].time;
            }
            made -= count;
        }
        EXPECT(state_min_time(space) > until);
    }
    EXPECT_INT(state_entry_count(state), 0);
    EXPECT(state_min_time(space) == INT64_MAX);
    state_free(state);
}

TEST(state_dump_of_all_groups_makes_an_equal_state)
{
    struct state *state = state_new(1000, 3000);
    struct state_space *space = state_space_open(state, &OPTIONS);
    struct state *copy = state_new(1000, 3000);
    state_space_open(copy, &OPTIONS);
    for (int i = 0; i < 5000; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "key number %d", i);
        struct str key = {.ptr = text, .len = len};
        uint32_t group = key_group_of(key_hash(key));
        if (group >= 1000 && group < 3000) {
            memcpy(state_upsert(space, key_hash(key), key, i % 3, NULL), &i, sizeof i);
        }
    }
    struct str key;
    struct str value;
    int64_t outside = 0;
    for (uint32_t group = 1000; group < 3000; group++) {
        uint64_t cursor = 0;
        while (state_dump_next(state, group, &cursor, &key, &value)) {
            EXPECT_INT(state_apply(copy, key, value), ERR_OK);
            outside++;
        }
    }
    EXPECT_INT(outside, state_entry_count(state));
    EXPECT(outside > 2000);
    EXPECT(state_digest(copy) == state_digest(state));
    EXPECT(!state_delta_next(copy, &key, &value));
    state_delta_end(copy);
    state_free(state);
    state_free(copy);
}

/* A row of entries with changes of the same keys, removals and refused ones between: what comes of it is what comes of one
 * after the other. */
TEST(state_apply_many_does_what_apply_does_in_order)
{
    enum { ENTRIES = 4000, KEYS = 300, ENTRY = 64 };
    static char bytes[ENTRIES][2 * ENTRY];
    static struct str key[ENTRIES], value[ENTRIES];
    struct rng rng;
    rng_init(&rng, test_seed());
    struct state *from = state_new(0, KEY_GROUP_COUNT);
    struct state *one = state_new(0, 2048), *many = state_new(0, 2048);
    struct state_space *space = state_space_open(from, &OPTIONS);
    state_space_open(one, &OPTIONS);
    state_space_open(many, &OPTIONS);
    for (int i = 0; i < ENTRIES; i++) {
        char text[32];
        struct str user = {
            .ptr = text,
            .len = snprintf(text, sizeof text, "k%llu", (unsigned long long)rng_below(&rng, KEYS))};
        int64_t *counter = state_upsert(space, key_hash(user), user, 0, NULL);
        *counter = i;
        struct str k, v;
        EXPECT(state_delta_next(from, &k, &v));
        state_delta_end(from);
        memcpy(bytes[i], k.ptr, (size_t)k.len);
        memcpy(bytes[i] + ENTRY, v.ptr, (size_t)v.len);
        key[i] = (struct str){.ptr = bytes[i], .len = k.len};
        value[i] = (struct str){.ptr = bytes[i] + ENTRY, .len = v.len};
        if (rng_chance(&rng, 0.2)) {
            value[i] = (struct str){0}; // a tombstone
        } else if (rng_chance(&rng, 0.05)) {
            value[i].len--;
        }
    }
    for (int32_t at = 0; at < ENTRIES;) {
        enum err results[STATE_APPLY_MAX];
        int32_t count = 1 + (int32_t)rng_below(&rng, STATE_APPLY_MAX);
        count = count < ENTRIES - at ? count : ENTRIES - at;
        state_apply_many(many, key + at, value + at, count, results);
        for (int32_t i = 0; i < count; i++) {
            EXPECT_INT(results[i], state_apply(one, key[at + i], value[at + i]));
        }
        at += count;
    }
    EXPECT(state_entry_count(one) > 50);
    EXPECT_INT(state_entry_count(many), state_entry_count(one));
    EXPECT(state_digest(many) == state_digest(one));
    state_free(from);
    state_free(one);
    state_free(many);
}

TEST(state_apply_refuses_what_cannot_be_its_own)
{
    struct state *state = state_new(0, 2048);
    struct state_space *space = state_space_open(state, &OPTIONS);
    struct state *other = state_new(2048, KEY_GROUP_COUNT);
    state_space_open(other, &OPTIONS);
    const char *text = "a";
    while (key_group_of(hash64(text, 1)) >= 2048) {
        text = text[0] == 'a' ? "b" : text[0] == 'b' ? "c" : text[0] == 'c' ? "d" : "e";
    }
    state_upsert(space, hash64(text, 1), (struct str){.ptr = text, .len = 1}, 5, NULL);
    struct str key;
    struct str value;
    EXPECT(state_delta_next(state, &key, &value));
    char bytes[64];
    memcpy(bytes, key.ptr, (size_t)key.len);
    struct str copy = {.ptr = bytes, .len = key.len};
    EXPECT_INT(state_apply(other, copy, value), ERR_NOT_FOUND);
    EXPECT_INT(state_apply(state, copy, (struct str){.ptr = value.ptr, .len = PAYLOAD - 1}),
               ERR_CORRUPT);
    EXPECT_INT(state_apply(state, (struct str){.ptr = bytes, .len = 13}, value), ERR_CORRUPT);
    bytes[1] ^= 1; // another group than the key's own
    EXPECT_INT(state_apply(state, copy, value), ERR_CORRUPT);
    bytes[1] ^= 1;
    bytes[3] ^= 1; // another space
    EXPECT_INT(state_apply(state, copy, value), ERR_NOT_FOUND);
    state_free(state);
    state_free(other);
}

TEST(state_composite_keys_stay_in_the_group_of_the_record_key)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state *copy = state_new(0, KEY_GROUP_COUNT);
    struct state_space_options options = OPTIONS;
    options.composite = true;
    struct state_space *space = state_space_open(state, &options);
    state_space_open(copy, &options);
    char buffer[64];
    uint64_t hash;
    struct str whole =
        state_composite_key(buffer, key_hash(STR("user")), STR("user"), STR("order 7"), &hash);
    EXPECT_INT(key_group_of(hash), key_group_of(key_hash(STR("user"))));
    state_upsert(space, hash, whole, 0, NULL);
    struct str key;
    struct str value;
    EXPECT(state_delta_next(state, &key, &value));
    uint32_t group;
    uint32_t id;
    struct str record_key;
    EXPECT(state_entry_key(key, &group, &id, &record_key));
    EXPECT_STR(record_key, STR("user"));
    EXPECT_INT(state_apply(copy, key, value), ERR_OK);
    EXPECT(state_digest(copy) == state_digest(state));
    state_free(state);
    state_free(copy);
}

TEST(state_with_nothing_to_remember_holds_no_tables)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &OPTIONS);
    EXPECT_INT(state_bytes_used(state), 0);
    EXPECT(state_find(space, key_hash(STR("a")), STR("a"), 0) == NULL);
    EXPECT(!state_delete(space, key_hash(STR("a")), STR("a"), 0));
    EXPECT(state_min_time(space) == INT64_MAX);
    EXPECT_INT(state_bytes_used(state), 0);
    state_free(state);
}

TEST(state_memory_does_not_grow_when_the_same_amount_comes_and_goes)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &OPTIONS);
    int64_t after_warm_up = 0;
    struct state_entry entries[64];
    for (int64_t window = 0; window < 40; window++) {
        for (int i = 0; i < 2000; i++) {
            char text[64];
            int len =
                snprintf(text, sizeof text, "a key that is longer than a slot has room %d", i);
            struct str key = {.ptr = text, .len = len};
            void *payload = state_upsert(space, key_hash(key), key, window, NULL);
            EXPECT(state_tail_resize(space, key_hash(key), payload, 100) != NULL);
        }
        while (state_take_due(space, window, entries, 64) > 0) {
        }
        EXPECT_INT(state_entry_count(state), 0);
        struct str key;
        struct str value;
        while (state_delta_next(state, &key, &value)) {
        }
        state_delta_end(state);
        if (window == 4) {
            after_warm_up = state_bytes_used(state);
        }
    }
    EXPECT_INT(state_bytes_used(state), after_warm_up);
    state_free(state);
}

enum { LISTED_KEYS = 600, LISTED_TIMES = 3, LISTED_GROUPS = 40 };

static const struct state_space_options LISTED = {
    .name = {"w/listed", 8}, .schema = {"listed", 6}, .payload_bytes = 8, .listed = true};

/* Keys of a few key groups at some times each, so that entries of one table move as others go. */
static int64_t put_listed(struct state_space *space, int64_t times, int64_t step)
{
    int64_t made = 0;
    for (int32_t i = 0, keys = 0; keys < LISTED_KEYS; i++) {
        char text[16];
        struct str key = {text, snprintf(text, sizeof text, "k%d", i)};
        uint64_t hash = hash64(key.ptr, key.len);
        if (key_group_of(hash) >= LISTED_GROUPS) {
            continue;
        }
        keys++;
        for (int64_t t = 0; t < times; t++) {
            bool created;
            int64_t *payload = state_upsert(space, hash, key, t * step, &created);
            *payload = i;
            made += created;
        }
    }
    return made;
}

/* Walks over the entries of a time; `repeats` tells whether one may be shown again. Removes those whose number is odd, and
 * with `beside` those that their keys have at that time. Returns how many there were. */
static int64_t walk_listed(struct state_space *space, int64_t time, int64_t beside, bool repeats)
{
    static uint8_t seen[1 << 20];
    memset(seen, 0, sizeof seen);
    struct state_walk walk = {.time = time, .beside = beside >= 0 ? beside : STATE_NO_TIME};
    struct state_due *due;
    struct state_due *other;
    int32_t count;
    int64_t all = 0;
    while ((count = state_walk_next(space, &walk, &due, &other)) > 0) {
        for (int32_t i = 0; i < count; i++) {
            int64_t number = *(int64_t *)due[i].payload;
            CHECK(seen[number] == 0 || repeats);
            all += seen[number] == 0;
            seen[number] = 1;
            due[i].verdict = number % 2 != 0 ? STATE_REMOVE : STATE_CHANGED;
            if (other != NULL && other[i].payload != NULL) {
                CHECK(*(int64_t *)other[i].payload == number &&
                      str_equal(other[i].key, due[i].key));
                other[i].verdict = due[i].verdict;
            }
        }
        state_walk_settle(space);
    }
    return all;
}

static int64_t walk_over(struct state_space *space, int64_t time, int64_t beside)
{
    return walk_listed(space, time, beside, false);
}

TEST(state_is_walked_over_where_it_stands)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &LISTED);
    EXPECT(state_listed_from(space, INT64_MIN) == INT64_MAX);
    EXPECT(put_listed(space, LISTED_TIMES, 10) == LISTED_KEYS * LISTED_TIMES);
    EXPECT(state_listed_from(space, INT64_MIN) == 0);
    EXPECT(state_listed_from(space, 1) == 10);
    EXPECT(state_listed_from(space, 21) == INT64_MAX);
    EXPECT(walk_over(space, 5, -1) == 0);
    EXPECT(walk_over(space, 0, 20) == LISTED_KEYS);
    int64_t even = walk_over(space, 0, -1);
    EXPECT(even > 0 && even < LISTED_KEYS);
    EXPECT(walk_over(space, 20, -1) == even); // went beside those of the first time
    EXPECT(walk_over(space, 10, -1) == LISTED_KEYS);
    EXPECT(state_entry_count(state) == LISTED_TIMES * even);
    struct str key;
    struct str value;
    int64_t changed = 0;
    while (state_delta_next(state, &key, &value)) {
        changed += value.ptr != NULL;
    }
    state_delta_end(state);
    EXPECT(changed == LISTED_TIMES * even);
    state_free(state);
}

/* How many entries of a time have one of another time beside them; nothing changes. */
static int64_t count_beside(struct state_space *space, int64_t time, int64_t beside)
{
    struct state_walk walk = {.time = time, .beside = beside};
    struct state_due *due;
    struct state_due *other;
    int32_t count;
    int64_t found = 0;
    while ((count = state_walk_next(space, &walk, &due, &other)) > 0) {
        for (int32_t i = 0; i < count; i++) {
            found += other[i].payload != NULL;
        }
        state_walk_settle(space);
    }
    return found;
}

TEST(state_walks_find_beside_them_what_was_made_since)
{
    enum { KEYS = 20000, OWN = 0, OTHER = 10, STEP = 2500 };
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &LISTED);
    int64_t made = 0;
    for (int32_t i = 0; i < KEYS; i++) {
        uint64_t hash = hash64((const char *)&i, sizeof i);
        struct str key = {(const char *)&i, sizeof i};
        state_upsert(space, hash, key, OWN, NULL);
        if (i % 3 == 0) {
            state_upsert(space, hash, key, OTHER, NULL);
            made++;
        }
        if (i % STEP == 0) { // first of few, then of more than were foreseen
            EXPECT(count_beside(space, OWN, OTHER) == made);
        }
    }
    EXPECT(count_beside(space, OWN, OTHER) == made);
    EXPECT(count_beside(space, OTHER, OWN) == made);
    EXPECT(count_beside(space, OWN, OTHER + 1) == 0);
    EXPECT(count_beside(space, OWN, OTHER) == made);
    state_free(state);
}

TEST(state_that_is_listed_forgets_what_is_gone_and_takes_what_comes_with_a_group)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state *other = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &LISTED);
    struct state_space *into = state_space_open(other, &LISTED);
    put_listed(space, 1, 1);
    struct str key;
    struct str value;
    while (state_delta_next(state, &key, &value)) {
    }
    state_delta_end(state);
    for (uint32_t group = 0; group < LISTED_GROUPS; group++) {
        struct state_group *tables = state_detach(state, group);
        EXPECT(tables != NULL);
        state_attach(other, tables);
    }
    EXPECT(walk_over(space, 0, -1) == 0);
    EXPECT(state_listed_from(space, INT64_MIN) == INT64_MAX);
    EXPECT(walk_over(into, 0, -1) == LISTED_KEYS);
    while (state_delta_next(other, &key, &value)) {
    }
    state_delta_end(other);
    // Gone and back many times between two walks: the list stays in proportion to what there is.
    int64_t before = state_bytes_used(other);
    for (int32_t turn = 0; turn < 40; turn++) {
        for (uint32_t group = 0; group < LISTED_GROUPS; group++) {
            state_attach(other, state_detach(other, group));
        }
    }
    EXPECT(state_bytes_used(other) < before + 4 * 8 * LISTED_KEYS);
    int64_t left = state_entry_count(other);
    EXPECT(walk_listed(into, 0, -1, true) == left);
    EXPECT(state_entry_count(other) == left); // no odd ones were left
    state_free(state);
    state_free(other);
}

TEST(state_that_is_listed_bears_more_times_than_it_has_buckets)
{
    enum { TIMES = 1000, STEP = 7 };
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &LISTED);
    for (int32_t i = 0; i < TIMES; i++) {
        char text[16];
        struct str key = {text, snprintf(text, sizeof text, "k%d", i)};
        int64_t *payload =
            state_upsert(space, hash64(key.ptr, key.len), key, (TIMES - i) * STEP, NULL);
        *payload = i;
    }
    int64_t walked = 0;
    int64_t odd = 0;
    for (int64_t time = state_listed_from(space, INT64_MIN); time != INT64_MAX;
         time = state_listed_from(space, time + 1)) {
        EXPECT(time == (walked + 1) * STEP);
        EXPECT(walk_over(space, time, -1) == 1);
        odd += (TIMES - ++walked) % 2;
    }
    EXPECT(walked == TIMES);
    EXPECT(state_entry_count(state) == TIMES - odd);
    state_free(state);
}

/* Puts `count` keys of one key group and time; of every eighth, the first 8 bytes are those of the one before. */
static void put_of_one_time(struct state_space *space, struct rng *rng, int32_t count)
{
    struct due_key {
        uint64_t first, second;
    } key = {0};
    for (int32_t made = 0; made < count;) {
        key.first = made % 8 == 7 ? key.first : rng_u64(rng);
        key.second = rng_u64(rng);
        struct str text = {(const char *)&key, made % 8 >= 6 ? 16 : 8};
        uint64_t group = UINT64_C(7) << 52; // whichever it is, the caller of the interface says
        state_upsert(space, group | (hash64(text.ptr, text.len) >> 12), text, 5, NULL);
        made++;
    }
}

static bool keys_rise(const struct state_due *due, int32_t count)
{
    for (int32_t i = 1; i < count; i++) {
        if (str_compare(due[i - 1].key, due[i].key) >= 0) {
            return false;
        }
    }
    return true;
}

TEST(state_shows_what_is_due_in_order_however_many_there_are)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int32_t count = 1; count <= 70; count++) {
        struct state *state = state_new(0, KEY_GROUP_COUNT);
        struct state_space_options options = {
            .name = STR("w/due"), .schema = STR("due"), .payload_bytes = 8, .timed = true};
        struct state_space *space = state_space_open(state, &options);
        put_of_one_time(space, &rng, count);
        uint32_t group = 0;
        struct state_due *due;
        EXPECT_INT(state_due_begin(space, 5, &group, &due), count);
        EXPECT(keys_rise(due, count));
        state_due_end(space); // all are left
        EXPECT_INT(state_min_time(space), 5);
        EXPECT_INT(state_entry_count(state), count);
        state_free(state);
    }
}

TEST(state_that_is_listed_shows_entries_that_one_reference_names)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct state_space *space = state_space_open(state, &LISTED);
    uint64_t hash = hash64("k1", 2);
    for (int64_t time = 0; time < 2; time++) {
        *(int64_t *)state_upsert(space, hash, STR("k0"), time, NULL) = 0;
        *(int64_t *)state_upsert(space, hash, STR("k1"), time, NULL) = 1;
        *(int64_t *)state_upsert(space, hash, STR("k2"), time, NULL) = 2;
    }
    EXPECT_INT(walk_over(space, 0, 1), 3); // k1 goes, at both times
    EXPECT_INT(walk_over(space, 0, -1), 2);
    EXPECT_INT(walk_over(space, 1, -1), 2);
    state_free(state);
}
