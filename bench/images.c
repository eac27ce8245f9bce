/* images.c - how fast a data set of images is read, and its batches are made: `bench-images FOLDER [RUNS]`, where
 * FOLDER is one that `ebm-trainer generate pose --rows 10000 --output FOLDER` made. Medians over RUNS (5), by the clock
 * and by CPU time, which a busy machine disturbs less; the files are in the system's cache after the first. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/cpu_time.h"
#include "core/clock.h"
#include "core/order.h"
#include "trainer/image_set.h"
#include "trainer/loader.h"

#define RUNS 64
#define BATCH 32

/* Seconds of each run, of this process's threads together in cpu. */
struct times {
    double seconds[RUNS], cpu[RUNS];
    uint64_t begin;
};

static void begin_run(struct times *t, int run)
{
    t->begin = ebm_clock_ns();
    t->cpu[run] = -cpu_seconds();
}

static void end_run(struct times *t, int run)
{
    t->seconds[run] = (double)(ebm_clock_ns() - t->begin) * 1e-9;
    t->cpu[run] += cpu_seconds();
}

static void tell(const char *what, uint32_t n_threads, struct times *t, int n_runs, uint32_t n_images)
{
    qsort(t->seconds, (size_t)n_runs, sizeof *t->seconds, ebm_order_doubles);
    qsort(t->cpu, (size_t)n_runs, sizeof *t->cpu, ebm_order_doubles);
    (void)printf("%-22s %u thread%s  %7.0f images/s (%.0f to %.0f), %7.0f a second of CPU (%.0f to %.0f)\n", what,
                 n_threads, n_threads == 1 ? " " : "s", n_images / t->seconds[n_runs / 2],
                 n_images / t->seconds[n_runs - 1], n_images / t->seconds[0], n_images / t->cpu[n_runs / 2],
                 n_images / t->cpu[n_runs - 1], n_images / t->cpu[0]);
}

static void read_set(const char *folder, uint32_t n_threads, int n_runs)
{
    struct times times;
    uint32_t n = 0;
    for (int run = 0; run < n_runs; run++) {
        struct image_set set;
        struct ebm_error error;
        begin_run(&times, run);
        const struct image_set_options options = {.kind = IMAGE_SET_FOLDER, .path = folder, .n_threads = n_threads};
        if (image_set_load(&options, &set, &error) != EBM_OK) {
            (void)fprintf(stderr, "%s: %s\n", error.where, error.text);
            exit(1);
        }
        end_run(&times, run);
        n = set.n_rows;
        image_set_done(&set);
    }
    tell("files read and decoded", n_threads, &times, n_runs, n);
}

static void make_batches(const struct dataset *data, const struct augment_options *augment, const char *what,
                         uint32_t n_threads, int n_runs)
{
    struct times times;
    struct loader *loader = NULL;
    double *mean = calloc(data->X, sizeof *mean), *std = calloc(data->X, sizeof *std);
    uint32_t *rows = calloc(data->n_rows, sizeof *rows);
    for (uint32_t i = 0; mean != NULL && std != NULL && i < data->X; i++) {
        mean[i] = 100.0;
        std[i] = 50.0;
    }
    for (uint32_t i = 0; rows != NULL && i < data->n_rows; i++)
        rows[i] = i;
    const struct loader_options options = {
        .data = data, .augment = augment, .mean = mean, .std = std, .batch_rows = BATCH, .n_threads = n_threads};
    if (loader_new(&options, &loader, NULL) != EBM_OK)
        exit(1);
    for (int run = 0; run < n_runs; run++) {
        begin_run(&times, run);
        loader_begin(loader, (uint64_t)run, rows, data->n_rows, 0);
        while (loader_next(loader).B > 0)
            ;
        end_run(&times, run);
    }
    tell(what, n_threads, &times, n_runs, data->n_rows);
    (void)loader_free(loader);
    free(mean);
    free(std);
    free(rows);
}

int main(int argc, char **argv)
{
    double scales[] = {0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5};
    const struct augment_options none = {.flip = false}, paper = {.flip = true, .scales = scales, .n_scales = 9};
    char kind[] = "folder";
    struct dataset *data = NULL;
    struct ebm_error error;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench-images FOLDER [RUNS]\n");
        return 2;
    }
    int n_runs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 5;
    n_runs = n_runs < 1 ? 1 : n_runs > RUNS ? RUNS : n_runs;
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++)
        read_set(argv[1], n_threads, n_runs);
    const struct dataset_options options = {.file = argv[1], .images = kind, .image_scale = DATASET_IMAGE_SCALE};
    if (dataset_load(&options, &data, &error) != EBM_OK)
        return 1;
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        make_batches(data, &none, "batches of 32", n_threads, n_runs);
        make_batches(data, &paper, "mirrored, scaled, cut", n_threads, n_runs);
    }
    (void)dataset_free(data);
    return 0;
}
