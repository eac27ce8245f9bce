/* check_request.c - reads every number of a request. */
#include "tests/fuzz/check_request.h"

#include <math.h>
#include <string.h>

const struct request_limits check_request_limits = {
    .max_rows = 64, .max_samples = 4096, .max_steps = 100, .max_timeout_ms = 5000, .max_timeout_us = 5000000};

static void check_numbers(const double *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        EBM_ASSERT(isfinite(numbers[i]));
}

static void check_targets(const struct field_targets *targets, uint32_t n_rows)
{
    size_t rows = targets->rows ? targets->rows : 1;
    if (!targets->numbers)
        return;
    EBM_ASSERT(targets->rows <= 1 || targets->rows == n_rows);
    check_numbers(targets->numbers, rows * targets->n * targets->D);
}

/* All of them are there to be read. */
static void check_bytes(const uint8_t *bytes, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += bytes[i];
    EBM_ASSERT(sum <= n * UINT8_MAX);
}

void check_rows(const struct field_rows *rows)
{
    size_t n = (size_t)rows->n * rows->X, dims = (size_t)rows->dims[0] * rows->dims[1] * rows->dims[2];
    EBM_ASSERT((rows->numbers != NULL) + (rows->bytes != NULL) + (rows->images != NULL) == 1);
    EBM_ASSERT((rows->images != NULL) == (rows->X == 0) && (dims == 0 || dims == rows->X));
    if (rows->numbers)
        check_numbers(rows->numbers, n);
    if (rows->bytes)
        check_bytes(rows->bytes, n);
    for (uint32_t i = 0; rows->images && i < rows->n; i++)
        check_bytes(rows->images[i].bytes, rows->images[i].size);
}

void check_request(const struct request *request)
{
    const struct request_limits *limits = &check_request_limits;
    uint32_t n_rows = request->inputs.n;
    EBM_ASSERT(n_rows >= 1 && n_rows <= limits->max_rows);
    check_rows(&request->inputs);
    check_numbers(request->quantiles.numbers, request->quantiles.n);
    check_numbers(request->step_length.numbers, request->step_length.n);
    check_targets(&request->targets, n_rows);
    check_targets(&request->initial, n_rows);
    check_targets(&request->cdf, n_rows);
    check_targets(&request->crps_at, n_rows);
    EBM_ASSERT(request_draws(request) <= limits->max_samples && request->num_samples <= limits->max_samples);
    EBM_ASSERT(request->steps <= limits->max_steps && request->timeout_ms <= limits->max_timeout_ms);
    EBM_ASSERT(request->seed <= REQUEST_MAX_SEED);
    EBM_ASSERT(!request->id || strlen(request->id) <= 4 * REQUEST_ID_CHARACTERS);
}
