/* device_check.c - networks of random numbers, run on a device and on the CPU side by side.
 *
 * Draws are functions of their seed, so that both devices give the same ones but for rounding, and all that is made of
 * them can be compared (device_check_answers.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_check.h"
#include "core/device_check_answers.h"
#include "core/device_check_nets.h"
#include "core/order.h"
#include "core/sobol.h"

#define ROWS EBM_CHECK_ROWS
#define X_SIDE_ERROR 1e-4
#define DRAW_ERROR 1e-5
#define SCHEMES 2u
#define TRUNK_SLACK 2.0   /* of a device's, once more for products behind products */
#define WEIGHT_ERROR 1e-4 /* of a device that multiplies floats; others add their slack */

/* ---- one device ---- */

/* What it says of the rows. */
struct answers {
    size_t n_x; /* numbers of a row */
    float *x;
    struct ebm_check_answers by[SCHEMES]; /* independent draws, Sobol points */
};

static void answers_done(struct answers *a)
{
    for (uint32_t i = 0; i < SCHEMES; i++)
        ebm_check_answers_done(&a->by[i]);
    free(a->x);
}

static bool answers_init(struct answers *a, const struct ebm_net_desc *net)
{
    bool ok = true;
    *a = (struct answers){.n_x = net->H + (size_t)net->K * (2 * net->D + 1)};
    a->x = calloc(ROWS * a->n_x, sizeof(float));
    for (uint32_t i = 0; i < SCHEMES; i++)
        ok = ebm_check_answers_init(&a->by[i], net->D) && ok;
    return ok && a->x != NULL;
}

static enum ebm_status fetch_x(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_net_desc *net,
                               struct answers *a)
{
    size_t DK = (size_t)net->D * net->K;
    enum ebm_status status = EBM_OK;
    for (uint32_t b = 0; status == EBM_OK && b < ROWS; b++) {
        float *to = a->x + b * a->n_x;
        status = ops->fetch(ctx, EBM_FETCH_FEATURES, b, to);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_MEAN, b, to + net->H);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_VARIANCE, b, to + net->H + DK);
        if (status == EBM_OK)
            status = ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_WEIGHT, b, to + net->H + 2 * DK);
    }
    return status;
}

static enum ebm_status predict(const struct ebm_device_ops *ops, struct ebm_ctx *ctx, const struct ebm_plan *plan,
                               const struct ebm_net_desc *net, bool is_exact, struct answers *a)
{
    enum ebm_status status = EBM_OK;
    float x[ROWS * EBM_CHECK_IMAGE_NUMBERS];
    for (uint32_t i = 0; i < ROWS * net->X; i++) {
        uint32_t words[4];
        ebm_philox(12, i, 0, EBM_STREAM_INIT, 0, words);
        x[i] = (float)ebm_normal(words[0]);
    }
    if (is_exact)
        return ebm_check_exact_ask(ops, ctx, plan, x, &a->by[0]);
    for (uint32_t i = 0; status == EBM_OK && i < SCHEMES; i++)
        status = ebm_check_answers_ask(ops, ctx, plan, x, (enum ebm_draw_scheme)i,
                                       i == EBM_SCHEME_INDEPENDENT || ops == ebm_device_cpu(), &a->by[i]);
    return status;
}

static enum ebm_status ask(const struct ebm_device_ops *ops, uint32_t device, const struct ebm_check_net *n,
                           bool is_exact, struct answers *a, struct ebm_error *reterr)
{
    struct ebm_ctx_limits limits = {
        .device = device, .max_rows = ROWS, .max_samples = ebm_sobol_count(EBM_CHECK_SAMPLES)};
    struct ebm_plan *plan = NULL;
    struct ebm_ctx *ctx = NULL;
    enum ebm_status status = ebm_check_make_ready(ops, n, &limits, &plan, &ctx, reterr);
    if (status == EBM_OK) {
        status = predict(ops, ctx, plan, &n->desc, is_exact, a);
        if (status == EBM_OK)
            status = fetch_x(ops, ctx, &n->desc, a);
        if (status != EBM_OK)
            (void)ebm_check_refused(ops, device, status, "predict", reterr);
    }
    (void)ops->ctx_free(ctx);
    (void)ops->plan_unref(plan);
    return status;
}

/* ---- both ---- */

/* And at least 1. */
static double largest(const float *numbers, size_t n)
{
    double most = 1.0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)numbers[i]));
    return most;
}

/* Over the largest number that is expected; infinite where one is not finite. */
static double largest_error(const float *got, const float *expected, size_t n)
{
    double error = 0.0;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)expected[i]);
        error = isfinite(off) ? fmax(error, off) : (double)INFINITY;
    }
    return error / largest(expected, n);
}

/* The larger one, should both be numbers. */
static void raise(double *error, double by)
{
    *error = isnan(by) ? (double)INFINITY : fmax(*error, by);
}

static void compare(const struct answers *got, const struct answers *expected, bool is_exact,
                    struct ebm_device_errors *errors)
{
    errors->x_side = largest_error(got->x, expected->x, ROWS * got->n_x);
    const struct ebm_check_answers *drawn = &got->by[EBM_SCHEME_INDEPENDENT],
                                   *by = &expected->by[EBM_SCHEME_INDEPENDENT];
    size_t n = ROWS * ebm_sobol_count(EBM_CHECK_SAMPLES);
    errors->draws = largest_error(drawn->draws, by->draws, n * by->D);
    errors->log_weights = largest_error(drawn->weights, by->weights, n);
    errors->log_z = errors->numbers = errors->ranks = 0.0;
    for (uint32_t row = 0; row < ROWS; row++)
        raise(&errors->log_z, fabs(drawn->log_z[row] - by->log_z[row]) / largest(by->weights, n));
    for (uint32_t i = 0; i < SCHEMES; i++) {
        const struct ebm_check_answers *a = &got->by[i], *b = &expected->by[i];
        double range = largest(b->weights, n), near = errors->allowed[1] * largest(b->draws, n * b->D);
        raise(&errors->numbers, ebm_check_numbers(a, b, is_exact) / range);
        raise(&errors->ranks, ebm_check_ranks(a, b, near) / range);
    }
}

static void errors_of(const struct ebm_check_shape *shape, const struct answers *got, const struct answers *expected,
                      bool is_exact, struct ebm_device_errors *errors)
{
    if (!shape->is_exact) {
        compare(got, expected, is_exact, errors);
        return;
    }
    errors->x_side = largest_error(got->x, expected->x, ROWS * got->n_x);
    raise(&errors->numbers, ebm_check_numbers(&got->by[0], &expected->by[0], is_exact));
    raise(&errors->ranks, ebm_check_points(&got->by[0], &expected->by[0]));
}

static enum ebm_status judge(const struct ebm_device_errors *e, struct ebm_error *reterr)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z, e->numbers, e->ranks};
    static const char *const what[] = {"the x side", "draws", "log weights", "log Z", "moments", "ranks"};
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (!(errors[i] <= e->allowed[i]))
            return ebm_error_set(reterr, EBM_DEVICE, "device",
                                 "self-test, %s: %s differ by %.2g, expected at most %.2g", e->name, what[i], errors[i],
                                 e->allowed[i]);
    return EBM_OK;
}

static bool same(const struct answers *a, const struct answers *b)
{
    bool is_same = memcmp(a->x, b->x, ROWS * a->n_x * sizeof *a->x) == 0;
    for (uint32_t i = 0; i < SCHEMES; i++)
        is_same = is_same && ebm_check_same(&a->by[i], &b->by[i]);
    return is_same;
}

/* The table's further devices beside what its first one said. */
static enum ebm_status check_others(const struct ebm_device_ops *ops, const struct ebm_check_net *n,
                                    const struct ebm_check_shape *shape, const struct answers *first,
                                    struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 1; status == EBM_OK && i < ops->n_devices; i++) {
        struct answers got;
        if (!answers_init(&got, &n->desc))
            status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for the self-test");
        if (status == EBM_OK)
            status = ask(ops, i, n, shape->is_exact, &got, reterr);
        if (status == EBM_OK && !same(&got, first))
            status = ebm_error_set(reterr, EBM_DEVICE, "device",
                                   "self-test, %s: device %u has other bytes than device %u", shape->name,
                                   ops->device_numbers[i], ops->device_numbers[0]);
        answers_done(&got);
    }
    return status;
}

static enum ebm_status check_one(const struct ebm_device_ops *ops, const struct ebm_check_shape *shape,
                                 struct ebm_device_errors *ret_errors, struct ebm_error *reterr)
{
    struct ebm_check_net n;
    struct answers got = {0}, expected = {0};
    double trunk = shape->images != EBM_CHECK_VECTORS ? TRUNK_SLACK * ops->slack : 0.0;
    double weights = WEIGHT_ERROR + ops->slack + trunk, draws = shape->is_exact ? 0.0 : DRAW_ERROR + trunk,
           sampled = shape->is_exact ? 0.0 : weights;
    enum ebm_status status = EBM_OK;
    *ret_errors = (struct ebm_device_errors){
        .name = shape->name, .allowed = {X_SIDE_ERROR + trunk, draws, sampled, sampled, weights, weights}};
    if (!ebm_check_net_init(&n, shape) || !answers_init(&got, &n.desc) || !answers_init(&expected, &n.desc))
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory for the self-test");
    if (status == EBM_OK)
        status = ask(ebm_device_cpu(), 0, &n, shape->is_exact, &expected, reterr);
    if (status == EBM_OK)
        status = ask(ops, 0, &n, shape->is_exact, &got, reterr);
    if (status == EBM_OK) {
        errors_of(shape, &got, &expected, ops->slack == 0.0, ret_errors);
        status = judge(ret_errors, reterr);
    }
    if (status == EBM_OK)
        status = check_others(ops, &n, shape, &got, reterr);
    ebm_check_net_done(&n);
    answers_done(&got);
    answers_done(&expected);
    return status;
}

enum ebm_status ebm_device_check(const struct ebm_device_ops *ops, struct ebm_device_errors *ret_errors,
                                 struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < EBM_DEVICE_CHECKS; i++) {
        struct ebm_device_errors errors;
        status = check_one(ops, &ebm_check_shapes[i], &errors, reterr);
        if (ret_errors != NULL)
            ret_errors[i] = errors;
    }
    return status;
}

void ebm_device_errors_print(const struct ebm_device_errors *e)
{
    const double errors[] = {e->x_side, e->draws, e->log_weights, e->log_z, e->numbers, e->ranks};
    static const char *const what[] = {"x side", "draws", "log weights", "log Z", "moments", "ranks"};
    (void)printf("%-16s", e->name);
    for (size_t i = 0; i < EBM_COUNT_OF(errors); i++)
        if (e->allowed[i] > 0.0)
            (void)printf("%s %s %.1e of %.1e", i > 0 ? "," : " ", what[i], errors[i], e->allowed[i]);
        else
            (void)printf(", %s -", what[i]);
    (void)printf("\n");
}
