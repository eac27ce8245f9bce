/* fuzz_answer.c - a request to /predict, and an answer to it made of the request's own bytes: valid JSON, and no longer
 * than what was promised before it was computed. The first byte chooses the number of targets. */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "proto/answer.h"
#include "proto/json_write.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_BYTES (1u << 20)
#define NUMBERS 8192u

static const struct request_limits limits = {.max_rows = 4, .max_samples = 64, .max_steps = 8, .max_timeout_ms = 5000};

/* Long ones and short ones, in the order that the input's bits give. */
static void fill(const uint8_t *bytes, size_t size, double *numbers)
{
    static const double some[] = {0.0, -1.2345678901234567e-300, -3.4028234663852886e+38, 1.0 / 3.0};
    for (size_t i = 0; i < NUMBERS; i++)
        numbers[i] = some[(bytes[i / 4 % size] >> (i % 4 * 2)) & 3];
}

static struct answer answer_of(const struct request *request, uint32_t D)
{
    return (struct answer){.model = "toy",
                           .version = UINT64_MAX,
                           .id = request->id,
                           .seed = request->seed,
                           .D = D,
                           .n_cdf = request->cdf.n,
                           .n_crps = request->crps_at.n,
                           .quantiles = request->quantiles,
                           .interval_kind = request_interval_word(request->interval_kind),
                           .interval_level = request->interval_level,
                           .digits = JSON_WRITE_FLOAT_DIGITS,
                           .ignored = request->has_num_draws ? "num_samples" : NULL};
}

static struct answer_row row_of(const struct request *request, const double *numbers)
{
    uint32_t outputs = request->outputs;
    bool is_region = request->interval_kind == REQUEST_INTERVAL_HIGHEST_DENSITY;
#define WANTED(name) (outputs >> REQUEST_PREDICT_##name & 1u ? numbers : NULL)
    return (struct answer_row){.mean = WANTED(MEAN),
                               .std = WANTED(STD),
                               .variance = WANTED(VARIANCE),
                               .median = WANTED(MEDIAN),
                               .quantiles = WANTED(QUANTILES),
                               .interval = WANTED(INTERVAL),
                               .n_intervals = is_region ? LIMIT_INTERVALS : 1,
                               .covariance = WANTED(COVARIANCE),
                               .entropy = WANTED(ENTROPY),
                               .mode = WANTED(MODE),
                               .cdf = request->cdf.n > 0 ? numbers : NULL,
                               .crps = request->crps_at.n > 0 ? numbers : NULL,
                               .log_normalizer = WANTED(LOG_NORMALIZER),
                               .estimator = "importance",
                               .drew = true,
                               .proper = true,
                               .num_samples = UINT32_MAX,
                               .ess = numbers[0],
                               .max_weight = numbers[1],
                               .pareto_k = numbers[2],
                               .mcse_mean = numbers};
#undef WANTED
}

static void write_answer(const struct request *request, uint32_t D, const double *numbers)
{
    struct answer answer = answer_of(request, D);
    struct ebm_buf buf;
    size_t bound = answer_bound(request, D, answer.digits);
    ebm_buf_init(&buf, bound);
    answer_begin(&buf, &answer);
    for (uint32_t i = 0; i < request->inputs.n; i++) {
        struct answer_row row = row_of(request, numbers + i);
        answer_add_row(&buf, &answer, &row, i);
    }
    EBM_ASSERT(answer_end(&buf) == EBM_OK);
    fuzz_check_json(buf.bytes, buf.size);
    ebm_buf_done(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static double numbers[NUMBERS];
    struct ebm_arena arena;
    struct request request;
    struct ebm_error error;
    if (size == 0)
        return -1;
    uint32_t D = 1 + bytes[0] % 8u;
    ebm_arena_init(&arena, ARENA_BYTES);
    enum ebm_status status = request_read(REQUEST_PREDICT, (const char *)bytes + 1, size - 1, &limits, &arena, &request,
                                          &error);
    bool fits = status == EBM_OK && D * LIMIT_QUANTILES < NUMBERS / 2 &&
                request.cdf.n + request.crps_at.n < NUMBERS / 2;
    if (fits) {
        fill(bytes, size, numbers);
        write_answer(&request, D, numbers);
    }
    ebm_arena_done(&arena);
    return fits ? 0 : -1;
}
