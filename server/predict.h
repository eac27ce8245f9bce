/* predict.h - the steps of POST /predict between its bytes: body -> request -> query and room for answers; rows ->
 * answers; answers -> bytes. No threads, no time: the loop and the workers call these on jobs that they hold. */
#ifndef EBM_SERVER_PREDICT_H
#define EBM_SERVER_PREDICT_H

#include "server/job.h"

/* Fixed while requests are served; shared by all threads. */
struct predict_service {
    const struct model_store *store;
    struct predict_limits limits;
    size_t max_response_bytes;
};

/* The body -> job->request. */
enum ebm_status predict_read(const struct predict_service *service, struct job *job) EBM_MUST_USE;

/* job->request -> model, resolved query, arrays of the answer; picks the seed. A failure of either stands in
 * job->error. */
enum ebm_status predict_admit(const struct predict_service *service, struct job *job) EBM_MUST_USE;

/* Row `row` of an admitted job, as the engine wants it. */
struct ebm_item predict_item(struct job *job, uint32_t row);

/* The predictions -> job->answer; a failure stands in job->error. */
void predict_encode(const struct predict_service *service, struct job *job);

#endif
