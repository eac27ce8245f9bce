/* loader.h - batches of images for training, made on threads of their own while the batch before them is used.
 *
 * A row's numbers are those of the data set, augmented by (epoch's seed, row's number) and standardised: the same for
 * any number of threads and whatever was asked before. */
#ifndef EBM_TRAINER_LOADER_H
#define EBM_TRAINER_LOADER_H

#include "trainer/augment.h"
#include "trainer/dataset.h"

#define LOADER_THREADS 16u
#define LOADER_BATCHES 3u /* that lie in memory at a time */

struct loader;

struct loader_options {
    const struct dataset *data;            /* of images */
    const struct augment_options *augment; /* nothing asked for: rows as they are */
    const double *mean, *std; /* (X): of the network's input, in the unit of the pixels; the same all over a channel */
    uint32_t batch_rows;
    uint32_t n_threads; /* 1 .. LOADER_THREADS */
};

struct loader_batch {
    uint32_t B;
    const float *x;  /* (B, X) standardised */
    const double *y; /* (B, D) in the user's units, with the signs of mirrored images */
};

/* Borrows what options point to. New: loader_free. */
enum ebm_status loader_new(const struct loader_options *options, struct loader **ret_loader, struct ebm_error *reterr)
    EBM_MUST_USE;
struct loader *loader_free(struct loader *loader); /* NULL is fine; returns NULL */

/* From now on the batches of an epoch, from batch `first` on: rows `rows` (n_rows) of the data set in this order.
 * Copies rows; waits for the rows that are being filled; a batch of before is no longer valid. */
void loader_begin(struct loader *loader, uint64_t seed, const uint32_t *rows, uint32_t n_rows, uint32_t first);

/* The next batch; B 0 behind the last. Borrow: valid until the next call. Waits only when the threads are behind. */
struct loader_batch loader_next(struct loader *loader);

#endif
