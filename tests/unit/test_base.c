/* test_base.c - rounding, aligned memory, scope cleanup. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#include "core/base.h"

Test(base, rounding_up)
{
    cr_assert_eq(ebm_round_up(0, 16), 0);
    cr_assert_eq(ebm_round_up(1, 16), 16);
    cr_assert_eq(ebm_round_up(16, 16), 16);
    cr_assert_eq(ebm_round_up(17, 16), 32);
}

Test(base, aligned_memory_is_zero)
{
    for (size_t bytes = 0; bytes < 1000; bytes += 37) {
        EBM_AUTO(ebm_freep) unsigned char *memory = ebm_alloc_aligned(bytes);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % EBM_ALIGNMENT, 0);
        for (size_t i = 0; i < bytes; i++)
            cr_assert_eq(memory[i], 0);
    }
    cr_assert_null(ebm_alloc_aligned(SIZE_MAX - 3));
}

static char *taken_out(void)
{
    EBM_AUTO(ebm_freep) char *text = malloc(2);
    cr_assert_not_null(text);
    text[0] = 'x';
    return EBM_TAKE_PTR(text);
}

Test(base, a_taken_pointer_survives_its_scope)
{
    char *text = taken_out();
    cr_assert_eq(text[0], 'x');
    free(text);
}

Test(base, a_failed_assertion_aborts, .signal = SIGABRT)
{
    volatile int one = 1;
    EBM_ASSERT(one == 2);
}
