// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/process.h"
#include "base/check.h"
#include "base/crashpoint.h"
#include "log/embedded.h"

/* Linked into a program of its own, shadowcast_crash, so that the real one has no such thing. The environment says:
 *
 *   CRASH_AT="change.map.before:2"  at which crash point it is to end as by kill -9, and at which pass of it
 *   SMALL_FILES=32768               shard segments of so many bytes, small journal segments, early checkpoints: what takes the
 *                                   real program gigabytes to come to (rolls, retention, checkpoints) comes within a second
 *
 * The second is put between the program's own calls by the linker (--wrap), so its code is what users run. */

enum { SMALL_JOURNAL_BYTES = 256 << 10, SMALL_CHECKPOINT_BYTES = 16 << 10 };

static char wanted[64];
static _Atomic long passes_left;
static long small; /* bytes of a shard segment; 0: as in the real program */

static void pass(void *ctx, const char *name)
{
    (void)ctx;
    if (strcmp(name, wanted) == 0 && atomic_fetch_sub(&passes_left, 1) == 1) {
        IGNORE_RESULT(kill(getpid(), SIGKILL)); /* does not return */
    }
}

__attribute__((constructor)) static void arm(void)
{
    const char *text = getenv("CRASH_AT");     // NOLINT(concurrency-mt-unsafe): before main
    const char *bytes = getenv("SMALL_FILES"); // NOLINT(concurrency-mt-unsafe): before main
    small = bytes != NULL ? strtol(bytes, NULL, 10) : 0;
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;
    if (colon == NULL || colon - text >= (long)sizeof(wanted)) {
        return;
    }
    memcpy(wanted, text, (size_t)(colon - text));
    atomic_store(&passes_left, strtol(colon + 1, NULL, 10));
    crashpoint_arm(pass, NULL);
}

/* The linker's names for a wrapped function and what wraps it. NOLINTBEGIN(bugprone-reserved-identifier) */
enum err __real_log_embedded_open(const struct log_embedded_options *options, struct log **ret_log,
                                  struct log_recovery_report *ret_report, struct err_info *info);
enum err __wrap_log_embedded_open(const struct log_embedded_options *options, struct log **ret_log,
                                  struct log_recovery_report *ret_report, struct err_info *info);
enum err __real_process_start(const struct process_options *options, struct process **ret_process,
                              struct err_info *info);
enum err __wrap_process_start(const struct process_options *options, struct process **ret_process,
                              struct err_info *info);

enum err __wrap_log_embedded_open(const struct log_embedded_options *options, struct log **ret_log,
                                  struct log_recovery_report *ret_report, struct err_info *info)
{
    struct log_embedded_options own = *options;
    if (small > 0) {
        own.journal_segment_bytes = SMALL_JOURNAL_BYTES;
        own.shard_segment_bytes = small;
    }
    return __real_log_embedded_open(&own, ret_log, ret_report, info);
}

enum err __wrap_process_start(const struct process_options *options, struct process **ret_process,
                              struct err_info *info)
{
    struct process_options own = *options;
    if (small > 0) {
        own.tuning.checkpoint_bytes = SMALL_CHECKPOINT_BYTES;
        own.tuning.checkpoint_ratio = 1;
    }
    return __real_process_start(&own, ret_process, info);
}
/* NOLINTEND(bugprone-reserved-identifier) */
