/* request_defaults.c - a few fields of requests, read from elsewhere and put where they are missing.
 *
 * Names, bounds and texts of errors are those of the tables of requests. num_samples are the draws of /predict,
 * /density and /refine; what /sample draws are num_proposals. */
#include "proto/request_defaults.h"

#include <string.h>

#include "proto/oip.h"

static const struct {
    const char *name;
    enum request_kind kind; /* whose table has it */
    size_t at;
} members[] = {
#define MEMBER(name, kind)                                                                                             \
    {                                                                                                                  \
#name, REQUEST_##kind, offsetof(struct request_defaults, name)                                                 \
    }
    MEMBER(estimator, PREDICT),   MEMBER(draws, PREDICT),        MEMBER(weights, PREDICT),
    MEMBER(num_samples, PREDICT), MEMBER(num_proposals, SAMPLE), MEMBER(target_ess, PREDICT),
    MEMBER(max_samples, PREDICT), MEMBER(timeout_ms, PREDICT),   MEMBER(priority, PREDICT),
#undef MEMBER
};

/* The field of a request, with its value's place here. */
static struct field field_of(size_t i)
{
    uint32_t n;
    const struct field *fields = request_fields(members[i].kind, &n);
    struct field field = *fields_find(fields, n, members[i].name, strlen(members[i].name)); /* it is there */
    field.at = members[i].at;
    return field;
}

static bool was_given(const struct request_defaults *defaults, const char *name)
{
    size_t i = 0;
    while (strcmp(members[i].name, name) != 0)
        i++;
    return (defaults->seen >> i & 1u) != 0;
}

enum ebm_status request_defaults_read(struct json_t *object, const struct request_limits *limits,
                                      struct request_defaults *ret_defaults, struct ebm_error *reterr)
{
    struct field table[EBM_COUNT_OF(members)];
    struct request_defaults defaults = {.seen = 0};
    for (size_t i = 0; i < EBM_COUNT_OF(members); i++)
        table[i] = field_of(i);
    enum ebm_status status = fields_read(table, EBM_COUNT_OF(members), object, NULL, limits, NULL, &defaults,
                                         &defaults.seen, reterr);
    if (status == EBM_OK && was_given(&defaults, "max_samples") && !was_given(&defaults, "target_ess"))
        status = ebm_error_set(reterr, EBM_INVALID, "max_samples", "says where target_ess stops: give target_ess too");
    if (status == EBM_OK)
        *ret_defaults = defaults;
    return status;
}

/* Are the request's draws proposals, beside the samples that it returns? */
static bool draws_proposals(const struct request *request)
{
    const uint32_t samples = 1u << OIP_SAMPLES | 1u << OIP_LOG_WEIGHTS;
    return request->kind == REQUEST_SAMPLE || (request->kind == REQUEST_INFER && (request->outputs & samples) != 0);
}

/* The numbers of draws, and where they stop. */
static void apply_draws(const struct request_defaults *defaults, struct request *request)
{
    bool of_proposals = draws_proposals(request);
    uint64_t draws = of_proposals ? defaults->num_proposals : defaults->num_samples;
    if (!request->has_num_draws && was_given(defaults, of_proposals ? "num_proposals" : "num_samples"))
        request->num_draws = draws;
    if (of_proposals || request->kind == REQUEST_REFINE || request->target_ess > 0 || defaults->target_ess == 0)
        return;
    request->target_ess = defaults->target_ess;
    if (was_given(defaults, "max_samples"))
        request->max_samples = defaults->max_samples;
}

void request_defaults_apply(const struct request_defaults *defaults, struct request *request)
{
    if (defaults->seen == 0)
        return;
    request->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : defaults->timeout_ms;
    request->priority = request->priority > 0 ? request->priority : defaults->priority;
    apply_draws(defaults, request);
    if (request->kind == REQUEST_REFINE)
        return; /* it normalises nothing */
    if (!request->has_estimator && was_given(defaults, "estimator"))
        request->estimator = defaults->estimator;
    if (!request->has_draws && was_given(defaults, "draws"))
        request->draws = defaults->draws;
    if (!request->has_weights && was_given(defaults, "weights"))
        request->weights = defaults->weights;
}
