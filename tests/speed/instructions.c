/* instructions.c - fixed work whose machine instructions callgrind counts (instructions.py): answers to rows, training
 * steps, JSON in and out. A dump a case, with its name.
 *
 *   instructions T.safetensors W.safetensors      of tests/networks.py
 *
 * Every case runs once before it is counted: tables, caches and lazily bound symbols are no part of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "bench/training.h"
#include "models/estimate.h"
#include "proto/answer.h"

#define MOST_SAMPLES 1024u
#define MOST_ROWS 4u
#define TRAINED_ROWS 8u
#define INPUTS 16u
#define GRID 256u

struct subject {
    struct ebm_model *model;
    struct ebm_plan *plan;
    struct training *nce_kl, *ml_exact;
};

struct work {
    struct ebm_engine *engine;
    struct subject T, W;
    float x[TRAINED_ROWS * INPUTS], y[TRAINED_ROWS]; /* to train on */
    double inputs[MOST_ROWS * INPUTS], grid[GRID];   /* to ask */
};

static void must(enum ebm_status status, const struct ebm_error *error, const char *what)
{
    training_must(status, error, what);
}

/* `rows` rows of one query, from the query to answers in the target's unit. */
static void answer(struct work *work, struct subject *subject, struct ebm_query query, uint32_t rows)
{
    static const double probabilities[] = {0.05, 0.5, 0.95};
    struct ebm_resolved_query resolved;
    struct ebm_prediction out[MOST_ROWS];
    struct ebm_item items[MOST_ROWS];
    struct ebm_error error = {0};
    struct ebm_arena arena;
    uint32_t X = ebm_model_net(subject->model)->X;
    ebm_arena_init(&arena, 1u << 24);
    query.seed = 1;
    if (query.outputs & EBM_OUTPUT(QUANTILES))
        query.n_quantiles = EBM_COUNT_OF(probabilities), query.quantiles = probabilities;
    must(ebm_query_resolve(&query, subject->model, &arena, &resolved, &error), &error, "query");
    must(ebm_prediction_init(out, rows, &resolved, subject->model, &arena), &error, "prediction");
    for (uint32_t i = 0; i < rows; i++)
        items[i] = (struct ebm_item){.x = work->inputs + (size_t)i * X,
                                     .targets = work->grid,
                                     .row_in_request = i,
                                     .resolved = &resolved,
                                     .out = &out[i]};
    must(ebm_engine_predict(work->engine, subject->model, subject->plan, items, rows), &error, "predict");
    ebm_arena_done(&arena);
}

/* A body of three rows is read, an answer of as many written. */
static void json(void)
{
    static const char body[] =
        "{\"model\":\"W\",\"inputs\":[[0.1,-0.2,0.3,-0.4,0.5,-0.6,0.7,-0.8],[0.37,1e-3,0.25,-1.75,12.5,0,1,2],"
        "[-0.123456789,0.987654321,3,4,5,6,7,8]],\"outputs\":[\"mean\",\"std\",\"quantiles\"],\"seed\":1,"
        "\"quantiles\":[0.05,0.5,0.95],\"estimator\":\"exact\",\"timeout_ms\":1000,\"id\":\"abc\"}";
    static const double mean = 0.123456789012, std = 1.75, quantiles[] = {-1.2345678, 0.1, 2.7182818};
    const struct request_limits limits = {65536, 65536, 1000, 30000};
    struct ebm_error error = {0};
    struct ebm_arena arena;
    struct request request;
    struct ebm_buf buf;
    ebm_arena_init(&arena, 1u << 24);
    ebm_buf_init(&buf, 1u << 20);
    must(request_read(REQUEST_PREDICT, body, strlen(body), &limits, &arena, &request, &error), &error, "request");
    struct answer all = {
        .model = "W", .version = 1, .seed = 1, .D = 1, .quantiles = request.quantiles, .digits = 9, .id = request.id};
    struct answer_row row = {.mean = &mean,
                             .std = &std,
                             .quantiles = quantiles,
                             .estimator = "exact",
                             .integrated = true,
                             .pieces = 22,
                             .reliable = true};
    answer_begin(&buf, &all);
    for (uint32_t i = 0; i < request.inputs.n; i++)
        answer_add_row(&buf, &all, &row, i);
    must(answer_end(&buf), &error, "answer");
    ebm_buf_done(&buf);
    ebm_arena_done(&arena);
}

/* clang-format off */
#define MOMENTS (EBM_OUTPUT(MEAN) | EBM_OUTPUT(STD))
#define SPREAD (EBM_OUTPUT(QUANTILES) | EBM_OUTPUT(INTERVAL))
#define ASK(model, rows, ...) answer(work, &work->model, (struct ebm_query){__VA_ARGS__}, rows)
#define CASE_MAP(X)                                                                                                    \
    X(T_exact, ASK(T, 4, .choice = EBM_CHOICE_EXACT, .outputs = MOMENTS | SPREAD, .interval_level = 0.9))              \
    X(T_quadrature, ASK(T, 2, .choice = EBM_CHOICE_QUADRATURE, .outputs = MOMENTS))                                    \
    X(T_importance, ASK(T, 2, .choice = EBM_CHOICE_IMPORTANCE, .outputs = MOMENTS, .num_samples = MOST_SAMPLES))       \
    X(T_sobol, ASK(T, 2, .choice = EBM_CHOICE_IMPORTANCE, .outputs = MOMENTS, .num_samples = MOST_SAMPLES,             \
                   .scheme = EBM_SCHEME_SOBOL))                                                                        \
    X(T_sample, ASK(T, 1, .choice = EBM_CHOICE_EXACT, .outputs = EBM_OUTPUT(SAMPLES), .n_fair = 500))                  \
    X(T_density, ASK(T, 2, .choice = EBM_CHOICE_EXACT, .outputs = EBM_OUTPUT(LOG_PROB), .n_targets = GRID))            \
    X(W_exact, ASK(W, 4, .choice = EBM_CHOICE_EXACT, .outputs = MOMENTS))                                              \
    X(W_importance, ASK(W, 1, .choice = EBM_CHOICE_IMPORTANCE, .outputs = MOMENTS, .num_samples = MOST_SAMPLES))       \
    X(T_nce_kl_step, training_step(work->T.nce_kl, TRAINED_ROWS, work->x, work->y))                                    \
    X(T_ml_exact_step, training_step(work->T.ml_exact, TRAINED_ROWS, work->x, work->y))                                \
    X(W_nce_kl_step, training_step(work->W.nce_kl, TRAINED_ROWS, work->x, work->y))                                    \
    X(W_ml_exact_step, training_step(work->W.ml_exact, TRAINED_ROWS, work->x, work->y))                                \
    X(json, (void)work; json())
/* clang-format on */

#define X(name, run)                                                                                                   \
    static void run_##name(struct work *work)                                                                          \
    {                                                                                                                  \
        run;                                                                                                           \
    }
CASE_MAP(X)
#undef X

static void count(struct work *work, void (*run)(struct work *), const char *name)
{
    run(work);
    CALLGRIND_ZERO_STATS;
    run(work);
    CALLGRIND_DUMP_STATS_AT(name);
}

static void open_model(struct work *work, struct subject *subject, const char *path)
{
    struct ebm_error error = {0};
    must(ebm_model_load(path, LIMIT_FILE_BYTES, &subject->model, &error), &error, path);
    must(ebm_device_cpu()->plan_new(ebm_model_net(subject->model), ebm_model_params(subject->model), 0, &subject->plan,
                                    &error),
         &error, path);
    must(ebm_engine_prepare(work->engine, subject->model, subject->plan, &error), &error, path);
    subject->nce_kl = training_new(subject->model, "nce_kl", 256);
    subject->ml_exact = training_new(subject->model, "ml_exact", 0);
}

static void close_model(struct subject *subject)
{
    training_free(subject->nce_kl);
    training_free(subject->ml_exact);
    (void)ebm_device_cpu()->plan_unref(subject->plan);
    (void)ebm_model_unref(subject->model);
}

int main(int argc, char **argv)
{
    static struct work work;
    const struct ebm_ctx_limits limits = {.max_rows = MOST_ROWS, .max_samples = MOST_SAMPLES};
    struct ebm_error error = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: instructions T.safetensors W.safetensors\n");
        return 2;
    }
    ebm_device_thread_init();
    must(ebm_engine_new(ebm_device_cpu(), &limits, &work.engine, &error), &error, "engine");
    open_model(&work, &work.T, argv[1]);
    open_model(&work, &work.W, argv[2]);
    random_numbers(work.x, EBM_COUNT_OF(work.x), 0);
    random_numbers(work.y, EBM_COUNT_OF(work.y), 1);
    for (uint32_t i = 0; i < EBM_COUNT_OF(work.inputs); i++)
        work.inputs[i] = (double)work.x[i];
    for (uint32_t i = 0; i < GRID; i++)
        work.grid[i] = 6.0 * i / GRID - 3.0;
#define X(name, run) count(&work, run_##name, #name);
    CASE_MAP(X)
#undef X
    close_model(&work.T);
    close_model(&work.W);
    (void)ebm_engine_free(work.engine);
    return 0;
}
