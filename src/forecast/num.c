// SPDX-License-Identifier: Apache-2.0
#include "forecast/num.h"

#include <math.h>
#include <stdlib.h>

static double polynomial(const double *c, int count, double x)
{
    double sum = 0;
    for (int i = count - 1; i >= 0; i--) {
        sum = sum * x + c[i];
    }
    return sum;
}

double num_normal_quantile(double p)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(a, 8, r) / polynomial(b, 8, r);
    }
    double r = sqrt(-log(q < 0 ? p : 1 - p));
    double x = r <= 5 ? polynomial(c, 8, r - 1.6) / polynomial(d, 8, r - 1.6)
                      : polynomial(e, 8, r - 5) / polynomial(f, 8, r - 5);
    return q < 0 ? -x : x;
}

/* Continued fraction of the incomplete beta function (Lentz). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double h = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-16) {
            break;
        }
    }
    return h;
}

static double incomplete_beta(double a, double b, double x)
{
    int sign;
    double front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) +
                       a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) {
        return front * beta_fraction(a, b, x) / a;
    }
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double num_t_quantile(double p, double df)
{
    double tail = p < 0.5 ? p : 1 - p;
    double lo = 0, hi = 1e10;
    if (tail >= 0.5) {
        return 0;
    }
    for (int i = 0; i < 200; i++) {
        double mid = i < 40 ? sqrt((lo + 1e-12) * hi) : 0.5 * (lo + hi);
        double upper = 0.5 * incomplete_beta(df / 2, 0.5, df / (df + mid * mid));
        if (upper > tail) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return p < 0.5 ? -hi : hi;
}

bool num_cholesky(double *a, int n)
{
    for (int j = 0; j < n; j++) {
        double *row_j = a + (long)j * n;
        double diagonal = row_j[j];
        for (int k = 0; k < j; k++) {
            diagonal -= row_j[k] * row_j[k];
        }
        if (!(diagonal > 0) || !isfinite(diagonal)) {
            return false;
        }
        row_j[j] = sqrt(diagonal);
        for (int i = j + 1; i < n; i++) {
            double *row_i = a + (long)i * n;
            double sum = row_i[j];
            for (int k = 0; k < j; k++) {
                sum -= row_i[k] * row_j[k];
            }
            row_i[j] = sum / row_j[j];
        }
    }
    return true;
}

void num_cholesky_solve(const double *factor, double *b, int n)
{
    for (int i = 0; i < n; i++) {
        double sum = b[i];
        for (int k = 0; k < i; k++) {
            sum -= factor[(long)i * n + k] * b[k];
        }
        b[i] = sum / factor[(long)i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        double sum = b[i];
        for (int k = i + 1; k < n; k++) {
            sum -= factor[(long)k * n + i] * b[k];
        }
        b[i] = sum / factor[(long)i * n + i];
    }
}

static void swap_rows(double *a, double *b, int n, int i, int j)
{
    for (int k = 0; k < n; k++) {
        double t = a[(long)i * n + k];
        a[(long)i * n + k] = a[(long)j * n + k];
        a[(long)j * n + k] = t;
    }
    double t = b[i];
    b[i] = b[j];
    b[j] = t;
}

bool num_solve(double *a, double *b, int n)
{
    for (int col = 0; col < n; col++) {
        int pivot = col;
        for (int i = col + 1; i < n; i++) {
            if (fabs(a[(long)i * n + col]) > fabs(a[(long)pivot * n + col])) {
                pivot = i;
            }
        }
        if (!(fabs(a[(long)pivot * n + col]) > 0)) {
            return false;
        }
        if (pivot != col) {
            swap_rows(a, b, n, pivot, col);
        }
        for (int i = col + 1; i < n; i++) {
            double factor = a[(long)i * n + col] / a[(long)col * n + col];
            if (num_is_zero(factor)) {
                continue;
            }
            for (int k = col + 1; k < n; k++) {
                a[(long)i * n + k] -= factor * a[(long)col * n + k];
            }
            b[i] -= factor * b[col];
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        double sum = b[i];
        for (int k = i + 1; k < n; k++) {
            sum -= a[(long)i * n + k] * b[k];
        }
        b[i] = sum / a[(long)i * n + i];
    }
    return true;
}

/* Reflects column `j` (rows row..n) onto its first element; applies the reflection to the columns behind and y. */
static double reflect(double *x, double *y, int n, int k, int row, int j)
{
    double norm = 0;
    for (int i = row; i < n; i++) {
        norm += x[(long)i * k + j] * x[(long)i * k + j];
    }
    norm = sqrt(norm);
    double head = x[(long)row * k + j];
    double alpha = head > 0 ? -norm : norm;
    double v0 = head - alpha;
    if (!(norm > 0) || !(fabs(v0) > 0)) {
        return 0;
    }
    double beta = -1 / (alpha * v0);
    for (int c = j + 1; c <= k; c++) {
        double *target = c < k ? x + c : y;
        int stride = c < k ? k : 1;
        double dot = v0 * target[(long)row * stride];
        for (int i = row + 1; i < n; i++) {
            dot += x[(long)i * k + j] * target[(long)i * stride];
        }
        dot *= beta;
        target[(long)row * stride] -= dot * v0;
        for (int i = row + 1; i < n; i++) {
            target[(long)i * stride] -= dot * x[(long)i * k + j];
        }
    }
    x[(long)row * k + j] = alpha;
    return norm;
}

int num_least_squares(double *x, double *y, int n, int k, double *coef)
{
    int rank = 0;
    for (int j = 0; j < k; j++) {
        double whole = 0, rest = 0;
        for (int i = 0; i < n; i++) {
            double v = x[(long)i * k + j] * x[(long)i * k + j];
            whole += v;
            rest += i >= rank ? v : 0;
        }
        coef[j] = -1;
        if (rank < n && rest > 1e-14 * whole && reflect(x, y, n, k, rank, j) > 0) {
            coef[j] = rank++;
        }
    }
    /* coef holds each column's row until here; back substitution over the columns that have one. */
    for (int j = k - 1; j >= 0; j--) {
        if (coef[j] < 0) {
            coef[j] = 0;
            continue;
        }
        int row = (int)coef[j];
        double sum = y[row];
        for (int c = j + 1; c < k; c++) {
            sum -= x[(long)row * k + c] * coef[c];
        }
        coef[j] = sum / x[(long)row * k + j];
    }
    return rank;
}

struct bracket {
    double a, b;       /* the minimum lies between */
    double x, w, v;    /* best, second best, the one before */
    double fx, fw, fv; /* their values */
    double d, e;       /* last step and the one before */
};

/* Next step: a parabola through x, w, v where that is trustworthy, else golden section. */
static void next_step(struct bracket *s, double middle, double tol, double golden)
{
    if (fabs(s->e) > tol) {
        double r = (s->x - s->w) * (s->fx - s->fv);
        double q = (s->x - s->v) * (s->fx - s->fw);
        double p = (s->x - s->v) * q - (s->x - s->w) * r;
        q = 2 * (q - r);
        p = q > 0 ? -p : p;
        q = fabs(q);
        r = s->e;
        s->e = s->d;
        if (fabs(p) < fabs(0.5 * q * r) && p > q * (s->a - s->x) && p < q * (s->b - s->x)) {
            s->d = p / q;
            double u = s->x + s->d;
            if (u - s->a < 2 * tol || s->b - u < 2 * tol) {
                s->d = s->x >= middle ? -tol : tol;
            }
            return;
        }
    }
    s->e = s->x < middle ? s->b - s->x : s->a - s->x;
    s->d = golden * s->e;
}

static void take_point(struct bracket *s, double u, double fu)
{
    if (fu <= s->fx) {
        *(u < s->x ? &s->b : &s->a) = s->x;
        s->v = s->w;
        s->fv = s->fw;
        s->w = s->x;
        s->fw = s->fx;
        s->x = u;
        s->fx = fu;
        return;
    }
    *(u < s->x ? &s->a : &s->b) = u;
    if (fu <= s->fw || num_is_zero(s->w - s->x)) {
        s->v = s->w;
        s->fv = s->fw;
        s->w = u;
        s->fw = fu;
    } else if (fu <= s->fv || num_is_zero(s->v - s->x) || num_is_zero(s->v - s->w)) {
        s->v = u;
        s->fv = fu;
    }
}

double num_minimum(double (*f)(void *context, double x), void *context, double lo, double hi,
                   double tolerance)
{
    const double golden = (3 - sqrt(5.0)) * 0.5, eps = sqrt(2.220446049250313e-16);
    struct bracket s = {.a = lo, .b = hi, .x = lo + golden * (hi - lo)};
    s.w = s.v = s.x;
    s.fx = s.fw = s.fv = f(context, s.x);
    for (int i = 0; i < 500; i++) {
        double middle = 0.5 * (s.a + s.b), tol = eps * fabs(s.x) + tolerance / 3;
        if (fabs(s.x - middle) <= 2 * tol - 0.5 * (s.b - s.a)) {
            break;
        }
        next_step(&s, middle, tol, golden);
        double u = fabs(s.d) >= tol ? s.x + s.d : s.x + (s.d > 0 ? tol : -tol);
        take_point(&s, u, f(context, u));
    }
    return s.x;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void num_sort(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
}

double num_quantile(double *v, int n, double q)
{
    num_sort(v, n);
    double at = q * (n - 1);
    int below = (int)floor(at);
    if (below >= n - 1) {
        return v[n - 1];
    }
    return v[below] + (at - below) * (v[below + 1] - v[below]);
}
