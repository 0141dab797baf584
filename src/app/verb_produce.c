// SPDX-License-Identifier: Apache-2.0
/* `shadowcast produce`: lines from standard input into a stream. Each read of the input becomes one call, or more if it has
 * too many lines for one, so a slow input is sent as it comes and a fast one in large pieces. The producer has an id and
 * numbers its records: a call that is sent again after a broken connection or a restart stores nothing twice. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/client.h"
#include "app/verbs.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "control/control.h"

enum {
    PIECE_BYTES_MAX = 1 << 20,
    CALL_ARENA_MAX = 8 << 20,
    BACKOFF_FIRST_NS = 50000000,
    BACKOFF_MAX_NS = 2000000000
};

struct producer {
    const struct cli *cli;
    struct client *client;
    struct arena arena; /* reset for each call */
    struct clock clock;
    const char *path;
    int64_t id, epoch;
    int64_t sequence;     /* of the next line */
    int64_t lines_before; /* of the input, before the call's first one; blank ones too */
    int64_t sent, rejected;
    char first_reason[160];
};

static int64_t member_i64(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* Whether the same call may succeed later: the process restarts, is busy, or its disk is full for now. */
static bool worth_a_retry(enum err err)
{
    return err_class_of(err) == ERR_CLASS_RETRY;
}

/* Sends `call` until it is answered, waiting longer each time, at most --retry-for altogether. */
static enum err call_patiently(struct producer *p, const struct client_call *call,
                               struct client_answer *ret_answer, struct err_info *info)
{
    int64_t give_up_ns = clock_now_ns(&p->clock) + cli_i64(p->cli, "retry-for");
    int64_t backoff_ns = BACKOFF_FIRST_NS;
    struct arena_mark mark = arena_mark(&p->arena);
    for (;;) {
        *ret_answer = (struct client_answer){0};
        enum err err = client_call(p->client, call, &p->arena, ret_answer, info);
        if (err == ERR_OK || !worth_a_retry(err) || clock_now_ns(&p->clock) >= give_up_ns) {
            return err;
        }
        arena_rewind(&p->arena, mark); /* tries may be many */
        int64_t asked_ns = ret_answer->retry_after_s * 1000000000;
        clock_real_sleep(asked_ns > backoff_ns ? asked_ns : backoff_ns);
        backoff_ns = backoff_ns * 2 > BACKOFF_MAX_NS ? BACKOFF_MAX_NS : backoff_ns * 2;
        IGNORE_RESULT(client_refresh(p->client, NULL)); /* the old address stays if there is none */
    }
}

static enum err get_producer_id(struct producer *p, struct err_info *info)
{
    struct client_answer answer;
    struct client_call call = {.method = "POST", .path = "/api/v1/producers"};
    enum err err = call_patiently(p, &call, &answer, info);
    if (err == ERR_OK) {
        json_t *row = json_loadb(answer.body.ptr, (size_t)answer.body.len, 0, NULL);
        p->id = member_i64(row, "id");
        p->epoch = member_i64(row, "epoch");
        json_decref(row);
    }
    return err;
}

/* Counts `count` lines that were refused. `reason` begins with "line N: ", N counted in the call: told as the input's. */
static void note_refused(struct producer *p, int64_t count, const char *reason)
{
    if (count > 0 && p->rejected == 0 && reason != NULL) {
        char *rest = NULL;
        bool numbered = strncmp(reason, "line ", 5) == 0;
        long long line = numbered ? strtoll(reason + 5, &rest, 10) : 0;
        IGNORE_RESULT(numbered ? snprintf(p->first_reason, sizeof(p->first_reason), "line %lld%s",
                                          line + (long long)p->lines_before, rest)
                               : snprintf(p->first_reason, sizeof(p->first_reason), "%s",
                                          reason)); /* cut is fine */
    }
    p->rejected += count;
}

static void note_answer(struct producer *p, struct str body)
{
    json_t *row = json_loadb(body.ptr, (size_t)body.len, 0, NULL);
    note_refused(p, member_i64(row, "rejected"), json_string_value(json_object_get(row, "reason")));
    json_decref(row);
}

/* A call of which no line can be taken is an error of the whole call. To the input it is no more than lines that are left
 * out: how the input was cut into calls must not decide whether the rest of it is stored. The server did not count the
 * call, so its number is the next one's. Said at once if nothing was stored so far: it may be all of an endless input. */
static bool take_refused_call(struct producer *p, int64_t lines, const struct err_info *info)
{
    if (strncmp(info->text, CONTROL_NO_RECORD_TEXT, strlen(CONTROL_NO_RECORD_TEXT)) != 0) {
        return false;
    }
    bool first = p->sent == 0 && p->rejected == 0;
    note_refused(p, lines, info->text + strlen(CONTROL_NO_RECORD_TEXT));
    if (first) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: refused so far: %s; going on with the input\n",
                              p->first_reason)); /* nobody left to tell */
    }
    return true;
}

static int64_t count_lines(struct str piece)
{
    int64_t lines = 0;
    for (struct str rest = piece; rest.len > 0;) {
        lines += str_trim(str_cut(&rest, '\n')).len > 0;
    }
    return lines;
}

/* The first lines of `rest`, at most as many as a call may have. */
static struct str first_lines(struct str rest, int64_t *ret_newlines)
{
    int64_t count = 0;
    const char *at = rest.ptr, *end = rest.ptr + rest.len;
    while (count < CONTROL_INGEST_RECORDS_MAX) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            at = end;
            break;
        }
        at = newline + 1;
        count++;
    }
    *ret_newlines = count;
    return (struct str){rest.ptr, at - rest.ptr};
}

static enum err send_piece(struct producer *p, struct str piece, struct err_info *info)
{
    int64_t lines = count_lines(piece);
    if (lines == 0) {
        return ERR_OK;
    }
    struct client_answer answer;
    arena_reset(&p->arena);
    struct client_call call = {
        .method = "POST",
        .path = p->path,
        .headers = {arena_printf(&p->arena, "X-Producer-Id: %lld", (long long)p->id),
                    arena_printf(&p->arena, "X-Producer-Epoch: %lld", (long long)p->epoch),
                    arena_printf(&p->arena, "X-Producer-Sequence: %lld", (long long)p->sequence)},
        .body = piece,
        .body_type = "application/x-ndjson"};
    enum err err = call_patiently(p, &call, &answer, info);
    if (err == ERR_OK) {
        p->sequence += lines;
        p->sent += lines;
        note_answer(p, answer.body);
    } else if (err == ERR_INVALID && take_refused_call(p, lines, info)) {
        p->sent += lines;
        err = ERR_OK;
    }
    return err;
}

static void tell_progress(const struct producer *p, int64_t *last_ns)
{
    int64_t now_ns = clock_now_ns(&p->clock);
    if (isatty(STDERR_FILENO) == 1 && now_ns - *last_ns > 500000000) {
        *last_ns = now_ns;
        IGNORE_RESULT(
            fprintf(stderr, "\rproduced %lld records", (long long)p->sent)); /* progress only */
    }
}

/* Whole lines, in as many calls as they take. */
static enum err send_lines(struct producer *p, struct str lines, int64_t *told_ns,
                           struct err_info *info)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && lines.len > 0) {
        int64_t newlines = 0;
        struct str piece = first_lines(lines, &newlines);
        err = send_piece(p, piece, info);
        p->lines_before += newlines;
        lines = (struct str){lines.ptr + piece.len, lines.len - piece.len};
        tell_progress(p, told_ns);
    }
    return err;
}

/* Reads what there is and sends all whole lines of it; the last one without an end of line too, at the end. */
static enum err send_input(struct producer *p, struct err_info *info)
{
    char *buf = mem_new(1, PIECE_BYTES_MAX);
    ptrdiff_t len = 0;
    int64_t told_ns = 0;
    enum err err = ERR_OK;
    bool more = true;
    while (err == ERR_OK && more) {
        ssize_t got = read(STDIN_FILENO, buf + len, (size_t)(PIECE_BYTES_MAX - len));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            err = err_set_sys(info, ERR_IO, errno, "cannot read standard input");
            break;
        }
        len += got;
        more = got > 0;
        const char *end = len > 0 ? memrchr(buf, '\n', (size_t)len) : NULL;
        ptrdiff_t whole = !more ? len : end != NULL ? end - buf + 1 : 0;
        if (whole == 0 && len == PIECE_BYTES_MAX) {
            err = err_set(
                info, ERR_LIMIT,
                "line %lld is longer than %d bytes; it and the lines behind it are not sent",
                (long long)p->lines_before + 1, PIECE_BYTES_MAX);
        } else {
            err = send_lines(p, (struct str){buf, whole}, &told_ns, info);
            memmove(buf, buf + whole, (size_t)(len - whole));
            len -= whole;
        }
    }
    mem_free(buf);
    return err;
}

static const char *records_path(const struct cli *cli, struct arena *arena)
{
    const char *stream = client_escape(arena, cli->args[0]);
    const char *field = cli_text(cli, "key-field");
    return arena_printf(arena, "/api/v1/streams/%s/records?format=%s%s%s", stream,
                        cli_text(cli, "format"), field != NULL ? "&key_field=" : "",
                        field != NULL ? client_escape(arena, field) : "");
}

static enum err produce(struct producer *p, struct arena *arena, struct err_info *info)
{
    enum err err = client_new(p->cli, &p->client, info);
    if (err == ERR_OK) {
        err = get_producer_id(p, info);
    }
    if (err == ERR_OK) {
        err = send_input(p, info);
    }
    if (err == ERR_OK && cli_flag(p->cli, "end")) {
        struct client_answer answer;
        struct client_call call = {.method = "POST",
                                   .path = arena_printf(arena, "/api/v1/streams/%s/end",
                                                        client_escape(arena, p->cli->args[0]))};
        err = call_patiently(p, &call, &answer, info);
    }
    return err;
}

int verb_produce(const struct cli *cli)
{
    if (cli_given(cli, "key-field") && strcmp(cli_text(cli, "format"), "ndjson") != 0) {
        return client_wrong_call("produce: --key-field needs JSON lines: --format ndjson");
    }
    struct producer p = {.cli = cli, .clock = clock_real()};
    struct arena arena;
    struct err_info info;
    arena_init(&arena, 1 << 16);
    arena_init(&p.arena, CALL_ARENA_MAX);
    p.path = records_path(cli, &arena);
    enum err err = produce(&p, &arena, &info);
    client_free(p.client);
    arena_release(&p.arena);
    arena_release(&arena);
    IGNORE_RESULT(fprintf(stderr, "%sproduced %lld records\n",
                          isatty(STDERR_FILENO) == 1 ? "\r" : "",
                          (long long)(p.sent - p.rejected))); /* nobody left to tell */
    if (p.rejected > 0) {
        IGNORE_RESULT(fprintf(stderr, "shadowcast: %lld records were refused; the first: %s\n",
                              (long long)p.rejected, p.first_reason)); /* the same */
    }
    if (err != ERR_OK) {
        return client_fail(&info);
    }
    return p.rejected > 0 ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}
