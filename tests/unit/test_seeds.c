/* test_seeds.c - lists of seeds, and the table that compares them. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/seeds.h"

Test(seeds, lists_and_ranges)
{
    static const struct {
        const char *text;
        uint32_t n;
        uint64_t first, last;
    } cases[] = {{"0..9", 10, 0, 9},       {"7", 1, 7, 7},
                 {"1,5,20..22", 5, 1, 22}, {"3..3", 1, 3, 3},
                 {"0..999", 1000, 0, 999}, {"9007199254740991", 1, 9007199254740991u, 9007199254740991u}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint64_t *seeds = NULL;
        uint32_t n = 0;
        struct ebm_error error;
        cr_assert_eq(seeds_parse(cases[i].text, &seeds, &n, &error), EBM_OK, "%s: %s", cases[i].text, error.text);
        cr_assert_eq(n, cases[i].n, "%s: %u", cases[i].text, n);
        cr_assert_eq(seeds[0], cases[i].first);
        cr_assert_eq(seeds[n - 1], cases[i].last);
        free(seeds);
    }
}

Test(seeds, refuses_other_lists)
{
    static const char *const texts[] = {"",
                                        "a",
                                        "1,",
                                        ",1",
                                        "1..",
                                        "..3",
                                        "9..1",
                                        "1 2",
                                        "-1",
                                        "1,1",
                                        "0..4,4",
                                        "0..1000",
                                        "0..18446744073709551615",
                                        "9007199254740992",
                                        "1.5"};
    for (size_t i = 0; i < EBM_COUNT_OF(texts); i++) {
        uint64_t *seeds = NULL;
        uint32_t n = 0;
        struct ebm_error error;
        cr_assert_eq(seeds_parse(texts[i], &seeds, &n, &error), EBM_INVALID, "'%s' was taken", texts[i]);
        cr_assert_str_eq(error.where, "--seeds");
        cr_assert_null(seeds);
    }
}

static struct child done(uint64_t seed, double nll, uint32_t best_epoch)
{
    return (struct child){.seed = seed,
                          .folder = (char *)(uintptr_t) "out/seed",
                          .state = CHILD_DONE,
                          .summary = {.epochs = 9, .best_epoch = best_epoch, .best_nll = nll, .seconds = 1.5}};
}

Test(seeds, the_table_has_mean_spread_and_best)
{
    struct child runs[] = {done(4, 1.0, 3), done(5, -2.0, 8), {.seed = 6, .state = CHILD_FAILED}, done(7, 4.0, 2)};
    static const char *const says[] = {
        "       4          1.0000           3       9      1.5\n",
        "       6  failed: see train.log\n",
        "    mean          1.0000  +- 3.0000 from seed to seed, 3 of 4 seeds\n",
        "    best         -2.0000  seed 5: out/seed/model.safetensors\n",
    };
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, 65536);
    cr_assert_eq(seeds_table(runs, EBM_COUNT_OF(runs), &buf), 1);
    for (size_t i = 0; i < EBM_COUNT_OF(says); i++)
        cr_assert_not_null(strstr(buf.bytes, says[i]), "'%s' is not in:\n%s", says[i], buf.bytes);
}

Test(seeds, without_validation_there_is_no_best)
{
    struct child runs[] = {done(0, 0.0, 0), {.seed = 1, .state = CHILD_STOPPED}};
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, 65536);
    cr_assert_eq(seeds_table(runs, 2, &buf), 2);
    cr_assert_not_null(strstr(buf.bytes, "set data.validation"), "%s", buf.bytes);
    cr_assert_null(strstr(buf.bytes, "nan"), "%s", buf.bytes);
}
