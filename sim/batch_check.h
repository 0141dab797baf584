// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_BATCH_CHECK_H
#define SIM_BATCH_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* The checker's own reader and writer of Kafka record batches v2, uncompressed: it shares nothing with log/record_batch,
 * so that a mistake there cannot hide itself. Source: Kafka protocol guide, "Record Batch". */

struct check_record {
    int64_t offset;
    int64_t timestamp_ms;
    struct str key; /* ptr NULL: absent */
    struct str value;
};

struct check_producer {
    int64_t id; /* -1: none; then the others are -1 too */
    int16_t epoch;
    int32_t base_sequence;
};

enum { CHECK_RECORDS_MAX = 256 };

struct check_batch {
    int64_t base_offset;
    int64_t end_offset; /* one past the last */
    struct check_producer producer;
    ptrdiff_t bytes;
    int32_t count;
    struct check_record records[CHECK_RECORDS_MAX]; /* views into the bytes */
};

/* Decodes the batch at `bytes`. NULL, or what is wrong with it. */
const char *check_batch_decode(const uint8_t *bytes, ptrdiff_t len, struct check_batch *ret_batch);

/* Encodes `count` records into `buf`; offsets are ignored. Returns its length; `cap` must be enough (it is checked). */
ptrdiff_t check_batch_encode(uint8_t *buf, ptrdiff_t cap, const struct check_record *records,
                             int32_t count, struct check_producer producer);

#endif
