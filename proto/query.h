/* query.h - the fields of a request as they stand in a URL, "outputs=mean,std&seed=7&interval.level=0.9", as the JSON
 * object that request_read_rows reads: for bodies that are no JSON. Any thread. */
#ifndef EBM_PROTO_QUERY_H
#define EBM_PROTO_QUERY_H

#include "core/buf.h"
#include "proto/request.h"

#define QUERY_PAIRS 32u

struct query {
    uint32_t n;
    struct ebm_error error; /* of the first pair that was refused; status OK: none was */
    struct {
        const char *name, *value; /* decoded; borrow */
    } pairs[QUERY_PAIRS];
};

/* value NULL is "". False: there are too many, the name is there already, or no field could have it; query->error says
 * which. */
bool query_add(struct query *query, const char *name, const char *value) EBM_MUST_USE;

/* Appends the object; what is wrong with names and values request_read_rows says. Lists are separated by commas. A
 * failure stays in buf->status. */
void query_write(const struct query *query, enum request_kind kind, struct ebm_buf *buf);

#endif
