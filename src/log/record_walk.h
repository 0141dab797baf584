// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_RECORD_WALK_H
#define LOG_RECORD_WALK_H

#include "log/record_batch.h"

/* All records of whole batches that stand one behind another, as a read gives them. */
struct record_walk {
    struct record_reader *reader; /* borrowed: of the caller, for this walk alone */
    const char *at, *end;
    bool inside; /* of a batch that was begun */
};

static inline struct record_walk record_walk_of(struct record_reader *reader, const void *bytes,
                                                ptrdiff_t len)
{
    return (struct record_walk){.reader = reader, .at = bytes, .end = (const char *)bytes + len};
}

/* The next record; its views hold until the reader's next batch. Each batch is parsed and its CRC checked first.
 * OK; NOT_FOUND at the end; CORRUPT, LIMIT, UNSUPPORTED for a batch that cannot be read, or not to its end: the next call
 * goes on behind that batch, or ends where its length is not known. */
ATTR_NODISCARD enum err record_walk_next(struct record_walk *walk, struct record *ret_record,
                                         struct err_info *info);

#endif
