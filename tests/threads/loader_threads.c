/* loader_threads.c - batches of images on 1, 2 and 7 threads: the same bytes as rows made one by one, for every epoch,
 * from any batch on, and when an epoch is left in its middle; and a data set read by as many. A plain main: it runs
 * under ThreadSanitizer. */
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "tests/threads/check.h"
#include "trainer/image_set.h"
#include "trainer/loader.h"

#define ROWS 61u /* a last batch that is not full */
#define BATCH 8u
#define BATCHES 8u
#define SIDE 12u
#define NUMBERS (3 * SIDE * SIDE)

static char angle[] = "angle", *names[] = {angle};
static double scales[] = {0.7, 1.0, 1.4};
static const struct augment_options augment = {
    .flip = true, .negate = names, .n_negate = 1, .scales = scales, .n_scales = 3, .brightness = 0.3};
static double mean[NUMBERS], std[NUMBERS], y[ROWS];
static uint8_t pixels[ROWS * NUMBERS];
static uint32_t numbers[ROWS], order[ROWS];
static struct dataset data = {.n_rows = ROWS,
                              .X = NUMBERS,
                              .D = 1,
                              .target_names = names,
                              .y = y,
                              .pixels = pixels,
                              .image = {3, SIDE, SIDE},
                              .numbers = numbers};

static void make_data(void)
{
    for (uint32_t i = 0; i < NUMBERS; i++) {
        mean[i] = 100.0 + i / (SIDE * SIDE);
        std[i] = 50.0 + i / (SIDE * SIDE);
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        y[row] = row + 1;
        numbers[row] = 3 * row;
        for (uint32_t i = 0; i < NUMBERS; i++) {
            uint32_t words[4];
            ebm_philox(1, row, i, EBM_STREAM_GENERATE, 0, words);
            pixels[row * NUMBERS + i] = (uint8_t)words[0];
        }
    }
}

/* Batch k of an epoch, row by row. */
static void check_batch(const struct loader_batch *batch, struct augment *plain, uint64_t seed, uint32_t k)
{
    uint8_t out[NUMBERS];
    double target;
    uint32_t left = ROWS - k * BATCH;
    CHECK_EQ(batch->B, left < BATCH ? left : BATCH);
    for (uint32_t b = 0; b < batch->B; b++) {
        uint32_t row = order[k * BATCH + b], differ = 0;
        augment_row(plain, seed, numbers[row], pixels + row * NUMBERS, &y[row], out, &target);
        for (uint32_t i = 0; i < NUMBERS; i++)
            differ += batch->x[b * NUMBERS + i] != (float)((out[i] - mean[i]) / std[i]);
        CHECK_EQ(differ, 0);
        CHECK(batch->y[b] == target);
    }
}

static void run_epochs(struct loader *loader, struct augment *plain)
{
    static const uint32_t first[] = {0, 3, 7}, until[] = {BATCHES, 5, BATCHES};
    for (uint32_t epoch = 0; epoch < 30; epoch++) {
        ebm_shuffle(epoch, EBM_STREAM_SHUFFLE, order, ROWS);
        loader_begin(loader, epoch, order, ROWS, first[epoch % 3]);
        for (uint32_t k = first[epoch % 3]; k < until[epoch % 3]; k++) {
            struct loader_batch batch = loader_next(loader);
            check_batch(&batch, plain, epoch, k);
        }
        if (until[epoch % 3] == BATCHES)
            CHECK_EQ(loader_next(loader).B, 0);
    }
}

/* The committed images that can be read, of any kind, as one data set. */
static void read_set(uint32_t n_threads, struct image_set *ret_set)
{
    static char folder[512];
    const char *root = getenv("EBM_SOURCE_ROOT");
    (void)snprintf(folder, sizeof folder, "%s/tests/images/labels.csv", root != NULL ? root : ".");
    const struct image_set_options options = {
        .kind = IMAGE_SET_FOLDER, .path = folder, .shape = {3, 9, 9}, .max_bad_files = 2, .n_threads = n_threads};
    CHECK_EQ(image_set_load(&options, ret_set, NULL), EBM_OK);
    CHECK_EQ(ret_set->n_rows, 15);
    CHECK_EQ(ret_set->n_bad, 2);
}

static void read_by_threads(uint32_t n_threads)
{
    struct image_set one, many;
    read_set(1, &one);
    read_set(n_threads, &many);
    CHECK_EQ(memcmp(one.pixels, many.pixels, one.n_rows * image_size(&one.shape)), 0);
    image_set_done(&one);
    image_set_done(&many);
}

int main(void)
{
    static const uint32_t threads[] = {1, 2, 7};
    struct augment *plain = NULL;
    make_data();
    CHECK_EQ(augment_new(&augment, &data.image, names, 1, &plain), EBM_OK);
    for (uint32_t i = 0; i < EBM_COUNT_OF(threads); i++) {
        struct loader *loader = NULL;
        const struct loader_options options = {
            .data = &data, .augment = &augment, .mean = mean, .std = std, .batch_rows = BATCH, .n_threads = threads[i]};
        CHECK_EQ(loader_new(&options, &loader, NULL), EBM_OK);
        run_epochs(loader, plain);
        read_by_threads(threads[i]);
        (void)loader_free(loader);
    }
    (void)augment_free(plain);
    return check_result("loader_threads");
}
