/* test_train.c - the end of a run: the checkpoint goes only when the model file reads back. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/model.h"
#include "trainer/device_args.h"
#include "trainer/train.h"

static char root[64], config[128], output[128];

/* Linked in place of ebm_model_load, so that a written file can be found damaged. */
enum ebm_status __real_ebm_model_load(const char *path, uint64_t max_bytes, struct ebm_model **ret_model,
                                      struct ebm_error *reterr);
enum ebm_status __wrap_ebm_model_load(const char *path, uint64_t max_bytes, struct ebm_model **ret_model,
                                      struct ebm_error *reterr);
static bool is_damaged;

enum ebm_status __wrap_ebm_model_load(const char *path, uint64_t max_bytes, struct ebm_model **ret_model,
                                      struct ebm_error *reterr)
{
    if (is_damaged)
        return ebm_error_set(reterr, EBM_DAMAGED, path, "damaged for the test");
    return __real_ebm_model_load(path, max_bytes, ret_model, reterr);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static bool has_file(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", output, name);
    return access(path, F_OK) == 0;
}

static void set_up(void)
{
    (void)snprintf(root, sizeof root, "/tmp/ebm-train-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    (void)snprintf(config, sizeof config, "%s/config.json", root);
    (void)snprintf(output, sizeof output, "%s/trained", root);
    write_file("rows.csv", "x,y\n0,1\n1,3\n2,4\n3,8\n4,9\n5,11\n6,12\n7,16\n");
    write_file("config.json",
               "{\"data\": {\"file\": \"rows.csv\"}, \"model\": {\"format_version\": 1, \"input\": {\"kind\": "
               "\"vector\"}, \"target\": {}, \"proposal\": {\"kind\": \"gaussian_mixture\", \"components\": 2, "
               "\"mean_net\": [{\"type\": \"linear\"}], \"log_variance_net\": [{\"type\": \"linear\"}], "
               "\"weight_net\": [{\"type\": \"linear\"}]}}, \"training\": {\"method\": \"mdn_nll\", \"epochs\": 2, "
               "\"checkpoint_epochs\": 1}}");
}

static void tear_down(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(train, .init = set_up, .fini = tear_down);

static enum ebm_status train(const char *const *words, int n_words, struct ebm_error *ret_error)
{
    static const struct args_option options[] = {
        DEVICE_ARGS,
        {.name = "max-bad-files", .value = "N"},
        {"config", "FILE", "", false},
        {"set", "KEY=VALUE", "", true},
        {"output", "DIR", "", false},
        {"resume", "DIR", "", false},
        {"data", "FILE", "", false},
        {"threads", "N", "", false},
        {"publish", "REPOSITORY/NAME", "", false},
        {"targets", "FILE", "", false},
        {"overwrite", NULL, "", false},
        {"seeds", "LIST", "", false},
        {"jobs", "N", "", false},
        {"dry-run", NULL, "", false},
        {"print-config", NULL, "", false},
    };
    static const struct args_command command = {
        .name = "train", .summary = "", .options = options, .n_options = EBM_COUNT_OF(options), .run = train_command};
    struct args args;
    *ret_error = (struct ebm_error){.status = EBM_OK};
    cr_assert_eq(args_parse(&command, n_words, words, &args, ret_error), EBM_OK, "%s", ret_error->text);
    return train_command(&args, ret_error);
}

Test(train, a_model_that_does_not_read_back_keeps_the_checkpoint)
{
    struct ebm_error error;
    const char *const begin[] = {"--config", config, "--output", output, "--threads", "1"};
    const char *const go_on[] = {"--resume", output, "--threads", "1"};
    is_damaged = true;
    cr_assert_eq(train(begin, EBM_COUNT_OF(begin), &error), EBM_DAMAGED, "%s: %s", error.where, error.text);
    cr_assert(has_file("checkpoint.safetensors"), "the run would be lost");
    is_damaged = false;
    cr_assert_eq(train(go_on, EBM_COUNT_OF(go_on), &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(has_file("model.safetensors"));
    cr_assert_not(has_file("checkpoint.safetensors"));
}

Test(train, a_finished_run_is_replaced_only_where_that_is_asked_for)
{
    struct ebm_error error;
    const char *const begin[] = {"--config", config, "--output", output, "--threads", "1"};
    const char *const again[] = {"--config", config, "--output", output, "--threads", "1", "--overwrite"};
    const char *const wrong[] = {"--config", config, "--output", output, "--overwrite", "--set", "data.file=none.csv"};
    cr_assert_eq(train(begin, EBM_COUNT_OF(begin), &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(train(begin, EBM_COUNT_OF(begin), &error), EBM_INVALID, "it was silently replaced");
    cr_assert_not_null(strstr(error.text, "another --output") ? strstr(error.text, "--overwrite") : NULL, "%s",
                       error.text);
    cr_assert_eq(train(wrong, EBM_COUNT_OF(wrong), &error), EBM_NOT_FOUND, "%s", error.text);
    cr_assert(has_file("model.safetensors"), "what is found wrong before the first epoch costs nothing");
    cr_assert_eq(train(again, EBM_COUNT_OF(again), &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert(has_file("model.safetensors"));
}
