/* fuzz_trainer_config.c - training configurations: words of --set, one a line; an empty line; the file. What is
 * recorded of an accepted one is read to the same record, as a resumed run does. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/options.h"

static void check_jitter(const struct options *options)
{
    struct dataset_jitter jitter;
    struct ebm_error error;
    EBM_ASSERT(options_recorded_jitter(options->recorded, &jitter, &error) == EBM_OK);
    EBM_ASSERT(jitter.step == options->data.jitter.step && jitter.n_values == options->data.jitter.n_values);
    free(jitter.values);
}

static void check_complete(const struct options *options)
{
    struct ebm_error error = {.status = EBM_OK};
    char *text = NULL;
    enum ebm_status status = options_complete(options, options->model, &text, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        fuzz_check_json(text, strlen(text));
    free(text);
}

static void read_again(const struct options *options)
{
    struct options *again = NULL;
    struct ebm_error error = {.status = EBM_OK};
    EBM_ASSERT(options_parse(options->run, "run", ".", NULL, 0, NULL, &again, &error) == EBM_OK);
    EBM_ASSERT(strcmp(options->run, again->run) == 0 && strcmp(options->recorded, again->recorded) == 0);
    (void)options_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = fuzz_text(bytes, size), *rest = text;
    struct fuzz_lines sets;
    struct options *options = NULL;
    struct ebm_error error = {.status = EBM_OK};
    fuzz_cut_lines(&rest, &sets);
    enum ebm_status status = options_parse(rest, "config.json", ".", (const char *const *)sets.at, (uint32_t)sets.n,
                                           NULL, &options, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK) {
        check_jitter(options);
        check_complete(options);
        read_again(options);
    }
    (void)options_free(options);
    free(text);
    return 0;
}
