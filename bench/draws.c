/* draws.c - how many draws an answer by importance needs: errors of the mean and of log Z over many seeds, by scheme
 * and number of draws, beside answers of 4 x 65536 draws.
 *
 *   bench-draws MODEL.safetensors [ROWS [SEEDS]]
 *
 * Inputs are standard normal in the model's standardised units. A line a scheme and number of draws: root mean square
 * errors over rows, seeds and coordinates, the mean's in standard deviations of the target; the square of each error's
 * ratio to that of 1024 independent draws, which is by how many times fewer of those would do; and how large the
 * answers say that their errors are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rng.h"
#include "models/estimate.h"

#define TRUTH_SAMPLES 65536u
#define TRUTH_SEEDS 4u

struct bench {
    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    uint32_t X, D, rows, seeds;
    float *x;                          /* (rows, X) */
    double *mean, *variance, *mcse;    /* (rows, D) of one answer */
    double *true_mean, *true_variance; /* (rows, D) */
    double *true_log_z;                /* (rows) */
    struct ebm_estimate *out;          /* (rows) */
    struct ebm_task *tasks;            /* (rows) */
};

static void *must_have(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (p == NULL)
        exit(1);
    return p;
}

static void must(enum ebm_status status, const struct ebm_error *error)
{
    if (status == EBM_OK)
        return;
    fprintf(stderr, "bench-draws: %s %s %s\n", ebm_status_name(status), error->where, error->text);
    exit(1);
}

static void answer(struct bench *b, const struct ebm_estimate_spec *spec, uint64_t seed, uint32_t samples)
{
    for (uint32_t i = 0; i < b->rows; i++) {
        b->out[i] = (struct ebm_estimate){.mean = b->mean + (size_t)i * b->D,
                                          .variance = b->variance + (size_t)i * b->D,
                                          .mcse_mean = b->mcse + (size_t)i * b->D};
        b->tasks[i] = (struct ebm_task){
            .row = {.seed = seed, .row_in_request = i, .samples = samples}, .spec = spec, .out = &b->out[i]};
    }
    struct ebm_error error = {0};
    must(b->ops->predict(b->ctx, b->plan, b->x, b->tasks, b->rows), &error);
}

static void find_truth(struct bench *b)
{
    static const struct ebm_estimate_spec spec = {
        .estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = EBM_SCHEME_SOBOL, .defensive = EBM_DEFENSIVE_SHARE};
    double ess = 0.0;
    for (uint32_t s = 0; s < TRUTH_SEEDS; s++) {
        answer(b, &spec, 1000000 + s, TRUTH_SAMPLES);
        for (size_t i = 0; i < (size_t)b->rows * b->D; i++) {
            b->true_mean[i] += b->mean[i] / TRUTH_SEEDS;
            b->true_variance[i] += b->variance[i] / TRUTH_SEEDS;
        }
        for (uint32_t i = 0; i < b->rows; i++) {
            b->true_log_z[i] += b->out[i].log_z / TRUTH_SEEDS;
            ess += b->out[i].ess / TRUTH_SAMPLES / TRUTH_SEEDS / b->rows;
        }
    }
    printf("D %u, %u rows, %u seeds; effective share of the draws %.3f on average\n", b->D, b->rows, b->seeds, ess);
}

struct errors {
    double mean, log_z, said_mean, said_log_z;
};

static struct errors errors_of(struct bench *b, const struct ebm_estimate_spec *spec, uint32_t samples)
{
    double mean = 0.0, log_z = 0.0, said_mean = 0.0, said_log_z = 0.0;
    for (uint32_t s = 0; s < b->seeds; s++) {
        answer(b, spec, s, samples);
        for (size_t i = 0; i < (size_t)b->rows * b->D; i++) {
            mean += pow(b->mean[i] - b->true_mean[i], 2) / b->true_variance[i];
            said_mean += b->mcse[i] * b->mcse[i] / b->true_variance[i];
        }
        for (uint32_t i = 0; i < b->rows; i++) {
            log_z += pow(b->out[i].log_z - b->true_log_z[i], 2);
            said_log_z += pow(b->out[i].log_z_std_error, 2);
        }
    }
    double n = (double)b->rows * b->seeds;
    return (struct errors){sqrt(mean / n / b->D), sqrt(log_z / n), sqrt(said_mean / n / b->D), sqrt(said_log_z / n)};
}

static void compare(struct bench *b)
{
    static const struct {
        const char *name;
        enum ebm_draw_scheme scheme;
        double defensive;
    } schemes[] = {{"independent", EBM_SCHEME_INDEPENDENT, 0.0},
                   {"independent, defended", EBM_SCHEME_INDEPENDENT, EBM_DEFENSIVE_SHARE},
                   {"sobol", EBM_SCHEME_SOBOL, 0.0},
                   {"sobol, defended", EBM_SCHEME_SOBOL, EBM_DEFENSIVE_SHARE}};
    static const uint32_t counts[] = {64, 128, 256, 512, 1024};
    static const struct ebm_estimate_spec plain = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    struct errors base = errors_of(b, &plain, 1024);
    printf("%-22s %5s  %9s %9s  %7s %7s  %9s %9s\n", "draws", "M", "mean/std", "log Z", "mean x", "log Z x",
           "says mean", "says log Z");
    for (size_t i = 0; i < EBM_COUNT_OF(schemes); i++) {
        struct ebm_estimate_spec spec = {
            .estimator = EBM_ESTIMATE_IMPORTANCE, .scheme = schemes[i].scheme, .defensive = schemes[i].defensive};
        for (size_t m = 0; m < EBM_COUNT_OF(counts); m++) {
            struct errors e = errors_of(b, &spec, counts[m]);
            printf("%-22s %5u  %9.5f %9.5f  %7.2f %7.2f  %9.5f %9.5f\n", schemes[i].name, counts[m], e.mean, e.log_z,
                   pow(base.mean / e.mean, 2), pow(base.log_z / e.log_z, 2), e.said_mean, e.said_log_z);
        }
    }
}

static void make_room(struct bench *b)
{
    size_t n = (size_t)b->rows * b->D;
    b->x = must_have((size_t)b->rows * b->X, sizeof *b->x);
    b->mean = must_have(n, sizeof *b->mean);
    b->variance = must_have(n, sizeof *b->variance);
    b->mcse = must_have(n, sizeof *b->mcse);
    b->true_mean = must_have(n, sizeof *b->true_mean);
    b->true_variance = must_have(n, sizeof *b->true_variance);
    b->true_log_z = must_have(b->rows, sizeof *b->true_log_z);
    b->out = must_have(b->rows, sizeof *b->out);
    b->tasks = must_have(b->rows, sizeof *b->tasks);
    for (uint32_t i = 0; i < b->rows * b->X; i++) {
        uint32_t words[4];
        ebm_philox(77, i, 0, EBM_STREAM_GENERATE, 0, words);
        b->x[i] = (float)ebm_normal(words[0]);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "bench-draws MODEL.safetensors [ROWS [SEEDS]]\n");
        return 1;
    }
    struct bench b = {.ops = ebm_device_cpu(), .rows = 16, .seeds = 100};
    struct ebm_error error = {0};
    struct ebm_model *model = NULL;
    ebm_device_thread_init();
    must(ebm_model_load(argv[1], LIMIT_FILE_BYTES, &model, &error), &error);
    const struct ebm_net_desc *net = ebm_model_net(model);
    if (argc > 2)
        b.rows = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        b.seeds = (uint32_t)strtoul(argv[3], NULL, 10);
    b.X = net->X;
    b.D = net->D;
    make_room(&b);
    struct ebm_ctx_limits limits = {.max_rows = b.rows, .max_samples = TRUTH_SAMPLES};
    must(b.ops->plan_new(net, ebm_model_params(model), 0, &b.plan, &error), &error);
    must(b.ops->ctx_new(&limits, &b.ctx, &error), &error);
    must(b.ops->ctx_prepare(b.ctx, b.plan, &error), &error);
    find_truth(&b);
    compare(&b);
    (void)b.ops->ctx_free(b.ctx);
    (void)b.ops->plan_unref(b.plan);
    (void)ebm_model_unref(model);
    free(b.x), free(b.mean), free(b.variance), free(b.mcse), free(b.true_mean), free(b.true_variance);
    free(b.true_log_z), free(b.out), free(b.tasks);
    return 0;
}
