/* access_log.h - one line for each request that is over. Loop thread only. */
#ifndef EBM_SERVER_ACCESS_LOG_H
#define EBM_SERVER_ACCESS_LOG_H

#include "server/http.h"
#include "server/job.h"

/* `job` is NULL for requests that never became one. */
void access_log_write(const struct http_exchange *exchange, const struct job *job, bool sent);

#endif
