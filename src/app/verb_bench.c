// SPDX-License-Identifier: Apache-2.0
/* `shadowcast bench`: the engine's speed as shares of what bare loops reach in the same run. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/exit_code.h"
#include "app/verbs.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "bench/bench.h"

/* CPU time of one process, in ticks, if it is a thread of the kernel; else 0. */
static long long kernel_ticks(const char *pid)
{
    char path[64];
    char line[512];
    IGNORE_RESULT(snprintf(path, sizeof path, "/proc/%.20s/stat", pid)); /* fits */
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0; /* it has ended */
    }
    bool read = fgets(line, sizeof line, file) != NULL;
    IGNORE_RESULT(fclose(file)); /* only read */
    const char *at = read ? strrchr(line, ')') : NULL;
    if (at == NULL || strlen(at) < 4) {
        return 0;
    }
    /* Behind the name: state, parent (2: the kernel's threads), 9 others, user, system. */
    char *end;
    const char *field = at + 4;
    long long parent = strtoll(field, &end, 10);
    long long value[11] = {0};
    for (int i = 0; parent == 2 && i < 11; i++) {
        field = end;
        value[i] = strtoll(field, &end, 10);
    }
    return value[9] + value[10];
}

static int64_t kernel_cpu_ns(void)
{
    DIR *folder = opendir("/proc");
    long long ticks = 0;
    if (folder == NULL) {
        return 0;
    }
    const struct dirent *entry;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): this folder is this thread's alone
    while ((entry = readdir(folder)) != NULL) {
        ticks +=
            entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? kernel_ticks(entry->d_name) : 0;
    }
    IGNORE_RESULT(closedir(folder)); /* only read */
    return ticks * 10000000;
}

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
        .kernel_ns = kernel_cpu_ns(),
        .steal_ns = ticks[7] * 10000000};
    return read;
}

static bool reaches(const struct bench_result *result)
{
    return !result->too_noisy && result->ratio_low * 100.0 >= (double)result->floor_percent;
}

static bool holds(const struct bench_figure *figure)
{
    return bench_verdict(figure) == BENCH_HELD;
}

static const char *verdict_word(const struct bench_figure *figure)
{
    static const char *const words[] = {"held", "MISSED", "undecided: its interval is wider"};
    return words[bench_verdict(figure)];
}

static bool has_interval(const struct bench_figure *figure)
{
    return figure->low < figure->value || figure->high > figure->value;
}

/* How the floors of the rows that ran have come out. */
struct tally {
    int32_t held, missed, noisy;
    char missed_rows[512]; /* ", name" each; may be cut */
};

static void count_floor(struct tally *tally, const char *row, bool held)
{
    tally->held += held;
    tally->missed += !held;
    size_t len = strlen(tally->missed_rows);
    if (!held && strstr(tally->missed_rows, row) == NULL) {
        IGNORE_RESULT(snprintf(tally->missed_rows + len, sizeof tally->missed_rows - len, "%s %s",
                               len > 0 ? "," : "", row)); /* may be cut */
    }
}

static const char *goal_of(const struct bench_result *result)
{
    return result->goal != NULL ? result->goal : "-";
}

static void print_figures(const struct bench_result *result, struct tally *tally)
{
    for (int32_t i = 0; i < result->figure_count; i++) {
        const struct bench_figure *figure = &result->figures[i];
        char bound[80] = "", interval[48] = "";
        if (has_interval(figure)) {
            IGNORE_RESULT(snprintf(interval, sizeof interval, "(%.4g..%.4g) ", figure->low,
                                   figure->high)); /* fits */
        }
        if (!isnan(figure->bound)) {
            count_floor(tally, result->name, holds(figure));
            IGNORE_RESULT(snprintf(bound, sizeof bound, "<= %.4g %s: %s", figure->bound,
                                   figure->unit, verdict_word(figure))); /* fits */
        }
        printf("%-5s %-20s %-36s %12.4g %-10s %s%s\n", goal_of(result), result->name, figure->name,
               figure->value, figure->unit, interval, bound);
    }
}

static void print_row(const struct bench_result *result, struct tally *tally)
{
    if (result->limit == NULL) {
        print_figures(result, tally);
        return;
    }
    if (result->too_noisy) {
        tally->noisy++;
        printf("%-5s %-20s too noisy: others disturbed %d of %d pairs; --noisy counts them\n",
               goal_of(result), result->name, result->dirty_count, result->pair_count);
        return;
    }
    char floor[32] = "-";
    if (result->floor_percent != 0) {
        count_floor(tally, result->name, reaches(result));
        IGNORE_RESULT(snprintf(floor, sizeof floor, "%d %%: %s", result->floor_percent,
                               reaches(result) ? "held" : "MISSED")); /* fits */
    }
    char interval[32];
    IGNORE_RESULT(snprintf(interval, sizeof interval, "(%.1f..%.1f)", result->ratio_low * 100,
                           result->ratio_high * 100)); /* fits */
    printf("%-5s %-20s %6.1f %% %-16s %-13s %9.2f M/s %9.2f M/s %6d/%d\n", goal_of(result),
           result->name, result->ratio * 100, interval, floor, result->engine_per_s / 1e6,
           result->limit_per_s / 1e6, result->pair_count - result->dirty_count, result->pair_count);
}

static void print_head(void)
{
    printf(
        "How fast the engine is, as a share of a bare loop that does only what cannot be left out, in the same thread;\n"
        "the median of paired slices, with its 95 %% interval. A floor is held if the interval's lower end reaches it.\n\n"
        "%-5s %-20s %-25s %-13s %13s %13s %s\n",
        "goal", "row", "share of the bare loop", "floor", "engine", "bare loop", "clean pairs");
}

static void print_tally(const struct tally *tally)
{
    if (tally->held + tally->missed + tally->noisy > 0) {
        printf("\n%d of %d floors held%s%s", tally->held, tally->held + tally->missed,
               tally->missed > 0 ? "; missed:" : "", tally->missed_rows);
        printf(tally->noisy > 0 ? "; %d rows too noisy\n" : "\n", tally->noisy);
    }
}

static void print_json_figures(const struct bench_result *result, bool first)
{
    printf("%s{\"name\":\"%s\",\"goal\":\"%s\",\"engine\":\"%s\",\"figures\":[", first ? "" : ",\n",
           result->name, goal_of(result), result->engine);
    for (int32_t i = 0; i < result->figure_count; i++) {
        const struct bench_figure *figure = &result->figures[i];
        printf("%s{\"name\":\"%s\",\"unit\":\"%s\",\"value\":%.6g", i > 0 ? "," : "", figure->name,
               figure->unit, figure->value);
        if (has_interval(figure)) {
            printf(",\"low\":%.6g,\"high\":%.6g", figure->low, figure->high);
        }
        if (!isnan(figure->bound)) {
            printf(",\"bound\":%.6g,\"holds\":%s", figure->bound, holds(figure) ? "true" : "false");
        }
        printf("}");
    }
    printf("]}");
}

static void print_json(const struct bench_result *result, bool first)
{
    if (result->limit == NULL) {
        print_json_figures(result, first);
        return;
    }
    printf("%s{\"name\":\"%s\",\"goal\":\"%s\",\"engine\":\"%s\",\"limit\":\"%s\",\"per\":\"%s\","
           "\"floor_percent\":%d,\"too_noisy\":%s,\"dropped\":%d,",
           first ? "" : ",\n", result->name, goal_of(result), result->engine, result->limit,
           result->wall ? "second" : "cpu second", result->floor_percent,
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
        printf("%s{\"engine_per_s\":%.0f,\"limit_per_s\":%.0f,\"others_share\":%.4f,"
               "\"stolen_share\":%.4f,\"dirty\":%s}",
               i > 0 ? "," : "", pair->engine_per_s, pair->limit_per_s, pair->others_share,
               pair->stolen_share, pair->dirty ? "true" : "false");
    }
    printf("]}");
}

static void list_rows(void)
{
    for (int32_t i = 0; i < bench_row_count(); i++) {
        const char *goal = bench_row_goal(i);
        printf("%-5s %-20s %s%s\n", goal != NULL ? goal : "-", bench_row_name(i), bench_row_what(i),
               bench_row_only_named(i) ? " (only when named: takes minutes)" : "");
    }
}

/* The named rows, or all but those that must be named; what they found goes to standard output. */
static enum err run_rows(const struct cli *cli, const struct bench_options *options)
{
    bool json = strcmp(cli_text(cli, "output"), "json") == 0;
    bool named = cli->arg_count > 0;
    struct bench_result *result = MEM_NEW(struct bench_result);
    struct err_info info = {0};
    int32_t count = named ? cli->arg_count : bench_row_count();
    enum err err = ERR_OK;
    bool first = true;
    struct tally tally = {0};
    for (int32_t i = 0; named && i < count; i++) {
        if (!bench_is_row(cli->args[i])) {
            IGNORE_RESULT(fprintf(
                stderr,
                "shadowcast: bench: there is no row '%s'; 'shadowcast bench list' tells them\n",
                cli->args[i]));
            mem_free(result);
            return ERR_INVALID;
        }
    }
    if (json) {
        printf("[");
    } else {
        print_head();
    }
    for (int32_t i = 0; i < count && err == ERR_OK; i++) {
        if (!named && bench_row_only_named(i)) {
            continue;
        }
        const char *name = named ? cli->args[i] : bench_row_name(i);
        err = bench_run(name, options, result, &info);
        if (err != ERR_OK) {
            IGNORE_RESULT(fprintf(stderr, "shadowcast: bench: %s\n", info.text));
        } else if (json) {
            print_json(result, first);
            first = false;
        } else {
            print_row(result, &tally);
        }
        IGNORE_RESULT(fflush(stdout)); /* rows take seconds each */
    }
    if (json) {
        printf("]\n");
    } else {
        print_tally(&tally);
    }
    mem_free(result);
    return err;
}

int verb_bench(const struct cli *cli)
{
    struct clock clock = clock_real();
    int64_t pairs = cli_i64(cli, "pairs");
    if (pairs < 3 || pairs > BENCH_PAIRS_MAX) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: bench: --pairs is 3 to %d\n", BENCH_PAIRS_MAX));
        return (int)exit_code_of(ERR_INVALID);
    }
    int64_t seconds = cli_i64(cli, "seconds");
    if (seconds < 1 || seconds > BENCH_SECONDS_MAX) {
        IGNORE_RESULT(
            fprintf(stderr, "shadowcast: bench: --seconds is 1 to %d\n", BENCH_SECONDS_MAX));
        return (int)exit_code_of(ERR_INVALID);
    }
    int64_t seed = cli_i64(cli, "seed");
    if (seed < 0) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: bench: --seed is 0 or more\n"));
        return (int)exit_code_of(ERR_INVALID);
    }
    struct bench_options options = {.pairs = (int32_t)pairs,
                                    .clock = &clock,
                                    .machine = machine_cpu,
                                    .keep_noisy = cli_flag(cli, "noisy"),
                                    .seed = (uint64_t)seed,
                                    .seconds = (int32_t)seconds};
    if (cli->arg_count == 1 && strcmp(cli->args[0], "list") == 0) {
        list_rows();
        return EXIT_CODE_OK;
    }
    return (int)exit_code_of(run_rows(cli, &options));
}
