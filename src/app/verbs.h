// SPDX-License-Identifier: Apache-2.0
#ifndef APP_VERBS_H
#define APP_VERBS_H

#include "app/cli.h"

/* The functions behind the verbs; each in its own file, returns an exit code (app/exit_code.h). Data goes to stdout,
 * messages and progress to stderr. */

int verb_run(const struct cli *cli);
int verb_validate(const struct cli *cli);
int verb_produce(const struct cli *cli);
int verb_consume(const struct cli *cli);
int verb_stream_list(const struct cli *cli);
int verb_stream_show(const struct cli *cli);
int verb_stream_create(const struct cli *cli);
int verb_stream_alter(const struct cli *cli);
int verb_stream_delete(const struct cli *cli);
int verb_partition_list(const struct cli *cli);
int verb_partition_show(const struct cli *cli);
int verb_partition_split(const struct cli *cli);
int verb_partition_merge(const struct cli *cli);
int verb_partition_migrate(const struct cli *cli);
int verb_node_list(const struct cli *cli);
int verb_node_add(const struct cli *cli);
int verb_node_drain(const struct cli *cli);
int verb_pipeline_list(const struct cli *cli);
int verb_pipeline_show(const struct cli *cli);
int verb_pipeline_replace(const struct cli *cli);
int verb_operation_list(const struct cli *cli);
int verb_operation_show(const struct cli *cli);
int verb_operation_cancel(const struct cli *cli);
int verb_forecast_show(const struct cli *cli);
int verb_sample_list(const struct cli *cli);
int verb_shadow_start(const struct cli *cli);
int verb_shadow_list(const struct cli *cli);
int verb_shadow_show(const struct cli *cli);
int verb_shadow_profile(const struct cli *cli);
int verb_shadow_stop(const struct cli *cli);
int verb_shadow_compare(const struct cli *cli);
int verb_shadow_stores(const struct cli *cli);
int verb_shadow_settings(const struct cli *cli);
int verb_candidate_start(const struct cli *cli);
int verb_candidate_show(const struct cli *cli);
int verb_candidate_promote(const struct cli *cli);
int verb_correlation_list(const struct cli *cli);
int verb_manager_show(const struct cli *cli);
int verb_manager_mode(const struct cli *cli);
int verb_decision_list(const struct cli *cli);
int verb_decision_show(const struct cli *cli);
int verb_plan_list(const struct cli *cli);
int verb_plan_show(const struct cli *cli);
int verb_plan_apply(const struct cli *cli);
int verb_plan_cancel(const struct cli *cli);
int verb_plan_undo(const struct cli *cli);
int verb_plan_join(const struct cli *cli);
int verb_top(const struct cli *cli);
int verb_log_repair(const struct cli *cli);
int verb_token_create(const struct cli *cli);
int verb_demo(const struct cli *cli);
int verb_generate(const struct cli *cli);
int verb_generate_nexmark(const struct cli *cli);
int verb_generate_ysb(const struct cli *cli);
int verb_forecast_file(const struct cli *cli);
int verb_bench(const struct cli *cli);
int verb_bench_loop(const struct cli *cli);
int verb_bench_forecast(const struct cli *cli);
int verb_backtest(const struct cli *cli);
int verb_completion(const struct cli *cli);
int verb_manual(const struct cli *cli);
int verb_version(const struct cli *cli);

#endif
