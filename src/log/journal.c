// SPDX-License-Identifier: Apache-2.0
#include "log/journal.h"

#include <stdio.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/catalog.h"

enum { MAGIC = 0x314a4353, AT_FLAGS = 36, SEARCH_BYTES = 1 << 20 };

void journal_path(char path[JOURNAL_PATH_MAX], uint64_t segment)
{
    int len =
        snprintf(path, JOURNAL_PATH_MAX, "log/journal/%016llx.j", (unsigned long long)segment);
    CHECK(len > 0 && len < JOURNAL_PATH_MAX);
}

static bool all_zero(const uint8_t *bytes, ptrdiff_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)len - 1) == 0);
}

uint32_t journal_zero_sectors(const uint8_t *bytes, int64_t len)
{
    uint32_t count = 0;
    for (int64_t at = 0; at < len; at += JOURNAL_SECTOR) {
        uint64_t head = 0;
        memcpy(&head, bytes + at, sizeof(head));
        count += head == 0 && all_zero(bytes + at, JOURNAL_SECTOR) ? 1 : 0;
    }
    return count;
}

void frame_seal(uint8_t *bytes, struct frame_header *header)
{
    const int64_t total = frame_total(header);
    header->entries_crc = crc32c(0, bytes + JOURNAL_HEADER, (ptrdiff_t)header->entries_bytes);
    wire_store_u64(bytes + total - JOURNAL_TRAILER, ~header->number);
    /* The first sector holds the header and is never zero. */
    header->zero_sectors = journal_zero_sectors(bytes + JOURNAL_SECTOR, total - JOURNAL_SECTOR);
    wire_store_u32(bytes, MAGIC);
    wire_store_u64(bytes + 8, header->store);
    wire_store_u64(bytes + 16, header->number);
    wire_store_u64(bytes + 24, header->segment);
    wire_store_u32(bytes + 32, header->kind);
    wire_store_u32(bytes + AT_FLAGS, header->flags);
    wire_store_u64(bytes + 40, (uint64_t)header->time_ms);
    wire_store_u32(bytes + 48, header->entries_bytes);
    wire_store_u32(bytes + 52, header->entries_crc);
    wire_store_u64(bytes + 56, (uint64_t)header->data_bytes);
    wire_store_u32(bytes + 64, header->entry_count);
    wire_store_u32(bytes + 68, header->zero_sectors);
    wire_store_u64(bytes + 72, (uint64_t)header->segment_bytes);
    wire_store_u32(bytes + 4, crc32c(0, bytes + 8, JOURNAL_HEADER - 8));
}

void frame_close(uint8_t sector[JOURNAL_SECTOR])
{
    wire_store_u32(sector + AT_FLAGS,
                   wire_load_u32(sector + AT_FLAGS) & ~(uint32_t)JOURNAL_FLAG_OPEN);
    wire_store_u32(sector + 4, crc32c(0, sector + 8, JOURNAL_HEADER - 8));
}

enum err frame_parse(const uint8_t *bytes, struct frame_header *ret_header)
{
    struct frame_header header = {
        .store = wire_load_u64(bytes + 8),
        .number = wire_load_u64(bytes + 16),
        .segment = wire_load_u64(bytes + 24),
        .kind = wire_load_u32(bytes + 32),
        .flags = wire_load_u32(bytes + AT_FLAGS),
        .time_ms = (int64_t)wire_load_u64(bytes + 40),
        .entries_bytes = wire_load_u32(bytes + 48),
        .entries_crc = wire_load_u32(bytes + 52),
        .data_bytes = (int64_t)wire_load_u64(bytes + 56),
        .entry_count = wire_load_u32(bytes + 64),
        .zero_sectors = wire_load_u32(bytes + 68),
        .segment_bytes = (int64_t)wire_load_u64(bytes + 72),
    };
    if (wire_load_u32(bytes) != MAGIC ||
        wire_load_u32(bytes + 4) != crc32c(0, bytes + 8, JOURNAL_HEADER - 8) ||
        (header.kind != JOURNAL_SNAPSHOT && header.kind != JOURNAL_GROUP) || header.number == 0 ||
        header.entries_bytes > JOURNAL_FRAME_MAX / 2 || header.data_bytes < 0 ||
        header.data_bytes > JOURNAL_FRAME_MAX / 2 || header.segment_bytes < 0 ||
        (header.segment_bytes != 0 && header.kind != JOURNAL_SNAPSHOT)) {
        return ERR_CORRUPT;
    }
    *ret_header = header;
    return ERR_OK;
}

enum err frame_reader_open(struct frame_reader *reader, const struct fs *fs, uint64_t segment,
                           struct err_info *info)
{
    char path[JOURNAL_PATH_MAX];
    journal_path(path, segment);
    reader->fs = fs;
    enum err err = fs_open(fs, path, FS_O_READ, &reader->file, info);
    if (err == ERR_OK) {
        err = fs_size(fs, reader->file, &reader->size, info);
        if (err != ERR_OK) {
            frame_reader_close(reader);
        }
    }
    return err;
}

void frame_reader_close(struct frame_reader *reader)
{
    fs_close(reader->fs, reader->file);
    reader->file.fd = -1;
}

void frame_reader_release(struct frame_reader *reader)
{
    mem_free(reader->buf);
    *reader = (struct frame_reader){.file = {-1}};
}

static void reader_reserve(struct frame_reader *reader, int64_t bytes)
{
    if (reader->cap < bytes) {
        reader->buf = mem_resize(reader->buf, (ptrdiff_t)bytes, 1);
        reader->cap = bytes;
    }
}

/* Judges a frame whose header is good and whose `got` bytes are in buf. */
static enum frame_verdict judge(struct frame_reader *reader, const struct frame_header *header,
                                int64_t got)
{
    const int64_t total = frame_total(header);
    if (got < total) {
        return FRAME_BAD; /* the file was made whole before its first use */
    }
    const uint8_t *entries = reader->buf + JOURNAL_HEADER;
    const uint64_t trailer = wire_load_u64(reader->buf + total - JOURNAL_TRAILER);
    if (crc32c(0, entries, (ptrdiff_t)header->entries_bytes) == header->entries_crc &&
        catalog_check_frame(header, entries, entries + header->entries_bytes) &&
        trailer == ~header->number) {
        return FRAME_GOOD;
    }
    if (trailer >> 56 == 0) { /* its last byte is 255 as long as numbers are below 2^56 */
        return FRAME_SHORT;
    }
    uint32_t zeros = journal_zero_sectors(reader->buf + JOURNAL_SECTOR, total - JOURNAL_SECTOR);
    return zeros > header->zero_sectors ? FRAME_SHORT : FRAME_BAD;
}

enum err frame_read(struct frame_reader *reader, int64_t offset, enum frame_verdict *ret_verdict,
                    struct frame_header *ret_header, struct err_info *info)
{
    reader_reserve(reader, JOURNAL_SECTOR);
    ptrdiff_t got = 0;
    enum err err =
        fs_read(reader->fs, reader->file, reader->buf, JOURNAL_SECTOR, offset, &got, info);
    if (err != ERR_OK) {
        return err;
    }
    if (all_zero(reader->buf, got)) {
        *ret_verdict = FRAME_END;
        return ERR_OK;
    }
    struct frame_header header;
    if (got < JOURNAL_HEADER) {
        *ret_verdict = FRAME_BAD; /* the file ends in the header */
        *ret_header = (struct frame_header){0};
        return ERR_OK;
    }
    if (frame_parse(reader->buf, &header) != ERR_OK ||
        (reader->store != 0 && header.store != reader->store)) {
        *ret_verdict = FRAME_BAD;
        if (got == JOURNAL_SECTOR &&
            all_zero(reader->buf + JOURNAL_HEADER, JOURNAL_SECTOR - JOURNAL_HEADER)) {
            *ret_verdict = FRAME_HEADLESS;
        }
        return ERR_OK;
    }
    const int64_t total = frame_total(&header);
    const int64_t there = reader->size - offset < total ? reader->size - offset : total;
    reader_reserve(reader, there);
    err = fs_read(reader->fs, reader->file, reader->buf, (ptrdiff_t)there, offset, &got, info);
    if (err == ERR_OK) {
        *ret_verdict = judge(reader, &header, got);
        *ret_header = header;
    }
    return err;
}

enum err frame_search(struct frame_reader *reader, int64_t offset, bool *ret_zero,
                      uint64_t *ret_number, struct err_info *info)
{
    uint8_t *piece = mem_resize(NULL, SEARCH_BYTES, 1);
    bool zero = true;
    uint64_t number = 0;
    enum err err = ERR_OK;
    ptrdiff_t got = SEARCH_BYTES;
    for (int64_t at = offset; err == ERR_OK && got == SEARCH_BYTES; at += SEARCH_BYTES) {
        err = fs_read(reader->fs, reader->file, piece, SEARCH_BYTES, at, &got, info);
        if (err != ERR_OK || all_zero(piece, got)) {
            continue;
        }
        zero = false;
        for (ptrdiff_t i = 0; err == ERR_OK && got - i >= JOURNAL_HEADER; i += JOURNAL_SECTOR) {
            struct frame_header header;
            if (wire_load_u32(piece + i) != MAGIC || frame_parse(piece + i, &header) != ERR_OK) {
                continue;
            }
            enum frame_verdict verdict = FRAME_BAD;
            err = frame_read(reader, at + i, &verdict, &header, info);
            if (err == ERR_OK && verdict == FRAME_GOOD && header.number > number) {
                number = header.number;
            }
        }
    }
    mem_free(piece);
    if (err == ERR_OK) {
        *ret_zero = zero;
        *ret_number = number;
    }
    return err;
}
