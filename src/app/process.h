// SPDX-License-Identifier: Apache-2.0
#ifndef APP_PROCESS_H
#define APP_PROCESS_H

#include "api/api.h"
#include "base/arena.h"
#include "control/control.h"
#include "log/embedded.h"

/* The whole product in one process: data folder, log, control, lanes, API, each loop on its thread. What `run` is, and
 * what tests and the demo start in place of it. */

struct process;

struct process_options {
    const struct config *config; /* outlives the process */
    const char *data;            /* data folder */
    const char *lookup_root;     /* folder that names of lookup files are relative to */
    const char *address;         /* NULL: the configuration's */
    int port;                    /* -1: the configuration's; 0: any free one */
    bool insecure_listen;
    bool memory_log; /* nothing survives: for trying out */
    uint32_t runtime_flags;
    struct lane_tuning tuning;
};

/* Starts everything. On success the process works: the API's address and the token are in the data folder.
 * Errors: CONFLICT (another process has the folder, or the port is taken), CORRUPT, IO, INVALID, NO_SPACE. */
ATTR_NODISCARD enum err process_start(const struct process_options *options,
                                      struct process **ret_process, struct err_info *info);

struct node_runtime *process_runtime(struct process *process);
struct control *process_control(struct process *process);
int process_port(const struct process *process);

/* Whether it cannot go on, and why. */
bool process_failed(struct process *process, struct err_info *ret_why);

/* Ends in order: no more calls, last commits. process_stopping() says when they are done; then process_free(). */
void process_stop(struct process *process);
bool process_stopped(struct process *process);

/* Stops the threads; nothing runs any more. Then the runtime's first problem may be read: empty text if there is none. */
void process_halt(struct process *process);
const char *process_problem(const struct process *process);

/* Halts if that was not done, and frees. Without process_stop() before it: as a crash would, but for the lock on the folder. */
void process_free(struct process *process);

enum { TOKENS_FILE_MAX = 64 << 10 }; /* bytes; DATA/tokens is shorter */

/* Reads or makes DATA/token, reads DATA/tokens. */
ATTR_NODISCARD enum err process_tokens(const struct fs *fs, struct auth *ret_auth,
                                       struct err_info *info);

/* A small file of the folder, replaced as a whole. */
ATTR_NODISCARD enum err process_write_file(const struct fs *fs, const char *name, struct str text,
                                           struct err_info *info);

#endif
