/* test_schedule.c - learning rates of chosen steps. */
#include <criterion/criterion.h>
#include <math.h>

#include "trainer/schedule.h"

Test(schedule, known_factors)
{
    const struct schedule constant = {.kind = SCHEDULE_CONSTANT}, warm = {.kind = SCHEDULE_CONSTANT, .warmup_steps = 4},
                          cosine = {.kind = SCHEDULE_COSINE, .final_share = 0.1},
                          warm_cosine = {.kind = SCHEDULE_COSINE, .warmup_steps = 10},
                          stairs = {.kind = SCHEDULE_STEP, .every_epochs = 2, .factor = 0.5},
                          long_warm = {.kind = SCHEDULE_COSINE, .warmup_steps = 1000};
    /* 10 epochs of 10 steps, and one step more */
    const struct {
        const struct schedule *schedule;
        uint64_t step;
        double factor;
    } cases[] = {
        {&constant, 0, 1.0},     {&constant, 99, 1.0},  {&warm, 0, 0.25},       {&warm, 2, 0.75},
        {&warm, 3, 1.0},         {&warm, 50, 1.0},      {&cosine, 0, 1.0},      {&cosine, 33, 0.775},
        {&cosine, 99, 0.1},      {&cosine, 100, 0.1},   {&warm_cosine, 4, 0.5}, {&warm_cosine, 10, 1.0},
        {&warm_cosine, 99, 0.0}, {&stairs, 0, 1.0},     {&stairs, 19, 1.0},     {&stairs, 20, 0.5},
        {&stairs, 59, 0.25},     {&stairs, 99, 0.0625}, {&long_warm, 99, 0.1},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double factor = schedule_factor(cases[i].schedule, cases[i].step, 10, 10);
        cr_assert_float_eq(factor, cases[i].factor, 1e-12, "case %zu, step %llu: %.15f, expected %.15f", i,
                           (unsigned long long)cases[i].step, factor, cases[i].factor);
    }
}

Test(schedule, one_step_in_all_has_the_whole_rate)
{
    const struct schedule cosine = {.kind = SCHEDULE_COSINE};
    cr_assert_eq(schedule_factor(&cosine, 0, 1, 1), 1.0);
}
