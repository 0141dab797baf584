// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_WINDOW_RUN_H
#define PIPELINE_WINDOW_RUN_H

#include "pipeline/operator.h"

/* The window operator at work (operator.h). */
enum err window_process(struct operator_instance *op, int input, struct batch *batch,
                        struct batch_list *next, struct err_info *info);
bool window_advance(struct operator_instance *op, int64_t watermark_ms, struct batch_list *next);
int64_t window_tick(struct operator_instance *op, int64_t now_ns, struct batch_list *next);

#endif
