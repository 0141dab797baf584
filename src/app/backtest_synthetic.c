// SPDX-License-Identifier: Apache-2.0
#include "app/backtest_synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/real/clock_real.h"
#include "bench/decision.h"

enum { ROUNDS = 15 };

static enum err read_size(const char *text, struct decision_options *options, struct err_info *info)
{
    char *end = NULL;
    long parts = strtol(text, &end, 10), nodes = 0;
    bool good = end != text && *end == 'x';
    if (good) {
        const char *second = end + 1;
        nodes = strtol(second, &end, 10);
        good = end != second && *end == 0;
    }
    if (!good || parts < 1 || parts > LOAD_PARTS_MAX || nodes < 1 || nodes > LOAD_LANES_MAX) {
        return err_set(info, ERR_INVALID,
                       "--synthetic %.40s: PARTITIONSxNODES, as 100000x1000; at most %dx%d", text,
                       LOAD_PARTS_MAX, LOAD_LANES_MAX);
    }
    options->parts = (int32_t)parts;
    options->nodes = (int32_t)nodes;
    return ERR_OK;
}

static void print_figures(const struct decision_options *o, const struct decision_figures *f,
                          const char *format)
{
    double ratio = f->least_moves > 0 ? (double)f->moves / f->least_moves : 1;
    if (strcmp(format, "json") == 0) {
        printf(
            "{\"partitions\":%d,\"nodes\":%d,\"rounds\":%d,\"full_ms\":%.3f,\"full_max_ms\":%.3f,"
            "\"changed_ms\":%.3f,\"changed_max_ms\":%.3f,\"mean_utilisation\":%.4f,"
            "\"max_before\":%.4f,\"max_after\":%.4f,\"hot_lanes\":%d,\"moves\":%d,"
            "\"least_moves\":%d,\"chosen\":\"%s\"}\n",
            o->parts, o->nodes, o->rounds, f->full_ms, f->full_max_ms, f->some_ms, f->some_max_ms,
            f->mean, f->max_before, f->max_after, f->hot, f->moves, f->least_moves, f->chosen);
        return;
    }
    if (strcmp(format, "csv") == 0) {
        printf("partitions,nodes,full_ms,full_max_ms,changed_ms,changed_max_ms,mean_utilisation,"
               "max_before,max_after,hot_lanes,moves,least_moves\n");
        printf("%d,%d,%.3f,%.3f,%.3f,%.3f,%.4f,%.4f,%.4f,%d,%d,%d\n", o->parts, o->nodes,
               f->full_ms, f->full_max_ms, f->some_ms, f->some_max_ms, f->mean, f->max_before,
               f->max_after, f->hot, f->moves, f->least_moves);
        return;
    }
    printf("%d partitions on %d nodes, CPU time of one thread, %d rounds\n", o->parts, o->nodes,
           o->rounds);
    printf("decision in full         %8.1f ms   (slowest %.1f ms)\n", f->full_ms, f->full_max_ms);
    printf("decision, 1 %% changed    %8.1f ms   (slowest %.1f ms)\n", f->some_ms, f->some_max_ms);
    printf("busiest lane / mean      %8.2f      before; %.2f after\n", f->max_before / f->mean,
           f->max_after / f->mean);
    printf("moves                    %8d      for %d hot lanes; %.2f times the fewest possible\n",
           f->moves, f->hot, ratio);
    printf("chosen                   %s\n", f->chosen);
}

enum err backtest_synthetic(const struct cli *cli, struct err_info *info)
{
    struct decision_options options = {.rounds = ROUNDS, .seed = 1};
    struct decision_figures figures;
    struct clock clock = clock_real();
    struct arena arena;
    enum err err = read_size(cli_text(cli, "synthetic"), &options, info);
    if (err != ERR_OK) {
        return err;
    }
    arena_init(&arena, (ptrdiff_t)4 << 30);
    err = decision_measure(&options, &clock, &arena, &figures, info);
    if (err == ERR_OK) {
        print_figures(&options, &figures, cli_text(cli, "output"));
    }
    arena_release(&arena);
    return err;
}
