/* test_kernels.c - every fast kernel set that this machine executes against the reference, at odd shapes and extreme
 * values; vecmath against the C library; draws against Philox; the bytes of a lane wherever it stands. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels.h"
#include "core/quantile.h"
#include "core/vecmath.h"

const struct ebm_kernels *ebm_kernels_generic(void);
#if defined(__x86_64__)
const struct ebm_kernels *ebm_kernels_avx2(void);
const struct ebm_kernels *ebm_kernels_avx512(void);
#endif

static size_t fast_sets(const struct ebm_kernels *sets[3])
{
    size_t n = 0;
    sets[n++] = ebm_kernels_generic();
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = ebm_kernels_avx2();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        sets[n++] = ebm_kernels_avx512();
#endif
    return n;
}

#define EACH_SET(set)                                                                                                  \
    const struct ebm_kernels *sets_[3], *set;                                                                          \
    size_t n_sets_ = fast_sets(sets_);                                                                                 \
    for (size_t i_ = 0; i_ < n_sets_ && (set = sets_[i_]) != NULL; i_++)

/* Reproducible numbers around 0 with a spread of 1. */
static float *numbers(size_t n, uint32_t stream)
{
    float *p = ebm_alloc_aligned((n + 1) * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(42, (uint32_t)i, stream, 99, 0, words);
        p[i] = (float)ebm_normal(words[0]);
    }
    return p;
}

static double worst(const float *a, const float *b, size_t n, double *ret_magnitude)
{
    double error = 0.0, magnitude = 1e-6;
    for (size_t i = 0; i < n; i++) {
        error = fmax(error,
                     isnan((double)a[i]) != isnan((double)b[i]) ? (double)INFINITY : fabs((double)a[i] - (double)b[i]));
        magnitude = fmax(magnitude, fabs((double)b[i]));
    }
    *ret_magnitude = magnitude;
    return error;
}

#define ASSERT_CLOSE(got, want, n, tolerance, ...)                                                                     \
    do {                                                                                                               \
        double magnitude_, error_ = worst((got), (want), (n), &magnitude_);                                            \
        cr_assert(error_ <= (tolerance)*magnitude_, "error %.3g of %.3g, set %s", error_, magnitude_, __VA_ARGS__);    \
    } while (0)

static const uint32_t shapes[][3] = {/* n_out, n_in, L */
                                     {1, 1, 16},     {10, 1, 128},    {10, 10, 128},  {10, 20, 144}, {1, 10, 1040},
                                     {7, 3, 16},     {5, 129, 48},    {64, 96, 128},  {3, 64, 16},   {33, 17, 112},
                                     {128, 64, 128}, {512, 128, 128}, {512, 512, 16}, {6, 2, 32},    {79, 37, 144},
                                     {9, 130, 272},  {71, 65, 48}};

Test(kernels, linear_and_its_gradients_agree_with_the_reference)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    EACH_SET (set) {
        for (size_t s = 0; s < EBM_COUNT_OF(shapes); s++) {
            uint32_t O = shapes[s][0], I = shapes[s][1], L = shapes[s][2];
            size_t ldw = I + 5, nw = O * ldw;
            float *w = numbers(nw, 1), *x = numbers((size_t)I * L, 2), *bias = numbers(O, 3);
            float *dz = numbers((size_t)O * L, 4), *got = numbers((size_t)(O + I) * L, 5);
            float *want = numbers((size_t)(O + I) * L, 5), *dw = numbers(nw, 6), *dw_ref = numbers(nw, 6);
            float *db = numbers(O, 7), *db_ref = numbers(O, 7);
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                set->linear(got, w, ldw, with_bias ? bias : NULL, x, O, I, L);
                ref->linear(want, w, ldw, with_bias ? bias : NULL, x, O, I, L);
                ASSERT_CLOSE(got, want, (size_t)O * L, 2e-6, set->name);
            }
            for (int with_residual = 0; with_residual < 2; with_residual++) {
                set->linear_backward_input(got, w, ldw, dz, with_residual ? x : NULL, O, I, L);
                ref->linear_backward_input(want, w, ldw, dz, with_residual ? x : NULL, O, I, L);
                ASSERT_CLOSE(got, want, (size_t)I * L, 2e-6, set->name);
            }
            set->linear_backward_weight(dw, ldw, db, dz, x, O, I, L);
            ref->linear_backward_weight(dw_ref, ldw, db_ref, dz, x, O, I, L);
            ASSERT_CLOSE(dw, dw_ref, nw, 4e-6, set->name);
            ASSERT_CLOSE(db, db_ref, O, 4e-6, set->name);
            free(w), free(x), free(bias), free(dz), free(got), free(want), free(dw), free(dw_ref), free(db),
                free(db_ref);
        }
    }
}

/* Activation, what a residual layer adds, and z where it is wanted. */
Test(kernels, layers_agree_with_the_reference)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    static const enum ebm_activation kinds[] = {EBM_ACT_IDENTITY, EBM_ACT_RELU, EBM_ACT_TANH};
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(shapes) * EBM_COUNT_OF(kinds) * 4; i++) {
            const uint32_t *shape = shapes[i / 4 / EBM_COUNT_OF(kinds)];
            enum ebm_activation kind = kinds[i / 4 % EBM_COUNT_OF(kinds)];
            uint32_t O = shape[0], I = shape[1], L = shape[2];
            size_t n = (size_t)O * L;
            float *w = numbers((size_t)O * I, 1), *x = numbers((size_t)I * L, 2), *bias = numbers(O, 3);
            float *residual = numbers(n, 4), *a = numbers(n, 5), *z = numbers(n, 5), *a_ref = numbers(n, 5);
            float *z_ref = numbers(n, 5);
            struct ebm_linear linear = {w, I, i & 1 ? bias : NULL, O, I};
            x[L - 1] = NAN; /* relu keeps it */
            set->layer(kind, a, i & 1 ? z : NULL, &linear, x, i & 2 ? residual : NULL, L);
            ref->layer(kind, a_ref, i & 1 ? z_ref : NULL, &linear, x, i & 2 ? residual : NULL, L);
            ASSERT_CLOSE(a, a_ref, n, kind == EBM_ACT_TANH ? 2e-4 : 2e-6, set->name); /* of 1, but z is larger */
            ASSERT_CLOSE(z, z_ref, n, 2e-6, set->name);
            free(w), free(x), free(bias), free(residual), free(a), free(z), free(a_ref), free(z_ref);
        }
    }
}

Test(kernels, narrow_layers_give_a_lane_the_same_bytes_everywhere)
{
    EACH_SET (set) {
        enum { O = 10, I = 20, L = 144 };
        float *w = numbers(O * I, 1), *x = numbers(I * L, 2), a[O * L], b[O * L], moved[I * L];
        set->linear(a, w, I, NULL, x, O, I, L);
        for (uint32_t shift = 1; shift < L; shift += 13) {
            for (uint32_t i = 0; i < I; i++)
                for (uint32_t l = 0; l < L; l++)
                    moved[i * L + (l + shift) % L] = x[i * L + l];
            set->linear(b, w, I, NULL, moved, O, I, L);
            for (uint32_t o = 0; o < O; o++)
                for (uint32_t l = 0; l < L; l++)
                    cr_assert_eq(memcmp(&a[o * L + l], &b[o * L + (l + shift) % L], sizeof(float)), 0,
                                 "set %s: lane %u moved by %u", set->name, l, shift);
        }
        free(w), free(x);
    }
}

Test(kernels, knots_of_a_layer_and_what_is_spread_over_it)
{
    static const uint32_t sizes[][2] = {{1, 16}, {7, 32}, {8, 16}, {33, 48}, {512, 176}}; /* units, lanes */
    const struct ebm_kernels *ref = ebm_kernels_ref();
    EACH_SET (set) {
        for (size_t s = 0; s < EBM_COUNT_OF(sizes); s++) {
            uint32_t n = sizes[s][0], L = sizes[s][1], words = n * L / EBM_LANES;
            size_t count = (size_t)n * L;
            float *u = numbers(count + EBM_LANES, 1), *hx = numbers(n, 2), *v = numbers(n, 3), *w = numbers(2 * L, 4);
            float *got = numbers(2 * count + n, 5), *want = numbers(2 * count + n, 5);
            double *f = calloc(2 * L, sizeof *f);
            uint16_t *crossings = calloc(2 * words, sizeof *crossings);
            for (uint32_t j = 0; j < n; j += 3)
                u[(size_t)j * L + j % L] = -hx[j]; /* exactly at its kink */
            set->knots(f, crossings, u, hx, v, n, L);
            ref->knots(f + L, crossings + words, u, hx, v, n, L);
            for (uint32_t l = 0; l < L; l++)
                cr_assert_float_eq(f[l], f[L + l], 1e-6 * n, "set %s: f %g, not %g", set->name, f[l], f[L + l]);
            cr_assert_eq(memcmp(crossings, crossings + words, words * sizeof *crossings), 0, "set %s", set->name);
            for (uint32_t l = EBM_LANES - 1; l < 2 * L; l += EBM_LANES)
                w[l] = 0.0f;
            set->spread(got, got + count, got + 2 * count, w, w + L, u, hx, n, L);
            ref->spread(want, want + count, want + 2 * count, w, w + L, u, hx, n, L);
            ASSERT_CLOSE(got, want, 2 * count + n, 1e-6, set->name);
            free(u), free(hx), free(v), free(w), free(got), free(want), free(f), free(crossings);
        }
    }
}

Test(kernels, a_unit_that_is_no_number_makes_f_none)
{
    EACH_SET (set) {
        float u[3 * 16 + 16] = {0}, hx[3] = {1.0f, NAN, -1.0f}, v[3] = {1.0f, 1.0f, 1.0f};
        double f[16];
        uint16_t crossings[3];
        set->knots(f, crossings, u, hx, v, 3, 16);
        cr_assert(isnan(f[0]) && isnan(f[15]), "set %s: f %g", set->name, f[0]);
    }
}

Test(kernels, rows_of_units_agree_with_the_reference)
{
    static const uint32_t sizes[][3] = {{1, 3, 16}, {2, 10, 16}, {7, 10, 32}, {21, 40, 48}}; /* rows, inputs, numbers */
    const struct ebm_kernels *ref = ebm_kernels_ref();
    EACH_SET (set) {
        for (size_t s = 0; s < EBM_COUNT_OF(sizes); s++) {
            const uint32_t n = sizes[s][0], n_in = sizes[s][1], O = sizes[s][2], lda = n_in + 3;
            size_t count = (size_t)n * O, words = count / EBM_LANES;
            float *a = numbers((size_t)n * lda, 1), *w = numbers((size_t)n_in * O, 2), *v = numbers(count, 3);
            float *got = numbers(count, 4), *want = numbers(count, 4);
            double *f = calloc(2 * n, sizeof *f);
            uint16_t *signs = calloc(2 * words, sizeof *signs);
            set->rows_product(got, w, a, lda, n, n_in, O);
            ref->rows_product(want, w, a, lda, n, n_in, O);
            ASSERT_CLOSE(got, want, count, 1e-6, set->name);
            want[0] = -0.0f;
            set->rows_signs(signs, want, n, O);
            ref->rows_signs(signs + words, want, n, O);
            cr_assert_arr_eq(signs, signs + words, words * sizeof *signs, "set %s", set->name);
            for (int form = 0; form < 4; form++) {
                set->rows_output(f, w, want, form < 2 ? v : NULL, form % 2 == 0, n, O);
                ref->rows_output(f + n, w, want, form < 2 ? v : NULL, form % 2 == 0, n, O);
                for (uint32_t p = 0; p < n; p++)
                    cr_assert_float_eq(f[p], f[n + p], 1e-5, "set %s: %g, not %g", set->name, f[p], f[n + p]);
            }
            want[1] = (float)NAN;
            set->rows_output(f, w, want, NULL, true, 1, O);
            cr_assert(isnan(f[0]), "set %s: relu of no number", set->name);
            free(a), free(w), free(v), free(got), free(want), free(f), free(signs);
        }
    }
}

/* ---- images, channels inner ---- */

/* Rows that fill blocks and that do not; a row's bytes are those that it has by itself. */
Test(kernels, products_of_rows_and_panels)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    static const uint32_t rows[] = {1, 2, 5, 6, 7, 11, 12, 13, 29};
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(rows); i++) {
            const uint32_t n = rows[i], n_in = 15, lda = 23, O = 2 * set->panel, ldo = O + 3;
            float *a = numbers((size_t)n * lda, 1), *w = numbers((size_t)n_in * O, 2);
            float *got = numbers((size_t)n * ldo, 3), *alone = numbers(O, 4);
            float *want = numbers((size_t)n * ldo, 3), *others = numbers((size_t)n_in * O, 2);
            for (uint32_t k = 0; k < n_in; k++) /* the reference has panels of its own */
                for (uint32_t o = 0; o < O; o++)
                    others[(o / ref->panel * n_in + k) * ref->panel + o % ref->panel] =
                        w[(o / set->panel * n_in + k) * set->panel + o % set->panel];
            const struct ebm_rows of = {a, lda, 7, n, 3, 5};
            set->panels_product(got, ldo, &of, w, 2);
            ref->panels_product(want, ldo, &of, others, O / ref->panel);
            ASSERT_CLOSE(got, want, (size_t)n * ldo, 1e-6, set->name);
            for (uint32_t r = 0; r < n; r++) {
                const struct ebm_rows one = {a + r * lda, lda, 7, 1, 3, 5};
                set->panels_product(alone, O, &one, w, 2);
                cr_assert_arr_eq(alone, got + r * ldo, O * sizeof *got, "set %s: row %u of %u", set->name, r, n);
            }
            free(a), free(w), free(got), free(want), free(alone), free(others);
        }
    }
}

/* A tile of C channels, one of its places missing; its weights, turned and not. */
static void check_tile(const struct ebm_kernels *set, enum ebm_tile tile, uint32_t C)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    const struct ebm_tile_size size = ebm_tile_size(tile);
    const uint32_t places = size.in * size.in, points = size.points * size.points, stride = C + 32;
    const float *at[EBM_MOST_IN];
    float *to[2][EBM_MOST_OUT], *in = numbers((size_t)places * C, 1), *m = numbers((size_t)points * stride, 2);
    float *got = numbers((size_t)points * stride, 3), *want = numbers((size_t)points * stride, 3);
    for (uint32_t k = 0; k < places; k++)
        at[k] = in + (places - 1 - k) * C;
    set->tile_in(got, stride, at, C, tile);
    ref->tile_in(want, stride, at, C, tile);
    for (uint32_t p = 0; p < points; p++)
        ASSERT_CLOSE(got + p * stride, want + p * stride, C, 2e-6, set->name);
    for (int form = 0; form < 4; form++) {
        const struct ebm_finish finish = {.bias = in, .adds = form & 1, .has_relu = form & 2};
        for (uint32_t k = 0; k < size.out * size.out; k++) {
            to[0][k] = k == 1 ? NULL : got + k * C;
            to[1][k] = k == 1 ? NULL : want + k * C;
        }
        memcpy(got, want, size.out * size.out * C * sizeof *got);
        set->tile_out(to[0], m, stride, &finish, C, tile);
        ref->tile_out(to[1], m, stride, &finish, C, tile);
        ASSERT_CLOSE(got, want, size.out * size.out * C, 2e-6, set->name);
        set->finish_rows(got, m, stride, &finish, 3, C);
        ref->finish_rows(want, m, stride, &finish, 3, C);
        ASSERT_CLOSE(got, want, 3 * C, 1e-6, set->name);
    }
    free(in), free(m), free(got), free(want);
}

static void check_tile_weights(const struct ebm_kernels *set, enum ebm_tile tile, bool is_turned)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    const uint32_t points = ebm_tile_size(tile).points * ebm_tile_size(tile).points, n_in = 3;
    const uint32_t n_out = set->panel - 1;
    const size_t count = (size_t)points * n_in * set->panel;
    float *w = numbers((size_t)9 * n_in * n_out, 1), *got = numbers(count, 2), *want = numbers(count, 3);
    struct ebm_filters filters = {.w = w, .out = 9 * n_in, .in = 9, .is_turned = is_turned};
    set->tile_weights(got, (size_t)n_in * set->panel, &filters, n_out, n_in, tile);
    for (uint32_t first = 0; first < set->panel; first += ref->panel, filters.w += ref->panel * filters.out) {
        uint32_t left = n_out > first ? n_out - first : 0;
        ref->tile_weights(want, (size_t)n_in * ref->panel, &filters, left, n_in, tile);
        for (uint32_t i = 0; i < points * n_in; i++)
            ASSERT_CLOSE(got + i * set->panel + first, want + i * ref->panel, ref->panel, 1e-6, set->name);
    }
    free(w), free(got), free(want);
}

Test(kernels, tiles_of_images_agree_with_the_reference)
{
    static const uint32_t channels[] = {1, 5, 16, 32, 37};
    EACH_SET (set) {
        for (enum ebm_tile tile = EBM_TILE_TWO; tile <= EBM_TILE_WHOLE; tile++) {
            for (size_t i = 0; i < EBM_COUNT_OF(channels); i++)
                check_tile(set, tile, channels[i]);
            check_tile_weights(set, tile, false);
            check_tile_weights(set, tile, true);
        }
    }
}

Test(kernels, pools_of_images_agree_with_the_reference)
{
    static const struct ebm_image_op pools[] = {
        {.from = {64, 9, 7}, .to = {64, 5, 4}, .kernel = 3, .stride = 2, .padding = 1},
        {.from = {19, 4, 6}, .to = {19, 2, 3}, .kernel = 2, .stride = 2, .padding = 0},
        {.from = {3, 2, 2}, .to = {3, 3, 3}, .kernel = 4, .stride = 1, .padding = 2},
    };
    const struct ebm_kernels *ref = ebm_kernels_ref();
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(pools); i++) {
            size_t count = ebm_shape_count(&pools[i].to);
            float *in = numbers(ebm_shape_count(&pools[i].from), 1), *got = numbers(count, 2);
            float *want = numbers(count, 2);
            in[0] = (float)NAN;
            for (int signs = 0; signs < 2; signs++) {
                set->max_pool(got, &pools[i], in, signs ? in + 1 : NULL);
                ref->max_pool(want, &pools[i], in, signs ? in + 1 : NULL);
                cr_assert(isnan(got[0]) && isnan(want[0]), "set %s", set->name);
                for (size_t j = 1; j < count; j++)
                    cr_assert(got[j] == want[j] || (isnan(got[j]) && isnan(want[j])), "set %s", set->name);
            }
            free(in), free(got), free(want);
        }
    }
}

Test(kernels, sums_of_channels_and_what_a_norm_does)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    const uint32_t C = 77, places = 33;
    EACH_SET (set) {
        float *z = numbers(2 * places * C, 1), *got = numbers(places * C, 2), *want = numbers(places * C, 2);
        double sums[2][2][77] = {{{0}}};
        set->channel_sums(sums[0][0], sums[0][1], z, 20, C); /* in two goes: the same bytes as in one */
        set->channel_sums(sums[0][0], sums[0][1], z + 20 * C, places - 20, C);
        set->channel_sums(sums[1][0], sums[1][1], z, places, C);
        cr_assert_arr_eq(sums[0], sums[1], sizeof sums[0], "set %s", set->name);
        memset(sums[1], 0, sizeof sums[1]);
        ref->channel_sums(sums[1][0], sums[1][1], z, places, C);
        for (uint32_t c = 0; c < C; c++) {
            cr_assert_float_eq(sums[0][0][c], sums[1][0][c], 1e-12 * places, "set %s", set->name);
            cr_assert_float_eq(sums[0][1][c], sums[1][1][c], 1e-12 * places, "set %s", set->name);
        }
        for (int form = 0; form < 4; form++) {
            const struct ebm_norm norm = {z + 3, z + 100, form % 2 == 0};
            got[5] = want[5] = (float)NAN;
            set->norm_places(got, got, form < 2 ? z : NULL, &norm, places, C);
            ref->norm_places(want, want, form < 2 ? z : NULL, &norm, places, C);
            ASSERT_CLOSE(got + 6, want + 6, places * C - 6, 1e-5, set->name);
            cr_assert(isnan(got[5]) && isnan(want[5]), "set %s: relu of no number", set->name);
        }
        free(z), free(got), free(want);
    }
}

Test(kernels, activations_and_derivatives)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    static const float special[16] = {0.0f,   -0.0f, 1e-30f, -1e-30f, 0.6249f, 0.6251f, -0.625f, 20.0f,
                                      -20.0f, 88.0f, -88.0f, 1e4f,    -1e4f,   1e-3f,   -1e-3f,  3.0f};
    enum { N = 4096 };
    float *z = numbers(N, 1), *da = numbers(N, 2), *residual = numbers(N, 3);
    float got[N], want[N];
    for (size_t i = 0; i < N; i++)
        z[i] = i < 16 ? special[i] : z[i] * 4.0f;
    EACH_SET (set) {
        for (int kind = EBM_ACT_IDENTITY; kind <= EBM_ACT_SOFTPLUS; kind++) {
            set->activation((enum ebm_activation)kind, got, z, NULL, N);
            ref->activation((enum ebm_activation)kind, want, z, NULL, N);
            for (size_t i = 0; i < N; i++)
                cr_assert_float_eq(got[i], want[i], 4e-7f * fmaxf(fabsf(want[i]), 1e-3f),
                                   "set %s kind %d z %g: %g, not %g", set->name, kind, (double)z[i], (double)got[i],
                                   (double)want[i]);
            set->activation((enum ebm_activation)kind, got, z, residual, N);
            ref->activation((enum ebm_activation)kind, want, z, residual, N);
            ASSERT_CLOSE(got + 16, want + 16, N - 16, 1e-6, set->name);
            set->activation_backward((enum ebm_activation)kind, got, da, z, N);
            ref->activation_backward((enum ebm_activation)kind, want, da, z, N);
            ASSERT_CLOSE(got, want, N, 1e-6, set->name);
        }
        float nan_in[16] = {NAN}, nan_out[16];
        set->activation(EBM_ACT_RELU, nan_out, nan_in, NULL, 16);
        cr_assert(isnan(nan_out[0]), "set %s: relu swallows a NaN", set->name);
    }
    free(z), free(da), free(residual);
}

Test(kernels, vecmath_is_as_accurate_as_it_says)
{
    for (double x = -87.0; x < 88.0; x += 0.00137)
        cr_assert_float_eq((double)vec_exp((float)x) / exp((double)(float)x), 1.0, 2e-7, "exp(%g)", x);
    cr_assert_eq(vec_exp(0.0f), 1.0f);
    cr_assert_eq(vec_exp(-INFINITY), 0.0f);
    cr_assert_eq(vec_exp(-1000.0f), 0.0f);
    cr_assert(isinf(vec_exp(89.0f)));
    for (double x = 1e-37; x < 1e37; x *= 1.00137)
        cr_assert_float_eq((double)vec_log((float)x), log((double)(float)x), 2e-7 * fmax(fabs(log(x)), 0.5), "log(%g)",
                           x);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t word = i < 16 ? (i % 2 ? ~0u << (i * 2) : 1u << (i * 2)) : i * 42949u + 17u;
        double want = ebm_normal(word), got = (double)vec_normal(word);
        cr_assert_float_eq(got, want, 2e-6 * fmax(fabs(want), 0.1), "normal(%08x): %.9g, not %.9g", word, got, want);
    }
}

/* exp by softmax, log by a mixture of two equal components, the normal quantile by draws of a standard normal. */
Test(kernels, functions_of_a_register_are_as_accurate)
{
    enum { N = 1024 };
    static float s[N], got[N], zero[2], one[2] = {1.0f, 1.0f};
    static uint32_t words[2][N], below[2];
    struct ebm_mixture q = {.D = 1, .K = 1, .mean = zero, .std = one, .inv_std = one, .below = below};
    double ignored[3];
    EACH_SET (set) {
        for (uint32_t i = 0; i < N; i++)
            s[i] = i < 1020 ? -(float)i * 0.0855f : i < 1022 ? -87.5f : -INFINITY;
        set->softmax(got, s, N, &ignored[0], &ignored[1], &ignored[2]);
        for (uint32_t i = 0; i < N; i++)
            cr_assert_float_eq((double)got[i] / fmax(exp((double)s[i]), 1e-38), i < 1020 ? 1.0 : 0.0, 2e-7,
                               "set %s: exp(%g) %g", set->name, (double)s[i], (double)got[i]);
        q.K = 2;
        for (float apart = 0.0f; apart < 20.0f; apart += 0.37f) { /* log(1 + exp(-apart)) */
            float y[EBM_LANES] = {0.0f}, log_const[2] = {0.0f, -apart};
            q.log_const = log_const;
            set->mixture_log_density(got, &q, y, EBM_LANES, EBM_LANES);
            cr_assert_float_eq((double)got[3], log1p(exp(-(double)apart)), 2e-7, "set %s: %g", set->name,
                               (double)apart);
        }
        q.K = 1;
        for (uint32_t first = 0; first < 100000; first += N) {
            for (uint32_t i = first; i < first + N; i++)
                words[1][i - first] = i < 16 ? (i % 2 ? ~0u << (i * 2) : 1u << (i * 2)) : i * 42949u + 17u;
            set->place(got, N, &q, words[0], N, N);
            for (uint32_t i = 0; i < N; i++) {
                double want = ebm_normal(words[1][i]);
                cr_assert_float_eq((double)got[i], want, 2e-6 * fmax(fabs(want), 0.1), "set %s: normal(%08x) %.9g",
                                   set->name, words[1][i], (double)got[i]);
            }
        }
    }
}

/* A mixture of K components in D dimensions. */
struct fixture {
    float mean[64], inv_std[64], std[64], log_weight[16], log_const[16];
    uint32_t below[16];
    struct ebm_mixture q;
};

static void make_mixture(struct fixture *f, uint32_t D, uint32_t K)
{
    double total = 0.0, cumulative = 0.0;
    float *values = numbers((size_t)2 * D * K + K, 11);
    for (uint32_t k = 0; k < K; k++)
        total += exp((double)values[2 * D * K + k]);
    for (uint32_t k = 0; k < K; k++) {
        double constant = (double)values[2 * D * K + k] - log(total);
        f->log_weight[k] = (float)constant;
        cumulative += exp(constant);
        f->below[k] = ebm_words_below(cumulative);
        for (uint32_t d = 0; d < D; d++) {
            uint32_t at = d * K + k;
            f->mean[at] = values[at];
            f->std[at] = expf(0.5f * values[D * K + at]);
            f->inv_std[at] = 1.0f / f->std[at];
            constant -= 0.5 * (double)values[D * K + at] + 0.91893853320467274;
        }
        f->log_const[k] = (float)constant;
    }
    f->q = (struct ebm_mixture){D, K, f->mean, f->inv_std, f->std, f->log_weight, f->log_const, f->below, NULL, NULL};
    free(values);
}

/* Three derivatives: the first by activation_backward, the others by differences of the one before. */
Test(kernels, the_curve_of_an_activation)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    enum { N = 256 };
    const float h = 1e-2f;
    EACH_SET (set) {
        for (int kind = EBM_ACT_IDENTITY; kind <= EBM_ACT_SOFTPLUS; kind++) {
            float z[N], ones[N], first[N], d[3][N], want[3][N], up[3][N], down[3][N];
            for (int i = 0; i < N; i++) {
                z[i] = (float)(i - N / 2) * 0.05f + 0.02f;
                ones[i] = 1.0f;
            }
            set->activation_curve((enum ebm_activation)kind, d[0], d[1], d[2], z, N);
            ref->activation_curve((enum ebm_activation)kind, want[0], want[1], want[2], z, N);
            ref->activation_backward((enum ebm_activation)kind, first, ones, z, N);
            for (int k = 0; k < 3; k++)
                for (int i = 0; i < N; i++)
                    cr_assert_float_eq(d[k][i], want[k][i], 1e-6f,
                                       "set %s, activation %d, derivative %d at %g: %g, not %g", set->name, kind, k + 1,
                                       (double)z[i], (double)d[k][i], (double)want[k][i]);
            for (int i = 0; i < N; i++)
                cr_assert_float_eq(want[0][i], first[i], 1e-7f);
            float left[N], right[N];
            for (int i = 0; i < N; i++) {
                left[i] = z[i] - h;
                right[i] = z[i] + h;
            }
            ref->activation_curve((enum ebm_activation)kind, up[0], up[1], up[2], right, N);
            ref->activation_curve((enum ebm_activation)kind, down[0], down[1], down[2], left, N);
            for (int k = 0; k < 2; k++)
                for (int i = 0; i < N; i++)
                    cr_assert_float_eq((up[k][i] - down[k][i]) / (right[i] - left[i]), want[k + 1][i], 1e-3f,
                                       "activation %d, derivative %d at %g", kind, k + 2, (double)z[i]);
        }
    }
}

Test(kernels, draws_are_those_of_philox)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    static const uint32_t dims[] = {1, 2, 3, 4, 7, 8};
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(dims); i++) {
            struct fixture f;
            enum { L = 128 };
            float got[8 * L], want[8 * L];
            make_mixture(&f, dims[i], 4);
            set->draw(got, L, &f.q, 0x123456789abcdefull, 77, 1000, L);
            ref->draw(want, L, &f.q, 0x123456789abcdefull, 77, 1000, L);
            ASSERT_CLOSE(got, want, (size_t)dims[i] * L, 1e-6, set->name);
        }
    }
}

Test(kernels, place_makes_of_the_words_of_philox_what_draw_makes)
{
    enum { D = 5, L = 32, STRIDE = 48 };
    struct fixture f;
    uint32_t words[(D + 1) * STRIDE];
    float got[D * L], want[D * L];
    make_mixture(&f, D, 3);
    for (uint32_t l = 0; l < L; l++)
        for (uint32_t i = 0; i <= D; i++) {
            uint32_t block[4];
            ebm_philox(5, 6, 7 + l, EBM_STREAM_DRAWS, i / 4, block);
            words[i * STRIDE + l] = block[i % 4];
        }
    EACH_SET (set) {
        set->draw(want, L, &f.q, 5, 6, 7, L);
        set->place(got, L, &f.q, words, STRIDE, L);
        cr_assert_eq(memcmp(got, want, sizeof got), 0, "set %s", set->name);
    }
    ebm_kernels_ref()->draw(want, L, &f.q, 5, 6, 7, L);
    ebm_kernels_ref()->place(got, L, &f.q, words, STRIDE, L);
    cr_assert_eq(memcmp(got, want, sizeof got), 0, "the reference");
}

Test(kernels, sobol_words_are_those_of_the_reference)
{
    enum { L = 128, STRIDE = 144 };
    static struct ebm_sobol set;
    static uint32_t got[EBM_SOBOL_DIMS * STRIDE], want[EBM_SOBOL_DIMS * STRIDE];
    ebm_sobol_bind(&set, 0x123456789abcdefull, 77, EBM_SOBOL_DIMS);
    ebm_kernels_ref()->sobol_words(want, STRIDE, &set, 1000 * EBM_LANES, L);
    cr_assert_eq(want[7 * STRIDE + 5], ebm_sobol_word(&set, 7, 1000 * EBM_LANES + 5));
    EACH_SET (kernels) {
        kernels->sobol_words(got, STRIDE, &set, 1000 * EBM_LANES, L);
        cr_assert_eq(memcmp(got, want, sizeof got), 0, "set %s", kernels->name);
    }
}

Test(kernels, mixture_log_density_and_gradient)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    static const uint32_t cases[][2] = {{1, 1}, {1, 4}, {2, 4}, {3, 16}, {4, 7}};
    EACH_SET (set) {
        for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
            uint32_t D = cases[i][0], K = cases[i][1];
            enum { L = 64, STRIDE = 96 };
            struct fixture f;
            make_mixture(&f, D, K);
            float *y = numbers((size_t)D * STRIDE, 21), *dlog_q = numbers(L, 22), got[L], want[L];
            y[3] = 50.0f; /* far out: log space must hold */
            y[5] = -3e4f;
            set->mixture_log_density(got, &f.q, y, STRIDE, L);
            ref->mixture_log_density(want, &f.q, y, STRIDE, L);
            for (size_t l = 0; l < L; l++)
                cr_assert_float_eq(got[l], want[l], 2e-6f * fmaxf(fabsf(want[l]), 1.0f), "set %s: %g, not %g",
                                   set->name, (double)got[l], (double)want[l]);
            if (K > 1) { /* a component that is not a number must not be passed over */
                float saved = f.log_const[K - 1], broken[L], broken_ref[L];
                f.log_const[K - 1] = NAN;
                set->mixture_log_density(broken, &f.q, y, STRIDE, L);
                ref->mixture_log_density(broken_ref, &f.q, y, STRIDE, L);
                for (size_t l = 0; l < L; l++)
                    cr_assert(isnan(broken[l]) && isnan(broken_ref[l]), "set %s lane %zu: %g, %g", set->name, l,
                              (double)broken[l], (double)broken_ref[l]);
                f.log_const[K - 1] = saved;
            }
            double sums[2][144] = {{0}};
            struct ebm_mixture_grad a = {sums[0], sums[0] + D * K, sums[0] + 2 * D * K};
            struct ebm_mixture_grad b = {sums[1], sums[1] + D * K, sums[1] + 2 * D * K};
            dlog_q[3] = dlog_q[5] = 0.0f;
            set->mixture_backward(&a, &f.q, y, STRIDE, want, dlog_q, L);
            ref->mixture_backward(&b, &f.q, y, STRIDE, want, dlog_q, L);
            for (size_t j = 0; j < 2 * D * K + K; j++)
                cr_assert_float_eq(sums[0][j], sums[1][j], 2e-5 * fmax(1.0, fabs(sums[1][j])), "set %s: %g, not %g",
                                   set->name, sums[0][j], sums[1][j]);
            free(y), free(dlog_q);
        }
    }
}

Test(kernels, softmax_moments_and_what_is_not_finite)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    enum { N = 1040 };
    EACH_SET (set) {
        float *s = numbers(N, 31), *y = numbers(N, 32), w[N], w_ref[N];
        double got[3], want[3], m[3], m_ref[3];
        for (size_t i = 0; i < N; i++)
            s[i] = i < 1024 ? s[i] * 3.0f - 5000.0f : -INFINITY;
        set->softmax(w, s, N, &got[0], &got[1], &got[2]);
        ref->softmax(w_ref, s, N, &want[0], &want[1], &want[2]);
        ASSERT_CLOSE(w, w_ref, N, 1e-6, set->name);
        for (int i = 0; i < 3; i++)
            cr_assert_float_eq(got[i], want[i], 1e-6 * fabs(want[i]), "set %s: %g, not %g", set->name, got[i], want[i]);
        set->moments(y, w_ref, N, want[1], &m[0], &m[1], &m[2]);
        ref->moments(y, w_ref, N, want[1], &m_ref[0], &m_ref[1], &m_ref[2]);
        for (int i = 0; i < 3; i++)
            cr_assert_float_eq(m[i], m_ref[i], 1e-12, "set %s: %g, not %g", set->name, m[i], m_ref[i]);
        s[7] = NAN;
        set->softmax(w, s, N, &got[0], &got[1], &got[2]);
        cr_assert(isnan(got[0]), "set %s: a NaN went unseen", set->name);
        s[7] = INFINITY;
        set->softmax(w, s, N, &got[0], &got[1], &got[2]);
        cr_assert(isnan(got[0]), "set %s: an infinity went unseen", set->name);
        for (size_t i = 0; i < N; i++)
            s[i] = -INFINITY;
        set->softmax(w, s, N, &got[0], &got[1], &got[2]);
        cr_assert(isnan(got[0]), "set %s: nothing at all went unseen", set->name);
        free(s), free(y);
    }
}

/* Weights of all magnitudes, some of them equal, at any length. */
Test(kernels, the_tail_of_weights_and_its_fit)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    enum { N = 1500 };
    static const uint32_t counts[] = {25, 100, 257, 1024, N};
    static float got[N + EBM_LANES], want[N + EBM_LANES];
    EACH_SET (set) {
        float *w = numbers(N, 33);
        for (uint32_t i = 0; i < N; i++)
            w[i] = i % 7 == 0 ? w[i / 7] : expf(3.0f * w[i]);
        for (size_t c = 0; c < EBM_COUNT_OF(counts); c++) {
            uint32_t n = counts[c], most = n / 5;
            float cutoff, cutoff_ref;
            uint32_t n_got = set->tail(got, w, n, most, &cutoff), n_want = ref->tail(want, w, n, most, &cutoff_ref);
            cr_assert(n_got == n_want && memcmp(got, want, n_got * sizeof *got) == 0 && cutoff == cutoff_ref,
                      "set %s, %u weights: %u above %g, not %u above %g", set->name, n, n_got, (double)cutoff, n_want,
                      (double)cutoff_ref);
            double sigma, sigma_ref, k_ref = ref->pareto_fit(want, n_want, cutoff, &sigma_ref);
            double k = set->pareto_fit(want, n_want, cutoff, &sigma);
            cr_assert_float_eq(k, k_ref, 1e-12, "set %s: k %.15g, not %.15g", set->name, k, k_ref);
            cr_assert_float_eq(sigma, sigma_ref, 1e-11 * sigma_ref, "set %s: sigma %g", set->name, sigma);
        }
        free(w);
    }
}

Test(kernels, adam_takes_the_reference_step)
{
    const struct ebm_kernels *ref = ebm_kernels_ref();
    struct ebm_adam_step step = {1e-3, 0.9, 0.999, 1e-8, 1 - 0.9 * 0.9 * 0.9, 1 - 0.999 * 0.999 * 0.999};
    enum { N = 1600 };
    EACH_SET (set) {
        float *p = numbers(N, 1), *m = numbers(N, 2), *v = numbers(N, 3), *g = numbers(N, 4);
        for (size_t i = 0; i < N; i++)
            v[i] = v[i] * v[i];
        float *p2 = numbers(N, 1), *m2 = numbers(N, 2), *v2 = numbers(N, 3);
        memcpy(v2, v, N * sizeof *v);
        set->adam(p, m, v, g, N, &step);
        ref->adam(p2, m2, v2, g, N, &step);
        ASSERT_CLOSE(p, p2, N, 1e-6, set->name);
        ASSERT_CLOSE(m, m2, N, 1e-6, set->name);
        ASSERT_CLOSE(v, v2, N, 1e-6, set->name);
        free(p), free(m), free(v), free(g), free(p2), free(m2), free(v2);
    }
}

Test(quantile, mixture_inverts_its_distribution_function)
{
    struct fixture f;
    make_mixture(&f, 2, 4);
    static const double p[] = {1e-6, 0.05, 0.5, 0.95, 1 - 1e-6};
    for (uint32_t d = 0; d < 2; d++) {
        double y[EBM_COUNT_OF(p)];
        ebm_quantile_mixture(y, 1, p, EBM_COUNT_OF(p), &f.q, d);
        for (size_t i = 0; i < EBM_COUNT_OF(p); i++) {
            double cdf = 0.0, total = 0.0;
            for (uint32_t k = 0; k < 4; k++) {
                total += exp((double)f.log_weight[k]);
                cdf += exp((double)f.log_weight[k]) * 0.5 *
                       erfc(-(y[i] - (double)f.mean[d * 4 + k]) * (double)f.inv_std[d * 4 + k] / sqrt(2.0));
            }
            cdf /= total;
            cr_assert_float_eq(cdf, p[i], 1e-9, "d %u p %g: cdf %g", d, p[i], cdf);
        }
    }
}

Test(quantile, far_tails_of_a_mixture_are_as_far_on_both_sides)
{
    float mean[3] = {-1.0f, 0.0f, 1.0f}, std[3] = {1.0f, 1.0f, 1.0f}, log_weight[3];
    struct ebm_mixture q = {.D = 1, .K = 3, .mean = mean, .inv_std = std, .std = std, .log_weight = log_weight};
    for (int k = 0; k < 3; k++)
        log_weight[k] = logf(1.0f / 3.0f);
    for (double tail = 0x1p-53; tail < 0.5; tail *= 8.0) {
        double p[2] = {tail, 1.0 - tail}, y[2];
        ebm_quantile_mixture(y, 1, p, 2, &q, 0);
        cr_assert_float_eq(y[0], -y[1], 1e-6, "tail %g: %g and %g", tail, y[0], y[1]);
        cr_assert(y[1] < 10.0, "tail %g: %g", tail, y[1]);
    }
}
