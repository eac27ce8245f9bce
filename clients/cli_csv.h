/* cli_csv.h - inputs out of a CSV with a header line, a block of rows at a time. */
#ifndef EBM_CLIENTS_CLI_CSV_H
#define EBM_CLIENTS_CLI_CSV_H

#include "clients/ebm_client.h"

struct cli_csv;

/* Opens `path` ("-": standard input) and reads its header. The n columns are found by `names`, others are passed over;
 * NULL: the model has no names, and the file has its n columns in its order. New: cli_csv_free. */
enum ebm_client_status cli_csv_open(const char *path, const char *const *names, size_t n, struct cli_csv **ret_csv,
                                    struct ebm_client_error *reterr);
struct cli_csv *cli_csv_free(struct cli_csv *csv); /* NULL is fine; returns NULL */

/* Up to `most` rows into values (most, n); *ret_n_rows = 0 at the end of the file. */
enum ebm_client_status cli_csv_read(struct cli_csv *csv, size_t most, double *values, size_t *ret_n_rows,
                                    struct ebm_client_error *reterr);

#endif
