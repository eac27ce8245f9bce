/* infer.c - the words of proto/oip.h in those of models/, and the sizes of its tensors against a model's.
 *
 * Everything else an infer request has in common with the other kinds: operation.c. */
#include "server/infer.h"

#include <inttypes.h>

#include "proto/oip.h"

enum ebm_status infer_read(const struct request_limits *limits, const struct ebm_buf *body, struct job *job)
{
    struct oip_body raw = {body->bytes, body->size, job->form.has_json_bytes, job->form.json_bytes};
    job->wanted = EBM_ARENA_NEW(&job->arena, struct oip_wanted, 1);
    if (!job->wanted)
        return ebm_error_set(&job->error, EBM_NO_MEMORY, "body", "no memory");
    enum ebm_status status = oip_read(&raw, limits, &job->arena, &job->request, job->wanted, &job->error);
    job->request.model = job->form.model;
    job->request.version = job->form.version;
    return status;
}

/* Those that the engine has under the same name; ess, pareto_k and reliable come with every answer. */
#define SAME_OUTPUTS(X)                                                                                                \
    X(MEAN)                                                                                                            \
    X(STD)                                                                                                             \
    X(VARIANCE)                                                                                                        \
    X(MEDIAN)                                                                                                          \
    X(MODE)                                                                                                            \
    X(COVARIANCE)                                                                                                      \
    X(QUANTILES) X(ENTROPY) X(SAMPLES) X(UNNORMALIZED_LOG_PROB) X(LOG_PROB) X(PROPOSAL_LOG_PROB) X(LOG_NORMALIZER)

uint32_t infer_outputs(uint32_t outputs)
{
    uint32_t bits = 0;
#define X(name) bits |= outputs >> OIP_##name & 1u ? EBM_OUTPUT(name) : 0;
    SAME_OUTPUTS(X)
#undef X
    return outputs >> OIP_LOG_WEIGHTS & 1u ? bits | EBM_OUTPUT(SAMPLES) : bits;
}

enum ebm_status infer_check_shapes(struct job *job)
{
    const struct request *request = &job->request;
    const struct ebm_net_desc *net = ebm_model_net(job->model->model);
    const char *name = job->model->name;
    if (request->targets.numbers && request->targets.D != net->D)
        return ebm_error_set(&job->error, EBM_INVALID, "targets",
                             "expected shape [rows,targets,%" PRIu32 "], the target of model '%s', got targets of "
                             "%" PRIu32 " numbers",
                             net->D, name, request->targets.D);
    return EBM_OK;
}
