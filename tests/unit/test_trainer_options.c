/* test_trainer_options.c - the training configuration: defaults, edits, errors with paths, what is recorded. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/options.h"

static struct options *parse(const char *text, const char *const *sets, uint32_t n_sets, struct ebm_error *error)
{
    struct options *options = NULL;
    *error = (struct ebm_error){.status = EBM_OK};
    enum ebm_status status = options_parse(text, "config.json", "folder", sets, n_sets, NULL, &options, error);
    cr_assert_eq(status == EBM_OK, options != NULL);
    return options;
}

Test(trainer_options, everything_but_data_and_model_has_a_default)
{
    struct ebm_error error;
    struct options *o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}}", NULL, 0, &error);
    cr_assert_not_null(o, "%s: %s", error.where, error.text);
    cr_assert_str_eq(o->method, "nce_kl");
    cr_assert_eq(o->epochs, 75);
    cr_assert_eq(o->batch_size, 32);
    cr_assert_eq(o->samples, 1024);
    cr_assert_eq(o->warmup_epochs, 1);
    cr_assert_eq(o->target_scale, 1.0);
    cr_assert_eq(o->trials, 1);
    cr_assert_eq(o->trial_epochs, 8);
    cr_assert_eq(o->learning_rate, 1e-3);
    cr_assert_eq(o->seed, 0);
    cr_assert_eq(o->data.split_seed, 0);
    cr_assert(o->data.standardize);
    cr_assert_eq(o->data.validation, 0.0);
    (void)options_free(o);
}

Test(trainer_options, reads_every_key)
{
    struct ebm_error error;
    struct options *o = parse(
        "{\"data\": {\"file\": \"d.csv\", \"targets\": [\"y\"], \"inputs\": [\"a\", \"b\"], \"validation\": 0.25, "
        "\"split_file\": \"s.txt\", \"split_index\": 3, \"standardize\": false, \"missing\": \"drop\", "
        "\"dequantize\": {\"step\": 0.5, \"values\": [2, 4.5]}}, \"model\": {\"name\": \"m\"}, "
        "\"training\": {\"method\": \"nce_plus\", \"epochs\": 9, \"batch_size\": 8, \"samples\": 16, "
        "\"optimizer\": \"adam\", \"learning_rate\": 0.25, \"warmup_epochs\": 2, \"support\": null, "
        "\"seed\": 9007199254740991, \"validation_samples\": 5, \"checkpoint_epochs\": 6, \"checkpoint_seconds\": 7, "
        "\"collapse_std\": 0.01, \"parameters\": {\"sigmas\": [[1, 2], [3, 4.5]]}, \"weight_decay\": 0.125, "
        "\"gradient_clip\": 2.5, \"target_scale\": 6, \"trials\": 3, \"trial_epochs\": 4, "
        "\"patience\": 11, \"schedule\": {\"kind\": \"step\", \"warmup_steps\": 21, "
        "\"final_share\": 0.5, \"every_epochs\": 4, \"factor\": 0.25}}}",
        NULL, 0, &error);
    cr_assert_not_null(o, "%s: %s", error.where, error.text);
    cr_assert(strstr(o->data.file, "/folder/d.csv") != NULL, "%s", o->data.file);
    cr_assert(strstr(o->data.split_file, "/folder/s.txt") != NULL, "%s", o->data.split_file);
    cr_assert_eq(o->data.n_inputs, 2);
    cr_assert_str_eq(o->data.inputs[1], "b");
    cr_assert_eq(o->data.validation, 0.25);
    cr_assert_eq(o->data.split_index, 3);
    cr_assert_not(o->data.standardize);
    cr_assert(o->data.drop_missing);
    cr_assert_eq(o->data.jitter.step, 0.5);
    cr_assert_eq(o->data.jitter.values[1], 4.5);
    cr_assert_eq(o->seed, 9007199254740991u);
    cr_assert_eq(o->checkpoint_seconds, 7);
    cr_assert_eq(o->weight_decay, 0.125);
    cr_assert_eq(o->gradient_clip, 2.5);
    cr_assert_eq(o->target_scale, 6.0);
    cr_assert_eq(o->trials, 3);
    cr_assert_eq(o->trial_epochs, 4);
    cr_assert_eq(o->patience, 11);
    cr_assert_eq(o->schedule.kind, SCHEDULE_STEP);
    cr_assert_eq(o->schedule.warmup_steps, 21);
    cr_assert_eq(o->schedule.final_share, 0.5);
    cr_assert_eq(o->schedule.every_epochs, 4);
    cr_assert_eq(o->schedule.factor, 0.25);
    cr_assert_eq(o->n_values, 2);
    cr_assert_str_eq(o->values[0].name, "sigmas");
    cr_assert_eq(o->values[0].dims, 2);
    cr_assert_eq(o->values[0].rows, 2);
    cr_assert_eq(o->values[0].columns, 2);
    cr_assert_eq(o->values[0].numbers[3], 4.5);
    cr_assert_not(o->values[0].is_published);
    cr_assert_str_eq(o->values[1].name, "beta", "what the method has and nobody said");
    cr_assert_eq(o->values[1].numbers[0], 0.025);
    cr_assert(o->values[1].is_published);
    cr_assert_not_null(strstr(o->recorded, "{\"sigmas\":[[1.0,2.0],[3.0,4.5]],\"beta\":0.025"), "%s", o->recorded);
    cr_assert_str_eq(o->model, "{\"name\":\"m\"}");
    (void)options_free(o);
}

Test(trainer_options, set_edits_paths_and_takes_text_that_is_no_json)
{
    const char *sets[] = {"training.epochs=10", "data.file=/other.csv", "data.targets=[\"z\"]", "model.a.b=true",
                          "training.method=mdn_nll"};
    struct ebm_error error;
    struct options *o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}}", sets, 5, &error);
    cr_assert_not_null(o, "%s: %s", error.where, error.text);
    cr_assert_eq(o->epochs, 10);
    cr_assert_str_eq(o->data.file, "/other.csv");
    cr_assert_str_eq(o->data.targets[0], "z");
    cr_assert_str_eq(o->model, "{\"a\":{\"b\":true}}");
    cr_assert_str_eq(o->method, "mdn_nll");
    (void)options_free(o);
    const char *seeds[] = {"training.seed=8", "data.split_seed=5"};
    o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}}", seeds, 1, &error);
    cr_assert_eq(o->data.split_seed, 8, "the split follows the seed");
    (void)options_free(o);
    o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}}", seeds, 2, &error);
    cr_assert_eq(o->data.split_seed, 5, "unless it has one of its own");
    cr_assert_eq(o->seed, 8);
    (void)options_free(o);
    const char *const wrong[] = {"training.epochs", "=3", "training.epochs.x=3"};
    for (size_t i = 0; i < EBM_COUNT_OF(wrong); i++) {
        o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}, \"training\": {\"epochs\": 3}}", &wrong[i], 1,
                  &error);
        cr_assert_null(o, "%s", wrong[i]);
        cr_assert_str_eq(error.where, "--set");
    }
}

Test(trainer_options, errors_name_the_path)
{
    static const struct {
        const char *set, *where, *says;
    } cases[] = {
        {"trainin.epochs=3", "trainin", "did you mean 'training'?"},
        {"training.epoch=3", "training.epoch", "did you mean 'epochs'?"},
        {"data.foo=3", "data.foo", "unknown key"},
        {"data.dequantize={\"steps\": 1}", "data.dequantize.steps", "did you mean 'step'?"},
        {"data.dequantize={\"values\": [1]}", "data.dequantize.step", "expected"},
        {"data.dequantize={\"step\": -1}", "data.dequantize.step", "expected a number"},
        {"training.epochs=0", "training.epochs", "whole number from 1"},
        {"training.epochs=1.5", "training.epochs", "whole number"},
        {"training.epochs=\"x\"", "training.epochs", "whole number"},
        {"training.batch_size=8193", "training.batch_size", "to 8192"},
        {"training.samples=65536", "training.samples", "to 65535"},
        {"training.learning_rate=0", "training.learning_rate", "expected a number"},
        {"training.optimizer=sgd", "training.optimizer", "no other optimizer is available in this version"},
        {"training.schedule=cosine", "training.schedule", "an object"},
        {"training.schedule.kind=cosin", "training.schedule.kind", "did you mean 'cosine'?"},
        {"training.schedule.kind=3", "training.schedule.kind", "\"constant\", \"cosine\" or \"step\""},
        {"training.schedule.warmup_step=3", "training.schedule.warmup_step", "did you mean 'warmup_steps'?"},
        {"training.schedule.factor=2", "training.schedule.factor", "expected a number"},
        {"training.schedule.every_epochs=0", "training.schedule.every_epochs", "whole number from 1"},
        {"training.weight_decay=-1", "training.weight_decay", "expected a number"},
        {"training.weight_decy=1", "training.weight_decy", "did you mean 'weight_decay'?"},
        {"training.gradient_clip=x", "training.gradient_clip", "expected a number"},
        {"training.patience=1.5", "training.patience", "whole number"},
        {"training.support=[1, 0]", "training.support", "expected [lower, upper]"},
        {"training.support=[0]", "training.support", "expected [lower, upper]"},
        {"training.support=\"real\"", "training.support", "an array"},
        {"training.parameters={\"beta\": \"x\"}", "training.parameters.beta", "a list of numbers"},
        {"training.parameters={\"beta\": [1, [2]]}", "training.parameters.beta", "a list of numbers"},
        {"training.parameters={\"beta\": [[1, 2], [3]]}", "training.parameters.beta", "lists of one length"},
        {"training.parameters={\"beta\": []}", "training.parameters.beta", "a list of numbers"},
        {"training.parameters={\"beta\": 1}", "training.parameters.beta", "unknown parameter"},
        {"training.parameters=[1]", "training.parameters", "an object"},
        {"training.method=zzzzzzzz", "training.method", "there are nce_kl"},
        {"data.validation=1", "data.validation", "from 0 to 0.99"},
        {"data.standardize=1", "data.standardize", "true or false"},
        {"data.missing=skip", "data.missing", "\"error\" or \"drop\""},
        {"data.targets=[]", "data.targets", "array of column names"},
        {"data.targets=[1]", "data.targets", "array of column names"},
        {"training.seed=9007199254740992", "training.seed", "whole number"},
        {"model=3", "model", "describes the nets"},
        {"data=3", "data", "expected an object"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_error error;
        struct options *o = parse("{\"data\": {\"file\": \"/d.csv\"}, \"model\": {}}", &cases[i].set, 1, &error);
        cr_assert_null(o, "%s was taken", cases[i].set);
        cr_assert_str_eq(error.where, cases[i].where, "%s: where '%s'", cases[i].set, error.where);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "%s: '%s'", cases[i].set, error.text);
    }
}

Test(trainer_options, malformed_text_names_line_and_column)
{
    struct ebm_error error;
    cr_assert_null(parse("{\"data\": {},\n \"model\" {}}", NULL, 0, &error));
    cr_assert_str_eq(error.where, "config.json");
    cr_assert(strstr(error.text, "line 2") != NULL, "%s", error.text);
    cr_assert_null(parse("{\"data\": {\"file\": \"a\", \"file\": \"b\"}, \"model\": {}}", NULL, 0, &error));
    cr_assert_null(parse("[]", NULL, 0, &error));
    cr_assert_null(parse("{\"model\": {}}", NULL, 0, &error));
    cr_assert_str_eq(error.where, "data.file");
}

/* What a checkpoint keeps is a configuration again, with the same effect. */
Test(trainer_options, the_run_reads_back_to_itself)
{
    const char *sets[] = {"training.learning_rate=0.1",
                          "data.dequantize={\"step\": 0.1}",
                          "training.seed=12345678901",
                          "training.schedule.kind=cosine",
                          "training.patience=3",
                          "training.method=mdn_kl_teacher",
                          "training.parameters.teacher.energy_net=[{\"out\": 1}]"};
    struct ebm_error error;
    struct options *first = parse("{\"data\": {\"file\": \"d.csv\"}, \"model\": {\"b\": 1, \"a\": 0.1}}", sets, 7,
                                  &error);
    cr_assert_not_null(first, "%s: %s", error.where, error.text);
    struct options *second = parse(first->run, NULL, 0, &error);
    cr_assert_not_null(second, "%s: %s", error.where, error.text);
    cr_assert_str_eq(first->run, second->run);
    cr_assert_str_eq(first->recorded, second->recorded);
    cr_assert(strstr(first->recorded, "\"file\":\"d.csv\"") != NULL ||
                  strstr(first->recorded, "\"file\": \"d.csv\"") != NULL,
              "no folders are recorded: %s", first->recorded);
    struct dataset_jitter jitter;
    cr_assert_eq(options_recorded_jitter(first->recorded, &jitter, &error), EBM_OK);
    cr_assert_eq(jitter.step, 0.1, "%g", jitter.step);
    free(jitter.values);
    cr_assert_eq(options_recorded_jitter(NULL, &jitter, &error), EBM_OK);
    cr_assert_eq(jitter.step, 0.0);
    free(jitter.values);
    (void)options_free(first);
    (void)options_free(second);
}
