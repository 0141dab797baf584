// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_CONFIG_PRIV_H
#define PIPELINE_CONFIG_PRIV_H

#include "pipeline/config.h"

/* What the files that read the configuration share. */

enum {
    STREAM_NAME_MAX = 249, /* bytes, as Kafka topics */
    STAGE_NAME_MAX = 64,   /* of stages, pipelines, operators: they become parts of stream names */
    STREAM_SHARDS_MAX = 1024,
    STREAMS_MAX = STREAMS_CONFIGURED_MAX
};

struct loader {
    struct arena *arena;
    struct config *config;
    struct err_info *info;
};

/* Checks: letters, digits, '_', '-' and, for streams, '.'; not reserved, not too long. `what` is for the error. */
ATTR_NODISCARD enum err config_stream_name(const struct yaml_node *node, struct err_info *info);
ATTR_NODISCARD enum err config_part_name(const struct yaml_node *node, struct str name,
                                         const char *what, struct err_info *info);

ATTR_NODISCARD enum err config_read_streams(struct loader *loader, const struct yaml_node *node);

/* How a stream's records are compressed: none, lz4 or zstd. */
ATTR_NODISCARD enum err config_read_codec(struct loader *loader, const struct yaml_node *node,
                                          struct stream_spec *spec);
ATTR_NODISCARD enum err config_read_stores(struct loader *loader, const struct yaml_node *node);

/* The store that is always there, unless the file has set it up. */
ATTR_NODISCARD enum err config_add_memory_store(struct loader *loader,
                                                const struct yaml_node *root);

/* The store that `node` means: a name, or an address that stands for one. */
ATTR_NODISCARD enum err config_store_named(struct loader *loader, const struct yaml_node *node,
                                           struct str *name);

/* Adds a stream that stages make for themselves; LIMIT in words at `node`. */
ATTR_NODISCARD enum err config_add_stream(struct loader *loader, const struct yaml_node *node,
                                          const struct stream_spec *spec,
                                          const struct stream_spec **ret_spec);

/* Reads one pipeline's stages, in order. */
ATTR_NODISCARD enum err config_read_stages(struct loader *loader, struct pipeline_plan *pipeline,
                                           const struct yaml_node *node);

/* Compiles the chain of the stage at `place`, whose inputs are known. Without `chain` it is an empty one. */
ATTR_NODISCARD enum err config_read_chain(struct loader *loader,
                                          const struct pipeline_plan *pipeline,
                                          struct stage_plan *stage, const struct yaml_node *place);

/* Finds out which columns each operator of a stage's chain has to provide. */
void config_follow_use(struct stage_plan *stage);

/* The settings of a key_by in `chain`, or NULL. */
const struct yaml_node *config_key_by_of(const struct yaml_node *chain);

/* Text that is the same for settings that mean the same: keys sorted, one form of quotes, no comments, no layout. */
struct str config_normal_text(struct arena *arena, const struct yaml_node *node);

/* `manager:` */
struct manager_spec config_manager_defaults(void);
ATTR_NODISCARD enum err config_read_manager(struct loader *loader, const struct yaml_node *node);
ATTR_NODISCARD enum err config_read_mode(const struct yaml_node *node, enum config_mode *ret_mode,
                                         struct err_info *info);

/* "a duration, or 'never'" and the like: `word` gives `word_value`. */
ATTR_NODISCARD enum err config_duration_or(const struct yaml_node *node, const char *word,
                                           int64_t word_value, int64_t max_ns, int64_t *ret_ns,
                                           struct err_info *info);

#endif
