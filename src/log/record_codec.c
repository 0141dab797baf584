// SPDX-License-Identifier: Apache-2.0
#include "log/record_codec.h"

#include <lz4frame.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    GUESS_MIN =
        64 << 10, /* bytes a reader's buffer begins with when the frame does not state its size */
    GUESS_RATIO = 4,
    ZSTD_LEVEL = 1 /* the log is read once or twice: speed before size */
};

struct record_inflater {
    LZ4F_dctx *lz4;
    ZSTD_DCtx *zstd;
};

struct record_deflater {
    LZ4F_cctx *lz4;
    ZSTD_CCtx *zstd;
    uint8_t *bytes;
    ptrdiff_t cap;
};

struct record_inflater *record_inflater_new(void)
{
    return MEM_NEW(struct record_inflater);
}

void record_inflater_free(struct record_inflater *inflater)
{
    if (inflater == NULL) {
        return;
    }
    LZ4F_freeDecompressionContext(inflater->lz4);
    ZSTD_freeDCtx(inflater->zstd);
    mem_free(inflater);
}

/* The content size in an lz4 frame's header, 0 if there is none. Frame: magic u32, flags u8 (bit 3: size present),
 * block descriptor u8, size u64 little endian. Source: LZ4 frame format 1.6. */
static uint64_t lz4_stated_size(const uint8_t *bytes, ptrdiff_t len)
{
    enum { SIZE_AT = 6, SIZE_FLAG = 8, FLAGS_AT = 4 };
    uint64_t size = 0;
    if (len >= SIZE_AT + 8 && (bytes[FLAGS_AT] & SIZE_FLAG) != 0) {
        for (int i = 7; i >= 0; i--) {
            size = size << 8 | bytes[SIZE_AT + i];
        }
    }
    return size;
}

ptrdiff_t record_inflate_guess(enum record_codec codec, struct str from)
{
    uint64_t stated = 0;
    const uint8_t *bytes = (const uint8_t *)from.ptr;
    ptrdiff_t len = from.len;
    if (codec == RECORD_CODEC_LZ4) {
        stated = lz4_stated_size(bytes, len);
    } else {
        unsigned long long size = ZSTD_getFrameContentSize(bytes, (size_t)len);
        stated = size != ZSTD_CONTENTSIZE_UNKNOWN && size != ZSTD_CONTENTSIZE_ERROR ? size : 0;
    }
    if (stated > 0) {
        return stated < PTRDIFF_MAX / 2 ? (ptrdiff_t)stated : PTRDIFF_MAX / 2;
    }
    return len * GUESS_RATIO > GUESS_MIN ? len * GUESS_RATIO : GUESS_MIN;
}

static enum err inflate_lz4(struct record_inflater *inflater, const uint8_t *bytes, ptrdiff_t len,
                            uint8_t *to, ptrdiff_t cap, ptrdiff_t *ret_len, struct err_info *info)
{
    if (inflater->lz4 == NULL) {
        CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&inflater->lz4, LZ4F_VERSION)));
    }
    LZ4F_resetDecompressionContext(inflater->lz4);
    LZ4F_decompressOptions_t options = {.stableDst = 1}; /* no copy of what went before */
    ptrdiff_t at = 0, done = 0;
    for (;;) {
        size_t from_len = (size_t)(len - at), to_len = (size_t)(cap - done);
        size_t left =
            LZ4F_decompress(inflater->lz4, to + done, &to_len, bytes + at, &from_len, &options);
        if (LZ4F_isError(left)) {
            return err_set(info, ERR_CORRUPT, "lz4 frame of %td bytes: %s", len,
                           LZ4F_getErrorName(left));
        }
        at += (ptrdiff_t)from_len;
        done += (ptrdiff_t)to_len;
        if (left == 0) {
            break;
        }
        if (from_len == 0 && to_len == 0) { /* it can go on with neither */
            return done == cap && at < len
                       ? err_set(info, ERR_LIMIT, "lz4 frame inflates to more than %td bytes", cap)
                       : err_set(info, ERR_CORRUPT, "lz4 frame of %td bytes is cut short", len);
        }
    }
    if (at != len) {
        return err_set(info, ERR_CORRUPT, "%td bytes behind the lz4 frame", len - at);
    }
    *ret_len = done;
    return ERR_OK;
}

static enum err inflate_zstd(struct record_inflater *inflater, const uint8_t *bytes, ptrdiff_t len,
                             uint8_t *to, ptrdiff_t cap, ptrdiff_t *ret_len, struct err_info *info)
{
    if (inflater->zstd == NULL) {
        inflater->zstd = ZSTD_createDCtx();
        CHECK(inflater->zstd != NULL);
    }
    /* In one go: needs no window of its own, whatever the frame asks for. */
    size_t done = ZSTD_decompressDCtx(inflater->zstd, to, (size_t)cap, bytes, (size_t)len);
    if (ZSTD_isError(done)) {
        if (ZSTD_getErrorCode(done) == ZSTD_error_dstSize_tooSmall) {
            return err_set(info, ERR_LIMIT, "zstd frame inflates to more than %td bytes", cap);
        }
        return err_set(info, ERR_CORRUPT, "zstd frame of %td bytes: %s", len,
                       ZSTD_getErrorName(done));
    }
    *ret_len = (ptrdiff_t)done;
    return ERR_OK;
}

enum err record_inflate(struct record_inflater *inflater, enum record_codec codec, struct str from,
                        void *to, ptrdiff_t cap, ptrdiff_t *ret_len, struct err_info *info)
{
    const uint8_t *bytes = (const uint8_t *)from.ptr;
    return codec == RECORD_CODEC_LZ4
               ? inflate_lz4(inflater, bytes, from.len, to, cap, ret_len, info)
               : inflate_zstd(inflater, bytes, from.len, to, cap, ret_len, info);
}

struct record_deflater *record_deflater_new(void)
{
    return MEM_NEW(struct record_deflater);
}

void record_deflater_free(struct record_deflater *deflater)
{
    if (deflater == NULL) {
        return;
    }
    LZ4F_freeCompressionContext(deflater->lz4);
    ZSTD_freeCCtx(deflater->zstd);
    mem_free(deflater->bytes);
    mem_free(deflater);
}

static void deflater_reserve(struct record_deflater *deflater, size_t need)
{
    if ((size_t)deflater->cap < need) {
        ptrdiff_t cap = (ptrdiff_t)need + (ptrdiff_t)need / 4;
        mem_free(deflater->bytes);
        deflater->bytes = mem_new(cap, 1);
        deflater->cap = cap;
    }
}

/* The streaming calls, because the one-shot one makes a context each time. */
static size_t deflate_lz4(struct record_deflater *deflater, const uint8_t *from, size_t len,
                          size_t skip)
{
    if (deflater->lz4 == NULL) {
        CHECK(!LZ4F_isError(LZ4F_createCompressionContext(&deflater->lz4, LZ4F_VERSION)));
    }
    LZ4F_preferences_t prefs = {
        .frameInfo = {.blockSizeID = LZ4F_max256KB,
                      .blockMode = LZ4F_blockIndependent,
                      .contentSize = len},
        .autoFlush = 1,
    };
    deflater_reserve(deflater, skip + LZ4F_HEADER_SIZE_MAX + LZ4F_compressBound(len, &prefs));
    size_t cap = (size_t)deflater->cap;
    size_t at = skip;
    size_t done = LZ4F_compressBegin(deflater->lz4, deflater->bytes + at, cap - at, &prefs);
    CHECK(!LZ4F_isError(done));
    at += done;
    done = LZ4F_compressUpdate(deflater->lz4, deflater->bytes + at, cap - at, from, len, NULL);
    CHECK(!LZ4F_isError(done));
    at += done;
    done = LZ4F_compressEnd(deflater->lz4, deflater->bytes + at, cap - at, NULL);
    CHECK(!LZ4F_isError(done));
    return at + done;
}

static size_t deflate_zstd(struct record_deflater *deflater, const uint8_t *from, size_t len,
                           size_t skip)
{
    if (deflater->zstd == NULL) {
        deflater->zstd = ZSTD_createCCtx();
        CHECK(deflater->zstd != NULL);
        CHECK(!ZSTD_isError(
            ZSTD_CCtx_setParameter(deflater->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)));
    }
    deflater_reserve(deflater, skip + ZSTD_compressBound(len));
    size_t done = ZSTD_compress2(deflater->zstd, deflater->bytes + skip,
                                 (size_t)deflater->cap - skip, from, len);
    CHECK(!ZSTD_isError(done));
    return skip + done;
}

uint8_t *record_deflate(struct record_deflater *deflater, enum record_codec codec,
                        const uint8_t *bytes, ptrdiff_t len, ptrdiff_t skip, ptrdiff_t *ret_len)
{
    const uint8_t *from = bytes + skip;
    size_t from_len = (size_t)(len - skip);
    size_t done = codec == RECORD_CODEC_LZ4 ? deflate_lz4(deflater, from, from_len, (size_t)skip)
                                            : deflate_zstd(deflater, from, from_len, (size_t)skip);
    *ret_len = (ptrdiff_t)done;
    return deflater->bytes;
}
