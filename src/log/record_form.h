// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_RECORD_FORM_H
#define LOG_RECORD_FORM_H

#include <endian.h>
#include <immintrin.h>
#include <string.h>

#include "base/attr.h"
#include "log/record_batch.h"

/* Records that are written alike: the same lengths of record, key and value, as many bytes for the deltas of time and
 * offset, no headers, each offset the one after the last. Fixed-size records come in such runs. One that was read the
 * general way gives the form; then three comparisons tell that the next one has it, and all that is not known beforehand,
 * the delta of time, is cut out of one word. A record that does not have the form is the general decoder's to read or
 * refuse, so what is accepted does not depend on this at all. */
struct record_form {
    /* Of a record's first 8 bytes: what must be equal, and to what; for the next record, record_form_step of that. A step
     * adds one to the offset's delta: `step` has 2 there, zigzag's 1, and `more` the bits that say that a number's bytes go
     * on, over which the sum then carries, and which it must not change. */
    uint64_t head_care, head_want, step, more;
    uint16_t value_care, value_want; /* the same of the length of the value */
    uint32_t time_shift;
    uint64_t time_bits; /* where the delta's own bits are, once shifted down */
    ptrdiff_t key_at, key_len, value_len_at, value_at, value_len, whole;
};

#define RECORD_FORM_NONE ((struct record_form){.head_want = 1, .whole = PTRDIFF_MAX})

enum { RECORD_FORM_HEAD = 8 };

static ATTR_ALWAYS_INLINE uint64_t record_form_head(const uint8_t *at)
{
    uint64_t head;
    memcpy(&head, at, sizeof head);
    return le64toh(head);
}

static ATTR_ALWAYS_INLINE uint16_t record_form_value_len(const uint8_t *at)
{
    uint16_t len;
    memcpy(&len, at, sizeof len);
    return le16toh(len);
}

/* Bytes of the number at byte `at` of `head`; 8 if they do not end in it. */
static inline uint32_t record_form_number(uint64_t head, uint32_t at)
{
    for (uint32_t n = 1; at + n <= RECORD_FORM_HEAD; n++) {
        if (((head >> (8 * (at + n) - 1)) & 1) == 0) {
            return n;
        }
    }
    return RECORD_FORM_HEAD;
}

static inline uint64_t record_form_low_bytes(uint32_t bytes)
{
    return bytes == 0 ? 0 : ~UINT64_C(0) >> (64 - 8 * bytes);
}

/* The form of a record that was read: it begins at `at`, ends at `end`, and is `record`. */
static inline struct record_form record_form_learn(const uint8_t *at, const uint8_t *end,
                                                   const struct record *record)
{
    if (end - at < RECORD_FORM_HEAD || record->key.ptr == NULL || record->value.ptr == NULL ||
        record->header_count != 0) {
        return RECORD_FORM_NONE;
    }
    uint64_t head = record_form_head(at);
    uint32_t len = record_form_number(head, 0);
    uint32_t time = record_form_number(head, len + 1);
    uint32_t delta = record_form_number(head, len + 1 + time);
    uint32_t key_at = len + 1 + time + delta;
    ptrdiff_t value_at = (const uint8_t *)record->value.ptr - at;
    ptrdiff_t value_len_at = (const uint8_t *)record->key.ptr - at + record->key.len;
    if (time > 3 || delta > 3 || key_at >= RECORD_FORM_HEAD || value_at - value_len_at > 2 ||
        (const uint8_t *)record->key.ptr != at + key_at + 1) {
        return RECORD_FORM_NONE;
    }
    const uint64_t more = 0x8080808080808080u;
    uint64_t times = record_form_low_bytes(time) << (8 * (len + 1));
    uint64_t care = record_form_low_bytes(key_at + 1) & ~(times & ~more);
    uint32_t delta_shift = 8 * (len + 1 + time);
    uint16_t value_care = value_at - value_len_at == 1 ? 0x00ff : 0xffff;
    return (struct record_form){
        .head_care = care,
        .head_want = head & care,
        .step = UINT64_C(2) << delta_shift,
        .more = (record_form_low_bytes(delta) & more) >> 8 << delta_shift,
        .value_care = value_care,
        .value_want = record_form_value_len(at + value_len_at) & value_care,
        .time_shift = 8 * (len + 1),
        .time_bits = record_form_low_bytes(time) & ~more,
        .key_at = key_at + 1,
        .key_len = record->key.len,
        .value_len_at = value_len_at,
        .value_at = value_at,
        .value_len = record->value.len,
        .whole = end - at,
    };
}

/* What the record behind one with the head `want` begins with. A number that needs a byte more then runs over into what
 * follows it, which no record's head equals. */
static ATTR_ALWAYS_INLINE uint64_t record_form_step(const struct record_form *form, uint64_t want)
{
    return (want + form->step) | form->more;
}

/* Whether the record at `at` has the form and the head `want`; `form->whole` bytes may be read. */
static ATTR_ALWAYS_INLINE bool record_form_holds(const struct record_form *form, const uint8_t *at,
                                                 uint64_t head, uint64_t want)
{
    return (head & form->head_care) == want &&
           (record_form_value_len(at + form->value_len_at) & form->value_care) ==
               form->value_want &&
           at[form->whole - 1] == 0; // no headers
}

/* The same four times; what carries then is no more than seven bits hold. */
static ATTR_ALWAYS_INLINE uint64_t record_form_steps_4(const struct record_form *form,
                                                       uint64_t want)
{
    return (want + 4 * form->step) | form->more;
}

/* Not 0, as far as form->value_care tells, if the record at `at` has a value of another length. */
static ATTR_ALWAYS_INLINE uint16_t record_form_value_differs(const struct record_form *form,
                                                             const uint8_t *at)
{
    return record_form_value_len(at + form->value_len_at) ^ form->value_want;
}

/* Up to three groups of seven bits, eight apart, as the number that they stand for. */
static ATTR_ALWAYS_INLINE int64_t record_form_delta(uint64_t head, uint32_t shift, uint64_t bits)
{
    uint64_t groups = (head >> shift) & bits;
    uint64_t n = (groups & 0x7f) | ((groups >> 1) & 0x3f80) | ((groups >> 2) & 0x1fc000);
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

/* Four records side by side. */
struct record_form_four {
    __m256i care, want, step, more, bits, base;
    __m128i shift;
};

ATTR_TARGET("avx2")
static inline struct record_form_four record_form_four_begin(const struct record_form *form,
                                                             uint64_t want, int64_t base)
{
    uint64_t wants[4] = {want};
    for (int i = 1; i < 4; i++) {
        wants[i] = record_form_step(form, wants[i - 1]);
    }
    return (struct record_form_four){
        .care = _mm256_set1_epi64x((int64_t)form->head_care),
        .want = _mm256_loadu_si256((const __m256i *)(const void *)wants),
        .step = _mm256_set1_epi64x((int64_t)(4 * form->step)),
        .more = _mm256_set1_epi64x((int64_t)form->more),
        .bits = _mm256_set1_epi64x((int64_t)form->time_bits),
        .base = _mm256_set1_epi64x(base),
        .shift = _mm_cvtsi64_si128((int64_t)form->time_shift),
    };
}

/* Whether all four have the heads that are wanted. */
ATTR_TARGET("avx2")
static inline bool record_form_four_holds(const struct record_form_four *four, __m256i heads)
{
    __m256i differs = _mm256_xor_si256(_mm256_and_si256(heads, four->care), four->want);
    return _mm256_testz_si256(differs, differs) != 0;
}

/* The heads wanted of the next four. */
ATTR_TARGET("avx2") static inline void record_form_four_step(struct record_form_four *four)
{
    four->want = _mm256_or_si256(_mm256_add_epi64(four->want, four->step), four->more);
}

/* Base and delta of each, as record_form_delta reads it. */
ATTR_TARGET("avx2")
static inline __m256i record_form_four_times(const struct record_form_four *four, __m256i heads)
{
    __m256i groups = _mm256_and_si256(_mm256_srl_epi64(heads, four->shift), four->bits);
    __m256i low = _mm256_and_si256(groups, _mm256_set1_epi64x(0x7f));
    __m256i mid = _mm256_and_si256(_mm256_srli_epi64(groups, 1), _mm256_set1_epi64x(0x3f80));
    __m256i high = _mm256_and_si256(_mm256_srli_epi64(groups, 2), _mm256_set1_epi64x(0x1fc000));
    __m256i n = _mm256_or_si256(_mm256_or_si256(low, mid), high);
    __m256i sign =
        _mm256_sub_epi64(_mm256_setzero_si256(), _mm256_and_si256(n, _mm256_set1_epi64x(1)));
    __m256i delta = _mm256_xor_si256(_mm256_srli_epi64(n, 1), sign);
    return _mm256_add_epi64(four->base, delta);
}

#endif
