// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_TEST_H
#define TEST_TEST_H

#include <stdio.h>

#include "base/attr.h"
#include "base/check.h"

/* The test runner: TEST(name) { ... } registers itself; the name says the behaviour. A failed EXPECT ends the test (it
 * returns from the function it stands in), marks it failed and the run goes on; CHECK aborts as everywhere.
 * A binary runs its tests in the order of registration; `binary WORD` runs those whose names contain WORD; `-l` lists.
 * Its last line is "N passed, N failed"; its exit code is 0 only if none failed and at least one ran. */

typedef void (*test_fn)(void);

void test_register(const char *name, const char *file, test_fn fn);
void test_fail(const char *file, int line, const char *fmt, ...) ATTR_PRINTF(3, 4);

/* Seed for randomised tests: TEST_SEED of the environment, or a fixed number; printed when a test fails. */
unsigned long long test_seed(void);

/* Path of a folder of this run's own, made at first use and removed at the end. */
const char *test_dir(void);

/* Path of the source tree's testdata folder. */
const char *test_data_dir(void);

#define TEST(name) \
    static void test_##name(void); \
    ATTR_CONSTRUCTOR static void test_register_##name(void) \
    { \
        test_register(#name, __FILE__, test_##name); \
    } \
    static void test_##name(void)

#define EXPECT(c) \
    do { \
        if (!(c)) { \
            test_fail(__FILE__, __LINE__, "%s", #c); \
            return; \
        } \
    } while (0)

#define EXPECT_MSG(c, ...) \
    do { \
        if (!(c)) { \
            test_fail(__FILE__, __LINE__, __VA_ARGS__); \
            return; \
        } \
    } while (0)

#define EXPECT_INT(actual, expected) \
    do { \
        long long a_ = (long long)(actual), e_ = (long long)(expected); \
        if (a_ != e_) { \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #actual, a_, e_); \
            return; \
        } \
    } while (0)

#define EXPECT_STR(actual, expected) \
    do { \
        struct str as_ = (actual), es_ = (expected); \
        if (!str_equal(as_, es_)) { \
            test_fail(__FILE__, __LINE__, "%s is \"%.*s\", expected \"%.*s\"", #actual, \
                      STR_ARG(as_), STR_ARG(es_)); \
            return; \
        } \
    } while (0)

/* |actual - expected| <= tolerance; not-a-number fails. */
#define EXPECT_NEAR(actual, expected, tolerance) \
    do { \
        double a_ = (actual), e_ = (expected), t_ = (tolerance); \
        double d_ = a_ > e_ ? a_ - e_ : e_ - a_; \
        if (!(d_ <= t_)) { \
            test_fail(__FILE__, __LINE__, "%s is %.17g, expected %.17g +- %g", #actual, a_, e_, \
                      t_); \
            return; \
        } \
    } while (0)

#endif
