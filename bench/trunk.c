/* trunk.c - what an image trunk reaches by each backend of convolutions, on one thread, at several tiles:
 *
 *   bench-trunk MODEL.safetensors [SECONDS [TILE ...]]
 *   bench-trunk MODEL.safetensors together THREADS SECONDS [TILE]
 *
 * Images a second of whole tiles, all kinds in turn, so that their ratios suffer little from a noisy machine; then a
 * batch of 32 in training, forward and backward, and forward by a trunk that does not learn. Prints the median and the
 * range of seven rounds. `together`: whole tiles as they are served, on so many threads at once, one number: what is
 * left for a server to lose. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/training.h"
#include "core/clock.h"
#include "core/order.h"
#include "core/trunk.h"
#include "core/trunk_still.h"
#include "core/trunk_train.h"

#define ROUNDS 7
#define MOST_TILES 8
#define BATCH 32u

struct way {
    const struct ebm_conv_backend *backend;
    uint32_t tile;
    struct ebm_trunk_plan *plan;
    float *space;
    double rates[ROUNDS];
};

static void report(const char *backend, const char *what, uint32_t n, double *rates)
{
    qsort(rates, ROUNDS, sizeof *rates, ebm_order_doubles);
    printf("%-10s %-18s %3u   %8.1f images/s   [%.1f .. %.1f]\n", backend, what, n, rates[ROUNDS / 2], rates[0],
           rates[ROUNDS - 1]);
}

static void *must_have(void *memory)
{
    if (memory == NULL)
        exit(1);
    return memory;
}

static double rate_of(const struct way *way, const float *x, float *h, double seconds, double *ret_cpu_us)
{
    uint64_t start = ebm_clock_ns(), cpu = ebm_clock_thread_ns(), n = 0;
    double spent = 0.0;
    for (; spent < seconds; n += way->tile, spent = (double)(ebm_clock_ns() - start) * 1e-9)
        if (ebm_trunk_run(way->plan, x, way->tile, h, way->space) != EBM_OK)
            exit(1);
    *ret_cpu_us = (double)(ebm_clock_thread_ns() - cpu) * 1e-3 / (double)n;
    return (double)n / spent;
}

static void bench_serving(const struct ebm_model *model, const float *x, float *h, double seconds,
                          const uint32_t *tiles, size_t n_tiles)
{
    const struct ebm_conv_backend *backends[] = {ebm_conv_own(), ebm_conv_blas(), ebm_conv_onednn()};
    struct way ways[3 * MOST_TILES];
    double cpu_us;
    size_t n = 0;
    for (size_t i = 0; i < EBM_COUNT_OF(backends) * n_tiles; i++) {
        struct way *way = &ways[n];
        struct ebm_error error = {0};
        *way = (struct way){.backend = backends[i / n_tiles], .tile = tiles[i % n_tiles]};
        if (way->backend == NULL)
            continue;
        training_must(ebm_trunk_plan_new(&ebm_model_net(model)->trunk, ebm_model_params(model), way->backend, way->tile,
                                         &way->plan, &error),
                      &error, "trunk");
        way->tile = ebm_trunk_plan_tile(way->plan);
        way->space = must_have(ebm_alloc_aligned(ebm_trunk_plan_space(way->plan) * sizeof(float)));
        n++;
    }
    for (int round = -1; round < ROUNDS; round++) /* the first only warms up */
        for (size_t i = 0; i < n; i++)
            ways[i].rates[round < 0 ? 0 : round] = rate_of(&ways[i], x, h, seconds, &cpu_us);
    for (size_t i = 0; i < n; i++) {
        report(ways[i].backend->name, "served, tile", ways[i].tile, ways[i].rates);
        (void)ebm_trunk_plan_free(ways[i].plan);
        free(ways[i].space);
    }
}

struct together {
    const struct way *way;
    const float *x;
    size_t width;
    double seconds, rate, cpu_us; /* of an image */
};

static void *run_together(void *user)
{
    struct together *mine = user;
    struct way way = *mine->way;
    float *h = must_have(ebm_alloc_aligned(mine->way->tile * mine->width * sizeof *h));
    ebm_device_thread_init();
    way.space = must_have(ebm_alloc_aligned(ebm_trunk_plan_space(way.plan) * sizeof(float)));
    mine->rate = rate_of(&way, mine->x, h, mine->seconds, &mine->cpu_us);
    free(way.space), free(h);
    return NULL;
}

static void bench_together(const struct ebm_model *model, const float *x, uint32_t n_threads, double seconds,
                           uint32_t tile)
{
    struct way way = {.backend = ebm_conv_own()};
    struct together *threads = must_have(calloc(n_threads, sizeof *threads));
    pthread_t *ids = must_have(calloc(n_threads, sizeof *ids));
    struct ebm_error error = {0};
    double rate = 0.0, cpu_us = 0.0;
    training_must(
        ebm_trunk_plan_new(&ebm_model_net(model)->trunk, ebm_model_params(model), way.backend, tile, &way.plan, &error),
        &error, "trunk");
    way.tile = ebm_trunk_plan_tile(way.plan);
    for (uint32_t i = 0; i < n_threads; i++) {
        threads[i] = (struct together){
            .way = &way, .x = x, .width = ebm_model_net(model)->trunk.out, .seconds = seconds};
        if (pthread_create(&ids[i], NULL, run_together, &threads[i]) != 0)
            exit(1);
    }
    for (uint32_t i = 0; i < n_threads; i++) {
        (void)pthread_join(ids[i], NULL);
        rate += threads[i].rate;
        cpu_us += threads[i].cpu_us / n_threads;
    }
    printf("%-10s together, tile %u, %u threads   %8.1f images/s, %.0f us of CPU an image\n", way.backend->name,
           way.tile, n_threads, rate, cpu_us);
    (void)ebm_trunk_plan_free(way.plan);
    free(threads), free(ids);
}

static void run_here(void *who, ebm_trunk_part_fn *fn, void *user, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        fn(user, i, who);
}

static void bench_training(const struct ebm_model *model, const struct ebm_conv_backend *backend, const float *x,
                           float *h, double seconds)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    struct ebm_trunk_train *train = NULL;
    struct ebm_error error = {0};
    double rates[2][ROUNDS];
    float *params = must_have(ebm_alloc_aligned(net->n_params * sizeof *params));
    float *gradient = must_have(ebm_alloc_aligned(net->n_params * sizeof *gradient));
    training_must(ebm_trunk_train_new(&net->trunk, backend, BATCH, &train, &error), &error, "trunk");
    float *scratch = must_have(ebm_alloc_aligned(ebm_trunk_train_scratch(train) * sizeof *scratch));
    const struct ebm_trunk_threads threads = {run_here, scratch, 1};
    memcpy(params, ebm_model_params(model), net->n_params * sizeof *params);
    for (int round = -1; round < ROUNDS; round++)
        for (int whole = 0; whole < 2; whole++) {
            uint64_t start = ebm_clock_ns(), n = 0;
            double spent = 0.0;
            for (; spent < seconds; n += BATCH, spent = (double)(ebm_clock_ns() - start) * 1e-9) {
                if (ebm_trunk_train_forward(train, params, &threads, x, BATCH, h) != EBM_OK ||
                    (whole && ebm_trunk_train_backward(train, &threads, h, gradient) != EBM_OK))
                    exit(1);
            }
            rates[whole][round < 0 ? 0 : round] = (double)n / spent;
        }
    report(backend->name, "forward, batch", BATCH, rates[0]);
    report(backend->name, "and backward", BATCH, rates[1]);
    (void)ebm_trunk_train_free(train);
    free(scratch), free(params), free(gradient);
}

static void bench_still(const struct ebm_model *model, const float *x, float *h, double seconds)
{
    const struct ebm_net_desc *net = ebm_model_net(model);
    struct ebm_trunk_still *still = NULL;
    struct ebm_error error = {0};
    double rates[ROUNDS];
    float *params = must_have(ebm_alloc_aligned(net->n_params * sizeof *params));
    training_must(ebm_trunk_still_new(&net->trunk, BATCH, &still, &error), &error, "trunk");
    float *scratch = must_have(ebm_alloc_aligned((ebm_trunk_still_scratch(still) + 1) * sizeof *scratch));
    const struct ebm_trunk_threads threads = {run_here, scratch, 1};
    memcpy(params, ebm_model_params(model), net->n_params * sizeof *params);
    training_must(ebm_trunk_still_load(still, params, &threads), &error, "trunk");
    for (int round = -1; round < ROUNDS; round++) {
        uint64_t start = ebm_clock_ns(), n = 0;
        double spent = 0.0;
        for (; spent < seconds; n += BATCH, spent = (double)(ebm_clock_ns() - start) * 1e-9)
            training_must(ebm_trunk_still_forward(still, params, &threads, x, BATCH, h), &error, "trunk");
        rates[round < 0 ? 0 : round] = (double)n / spent;
    }
    report(ebm_conv_own()->name, "forward, still", BATCH, rates);
    (void)ebm_trunk_still_free(still);
    free(scratch), free(params);
}

int main(int argc, char **argv)
{
    uint32_t tiles[MOST_TILES] = {1, 4, 8, 16};
    size_t n_tiles = 3;
    struct ebm_error error = {0};
    struct ebm_model *model = NULL;
    if (argc < 2) {
        fprintf(stderr,
                "usage: bench-trunk MODEL.safetensors [SECONDS [TILE ...]] | together THREADS SECONDS [TILE]\n");
        return 2;
    }
    training_must(ebm_model_load(argv[1], LIMIT_FILE_BYTES, &model, &error), &error, argv[1]);
    const struct ebm_net_desc *net = ebm_model_net(model);
    if (net->trunk.n_ops == 0) {
        fprintf(stderr, "bench-trunk: %s reads vectors\n", argv[1]);
        return 2;
    }
    bool together = (argc == 5 || argc == 6) && strcmp(argv[2], "together") == 0;
    n_tiles = argc > 3 ? 0 : n_tiles;
    for (int i = 3; i < argc && n_tiles < MOST_TILES; i++)
        tiles[n_tiles++] = (uint32_t)strtoul(argv[i], NULL, 10);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.15;
    float *x = must_have(ebm_alloc_aligned((size_t)BATCH * net->X * sizeof *x));
    float *h = must_have(ebm_alloc_aligned((size_t)BATCH * net->trunk.out * sizeof *h));
    ebm_device_thread_init();
    random_numbers(x, (size_t)BATCH * net->X, 0);
    if (together) {
        uint32_t tile = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : EBM_TRUNK_TILE;
        bench_together(model, x, (uint32_t)strtoul(argv[3], NULL, 10), strtod(argv[4], NULL),
                       tile < BATCH ? tile : BATCH);
    } else {
        bench_serving(model, x, h, seconds, tiles, n_tiles);
        bench_training(model, ebm_conv_own(), x, h, seconds);
        bench_training(model, ebm_conv_blas(), x, h, seconds);
        if (ebm_conv_onednn() != NULL)
            bench_training(model, ebm_conv_onednn(), x, h, seconds);
        bench_still(model, x, h, seconds);
    }
    (void)ebm_model_unref(model);
    free(x), free(h);
    return 0;
}
