// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ONLINE_PRIV_H
#define FORECAST_ONLINE_PRIV_H

#include "forecast/fitted.h"
#include "forecast/online.h"

enum {
    MEMBERS_MAX = 18,   /* models on both scales, during the rehearsal */
    MATURED_MIN = 20,   /* scores below which nothing is chosen by them */
    SCORE_WINDOW = 400, /* matured forecasts that recent means look back over */
    WIDE = 7, /* usual errors off the middle beyond which a level moves by its own distance */
    SHIFT_WAIT = 12, /* samples from its start after which a suspected shift is judged */
    BEGUN_LEAST =
        96, /* samples since a series began to live that are enough without those before */
};

struct member {
    struct fitted fit;
    bool there;    /* has a fit */
    bool kind;     /* counts in the median */
    int season;    /* steps that it is fitted with; 1: none */
    int fitted_at; /* sample index at the last fit */
};

/* Recent mean: plain over the first SCORE_WINDOW, then exponential. */
struct recent {
    double mean;
    int count;
};

struct point {
    int steps, stride; /* forecasts of each stride-th target are scored */
    int slot_count;
    struct issue *slot; /* [slot_count] by (target / stride) % slot_count */
    struct recent loss[MEMBERS_MAX], gain[MEMBERS_MAX],
        gain_squares[MEMBERS_MAX]; /* gain: loss of the median less own */
    struct recent loss_median, loss_naive, loss_out;
    struct recent error, error_naive, bias, spread;
    struct recent below[ONLINE_LEVELS_MAX];
    double move[ONLINE_LEVELS_MAX]; /* what each level is moved by */
    int matured, live;
    double live_below[ONLINE_LEVELS_MAX]; /* counts over `live` */
    double *error_at; /* during a rehearsal: [live][level_count] truth less level; else NULL */
};

/* A remembered forecast of one target. */
struct issue {
    long target; /* sample index; -1: none */
    bool has[MEMBERS_MAX];
    float member[MEMBERS_MAX][ONLINE_LEVELS_MAX];
    float median[ONLINE_LEVELS_MAX]; /* of the members */
    float base[ONLINE_LEVELS_MAX];   /* of the choice, before the levels were moved */
    float out[ONLINE_LEVELS_MAX];    /* as they were handed out */
};

struct online {
    struct online_spec spec;
    double *history; /* [spec.history] by index % spec.history */
    long seen;       /* samples so far */
    long oldest;     /* index of the first one that was kept */
    long
        newest; /* index of the last one that is there, beyond `seen` while a history is gone through */
    double still; /* the one value that the series has had from the first on */
    long begin;   /* index of the first other value; 0: none yet */
    int missing;
    double least; /* of the samples in sight */
    int season;
    bool holidays_known, holidays_scale; /* effects were learned; they are factors, else added */
    double holiday
        [HOLIDAY_COLUMNS_MAX]; /* effect of each column of the calendar; history and members are without */
    bool week_leads;           /* the week's models are in the median in place of the day's */
    struct member member[MEMBERS_MAX];
    int member_count;
    struct arena store[2]; /* the members' memory, and where the next fit moves it */
    int active;
    struct point point[ONLINE_POINTS_MAX];
    int point_count;
    struct point calm[ONLINE_POINTS_MAX]; /* as they were when a shift came to be suspected */
    bool rehearsed;
    /* refits */
    bool refit_due, search_due, searching;
    bool anew;  /* the series has begun: at the search the scores begin, too */
    int cursor; /* next member to fit; -1: no refit under way */
    int fits, fits_failed, fits_shortened, outliers;
    double work;
    /* level shift */
    double shift_spread, rise, fall; /* usual difference to the reference; the two sums */
    int shift_pairs;
    long suspect_at; /* where the sums left zero; -1 */
    bool alarm;
    int shifts;
    long shift_at;
};

/* Sample of an index in sight. */
double online_at(const struct online *online, long index);

/* Index of the oldest sample that is still kept. */
long online_sight(const struct online *online);

/* Index of the first sample that models are fitted to: of those in sight, without the one value that a series repeats until
 * it begins to live (as leading zeros are left out in the M5 competition: they say nothing of what came then). */
long online_first(const struct online *online);

/* Whether with the newest sample those before the series began have ceased to count. */
bool online_begins(const struct online *online);

/* Time of a sample, seconds since 1970. */
double online_time(const struct online *online, long index);

/* A sample without the effects of the holidays that it lies on, and a level with them. */
double online_less_holidays(const struct online *online, long index, double y);
double online_with_holidays(const struct online *online, long index, double level);

/* Learns the holidays' effects from the samples in sight, anew, and takes them off those. */
void online_learn_holidays(struct online *online, struct arena *scratch);

/* Takes a sample into the history. */
void online_keep(struct online *online, double y);

/* Refits the models that cost next to nothing. */
void online_refit_cheap(struct online *online, struct arena *scratch);

/* Makes y[n] ready for a fit: outliers become missing. Returns how many. */
int online_clean(double *y, int n, int season, struct arena *scratch);

/* Watches for a shift with the newest sample; true when one has just been confirmed, and then the history is adjusted. */
bool online_watch_shift(struct online *online, struct arena *scratch);

/* Scores what has matured with the newest sample. */
void online_score(struct online *online, double y);

/* The scores and moves are saved when a shift comes to be suspected, and put back once it is confirmed: what was scored
 * between says nothing of the new level. `factor` > 0: the level went up by it. */
void online_save_scores(struct online *online);
void online_restore_scores(struct online *online, double factor);

/* The remembered forecasts of a point are as they would be with the moves of now. */
void online_hand_out(const struct online *online, struct point *point);

/* Remembers forecasts of the points' targets. */
void online_issue(struct online *online, struct arena *scratch);

/* The choice at a point. */
struct choice {
    enum online_basis basis;
    int member;           /* for ONLINE_ONE and ONLINE_NAIVE */
    bool in[MEMBERS_MAX]; /* members of the median */
    int count;
};
struct choice online_choose(const struct online *online, const struct point *point);

/* Quantile levels of a step from the members' forecasts all[member] by a choice, into row[level_count]. */
void online_combine(const struct online *online, const struct choice *choice,
                    const struct forecast *all, int step, double *row);

/* Forecasts of all members, h steps, into all[MEMBERS_MAX]; h 0 where there is none. */
void online_members(const struct online *online, int h, struct arena *scratch,
                    struct forecast *all);

/* Empirical quantiles of repeating the last value, from the changes the history has had, `steps` ahead. */
void online_few(const struct online *online, int steps, double *row, struct arena *scratch);

#endif
