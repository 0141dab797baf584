// SPDX-License-Identifier: Apache-2.0
#ifndef SHADOWSTORE_PAGE_H
#define SHADOWSTORE_PAGE_H

#include "shadowstore/shadowstore.h"

/* A page: results of one shadow behind each other, as stored. Little-endian. Pure.
 *
 *   header  offset 0  u32 magic "SCPG"    4 u16 version, 1    6 u16 0
 *                  8  u32 results        12 u32 bytes of the page, header included
 *                 16  u64 shadow         24 u32 number of the page
 *                 28  u32 CRC32C of the page with 0 in this place
 *   result  offset 0  u64 hash of the key   8 u64 sequence   16 u64 digest
 *                 24  u32 size             28 u32 bytes of the payload, which follow */

enum { PAGE_HEADER = 32, PAGE_RESULT = 32 };

struct page_draft { /* a page being filled */
    uint8_t *bytes; /* [SHADOWSTORE_PAGE_BYTES], the caller's */
    int32_t len;
    int32_t count;
};

void page_begin(struct page_draft *draft, uint8_t *bytes);

/* Adds a result; its payload only with `payload`, which must be <= SHADOWSTORE_PAYLOAD_MAX. False: it does not fit. */
bool page_add(struct page_draft *draft, const struct shadowstore_entry *entry, bool payload);

/* Writes the header. The page is then `draft->len` bytes. */
void page_seal(struct page_draft *draft, uint64_t shadow, int32_t number);

/* Whether `bytes` are page `number` of `shadow`, whole and unchanged. CORRUPT in words otherwise. */
ATTR_NODISCARD enum err page_check(const void *bytes, ptrdiff_t len, uint64_t shadow,
                                   int32_t number, struct err_info *info);

#endif
