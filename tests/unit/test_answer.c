/* test_answer.c - answers as documented, bounds that hold, a description that is JSON. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "proto/answer.h"
#include "proto/json_read.h"
#include "proto/openapi.h"

static const double two[] = {1.5, -2}, quantile_values[] = {1, 2, 3, NAN}, probabilities[] = {0.05, 0.5}, log_z = -0.25;

static const struct answer head_of_two = {
    .model = "m", .version = 3, .id = "a\"b", .seed = 7, .D = 2, .quantiles = {2, probabilities}, .digits = 9};

static char *write_one(const struct answer *head, const struct answer_row *row)
{
    static char text[4096];
    struct ebm_buf buf;
    ebm_buf_init(&buf, sizeof text - 1);
    answer_begin(&buf, head);
    answer_add_row(&buf, head, row, 0);
    cr_assert_eq(answer_end(&buf), EBM_OK);
    (void)snprintf(text, sizeof text, "%s", buf.bytes);
    ebm_buf_done(&buf);
    return text;
}

Test(answer, an_importance_answer_as_documented)
{
    struct answer_row row = {.mean = two,
                             .std = two,
                             .variance = two,
                             .median = two,
                             .quantiles = quantile_values,
                             .log_normalizer = &log_z,
                             .estimator = "importance",
                             .drew = true,
                             .proper = true,
                             .num_samples = 1024,
                             .ess = 512,
                             .max_weight = 0.125,
                             .mcse_mean = two,
                             .pareto_k = 0.25,
                             .reliable = false,
                             .reason = "low_ess"};
    const char *expected =
        "{\"model\":\"m\",\"version\":3,\"id\":\"a\\\"b\",\"seed\":7,\"predictions\":[{\"mean\":[1.5,-2],"
        "\"std\":[1.5,-2],\"variance\":[1.5,-2],\"median\":[1.5,-2],"
        "\"quantiles\":[{\"probability\":0.05,\"value\":[1,2]},{\"probability\":0.5,\"value\":[3,null]}],"
        "\"log_normalizer\":-0.25,\"diagnostics\":{\"estimator\":\"importance\","
        "\"num_samples\":1024,\"ess\":512,\"ess_ratio\":0.5,\"max_weight\":0.125,\"mcse_mean\":[1.5,-2],"
        "\"pareto_k\":0.25,\"proper\":true,\"reliable\":false,\"reason\":\"low_ess\"}}]}\n";
    char *text = write_one(&head_of_two, &row);
    cr_assert_str_eq(text, expected, "%s", text);
}

Test(answer, a_mixture_answer_says_what_it_ignored)
{
    struct answer_row row = {.mean = two, .estimator = "mixture", .reliable = true};
    struct answer head = head_of_two;
    head.id = NULL;
    char *text = write_one(&head, &row);
    cr_assert_str_eq(text,
                     "{\"model\":\"m\",\"version\":3,\"seed\":7,\"predictions\":[{\"mean\":[1.5,-2],\"diagnostics\":"
                     "{\"estimator\":\"mixture\",\"reliable\":true,\"reason\":null}}]}\n",
                     "%s", text);
    head.ignored = "num_samples";
    text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "\"mixture\",\"num_samples_ignored\":true,"), "%s", text);
}

Test(answer, the_bound_holds_for_the_longest_numbers)
{
    enum { ROWS = 3, D = LIMIT_TARGET_DIM, Q = LIMIT_QUANTILES };
    static double numbers[2 * Q * D], p[Q];
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++)
        numbers[i] = -1.2345678901234567e-300;
    for (size_t q = 0; q < Q; q++)
        p[q] = 0.12345678901234567 + 1e-9 * (double)q;
    struct request request = {.inputs = {.n = ROWS},
                              .outputs = (1u << REQUEST_PREDICT_OUTPUTS) - 1,
                              .quantiles = {Q, p},
                              .interval_kind = REQUEST_INTERVAL_HIGHEST_DENSITY,
                              .cdf = {.n = Q},
                              .crps_at = {.n = Q}};
    struct answer head = {.model = "m",
                          .version = REQUEST_MAX_SEED,
                          .seed = REQUEST_MAX_SEED,
                          .D = D,
                          .n_cdf = Q,
                          .n_crps = Q,
                          .quantiles = {Q, p},
                          .interval_kind = "highest_density",
                          .digits = 17};
    struct answer_row row = {.mean = numbers,
                             .std = numbers,
                             .variance = numbers,
                             .median = numbers,
                             .quantiles = numbers,
                             .interval = numbers,
                             .n_intervals = LIMIT_INTERVALS,
                             .covariance = numbers,
                             .mode = numbers,
                             .entropy = numbers,
                             .cdf = numbers,
                             .crps = numbers,
                             .log_normalizer = numbers,
                             .estimator = "quadrature",
                             .drew = true,
                             .integrated = true,
                             .pieces = UINT32_MAX,
                             .support = {-1.0 / 3, -1.0 / 3},
                             .num_samples = LIMIT_SAMPLES,
                             .ess = 1.0 / 3,
                             .max_weight = 1.0 / 3,
                             .mcse_mean = numbers,
                             .reason = "dominant_weight"};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 64 << 20);
    answer_begin(&buf, &head);
    for (uint32_t i = 0; i < ROWS; i++)
        answer_add_row(&buf, &head, &row, i);
    cr_assert_eq(answer_end(&buf), EBM_OK);
    cr_assert_leq(buf.size, answer_bound(&request, D, head.digits), "%zu bytes, bound %zu", buf.size,
                  answer_bound(&request, D, head.digits));
    struct json_t *root = NULL;
    cr_assert_eq(json_read_parse(buf.bytes, buf.size, &(struct json_read_limits){100, 1 << 20}, &root, NULL), EBM_OK);
    json_read_freep(&root);
    ebm_buf_done(&buf);
}

Test(answer, the_bound_holds_for_samples_and_densities)
{
    enum { ROWS = 3, D = 3, N = 1000 };
    static double numbers[N * D];
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++)
        numbers[i] = -1.2345678901234567e-300;
    for (int weighted = 0; weighted < 3; weighted++) {
        struct request request = {.kind = weighted == 2 ? REQUEST_DENSITY : REQUEST_SAMPLE,
                                  .inputs = {.n = ROWS},
                                  .num_samples = weighted ? 1 : N,
                                  .num_draws = N,
                                  .resample = weighted == 0,
                                  .targets = {.n = weighted == 2 ? N : 0}};
        struct answer head = {
            .model = "m", .D = D, .n_samples = N, .n_targets = N, .interval_kind = "equal_tailed", .digits = 17};
        struct answer_row row = {.samples = numbers,
                                 .log_weights = weighted ? numbers : NULL,
                                 .estimator = "importance",
                                 .mcse_mean = numbers};
        if (weighted == 2)
            row = (struct answer_row){.targets = numbers,
                                      .unnormalized_log_prob = numbers,
                                      .log_prob = numbers,
                                      .proposal_log_prob = numbers,
                                      .log_normalizer = numbers,
                                      .log_normalizer_std_error = numbers,
                                      .estimator = "mixture"};
        struct ebm_buf buf;
        ebm_buf_init(&buf, 64 << 20);
        answer_begin(&buf, &head);
        for (uint32_t i = 0; i < ROWS; i++)
            answer_add_row(&buf, &head, &row, i);
        cr_assert_eq(answer_end(&buf), EBM_OK);
        cr_assert_leq(buf.size, answer_bound(&request, D, head.digits), "%zu bytes, bound %zu", buf.size,
                      answer_bound(&request, D, head.digits));
        ebm_buf_done(&buf);
    }
}

Test(answer, targets_of_all_rows_are_written_once_and_the_same)
{
    static const double targets[] = {-1.5, 0.1, 1.0 / 3};
    struct answer head = {.model = "m", .D = 1, .n_targets = 3, .interval_kind = "equal_tailed", .digits = 9};
    const struct answer_row row = {.targets = targets, .log_prob = targets, .estimator = "mixture"};
    struct ebm_buf own, shared, text;
    ebm_buf_init(&own, 4000);
    ebm_buf_init(&shared, 4000);
    ebm_buf_init(&text, 4000);
    answer_write_targets(&text, targets, 3, 1);
    cr_expect_str_eq(text.bytes, "[[-1.5],[0.1],[0.3333333333333333]]");
    answer_add_row(&own, &head, &row, 0);
    head.shared_targets = &text;
    answer_add_row(&shared, &head, &row, 0);
    cr_expect_str_eq(own.bytes, shared.bytes);
    ebm_buf_done(&own);
    ebm_buf_done(&shared);
    ebm_buf_done(&text);
}

Test(answer, refinements_as_documented_and_within_the_bound)
{
    enum { STEPS = 200, D = 2 };
    static double numbers[(STEPS + 1) * D];
    const bool yes = true;
    const uint32_t steps = STEPS;
    struct answer head = {.model = "m", .version = 1, .seed = 7, .D = 1, .digits = 9};
    struct answer_row row = {.mode = two, .mode_log_prob = &log_z, .converged = &yes, .steps = &steps};
    char *text = write_one(&head, &row);
    cr_assert_not_null(strstr(text,
                              "\"predictions\":[{\"mode\":[1.5],\"unnormalized_log_prob\":-0.25,\"converged\":true,"
                              "\"steps\":200}]}"),
                       "%s", text);
    for (size_t i = 0; i < EBM_COUNT_OF(numbers); i++)
        numbers[i] = -1.2345678901234567e-300;
    row.mode = row.trajectory = numbers;
    head = (struct answer){.model = "m", .D = D, .digits = 17};
    struct request request = {.kind = REQUEST_REFINE, .inputs = {.n = 1}, .steps = STEPS, .trajectory = true};
    struct ebm_buf buf;
    ebm_buf_init(&buf, 1 << 20);
    answer_begin(&buf, &head);
    answer_add_row(&buf, &head, &row, 0);
    cr_assert_eq(answer_end(&buf), EBM_OK);
    cr_assert_leq(buf.size, answer_bound(&request, D, 17));
    ebm_buf_done(&buf);
}

Test(answer, samples_and_densities_as_documented)
{
    struct answer head = {.model = "m", .version = 1, .seed = 7, .D = 1, .n_samples = 2, .n_targets = 2, .digits = 9};
    struct answer_row row = {.samples = two, .log_weights = two, .estimator = "importance", .reliable = true};
    char *text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "[{\"samples\":[[1.5],[-2]],\"log_weights\":[1.5,-2],\"diagnostics\":{"), "%s",
                       text);
    row = (struct answer_row){
        .targets = two, .log_prob = two, .log_normalizer = &log_z, .estimator = "mixture", .reliable = true};
    text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "[{\"targets\":[[1.5],[-2]],\"log_prob\":[1.5,-2],\"log_normalizer\":-0.25,"), "%s",
                       text);
    head.interval_kind = "equal_tailed";
    head.interval_level = 0.9;
    row = (struct answer_row){.interval = two, .n_intervals = 1, .estimator = "mixture", .reliable = true};
    text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "\"interval\":{\"kind\":\"equal_tailed\",\"level\":0.9,\"intervals\":"
                                    "[{\"lower\":[1.5],\"upper\":[-2]}]}"),
                       "%s", text);
}

Test(answer, an_exact_answer_as_documented)
{
    static const double four[] = {1, 2, 3.5, 4};
    struct answer head = {.model = "m",
                          .version = 1,
                          .seed = 7,
                          .D = 1,
                          .n_cdf = 2,
                          .n_crps = 1,
                          .interval_kind = "highest_density",
                          .interval_level = 0.9,
                          .digits = 9,
                          .ignored = "num_samples"};
    struct answer_row row = {.interval = four,
                             .n_intervals = 2,
                             .covariance = two,
                             .entropy = &log_z,
                             .cdf = two,
                             .crps = two,
                             .mode = two,
                             .estimator = "exact",
                             .integrated = true,
                             .pieces = 26,
                             .support = {-3, INFINITY},
                             .reliable = true};
    char *text = write_one(&head, &row);
    cr_assert_not_null(strstr(text, "[{\"interval\":{\"kind\":\"highest_density\",\"level\":0.9,\"intervals\":"
                                    "[{\"lower\":[1],\"upper\":[2]},{\"lower\":[3.5],\"upper\":[4]}]},"
                                    "\"covariance\":[[1.5]],\"entropy\":-0.25,\"cdf\":[1.5,-2],\"crps\":[1.5],"
                                    "\"mode\":[1.5],\"diagnostics\":{\"estimator\":\"exact\","
                                    "\"num_samples_ignored\":true,\"pieces\":26,\"support\":[-3,null],"
                                    "\"proper\":false,\"reliable\":true,\"reason\":null}}]"),
                       "%s", text);
}

Test(answer, the_description_of_the_interface_is_json)
{
    struct request_limits limits = {.max_rows = 10, .max_samples = 20, .max_steps = 20, .max_timeout_ms = 30};
    struct openapi_route routes[] = {{"/v2/models/*", "A model's page", "Model"},
                                     {"/v2/models/*/load", "Loads it", "Nothing", "ControlRequest"}};
    struct openapi_model models[] = {{3, 1, true, true, false, 31}, {12, 2, false, true, true, 5}};
    for (size_t i = 0; i <= EBM_COUNT_OF(models); i++) {
        struct openapi_info info = {"1.2.3", &limits, i < EBM_COUNT_OF(models) ? &models[i] : NULL, routes,
                                    EBM_COUNT_OF(routes)};
        struct ebm_buf buf;
        struct json_t *root = NULL;
        struct ebm_error error = {.status = EBM_OK};
        ebm_buf_init(&buf, 1 << 20);
        openapi_write(&buf, &info);
        cr_assert_eq(json_read_parse(buf.bytes, buf.size, &(struct json_read_limits){100, 1 << 20}, &root, &error),
                     EBM_OK, "%s: %s", error.where, error.text);
        cr_assert_not_null(strstr(buf.bytes, "\"/v2/models/{model}\":{\"get\""));
        const char *load = strstr(buf.bytes, "\"/v2/models/{model}/load\":{\"post\"");
        cr_assert_not_null(load);
        cr_assert_not_null(strstr(load, "\"#/components/schemas/ControlRequest\""));
        cr_assert_null(strstr(load, "\"#/components/schemas/Nothing\""));
        cr_assert_not_null(strstr(buf.bytes, "\"minItems\":1,\"maxItems\":10,\"items\":"), "limits are the server's");
        cr_assert_eq(strstr(buf.bytes, "\"enum\":[\"auto\",\"mixture\"]") != NULL, i == 1, "what the model allows");
        cr_assert_eq(strstr(buf.bytes, "\"b64\"") != NULL, i > 0, "images, where a model may read them");
        cr_assert_eq(strstr(buf.bytes, "\"image/png\"") != NULL, i == 1);
        json_read_freep(&root);
        ebm_buf_done(&buf);
    }
}
