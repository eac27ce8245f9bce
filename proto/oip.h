/* oip.h - bodies of POST /v2/models/M/infer -> struct request, and its answer, as the Open Inference Protocol v2 and
 * its binary tensor data extension have them (docs/API.md).
 *
 *   body = JSON ‖ tensors            Inference-Header-Content-Length: bytes of the JSON; without it all is JSON
 *   body = numbers of one row        Inference-Header-Content-Length: 0; as the model's description has them, or FP32
 *
 * One table of outputs and one of inputs (oip.c) drive reading, writing and the descriptions of models. Any thread. */
#ifndef EBM_PROTO_OIP_H
#define EBM_PROTO_OIP_H

#include "proto/answer.h"
#include "proto/tensor.h"

#define OIP_LENGTH_HEADER "Inference-Header-Content-Length"

/* name, word, shape of a row, where it stands in struct answer_row: pointer (AT), number or flag itself (IN) */
#define OIP_OUTPUT_MAP(X)                                                                                              \
    X(MEAN, mean, VECTOR, AT)                                                                                          \
    X(STD, std, VECTOR, AT)                                                                                            \
    X(VARIANCE, variance, VECTOR, AT)                                                                                  \
    X(MEDIAN, median, VECTOR, AT)                                                                                      \
    X(MODE, mode, VECTOR, AT)                                                                                          \
    X(COVARIANCE, covariance, MATRIX, AT)                                                                              \
    X(QUANTILES, quantiles, QUANTILES, AT)                                                                             \
    X(ENTROPY, entropy, VALUE, AT)                                                                                     \
    X(CDF, cdf, CDF, AT)                                                                                               \
    X(CRPS, crps, CRPS, AT)                                                                                            \
    X(SAMPLES, samples, SAMPLES, AT)                                                                                   \
    X(LOG_WEIGHTS, log_weights, SAMPLE_VALUES, AT)                                                                     \
    X(UNNORMALIZED_LOG_PROB, unnormalized_log_prob, TARGET_VALUES, AT)                                                 \
    X(LOG_PROB, log_prob, TARGET_VALUES, AT)                                                                           \
    X(PROPOSAL_LOG_PROB, proposal_log_prob, TARGET_VALUES, AT)                                                         \
    X(LOG_NORMALIZER, log_normalizer, VALUE, AT)                                                                       \
    X(ESS, ess, VALUE, IN)                                                                                             \
    X(PARETO_K, pareto_k, VALUE, IN)                                                                                   \
    X(RELIABLE, reliable, FLAG, IN)

enum oip_output {
#define X(name, word, shape, where) OIP_##name,
    OIP_OUTPUT_MAP(X)
#undef X
        OIP_OUTPUTS
};

enum oip_input { OIP_INPUT_X, OIP_INPUT_QUANTILES, OIP_INPUT_TARGETS, OIP_INPUT_CDF, OIP_INPUT_CRPS_AT, OIP_INPUTS };

/* What is answered when no outputs are named: the outputs of the model's description. */
#define OIP_STANDARD_OUTPUTS (1u << OIP_MEAN | 1u << OIP_STD | 1u << OIP_RELIABLE)

/* A body as it came. */
struct oip_body {
    const char *bytes;
    size_t size;
    bool has_json_bytes; /* Inference-Header-Content-Length was there */
    uint64_t json_bytes;
};

/* What the answer is to be. */
struct oip_wanted {
    uint32_t n_outputs;
    struct {
        enum oip_output output;
        bool binary;
    } outputs[OIP_OUTPUTS];
    bool is_raw; /* the body was one row: inputs.n is 1, its bytes are there, and nothing says what they are */
};

/* The parameters of a request, for the interface's description. Borrow: static. */
const struct field *oip_parameters(uint32_t *ret_n);

/* Digits alone, at most 2^53 - 1. False: anything else. */
bool oip_read_length(const char *text, uint64_t *ret_length) EBM_MUST_USE;

/* request->kind is REQUEST_INFER, its outputs are bits 1 << OIP_x; model and version are not set: they stand in the
 * path. INVALID or NO_MEMORY with where = the member ("inputs[1].shape", "parameters.seed"). Texts and arrays lie in
 * the arena; nothing of the body is borrowed afterwards. */
enum ebm_status oip_read(const struct oip_body *body, const struct request_limits *limits, struct ebm_arena *arena,
                         struct request *ret_request, struct oip_wanted *ret_wanted, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Of a raw body: its bytes, which are a multiple of four, as FP32 -> numbers in the arena. INVALID: one is not finite;
 * NO_MEMORY. */
enum ebm_status oip_raw_floats(struct field_rows *rows, struct ebm_arena *arena, struct ebm_error *reterr) EBM_MUST_USE;

/* ---- answers ---- */

const char *oip_output_word(enum oip_output output);
enum answer_shape oip_output_shape(enum oip_output output);
/* FP32; FP64 of a target whose mean is so large beside its spread (digits) that a float is too coarse; BOOL. */
enum tensor_type oip_output_type(enum oip_output output, int digits);

/* Row `row` of an answer; false when nobody wants it any more. */
typedef bool oip_row_fn(const void *who, uint32_t row, struct answer_row *ret_row);

/* The whole answer: JSON, then the tensors that are binary, whose JSON takes *ret_json_bytes (0: none is binary). A
 * failure stays in buf->status. */
enum ebm_status oip_answer(struct ebm_buf *buf, const struct answer *answer, const struct oip_wanted *wanted,
                           uint32_t n_rows, oip_row_fn *row_of, const void *who, size_t *ret_json_bytes) EBM_MUST_USE;

/* An upper bound of its bytes. */
size_t oip_answer_bound(const struct answer *answer, const struct oip_wanted *wanted, uint32_t n_rows);

#endif
