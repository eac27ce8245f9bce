/* device.c - what the CPU device reaches without HTTP, on one thread:
 *
 *   bench-device MODEL.safetensors [SAMPLES [SECONDS [WHAT ...]]]
 *
 *   answers    predictions/s (mean and std by importance with independent draws) at several batch sizes; the same by
 *              each estimator that applies, in turn, so that their ratios suffer little from a noisy machine
 *   score      f at SAMPLES targets, and how much arithmetic a second that is
 *   nce_kl     training steps/s of 32 rows, and their arithmetic
 *   ml_exact   training steps/s of 32 rows, the energy alone
 *   nce_kl_heads, ml_exact_heads   the same while only the heads learn
 *   nce_kl_kept, ml_exact_kept     the same by features that were computed before; of these four WHAT has to name each
 *
 * Without WHAT all that applies. Prints the median and the range of five rounds; steps are told a second of CPU time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cpu_time.h"
#include "bench/training.h"
#include "core/clock.h"
#include "core/order.h"
#include "models/estimate.h"

#define ROUNDS 5
#define STEP_ROWS 32

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

static void report(const char *what, uint32_t rows, double *rates)
{
    qsort(rates, ROUNDS, sizeof *rates, ebm_order_doubles);
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

/* ---- how much arithmetic that is ---- */

static double products(struct ebm_net net, uint32_t skipped_inputs)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < net.n_layers; i++)
        sum += (double)net.layers[i].out * (net.layers[i].in - (i == 0 ? skipped_inputs : 0));
    return sum;
}

/* FLOP of f at one target, what is done once a row apart. */
static double score_flop(const struct ebm_net_desc *net)
{
    return 2.0 * (products(net->target, 0) + products(net->energy, net->H));
}

/* FLOP of a step by nce_kl: forward, and twice as much backward. */
static double step_flop(const struct ebm_net_desc *net, uint32_t samples)
{
    double row = products(net->feature, 0) + (double)net->energy.layers[0].out * net->H + products(net->mean, 0) +
                 products(net->log_variance, 0) + products(net->weight, 0);
    return 3.0 * STEP_ROWS * (2.0 * row + (samples + 1.0) * score_flop(net));
}

static void bench_score(struct bench *b, struct ebm_plan *plan)
{
    struct predictor p = predictor_new(b, plan, 1);
    struct ebm_row row = {.seed = 1, .samples = b->samples};
    double rates[ROUNDS];
    must(b->ops->features(p.ctx, plan, b->x, 1), NULL, "features");
    must(b->ops->propose(p.ctx, 0, &row, NULL), NULL, "propose");
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = ebm_clock_ns(), calls = 0;
        double spent = 0.0;
        for (; spent < b->seconds; calls++, spent = (double)(ebm_clock_ns() - start) * 1e-9)
            must(b->ops->score(p.ctx, false), NULL, "score");
        rates[round] = (double)calls / spent;
    }
    report("score", 1, rates);
    printf("%20.1f GFLOP/s\n", rates[ROUNDS / 2] * b->samples * score_flop(ebm_model_net(b->model)) * 1e-9);
    predictor_free(b, &p);
}

/* ALL: trunk and heads learn; HEADS: heads alone; KEPT: these, by features that are known. */
enum learning { ALL, HEADS, KEPT };

static void bench_steps(struct bench *b, const char *method, enum learning learning)
{
    static const char *const words[] = {[HEADS] = "heads alone", [KEPT] = "kept"};
    bool draws = strcmp(method, "nce_kl") == 0;
    struct training *t = training_new(b->model, method, draws ? b->samples : 0);
    struct method_phase *phase = &t->method.phases[0];
    phase->trains[EBM_PART_FEATURE] = learning == ALL;
    double rates[ROUNDS];
    if (learning == KEPT) {
        random_numbers(t->reach, (size_t)STEP_ROWS * ebm_model_net(b->model)->trunk.out, 2);
        t->kept = t->reach;
    }
    training_step(t, STEP_ROWS, b->x, b->y);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t steps = 0;
        double start = cpu_seconds(), spent = 0.0;
        for (; spent < b->seconds; steps++, spent = cpu_seconds() - start)
            training_step(t, STEP_ROWS, b->x, b->y);
        rates[round] = (double)steps / spent;
    }
    report(learning == ALL ? method : words[learning], STEP_ROWS, rates);
    if (draws && learning == ALL)
        printf("%20.1f GFLOP/s\n", rates[ROUNDS / 2] * step_flop(ebm_model_net(b->model), b->samples) * 1e-9);
    training_free(t);
}

static void bench_answers(struct bench *b, struct ebm_plan *plan)
{
    static const uint32_t batches[] = {1, 8, 32};
    bool draws = ebm_estimator_applies(ebm_model_net(b->model), EBM_ESTIMATE_IMPORTANCE);
    for (size_t i = 0; draws && i < EBM_COUNT_OF(batches); i++)
        bench_predict(b, plan, batches[i]);
    bench_estimators(b, plan, STEP_ROWS);
}

/* A method, and who learns by it. False as of bench_one. */
static bool bench_method(struct bench *b, const char *what)
{
    static const char *const ends[] = {[ALL] = "", [HEADS] = "_heads", [KEPT] = "_kept"};
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    const char *method = strncmp(what, "nce_kl", 6) == 0 ? "nce_kl" : "ml_exact", *end = what + strlen(method);
    if (!net->has_energy || strncmp(what, method, strlen(method)) != 0)
        return false;
    if (strcmp(method, "nce_kl") == 0 ? net->K == 0 : net->D != 1)
        return false;
    for (enum learning learning = ALL; learning <= KEPT; learning++)
        if (strcmp(end, ends[learning]) == 0 && (learning != KEPT || net->trunk.n_ops > 0)) {
            bench_steps(b, method, learning);
            return true;
        }
    return false;
}

/* False: no such word, or not of this model. */
static bool bench_one(struct bench *b, struct ebm_plan *plan, const char *what)
{
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    if (strcmp(what, "answers") == 0)
        bench_answers(b, plan);
    else if (strcmp(what, "score") == 0 && net->has_energy && net->K > 0)
        bench_score(b, plan);
    else
        return bench_method(b, what);
    return true;
}

static void random_rows(struct bench *b)
{
    const struct ebm_net_desc *net = ebm_model_net(b->model);
    size_t nx = (size_t)b->rows * net->X, ny = (size_t)b->rows * net->D;
    b->x = calloc(nx, sizeof *b->x);
    b->y = calloc(ny, sizeof *b->y);
    if (b->x == NULL || b->y == NULL)
        exit(1);
    random_numbers(b->x, nx, 0);
    random_numbers(b->y, ny, 1);
}

int main(int argc, char **argv)
{
    static const char *const everything[] = {"answers", "score", "nce_kl", "ml_exact"};
    struct ebm_error error = {0};
    struct ebm_plan *plan = NULL;
    struct bench b = {.ops = ebm_device_cpu(), .samples = 1024, .rows = STEP_ROWS, .seconds = 0.4};
    if (argc < 2) {
        fprintf(stderr, "usage: bench-device MODEL.safetensors [SAMPLES [SECONDS [WHAT ...]]]\n");
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
    for (size_t i = 0; argc <= 4 && i < EBM_COUNT_OF(everything); i++)
        (void)bench_one(&b, plan, everything[i]);
    for (int i = 4; i < argc; i++)
        if (!bench_one(&b, plan, argv[i]))
            fprintf(stderr, "bench-device: no '%s' of %s\n", argv[i], argv[1]);
    (void)b.ops->plan_unref(plan);
    (void)ebm_model_unref(b.model);
    free(b.x), free(b.y);
    return 0;
}
