// SPDX-License-Identifier: Apache-2.0
/* `validate`: the same reading and checking as a start, and then nothing is started. */
#include <string.h>

#include "app/against.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "base/check.h"
#include "control/text.h"
#include "pipeline/config.h"

enum { CONFIG_ARENA_MAX = 256 << 20 };

#define PRINT(...) IGNORE_RESULT(printf(__VA_ARGS__)) /* main() judges stdout */

static void print_json_error(struct arena *arena, const char *file, const struct err_info *info)
{
    struct text text;
    text_init(&text, arena);
    text_add(&text, STR("{\"ok\":false,\"file\":"));
    text_json_str(&text, str_of(file));
    text_add(&text, STR(",\"errors\":["));
    text_json_str(&text, str_of(info->text));
    text_add(&text, STR("]}\n"));
    PRINT("%.*s", (int)text.len, text.ptr);
}

static int32_t count_partitions(const struct config *config, int32_t *ret_stages)
{
    int32_t partitions = 0;
    *ret_stages = 0;
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        for (int32_t s = 0; s < config->pipelines[p]->stage_count; s++) {
            const struct stage_plan *stage = config->pipelines[p]->stages[s];
            partitions += stage->partitions_per_shard * stage->inputs[0].stream->shard_count;
            *ret_stages += 1;
        }
    }
    return partitions;
}

static int report(const struct cli *cli, const struct config *config)
{
    int32_t stages = 0;
    bool json = strcmp(cli_text(cli, "output"), "json") == 0;
    int32_t partitions = count_partitions(config, &stages);
    const char *against = cli_text(cli, "against");
    if (json) {
        PRINT("{\"ok\":true,\"streams\":%d,\"pipelines\":%d,\"stages\":%d,\"partitions\":%d}\n",
              config->stream_count, config->pipeline_count, stages, partitions);
    } else {
        PRINT("%s: good: %d streams, %d pipelines, %d stages, %d partitions on %d lanes\n",
              cli->args[0], config->stream_count, config->pipeline_count, stages, partitions,
              config->nodes.count * config->nodes.lanes);
    }
    return against != NULL ? validate_against(config, against) : EXIT_CODE_OK;
}

int verb_validate(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    const struct config *config = NULL;
    int code = EXIT_CODE_CONFIG;
    arena_init(&arena, CONFIG_ARENA_MAX);
    enum err err = read_config(&arena, cli, cli->args[0], &config, &info);
    if (err == ERR_OK) {
        code = report(cli, config);
    } else if (strcmp(cli_text(cli, "output"), "json") == 0) {
        print_json_error(&arena, cli->args[0], &info);
    } else {
        IGNORE_RESULT(fprintf(stderr, "%s\n", info.text)); /* nobody left to tell */
    }
    arena_release(&arena);
    return code;
}
