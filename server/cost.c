/* cost.c - a line for each estimator, by the fastest of a few runs at two points; then a running factor.
 *
 *   row_ns + numbers x number_ns    measured alone: one row that asks for few numbers, one row that asks for many
 *   batch_ns                        one row beside several together: what they share
 *   factor                          1, then drawn by a sixteenth towards what each real batch took
 *
 * Does not know: jobs, threads. */
#include "server/cost.h"

#include <math.h>

#include "core/clock.h"

#define FEW 256u
#define MANY 1024u
#define ROWS 16u
#define RUNS 5u
#define LONG_NS 5000000u /* of all runs together */
#define LEARNING 0.0625  /* of a batch's surprise */
#define SURPRISE 4.0     /* at most believed of one batch: threads are interrupted */
#define ARENA_BYTES (64u << 20)

void cost_init(struct cost *cost)
{
    *cost = (struct cost){.batch_ns = 0.0};
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++)
        atomic_init(&cost->factor[i], 1.0);
}

void cost_copy(struct cost *cost, const struct cost *from)
{
    cost_init(cost);
    cost->batch_ns = from->batch_ns;
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++) {
        cost->row_ns[i] = from->row_ns[i];
        cost->number_ns[i] = from->number_ns[i];
        atomic_init(&cost->factor[i], atomic_load_explicit(&from->factor[i], memory_order_relaxed));
    }
}

/* ---- asking ---- */

double cost_of_row(const struct cost *cost, enum ebm_estimator estimator, uint64_t numbers)
{
    double factor = atomic_load_explicit(&cost->factor[estimator], memory_order_relaxed);
    return (cost->row_ns[estimator] + (double)numbers * cost->number_ns[estimator]) * factor;
}

void cost_learn(struct cost *cost, enum ebm_estimator estimator, double expected_ns, double took_ns)
{
    if (!(expected_ns > 0.0))
        return;
    double surprise = fmin(fmax(took_ns / expected_ns, 1.0 / SURPRISE), SURPRISE);
    double factor = atomic_load_explicit(&cost->factor[estimator], memory_order_relaxed);
    factor *= 1.0 + LEARNING * (surprise - 1.0); /* of two at once one may be lost: there are more */
    atomic_store_explicit(&cost->factor[estimator], factor, memory_order_relaxed);
}

/* ---- measuring ---- */

struct measuring {
    struct ebm_engine *engine;
    const struct ebm_model *model;
    const struct ebm_plan *plan;
};

/* Rows of what training knew best, which ask for `numbers`: draws, or targets whose densities they want. */
static struct ebm_query query_of(enum ebm_estimator estimator, uint32_t numbers)
{
    static const enum ebm_choice choices[COST_ESTIMATORS] = {
        [EBM_ESTIMATE_IMPORTANCE] = EBM_CHOICE_IMPORTANCE,
        [EBM_ESTIMATE_MIXTURE] = EBM_CHOICE_MIXTURE,
        [EBM_ESTIMATE_EXACT] = EBM_CHOICE_EXACT,
        [EBM_ESTIMATE_QUADRATURE] = EBM_CHOICE_QUADRATURE,
    };
    bool draws = estimator == EBM_ESTIMATE_IMPORTANCE;
    return (struct ebm_query){
        .choice = choices[estimator],
        .outputs = EBM_OUTPUT(MEAN) | EBM_OUTPUT(STD) | (!draws && numbers > 0 ? EBM_OUTPUT(LOG_PROB) : 0),
        .num_samples = draws ? numbers : 1,
        .scheme = EBM_SCHEME_SOBOL,
        .n_targets = draws ? 0 : numbers,
    };
}

/* CPU time, so that what else the machine does is not counted; the first run also warms caches. */
static double fastest_ns(const struct measuring *m, const struct ebm_item *items, uint32_t n)
{
    double best_ns = 0.0, sum_ns = 0.0;
    for (uint32_t run = 0; run < 2 || (run < RUNS && sum_ns < LONG_NS); run++) {
        uint64_t start_ns = ebm_clock_thread_ns();
        if (ebm_engine_predict(m->engine, m->model, m->plan, items, n) != EBM_OK)
            return 0.0;
        double took_ns = (double)(ebm_clock_thread_ns() - start_ns);
        best_ns = run == 0 || took_ns < best_ns ? took_ns : best_ns;
        sum_ns += took_ns;
    }
    return best_ns;
}

/* n rows together; 0: it cannot be done. */
static double time_rows(const struct measuring *m, enum ebm_estimator estimator, uint32_t numbers, uint32_t n)
{
    const struct ebm_config *config = ebm_model_config(m->model);
    struct ebm_query query = query_of(estimator, numbers);
    struct ebm_resolved_query resolved;
    struct ebm_prediction predictions[ROWS];
    struct ebm_item items[ROWS];
    struct ebm_arena arena;
    struct ebm_error error;
    double took_ns = 0.0;
    ebm_arena_init(&arena, ARENA_BYTES);
    const double *targets = ebm_arena_alloc(&arena, (size_t)query.n_targets * config->target.dim, sizeof *targets);
    if (targets && ebm_query_resolve(&query, m->model, &arena, &resolved, &error) == EBM_OK &&
        ebm_prediction_init(predictions, n, &resolved, m->model, &arena) == EBM_OK) {
        for (uint32_t i = 0; i < n; i++)
            items[i] = (struct ebm_item){.x = config->input.mean,
                                         .targets = query.n_targets > 0 ? targets : NULL,
                                         .row_in_request = i,
                                         .resolved = &resolved,
                                         .out = &predictions[i]};
        took_ns = fastest_ns(m, items, n);
    }
    ebm_arena_done(&arena);
    return took_ns;
}

static void measure_estimator(struct cost *cost, const struct measuring *m, enum ebm_estimator estimator)
{
    uint32_t D = ebm_model_net(m->model)->D;
    uint32_t few = estimator == EBM_ESTIMATE_IMPORTANCE ? FEW : 0, many = few > 0 ? MANY : FEW;
    double few_ns = time_rows(m, estimator, few, 1), many_ns = few_ns > 0.0 ? time_rows(m, estimator, many, 1) : 0.0;
    double number_ns = many_ns > few_ns ? (many_ns - few_ns) / ((double)(many - few) * D) : 0.0;
    cost->number_ns[estimator] = number_ns;
    cost->row_ns[estimator] = few_ns > 0.0 ? fmax(few_ns - number_ns * few * D, few_ns / MANY) : 0.0;
}

void cost_measure(struct cost *cost, struct ebm_engine *engine, const struct ebm_model *model,
                  const struct ebm_plan *plan, uint32_t max_rows)
{
    struct measuring m = {engine, model, plan};
    const struct ebm_net_desc *net = ebm_model_net(model);
    enum ebm_estimator usual = ebm_estimator_auto(net);
    uint32_t n = max_rows < ROWS ? max_rows : ROWS, numbers = usual == EBM_ESTIMATE_IMPORTANCE ? MANY : 0;
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++)
        if (ebm_estimator_applies(net, i))
            measure_estimator(cost, &m, i);
    double alone_ns = time_rows(&m, usual, numbers, 1), all_ns = n > 1 ? time_rows(&m, usual, numbers, n) : 0.0;
    double row_ns = all_ns > alone_ns ? (all_ns - alone_ns) / (n - 1) : alone_ns;
    cost->batch_ns = fmax(alone_ns - row_ns, 0.0);
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++) /* what a batch shares is not the row's */
        if (cost->batch_ns < cost->row_ns[i])
            cost->row_ns[i] -= cost->batch_ns;
}
