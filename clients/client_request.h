/* client_request.h - requests -> the JSON bodies of POST /predict, /sample, /density and /refine. */
#ifndef EBM_CLIENTS_CLIENT_REQUEST_H
#define EBM_CLIENTS_CLIENT_REQUEST_H

#include "clients/client_http.h"

/* INVALID for numbers that are not finite and arrays that are missing: JSON cannot say them. All other rules are the
 * server's. New: free(*ret_body). Any thread. */
enum ebm_client_status client_write_predict(const struct ebm_client_predict_request *request, char **ret_body,
                                            struct ebm_client_error *reterr);
enum ebm_client_status client_write_sample(const struct ebm_client_sample_request *request, char **ret_body,
                                           struct ebm_client_error *reterr);
enum ebm_client_status client_write_density(const struct ebm_client_density_request *request, char **ret_body,
                                            struct ebm_client_error *reterr);
enum ebm_client_status client_write_refine(const struct ebm_client_refine_request *request, char **ret_body,
                                           struct ebm_client_error *reterr);

#endif
