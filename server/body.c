/* body.c - one body's way to a request.
 *
 *   compressed -> inflate -> JSON -> request_read         the four kinds of requests
 *                         -> .npy -> npy_read_rows, and the query's fields by request_read_rows
 *                         -> PNG, JPEG: one row, which is decoded when its model is known; likewise
 *                         -> JSON and tensors -> infer_read
 *
 * Guarantees: what is read is within the limits of its form, after decompression too; a request whose answer is to be
 * one array asks for one. */
#include "server/body.h"

#include <string.h>

#include "proto/npy.h"
#include "server/infer.h"

static enum ebm_status decompress(struct job *job)
{
    struct ebm_buf plain;
    if (job->form.coding == INFLATE_NONE)
        return EBM_OK;
    enum ebm_status status = inflate_read(job->form.coding, job->body.bytes, job->body.size, job->form.max_bytes,
                                          &plain, &job->error);
    if (status != EBM_OK)
        return status;
    ebm_buf_done(&job->body);
    job->body = plain;
    return EBM_OK;
}

/* The whole body. Borrows it. */
static enum ebm_status take_image(struct job *job, struct field_rows *ret_rows)
{
    struct field_image *image = EBM_ARENA_NEW(&job->arena, struct field_image, 1);
    if (!image)
        return ebm_error_set(&job->error, EBM_NO_MEMORY, "body", "no memory");
    *image = (struct field_image){(const uint8_t *)job->body.bytes, job->body.size};
    *ret_rows = (struct field_rows){.n = 1, .images = image};
    return EBM_OK;
}

static enum ebm_status read_rows(const struct request_limits *limits, struct job *job)
{
    struct field_rows rows;
    const char *options = job->form.options;
    enum ebm_status status;
    if (job->form.body == JOB_BODY_IMAGE)
        status = take_image(job, &rows);
    else
        status = npy_read_rows(job->body.bytes, job->body.size, limits, &job->arena, &rows, &job->error);
    if (status != EBM_OK)
        return status;
    return request_read_rows(job->kind, &rows, options, strlen(options), limits, &job->arena, &job->request,
                             &job->error);
}

static enum ebm_status read_plain(const struct request_limits *limits, struct job *job)
{
    if (job->kind == REQUEST_INFER)
        return infer_read(limits, &job->body, job);
    if (job->form.body != JOB_BODY_JSON)
        return read_rows(limits, job);
    return request_read(job->kind, job->body.bytes, job->body.size, limits, &job->arena, &job->request, &job->error);
}

static enum ebm_status check_acceptable(struct job *job)
{
    job->is_unacceptable = npy_member(&job->request) == NULL;
    if (!job->is_unacceptable)
        return EBM_OK;
    return ebm_error_set(
        &job->error, EBM_INVALID, "Accept",
        "one array needs one output: name it in outputs; the samples of /sample are one while resample "
        "is true; /refine and intervals of highest density have none");
}

enum ebm_status body_read(const struct request_limits *limits, struct job *job)
{
    enum ebm_status status = decompress(job);
    if (status == EBM_OK)
        status = read_plain(limits, job);
    if (status == EBM_OK && job->form.wants_npy)
        status = check_acceptable(job);
    return status;
}
