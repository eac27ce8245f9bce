/* test_args.c - command lines: values, flags, repeats, and errors that help. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/args.h"

static const struct args_option options[] = {
    {.name = "config", .value = "FILE", .help = ""},
    {.name = "set", .value = "K=V", .help = "", .repeats = true},
    {.name = "draw", .help = ""},
    {.name = "rows", .value = "N", .help = ""},
};
static const struct args_command command = {
    .name = "go", .summary = "", .positional = {"NAME"}, .options = options, .n_options = EBM_COUNT_OF(options)};

Test(args, takes_both_forms_flags_repeats_and_positional)
{
    const char *argv[] = {"--config", "c.json", "toy1", "--set", "a=1", "--set=b=2", "--draw"};
    struct args args;
    struct ebm_error error;
    cr_assert_eq(args_parse(&command, 7, argv, &args, &error), EBM_OK, "%s", error.text);
    cr_assert_str_eq(args_get(&args, "config"), "c.json");
    cr_assert_str_eq(args.positional[0], "toy1");
    cr_assert_eq(args.n_repeats, 2);
    cr_assert_str_eq(args.repeats[0], "a=1");
    cr_assert_str_eq(args.repeats[1], "b=2");
    cr_assert_not_null(args_get(&args, "draw"));
    cr_assert_null(args_get(&args, "rows"));
}

Test(args, errors_name_the_option)
{
    static const struct {
        const char *argv[3];
        int argc;
        const char *says;
    } cases[] = {
        {{"--confg", "x", "n"}, 3, "did you mean '--config'?"},
        {{"--zzzzzzzzzzz", "x", "n"}, 3, "'ebm-trainer go --help' lists the options"},
        {{"n", "--config"}, 2, "--config needs a value"},
        {{"n", "--draw=1"}, 2, "--draw takes no value"},
        {{"--config=a", "--config=b", "n"}, 3, "--config stands twice"},
        {{"n", "m"}, 2, "'m' is one argument too many"},
        {{"--draw"}, 1, "NAME is missing"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct args args;
        struct ebm_error error;
        cr_assert_eq(args_parse(&command, cases[i].argc, cases[i].argv, &args, &error), EBM_INVALID, "case %zu", i);
        cr_assert(strstr(error.text, cases[i].says) != NULL, "case %zu: %s", i, error.text);
    }
}

Test(args, numbers_keep_their_bounds)
{
    static const char *const wrong[] = {"0", "11", "-1", "+5", "5x", "", " 5", "99999999999999999999"};
    struct args args = {.command = &command};
    struct ebm_error error;
    uint64_t value = 7;
    cr_assert_eq(args_number(&args, "rows", 1, 10, &value, &error), EBM_OK);
    cr_assert_eq(value, 7, "left as it was when not given");
    args.values[3] = "10";
    cr_assert_eq(args_number(&args, "rows", 1, 10, &value, &error), EBM_OK);
    cr_assert_eq(value, 10);
    for (size_t i = 0; i < EBM_COUNT_OF(wrong); i++) {
        args.values[3] = wrong[i];
        cr_assert_eq(args_number(&args, "rows", 1, 10, &value, &error), EBM_INVALID, "'%s' was taken", wrong[i]);
        cr_assert_eq(value, 10);
    }
}
