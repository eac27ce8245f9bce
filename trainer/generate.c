/* generate.c - `generate NAME`: rows of a density in closed form, so that a model can be held against the truth.
 *
 * A row is a function of (seed, row number): more rows begin with the same rows. The truth's own mean NLL on the rows
 * is told: no model can do better on average. toy1's density is also that of `evaluate --protocol toy1`. */
#include "trainer/generate.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "core/rng.h"
#include "core/names.h"
#include "trainer/generate_images.h"

static double normal_density(double y, double mean, double std)
{
    double z = (y - mean) / std;
    return exp(-0.5 * z * z) / (std * sqrt(2.0 * M_PI));
}

static double uniform_density(double y, double lower, double upper)
{
    return y >= lower && y <= upper ? 1.0 / (upper - lower) : 0.0;
}

/* ---- toy 1 ---- */

#define SPREAD 0.075
#define SHAPE 0.25
#define LIKELY 0.8 /* weight of the mode at sin x */

static void toy1_row(uint64_t seed, uint32_t row, double *ret_x, double *ret_y)
{
    uint32_t words[4];
    ebm_philox(seed, row, 0, EBM_STREAM_GENERATE, 0, words);
    double x = -3.0 + 6.0 * ebm_uniform(words[0]), z = ebm_normal(words[1]);
    bool likely = ebm_uniform(words[2]) < LIKELY;
    *ret_x = x;
    *ret_y = x < 0.0 ? (likely ? sin(x) : -sin(x)) + SPREAD * z : exp(SHAPE * z) - 1.0;
}

double generate_toy1_density(double x, double y)
{
    if (x < 0.0)
        return LIKELY * normal_density(y, sin(x), SPREAD) + (1.0 - LIKELY) * normal_density(y, -sin(x), SPREAD);
    return y + 1.0 > 0.0 ? normal_density(log(y + 1.0), 0.0, SHAPE) / (y + 1.0) : 0.0;
}

/* ---- toy 2 ---- */

#define POINTS 3800      /* of x on [0, 1] */
#define BETA_END 800     /* i below it: 0.5 + 5 Beta(0.5, 1) */
#define COSINE_END 1800  /* a Gaussian around a cosine */
#define UNIFORM_END 2300 /* a widening uniform; the rest: three uniforms */

static const double plateaus[3][2] = {{8.0, 8.5}, {1.0, 4.0}, {-4.5, -3.0}};

static double cosine_mean(int i)
{
    return 3.0 * cos(5.0 * (i - BETA_END) / (COSINE_END - BETA_END - 1)) - 2.0;
}

static void uniform_ends(int i, double *ret_lower, double *ret_upper)
{
    double share = (i - COSINE_END) / (UNIFORM_END - COSINE_END - 1.0);
    *ret_lower = -2.0 - 2.5 * share;
    *ret_upper = -0.5 + 9.5 * share;
}

static void toy2_row(uint64_t seed, uint32_t row, double *ret_x, double *ret_y)
{
    uint32_t words[4];
    ebm_philox(seed, row, 0, EBM_STREAM_GENERATE, 0, words);
    int i = (int)(POINTS * ebm_uniform(words[0]));
    double u = ebm_uniform(words[1]), lower, upper;
    uniform_ends(i, &lower, &upper);
    if (i >= UNIFORM_END) {
        const double *plateau = plateaus[(int)(3.0 * ebm_uniform(words[2]))];
        lower = plateau[0];
        upper = plateau[1];
    }
    *ret_x = i / (POINTS - 1.0);
    *ret_y = i < BETA_END     ? 0.5 + 5.0 * u * u /* Beta(0.5, 1) has the distribution function sqrt(v) */
             : i < COSINE_END ? cosine_mean(i) + fabs(cosine_mean(i)) / 4.0 * ebm_normal(words[1])
                              : lower + (upper - lower) * u;
}

static double toy2_density(double x, double y)
{
    int i = (int)lround(x * (POINTS - 1));
    double v = (y - 0.5) / 5.0, lower, upper, sum = 0.0;
    if (i < BETA_END)
        return v > 0.0 && v <= 1.0 ? 0.5 / sqrt(v) / 5.0 : 0.0;
    if (i < COSINE_END)
        return normal_density(y, cosine_mean(i), fabs(cosine_mean(i)) / 4.0);
    uniform_ends(i, &lower, &upper);
    if (i < UNIFORM_END)
        return uniform_density(y, lower, upper);
    for (size_t k = 0; k < EBM_COUNT_OF(plateaus); k++)
        sum += uniform_density(y, plateaus[k][0], plateaus[k][1]) / EBM_COUNT_OF(plateaus);
    return sum;
}

/* ---- set 2 ---- */

static double set2_std(double x)
{
    return 0.15 / (1.0 + exp(-x));
}

static void set2_row(uint64_t seed, uint32_t row, double *ret_x, double *ret_y)
{
    uint32_t words[4];
    ebm_philox(seed, row, 0, EBM_STREAM_GENERATE, 0, words);
    *ret_x = -3.0 + 6.0 * ebm_uniform(words[0]);
    *ret_y = sin(*ret_x) + set2_std(*ret_x) * ebm_normal(words[1]);
}

static double set2_density(double x, double y)
{
    return normal_density(y, sin(x), set2_std(x));
}

/* ---- all of them ---- */

static const struct generate_set sets[] = {
    {"toy1", toy1_row, generate_toy1_density}, {"toy2", toy2_row, toy2_density}, {"set2", set2_row, set2_density}};

const struct generate_set *generate_find(const char *name)
{
    for (size_t i = 0; i < EBM_COUNT_OF(sets); i++)
        if (strcmp(sets[i].name, name) == 0)
            return &sets[i];
    return NULL;
}

static enum ebm_status unknown_set(const char *name, struct ebm_error *reterr)
{
    static const char *const names[] = {"toy1", "toy2", "set2", "cells", "digits-angle", "pose", "steering"};
    char space[EBM_NAMES_HINT_BYTES];
    return ebm_error_set(
        reterr, EBM_INVALID, "generate",
        "unknown data set '%.40s'%s; there are toy1, toy2, set2, cells, digits-angle, pose and steering", name,
        ebm_names_hint(name, names, EBM_COUNT_OF(names), "", space));
}

static enum ebm_status write_rows(FILE *file, const struct generate_set *set, uint64_t seed, uint32_t rows,
                                  double *ret_nll)
{
    double sum = 0.0;
    bool failed = fputs("x,y\n", file) == EOF;
    for (uint32_t row = 0; !failed && row < rows; row++) {
        double x, y;
        set->row(seed, row, &x, &y);
        sum -= log(set->density(x, y));
        failed = fprintf(file, "%.9g,%.9g\n", (double)(float)x, (double)(float)y) < 0;
    }
    if (failed)
        return EBM_INVALID;
    *ret_nll = sum / rows;
    return EBM_OK;
}

enum ebm_status generate_command(const struct args *args, struct ebm_error *reterr)
{
    const struct generate_set *set = generate_find(args->positional[0]);
    const char *path = NULL;
    uint64_t rows = 2000, seed = 0;
    double nll = 0.0;
    const struct picture_kind *pictures = picture_find(args->positional[0]);
    if (pictures != NULL)
        return generate_images(pictures, args, reterr);
    if (set == NULL)
        return unknown_set(args->positional[0], reterr);
    enum ebm_status status = args_number(args, "rows", 1, LIMIT_DATA_ROWS, &rows, reterr);
    if (status == EBM_OK)
        status = args_number(args, "seed", 0, (1ull << 53) - 1, &seed, reterr);
    if (status == EBM_OK)
        status = args_require(args, "output", &path, reterr);
    if (status != EBM_OK)
        return status;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: %s", strerror(errno));
    status = write_rows(file, set, seed, (uint32_t)rows, &nll);
    if (fclose(file) != 0 || status != EBM_OK)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?");
    (void)printf("%" PRIu64 " rows of %s in %s; the truth's own mean NLL on them is %.4f\n", rows, set->name, path,
                 nll);
    return EBM_OK;
}
