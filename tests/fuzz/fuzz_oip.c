/* fuzz_oip.c - bodies of the Open Inference Protocol: Inference-Header-Content-Length on a line of its own, empty when
 * it is not there; then the body, JSON and tensors. What was accepted is answered with numbers of no meaning: JSON of
 * the length that is told, then binary data, together no longer than was promised. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "proto/json_write.h"
#include "proto/oip.h"
#include "tests/fuzz/check_request.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (16u << 20)
#define TARGET_DIM 3u
#define SAMPLES 16u /* of an answer */

static const double numbers[(LIMIT_QUANTILES + SAMPLES) * TARGET_DIM + 4096] = {-1.2345678901234567e-30, NAN,
                                                                                1.0 / 3.0};

static bool row_of(const void *who, uint32_t row, struct answer_row *ret_row)
{
    (void)who;
    (void)row;
    *ret_row = (struct answer_row){.mean = numbers,
                                   .std = numbers,
                                   .variance = numbers,
                                   .median = numbers,
                                   .mode = numbers,
                                   .covariance = numbers,
                                   .quantiles = numbers,
                                   .entropy = numbers,
                                   .cdf = numbers,
                                   .crps = numbers,
                                   .samples = numbers,
                                   .log_weights = numbers,
                                   .unnormalized_log_prob = numbers,
                                   .log_prob = numbers,
                                   .proposal_log_prob = numbers,
                                   .log_normalizer = numbers,
                                   .drew = true,
                                   .ess = numbers[2]};
    return true;
}

static void write_answer(const struct request *request, const struct oip_wanted *wanted, int digits)
{
    struct answer answer = {.model = "toy",
                            .version = 7,
                            .id = request->id,
                            .seed = request->seed,
                            .D = TARGET_DIM,
                            .n_samples = SAMPLES,
                            .n_targets = request->targets.n,
                            .n_cdf = request->cdf.n,
                            .n_crps = request->crps_at.n,
                            .quantiles = request->quantiles,
                            .digits = digits};
    struct ebm_buf buf;
    size_t json_bytes = 0;
    ebm_buf_init(&buf, oip_answer_bound(&answer, wanted, request->inputs.n));
    EBM_ASSERT(oip_answer(&buf, &answer, wanted, request->inputs.n, row_of, NULL, &json_bytes) == EBM_OK);
    EBM_ASSERT(json_bytes <= buf.size);
    fuzz_check_json(buf.bytes, json_bytes ? json_bytes : buf.size);
    ebm_buf_done(&buf);
}

/* Of a raw body that is FP32. */
static void check_floats(struct field_rows rows, struct ebm_arena *arena)
{
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = oip_raw_floats(&rows, arena, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        check_rows(&rows);
}

static void check(const struct request *request, const struct oip_wanted *wanted, struct ebm_arena *arena)
{
    check_request(request);
    EBM_ASSERT(wanted->n_outputs >= 1 && wanted->n_outputs <= OIP_OUTPUTS);
    EBM_ASSERT(request->inputs.n == 1 || !wanted->is_raw);
    if (wanted->is_raw && request->inputs.X % sizeof(float) == 0)
        check_floats(request->inputs, arena);
    if (request->targets.n + request->cdf.n + request->crps_at.n > 4096)
        return;
    write_answer(request, wanted, JSON_WRITE_FLOAT_DIGITS);
    write_answer(request, wanted, JSON_WRITE_DOUBLE_DIGITS);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *line_end = size > 0 ? memchr(bytes, '\n', size) : NULL;
    if (!line_end)
        return -1;
    size_t line_bytes = (size_t)(line_end - bytes);
    char *length = fuzz_text(bytes, line_bytes);
    struct oip_body body = {.bytes = (const char *)line_end + 1, .size = size - line_bytes - 1};
    struct request request;
    struct oip_wanted wanted;
    struct ebm_arena arena;
    struct ebm_error error = {.status = EBM_OK};
    body.has_json_bytes = oip_read_length(length, &body.json_bytes);
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = oip_read(&body, &check_request_limits, &arena, &request, &wanted, &error);
    fuzz_check_error(status, &error);
    if (status == EBM_OK)
        check(&request, &wanted, &arena);
    ebm_arena_done(&arena);
    free(length);
    return 0;
}
