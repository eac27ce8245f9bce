/* input_rows.c - what a row is to be, in the words of the body that it came in.
 *
 *   numbers       as many as the model has inputs; of an image they may say their shape
 *   raw body      numbers as the model's description has them, or FP32
 *   PNG, JPEG     only for a model that reads images, of 1 or 3 channels
 */
#include "server/input_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/oip.h"
#include "server/image_rows.h"

#define SHAPE_BYTES 48

enum tensor_type input_rows_type(const struct ebm_input_config *input)
{
    return input->is_image && input->scale != 1.0 ? TENSOR_UINT8 : TENSOR_FP32;
}

/* Where the rows stand. */
static const char *place_of(const struct job *job)
{
    if (job->kind == REQUEST_INFER)
        return job->wanted->is_raw ? "body" : "x";
    return job->form.body == JOB_BODY_JSON ? "inputs[0]" : "body";
}

/* "3,64,64" */
static void say_shape(char text[SHAPE_BYTES], uint32_t channels, uint32_t height, uint32_t width)
{
    (void)snprintf(text, SHAPE_BYTES, "%" PRIu32 ",%" PRIu32 ",%" PRIu32, channels, height, width);
}

/* ---- numbers ---- */

static enum ebm_status fit_raw(struct job *job)
{
    const struct ebm_input_config *input = &ebm_model_config(job->model->model)->input;
    struct field_rows *rows = &job->request.inputs;
    bool is_bytes = input_rows_type(input) == TENSOR_UINT8;
    if (is_bytes && rows->X == input->size)
        return EBM_OK;
    if (rows->X != input->size * (uint64_t)sizeof(float))
        return ebm_error_set(&job->error, EBM_INVALID, "body",
                             "expected the %" PRIu32 " inputs of model '%s' as FP32, %zu bytes%s, got %" PRIu32,
                             input->size, job->model->name, input->size * sizeof(float),
                             is_bytes ? ", or as UINT8" : "", rows->X);
    return oip_raw_floats(rows, &job->arena, &job->error);
}

static enum ebm_status fail_size(struct job *job)
{
    const struct ebm_input_config *input = &ebm_model_config(job->model->model)->input;
    const struct field_rows *rows = &job->request.inputs;
    const char *place = place_of(job), *name = job->model->name;
    char shape[SHAPE_BYTES];
    say_shape(shape, input->shape.channels, input->shape.height, input->shape.width);
    if (job->kind == REQUEST_INFER)
        return ebm_error_set(
            &job->error, EBM_INVALID, place,
            "expected shape [rows,%s%s%" PRIu32 "], the inputs of model '%s', got [%" PRIu32 ",%" PRIu32 "]",
            input->is_image ? shape : "", input->is_image ? "] or [rows," : "", input->size, name, rows->n, rows->X);
    if (input->is_image)
        return ebm_error_set(&job->error, EBM_INVALID, place,
                             "expected an image, or %" PRIu32 " numbers of shape [%s], the input of model '%s', got "
                             "%" PRIu32 " numbers",
                             input->size, shape, name, rows->X);
    return ebm_error_set(&job->error, EBM_INVALID, place,
                         "expected a list of %" PRIu32 " numbers, the inputs of model '%s', got %" PRIu32 "%s",
                         input->size, name, rows->X,
                         rows->X == 1 ? ": inputs is a list of rows, [[x1, x2, ...], ...]" : "");
}

static enum ebm_status check_numbers(struct job *job)
{
    const struct ebm_input_config *input = &ebm_model_config(job->model->model)->input;
    const struct field_rows *rows = &job->request.inputs;
    char expected[SHAPE_BYTES], got[SHAPE_BYTES];
    if (rows->dims[0] == 0)
        return rows->X == input->size ? EBM_OK : fail_size(job);
    say_shape(got, rows->dims[0], rows->dims[1], rows->dims[2]);
    if (!input->is_image)
        return ebm_error_set(&job->error, EBM_INVALID, place_of(job),
                             "images of shape [%s]: model '%s' reads rows of %" PRIu32 " numbers", got,
                             job->model->name, input->size);
    if (rows->dims[0] == input->shape.channels && rows->dims[1] == input->shape.height &&
        rows->dims[2] == input->shape.width)
        return EBM_OK;
    say_shape(expected, input->shape.channels, input->shape.height, input->shape.width);
    return ebm_error_set(&job->error, EBM_INVALID, place_of(job),
                         "expected images of shape [%s], the input of model '%s', got [%s]: an array is not resized",
                         expected, job->model->name, got);
}

/* ---- images ---- */

static enum ebm_status check_images(struct job *job)
{
    const struct ebm_input_config *input = &ebm_model_config(job->model->model)->input;
    uint32_t channels = input->shape.channels;
    if (!input->is_image)
        return ebm_error_set(&job->error, EBM_INVALID, place_of(job),
                             "an image: model '%s' reads rows of %" PRIu32 " numbers", job->model->name, input->size);
    if (channels != 1 && channels != 3)
        return ebm_error_set(&job->error, EBM_INVALID, place_of(job),
                             "model '%s' reads images of %" PRIu32
                             " channels, which no PNG and no JPEG has: send an array of shape (rows, channels, "
                             "height, width)",
                             job->model->name, channels);
    return EBM_OK;
}

enum ebm_status input_rows_check(struct job *job)
{
    if (job->request.inputs.images)
        return check_images(job);
    if (job->kind == REQUEST_INFER && job->wanted->is_raw)
        return fit_raw(job);
    return check_numbers(job);
}

enum ebm_status input_rows_decode(uint64_t max_pixels, struct job *job)
{
    const struct ebm_shape *shape = &ebm_model_config(job->model->model)->input.shape;
    const struct image_rows how = {
        .shape = {shape->channels, shape->height, shape->width},
        .max_pixels = max_pixels,
        .is_body = job->form.body == JOB_BODY_IMAGE,
        .wanted = job_is_wanted,
        .who = job,
    };
    if (!job->request.inputs.images)
        return EBM_OK;
    enum ebm_status status = image_rows_decode(&how, &job->request.inputs, &job->arena, &job->error);
    ebm_buf_done(&job->body);
    return status;
}
