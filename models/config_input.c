/* config_input.c - the section `input`: a vector, or an image.
 *
 * An image's statistics are a channel's, of scaled values; they are spread over all its numbers, so that everything
 * behind standardises images as it does vectors:
 *
 *   (scale v - channel_mean) / channel_std  =  (v - mean) / std    with mean = channel_mean / scale, std likewise */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "models/config_reader.h"

static enum ebm_status read_kind(const struct ebm_reader *r, const json_t *object, bool *ret_is_image)
{
    bool data_are_images = r->defaults && r->defaults->image.channels > 0;
    const char *kind = !r->defaults ? NULL : data_are_images ? "image" : "vector";
    enum ebm_status status = ebm_reader_word(r, object, "kind", &kind);
    if (status != EBM_OK)
        return status;
    if (!kind)
        return ebm_reader_missing(r, "kind");
    if (strcmp(kind, "image") != 0 && strcmp(kind, "vector") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"%.32s\", expected \"vector\" or \"image\"", kind);
    *ret_is_image = strcmp(kind, "image") == 0;
    if (r->defaults && r->defaults->X > 0 && *ret_is_image != data_are_images)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"%s\", but the data are %s", kind,
                             data_are_images ? "images" : "vectors");
    return EBM_OK;
}

/* ---- vectors ---- */

static enum ebm_status read_size(const struct ebm_reader *r, const json_t *object, uint32_t *ret_size)
{
    const json_t *shape = json_object_get(object, "shape");
    if (shape) {
        if (!json_is_array(shape) || json_array_size(shape) != 1 || !json_is_integer(json_array_get(shape, 0)))
            return ebm_error_set(r->reterr, EBM_INVALID, "shape", "expected an array of one integer: [8]");
        json_int_t size = json_integer_value(json_array_get(shape, 0));
        if (size < 1 || size > (json_int_t)LIMIT_WIDTH)
            return ebm_error_set(r->reterr, size < 1 ? EBM_INVALID : EBM_TOO_LARGE, "shape",
                                 "%" JSON_INTEGER_FORMAT ", expected 1 to %u", size, LIMIT_WIDTH);
        *ret_size = (uint32_t)size;
    }
    return ebm_reader_settle(r, "shape", r->defaults ? r->defaults->X : 0, ret_size);
}

/* scale and resize belong to images; their defaults may stand for a vector too. */
static enum ebm_status check_image_keys(const struct ebm_reader *r, const json_t *object)
{
    const json_t *scale = json_object_get(object, "scale"), *resize = json_object_get(object, "resize");
    if (scale && !(json_is_number(scale) && json_number_value(scale) == 1.0))
        return ebm_error_set(r->reterr, EBM_INVALID, "scale", "of a vector it can only be 1");
    if (resize && !(json_is_string(resize) && strcmp(json_string_value(resize), "bilinear") == 0))
        return ebm_error_set(r->reterr, EBM_INVALID, "resize", "of a vector it can only be \"bilinear\"");
    return EBM_OK;
}

static enum ebm_status read_vector(const struct ebm_reader *r, json_t *object,
                                   const struct ebm_config_defaults *defaults, struct ebm_input_config *input)
{
    enum ebm_status status = check_image_keys(r, object);
    if (status == EBM_OK)
        status = read_size(r, object, &input->size);
    if (status == EBM_OK)
        status = ebm_reader_names(r, object, input->size, defaults->input_names, &input->names);
    return status == EBM_OK ? ebm_reader_statistics(r, object, input->size, defaults->input_mean, defaults->input_std,
                                                    &input->mean, &input->std)
                            : status;
}

/* ---- images ---- */

static enum ebm_status read_side(const struct ebm_reader *r, const json_t *shape, size_t i, uint32_t most,
                                 uint32_t *ret_side)
{
    const json_t *json = json_array_get(shape, i);
    if (!json_is_integer(json))
        return ebm_reader_wrong_type(r, "shape", "integers", json);
    json_int_t side = json_integer_value(json);
    if (side < 1 || side > (json_int_t)most)
        return ebm_error_set(r->reterr, side < 1 ? EBM_INVALID : EBM_TOO_LARGE, "shape",
                             "number %zu is %" JSON_INTEGER_FORMAT ", expected 1 to %u", i, side, most);
    *ret_side = (uint32_t)side;
    return EBM_OK;
}

static enum ebm_status read_shape(const struct ebm_reader *r, const json_t *object, const struct ebm_shape *given,
                                  struct ebm_shape *ret_shape)
{
    const json_t *shape = json_object_get(object, "shape");
    if (!shape && given->channels == 0)
        return ebm_reader_missing(r, "shape");
    if (!shape) {
        *ret_shape = *given;
        return EBM_OK;
    }
    if (!json_is_array(shape) || json_array_size(shape) != 3)
        return ebm_error_set(r->reterr, EBM_INVALID, "shape",
                             "expected channels, height and width of an image: [3, 64, 64]");
    enum ebm_status status = read_side(r, shape, 0, LIMIT_IMAGE_CHANNELS, &ret_shape->channels);
    if (status == EBM_OK)
        status = read_side(r, shape, 1, LIMIT_IMAGE_SIDE, &ret_shape->height);
    if (status == EBM_OK)
        status = read_side(r, shape, 2, LIMIT_IMAGE_SIDE, &ret_shape->width);
    if (status == EBM_OK && given->channels > 0 && memcmp(given, ret_shape, sizeof *given) != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "shape", "[%u, %u, %u], but the data are [%u, %u, %u]",
                             ret_shape->channels, ret_shape->height, ret_shape->width, given->channels, given->height,
                             given->width);
    return status;
}

static enum ebm_status read_scale(const struct ebm_reader *r, const json_t *object, double fallback, double *ret_scale)
{
    const json_t *json = json_object_get(object, "scale");
    if (json && !json_is_number(json))
        return ebm_reader_wrong_type(r, "scale", "a number", json);
    *ret_scale = json ? json_number_value(json) : fallback > 0.0 ? fallback : 1.0;
    if (!(*ret_scale > 0.0) || !isfinite(*ret_scale) || !isfinite(1.0 / *ret_scale))
        return ebm_error_set(r->reterr, EBM_INVALID, "scale", "%g, expected more than 0", *ret_scale);
    return EBM_OK;
}

static enum ebm_status check_resize(const struct ebm_reader *r, const json_t *object)
{
    const char *resize = "bilinear";
    enum ebm_status status = ebm_reader_word(r, object, "resize", &resize);
    if (status == EBM_OK && strcmp(resize, "bilinear") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "resize", "\"%.32s\", expected \"bilinear\"", resize);
    return status;
}

/* Those of every number, from a channel's. */
static enum ebm_status spread_statistics(const struct ebm_reader *r, struct ebm_input_config *input)
{
    size_t plane = (size_t)input->shape.height * input->shape.width;
    input->mean = calloc(input->size, sizeof *input->mean);
    input->std = calloc(input->size, sizeof *input->std);
    if (!input->mean || !input->std)
        return ebm_reader_no_memory(r);
    for (size_t i = 0; i < input->size; i++) {
        input->mean[i] = input->channel_mean[i / plane] / input->scale;
        input->std[i] = input->channel_std[i / plane] / input->scale;
    }
    for (size_t i = 0; i < input->size; i += plane)
        if (!(input->std[i] > 0) || !isfinite(input->std[i]) || !isfinite(input->mean[i]))
            return ebm_error_set(r->reterr, EBM_INVALID, "scale", "%g is too small or too large beside mean and std",
                                 input->scale);
    return EBM_OK;
}

static enum ebm_status read_image(const struct ebm_reader *r, json_t *object,
                                  const struct ebm_config_defaults *defaults, struct ebm_input_config *input)
{
    if (json_object_get(object, "names"))
        return ebm_error_set(r->reterr, EBM_INVALID, "names", "an image has no names for its numbers");
    enum ebm_status status = read_shape(r, object, &defaults->image, &input->shape);
    if (status == EBM_OK && ebm_shape_count(&input->shape) > LIMIT_IMAGE_NUMBERS)
        status = ebm_error_set(r->reterr, EBM_TOO_LARGE, "shape", "%zu numbers an image, the limit is %u",
                               ebm_shape_count(&input->shape), LIMIT_IMAGE_NUMBERS);
    input->size = (uint32_t)ebm_shape_count(&input->shape);
    if (status == EBM_OK)
        status = read_scale(r, object, defaults->scale, &input->scale);
    if (status == EBM_OK)
        status = check_resize(r, object);
    if (status == EBM_OK)
        status = ebm_reader_statistics(r, object, input->shape.channels, defaults->input_mean, defaults->input_std,
                                       &input->channel_mean, &input->channel_std);
    return status == EBM_OK ? spread_statistics(r, input) : status;
}

enum ebm_status ebm_read_input(const struct ebm_reader *r, json_t *object)
{
    static const char *const keys[] = {"kind", "shape", "names", "mean", "std", "scale", "resize", NULL};
    const struct ebm_config_defaults none = {0}, *defaults = r->defaults ? r->defaults : &none;
    struct ebm_input_config *input = &r->config->input;
    enum ebm_status status = ebm_reader_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_kind(r, object, &input->is_image);
    if (status == EBM_OK)
        status = input->is_image ? read_image(r, object, defaults, input) : read_vector(r, object, defaults, input);
    r->config->net.X = input->size;
    r->config->net.trunk.in = input->shape;
    return status;
}
