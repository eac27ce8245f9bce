/* infer.h - what operation.c does in another way for requests of the Open Inference Protocol (proto/oip.h). Any thread
 * that holds the job. */
#ifndef EBM_SERVER_INFER_H
#define EBM_SERVER_INFER_H

#include "proto/answer.h"
#include "server/job.h"

/* The body, decoded -> job->request and job->wanted. */
enum ebm_status infer_read(const struct request_limits *limits, const struct ebm_buf *body, struct job *job)
    EBM_MUST_USE;

/* Bits 1 << OIP_x -> EBM_OUTPUT bits. */
uint32_t infer_outputs(uint32_t outputs);

/* Sizes of the inputs against those of the model; a failure stands in job->error. */
enum ebm_status infer_check_shapes(struct job *job) EBM_MUST_USE;

#endif
