/* request_defaults.h - what a model answers with when a request does not say: the same names and bounds as in requests.
 * Any thread. */
#ifndef EBM_PROTO_REQUEST_DEFAULTS_H
#define EBM_PROTO_REQUEST_DEFAULTS_H

#include "proto/request.h"

struct request_defaults {
    field_seen seen; /* which of these were given */
    uint32_t estimator, draws, weights;
    uint64_t num_samples, num_proposals, target_ess, max_samples, timeout_ms, priority;
};

/* INVALID with where = the member, and what was expected. */
enum ebm_status request_defaults_read(struct json_t *object, const struct request_limits *limits,
                                      struct request_defaults *ret_defaults, struct ebm_error *reterr) EBM_MUST_USE;

/* Puts what the request did not say into it, as far as its kind has such a field. */
void request_defaults_apply(const struct request_defaults *defaults, struct request *request);

#endif
