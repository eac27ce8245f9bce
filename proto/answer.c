/* answer.c - rows of numbers into JSON, member by member in the order of the table.
 *
 *   struct answer -> head;  struct answer_row -> the members that are not NULL, then diagnostics
 *
 * Guarantees: valid JSON whatever the numbers are (null for what is not finite); no answer is larger than
 * answer_bound said. Does not know: models, devices. */
#include "proto/answer.h"

#include <string.h>

#include "core/limits.h"
#include "proto/json_write.h"

#define PREDICT (1u << REQUEST_PREDICT)
#define SAMPLE (1u << REQUEST_SAMPLE)
#define DENSITY (1u << REQUEST_DENSITY)
#define REFINE (1u << REQUEST_REFINE)

/* clang-format off */
static const struct answer_member members[] = {
#define ROW(name, shape, kinds, help) {#name, shape, offsetof(struct answer_row, name), kinds, help},
    ROW(mean, ANSWER_VECTOR, PREDICT, "mean of p(y given x); of an angle its direction")
    ROW(std, ANSWER_VECTOR, PREDICT, "standard deviation; of an angle the circular one")
    ROW(variance, ANSWER_VECTOR, PREDICT, "variance")
    ROW(median, ANSWER_VECTOR, PREDICT, "median of each coordinate")
    ROW(quantiles, ANSWER_QUANTILES, PREDICT, "quantiles of each coordinate, in the order of the request")
    ROW(interval, ANSWER_INTERVAL, PREDICT, "the interval of each coordinate, or those of highest density, that "
        "hold the level's mass; of an angle over the seam where lower is above upper")
    ROW(covariance, ANSWER_MATRIX, PREDICT, "covariances of the coordinates")
    ROW(entropy, ANSWER_VALUE, PREDICT, "differential entropy in nats, of the density in the target's units")
    ROW(cdf, ANSWER_CDF, PREDICT, "probability of a target up to each of those asked for")
    ROW(crps, ANSWER_CRPS, PREDICT, "continuous ranked probability score at each of the targets asked for")
    ROW(samples, ANSWER_SAMPLES, SAMPLE, "samples")
    ROW(log_weights, ANSWER_SAMPLE_VALUES, SAMPLE, "normalised log weight of every sample, when not resampled")
    ROW(targets, ANSWER_TARGETS, DENSITY, "where the densities are taken")
    ROW(unnormalized_log_prob, ANSWER_TARGET_VALUES, DENSITY, "f(x, y) in the target's units")
    ROW(log_prob, ANSWER_TARGET_VALUES, DENSITY, "log p(y given x)")
    ROW(proposal_log_prob, ANSWER_TARGET_VALUES, DENSITY, "log q(y given x)")
    ROW(log_normalizer, ANSWER_VALUE, PREDICT | DENSITY, "log Z of the standardised density")
    ROW(log_normalizer_std_error, ANSWER_VALUE, DENSITY,
        "Monte Carlo standard error of log_normalizer; by quadrature a bound of its error")
    ROW(mode, ANSWER_VECTOR, PREDICT | REFINE, "the most likely target; of /refine that which the ascents reached")
    {"unnormalized_log_prob", ANSWER_VALUE, offsetof(struct answer_row, mode_log_prob), REFINE,
     "f(x, y) in the target's units, at the mode"},
    ROW(converged, ANSWER_FLAG, REFINE, "did the ascent end at a maximum, or were its steps used up?")
    ROW(steps, ANSWER_WHOLE, REFINE, "steps that it took")
    ROW(trajectory, ANSWER_PATH, REFINE, "its way: the start, then where each step left it")
#undef ROW
};
/* clang-format on */

const struct answer_member *answer_members(uint32_t *ret_n)
{
    *ret_n = EBM_COUNT_OF(members);
    return members;
}

/* ---- shapes ---- */

uint32_t answer_dims(const struct answer *answer, enum answer_shape shape, uint32_t ret_dims[2])
{
    const struct {
        uint32_t n, dims[2];
    } shapes[] = {
        [ANSWER_VECTOR] = {1, {answer->D}},
        [ANSWER_QUANTILES] = {2, {answer->quantiles.n, answer->D}},
        [ANSWER_INTERVAL] = {2, {2, answer->D}},
        [ANSWER_SAMPLES] = {2, {answer->n_samples, answer->D}},
        [ANSWER_SAMPLE_VALUES] = {1, {answer->n_samples}},
        [ANSWER_TARGETS] = {2, {answer->n_targets, answer->D}},
        [ANSWER_TARGET_VALUES] = {1, {answer->n_targets}},
        [ANSWER_MATRIX] = {2, {answer->D, answer->D}},
        [ANSWER_CDF] = {1, {answer->n_cdf}},
        [ANSWER_CRPS] = {1, {answer->n_crps}},
        [ANSWER_VALUE] = {0, {0}},
        [ANSWER_FLAG] = {0, {0}},
        [ANSWER_WHOLE] = {0, {0}},
    };
    EBM_ASSERT(shape < EBM_COUNT_OF(shapes));
    memcpy(ret_dims, shapes[shape].dims, sizeof shapes[shape].dims);
    return shapes[shape].n;
}

bool answer_is_in_unit(enum answer_shape shape)
{
    return shape == ANSWER_VECTOR || shape == ANSWER_QUANTILES || shape == ANSWER_INTERVAL || shape == ANSWER_SAMPLES ||
           shape == ANSWER_TARGETS || shape == ANSWER_MATRIX;
}

/* What the client sent comes back as it was. */
void answer_write_targets(struct ebm_buf *buf, const double *values, uint32_t n, uint32_t D)
{
    for (size_t i = 0; i < (size_t)n * D; i++) {
        (void)ebm_buf_text(buf, i % D ? "," : i ? "],[" : "[[");
        (void)ebm_buf_json_number(buf, values[i]);
    }
    (void)ebm_buf_text(buf, "]]");
}

static void write_quantiles(struct ebm_buf *buf, const struct answer *answer, const double *values)
{
    (void)ebm_buf_append(buf, "[", 1);
    for (uint32_t q = 0; q < answer->quantiles.n; q++) {
        (void)ebm_buf_text(buf, q ? ",{\"probability\":" : "{\"probability\":");
        (void)ebm_buf_json_number(buf, answer->quantiles.numbers[q]);
        (void)ebm_buf_text(buf, ",\"value\":");
        json_write_numbers(buf, values + (size_t)q * answer->D, answer->D, answer->digits);
        (void)ebm_buf_append(buf, "}", 1);
    }
    (void)ebm_buf_append(buf, "]", 1);
}

static void write_interval(struct ebm_buf *buf, const struct answer *answer, const double *ends, uint32_t n)
{
    (void)ebm_buf_text(buf, "{\"kind\":\"");
    (void)ebm_buf_text(buf, answer->interval_kind);
    (void)ebm_buf_text(buf, "\",\"level\":");
    (void)ebm_buf_json_number(buf, answer->interval_level);
    (void)ebm_buf_text(buf, ",\"intervals\":[");
    for (uint32_t i = 0; i < n; i++, ends += (size_t)2 * answer->D) {
        (void)ebm_buf_text(buf, i ? ",{\"lower\":" : "{\"lower\":");
        json_write_numbers(buf, ends, answer->D, answer->digits);
        (void)ebm_buf_text(buf, ",\"upper\":");
        json_write_numbers(buf, ends + answer->D, answer->D, answer->digits);
        (void)ebm_buf_append(buf, "}", 1);
    }
    (void)ebm_buf_text(buf, "]}");
}

static void write_member(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row,
                         enum answer_shape shape, const void *value)
{
    switch (shape) {
    case ANSWER_VECTOR:
        json_write_numbers(buf, value, answer->D, answer->digits);
        return;
    case ANSWER_QUANTILES:
        write_quantiles(buf, answer, value);
        return;
    case ANSWER_INTERVAL:
        write_interval(buf, answer, value, row->n_intervals);
        return;
    case ANSWER_SAMPLES:
        json_write_vectors(buf, value, answer->n_samples, answer->D, answer->digits);
        return;
    case ANSWER_SAMPLE_VALUES:
        json_write_numbers(buf, value, answer->n_samples, JSON_WRITE_FLOAT_DIGITS);
        return;
    case ANSWER_TARGETS:
        if (answer->shared_targets)
            (void)ebm_buf_append(buf, answer->shared_targets->bytes, answer->shared_targets->size);
        else
            answer_write_targets(buf, value, answer->n_targets, answer->D);
        return;
    case ANSWER_TARGET_VALUES:
        json_write_numbers(buf, value, answer->n_targets, JSON_WRITE_FLOAT_DIGITS);
        return;
    case ANSWER_MATRIX:
        json_write_vectors(buf, value, answer->D, answer->D, answer->digits);
        return;
    case ANSWER_CDF:
        json_write_numbers(buf, value, answer->n_cdf, JSON_WRITE_FLOAT_DIGITS);
        return;
    case ANSWER_CRPS:
        json_write_numbers(buf, value, answer->n_crps, JSON_WRITE_FLOAT_DIGITS);
        return;
    case ANSWER_VALUE:
        json_write_number(buf, *(const double *)value, JSON_WRITE_FLOAT_DIGITS);
        return;
    case ANSWER_FLAG:
        (void)ebm_buf_text(buf, *(const bool *)value ? "true" : "false");
        return;
    case ANSWER_WHOLE:
        (void)ebm_buf_whole(buf, *(const uint32_t *)value);
        return;
    case ANSWER_PATH:
        json_write_vectors(buf, value, *row->steps + 1, answer->D, answer->digits);
        return;
    }
}

/* ---- diagnostics ---- */

static void write_number(struct ebm_buf *buf, const char *name, double value)
{
    (void)ebm_buf_text(buf, name);
    json_write_number(buf, value, JSON_WRITE_FLOAT_DIGITS);
}

static void write_whole(struct ebm_buf *buf, const char *name, uint64_t value)
{
    (void)ebm_buf_text(buf, name);
    (void)ebm_buf_whole(buf, value);
}

static void write_draws(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row)
{
    write_whole(buf, ",\"num_samples\":", row->num_samples);
    write_number(buf, ",\"ess\":", row->ess);
    write_number(buf, ",\"ess_ratio\":", row->ess / row->num_samples);
    write_number(buf, ",\"max_weight\":", row->max_weight);
    (void)ebm_buf_text(buf, ",\"mcse_mean\":");
    json_write_numbers(buf, row->mcse_mean, answer->D, JSON_WRITE_FLOAT_DIGITS);
    write_number(buf, ",\"pareto_k\":", row->pareto_k);
}

static void write_integral(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row)
{
    write_whole(buf, ",\"pieces\":", row->pieces);
    (void)ebm_buf_text(buf, ",\"support\":");
    json_write_numbers(buf, row->support, 2, answer->digits);
}

static void write_ignored(struct ebm_buf *buf, const char *name)
{
    (void)ebm_buf_text(buf, ",\"");
    (void)ebm_buf_text(buf, name);
    (void)ebm_buf_text(buf, "_ignored\":true");
}

static void write_diagnostics(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row)
{
    (void)ebm_buf_text(buf, "{\"estimator\":\"");
    (void)ebm_buf_text(buf, row->estimator);
    (void)ebm_buf_append(buf, "\"", 1);
    if (row->drew)
        write_draws(buf, answer, row);
    else if (answer->ignored)
        write_ignored(buf, answer->ignored);
    if (row->integrated)
        write_integral(buf, answer, row);
    if (row->drew || row->integrated)
        (void)ebm_buf_text(buf, row->proper ? ",\"proper\":true" : ",\"proper\":false");
    if (row->acceptance_rate)
        write_number(buf, ",\"acceptance_rate\":", *row->acceptance_rate);
    if (row->targets_outside > 0)
        write_whole(buf, ",\"targets_outside\":", row->targets_outside);
    (void)ebm_buf_text(buf, row->reliable ? ",\"reliable\":true,\"reason\":" : ",\"reliable\":false,\"reason\":");
    if (row->reason)
        (void)ebm_buf_json_text(buf, row->reason);
    else
        (void)ebm_buf_text(buf, "null");
    (void)ebm_buf_append(buf, "}", 1);
}

/* ---- the whole ---- */

void answer_begin(struct ebm_buf *buf, const struct answer *answer)
{
    (void)ebm_buf_text(buf, "{\"model\":");
    (void)ebm_buf_json_text(buf, answer->model);
    write_whole(buf, ",\"version\":", answer->version);
    if (answer->id) {
        (void)ebm_buf_text(buf, ",\"id\":");
        (void)ebm_buf_json_text(buf, answer->id);
    }
    write_whole(buf, ",\"seed\":", answer->seed);
    (void)ebm_buf_text(buf, ",\"predictions\":[");
}

static void write_key(struct ebm_buf *buf, const char *before, const char *name)
{
    (void)ebm_buf_text(buf, before);
    (void)ebm_buf_text(buf, name);
    (void)ebm_buf_append(buf, "\":", 2);
}

void answer_add_row(struct ebm_buf *buf, const struct answer *answer, const struct answer_row *row, uint32_t index)
{
    const char *before = "\"";
    (void)ebm_buf_text(buf, index ? ",{" : "{");
    for (size_t i = 0; i < EBM_COUNT_OF(members); i++) {
        const void *value;
        memcpy(&value, (const char *)row + members[i].at, sizeof value);
        if (!value)
            continue;
        write_key(buf, before, members[i].name);
        write_member(buf, answer, row, members[i].shape, value);
        before = ",\"";
    }
    if (!row->steps) {
        write_key(buf, before, "diagnostics");
        write_diagnostics(buf, answer, row);
    }
    (void)ebm_buf_append(buf, "}", 1);
}

enum ebm_status answer_end(struct ebm_buf *buf)
{
    return ebm_buf_text(buf, "]}\n");
}

size_t answer_bound(const struct request *request, uint32_t D, int digits)
{
    const size_t brackets_bytes = 4, head_bytes = 1024, row_bytes = 768, quantile_bytes = 64;
    const size_t around_bytes = 9; /* of a number's digits: sign, point, e-308, comma */
    const size_t number = (size_t)digits + around_bytes, given = JSON_WRITE_DOUBLE_DIGITS + around_bytes,
                 small = JSON_WRITE_FLOAT_DIGITS + around_bytes;
    size_t n_samples = request->kind != REQUEST_SAMPLE ? 0
                       : request->resample             ? request->num_samples
                                                       : request_draws(request);
    size_t vector = D * number + brackets_bytes;
    size_t row = row_bytes + 8 * vector + D * small; /* mean std variance median interval mode support, mcse_mean */
    if (request->outputs >> REQUEST_PREDICT_COVARIANCE & 1u && request->kind == REQUEST_PREDICT)
        row += D * (vector + 1) + brackets_bytes;
    if (request->interval_kind == REQUEST_INTERVAL_HIGHEST_DENSITY)
        row += LIMIT_INTERVALS * (quantile_bytes + 2 * vector);
    row += (request->cdf.n + request->crps_at.n) * small;
    row += request->quantiles.n * (quantile_bytes + vector);
    row += n_samples * (vector + (request->resample ? 0 : small));
    row += request->targets.n * (D * given + brackets_bytes + 3 * small);
    row += request->trajectory ? (request->steps + 1) * (vector + 1) : 0;
    return head_bytes + REQUEST_ID_CHARACTERS * 6 + request->inputs.n * row;
}
