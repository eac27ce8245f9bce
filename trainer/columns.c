/* columns.c - the model's names, or the file's in their order, become a data set without a split.
 *
 * A model knows names when it was trained by this program. For one from elsewhere, and for .npy files, which have none,
 * exactly as many columns as inputs (and targets) are taken in their order; any other number is an error that says how
 * many were expected. */
#include "trainer/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/bounds.h"
#include "trainer/files.h"
#include "trainer/image_set.h"
#include "trainer/npy.h"
#include "trainer/options.h"

static enum ebm_status load_in_order(const struct ebm_config *config, const struct columns_files *files, uint32_t D,
                                     bool drop_missing, struct dataset **ret_data, struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    char *const *names;
    uint32_t X = config->input.size;
    enum ebm_status status = table_open(files->data, files->targets, &table, reterr);
    if (status != EBM_OK)
        return status;
    uint32_t n = table_names(table, &names);
    if (n != X + D && (D > 0 || n < X))
        return ebm_error_set(reterr, EBM_INVALID, files->data,
                             "%u columns; %s has no names for them, and the model takes %u inputs%s, in this order", n,
                             table_is_named(table) ? "the model" : "an .npy", X, D > 0 ? " and its targets" : "");
    return dataset_load_columns(files->data, files->targets, names, X, names + X, D, drop_missing, ret_data, reterr);
}

/* Are the model's names those that stand in for an .npy's? Then it was trained on such files. */
static enum ebm_status find_names(const struct ebm_config *config, const struct columns_files *files, uint32_t D,
                                  bool *ret_found, struct ebm_error *reterr)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    uint32_t column;
    enum ebm_status status = table_open(files->data, files->targets, &table, reterr);
    bool found = true;
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; found && i < config->input.size; i++)
        found = table_column(table, config->input.names[i], &column, NULL) == EBM_OK;
    for (uint32_t i = 0; found && i < D; i++)
        found = table_column(table, config->target.names[i], &column, NULL) == EBM_OK;
    *ret_found = found;
    return EBM_OK;
}

bool columns_have_targets(const struct ebm_config *config, const struct columns_files *files)
{
    EBM_AUTO(table_freep) struct table *table = NULL;
    char *const *names;
    uint32_t column, D = config->target.dim;
    if (table_open(files->data, files->targets, &table, NULL) != EBM_OK)
        return false;
    if (config->input.names == NULL || config->target.names == NULL || !table_is_named(table))
        return table_names(table, &names) == config->input.size + D;
    bool found = true;
    for (uint32_t i = 0; found && i < D; i++)
        found = table_column(table, config->target.names[i], &column, NULL) == EBM_OK;
    return found;
}

/* Images as the model takes them, with its targets. */
static enum ebm_status load_images(const struct ebm_config *config, const struct columns_files *files,
                                   bool drop_missing, struct dataset **ret_data, struct ebm_error *reterr)
{
    const struct ebm_shape *shape = &config->input.shape;
    EBM_AUTO(ebm_freep) char *kind = NULL;
    EBM_AUTO(ebm_freep) char *column = NULL;
    struct dataset_options options = {.file = (char *)(uintptr_t)files->data,
                                      .targets = config->target.names,
                                      .n_targets = config->target.names != NULL ? config->target.dim : 0,
                                      .drop_missing = drop_missing,
                                      .max_bad_files = files->max_bad_files,
                                      .image_shape = {shape->channels, shape->height, shape->width},
                                      .image_scale = config->input.scale};
    enum ebm_status status = options_recorded_images(config->training, &kind, &column, reterr);
    if (status != EBM_OK)
        return status;
    bool is_recorded = files->images == NULL || (kind != NULL && strcmp(files->images, kind) == 0);
    options.images = files->images != NULL ? (char *)(uintptr_t)files->images : kind;
    options.image_column = is_recorded ? column : NULL;
    if (options.images == NULL)
        return ebm_error_set(reterr, EBM_INVALID, files->data,
                             "the model takes images, and does not say from what kind of data: add --images folder, or "
                             "another kind");
    status = dataset_load_images(&options, ret_data, reterr);
    if (status == EBM_OK && (*ret_data)->D != config->target.dim)
        return ebm_error_set(reterr, EBM_INVALID, files->data, "%u targets an image, and the model has %u",
                             (*ret_data)->D, config->target.dim);
    return status;
}

enum ebm_status columns_load_image(const struct ebm_config *config, const char *path, struct dataset **ret_data,
                                   struct ebm_error *reterr)
{
    const struct image_shape shape = {config->input.shape.channels, config->input.shape.height,
                                      config->input.shape.width};
    EBM_AUTO(ebm_freep) unsigned char *bytes = NULL;
    EBM_AUTO(dataset_freep) struct dataset *data = calloc(1, sizeof *data);
    size_t size = 0;
    enum ebm_status status = files_read(path, IMAGE_SET_FILE_BYTES, &bytes, &size, reterr);
    if (status != EBM_OK)
        return status;
    if (data != NULL)
        data->pixels = malloc(image_size(&shape));
    if (data == NULL || data->pixels == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, path, "no memory");
    data->n_rows = 1;
    data->X = config->input.size;
    data->image = shape;
    status = image_decode(bytes, size, LIMIT_DECODED_PIXELS, &shape, IMAGE_BILINEAR, data->pixels, reterr);
    if (status != EBM_OK)
        return ebm_error_prefix(reterr, path);
    *ret_data = EBM_TAKE_PTR(data);
    return EBM_OK;
}

static enum ebm_status load_table(const struct ebm_config *config, const struct columns_files *files, uint32_t D,
                                  bool drop_missing, struct dataset **ret_data, struct ebm_error *reterr)
{
    bool by_name = config->input.names != NULL && (D == 0 || config->target.names != NULL);
    if (by_name && npy_is_one(files->data)) {
        enum ebm_status status = find_names(config, files, D, &by_name, reterr);
        if (status != EBM_OK)
            return status;
    }
    return by_name ? dataset_load_columns(files->data, files->targets, config->input.names, config->input.size,
                                          config->target.names, D, drop_missing, ret_data, reterr)
                   : load_in_order(config, files, D, drop_missing, ret_data, reterr);
}

enum ebm_status columns_load(const struct ebm_config *config, const struct columns_files *files, bool with_targets,
                             bool drop_missing, struct dataset **ret_data, struct ebm_error *reterr)
{
    uint32_t D = with_targets ? config->target.dim : 0;
    EBM_AUTO(dataset_freep) struct dataset *data = NULL;
    if (config->input.is_image && !with_targets)
        return ebm_error_set(reterr, EBM_INVALID, files->data,
                             "the model takes images: 'predict' and 'evaluate' do, this command does not");
    enum ebm_status status = config->input.is_image ? load_images(config, files, drop_missing, &data, reterr)
                                                    : load_table(config, files, D, drop_missing, &data, reterr);
    if (status == EBM_OK && with_targets)
        status = bounds_apply(data, &config->target, files->data, reterr);
    if (status == EBM_OK)
        *ret_data = EBM_TAKE_PTR(data);
    return status;
}

const char *columns_name(char *const *names, uint32_t i, const char *otherwise, char *space, size_t bytes)
{
    if (names != NULL)
        return names[i];
    (void)snprintf(space, bytes, "%s%u", otherwise, i + 1);
    return space;
}
