// SPDX-License-Identifier: Apache-2.0
/* The audit record of an order: appended to a stream of its own before the order is answered, one after the other. Each
 * carries the checksum of the one before it, so that a record that is taken away or changed is noticed. */
#include "base/check.h"
#include "base/hash.h"
#include "base/planted.h"
#include "control/control_priv.h"

void audit_add(struct job *job)
{
    job_list_push(&job->control->auditing, job);
}

static void member(struct text *text, const char *name, struct str value)
{
    text_printf(text, ",\"%s\":", name);
    text_json_str(text, value);
}

static struct str audit_text(struct job *job, int64_t now_ms)
{
    const struct control_request *request = job->request;
    const struct control_who *who = &request->who;
    struct text text;
    text_init(&text, request->arena);
    text_printf(&text, "{\"time_ms\":%lld", (long long)now_ms);
    member(&text, "who", str_of(who->name));
    member(&text, "role", str_of(who->role));
    member(&text, "from", str_of(who->peer));
    member(&text, "request_id", str_of(who->request_id));
    member(&text, "action", str_of(who->action));
    member(&text, "stream", str_of(request->args.stream));
    member(&text, "subject", str_of(request->subject));
    text_printf(&text, ",\"operation\":%lld", (long long)request->operation);
    text_printf(&text, ",\"body_hash\":\"%016llx\"",
                (unsigned long long)hash64(request->body.ptr, request->body.len));
    member(&text, "result", str_of(err_name(request->err)));
    text_printf(&text, ",\"before\":\"%08x\"}", job->control->audit_chain);
    return text_str(&text);
}

static void audited(struct job *job)
{
    struct control *control = job->control;
    /* An order that was carried out is answered as such, also if its record could not be kept: the log says so itself. */
    control->audit_out = false;
    CHECK(job_list_pop(&control->auditing) == job);
    job_done(job);
}

void audit_step(struct control *control)
{
    struct job *job = control->auditing.first;
    void *bytes = NULL;
    ptrdiff_t len = 0;
    if (control->audit_out || job == NULL) {
        return;
    }
    if (PLANTED(AUDIT_FORGOTTEN) && rng_chance(&control->rng, 0.125)) {
        CHECK(job_list_pop(&control->auditing) == job);
        job_done(job);
        return;
    }
    int64_t now_ms = wall_ms(control);
    struct str value = audit_text(job, now_ms);
    struct record_builder *builder = &control->audit_builder;
    record_builder_reset(builder);
    CHECK(record_builder_add(builder, &(struct record){.timestamp_ms = now_ms, .value = value}) ==
          ERR_OK);
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    control->audit_chain = crc32c(0, value.ptr, value.len);
    control->audit_out = true;
    struct log_op *op = job_op(job, LOG_OP_APPEND, audited);
    op->u.append =
        (struct log_append_op){.shard = control->audit_shard, .batch = bytes, .bytes = len};
    job_submit(job, &job->one);
}
