/* kernels_cpu_tail.h - the largest weights of a row and the Pareto distribution that fits them. A part of
 * kernels_cpu_lanes.c: included there and nowhere else, so that it is compiled for each instruction set.
 *
 * Weights are not sorted: the one below the tail is found by bisection of its bits, which for floats >= 0 order as the
 * numbers do, and a fit takes sums over the tail, its largest and one of its quartiles. Sums of logarithms are
 * logarithms of products: a fit takes 4000 factors at 1024 draws, and 100 logarithms. */
#ifndef EBM_CORE_KERNELS_CPU_TAIL_H
#define EBM_CORE_KERNELS_CPU_TAIL_H

#include "core/kernels.h"
#include "core/lanes.h"
#include "core/pareto.h"

/* ---- the tail ---- */

static uint32_t count_from(const float *v, uint32_t n, uint32_t least)
{
    uint32_t count = 0, i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        count += vec_count(vec_reaches((vec_words)vec_load(v + i), (vec_words){0} + least));
    for (; i < n; i++)
        count += vec_to_bits(v[i]) >= least;
    return count;
}

/* Those of v (n) whose bits are at least `least`; `to` may be v, and has room for all of them. */
static uint32_t keep_from(float *to, const float *v, uint32_t n, uint32_t least)
{
    uint32_t kept = 0, i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        kept += vec_keep(to + kept, vec_reaches((vec_words)vec_load(v + i), (vec_words){0} + least), vec_load(v + i));
    for (; i < n; i++) {
        to[kept] = v[i];
        kept += vec_to_bits(v[i]) >= least;
    }
    return kept;
}

/* Bits of the number that has `above` of the others before it in descending order. */
static uint32_t bits_of_rank(const float *v, uint32_t n, uint32_t above, float *space)
{
    uint32_t low = 0, high = 0x7f800000u; /* more than `above` reach low, but not high */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2, count = count_from(v, n, middle);
        if (count <= above) {
            high = middle;
            continue;
        }
        low = middle;
        if (count < n / 4) {
            n = keep_from(space, v, n, low);
            v = space;
        }
    }
    return low;
}

static uint32_t tail(float *ret_tail, const float *w, uint32_t n, uint32_t most, float *ret_cutoff)
{
    uint32_t cutoff = bits_of_rank(w, n, most, ret_tail);
    *ret_cutoff = vec_from_bits(cutoff);
    return keep_from(ret_tail, w, n, cutoff + 1);
}

/* ---- the fit ---- */

#define SIDE_BY_SIDE 5                         /* registers of products; 39 points of a grid are 5 of 8 */
#define GRID_STEP (SIDE_BY_SIDE * WIDTH / 2)   /* numbers in them */
#define MAX_GRID (EBM_PARETO_GRID + GRID_STEP) /* room to fill the last registers */
#define MOST_FACTORS 64u                       /* none is below 1e-3: their product stays a normal number */

/* product (GRID_STEP) = over x (n) of 1 - b x, for each b */
static void products(double *product, const double *b, const double *x, uint32_t n)
{
    vec_doubles all[SIDE_BY_SIDE], minus_b[SIDE_BY_SIDE];
    for (int r = 0; r < SIDE_BY_SIDE; r++) {
        memcpy(&minus_b[r], b + r * WIDTH / 2, sizeof minus_b[r]);
        minus_b[r] = -minus_b[r];
        all[r] = (vec_doubles){0} + 1.0;
    }
    for (uint32_t i = 0; i < n; i++)
        for (int r = 0; r < SIDE_BY_SIDE; r++)
            all[r] *= 1.0 + minus_b[r] * x[i];
    memcpy(product, all, sizeof all);
}

/* means (n_b rounded up to GRID_STEP): for each b the mean over x (n) of log(1 - b x), in chunks of so many factors
 * that no product overflows. */
static void mean_logs(double *restrict means, const double *b, uint32_t n_b, const double *x, uint32_t n,
                      uint32_t factors)
{
    double product[GRID_STEP];
    for (uint32_t j = 0; j < n_b; j += GRID_STEP) {
        double *restrict to = means + j;
        memset(to, 0, sizeof product);
        for (uint32_t i = 0; i < n; i += factors) {
            products(product, b + j, x + i, n - i < factors ? n - i : factors);
            for (int k = 0; k < GRID_STEP; k++)
                to[k] += vec_log_double(product[k]);
        }
        for (int k = 0; k < GRID_STEP; k++)
            to[k] /= n;
    }
}

/* So many factors 1 - b x that their product is finite, whichever they are. */
static uint32_t factors_of(double least_b, double largest_x)
{
    double most = 700.0 / log(fmax(1.0 - least_b * largest_x, 2.0));
    return most < MOST_FACTORS ? (uint32_t)most : MOST_FACTORS;
}

static double pareto_fit(const float *from, uint32_t n, float cutoff, double *ret_sigma)
{
    double x[EBM_PARETO_TAIL], b[MAX_GRID], k[MAX_GRID], fitness[MAX_GRID], best = -INFINITY, sum = 0.0, mean_b = 0.0;
    float space[EBM_PARETO_TAIL + WIDTH];
    uint32_t grid = ebm_pareto_grid(n), padded = (uint32_t)ebm_round_up(grid, GRID_STEP);
    double quartile = (double)vec_from_bits(bits_of_rank(from, n, n - 1 - ebm_pareto_quartile(n), space));
    double largest = (double)vec_from_bits(bits_of_rank(from, n, 0, space)) - (double)cutoff;
    for (uint32_t i = 0; i < n; i++)
        x[i] = (double)from[i] - (double)cutoff;
    for (uint32_t j = 0; j < padded; j++)
        b[j] = ebm_pareto_point(j < grid ? j : 0, grid, largest, quartile - (double)cutoff);
    uint32_t factors = factors_of(b[0], largest);
    mean_logs(k, b, grid, x, n, factors);
    for (uint32_t j = 0; j < padded; j++)
        fitness[j] = n * (vec_log_double(-b[j] / k[j]) - k[j] - 1.0);
    for (uint32_t j = 0; j < grid; j++)
        best = fmax(best, fitness[j]);
    for (uint32_t j = 0; j < grid; j++) {
        double weight = exp(fitness[j] - best);
        sum += weight;
        mean_b += weight * b[j];
    }
    mean_b /= sum;
    b[0] = mean_b;
    mean_logs(k, b, 1, x, n, factors);
    *ret_sigma = -k[0] / mean_b;
    return ebm_pareto_shrunk(k[0], n);
}

#endif
