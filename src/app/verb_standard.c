// SPDX-License-Identifier: Apache-2.0
/* `shadowcast generate nexmark` and `generate ysb`: events of the standard benchmarks as lines of JSON or in binary. */
#include <unistd.h>

#include "app/exit_code.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/real/clock_real.h"
#include "load/nexmark.h"
#include "load/trace.h"
#include "load/ysb.h"

enum standard_format { STANDARD_VALUE, STANDARD_TAB, STANDARD_BINARY };

struct player {
    enum standard_format format;
    bool paced;
    double speed;
    struct clock clock;
    int64_t start_ns;
    int64_t base_ms;
    int64_t first, count;
};

static int usage(const struct err_info *info)
{
    IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info->text)); /* nobody left to tell */
    return EXIT_CODE_USAGE;
}

static enum err read_player(const struct cli *cli, int64_t events_max, struct player *ret_player,
                            struct err_info *info)
{
    const char *format = cli_text(cli, "format");
    const char *start = cli_text(cli, "start");
    *ret_player = (struct player){.format = strcmp(format, "tab") == 0      ? STANDARD_TAB
                                            : strcmp(format, "binary") == 0 ? STANDARD_BINARY
                                                                            : STANDARD_VALUE,
                                  .paced = cli_given(cli, "speed"),
                                  .speed = cli_given(cli, "speed") ? cli_f64(cli, "speed") : 1.0,
                                  .clock = clock_real(),
                                  .first = cli_i64(cli, "first"),
                                  .count = cli_i64(cli, "events")};
    ret_player->start_ns = clock_now_ns(&ret_player->clock);
    if (ret_player->first > events_max || ret_player->count > events_max - ret_player->first) {
        return err_set(info, ERR_INVALID, "generate: events are numbered from 0 to %lld",
                       (long long)events_max);
    }
    if (!(ret_player->speed > 0.0 && ret_player->speed <= 1e6)) {
        return err_set(info, ERR_INVALID, "generate: --speed is above 0, 1e6 at most");
    }
    if (!trace_time_parse(str_of(start), &ret_player->base_ms)) {
        return err_set(info, ERR_INVALID,
                       "generate: --start is a time such as 2015-07-15T00:00:00Z, not '%s'", start);
    }
    return ERR_OK;
}

/* Waits until an event of this time is due; what was written so far goes out first. */
static void pace(const struct player *player, int64_t time_ms)
{
    if (!player->paced) {
        return;
    }
    double due_ns = (double)(time_ms - player->base_ms) * 1e6 / player->speed;
    int64_t early_ns = player->start_ns + (int64_t)due_ns - clock_now_ns(&player->clock);
    if (early_ns > 0) {
        IGNORE_RESULT(fflush(stdout)); /* a closed pipe shows at the next write */
        clock_real_sleep(early_ns);
    }
}

/* main() judges stdout, here and below. */
static void write_line(const struct player *player, int64_t key, const char *text, int32_t len)
{
    if (player->format == STANDARD_TAB) {
        IGNORE_RESULT(printf("%lld\t", (long long)key));
    }
    IGNORE_RESULT(fwrite(text, 1, (size_t)len, stdout));
    IGNORE_RESULT(fputc('\n', stdout));
}

static bool refuse_terminal(const struct player *player)
{
    bool refuse = player->format == STANDARD_BINARY && isatty(STDOUT_FILENO) == 1;
    if (refuse) {
        IGNORE_RESULT(fputs("shadowcast: generate: binary to a terminal: give a file or a pipe\n",
                            stderr)); /* nobody left to tell */
    }
    return refuse;
}

static bool wanted_kind(const char *only, enum nexmark_kind kind)
{
    static const char *const names[] = {"person", "auction", "bid"};
    return strcmp(only, "all") == 0 || strcmp(only, names[kind]) == 0;
}

int verb_generate_nexmark(const struct cli *cli)
{
    struct err_info info;
    struct player player;
    struct nexmark_options options;
    enum err err = read_player(cli, NEXMARK_EVENT_MAX, &player, &info);
    options = (struct nexmark_options){.seed = (uint64_t)cli_i64(cli, "seed"),
                                       .base_ms = player.base_ms,
                                       .rate = cli_i64(cli, "rate"),
                                       .group = cli_i64(cli, "group")};
    if (err == ERR_OK) {
        err = nexmark_check(&options, &info);
    }
    if (err != ERR_OK) {
        return usage(&info);
    }
    if (refuse_terminal(&player)) {
        return EXIT_CODE_USAGE;
    }
    const char *only = cli_text(cli, "only");
    char out[NEXMARK_JSON_MAX];
    for (int64_t i = 0; i < player.count && !ferror(stdout); i++) {
        struct nexmark_event event;
        nexmark_event(&options, player.first + i, &event);
        if (!wanted_kind(only, event.kind)) {
            continue;
        }
        pace(&player, event.time_ms);
        if (player.format == STANDARD_BINARY) {
            int32_t len = nexmark_binary(&event, out);
            IGNORE_RESULT(fwrite(out, 1, (size_t)len, stdout));
        } else {
            int32_t len = nexmark_json(&event, out);
            write_line(&player, nexmark_group_key(&event), out, len);
        }
    }
    return EXIT_CODE_OK;
}

/* The table of ads: one JSON object a line. */
static void write_ads(const struct ysb_options *options)
{
    char ad[YSB_UUID_BYTES];
    char campaign[YSB_UUID_BYTES];
    for (int64_t i = 0; i < options->campaigns * options->ads_per_campaign && !ferror(stdout);
         i++) {
        ysb_ad_id(options, i, ad);
        ysb_campaign_id(options, i / options->ads_per_campaign, campaign);
        IGNORE_RESULT(printf("{\"ad_id\":\"%.*s\",\"campaign_id\":\"%.*s\"}\n", YSB_UUID_BYTES, ad,
                             YSB_UUID_BYTES, campaign));
    }
}

int verb_generate_ysb(const struct cli *cli)
{
    struct err_info info;
    struct player player;
    enum err err = read_player(cli, YSB_EVENT_MAX, &player, &info);
    struct ysb_options options = {.seed = (uint64_t)cli_i64(cli, "seed"),
                                  .base_ms = player.base_ms,
                                  .rate = cli_i64(cli, "rate"),
                                  .campaigns = cli_i64(cli, "campaigns"),
                                  .ads_per_campaign = cli_i64(cli, "ads-per-campaign"),
                                  .skew = cli_flag(cli, "skew")};
    if (err == ERR_OK) {
        err = ysb_check(&options, &info);
    }
    if (err != ERR_OK) {
        return usage(&info);
    }
    if (refuse_terminal(&player)) {
        return EXIT_CODE_USAGE;
    }
    if (cli_flag(cli, "ads")) {
        write_ads(&options);
        return EXIT_CODE_OK;
    }
    char out[YSB_JSON_BYTES_MAX];
    for (int64_t i = 0; i < player.count && !ferror(stdout); i++) {
        struct ysb_event event;
        ysb_event(&options, player.first + i, &event);
        pace(&player, event.time_ms);
        if (player.format == STANDARD_BINARY) {
            ysb_binary(&options, &event, out);
            IGNORE_RESULT(fwrite(out, 1, YSB_BINARY_BYTES, stdout));
        } else {
            int32_t len = ysb_json(&options, &event, out);
            write_line(&player, event.ad, out, len);
        }
    }
    return EXIT_CODE_OK;
}
