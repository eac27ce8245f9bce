/* device.c - what the CPU device reaches without HTTP, on one thread: predictions/s (mean and std by importance) at
 * several batch sizes, and training steps/s (nce_kl, B rows in chunks as the trainer does).
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
#define CHUNK_ROWS 4

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

static void bench_predict(struct bench *b, struct ebm_plan *plan, uint32_t rows)
{
    struct ebm_ctx_limits limits = {.max_rows = rows, .max_samples = b->samples};
    struct ebm_error error = {0};
    struct ebm_ctx *ctx = NULL;
    uint32_t D = ebm_model_net(b->model)->D;
    static const struct ebm_estimate_spec spec = {.estimator = EBM_ESTIMATE_IMPORTANCE};
    double *numbers = calloc((size_t)2 * D * rows, sizeof *numbers), rates[ROUNDS];
    struct ebm_estimate *out = calloc(rows, sizeof *out);
    struct ebm_task *tasks = calloc(rows, sizeof *tasks);
    if (numbers == NULL || out == NULL || tasks == NULL)
        exit(1);
    must(b->ops->ctx_new(&limits, &ctx, &error), &error, "context");
    must(b->ops->ctx_prepare(ctx, plan, &error), &error, "prepare");
    for (uint32_t i = 0; i < rows; i++) {
        out[i].mean = numbers + (size_t)2 * D * i;
        out[i].variance = out[i].mean + D;
        tasks[i] = (struct ebm_task){
            .row = {.seed = 1, .row_in_request = i, .samples = b->samples}, .spec = &spec, .out = &out[i]};
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = ebm_clock_ns(), calls = 0;
        double spent = 0.0;
        for (; spent < b->seconds; calls++, spent = (double)(ebm_clock_ns() - start) * 1e-9)
            must(b->ops->predict(ctx, plan, b->x, tasks, rows), NULL, "predict");
        rates[round] = (double)calls * rows / spent;
    }
    report("predictions", rows, rates);
    (void)b->ops->ctx_free(ctx);
    free(numbers), free(out), free(tasks);
}

static void step(struct bench *b, struct ebm_plan *plan, struct ebm_ctx *ctx, uint64_t t)
{
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    struct ebm_loss_spec spec = {.loss = EBM_LOSS_NCE_KL, .samples = b->samples, .scale = 1.0 / STEP_ROWS};
    struct ebm_adam adam = {1e-3, 0.9, 0.999, 1e-8, {t, t, t, t}};
    struct ebm_range all = {0, net->n_params};
    struct ebm_row rows[CHUNK_ROWS];
    double loss[CHUNK_ROWS];
    for (uint32_t first = 0, slot = 0; first < STEP_ROWS; first += CHUNK_ROWS, slot++) {
        for (uint32_t i = 0; i < CHUNK_ROWS; i++)
            rows[i] = (struct ebm_row){.seed = t, .row_in_request = first + i, .samples = b->samples};
        struct ebm_train_rows chunk = {
            .B = CHUNK_ROWS, .h_x = b->x + (size_t)first * net->X, .h_y = b->y + (size_t)first * net->D, .rows = rows};
        must(b->ops->backward(ctx, plan, slot, &spec, &chunk, loss), NULL, "backward");
    }
    must(b->ops->reduce(plan, STEP_ROWS / CHUNK_ROWS, all), NULL, "reduce");
    must(b->ops->update(plan, &adam, all), NULL, "update");
}

static void bench_train(struct bench *b)
{
    struct ebm_ctx_limits limits = {.max_rows = CHUNK_ROWS, .max_samples = b->samples, .training = true};
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
            step(b, plan, ctx, t++);
        rates[round] = (double)steps / spent;
    }
    report("steps", STEP_ROWS, rates);
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
    random_rows(&b);
    uint64_t start = ebm_clock_ns();
    must(b.ops->plan_new(ebm_model_net(b.model), ebm_model_params(b.model), 0, &plan, &error), &error, "plan");
    printf("plan, self-test included: %.2f ms\n", (double)(ebm_clock_ns() - start) * 1e-6);
    for (size_t i = 0; i < EBM_COUNT_OF(batches); i++)
        bench_predict(&b, plan, batches[i]);
    bench_train(&b);
    (void)b.ops->plan_unref(plan);
    (void)ebm_model_unref(b.model);
    free(b.x), free(b.y);
    return 0;
}
