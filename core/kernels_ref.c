/* kernels_ref.c - the fine table, slow and obvious: every kernel as its formula says, one number at a time, the C
 * library's functions, sums in double. Never optimised; all other kernels are compared with it. */
#include "core/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/pareto.h"
#include "core/support.h"

static void linear(float *out, const float *w, size_t ldw, const float *bias, const float *x, uint32_t n_out,
                   uint32_t n_in, uint32_t L)
{
    for (uint32_t o = 0; o < n_out; o++) {
        for (uint32_t l = 0; l < L; l++) {
            double sum = bias ? (double)bias[o] : 0.0;
            for (uint32_t i = 0; i < n_in; i++)
                sum += (double)w[o * ldw + i] * (double)x[(size_t)i * L + l];
            out[(size_t)o * L + l] = (float)sum;
        }
    }
}

static void linear_backward_input(float *dx, const float *w, size_t ldw, const float *dz, const float *residual,
                                  uint32_t n_out, uint32_t n_in, uint32_t L)
{
    for (uint32_t i = 0; i < n_in; i++) {
        for (uint32_t l = 0; l < L; l++) {
            double sum = 0.0;
            for (uint32_t o = 0; o < n_out; o++)
                sum += (double)w[o * ldw + i] * (double)dz[(size_t)o * L + l];
            dx[(size_t)i * L + l] = (float)(sum + (residual != NULL ? (double)residual[(size_t)i * L + l] : 0.0));
        }
    }
}

static void linear_backward_weight(float *dw, size_t ldw, float *db, const float *dz, const float *x, uint32_t n_out,
                                   uint32_t n_in, uint32_t L)
{
    for (uint32_t o = 0; o < n_out; o++) {
        for (uint32_t i = 0; i < n_in; i++) {
            double sum = 0.0;
            for (uint32_t l = 0; l < L; l++)
                sum += (double)dz[(size_t)o * L + l] * (double)x[(size_t)i * L + l];
            dw[o * ldw + i] = (float)((double)dw[o * ldw + i] + sum);
        }
        if (db != NULL) {
            double sum = 0.0;
            for (uint32_t l = 0; l < L; l++)
                sum += (double)dz[(size_t)o * L + l];
            db[o] = (float)((double)db[o] + sum);
        }
    }
}

static double activate(enum ebm_activation kind, double z)
{
    switch (kind) {
    case EBM_ACT_IDENTITY:
        return z;
    case EBM_ACT_RELU:
        return z > 0.0 || isnan(z) ? z : 0.0;
    case EBM_ACT_TANH:
        return tanh(z);
    case EBM_ACT_SILU:
        return z / (1.0 + exp(-z));
    case EBM_ACT_SOFTPLUS:
        return (z > 0.0 ? z : 0.0) + log1p(exp(-fabs(z)));
    }
    return z;
}

static double activate_derivative(enum ebm_activation kind, double z)
{
    double sigmoid = 1.0 / (1.0 + exp(-z));
    switch (kind) {
    case EBM_ACT_IDENTITY:
        return 1.0;
    case EBM_ACT_RELU:
        return z > 0.0 ? 1.0 : 0.0;
    case EBM_ACT_TANH:
        return 1.0 - tanh(z) * tanh(z);
    case EBM_ACT_SILU:
        return sigmoid * (1.0 + z * (1.0 - sigmoid));
    case EBM_ACT_SOFTPLUS:
        return sigmoid;
    }
    return 1.0;
}

static void activation(enum ebm_activation kind, float *a, const float *z, const float *residual, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = (float)(activate(kind, (double)z[i]) + (residual ? (double)residual[i] : 0.0));
}

static void layer(enum ebm_activation kind, float *a, float *z, const struct ebm_linear *of, const float *x,
                  const float *residual, uint32_t L)
{
    z = z != NULL ? z : a;
    linear(z, of->w, of->ldw, of->bias, x, of->n_out, of->n_in, L);
    activation(kind, a, z, residual, (size_t)of->n_out * L);
}

static void activation_backward(enum ebm_activation kind, float *dz, const float *da, const float *z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dz[i] = (float)((double)da[i] * activate_derivative(kind, (double)z[i]));
}

static void activation_curve(enum ebm_activation kind, float *d1, float *d2, float *d3, const float *z, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = (double)z[i], s = 1.0 / (1.0 + exp(-v)), u = s * (1.0 - s), w = u * (1.0 - 2.0 * s); /* s, s', s'' */
        double second = 0.0, third = 0.0, t = tanh(v);
        if (kind == EBM_ACT_TANH) {
            second = -2.0 * t * (1.0 - t * t);
            third = (1.0 - t * t) * (6.0 * t * t - 2.0);
        } else if (kind == EBM_ACT_SILU) {
            second = 2.0 * u + v * w;
            third = 3.0 * w + v * u * ((1.0 - 2.0 * s) * (1.0 - 2.0 * s) - 2.0 * u);
        } else if (kind == EBM_ACT_SOFTPLUS) {
            second = u;
            third = w;
        }
        d1[i] = (float)activate_derivative(kind, v);
        d2[i] = (float)second;
        d3[i] = (float)third;
    }
}

static uint32_t component_of(const struct ebm_mixture *q, uint32_t word)
{
    uint32_t k = 0;
    while (k + 1 < q->K && word >= q->below[k])
        k++;
    return k;
}

/* By bisection on the share of the truncated normal below y. */
static float bounded_coordinate(const struct ebm_mixture *q, uint32_t d, uint32_t k, double u)
{
    struct ebm_truncated t;
    ebm_truncated_init(&t, &q->support[d], (double)q->mean[d * q->K + k], (double)q->std[d * q->K + k]);
    double low = t.from, high = t.to;
    for (int step = 0; step < 100; step++) {
        double middle = 0.5 * (low + high);
        bool is_below = u < 0.5 ? ebm_truncated_share(&t, t.from, middle) < u
                                : ebm_truncated_share(&t, middle, t.to) > 1.0 - u;
        *(is_below ? &low : &high) = middle;
    }
    return (float)fmin(fmax(t.anchor + t.std * low, q->support[d].lower), q->support[d].upper);
}

/* From a standard deviation of one period on the angle is uniform. */
static float periodic_coordinate(const struct ebm_mixture *q, uint32_t d, uint32_t k, uint32_t word)
{
    const struct ebm_support *support = &q->support[d];
    double std = fmin((double)q->std[d * q->K + k], support->upper - support->lower);
    return (float)ebm_support_return(support, (double)q->mean[d * q->K + k] + std * ebm_normal(word));
}

/* Coordinate d of a draw of component k. */
static float coordinate(const struct ebm_mixture *q, uint32_t d, uint32_t k, uint32_t word)
{
    if (q->confined != NULL && q->support[d].kind == EBM_SUPPORT_BOUNDED)
        return bounded_coordinate(q, d, k, ebm_uniform(word));
    if (q->confined != NULL && q->support[d].kind == EBM_SUPPORT_PERIODIC)
        return periodic_coordinate(q, d, k, word);
    return (float)((double)q->mean[d * q->K + k] + (double)q->std[d * q->K + k] * ebm_normal(word));
}

static void draw(float *y, size_t stride, const struct ebm_mixture *q, uint64_t seed, uint32_t row, uint32_t first,
                 uint32_t L)
{
    for (uint32_t l = 0; l < L; l++) {
        uint32_t words[4];
        ebm_philox(seed, row, first + l, EBM_STREAM_DRAWS, 0, words);
        uint32_t k = component_of(q, words[0]);
        for (uint32_t d = 0; d < q->D; d++) {
            uint32_t at = d + 1;
            if (at % 4 == 0)
                ebm_philox(seed, row, first + l, EBM_STREAM_DRAWS, at / 4, words);
            y[(size_t)d * stride + l] = coordinate(q, d, k, words[at % 4]);
        }
    }
}

static void place(float *y, size_t stride, const struct ebm_mixture *q, const uint32_t *words, size_t word_stride,
                  uint32_t L)
{
    for (uint32_t l = 0; l < L; l++) {
        uint32_t k = component_of(q, words[l]);
        for (uint32_t d = 0; d < q->D; d++)
            y[(size_t)d * stride + l] = coordinate(q, d, k, words[(d + 1) * word_stride + l]);
    }
}

static void sobol_words(uint32_t *words, size_t word_stride, const struct ebm_sobol *set, uint32_t first, uint32_t L)
{
    for (uint32_t d = 0; d < set->dims; d++)
        for (uint32_t l = 0; l < L; l++)
            words[d * word_stride + l] = ebm_sobol_word(set, d, first + l);
}

/* log of component k's weighted density at lane l */
static double component(const struct ebm_mixture *q, const float *y, size_t stride, uint32_t l, uint32_t k)
{
    double sum = (double)q->log_const[k];
    for (uint32_t d = 0; d < q->D; d++)
        sum += ebm_mixture_score(q, d, k, (double)y[d * stride + l]).log_density;
    return sum;
}

static void mixture_log_density(float *log_q, const struct ebm_mixture *q, const float *y, size_t stride, uint32_t L)
{
    for (uint32_t l = 0; l < L; l++) {
        double max = -INFINITY, sum = 0.0;
        for (uint32_t k = 0; k < q->K; k++)
            max = fmax(max, component(q, y, stride, l, k));
        for (uint32_t k = 0; k < q->K; k++)
            sum += exp(component(q, y, stride, l, k) - max);
        log_q[l] = (float)(max == -INFINITY ? max : max + log(sum)); /* a NaN in any component shows in the sum */
    }
}

static void mixture_backward(struct ebm_mixture_grad *grad, const struct ebm_mixture *q, const float *y, size_t stride,
                             const float *log_q, const float *dlog_q, uint32_t L)
{
    for (uint32_t l = 0; l < L; l++) {
        double g = (double)dlog_q[l];
        if (g == 0.0)
            continue;
        for (uint32_t k = 0; k < q->K; k++) {
            double r = exp(component(q, y, stride, l, k) - (double)log_q[l]);
            grad->dlogit[k] += g * (r - exp((double)q->log_weight[k]));
            for (uint32_t d = 0; d < q->D; d++) {
                size_t at = (size_t)d * q->K + k;
                struct ebm_score score = ebm_mixture_score(q, d, k, (double)y[d * stride + l]);
                grad->dmean[at] += g * r * score.mean * (double)q->inv_std[at];
                grad->dlog_variance[at] += g * r * 0.5 * score.spread;
            }
        }
    }
}

static void softmax(float *w, const float *s, uint32_t n, double *ret_max, double *ret_sum, double *ret_sum_squares)
{
    float max = -INFINITY;
    double sum = 0.0, squares = 0.0;
    bool finite = true;
    for (uint32_t i = 0; i < n; i++) {
        finite = finite && s[i] < INFINITY;
        max = s[i] > max ? s[i] : max;
    }
    for (uint32_t i = 0; i < n; i++) {
        w[i] = (float)exp((double)s[i] - (double)max);
        sum += (double)w[i];
        squares += (double)w[i] * (double)w[i];
    }
    *ret_max = finite && max > -INFINITY ? (double)max : (double)NAN;
    *ret_sum = sum;
    *ret_sum_squares = squares;
}

static void moments(const float *y, const float *w, uint32_t n, double sum, double *ret_mean, double *ret_variance,
                    double *ret_squared_error)
{
    double mean = 0.0, variance = 0.0, error = 0.0;
    for (uint32_t i = 0; i < n; i++)
        mean += (double)w[i] / sum * (double)y[i];
    for (uint32_t i = 0; i < n; i++) {
        double share = (double)w[i] / sum, difference = (double)y[i] - mean;
        variance += share * difference * difference;
        error += share * share * difference * difference;
    }
    *ret_mean = mean;
    *ret_variance = variance;
    *ret_squared_error = error;
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static uint32_t tail(float *ret_tail, const float *w, uint32_t n, uint32_t most, float *ret_cutoff)
{
    uint32_t count = 0;
    memcpy(ret_tail, w, n * sizeof *w);
    qsort(ret_tail, n, sizeof *w, descending);
    float cutoff = ret_tail[most];
    for (uint32_t i = 0; i < n; i++)
        if (w[i] > cutoff)
            ret_tail[count++] = w[i];
    *ret_cutoff = cutoff;
    return count;
}

static double mean_log(const double *x, uint32_t n, double b)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += log1p(-b * x[i]);
    return sum / n;
}

static double pareto_fit(const float *from, uint32_t n, float cutoff, double *ret_sigma)
{
    double x[EBM_PARETO_TAIL], b[EBM_PARETO_GRID], fitness[EBM_PARETO_GRID], best = -INFINITY, sum = 0.0, mean = 0.0;
    float sorted[EBM_PARETO_TAIL];
    uint32_t grid = ebm_pareto_grid(n);
    memcpy(sorted, from, n * sizeof *from);
    qsort(sorted, n, sizeof *sorted, descending);
    for (uint32_t i = 0; i < n; i++)
        x[i] = (double)sorted[i] - (double)cutoff;
    for (uint32_t j = 0; j < grid; j++) {
        b[j] = ebm_pareto_point(j, grid, x[0], x[n - 1 - ebm_pareto_quartile(n)]);
        double k = mean_log(x, n, b[j]);
        fitness[j] = n * (log(-b[j] / k) - k - 1.0);
        best = fmax(best, fitness[j]);
    }
    for (uint32_t j = 0; j < grid; j++) {
        sum += exp(fitness[j] - best);
        mean += exp(fitness[j] - best) * b[j];
    }
    mean /= sum;
    double k = mean_log(x, n, mean);
    *ret_sigma = -k / mean;
    return ebm_pareto_shrunk(k, n);
}

static void knots(double *f, uint16_t *crossings, const float *u, const float *hx, const float *v, uint32_t n,
                  uint32_t L)
{
    for (uint32_t l = 0; l < L; l++)
        f[l] = 0.0;
    for (uint32_t j = 0; j < n; j++) {
        const float *at = u + (size_t)j * L;
        for (uint32_t l = 0; l < L; l++) {
            float z = at[l] + hx[j];
            f[l] += (double)v[j] * (z < 0.0f ? 0.0 : (double)z);
        }
        for (uint32_t block = 0; block < L / EBM_LANES; block++) {
            uint16_t bits = 0;
            for (uint32_t l = block * EBM_LANES; l < (block + 1) * EBM_LANES - 1; l++)
                if ((at[l] + hx[j] > 0.0f) != (at[l + 1] + hx[j] > 0.0f))
                    bits |= (uint16_t)(1u << l % EBM_LANES);
            crossings[(size_t)j * (L / EBM_LANES) + block] = bits;
        }
    }
}

static void spread(float *sums0, float *sums1, float *active, const float *weight0, const float *weight1,
                   const float *u, const float *hx, uint32_t n, uint32_t L)
{
    for (uint32_t j = 0; j < n; j++) {
        double sum = 0.0;
        for (uint32_t l = 0; l < L; l++) {
            size_t at = (size_t)j * L + l;
            float z = u[at] + hx[j], next = u[at + 1] + hx[j];
            if (!(z >= 0.0f && next >= 0.0f && z + next > 0.0f))
                continue;
            sums0[at] += weight0[l];
            sums1[at] += weight1[l];
            sum += (double)weight0[l];
        }
        active[j] = (float)sum;
    }
}

static void rows_product(float *out, const float *w, const float *a, size_t lda, uint32_t n, uint32_t n_in, uint32_t O)
{
    for (uint32_t p = 0; p < n; p++)
        for (uint32_t o = 0; o < O; o++) {
            double sum = (double)out[(size_t)p * O + o];
            for (uint32_t i = 0; i < n_in; i++)
                sum += (double)a[p * lda + i] * (double)w[(size_t)i * O + o];
            out[(size_t)p * O + o] = (float)sum;
        }
}

static void rows_signs(uint16_t *signs, const float *z, uint32_t n, uint32_t O)
{
    memset(signs, 0, (n - 1) * (O / EBM_LANES) * sizeof *signs);
    for (size_t i = 0; i < (size_t)(n - 1) * O; i++)
        if (signbit(z[i]) != signbit(z[i + O]))
            signs[i / EBM_LANES] |= (uint16_t)(1u << i % EBM_LANES);
}

static void rows_output(double *f, const float *w, const float *z, const float *v, bool is_relu, uint32_t n, uint32_t O)
{
    for (uint32_t p = 0; p < n; p++) {
        f[p] = 0.0;
        for (size_t i = (size_t)p * O; i < (size_t)(p + 1) * O; i++)
            f[p] += (double)w[i % O] *
                    ((is_relu && z[i] < 0.0f ? 0.0 : (double)z[i]) + (v != NULL ? (double)v[i] : 0.0));
    }
}

/* ---- images, channels inner ---- */

#define CONV_PANEL 4u

static void panels_product(float *out, size_t ldo, const struct ebm_rows *rows, const float *w, uint32_t n_panels)
{
    const size_t n_in = (size_t)rows->runs * rows->run;
    for (uint32_t r = 0; r < rows->n; r++)
        for (uint32_t o = 0; o < n_panels * CONV_PANEL; o++) {
            double sum = 0.0;
            for (size_t i = 0; i < n_in; i++)
                sum += (double)rows->first[r * rows->next + i / rows->run * rows->step + i % rows->run] *
                       (double)w[((o / CONV_PANEL) * n_in + i) * CONV_PANEL + o % CONV_PANEL];
            out[r * ldo + o] = (float)sum;
        }
}

static float finished(double z, float out, const struct ebm_finish *finish, uint32_t c)
{
    double value = z + (double)finish->bias[c] + (finish->adds ? (double)out : 0.0);
    return finish->has_relu && value < 0.0 ? 0.0f : (float)value;
}

static void finish_rows(float *out, const float *z, size_t ldz, const struct ebm_finish *finish, size_t n, uint32_t C)
{
    for (size_t i = 0; i < n; i++, out += C, z += ldz)
        for (uint32_t c = 0; c < C; c++)
            out[c] = finished((double)z[c], out[c], finish, c);
}

/* The matrices B (points, in), G (points, 3) and A (out, points) of a tile, in rows of 6. */
#define TILE_A 0.70710678118654752
#define TILE_B 1.41421356237309505

static const double tile_b[3][6][6] = {
    {{1, 0, -1}, {0, 1, 1}, {0, -1, 1}, {0, 1, 0, -1}},
    {{1, 0, -2.5, 0, 1},
     {0, -2 * TILE_A, -2, TILE_A, 1},
     {0, 2 * TILE_A, -2, -TILE_A, 1},
     {0, -TILE_B / 2, -0.5, TILE_B, 1},
     {0, TILE_B / 2, -0.5, -TILE_B, 1},
     {0, 1, 0, -2.5, 0, 1}},
    {{1, 1}, {0, 1}, {1, 0}},
};
static const double tile_g[3][6][6] = {
    {{1}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}},
    {{1},
     {-2 / 3.0, -TILE_A * 2 / 3, -1 / 3.0},
     {-2 / 3.0, TILE_A * 2 / 3, -1 / 3.0},
     {1 / 6.0, TILE_B / 6, 1 / 3.0},
     {1 / 6.0, -TILE_B / 6, 1 / 3.0},
     {0, 0, 1}},
    {{0, 1}, {0, -1, 1}, {1, -1}},
};
static const double tile_a[3][6][6] = {
    {{1, 1, 1}, {0, 1, -1, -1}},
    {{1, 1, 1, 1, 1},
     {0, TILE_A, -TILE_A, TILE_B, -TILE_B},
     {0, 0.5, 0.5, 2, 2},
     {0, TILE_A / 2, -TILE_A / 2, 2 * TILE_B, -2 * TILE_B, 1}},
    {{1, 1}, {1, 0, 1}},
};

/* Number (i, j) of m x m', x (n, n) of float k at x[k]. */
static double both_ways(const double m[6][6], const double *x, uint32_t n, uint32_t i, uint32_t j)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < n * n; k++)
        sum += m[i][k / n] * m[j][k % n] * x[k];
    return sum;
}

static void tile_in(float *v, size_t stride, const float *const *at, uint32_t C, enum ebm_tile tile)
{
    const struct ebm_tile_size size = ebm_tile_size(tile);
    double d[EBM_MOST_IN];
    for (uint32_t c = 0; c < C; c++) {
        for (uint32_t k = 0; k < size.in * size.in; k++)
            d[k] = (double)at[k][c];
        for (uint32_t p = 0; p < size.points * size.points; p++)
            v[p * stride + c] = (float)both_ways(tile_b[tile], d, size.in, p / size.points, p % size.points);
    }
}

static void tile_out(float *const *to, const float *m, size_t stride, const struct ebm_finish *finish, uint32_t C,
                     enum ebm_tile tile)
{
    const struct ebm_tile_size size = ebm_tile_size(tile);
    double products[EBM_MOST_IN];
    for (uint32_t c = 0; c < C; c++) {
        for (uint32_t p = 0; p < size.points * size.points; p++)
            products[p] = (double)m[p * stride + c];
        for (uint32_t k = 0; k < size.out * size.out; k++)
            if (to[k] != NULL)
                to[k][c] = finished(both_ways(tile_a[tile], products, size.points, k / size.out, k % size.out),
                                    to[k][c], finish, c);
    }
}

static void tile_weights(float *packed, size_t stride, const struct ebm_filters *filters, uint32_t n_out, uint32_t n_in,
                         enum ebm_tile tile)
{
    const uint32_t points = ebm_tile_size(tile).points;
    double taps[9];
    for (uint32_t i = 0; i < n_in; i++)
        for (uint32_t o = 0; o < CONV_PANEL; o++) {
            for (uint32_t k = 0; k < 9; k++)
                taps[k] = o < n_out
                              ? (double)
                                    filters->w[o * filters->out + i * filters->in + (filters->is_turned ? 8 - k : k)]
                              : 0.0;
            for (uint32_t p = 0; p < points * points; p++)
                packed[p * stride + i * CONV_PANEL + o] = (float)both_ways(tile_g[tile], taps, 3, p / points,
                                                                           p % points);
        }
}

static void max_pool(float *out, const struct ebm_image_op *op, const float *in, const float *sign)
{
    const size_t C = op->to.channels;
    for (uint32_t y = 0; y < op->to.height; y++)
        for (uint32_t x = 0; x < op->to.width; x++)
            for (size_t c = 0; c < C; c++, out++) {
                bool is_smallest = sign != NULL && signbit(sign[c]);
                *out = is_smallest ? INFINITY : -INFINITY;
                for (uint32_t k = 0; k < op->kernel * op->kernel; k++) {
                    uint32_t row = y * op->stride + k / op->kernel - op->padding;
                    uint32_t column = x * op->stride + k % op->kernel - op->padding;
                    if (row >= op->from.height || column >= op->from.width) /* wraps when negative */
                        continue;
                    float value = in[((size_t)row * op->from.width + column) * C + c];
                    *out = (is_smallest ? value < *out : value > *out) || isnan(value) ? value : *out;
                }
            }
}

static void channel_sums(double *sums, double *squares, const float *z, size_t places, uint32_t C)
{
    for (size_t p = 0; p < places; p++, z += C)
        for (uint32_t c = 0; c < C; c++) {
            sums[c] += (double)z[c];
            squares[c] += (double)z[c] * (double)z[c];
        }
}

static void norm_places(float *a, const float *z, const float *add, const struct ebm_norm *norm, size_t places,
                        uint32_t C)
{
    for (size_t i = 0; i < places * C; i++) {
        double value = (double)norm->factor[i % C] * (double)z[i] + (double)norm->offset[i % C] +
                       (add != NULL ? (double)add[i] : 0.0);
        a[i] = norm->has_relu && value < 0.0 ? 0.0f : (float)value;
    }
}

static void adam(float *p, float *m, float *v, const float *g, size_t n, const struct ebm_adam_step *step)
{
    for (size_t i = 0; i < n; i++) {
        double gradient = (double)g[i];
        m[i] = (float)(step->beta1 * (double)m[i] + (1.0 - step->beta1) * gradient);
        v[i] = (float)(step->beta2 * (double)v[i] + (1.0 - step->beta2) * gradient * gradient);
        double rate = step->learning_rate / step->correction1;
        p[i] = (float)((double)p[i] - rate * (double)m[i] / (sqrt((double)v[i] / step->correction2) + step->epsilon));
    }
}

const struct ebm_kernels *ebm_kernels_ref(void)
{
    static const struct ebm_kernels kernels = EBM_KERNELS_TABLE("ref");
    return &kernels;
}
