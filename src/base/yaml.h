// SPDX-License-Identifier: Apache-2.0
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* YAML (and JSON, which is YAML) as a tree in which every node knows where it stands, so that whoever checks it can say
 * file:line:column. Read through libyaml's events. Refused: anchors and aliases, tags, more than one document, a key
 * that comes twice in a map, keys that are not scalars, and what is over a limit. The tree lives in the arena. */

enum {
    YAML_BYTES_MAX = 4 << 20, /* text */
    YAML_DEPTH_MAX = 64,
    YAML_NODES_MAX = 1 << 20
};

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    bool quoted;              /* scalars: was in quotes, so it is a string whatever it looks like */
    int32_t line;             /* 1.. */
    int32_t column;           /* 1.. */
    const char *file;         /* as given to yaml_parse */
    struct str text;          /* scalars: decoded, 0 behind it; a null is the empty unquoted text */
    int32_t count;            /* entries of a map or list */
    struct yaml_node **items; /* lists: [count]; maps: values [count] */
    struct yaml_node **keys;  /* maps: [count] scalars, in the order of the text */
};

/* Errors: PARSE, LIMIT, with the place in the text. An empty text gives an empty map. */
ATTR_NODISCARD enum err yaml_parse(struct arena *arena, const char *file, struct str text,
                                   const struct yaml_node **ret_root, struct err_info *info);

/* The value of `key` in a map; NULL if it is absent (or `map` is NULL). */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* The tree with `value` at `path`: names of maps and numbers of list items, separated by points ("nodes.count",
 * "pipelines.p.stages.0.partitions"). Maps that are not there are made; the last name may be new. What is not on the path is
 * shared with `root`, which stays as it is.
 * Errors: INVALID (a name leads into what is no map or list, a number to no item), told at `value`'s place. */
ATTR_NODISCARD enum err yaml_set(struct arena *arena, const struct yaml_node *root, struct str path,
                                 const struct yaml_node *value, const struct yaml_node **ret_root,
                                 struct err_info *info);

/* Fills `info` with "file:line:column: " and the message, returns INVALID. */
enum err yaml_fail(struct err_info *info, const struct yaml_node *node, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* Typed readers. Each fails with the place, what was wanted and what stood there. Units are case-sensitive:
 * durations ns us ms s m h d; sizes B KiB MiB GiB TiB (and plain bytes); shares 12.5% or 0.125. */
ATTR_NODISCARD enum err yaml_i64(const struct yaml_node *node, int64_t min, int64_t max,
                                 int64_t *ret_value, struct err_info *info);
ATTR_NODISCARD enum err yaml_f64(const struct yaml_node *node, double min, double max,
                                 double *ret_value, struct err_info *info);
ATTR_NODISCARD enum err yaml_bool(const struct yaml_node *node, bool *ret_value,
                                  struct err_info *info);
ATTR_NODISCARD enum err yaml_text(const struct yaml_node *node, struct str *ret_value,
                                  struct err_info *info);
ATTR_NODISCARD enum err yaml_duration_ns(const struct yaml_node *node, int64_t min_ns,
                                         int64_t max_ns, int64_t *ret_ns, struct err_info *info);
ATTR_NODISCARD enum err yaml_size_bytes(const struct yaml_node *node, int64_t min, int64_t max,
                                        int64_t *ret_bytes, struct err_info *info);
ATTR_NODISCARD enum err yaml_ratio(const struct yaml_node *node, double min, double max,
                                   double *ret_ratio, struct err_info *info);

/* Fails on the first key of `map` that is not among `known` (ended by NULL), with the nearest known one as a hint
 * ("did you mean ..."). Also fails if `map` is no map. */
ATTR_NODISCARD enum err yaml_only_keys(const struct yaml_node *map, const char *const known[],
                                       struct err_info *info);

#endif
