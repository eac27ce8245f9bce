/* check_request.h - what must hold of every request that was accepted, however it was written. */
#ifndef EBM_TESTS_FUZZ_CHECK_REQUEST_H
#define EBM_TESTS_FUZZ_CHECK_REQUEST_H

#include "proto/request.h"

/* What the targets allow. */
extern const struct request_limits check_request_limits;

/* Numbers finite, counts within the limits, and every row's numbers there to be read. */
void check_request(const struct request *request);
/* Numbers, bytes or images, and as many as they say. */
void check_rows(const struct field_rows *rows);

#endif
