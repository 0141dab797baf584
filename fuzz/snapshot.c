// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/catalog.h"

/* Entries of a journal's snapshot from a hostile disk: one is refused, which ends it all, or they make a catalog whose own
 * snapshot makes the same catalog again. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* False: one was refused. */
static bool apply_all(struct catalog *catalog, const uint8_t *data, ptrdiff_t size)
{
    struct wire_in in = {.at = data, .end = data + size};
    struct wire_in body;
    uint32_t kind = 0;
    while (entry_next(&in, &kind, &body)) {
        if (kind == ENTRY_BATCH || catalog_apply(catalog, kind, body) != ERR_OK) {
            return false;
        }
    }
    return !in.bad;
}

static void check_again(const struct catalog *catalog)
{
    struct shard_table *shards = MEM_NEW(struct shard_table);
    struct catalog again;
    struct wire_out first = {0}, second = {0};
    catalog_init(&again, shards);
    IGNORE_RESULT(catalog_snapshot(catalog, &first));
    CHECK(apply_all(&again, first.bytes, first.len));
    IGNORE_RESULT(catalog_snapshot(&again, &second));
    CHECK(first.len == second.len && memcmp(first.bytes, second.bytes, (size_t)first.len) == 0);
    wire_release(&first);
    wire_release(&second);
    catalog_release(&again);
    shard_table_release(shards);
    mem_free(shards);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shard_table *shards = MEM_NEW(struct shard_table);
    struct catalog catalog;
    catalog_init(&catalog, shards);
    if (apply_all(&catalog, data, (ptrdiff_t)size)) {
        check_again(&catalog);
    }
    catalog_release(&catalog);
    shard_table_release(shards);
    mem_free(shards);
    return 0;
}
