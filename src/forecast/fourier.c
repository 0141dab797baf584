// SPDX-License-Identifier: Apache-2.0
#include "forecast/fourier.h"

#include <math.h>

void fourier_terms(double start, int rows, double period, int pairs, double *x, int stride)
{
    const double two_pi = 6.283185307179586;
    for (int row = 0; row < rows; row++) {
        double turn = fmod((start + row) / period, 1.0);
        for (int i = 1; i <= pairs; i++) {
            double angle = two_pi * fmod(i * turn, 1.0);
            x[(long)row * stride + 2 * (i - 1)] = sin(angle);
            x[(long)row * stride + 2 * (i - 1) + 1] = cos(angle);
        }
    }
}
