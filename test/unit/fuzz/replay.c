// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

/* Runs the target on each file of its corpus, and on bytes near them: some changed, cut or doubled. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* the target: fuzz/NAME.c */

enum { NEAR = FUZZ_NEAR, BYTES_MAX = 1 << 20 };

static void run_near(struct rng *rng, const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_new(1, 2 * (ptrdiff_t)size + 1);
    for (int round = 0; round < NEAR; round++) {
        size_t len = size;
        memcpy(copy, data, size);
        if (rng_below(rng, 4) == 0) {
            len = rng_below(rng, size + 1);
        } else if (rng_below(rng, 4) == 0) {
            memcpy(copy + size, data, size);
            len = 2 * size;
        }
        for (uint64_t i = rng_below(rng, 8); i > 0 && len > 0; i--) {
            copy[rng_below(rng, len)] = (uint8_t)rng_u64(rng);
        }
        LLVMFuzzerTestOneInput(copy, len);
    }
    mem_free(copy);
}

TEST(fuzz_corpus_and_what_is_near_it_finds_nothing)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    DIR *dir = opendir(FUZZ_CORPUS);
    EXPECT_MSG(dir != NULL, "no corpus in " FUZZ_CORPUS);
    int files = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[600];
        IGNORE_RESULT(snprintf(path, sizeof(path), "%s/%s", FUZZ_CORPUS, entry->d_name)); /* fits */
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "rb") : NULL;
        if (file == NULL) {
            continue;
        }
        uint8_t *data = mem_new(1, BYTES_MAX);
        size_t size = fread(data, 1, BYTES_MAX, file);
        CHECK(fclose(file) == 0);
        LLVMFuzzerTestOneInput(data, size);
        run_near(&rng, data, size);
        mem_free(data);
        files++;
    }
    CHECK(closedir(dir) == 0);
    EXPECT(files > 0);
}
