/* test_rng.c - published known answers, exact normals, distributions, permutations. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

/* Random123's kat_vectors, philox4x32 with 10 rounds: counter (4), key (2), words (4). */
static const uint32_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
     0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
     0x24126ea1},
};

Test(rng, philox_gives_the_published_words)
{
    for (size_t i = 0; i < 3; i++) {
        const uint32_t *k = known[i];
        uint32_t words[4];
        ebm_philox((uint64_t)k[5] << 32 | k[4], k[1], k[0], k[2], k[3], words);
        for (int w = 0; w < 4; w++)
            cr_assert_eq(words[w], k[6 + w], "vector %zu word %d: %08x, expected %08x", i, w, words[w], k[6 + w]);
    }
}

Test(rng, uniform_is_never_0_or_1)
{
    cr_assert_gt(ebm_uniform(0), 0.0);
    cr_assert_lt(ebm_uniform(UINT32_MAX), 1.0);
    cr_assert_eq(ebm_uniform(0x80000000u), 0.5 + 0x1p-33);
}

/* The distribution function of the normal number gives the probability back. */
Test(rng, normal_inverts_the_distribution_function)
{
    double worst = 0;
    for (uint64_t i = 0; i < 0x80000000u; i += i < 100000 ? 1 : 49999) {
        double p = ((double)i + 0.5) * 0x1p-32, z = ebm_normal((uint32_t)i);
        double error = fabs(0.5 * erfc(-z / sqrt(2.0)) / p - 1);
        worst = fmax(worst, error);
        cr_assert_lt(z, 0);
        cr_assert_eq(ebm_normal((uint32_t)i | 0x80000000u), -z, "word %llu is not symmetric", (unsigned long long)i);
    }
    cr_assert_lt(worst, 1e-12, "worst relative error of the probability %g", worst);
    cr_assert_lt(fabs(ebm_normal(0)), 6.4);
}

/* Quantiles from tables: Phi^-1(0.975), Phi^-1(0.75), Phi^-1(1e-6). */
Test(rng, normal_matches_tables)
{
    static const double cases[3][2] = {
        {0.975, 1.959963984540054}, {0.75, 0.6744897501960817}, {1e-6, -4.753424308822899}};
    for (size_t i = 0; i < 3; i++) {
        double p = cases[i][0] > 0.5 ? 1 - cases[i][0] : cases[i][0];
        uint32_t word = (uint32_t)llround(p * 0x1p32 - 0.5);
        if (cases[i][0] > 0.5)
            word |= 0x80000000u;
        double z = ebm_normal(word), allowed = 2e-10 / (exp(-z * z / 2) * 0.3989); /* the word rounds p by 2^-33 */
        cr_assert_float_eq(z, cases[i][1], allowed, "%.15g, expected %.15g within %g", z, cases[i][1], allowed);
    }
}

Test(rng, normal_has_the_moments_of_a_normal)
{
    double sum = 0, squares = 0, cubes = 0, fourths = 0;
    const uint32_t n = 400000;
    for (uint32_t i = 0; i < n / 4; i++) {
        uint32_t words[4];
        ebm_philox(42, 0, i, EBM_STREAM_DRAWS, 0, words);
        for (int w = 0; w < 4; w++) {
            double z = ebm_normal(words[w]);
            sum += z;
            squares += z * z;
            cubes += z * z * z;
            fourths += z * z * z * z;
        }
    }
    cr_assert_lt(fabs(sum / n), 5 * sqrt(1.0 / n), "mean %g", sum / n);
    cr_assert_lt(fabs(squares / n - 1), 5 * sqrt(2.0 / n), "variance %g", squares / n);
    cr_assert_lt(fabs(cubes / n), 5 * sqrt(15.0 / n), "third moment %g", cubes / n);
    cr_assert_lt(fabs(fourths / n - 3), 5 * sqrt(96.0 / n), "fourth moment %g", fourths / n);
}

Test(rng, derived_seeds_differ)
{
    uint64_t seeds[64];
    for (uint32_t i = 0; i < 64; i++) {
        seeds[i] = ebm_seed_derive(i / 8, i % 8);
        cr_assert_eq(seeds[i], ebm_seed_derive(i / 8, i % 8));
        for (uint32_t j = 0; j < i; j++)
            cr_assert_neq(seeds[i], seeds[j], "%u and %u", i, j);
    }
}

Test(rng, shuffle_is_a_permutation_given_by_seed_and_stream)
{
    enum { N = 1000 };
    static uint32_t first[N], second[N];
    bool seen[N] = {false};
    ebm_shuffle(7, EBM_STREAM_SHUFFLE, first, N);
    for (uint32_t i = 0; i < N; i++) {
        cr_assert_lt(first[i], N);
        cr_assert_not(seen[first[i]], "%u stands twice", first[i]);
        seen[first[i]] = true;
    }
    ebm_shuffle(7, EBM_STREAM_SHUFFLE, second, N);
    cr_assert_eq(memcmp(first, second, sizeof first), 0);
    ebm_shuffle(7, EBM_STREAM_SPLIT, second, N);
    cr_assert_neq(memcmp(first, second, sizeof first), 0);
    ebm_shuffle(7, EBM_STREAM_SHUFFLE, second, 0);
    ebm_shuffle(7, EBM_STREAM_SHUFFLE, second, 1);
    cr_assert_eq(second[0], 0);
}

/* All 24 orders of 4 things, equally often: chi-squared with 23 degrees of freedom is below 60 but once in 30000. */
Test(rng, shuffle_gives_every_order_equally_often)
{
    enum { RUNS = 24000 };
    uint32_t counts[256] = {0};
    for (uint32_t run = 0; run < RUNS; run++) {
        uint32_t order[4];
        ebm_shuffle(run, EBM_STREAM_SHUFFLE, order, 4);
        counts[order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3]]++;
    }
    double chi2 = 0;
    int orders = 0;
    for (int i = 0; i < 256; i++)
        if (counts[i]) {
            double difference = counts[i] - RUNS / 24.0;
            chi2 += difference * difference / (RUNS / 24.0);
            orders++;
        }
    cr_assert_eq(orders, 24, "%d orders", orders);
    cr_assert_lt(chi2, 60, "chi squared %g", chi2);
}

Test(rng, random_seeds_fit_into_a_json_number)
{
    uint64_t a = ebm_seed_random(), b = ebm_seed_random();
    cr_assert_lt(a, UINT64_C(1) << 53);
    cr_assert_lt(b, UINT64_C(1) << 53);
    cr_assert_neq(a, b);
}
