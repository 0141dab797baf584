// SPDX-License-Identifier: Apache-2.0
#include "prm/queue.h"

#include "base/check.h"

static double at_least_zero(double x)
{
    return x > 0 ? x : 0;
}

double queue_advance(double *work, const struct queue_step *step)
{
    CHECK(step->seconds > 0 && step->objective_s > 0 && *work >= 0);
    double slope = (step->rate_end - step->rate_begin) / step->seconds;
    if (!(*work > 0) && step->rate_begin <= step->capacity && step->rate_end <= step->capacity) {
        return 0; /* nothing waits and nothing will */
    }
    double late = 0, at = 0, most = step->part_s > 0 ? step->part_s : 1;
    while (at < step->seconds) {
        double part = step->seconds - at < most ? step->seconds - at : most;
        double middle = step->rate_begin + slope * (at + part / 2);
        *work = at_least_zero(*work + (middle - step->capacity) * part);
        at += part;
        /* Older than the objective: more waits than the last `objective_s` brought. Before the step's begin the rate is
         * taken to have been what it was there. */
        double inside = at < step->objective_s ? at : step->objective_s;
        double recent = inside * (step->rate_begin + slope * (at - inside / 2)) +
                        (step->objective_s - inside) * step->rate_begin;
        late += *work > recent + 1e-9 ? part : 0;
    }
    return late;
}

/* Late seconds while work gathers (or drains) at a mean `rate`: late while more than `allowed` waits. */
static double piece_late(double *work, double rate, double seconds, double allowed)
{
    double before = *work, after = before + rate * seconds;
    *work = at_least_zero(after);
    if (before > allowed && after > allowed) {
        return seconds;
    }
    if (after > allowed) {
        return seconds * (after - allowed) / (after - before);
    }
    return before > allowed ? seconds * (before - allowed) / (before - after) : 0;
}

double queue_ramp(double *work, const struct queue_step *step)
{
    double begin = step->rate_begin, end = step->rate_end, capacity = step->capacity;
    double part = 1, knee = end, late = 0;
    if ((begin - capacity) * (end - capacity) < 0) {
        part = (capacity - begin) / (end - begin);
        knee = capacity;
    }
    late += piece_late(work, (begin + knee) / 2 - capacity, step->seconds * part,
                       knee * step->objective_s);
    if (part < 1) {
        late += piece_late(work, (knee + end) / 2 - capacity, step->seconds * (1 - part),
                           end * step->objective_s);
    }
    return late;
}

double queue_drain(double work, double rate, double capacity, double objective_s,
                   double seconds_max)
{
    double above = work - rate * objective_s, spare = capacity - rate;
    if (!(above > 0)) {
        return 0;
    }
    return spare * seconds_max > above ? above / spare : seconds_max;
}

double cost_of(const struct prices *prices, const struct usage *usage, double lanes)
{
    return prices->node * usage->lane_seconds + prices->late * usage->late_seconds * lanes +
           prices->move * usage->moved_bytes + prices->change * usage->changes;
}

double cost_quantile(const struct prices *prices)
{
    return prices->late / (prices->late + prices->node);
}
