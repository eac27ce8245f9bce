/* loader.c - a ring of batches between threads that fill rows and one caller that uses batches:
 *
 *   threads:  next row of the epoch, when its batch is in the ring -> augment, standardise -> one row fewer is left
 *   caller:   gives the batch before back -> waits until no row of the next one is left -> has it
 *
 *   given back <= batch < given back + LOADER_BATCHES: in the ring, at slot batch % LOADER_BATCHES
 *
 * Threads take rows in order, so that batches become whole in order. One mutex, two conditions; rows are filled without
 * it. A new epoch waits for the rows that are being filled. */
#include "trainer/loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS 3u /* most of an image */

struct slot {
    float *x;      /* (batch_rows, X) */
    double *y;     /* (batch_rows, D) */
    uint32_t left; /* rows that are not filled yet; under the mutex */
};

struct filler {
    struct loader *loader;
    pthread_t thread;
    bool started;
    struct augment *augment; /* NULL: nothing is asked for */
    uint8_t *pixels;         /* an image */
};

struct loader {
    struct loader_options options; /* fixed after loader_new */
    struct filler fillers[LOADER_THREADS];
    struct slot slots[LOADER_BATCHES];
    float standardized[CHANNELS][256]; /* what a network sees of each pixel's value */

    pthread_mutex_t mutex;
    pthread_cond_t work, done; /* rows may be taken; a batch is whole, or nothing is being filled */
    uint64_t seed;             /* under the mutex, like all below */
    uint32_t *rows;            /* (n_rows) of (data->n_rows) */
    uint32_t n_rows;
    uint32_t next_row;   /* of rows, to be taken */
    uint32_t given_back; /* batches of this epoch that the caller has done with */
    bool has_batch;      /* the caller has batch given_back */
    uint32_t filling;    /* rows being filled */
    bool stops;
};

/* ---- rows ---- */

static void fill_row(struct filler *f, uint64_t seed, uint32_t row, float *x, double *y)
{
    const struct dataset *data = f->loader->options.data;
    const uint8_t *pixels = data->pixels + (size_t)row * data->X;
    const double *known = data->y + (size_t)row * data->D;
    if (f->augment != NULL) {
        augment_row(f->augment, seed, data->numbers[row], pixels, known, f->pixels, y);
        pixels = f->pixels;
    }
    for (uint32_t d = 0; f->augment == NULL && d < data->D; d++)
        y[d] = known[d];
    size_t plane = (size_t)data->image.height * data->image.width;
    for (uint32_t c = 0; c < data->image.channels; c++, pixels += plane, x += plane)
        for (size_t i = 0; i < plane; i++)
            x[i] = f->loader->standardized[c][pixels[i]];
}

static bool may_take(const struct loader *l)
{
    return l->next_row < l->n_rows && l->next_row / l->options.batch_rows < l->given_back + LOADER_BATCHES;
}

static void *fill(void *user)
{
    struct filler *f = user;
    struct loader *l = f->loader;
    const struct loader_options *o = &l->options;
    (void)pthread_mutex_lock(&l->mutex);
    for (;;) {
        while (!may_take(l) && !l->stops)
            (void)pthread_cond_wait(&l->work, &l->mutex);
        if (l->stops)
            break;
        uint32_t at = l->next_row++, b = at % o->batch_rows, row = l->rows[at];
        struct slot *slot = &l->slots[at / o->batch_rows % LOADER_BATCHES];
        uint64_t seed = l->seed;
        l->filling++;
        (void)pthread_mutex_unlock(&l->mutex);
        fill_row(f, seed, row, slot->x + (size_t)b * o->data->X, slot->y + (size_t)b * o->data->D);
        (void)pthread_mutex_lock(&l->mutex);
        l->filling--;
        if (--slot->left == 0 || l->filling == 0)
            (void)pthread_cond_signal(&l->done);
    }
    (void)pthread_mutex_unlock(&l->mutex);
    return NULL;
}

/* ---- batches ---- */

static uint32_t rows_of_batch(const struct loader *l, uint32_t batch)
{
    uint64_t first = (uint64_t)batch * l->options.batch_rows;
    uint64_t left = first < l->n_rows ? l->n_rows - first : 0;
    return left < l->options.batch_rows ? (uint32_t)left : l->options.batch_rows;
}

void loader_begin(struct loader *loader, uint64_t seed, const uint32_t *rows, uint32_t n_rows, uint32_t first)
{
    (void)pthread_mutex_lock(&loader->mutex);
    loader->n_rows = 0; /* no more are taken */
    while (loader->filling > 0)
        (void)pthread_cond_wait(&loader->done, &loader->mutex);
    loader->seed = seed;
    memcpy(loader->rows, rows, n_rows * sizeof *rows);
    loader->n_rows = n_rows;
    loader->next_row = first * loader->options.batch_rows;
    loader->given_back = first;
    loader->has_batch = false;
    for (uint32_t i = 0; i < LOADER_BATCHES; i++)
        loader->slots[(first + i) % LOADER_BATCHES].left = rows_of_batch(loader, first + i);
    (void)pthread_cond_broadcast(&loader->work);
    (void)pthread_mutex_unlock(&loader->mutex);
}

struct loader_batch loader_next(struct loader *loader)
{
    (void)pthread_mutex_lock(&loader->mutex);
    if (loader->has_batch) {
        loader->slots[loader->given_back % LOADER_BATCHES].left = rows_of_batch(loader,
                                                                                loader->given_back + LOADER_BATCHES);
        loader->given_back++;
        (void)pthread_cond_broadcast(&loader->work);
    }
    struct slot *slot = &loader->slots[loader->given_back % LOADER_BATCHES];
    struct loader_batch batch = {.B = rows_of_batch(loader, loader->given_back), .x = slot->x, .y = slot->y};
    loader->has_batch = batch.B > 0;
    while (batch.B > 0 && slot->left > 0)
        (void)pthread_cond_wait(&loader->done, &loader->mutex);
    (void)pthread_mutex_unlock(&loader->mutex);
    return batch;
}

/* ---- making ---- */

static enum ebm_status start(struct loader *l, struct filler *f, struct ebm_error *reterr)
{
    const struct loader_options *o = &l->options;
    const struct dataset *data = o->data;
    bool changes = augment_is_on(o->augment);
    f->loader = l;
    f->pixels = malloc(data->X);
    if (f->pixels == NULL ||
        (changes && augment_new(o->augment, &data->image, data->target_names, data->D, &f->augment) != EBM_OK))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory for the images of a batch");
    if (pthread_create(&f->thread, NULL, fill, f) != 0)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "data", "cannot start a thread that loads images");
    f->started = true;
    return EBM_OK;
}

static void make_table(struct loader *l)
{
    const struct image_shape *image = &l->options.data->image;
    size_t plane = (size_t)image->height * image->width;
    for (uint32_t c = 0; c < image->channels; c++)
        for (uint32_t v = 0; v < 256; v++)
            l->standardized[c][v] = (float)((v - l->options.mean[c * plane]) / l->options.std[c * plane]);
}

enum ebm_status loader_new(const struct loader_options *options, struct loader **ret_loader, struct ebm_error *reterr)
{
    struct loader *l = calloc(1, sizeof *l);
    size_t rows = options->batch_rows;
    EBM_ASSERT(options->n_threads >= 1 && options->n_threads <= LOADER_THREADS && rows > 0);
    if (l == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory");
    l->options = *options;
    make_table(l);
    (void)pthread_mutex_init(&l->mutex, NULL);
    (void)pthread_cond_init(&l->work, NULL);
    (void)pthread_cond_init(&l->done, NULL);
    l->rows = calloc((size_t)options->data->n_rows + 1, sizeof *l->rows);
    enum ebm_status status = l->rows != NULL ? EBM_OK : ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory");
    for (uint32_t i = 0; i < LOADER_BATCHES; i++) {
        l->slots[i].x = calloc(rows * options->data->X, sizeof *l->slots[i].x);
        l->slots[i].y = calloc(rows * options->data->D, sizeof *l->slots[i].y);
        if (l->slots[i].x == NULL || l->slots[i].y == NULL)
            status = ebm_error_set(reterr, EBM_NO_MEMORY, "data", "no memory for %zu images of a batch", rows);
    }
    for (uint32_t i = 0; status == EBM_OK && i < options->n_threads; i++)
        status = start(l, &l->fillers[i], reterr);
    if (status == EBM_OK)
        *ret_loader = l;
    else
        (void)loader_free(l);
    return status;
}

struct loader *loader_free(struct loader *loader)
{
    if (loader == NULL)
        return NULL;
    (void)pthread_mutex_lock(&loader->mutex);
    loader->stops = true;
    (void)pthread_cond_broadcast(&loader->work);
    (void)pthread_mutex_unlock(&loader->mutex);
    for (uint32_t i = 0; i < LOADER_THREADS; i++) {
        struct filler *f = &loader->fillers[i];
        if (f->started)
            (void)pthread_join(f->thread, NULL);
        (void)augment_free(f->augment);
        free(f->pixels);
    }
    for (uint32_t i = 0; i < LOADER_BATCHES; i++) {
        free(loader->slots[i].x);
        free(loader->slots[i].y);
    }
    (void)pthread_cond_destroy(&loader->work);
    (void)pthread_cond_destroy(&loader->done);
    (void)pthread_mutex_destroy(&loader->mutex);
    free(loader->rows);
    free(loader);
    return NULL;
}
