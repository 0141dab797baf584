// SPDX-License-Identifier: Apache-2.0
#include "shadowstore/page.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"

static const uint32_t MAGIC = 0x47504353; /* "SCPG" */
enum { VERSION = 1, CRC_AT = 28 };

static void put_u32(uint8_t *at, uint32_t v)
{
    memcpy(at, &v,
           sizeof(v)); /* little-endian machines alone are built for (meson.build: x86-64) */
}

static void put_u64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

static uint32_t crc_of(const uint8_t *bytes, ptrdiff_t len)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(0, bytes, CRC_AT);
    crc = crc32c(crc, zeros, (ptrdiff_t)sizeof(zeros));
    return crc32c(crc, bytes + PAGE_HEADER, len - PAGE_HEADER);
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is written to later, through the draft
void page_begin(struct page_draft *draft, uint8_t *bytes)
{
    *draft = (struct page_draft){.bytes = bytes, .len = PAGE_HEADER};
}

bool page_add(struct page_draft *draft, const struct shadowstore_entry *entry, bool payload)
{
    ptrdiff_t extra = payload ? entry->payload.len : 0;
    CHECK(extra >= 0 && extra <= SHADOWSTORE_PAYLOAD_MAX);
    if (draft->len + PAGE_RESULT + extra > SHADOWSTORE_PAGE_BYTES) {
        return false;
    }
    uint8_t *at = draft->bytes + draft->len;
    put_u64(at, entry->key_hash);
    put_u64(at + 8, entry->seq);
    put_u64(at + 16, entry->digest);
    put_u32(at + 24, entry->size_bytes);
    put_u32(at + 28, (uint32_t)extra);
    if (extra > 0) {
        memcpy(at + PAGE_RESULT, entry->payload.ptr, (size_t)extra);
    }
    draft->len += (int32_t)(PAGE_RESULT + extra);
    draft->count++;
    return true;
}

void page_seal(struct page_draft *draft, uint64_t shadow, int32_t number)
{
    uint8_t *at = draft->bytes;
    put_u32(at, MAGIC);
    put_u32(at + 4, VERSION);
    put_u32(at + 8, (uint32_t)draft->count);
    put_u32(at + 12, (uint32_t)draft->len);
    put_u64(at + 16, shadow);
    put_u32(at + 24, (uint32_t)number);
    put_u32(at + CRC_AT, crc_of(at, draft->len));
}

/* Whether the results end where the page does, and are as many as it says. */
static bool results_fit(const uint8_t *bytes, ptrdiff_t len)
{
    struct shadowstore_page_reader reader;
    struct shadowstore_entry entry;
    uint32_t count = 0;
    shadowstore_page_open(&reader, bytes, len);
    while (shadowstore_page_next(&reader, &entry)) {
        count++;
    }
    return reader.at == len && count == get_u32(bytes + 8);
}

enum err page_check(const void *bytes, ptrdiff_t len, uint64_t shadow, int32_t number,
                    struct err_info *info)
{
    const uint8_t *at = bytes;
    if (len < PAGE_HEADER || len > SHADOWSTORE_PAGE_BYTES || get_u32(at) != MAGIC ||
        get_u32(at + 4) != VERSION) {
        return err_set(info, ERR_CORRUPT, "page %d of shadow %llu: %td bytes that are no page",
                       number, (unsigned long long)shadow, len);
    }
    if (get_u32(at + 12) != (uint32_t)len || get_u32(at + CRC_AT) != crc_of(at, len)) {
        return err_set(info, ERR_CORRUPT, "page %d of shadow %llu: its checksum does not hold",
                       number, (unsigned long long)shadow);
    }
    if (get_u64(at + 16) != shadow || get_u32(at + 24) != (uint32_t)number) {
        return err_set(
            info, ERR_CORRUPT, "page %d of shadow %llu: says it is page %u of shadow %llu", number,
            (unsigned long long)shadow, get_u32(at + 24), (unsigned long long)get_u64(at + 16));
    }
    if (!results_fit(at, len)) {
        return err_set(info, ERR_CORRUPT, "page %d of shadow %llu: its results do not fill it",
                       number, (unsigned long long)shadow);
    }
    return ERR_OK;
}

void shadowstore_page_open(struct shadowstore_page_reader *reader, const void *buf, ptrdiff_t bytes)
{
    *reader = (struct shadowstore_page_reader){.bytes = buf, .len = bytes, .at = PAGE_HEADER};
}

bool shadowstore_page_next(struct shadowstore_page_reader *reader,
                           struct shadowstore_entry *ret_entry)
{
    const uint8_t *at = reader->bytes + reader->at;
    if (reader->len - reader->at < PAGE_RESULT) {
        return false;
    }
    uint32_t extra = get_u32(at + 28);
    if ((ptrdiff_t)extra > reader->len - reader->at - PAGE_RESULT) {
        return false;
    }
    *ret_entry =
        (struct shadowstore_entry){.key_hash = get_u64(at),
                                   .seq = get_u64(at + 8),
                                   .digest = get_u64(at + 16),
                                   .size_bytes = get_u32(at + 24),
                                   .payload = {(const char *)at + PAGE_RESULT, (ptrdiff_t)extra}};
    reader->at += PAGE_RESULT + (ptrdiff_t)extra;
    return true;
}
