/* image_source.c - opens each kind of data set. Files are read when their row is; an array lies in memory as it is in
 * its file and is freed when all rows have their pixels, so that for a moment there are two copies of it. */
#include "trainer/image_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/files.h"

void image_source_done(struct image_source *source)
{
    image_files_done(&source->files);
    array_done(&source->array);
}

/* ---- arrays ---- */

static enum ebm_status no_memory(const char *path, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
}

static bool is_channels(uint64_t n)
{
    return n == 1 || n == 3;
}

/* (n, height, width), (n, height, width, channels) or (n, channels, height, width). */
static enum ebm_status lay_out(struct image_source *s, struct ebm_error *reterr)
{
    const struct array *a = &s->array;
    bool is_grey = a->n_dims == 3, is_inner = a->n_dims == 4 && is_channels(a->shape[3]);
    bool is_outer = a->n_dims == 4 && !is_inner && is_channels(a->shape[1]);
    if (a->kind != 'u' || a->number_bytes != 1)
        return ebm_error_set(reterr, EBM_INVALID, s->path,
                             "its images are not numbers of 8 bits: save them with .astype('u1')");
    if (!is_grey && !is_inner && !is_outer)
        return ebm_error_set(reterr, EBM_INVALID, s->path,
                             "its images have another shape than (n, height, width), (n, height, width, 1 or 3) or "
                             "(n, 1 or 3, height, width)");
    uint64_t channels = is_grey ? 1 : a->shape[is_inner ? 3 : 1];
    uint64_t height = a->shape[is_outer ? 2 : 1], width = a->shape[is_outer ? 3 : 2];
    if (a->shape[0] > LIMIT_DATA_ROWS || height > LIMIT_DECODED_SIDE || width > LIMIT_DECODED_SIDE)
        return ebm_error_set(reterr, EBM_TOO_LARGE, s->path, "more than %u images, or sides of more than %u pixels",
                             LIMIT_DATA_ROWS, LIMIT_DECODED_SIDE);
    s->image_bytes = (size_t)(channels * height * width);
    s->view = (struct image_view){.channels = (uint32_t)channels,
                                  .height = (uint32_t)height,
                                  .width = (uint32_t)width,
                                  .row_step = (size_t)(is_outer ? width : width * channels),
                                  .pixel_step = (size_t)(is_outer ? 1 : channels),
                                  .plane_step = (size_t)(is_outer ? height * width : 1)};
    return EBM_OK;
}

/* The numbers of each image, called `names`; of other counts than n_names names_1, names_2, ... */
static enum ebm_status take_labels(struct image_source *s, const struct array *labels, const char *const *names,
                                   uint32_t n_names, struct ebm_error *reterr)
{
    uint64_t n = labels->shape[0], columns = labels->shape[1];
    struct image_files *f = &s->files;
    if (labels->n_dims > 2 || n != s->array.shape[0] || columns > LIMIT_TARGET_DIM)
        return ebm_error_set(reterr, EBM_INVALID, s->path,
                             "%llu images, and labels of another number or shape: expected one row an image",
                             (unsigned long long)s->array.shape[0]);
    f->values = calloc((size_t)(n * columns), sizeof *f->values);
    f->numbers = calloc((size_t)n, sizeof *f->numbers);
    f->names = calloc((size_t)columns, sizeof *f->names);
    if (f->values == NULL || f->numbers == NULL || f->names == NULL)
        return no_memory(s->path, reterr);
    f->n = (uint32_t)n;
    for (; f->n_columns < columns; f->n_columns++) {
        char **name = &f->names[f->n_columns];
        if (columns == n_names)
            *name = strdup(names[f->n_columns]);
        else if (asprintf(name, "label_%u", f->n_columns + 1) < 0)
            *name = NULL;
        if (*name == NULL)
            return no_memory(s->path, reterr);
    }
    for (uint32_t i = 0; i < f->n; i++)
        f->numbers[i] = i;
    for (uint64_t i = 0; i < n * columns; i++)
        f->values[i] = array_number(labels->bytes + i * labels->number_bytes, labels->kind, labels->number_bytes);
    return EBM_OK;
}

static enum ebm_status open_biwi(struct image_source *s, struct ebm_error *reterr)
{
    static const char *const names[] = {"yaw", "pitch", "roll"};
    EBM_AUTO(array_done) struct array pose = {.bytes = NULL};
    enum ebm_status status = array_read_npz(s->path, "image", &s->array, reterr);
    if (status == EBM_OK)
        status = array_read_npz(s->path, "pose", &pose, reterr);
    if (status == EBM_OK)
        status = lay_out(s, reterr);
    return status == EBM_OK ? take_labels(s, &pose, names, EBM_COUNT_OF(names), reterr) : status;
}

static enum ebm_status open_ccgan(struct image_source *s, struct ebm_error *reterr)
{
    static const char *const images[] = {"images", "IMGs_grey", NULL}, *const labels[] = {"labels", "CellCounts", NULL};
    static const char *const names[] = {"label"};
    EBM_AUTO(array_done) struct array label = {.bytes = NULL};
    enum ebm_status status = array_read_hdf5(s->path, images, &s->array, reterr);
    if (status == EBM_OK)
        status = array_read_hdf5(s->path, labels, &label, reterr);
    if (status == EBM_OK)
        status = lay_out(s, reterr);
    return status == EBM_OK ? take_labels(s, &label, names, EBM_COUNT_OF(names), reterr) : status;
}

/* ---- all kinds ---- */

enum ebm_status image_source_open(const struct image_set_options *options, struct image_source *ret_source,
                                  struct ebm_error *reterr)
{
    EBM_AUTO(image_source_done) struct image_source s = {.path = options->path};
    enum ebm_status status = EBM_OK;
    switch (options->kind) {
    case IMAGE_SET_FOLDER:
        status = image_files_csv(s.path, options->image_column, options->targets, options->n_targets,
                                 options->drop_missing, &s.files, reterr);
        break;
    case IMAGE_SET_UTKFACE:
        status = image_files_utkface(s.path, &s.files, reterr);
        break;
    case IMAGE_SET_CELL200:
        status = image_files_cell200(s.path, &s.files, reterr);
        break;
    case IMAGE_SET_DRIVING_LOG:
        status = image_files_driving_log(s.path, &s.files, reterr);
        break;
    case IMAGE_SET_BIWI:
        status = open_biwi(&s, reterr);
        break;
    case IMAGE_SET_CCGAN:
        status = open_ccgan(&s, reterr);
        break;
    case IMAGE_SET_KINDS:
        break;
    }
    if (status != EBM_OK)
        return status;
    bool takes_all = options->kind != IMAGE_SET_UTKFACE && options->kind != IMAGE_SET_DRIVING_LOG;
    s.n_targets = takes_all ? s.files.n_columns : 1; /* age, steering */
    *ret_source = s;
    s = (struct image_source){.path = NULL};
    return EBM_OK;
}

/* ---- one row ---- */

/* The error's place is the file, not "image". */
static enum ebm_status name_file(enum ebm_status status, const char *path, struct ebm_error *reterr)
{
    if (status != EBM_OK && reterr != NULL)
        (void)snprintf(reterr->where, sizeof reterr->where, "%.*s", (int)sizeof reterr->where - 1, path);
    return status;
}

enum ebm_status image_source_shape(const struct image_source *source, uint32_t i, struct image_shape *ret_shape,
                                   struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    struct image_header header;
    size_t size = 0;
    if (source->array.bytes != NULL) {
        *ret_shape = (struct image_shape){source->view.channels, source->view.height, source->view.width};
        return EBM_OK;
    }
    const char *path = source->files.paths[i];
    enum ebm_status status = files_read(path, IMAGE_SET_FILE_BYTES, &bytes, &size, reterr);
    if (status == EBM_OK)
        status = name_file(image_read_header(bytes, size, LIMIT_DECODED_PIXELS, &header, reterr), path, reterr);
    if (status == EBM_OK)
        *ret_shape = (struct image_shape){header.channels, header.height, header.width};
    return status;
}

/* Is there a target that the file's name should have told? */
static enum ebm_status check_values(const struct image_source *s, uint32_t i, struct ebm_error *reterr)
{
    const struct image_files *f = &s->files;
    for (uint32_t j = 0; j < f->n_columns; j++)
        if (!isfinite(f->values[(size_t)i * f->n_columns + j]))
            return ebm_error_set(reterr, EBM_INVALID, f->paths != NULL ? f->paths[i] : s->path,
                                 "row %u has no number for '%.64s'", f->numbers[i] + 1, f->names[j]);
    return EBM_OK;
}

enum ebm_status image_source_read(const struct image_source *source, uint32_t i, const struct image_shape *shape,
                                  uint8_t *ret_pixels, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    size_t size = 0;
    enum ebm_status status = check_values(source, i, reterr);
    if (status != EBM_OK)
        return status;
    if (source->array.bytes != NULL) {
        struct image_view view = source->view;
        view.at = source->array.bytes + i * source->image_bytes;
        return image_convert(&view, shape, IMAGE_BILINEAR, ret_pixels, reterr);
    }
    const char *path = source->files.paths[i];
    status = files_read(path, IMAGE_SET_FILE_BYTES, &bytes, &size, reterr);
    return status == EBM_OK
               ? name_file(image_decode(bytes, size, LIMIT_DECODED_PIXELS, shape, IMAGE_BILINEAR, ret_pixels, reterr),
                           path, reterr)
               : status;
}
