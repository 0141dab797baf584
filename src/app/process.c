// SPDX-License-Identifier: Apache-2.0
#include "app/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "app/say.h"
#include "app/shadow_stores.h"
#include "app/version.h"
#include "base/check.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/real/entropy.h"
#include "base/real/fs_real.h"
#include "base/real/limits_real.h"
#include "control/forecaster.h"
#include "control/history.h"
#include "log/memory.h"
#include "node/shadow.h"

enum { LISTEN_MAX = 64, LANE_NAME_MAX = 24 };

struct process {
    struct clock clock;
    struct fs fs, lookup_fs;
    struct log *log;
    struct control *control;
    struct history *history;
    struct forecaster *forecaster;
    struct api *api;
    struct auth auth;
    struct loop *log_loops[LOG_LOOPS_MAX];
    struct loop *control_loop;
    struct loop *history_loop, *forecaster_loop;
    struct loop **lane_loops;
    struct loop *shadow_loop;
    struct shadow_stores *stores;
    struct control_store named_stores[SHADOW_STORES_MAX];
    int32_t lane_count;
};

/* The shadow lane's, to begin with: control sets both by what runs. */
#define SHADOW_BUDGET 0.1
enum { SHADOW_MEMORY_BYTES = 256 << 20 };

/* --- files of the folder --- */

/* `synced`: it stays through a power cut. */
static enum err write_file(const struct fs *fs, const char *name, struct str text, bool synced,
                           struct err_info *info)
{
    char temporary[64];
    struct fs_file file = {-1};
    IGNORE_RESULT(snprintf(temporary, sizeof(temporary), "%s.new", name)); /* fits: our names */
    enum err err = fs_open(fs, temporary, FS_O_WRITE | FS_O_CREATE, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    err = fs_truncate(fs, file, 0, info);
    err = err == ERR_OK ? fs_write(fs, file, text.ptr, text.len, 0, info) : err;
    err = err == ERR_OK && synced ? fs_sync(fs, file, info) : err;
    fs_close(fs, file);
    err = err == ERR_OK ? fs_rename(fs, temporary, name, info) : err;
    return err == ERR_OK && synced ? fs_sync_dir(fs, ".", info) : err;
}

enum err process_write_file(const struct fs *fs, const char *name, struct str text,
                            struct err_info *info)
{
    return write_file(fs, name, text, true, info);
}

/* The text of a small file into `buf`, 0 behind it. */
static enum err read_small(const struct fs *fs, const char *name, char *buf, ptrdiff_t cap,
                           ptrdiff_t *ret_len, struct err_info *info)
{
    struct fs_file file = {-1};
    int64_t size = 0;
    enum err err = fs_open(fs, name, FS_O_READ, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    err = fs_size(fs, file, &size, info);
    if (err == ERR_OK && size >= cap) {
        err = err_set(info, ERR_LIMIT, "'%s' is larger than %td bytes", name, cap - 1);
    }
    err = err == ERR_OK ? fs_read(fs, file, buf, cap - 1, 0, ret_len, info) : err;
    fs_close(fs, file);
    if (err == ERR_OK) {
        buf[*ret_len] = 0;
    }
    return err;
}

static enum err admin_token(const struct fs *fs, struct auth *auth, struct err_info *info)
{
    char text[AUTH_TOKEN_HEX + 8];
    ptrdiff_t len = 0;
    enum err err = read_small(fs, "token", text, (ptrdiff_t)sizeof(text), &len, info);
    if (err == ERR_NOT_FOUND) {
        auth_token_make(text);
        text[AUTH_TOKEN_HEX] = '\n';
        len = AUTH_TOKEN_HEX + 1;
        err = process_write_file(fs, "token", (struct str){text, len}, info);
    }
    if (err == ERR_OK) {
        struct str token = str_trim((struct str){text, len});
        err = auth_add(auth, token, ROLE_ADMIN, STR("first"), info);
        if (err == ERR_INVALID) {
            err = err_set(info, ERR_INVALID,
                          "the file 'token' in the data folder holds no token: remove it, and the "
                          "next start writes a new one");
        }
    }
    explicit_bzero(text, sizeof(text));
    return err;
}

enum err process_tokens(const struct fs *fs, struct auth *ret_auth, struct err_info *info)
{
    ptrdiff_t len = 0;
    *ret_auth = (struct auth){.count = 0};
    enum err err = admin_token(fs, ret_auth, info);
    if (err != ERR_OK) {
        return err;
    }
    char *text = mem_new(TOKENS_FILE_MAX, 1);
    err = read_small(fs, "tokens", text, TOKENS_FILE_MAX, &len, info);
    if (err == ERR_OK) {
        err = auth_load(ret_auth, "tokens", (struct str){text, len}, info);
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_OK;
    }
    mem_free(text);
    return err;
}

/* --- start --- */

static enum err open_log(struct process *process, const struct process_options *options,
                         struct err_info *info)
{
    const struct config *config = options->config;
    struct log_recovery_report report = {.torn_at_sequence = -1};
    if (options->memory_log) {
        uint64_t seed = 0;
        entropy_fill(&seed, (ptrdiff_t)sizeof(seed));
        process->log = log_memory_new(&(struct log_memory_options){
            .clock = &process->clock, .seed = seed, .commit_delay_ns = 1000000});
        return ERR_OK;
    }
    enum err err = log_embedded_open(
        &(struct log_embedded_options){.fs = &process->fs,
                                       .clock = &process->clock,
                                       .sync =
                                           config->sync == CONFIG_SYNC ? LOG_SYNC : LOG_UNSYNCED,
                                       .unsynced_interval_ns = config->unsynced_interval_ns},
        &process->log, &report, info);
    if (err == ERR_OK && report.text[0] != 0) {
        say(SAY_WARN, "log", "%s", report.text);
    }
    return err;
}

/* The local view and the forecaster. */
static enum err open_views(struct process *process, const struct process_options *options,
                           struct err_info *info)
{
    const struct manager_spec *spec = &options->config->manager;
    process->forecaster = forecaster_new(&(struct forecaster_options){
        .step_s = (double)spec->interval_ns * 1e-9,
        .quantile = spec->price_late / (spec->price_late + spec->price_node)});
    return history_new(&(struct history_options){.fs = options->memory_log ? NULL : &process->fs,
                                                 .folder = options->data},
                       &process->history, info);
}

static struct loop *start_loop(struct process *process, const char *name, loop_step step, void *ctx,
                               struct waker *waker)
{
    return loop_start(&(struct loop_options){.name = name,
                                             .clock = &process->clock,
                                             .waker = waker,
                                             .step = step,
                                             .ctx = ctx,
                                             .class = LOOP_NORMAL,
                                             .cpu = -1});
}

/* Of the idle class: it runs when nobody else wants to. */
static struct loop *start_shadows(struct process *process, struct shadow_lane *lane)
{
    return loop_start(&(struct loop_options){.name = "shadows",
                                             .clock = &process->clock,
                                             .waker = shadow_lane_waker(lane),
                                             .step = shadow_lane_step,
                                             .ctx = lane,
                                             .class = LOOP_IDLE,
                                             .cpu = -1});
}

static void start_loops(struct process *process)
{
    struct log_loop loops[LOG_LOOPS_MAX];
    struct node_runtime *runtime = control_runtime(process->control);
    int count = log_loops(process->log, loops);
    for (int i = 0; i < count; i++) {
        process->log_loops[i] =
            start_loop(process, loops[i].name, loops[i].step, loops[i].ctx, loops[i].waker);
    }
    process->lane_count = node_runtime_lane_count(runtime);
    process->lane_loops = MEM_NEW_ARRAY(struct loop *, process->lane_count);
    for (int32_t i = 0; i < process->lane_count; i++) {
        char name[LANE_NAME_MAX];
        struct lane *lane = node_runtime_lane(runtime, i);
        IGNORE_RESULT(snprintf(name, sizeof(name), "lane %d", i)); /* fits */
        process->lane_loops[i] = start_loop(process, name, lane_step, lane, lane_waker(lane));
    }
    process->history_loop = start_loop(process, "history", history_step, process->history,
                                       history_waker(process->history));
    process->forecaster_loop =
        start_loop(process, "forecaster", forecaster_step, process->forecaster,
                   forecaster_waker(process->forecaster));
    process->shadow_loop = start_shadows(process, node_runtime_shadow_lane(runtime));
    process->control_loop = start_loop(process, "control", control_step, process->control,
                                       control_waker(process->control));
}

static enum err start_api(struct process *process, const struct process_options *options,
                          struct err_info *info)
{
    char address[LISTEN_MAX];
    char url[LISTEN_MAX + 32];
    const struct listen_spec *listen = &options->config->listen;
    IGNORE_RESULT(
        snprintf(address, sizeof(address), "%.*s", STR_ARG(listen->address))); /* cut: refused */
    if (options->address != NULL) {
        IGNORE_RESULT(snprintf(address, sizeof(address), "%s", options->address));
    }
    enum err err =
        api_start(&(struct api_options){.clock = &process->clock,
                                        .control = control_mailbox(process->control),
                                        .address = address,
                                        .port = options->port >= 0 ? options->port : listen->port,
                                        .insecure = options->insecure_listen,
                                        .auth = &process->auth,
                                        .version = SHADOWCAST_VERSION},
                  &process->api, info);
    if (err != ERR_OK) {
        return err;
    }
    bool v6 = strchr(address, ':') != NULL;
    int n = snprintf(url, sizeof(url), "http://%s%s%s:%d\n", v6 ? "[" : "", address, v6 ? "]" : "",
                     api_port(process->api));
    /* Behind a power cut nobody listens there: it need not be synced. */
    return write_file(&process->fs, "api", (struct str){url, n}, false, info);
}

/* The stores of the configuration, and their names for control. */
static enum err open_stores(struct process *process, const struct process_options *options,
                            struct control_options *control, struct err_info *info)
{
    struct shadow_stores_options stores = {.config = options->config,
                                           .clock = &process->clock,
                                           .fs = &process->fs,
                                           .root = options->lookup_root};
    entropy_fill(&stores.incarnation, (ptrdiff_t)sizeof(stores.incarnation));
    enum err err = shadow_stores_start(&stores, &process->stores, info);
    if (err != ERR_OK) {
        return err;
    }
    control->store_count = shadow_stores_count(process->stores);
    for (int32_t i = 0; i < control->store_count; i++) {
        process->named_stores[i] =
            (struct control_store){.name = shadow_stores_name(process->stores, i),
                                   .store = shadow_stores_get(process->stores, i)};
    }
    control->stores = process->named_stores;
    return ERR_OK;
}

enum err process_start(const struct process_options *options, struct process **ret_process,
                       struct err_info *info)
{
    struct process *process = MEM_NEW(struct process);
    struct control_options control = {.config = options->config,
                                      .clock = &process->clock,
                                      .fs = &process->lookup_fs,
                                      .runtime_flags = options->runtime_flags,
                                      .tuning = options->tuning,
                                      .shadow_budget = SHADOW_BUDGET,
                                      .shadow_memory_bytes = SHADOW_MEMORY_BYTES};
    process->clock = clock_real();
    IGNORE_RESULT(limits_raise_open_files()); /* a shard that finds none left says so itself */
    entropy_fill(&control.seed, (ptrdiff_t)sizeof(control.seed));
    /* No core file may hold a token. */
    IGNORE_RESULT(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); /* cannot fail with 0 */
    enum err err = fs_real_open(options->data, &process->fs, info);
    err = err == ERR_OK ? fs_real_open(options->lookup_root, &process->lookup_fs, info) : err;
    err = err == ERR_OK ? open_log(process, options, info) : err;
    err = err == ERR_OK ? process_tokens(&process->fs, &process->auth, info) : err;
    control.log = process->log;
    err = err == ERR_OK ? open_views(process, options, info) : err;
    control.history = process->history;
    control.forecaster = process->forecaster;
    err = err == ERR_OK ? open_stores(process, options, &control, info) : err;
    err = err == ERR_OK ? control_new(&control, &process->control, info) : err;
    if (err == ERR_OK) {
        start_loops(process);
        err = start_api(process, options, info);
    }
    if (err != ERR_OK) {
        process_free(process);
        return err;
    }
    *ret_process = process;
    return ERR_OK;
}

struct node_runtime *process_runtime(struct process *process)
{
    return control_runtime(process->control);
}

struct control *process_control(struct process *process)
{
    return process->control;
}

int process_port(const struct process *process)
{
    return api_port(process->api);
}

bool process_failed(struct process *process, struct err_info *ret_why)
{
    struct node_runtime *runtime = control_runtime(process->control);
    const struct err_info *failure = atomic_load(&process->log->failure);
    if (failure != NULL) { /* before those that stumble over it: what is wrong is the disk */
        *ret_why = *failure;
        return true;
    }
    if (control_failed(process->control, ret_why)) {
        return true;
    }
    if (node_runtime_state(runtime) == RUNTIME_FAILED) {
        *ret_why = *node_runtime_problem(runtime); /* written before the state, once */
        return true;
    }
    return false;
}

/* --- end --- */

void process_stop(struct process *process)
{
    control_drain(process->control);
    api_stop(process->api);
    process->api = NULL;
    node_runtime_stop(control_runtime(process->control));
}

bool process_stopped(struct process *process)
{
    enum runtime_state state = node_runtime_state(control_runtime(process->control));
    return state == RUNTIME_STOPPED || state == RUNTIME_FAILED;
}

void process_halt(struct process *process)
{
    if (process->api != NULL) {
        control_drain(process->control);
        api_stop(process->api);
        process->api = NULL;
    }
    for (int32_t i = 0; i < process->lane_count; i++) {
        loop_stop(process->lane_loops[i]);
        process->lane_loops[i] = NULL;
    }
    loop_stop(process->shadow_loop);
    process->shadow_loop = NULL;
    loop_stop(process->control_loop);
    process->control_loop = NULL;
    shadow_stores_stop(process->stores);
    loop_stop(process->forecaster_loop);
    process->forecaster_loop = NULL;
    loop_stop(process->history_loop);
    process->history_loop = NULL;
    for (int i = 0; i < LOG_LOOPS_MAX; i++) {
        loop_stop(process->log_loops[i]);
        process->log_loops[i] = NULL;
    }
}

const char *process_problem(const struct process *process)
{
    CHECK(process->control_loop == NULL);
    return node_runtime_problem(control_runtime(process->control))->text;
}

void process_free(struct process *process)
{
    if (process == NULL) {
        return;
    }
    process_halt(process);
    if (process->control != NULL) {
        IGNORE_RESULT(fs_unlink(&process->fs, "api", NULL)); /* absent if the start failed */
    }
    shadow_stores_free(process->stores); /* before those whose ops it gives back */
    control_free(process->control);
    forecaster_free(process->forecaster);
    history_free(process->history);
    log_close(process->log);
    mem_free(process->lane_loops);
    explicit_bzero(&process->auth, sizeof(process->auth));
    fs_real_close(&process->lookup_fs);
    fs_real_close(&process->fs);
    mem_free(process);
}
