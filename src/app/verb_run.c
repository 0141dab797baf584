// SPDX-License-Identifier: Apache-2.0
/* `run`: a configuration's pipelines, until told to end or until their input has ended. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "app/process.h"
#include "app/read_file.h"
#include "app/say.h"
#include "app/verbs.h"
#include "base/check.h"
#include "base/real/clock_real.h"

enum { CONFIG_ARENA_MAX = 256 << 20, PATH_BYTES_MAX = 4096 };
#define LOOK_NS          20000000L /* how often the state is looked at */
#define LOOK_START_NS    1000000L  /* until it is ready */
#define SECOND_SIGNAL_NS 500000000L

/* Waits for a signal of `set`, at most `ns`; 0 if none came. */
static int next_signal(const sigset_t *set, long ns)
{
    struct timespec wait = {.tv_sec = 0, .tv_nsec = ns};
    int signal_number = sigtimedwait(set, NULL, &wait);
    return signal_number > 0 ? signal_number : 0;
}

/* The folder a path lies in, for files that are named relative to the configuration. */
static void folder_of(const char *path, char buf[PATH_BYTES_MAX])
{
    const char *slash = strrchr(path, '/');
    ptrdiff_t len = slash == NULL ? 0 : slash == path ? 1 : slash - path;
    if (len == 0 || len >= PATH_BYTES_MAX) {
        memcpy(buf, ".", 2);
        return;
    }
    memcpy(buf, path, (size_t)len);
    buf[len] = 0;
}

/* "ADDRESS:PORT", "[V6]:PORT" or "PORT" into the options; false if it is none. */
static bool read_listen(const char *text, char address[64], struct process_options *options)
{
    char *end = NULL;
    const char *colon = strrchr(text, ':');
    const char *port = colon != NULL ? colon + 1 : text;
    long number = strtol(port, &end, 10);
    if (end == port || *end != 0 || number < 0 || number > 65535) {
        return false;
    }
    options->port = (int)number;
    if (colon == NULL) {
        return true;
    }
    bool v6 = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    ptrdiff_t len = colon - text - (v6 ? 2 : 0);
    if (len <= 0 || len >= 64) {
        return false;
    }
    memcpy(address, text + (v6 ? 1 : 0), (size_t)len);
    address[len] = 0;
    options->address = address;
    return true;
}

/* Stages that are no more and hold records back: `names` of their changelogs. */
static void tell_left_over(const char *names)
{
    if (names[0] != 0) {
        say(SAY_WARN, "run",
            "stages of an earlier configuration keep the records that they had not read: %s. "
            "'shadowcast stream delete NAME' forgets one",
            names);
    }
}

/* Rows that no lookup's table can hold; told again when they have become twice as many. */
static void tell_left_out(const struct node_runtime *runtime, int64_t *told)
{
    int64_t rows = node_runtime_rows_left_out(runtime);
    if (rows > 0 && rows >= 2 * *told) {
        say(SAY_WARN, "run",
            "%lld rows of table streams cannot be held by a lookup and are left out (a key over "
            "32 KiB, a value over 1 MiB, or too many rows); the event 'rows_left_out' tells which",
            (long long)rows);
        *told = rows;
    }
}

/* Watches the process until it is to end; the exit code says why, and `ret_why` what was said of a failure. */
static int watch(struct process *process, const sigset_t *signals, bool until_end,
                 struct err_info *ret_why)
{
    struct node_runtime *runtime = process_runtime(process);
    bool told = false;
    int32_t told_lost = 0;
    int64_t told_left_out = 0;
    for (;;) {
        int signal_number = next_signal(signals, told ? LOOK_NS : LOOK_START_NS);
        if (signal_number != 0) {
            say(SAY_INFO, "run", "%s: ending",
                signal_number == SIGINT ? "interrupted" : "terminated");
            return EXIT_CODE_OK;
        }
        if (process_failed(process, ret_why)) {
            say(SAY_ERROR, "run", "%s", ret_why->text);
            return (int)exit_code_of(ret_why->code != ERR_OK ? ret_why->code : ERR_INTERNAL);
        }
        bool running = node_runtime_state(runtime) == RUNTIME_RUNNING;
        if (running && !told && control_serving(process_control(process))) {
            told = true;
            say(SAY_INFO, "run", "ready");
            tell_left_over(control_left_over(process_control(process)));
        }
        tell_left_out(runtime, &told_left_out);
        int32_t lost = node_runtime_failed_partitions(runtime);
        if (lost > told_lost && running) {
            say(SAY_ERROR, "run",
                "%d partitions have stopped and need an operator; the others go on. GET /readyz "
                "and 'shadowcast partition list -o json' tell why",
                lost);
            told_lost = lost;
        }
        if (until_end && lost > 0 && running) {
            return EXIT_CODE_NEEDS_OPERATOR;
        }
        if (until_end && running && node_runtime_ended(runtime)) {
            say(SAY_INFO, "run", "all input is processed: ending");
            return EXIT_CODE_OK;
        }
    }
}

/* Last commits; a second signal cuts that short, and nothing that was acknowledged is lost by it. Signals that come with the
 * first one are the same wish: timeout(1) signals the process and then its group. `told` is what was said already. */
static void wind_down(struct process *process, const sigset_t *signals, const char *told)
{
    struct clock clock = clock_real();
    int64_t again_ns = clock_now_ns(&clock) + SECOND_SIGNAL_NS;
    process_stop(process);
    while (!process_stopped(process)) {
        if (next_signal(signals, LOOK_NS) != 0 && clock_now_ns(&clock) >= again_ns) {
            say(SAY_WARN, "run", "ending at once, without the last commits");
            break;
        }
    }
    process_halt(process);
    const char *problem = process_problem(process);
    if (problem[0] != 0 && strcmp(problem, told) != 0) {
        say(SAY_ERROR, "run", "%s", problem);
    }
    process_free(process);
}

/* A start that refuses what it was configured with: exits as `validate` does. */
static int start_exit_code(enum err err)
{
    bool config =
        err == ERR_INVALID || err == ERR_LIMIT || err == ERR_TYPE || err == ERR_UNSUPPORTED;
    return config ? EXIT_CODE_CONFIG : (int)exit_code_of(err);
}

static int run_config(const struct cli *cli, const struct config *config)
{
    char folder[PATH_BYTES_MAX];
    char data[PATH_BYTES_MAX];
    char address[64];
    struct err_info info;
    struct process *process = NULL;
    sigset_t signals;
    bool until_end = cli_flag(cli, "until-end");
    struct process_options options = {.config = config,
                                      .data = cli_text(cli, "data"),
                                      .lookup_root = folder,
                                      .port = -1,
                                      .insecure_listen = cli_flag(cli, "insecure-listen"),
                                      .memory_log = strcmp(cli_text(cli, "log"), "memory") == 0,
                                      .runtime_flags =
                                          (until_end ? RUNTIME_UNTIL_END : 0u) |
                                          (cli_flag(cli, "drop-state") ? RUNTIME_DROP_STATE : 0u)};
    folder_of(cli->args[0], folder);
    if (options.data == NULL) {
        IGNORE_RESULT(
            snprintf(data, sizeof(data), "%.*s", STR_ARG(config->data))); /* cut: refused */
        options.data = data;
    }
    const char *listen = cli_text(cli, "listen");
    if (listen != NULL && !read_listen(listen, address, &options)) {
        IGNORE_RESULT(
            fprintf(stderr, "shadowcast: --listen is ADDRESS:PORT or PORT, not '%s'\n", listen));
        return EXIT_CODE_USAGE;
    }
    /* Blocked before the first thread starts, so that only the waiting below takes them. */
    CHECK(sigemptyset(&signals) == 0 && sigaddset(&signals, SIGTERM) == 0 &&
          sigaddset(&signals, SIGINT) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0);
    enum err err = process_start(&options, &process, &info);
    if (err != ERR_OK) {
        say(SAY_ERROR, "run", "%s", info.text);
        return start_exit_code(err);
    }
    say(SAY_INFO, "run", "started; data in %s, API on port %d, token in %s/token", options.data,
        process_port(process), options.data);
    struct err_info why = {.code = ERR_OK};
    int code = watch(process, &signals, until_end, &why);
    wind_down(process, &signals, why.text);
    say(SAY_INFO, "run", "ended");
    return code;
}

int verb_run(const struct cli *cli)
{
    struct arena arena;
    struct err_info info;
    const struct config *config = NULL;
    int code = EXIT_CODE_CONFIG;
    arena_init(&arena, CONFIG_ARENA_MAX);
    enum err err = read_config(&arena, cli, cli->args[0], &config, &info);
    if (err != ERR_OK) {
        IGNORE_RESULT(fprintf(stderr, "%s\n", info.text)); /* nobody left to tell */
    } else {
        code = run_config(cli, config);
    }
    arena_release(&arena);
    return code;
}
