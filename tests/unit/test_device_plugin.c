/* test_device_plugin.c - words that choose a device, files that are no plug-in, and the self-test: two devices that
 * agree pass it, one whose numbers are off does not. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/device_check.h"
#include "core/device_plugin.h"

static struct ebm_error error;

Test(device_plugin, words)
{
    static const struct {
        const char *device, *precision;
        struct ebm_device_choice expected;
    } good[] = {
        {"cpu", "tf32", {.n_devices = 1, .precision = EBM_PRECISION_TF32}},
        {"auto", "fp32", {.by_plugin = true, .n_devices = 1, .may_fail = true}},
        {"cuda", "fp32", {.by_plugin = true, .n_devices = 1}},
        {"cuda:7", "tf32", {.by_plugin = true, .n_devices = 1, .devices = {7}, .precision = EBM_PRECISION_TF32}},
        {"cuda:3,0,255", "fp32", {.by_plugin = true, .n_devices = 3, .devices = {3, 0, 255}}},
        {"cuda:all", "fp32", {.by_plugin = true}},
        {"cuda", "bf16", {.by_plugin = true, .n_devices = 1, .precision = EBM_PRECISION_BF16}},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(good); i++) {
        struct ebm_device_choice got;
        cr_assert_eq(ebm_device_choose(good[i].device, good[i].precision, &got, &error), EBM_OK, "%s", good[i].device);
        cr_assert_eq(got.by_plugin, good[i].expected.by_plugin, "%s", good[i].device);
        cr_assert_eq(got.may_fail, good[i].expected.may_fail, "%s", good[i].device);
        cr_assert_eq(got.n_devices, good[i].expected.n_devices, "%s", good[i].device);
        cr_assert_arr_eq(got.devices, good[i].expected.devices, sizeof got.devices, "%s", good[i].device);
        cr_assert_eq(got.precision, good[i].expected.precision, "%s", good[i].device);
    }
}

Test(device_plugin, other_words_are_refused)
{
    static const struct {
        const char *device, *precision, *text;
    } bad[] = {
        {"gpu", "fp32", "expected cpu, auto, cuda, cuda:N, cuda:N,N,... or cuda:all, got 'gpu'"},
        {"", "fp32", "got ''"},
        {"cuda:", "fp32", "expected cuda:all or cuda:N,N,..."},
        {"cuda:-1", "fp32", "different N from 0 to 255, got 'cuda:-1'"},
        {"cuda:256", "fp32", "from 0 to 255"},
        {"cuda:0,1,0", "fp32", "up to 16 different N"},
        {"cuda:0,", "fp32", "expected cuda:all"},
        {"cuda:0;1", "fp32", "expected cuda:all"},
        {"cuda:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "fp32", "up to 16"},
        {"cuda:1 ", "fp32", "expected cuda:all"},
        {"cuda", "fp16", "expected one of fp32|tf32|bf16, got 'fp16'"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(bad); i++) {
        struct ebm_device_choice got;
        cr_assert_eq(ebm_device_choose(bad[i].device, bad[i].precision, &got, &error), EBM_INVALID);
        cr_assert(strstr(error.text, bad[i].text) != NULL, "%s", error.text);
    }
}

Test(device_plugin, steps_that_fail)
{
    static const struct {
        const char *file, *driver, *text;
    } bad[] = {
        {"/nonexistent/plugin.so", NULL, "no plug-in /nonexistent/plugin.so: No such file"},
        {NULL, NULL, "no plug-in /"}, /* nothing is installed beside a test */
        {"/proc/self/exe", "libnothing-of-that-name.so.1", "no driver: "},
        {"/proc/self/cmdline", NULL, "the plug-in does not open: "},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(bad); i++) {
        const struct ebm_device_ops *ops = NULL;
        const struct ebm_device_choice choice = {.by_plugin = true, .file = bad[i].file};
        char name[EBM_DEVICE_NAME_BYTES];
        cr_assert_neq(ebm_device_open(&choice, bad[i].driver, &ops, name, &error), EBM_OK);
        cr_assert(strstr(error.text, bad[i].text) != NULL, "%s", error.text);
    }
}

static void expect_close(const struct ebm_device_errors *e)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z};
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        cr_assert(errors[i] <= 0.3 * e->allowed[i], "%s, %zu: %g of %g", e->name, i, errors[i], e->allowed[i]);
}

Test(device_plugin, devices_that_agree_pass_with_room_to_spare)
{
    struct ebm_device_errors errors[EBM_DEVICE_CHECKS];
    cr_assert_eq(ebm_device_check(ebm_device_reference(), errors, &error), EBM_OK, "%s", error.text);
    for (uint32_t i = 0; i < EBM_DEVICE_CHECKS; i++)
        expect_close(&errors[i]);
}

static enum ebm_status predict_wrongly(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                                       const struct ebm_task *tasks, uint32_t B)
{
    enum ebm_status status = ebm_device_cpu()->predict(ctx, plan, h_x, tasks, B);
    tasks[B - 1].out->draws[0] += 1e-3f;
    return status;
}

static enum ebm_status refuse_to_predict(struct ebm_ctx *ctx, const struct ebm_plan *plan, const float *h_x,
                                         const struct ebm_task *tasks, uint32_t B)
{
    (void)ctx, (void)plan, (void)h_x, (void)tasks, (void)B;
    return EBM_DEVICE;
}

Test(device_plugin, one_draw_that_is_off_is_found)
{
    struct ebm_device_ops ops = *ebm_device_cpu();
    ops.predict = predict_wrongly;
    cr_assert_eq(ebm_device_check(&ops, NULL, &error), EBM_DEVICE);
    cr_assert(strstr(error.text, "narrow, smooth: draws differ by") != NULL, "%s", error.text);
    ops.predict = refuse_to_predict;
    cr_assert_eq(ebm_device_check(&ops, NULL, &error), EBM_DEVICE);
    cr_assert(strstr(error.text, "refuses to predict") != NULL, "%s", error.text);
}
