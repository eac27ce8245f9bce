/* test_sobol.c - Sobol points: those of SciPy before the scramble, nets after it, each point alone uniform, scrambles
 * that depend on seed and row alone. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/sobol.h"
#include "tests/unit/sobol_points.h"

static uint32_t reversed(uint32_t digits)
{
    uint32_t value = 0;
    for (uint32_t bit = 0; bit < EBM_SOBOL_BITS; bit++)
        value |= (digits >> bit & 1u) << (EBM_SOBOL_BITS - 1 - bit);
    return value;
}

Test(sobol, unscrambled_points_are_those_of_scipy)
{
    for (uint32_t i = 0; i < EBM_COUNT_OF(sobol_indices); i++)
        for (uint32_t d = 0; d < EBM_SOBOL_DIMS; d++)
            cr_assert_eq(reversed(ebm_sobol_digits(d, sobol_indices[i])), sobol_points[i][d], "point %u dimension %u",
                         sobol_indices[i], d);
}

/* Every box 2^-a x 2^-b with a + b = m holds exactly one of 2^m points in dimensions 0 and 1: t = 0 there. */
Test(sobol, two_dimensions_of_every_part_are_a_net)
{
    enum { BITS = 8 };
    static struct ebm_sobol set;
    ebm_sobol_bind(&set, 17, 3, 2);
    for (uint32_t s = 0; s < EBM_SOBOL_PARTS; s++) {
        for (uint32_t a = 0; a <= BITS; a++) {
            uint32_t counts[1 << BITS] = {0};
            for (uint32_t i = s << BITS; i < (s + 1) << BITS; i++) {
                uint64_t x = ebm_sobol_word(&set, 0, i), y = ebm_sobol_word(&set, 1, i);
                counts[(x << a >> 32) << (BITS - a) | y << (BITS - a) >> 32]++;
            }
            for (uint32_t box = 0; box < 1u << BITS; box++)
                cr_assert_eq(counts[box], 1, "part %u, boxes 2^-%u: %u in box %u", s, a, counts[box], box);
        }
    }
}

/* 2^m points hit every one of 2^m intervals once in each dimension, from any multiple of 2^m on. */
Test(sobol, every_dimension_is_stratified)
{
    enum { BITS = 6, N = 1 << BITS };
    static struct ebm_sobol set;
    ebm_sobol_bind(&set, 5, 0, EBM_SOBOL_DIMS);
    for (uint32_t d = 0; d < EBM_SOBOL_DIMS; d++) {
        for (uint32_t first = 0; first < 4 * N; first += N) {
            uint64_t hit = 0;
            for (uint32_t i = first; i < first + N; i++)
                hit |= 1ull << (ebm_sobol_word(&set, d, i) >> (32 - BITS));
            cr_assert_eq(hit, UINT64_MAX, "dimension %u from %u: %llx", d, first, (unsigned long long)hit);
        }
    }
}

/* Over seeds a point is uniform, and its coordinates know nothing of each other: chi squared with 63 degrees of freedom
 * is below 110 but for 2 in 10000; correlations of 4096 below 5 sigma. */
Test(sobol, a_point_alone_is_uniform_and_its_coordinates_are_independent)
{
    enum { SEEDS = 4096, BINS = 64 };
    for (uint32_t m = 0; m < 24; m += 5) {
        uint32_t counts[BINS] = {0};
        double both = 0.0, chi = 0.0;
        for (uint32_t seed = 0; seed < SEEDS; seed++) {
            struct ebm_sobol set;
            ebm_sobol_bind(&set, seed, 9, 4);
            uint32_t word = ebm_sobol_word(&set, 3, m);
            counts[word % BINS]++; /* the digits that come from the hash alone */
            both += (ebm_uniform(word) - 0.5) * (ebm_uniform(ebm_sobol_word(&set, 2, m)) - 0.5) * 12.0;
        }
        for (uint32_t bin = 0; bin < BINS; bin++)
            chi += pow(counts[bin] - (double)SEEDS / BINS, 2) / ((double)SEEDS / BINS);
        cr_log_info("sample %u: chi squared %.1f, correlation %.4f\n", m, chi, both / SEEDS);
        cr_assert_lt(chi, 110.0, "sample %u", m);
        cr_assert_lt(fabs(both / SEEDS), 5.0 / sqrt(SEEDS), "sample %u", m);
    }
}

Test(sobol, a_scramble_depends_on_seed_and_row)
{
    static struct ebm_sobol a, b, c, d;
    ebm_sobol_bind(&a, 1, 2, 65);
    ebm_sobol_bind(&b, 1, 2, 65);
    ebm_sobol_bind(&c, 1, 3, 65);
    ebm_sobol_bind(&d, 1ull << 40 | 1, 2, 65);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    for (uint32_t dim = 0; dim < 65; dim++) {
        cr_assert_neq(ebm_sobol_word(&a, dim, 0), ebm_sobol_word(&c, dim, 0));
        cr_assert_neq(ebm_sobol_word(&a, dim, 0), ebm_sobol_word(&d, dim, 0));
        cr_assert_neq(ebm_sobol_word(&a, dim, 0), ebm_sobol_word(&a, dim, 1));
        cr_assert(dim == 0 || ebm_sobol_word(&a, dim, 0) != ebm_sobol_word(&a, dim - 1, 0));
    }
}

Test(sobol, counts_are_eight_times_a_power_of_two)
{
    static const uint32_t cases[][2] = {{1, 8}, {8, 8}, {9, 16}, {100, 128}, {128, 128}, {1000, 1024}, {65536, 65536}};
    for (uint32_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_assert_eq(ebm_sobol_count(cases[i][0]), cases[i][1], "%u", cases[i][0]);
}
