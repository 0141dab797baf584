// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_BARE_YSB_H
#define BENCH_BARE_YSB_H

#include <stddef.h>
#include <stdint.h>

#include "bench/rows.h"
#include "load/ysb.h"

/* Yahoo's streaming benchmark written by hand for this one purpose: views, their ads' campaigns by a table in memory,
 * counts of a campaign and 10 s. Events come in order of event time. Results are counted and summed, not written. */

struct bare_ysb;

struct bare_ysb *bare_ysb_new(const struct ysb_options *options);
void bare_ysb_free(struct bare_ysb *bare);

/* One record batch whose values are JSON, or the 78 bytes of ysb_binary(): checksum held, records walked. `len`: what the
 * input has left. Returns its records.
 *   ret_total   its bytes */
int64_t bare_ysb_json_batch(struct bare_ysb *bare, const char *bytes, int64_t len,
                            ptrdiff_t *ret_total);
int64_t bare_ysb_binary_batch(struct bare_ysb *bare, const char *bytes, int64_t len,
                              ptrdiff_t *ret_total);

/* JSON values alone, padded: what simdjson needs and no more. */
void bare_ysb_values(struct bare_ysb *bare, const struct str *values, int32_t count);

/* The input has ended: the open window closes. */
void bare_ysb_finish(struct bare_ysb *bare);

int64_t bare_ysb_results(const struct bare_ysb *bare);

#endif
