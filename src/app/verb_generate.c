// SPDX-License-Identifier: Apache-2.0
/* `shadowcast generate`: plays a trace as lines of JSON, to be piped into `shadowcast produce` or anything else. */
#include "app/exit_code.h"
#include "app/read_file.h"
#include "app/verbs.h"
#include "base/real/clock_real.h"
#include "load/generator.h"

enum { TRACE_BYTES_MAX = 256 << 20 };

static int fail(const struct err_info *info)
{
    IGNORE_RESULT(fprintf(stderr, "shadowcast: %s\n", info->text)); /* nobody left to tell */
    return info->code == ERR_INVALID ? EXIT_CODE_USAGE : (int)exit_code_of(info->code);
}

static enum err read_options(const struct cli *cli, struct arena *arena, struct trace *trace,
                             struct generator_options *ret_options, struct err_info *info)
{
    struct str text = {0};
    const char *file = cli_text(cli, "trace");
    enum err err = read_file(arena, file, TRACE_BYTES_MAX, &text, info);
    if (err == ERR_OK) {
        err = trace_parse(arena, file, text, trace, info);
    }
    *ret_options = (struct generator_options){
        .trace = trace,
        .shape = strcmp(cli_text(cli, "shape"), "order") == 0 ? SHAPE_ORDER : SHAPE_CLICK,
        .rate_scale = cli_f64(cli, "rate-scale"),
        .value_per_second = cli_flag(cli, "per-second"),
        .speed = cli_given(cli, "speed") ? cli_f64(cli, "speed") : 1.0,
        .until_ms = cli_given(cli, "until") ? cli_i64(cli, "until") / 1000000 : INT64_MAX,
        .jitter_ms = cli_i64(cli, "jitter") / 1000000,
        .seed = (uint64_t)cli_i64(cli, "seed"),
    };
    if (err == ERR_OK && !(ret_options->rate_scale > 0.0 && ret_options->rate_scale <= 1e6)) {
        err = err_set(info, ERR_INVALID, "generate: --rate-scale is above 0, 1e6 at most");
    }
    if (err == ERR_OK && !(ret_options->speed > 0.0 && ret_options->speed <= 1e6)) {
        err = err_set(info, ERR_INVALID, "generate: --speed is above 0, 1e6 at most");
    }
    if (err == ERR_OK) {
        err = key_chooser_parse(str_of(cli_text(cli, "keys")), &ret_options->keys, info);
    }
    return err;
}

/* Waits until the record is due; what was written so far goes out first. */
static void pace(const struct clock *clock, int64_t start_ns, int64_t due_ns)
{
    int64_t early_ns = start_ns + due_ns - clock_now_ns(clock);
    if (early_ns > 0) {
        IGNORE_RESULT(fflush(stdout)); /* a closed pipe shows at the next write */
        clock_real_sleep(early_ns);
    }
}

int verb_generate(const struct cli *cli)
{
    struct arena arena;
    struct trace trace;
    struct generator_options options;
    struct err_info info;
    if (!cli_given(cli, "trace")) {
        IGNORE_RESULT(fputs("shadowcast: generate: --trace FILE is needed\n", stderr));
        return EXIT_CODE_USAGE;
    }
    arena_init(&arena, (ptrdiff_t)1 << 30);
    if (read_options(cli, &arena, &trace, &options, &info) != ERR_OK) {
        arena_release(&arena);
        return fail(&info);
    }
    struct generator generator;
    struct generated record;
    struct clock clock = clock_real();
    int64_t start_ns = clock_now_ns(&clock);
    bool paced = cli_given(cli, "speed");
    bool tab = strcmp(cli_text(cli, "format"), "tab") == 0;
    generator_init(&generator, &options);
    while (generator_next(&generator, &record) && !ferror(stdout)) {
        if (paced) {
            pace(&clock, start_ns, record.due_ns);
        }
        if (tab) {
            IGNORE_RESULT(printf("%.*s\t", record.key_len, record.key)); /* main() judges stdout */
        }
        IGNORE_RESULT(fwrite(record.value, 1, (size_t)record.value_len, stdout)); /* the same */
        IGNORE_RESULT(fputc('\n', stdout));
    }
    arena_release(&arena);
    return EXIT_CODE_OK;
}
