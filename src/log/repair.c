// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>

#include "log/embedded.h"
#include "log/scan.h"

/* Text that is cut where the buffer ends. */
struct text_out {
    char *buf;
    ptrdiff_t cap, len;
};

static void put(struct text_out *out, const char *fmt, ...) ATTR_PRINTF(2, 3);
static void put(struct text_out *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(out->buf + out->len, (size_t)(out->cap - out->len), fmt, args);
    va_end(args);
    out->len += len < out->cap - out->len ? len : out->cap - out->len - 1;
}

enum err log_embedded_repair_show(const struct fs *fs, char *buf, ptrdiff_t cap,
                                  struct err_info *info)
{
    if (cap < 1) {
        return err_set(info, ERR_INVALID, "no room for text");
    }
    struct journal_scan scan;
    enum err err = journal_scan(fs, false, &scan, info);
    if (err != ERR_OK) {
        return err;
    }
    struct text_out out = {.buf = buf, .cap = cap};
    buf[0] = 0;
    put(&out, "journal: %d segments\n", scan.count);
    for (int32_t i = 0; i < scan.count; i++) {
        const struct scanned_segment *segment = &scan.segments[i];
        if (segment->good) {
            put(&out, "  %016llx: frames %llu..%llu, good up to byte %lld of %lld%s\n",
                (unsigned long long)segment->number, (unsigned long long)segment->first_frame,
                (unsigned long long)segment->last_frame, (long long)segment->end,
                (long long)segment->bytes, segment->damaged ? ", then damage" : "");
        } else {
            put(&out, "  %016llx: no readable snapshot%s\n", (unsigned long long)segment->number,
                segment->damaged ? "" : " (never used)");
        }
    }
    char text[512];
    journal_scan_tell(&scan, text, sizeof(text));
    if (scan.tail == TAIL_CLEAN) {
        put(&out, "nothing to repair\n");
    } else {
        put(&out, "%s\n", text);
        put(&out,
            "a repair would cut %lld bytes from there on: every append and commit in them would be "
            "lost, and everything behind them\n",
            (long long)scan.tail_bytes);
    }
    journal_scan_release(&scan);
    return ERR_OK;
}
