// SPDX-License-Identifier: Apache-2.0
/* A plug-in in the real program: the example (examples/plugin) from the first record to the last, and shared objects that
 * the program has to refuse. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/plugin.h"
#include "program.h"
#include "test.h"

static struct result result;

static void sh(const char *line)
{
    program_run(line, NULL, &result);
}

/* Absolute, as the program runs in another folder; where the build folder is says BUILD_DIR. */
static const char *build_dir(void)
{
    static char absolute[4096];
    const char *path =
        getenv("BUILD_DIR"); // NOLINT(concurrency-mt-unsafe): tests run on one thread
    path = path != NULL ? path : "build/release";
    CHECK_MSG(realpath(path, absolute) != NULL, "no build folder at %s", path);
    return absolute;
}

#define STREAMS "  mails: {shards: 2}\n  hidden: {shards: 1}\n"
static const char only_streams[] = "version: 1\nstreams:\n" STREAMS;
enum { PLUGIN_LINE = 13 }; /* of what write_pipeline writes */

/* A configuration whose plug-ins lie in `folder` of the build, with this `plugin:`. */
static void write_pipeline(const char *name, const char *folder, const char *plugin)
{
    char text[8192];
    int n = snprintf(text, sizeof(text),
                     "version: 1\n"
                     "plugins: '%s/%s'\n"
                     "streams:\n" STREAMS "pipelines:\n"
                     "  privacy:\n"
                     "    stages:\n"
                     "      - name: hide\n"
                     "        from: mails\n"
                     "        chain:\n"
                     "          - parse: {fields: {id: int, mail: string}}\n"
                     "          - plugin: %s\n"
                     "          - map: {select: [id, masked]}\n"
                     "        to: hidden\n",
                     build_dir(), folder, plugin);
    CHECK(n > 0 && n < (int)sizeof(text));
    program_write(name, text);
}

/* The pipeline is not there while the records come, so that all of them are the work of the run until the end. */
TEST(the_example_plugin_adds_its_field_and_rejects_in_a_run_until_the_end)
{
    struct running run;
    program_write("streams.yaml", only_streams);
    write_pipeline("pipe.yaml", "examples/plugin",
                   "{file: mask, columns: [mail], settings: {keep: 2}}");
    program_start("streams.yaml", "data", "", &run);
    program_run("$SC produce mails --data data",
                "{\"id\":1,\"mail\":\"alice@example.org\"}\n"
                "{\"id\":2,\"mail\":\"nobody\"}\n"
                "{\"id\":3}\n"
                "{\"id\":4,\"mail\":\"bo@example.org\"}\n"
                "{\"id\":5,\"mail\":\"carol@example.org\"}\n",
                &result);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    EXPECT_MSG(result.code == 0, "produce: exit %d: %s", result.code, result.err);

    sh("$SC run pipe.yaml --data data --listen 0 --until-end");
    EXPECT_MSG(result.code == 0, "until the end: exit %d: %s", result.code, result.err);

    /* All is read before it is judged: a failed test must not leave a process behind. */
    static struct result dead;
    program_start("streams.yaml", "data", "", &run);
    sh("set -o pipefail; $SC consume hidden --format raw --data data | LC_ALL=C sort");
    program_run("$SC consume privacy.hide.dead --data data", NULL, &dead);
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    EXPECT_MSG(result.code == 0, "consume: exit %d: %s", result.code, result.err);
    EXPECT_MSG(strcmp(result.out, "{\"id\":1,\"masked\":\"al***@example.org\"}\n"
                                  "{\"id\":3,\"masked\":null}\n"
                                  "{\"id\":4,\"masked\":\"bo@example.org\"}\n"
                                  "{\"id\":5,\"masked\":\"ca***@example.org\"}\n") == 0,
               "%s", result.out);
    EXPECT_MSG(dead.code == 0, "dead letters: exit %d: %s", dead.code, dead.err);
    const char *line_end = strchr(dead.out, '\n');
    EXPECT_MSG(line_end != NULL && line_end[1] == 0, "not one dead letter: %s", dead.out);
    EXPECT_MSG(strstr(dead.out, "nobody") != NULL &&
                   strstr(dead.out, "mask: no mail address") != NULL,
               "%s", dead.out);
}

/* Both `validate` and `run` end with 78 and one line that begins with the place and has `wanted`; nothing is started. */
static void expect_refused(const char *folder, const char *plugin, const char *wanted)
{
    static const char *const calls[] = {"$SC validate bad.yaml",
                                        "$SC run bad.yaml --data bad-data --listen 0 --until-end"};
    char place[64];
    IGNORE_RESULT(snprintf(place, sizeof(place), "bad.yaml:%d:", PLUGIN_LINE));
    write_pipeline("bad.yaml", folder, plugin);
    for (int i = 0; i < (int)COUNT_OF(calls); i++) {
        sh(calls[i]);
        EXPECT_MSG(result.code == 78, "%s: exit %d: %s", calls[i], result.code, result.err);
        EXPECT_MSG(strncmp(result.err, place, strlen(place)) == 0, "%s: %s", calls[i], result.err);
        EXPECT_MSG(strchr(result.err, '\n') == result.err + strlen(result.err) - 1, "%s: %s",
                   calls[i], result.err);
        EXPECT_MSG(strstr(result.err, wanted) != NULL, "%s: no '%s' in: %s", calls[i], wanted,
                   result.err);
        EXPECT_MSG(result.out[0] == 0, "%s wrote to stdout: %s", calls[i], result.out);
    }
    sh("test ! -e bad-data");
    EXPECT_MSG(result.code == 0, "something was started");
}

TEST(a_plugin_file_that_does_not_exist_ends_with_78_and_its_path)
{
    char path[4096 + 64];
    IGNORE_RESULT(snprintf(path, sizeof(path), "%s/examples/plugin/no-such.so", build_dir()));
    expect_refused("examples/plugin", "{file: no-such, columns: [mail]}", path);
    expect_refused("examples/plugin", "{file: /no/such/mask.so, columns: [mail]}",
                   "/no/such/mask.so");
}

TEST(a_plugin_of_another_abi_ends_with_78_and_both_versions)
{
    char versions[128];
    IGNORE_RESULT(snprintf(versions, sizeof(versions),
                           "has ABI %u and %zu bytes, this program wants %u and %zu: rebuild it",
                           SHADOWCAST_PLUGIN_ABI + 1, sizeof(struct shadowcast_plugin),
                           SHADOWCAST_PLUGIN_ABI, sizeof(struct shadowcast_plugin)));
    expect_refused("test/integ", "{file: wrong_abi, columns: [mail]}", versions);
}

/* It runs in its pipeline; a shadow, and a candidate, of its stage would do outside what nobody knows. */
TEST(a_plugin_that_does_not_declare_its_effects_runs_but_in_no_shadow)
{
    static const char *const calls[] = {
        "$SC shadow start privacy/hide/0/0-4096 --data quiet-data",
        "$SC candidate start privacy/hide/0/0-4096 --set parse.format=json --data quiet-data"};
    static struct result results[COUNT_OF(calls)];
    struct running run;
    char text[8192];
    int n =
        snprintf(text, sizeof(text),
                 "version: 1\nplugins: '%s/test/integ'\nstreams:\n" STREAMS
                 "pipelines:\n  privacy:\n    stages:\n      - {name: hide, from: mails, chain: "
                 "[{parse: {fields: {id: int, mail: string}}}, {plugin: {name: sender, file: "
                 "undeclared, columns: [mail]}}, {map: {select: [id]}}], to: hidden}\n",
                 build_dir());
    CHECK(n > 0 && n < (int)sizeof(text));
    program_write("quiet.yaml", text);
    program_start("quiet.yaml", "quiet-data", "", &run);
    for (int i = 0; i < (int)COUNT_OF(calls); i++) {
        program_run(calls[i], NULL, &results[i]);
    }
    EXPECT_INT(program_stop(&run, SIGTERM), 0);
    for (int i = 0; i < (int)COUNT_OF(calls); i++) {
        EXPECT_MSG(results[i].code == 2, "%s: exit %d: %s", calls[i], results[i].code,
                   results[i].err);
        EXPECT_MSG(strstr(results[i].err, "operator 'sender' of stage 'hide' has effects outside "
                                          "that it does not declare") != NULL,
                   "%s", results[i].err);
    }
}
