// SPDX-License-Identifier: Apache-2.0
/* The program: finds the verb in the table and runs it. */
#include <stdio.h>

int main(void)
{
    return puts("shadowcast") < 0;
}
