// SPDX-License-Identifier: Apache-2.0
#include "pipeline/probe.h"

#include "base/check.h"
#include "base/mem.h"

enum { CALIBRATIONS = 33 };

void probes_init(struct probes *probes, const struct clock *clock, int32_t count)
{
    *probes = (struct probes){
        .clock = clock, .count = count, .probes = MEM_NEW_ARRAY(struct probe, count)};
    /* The least of many: what a reading costs when nothing disturbs it. */
    int64_t least = INT64_MAX;
    clock_lap_begin(clock, &probes->lap);
    for (int i = 0; i < CALIBRATIONS; i++) {
        int64_t ns = clock_lap_ns(clock, &probes->lap);
        least = ns < least ? ns : least;
    }
    probes->cost_ns = least;
}

void probes_release(struct probes *probes)
{
    mem_free(probes->probes);
    *probes = (struct probes){0};
}

void probes_clear(struct probes *probes)
{
    memset(probes->probes, 0, (size_t)probes->count * sizeof(struct probe));
}

void probes_enter(struct probes *probes)
{
    IGNORE_RESULT(clock_lap_ns(probes->clock, &probes->lap)); /* somebody else's time */
    probes->spent_ns += probes->cost_ns;
}

void probes_spend(struct probes *probes)
{
    probes->spent_ns += clock_lap_ns(probes->clock, &probes->lap);
}

int64_t probes_lap(struct probes *probes)
{
    int64_t ns = clock_lap_ns(probes->clock, &probes->lap) - probes->cost_ns;
    probes->spent_ns += probes->cost_ns;
    return ns > 0 ? ns : 0;
}

void probe_moments_add(struct probe_moments *moments, int64_t rows, int64_t ns)
{
    double r = (double)rows, t = (double)ns;
    moments->batches += rows > 0;
    moments->rows_in += rows;
    moments->cpu_ns += ns;
    moments->ns_ns += t * t;
    moments->rows_rows += r * r;
    moments->ns_rows += t * r;
}

void probe_add(struct probe *probe, int64_t rows, int64_t ns)
{
    probe_moments_add(&probe->moments, rows, ns);
    if (rows > 0) {
        histogram_add(&probe->batch_ns, ns, (uint64_t)rows);
        histogram_add(&probe->row_ps, ns * 1000 / rows, (uint64_t)rows);
    }
}

static int64_t column_bytes(const struct batch *batch, const struct column *column)
{
    int64_t bytes = 0;
    int64_t fixed = column->type == VALUE_BOOL ? 1 : 8;
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        if (!column_is_null(column, row)) {
            bytes += column->type == VALUE_STR ? COLUMN_STR(column)[row].len : fixed;
        }
    }
    return bytes;
}

int64_t probe_batch_bytes(const struct batch *batch, bool value_intact)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        bytes += batch->key[row].len + (value_intact ? batch->value[row].len : 0);
    }
    for (int32_t c = 0; c < batch->column_count; c++) {
        bytes += column_bytes(batch, &batch->columns[c]);
    }
    return bytes;
}
