// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "test.h"

TEST(arena_pieces_are_zeroed_aligned_and_apart)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    char *last = NULL;
    for (int i = 1; i < 200; i++) {
        char *piece = arena_new(&arena, i, 7);
        EXPECT((uintptr_t)piece % ARENA_ALIGN == 0);
        for (int j = 0; j < i * 7; j++) {
            EXPECT(piece[j] == 0);
        }
        memset(piece, 0x5a, (size_t)i * 7);
        EXPECT(last == NULL || last[0] == 0x5a);
        last = piece;
    }
    arena_release(&arena);
}

TEST(arena_try_new_refuses_over_the_limit_and_on_overflow)
{
    struct arena arena;
    arena_init(&arena, 1000);
    EXPECT(arena_try_new(&arena, 1, 1001) == NULL);
    EXPECT(arena_try_new(&arena, PTRDIFF_MAX, 2) == NULL);
    EXPECT(arena_try_new(&arena, 1, 1000) != NULL);
    EXPECT(arena_try_new(&arena, 1, 1) == NULL);
    arena_reset(&arena);
    EXPECT(arena_try_new(&arena, 10, 100) != NULL);
    arena_release(&arena);
}

TEST(arena_rewind_gives_back_what_came_after_the_mark)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    char *kept = arena_dup(&arena, "kept", 4);
    struct arena_mark mark = arena_mark(&arena);
    for (int round = 0; round < 3; round++) {
        char *big = arena_new(&arena, 1, 300000);
        big[299999] = 1;
        EXPECT(strcmp(arena_printf(&arena, "%d-%s", round, "x"), round == 0   ? "0-x"
                                                                 : round == 1 ? "1-x"
                                                                              : "2-x") == 0);
        arena_rewind(&arena, mark);
        EXPECT_INT(arena.used_bytes, mark.used_bytes);
    }
    EXPECT(strcmp(kept, "kept") == 0);
    arena_release(&arena);
}
