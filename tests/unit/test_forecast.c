/* test_forecast.c - what is said of a training before it begins, beside what it then takes. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/forecast.h"
#include "trainer/pool.h"
#include "trainer/step.h"

static char root[64];

static void set_up(void)
{
    (void)snprintf(root, sizeof root, "/tmp/ebm-forecast-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(forecast, .init = set_up, .fini = tear_down);

static void write_rows(uint32_t n)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/rows.csv", root);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    (void)fputs("a,b,y\n", file);
    for (uint32_t i = 0; i < n; i++)
        (void)fprintf(file, "%u,%u,%u\n", i, i * i % 17, i % 31);
    cr_assert_eq(fclose(file), 0);
}

static const char text[] =
    "{\"data\": {\"file\": \"rows.csv\", \"validation\": 0.25}, \"model\": {"
    "\"feature_net\": [{\"type\": \"linear\", \"out\": 96, \"activation\": \"tanh\"}, "
    "{\"type\": \"linear\", \"out\": 96, \"activation\": \"relu\"}], "
    "\"target_net\": [{\"type\": \"linear\", \"out\": 64, \"activation\": \"silu\"}], "
    "\"energy_net\": [{\"type\": \"linear\", \"out\": 128, \"activation\": \"relu\"}, {\"type\": \"linear\"}], "
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 4, \"mean_net\": [{\"type\": \"linear\"}], "
    "\"log_variance_net\": [{\"type\": \"linear\"}], \"weight_net\": [{\"type\": \"linear\"}]}}, "
    "\"training\": {\"epochs\": 7, \"samples\": 700, \"batch_size\": 48, \"warmup_epochs\": 2}}";

static void make(struct setup *setup)
{
    struct ebm_error error = {.text = ""};
    enum ebm_status status = options_parse(text, "config.json", root, NULL, 0, NULL, &setup->options, &error);
    if (status == EBM_OK)
        status = setup_make(setup, &error);
    cr_assert_eq(status, EBM_OK, "%s: %s", error.where, error.text);
}

static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Without an allocator that counts (a sanitizer's does not) there is nothing to compare. */
Test(forecast, memory_is_about_what_a_run_takes)
{
    const struct ebm_device_ops *ops = ebm_device_cpu();
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    struct ebm_error error = {.text = ""};
    struct ebm_plan *plan = NULL;
    struct pool *pool = NULL;
    write_rows(200);
    make(&setup);
    struct forecast_memory memory = forecast_memory(&setup, 3, false);
    struct ebm_ctx_limits limits = forecast_limits(&setup);
    float *params = calloc(setup.config->net.n_params, sizeof *params);
    size_t before = allocated();
    cr_assert_eq(ops->plan_new(&setup.config->net, params, STEP_CHUNKS, &plan, &error), EBM_OK, "%s", error.text);
    size_t with_plan = allocated();
    cr_assert_eq(pool_new(ops, &limits, plan, 3, &pool, &error), EBM_OK, "%s", error.text);
    size_t with_pool = allocated();
    printf("plan: %zu bytes of %llu foreseen with a checkpoint; 3 contexts: %zu, foreseen %llu\n", with_plan - before,
           (unsigned long long)memory.parameters, with_pool - with_plan, (unsigned long long)memory.threads);
    if (with_plan > before) {
        cr_assert_gt(memory.parameters, (with_plan - before) * 9 / 10);
        cr_assert_lt(memory.parameters, (with_plan - before) * 3 / 2);
        cr_assert_gt(memory.threads, (with_pool - with_plan) * 9 / 10);
        cr_assert_lt(memory.threads, (with_pool - with_plan) * 12 / 10);
    }
    (void)pool_free(pool);
    (void)ops->plan_unref(plan);
    free(params);
}

Test(forecast, says_steps_phases_and_files)
{
    static const char *const says[] = {
        "4 of 48 rows an epoch, 7 epochs: 28 in all; seed 0\n",
        "epochs 1 to 2: warm-up trains proposal\n",
        "epochs 3 to 7: nce_kl, 700 draws a row, trains features, target net, energy, proposal\n",
        "out/model.safetensors, about",
        "out/checkpoint.safetensors, about",
    };
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, 65536);
    write_rows(200);
    make(&setup);
    forecast_text(&setup, 2, FORECAST_CPU, "out", &buf);
    cr_assert_eq(buf.status, EBM_OK);
    for (size_t i = 0; i < EBM_COUNT_OF(says); i++)
        cr_assert_not_null(strstr(buf.bytes, says[i]), "'%s' is not in:\n%s", says[i], buf.bytes);
}

/* Both memories are told where a training computes on a GPU, and both ways where nobody knows yet. */
Test(forecast, says_what_a_gpu_takes)
{
    static const struct {
        enum forecast_where where;
        bool device;
        uint32_t lines; /* of the host's memory */
    } cases[] = {{FORECAST_CPU, false, 1}, {FORECAST_GPU, true, 1}, {FORECAST_EITHER, true, 2}};
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    write_rows(200);
    make(&setup);
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
        uint32_t lines = 0;
        ebm_buf_init(&buf, 65536);
        forecast_text(&setup, 2, cases[i].where, NULL, &buf);
        for (const char *at = buf.bytes; (at = strstr(at, "memory   about")) != NULL; at++)
            lines++;
        cr_expect_eq(lines, cases[i].lines, "%s", buf.bytes);
        cr_expect_eq(strstr(buf.bytes, "of a GPU about") != NULL, cases[i].device, "%s", buf.bytes);
    }
    struct forecast_memory here = forecast_memory(&setup, 2, false), there = forecast_memory(&setup, 2, true);
    size_t P = setup.config->net.n_params * sizeof(float);
    cr_expect_eq(here.device.parameters + here.device.threads, 0);
    cr_expect_geq(there.device.parameters, (4 + STEP_CHUNKS) * P);
    cr_expect_geq(there.device.threads, 2 * P);
    cr_expect_eq(there.parameters, here.parameters, "the host keeps its own");
    cr_expect_gt(there.threads, here.threads, "and has pinned memory");
}

/* What --print-config prints is a configuration with the same effect. */
Test(forecast, the_complete_configuration_reads_back)
{
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    EBM_AUTO(ebm_freep) char *model = NULL;
    EBM_AUTO(ebm_freep) char *complete = NULL;
    struct ebm_error error = {.text = ""};
    struct options *again = NULL;
    write_rows(40);
    make(&setup);
    cr_assert_eq(ebm_config_text(setup.config, &model, &error), EBM_OK);
    cr_assert_eq(options_complete(setup.options, model, &complete, &error), EBM_OK, "%s", error.text);
    cr_assert_not_null(strstr(complete, "\"collapse_std\": 0.0001"), "%s", complete);
    cr_assert_not_null(strstr(complete, "\"in\": 96, \"out\": 96"), "sizes are filled in: %s", complete);
    cr_assert_not_null(strstr(complete, "\"split_file\": null"), "%s", complete);
    cr_assert_null(strstr(complete, "\"mean\""), "statistics follow the data: %s", complete);
    cr_assert_eq(options_parse(complete, "complete", "/", NULL, 0, NULL, &again, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    cr_assert_str_eq(again->recorded, setup.options->recorded);
    (void)options_free(again);
}
