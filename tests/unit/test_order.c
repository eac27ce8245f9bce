/* test_order.c - sorted numbers ascend. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/base.h"
#include "core/order.h"

Test(order, numbers_ascend)
{
    double doubles[] = {3.0, -1e300, 0.5, (double)INFINITY, 0.5, -0.0};
    float floats[] = {3.0f, -1e30f, 0.5f, INFINITY, 0.5f, -0.0f};
    static const double expected[] = {-1e300, 0.0, 0.5, 0.5, 3.0, (double)INFINITY};
    qsort(doubles, EBM_COUNT_OF(doubles), sizeof *doubles, ebm_order_doubles);
    qsort(floats, EBM_COUNT_OF(floats), sizeof *floats, ebm_order_floats);
    for (size_t i = 0; i < EBM_COUNT_OF(expected); i++) {
        cr_expect_eq(doubles[i], expected[i], "number %zu: %g", i, doubles[i]);
        cr_expect(i == 0 || floats[i] == (float)expected[i], "number %zu: %g", i, (double)floats[i]);
    }
    cr_expect_eq(floats[0], -1e30f);
}
