/* cli_rows.h - the commands predict, sample and density: rows out of options or a file, block by block to the server.
 */
#ifndef EBM_CLIENTS_CLI_ROWS_H
#define EBM_CLIENTS_CLI_ROWS_H

#include "clients/cli_args.h"

/* Prints the answers as they come; after a failure what came before it is printed. */
enum ebm_client_status cli_rows_run(struct ebm_client *client, const struct cli_args *args,
                                    struct ebm_client_error *reterr);

#endif
