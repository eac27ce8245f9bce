/* dataset_images.c - a set of images becomes a data set, and is measured: sums of bytes and of their squares are whole
 * numbers, so that no order of adding changes them. */
#include <math.h>
#include <stdlib.h>

#include "trainer/dataset_internal.h"
#include "trainer/image_set.h"
#include "trainer/pool.h"

/* What an image data set cannot have. */
static enum ebm_status check_keys(const struct dataset_options *options, struct ebm_error *reterr)
{
    const char *key = options->n_inputs > 0           ? "data.inputs"
                      : options->targets_file != NULL ? "data.targets_file"
                                                      : NULL;
    if (key == NULL)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, key,
                         "belongs to a table of numbers; with data.images the input is the image");
}

/* Takes the set's arrays. */
static void take_set(struct dataset *data, struct image_set *set)
{
    *data = (struct dataset){
        .n_rows = set->n_rows,
        .X = (uint32_t)image_size(&set->shape),
        .D = set->n_targets,
        .target_names = EBM_TAKE_PTR(set->names),
        .y = EBM_TAKE_PTR(set->targets),
        .pixels = EBM_TAKE_PTR(set->pixels),
        .image = set->shape,
        .numbers = EBM_TAKE_PTR(set->numbers),
        .n_dropped = set->n_dropped,
        .n_bad = set->n_bad,
    };
}

enum ebm_status dataset_load_images(const struct dataset_options *options, struct dataset **ret_data,
                                    struct ebm_error *reterr)
{
    EBM_AUTO(image_set_done) struct image_set set = {.n_rows = 0};
    struct image_set_options images = {.path = options->file,
                                       .image_column = options->image_column,
                                       .targets = options->targets,
                                       .n_targets = options->n_targets,
                                       .drop_missing = options->drop_missing,
                                       .shape = options->image_shape,
                                       .max_bad_files = options->max_bad_files,
                                       .n_threads = pool_default_threads()};
    enum ebm_status status = image_set_find(options->images, &images.kind, reterr);
    if (status == EBM_OK)
        status = check_keys(options, reterr);
    if (status == EBM_OK)
        status = image_set_load(&images, &set, reterr);
    if (status != EBM_OK)
        return status;
    struct dataset *data = calloc(1, sizeof *data);
    if (data == NULL)
        return dataset_no_memory(reterr);
    take_set(data, &set);
    data->image_scale = options->image_scale;
    *ret_data = data;
    return EBM_OK;
}

void dataset_measure_images(struct dataset *data)
{
    size_t plane = (size_t)data->image.height * data->image.width;
    double n = (double)data->n_train * (double)plane;
    for (uint32_t c = 0; c < data->image.channels; c++) {
        uint64_t sum = 0, squares = 0;
        for (uint32_t i = 0; i < data->n_train; i++) {
            const uint8_t *pixels = data->pixels + (size_t)data->train[i] * data->X + c * plane;
            for (size_t j = 0; j < plane; j++) {
                sum += pixels[j];
                squares += (uint64_t)pixels[j] * pixels[j];
            }
        }
        double mean = (double)sum / n, variance = (double)squares / n - mean * mean;
        data->input_mean[c] = mean * data->image_scale;
        data->input_std[c] = variance > 1e-9 ? sqrt(variance) * data->image_scale : 1.0;
    }
}
