// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_PART_H
#define SIM_PART_H

#include <stdbool.h>
#include <stdint.h>

/* A part of the simulator: one kind of world that a seed fills and runs. main.c has the table. */

struct sim_options {
    uint64_t seed;
    const char *engine; /* "embedded", "memory"; NULL: the seed chooses */
};

struct sim_result {
    bool passed;
    char text[600]; /* what was found wrong; else a short tally */
};

typedef void (*sim_part_run)(const struct sim_options *options, struct sim_result *ret_result);

struct sim_part {
    const char *name;
    sim_part_run run;
    int32_t
        cost; /* seeds of the others that take as long as one of it: `make test` runs that many fewer */
};

/* All parts, ended by a NULL name. */
extern const struct sim_part sim_parts[];

/* log_sim.c: producers, owners, readers and restores on a log, crashes and disk faults, judged by log_model.h. */
void sim_log_run(const struct sim_options *options, struct sim_result *ret_result);

/* pipeline_sim.c: drawn pipelines in changing layouts, killed and cut, judged by a recount. */
void sim_pipeline_run(const struct sim_options *options, struct sim_result *ret_result);

/* The same while layout_actor.h changes the layout, killed at its crash points, too. */
void sim_layout_run(const struct sim_options *options, struct sim_result *ret_result);

/* The same as the pipelines' part while shadow_actor.h casts shadows. */
void sim_shadow_run(const struct sim_options *options, struct sim_result *ret_result);

/* The same with the whole control plane: the manager acts on a drawn load while people change the layout (manager_actor.h). */
void sim_manager_run(const struct sim_options *options, struct sim_result *ret_result);

/* Runs `count` seeds from `first` on of one part (NULL: all), printing a line for each that fails with the command that
 * repeats it. Returns how many failed. */
int64_t sim_run_seeds(const char *part, const char *engine, uint64_t first, int64_t count,
                      bool verbose);

#endif
