// SPDX-License-Identifier: Apache-2.0
#include "app/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "test.h"

static int nothing(const struct cli *cli)
{
    (void)cli;
    return 0;
}

static const struct cli_option read_options[] = {
    {"from", 'f', CLI_I64, "OFFSET", "0", "where"},
    {"follow", 0, CLI_FLAG, NULL, NULL, "go on"},
    {"wait", 0, CLI_DURATION, "TIME", "2s", "how long"},
    {"size", 0, CLI_SIZE, "SIZE", "1MiB", "how much"},
    {"share", 0, CLI_F64, "SHARE", "0.5", "part"},
    {"part", 0, CLI_SHARE, "SHARE", NULL, "part"},
    {"as", 0, CLI_CHOICE, "json|raw", "json", "format"},
    {NULL, 0, CLI_FLAG, NULL, NULL, NULL},
};

const struct cli_verb cli_verbs[] = {
    {"read", nothing, "reads", "STREAM [SHARD]", read_options, 0, NULL},
    {"noun list", nothing, "lists", "", NULL, CLI_CLIENT | CLI_OUTPUT, NULL},
    {"noun drop", nothing, "drops", "NAME...", NULL, CLI_CLIENT, NULL},
    {NULL, NULL, NULL, NULL, NULL, 0, NULL},
};

static struct cli cli;
static struct err_info info;
static bool help;

/* Parses a call written as one line. */
static enum err parse(const char *line)
{
    static char text[512];
    char *argv[32] = {NULL};
    int argc = 0;
    struct str rest = {text, (ptrdiff_t)strlen(line)};
    memcpy(text, line, strlen(line) + 1);
    while (rest.ptr != NULL && argc < 31) {
        struct str word = str_cut(&rest, ' ');
        text[word.ptr - text + word.len] = 0;
        argv[argc++] = text + (word.ptr - text);
    }
    return cli_parse(argc, argv, &cli, &help, &info);
}

TEST(values_are_read_with_their_units_and_defaults)
{
    EXPECT_INT(parse("x read s --wait 250ms --size=64KiB --follow -f7"), ERR_OK);
    EXPECT_INT(cli_i64(&cli, "wait"), 250000000);
    EXPECT_INT(cli_i64(&cli, "size"), 65536);
    EXPECT_INT(cli_i64(&cli, "from"), 7);
    EXPECT(cli_flag(&cli, "follow"));
    EXPECT_NEAR(cli_f64(&cli, "share"), 0.5, 0);
    EXPECT_INT(parse("x read s --part 70%"), ERR_OK);
    EXPECT_NEAR(cli_f64(&cli, "part"), 0.7, 1e-12);
    EXPECT_INT(parse("x read s --part 0.7"), ERR_OK);
    EXPECT_NEAR(cli_f64(&cli, "part"), 0.7, 1e-12);
    EXPECT(strcmp(cli_text(&cli, "as"), "json") == 0 && !cli_given(&cli, "as"));
    EXPECT(cli.arg_count == 1 && strcmp(cli.args[0], "s") == 0);
}

TEST(verbs_of_two_words_win_and_a_noun_alone_is_answered_with_its_verbs)
{
    EXPECT_INT(parse("x noun list -o csv"), ERR_OK);
    EXPECT(strcmp(cli.verb->name, "noun list") == 0);
    EXPECT(strcmp(cli_text(&cli, "output"), "csv") == 0);
    EXPECT_INT(parse("x noun"), ERR_INVALID);
    EXPECT(strstr(info.text, "noun list, noun drop") != NULL);
}

TEST(wrong_calls_are_refused_with_what_would_be_right)
{
    static const char *const wrong[][2] = {
        {"x", "which verb"},
        {"x fly", "no verb 'fly'"},
        {"x read", "missing arguments"},
        {"x read a b c", "too many arguments"},
        {"x read a --nope", "no option '--nope'"},
        {"x read a -z", "no option '-z'"},
        {"x read a --from", "needs a value"},
        {"x read a --from -1", "whole number"},
        {"x read a --from 1x", "whole number"},
        {"x read a --wait 5", "not a duration"},
        {"x read a --wait 5parsecs", "not a duration"},
        {"x read a --size 1mb", "not a size"},
        {"x read a --size 9999999999TiB", "too large"},
        {"x read a --share nan", "not a number"},
        {"x read a --part 70%%", "a share such as 0.7 or 70%"},
        {"x read a --part %", "a share such as 0.7 or 70%"},
        {"x read a --as xml", "none of json|raw"},
        {"x read a --follow=1", "takes no value"},
        {"x noun drop", "missing arguments"},
    };
    for (int i = 0; i < (int)COUNT_OF(wrong); i++) {
        EXPECT_MSG(parse(wrong[i][0]) == ERR_INVALID, "'%s' was taken", wrong[i][0]);
        EXPECT_MSG(strstr(info.text, wrong[i][1]) != NULL, "'%s': %s", wrong[i][0], info.text);
    }
}

TEST(two_dashes_end_the_options)
{
    EXPECT_INT(parse("x read -- --follow"), ERR_OK);
    EXPECT(strcmp(cli.args[0], "--follow") == 0 && !cli_flag(&cli, "follow"));
}

TEST(help_wins_over_what_is_missing)
{
    EXPECT_INT(parse("x read --help"), ERR_OK);
    EXPECT(help && strcmp(cli.verb->name, "read") == 0);
    EXPECT_INT(parse("x help noun drop"), ERR_OK);
    EXPECT(help && strcmp(cli.verb->name, "noun drop") == 0);
    EXPECT_INT(parse("x --help"), ERR_OK);
    EXPECT(help && cli.verb == NULL);
}

TEST(help_and_manual_name_every_verb_and_option)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    CHECK(to != NULL);
    cli_print_help(to, NULL);
    cli_print_help(to, &cli_verbs[0]);
    cli_print_manual(to);
    EXPECT_INT(cli_print_completion(to, "bash", &info), ERR_OK);
    EXPECT_INT(cli_print_completion(to, "fish", &info), ERR_UNSUPPORTED);
    CHECK(fclose(to) == 0);
    static const char *const wanted[] = {"noun drop NAME...", "--size",      "## noun list",
                                         "`--as json\\|raw`", "complete -F", "  69  "};
    for (int i = 0; i < (int)COUNT_OF(wanted); i++) {
        EXPECT_MSG(strstr(text, wanted[i]) != NULL, "'%s' is missing", wanted[i]);
    }
    free(text);
}

TEST(every_error_has_an_exit_code)
{
    for (int err = 0; err < ERR_COUNT; err++) {
        int code = (int)exit_code_of((enum err)err);
        EXPECT((code == EXIT_CODE_OK) == (err == ERR_OK));
    }
    EXPECT_INT(exit_code_of(ERR_NOT_FOUND), 3);
    EXPECT_INT(exit_code_of(ERR_UNAVAILABLE), 69);
}
