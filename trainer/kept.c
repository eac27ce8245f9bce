/* kept.c - features of the training rows, once:
 *
 *   batches of training rows, in the data's order, again and again -> running statistics      MEASURING batches
 *   batches of training rows -> what the trunk makes of them by these -> kept by row */
#include "trainer/kept.h"

#include <stdlib.h>
#include <string.h>

#define MEASURING 64u /* batches: 0.9^64 is about 0.001 */

struct work {
    const struct step *step;
    const struct dataset *data;
    const struct ebm_input_config *input;
    uint32_t batch_size;
    float *x, *reach; /* (batch, X), (batch, trunk.out) */
};

/* Training rows first .. of one batch, into x; returns how many. */
static uint32_t load_rows(const struct work *w, uint32_t first)
{
    uint32_t left = w->data->n_train - first, B = left < w->batch_size ? left : w->batch_size;
    for (uint32_t b = 0; b < B; b++)
        dataset_standardize(w->data, w->data->train[first + b], w->input->mean, w->input->std,
                            w->x + (size_t)b * w->input->size);
    return B;
}

static enum ebm_status measure(const struct work *w)
{
    const struct ebm_threads threads = pool_threads(w->step->pool);
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0, first = 0; i < MEASURING && status == EBM_OK; i++) {
        uint32_t B = load_rows(w, first);
        status = w->step->ops->trunk_forward(w->step->plan, &threads, w->x, B, false);
        first = first + B < w->data->n_train ? first + B : 0;
    }
    return status;
}

static enum ebm_status compute(const struct work *w, float *kept)
{
    const struct ebm_threads threads = pool_threads(w->step->pool);
    size_t T = w->step->net->trunk.out;
    for (uint32_t first = 0, B; first < w->data->n_train; first += B) {
        B = load_rows(w, first);
        enum ebm_status status = w->step->ops->trunk_run(w->step->plan, &threads, w->x, B, w->reach);
        if (status != EBM_OK)
            return status;
        for (uint32_t b = 0; b < B; b++)
            memcpy(kept + w->data->train[first + b] * T, w->reach + b * T, T * sizeof *kept);
    }
    return EBM_OK;
}

enum ebm_status kept_make(const struct step *step, const struct dataset *data, const struct ebm_input_config *input,
                          uint32_t batch_size, bool measures, struct kept *ret_kept, struct ebm_error *reterr)
{
    size_t T = step->net->trunk.out;
    EBM_AUTO(ebm_freep) float *x = ebm_alloc_aligned((size_t)batch_size * input->size * sizeof *x);
    EBM_AUTO(ebm_freep) float *reach = ebm_alloc_aligned(batch_size * T * sizeof *reach);
    EBM_AUTO(ebm_freep) float *kept = calloc((size_t)data->n_rows * T + 1, sizeof *kept);
    if (x == NULL || reach == NULL || kept == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "training.keep_features", "no memory for %zu numbers of %u images",
                             T, data->n_rows);
    const struct work work = {step, data, input, batch_size, x, reach};
    enum ebm_status status = measures ? measure(&work) : EBM_OK;
    if (status == EBM_OK)
        status = compute(&work, kept);
    if (status != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the features cannot be computed");
    ret_kept->reach = EBM_TAKE_PTR(kept);
    return EBM_OK;
}

void kept_done(struct kept *kept)
{
    free(kept->reach);
    kept->reach = NULL;
}
