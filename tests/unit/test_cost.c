/* test_cost.c - costs of rows: measured on a golden model, learnt from batches, and not believed all at once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "server/cost.h"

static void fill(struct cost *cost)
{
    cost_init(cost);
    cost->row_ns[EBM_ESTIMATE_EXACT] = 1000.0;
    cost->number_ns[EBM_ESTIMATE_EXACT] = 10.0;
    cost->batch_ns = 500.0;
}

Test(cost, a_row_costs_its_numbers_too)
{
    struct cost cost;
    fill(&cost);
    cr_expect_float_eq(cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 1000.0, 1e-9);
    cr_expect_float_eq(cost_of_row(&cost, EBM_ESTIMATE_EXACT, 64), 1640.0, 1e-9);
    cr_expect_eq(cost_of_row(&cost, EBM_ESTIMATE_IMPORTANCE, 1024), 0.0, "not measured");
}

Test(cost, batches_teach)
{
    struct cost cost, copy;
    fill(&cost);
    cost_learn(&cost, EBM_ESTIMATE_EXACT, 1000.0, 1e9); /* a thread that was interrupted */
    cr_expect_lt(cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 1200.0);
    for (int i = 0; i < 500; i++)
        cost_learn(&cost, EBM_ESTIMATE_EXACT, cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 3000.0);
    cr_expect_float_eq(cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 3000.0, 1.0);
    for (int i = 0; i < 500; i++)
        cost_learn(&cost, EBM_ESTIMATE_EXACT, cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 700.0);
    cr_expect_float_eq(cost_of_row(&cost, EBM_ESTIMATE_EXACT, 0), 700.0, 1.0);
    cost_learn(&cost, EBM_ESTIMATE_IMPORTANCE, 0.0, 1e6); /* nothing was expected */
    cost_copy(&copy, &cost);
    cr_expect_float_eq(cost_of_row(&copy, EBM_ESTIMATE_EXACT, 0), 700.0, 1.0);
    cr_expect_eq(copy.batch_ns, 500.0);
}

Test(cost, a_model_is_measured)
{
    const char *root = getenv("EBM_SOURCE_ROOT");
    char path[512];
    const uint32_t max_rows = 16;
    const struct ebm_device_ops *ops = ebm_device_cpu();
    struct ebm_ctx_limits limits = {.max_rows = max_rows, .max_samples = 4096};
    struct ebm_model *model = NULL;
    struct ebm_plan *plan = NULL;
    struct ebm_engine *engine = NULL;
    struct ebm_error error;
    struct cost cost;
    (void)snprintf(path, sizeof path, "%s/tests/golden/relu_1d/model.safetensors", root ? root : ".");
    cr_assert_eq(ebm_model_load(path, LIMIT_FILE_BYTES, &model, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(ops->plan_new(ebm_model_net(model), ebm_model_params(model), 0, &plan, &error), EBM_OK);
    cr_assert_eq(ebm_engine_new(ops, &limits, &engine, &error), EBM_OK);
    cr_assert_eq(ebm_engine_prepare(engine, model, plan, &error), EBM_OK);
    double few = 0.0, many = 0.0;
    for (uint32_t run = 0; run < 10 && !(many > 2.0 * few); run++) { /* again when the machine disturbed it */
        cost_init(&cost);
        cost_measure(&cost, engine, model, plan, max_rows);
        few = cost_of_row(&cost, EBM_ESTIMATE_IMPORTANCE, 16);
        many = cost_of_row(&cost, EBM_ESTIMATE_IMPORTANCE, 4096);
    }
    for (uint32_t i = 0; i < COST_ESTIMATORS; i++)
        cr_expect_eq(ebm_estimator_applies(ebm_model_net(model), i), cost.row_ns[i] > 0.0, "%s",
                     ebm_estimator_word((enum ebm_estimator)i));
    cr_expect(few > 0.0 && many > 2.0 * few && many < 1e9, "%g and %g ns", few, many);
    (void)ebm_engine_free(engine);
    (void)ops->plan_unref(plan);
    (void)ebm_model_unref(model);
}
