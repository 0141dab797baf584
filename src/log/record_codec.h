// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_RECORD_CODEC_H
#define LOG_RECORD_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "log/record_batch.h"

/* Compression of the records of a batch: lz4 (frame format) and zstd, behind one face. Contexts and buffers are kept
 * from batch to batch. One thread at a time. Only record_batch.c and its tests include this. */

struct record_inflater;
struct record_deflater;

struct record_inflater *record_inflater_new(void);
void record_inflater_free(struct record_inflater *inflater); /* NULL is fine */

/* What the bytes are likely to need, inflated: the size they state, or a guess. A lie costs nothing: what is stated
 * may exceed what the caller allows, and what is written never exceeds `cap` below. */
ptrdiff_t record_inflate_guess(enum record_codec codec, struct str from);

/* Inflates all of `from` into `to`. LIMIT if `cap` is too small (its contents are then of no use), CORRUPT if they do
 * not form whole frames. Work and memory follow `from.len` and `cap`, never what the bytes claim. */
ATTR_NODISCARD enum err record_inflate(struct record_inflater *inflater, enum record_codec codec,
                                       struct str from, void *to, ptrdiff_t cap, ptrdiff_t *ret_len,
                                       struct err_info *info);

struct record_deflater *record_deflater_new(void);
void record_deflater_free(struct record_deflater *deflater); /* NULL is fine */

/* Compresses [skip, len) of `bytes` into a buffer of the deflater's in which `skip` bytes are left free in front.
 *   ret_len   of the result, `skip` included
 * The result stays until the next call. */
uint8_t *record_deflate(struct record_deflater *deflater, enum record_codec codec,
                        const uint8_t *bytes, ptrdiff_t len, ptrdiff_t skip, ptrdiff_t *ret_len);

#endif
