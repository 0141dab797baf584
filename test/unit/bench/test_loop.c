// SPDX-License-Identifier: Apache-2.0
/* Runs of a closed loop as rows: what is kept and read again, what is dropped, what the table tells. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/loop_runs.h"
#include "test.h"

static struct loop_runs runs;

static bool is(double value, double wanted)
{
    return fabs(value - wanted) < 1e-9;
}

static void add(const char *policy, int32_t repeat, double late_s, const char *spoilt)
{
    struct loop_run *run = &runs.all[runs.count++];
    *run = (struct loop_run){.repeat = repeat, .late_s = late_s, .demand_at_change = (double)NAN};
    IGNORE_RESULT(snprintf(run->policy, sizeof run->policy, "%s", policy)); /* fits */
    IGNORE_RESULT(snprintf(run->spoilt, sizeof run->spoilt, "%s", spoilt)); /* fits */
}

TEST(loop_median_and_range_are_of_the_runs_that_were_kept)
{
    runs.count = 0;
    add("reactive", 0, 5, "");
    add("shadowcast", 0, 30, "");
    add("shadowcast", 1, 900, "others used the machine");
    add("shadowcast", 1, 10, "");
    add("shadowcast", 2, 20, "");
    struct loop_summary s = loop_summary_of(&runs, "shadowcast");
    EXPECT(s.kept == 3 && s.dropped == 1);
    EXPECT(is(s.median.late_s, 20) && is(s.least.late_s, 10) && is(s.most.late_s, 30));
    EXPECT(isnan(s.median.demand_at_change)); /* none of them changed anything */
    add("shadowcast", 3, 12, "");
    s = loop_summary_of(&runs, "shadowcast");
    EXPECT(is(s.median.late_s, 16)); /* of four, between two */
    EXPECT(loop_summary_of(&runs, "trend").kept == 0);
}

TEST(loop_dropped_runs_are_tried_again_so_often)
{
    runs.count = 0;
    EXPECT(!loop_runs_has(&runs, "trend", 0, 2));
    add("trend", 0, 1, "threads came late");
    EXPECT(!loop_runs_has(&runs, "trend", 0, 2));
    EXPECT(!loop_runs_has(&runs, "trend", 1, 1));
    add("trend", 0, 1, "threads came late");
    EXPECT(loop_runs_has(&runs, "trend", 0, 2));
    EXPECT(!loop_runs_has(&runs, "trend", 0, 3));
    add("trend", 0, 1, "");
    EXPECT(loop_runs_has(&runs, "trend", 0, 3));
}

TEST(loop_run_is_read_as_it_was_written)
{
    struct loop_run read;
    struct err_info info;
    char text[LOOP_ROW_MAX];
    runs.count = 0;
    add("predictive", 7, 123.5, "the process stood still");
    runs.all[0].p99_ms = 1e-3;
    runs.all[0].others_cores = 0.25;
    loop_run_write(&runs.all[0], text);
    EXPECT(loop_run_read(str_of(text), &read, &info) == ERR_OK);
    EXPECT(strcmp(read.policy, "predictive") == 0 && read.repeat == 7);
    EXPECT(strcmp(read.spoilt, "the process stood still") == 0);
    EXPECT(is(read.late_s, 123.5) && is(read.p99_ms, 1e-3) && is(read.others_cores, 0.25));
    EXPECT(isnan(read.demand_at_change));
    runs.all[0].spoilt[0] = 0;
    loop_run_write(&runs.all[0], text);
    EXPECT(loop_run_read(str_of(text), &read, &info) == ERR_OK && read.spoilt[0] == 0);
}

TEST(loop_rows_that_are_none_are_refused)
{
    static const char *const wrong[] = {"", "reactive", "reactive,0,1,2", "reactive,-1",
                                        "a policy with a name that is too long,0"};
    struct loop_run read;
    struct err_info info;
    char text[LOOP_ROW_MAX];
    for (int i = 0; i < COUNT_OF(wrong); i++) {
        EXPECT(loop_run_read(str_of(wrong[i]), &read, &info) == ERR_PARSE);
    }
    runs.count = 0;
    add("reactive", 0, 5, "");
    loop_run_write(&runs.all[0], text);
    text[strlen("reactive,0,")] = 'x';
    EXPECT(loop_run_read(str_of(text), &read, &info) == ERR_PARSE);
}

TEST(loop_machine_that_was_not_ours_is_told)
{
    const struct machine_figures good = {
        .hiccup_ms = 1, .longest_ms = 20, .yardstick_us = 10, .others_cores = 0.1};
    struct machine_figures f = good;
    EXPECT(machine_spoilt(&f, 16, 10) == NULL);
    EXPECT(machine_spoilt(&f, 16, 0) == NULL); /* no yardstick to go by */
    f.hiccup_ms = 5;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL && machine_spoilt(&f, 50, 10) == NULL);
    f = good;
    f.longest_ms = 170;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL);
    f = good;
    f.others_cores = 1.2;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL);
    f = good;
    f.stolen_cores = 0.2;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL);
    f = good;
    f.yardstick_us = 13;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL);
    f.yardstick_us = 7;
    EXPECT(machine_spoilt(&f, 16, 10) != NULL);
}
