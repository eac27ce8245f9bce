/* openapi.h - the interface's description (OpenAPI 3.1), made of the same tables that check requests and write answers.
 * Any thread. */
#ifndef EBM_PROTO_OPENAPI_H
#define EBM_PROTO_OPENAPI_H

#include "core/buf.h"
#include "proto/request.h"

/* A route besides the kinds of requests: what it reads and answers. */
struct openapi_route {
    const char *pattern; /* '*' for the name of a model, then for a version */
    const char *summary;
    const char *schema;  /* of the answer: Index, Live, Model, Anything, ...; Text: text/plain; Nothing: no body */
    const char *request; /* of the body of a POST: InferRequest, RepositoryRequest, ControlRequest; NULL: a GET */
};

/* The one model that requests are about; sizes of rows and what applies are described exactly then. */
struct openapi_model {
    uint32_t X, D;
    bool has_energy, has_proposal;
    bool reads_images;   /* PNG and JPEG: of 1 or 3 channels */
    uint32_t estimators; /* bits 1 << REQUEST_ESTIMATOR_x: those that apply */
};

struct openapi_info {
    const char *version; /* of the server */
    const struct request_limits *limits;
    const struct openapi_model *model; /* NULL: none or several */
    const struct openapi_route *routes;
    uint32_t n_routes;
};

/* Appends the document; a failure stays in buf->status. */
void openapi_write(struct ebm_buf *buf, const struct openapi_info *info);

#endif
