/* generate.c - `generate toy1`: the first toy problem of arXiv 2110.11948, two modes on the left and a skewed one on
 * the right, with its density in closed form (used by `evaluate --protocol toy1`).
 *
 * A row is a function of (seed, row number): more rows begin with the same rows. */
#include "trainer/generate.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "core/rng.h"

#define SPREAD 0.075
#define SHAPE 0.25
#define LIKELY 0.8 /* weight of the mode at sin x */

void generate_toy1(uint64_t seed, uint32_t row, double *ret_x, double *ret_y)
{
    uint32_t words[4];
    ebm_philox(seed, row, 0, EBM_STREAM_GENERATE, 0, words);
    double x = -3.0 + 6.0 * ebm_uniform(words[0]), z = ebm_normal(words[1]);
    bool likely = ebm_uniform(words[2]) < LIKELY;
    *ret_x = x;
    *ret_y = x < 0.0 ? (likely ? sin(x) : -sin(x)) + SPREAD * z : exp(SHAPE * z) - 1.0;
}

static double normal_density(double y, double mean, double std)
{
    double z = (y - mean) / std;
    return exp(-0.5 * z * z) / (std * sqrt(2.0 * M_PI));
}

double generate_toy1_density(double x, double y)
{
    if (x < 0.0)
        return LIKELY * normal_density(y, sin(x), SPREAD) + (1.0 - LIKELY) * normal_density(y, -sin(x), SPREAD);
    return y + 1.0 > 0.0 ? normal_density(log(y + 1.0), 0.0, SHAPE) / (y + 1.0) : 0.0;
}

static enum ebm_status write_rows(FILE *file, uint64_t seed, uint32_t rows)
{
    bool failed = fputs("x,y\n", file) == EOF;
    for (uint32_t row = 0; !failed && row < rows; row++) {
        double x, y;
        generate_toy1(seed, row, &x, &y);
        failed = fprintf(file, "%.9g,%.9g\n", (double)(float)x, (double)(float)y) < 0;
    }
    return failed ? EBM_INVALID : EBM_OK;
}

enum ebm_status generate_command(const struct args *args, struct ebm_error *reterr)
{
    const char *name = args->positional[0], *path = NULL;
    uint64_t rows = 2000, seed = 0;
    if (strcmp(name, "toy1") != 0)
        return ebm_error_set(reterr, EBM_INVALID, "generate", "unknown data set '%.40s'; there is toy1", name);
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
    status = write_rows(file, seed, (uint32_t)rows);
    if (fclose(file) != 0 || status != EBM_OK)
        return ebm_error_set(reterr, EBM_INVALID, path, "cannot write the file: is the disk full?");
    (void)printf("%" PRIu64 " rows of toy1 in %s\n", rows, path);
    return EBM_OK;
}
