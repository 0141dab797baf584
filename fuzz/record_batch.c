// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "log/record_batch.h"

/* Record batches from a hostile writer. The input's lengths and checksum are mended, so that the fuzzer gets behind them;
 * then all that reads a batch must agree with itself and stay within its bytes. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MANY = 7 };

static void mend(uint8_t *bytes, size_t len)
{
    memset(bytes + 8, 0, 8); /* length and leader epoch */
    for (int i = 0; i < 4; i++) {
        bytes[8 + i] = (uint8_t)((len - 12) >> (24 - 8 * i));
    }
    bytes[16] = 2;
    uint32_t crc = crc32c(0, bytes + 21, (ptrdiff_t)len - 21);
    for (int i = 0; i < 4; i++) {
        bytes[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

/* One by one and many at once: the same records, the same verdict. */
static void read_both_ways(struct record_reader *one, struct record_reader *many,
                           const uint8_t *bytes, ptrdiff_t total)
{
    enum err err = record_reader_begin(one, bytes, total, NULL);
    CHECK(record_reader_begin(many, bytes, total, NULL) == err);
    int64_t last_offset = -1;
    int32_t got = err == ERR_OK ? MANY : 0, at = MANY;
    int64_t offset[MANY], timestamp[MANY];
    struct str key[MANY], value[MANY];
    while (err == ERR_OK) {
        struct record record;
        err = record_reader_next(one, &record, NULL);
        if (at == got && got == MANY) {
            struct record_arrays arrays = {offset, timestamp, key, value, NULL, NULL};
            got = record_reader_next_many(many, &arrays, MANY);
            at = 0;
        }
        if (err != ERR_OK) {
            CHECK(err == ERR_NOT_FOUND || err == ERR_CORRUPT);
            break;
        }
        CHECK(record.offset > last_offset);
        last_offset = record.offset;
        if (got >= 0) { /* a piece that meets what is malformed is refused as a whole */
            CHECK(at < got && offset[at] == record.offset && timestamp[at] == record.timestamp_ms &&
                  str_equal(key[at], record.key) && str_equal(value[at], record.value));
            at++;
        }
        struct str rest = record.headers, header_name, header_value;
        int32_t headers = 0;
        while (record_header_next(&rest, &header_name, &header_value)) {
            headers++;
        }
        CHECK(headers == record.header_count && rest.len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record_reader one, many;
    static bool ready;
    if (!ready) {
        record_reader_init(&one);
        record_reader_init(&many);
        ready = true;
    }
    if (size < RECORD_BATCH_HEADER || size > 1 << 20) {
        return 0;
    }
    uint8_t *bytes = malloc(size); /* of exactly that size, so that a step outside is seen */
    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    mend(bytes, size);
    struct record_batch_header header;
    ptrdiff_t total;
    if (record_batch_parse(bytes, (ptrdiff_t)size, &header, &total, NULL) == ERR_OK) {
        CHECK(total == (ptrdiff_t)size && record_batch_verify(bytes, total, NULL) == ERR_OK);
        read_both_ways(&one, &many, bytes, total);
    }
    free(bytes);
    return 0;
}
