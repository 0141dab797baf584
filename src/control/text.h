// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_TEXT_H
#define CONTROL_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "control/entity.h"

/* Text that grows in an arena: what answers are written into. A text that would pass the arena's limit stops growing and
 * says so; the writer asks once, at the end. */
struct text {
    struct arena *arena;
    char *ptr;
    ptrdiff_t len, cap;
    bool cut; /* the limit was met: what is there is not all */
};

void text_init(struct text *text, struct arena *arena);
void text_add(struct text *text, struct str bytes);
void text_printf(struct text *text, const char *fmt, ...) ATTR_PRINTF(2, 3);
struct str text_str(const struct text *text);

/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD; use text_json_base64 where they matter. */
void text_json_str(struct text *text, struct str value);
void text_json_base64(struct text *text, struct str value);

void text_json_i64(struct text *text, int64_t value);

/* The shortest number that reads back as the same one; not-a-number and infinities are null. */
void text_json_f64(struct text *text, double value);

/* A row as a JSON object by its field table. */
void text_json_row(struct text *text, const struct entity *entity, const void *row);

/* Rows as they are kept in streams: {"entity": name, "fields": [names], "rows": [[values], ...]}. */
void text_json_table(struct text *text, const struct entity *entity, const void *rows,
                     int32_t count);

/* Length of the valid UTF-8 sequence that `at` begins with; 0 if there is none (overlong, surrogate, cut). */
ptrdiff_t text_utf8_length(struct str at);
bool text_utf8_valid(struct str text);

#endif
