/* cli_output.h - answers as a table, CSV or JSON on standard output, block after block. */
#ifndef EBM_CLIENTS_CLI_OUTPUT_H
#define EBM_CLIENTS_CLI_OUTPUT_H

#include "clients/cli_args.h"

enum cli_format { CLI_TABLE, CLI_JSON, CLI_CSV };

/* What follows a run's first block. */
struct cli_output {
    enum cli_command kind; /* PREDICT, SAMPLE, DENSITY or REFINE */
    enum cli_format format;
    size_t n_rows; /* printed already */
};

/* The format that was asked for, TABLE by default. */
enum ebm_client_status cli_output_format(const struct cli_args *args, enum cli_format *ret_format,
                                         struct ebm_client_error *reterr);

/* Prints an answer's rows, numbered on from those before. The first block prints the header, or the head of the JSON.
 */
enum ebm_client_status cli_output_add(struct cli_output *output, const struct ebm_client_answer *answer,
                                      struct ebm_client_error *reterr);
void cli_output_end(const struct cli_output *output);

void cli_output_models(const struct ebm_client_models *models, enum cli_format format);
void cli_output_model(const struct ebm_client_model *model, enum cli_format format);
void cli_output_health(bool is_live, bool is_ready, enum cli_format format);

#endif
