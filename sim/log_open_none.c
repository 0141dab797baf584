// SPDX-License-Identifier: Apache-2.0
#include "sim/log_sim.h"

/* For a tree without the engine. */
enum err sim_open_embedded(struct sim *sim, struct err_info *info)
{
    sim->fs = disk_fs(sim->disk);
    return err_set(info, ERR_UNSUPPORTED, "this engine is not in the tree");
}
