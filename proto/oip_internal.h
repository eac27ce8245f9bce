/* oip_internal.h - what the files that read infer requests share. Private to them.
 *
 *   oip.c          the message: parameters, outputs, what must hold between them
 *   oip_inputs.c   tensors that come in, and the fields of the request that they stand for
 */
#ifndef EBM_PROTO_OIP_INTERNAL_H
#define EBM_PROTO_OIP_INTERNAL_H

#include "proto/json_read.h"
#include "proto/oip.h"

#define OIP_WHERE_BYTES 96
#define OIP_WHOLE_MAX ((1ull << 53) - 1)

/* An input as it was sent. */
struct oip_tensor {
    bool is_given;
    uint32_t index; /* in inputs */
    enum tensor_type type;
    struct tensor_shape shape;
    size_t n;
    double *numbers;      /* (n) */
    const uint8_t *bytes; /* (n) of x in binary UINT8, instead of numbers: borrow, of the arena */
};

struct oip_reading {
    const struct oip_body *body;
    size_t at; /* of the body: the next binary tensor */
    const struct request_limits *limits;
    struct ebm_arena *arena;
    struct ebm_error *reterr;
    struct oip_tensor inputs[OIP_INPUTS];
};

/* The members of an object by their names; NULL: not there. INVALID: one that has no name here. */
enum ebm_status oip_gather(const struct oip_reading *reading, struct json_t *object, const char *where,
                           const char *const *names, uint32_t n, struct json_t **ret_values) EBM_MUST_USE;

const char *oip_input_word(enum oip_input input);

/* The tensors of a list (NULL: there is none), to the last byte of the body; or of a body that is one row. */
enum ebm_status oip_read_inputs(struct oip_reading *reading, const struct json_t *list) EBM_MUST_USE;
enum ebm_status oip_read_raw(struct oip_reading *reading) EBM_MUST_USE;

/* Rows, quantiles, targets and points of the request, whose outputs are known. */
enum ebm_status oip_set_inputs(const struct oip_reading *reading, struct request *request) EBM_MUST_USE;

#endif
