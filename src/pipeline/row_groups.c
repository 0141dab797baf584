// SPDX-License-Identifier: Apache-2.0
#include "pipeline/row_groups.h"

#include <string.h>

#include "base/attr.h"
#include "pipeline/state_probe.h"

enum {
    LOOK_ROWS = 64,   /* by which it is told whether grouping pays */
    PAYS_ONE_IN = 4,  /* of them must meet a row of their own */
    PASS_OVER = 15,   /* batches, where it did not */
    NO_GROUP = 0xffff /* an empty place */
};

static ATTR_ALWAYS_INLINE bool keys_equal(struct str a, struct str b)
{
    return a.len == b.len && short_equal(a.ptr, b.ptr, a.len);
}

/* Goes on from row `from` of rows->sel up to `to`; returns how many groups there are now.
 *   told   whether hashes tell keys apart, and all rows have one time */
static ATTR_ALWAYS_INLINE int32_t group_as(struct row_groups *groups, const struct state_rows *rows,
                                           int32_t from, int32_t to, int32_t count, int32_t *first,
                                           bool told)
{
    const uint64_t *hash = rows->hash;
    for (int32_t i = from; i < to; i++) {
        int32_t row = rows->sel[i];
        uint64_t place = (hash[row] ^ hash[row] >> 32) % ROW_GROUP_PLACES;
        uint16_t group;
        while ((group = groups->places[place]) != NO_GROUP) {
            int32_t other = first[group];
            if (hash[other] == hash[row] &&
                (told || ((rows->time == NULL || rows->time[other] == rows->time[row]) &&
                          keys_equal(rows->key[other], rows->key[row])))) {
                break;
            }
            place = (place + 1) % ROW_GROUP_PLACES;
        }
        if (group == NO_GROUP) {
            group = (uint16_t)count;
            groups->places[place] = group;
            first[count++] = row;
        }
        groups->of[i] = group;
    }
    return count;
}

/* XXH3 of as many bytes, from 4 to 8, is a bijection: two rotations added, odd factors, shifts to the right added. So keys of one
 * such length are equal if their hashes are. */
static int32_t group_rows(struct row_groups *groups, const struct state_rows *rows, int32_t from,
                          int32_t to, int32_t count, int32_t *first)
{
    enum { LEAST_BYTES = 4, MOST_BYTES = 8 };
    bool told =
        rows->time == NULL && rows->key_bytes >= LEAST_BYTES && rows->key_bytes <= MOST_BYTES;
    return told ? group_as(groups, rows, from, to, count, first, true)
                : group_as(groups, rows, from, to, count, first, false);
}

int32_t row_groups_find(struct row_groups *groups, const struct state_rows *rows,
                        int32_t *ret_first)
{
    if (groups->pass_over > 0) {
        groups->pass_over--;
        return -1;
    }
    memset(groups->places, 0xff, sizeof groups->places);
    int32_t look = rows->count < LOOK_ROWS ? rows->count : LOOK_ROWS;
    int32_t count = group_rows(groups, rows, 0, look, 0, ret_first);
    if ((look - count) * PAYS_ONE_IN < look) {
        groups->pass_over = rows->count < LOOK_ROWS ? 0 : PASS_OVER;
        return -1;
    }
    return group_rows(groups, rows, look, rows->count, count, ret_first);
}
