// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_SCAN_H
#define LOG_SCAN_H

#include "log/journal.h"

/* Reads the whole journal without changing it and judges its tail (journal.h): what recovery goes by, and what
 * `log repair --show` tells. */

enum journal_tail {
    TAIL_CLEAN,
    TAIL_TORN,   /* the last frame was not written whole: it was never acknowledged */
    TAIL_LOST,   /* unsynced mode: frames in the loss window are gone */
    TAIL_CORRUPT /* frames that may have been acknowledged cannot be read */
};

struct scanned_segment {
    uint64_t number;
    int64_t bytes;        /* of the file */
    int64_t made_bytes;   /* ... when it was made; 0: not told */
    bool good;            /* begins with a good snapshot that may be believed */
    bool open;            /* if good: it says that the one before it may not be durable */
    uint64_t first_frame; /* if good */
    uint64_t last_frame;
    int64_t last_at; /* where it begins */
    int64_t end;     /* where the good frames end */
    bool damaged;    /* something that is no good frame follows */
};

struct journal_scan {
    struct scanned_segment *segments; /* by number */
    int32_t count;
    int32_t first_good, last_good; /* indexes of the unbroken chain at the end; -1: none */
    bool gap;                      /* there are frames before it, and some between are missing */
    uint64_t store;
    uint32_t flags; /* of the last good frame */
    bool unsynced;  /* a good frame was written in that mode */
    enum journal_tail tail;
    uint64_t bad_segment; /* where the tail begins, unless clean */
    int64_t bad_offset;
    int64_t tail_bytes; /* from there to the last byte that is not zero, about */
};

/* `unsynced`: judge by that mode even if the frames do not say it. */
ATTR_NODISCARD enum err journal_scan(const struct fs *fs, bool unsynced,
                                     struct journal_scan *ret_scan, struct err_info *info);
void journal_scan_release(struct journal_scan *scan);

/* One line for people about the tail; empty if clean. */
void journal_scan_tell(const struct journal_scan *scan, char *text, ptrdiff_t cap);

/* Names in a folder, each ended by 0, in memory the caller frees. An absent folder has none. */
ATTR_NODISCARD enum err list_folder(const struct fs *fs, const char *path, char **ret_names,
                                    ptrdiff_t *ret_bytes, struct err_info *info);

/* Number in hexadecimal (or decimal) digits that make up the whole of `text` up to `suffix`; false: it is none. */
bool parse_name(const char *text, int base, const char *suffix, uint64_t *ret_number);

#endif
