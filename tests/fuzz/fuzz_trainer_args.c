/* fuzz_trainer_args.c - command lines of a trainer's command, a word a line. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/args.h"

static const struct args_option options[] = {
    {.name = "data", .value = "FILE", .help = "a file"},
    {.name = "threads", .value = "N", .help = "a number"},
    {.name = "set", .value = "KEY=VALUE", .help = "may repeat", .repeats = true},
    {.name = "dry-run", .help = "a flag"},
};
static const struct args_command command = {
    .name = "train", .positional = {"CONFIG"}, .options = options, .n_options = EBM_COUNT_OF(options)};

static void check(const struct args *args)
{
    struct ebm_error error = {.status = EBM_OK};
    const char *data = NULL;
    uint64_t threads = 7;
    EBM_ASSERT(args->positional[0] != NULL && args->n_repeats <= ARGS_REPEATS);
    EBM_ASSERT((args_get(args, "set") != NULL) == (args->n_repeats > 0));
    fuzz_check_error(args_require(args, "data", &data, &error), &error);
    enum ebm_status status = args_number(args, "threads", 1, 64, &threads, &error);
    fuzz_check_error(status, &error);
    EBM_ASSERT(threads >= 1 && threads <= 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = fuzz_text(bytes, size), *rest = text;
    struct fuzz_lines words;
    struct args args;
    struct ebm_error error = {.status = EBM_OK};
    fuzz_cut_lines(&rest, &words);
    enum ebm_status status = args_parse(&command, words.n, (const char *const *)words.at, &args, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK && !args.wants_help)
        check(&args);
    free(text);
    return 0;
}
