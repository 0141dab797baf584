// SPDX-License-Identifier: Apache-2.0
#include "node/figures.h"

#include <stddef.h>

#define FIGURE_TYPE(type) _Generic((type)0, int64_t : FIGURE_I64, double : FIGURE_F64)

const struct figure_field PARTITION_FIELDS[] = {
#define X(ctype, member, unit_text, help_text) \
    {.name = #member, \
     .unit = unit_text, \
     .help = help_text, \
     .type = FIGURE_TYPE(ctype), \
     .offset = (int32_t)offsetof(struct partition_figures, member)},
    PARTITION_FIGURES(X)
#undef X
        {.name = NULL}};

const struct figure_field LANE_FIELDS[] = {
#define X(ctype, member, unit_text, help_text) \
    {.name = #member, \
     .unit = unit_text, \
     .help = help_text, \
     .type = FIGURE_TYPE(ctype), \
     .offset = (int32_t)offsetof(struct lane_figures, member)},
    LANE_FIGURES(X)
#undef X
        {.name = NULL}};
