/* body.c - one body's way to a request.
 *
 *   compressed -> inflate -> JSON -> request_read         the four kinds of requests
 *                         -> .npy -> npy_read_rows, and the query's fields by request_read_rows
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

static enum ebm_status read_npy(const struct request_limits *limits, struct job *job)
{
    struct field_rows rows;
    const char *options = job->form.options;
    enum ebm_status status = npy_read_rows(job->body.bytes, job->body.size, limits, &job->arena, &rows, &job->error);
    if (status != EBM_OK)
        return status;
    return request_read_rows(job->kind, &rows, options, strlen(options), limits, &job->arena, &job->request,
                             &job->error);
}

static enum ebm_status read_plain(const struct request_limits *limits, struct job *job)
{
    if (job->kind == REQUEST_INFER)
        return infer_read(limits, &job->body, job);
    if (job->form.is_npy)
        return read_npy(limits, job);
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
