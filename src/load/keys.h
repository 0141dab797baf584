// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_KEYS_H
#define LOAD_KEYS_H

#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

/* Which key the next record has: a number in [0, count). Pure: draws come from the generator handed in.
 *   uniform:COUNT                  all alike
 *   zipf:EXPONENT:COUNT            key k with probability ~ 1 / (k + 1)^EXPONENT; 0 is the hottest
 *   drift:EXPONENT:COUNT:SECONDS   the same, but who is hot moves on by one place each SECONDS of event time */

enum key_choice { KEYS_UNIFORM, KEYS_ZIPF, KEYS_DRIFT };
enum { KEYS_COUNT_MAX = 1000000000 };

struct key_chooser {
    enum key_choice choice;
    int64_t count;    /* 1..KEYS_COUNT_MAX */
    double exponent;  /* > 0, <= 20 */
    int64_t drift_ms; /* > 0 */
    /* of rejection-inversion, computed once */
    double h_integral_x1, h_integral_n, s;
};

/* Reads one of the forms above. PARSE, LIMIT. */
ATTR_NODISCARD enum err key_chooser_parse(struct str text, struct key_chooser *ret_chooser,
                                          struct err_info *info);

/* Draws a key for a record at event time `time_ms`. O(1).
 * Source: W. Hormann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
 * ACM TOMACS 6(3), 1996. */
int64_t key_chooser_draw(const struct key_chooser *chooser, struct rng *rng, int64_t time_ms);

#endif
