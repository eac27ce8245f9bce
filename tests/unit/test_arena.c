/* test_arena.c - alignment, zeroed memory, the limit, overflow. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/arena.h"

Test(arena, memory_is_aligned_zero_and_apart)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 1 << 22);
    unsigned char *pieces[500];
    for (size_t i = 0; i < 500; i++) {
        size_t size = i * 7 % 3000 + 1;
        pieces[i] = ebm_arena_alloc(&arena, size, 1);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % 16, 0, "%p", (void *)pieces[i]);
        for (size_t at = 0; at < size; at++)
            cr_assert_eq(pieces[i][at], 0, "piece %zu byte %zu is %d", i, at, pieces[i][at]);
        memset(pieces[i], (int)(i % 255) + 1, size);
    }
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(pieces[i][i * 7 % 3000], i % 255 + 1, "piece %zu was written over", i);
    ebm_arena_done(&arena);
}

Test(arena, the_limit_holds_for_all_blocks_with_their_headers)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 100000);
    size_t n = 0;
    while (ebm_arena_alloc(&arena, 100, 1))
        n++;
    cr_assert_leq(arena.used_bytes, 100000, "%zu", arena.used_bytes);
    cr_assert_gt(n, 800, "only %zu pieces of 100 bytes fit into 100000", n);
    cr_assert_null(ebm_arena_alloc(&arena, 1, 100000));
    ebm_arena_done(&arena);
    cr_assert_eq(arena.used_bytes, 0);
    cr_assert_not_null(ebm_arena_alloc(&arena, 100, 1), "an arena can be used again after done");
    ebm_arena_done(&arena);
}

Test(arena, one_large_piece_may_take_all_that_is_left)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 1 << 16);
    cr_assert_null(ebm_arena_alloc(&arena, 1 << 16, 1), "no room for the block's header");
    cr_assert_not_null(ebm_arena_alloc(&arena, (1 << 16) - 64, 1));
    cr_assert_leq(arena.used_bytes, 1u << 16);
    ebm_arena_done(&arena);
}

Test(arena, a_limit_below_a_header_gives_nothing)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 8);
    cr_assert_null(ebm_arena_alloc(&arena, 1, 1));
    cr_assert_null(ebm_arena_alloc(&arena, 0, 1));
    ebm_arena_done(&arena);
}

Test(arena, overflow_is_refused)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, SIZE_MAX);
    volatile size_t huge = SIZE_MAX; /* or the compiler warns of the very thing that is tested */
    cr_assert_null(ebm_arena_alloc(&arena, huge, 2));
    cr_assert_null(ebm_arena_alloc(&arena, huge, 1));
    cr_assert_null(ebm_arena_alloc(&arena, huge - 8, 1));
    cr_assert_null(ebm_arena_alloc(&arena, huge / 2 + 2, 2));
    cr_assert_null(ebm_arena_text(&arena, "", huge));
    ebm_arena_done(&arena);
}

Test(arena, nothing_is_a_valid_pointer)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 1 << 16);
    cr_assert_not_null(ebm_arena_alloc(&arena, 0, 8));
    cr_assert_not_null(ebm_arena_alloc(&arena, 8, 0));
    ebm_arena_done(&arena);
    ebm_arena_done(&arena);
}

Test(arena, text_is_copied_and_ended)
{
    struct ebm_arena arena;
    ebm_arena_init(&arena, 1 << 16);
    char *copy = ebm_arena_text(&arena, "abcdef", 3);
    cr_assert_str_eq(copy, "abc");
    cr_assert_str_eq(ebm_arena_text(&arena, NULL, 0), "");
    uint64_t *numbers = EBM_ARENA_NEW(&arena, uint64_t, 10);
    cr_assert_not_null(numbers);
    ebm_arena_done(&arena);
}
