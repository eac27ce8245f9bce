/* device_check_answers.c - rows ask for numbers of draws that fill no whole tile, and for more of them than others, so
 * that rows of different lengths share what a device does at once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <string.h>

#include "core/device_check_answers.h"
#include "core/sobol.h"

#define ROWS EBM_CHECK_ROWS
#define FAIR 24u

static const double probabilities[] = {0.025, 0.9};
#define PROBABILITIES ((uint32_t)EBM_COUNT_OF(probabilities))

static size_t most_samples(void)
{
    return ebm_sobol_count(EBM_CHECK_SAMPLES);
}

/* Mean, variance, its error and mode (D each), covariance (D, D), entropy, log Z and its error, ess, largest weight,
 * the tail's shape. */
static size_t numbers_of(uint32_t D)
{
    return 4 * (size_t)D + (size_t)D * D + 6;
}

bool ebm_check_answers_init(struct ebm_check_answers *a, uint32_t D)
{
    size_t M = most_samples();
    *a = (struct ebm_check_answers){.D = D};
    a->draws = calloc(ROWS * M * D, sizeof *a->draws);
    a->weights = calloc(ROWS * M, sizeof *a->weights);
    a->fair = calloc((size_t)ROWS * FAIR * D, sizeof *a->fair);
    a->numbers = calloc(ROWS * numbers_of(D), sizeof *a->numbers);
    a->quantiles = calloc((size_t)ROWS * PROBABILITIES * D, sizeof *a->quantiles);
    return a->draws && a->weights && a->fair && a->numbers && a->quantiles;
}

void ebm_check_answers_done(struct ebm_check_answers *a)
{
    free(a->draws), free(a->weights), free(a->fair), free(a->numbers), free(a->quantiles);
}

bool ebm_check_same(const struct ebm_check_answers *a, const struct ebm_check_answers *b)
{
    const size_t D = a->D, M = ROWS * most_samples();
    return memcmp(a->draws, b->draws, M * D * sizeof *a->draws) == 0 &&
           memcmp(a->weights, b->weights, M * sizeof *a->weights) == 0 &&
           memcmp(a->fair, b->fair, ROWS * FAIR * D * sizeof *a->fair) == 0 &&
           memcmp(a->numbers, b->numbers, ROWS * numbers_of(a->D) * sizeof *a->numbers) == 0 &&
           memcmp(a->quantiles, b->quantiles, ROWS * PROBABILITIES * D * sizeof *a->quantiles) == 0 &&
           memcmp(a->log_z, b->log_z, sizeof a->log_z) == 0;
}

/* ---- one device ---- */

static struct ebm_row row_of(uint32_t b)
{
    return (struct ebm_row){.seed = 100 + b, .row_in_request = b, .samples = b % 2 ? EBM_CHECK_SAMPLES : 90};
}

static enum ebm_status predict(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                               const float *x, const struct ebm_estimate_spec *spec, struct ebm_estimate *out)
{
    struct ebm_task tasks[ROWS];
    for (uint32_t b = 0; b < ROWS; b++)
        tasks[b] = (struct ebm_task){.row = row_of(b), .spec = spec, .out = &out[b]};
    enum ebm_status status = ops->predict(ctx, plan, x, tasks, ROWS);
    return status == EBM_OK ? ops->sync(ctx) : status;
}

static enum ebm_status ask_draws(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                                 const float *x, enum ebm_draw_scheme scheme, struct ebm_check_answers *a)
{
    const struct ebm_estimate_spec spec = {
        .estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = scheme, .draws = EBM_DRAWS_WEIGHTED};
    struct ebm_estimate out[ROWS];
    for (uint32_t b = 0; b < ROWS; b++)
        out[b] = (struct ebm_estimate){.draws = a->draws + b * most_samples() * a->D,
                                       .log_weights = a->weights + b * most_samples()};
    enum ebm_status status = predict(ops, ctx, plan, x, &spec, out);
    for (uint32_t b = 0; status == EBM_OK && b < ROWS; b++) {
        a->samples[b] = out[b].samples;
        a->log_z[b] = out[b].log_z;
    }
    return status;
}

static enum ebm_status ask_numbers(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                                   const float *x, enum ebm_estimator estimator, enum ebm_draw_scheme scheme,
                                   struct ebm_check_answers *a)
{
    const struct ebm_estimate_spec spec = {.estimator = estimator,
                                           .scheme = scheme,
                                           .draws = EBM_DRAWS_FAIR,
                                           .n_draws = FAIR,
                                           .probabilities = probabilities,
                                           .n_probabilities = PROBABILITIES};
    struct ebm_estimate out[ROWS];
    uint32_t D = a->D;
    for (uint32_t b = 0; b < ROWS; b++) {
        double *numbers = a->numbers + b * numbers_of(D);
        out[b] = (struct ebm_estimate){.mean = numbers,
                                       .variance = numbers + D,
                                       .mcse_mean = numbers + 2 * (size_t)D,
                                       .mode = numbers + 3 * (size_t)D,
                                       .covariance = numbers + 4 * (size_t)D,
                                       .entropy = numbers + numbers_of(D) - 6,
                                       .quantiles = a->quantiles + (size_t)b * PROBABILITIES * D,
                                       .draws = a->fair + (size_t)b * FAIR * D};
    }
    enum ebm_status status = predict(ops, ctx, plan, x, &spec, out);
    for (uint32_t b = 0; status == EBM_OK && b < ROWS; b++) {
        double *last = a->numbers + (b + 1) * numbers_of(D);
        last[-5] = out[b].log_z;
        last[-4] = out[b].log_z_std_error;
        last[-3] = out[b].ess;
        last[-2] = out[b].max_weight;
        last[-1] = isnan(out[b].pareto_k) ? 0.0 : out[b].pareto_k;
        if (estimator == EBM_ESTIMATE_EXACT && (out[b].status != EBM_OK || out[b].used != estimator))
            last[-1] = (double)NAN;
    }
    return status;
}

enum ebm_status ebm_check_answers_ask(const struct ebm_device_ops *ops, struct ebm_ctx *ctx,
                                      const struct ebm_plan *plan, const float *x, enum ebm_draw_scheme scheme,
                                      bool with_draws, struct ebm_check_answers *a)
{
    enum ebm_status status = with_draws ? ask_draws(ops, ctx, plan, x, scheme, a) : EBM_OK;
    return status == EBM_OK ? ask_numbers(ops, ctx, plan, x, EBM_ESTIMATE_IMPORTANCE, scheme, a) : status;
}

enum ebm_status ebm_check_exact_ask(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                                    const float *x, struct ebm_check_answers *a)
{
    return ask_numbers(ops, ctx, plan, x, EBM_ESTIMATE_EXACT, EBM_SCHEME_INDEPENDENT, a);
}

/* ---- both ---- */

double ebm_check_numbers(const struct ebm_check_answers *got, const struct ebm_check_answers *expected, bool with_mode)
{
    uint32_t D = got->D;
    double error = 0.0;
    for (uint32_t b = 0; b < ROWS; b++)
        for (size_t i = 0; i < numbers_of(D); i++) {
            double want = expected->numbers[b * numbers_of(D) + i];
            double off = fabs(got->numbers[b * numbers_of(D) + i] - want) / fmax(1.0, fabs(want));
            if (!with_mode && i >= 3 * (size_t)D && i < 4 * (size_t)D)
                continue;
            error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
        }
    return error;
}

/* How far p is from the cumulative weight of those below y to that of those up to y, in coordinate d of row b. */
static double rank_error(const struct ebm_check_answers *a, uint32_t b, uint32_t d, double y, double p, double near)
{
    const float *draws = a->draws + b * most_samples() * a->D, *weights = a->weights + b * most_samples();
    double below = 0.0, up_to = 0.0;
    for (uint32_t m = 0; m < a->samples[b]; m++) {
        double value = (double)draws[(size_t)m * a->D + d], weight = exp((double)weights[m]);
        below += value < y - near ? weight : 0.0;
        up_to += value <= y + near ? weight : 0.0;
    }
    return up_to > below ? fmax(fmax(below - p, p - up_to), 0.0) : (double)INFINITY;
}

static bool is_draw(const struct ebm_check_answers *a, uint32_t b, uint32_t m, const float *y, double near)
{
    const float *draw = a->draws + (b * most_samples() + m) * a->D;
    for (uint32_t d = 0; d < a->D; d++)
        if (!(fabs((double)draw[d] - (double)y[d]) <= near))
            return false;
    return true;
}

/* The same of fair draw i, in the order of the draws; the best of those that it may be. */
static double choice_error(const struct ebm_check_answers *a, uint32_t b, uint32_t i, const float *y, double near)
{
    const struct ebm_row row = row_of(b);
    double sum = 0.0, error = (double)INFINITY;
    uint32_t words[4];
    ebm_philox(row.seed, row.row_in_request, i, EBM_STREAM_RESAMPLE, 0, words);
    double u = (double)(((uint64_t)words[0] << 32 | words[1]) >> 11) * 0x1p-53;
    for (uint32_t m = 0; m < a->samples[b]; m++) {
        double below = sum;
        sum += exp((double)a->weights[b * most_samples() + m]);
        if (is_draw(a, b, m, y, near))
            error = fmin(error, fmax(fmax(below - u, u - sum), 0.0));
    }
    return error;
}

double ebm_check_ranks(const struct ebm_check_answers *got, const struct ebm_check_answers *expected, double near)
{
    uint32_t D = got->D;
    double error = 0.0;
    for (uint32_t b = 0; b < ROWS; b++) {
        for (uint32_t i = 0; i < PROBABILITIES * D; i++)
            error = fmax(error, rank_error(expected, b, i % D, got->quantiles[(size_t)b * PROBABILITIES * D + i],
                                           probabilities[i / D], near));
        for (uint32_t i = 0; i < FAIR; i++)
            error = fmax(error, choice_error(expected, b, i, got->fair + ((size_t)b * FAIR + i) * D, near));
    }
    return error;
}

double ebm_check_points(const struct ebm_check_answers *got, const struct ebm_check_answers *expected)
{
    double error = 0.0;
    for (uint32_t i = 0; i < ROWS * PROBABILITIES; i++) {
        double off = fabs(got->quantiles[i] - expected->quantiles[i]);
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    for (uint32_t i = 0; i < ROWS * FAIR; i++) {
        double off = fabs((double)got->fair[i] - (double)expected->fair[i]);
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    return error;
}
