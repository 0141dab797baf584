// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "pipeline/chain.h"
#include "pipeline/config.h"

/* Any text as a configuration: refused with file, line and column, or it is a plan whose chains open, which is equal to itself
 * on the second day. Plug-ins are left out: they are code of their own. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_chain(const struct stage_plan *plan)
{
    struct state *state = state_new(0, KEY_GROUP_COUNT);
    struct err_info info = {0};
    struct chain *chain = NULL;
    struct chain_options options = {.plan = plan, .state = state};
    enum err err = chain_new(&options, &chain, &info);
    CHECK(err == ERR_OK || info.text[0] != 0);
    if (err == ERR_OK) {
        chain_free(chain);
    }
    state_free(state);
}

static void check_stage(const struct config *config, const struct stage_plan *plan)
{
    static struct stage_shape shape;
    char text[4096];
    CHECK(plan->name.len > 0 && plan->input_count >= 1 && plan->input_count <= 2);
    CHECK(plan->partitions_per_shard >= 1 &&
          plan->partitions_per_shard <= PARTITIONS_PER_SHARD_MAX);
    CHECK(plan->operator_count >= 0 && plan->operator_count <= CHAIN_OPERATORS_MAX);
    for (int32_t i = 0; i < plan->input_count; i++) {
        const struct stage_input *input = &plan->inputs[i];
        CHECK(input->stream != NULL && input->stream->shard_count >= 1);
        CHECK(input->kind != STAGE_SOURCE_STAGE || input->stage < plan->index);
    }
    CHECK(plan->input_count == 1 ||
          plan->inputs[0].stream->shard_count == plan->inputs[1].stream->shard_count);
    CHECK(plan->output == NULL || config_stream(config, plan->output->name) == plan->output);
    stage_shape_of(plan, &shape);
    CHECK(stage_shape_compare(&shape, plan, text, (ptrdiff_t)sizeof(text)) == 0);
    if (plan->lookup_count == 0) {
        open_chain(plan);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct err_info info = {0};
    const struct config *config = NULL;
    struct str text = {(const char *)data, (ptrdiff_t)size};
    if (str_find(text, STR("plugin")) >= 0) {
        return 0;
    }
    arena_init(&arena, 256 << 20);
    enum err err = config_load(&arena, "f", text, &config, &info);
    if (err != ERR_OK) {
        CHECK(strncmp(info.text, "f:", 2) == 0 && strlen(info.text) < ERR_TEXT_MAX);
        arena_release(&arena);
        return 0;
    }
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        for (int32_t s = 0; s < config->pipelines[p]->stage_count; s++) {
            check_stage(config, config->pipelines[p]->stages[s]);
        }
    }
    arena_release(&arena);
    return 0;
}
