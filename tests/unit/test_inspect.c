/* test_inspect.c - a model's description as tables. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/inspect.h"

static const char text[] =
    "{\"format_version\": 1, \"name\": \"m\\u001b[2J\", \"input\": {\"kind\": \"vector\", \"shape\": [30]}, "
    "\"target\": {\"dim\": 2, \"names\": [\"height\", \"age\"], \"mean\": [1.5, 40], \"std\": [0.25, 12]}, "
    "\"feature_net\": [{\"type\": \"linear\", \"in\": 30, \"out\": 8, \"activation\": \"tanh\"}, "
    "{\"type\": \"linear\", \"in\": 8, \"out\": 8, \"activation\": \"relu\", \"residual\": true}], "
    "\"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 3, "
    "\"mean_net\": [{\"type\": \"linear\", \"in\": 8, \"out\": 6}], "
    "\"log_variance_net\": [{\"type\": \"linear\", \"in\": 8, \"out\": 6}], "
    "\"weight_net\": [{\"type\": \"linear\", \"in\": 8, \"out\": 3}]}, "
    "\"training\": {\"method\": \"mdn_nll\", \"learning_rate\": 0.1}}";

Test(inspect, shows_columns_layers_and_how_it_was_trained)
{
    static const char *const says[] = {
        "model     m?[2J\n",
        "mixture density network of 3 Gaussians",
        "asked by  mixture",
        "(no name)",
        "... 30 in all",
        "height                                 1.5          0.25",
        "feature_net.0                            30 -> 8  tanh                          248\n",
        "feature_net.1                             8 -> 8  relu     residual              72\n",
        "proposal.weight_net.0                     8 -> 3  identity                       27\n",
        " 455\n",
        "\"learning_rate\": 0.1",
    };
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = NULL;
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    struct ebm_error error;
    ebm_buf_init(&buf, 1 << 20);
    cr_assert_eq(ebm_config_parse(text, strlen(text), NULL, &config, &error), EBM_OK, "%s: %s", error.where,
                 error.text);
    inspect_text(config, &buf);
    cr_assert_eq(buf.status, EBM_OK);
    for (size_t i = 0; i < EBM_COUNT_OF(says); i++)
        cr_assert_not_null(strstr(buf.bytes, says[i]), "'%s' is not in:\n%s", says[i], buf.bytes);
    cr_assert_null(strchr(buf.bytes, '\x1b'), "nothing of a file steers the terminal");
}
