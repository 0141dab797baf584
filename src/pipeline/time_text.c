// SPDX-License-Identifier: Apache-2.0
#include "pipeline/time_text.h"

#include "base/check.h"

enum { DAY_MS = 86400000 };

/* The calendar day of a count of days since 1970 and back: proleptic Gregorian, in eras of 400 years that begin in
 * March. Source: H. Hinnant, "chrono-compatible low-level date algorithms" (method). */
struct civil {
    int32_t year, month, day, hour, minute, second, milli, day_of_year;
};

static int64_t days_of_civil(int64_t year, int32_t month, int32_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static struct civil civil_of_ms(int64_t ms)
{
    int64_t days = ms / DAY_MS - (ms % DAY_MS < 0 ? 1 : 0);
    int64_t rest = ms - days * DAY_MS;
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int32_t month = (int32_t)(mp < 10 ? mp + 3 : mp - 9);
    int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    return (struct civil){
        .year = (int32_t)year,
        .month = month,
        .day = (int32_t)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int32_t)(rest / 3600000),
        .minute = (int32_t)(rest / 60000 % 60),
        .second = (int32_t)(rest / 1000 % 60),
        .milli = (int32_t)(rest % 1000),
        .day_of_year = (int32_t)(days - days_of_civil(year, 1, 1) + 1),
    };
}

static int32_t days_in_month(int32_t year, int32_t month)
{
    static const int8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Exactly `count` digits from the front of `rest`. */
static bool take_number(struct str *rest, int32_t count, int32_t *ret_value)
{
    if (rest->len < count) {
        return false;
    }
    int32_t value = 0;
    for (int32_t i = 0; i < count; i++) {
        char c = rest->ptr[i];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    *rest = (struct str){rest->ptr + count, rest->len - count};
    *ret_value = value;
    return true;
}

static bool take_char(struct str *rest, char c)
{
    if (rest->len == 0 || rest->ptr[0] != c) {
        return false;
    }
    *rest = (struct str){rest->ptr + 1, rest->len - 1};
    return true;
}

/* ".5", ".123456": milliseconds, the rest of the digits cut. */
static bool take_fraction(struct str *rest, int32_t *ret_milli)
{
    int32_t milli = 0;
    int32_t digits = 0;
    while (rest->len > 0 && rest->ptr[0] >= '0' && rest->ptr[0] <= '9') {
        if (digits < 3) {
            milli = milli * 10 + (rest->ptr[0] - '0');
        }
        digits++;
        *rest = (struct str){rest->ptr + 1, rest->len - 1};
    }
    for (int32_t i = digits; i < 3; i++) {
        milli *= 10;
    }
    *ret_milli = milli;
    return digits > 0;
}

/* "Z", "+01:00", "-0130". */
static bool take_zone(struct str *rest, int32_t *ret_minutes)
{
    if (take_char(rest, 'Z') || take_char(rest, 'z')) {
        *ret_minutes = 0;
        return true;
    }
    bool minus = rest->len > 0 && rest->ptr[0] == '-';
    if (!minus && (rest->len == 0 || rest->ptr[0] != '+')) {
        return false;
    }
    *rest = (struct str){rest->ptr + 1, rest->len - 1};
    int32_t hours, minutes;
    if (!take_number(rest, 2, &hours)) {
        return false;
    }
    IGNORE_RESULT(take_char(rest, ':')); /* the colon may be left out */
    if (!take_number(rest, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = (minus ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

static bool civil_to_ms(const struct civil *c, int32_t zone_minutes, int64_t *ret_ms)
{
    if (c->month < 1 || c->month > 12 || c->day < 1 || c->day > days_in_month(c->year, c->month) ||
        c->hour > 23 || c->minute > 59 || c->second > 59) {
        return false;
    }
    int64_t days = days_of_civil(c->year, c->month, c->day);
    int64_t seconds = ((int64_t)c->hour * 60 + c->minute - zone_minutes) * 60 + c->second;
    *ret_ms = days * DAY_MS + seconds * 1000 + c->milli;
    return true;
}

bool time_parse_rfc3339(struct str text, int64_t *ret_ms)
{
    struct civil c = {0};
    int32_t zone = 0;
    struct str rest = text;
    if (!take_number(&rest, 4, &c.year) || !take_char(&rest, '-') ||
        !take_number(&rest, 2, &c.month) || !take_char(&rest, '-') ||
        !take_number(&rest, 2, &c.day)) {
        return false;
    }
    if (!take_char(&rest, 'T') && !take_char(&rest, 't') && !take_char(&rest, ' ')) {
        return false;
    }
    if (!take_number(&rest, 2, &c.hour) || !take_char(&rest, ':') ||
        !take_number(&rest, 2, &c.minute) || !take_char(&rest, ':') ||
        !take_number(&rest, 2, &c.second)) {
        return false;
    }
    if (take_char(&rest, '.') && !take_fraction(&rest, &c.milli)) {
        return false;
    }
    return take_zone(&rest, &zone) && rest.len == 0 && civil_to_ms(&c, zone, ret_ms);
}

struct text_out {
    char *ptr;
    int32_t len, cap;
    bool over;
};

bool time_parse_field(struct str text, int64_t *ret_ms)
{
    enum { DIGITS_MAX = 15 };
    bool negative = text.len > 0 && text.ptr[0] == '-';
    ptrdiff_t digits = text.len - (negative ? 1 : 0);
    const char *p = text.ptr + (negative ? 1 : 0);
    if (digits < 1 || digits > DIGITS_MAX || (digits > 1 && p[0] == '0')) {
        return time_parse_rfc3339(text, ret_ms);
    }
    int64_t ms = 0;
    for (ptrdiff_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';
        if (digit > 9) {
            return time_parse_rfc3339(text, ret_ms);
        }
        ms = ms * 10 + (int64_t)digit;
    }
    *ret_ms = negative ? -ms : ms;
    return true;
}

static void put_char(struct text_out *out, char c)
{
    if (out->len == out->cap) {
        out->over = true;
        return;
    }
    out->ptr[out->len++] = c;
}

static void put_number(struct text_out *out, int64_t value, int32_t digits)
{
    char text[20];
    int32_t n = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        text[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0 && n < 20);
    if (value < 0) {
        put_char(out, '-');
    }
    for (int32_t i = n; i < digits; i++) {
        put_char(out, '0');
    }
    while (n > 0) {
        put_char(out, text[--n]);
    }
}

static bool has_text(int64_t ms)
{
    return ms >= TIME_TEXT_MIN_MS && ms <= TIME_TEXT_MAX_MS;
}

int32_t time_write_rfc3339(int64_t ms, char out[TIME_TEXT_MAX])
{
    bool fraction = ms % 1000 != 0;
    return time_write_format(ms,
                             fraction ? STR("%Y-%m-%dT%H:%M:%S.%LZ") : STR("%Y-%m-%dT%H:%M:%SZ"),
                             out, TIME_TEXT_MAX);
}

bool time_format_valid(struct str format)
{
    if (format.len > TIME_FORMAT_MAX) {
        return false;
    }
    for (ptrdiff_t i = 0; i < format.len; i++) {
        if (format.ptr[i] != '%') {
            continue;
        }
        i++;
        if (i == format.len || str_find(STR("YmdHMSLjsz%"), (struct str){format.ptr + i, 1}) < 0) {
            return false;
        }
    }
    return true;
}

/* "1764025500", also negative: seconds since 1970. */
static bool take_seconds(struct str *rest, int64_t *ret_ms)
{
    bool minus = take_char(rest, '-');
    int64_t value = 0;
    int32_t digits = 0;
    while (rest->len > 0 && rest->ptr[0] >= '0' && rest->ptr[0] <= '9' && digits < 13) {
        value = value * 10 + (rest->ptr[0] - '0');
        digits++;
        *rest = (struct str){rest->ptr + 1, rest->len - 1};
    }
    *ret_ms = (minus ? -value : value) * 1000;
    return digits > 0;
}

struct parsed {
    struct civil civil;
    int32_t zone_minutes;
    int32_t day_of_year; /* 0: not given */
    bool epoch;          /* %s */
    int64_t epoch_ms;
};

static bool take_directive(char directive, struct str *rest, struct parsed *p)
{
    switch (directive) {
    case 'Y':
        return take_number(rest, 4, &p->civil.year);
    case 'm':
        return take_number(rest, 2, &p->civil.month);
    case 'd':
        return take_number(rest, 2, &p->civil.day);
    case 'H':
        return take_number(rest, 2, &p->civil.hour);
    case 'M':
        return take_number(rest, 2, &p->civil.minute);
    case 'S':
        return take_number(rest, 2, &p->civil.second);
    case 'L':
        return take_number(rest, 3, &p->civil.milli);
    case 'j':
        return take_number(rest, 3, &p->day_of_year) && p->day_of_year > 0;
    case 's':
        p->epoch = true;
        return take_seconds(rest, &p->epoch_ms);
    case 'z':
        return take_zone(rest, &p->zone_minutes);
    default:
        return take_char(rest, '%');
    }
}

bool time_parse_format(struct str text, struct str format, int64_t *ret_ms)
{
    struct parsed p = {.civil = {.year = 1970, .month = 1, .day = 1}};
    struct str rest = text;
    for (ptrdiff_t i = 0; i < format.len; i++) {
        bool directive = format.ptr[i] == '%' && i + 1 < format.len;
        i += directive ? 1 : 0;
        if (directive ? !take_directive(format.ptr[i], &rest, &p)
                      : !take_char(&rest, format.ptr[i])) {
            return false;
        }
    }
    if (rest.len > 0) {
        return false;
    }
    if (p.epoch) {
        *ret_ms = p.epoch_ms + p.civil.milli;
        return true;
    }
    if (p.day_of_year > 0) {
        int32_t leap = days_in_month(p.civil.year, 2) - 28;
        if (p.day_of_year > 365 + leap) {
            return false;
        }
        int64_t base;
        p.civil.month = p.civil.day = 1;
        if (!civil_to_ms(&p.civil, p.zone_minutes, &base)) {
            return false;
        }
        *ret_ms = base + (int64_t)(p.day_of_year - 1) * DAY_MS;
        return true;
    }
    return civil_to_ms(&p.civil, p.zone_minutes, ret_ms);
}

static void put_zone(struct text_out *out)
{
    for (const char *c = "+0000"; *c != 0; c++) {
        put_char(out, *c);
    }
}

static void put_directive(struct text_out *out, char directive, int64_t ms, const struct civil *c)
{
    switch (directive) {
    case 'Y':
        put_number(out, c->year, 4);
        break;
    case 'm':
        put_number(out, c->month, 2);
        break;
    case 'd':
        put_number(out, c->day, 2);
        break;
    case 'H':
        put_number(out, c->hour, 2);
        break;
    case 'M':
        put_number(out, c->minute, 2);
        break;
    case 'S':
        put_number(out, c->second, 2);
        break;
    case 'L':
        put_number(out, c->milli, 3);
        break;
    case 'j':
        put_number(out, c->day_of_year, 3);
        break;
    case 's':
        put_number(out, (ms - c->milli) / 1000, 1);
        break;
    case 'z':
        put_zone(out);
        break;
    default:
        put_char(out, '%');
    }
}

// NOLINTNEXTLINE(readability-non-const-parameter): written through `text`
int32_t time_write_format(int64_t ms, struct str format, char *out, int32_t cap)
{
    if (!has_text(ms)) {
        return 0;
    }
    struct civil c = civil_of_ms(ms);
    struct text_out text = {.ptr = out, .cap = cap};
    for (ptrdiff_t i = 0; i < format.len; i++) {
        if (format.ptr[i] == '%' && i + 1 < format.len) {
            i++;
            put_directive(&text, format.ptr[i], ms, &c);
        } else {
            put_char(&text, format.ptr[i]);
        }
    }
    return text.over ? 0 : text.len;
}
