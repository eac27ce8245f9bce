/* server.h - everything put together: starts, serves until SIGTERM or SIGINT, stops. */
#ifndef EBM_SERVER_SERVER_H
#define EBM_SERVER_SERVER_H

#include "server/options.h"

/* Serves; returns when the server has stopped. OK after a graceful stop; otherwise reterr says why it did not start.
 * The calling thread is the loop's. */
enum ebm_status server_run(const struct options *options, struct ebm_error *reterr) EBM_MUST_USE;

/* Loads every model of the repository as server_run would, and says what was found. OK: all of them can be served. */
enum ebm_status server_check(const struct options *options, struct ebm_error *reterr) EBM_MUST_USE;

#endif
