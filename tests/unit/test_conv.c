/* test_conv.c - convolutions: the plain one against numbers worked out by hand and its gradients against differences;
 * the fast ones against it, at odd sizes, strides and paddings. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/conv.h"

#define GUARD 64 /* numbers behind scratch memory */

static float *numbers(size_t n, uint32_t seed)
{
    float *values = ebm_alloc_aligned((n + 1) * sizeof *values);
    cr_assert_not_null(values);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)((double)seed / 0x1p32 - 0.5);
    }
    return values;
}

static struct ebm_conv_spec spec_of(uint32_t in, uint32_t out, uint32_t height, uint32_t width, uint32_t kernel,
                                    uint32_t stride, uint32_t padding, uint32_t n)
{
    return (struct ebm_conv_spec){
        .from = {in, height, width},
        .to = {out, (height + 2 * padding - kernel) / stride + 1, (width + 2 * padding - kernel) / stride + 1},
        .kernel = kernel,
        .stride = stride,
        .padding = padding,
        .n = n,
    };
}

/* What one pass makes of in, dout (or, forward, what out held) and weights. New: free(). */
static float *run(const struct ebm_conv_backend *backend, struct ebm_conv_spec spec, const float *in, const float *dout,
                  const float *weight, const float *bias)
{
    struct ebm_conv *conv = NULL;
    cr_assert_eq(backend->make(&spec, &conv), EBM_OK);
    size_t n_scratch = backend->scratch_count(conv);
    float *packed = numbers(backend->packed_count(conv), 1), *scratch = numbers(n_scratch + GUARD, 2);
    for (size_t i = 0; i < GUARD; i++)
        scratch[n_scratch + i] = 1234.0f;
    size_t from = spec.n * ebm_shape_count(&spec.from), to = spec.n * ebm_shape_count(&spec.to);
    float *out = numbers(from + to + ebm_conv_weights(&spec), 3);
    enum ebm_status status = EBM_OK;
    if (spec.pass != EBM_CONV_WEIGHT)
        status = backend->pack(conv, packed, weight);
    cr_assert_eq(status, EBM_OK);
    if (spec.pass == EBM_CONV_FORWARD) {
        memcpy(out, dout, to * sizeof *out);
        status = backend->forward(conv, spec.n, out, in, packed, bias, scratch);
    } else if (spec.pass == EBM_CONV_INPUT) {
        status = backend->input(conv, out, dout, packed, scratch);
    } else {
        status = backend->weight(conv, packed, in, dout, scratch);
        cr_assert_eq(backend->unpack(conv, out, packed), EBM_OK);
    }
    cr_assert_eq(status, EBM_OK);
    for (size_t i = 0; i < GUARD; i++)
        cr_assert_eq(scratch[n_scratch + i], 1234.0f, "%s wrote behind its memory", backend->name);
    (void)backend->free(conv);
    free(packed), free(scratch);
    return out;
}

Test(conv, a_small_one_by_hand)
{
    /* one channel of 2 x 3, kernel 3, stride 2, padding 1: the windows around places (0, 0) and (0, 2) */
    struct ebm_conv_spec spec = spec_of(1, 1, 2, 3, 3, 2, 1, 1);
    const float in[] = {1, 2, 3, 4, 5, 6}, weight[] = {1, 10, 100, 1000, 10000, 100000, 7, 70, 700}, bias[] = {0.5f};
    cr_assert(spec.to.height == 1 && spec.to.width == 2);
    const float zero[2] = {0};
    float *out = run(ebm_conv_ref(), spec, in, zero, weight, bias);
    cr_assert_eq(out[0], 10000.0f * 1 + 100000.0f * 2 + 70 * 4 + 700 * 5 + 0.5f);
    cr_assert_eq(out[1], 1000.0f * 2 + 10000.0f * 3 + 7 * 5 + 70 * 6 + 0.5f);
    free(out);
}

/* The sum over outputs of out * c is linear in inputs and weights: its gradient is checked by whole differences. */
Test(conv, gradients_of_the_plain_one_are_those_of_its_output)
{
    struct ebm_conv_spec spec = spec_of(3, 2, 5, 4, 3, 2, 1, 2);
    size_t from = 2 * ebm_shape_count(&spec.from), to = 2 * ebm_shape_count(&spec.to), n_w = ebm_conv_weights(&spec);
    float *in = numbers(from, 4), *c = numbers(to, 5), *weight = numbers(n_w, 6), *zero = calloc(to, sizeof *zero);
    const float bias[2] = {0};
    for (enum ebm_conv_pass pass = EBM_CONV_INPUT; pass <= EBM_CONV_WEIGHT; pass++) {
        spec.pass = pass;
        float *gradient = run(ebm_conv_ref(), spec, in, c, weight, bias);
        float *moved = pass == EBM_CONV_INPUT ? in : weight;
        spec.pass = EBM_CONV_FORWARD;
        float *before = run(ebm_conv_ref(), spec, in, zero, weight, bias);
        for (size_t i = 0; i < (pass == EBM_CONV_INPUT ? from : n_w); i++) {
            double difference = 0.0;
            moved[i] += 1.0f;
            float *after = run(ebm_conv_ref(), spec, in, zero, weight, bias);
            moved[i] -= 1.0f;
            for (size_t o = 0; o < to; o++)
                difference += (double)c[o] * ((double)after[o] - (double)before[o]);
            cr_assert_float_eq(gradient[i], difference, 1e-5, "pass %d, number %zu", (int)pass, i);
            free(after);
        }
        free(before), free(gradient);
    }
    free(in), free(c), free(weight), free(zero);
}

static void compare(const struct ebm_conv_backend *backend, struct ebm_conv_spec spec)
{
    size_t from = spec.n * ebm_shape_count(&spec.from), to = spec.n * ebm_shape_count(&spec.to);
    size_t n_w = ebm_conv_weights(&spec);
    size_t n = spec.pass == EBM_CONV_FORWARD ? to : spec.pass == EBM_CONV_INPUT ? from : n_w;
    float *in = numbers(from, 7), *dout = numbers(to, 8), *weight = numbers(n_w, 9);
    float *bias = numbers(spec.to.channels, 10);
    float *expected = run(ebm_conv_ref(), spec, in, dout, weight, bias);
    float *got = run(backend, spec, in, dout, weight, bias);
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        error = fmax(error, fabs((double)expected[i] - (double)got[i]));
    }
    cr_assert_leq(error, 2e-6 * largest, "%s: %g of %g at pass %d, %u -> %u channels of %u x %u, kernel %u/%u",
                  backend->name, error, largest, (int)spec.pass, spec.from.channels, spec.to.channels, spec.from.height,
                  spec.from.width, spec.kernel, spec.stride);
    free(in), free(dout), free(weight), free(bias), free(expected), free(got);
}

static void compare_all(const struct ebm_conv_backend *backend)
{
    const struct ebm_conv_spec specs[] = {
        spec_of(3, 8, 21, 18, 7, 2, 3, 2),   spec_of(8, 8, 9, 7, 3, 1, 1, 4),     spec_of(8, 16, 9, 8, 3, 2, 1, 3),
        spec_of(8, 16, 9, 8, 1, 2, 0, 3),    spec_of(16, 32, 4, 4, 1, 1, 0, 1),   spec_of(1, 1, 1, 1, 1, 1, 0, 1),
        spec_of(5, 7, 6, 11, 4, 3, 2, 2),    spec_of(64, 64, 6, 6, 3, 1, 1, 2),   spec_of(32, 64, 2, 2, 3, 1, 1, 5),
        spec_of(3, 16, 32, 32, 7, 2, 3, 1),  spec_of(17, 33, 5, 5, 5, 1, 0, 2),   spec_of(37, 35, 7, 5, 3, 1, 1, 3),
        spec_of(70, 33, 2, 2, 3, 1, 1, 29),  spec_of(20, 66, 16, 16, 3, 1, 1, 3), spec_of(16, 16, 1, 1, 3, 1, 1, 9),
        spec_of(2, 3, 3, 1, 3, 1, 1, 2),     spec_of(6, 6, 2, 2, 3, 2, 1, 2),     spec_of(5, 33, 3, 17, 1, 1, 0, 2),
        spec_of(64, 64, 20, 20, 1, 1, 0, 2), spec_of(3, 5, 4, 20, 1, 1, 1, 2),
    };
    for (size_t i = 0; i < EBM_COUNT_OF(specs); i++)
        for (enum ebm_conv_pass pass = EBM_CONV_FORWARD; pass <= EBM_CONV_WEIGHT; pass++)
            for (int epilogue = 0; epilogue < (pass == EBM_CONV_FORWARD ? 4 : 1); epilogue++) {
                struct ebm_conv_spec spec = specs[i];
                spec.pass = pass;
                spec.adds = epilogue & 1;
                spec.has_relu = epilogue & 2;
                compare(backend, spec);
            }
}

Test(conv, ours_computes_the_same)
{
    compare_all(ebm_conv_own());
}

Test(conv, openblas_computes_the_same)
{
    compare_all(ebm_conv_blas());
}

Test(conv, onednn_computes_the_same)
{
    if (ebm_conv_onednn() == NULL)
        cr_skip_test("oneDNN is not here");
    compare_all(ebm_conv_onednn());
}
