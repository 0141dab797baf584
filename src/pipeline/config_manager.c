// SPDX-License-Identifier: Apache-2.0
/* `manager:`, the Predictive Resource Manager's settings. */
#include <stdio.h>

#include "base/check.h"
#include "pipeline/config_priv.h"

#define SECOND_NS 1000000000LL
#define DAY_NS    (86400LL * SECOND_NS)

enum { MINUTES_A_DAY = 1440, EVERY_DAY = 127, WORDS_TEXT_MAX = 120 };

const char *const config_mode_names[] = {"observe", "recommend", "act", NULL};

/* The policies that may decide in a running process; those that know the future are for `backtest`. */
static const char *const policies[] = {"shadowcast", "predictive",  "trend", "reactive",
                                       "ds2",        "static-peak", NULL};
static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun", NULL};

struct manager_spec config_manager_defaults(void)
{
    return (struct manager_spec){.mode = CONFIG_RECOMMEND,
                                 .interval_ns = 10 * SECOND_NS,
                                 .time_scale = 1,
                                 .price_node = 1,
                                 .price_late = 19,
                                 .price_change = 0,
                                 .margin = 0.02,
                                 .urgent = 0.9,
                                 .target = 0.8,
                                 .sustain_ns = 600 * SECOND_NS,
                                 .cooldown_ns = 60 * SECOND_NS,
                                 .budget = 48,
                                 .step = 4,
                                 .policy = STR("shadowcast")};
}

/* One of the words; its index. */
static enum err read_word(const struct yaml_node *node, const char *name, const char *const *words,
                          int32_t *ret_index, struct err_info *info)
{
    char allowed[WORDS_TEXT_MAX];
    struct str text;
    int used = 0;
    enum err err = yaml_text(node, &text, info);
    if (err != ERR_OK) {
        return err;
    }
    allowed[0] = 0;
    for (int32_t i = 0; words[i] != NULL; i++) {
        if (str_is(text, words[i])) {
            *ret_index = i;
            return ERR_OK;
        }
        used += snprintf(allowed + used, sizeof(allowed) - (size_t)used, "%s%s", i > 0 ? ", " : "",
                         words[i]);
        CHECK(used < WORDS_TEXT_MAX);
    }
    return yaml_fail(info, node, "'%s' is '%.*s', which is none of %s", name,
                     (int)(text.len < 40 ? text.len : 40), text.ptr, allowed);
}

enum err config_read_mode(const struct yaml_node *node, enum config_mode *ret_mode,
                          struct err_info *info)
{
    int32_t index = 0;
    enum err err = read_word(node, "mode", config_mode_names, &index, info);
    if (err == ERR_OK) {
        *ret_mode = (enum config_mode)index;
    }
    return err;
}

/* --- prices --- */

static enum err read_prices(const struct yaml_node *node, struct manager_spec *spec,
                            struct err_info *info)
{
    static const char *const known[] = {"node", "late", "move", "change", NULL};
    double *const values[] = {&spec->price_node, &spec->price_late, &spec->price_move,
                              &spec->price_change};
    enum err err = yaml_only_keys(node, known, info);
    for (int i = 0; known[i] != NULL && err == ERR_OK; i++) {
        const struct yaml_node *value = yaml_get(node, known[i]);
        if (value != NULL) {
            err = yaml_f64(value, i < 2 ? 1e-6 : 0, 1e9, values[i], info);
        }
    }
    return err;
}

/* --- maintenance windows --- */

static enum err read_minute(const struct yaml_node *node, int32_t *ret_minute,
                            struct err_info *info)
{
    struct str text;
    enum err err = yaml_text(node, &text, info);
    if (err != ERR_OK) {
        return err;
    }
    const char *c = text.ptr;
    bool formed = text.len == 5 && c[0] >= '0' && c[0] <= '2' && c[1] >= '0' && c[1] <= '9' &&
                  c[2] == ':' && c[3] >= '0' && c[3] <= '5' && c[4] >= '0' && c[4] <= '9';
    int32_t minute =
        formed ? (c[0] - '0') * 600 + (c[1] - '0') * 60 + (c[3] - '0') * 10 + (c[4] - '0') : -1;
    if (minute < 0 || minute > MINUTES_A_DAY) {
        return yaml_fail(info, node, "'%.*s' is no time of the day; one is like \"22:30\", in UTC",
                         (int)(text.len < 40 ? text.len : 40), text.ptr);
    }
    *ret_minute = minute;
    return ERR_OK;
}

static enum err read_days(const struct yaml_node *node, uint32_t *ret_days, struct err_info *info)
{
    if (node->kind != YAML_LIST || node->count == 0) {
        return yaml_fail(info, node, "'days' is a list like [mon, tue, wed, thu, fri, sat, sun]");
    }
    *ret_days = 0;
    for (int32_t i = 0; i < node->count; i++) {
        int32_t day = 0;
        enum err err = read_word(node->items[i], "days", days, &day, info);
        if (err != ERR_OK) {
            return err;
        }
        *ret_days |= 1u << day;
    }
    return ERR_OK;
}

static enum err read_window(const struct yaml_node *node, struct window_spec *window,
                            struct err_info *info)
{
    static const char *const known[] = {"days", "from", "until", NULL};
    *window = (struct window_spec){.days = EVERY_DAY};
    enum err err = yaml_only_keys(node, known, info);
    const struct yaml_node *from = yaml_get(node, "from");
    const struct yaml_node *until = yaml_get(node, "until");
    const struct yaml_node *which = yaml_get(node, "days");
    if (err == ERR_OK && (from == NULL || until == NULL)) {
        return yaml_fail(info, node, "a window wants 'from' and 'until', times of the day in UTC");
    }
    err = err == ERR_OK ? read_minute(from, &window->from_minute, info) : err;
    if (err == ERR_OK && window->from_minute == MINUTES_A_DAY) {
        return yaml_fail(info, from, "a window does not begin at 24:00; the next day's 00:00 does");
    }
    err = err == ERR_OK ? read_minute(until, &window->until_minute, info) : err;
    return err == ERR_OK && which != NULL ? read_days(which, &window->days, info) : err;
}

static enum err read_windows(const struct yaml_node *node, struct manager_spec *spec,
                             struct err_info *info)
{
    if (node->kind != YAML_LIST || node->count > CONFIG_WINDOWS_MAX) {
        return yaml_fail(info, node,
                         "'windows' is a list of at most %d: {days: [mon], from: \"22:00\", until: "
                         "\"04:00\"}",
                         CONFIG_WINDOWS_MAX);
    }
    spec->window_count = node->count;
    for (int32_t i = 0; i < node->count; i++) {
        enum err err = read_window(node->items[i], &spec->windows[i], info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

bool config_window_open(const struct manager_spec *spec, int64_t unix_ms)
{
    int64_t minutes = unix_ms / 60000;
    int32_t now = (int32_t)(minutes % MINUTES_A_DAY);
    int32_t today = (int32_t)((minutes / MINUTES_A_DAY + 3) % 7); /* 1970 began on a Thursday */
    int32_t before = (today + 6) % 7;
    for (int32_t i = 0; i < spec->window_count; i++) {
        const struct window_spec *w = &spec->windows[i];
        bool over = w->until_minute <= w->from_minute; /* midnight */
        bool of_today =
            (w->days >> today & 1) != 0 && now >= w->from_minute && (over || now < w->until_minute);
        bool of_before = over && (w->days >> before & 1) != 0 && now < w->until_minute;
        if (of_today || of_before) {
            return true;
        }
    }
    return spec->window_count == 0;
}

/* --- all of it --- */

static enum err read_numbers(const struct yaml_node *node, struct manager_spec *spec,
                             struct err_info *info)
{
    static const struct {
        const char *key;
        double min, max;
        ptrdiff_t offset;
    } ratios[] = {{"margin", 0, 0.99, offsetof(struct manager_spec, margin)},
                  {"urgent", 0.1, 1, offsetof(struct manager_spec, urgent)},
                  {"target", 0.1, 1, offsetof(struct manager_spec, target)}};
    static const struct {
        const char *key;
        int64_t min_ns, max_ns;
        ptrdiff_t offset;
    } times[] = {
        {"interval", SECOND_NS, 60 * SECOND_NS, offsetof(struct manager_spec, interval_ns)},
        {"sustain", 0, DAY_NS, offsetof(struct manager_spec, sustain_ns)},
        {"cooldown", 0, DAY_NS, offsetof(struct manager_spec, cooldown_ns)}};
    enum err err = ERR_OK;
    for (ptrdiff_t i = 0; i < COUNT_OF(ratios) && err == ERR_OK; i++) {
        const struct yaml_node *value = yaml_get(node, ratios[i].key);
        double *to = (double *)(void *)((char *)spec + ratios[i].offset);
        err = value != NULL ? yaml_ratio(value, ratios[i].min, ratios[i].max, to, info) : ERR_OK;
    }
    for (ptrdiff_t i = 0; i < COUNT_OF(times) && err == ERR_OK; i++) {
        const struct yaml_node *value = yaml_get(node, times[i].key);
        int64_t *to = (int64_t *)(void *)((char *)spec + times[i].offset);
        err = value != NULL ? yaml_duration_ns(value, times[i].min_ns, times[i].max_ns, to, info)
                            : ERR_OK;
    }
    return err;
}

/* What the core asks of its settings together (prm/manager.h): it would refuse them, and nobody would decide. */
static enum err check_together(const struct yaml_node *node, const struct manager_spec *spec,
                               struct err_info *info)
{
    const struct yaml_node *target = yaml_get(node, "target");
    const struct yaml_node *urgent = yaml_get(node, "urgent");
    if (DAY_NS % spec->interval_ns != 0) {
        return yaml_fail(info, yaml_get(node, "interval"),
                         "'interval' must divide a day evenly (1s, 2s, 5s, 10s, 15s, 30s, 60s)");
    }
    if (spec->target > spec->urgent) {
        return yaml_fail(info, target != NULL ? target : urgent,
                         "'target' (%g%%%s) must be at most 'urgent' (%g%%%s): a plan fills a lane "
                         "up to the one, and the other calls a lane full",
                         spec->target * 100, target != NULL ? "" : " unless set",
                         spec->urgent * 100, urgent != NULL ? "" : " unless set");
    }
    return ERR_OK;
}

static enum err read_count(const struct yaml_node *node, int64_t min, int64_t max, int32_t *ret,
                           struct err_info *info)
{
    int64_t wide = *ret;
    enum err err = node != NULL ? yaml_i64(node, min, max, &wide, info) : ERR_OK;
    *ret = (int32_t)wide;
    return err;
}

static enum err read_policy(const struct yaml_node *node, struct manager_spec *spec,
                            struct err_info *info)
{
    int32_t index = 0;
    enum err err = read_word(node, "policy", policies, &index, info);
    spec->policy = err == ERR_OK ? str_of(policies[index]) : spec->policy;
    return err;
}

enum err config_read_manager(struct loader *loader, const struct yaml_node *node)
{
    static const char *const known[] = {"mode",   "interval", "time_scale", "prices",   "margin",
                                        "urgent", "target",   "sustain",    "cooldown", "budget",
                                        "step",   "io",       "policy",     "windows",  NULL};
    struct manager_spec *spec = &loader->config->manager;
    struct err_info *info = loader->info;
    const struct yaml_node *mode = yaml_get(node, "mode");
    const struct yaml_node *scale = yaml_get(node, "time_scale");
    const struct yaml_node *prices = yaml_get(node, "prices");
    const struct yaml_node *io = yaml_get(node, "io");
    const struct yaml_node *policy = yaml_get(node, "policy");
    const struct yaml_node *windows = yaml_get(node, "windows");
    enum err err = yaml_only_keys(node, known, info);
    err = err == ERR_OK && mode != NULL ? config_read_mode(mode, &spec->mode, info) : err;
    err = err == ERR_OK && scale != NULL ? yaml_f64(scale, 1, 1000, &spec->time_scale, info) : err;
    err = err == ERR_OK && prices != NULL ? read_prices(prices, spec, info) : err;
    err = err == ERR_OK ? read_numbers(node, spec, info) : err;
    err = err == ERR_OK ? check_together(node, spec, info) : err;
    err =
        err == ERR_OK ? read_count(yaml_get(node, "budget"), 0, 100000, &spec->budget, info) : err;
    err = err == ERR_OK ? read_count(yaml_get(node, "step"), 1, NODES_MAX, &spec->step, info) : err;
    err = err == ERR_OK && io != NULL
              ? yaml_size_bytes(io, 1 << 10, 1LL << 40, &spec->io_bytes, info)
              : err;
    err = err == ERR_OK && policy != NULL ? read_policy(policy, spec, info) : err;
    return err == ERR_OK && windows != NULL ? read_windows(windows, spec, info) : err;
}
