/* device.c - what the CPU device reaches without HTTP, on one thread: predictions/s (mean and std by importance with
 * independent draws) at several batch sizes; the same by each estimator that applies, in turn, so that their ratios
 * suffer little from a noisy machine; training steps/s (nce_kl; ml_exact, of one target; B rows in chunks as the
 * trainer cuts them).
 *
 *   bench-device MODEL.safetensors [SAMPLES [SECONDS]]
 *
 * Prints the median and the range of five rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "models/estimate.h"

#define ROUNDS 5
#define STEP_ROWS 32
#define CHUNK_ROWS 4        /* where draws are made */
#define EXACT_CHUNK_ROWS 16 /* where none are */

struct bench {
    const struct ebm_device_ops *ops;
    struct ebm_model *model;
    uint32_t samples, rows;
    double seconds;
    float *x, *y;
};

static void must(enum ebm_status status, const struct ebm_error *error, const char *what)
{
    if (status == EBM_OK)
        return;
    fprintf(stderr, "bench-device: %s: %s %s %s\n", what, ebm_status_name(status), error ? error->where : "",
            error ? error->text : "");
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, uint32_t rows, double *rates)
{
    qsort(rates, ROUNDS, sizeof *rates, by_value);
    printf("%-12s B %3u   %10.1f /s   [%.1f .. %.1f]\n", what, rows, rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
}

/* A context, and tasks of `rows` rows that ask for mean and std. */
struct predictor {
    struct ebm_ctx *ctx;
    struct ebm_task *tasks;
    struct ebm_estimate *out;
    double *numbers;
};

static struct predictor predictor_new(struct bench *b, struct ebm_plan *plan, uint32_t rows)
{
    struct ebm_ctx_limits limits = {.max_rows = rows, .max_samples = b->samples};
    struct ebm_error error = {0};
    size_t D = ebm_model_net(b->model)->D;
    struct predictor p = {.tasks = calloc(rows, sizeof *p.tasks),
                          .out = calloc(rows, sizeof *p.out),
                          .numbers = calloc(2 * D * rows, sizeof *p.numbers)};
    if (p.numbers == NULL || p.out == NULL || p.tasks == NULL)
        exit(1);
    must(b->ops->ctx_new(&limits, &p.ctx, &error), &error, "context");
    must(b->ops->ctx_prepare(p.ctx, plan, &error), &error, "prepare");
    for (uint32_t i = 0; i < rows; i++) {
        p.out[i].mean = p.numbers + 2 * D * i;
        p.out[i].variance = p.out[i].mean + D;
    }
    return p;
}

static void predictor_free(struct bench *b, struct predictor *p)
{
    (void)b->ops->ctx_free(p->ctx);
    free(p->numbers), free(p->out), free(p->tasks);
}

/* Rows a second by one estimator, for about b->seconds. */
static double rate_of(struct bench *b, struct ebm_plan *plan, struct predictor *p, enum ebm_estimator estimator,
                      uint32_t rows)
{
    struct ebm_estimate_spec spec = {.estimator = estimator};
    uint64_t calls = 0;
    double spent = 0.0;
    for (uint32_t i = 0; i < rows; i++)
        p->tasks[i] = (struct ebm_task){
            .row = {.seed = 1, .row_in_request = i, .samples = b->samples}, .spec = &spec, .out = &p->out[i]};
    for (uint64_t start = ebm_clock_ns(); spent < b->seconds; spent = (double)(ebm_clock_ns() - start) * 1e-9, calls++)
        must(b->ops->predict(p->ctx, plan, b->x, p->tasks, rows), NULL, "predict");
    return (double)calls * rows / spent;
}

static void bench_predict(struct bench *b, struct ebm_plan *plan, uint32_t rows)
{
    struct predictor p = predictor_new(b, plan, rows);
    double rates[ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        rates[round] = rate_of(b, plan, &p, EBM_ESTIMATE_IMPORTANCE, rows);
    report("predictions", rows, rates);
    predictor_free(b, &p);
}

static void bench_estimators(struct bench *b, struct ebm_plan *plan, uint32_t rows)
{
    static const enum ebm_estimator all[] = {EBM_ESTIMATE_EXACT, EBM_ESTIMATE_QUADRATURE, EBM_ESTIMATE_IMPORTANCE,
                                             EBM_ESTIMATE_MIXTURE};
    struct predictor p = predictor_new(b, plan, rows);
    double rates[EBM_COUNT_OF(all)][ROUNDS], drawn = 0.0;
    const char *used[EBM_COUNT_OF(all)] = {NULL};
    uint32_t pieces[EBM_COUNT_OF(all)] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < EBM_COUNT_OF(all); i++) {
            if (!ebm_estimator_applies(ebm_model_net(b->model), all[i]))
                continue;
            rates[i][round] = rate_of(b, plan, &p, all[i], rows);
            used[i] = ebm_estimator_word(p.out[0].used);
            pieces[i] = p.out[0].pieces;
        }
    for (size_t i = EBM_COUNT_OF(all); i-- > 0;) {
        if (used[i] == NULL)
            continue;
        report(used[i], rows, rates[i]);
        if (all[i] == EBM_ESTIMATE_IMPORTANCE)
            drawn = rates[i][ROUNDS / 2];
        if (pieces[i] > 0)
            printf("%20u pieces%s", pieces[i], drawn > 0.0 ? "" : "\n");
        if (pieces[i] > 0 && drawn > 0.0)
            printf(", %.1f times importance with %u draws\n", rates[i][ROUNDS / 2] / drawn, b->samples);
    }
    predictor_free(b, &p);
}

static void step(struct bench *b, struct ebm_plan *plan, struct ebm_ctx *ctx, enum ebm_loss loss_kind, uint64_t t)
{
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    bool is_exact = loss_kind == EBM_LOSS_ML_EXACT;
    uint32_t chunk_rows = is_exact ? EXACT_CHUNK_ROWS : CHUNK_ROWS;
    struct ebm_loss_spec spec = {.loss = loss_kind, .samples = is_exact ? 0 : b->samples, .scale = 1.0 / STEP_ROWS};
    struct ebm_adam adam = {1e-3, 0.9, 0.999, 1e-8, {t, t, t, t}};
    struct ebm_range all = {0, net->n_params};
    struct ebm_row rows[EXACT_CHUNK_ROWS];
    double loss[EXACT_CHUNK_ROWS];
    if (is_exact)
        must(b->ops->refresh(plan), NULL, "refresh");
    for (uint32_t first = 0, slot = 0; first < STEP_ROWS; first += chunk_rows, slot++) {
        for (uint32_t i = 0; i < chunk_rows; i++)
            rows[i] = (struct ebm_row){.seed = t, .row_in_request = first + i, .samples = b->samples};
        struct ebm_train_rows chunk = {
            .B = chunk_rows, .h_x = b->x + (size_t)first * net->X, .h_y = b->y + (size_t)first * net->D, .rows = rows};
        must(b->ops->backward(ctx, plan, slot, &spec, &chunk, loss), NULL, "backward");
    }
    must(b->ops->reduce(plan, STEP_ROWS / chunk_rows, all), NULL, "reduce");
    must(b->ops->update(plan, &adam, all), NULL, "update");
}

static void bench_train(struct bench *b, enum ebm_loss loss, const char *what)
{
    struct ebm_ctx_limits limits = {.max_rows = EXACT_CHUNK_ROWS, .max_samples = b->samples, .training = true};
    struct ebm_error error = {0};
    struct ebm_ctx *ctx = NULL;
    struct ebm_plan *plan = NULL;
    double rates[ROUNDS];
    uint64_t t = 1;
    must(b->ops->plan_new(ebm_model_net(b->model), ebm_model_params(b->model), STEP_ROWS / CHUNK_ROWS, &plan, &error),
         &error, "plan");
    must(b->ops->ctx_new(&limits, &ctx, &error), &error, "context");
    must(b->ops->ctx_prepare(ctx, plan, &error), &error, "prepare");
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = ebm_clock_ns(), steps = 0;
        double spent = 0.0;
        for (; spent < b->seconds; steps++, spent = (double)(ebm_clock_ns() - start) * 1e-9)
            step(b, plan, ctx, loss, t++);
        rates[round] = (double)steps / spent;
    }
    report(what, STEP_ROWS, rates);
    (void)b->ops->ctx_free(ctx);
    (void)b->ops->plan_unref(plan);
}

static void random_rows(struct bench *b)
{
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    size_t nx = (size_t)b->rows * net->X, ny = (size_t)b->rows * net->D;
    uint32_t words[4];
    b->x = calloc(nx, sizeof *b->x);
    b->y = calloc(ny, sizeof *b->y);
    if (b->x == NULL || b->y == NULL)
        exit(1);
    for (size_t i = 0; i < nx + ny; i++) {
        ebm_philox(3, (uint32_t)i, 0, 0, 0, words);
        float value = (float)(2.0 * ebm_uniform(words[0]) - 1.0);
        *(i < nx ? &b->x[i] : &b->y[i - nx]) = value;
    }
}

int main(int argc, char **argv)
{
    static const uint32_t batches[] = {1, 8, 32};
    struct ebm_error error = {0};
    struct ebm_plan *plan = NULL;
    struct bench b = {.ops = ebm_device_cpu(), .samples = 1024, .rows = STEP_ROWS, .seconds = 0.4};
    if (argc < 2) {
        fprintf(stderr, "usage: bench-device MODEL.safetensors [SAMPLES [SECONDS]]\n");
        return 2;
    }
    if (argc > 2)
        b.samples = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        b.seconds = strtod(argv[3], NULL);
    must(ebm_model_load(argv[1], LIMIT_FILE_BYTES, &b.model, &error), &error, argv[1]);
    ebm_device_thread_init();
    random_rows(&b);
    uint64_t start = ebm_clock_ns();
    must(b.ops->plan_new(ebm_model_net(b.model), ebm_model_params(b.model), 0, &plan, &error), &error, "plan");
    printf("plan, self-test included: %.2f ms\n", (double)(ebm_clock_ns() - start) * 1e-6);
    for (size_t i = 0;
         ebm_estimator_applies(ebm_model_net(b.model), EBM_ESTIMATE_IMPORTANCE) && i < EBM_COUNT_OF(batches); i++)
        bench_predict(&b, plan, batches[i]);
    bench_estimators(&b, plan, STEP_ROWS);
    bench_train(&b, EBM_LOSS_NCE_KL, "steps");
    if (ebm_model_net(b.model)->D == 1)
        bench_train(&b, EBM_LOSS_ML_EXACT, "ml_exact");
    (void)b.ops->plan_unref(plan);
    (void)ebm_model_unref(b.model);
    free(b.x), free(b.y);
    return 0;
}
