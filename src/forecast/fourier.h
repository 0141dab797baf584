// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_FOURIER_H
#define FORECAST_FOURIER_H

#include <stdint.h>

/* Fourier terms of a season: for i = 1..pairs the columns sin(2 pi i t / period), cos(2 pi i t / period) into
 * x[row * stride + 2 (i - 1)], t = start + row for row 0..rows. Time and period in the same unit; take `start` from an
 * absolute clock so that saved models stay in phase. A sine that is zero throughout (2 i = period) must not be asked for. */
void fourier_terms(double start, int rows, double period, int pairs, double *x, int stride);

#endif
