/* access_log.h - one line for each request that is over, at level info. Loop thread only. */
#ifndef EBM_SERVER_ACCESS_LOG_H
#define EBM_SERVER_ACCESS_LOG_H

#include "core/buf.h"
#include "server/http.h"
#include "server/job.h"

/* What a line tells. Texts of clients are any bytes. Borrows. */
struct access_line {
    const char *method, *path;
    const char *route; /* NULL: no such path */
    const char *model; /* NULL: not known */
    uint64_t version;
    uint32_t rows;
    int status; /* 0: the client left before an answer */
    uint64_t bytes_in, bytes_out;
    uint64_t queue_us, compute_us, total_us;
    bool sent;
    const char *request_id;
    const struct trace *trace; /* NULL: none */
};

/* Of an exchange that is over, at `route` of the table; `job` is NULL for requests that never became one.
 * `kept`: memory for lines, zero at first; the loop's, who gives it back with ebm_buf_done. */
void access_log_write(struct ebm_buf *kept, const struct http_exchange *exchange, const char *route,
                      const struct job *job, bool sent);

/* That line as JSON, with its end. Pure but for the time. */
void access_log_json(struct ebm_buf *buf, const struct access_line *line);

#endif
