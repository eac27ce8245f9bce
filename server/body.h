/* body.h - bodies in all their forms -> requests: compressed or not; JSON, an array, an image, tensors. Any thread that
 * holds the job; slow for large ones. */
#ifndef EBM_SERVER_BODY_H
#define EBM_SERVER_BODY_H

#include "server/job.h"

/* job->body, as job->form says -> job->request. A failure stands in job->error. */
enum ebm_status body_read(const struct request_limits *limits, struct job *job) EBM_MUST_USE;

#endif
