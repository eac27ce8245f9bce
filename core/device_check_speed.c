/* device_check_speed.c - many rows on a device: how long they and their launches take beside what a data sheet allows,
 * and whether each has the same bytes as among few.
 *
 * The networks' f has no finite integral: the answers are noise, which takes as long as others do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/device_check_nets.h"
#include "core/order.h"

#define SAMPLES 1024u
#define X_SEED 12u
#define DRAW_FLOP 240.0               /* of a draw and its log q, of four components */
#define ANSWER_BYTES (28.0 * SAMPLES) /* of a row, by all kernels of answers */
#define QUANTILES 3u

/* An H100 SXM by its data sheet, a second. */
#define FP32_FLOP 67e12
#define TF32_FLOP 495e12
#define BF16_FLOP 989e12
#define FP64_FLOP 34e12
#define MEMORY_BYTES 3.35e12
#define LINK_BYTES 55e9 /* of PCIe 5.0 with 16 lanes, what is left of 64 */

struct batch {
    const struct ebm_device_ops *ops;
    struct ebm_check_net net;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    uint32_t B;
    struct ebm_estimate_spec spec;
    float *x;
    struct ebm_task *tasks;
    struct ebm_estimate *out;
    double *numbers; /* (B, 2 + QUANTILES, D): means, variances, quantiles */
};

static bool batch_allocate(struct batch *b)
{
    const uint32_t D = b->net.desc.D, X = b->net.desc.X;
    b->x = calloc((size_t)b->B * X, sizeof *b->x);
    b->tasks = calloc(b->B, sizeof *b->tasks);
    b->out = calloc(b->B, sizeof *b->out);
    b->numbers = calloc((size_t)b->B * (2 + QUANTILES) * D, sizeof *b->numbers);
    if (!b->x || !b->tasks || !b->out || !b->numbers)
        return false;
    ebm_check_fill(b->x, (size_t)b->B * X, X_SEED);
    for (uint32_t row = 0; row < b->B; row++) {
        b->out[row].mean = b->numbers + (size_t)row * (2 + QUANTILES) * D;
        b->out[row].variance = b->out[row].mean + D;
        b->out[row].quantiles = b->out[row].variance + D;
        b->tasks[row] = (struct ebm_task){
            .row = {.seed = row, .samples = SAMPLES}, .spec = &b->spec, .out = &b->out[row]};
    }
    return true;
}

/* batch_done after either. */
static enum ebm_status batch_init(struct batch *b, const struct ebm_device_ops *ops, enum ebm_device_timed net,
                                  uint32_t B, struct ebm_error *reterr)
{
    static const double probabilities[QUANTILES] = {0.05, 0.5, 0.95};
    const struct ebm_ctx_limits limits = {.max_rows = B, .max_samples = SAMPLES};
    *b = (struct batch){
        .ops = ops,
        .B = B,
        .spec = {.estimator = EBM_ESTIMATE_IMPORTANCE, .n_probabilities = QUANTILES, .probabilities = probabilities}};
    if (!ebm_check_net_init(&b->net, &ebm_check_timed[net]) || !batch_allocate(b))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory to measure");
    return ebm_check_make_ready(ops, &b->net, &limits, &b->plan, &b->ctx, reterr);
}

static void batch_done(struct batch *b)
{
    (void)b->ops->ctx_free(b->ctx);
    (void)b->ops->plan_unref(b->plan);
    free(b->x), free(b->tasks), free(b->out), free(b->numbers);
    ebm_check_net_done(&b->net);
}

/* Rows first .. first + n - 1. */
static enum ebm_status predict(struct batch *b, uint32_t first, uint32_t n, struct ebm_error *reterr)
{
    enum ebm_status status = b->ops->predict(b->ctx, b->plan, b->x + (size_t)first * b->net.desc.X, b->tasks + first,
                                             n);
    return status == EBM_OK ? EBM_OK : ebm_check_refused(b->ops, 0, status, "predict", reterr);
}

static enum ebm_status x_side(struct batch *b, struct ebm_error *reterr)
{
    enum ebm_status status = b->ops->features(b->ctx, b->plan, b->x, b->B);
    if (status == EBM_OK)
        status = b->ops->sync(b->ctx);
    return status == EBM_OK ? EBM_OK : ebm_check_refused(b->ops, 0, status, "compute features", reterr);
}

/* ---- the same bytes ---- */

enum ebm_status ebm_device_check_many(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                      uint32_t few, struct ebm_error *reterr)
{
    struct batch all, parts = {.ops = ops};
    enum ebm_status status = batch_init(&all, ops, net, B, reterr);
    if (status == EBM_OK)
        status = batch_init(&parts, ops, net, B, reterr);
    if (status == EBM_OK)
        status = predict(&all, 0, B, reterr);
    for (uint32_t first = 0; status == EBM_OK && first < B; first += few)
        status = predict(&parts, first, B - first < few ? B - first : few, reterr);
    for (uint32_t row = 0; status == EBM_OK && row < B; row++)
        if (memcmp(all.out[row].mean, parts.out[row].mean, (2 + QUANTILES) * all.net.desc.D * sizeof(double)) != 0 ||
            memcmp(&all.out[row].log_z, &parts.out[row].log_z, sizeof(double)) != 0)
            status = ebm_error_set(reterr, EBM_DEVICE, "device",
                                   "self-test, %s: row %u is another one among %u rows than among %u",
                                   ebm_check_timed[net].name, row, B, few);
    batch_done(&all);
    batch_done(&parts);
    return status;
}

/* ---- times ---- */

static double weights_of(const struct ebm_net *net)
{
    double n = 0.0;
    for (uint32_t i = 0; i < net->n_layers; i++)
        n += (double)net->layers[i].in * net->layers[i].out;
    return n;
}

static double flop_rate(double slack)
{
    return slack == 0.0 ? FP32_FLOP : slack < 0.01 ? TF32_FLOP : BF16_FLOP;
}

/* Of B images: each product, at the device's precision; weights once, and what each operation reads and writes. */
static double trunk_bound(const struct ebm_trunk *trunk, double B, double rate)
{
    double products = 0.0, weights = 0.0, values = 0.0;
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        double window = op->kind == EBM_IMAGE_CONV ? (double)op->from.channels * op->kernel * op->kernel : 0.0;
        products += window * (double)ebm_shape_count(&op->to);
        weights += window * op->to.channels;
        values += (double)(ebm_shape_count(&op->from) + ebm_shape_count(&op->to));
    }
    return fmax(2.0 * B * products / rate, sizeof(float) * (weights + B * values) / MEMORY_BYTES);
}

/* Each FLOP and each byte once, as docs/GPU.md counts them; of the energy net's wide layer by tensor cores. */
static void bounds_of(const struct batch *b, struct ebm_device_times *to)
{
    const struct ebm_net_desc *net = &b->net.desc;
    const struct ebm_layer *first = net->energy.layers;
    double B = b->B, draws = B * SAMPLES, joint = (double)first->out * net->H;
    double x = weights_of(&net->feature) + weights_of(&net->mean) + weights_of(&net->log_variance) +
               weights_of(&net->weight) + joint;
    double wide = first->out > 128 ? (double)first->out * net->G : 0.0;
    double narrow = weights_of(&net->target) + weights_of(&net->energy) - joint - wide;
    to->x_side_bound = fmax(2.0 * B * x / FP32_FLOP, sizeof(float) * x / MEMORY_BYTES) +
                       trunk_bound(&net->trunk, B, flop_rate(b->ops->slack));
    to->draws_bound = draws * (2.0 * narrow + DRAW_FLOP) / FP32_FLOP + 2.0 * draws * wide / flop_rate(b->ops->slack) +
                      B * ANSWER_BYTES / MEMORY_BYTES;
}

static double median(double *seconds, uint32_t n)
{
    qsort(seconds, n, sizeof *seconds, ebm_order_doubles);
    return seconds[n / 2];
}

/* Once more than repeats: the first one does not count. */
static enum ebm_status run_timed(struct batch *b, uint32_t repeats, double *predictions, double *x_sides,
                                 struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < repeats + 1; i++) {
        uint64_t began_ns = ebm_clock_ns();
        status = predict(b, 0, b->B, reterr);
        uint64_t between_ns = ebm_clock_ns();
        if (status == EBM_OK)
            status = x_side(b, reterr);
        if (i > 0) {
            predictions[i - 1] = (double)(between_ns - began_ns) * 1e-9;
            x_sides[i - 1] = (double)(ebm_clock_ns() - between_ns) * 1e-9;
        }
    }
    return status;
}

enum ebm_status ebm_device_time(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                uint32_t repeats, struct ebm_device_times *ret_times, struct ebm_error *reterr)
{
    struct batch b;
    double *seconds = calloc(2 * (size_t)repeats, sizeof *seconds);
    enum ebm_status status = batch_init(&b, ops, net, B, reterr);
    if (seconds == NULL)
        status = ebm_error_set(reterr, EBM_NO_MEMORY, "device", "no memory to measure");
    if (status == EBM_OK)
        status = run_timed(&b, repeats, seconds, seconds + repeats, reterr);
    if (status == EBM_OK) {
        ret_times->prediction = median(seconds, repeats);
        ret_times->x_side = median(seconds + repeats, repeats);
        bounds_of(&b, ret_times);
    }
    batch_done(&b);
    free(seconds);
    return status;
}

/* ---- launches ---- */

enum ebm_status ebm_device_profile(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                   uint32_t runs, struct ebm_device_profile *ret_profile, struct ebm_error *reterr)
{
    struct batch b;
    enum ebm_status status = batch_init(&b, ops, net, B, reterr);
    if (status == EBM_OK) {
        status = ops->profile(b.ctx, b.plan, b.x, b.tasks, B, runs, ret_profile->launches, EBM_DEVICE_LAUNCHES,
                              &ret_profile->n);
        if (status != EBM_OK)
            status = ebm_check_refused(ops, 0, status, "time its launches", reterr);
    }
    batch_done(&b);
    return status;
}

double ebm_launch_bound(const struct ebm_launch_times *launches, const char **ret_by)
{
    static const struct {
        const char *word;
        double flop;
    } kinds[] = {[EBM_LAUNCH_FP32] = {"fp32", FP32_FLOP},
                 [EBM_LAUNCH_TF32] = {"tf32", TF32_FLOP},
                 [EBM_LAUNCH_BF16] = {"bf16", BF16_FLOP},
                 [EBM_LAUNCH_FP64] = {"fp64", FP64_FLOP},
                 [EBM_LAUNCH_COPY] = {"link", INFINITY}};
    bool is_copy = launches->kind == EBM_LAUNCH_COPY;
    double flop = launches->flop / kinds[launches->kind].flop;
    double bytes = launches->bytes / (is_copy ? LINK_BYTES : MEMORY_BYTES);
    *ret_by = is_copy || flop > bytes ? kinds[launches->kind].word : "memory";
    return fmax(flop, bytes);
}

/* `-` for nothing. */
static void print_number(int width, int decimals, double value)
{
    if (value > 0.0)
        (void)printf("%*.*f", width, decimals, value);
    else
        (void)printf("%*s", width, "-");
}

static void print_launches(const struct ebm_launch_times *t, double bound, const char *by)
{
    const double rate = t->seconds > 0.0 ? 1.0 / t->seconds : 0.0;
    (void)printf("          %-32s%6u", t->name, t->launches);
    print_number(11, 1, t->seconds * 1e6);
    print_number(10, 2, bound * 1e6);
    print_number(8, 1, 100.0 * bound * rate);
    (void)printf(" %% of %-6s", bound > 0.0 ? by : "-");
    print_number(11, 3, t->flop * 1e-6);
    print_number(10, 3, t->bytes * 1e-6);
    print_number(10, 3, t->flop * rate * 1e-12);
    print_number(10, 1, t->bytes * rate * 1e-9);
    (void)printf("\n");
}

void ebm_device_profile_print(const struct ebm_device_profile *profile)
{
    struct ebm_launch_times all = {.name = "all but nothing"};
    double bounds = 0.0;
    const char *by = "";
    (void)printf("          %-32s%6s%11s%10s%18s%11s%10s%10s%10s\n", "launch", "times", "us", "bound", "share", "MFLOP",
                 "MB", "TFLOP/s", "GB/s");
    for (uint32_t i = 0; i < profile->n; i++) {
        const struct ebm_launch_times *t = &profile->launches[i];
        double bound = ebm_launch_bound(t, &by);
        print_launches(t, bound, by);
        bounds += bound;
        all.launches += i > 0 ? t->launches : 0;
        all.seconds += i > 0 ? t->seconds : 0.0;
        all.flop += t->flop;
        all.bytes += t->bytes;
    }
    print_launches(&all, bounds, "all");
}
