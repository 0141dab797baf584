// SPDX-License-Identifier: Apache-2.0
/* `shadowcast bench`: the engine's speed as shares of what bare loops reach in the same run. */
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/verbs.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"

/* Reads the machine's CPU times; in ticks of 10 ms, as /proc/stat counts. */
static bool machine_cpu(void *ctx, struct machine_cpu *ret_cpu)
{
    IGNORE_RESULT(ctx); /* has none */
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return false;
    }
    char line[512];
    bool read = fgets(line, sizeof line, file) != NULL && strncmp(line, "cpu ", 4) == 0;
    IGNORE_RESULT(fclose(file)); /* only read */
    long long ticks[8] = {0};
    char *at = line + 4;
    for (int i = 0; read && i < 8; i++) {
        char *end;
        ticks[i] = strtoll(at, &end, 10);
        read = end != at;
        at = end;
    }
    /* user nice system idle iowait irq softirq steal */
    *ret_cpu = (struct machine_cpu){
        .busy_ns = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * 10000000,
        .steal_ns = ticks[7] * 10000000};
    return read;
}

static bool reaches(const struct bench_result *result)
{
    return !result->too_noisy && result->ratio_low * 100.0 >= (double)result->floor_percent;
}

static void print_row(const struct bench_result *result)
{
    if (result->too_noisy) {
        printf("%-12s too noisy: %d of %d pairs dropped\n", result->name, result->dirty_count,
               result->pair_count);
        return;
    }
    char floor[32] = "-";
    if (result->floor_percent != 0) {
        IGNORE_RESULT(snprintf(floor, sizeof floor, "%d %% %s", result->floor_percent,
                               reaches(result) ? "ok" : "MISSED")); /* fits */
    }
    printf("%-12s %9.2f M/s %9.2f M/s %7.1f %% (%.1f..%.1f) %6d/%-4d %s\n", result->name,
           result->engine_per_s / 1e6, result->limit_per_s / 1e6, result->ratio * 100,
           result->ratio_low * 100, result->ratio_high * 100,
           result->pair_count - result->dirty_count, result->pair_count, floor);
}

static void print_json(const struct bench_result *result, bool first)
{
    printf("%s{\"name\":\"%s\",\"engine\":\"%s\",\"limit\":\"%s\",\"floor_percent\":%d,"
           "\"too_noisy\":%s,\"dropped\":%d,",
           first ? "" : ",\n", result->name, result->engine, result->limit, result->floor_percent,
           result->too_noisy ? "true" : "false", result->dirty_count);
    if (!result->too_noisy) {
        printf("\"engine_per_s\":%.0f,\"limit_per_s\":%.0f,\"ratio\":%.4f,\"ratio_low\":%.4f,"
               "\"ratio_high\":%.4f,",
               result->engine_per_s, result->limit_per_s, result->ratio, result->ratio_low,
               result->ratio_high);
    }
    printf("\"pairs\":[");
    for (int32_t i = 0; i < result->pair_count; i++) {
        const struct bench_pair *pair = &result->pairs[i];
        printf("%s{\"engine_per_s\":%.0f,\"limit_per_s\":%.0f,\"dirty\":%s}", i > 0 ? "," : "",
               pair->engine_per_s, pair->limit_per_s, pair->dirty ? "true" : "false");
    }
    printf("]}");
}

int verb_bench(const struct cli *cli)
{
    struct clock clock = clock_real();
    int64_t pairs = cli_i64(cli, "pairs");
    if (pairs < 3 || pairs > BENCH_PAIRS_MAX) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: bench: --pairs is 3 to %d\n", BENCH_PAIRS_MAX));
        return (int)exit_code_of(ERR_INVALID);
    }
    struct bench_options options = {.pairs = (int32_t)pairs,
                                    .clock = &clock,
                                    .machine = machine_cpu,
                                    .keep_noisy = cli_flag(cli, "noisy"),
                                    .seed = 1};
    bool json = strcmp(cli_text(cli, "output"), "json") == 0;
    struct bench_result *result = MEM_NEW(struct bench_result);
    struct err_info info = {0};
    int32_t count = cli->arg_count > 0 ? cli->arg_count : bench_row_count();
    enum err err = ERR_OK;
    printf(json ? "["
                : "row          engine        bare loop     of the bare loop       pairs      "
                  "floor\n");
    for (int32_t i = 0; i < count && err == ERR_OK; i++) {
        const char *name = cli->arg_count > 0 ? cli->args[i] : bench_row_name(i);
        err = bench_run(name, &options, result, &info);
        if (err != ERR_OK) {
            IGNORE_RESULT(fprintf(stderr, "shadowcast: bench: %s\n", info.text));
        } else if (json) {
            print_json(result, i == 0);
        } else {
            print_row(result);
            IGNORE_RESULT(fflush(stdout)); /* rows take seconds each */
        }
    }
    printf(json ? "]\n" : "");
    mem_free(result);
    return (int)exit_code_of(err);
}
