/* kernels.c - GFLOP/s of the matrix products of a layer: our register blocks against OpenBLAS, at the shapes that
 * matter. Best of several short rounds each: says where core/kernels_cpu_lanes.c should change over. Then what a draw
 * of a mixture costs on a line, in a box and on a circle, with its density and gradient: `bench-kernels mixtures`
 * says that alone, `bench-kernels limit` how fast OpenBLAS multiplies at V's widest layer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/blas.h"
#include "core/clock.h"
#include "core/device_internal.h"
#include "core/kernels.h"

#define MOST (1u << 22)

struct shape {
    uint32_t out, in, lanes;
};

static float *w, *x, *y;

static void ours(struct shape s)
{
    ebm_kernels_cpu()->linear(y, w, s.in, NULL, x, s.out, s.in, s.lanes);
}

static void ours_input(struct shape s)
{
    ebm_kernels_cpu()->linear_backward_input(y, w, s.in, x, NULL, s.out, s.in, s.lanes);
}

static void blas(struct shape s)
{
    ebm_blas_nn(y, s.lanes, w, s.in, x, s.lanes, s.out, s.lanes, s.in, 0.0f);
}

static void blas_input(struct shape s)
{
    ebm_blas_tn(y, s.lanes, w, s.in, x, s.lanes, s.in, s.lanes, s.out);
}

static void blas_weight(struct shape s)
{
    ebm_blas_nt_add(y, s.in, x, s.lanes, w, s.lanes, s.out, s.in, s.lanes);
}

static void ours_weight(struct shape s)
{
    ebm_kernels_cpu()->linear_backward_weight(y, s.in, NULL, x, w, s.out, s.in, s.lanes);
}

static double rate(void (*run)(struct shape), struct shape s)
{
    double best = 0.0;
    for (int round = 0; round < 7; round++) {
        uint64_t start = ebm_clock_ns(), spent = 0, calls = 0;
        while (spent < 10000000u) {
            for (int i = 0; i < 16; i++)
                run(s);
            calls += 16;
            spent = ebm_clock_ns() - start;
        }
        double gflops = 2.0 * s.out * s.in * s.lanes * (double)calls / (double)spent;
        best = gflops > best ? gflops : best;
    }
    return best;
}

/* ---- mixtures ---- */

enum { DRAWS = 1024, COMPONENTS = 4 };

struct mixture_work {
    const struct ebm_mixture *q;
    float log_q[DRAWS];
    double sums[3 * COMPONENTS];
};

static void run_draw(struct mixture_work *work)
{
    ebm_kernels_cpu()->draw(y, DRAWS, work->q, 1, 2, 0, DRAWS);
}

static void run_density(struct mixture_work *work)
{
    ebm_kernels_cpu()->mixture_log_density(work->log_q, work->q, y, DRAWS, DRAWS);
}

static void run_gradient(struct mixture_work *work)
{
    double *sums = work->sums;
    struct ebm_mixture_grad grad = {sums, sums + COMPONENTS, sums + 2 * COMPONENTS};
    ebm_kernels_cpu()->mixture_backward(&grad, work->q, y, DRAWS, work->log_q, w, DRAWS);
}

/* ns a draw, the best round */
static double cost(void (*run)(struct mixture_work *), struct mixture_work *work)
{
    double best = 1e9;
    for (int round = 0; round < 15; round++) {
        uint64_t start = ebm_clock_ns();
        for (int i = 0; i < 200; i++)
            run(work);
        double ns = (double)(ebm_clock_ns() - start) / 200.0 / DRAWS;
        best = ns < best ? ns : best;
    }
    return best;
}

/* One dimension, four components. */
static void mixture(const char *name, enum ebm_support_kind kind)
{
    static const float mean[COMPONENTS] = {-0.7f, 0.1f, 0.4f, 1.6f},
                       log_variance[COMPONENTS] = {-2.0f, 0.0f, -4.0f, -1.0f};
    static const float log_weight[COMPONENTS] = {-1.386294f, -1.386294f, -1.386294f, -1.386294f};
    static struct mixture_work work;
    static float space[4096];
    const struct ebm_support support = {kind, -1.0, 1.5};
    struct ebm_mixture q;
    if (ebm_mixture_count(1, COMPONENTS) > EBM_COUNT_OF(space) ||
        !ebm_mixture_bind(&q, space, mean, log_variance, log_weight, &support, 1, COMPONENTS))
        return;
    work.q = &q;
    double draw = cost(run_draw, &work), density = cost(run_density, &work);
    printf("%-18s %8.2f %8.2f %10.2f\n", name, draw, density, cost(run_gradient, &work));
}

/* 1024 samples through 512 x 128: what the scorer and training of V are compared with. */
static void limit(void)
{
    printf("sgemm 1024x512x128 %.1f GFLOP/s\n", rate(blas, (struct shape){512, 128, 1024}));
}

int main(int argc, char **argv)
{
    bool products = argc < 2 || strcmp(argv[1], "mixtures") != 0;
    static const struct shape shapes[] = {{10, 1, 128},      {10, 10, 128},   {10, 20, 128},   {64, 32, 128},
                                          {128, 64, 128},    {512, 128, 128}, {512, 512, 128}, {1024, 1024, 128},
                                          {2048, 2048, 128}, {512, 512, 16},  {2048, 512, 16}};
    w = ebm_alloc_aligned(MOST * sizeof *w);
    x = ebm_alloc_aligned(MOST * sizeof *x);
    y = ebm_alloc_aligned(MOST * sizeof *y);
    if (w == NULL || x == NULL || y == NULL)
        return 1;
    for (uint32_t i = 0; i < MOST; i++)
        w[i] = x[i] = (float)(i % 17) / 17.0f - 0.5f;
    printf("kernels: %s\n", ebm_kernels_cpu()->name);
    if (argc > 1 && strcmp(argv[1], "limit") == 0) {
        limit();
        return 0;
    }
    printf("%-18s %8s %8s %10s %10s %10s %10s\n", "out x in x lanes", "ours", "blas", "ours dx", "blas dx", "ours dw",
           "blas dw");
    for (size_t i = 0; products && i < EBM_COUNT_OF(shapes); i++) {
        struct shape s = shapes[i];
        printf("%5u x%5u x%4u %8.1f %8.1f %10.1f %10.1f %10.1f %10.1f\n", s.out, s.in, s.lanes, rate(ours, s),
               rate(blas, s), rate(ours_input, s), rate(blas_input, s), rate(ours_weight, s), rate(blas_weight, s));
    }
    printf("\nmixture, ns         draw  density   gradient\n");
    mixture("real", EBM_SUPPORT_REAL);
    mixture("bounded", EBM_SUPPORT_BOUNDED);
    mixture("periodic", EBM_SUPPORT_PERIODIC);
    free(w), free(x), free(y);
    return 0;
}
