// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct test {
    const char *name;
    const char *file;
    test_fn fn;
};

enum { TESTS_MAX = 4096, SEED_DEFAULT = 20260 };

static struct test tests[TESTS_MAX];
static int test_count;
static bool failed_now;
static char dir_path[64];

void test_register(const char *name, const char *file, test_fn fn)
{
    CHECK(test_count < TESTS_MAX);
    tests[test_count++] = (struct test){.name = name, .file = file, .fn = fn};
}

unsigned long long test_seed(void)
{
    const char *text =
        getenv("TEST_SEED"); // NOLINT(concurrency-mt-unsafe): tests run on one thread
    return text != NULL ? strtoull(text, NULL, 10) : SEED_DEFAULT;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("    %s:%d: ", file, line);
    vprintf(fmt, args);
    printf(" (seed %llu)\n", test_seed());
    va_end(args);
    failed_now = true;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_dir(void)
{
    if (dir_path[0] != 0) {
        IGNORE_RESULT(
            nftw(dir_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS)); /* a leftover harms nobody */
    }
}

const char *test_dir(void)
{
    if (dir_path[0] == 0) {
        IGNORE_RESULT(
            snprintf(dir_path, sizeof(dir_path), "/tmp/shadowcast-test-XXXXXX")); /* fits */
        CHECK(mkdtemp(dir_path) != NULL);
        CHECK(atexit(remove_dir) == 0);
    }
    return dir_path;
}

const char *test_data_dir(void)
{
    const char *dir = getenv("TESTDATA"); // NOLINT(concurrency-mt-unsafe): tests run on one thread
    return dir != NULL ? dir : "testdata";
}

static bool run_one(const struct test *test)
{
    failed_now = false;
    test->fn();
    if (failed_now) {
        printf("FAIL %s (%s)\n", test->name, test->file);
    }
    IGNORE_RESULT(fflush(stdout)); /* progress only */
    return !failed_now;
}

int main(int argc, char **argv)
{
    const char *filter = argc > 1 ? argv[1] : "";
    bool list = strcmp(filter, "-l") == 0;
    int passed = 0;
    int failed = 0;
    for (int i = 0; i < test_count; i++) {
        if (list) {
            printf("%s\n", tests[i].name);
        } else if (strstr(tests[i].name, filter) != NULL) {
            bool good = run_one(&tests[i]);
            passed += good;
            failed += !good;
        }
    }
    if (!list) {
        printf("%d passed, %d failed\n", passed, failed);
    }
    return failed > 0 || (passed == 0 && !list) ? 1 : 0;
}
