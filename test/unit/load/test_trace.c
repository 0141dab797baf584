// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "base/arena.h"
#include "load/trace.h"
#include "test.h"

static enum err parse(struct arena *arena, const char *text, struct trace *trace,
                      struct err_info *info)
{
    arena_init(arena, 1 << 20);
    return trace_parse(arena, "t.csv", str_of(text), trace, info);
}

TEST(trace_reads_points_and_keeps_holes)
{
    struct arena arena;
    struct trace trace;
    struct err_info info;
    EXPECT_INT(parse(&arena,
                     "timestamp,value\r\n2018-04-25T00:00:00Z,1.5\r\n2018-04-25 00:05:00,\n"
                     "2018-04-25T00:10:00.000Z,3\n\n",
                     &trace, &info),
               ERR_OK);
    EXPECT_INT(trace.count, 3);
    EXPECT_INT(trace.step_ms, 300000);
    EXPECT_INT(trace.start_ms, 1524614400000);
    EXPECT_NEAR(trace.values[0], 1.5, 0.0);
    EXPECT(isnan(trace.values[1]));
    EXPECT_NEAR(trace.values[2], 3.0, 0.0);
    arena_release(&arena);
}

TEST(trace_errors_name_row_and_column)
{
    static const struct {
        const char *text, *start;
    } cases[] = {
        {"time,value\n", "t.csv:1:1:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,1\nyesterday,2\n", "t.csv:3:1:"},
        {"timestamp,value\n2018-13-25T00:00:00Z,1\n", "t.csv:2:1:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,one\n", "t.csv:2:22:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,-1\n", "t.csv:2:22:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,nan\n", "t.csv:2:22:"},
        {"timestamp,value\n2018-04-25T00:00:00Z\n", "t.csv:2:22:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,1\n2018-04-25T00:01:00Z\n",
         "t.csv:3:22: the row has no second column"},
        {"timestamp,value\n2018-04-25T00:01:00Z,1\n2018-04-25T00:00:00Z,1\n", "t.csv:3:1:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,1\n2018-04-25T00:00:00Z,1\n", "t.csv:3:1:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,1\n2018-04-25T00:01:00Z,1\n"
         "2018-04-25T00:03:00Z,1\n",
         "t.csv:4:1:"},
        {"timestamp,value\n2018-04-25T00:00:00Z,1\n", "t.csv: a trace needs two"},
        {"timestamp,value\n", "t.csv: a trace needs two"},
    };
    for (ptrdiff_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena;
        struct trace trace;
        struct err_info info = {0};
        EXPECT_MSG(parse(&arena, cases[i].text, &trace, &info) != ERR_OK, "case %td", i);
        EXPECT_MSG(str_starts_with(str_of(info.text), str_of(cases[i].start)), "case %td: %s", i,
                   info.text);
        arena_release(&arena);
    }
}

TEST(trace_of_a_series_may_be_negative)
{
    static const char text[] =
        "timestamp,value\n2018-04-25T00:00:00Z,-1.5\n2018-04-25T00:01:00Z,2\n";
    struct arena arena;
    struct trace trace;
    struct err_info info = {0};
    arena_init(&arena, 1 << 20);
    EXPECT_INT(trace_parse_series(&arena, "t.csv", STR(text), &trace, &info), ERR_OK);
    EXPECT_NEAR(trace.values[0], -1.5, 0.0);
    EXPECT_INT(trace_parse(&arena, "t.csv", STR(text), &trace, &info), ERR_PARSE);
    EXPECT(trace_parse_series(&arena, "t.csv", STR("timestamp,value\n2018-04-25T00:00:00Z,-inf\n"),
                              &trace, &info) == ERR_PARSE);
    arena_release(&arena);
}

TEST(time_stamps_agree_with_known_ones)
{
    int64_t ms = 0;
    EXPECT(trace_time_parse(STR("1970-01-01T00:00:00Z"), &ms));
    EXPECT_INT(ms, 0);
    EXPECT(trace_time_parse(STR("2000-02-29T12:34:56.789Z"), &ms));
    EXPECT_INT(ms, 951827696789);
    EXPECT(trace_time_parse(STR("1969-12-31T23:59:59Z"), &ms));
    EXPECT_INT(ms, -1000);
    EXPECT(!trace_time_parse(STR("2000-02-29T12:34:56."), &ms));
    EXPECT(!trace_time_parse(STR("2001-02-29T12:34:56Z"), &ms));
    EXPECT(!trace_time_parse(STR("1900-02-29T12:34:56Z"), &ms));
    EXPECT(!trace_time_parse(STR("2000-02-29T24:00:00Z"), &ms));
    EXPECT(!trace_time_parse(STR("2000-02-29T12:34:56+01:00"), &ms));
}
