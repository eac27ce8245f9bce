/* input_rows.h - a request's rows against the input of the model that it is for. Any thread that holds the job. */
#ifndef EBM_SERVER_INPUT_ROWS_H
#define EBM_SERVER_INPUT_ROWS_H

#include "proto/tensor.h"
#include "server/job.h"

/* As the Open Inference Protocol describes an input: images whose model scales bytes are UINT8, others FP32. */
enum tensor_type input_rows_type(const struct ebm_input_config *input);

/* job->request.inputs, once job->model is known: as many numbers a row, of the same shape, as the model reads; images
 * only where it reads some. No pixel is looked at. A failure stands in job->error. */
enum ebm_status input_rows_check(struct job *job) EBM_MUST_USE;

/* After that, when nothing else is wrong with the request: images are decoded (image_rows.h), and the body that they
 * stand in is freed; other rows stay. A failure stands in job->error. */
enum ebm_status input_rows_decode(uint64_t max_pixels, struct job *job) EBM_MUST_USE;

#endif
