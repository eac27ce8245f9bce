/* test_progress.c - the bar of a terminal. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "trainer/progress.h"

/* Stands still. */
static uint64_t clock_ns(void)
{
    return 60000000000ull;
}

static struct progress half_way(void)
{
    ebm_clock_set(clock_ns);
    return (struct progress){.first_ns = clock_ns() - 10050000000ull,
                             .all_rows = 500,
                             .left_rows = 500,
                             .run_rows = 1000,
                             .last = {.number = 5,
                                      .epochs = 10,
                                      .phase = "warm-up",
                                      .loss = 4.8123,
                                      .validation_nll = 1.25,
                                      .best_nll = 1.2,
                                      .best_epoch = 4}};
}

Test(progress, the_bar_says_how_far_and_how_long)
{
    struct progress progress = half_way();
    char text[512];
    progress_bar(&progress, 200, text, sizeof text);
    cr_assert_str_eq(text, "[============>           ]  epoch 6/10  loss 4.8123  validation NLL 1.2500 (best 1.2000, "
                           "epoch 4)  50 rows/s  0:10 left  warm-up");
}

Test(progress, the_bar_before_and_after)
{
    struct progress progress = half_way();
    char text[512];
    progress.left_rows = 1000;
    progress.last = (struct progress_epoch){.epochs = 10, .phase = ""};
    progress_bar(&progress, 200, text, sizeof text);
    cr_assert_not_null(strstr(text, "[>                       ]  epoch 1/10  50 rows/s"), "%s", text);
    progress.left_rows = 0;
    progress.last = (struct progress_epoch){
        .number = 10, .epochs = 10, .phase = "", .loss = 1.0, .validation_nll = (double)NAN};
    progress_bar(&progress, 200, text, sizeof text);
    cr_assert_not_null(strstr(text, "[========================]  epoch 10/10  loss 1.0000  50 rows/s"), "%s", text);
}

Test(progress, the_bar_is_never_wider_than_the_terminal)
{
    struct progress progress = half_way();
    char text[512];
    for (uint32_t columns = 0; columns < 140; columns++) {
        progress_bar(&progress, columns, text, sizeof text);
        cr_assert_lt(strlen(text), columns > 0 ? columns : 1, "%u columns: %s", columns, text);
    }
}

/* What progress_line writes, progress_read reads: the best epoch of the last phase. */
Test(progress, the_log_reads_back)
{
    static const double nll[] = {-9.0, 3.5, 1.25, 2.0, (double)NAN};
    char folder[] = "/tmp/ebm-progress-XXXXXX", command[64];
    struct progress progress;
    struct progress_summary summary;
    struct ebm_error error;
    uint64_t bytes;
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(progress_read(folder, &summary), EBM_NOT_FOUND);
    cr_assert_eq(progress_init(&progress, folder, 0, 0, 5, 10, &error), EBM_OK, "%s", error.text);
    for (uint32_t i = 0; i < EBM_COUNT_OF(nll); i++) {
        const struct progress_epoch epoch = {
            .number = i + 1, .epochs = 5, .phase = i == 0 ? "warm-up" : "", .loss = 1.0, .validation_nll = nll[i]};
        progress_begin(&progress);
        cr_assert_eq(progress_line(&progress, &epoch, &bytes, &error), EBM_OK, "%s", error.text);
    }
    progress_done(&progress);
    cr_assert_eq(progress_read(folder, &summary), EBM_OK);
    cr_assert_eq(summary.epochs, 5);
    cr_assert_eq(summary.best_epoch, 3, "%u", summary.best_epoch);
    cr_assert_eq(summary.best_nll, 1.25);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}
