/* test_generate.c - synthetic sets: the rows follow the density, the density is one. */
#include <criterion/criterion.h>
#include <math.h>

#include "trainer/generate.h"

static double integral(const struct generate_set *set, double x, double from, double to)
{
    double sum = 0.0;
    const int n = 400000;
    for (int i = 0; i < n; i++)
        sum += set->density(x, from + (to - from) * (i + 0.5) / n);
    return sum * (to - from) / n;
}

Test(generate, the_densities_integrate_to_one)
{
    static const struct {
        const char *name;
        double x, within;
    } cases[] = {{"toy1", -2.9, 1e-6}, {"toy1", -1.0, 1e-6}, {"toy1", -0.01, 1e-6}, {"toy1", 0.0, 1e-6},
                 {"toy1", 0.5, 1e-6},  {"toy1", 2.0, 1e-6},  {"set2", -2.9, 1e-6},  {"set2", 0.0, 1e-6},
                 {"set2", 2.5, 1e-6},  {"toy2", 0.1, 5e-3},  {"toy2", 0.25, 1e-6},  {"toy2", 0.4, 1e-6},
                 {"toy2", 0.5, 1e-4},  {"toy2", 0.6, 1e-4},  {"toy2", 0.9, 1e-4}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double one = integral(generate_find(cases[i].name), cases[i].x, -15.0, 15.0);
        cr_assert_float_eq(one, 1.0, cases[i].within, "%s at x %g: %.9f", cases[i].name, cases[i].x, one);
    }
}

Test(generate, known_values_of_the_densities)
{
    static const struct {
        const char *name;
        double x, y, density;
    } cases[] = {
        {"toy1", -M_PI / 2, -1.0, 0.8 * 5.319230405352436}, /* 0.8 N(0; 0, 0.075^2) */
        {"toy1", 1.0, 0.0, 1.595769121605731},              /* lognormal at its median */
        {"toy1", 1.0, -1.5, 0.0},
        {"set2", 0.0, 0.0, 5.319230405352436},                                            /* std 0.15 / 2 */
        {"set2", M_PI / 2, 1.0, 0.3989422804014327 * (1.0 + 0.20787957635076193) / 0.15}, /* exp(-pi / 2) */
        {"toy2", 100.0 / 3799, 0.5 + 5.0 * 0.25, 0.2},                                    /* 0.5 / sqrt(0.25) / 5 */
        {"toy2", 800.0 / 3799, 1.0, 0.3989422804014327 * 4},                              /* N(1, 0.25^2) */
        {"toy2", 1800.0 / 3799, -1.0, 1.0 / 1.5},
        {"toy2", 2299.0 / 3799, 8.9, 1.0 / 13.5},
        {"toy2", 2299.0 / 3799, 9.1, 0.0},
        {"toy2", 3000.0 / 3799, 8.2, 2.0 / 3.0},
        {"toy2", 3000.0 / 3799, 2.0, 1.0 / 9.0},
        {"toy2", 3000.0 / 3799, -4.0, 1.0 / 4.5},
        {"toy2", 3000.0 / 3799, 0.0, 0.0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double density = generate_find(cases[i].name)->density(cases[i].x, cases[i].y);
        cr_assert_float_eq(density, cases[i].density, 1e-9, "%s at (%g, %g): %.12f, expected %.12f", cases[i].name,
                           cases[i].x, cases[i].y, density, cases[i].density);
    }
    cr_assert_null(generate_find("toy9"));
}

Test(generate, rows_are_functions_of_seed_and_number)
{
    static const char *const names[] = {"toy1", "toy2", "set2"};
    for (size_t i = 0; i < EBM_COUNT_OF(names); i++) {
        const struct generate_set *set = generate_find(names[i]);
        double x, y, again_x, again_y, other_x, other_y;
        set->row(3, 5, &x, &y);
        set->row(3, 5, &again_x, &again_y);
        set->row(4, 5, &other_x, &other_y);
        cr_assert_eq(x, again_x);
        cr_assert_eq(y, again_y);
        cr_assert_neq(x, other_x);
    }
}

struct shares {
    double x;   /* of the rows: x in the lower half */
    double nll; /* mean under the density */
};

static struct shares draw(const char *name, double middle, uint32_t n)
{
    const struct generate_set *set = generate_find(name);
    struct shares shares = {0.0, 0.0};
    uint32_t impossible = 0;
    for (uint32_t row = 0; row < n; row++) {
        double x, y;
        set->row(11, row, &x, &y);
        shares.x += x < middle;
        impossible += set->density(x, y) > 0.0 ? 0 : 1;
        shares.nll -= log(set->density(x, y));
    }
    cr_assert_eq(impossible, 0, "%s: %u rows where the density is 0", name, impossible);
    return (struct shares){shares.x / n, shares.nll / n};
}

/* Entropies: of toy 1 as published; of toy 2 and set 2 from their parts in closed form. */
Test(generate, rows_follow_the_densities)
{
    enum { ROWS = 200000 };
    struct shares toy1 = draw("toy1", 0.0, ROWS), toy2 = draw("toy2", 0.5, ROWS), set2 = draw("set2", 0.0, ROWS);
    double gaussian = 0.5 * log(2.0 * M_PI * M_E), beta = log(10.0) - 1.0, cosine = 0.0, widening = 0.0, spread = 0.0;
    for (int i = 0; i < 1000; i++)
        cosine += (gaussian + log(fabs(3.0 * cos(5.0 * i / 999) - 2.0) / 4.0)) / 1000;
    for (int i = 0; i < 500; i++)
        widening += log(1.5 + 12.0 * i / 499) / 500;
    double plateaus = log(3.0) + (log(0.5) + log(3.0) + log(1.5)) / 3.0;
    double expected = (800 * beta + 1000 * cosine + 500 * widening + 1500 * plateaus) / 3800;
    for (int i = 0; i < 6000; i++)
        spread += (gaussian + log(0.15 / (1.0 + exp(3.0 - (i + 0.5) / 1000)))) / 6000;
    cr_assert_float_eq(toy1.nll, -0.326, 0.01, "toy 1: %g", toy1.nll);
    cr_assert_float_eq(toy2.nll, expected, 0.01, "toy 2: %g, expected %g", toy2.nll, expected);
    cr_assert_float_eq(set2.nll, spread, 0.01, "set 2: %g, expected %g", set2.nll, spread);
    cr_assert_float_eq(toy1.x, 0.5, 0.006, "toy 1: %g", toy1.x);
    cr_assert_float_eq(toy2.x, 0.5, 0.006, "toy 2: %g", toy2.x);
    cr_assert_float_eq(set2.x, 0.5, 0.006, "set 2: %g", set2.x);
}
