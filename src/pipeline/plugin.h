/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHADOWCAST_PLUGIN_H
#define SHADOWCAST_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* The interface of plug-ins: operators of your own, in a shared object (docs/operators.md, "plugin"). C, stable: fields are
 * only ever added at the end of a struct, and `size` says how much of it the other side knows.
 *
 * A plug-in exports one function, shadowcast_plugin(), that describes it. For each partition (or shadow) the host calls
 * open() once, process() with one batch after the other, always from one thread at a time, and close(). It may keep
 * memory for scratch, but nothing that its results depend on: partitions are moved, split and recovered without asking it.
 *
 * Everything handed in is the host's and valid until the call returns. */

#ifdef __cplusplus
extern "C" {
#endif

#define SHADOWCAST_PLUGIN_ABI 1u

#define SHADOWCAST_PLUGIN_EXPORT __attribute__((visibility("default")))

enum shadowcast_type {
    SHADOWCAST_BOOL = 0,   /* uint8_t 0 or 1 */
    SHADOWCAST_INT = 1,    /* int64_t */
    SHADOWCAST_FLOAT = 2,  /* double */
    SHADOWCAST_STRING = 3, /* struct shadowcast_str */
    SHADOWCAST_TIME = 4    /* int64_t, ms since 1970 */
};

struct shadowcast_str {
    const char *ptr;
    ptrdiff_t len;
};

/* A column of the batch. A value stands in `data` at its row's index. */
struct shadowcast_column {
    int32_t type; /* enum shadowcast_type */
    int32_t pad;
    void *data;
    uint8_t *
        null; /* 1: null. May be NULL for inputs: none is. Never NULL for outputs, where 1 stands everywhere at first */
};

/* What becomes of a row. */
enum shadowcast_verdict {
    SHADOWCAST_KEEP = 0,
    SHADOWCAST_DROP = 1,
    SHADOWCAST_REJECT =
        2 /* to the dead letters, with the reason given by host->reject or a general one */
};

struct shadowcast_batch {
    uint32_t size;
    int32_t row_count; /* rows that there is room for: indexes are below it */
    int32_t sel_count;
    const int32_t *sel; /* the rows to work on, ascending */
    const int64_t *time_ms;
    const struct shadowcast_str *key;   /* ptr NULL: absent */
    const struct shadowcast_str *value; /* the record as it came */
    int32_t in_count;
    const struct shadowcast_column *in; /* the columns of `columns:`, in that order */
    int32_t out_count;
    struct shadowcast_column *out; /* to be filled in for kept rows */
    uint8_t *verdict;              /* [row_count] enum shadowcast_verdict; KEEP at first */
};

struct shadowcast_setting {
    const char *name, *value;
};

/* What the host offers during a call. */
struct shadowcast_host {
    uint32_t size;
    void *ctx;
    /* Memory for strings of outputs, until the batch has left the pipeline; NULL: too much. */
    void *(*alloc)(void *ctx, ptrdiff_t bytes);
    /* Sets the verdict REJECT and its reason (copied). */
    void (*reject)(void *ctx, int32_t row, const char *reason);
};

struct shadowcast_knob {
    const char *name;
    int64_t min, max, value;
};

struct shadowcast_out_column {
    const char *name;
    int32_t type; /* enum shadowcast_type */
};

enum shadowcast_effects {
    SHADOWCAST_EFFECTS_NONE = 0,      /* looks at its rows and nothing else */
    SHADOWCAST_EFFECTS_DECLARED = 1,  /* reads from outside, changes nothing there */
    SHADOWCAST_EFFECTS_UNDECLARED = 2 /* may change the outside: does not run in shadows */
};

enum shadowcast_result {
    SHADOWCAST_OK = 0,
    SHADOWCAST_RETRY =
        1 /* something it needs is down: nothing has been done, call again with the same batch later */
};

struct shadowcast_plugin {
    uint32_t abi;  /* SHADOWCAST_PLUGIN_ABI */
    uint32_t size; /* sizeof(struct shadowcast_plugin) */
    const char *name;
    const char *version;
    int32_t effects; /* enum shadowcast_effects */
    int32_t in_count;
    const int32_t *in_types; /* types of the columns it wants, in order */
    int32_t out_count;
    const struct shadowcast_out_column *out; /* columns it adds */
    int32_t knob_count;
    const struct shadowcast_knob
        *knobs; /* settings that a tuner may change; given to open() as settings */
    /* Makes an instance; on failure returns NULL and writes a reason (cap bytes, with 0). Called once more when the
     * configuration is loaded, to see whether the settings are right; that instance is closed at once. */
    void *(*open)(const struct shadowcast_setting *settings, int32_t setting_count, char *reason,
                  size_t cap);
    void (*close)(void *instance);
    int32_t (*process)(void *instance, const struct shadowcast_host *host,
                       struct shadowcast_batch *batch);
};

/* Every plug-in defines this one. */
SHADOWCAST_PLUGIN_EXPORT const struct shadowcast_plugin *shadowcast_plugin(void);

#ifdef __cplusplus
}
#endif

#endif
