// SPDX-License-Identifier: Apache-2.0
#include "load/generator.h"

#include <math.h>

#include "base/check.h"
#include "load/text_out.h"

void generator_init(struct generator *generator, const struct generator_options *options)
{
    CHECK(options->trace->count >= 2 && options->trace->step_ms > 0);
    CHECK(options->rate_scale > 0.0 && options->speed > 0.0 && options->jitter_ms >= 0);
    *generator = (struct generator){.options = *options, .point = -1};
    rng_init(&generator->rng, options->seed);
}

/* Moves on to the next point of the trace that has records. */
static bool next_point(struct generator *g)
{
    const struct trace *trace = g->options.trace;
    while (g->left == 0) {
        g->point++;
        if (g->point >= trace->count || g->point * trace->step_ms >= g->options.until_ms) {
            return false;
        }
        double value = trace->values[g->point];
        if (isnan(value)) {
            continue; /* nothing observed, nothing played */
        }
        double per_step =
            g->options.value_per_second ? value * (double)trace->step_ms / 1000.0 : value;
        double wanted = per_step * g->options.rate_scale + g->carry;
        CHECK(wanted < 1e15);
        g->of_point = (int64_t)wanted;
        g->carry = wanted - (double)g->of_point;
        g->left = g->of_point;
    }
    return true;
}

/* --- text --- */

/* 1234 as 12.34 with scale 100. */
static void put_fixed(struct text_out *w, uint64_t value, uint64_t scale, int width)
{
    text_put_u64(w, value / scale, 1);
    *w->at++ = '.';
    text_put_u64(w, value % scale, width);
}

static void write_click(struct text_out *w, struct rng *rng, const struct generated *r)
{
    static const char *const devices[] = {"mobile", "desktop", "tablet"};
    uint64_t bits = rng_u64(rng);
    unsigned kind = (unsigned)(bits % 100);
    const char *device = devices[(bits >> 8) % 3];
    TEXT_PUT(w, "{\"ts\":");
    text_put_i64(w, r->time_ms);
    TEXT_PUT(w, ",\"user\":\"");
    text_put(w, r->key, (size_t)r->key_len);
    if (kind < 70) {
        TEXT_PUT(w, "\",\"kind\":\"view\",\"page\":\"/p/");
    } else if (kind < 95) {
        TEXT_PUT(w, "\",\"kind\":\"click\",\"page\":\"/p/");
    } else {
        TEXT_PUT(w, "\",\"kind\":\"purchase\",\"page\":\"/p/");
    }
    text_put_u64(w, (bits >> 12) % 5000, 1);
    TEXT_PUT(w, "\",\"session\":\"");
    text_put_hex(w, rng_u64(rng), 16);
    TEXT_PUT(w, "\",\"device\":\"");
    text_put(w, device, strlen(device));
    TEXT_PUT(w, "\",\"latency_ms\":");
    put_fixed(w, (bits >> 28) % 3000, 10, 1);
    TEXT_PUT(w, ",\"bytes\":");
    text_put_u64(w, 200 + (bits >> 40) % 60000, 1);
    TEXT_PUT(w, "}");
}

static void write_order(struct text_out *w, struct rng *rng, const struct generated *r)
{
    static const char *const countries[] = {"DE", "FR", "PL", "IT", "ES", "NL", "SE", "AT"};
    uint64_t bits = rng_u64(rng);
    uint64_t quantity = 1 + bits % 5;
    uint64_t cents = 199 + (bits >> 8) % 20000;
    TEXT_PUT(w, "{\"ts\":");
    text_put_i64(w, r->time_ms);
    TEXT_PUT(w, ",\"order\":\"o");
    text_put_hex(w, rng_u64(rng), 12);
    TEXT_PUT(w, "\",\"customer\":\"");
    text_put(w, r->key, (size_t)r->key_len);
    TEXT_PUT(w, "\",\"sku\":\"s");
    text_put_u64(w, (bits >> 24) % 10000, 5);
    TEXT_PUT(w, "\",\"quantity\":");
    text_put_u64(w, quantity, 1);
    TEXT_PUT(w, ",\"amount\":");
    put_fixed(w, cents * quantity, 100, 2);
    TEXT_PUT(w, ",\"currency\":\"EUR\",\"country\":\"");
    text_put(w, countries[(bits >> 40) % 8], 2);
    TEXT_PUT(w, "\",\"express\":");
    if ((bits >> 50) % 4 == 0) {
        TEXT_PUT(w, "true}");
    } else {
        TEXT_PUT(w, "false}");
    }
}

bool generator_next(struct generator *generator, struct generated *ret_record)
{
    struct generator *g = generator;
    if (!next_point(g)) {
        return false;
    }
    const struct trace *trace = g->options.trace;
    /* Record i of n falls somewhere into the i-th n-th of the step, so times increase. */
    double place = ((double)(g->of_point - g->left) + rng_unit(&g->rng)) / (double)g->of_point;
    double from_start_ms = ((double)g->point + place) * (double)trace->step_ms;
    g->left--;
    ret_record->due_ns = (int64_t)(from_start_ms * 1e6 / g->options.speed);
    ret_record->time_ms = trace->start_ms + (int64_t)from_start_ms;
    if (g->options.jitter_ms > 0) {
        ret_record->time_ms -= rng_range(&g->rng, 0, g->options.jitter_ms);
    }
    struct text_out key = {ret_record->key};
    TEXT_PUT(&key, "u");
    text_put_u64(&key, (uint64_t)key_chooser_draw(&g->options.keys, &g->rng, ret_record->time_ms),
                 6);
    ret_record->key_len = (int32_t)(key.at - ret_record->key);
    struct text_out value = {ret_record->value};
    if (g->options.shape == SHAPE_CLICK) {
        write_click(&value, &g->rng, ret_record);
    } else {
        write_order(&value, &g->rng, ret_record);
    }
    ret_record->value_len = (int32_t)(value.at - ret_record->value);
    DCHECK(ret_record->value_len <= GENERATED_VALUE_MAX);
    g->made++;
    return true;
}
