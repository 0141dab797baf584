// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_GENERATOR_H
#define LOAD_GENERATOR_H

#include "load/keys.h"
#include "load/trace.h"

/* Plays a trace as records: as many in each step of the trace as its value says, spread over the step, each with a key and
 * a JSON body like a web click or an order. The same options give the same records, byte for byte.
 *
 *   click   {"ts":1436313600123,"user":"u000042","kind":"view","page":"/p/1234","session":"...","latency_ms":12.5,...}
 *   order   {"ts":...,"order":"o...","customer":"u000042","sku":"s00123","quantity":2,"amount":19.99,...}
 * Kinds of click: view 70 %, click 25 %, purchase 5 %. One thread at a time. */

enum record_shape { SHAPE_CLICK, SHAPE_ORDER };

struct generator_options {
    const struct trace *trace; /* outlives the generator */
    struct key_chooser keys;
    enum record_shape shape;
    double rate_scale;     /* records = value x this, in each step; > 0 */
    bool value_per_second; /* values are rates a second, not counts a step */
    double speed;          /* trace seconds played in a second; > 0 */
    int64_t until_ms;      /* of the trace, from its start; INT64_MAX: to its end */
    int64_t jitter_ms;     /* event times are moved back by up to this: out of order; 0: in order */
    uint64_t seed;
};

enum { GENERATED_KEY_MAX = 24, GENERATED_VALUE_MAX = 512 };

struct generated {
    int64_t due_ns;  /* when to send it, from the start of the play */
    int64_t time_ms; /* event time */
    char key[GENERATED_KEY_MAX];
    char value[GENERATED_VALUE_MAX]; /* JSON, without an end of line, no 0 behind it */
    int32_t key_len, value_len;
};

struct generator {
    struct generator_options options;
    struct rng rng;
    int32_t point; /* of the trace */
    int64_t left;  /* records of this point still to come */
    int64_t of_point;
    double carry; /* fraction of a record left over from earlier points */
    int64_t made;
};

/* `options` is copied; CHECKs its ranges. */
void generator_init(struct generator *generator, const struct generator_options *options);

/* Writes the next record. False when the trace has been played. */
bool generator_next(struct generator *generator, struct generated *ret_record);

#endif
