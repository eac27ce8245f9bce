/* parity.c - recomputes the parity values of a model file on the reference device.
 *
 *   tensors found, shapes agree -> a plan, a ctx for one row and m targets -> row by row: features, propose the given
 *   targets, score -> f and log q of the row against the file's
 *
 * The reference device is slow, so a file may hold at most LIMIT_PARITY_ROWS rows of LIMIT_PARITY_TARGETS targets.
 * Guarantees: one row's results are in memory at a time; NaN never agrees with anything. */
#include "models/parity.h"

#include <math.h>
#include <stdlib.h>

#include "core/device.h"

#define TOLERANCE 1e-4 /* of the largest magnitude in the tensor */

struct parity {
    const struct ebm_net_desc *net;
    const struct ebm_tensor *x, *y, *f, *log_q; /* NULL: does not stand */
    uint32_t rows, targets;                     /* n and m */
    struct ebm_error *reterr;

    const struct ebm_device_ops *ops;
    struct ebm_plan *plan;
    struct ebm_ctx *ctx;
    float *got; /* (m) */
};

static enum ebm_status bad_shape(const struct parity *p, const struct ebm_tensor *tensor, const char *expected)
{
    return ebm_error_set(p->reterr, EBM_DAMAGED, tensor->name, "expected F32 of the shape %s", expected);
}

/* n and m from x and y. */
static enum ebm_status settle_inputs(struct parity *p)
{
    const struct ebm_tensor *x = p->x, *y = p->y;
    if (x->dtype != EBM_DTYPE_F32 || x->n_dims != 2 || x->shape[1] != p->net->X)
        return bad_shape(p, x, "(n, size of the input)");
    if (y->dtype != EBM_DTYPE_F32 || y->n_dims < 2 || y->n_dims > 3 || y->shape[0] != x->shape[0] ||
        y->shape[y->n_dims - 1] != p->net->D)
        return bad_shape(p, y, "(n, target.dim) or (n, m, target.dim), n as in parity.x");
    uint64_t rows = x->shape[0], targets = y->n_dims == 3 ? y->shape[1] : 1;
    if (rows > LIMIT_PARITY_ROWS || targets < 1 || targets > LIMIT_PARITY_TARGETS)
        return ebm_error_set(p->reterr, EBM_TOO_LARGE, y->name, "at most %u rows of 1 to %u targets", LIMIT_PARITY_ROWS,
                             LIMIT_PARITY_TARGETS);
    p->rows = (uint32_t)rows;
    p->targets = (uint32_t)targets;
    return EBM_OK;
}

/* f or log_q: (n) or (n, m) as y. */
static enum ebm_status check_output(const struct parity *p, const struct ebm_tensor *tensor)
{
    if (!tensor)
        return EBM_OK;
    bool is_matrix = p->y->n_dims == 3;
    if (tensor->dtype != EBM_DTYPE_F32 || tensor->n_dims != (is_matrix ? 2u : 1u) || tensor->shape[0] != p->rows ||
        (is_matrix && tensor->shape[1] != p->targets))
        return bad_shape(p, tensor, is_matrix ? "(n, m) of parity.y" : "(n) of parity.y");
    return EBM_OK;
}

static enum ebm_status settle(struct parity *p)
{
    if (!p->x || !p->y)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->x ? "parity.y" : "parity.x",
                             "is missing: parity.x and parity.y stand together");
    if (p->log_q && p->net->K == 0)
        return ebm_error_set(p->reterr, EBM_DAMAGED, p->log_q->name, "the model has no proposal");
    enum ebm_status status = settle_inputs(p);
    if (status == EBM_OK)
        status = check_output(p, p->f);
    return status == EBM_OK ? check_output(p, p->log_q) : status;
}

static enum ebm_status prepare(struct parity *p, const float *params)
{
    struct ebm_ctx_limits limits = {.max_rows = 1, .max_samples = p->targets};
    p->ops = ebm_device_reference();
    enum ebm_status status = p->ops->plan_new(p->net, params, 0, &p->plan, p->reterr);
    if (status == EBM_OK)
        status = p->ops->ctx_new(&limits, &p->ctx, p->reterr);
    if (status == EBM_OK)
        status = p->ops->ctx_prepare(p->ctx, p->plan, p->reterr);
    p->got = calloc(p->targets, sizeof *p->got);
    return status != EBM_OK || p->got ? status : ebm_error_set(p->reterr, EBM_NO_MEMORY, "parity", "no memory");
}

static double largest(const struct ebm_tensor *tensor)
{
    const float *values = tensor->data;
    double max = 1e-6;
    for (size_t i = 0; i < tensor->count; i++)
        max = fmax(max, fabs((double)values[i]));
    return max;
}

/* The row's `what` against the file's. */
static enum ebm_status compare(const struct parity *p, enum ebm_fetch what, const struct ebm_tensor *tensor,
                               uint32_t row)
{
    enum ebm_status status = p->ops->fetch(p->ctx, what, 0, p->got);
    if (status == EBM_OK)
        status = p->ops->sync(p->ctx);
    if (status != EBM_OK)
        return ebm_error_set(p->reterr, status, tensor->name, "cannot be recomputed: %s", ebm_status_text(status));
    const float *expected = (const float *)tensor->data + (size_t)row * p->targets;
    double allowed = TOLERANCE * largest(tensor);
    for (uint32_t m = 0; m < p->targets; m++)
        if (!(fabs((double)p->got[m] - (double)expected[m]) <= allowed))
            return ebm_error_set(p->reterr, EBM_DAMAGED, tensor->name,
                                 "row %u, target %u: the file says %.9g, this program computes %.9g", row, m,
                                 (double)expected[m], (double)p->got[m]);
    return EBM_OK;
}

static enum ebm_status check_row(const struct parity *p, uint32_t row)
{
    const float *x = (const float *)p->x->data + (size_t)row * p->net->X;
    const float *y = (const float *)p->y->data + (size_t)row * p->targets * p->net->D;
    struct ebm_row which = {.row_in_request = row, .samples = p->targets};
    enum ebm_status status = p->ops->features(p->ctx, p->plan, x, 1);
    if (status == EBM_OK)
        status = p->ops->propose(p->ctx, 0, &which, y);
    if (status == EBM_OK && p->net->has_energy)
        status = p->ops->score(p->ctx, false);
    if (status != EBM_OK)
        return ebm_error_set(p->reterr, status, "parity", "row %u cannot be recomputed: %s", row,
                             ebm_status_text(status));
    if (p->f)
        status = compare(p, p->net->has_energy ? EBM_FETCH_F : EBM_FETCH_LOG_Q, p->f, row);
    if (status == EBM_OK && p->log_q)
        status = compare(p, EBM_FETCH_LOG_Q, p->log_q, row);
    return status;
}

static void parity_done(struct parity *p)
{
    if (!p->ops)
        return;
    p->ctx = p->ops->ctx_free(p->ctx);
    p->plan = p->ops->plan_unref(p->plan);
    free(p->got);
}

enum ebm_status ebm_parity_check(const struct ebm_safetensors *file, const struct ebm_net_desc *net,
                                 const float *params, struct ebm_error *reterr)
{
    EBM_AUTO(parity_done)
    struct parity p = {
        .net = net,
        .x = ebm_safetensors_find(file, "parity.x"),
        .y = ebm_safetensors_find(file, "parity.y"),
        .f = ebm_safetensors_find(file, "parity.f"),
        .log_q = ebm_safetensors_find(file, "parity.log_q"),
        .reterr = reterr,
    };
    if (!p.x && !p.y && !p.f && !p.log_q)
        return EBM_OK;
    if (net->members > 1)
        return ebm_error_set(reterr, EBM_INVALID, "parity",
                             "values of single models cannot stand in the file of an ensemble: leave parity.* out");
    enum ebm_status status = settle(&p);
    if (status == EBM_OK)
        status = prepare(&p, params);
    for (uint32_t row = 0; row < p.rows && status == EBM_OK; row++)
        status = check_row(&p, row);
    return status;
}
