/* test_bounds.c - targets against what a model says of them: as they are, and of mirrored images. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/bounds.h"

static char yaw[] = "yaw", pitch[] = "pitch";
static char *names[] = {yaw, pitch}, *negated[] = {yaw};
static uint32_t rows[] = {1, 2}, numbers[] = {10, 11, 12};
static double lower[] = {-20.0, 0.0}, upper[] = {30.0, 9.0};

/* Rows of (yaw, pitch), of which the first is not trained on. */
static struct dataset data_of(double *y)
{
    return (struct dataset){
        .D = 2, .n_rows = 3, .y = y, .train = rows, .n_train = 2, .numbers = numbers, .target_names = names};
}

Test(bounds, rows_outside_are_named_and_angles_return)
{
    enum ebm_support_kind kinds[] = {EBM_SUPPORT_PERIODIC, EBM_SUPPORT_BOUNDED};
    const struct ebm_target_config target = {.dim = 2, .support = kinds, .lower = lower, .upper = upper};
    double y[] = {35.0, 1.0, -20.0, 0.0, -21.0, 9.0}, mean[2], std[2];
    struct dataset data = data_of(y);
    struct ebm_error error = {.status = EBM_OK};
    data.target_mean = mean;
    data.target_std = std;
    cr_assert_eq(bounds_apply(&data, &target, "rows.csv", &error), EBM_OK, "%s", error.text);
    cr_assert(y[0] == -15.0 && y[2] == -20.0 && y[4] == 29.0, "%g %g %g", y[0], y[2], y[4]);
    cr_assert(mean[0] == 4.5 && std[0] == 24.5, "of the training rows: %g, %g", mean[0], std[0]);
    y[5] = 9.5;
    cr_assert_eq(bounds_apply(&data, &target, "rows.csv", &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "rows.csv, data row 13");
    cr_assert_not_null(strstr(error.text, "'pitch' is 9.5"), "%s", error.text);
}

Test(bounds, what_mirrored_images_show_is_within_them_too)
{
    static const struct {
        enum ebm_support_kind kind;
        double yaw[3];
        bool negates, fits;
    } cases[] = {
        {EBM_SUPPORT_BOUNDED, {30.0, 20.0, -20.0}, true, true}, /* the first is no training row */
        {EBM_SUPPORT_BOUNDED, {0.0, 20.5, 0.0}, true, false},   /* -20.5 */
        {EBM_SUPPORT_REAL, {0.0, 0.0, 20.5}, true, false},      /* the range of integrals */
        {EBM_SUPPORT_BOUNDED, {0.0, 20.5, 0.0}, false, true},   /* never turned */
        {EBM_SUPPORT_PERIODIC, {0.0, 29.0, -20.0}, true, true}, /* returns */
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        enum ebm_support_kind kinds[] = {cases[i].kind, EBM_SUPPORT_BOUNDED};
        const struct ebm_target_config target = {.dim = 2, .support = kinds, .lower = lower, .upper = upper};
        const struct augment_options augment = {.flip = true, .negate = negated, .n_negate = cases[i].negates};
        double y[] = {cases[i].yaw[0], 9.0, cases[i].yaw[1], 9.0, cases[i].yaw[2], 9.0};
        const struct dataset data = data_of(y);
        struct ebm_error error = {.text = ""};
        enum ebm_status status = bounds_check_mirrored(&data, &target, &augment, &error);
        cr_assert_eq(status, cases[i].fits ? EBM_OK : EBM_INVALID, "case %zu: %s", i, error.text);
        if (!cases[i].fits)
            cr_assert(strcmp(error.where, "data.augment.negate") == 0 &&
                          strstr(error.text, "mirrored, has -20.5 for 'yaw', outside of -20 to 30") != NULL,
                      "%s: %s", error.where, error.text);
    }
    const struct ebm_target_config anywhere = {.dim = 2};
    const struct dataset data = data_of((double[]){1, 2, 3, 4, 5, 6});
    const struct augment_options augment = {.flip = true, .negate = negated, .n_negate = 1};
    cr_assert_eq(bounds_check_mirrored(&data, &anywhere, &augment, NULL), EBM_OK);
}
