// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_LOOKUP_CACHE_H
#define PIPELINE_LOOKUP_CACHE_H

#include "pipeline/batch.h"
#include "pipeline/lookup_table.h"

/* Fields of a lookup table's rows as they were read last, so that a row asked for again and again is not read as JSON each
 * time. Direct-mapped: a row has one place, where it replaces another. All memory is taken at the start and bounded; when
 * the part for texts is full, everything is forgotten and it fills anew. One thread at a time. */

enum { LOOKUP_CACHE_BYTES_MAX = 256 << 20 };

struct lookup_cache;

/* A cache of at most `bytes` (0..LOOKUP_CACHE_BYTES_MAX) for rows with these fields; NULL if not even some rows would
 * fit: the other functions take NULL as a cache that never holds anything. */
struct lookup_cache *lookup_cache_new(int64_t bytes, const enum value_type *types, int32_t count);
void lookup_cache_free(struct lookup_cache *cache);

/* Tells whose rows come next; another snapshot than before empties the cache. Keeps a reference. */
void lookup_cache_of(struct lookup_cache *cache, struct lookup_table *table);

/* Fills row `row` of the fields' columns (each with a null map) with what is held of the table's row `text`; texts are
 * copied to `arena`. False: not held. */
bool lookup_cache_get(struct lookup_cache *cache, struct str text, struct column *to, int32_t row,
                      struct arena *arena);

/* Holds row `row` of the columns as the table's row `text`. */
void lookup_cache_put(struct lookup_cache *cache, struct str text, const struct column *from,
                      int32_t row);

#endif
