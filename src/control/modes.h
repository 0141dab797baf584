// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_MODES_H
#define CONTROL_MODES_H

#include "control/entity.h"
#include "control/request.h"
#include "pipeline/config.h"
#include "prm/load.h"

/* Modes of the manager that were set by hand, kept over restarts: a row each in `sc.decisions`. One holds for as long as the
 * file says what it said when it was set; whoever edits the file has the last word. */

struct kept_mode {
    char scope[CONTROL_NAME_MAX + 1]; /* "all", or a pipeline */
    enum config_mode mode, file_mode;
    char time[32], who[33];
};

struct kept_modes {
    struct kept_mode all[LOAD_PIPELINES_MAX + 1]; /* in the order in which they were set */
    int32_t count;
};

struct control;

/* A row of the stream, at start; one for all makes those before it void. What is none is passed over. */
void modes_take(struct kept_modes *modes, const struct mode_row *row);

/* Sets those that still hold, and writes them anew, so that the stream's bound never takes them. */
void modes_recall(struct control *control);

/* A person has set a mode of all (-1) or of a pipeline. */
void modes_keep(struct control *control, int32_t pipeline, enum config_mode mode, const char *who);

#endif
