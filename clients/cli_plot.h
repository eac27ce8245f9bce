/* cli_plot.h - the density of a row as a picture of characters. */
#ifndef EBM_CLIENTS_CLI_PLOT_H
#define EBM_CLIENTS_CLI_PLOT_H

#include "clients/ebm_client.h"

/* Draws row `row` of an answer with log_prob, D = 1 and at least two targets in rising order. INVALID says what lacks.
 */
enum ebm_client_status cli_plot(const struct ebm_client_answer *answer, size_t row, size_t number,
                                struct ebm_client_error *reterr);

#endif
