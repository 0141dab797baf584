// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "log/catalog.h"

/* Entries of a journal's snapshot from a hostile disk: each is refused, or applied; and what has been applied is a catalog
 * whose own snapshot makes the same catalog again. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply_all(struct catalog *catalog, const uint8_t *data, size_t size, bool must_fit)
{
    struct wire_in in = {.at = data, .end = data + size};
    struct wire_in body;
    uint32_t kind = 0;
    while (entry_next(&in, &kind, &body)) {
        enum err err = kind == ENTRY_BATCH ? ERR_CORRUPT : catalog_apply(catalog, kind, body);
        CHECK(err == ERR_OK || (err == ERR_CORRUPT && !must_fit));
    }
    CHECK(!must_fit || !in.bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shard_table *shards = MEM_NEW(struct shard_table);
    struct shard_table *again_shards = MEM_NEW(struct shard_table);
    struct catalog catalog, again;
    struct wire_out first = {0}, second = {0};
    catalog_init(&catalog, shards);
    catalog_init(&again, again_shards);
    apply_all(&catalog, data, size, false);
    IGNORE_RESULT(catalog_snapshot(&catalog, &first));
    apply_all(&again, first.bytes, (size_t)first.len, true);
    IGNORE_RESULT(catalog_snapshot(&again, &second));
    CHECK(first.len == second.len &&
          (first.len == 0 || memcmp(first.bytes, second.bytes, (size_t)first.len) == 0));
    wire_release(&first);
    wire_release(&second);
    catalog_release(&catalog);
    catalog_release(&again);
    shard_table_release(shards);
    shard_table_release(again_shards);
    mem_free(shards);
    mem_free(again_shards);
    return 0;
}
