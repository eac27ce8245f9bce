/* cli_request.h - options -> requests of the library, one for all blocks. */
#ifndef EBM_CLIENTS_CLI_REQUEST_H
#define EBM_CLIENTS_CLI_REQUEST_H

#include "clients/cli_args.h"

/* The request of a command, without rows; only the command's own kind is filled. Owns its arrays: cli_request_done. */
struct cli_request {
    enum cli_command kind;
    struct ebm_client_rows rows; /* copied into the kind's request before it is sent */
    struct ebm_client_predict_request predict;
    struct ebm_client_sample_request sample;
    struct ebm_client_density_request density;
    struct ebm_client_refine_request refine;
    double *targets; /* (n_target_lists, n_targets, D): density's targets or refine's starts, set block by block */
    size_t n_target_lists; /* 1: for all rows */
    size_t n_targets, D;
    char *words; /* of outputs */
    const char **outputs;
    double *quantiles, *cdf, *crps_at, *step_lengths;
};

enum ebm_client_status cli_request_read(const struct cli_args *args, struct cli_request *ret_request,
                                        struct ebm_client_error *reterr);
void cli_request_done(struct cli_request *request);

/* Sends the request with request->rows, whose inputs start at row `first` of all. New: ebm_client_answer_done. */
enum ebm_client_status cli_request_send(struct ebm_client *client, const struct cli_request *request, size_t first,
                                        struct ebm_client_answer *ret_answer, struct ebm_client_error *reterr);

#endif
