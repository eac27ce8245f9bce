/* operation.h - the steps of a request between its bytes, whatever it asks: body -> request -> query and room for
 * answers; rows -> answers; answers -> bytes. No threads, no time: the loop and the workers call these on jobs that
 * they hold. */
#ifndef EBM_SERVER_OPERATION_H
#define EBM_SERVER_OPERATION_H

#include "server/job.h"

/* Fixed while requests are served; shared by all threads. */
struct operation_service {
    struct model_store *store;
    struct request_limits limits;
    uint64_t max_work;         /* numbers to draw and to weigh for one request */
    uint64_t max_image_pixels; /* of all images of one request; at most LIMIT_DECODED_PIXELS */
    size_t max_response_bytes;
};

/* The body -> job->request. */
enum ebm_status operation_read(const struct operation_service *service, struct job *job) EBM_MUST_USE;

/* job->request -> model, resolved query, arrays of the answer; picks the seed. A failure of either stands in
 * job->error. */
enum ebm_status operation_admit(const struct operation_service *service, struct job *job) EBM_MUST_USE;

/* Bytes that an admitted job and its answer take at most. */
size_t operation_memory(const struct job *job);

/* Row `row` of an admitted job, as the engine wants it. */
struct ebm_item operation_item(struct job *job, uint32_t row);

/* The predictions -> job->answer; a failure stands in job->error. Frees the arena: nothing of the request or the
 * predictions is there afterwards. Stops early when nobody wants the job any more. */
void operation_encode(const struct operation_service *service, struct job *job);

#endif
